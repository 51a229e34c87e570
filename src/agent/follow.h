/* SPDX-License-Identifier: MIT */
/* Telling the deployer what a transaction does, from what the keeper writes down. */
#ifndef BELAY_AGENT_FOLLOW_H
#define BELAY_AGENT_FOLLOW_H

#include "base/kv.h"

/*
 * Sends STATE at once and at every change, LINE for what the activation and the agent print,
 * and a STATE every two seconds besides, until transaction @epoch has ended or nobody reads any
 * more. An ABORT that arrives meanwhile is passed on.
 */
int bl_follow(uint64_t epoch);
/* All lines of transaction @epoch (0: the newest), then OK. */
int bl_follow_log(uint64_t epoch);

/* State of transaction @epoch (0: the newest) and of the host; nothing when there is none. */
void bl_follow_tell(uint64_t epoch, struct bl_kv *kv);
int bl_follow_say_state(uint64_t epoch);

#endif
