/* SPDX-License-Identifier: MIT */
#include "delta/encode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL_MAX      19
#define WINDOW_LOG_MIN 10
#define WINDOW_LOG_MAX 30

/* Of patches; measured with bench/copy's updates and with bench/delta. */
#define PATCH_LEVEL   1
#define TABLE_SHARE   4 /* a place in the table for 2^4 bytes of base and new */
#define TABLE_LOG_MIN 20
#define TABLE_LOG_MAX 23 /* of four bytes each */
#define LONG_MATCH    128

struct bl_encoder {
	ZSTD_CCtx *z; /* NULL until a frame needs it */
	struct bl_delta_head head;
	const uint8_t *base;
	struct bl_sink sink;
	uint64_t done_bytes;
	bool open;
	uint8_t out[BL_DELTA_CHUNK];
};

struct bl_encoder *bl_encoder_new(void)
{
	return bl_xcalloc(1, sizeof(struct bl_encoder));
}

void bl_encoder_free(struct bl_encoder *e)
{
	if (!e)
		return;
	ZSTD_freeCCtx(e->z);
	free(e);
}

static int zstd_failed(size_t code, struct bl_err *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
		return bl_err_sys(err, ENOMEM, "compress");
	return bl_err_set(err, BL_E_USAGE, "compress: %s", ZSTD_getErrorName(code));
}

/* So many bits that everything from the base's first byte on can be referred to. */
static int window_log(const struct bl_delta_head *h)
{
	int bits = WINDOW_LOG_MIN;
	while (1ULL << bits < h->size_bytes + h->base_bytes)
		bits++;
	return bits;
}

static int table_log(int window)
{
	int bits = window - TABLE_SHARE;
	bits = bits < TABLE_LOG_MIN   ? TABLE_LOG_MIN
	       : bits > TABLE_LOG_MAX ? TABLE_LOG_MAX
				      : bits;
	return bits < window ? bits : window;
}

/*
 * What is new lies in small pieces between what the base has, and behind each of them the place
 * in the base has to be found again. That wants a table which knows most of the base's places;
 * that of zstd's levels is for some hundred KiB. With a large one the plainest search, one look
 * at each place, finds more than the careful ones of higher levels, which fill it with matches
 * that are short and near. Long matches are searched for besides: they are most of a patch.
 */
static size_t begin_patch(struct bl_encoder *e)
{
	int window = window_log(&e->head);
	const struct {
		ZSTD_cParameter what;
		int value;
	} set[] = {
		{ ZSTD_c_compressionLevel, PATCH_LEVEL },
		{ ZSTD_c_windowLog, window },
		{ ZSTD_c_hashLog, table_log(window) },
		{ ZSTD_c_enableLongDistanceMatching, 1 },
		{ ZSTD_c_ldmMinMatch, LONG_MATCH },
	};
	size_t r = 0;
	for (size_t i = 0; i < BL_COUNT(set) && !ZSTD_isError(r); i++)
		r = ZSTD_CCtx_setParameter(e->z, set[i].what, set[i].value);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_refPrefix(e->z, e->base, (size_t)e->head.base_bytes);
	return r;
}

/* No checksum: Nix hashes the NAR. The size stays in, since the decoder then needs no more
 * memory than that instead of a whole window. */
