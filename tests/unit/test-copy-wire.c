/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "wire/copy.h"

#define A "00000000000000000000000000000000"
#define B "11111111111111111111111111111111"
#define S "/nix/store/"

static void paths_are_sorted_by_name_and_then_by_hash(void **state)
{
	(void)state;
	static const char *const want[] = { S B "-Z",   S A "-a",  S B "-a",
					    S A "-a-b", S A "-ab", S B "-b" };
	BL_AUTO(bl_strv) v = { 0 };
	for (size_t i = 0; i < BL_COUNT(want); i++)
		bl_strv_add(&v, want[(i * 5 + 3) % BL_COUNT(want)]);
	assert_false(bl_copy_sorted(&v));
	bl_copy_sort(&v);
	for (size_t i = 0; i < v.n; i++)
		assert_string_equal(v.items[i], want[i]);
	assert_true(bl_copy_sorted(&v));
	bl_strv_add(&v, S B "-b");
	assert_false(bl_copy_sorted(&v));
}

static void paths_come_back_from_blocks(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) v = { 0 };
	BL_AUTO(bl_strv) back = { 0 };
	struct bl_err err = { 0 };
	for (size_t i = 0; i < 500; i++)
		bl_strv_addf(&v, S "%032zu-p%zu", i, i % 7);
	bl_copy_sort(&v);
	for (size_t i = 0; i < v.n; i += 100) {
		BL_AUTO(bl_buf) block = { 0 };
		for (size_t k = i; k < i + 100; k++)
			bl_copy_put_path(&block, v.items[k]);
		assert_works(bl_copy_take_paths(block.data, block.len, &back, &err), &err);
	}
	assert_int_equal(back.n, v.n);
	for (size_t i = 0; i < v.n; i++)
		assert_string_equal(back.items[i], v.items[i]);
	uint8_t one[BL_SHA256_LEN];
	uint8_t two[BL_SHA256_LEN];
	bl_copy_digest(&v, one);
	bl_copy_digest(&back, two);
	assert_memory_equal(one, two, sizeof(one));
	free(back.items[--back.n]);
	back.items[back.n] = NULL;
	bl_copy_digest(&back, two);
	assert_memory_not_equal(one, two, sizeof(one));
}

static void what_is_no_path_or_out_of_order_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *block, *msg;
	} cases[] = {
		{ A "-a", "a path of a closure is cut off" },
		{ A "-a\n" A "-b", "a path of a closure is cut off" },
		{ "\n", "path 0 of a closure is no store path" },
		{ A "\n", "path 0 of a closure is no store path" },
		{ A "-\n", "path 0 of a closure is no store path" },
		{ A "-.a\n", "path 0 of a closure is no store path" },
		{ A "-a/b\n", "path 0 of a closure is no store path" },
		{ A "-a b\n", "path 0 of a closure is no store path" },
		{ S A "-a\n", "path 0 of a closure is no store path" },
		{ "e" A "-a\n", "path 0 of a closure is no store path" },
		{ "0000000000000000000000000000000e-a\n",
		  "path 0 of a closure is no store path" },
		{ A "-a\n" A "-a\n", "path 1 of a closure is out of order" },
		{ B "-a\n" A "-a\n", "path 1 of a closure is out of order" },
		{ A "-b\n" B "-a\n", "path 1 of a closure is out of order" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_strv) v = { 0 };
		struct bl_err err = { 0 };
		assert_fails(
			bl_copy_take_paths(cases[i].block, strlen(cases[i].block), &v, &err),
			&err, BL_E_INPUT, cases[i].msg);
	}
	BL_AUTO(bl_strv) v = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	struct bl_err err = { 0 };
	bl_buf_puts(&b, A "-");
	for (size_t i = 0; i < 212; i++)
		bl_buf_putc(&b, 'n');
	bl_buf_putc(&b, '\n');
	assert_int_equal(bl_copy_take_paths(b.data, b.len, &v, &err), -1);
	assert_works(bl_copy_take_paths(A "-a\0b\n", 0, &v, &err), &err);
	assert_int_equal(bl_copy_take_paths(A "-a\0b\n", 37, &v, &err), -1);
}

