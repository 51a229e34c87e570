/* SPDX-License-Identifier: MIT */
/*
 * The frames that a closure is sent in, besides the messages COPY, HAVE and COPY_END
 * (wire/msg.h):
 *
 *   deployer  COPY, PATHS...    the closure's paths, sorted; their places are their numbers
 *   agent     HAVE, VALID...    what is there already, and the system that the host runs,
 *                               whose paths the new ones can be told by; or OK at once: the
 *                               `top` of COPY, which refers to all of them, is valid
 *   deployer  INFOS..., PAIRS...   what Nix is to know of those that are missing, in the
 *                               order in which they are added
 *             PIECE, DATA..., PIECE, ..., COPY_END
 *   agent     OK                all of it is valid; behind HAVE and VALID too, if it was before
 *             LINE, FAILED...   or why the first one failed (stream "copy"), and what has to
 *                               come again: PIECE, DATA..., COPY_END
 *
 * HAVE may name a path of which a part came when a connection was cut; its pieces may begin
 * within that part.
 *
 * REFUSED may come instead of an answer, and while pieces are sent too. Frames of this list and
 * COPY_END that the deployer sends behind it are thrown away; then the connection is as before.
 * VALID and FAILED are bits, of PATHS and of INFOS; each frame is a whole number of bytes.
 *
 * PATHS, INFOS and PAIRS are blocks: a number, which is how long they are, and one zstd frame.
 * PATHS is the paths without the store's folder, each with a newline behind it; INFOS and PAIRS
 * are as bl_copy_put_info() and bl_copy_put_pairs() write them.
 * Numbers are little-endian, seven bits a byte, and all but the last byte have the highest bit;
 * none is longer than it need be. A text is a number, which is how long it is, and its bytes.
 * Everything here that takes bytes gives BL_E_INPUT for what is no such thing. What is said to
 * be a path has to be one where it is put.
 */
#ifndef BELAY_WIRE_COPY_H
#define BELAY_WIRE_COPY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"

enum bl_copy_frame {
	BL_COPY_PATHS = 64,
	BL_COPY_VALID,
	BL_COPY_INFOS,
	BL_COPY_PAIRS,
	BL_COPY_PIECE,
	BL_COPY_DATA,
	BL_COPY_FAILED,
};

#define BL_COPY_PATHS_MAX (1U << 18)  /* in a closure */
#define BL_COPY_BLOCK     (1UL << 20) /* bytes of a block before compression, about */
#define BL_COPY_BLOCK_MAX (4UL << 20) /* and at the most */
#define BL_COPY_TEXT_MAX  4096        /* bytes of a text */
#define BL_COPY_BITS_MAX  (BL_COPY_PATHS_MAX / 8)

/* What Nix is to know of a path, with numbers of PATHS. */
struct bl_copy_info {
	uint32_t path;
	uint8_t nar_hash[BL_SHA256_LEN];
	uint64_t nar_size;
	char *deriver; /* "" or a store path */
	char *ca;
	uint32_t *refs;
	size_t n_refs;
	struct bl_strv sigs;
};

/*
 * A frame of delta/frame.h: NARs @first to @first + @count - 1 of INFOS, whole ones, or of one
 * alone the bytes from @part on.
 */
struct bl_copy_piece {
	unsigned kind; /* enum bl_delta_kind */
	uint32_t first, count;
	uint64_t part;
	uint64_t size_bytes;
	/* with a kind that has a base: */
	uint64_t base_at, base_bytes;
	uint32_t *olds; /* for each NAR the number of its base, or BL_COPY_NO_OLD */
};
#define BL_COPY_NO_OLD UINT32_MAX
/* DATA of no bytes comes from the first PIECE on where nothing else does within twice as long.
 */
#define BL_COPY_ALIVE_MS 5000

/* The old path's hash becomes the new one's. */
struct bl_copy_pair {
	uint32_t old, new; /* places in the sorted closures */
};

