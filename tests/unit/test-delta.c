/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "delta/decode.h"
#include "delta/encode.h"
#include "delta/rewrite.h"

#define LIMIT (64ULL << 20)

static int take(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	assert_in_range(len, 1, BL_DELTA_CHUNK);
	bl_buf_append(arg, data, len);
	return 0;
}

static int refuse(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)arg;
	(void)data;
	(void)len;
	return bl_err_set(err, BL_E_FAILED, "full");
}

/* Words and noise in turns, about as compressible as a program. */
static void fill(uint64_t *seed, uint8_t *p, size_t len)
{
	static const char words[] =
		"lea mov call ret push pop test cmp jmp add sub xor and or ";
	for (size_t i = 0; i < len;) {
		uint64_t r = unit_random(seed);
		size_t n = 4 + (r & 7);
		for (size_t k = 0; k < n && i < len; k++) {
			uint8_t noise = (uint8_t)(r >> 8 * (k & 7));
			uint8_t word = (uint8_t)words[(r >> 16 & 31) + k];
			if (r & 256)
				p[i++] = noise;
			else
				p[i++] = word;
		}
	}
}

static void put_hash(char *out, const char *first, unsigned number)
{
	bl_autofree char *text = bl_xprintf("%s%031u", first, number);
	memcpy(out, text, BL_STORE_HASH_LEN);
}

static void encode(const struct bl_delta_head *h, int level, const uint8_t *base,
		   const uint8_t *new, size_t step, struct bl_buf *out)
{
	struct bl_err err = { 0 };
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	struct bl_sink sink = { take, out };
	assert_works(bl_encoder_begin(e, h, level, base, &sink, &err), &err);
	for (size_t at = 0, n = 0; at < h->size_bytes; at += n) {
		n = step < h->size_bytes - at ? step : (size_t)h->size_bytes - at;
		assert_works(bl_encoder_feed(e, new + at, n, &err), &err);
	}
	assert_works(bl_encoder_end(e, &err), &err);
}

static int decode_into(const struct bl_delta_head *h, const uint8_t *base, const void *content,
		       size_t len, size_t step, uint64_t limit, const struct bl_sink *sink,
		       struct bl_err *err)
{
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(limit);
	if (bl_decoder_begin(d, h, base, sink, err) < 0)
		return -1;
	for (size_t at = 0, n = 0; at < len; at += n) {
		n = step < len - at ? step : len - at;
		if (bl_decoder_feed(d, (const uint8_t *)content + at, n, err) < 0)
			return -1;
	}
	return bl_decoder_end(d, err);
}

static int decode(const struct bl_delta_head *h, const uint8_t *base,
		  const struct bl_buf *content, struct bl_buf *out, struct bl_err *err)
{
	struct bl_sink sink = { take, out };
	return decode_into(h, base, content->data, content->len, 4096, LIMIT, &sink, err);
}

static void every_kind_comes_back_in_chunks_of_any_size(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 255, 256, 300, 65535, 65536, 65537, 200000 };
	static const size_t steps[] = { 1000000, 65536, 1 };
	uint64_t seed = 1;
	bl_autofree uint8_t *base = bl_xcalloc(200000, 1);
	bl_autofree uint8_t *new = bl_xcalloc(200000, 1);
	fill(&seed, base, 200000);
	memcpy(new, base, 200000);
	fill(&seed, new + 1000, 5000);
	for (size_t i = 0; i < BL_COUNT(sizes) * 4 * BL_COUNT(steps); i++) {
		enum bl_delta_kind kind = (enum bl_delta_kind)(i / BL_COUNT(sizes) % 4);
		size_t size = sizes[i % BL_COUNT(sizes)];
		size_t step = steps[i / BL_COUNT(sizes) / 4];
		struct bl_delta_head h = { kind, size, 0, 0 };
		struct bl_err err = { 0 };
		BL_AUTO(bl_buf) content = { 0 };
		BL_AUTO(bl_buf) out = { 0 };
		struct bl_sink sink = { take, &out };
		if (kind == BL_DELTA_COPY)
			h.base_bytes = size;
		if (kind == BL_DELTA_PATCH)
			h.base_bytes = 200000;
		const uint8_t *from = kind == BL_DELTA_COPY ? base : new;
		encode(&h, 3, base, from, step, &content);
		assert_true(kind != BL_DELTA_COPY || content.len == 0);
		assert_works(decode_into(&h, base, content.data, content.len, step, LIMIT,
					 &sink, &err),
			     &err);
		assert_int_equal(out.len, size);
		assert_true(size == 0 || memcmp(out.data, from, size) == 0);
	}
}

