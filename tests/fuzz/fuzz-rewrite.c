/* SPDX-License-Identifier: MIT */
/*
 * Rewriting in chunks, at once, and in the simplest way there is are the same. The input: how
 * many pairs, how large the chunks, the pairs' old hashes, then the stream, in which each of
 * the last eight values of a byte stands for a whole hash.
 */
#include "base/buf.h"
#include "delta/rewrite.h"

#include <assert.h>
#include <string.h>

#define LEN   ((size_t)BL_STORE_HASH_LEN)
#define PAIRS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static size_t matching(const struct bl_hash_pair *pairs, size_t n, const char *p)
{
	size_t k = 0;
	while (k < n && memcmp(pairs[k].old, p, LEN) != 0)
		k++;
	return k;
}

static void naive(const struct bl_hash_pair *pairs, size_t n, char *p, size_t len)
{
	for (size_t at = 0; at + LEN <= len;) {
		size_t k = matching(pairs, n, p + at);
		if (k < n)
			memcpy(p + at, pairs[k].new, LEN);
		at += k < n ? LEN : 1;
	}
}

/* Characters of the alphabet, whatever the bytes; new ones are old ones moved on. */
static void read_pair(const uint8_t *p, struct bl_hash_pair *out)
{
	static const char alphabet[] = "0123456789abcdfghijklmnpqrsvwxyz";
	for (size_t i = 0; i < LEN; i++) {
		out->old[i] = alphabet[p[i] & 31];
		out->new[i] = alphabet[(p[(i + 1) % LEN] + 1U) & 31];
	}
}

static void by_stream(const struct bl_rewrites *t, const struct bl_buf *in, size_t step,
		      struct bl_buf *out)
{
	struct bl_rewrite r = { .list = t };
	struct bl_sink sink = { take, out };
	struct bl_err err = { 0 };
	int failed = 0;
	for (size_t at = 0, n = 0; at < in->len; at += n) {
		uint8_t chunk[256];
		n = step < in->len - at ? step : in->len - at;
		memcpy(chunk, in->data + at, n);
		failed |= bl_rewrite_feed(&r, chunk, n, &sink, &err);
		assert(out->len <= at + n && at + n - out->len < LEN);
	}
	failed |= bl_rewrite_end(&r, &sink, &err);
	assert(!failed && out->len == in->len);
}

static void compare(const struct bl_hash_pair *pairs, size_t n, struct bl_buf *in, size_t step)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	if (bl_rewrites_new(pairs, n, &t, &err) < 0) { /* two hashes of the input are equal */
		assert(err.code == BL_E_INPUT);
		return;
	}
	by_stream(t, in, step, &out);
	BL_AUTO(bl_buf) all = { 0 };
	bl_buf_append(&all, in->data, in->len);
	bl_rewrite_all(t, (uint8_t *)all.data, all.len);
	naive(pairs, n, in->data, in->len);
	assert(memcmp(in->data, out.data, in->len) == 0);
	assert(memcmp(in->data, all.data, in->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bl_hash_pair pairs[PAIRS];
	BL_AUTO(bl_buf) in = { 0 };
	if (size < 2)
		return 0;
	size_t n = 1 + data[0] % PAIRS;
	size_t step = 1U + data[1];
	if (size < 2 + n * LEN + 1)
		return 0;
	for (size_t i = 0; i < n; i++)
		read_pair(data + 2 + i * LEN, &pairs[i]);
	for (size_t i = 2 + n * LEN; i < size; i++) {
		if (data[i] >= 256 - PAIRS)
			bl_buf_append(&in, pairs[data[i] % n].old, LEN);
		else
			bl_buf_putc(&in, (char)data[i]);
	}
	compare(pairs, n, &in, step);
	return 0;
}
