/* SPDX-License-Identifier: MIT */
/*
 * Frames between belay and belay-agent: little-endian u32 length of the payload, u16 type, u16
 * zero, then the payload. Before the first frame the agent prints BL_WIRE_BANNER, so that
 * whatever a login shell printed first can be told apart.
 */
#ifndef BELAY_WIRE_FRAME_H
#define BELAY_WIRE_FRAME_H

#include "base/buf.h"
#include "base/err.h"

#define BL_FRAME_HEAD 8
#define BL_FRAME_MAX                                                              \
	(256UL * 1024) /* bytes of payload; more is an error, never an allocation \
			*/

/* Stands alone on a line; what follows are frames. */
#define BL_WIRE_BANNER "belay-agent-frames-1\n"

void bl_frame_put(struct bl_buf *out, uint16_t type, const void *payload, size_t len);

struct bl_frame {
	uint16_t type;
	const char *payload; /* borrowed from the input */
	size_t len;
	size_t used; /* bytes of input that this frame took */
};

/* 1: one frame is there; 0: more bytes are needed; -1: not our frames (BL_E_INPUT). */
int bl_frame_take(const char *data, size_t len, struct bl_frame *out,
		  struct bl_err *err) BL_MUST_CHECK;

#endif
