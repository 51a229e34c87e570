/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/kv.h"

static void what_is_set_is_found_and_replaced(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	assert_null(bl_kv_get(&kv, "a"));
	assert_string_equal(bl_kv_str(&kv, "a"), "");
	bl_kv_set(&kv, "a", "1");
	bl_kv_setf(&kv, "b", "%s-%d", "x", 2);
	bl_kv_set_u64(&kv, "c", UINT64_MAX);
	bl_kv_set(&kv, "a", "new");
	assert_int_equal(kv.n, 3);
	assert_string_equal(bl_kv_get(&kv, "a"), "new");
	assert_string_equal(bl_kv_get(&kv, "b"), "x-2");
	assert_string_equal(bl_kv_get(&kv, "c"), "18446744073709551615");
}

static void a_key_may_come_more_than_once_in_order(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_add(&kv, "unit", "a.service");
	bl_kv_add(&kv, "unit", "b.service");
	BL_AUTO(bl_buf) text = { 0 };
	bl_kv_encode(&kv, &text);
	assert_string_equal(bl_buf_str(&text), "unit=a.service\nunit=b.service\n");
	assert_string_equal(bl_kv_get(&kv, "unit"), "a.service");
	size_t n = 0;
	BL_KV_FOREACH (&kv, it)
		n += strcmp(it->key, "unit") == 0;
	assert_int_equal(n, 2);
	BL_AUTO(bl_kv) none = { 0 };
	BL_KV_FOREACH (&none, it)
		fail_msg("an empty list has %s", it->key);
}

static void a_line_stays_a_line_whatever_the_value(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "v", "a\nb=c%0a\x7f\t \xc3\xbc");
	BL_AUTO(bl_buf) text = { 0 };
	bl_kv_encode(&kv, &text);
	assert_string_equal(bl_buf_str(&text), "v=a%0ab=c%250a%7f%09 \xc3\xbc\n");
}

static void numbers_have_a_range_and_a_name(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_err err = { 0 };
	uint64_t v = 77;
	bl_kv_set(&kv, "n", "12");
	bl_kv_set(&kv, "t", "twelve");
	assert_works(bl_kv_u64(&kv, "n", 0, 12, &v, &err), &err);
	assert_int_equal(v, 12);
	v = 77;
	assert_fails(bl_kv_u64(&kv, "m", 0, 9, &v, &err), &err, BL_E_INPUT, "m is missing");
	assert_fails(bl_kv_u64(&kv, "n", 0, 9, &v, &err), &err, BL_E_USAGE,
		     "n: '12' is not a number from 0 to 9");
	assert_fails(bl_kv_u64(&kv, "t", 0, 9, &v, &err), &err, BL_E_USAGE,
		     "t: 'twelve' is not a number from 0 to 9");
	assert_int_equal(v, 77);
	assert_int_equal(bl_kv_u64_or(&kv, "n", 5), 12);
	assert_int_equal(bl_kv_u64_or(&kv, "t", 5), 5);
	assert_int_equal(bl_kv_u64_or(&kv, "m", 5), 5);
}

static void only_1_is_true(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		bool want;
	} cases[] = {
		{ "1", true }, { "0", false }, { "", false }, { "true", false }, { "11", false }
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		assert_false(bl_kv_bool(&kv, "b"));
		bl_kv_set(&kv, "b", cases[i].value);
		assert_int_equal(bl_kv_bool(&kv, "b"), cases[i].want);
	}
}

static void malformed_lines_are_refused_by_number(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t len;
		const char *msg;
	} cases[] = {
		{ "a=1", 3, "the last line is cut off" },
		{ "a=1\nb", 5, "the last line is cut off" },
		{ "\n", 1, "line 1 is not key=value" },
		{ "a=1\nnovalue\n", 12, "line 2 is not key=value" },
		{ "=1\n", 3, "line 1 is not key=value" },
		{ "A=1\n", 4, "line 1 is not key=value" },
		{ "a b=1\n", 6, "line 1 is not key=value" },
		{ "a\0=1\n", 5, "line 1 is not key=value" },
		{ "a=1\nb=%\n", 8, "line 2: value of b is malformed" },
		{ "b=%0\n", 5, "line 1: value of b is malformed" },
		{ "b=%0g\n", 6, "line 1: value of b is malformed" },
		{ "b=%00\n", 6, "line 1: value of b is malformed" },
		{ "b=x\0y\n", 6, "line 1: value of b is malformed" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		struct bl_err err = { 0 };
		assert_fails(bl_kv_decode(cases[i].text, cases[i].len, &kv, &err), &err,
			     BL_E_INPUT, cases[i].msg);
		assert_int_equal(kv.n, 0);
	}
}

