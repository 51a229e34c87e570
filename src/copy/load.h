/* SPDX-License-Identifier: MIT */
/* What a host is to be sent of a closure, cut into pieces: pure, from what both sides have. */
#ifndef BELAY_COPY_LOAD_H
#define BELAY_COPY_LOAD_H

#include "copy/local.h"
#include "delta/frame.h"
#include "delta/rewrite.h"
#include "wire/copy.h"

#define BL_LOAD_PART (32U << 20) /* bytes of a NAR without a base that go into one piece */

/* A piece that may have a base: which kind it becomes shows when it is made. */
struct bl_load_piece {
	uint32_t first, count; /* places in the load's order */
	uint64_t part;         /* where in the NAR it begins, when it is a part of one */
	struct bl_delta_head head;
	uint32_t *olds; /* for each NAR the number of its base, or BL_COPY_NO_OLD; NULL: none */
	/* what becomes of the hashes in its bases: of those that they refer to, and their own
	 */
	struct bl_hash_pair *pairs;
	size_t n_pairs;
	/* what its content is made of, and nothing else: the same for all hosts that need it */
	uint8_t key[BL_SHA256_LEN];
};

/* What the host has of a path that it lacks; { 0 }: of none. */
struct bl_load_kept {
	uint32_t number;
	uint64_t bytes; /* of its NAR, from its beginning on */
	uint8_t nar_hash[BL_SHA256_LEN];
};

struct bl_load {
	uint32_t *order; /* places in new's infos of what is missing, in the order of adding */
	size_t n;
	uint64_t nar_bytes;  /* of all these */
	uint64_t kept_bytes; /* of which the host has that many, of one path */
	struct bl_copy_pair *pairs;
	size_t n_pairs;
	uint32_t *guesses; /* as bl_copy_guesses() */
	struct bl_load_piece *pieces;
	size_t n_pieces;
};

/*
 * @valid says of each number of @new whether the host has it; @old is what the host has and we
 * have too, NULL: nothing. The path of @kept is sent from there on, if the hash is its own:
 * cut where it would be else, so that hosts share what follows. @bound_bytes is for a piece and
 * its base together. BL_E_INPUT: the closures are none. The caller owns @out: bl_load_free().
 */
int bl_load_plan(const struct bl_local *new, const bool *valid, const struct bl_load_kept *kept,
		 const struct bl_local *old, uint64_t bound_bytes, struct bl_load *out,
		 struct bl_err *err) BL_MUST_CHECK;
/* Pieces without a base for those of @load's order that @again says; in place of its pieces. */
void bl_load_again(const struct bl_local *new, const bool *again, struct bl_load *load);
void bl_load_free(struct bl_load *load);

static inline void bl_load_autop(struct bl_load *load)
{
	bl_load_free(load);
}

#endif
