/* SPDX-License-Identifier: MIT */
/* Messages on standard input and output, or on another descriptor. */
#ifndef BELAY_AGENT_TALK_H
#define BELAY_AGENT_TALK_H

#include "wire/msg.h"

/* To the deployer, on standard output; -1: it has gone. */
int bl_talk_reply(enum bl_msg_type type, const struct bl_kv *kv);
/* REFUSED: @reason, and what to do. */
int bl_talk_refuse(const char *reason, const char *remedy);
/* A frame that is no message, as bl_talk_reply. @len is at most BL_FRAME_MAX. */
int bl_talk_frame(uint16_t type, const void *payload, size_t len);
/*
 * The next frame from @fd, of whatever type. Its payload lies in @in until the next call; @used
 * says how much of @in belongs to frames that were given out, and begins with 0. The caller
 * drops as much of @in when it reads no more frames. BL_E_UNREACHABLE at the end of the stream,
 * or when nothing comes for @silent_ms (-1: that does not matter); BL_E_INPUT where no frames
 * of ours come.
 */
int bl_frame_read(int fd, struct bl_buf *in, size_t *used, int silent_ms, struct bl_frame *out,
		  struct bl_err *err) BL_MUST_CHECK;
/*
 * The next message from @fd; @in keeps what was read beyond it. BL_E_TIMEOUT after @timeout_ms
 * (-1: never), BL_E_UNREACHABLE at the end of the stream.
 */
int bl_msg_read(int fd, struct bl_buf *in, int timeout_ms, struct bl_msg *out,
		struct bl_err *err) BL_MUST_CHECK;

#endif