static void nothing_is_an_empty_list_and_an_empty_value_is_a_value(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	BL_AUTO(bl_kv) none = { 0 };
	assert_works(bl_kv_decode("", 0, &none, &err), &err);
	assert_int_equal(none.n, 0);
	BL_AUTO(bl_kv) kv = { 0 };
	assert_works(bl_kv_decode("a=\n0.b_=x=y\n", 12, &kv, &err), &err);
	assert_string_equal(bl_kv_get(&kv, "a"), "");
	assert_string_equal(bl_kv_get(&kv, "0.b_"), "x=y");
}

static void the_number_of_lines_has_a_limit(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	for (int i = 0; i < BL_KV_MAX_ITEMS; i++)
		bl_buf_puts(&text, "k=v\n");
	BL_AUTO(bl_kv) kv = { 0 };
	assert_works(bl_kv_decode(text.data, text.len, &kv, &err), &err);
	assert_int_equal(kv.n, BL_KV_MAX_ITEMS);
	bl_buf_puts(&text, "k=v\n");
	BL_AUTO(bl_kv) more = { 0 };
	assert_fails(bl_kv_decode(text.data, text.len, &more, &err), &err, BL_E_INPUT,
		     "more than 512 lines");
}

static void random_pair(uint64_t *seed, struct bl_kv *kv)
{
	static const char keys[] = "abcdefghijklmnopqrstuvwxyz0123456789_.";
	char key[17] = { 0 };
	char value[65] = { 0 };
	size_t key_len = 1 + unit_random(seed) % 16;
	size_t len = unit_random(seed) % 65;
	for (size_t i = 0; i < key_len; i++)
		key[i] = keys[unit_random(seed) % (sizeof(keys) - 1)];
	for (size_t i = 0; i < len; i++)
		value[i] = (char)(1 + unit_random(seed) % 255);
	bl_kv_add(kv, key, value);
}

static void random_values_come_back_and_cut_texts_never_crash(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 300; round++) {
		BL_AUTO(bl_kv) kv = { 0 };
		BL_AUTO(bl_kv) back = { 0 };
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_err err = { 0 };
		size_t n = unit_random(&seed) % 20;
		for (size_t i = 0; i < n; i++)
			random_pair(&seed, &kv);
		bl_kv_encode(&kv, &text);
		assert_works(bl_kv_decode(bl_buf_str(&text), text.len, &back, &err), &err);
		assert_int_equal(back.n, n);
		for (size_t i = 0; i < n; i++) {
			assert_string_equal(back.items[i].key, kv.items[i].key);
			assert_string_equal(back.items[i].value, kv.items[i].value);
		}
		if (text.len == 0)
			continue;
		/* cut anywhere, or with one byte changed: an answer, whichever */
		BL_AUTO(bl_kv) cut = { 0 };
		text.data[unit_random(&seed) % text.len] = (char)unit_random(&seed);
		size_t len = unit_random(&seed) % (text.len + 1);
		if (bl_kv_decode(text.data, len, &cut, &err) < 0)
			assert_int_equal(cut.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_set_is_found_and_replaced),
		cmocka_unit_test(a_key_may_come_more_than_once_in_order),
		cmocka_unit_test(a_line_stays_a_line_whatever_the_value),
		cmocka_unit_test(numbers_have_a_range_and_a_name),
		cmocka_unit_test(only_1_is_true),
		cmocka_unit_test(malformed_lines_are_refused_by_number),
		cmocka_unit_test(nothing_is_an_empty_list_and_an_empty_value_is_a_value),
		cmocka_unit_test(the_number_of_lines_has_a_limit),
		cmocka_unit_test(random_values_come_back_and_cut_texts_never_crash),
	};
	return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
