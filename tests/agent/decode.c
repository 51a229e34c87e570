/* SPDX-License-Identifier: MIT */
/*
 * Whether the decoder works as it is linked into the agent: static, with musl and with zstd's
 * archive made for glibc. Exit status 0 when a sample comes out as it has to.
 */
#include "delta/decode.h"
#include "base/buf.h"
#include "delta/rewrite.h"

#include <stdio.h>
#include <string.h>

#define SIZE 4096
#define AT   1011 /* of the hash */

static int take(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static void make_base(uint8_t *base)
{
	uint32_t x = 1;
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1103515245U + 12345U;
		base[i] = (uint8_t)(x >> 16);
	}
	memcpy(base + AT - 11, "/nix/store/11111111111111111111111111111111-a", 45);
}

/* Seven bytes of the new one are others than the rewritten base's; made by zstd 1.5.4 -3. */
static const uint8_t patch[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x0f, 0xa5, 0x00, 0x00,
				 0x38, 0x63, 0x68, 0x61, 0x6e, 0x67, 0x65, 0x64, 0x02, 0x00,
				 0x3e, 0x0c, 0xc0, 0xf9, 0xad, 0x76, 0x03, 0xe0, 0x1f, 0x20 };

static int decode(uint8_t *base, struct bl_buf *out, struct bl_err *err)
{
	struct bl_hash_pair pair = { { 0 }, { 0 } };
	struct bl_delta_head head = { BL_DELTA_PATCH, SIZE, 0, SIZE };
	struct bl_sink sink = { take, out };
	bl_auto_rewrites struct bl_rewrites *list = NULL;
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(BL_DELTA_BOUND);
	memset(pair.old, '1', sizeof(pair.old));
	memset(pair.new, 'z', sizeof(pair.new));
	if (bl_rewrites_new(&pair, 1, &list, err) < 0)
		return -1;
	bl_rewrite_all(list, base, SIZE);
	if (bl_decoder_begin(d, &head, base, &sink, err) < 0 ||
	    bl_decoder_feed(d, patch, sizeof(patch), err) < 0)
		return -1;
	return bl_decoder_end(d, err);
}

int main(void)
{
	static uint8_t base[SIZE];
	static uint8_t want[SIZE];
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	make_base(base);
	memcpy(want, base, SIZE);
	memset(want + AT, 'z', BL_STORE_HASH_LEN);
	memcpy(want + 3000, "changed", 7);
	if (decode(base, &out, &err) < 0) {
		fprintf(stderr, "decode: %s\n", err.msg);
		return 1;
	}
	return out.len == SIZE && memcmp(out.data, want, SIZE) == 0 ? 0 : 1;
}
