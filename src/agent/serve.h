/* SPDX-License-Identifier: MIT */
/* `belay-agent serve`: one request after another on stdin, answers on stdout. */
#ifndef BELAY_AGENT_SERVE_H
#define BELAY_AGENT_SERVE_H

#include "wire/msg.h"

/*
 * Serves until stdin ends; exit status of the program. @system_new, the system that is going to
 * be copied ("" for none), gets its garbage root before anything else is said.
 */
int bl_serve_main(const char *system_new);

/*
 * Sends STATE at once and at every change, LINE for what the activation and the agent print,
 * and a STATE every two seconds besides, until transaction @epoch has ended or nobody reads any
 * more. An ABORT that arrives meanwhile is passed on.
 */
int bl_serve_follow(uint64_t epoch);

/* Starts the keeper of an open transaction that has none, and gives it up to 15 s to end it. */
void bl_serve_recover(void);

/*
 * The next message from @fd; @in keeps what was read beyond it. BL_E_TIMEOUT after @timeout_ms,
 * BL_E_UNREACHABLE at the end of the stream.
 */
int bl_msg_read(int fd, struct bl_buf *in, int timeout_ms, struct bl_msg *out,
		struct bl_err *err) BL_MUST_CHECK;

#endif