static void a_closure_has_a_largest_size(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) v = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	struct bl_err err = { 0 };
	for (uint32_t i = 0; i < BL_COPY_PATHS_MAX; i++)
		bl_buf_printf(&b, "%032u-a\n", i);
	assert_works(bl_copy_take_paths(b.data, b.len, &v, &err), &err);
	assert_fails(bl_copy_take_paths(A "-b\n", 35, &v, &err), &err, BL_E_INPUT,
		     "a closure of more than 262144 paths");
}

static void numbers_have_one_form(void **state)
{
	(void)state;
	static const uint64_t numbers[] = { 0,          1,         127,        128,
					    16383,      16384,     UINT32_MAX, 1ULL << 44,
					    1ULL << 63, UINT64_MAX };
	struct bl_err err = { 0 };
	for (size_t i = 0; i < BL_COUNT(numbers); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		uint64_t back = 0;
		bl_copy_put_number(&b, numbers[i]);
		const char *p = b.data;
		size_t len = b.len;
		assert_works(bl_copy_take_number(&p, &len, UINT64_MAX, &back, &err), &err);
		assert_true(back == numbers[i] && len == 0 && p == b.data + b.len);
		for (len = 0; len < b.len; len++) {
			size_t left = len;
			p = b.data;
			assert_fails(bl_copy_take_number(&p, &left, UINT64_MAX, &back, &err),
				     &err, BL_E_INPUT, "a number is cut off");
			assert_true(left == len && p == b.data);
		}
	}
	static const struct {
		const char *bytes;
		size_t len;
		const char *msg;
	} cases[] = {
		{ "\x80\x00", 2, "a number is longer than it need be" },
		{ "\x85\x80\x00", 3, "a number is longer than it need be" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10,
		  "a number of more than 64 bits" },
		{ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11,
		  "a number of more than 64 bits" },
		{ "\x65", 1, "a number is 101, at most 100 may be" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		const char *p = cases[i].bytes;
		size_t len = cases[i].len;
		uint64_t n = 7;
		assert_fails(bl_copy_take_number(&p, &len, 100, &n, &err), &err, BL_E_INPUT,
			     cases[i].msg);
		assert_int_equal(n, 7);
	}
}

static void put_sample(struct bl_buf *b, struct bl_strv *sigs)
{
	static uint32_t refs[] = { 300, 0, 5 };
	bl_strv_add(sigs, "key-1:abc=");
	bl_strv_add(sigs, "key-2:def=");
	struct bl_copy_info info = { .path = 5,
				     .nar_size = 1234567,
				     .deriver = (char[]){ S A "-a.drv" },
				     .ca = (char[]){ "fixed:r:sha256:xyz" },
				     .refs = refs,
				     .n_refs = BL_COUNT(refs),
				     .sigs = *sigs };
	memset(info.nar_hash, 0xa5, sizeof(info.nar_hash));
	bl_copy_put_info(b, &info);
	struct bl_copy_info bare = {
		.path = 0, .nar_size = 1, .deriver = (char[]){ "" }, .ca = (char[]){ "" }
	};
	bl_copy_put_info(b, &bare);
}

static void infos_come_back(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_strv) sigs = { 0 };
	BL_AUTO(bl_copy_info) one = { 0 };
	BL_AUTO(bl_copy_info) two = { 0 };
	struct bl_err err = { 0 };
	put_sample(&b, &sigs);
	const char *p = b.data;
	size_t len = b.len;
	assert_works(bl_copy_take_info(&p, &len, 301, &one, &err), &err);
	assert_works(bl_copy_take_info(&p, &len, 301, &two, &err), &err);
	assert_int_equal(len, 0);
	assert_int_equal(one.path, 5);
	assert_int_equal(one.nar_hash[31], 0xa5);
	assert_int_equal(one.nar_size, 1234567);
	assert_string_equal(one.deriver, S A "-a.drv");
	assert_string_equal(one.ca, "fixed:r:sha256:xyz");
	assert_int_equal(one.n_refs, 3);
	assert_int_equal(one.refs[0], 300);
	assert_int_equal(one.refs[2], 5);
	assert_int_equal(one.sigs.n, 2);
	assert_string_equal(one.sigs.items[1], "key-2:def=");
	assert_string_equal(two.deriver, "");
	assert_string_equal(two.ca, "");
	assert_int_equal(two.n_refs + two.sigs.n, 0);
}

