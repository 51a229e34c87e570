/* SPDX-License-Identifier: MIT */
#include "delta/decode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

/* Larger windows no decoder of zstd takes everywhere (32 bits). */
#define WINDOW_LOG_MAX 30
/* A decoder that has grown beyond is not kept for the next frame. */
#define KEEP_BYTES (16U << 20)
/* Magic, descriptor, window, dictionary and size: RFC 8878, 3.1.1.1. */
#define FRAME_HEADER_MAX 18
#define FRAME_HEADER_MIN 5 /* with these it is known how long the header is */

struct bl_decoder {
	uint64_t memory_bytes;
	ZSTD_DCtx *z; /* NULL until a frame needs it */
	struct bl_delta_head head;
	const uint8_t *base;
	struct bl_sink sink;
	uint64_t done_bytes;
	bool open;
	bool ended; /* the zstd frame is complete */
	/* the header of the zstd frame, looked at before zstd sees it */
	uint8_t first[FRAME_HEADER_MAX];
	size_t n_first;
	bool looked;
	uint8_t out[BL_DELTA_CHUNK];
};

struct bl_decoder *bl_decoder_new(uint64_t memory_bytes)
{
	struct bl_decoder *d = bl_xcalloc(1, sizeof(*d));
	d->memory_bytes = memory_bytes;
	return d;
}

void bl_decoder_free(struct bl_decoder *d)
{
	if (!d)
		return;
	ZSTD_freeDCtx(d->z);
	free(d);
}

static int zstd_failed(size_t code, struct bl_err *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
		return bl_err_sys(err, ENOMEM, "decompress");
	return bl_err_set(err, BL_E_INPUT, "decompress: %s", ZSTD_getErrorName(code));
}

