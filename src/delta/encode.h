/* SPDX-License-Identifier: MIT */
/* From a NAR, a slice of one or several small ones to a frame (delta/frame.h). */
#ifndef BELAY_DELTA_ENCODE_H
#define BELAY_DELTA_ENCODE_H

#include "delta/frame.h"

struct bl_encoder; /* makes one frame after another */

/* The caller owns what comes back: bl_encoder_free(). */
struct bl_encoder *bl_encoder_new(void);
void bl_encoder_free(struct bl_encoder *e); /* NULL is fine */

/*
 * Begins a frame, and drops one that was not ended.
 *
 * @h      what it is to be: its size is known beforehand. It does not go into the content.
 * @level  of zstd, 1 to 19 (1, 3 and 10 are what links of different speeds want), of
 *         ZSTD only: a patch has a search of its own, and no level found more for what it took
 * @base   as bl_decoder_begin()'s
 * @sink   gets the content in parts of at most BL_DELTA_CHUNK bytes; copied, its argument
 *         borrowed until the frame has ended
 *
 * Takes about h->size_bytes of memory, and 50 MB for its tables at most. The base is read here,
 * which is a good part of the time that a patch takes. One thread.
 *
 * BL_E_USAGE: a head that bl_delta_head_check() refuses, another level, or base and new of more
 * than 1 GiB together. BL_E_SYS: no memory. No frame is open then.
 */
int bl_encoder_begin(struct bl_encoder *e, const struct bl_delta_head *h, int level,
		     const uint8_t *base, const struct bl_sink *sink,
		     struct bl_err *err) BL_MUST_CHECK;

/*
 * The next bytes of what is told, in parts of any size. -1 ends the frame: BL_E_USAGE when they
 * are more than the head said or a copy is not equal to its base; BL_E_SYS; what the sink says.
 */
int bl_encoder_feed(struct bl_encoder *e, const void *data, size_t len,
		    struct bl_err *err) BL_MUST_CHECK;

/* That was all. Puts out the rest. BL_E_USAGE: it was less than the head said. */
int bl_encoder_end(struct bl_encoder *e, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_encoder_freep(struct bl_encoder **e)
{
	bl_encoder_free(*e);
}

#define bl_auto_encoder __attribute__((cleanup(bl_encoder_freep)))

#endif