static void a_frame_with_more_or_less_than_it_should_have_is_refused(void **state)
{
	(void)state;
	uint64_t seed = 2;
	uint8_t base[5000];
	uint8_t new[5000];
	fill(&seed, base, sizeof(base));
	fill(&seed, new, sizeof(new));
	for (int i = 0; i < 3; i++) {
		enum bl_delta_kind kind = (enum bl_delta_kind)i;
		struct bl_delta_head h = { kind, 5000, 0, kind == BL_DELTA_PATCH ? 5000 : 0 };
		struct bl_err err = { 0 };
		BL_AUTO(bl_buf) content = { 0 };
		BL_AUTO(bl_buf) out = { 0 };
		encode(&h, 1, base, new, 5000, &content);
		for (size_t cut = 1; cut <= content.len; cut += cut < 30 ? 1 : 501) {
			struct bl_buf less = { content.data, content.len - cut, 0 };
			bl_buf_clear(&out);
			assert_int_equal(decode(&h, base, &less, &out, &err), -1);
			assert_int_equal(err.code, BL_E_INPUT);
			assert_true(out.len <= 5000);
		}
		bl_buf_putc(&content, 'x');
		assert_fails(decode(&h, base, &content, &out, &err), &err, BL_E_INPUT,
			     kind == BL_DELTA_RAW ? "a frame makes more than its 5000 bytes"
						  : "a frame has bytes behind its end");
		content.len--;
		h.size_bytes = 4999;
		bl_buf_clear(&out);
		assert_fails(decode(&h, base, &content, &out, &err), &err, BL_E_INPUT,
			     kind == BL_DELTA_RAW
				     ? "a frame makes more than its 4999 bytes"
				     : "a frame of 4999 bytes has content of 5000");
		assert_true(out.len <= 4999);
		h.size_bytes = 5001;
		assert_int_equal(decode(&h, base, &content, &out, &err), -1);
	}
	struct bl_delta_head copy = { BL_DELTA_COPY, 5000, 0, 5000 };
	struct bl_buf some = { (char *)new, 1, 0 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	assert_fails(decode(&copy, base, &some, &out, &err), &err, BL_E_INPUT,
		     "a copy has content");
}

/* What the header of a zstd frame can say (RFC 8878), with an empty last block behind it. */
static void a_zstd_frame_that_wants_too_much_or_is_none_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		uint64_t limit;
		const char *msg;
	} cases[] = {
		{ "\x28\xb5\x2f\xfd\x00\x58\x01\0\0", 9, 1 << 20,
		  "a frame demands a window of 2097152 bytes, 1048576 are allowed" },
		{ "\x28\xb5\x2f\xfd\x00\x59\x01\0\0", 9, 1 << 20,
		  "a frame demands a window of 2359296 bytes, 1048576 are allowed" },
		{ "\x28\xb5\x2f\xfd\x00\xff\x01\0\0", 9, 1ULL << 44,
		  "a frame demands a window of 4123168604160 bytes, 1073741824 are allowed" },
		{ "\x28\xb5\x2f\xfd\x20\x05\x01\0\0", 9, 1 << 20,
		  "a frame of 0 bytes has content of 5" },
		{ "\x28\xb5\x2f\xfd\x60\x05\x00\x01\0\0", 10, 1 << 20,
		  "a frame of 0 bytes has content of 261" },
		/* a skippable frame and the format of zstd 0.7 */
		{ "\x50\x2a\x4d\x18\0\0\0\0", 8, 1 << 20,
		  "the content of a frame is not zstd" },
		{ "\x27\xb5\x2f\xfd\0\0\0\0", 8, 1 << 20,
		  "the content of a frame is not zstd" },
		{ "\x28\xb5\x2f\xfd", 4, 1 << 20, "a frame ends after 0 of its 0 bytes" },
		{ "\x28\xb5\x2f\xfd\x08\x00\x01\0\0", 9, 1 << 20,
		  "decompress: Unsupported frame parameter" },
		{ "\x28\xb5\x2f\xfd\x00\x00\x01\0\0\x28", 10, 1 << 20,
		  "a frame has bytes behind its end" },
	};
	struct bl_delta_head h = { BL_DELTA_ZSTD, 0, 0, 0 };
	BL_AUTO(bl_buf) out = { 0 };
	struct bl_sink sink = { take, &out };
	struct bl_err err = { 0 };
	for (size_t i = 0; i < BL_COUNT(cases); i++)
		assert_fails(decode_into(&h, NULL, cases[i].bytes, cases[i].len, 1 + i % 3,
					 cases[i].limit, &sink, &err),
			     &err, BL_E_INPUT, cases[i].msg);
	assert_works(decode_into(&h, NULL, "\x28\xb5\x2f\xfd\x00\x00\x01\0\0", 9, 9, 1 << 20,
				 &sink, &err),
		     &err);
}