static int begin_zstd(struct bl_decoder *d, struct bl_err *err)
{
	if (!d->z)
		d->z = ZSTD_createDCtx();
	if (!d->z)
		return bl_err_sys(err, ENOMEM, "decompress");
	size_t r = ZSTD_DCtx_reset(d->z, ZSTD_reset_session_and_parameters);
	if (!ZSTD_isError(r))
		r = ZSTD_DCtx_setParameter(d->z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	if (!ZSTD_isError(r) && d->head.kind == BL_DELTA_PATCH)
		r = ZSTD_DCtx_refPrefix(d->z, d->base, (size_t)d->head.base_bytes);
	return ZSTD_isError(r) ? zstd_failed(r, err) : 0;
}

int bl_decoder_begin(struct bl_decoder *d, const struct bl_delta_head *h, const uint8_t *base,
		     const struct bl_sink *sink, struct bl_err *err)
{
	d->open = d->ended = d->looked = false;
	d->n_first = 0;
	d->done_bytes = 0;
	if (bl_delta_head_check(h, err) < 0)
		return -1;
	if (h->base_bytes > d->memory_bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a frame has a base of %" PRIu64 " bytes, %" PRIu64
				  " are allowed",
				  h->base_bytes, d->memory_bytes);
	d->head = *h;
	d->base = base;
	d->sink = *sink;
	if ((h->kind == BL_DELTA_ZSTD || h->kind == BL_DELTA_PATCH) && begin_zstd(d, err) < 0)
		return -1;
	d->open = true;
	return 0;
}

static int put(struct bl_decoder *d, const uint8_t *data, size_t len, struct bl_err *err)
{
	if (len > d->head.size_bytes - d->done_bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a frame makes more than its %" PRIu64 " bytes",
				  d->head.size_bytes);
	d->done_bytes += len;
	return bl_sink_put(&d->sink, data, len, err);
}

static int put_parts(struct bl_decoder *d, const uint8_t *data, size_t len, struct bl_err *err)
{
	for (size_t part = 0; len > 0; data += part, len -= part) {
		part = len < BL_DELTA_CHUNK ? len : BL_DELTA_CHUNK;
		if (put(d, data, part, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_single(const uint8_t *p)
{
	return p[4] >> 5 & 1;
}

/* How many bytes of the header say how long the content is. */
static size_t size_len(const uint8_t *p)
{
	static const uint8_t len[4] = { 0, 2, 4, 8 };
	return p[4] >> 6 == 0 && is_single(p) ? 1U : len[p[4] >> 6];
}

/* How long the zstd frame's header is; its first FRAME_HEADER_MIN bytes are there. */
static size_t header_len(const uint8_t *p)
{
	static const uint8_t dictionary[4] = { 0, 1, 2, 4 };
	return FRAME_HEADER_MIN + (is_single(p) ? 0U : 1U) + dictionary[p[4] & 3] + size_len(p);
}

/* How long the content is; UINT64_MAX: the header does not say. */
static uint64_t header_size(const uint8_t *p, size_t len)
{
	size_t n = size_len(p);
	uint64_t size = n > 0 ? 0 : UINT64_MAX;
	for (size_t i = 0; i < n; i++)
		size |= (uint64_t)p[len - n + i] << 8 * i;
	return n == 2 ? size + 256 : size;
}

static uint64_t header_window(const uint8_t *p, size_t len)
{
	if (is_single(p))
		return header_size(p, len);
	uint64_t unit = 1ULL << (10 + (p[5] >> 3));
	return unit + unit / 8 * (p[5] & 7);
}

/*
 * zstd would take a window of any size up to WINDOW_LOG_MAX, frames of old formats, and frames
 * with nothing in them; so the header is read here first.
 */
static int look(struct bl_decoder *d, struct bl_err *err)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	uint64_t window = header_window(d->first, d->n_first);
	uint64_t size = header_size(d->first, d->n_first);
	if (memcmp(d->first, magic, sizeof(magic)) != 0)
		return bl_err_set(err, BL_E_INPUT, "the content of a frame is not zstd");
	if (size != UINT64_MAX && size != d->head.size_bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a frame of %" PRIu64 " bytes has content of %" PRIu64,
				  d->head.size_bytes, size);
	uint64_t allowed = d->memory_bytes - d->head.base_bytes;
	if (allowed > 1ULL << WINDOW_LOG_MAX)
		allowed = 1ULL << WINDOW_LOG_MAX;
	/* a window larger than the content is kept as far as the content goes */
	uint64_t keeps = window < size ? window : size;
	if (keeps > allowed || window > 1ULL << WINDOW_LOG_MAX)
		return bl_err_set(err, BL_E_INPUT,
				  "a frame demands a window of %" PRIu64 " bytes, %" PRIu64
				  " are allowed",
				  window, allowed);
	d->looked = true;
	return 0;
}

static int decompress(struct bl_decoder *d, const void *data, size_t len, struct bl_err *err)
{
	ZSTD_inBuffer in = { data, len, 0 };
	bool full = false; /* the output was, so that more may come without input */
	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = { d->out, sizeof(d->out), 0 };
		if (d->ended)
			return bl_err_set(err, BL_E_INPUT, "a frame has bytes behind its end");
		size_t r = ZSTD_decompressStream(d->z, &out, &in);
		if (ZSTD_isError(r))
			return zstd_failed(r, err);
		d->ended = r == 0;
		full = !d->ended && out.pos == out.size;
		if (put(d, d->out, out.pos, err) < 0)
			return -1;
	}
	return 0;
}

static int feed_zstd(struct bl_decoder *d, const uint8_t *data, size_t len, struct bl_err *err)
{
	while (!d->looked && len > 0) {
		d->first[d->n_first++] = *data++;
		len--;
		if (d->n_first < FRAME_HEADER_MIN || d->n_first < header_len(d->first))
			continue;
		if (look(d, err) < 0 || decompress(d, d->first, d->n_first, err) < 0)
			return -1;
	}
	return decompress(d, data, len, err);
}

static int feed(struct bl_decoder *d, const uint8_t *data, size_t len, struct bl_err *err)
{
	switch (d->head.kind) {
	case BL_DELTA_RAW:
		return put_parts(d, data, len, err);
	case BL_DELTA_ZSTD:
	case BL_DELTA_PATCH:
		return feed_zstd(d, data, len, err);
	case BL_DELTA_COPY:
		break;
	}
	return bl_err_set(err, BL_E_INPUT, "a copy has content");
}

static int not_open(struct bl_err *err)
{
	return bl_err_set(err, BL_E_USAGE, "no frame was begun, or it has failed");
}

int bl_decoder_feed(struct bl_decoder *d, const void *data, size_t len, struct bl_err *err)
{
	if (!d->open)
		return not_open(err);
	if (len > 0 && feed(d, data, len, err) < 0) {
		d->open = false;
		return -1;
	}
	return 0;
}

int bl_decoder_end(struct bl_decoder *d, struct bl_err *err)
{
	if (!d->open)
		return not_open(err);
	d->open = false;
	if (d->z && ZSTD_sizeof_DCtx(d->z) > KEEP_BYTES) {
		ZSTD_freeDCtx(d->z);
		d->z = NULL;
	}
	if (d->head.kind == BL_DELTA_COPY)
		return put_parts(d, d->base, (size_t)d->head.base_bytes, err);
	bool zstd = d->head.kind != BL_DELTA_RAW;
	if ((zstd && !d->ended) || d->done_bytes < d->head.size_bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a frame ends after %" PRIu64 " of its %" PRIu64 " bytes",
				  d->done_bytes, d->head.size_bytes);
	return 0;
}
