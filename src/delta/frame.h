/* SPDX-License-Identifier: MIT */
/*
 * Frames: what a NAR is sent as. Usually it is one; a large one that is told by another is cut
 * into slices, and small ones go together into a solid frame. A frame's head says what its
 * content is; how long the content is says who carries it.
 */
#ifndef BELAY_DELTA_FRAME_H
#define BELAY_DELTA_FRAME_H

#include "delta/sink.h"

#define BL_DELTA_BOUND      (256ULL << 20) /* base and new of a frame, unless told otherwise */
#define BL_DELTA_SIZE_MAX   (1ULL << 44)   /* no NAR is larger */
#define BL_DELTA_SOLID_NAR  65536U         /* what is smaller goes into solid frames */
#define BL_DELTA_SOLID_SIZE (8U << 20)     /* of a solid frame */
#define BL_DELTA_HEAD_LEN   25

enum bl_delta_kind {
	BL_DELTA_RAW,   /* the bytes themselves */
	BL_DELTA_ZSTD,  /* one zstd frame */
	BL_DELTA_PATCH, /* one zstd frame, with the base as its prefix */
	BL_DELTA_COPY,  /* equal to the base; no content */
};

/*
 * The base is a window of the old NAR after its hashes were rewritten (delta/rewrite.h): bytes
 * base_at to base_at + base_size of it. Of a solid frame it is a window of the rewritten old
 * NARs one behind the other.
 */
struct bl_delta_head {
	enum bl_delta_kind kind;
	uint64_t size_bytes; /* of what the frame decodes to */
	uint64_t base_at;    /* both 0 unless PATCH or COPY */
	uint64_t base_bytes;
};

/* The kind in one byte, then the three numbers, eight bytes each, the lowest first. */
void bl_delta_head_put(const struct bl_delta_head *h, uint8_t out[BL_DELTA_HEAD_LEN]);
/* BL_E_INPUT: not such a head, or one that bl_delta_head_check() refuses. */
int bl_delta_head_parse(const uint8_t *data, size_t len, struct bl_delta_head *out,
			struct bl_err *err) BL_MUST_CHECK;
/* BL_E_INPUT: no such kind, a number above BL_DELTA_SIZE_MAX, a base where none belongs, none
 * where one does, or a copy that is not as long as its base. */
int bl_delta_head_check(const struct bl_delta_head *h, struct bl_err *err) BL_MUST_CHECK;

/*
 * How a NAR of @size_bytes is told by one of @base_bytes (0: by none) so that no frame has more
 * than @bound_bytes (at least 3) of base and new together: how many frames, and the head of
 * frame @i. One that fits, or has no base, is one frame. Otherwise a third of the bound is new
 * and the rest a window of the base, around the place that is as far into it; windows go
 * forward only. The heads say PATCH, or ZSTD when there is no base.
 */
uint64_t bl_delta_slices(uint64_t size_bytes, uint64_t base_bytes, uint64_t bound_bytes);
void bl_delta_slice(uint64_t size_bytes, uint64_t base_bytes, uint64_t bound_bytes, uint64_t i,
		    struct bl_delta_head *out);

/* How many of @n NARs, from the first on, go into the next solid frame; 1 when the first one is
 * larger than a frame, 0 when @n is. */
size_t bl_delta_solid_fit(const uint64_t *sizes_bytes, size_t n);

/*
 * What comes out of a solid frame, cut where one NAR ends and the next begins. Its sink is
 * bl_delta_split_sink(); bl_delta_split_end() is called when the frame is over.
 */
struct bl_delta_split {
	const uint64_t *sizes_bytes; /* of its NARs, borrowed */
	size_t n;
	/* Bytes of NAR @i; @last when they are its last ones, which is said once of each, in
	 * order, with a @len of 0 if it is empty. -1 as bl_sink's. */
	int (*put)(void *arg, size_t i, const uint8_t *data, size_t len, bool last,
		   struct bl_err *err);
	void *arg;
	size_t at;           /* begins with 0: the NAR that is next */
	uint64_t done_bytes; /* begins with 0: of it */
};

/* Borrows @s. The sink fails with BL_E_INPUT on bytes behind the last NAR. */
struct bl_sink bl_delta_split_sink(struct bl_delta_split *s);
/* BL_E_INPUT: a NAR is not complete. */
int bl_delta_split_end(struct bl_delta_split *s, struct bl_err *err) BL_MUST_CHECK;

#endif