static void base_and_new_together_have_a_limit(void **state)
{
	(void)state;
	uint64_t seed = 3;
	bl_autofree uint8_t *base = bl_xcalloc(600000, 1);
	struct bl_delta_head h = { BL_DELTA_PATCH, 600000, 0, 600000 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) content = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	struct bl_sink sink = { take, &out };
	fill(&seed, base, 600000);
	encode(&h, 3, base, base, 600000, &content);
	assert_works(
		decode_into(&h, base, content.data, content.len, 100, 1200000, &sink, &err),
		&err);
	assert_fails(
		decode_into(&h, base, content.data, content.len, 100, 1199999, &sink, &err),
		&err, BL_E_INPUT,
		"a frame demands a window of 600000 bytes, 599999 are allowed");
	assert_fails(decode_into(&h, base, content.data, content.len, 100, 599999, &sink, &err),
		     &err, BL_E_INPUT,
		     "a frame has a base of 600000 bytes, 599999 are allowed");
}

static void after_a_failure_a_frame_has_to_be_begun_anew(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_delta_head h = { BL_DELTA_RAW, 5, 0, 0 };
	struct bl_delta_head copy = { BL_DELTA_COPY, 5, 0, 5 };
	struct bl_delta_head large = { BL_DELTA_PATCH, 1ULL << 29, 0, (1ULL << 29) + 1 };
	struct bl_sink full = { refuse, NULL };
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(LIMIT);
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	assert_works(bl_decoder_begin(d, &h, NULL, &full, &err), &err);
	assert_fails(bl_decoder_feed(d, "12345", 5, &err), &err, BL_E_FAILED, "full");
	assert_fails(bl_decoder_feed(d, "12345", 5, &err), &err, BL_E_USAGE,
		     "no frame was begun, or it has failed");
	assert_fails(bl_decoder_end(d, &err), &err, BL_E_USAGE,
		     "no frame was begun, or it has failed");
	assert_works(bl_encoder_begin(e, &h, 3, NULL, &full, &err), &err);
	assert_fails(bl_encoder_feed(e, "123456", 6, &err), &err, BL_E_USAGE,
		     "more than the 5 bytes of a frame");
	assert_fails(bl_encoder_feed(e, "1", 1, &err), &err, BL_E_USAGE,
		     "no frame was begun, or it has failed");
	assert_works(bl_encoder_begin(e, &copy, 3, (const uint8_t *)"12345", &full, &err),
		     &err);
	assert_works(bl_encoder_feed(e, "123", 3, &err), &err);
	assert_fails(bl_encoder_end(e, &err), &err, BL_E_USAGE, "3 of the 5 bytes of a frame");
	assert_works(bl_encoder_begin(e, &copy, 3, (const uint8_t *)"12345", &full, &err),
		     &err);
	assert_fails(bl_encoder_feed(e, "12346", 5, &err), &err, BL_E_USAGE,
		     "a copy is not equal to its base");
	h.kind = BL_DELTA_ZSTD;
	assert_fails(bl_encoder_begin(e, &h, 20, NULL, &full, &err), &err, BL_E_USAGE,
		     "compress: no level 20");
	assert_fails(bl_encoder_begin(e, &large, 3, NULL, &full, &err), &err, BL_E_USAGE,
		     "a patch of 536870912 bytes with a base of 536870913 has to be cut");
}

