/* SPDX-License-Identifier: MIT */
/* From the pieces that a closure is sent in to paths of the store. */
#ifndef BELAY_AGENT_UNPACK_H
#define BELAY_AGENT_UNPACK_H

#include "agent/kept.h"
#include "agent/olds.h"
#include "delta/decode.h"

/*
 * { .daemon, .paths, .decoder, .bases, .kept } and the infos begin it, all borrowed but the
 * infos; bl_unpack_free() ends it. Whatever is wrong with a piece is remembered of its paths,
 * and does not harm others; -1 means that the daemon is of no use any more.
 */
struct bl_unpack {
	struct bl_daemon *daemon;
	const struct bl_strv *paths; /* of the closure */
	struct bl_decoder *decoder;
	struct bl_bases *bases;
	struct bl_kept *kept;       /* of the large path that comes, or came last */
	bool kept_waits;            /* it came before, and the rest of that path may come */
	struct bl_copy_info *infos; /* room for @infos_max, owned */
	size_t n_infos, infos_max;

	uint8_t *states; /* of each info's path */
	uint32_t *begun; /* infos that the daemon was told of, in this order */
	size_t n_begun, told;
	size_t open;      /* the info of the path that is being added, + 1; 0: none */
	uint64_t open_at; /* bytes of it that were */
	size_t kept_at;   /* the info of the path that is kept, + 1; 0: none of these */
	struct bl_copy_piece piece;
	uint64_t *sizes_bytes; /* of its parts */
	struct bl_delta_split split;
	bool going; /* the piece's content is wanted */
	char *why;  /* the first failure, with its path; NULL: none */
	bool full;  /* the disk is */
	/* the first path that Nix would only take with a signature that it trusts, borrowed;
	 * NULL: none */
	const char *unsigned_path;
};

/* Room for @n infos, which the caller fills. */
void bl_unpack_begin(struct bl_unpack *u, size_t n);
void bl_unpack_free(struct bl_unpack *u);

/*
 * Ends the last piece and begins this one, which it takes over. One that begins within a NAR
 * goes on where the last one ended, or somewhere in what is kept of it.
 */
int bl_unpack_piece(struct bl_unpack *u, struct bl_copy_piece *piece,
		    struct bl_err *err) BL_MUST_CHECK;
/* The next bytes of its content. Passed over when nobody waits for it, or it has failed. */
int bl_unpack_data(struct bl_unpack *u, const void *data, size_t len,
		   struct bl_err *err) BL_MUST_CHECK;
/* That was all: waits for the daemon. @out_failed is how many paths are not valid now. */
int bl_unpack_end(struct bl_unpack *u, size_t *out_failed, struct bl_err *err) BL_MUST_CHECK;
/* Those that failed may come again. @bits has room for all infos and tells which they are. */
void bl_unpack_again(struct bl_unpack *u, bool *bits);
/* What the daemon says of the next path that was added: bl_daemon_spec's added. */
void bl_unpack_added(struct bl_unpack *u, const char *problem);

static inline void bl_unpack_autop(struct bl_unpack *u)
{
	bl_unpack_free(u);
}

#endif