static int begin_zstd(struct bl_encoder *e, int level, struct bl_err *err)
{
	if (!e->z)
		e->z = ZSTD_createCCtx();
	if (!e->z)
		return bl_err_sys(err, ENOMEM, "compress");
	size_t r = ZSTD_CCtx_reset(e->z, ZSTD_reset_session_and_parameters);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_setParameter(e->z, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_setPledgedSrcSize(e->z, e->head.size_bytes);
	if (!ZSTD_isError(r) && e->head.kind == BL_DELTA_PATCH)
		r = begin_patch(e);
	return ZSTD_isError(r) ? zstd_failed(r, err) : 0;
}

static bool is_zstd(const struct bl_encoder *e)
{
	return e->head.kind == BL_DELTA_ZSTD || e->head.kind == BL_DELTA_PATCH;
}

int bl_encoder_begin(struct bl_encoder *e, const struct bl_delta_head *h, int level,
		     const uint8_t *base, const struct bl_sink *sink, struct bl_err *err)
{
	struct bl_err why = { 0 };
	e->open = false;
	e->done_bytes = 0;
	if (bl_delta_head_check(h, &why) < 0)
		return bl_err_set(err, BL_E_USAGE, "%s", why.msg);
	e->head = *h;
	e->base = base;
	e->sink = *sink;
	if (is_zstd(e) && (level < 1 || level > LEVEL_MAX))
		return bl_err_set(err, BL_E_USAGE, "compress: no level %d", level);
	if (h->kind == BL_DELTA_PATCH && h->size_bytes + h->base_bytes > 1ULL << WINDOW_LOG_MAX)
		return bl_err_set(err, BL_E_USAGE,
				  "a patch of %" PRIu64 " bytes with a base of %" PRIu64
				  " has to be cut",
				  h->size_bytes, h->base_bytes);
	if (is_zstd(e) && begin_zstd(e, level, err) < 0)
		return -1;
	e->open = true;
	return 0;
}

static int compress(struct bl_encoder *e, const uint8_t *data, size_t len,
		    ZSTD_EndDirective how, struct bl_err *err)
{
	ZSTD_inBuffer in = { data, len, 0 };
	size_t left = 0;
	do {
		ZSTD_outBuffer out = { e->out, sizeof(e->out), 0 };
		left = ZSTD_compressStream2(e->z, &out, &in, how);
		if (ZSTD_isError(left))
			return zstd_failed(left, err);
		if (bl_sink_put(&e->sink, e->out, out.pos, err) < 0)
			return -1;
	} while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
	return 0;
}

static int put_raw(struct bl_encoder *e, const uint8_t *data, size_t len, struct bl_err *err)
{
	for (size_t part = 0; len > 0; data += part, len -= part) {
		part = len < BL_DELTA_CHUNK ? len : BL_DELTA_CHUNK;
		if (bl_sink_put(&e->sink, data, part, err) < 0)
			return -1;
	}
	return 0;
}

static int feed(struct bl_encoder *e, const uint8_t *data, size_t len, struct bl_err *err)
{
	uint64_t at = e->done_bytes;
	if (len > e->head.size_bytes - at)
		return bl_err_set(err, BL_E_USAGE, "more than the %" PRIu64 " bytes of a frame",
				  e->head.size_bytes);
	e->done_bytes += len;
	if (is_zstd(e))
		return compress(e, data, len, ZSTD_e_continue, err);
	if (e->head.kind == BL_DELTA_RAW)
		return put_raw(e, data, len, err);
	if (memcmp(e->base + at, data, len) != 0)
		return bl_err_set(err, BL_E_USAGE, "a copy is not equal to its base");
	return 0;
}

static int not_open(struct bl_err *err)
{
	return bl_err_set(err, BL_E_USAGE, "no frame was begun, or it has failed");
}

int bl_encoder_feed(struct bl_encoder *e, const void *data, size_t len, struct bl_err *err)
{
	if (!e->open)
		return not_open(err);
	if (len > 0 && feed(e, data, len, err) < 0) {
		e->open = false;
		return -1;
	}
	return 0;
}

int bl_encoder_end(struct bl_encoder *e, struct bl_err *err)
{
	if (!e->open)
		return not_open(err);
	e->open = false;
	if (e->done_bytes < e->head.size_bytes)
		return bl_err_set(err, BL_E_USAGE,
				  "%" PRIu64 " of the %" PRIu64 " bytes of a frame",
				  e->done_bytes, e->head.size_bytes);
	return is_zstd(e) ? compress(e, NULL, 0, ZSTD_e_end, err) : 0;
}