static void heads_are_the_same_after_a_way_through_bytes(void **state)
{
	(void)state;
	uint8_t bytes[BL_DELTA_HEAD_LEN + 1] = { 0 };
	struct bl_err err = { 0 };
	struct bl_delta_head h = { BL_DELTA_PATCH, 0x0102030405ULL, 0x07060504ULL, 9 };
	struct bl_delta_head back = { 0 };
	bl_delta_head_put(&h, bytes);
	assert_memory_equal(bytes, "\x02\5\4\3\2\1\0\0\0\4\5\6\7\0\0\0\0\x09\0\0\0\0\0\0\0",
			    25);
	assert_works(bl_delta_head_parse(bytes, 25, &back, &err), &err);
	assert_true(back.kind == h.kind && back.size_bytes == h.size_bytes &&
		    back.base_at == h.base_at && back.base_bytes == h.base_bytes);
	assert_fails(bl_delta_head_parse(bytes, 24, &back, &err), &err, BL_E_INPUT,
		     "a frame's head of 24 bytes");
	bytes[0] = BL_DELTA_COPY;
	assert_fails(bl_delta_head_parse(bytes, 25, &back, &err), &err, BL_E_INPUT,
		     "a copy of 4328719365 bytes with a base of 9");
	bytes[0] = BL_DELTA_RAW;
	assert_fails(bl_delta_head_parse(bytes, 25, &back, &err), &err, BL_E_INPUT,
		     "a frame with a base that it does not use");
	bytes[0] = 4;
	assert_fails(bl_delta_head_parse(bytes, 25, &back, &err), &err, BL_E_INPUT,
		     "a frame of kind 4");
	bytes[0] = BL_DELTA_PATCH;
	bytes[17] = 0;
	assert_fails(bl_delta_head_parse(bytes, 25, &back, &err), &err, BL_E_INPUT,
		     "a patch without a base");
	bytes[8] = 1;
	assert_fails(bl_delta_head_parse(bytes, 25, &back, &err), &err, BL_E_INPUT,
		     "a frame of more than 17592186044416 bytes");
}

static void slices_cover_the_new_one_and_stay_within_bound_and_base(void **state)
{
	(void)state;
	uint64_t seed = 4;
	for (int round = 0; round < 20000; round++) {
		uint64_t bound = 3 + unit_random(&seed) % 300;
		uint64_t size = unit_random(&seed) % 2000;
		uint64_t base = unit_random(&seed) % 2000;
		uint64_t n = bl_delta_slices(size, base, bound);
		uint64_t at = 0;
		uint64_t last = 0;
		assert_true(n > 0);
		for (uint64_t i = 0; i < n; i++) {
			struct bl_err err = { 0 };
			struct bl_delta_head h;
			bl_delta_slice(size, base, bound, i, &h);
			assert_works(bl_delta_head_check(&h, &err), &err);
			assert_true(h.base_at + h.base_bytes <= base && h.base_at >= last);
			assert_true(h.kind == BL_DELTA_ZSTD ||
				    h.size_bytes + h.base_bytes <= bound);
			assert_true(h.size_bytes > 0 || size == 0);
			last = h.base_at;
			at += h.size_bytes;
		}
		assert_true(at == size);
	}
}

/* A NAR beyond the bound, with a part in front that the base does not have. */
static void slices_find_what_has_moved(void **state)
{
	(void)state;
	enum { SIZE = 6 << 20, MOVED = 100000, BOUND = 3 << 20 };
	uint64_t seed = 5;
	size_t all = 0;
	bl_autofree uint8_t *base = bl_xcalloc(SIZE, 1);
	bl_autofree uint8_t *new = bl_xcalloc(SIZE + MOVED, 1);
	BL_AUTO(bl_buf) out = { 0 };
	fill(&seed, base, SIZE);
	fill(&seed, new, MOVED);
	memcpy(new + MOVED, base, SIZE);
	assert_int_equal(bl_delta_slices(SIZE + MOVED, SIZE, BOUND), 7);
	for (uint64_t i = 0; i < 7; i++) {
		struct bl_err err = { 0 };
		struct bl_delta_head h;
		BL_AUTO(bl_buf) content = { 0 };
		bl_delta_slice(SIZE + MOVED, SIZE, BOUND, i, &h);
		encode(&h, 3, base + h.base_at, new + out.len, 65536, &content);
		struct bl_sink sink = { take, &out };
		assert_works(decode_into(&h, base + h.base_at, content.data, content.len, 9999,
					 BOUND, &sink, &err),
			     &err);
		all += content.len;
	}
	assert_int_equal(out.len, SIZE + MOVED);
	assert_memory_equal(out.data, new, out.len);
	assert_in_range(all, 1000, MOVED + 10000);
}

