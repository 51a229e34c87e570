/* SPDX-License-Identifier: MIT */
/* The rewritten base, read once from its beginning, window by window. Both ends use it. */
#ifndef BELAY_DELTA_WINDOW_H
#define BELAY_DELTA_WINDOW_H

#include "delta/rewrite.h"

/* { .read, .arg, .rewrite.list } begins it; bl_base_free() ends it. */
struct bl_base {
	/* The next bytes of the old NAR, at most @max of them, and 0 at its end. -1 fails the
	 * window. */
	int (*read)(void *arg, uint8_t *buf, size_t max, size_t *out_len, struct bl_err *err);
	void *arg;
	struct bl_rewrite rewrite;
	uint8_t *bytes; /* from @at on */
	size_t len, cap;
	uint64_t at;
	bool over; /* read() has said so */
};

/*
 * Bytes @at to @at + @len of the rewritten base, as a frame's head names them; borrowed until
 * the next call. They begin nowhere before the last window did. As much as the window is kept
 * in memory, and a little.
 *
 * BL_E_INPUT: the base ends before, or the window goes back. BL_E_SYS: no memory. What read()
 * says. The base cannot be used after that.
 */
int bl_base_window(struct bl_base *b, uint64_t at, size_t len, const uint8_t **out,
		   struct bl_err *err) BL_MUST_CHECK;
void bl_base_free(struct bl_base *b);

static inline void bl_base_autop(struct bl_base *b)
{
	bl_base_free(b);
}

#endif
