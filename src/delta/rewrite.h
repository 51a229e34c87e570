/* SPDX-License-Identifier: MIT */
/*
 * Store hashes in a stream of bytes, each replaced by its partner: what a package was becomes
 * nearly what it is after its dependencies were built anew.
 *
 * What comes out is a function of the bytes and the list alone, whatever the chunks: from the
 * left on, at the first place where 32 bytes are an old hash of the list they are replaced, and
 * the search goes on behind them. So what was put in is never looked at again, and of old
 * hashes that overlap the one that begins first counts. What stands around a hash does not
 * matter: in a longer run of such characters it may begin anywhere.
 */
#ifndef BELAY_DELTA_REWRITE_H
#define BELAY_DELTA_REWRITE_H

#include "delta/sink.h"
#include "store/path.h"

#define BL_REWRITES_MAX (1U << 20) /* pairs in a list */

/* Characters of nix32, without a NUL behind them. */
struct bl_hash_pair {
	char old[BL_STORE_HASH_LEN];
	char new[BL_STORE_HASH_LEN];
};

/* A list that is ready for searching; it does not change, so that many streams may use it. */
struct bl_rewrites;

/*
 * @pairs is copied; its order does not matter, and it may be empty. BL_E_INPUT: a hash is not
 * 32 characters of nix32, an old one is there twice, or there are more than BL_REWRITES_MAX;
 * @out is not written then. The caller owns @out: bl_rewrites_free().
 */
int bl_rewrites_new(const struct bl_hash_pair *pairs, size_t n, struct bl_rewrites **out,
		    struct bl_err *err) BL_MUST_CHECK;
void bl_rewrites_free(struct bl_rewrites *t);

/* Rewrites all of @data where it is. */
void bl_rewrite_all(const struct bl_rewrites *t, uint8_t *data, size_t len);

/* One stream; { .list = t } begins it, and nothing of it has to be freed. */
struct bl_rewrite {
	const struct bl_rewrites *list; /* borrowed */
	/* what was fed and may still be the beginning of a hash */
	uint8_t held[BL_STORE_HASH_LEN - 1];
	size_t n_held;
};

/*
 * Rewrites the next @len bytes, in @data itself, and puts out all but what has to be held back
 * until more is there, which is less than a hash. One or two calls of @sink. -1 is the sink's;
 * the stream cannot be used after that.
 */
int bl_rewrite_feed(struct bl_rewrite *r, uint8_t *data, size_t len, const struct bl_sink *sink,
		    struct bl_err *err) BL_MUST_CHECK;
/* Puts out what is still held; afterwards the stream is as new. */
int bl_rewrite_end(struct bl_rewrite *r, const struct bl_sink *sink,
		   struct bl_err *err) BL_MUST_CHECK;

static inline void bl_rewrites_freep(struct bl_rewrites **t)
{
	bl_rewrites_free(*t);
}

#define bl_auto_rewrites __attribute__((cleanup(bl_rewrites_freep)))

#endif