static void infos_that_are_cut_or_say_too_much_are_refused(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_strv) sigs = { 0 };
	struct bl_err err = { 0 };
	put_sample(&b, &sigs);
	/* the second one is 1 + 32 + 5 bytes */
	for (size_t cut = 0; cut < b.len - 38; cut++) {
		bl_autofree char *alone = bl_xcalloc(cut, 1);
		memcpy(alone, b.data, cut);
		BL_AUTO(bl_copy_info) info = { 0 };
		const char *p = alone;
		size_t len = cut;
		assert_int_equal(bl_copy_take_info(&p, &len, 301, &info, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
	}
	static const struct {
		size_t n_paths;
		const char *behind; /* the number of the path and the hash */
		size_t len;
		const char *msg;
	} cases[] = {
		{ 0, "\1\0\0\0\0", 5,
		  "what is to be known of a path: a number of something "
		  "in an empty list" },
		{ 1, "\0\0\0\0\0", 5, "a NAR of no size" },
		{ 1, "\x81\x80\x80\x80\x80\x80\x04\0\0\0\0", 11,
		  "what is to be known of a path: a number is 17592186044417, at most "
		  "17592186044416 may be" },
		{ 1, "\1\3abc\0\0\0", 8,
		  "what is to be known of a path: a deriver is no store path" },
		{ 1, "\1\0\3a\nb\0\0", 8,
		  "what is to be known of a path: a text with control characters" },
		{ 1, "\1\0\x81\x20", 4,
		  "what is to be known of a path: text: a number is 4097, at most 4096 may "
		  "be" },
		{ 1, "\1\0\0\2\0\0\0", 7,
		  "what is to be known of a path: references: a number is 2, at most 1 may "
		  "be" },
		{ 1, "\1\0\0\1\1\0\0", 7,
		  "what is to be known of a path: reference: a number is 1, at most 0 may "
		  "be" },
		{ 1, "\1\0\0\0\xe9\7", 6,
		  "what is to be known of a path: signatures: a number is 1001, at most 1000 "
		  "may be" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) bad = { 0 };
		BL_AUTO(bl_copy_info) info = { 0 };
		static const char start[1 + BL_SHA256_LEN];
		bl_buf_append(&bad, start, sizeof(start));
		bl_buf_append(&bad, cases[i].behind, cases[i].len);
		const char *p = bad.data;
		size_t len = bad.len;
		assert_fails(bl_copy_take_info(&p, &len, cases[i].n_paths, &info, &err), &err,
			     BL_E_INPUT, cases[i].msg);
	}
}

static void pairs_come_back(void **state)
{
	(void)state;
	uint64_t seed = 1;
	struct bl_copy_pair pairs[300];
	bl_autofree struct bl_copy_pair *back = NULL;
	size_t n = 0;
	struct bl_err err = { 0 };
	for (size_t i = 0; i < BL_COUNT(pairs); i++)
		pairs[i] = (struct bl_copy_pair){ (uint32_t)(unit_random(&seed) % 1000),
						  (uint32_t)(unit_random(&seed) % 2000) };
	for (size_t i = 0; i < BL_COUNT(pairs); i += 100) {
		BL_AUTO(bl_buf) b = { 0 };
		bl_copy_put_pairs(&b, pairs + i, 100);
		assert_works(bl_copy_take_pairs(b.data, b.len, 1000, 2000, &back, &n, &err),
			     &err);
		for (size_t len = 0; len < b.len; len++) {
			assert_int_equal(
				bl_copy_take_pairs(b.data, len, 1000, 2000, &back, &n, &err),
				-1);
			assert_int_equal(err.code, BL_E_INPUT);
		}
		assert_int_equal(n, i + 100);
	}
	assert_memory_equal(back, pairs, sizeof(pairs));
}

static void pairs_of_nothing_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *msg;
	} cases[] = {
		{ "\1\1\0", 3, "pair 0: number -1 of 3" },
		{ "\1\6\0", 3, "pair 0: number 3 of 3" },
		{ "\2\4\2\1\6", 5, "pair 1: number 4 of 4" },
		{ "\1\0\0\0", 4, "there is something behind the pairs" },
		{ "\2\0\0", 3, "pairs are cut off" },
		{ "\4\0\0\0\0\0\0\0\0", 9, "pairs: a number is 4, at most 3 may be" },
		{ "", 0, "pairs: a number is cut off" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree struct bl_copy_pair *pairs = NULL;
		size_t n = 0;
		struct bl_err err = { 0 };
		assert_fails(bl_copy_take_pairs(cases[i].bytes, cases[i].len, 3, 4, &pairs, &n,
						&err),
			     &err, BL_E_INPUT, cases[i].msg);
		assert_int_equal(n, 0);
	}
}

