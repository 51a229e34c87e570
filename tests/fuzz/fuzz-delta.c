/* SPDX-License-Identifier: MIT */
/*
 * A frame: 25 bytes of head, one that says how large its parts are, then content. What comes
 * out is never more than the head says, and as much when the frame is accepted.
 */
#include "delta/decode.h"

#include <assert.h>
#include <string.h>

#define LIMIT (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t base[LIMIT];

static int count(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	uint64_t *bytes = arg;
	(void)data;
	(void)err;
	assert(len > 0 && len <= BL_DELTA_CHUNK);
	*bytes += len;
	return 0;
}

static int decode(const struct bl_delta_head *h, const uint8_t *data, size_t size, size_t step,
		  uint64_t *bytes, struct bl_err *err)
{
	struct bl_sink sink = { count, bytes };
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(LIMIT);
	if (bl_decoder_begin(d, h, h->base_bytes <= LIMIT ? base : NULL, &sink, err) < 0)
		return -1;
	for (size_t at = 0, n = 0; at < size; at += n) {
		n = step < size - at ? step : size - at;
		if (bl_decoder_feed(d, data + at, n, err) < 0) {
			struct bl_err again = { 0 };
			assert(bl_decoder_end(d, &again) < 0 && again.code == BL_E_USAGE);
			return -1;
		}
	}
	return bl_decoder_end(d, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bl_delta_head h = { 0 };
	struct bl_err err = { 0 };
	uint8_t back[BL_DELTA_HEAD_LEN];
	uint64_t bytes = 0;
	if (size <= BL_DELTA_HEAD_LEN)
		return 0;
	if (bl_delta_head_parse(data, BL_DELTA_HEAD_LEN, &h, &err) < 0) {
		assert(err.code == BL_E_INPUT && *err.msg);
		return 0;
	}
	bl_delta_head_put(&h, back);
	assert(memcmp(back, data, sizeof(back)) == 0);
	for (size_t i = 0; !base[1000] && i < sizeof(base);
	     i++) /* once; the one of the corpus */
		base[i] = (uint8_t)(i * i >> 7);
	size_t step = 1U + data[BL_DELTA_HEAD_LEN];
	int r = decode(&h, data + BL_DELTA_HEAD_LEN + 1, size - BL_DELTA_HEAD_LEN - 1, step,
		       &bytes, &err);
	assert(r == 0 ? bytes == h.size_bytes : bytes <= h.size_bytes);
	assert(r == 0 || (err.code == BL_E_INPUT && *err.msg));
	return 0;
}
