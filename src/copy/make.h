/* SPDX-License-Identifier: MIT */
/* The content of a piece, from this machine's store. */
#ifndef BELAY_COPY_MAKE_H
#define BELAY_COPY_MAKE_H

#include "copy/load.h"
#include "delta/sink.h"

struct bl_make {
	const char *const *news; /* store paths of the piece's NARs */
	const char *const *olds; /* of their bases, NULL where there is none; NULL: no bases */
	size_t count;
	const struct bl_hash_pair *pairs; /* what becomes of hashes in the bases */
	size_t n_pairs;
	uint64_t part; /* where in the one NAR it begins; 0 of several */
	int level;     /* of zstd; 0: pieces without a base go raw */
};

/*
 * Puts the content into @sink, and makes of @head what it became before the first byte: a copy
 * where the rewritten base is what was asked for, without a base where that cannot be read, raw
 * at level 0. Blocks; takes memory for the base and the piece. BL_E_INPUT or BL_E_SYS:
 * something new cannot be read or is not as large as Nix says; what the encoder or the sink
 * fails with.
 */
int bl_make_piece(const struct bl_make *m, struct bl_delta_head *head,
		  const struct bl_sink *sink, struct bl_err *err) BL_MUST_CHECK;

/* A block of wire/copy.h: how long @data is, and its zstd frame. Appended to @out. */
int bl_make_block(const void *data, size_t len, struct bl_buf *out,
		  struct bl_err *err) BL_MUST_CHECK;

#endif