static void pieces_come_back(void **state)
{
	(void)state;
	uint32_t olds[] = { 7, BL_COPY_NO_OLD, 0 };
	struct bl_copy_piece pieces[] = {
		{ .kind = 0, .first = 9, .count = 1, .part = 1ULL << 40, .size_bytes = 1 },
		{ .kind = 1, .first = 0, .count = 10, .size_bytes = 1ULL << 44 },
		{ .kind = 2,
		  .first = 4,
		  .count = 3,
		  .size_bytes = 500,
		  .base_at = 3,
		  .base_bytes = 1000,
		  .olds = olds },
		{ .kind = 3, .first = 0, .count = 1, .olds = olds },
	};
	static const uint32_t guesses[10] = { 0, 0, 0, 0, 7, 1, 0, 0, 0, 0 };
	for (size_t i = 0; i < BL_COUNT(pieces); i++) {
		const struct bl_copy_piece *p = &pieces[i];
		BL_AUTO(bl_buf) b = { 0 };
		BL_AUTO(bl_copy_piece) back = { 0 };
		struct bl_err err = { 0 };
		bl_copy_put_piece(&b, p, guesses);
		assert_works(bl_copy_take_piece(b.data, b.len, 10, 8, guesses, &back, &err),
			     &err);
		assert_true(back.kind == p->kind && back.first == p->first &&
			    back.count == p->count && back.part == p->part &&
			    back.size_bytes == p->size_bytes && back.base_at == p->base_at &&
			    back.base_bytes == p->base_bytes);
		assert_true(!p->olds == !back.olds);
		for (size_t k = 0; p->olds && k < p->count; k++)
			assert_int_equal(back.olds[k], olds[k]);
		for (size_t len = 0; len < b.len; len++) {
			BL_AUTO(bl_copy_piece) cut = { 0 };
			assert_int_equal(
				bl_copy_take_piece(b.data, len, 10, 8, guesses, &cut, &err),
				-1);
			assert_int_equal(err.code, BL_E_INPUT);
		}
	}
}

static void bases_that_pairs_tell_of_take_no_room(void **state)
{
	(void)state;
	static const struct bl_copy_pair pairs[] = { { 0, 3 }, { 2, 1 }, { 4, 3 } };
	static const uint32_t paths[] = { 3, 2, 1 };
	BL_AUTO(bl_buf) b = { 0 };
	bl_autofree uint32_t *guesses = bl_copy_guesses(pairs, 3, paths, 3, 4);
	assert_int_equal(guesses[0], 0);
	assert_int_equal(guesses[1], BL_COPY_NO_OLD);
	assert_int_equal(guesses[2], 2);
	const struct bl_copy_piece p = { .kind = 2, .count = 3, .olds = guesses };
	bl_copy_put_piece(&b, &p, guesses);
	assert_int_equal(b.len, 1 + 4 + 2 + 1);
}

