/* SPDX-License-Identifier: MIT */
/*
 * What came of one large path, kept on disk until it is valid: who sends it again after the
 * connection was cut goes on from there. Nothing of it is believed: Nix hashes what becomes of
 * it. Never a reason for anything to fail, but for bl_kept_read().
 *
 * It is one file, the header and then the NAR's bytes from its beginning on. Another path gets
 * another file. An agent whose connection hangs, and that holds the same one still, writes the
 * same bytes to the same places, if anything.
 */
#ifndef BELAY_AGENT_KEPT_H
#define BELAY_AGENT_KEPT_H

#include "base/err.h"
#include "base/sha256.h"

/* NARs that are smaller are sent again as a whole. */
#define BL_KEPT_MIN (8ULL << 20)
/* What stays free on the disk, besides the NAR in the store. */
#define BL_KEPT_RESERVE (256ULL << 20)

/* As it lies in the file: only ever compared. What is not used is zero. */
struct bl_kept_head {
	char magic[16];
	char path[256];
	uint8_t nar_hash[BL_SHA256_LEN];
	uint64_t nar_size;
	uint8_t rest[3784]; /* so that the NAR begins with a page */
};

/* { .dir, .reserve_bytes, .fd = -1 } begins it; bl_kept_close() ends it, and the file stays. */
struct bl_kept {
	const char *dir; /* where the file lies, borrowed; NULL: nothing is kept */
	uint64_t reserve_bytes;
	int fd; /* -1: there is no file; all below says nothing then */
	struct bl_kept_head head;
	uint64_t bytes; /* of the NAR that are there */
	bool full;      /* no more are written */
};

/* Looks what an agent before this one has left; what is none of such files goes. */
void bl_kept_look(struct bl_kept *k);
bool bl_kept_is(const struct bl_kept *k, const char *path,
		const uint8_t nar_hash[BL_SHA256_LEN], uint64_t nar_size);
/* Nothing yet of this path, in place of whatever was kept. Where there is not room: nothing. */
void bl_kept_begin(struct bl_kept *k, const char *path, const uint8_t nar_hash[BL_SHA256_LEN],
		   uint64_t nar_size);
/* More of the path that is kept is going to come; what there is not room for is not written. */
void bl_kept_go_on(struct bl_kept *k);
/* Bytes of it that have come, @at no further than what is there. */
void bl_kept_put(struct bl_kept *k, uint64_t at, const void *data, size_t len);
/* All of @len bytes from @at on. BL_E_SYS, BL_E_INPUT: they cannot be read. */
int bl_kept_read(const struct bl_kept *k, uint64_t at, void *buf, size_t len,
		 struct bl_err *err) BL_MUST_CHECK;
/* Removes the file. */
void bl_kept_drop(struct bl_kept *k);
void bl_kept_close(struct bl_kept *k);

#endif
