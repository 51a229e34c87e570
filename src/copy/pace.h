/* SPDX-License-Identifier: MIT */
/* How hard to compress: what is fastest by the rate that was seen. */
#ifndef BELAY_COPY_PACE_H
#define BELAY_COPY_PACE_H

#include "base/base.h"

struct bl_pace {
	int fixed; /* a level, or -1: adapts */
	unsigned threads;
	/* while bytes waited for the connection: how many left, and in how long */
	uint64_t left_bytes;
	int64_t busy_ns;
	/* of the last tick */
	uint64_t bytes;
	int64_t at_ns;
	bool waited;
};

void bl_pace_begin(struct bl_pace *p, int fixed);
/*
 * @bytes have gone into the connection in all; @waiting says whether more of them are ready and
 * wait for it. To be called whenever that changes.
 */
void bl_pace_tick(struct bl_pace *p, uint64_t bytes, bool waiting);
/* Whether that is more than a guess. */
bool bl_pace_known(const struct bl_pace *p);
/* The level of zstd for the next piece; 0: as it is. One that has a base looks at it only where
 * that cannot be read. */
int bl_pace_level(const struct bl_pace *p, bool patch);

#endif