static void pieces_that_cannot_be_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *msg;
	} cases[] = {
		{ "\4\0\1\0\0", 5, "a piece of kind 4" },
		{ "\0\3\1\0\0", 5, "piece: a number is 3, at most 2 may be" },
		{ "\0\2\2\0\0", 5, "piece: a number is 2, at most 1 may be" },
		{ "\0\0\0\0\0", 5, "a piece of no NAR" },
		{ "\0\0\2\1\0", 5, "a piece of a part of several NARs" },
		{ "\0\0\1\0\0\0", 6, "there is something behind a piece" },
		{ "\2\0\1\0\0\0\0\0\3", 9, "base: a number is 3, at most 2 may be" },
		{ "\2\0\1\0\0\0\0\2", 8, "bases as guessed: a number is 2, at most 1 may be" },
		{ "\2\0\1\0\0\0\0\0\2", 9, "a base is told that was guessed" },
		{ "\2\0\2\0\0\0\0\1", 8, "base: a number is cut off" },
	};
	static const uint32_t guesses[3] = { 1, 0, 0 };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_copy_piece) p = { 0 };
		struct bl_err err = { 0 };
		assert_fails(bl_copy_take_piece(cases[i].bytes, cases[i].len, 3, 2, guesses, &p,
						&err),
			     &err, BL_E_INPUT, cases[i].msg);
	}
	BL_AUTO(bl_copy_piece) p = { 0 };
	struct bl_err err = { 0 };
	assert_fails(bl_copy_take_piece("\0\0\1\0\0", 5, 0, 2, NULL, &p, &err), &err,
		     BL_E_INPUT, "piece: a number of something in an empty list");
}

static void bits_are_as_many_as_there_should_be(void **state)
{
	(void)state;
	uint64_t seed = 3;
	for (size_t n = 0; n < 70; n++) {
		bool bits[70];
		bool back[70];
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_err err = { 0 };
		for (size_t i = 0; i < n; i++)
			bits[i] = unit_random(&seed) & 1;
		bl_copy_put_bits(&b, bits, n);
		assert_int_equal(b.len, (n + 7) / 8);
		assert_works(bl_copy_take_bits(b.data, b.len, back, n, &err), &err);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(bits[i], back[i]);
		assert_int_equal(bl_copy_take_bits(b.data, b.len, back, n + 8, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
	}
	bool bits[3];
	struct bl_err err = { 0 };
	assert_works(bl_copy_take_bits("\5", 1, bits, 3, &err), &err);
	assert_true(bits[0] && !bits[1] && bits[2]);
	assert_fails(bl_copy_take_bits("\x0d", 1, bits, 3, &err), &err, BL_E_INPUT,
		     "more than 3 bits");
	assert_fails(bl_copy_take_bits("\5\0", 2, bits, 3, &err), &err, BL_E_INPUT,
		     "2 bytes for 3 bits");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_sorted_by_name_and_then_by_hash),
		cmocka_unit_test(paths_come_back_from_blocks),
		cmocka_unit_test(what_is_no_path_or_out_of_order_is_refused),
		cmocka_unit_test(a_closure_has_a_largest_size),
		cmocka_unit_test(numbers_have_one_form),
		cmocka_unit_test(infos_come_back),
		cmocka_unit_test(infos_that_are_cut_or_say_too_much_are_refused),
		cmocka_unit_test(pairs_come_back),
		cmocka_unit_test(pairs_of_nothing_are_refused),
		cmocka_unit_test(pieces_come_back),
		cmocka_unit_test(bases_that_pairs_tell_of_take_no_room),
		cmocka_unit_test(pieces_that_cannot_be_are_refused),
		cmocka_unit_test(bits_are_as_many_as_there_should_be),
	};
	return cmocka_run_group_tests_name("copy-wire", tests, NULL, NULL);
}
