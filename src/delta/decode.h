/* SPDX-License-Identifier: MIT */
/*
 * From a frame back to what it tells. It trusts nothing: what comes out is as long as the head
 * says or it fails, and memory has a limit. Whether the bytes are the right ones is for Nix,
 * which hashes every NAR.
 */
#ifndef BELAY_DELTA_DECODE_H
#define BELAY_DELTA_DECODE_H

#include "delta/frame.h"

struct bl_decoder; /* decodes one frame after another */

/*
 * @memory_bytes is the most that a frame may need together with its base, besides some 300 KiB
 * for the decoder itself. The caller owns what comes back: bl_decoder_free(). Between large
 * frames no memory is kept for the next.
 */
struct bl_decoder *bl_decoder_new(uint64_t memory_bytes);
void bl_decoder_free(struct bl_decoder *d); /* NULL is fine */

/*
 * Begins a frame, and drops one that was not ended.
 *
 * @base  the window of the rewritten base that @h names, h->base_bytes long; borrowed until the
 *        frame has ended, when it may be unmapped or overwritten. Not looked at without one.
 * @sink  gets what comes out; copied, its argument borrowed as long
 *
 * BL_E_INPUT: a head that bl_delta_head_check() refuses, or a base larger than the memory.
 * BL_E_SYS: no memory. No frame is open then.
 */
int bl_decoder_begin(struct bl_decoder *d, const struct bl_delta_head *h, const uint8_t *base,
		     const struct bl_sink *sink, struct bl_err *err) BL_MUST_CHECK;

/*
 * The next bytes of its content, in parts of any size. -1 ends the frame: BL_E_INPUT when they
 * are not zstd, make more or less than the head says, want more memory than there may be, or go
 * on behind its end; BL_E_SYS when there is no memory; what the sink says. What was put out
 * before is no more than the head says.
 */
int bl_decoder_feed(struct bl_decoder *d, const void *data, size_t len,
		    struct bl_err *err) BL_MUST_CHECK;

/* The content is over. BL_E_INPUT: something is missing. A copy is put out here. */
int bl_decoder_end(struct bl_decoder *d, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_decoder_freep(struct bl_decoder **d)
{
	bl_decoder_free(*d);
}

#define bl_auto_decoder __attribute__((cleanup(bl_decoder_freep)))

#endif
