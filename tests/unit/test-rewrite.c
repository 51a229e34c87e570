/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "delta/rewrite.h"
#include "delta/window.h"

#define LEN ((size_t)BL_STORE_HASH_LEN)

static int take(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static int refuse(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)arg;
	(void)data;
	return bl_err_set(err, BL_E_FAILED, "no more than %zu", len);
}

/* What the header says, said in the simplest way. */
static void naive(const struct bl_hash_pair *pairs, size_t n, uint8_t *p, size_t len)
{
	for (size_t at = 0; at + LEN <= len;) {
		size_t k = 0;
		while (k < n && memcmp(pairs[k].old, p + at, LEN) != 0)
			k++;
		if (k < n)
			memcpy(p + at, pairs[k].new, LEN);
		at += k < n ? LEN : 1;
	}
}

static struct bl_hash_pair pair_of(const char *old, const char *new)
{
	struct bl_hash_pair p;
	memcpy(p.old, old, LEN);
	memcpy(p.new, new, LEN);
	return p;
}

#define A32 "abcdfghijklmnpqrsvwxyz0123456789"
#define B32 "00000000000000000000000000000001"
#define C32 "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
#define D32 "22222222222222222222222222222222"

static void check(const char *in, const char *want)
{
	struct bl_hash_pair pairs[] = { pair_of(A32, B32), pair_of(B32, A32),
					pair_of(C32, D32) };
	struct bl_err err = { 0 };
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	bl_autofree char *text = bl_xstrdup(in);
	assert_works(bl_rewrites_new(pairs, BL_COUNT(pairs), &t, &err), &err);
	bl_rewrite_all(t, (uint8_t *)text, strlen(text));
	assert_string_equal(text, want);
}

static void hashes_are_replaced_wherever_they_stand(void **state)
{
	(void)state;
	check("", "");
	check(A32, B32);
	check("/nix/store/" A32 "-glibc", "/nix/store/" B32 "-glibc");
	check(A32 B32 A32, B32 A32 B32);
	check("1" A32 "2", "1" B32 "2");
	check("000" B32, "000" A32);
	check("abcdfghijklmnpqrsvwxyz012345678", "abcdfghijklmnpqrsvwxyz012345678");
	check("e" A32 "t" A32, "e" B32 "t" B32);
}

static void of_hashes_that_overlap_the_first_counts_and_what_was_put_in_is_left(void **state)
{
	(void)state;
	/* three places where 32 z's begin: the first is taken, two z's are left */
	check(C32 "zz", D32 "zz");
	check(C32 C32 "z", D32 D32 "z");
	/* the end of one and the beginning of what stands behind it make no hash */
	check("zz" A32, "zz" B32);
	check(A32 "23456789", B32 "23456789");
}

static void a_list_with_two_partners_or_other_characters_is_refused(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_rewrites *t = NULL;
	struct bl_hash_pair twice[] = { pair_of(A32, B32), pair_of(A32, C32) };
	struct bl_hash_pair other[] = { pair_of(A32, "ebcdfghijklmnpqrsvwxyz0123456789") };
	assert_fails(bl_rewrites_new(twice, 2, &t, &err), &err, BL_E_INPUT,
		     "hash " A32 " has two partners");
	assert_fails(bl_rewrites_new(other, 1, &t, &err), &err, BL_E_INPUT,
		     "pair 0 of hashes is not of nix32");
	assert_fails(bl_rewrites_new(twice, BL_REWRITES_MAX + 1U, &t, &err), &err, BL_E_INPUT,
		     "1048577 pairs of hashes, at most 1048576 are taken");
	assert_null(t);
}

static void what_the_sink_says_ends_the_stream(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_hash_pair pair = pair_of(A32, B32);
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	assert_works(bl_rewrites_new(&pair, 1, &t, &err), &err);
	struct bl_rewrite r = { .list = t };
	struct bl_sink sink = { refuse, NULL };
	uint8_t bytes[] = "some, e";
	assert_fails(bl_rewrite_feed(&r, bytes, 7, &sink, &err), &err, BL_E_FAILED,
		     "no more than 7");
}

/* Bytes in which hashes, parts of them and overlapping ones are frequent. */
static void random_bytes(uint64_t *seed, const struct bl_hash_pair *pairs, size_t n, uint8_t *p,
			 size_t len)
{
	for (size_t i = 0; i < len;) {
		uint64_t r = unit_random(seed);
		const char *from = pairs[r / 64 % n].old;
		size_t skip = r & 8 ? r >> 20 & 31 : 0;
		size_t part = r & 16 ? 1 + (r >> 28 & 31) : LEN;
		if ((r & 7) == 0) {
			p[i++] = (uint8_t)(r >> 8);
			continue;
		}
		for (size_t k = skip; k < LEN && k < skip + part && i < len; k++)
			p[i++] = (uint8_t)from[k];
	}
}

/* Few characters, so that hashes overlap themselves and each other. */
static size_t random_pairs(uint64_t *seed, struct bl_hash_pair *pairs, size_t n)
{
	static const char alphabet[] = "0123456789abcdfghijklmnpqrsvwxyz";
	size_t letters = unit_random(seed) % 2 ? 2 : 32;
	size_t period = unit_random(seed) % 2 ? 1 + unit_random(seed) % 4 : LEN;
	size_t made = 0;
	for (size_t i = 0; i < n; i++) {
		struct bl_hash_pair *p = &pairs[made];
		bool twice = false;
		for (size_t k = 0; k < LEN; k++) {
			p->old[k] = k < period ? alphabet[unit_random(seed) % letters]
					       : p->old[k - period];
			p->new[k] = alphabet[unit_random(seed) % letters];
		}
		for (size_t k = 0; k < made; k++)
			twice |= memcmp(pairs[k].old, p->old, LEN) == 0;
		made += !twice;
	}
	return made;
}