/*
 * By what stands behind the hash, and by the hash where that is equal, as bytes: paths of two
 * builds are at about the same places.
 */
void bl_copy_sort(struct bl_strv *paths);
/* Whether @paths are sorted so, each once. */
bool bl_copy_sorted(const struct bl_strv *paths);
/* SHA-256 of sorted paths as in PATHS: whether both ends speak of the same closure. */
void bl_copy_digest(const struct bl_strv *paths, uint8_t out[BL_SHA256_LEN]);

void bl_copy_put_number(struct bl_buf *out, uint64_t n);
/* From the front of a payload; @data and @len move on. */
int bl_copy_take_number(const char **data, size_t *len, uint64_t max, uint64_t *out,
			struct bl_err *err) BL_MUST_CHECK;

/* As they stand in a block, one behind the other. */
void bl_copy_put_path(struct bl_buf *out, const char *path);
void bl_copy_put_info(struct bl_buf *out, const struct bl_copy_info *info);
/*
 * All of a block; appended to @paths, of which there are never more than BL_COPY_PATHS_MAX and
 * which stay sorted, each once. After a failure some of them are there.
 */
int bl_copy_take_paths(const char *data, size_t len, struct bl_strv *paths,
		       struct bl_err *err) BL_MUST_CHECK;
/* The next one; @n_paths is how many numbers of paths there are. The caller frees @out. */
int bl_copy_take_info(const char **data, size_t *len, size_t n_paths, struct bl_copy_info *out,
		      struct bl_err *err) BL_MUST_CHECK;
void bl_copy_info_free(struct bl_copy_info *info);

/* A block of @n pairs, each number as how far it is from the one before. */
void bl_copy_put_pairs(struct bl_buf *out, const struct bl_copy_pair *pairs, size_t n);
/*
 * All of a block: @n_old and @n_new are the numbers that there are. Appended to the caller's,
 * of which there are never more than @n_old; after a failure they are as they were.
 */
int bl_copy_take_pairs(const char *data, size_t len, size_t n_old, size_t n_new,
		       struct bl_copy_pair **pairs, size_t *n,
		       struct bl_err *err) BL_MUST_CHECK;

/*
 * What the base of each of INFOS is, as far as PAIRS say so: the first old path whose hash
 * becomes its own, or BL_COPY_NO_OLD. @paths are the numbers of INFOS' @n paths, @n_paths is
 * how many numbers there are. The caller frees what comes back.
 */
uint32_t *bl_copy_guesses(const struct bl_copy_pair *pairs, size_t n_pairs,
			  const uint32_t *paths, size_t n, size_t n_paths);

/*
 * Bases that are as guessed are not told: how many of them stand in a row, then the one that is
 * another, and so on. @guesses has one for each of INFOS; NULL: none has a base.
 */
void bl_copy_put_piece(struct bl_buf *out, const struct bl_copy_piece *piece,
		       const uint32_t *guesses);
/* All of a payload; @n_infos and @n_old as above. The caller frees @out. */
int bl_copy_take_piece(const char *data, size_t len, size_t n_infos, size_t n_old,
		       const uint32_t *guesses, struct bl_copy_piece *out,
		       struct bl_err *err) BL_MUST_CHECK;
void bl_copy_piece_free(struct bl_copy_piece *piece);

/* Bits of VALID and FAILED, the lowest first. @out is (n + 7) / 8 bytes longer afterwards. */
void bl_copy_put_bits(struct bl_buf *out, const bool *bits, size_t n);
/* Exactly @n of them. */
int bl_copy_take_bits(const char *data, size_t len, bool *bits, size_t n,
		      struct bl_err *err) BL_MUST_CHECK;

static inline void bl_copy_info_autop(struct bl_copy_info *info)
{
	bl_copy_info_free(info);
}

static inline void bl_copy_piece_autop(struct bl_copy_piece *piece)
{
	bl_copy_piece_free(piece);
}

#endif