/* A rebuild: every hash is another one, and one byte in 200 in clusters. */
static void a_rebuilt_nar_is_a_hundredth_of_itself(void **state)
{
	(void)state;
	enum { SIZE = 8 << 20, HASHES = 40 };
	uint64_t seed = 6;
	struct bl_err err = { 0 };
	struct bl_hash_pair pairs[HASHES];
	bl_autofree uint8_t *base = bl_xcalloc(SIZE, 1);
	bl_autofree uint8_t *new = bl_xcalloc(SIZE, 1);
	fill(&seed, base, SIZE);
	memcpy(new, base, SIZE);
	for (unsigned i = 0; i < HASHES; i++) {
		put_hash(pairs[i].old, "a", i);
		put_hash(pairs[i].new, "b", i);
	}
	for (size_t at = 1000; at < SIZE - 64; at += 4000) {
		memcpy(base + at, pairs[at % HASHES].old, BL_STORE_HASH_LEN);
		memcpy(new + at, pairs[at % HASHES].new, BL_STORE_HASH_LEN);
	}
	for (size_t at = 3000; at < SIZE - 1000; at += 100000)
		fill(&seed, new + at, 500);
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	assert_works(bl_rewrites_new(pairs, HASHES, &t, &err), &err);
	bl_rewrite_all(t, base, SIZE);
	struct bl_delta_head h = { BL_DELTA_PATCH, SIZE, 0, SIZE };
	BL_AUTO(bl_buf) content = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	encode(&h, 3, base, new, 65536, &content);
	print_message("# 8 MiB rebuilt: %zu bytes\n", content.len);
	assert_in_range(content.len, 1, SIZE / 100);
	assert_works(decode(&h, base, &content, &out, &err), &err);
	assert_int_equal(out.len, SIZE);
	assert_memory_equal(out.data, new, SIZE);
}

struct parts {
	const uint64_t *sizes;
	struct bl_buf now, all;
	size_t done;
};

static int take_part(void *arg, size_t i, const uint8_t *data, size_t len, bool last,
		     struct bl_err *err)
{
	struct parts *p = arg;
	(void)err;
	assert_int_equal(i, p->done);
	bl_buf_append(&p->now, data, len);
	bl_buf_append(&p->all, data, len);
	if (last) {
		assert_int_equal(p->now.len, p->sizes[i]);
		bl_buf_clear(&p->now);
		p->done++;
	}
	return 0;
}

static void small_paths_with_new_hashes_alone_are_next_to_nothing(void **state)
{
	(void)state;
	enum { PATHS = 200 };
	uint64_t seed = 7;
	struct bl_err err = { 0 };
	struct bl_hash_pair pairs[PATHS];
	uint64_t sizes[PATHS];
	BL_AUTO(bl_buf) base = { 0 };
	BL_AUTO(bl_buf) new = { 0 };
	for (unsigned i = 0; i < PATHS; i++) {
		put_hash(pairs[i].old, "a", (unsigned)(unit_random(&seed) >> 32));
		put_hash(pairs[i].new, "b", (unsigned)(unit_random(&seed) >> 32));
	}
	for (size_t i = 0; i < PATHS; i++) {
		uint8_t text[3000];
		size_t len = 1000 + unit_random(&seed) % 2000;
		fill(&seed, text, len);
		for (size_t at = 100; at < len - 32; at += 300) {
			size_t k = unit_random(&seed) % PATHS;
			memcpy(text + at, pairs[k].old, BL_STORE_HASH_LEN);
		}
		bl_buf_append(&base, text, len);
		sizes[i] = len;
	}
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	assert_works(bl_rewrites_new(pairs, PATHS, &t, &err), &err);
	bl_rewrite_all(t, (uint8_t *)base.data, base.len);
	bl_buf_append(&new, base.data, base.len);
	assert_int_equal(bl_delta_solid_fit(sizes, PATHS), PATHS);

	struct bl_delta_head h = { BL_DELTA_PATCH, new.len, 0, base.len };
	BL_AUTO(bl_buf) content = { 0 };
	encode(&h, 3, (uint8_t *)base.data, (uint8_t *)new.data, 1234, &content);
	print_message("# 200 small paths: %zu bytes\n", content.len);
	assert_in_range(content.len, 1, 2000);

	struct parts parts = { .sizes = sizes };
	struct bl_delta_split s = {
		.sizes_bytes = sizes, .n = PATHS, .put = take_part, .arg = &parts
	};
	struct bl_sink sink = bl_delta_split_sink(&s);
	assert_works(decode_into(&h, (uint8_t *)base.data, content.data, content.len, 7, LIMIT,
				 &sink, &err),
		     &err);
	assert_works(bl_delta_split_end(&s, &err), &err);
	assert_int_equal(parts.done, PATHS);
	assert_memory_equal(parts.all.data, new.data, new.len);
	bl_buf_free(&parts.now);
	bl_buf_free(&parts.all);
}