struct source {
	const uint8_t *data;
	size_t len;
	uint64_t *seed;
};

static int read_some(void *arg, uint8_t *buf, size_t max, size_t *out_len, struct bl_err *err)
{
	struct source *s = arg;
	(void)err;
	size_t n = 1 + unit_random(s->seed) % 90;
	n = n < max ? n : max;
	n = n < s->len ? n : s->len;
	memcpy(buf, s->data, n);
	s->data += n;
	s->len -= n;
	*out_len = n;
	return 0;
}

static void by_stream(const struct bl_rewrites *t, const uint8_t *in, size_t len,
		      uint64_t *seed, struct bl_buf *out)
{
	struct bl_rewrite r = { .list = t };
	struct bl_sink sink = { take, out };
	struct bl_err err = { 0 };
	size_t most = 1 + unit_random(seed) % 100;
	for (size_t at = 0, n = 0; at < len; at += n) {
		uint8_t chunk[128];
		n = unit_random(seed) % (most + 1);
		n = n < len - at ? n : len - at;
		memcpy(chunk, in + at, n);
		assert_works(bl_rewrite_feed(&r, chunk, n, &sink, &err), &err);
		assert_in_range(at + n - out->len, 0, LEN - 1);
	}
	assert_works(bl_rewrite_end(&r, &sink, &err), &err);
}

/* Windows that overlap, touch or leave something out. */
static void by_windows(const struct bl_rewrites *t, const uint8_t *in, size_t len,
		       const uint8_t *want, uint64_t *seed)
{
	struct source source = { in, len, seed };
	struct bl_err err = { 0 };
	BL_AUTO(bl_base) base = { .read = read_some, .arg = &source, .rewrite.list = t };
	for (size_t at = 0; at <= len; at += 1 + unit_random(seed) % 500) {
		size_t n = unit_random(seed) % (len - at + 1);
		const uint8_t *window = NULL;
		assert_works(bl_base_window(&base, at, n, &window, &err), &err);
		assert_memory_equal(window, want + at, n);
	}
}

static void streams_and_windows_do_what_the_naive_way_does(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 3000; round++) {
		uint64_t seed = round;
		struct bl_hash_pair pairs[8];
		uint8_t in[1500];
		uint8_t want[sizeof(in)];
		struct bl_err err = { 0 };
		BL_AUTO(bl_buf) out = { 0 };
		bl_auto_rewrites struct bl_rewrites *t = NULL;
		size_t n = random_pairs(&seed, pairs, 1 + round % 8);
		size_t len = unit_random(&seed) % (sizeof(in) + 1);
		assert_works(bl_rewrites_new(pairs, n, &t, &err), &err);
		random_bytes(&seed, pairs, n, in, len);
		memcpy(want, in, len);
		naive(pairs, n, want, len);
		by_stream(t, in, len, &seed, &out);
		if (out.len != len || (len > 0 && memcmp(out.data, want, len) != 0))
			fail_msg("round %llu: the stream differs", (unsigned long long)round);
		by_windows(t, in, len, want, &seed);
		bl_rewrite_all(t, in, len);
		if (memcmp(in, want, len) != 0)
			fail_msg("round %llu: it differs", (unsigned long long)round);
	}
}

static void a_window_behind_the_end_or_going_back_is_refused(void **state)
{
	(void)state;
	static const uint8_t text[] = "0123456789";
	uint64_t seed = 1;
	struct source source = { text, 10, &seed };
	struct bl_err err = { 0 };
	const uint8_t *window = NULL;
	bl_auto_rewrites struct bl_rewrites *t = NULL;
	assert_works(bl_rewrites_new(NULL, 0, &t, &err), &err);
	BL_AUTO(bl_base) base = { .read = read_some, .arg = &source, .rewrite.list = t };
	assert_works(bl_base_window(&base, 4, 6, &window, &err), &err);
	assert_memory_equal(window, "456789", 6);
	assert_fails(bl_base_window(&base, 3, 1, &window, &err), &err, BL_E_INPUT,
		     "the base's window goes back");
	assert_fails(bl_base_window(&base, 5, 6, &window, &err), &err, BL_E_INPUT,
		     "the base ends at 10 bytes");
	assert_fails(bl_base_window(&base, 5, SIZE_MAX, &window, &err), &err, BL_E_SYS,
		     "window of 18446744073709551615 bytes: Cannot allocate memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_replaced_wherever_they_stand),
		cmocka_unit_test(
			of_hashes_that_overlap_the_first_counts_and_what_was_put_in_is_left),
		cmocka_unit_test(a_list_with_two_partners_or_other_characters_is_refused),
		cmocka_unit_test(what_the_sink_says_ends_the_stream),
		cmocka_unit_test(streams_and_windows_do_what_the_naive_way_does),
		cmocka_unit_test(a_window_behind_the_end_or_going_back_is_refused),
	};
	return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}
