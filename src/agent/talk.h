/* SPDX-License-Identifier: MIT */
/* Messages on standard input and output, or on another descriptor. */
#ifndef BELAY_AGENT_TALK_H
#define BELAY_AGENT_TALK_H

#include "wire/msg.h"

/* To the deployer, on standard output; -1: it has gone. */
int bl_talk_reply(enum bl_msg_type type, const struct bl_kv *kv);
/* REFUSED: @reason, and what to do. */
int bl_talk_refuse(const char *reason, const char *remedy);
/*
 * The next message from @fd; @in keeps what was read beyond it. BL_E_TIMEOUT after @timeout_ms
 * (-1: never), BL_E_UNREACHABLE at the end of the stream.
 */
int bl_msg_read(int fd, struct bl_buf *in, int timeout_ms, struct bl_msg *out,
		struct bl_err *err) BL_MUST_CHECK;

#endif
