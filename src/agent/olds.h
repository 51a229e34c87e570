/* SPDX-License-Identifier: MIT */
/* What the running system is made of, and the bases that it gives for what is copied. */
#ifndef BELAY_AGENT_OLDS_H
#define BELAY_AGENT_OLDS_H

#include "delta/window.h"
#include "store/query.h"
#include "wire/copy.h"

/* A closure, sorted by bl_copy_sort(). */
struct bl_olds {
	struct bl_strv paths;
	uint64_t *sizes_bytes; /* of their NARs */
	/* the references of path i: refs[refs_at[i]] to refs[refs_at[i + 1] - 1] */
	uint32_t *refs;
	size_t *refs_at;
};

/*
 * The closure of @system, which the garbage collector spares from here on as long as @d is
 * open. Fails as bl_query_closure() does, or with BL_E_INPUT when it has more than
 * BL_COPY_PATHS_MAX paths; @out is empty then. The caller owns @out: bl_olds_free().
 */
int bl_olds_read(struct bl_daemon *d, const char *system, struct bl_olds *out,
		 struct bl_err *err) BL_MUST_CHECK;
void bl_olds_free(struct bl_olds *olds);

/*
 * The rewritten bases of pieces, one at a time. { .olds, .pairs, .root, .memory_bytes } begins
 * it, all of them borrowed; bl_bases_drop() ends it. Rewritten are the hashes of the paths that
 * the base's paths refer to, and their own, as far as they have a pair: so whoever sends to
 * many hosts makes a piece once.
 */
struct bl_bases {
	const struct bl_olds *olds;
	const struct bl_hash_pair *pairs; /* of each old path; one that has none is all zeros */
	const char *root;                 /* what stands before /nix/store; "" but in tests */
	uint64_t memory_bytes;            /* for a base and what is told by it */
	/* the one that is held; the pieces of one path may go on with it */
	bool held;
	uint32_t first, old;
	bool alone; /* of one path */
	struct bl_rewrites *rewrites;
	uint8_t *whole;
	struct bl_base stream; /* of one that is too large for that */
	int fd;                /* what the stream is read from */
	int pid;               /* of who writes it */
};

/*
 * Bytes base_at to base_at + base_bytes of the old paths of @p, one behind the other and
 * rewritten as one stream; borrowed until the next call. Nothing but that is in memory, unless
 * all of it and the piece are within memory_bytes together.
 *
 * BL_E_INPUT: the base has no such bytes, or the window goes back and cannot; BL_E_SYS: no
 * memory, an old path cannot be read. No base is held then.
 */
int bl_bases_window(struct bl_bases *b, const struct bl_copy_piece *p, const uint8_t **out,
		    struct bl_err *err) BL_MUST_CHECK;
void bl_bases_drop(struct bl_bases *b);

static inline void bl_olds_autop(struct bl_olds *olds)
{
	bl_olds_free(olds);
}

#endif