static void solid_frames_have_all_their_parts_and_no_more(void **state)
{
	(void)state;
	static const uint64_t sizes[] = { 0, 3, 0, 2, 0 };
	static const uint64_t large[] = { 8 << 20, 1, (8 << 20) - 1, 1, 9 << 20 };
	struct bl_err err = { 0 };
	for (size_t n = 4; n <= 6; n++) {
		struct parts parts = { .sizes = sizes };
		struct bl_delta_split s = {
			.sizes_bytes = sizes, .n = 5, .put = take_part, .arg = &parts
		};
		struct bl_sink sink = bl_delta_split_sink(&s);
		int r = 0;
		for (size_t i = 0; i < n && r == 0; i++)
			r = bl_sink_put(&sink, (const uint8_t *)"abcdef" + i, 1, &err);
		if (n == 6)
			assert_fails(r, &err, BL_E_INPUT,
				     "a solid frame has bytes behind its 5 parts");
		else if (n == 5)
			assert_works(bl_delta_split_end(&s, &err), &err);
		else
			assert_fails(bl_delta_split_end(&s, &err), &err, BL_E_INPUT,
				     "a solid frame has 3 of its 5 parts");
		bl_buf_free(&parts.now);
		bl_buf_free(&parts.all);
	}
	assert_int_equal(bl_delta_solid_fit(large, 5), 1);
	assert_int_equal(bl_delta_solid_fit(large + 1, 4), 2);
	assert_int_equal(bl_delta_solid_fit(large + 4, 1), 1);
	assert_int_equal(bl_delta_solid_fit(large + 5, 0), 0);
}

/* As where code has moved: each place that refers to it has another address. */
static void a_patch_finds_what_has_changed_every_few_bytes(void **state)
{
	(void)state;
	const size_t size = 6U << 20;
	uint64_t seed = 12;
	bl_autofree uint8_t *base = bl_xcalloc(size, 1);
	bl_autofree uint8_t *new = bl_xcalloc(size, 1);
	struct bl_delta_head h = { BL_DELTA_PATCH, size, 0, size };
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) content = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	for (size_t i = 0; i < size; i++)
		base[i] = (uint8_t)unit_random(&seed);
	memcpy(new, base, size);
	for (size_t i = 0; i + 4 < size; i += 60)
		new[i] ^= 1;
	encode(&h, 3, base, new, 65536, &content);
	assert_in_range(content.len, 1, size / 4);
	assert_works(decode(&h, base, &content, &out, &err), &err);
	assert_int_equal(out.len, size);
	assert_memory_equal(out.data, new, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_comes_back_in_chunks_of_any_size),
		cmocka_unit_test(a_frame_with_more_or_less_than_it_should_have_is_refused),
		cmocka_unit_test(a_zstd_frame_that_wants_too_much_or_is_none_is_refused),
		cmocka_unit_test(base_and_new_together_have_a_limit),
		cmocka_unit_test(after_a_failure_a_frame_has_to_be_begun_anew),
		cmocka_unit_test(heads_are_the_same_after_a_way_through_bytes),
		cmocka_unit_test(slices_cover_the_new_one_and_stay_within_bound_and_base),
		cmocka_unit_test(slices_find_what_has_moved),
		cmocka_unit_test(a_rebuilt_nar_is_a_hundredth_of_itself),
		cmocka_unit_test(a_patch_finds_what_has_changed_every_few_bytes),
		cmocka_unit_test(small_paths_with_new_hashes_alone_are_next_to_nothing),
		cmocka_unit_test(solid_frames_have_all_their_parts_and_no_more),
	};
	return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
