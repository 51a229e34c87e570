/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/frame.h"

static void a_frame_lies_in_the_bytes_as_it_is_written_down(void **state)
{
	(void)state;
	static const char want[] = "\x03\x00\x00\x00\x16\x01\x00\x00"
				   "abc";
	BL_AUTO(bl_buf) b = { 0 };
	bl_frame_put(&b, 0x0116, "abc", 3);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(b.data, want, sizeof(want) - 1);
	bl_buf_clear(&b);
	bl_frame_put(&b, 1, NULL, 0);
	assert_int_equal(b.len, BL_FRAME_HEAD);
}

static void every_size_and_type_comes_back(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 7, 8, 255, 256, 65535, 65536, BL_FRAME_MAX };
	static const uint16_t types[] = { 0, 1, 255, 256, 65535 };
	bl_autofree char *payload = bl_xcalloc(BL_FRAME_MAX, 1);
	for (size_t i = 0; i < BL_FRAME_MAX; i++)
		payload[i] = (char)(i * 7);
	for (size_t i = 0; i < BL_COUNT(sizes) * BL_COUNT(types); i++) {
		size_t size = sizes[i / BL_COUNT(types)];
		uint16_t type = types[i % BL_COUNT(types)];
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_frame f = { 0 };
		struct bl_err err = { 0 };
		bl_frame_put(&b, type, payload, size);
		bl_buf_puts(&b, "what follows");
		assert_int_equal(bl_frame_take(b.data, b.len, &f, &err), 1);
		assert_int_equal(f.type, type);
		assert_int_equal(f.len, size);
		assert_int_equal(f.used, BL_FRAME_HEAD + size);
		assert_memory_equal(f.payload, payload, size);
		assert_string_equal(b.data + f.used, "what follows");
	}
}

static void a_frame_that_is_cut_anywhere_waits_for_more(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_frame_put(&b, 7, "some payload", 12);
	for (size_t len = 0; len < b.len; len++) {
		/* alone in its memory, so that a sanitizer sees a step too far */
		bl_autofree char *cut = bl_xcalloc(len, 1);
		memcpy(cut, b.data, len);
		struct bl_frame f = { .type = 99, .used = 99 };
		struct bl_err err = { 0 };
		assert_int_equal(bl_frame_take(cut, len, &f, &err), 0);
		assert_int_equal(f.type, 99);
		assert_int_equal(f.used, 99);
		assert_int_equal(err.code, BL_E_NONE);
	}
}

static void what_is_no_frame_of_ours_is_refused_by_its_head_alone(void **state)
{
	(void)state;
	static const struct {
		const char *head;
		const char *msg;
	} cases[] = {
		{ "\x01\x00\x04\x00\x01\x00\x00\x00",
		  "the other end does not speak belay's frames (length 262145)" },
		{ "\xff\xff\xff\xff\x01\x00\x00\x00",
		  "the other end does not speak belay's frames (length 4294967295)" },
		{ "\x01\x00\x00\x00\x01\x00\x01\x00",
		  "the other end does not speak belay's frames (length 1)" },
		{ "\x01\x00\x00\x00\x01\x00\x00\x80",
		  "the other end does not speak belay's frames (length 1)" },
		{ "Last log",
		  "the other end does not speak belay's frames (length 1953718604)" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_frame f = { .type = 99 };
		struct bl_err err = { 0 };
		assert_fails(bl_frame_take(cases[i].head, BL_FRAME_HEAD, &f, &err), &err,
			     BL_E_INPUT, cases[i].msg);
		assert_int_equal(f.type, 99);
	}
}

static void random_bytes_get_an_answer_within_their_bounds(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++) {
		size_t len = unit_random(&seed) % 40;
		bl_autofree char *bytes = bl_xcalloc(len, 1);
		for (size_t i = 0; i < len; i++)
			/* mostly small, so that many heads are good */
			bytes[i] = (char)(unit_random(&seed) % 8 ? unit_random(&seed) % 16
								 : unit_random(&seed));
		if (len >= BL_FRAME_HEAD && unit_random(&seed) % 4)
			memset(bytes + 1, 0, 7);
		struct bl_frame f = { 0 };
		struct bl_err err = { 0 };
		int rc = bl_frame_take(bytes, len, &f, &err);
		assert_int_equal(err.code, rc < 0 ? BL_E_INPUT : BL_E_NONE);
		if (rc == 1) {
			assert_true(f.used <= len && f.used == f.len + BL_FRAME_HEAD);
			assert_ptr_equal(f.payload, bytes + BL_FRAME_HEAD);
		}
	}
}

static void the_banner_is_one_line(void **state)
{
	(void)state;
	const char *end = strchr(BL_WIRE_BANNER, '\n');
	assert_ptr_equal(end, strrchr(BL_WIRE_BANNER, '\n'));
	assert_string_equal(end, "\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_lies_in_the_bytes_as_it_is_written_down),
		cmocka_unit_test(every_size_and_type_comes_back),
		cmocka_unit_test(a_frame_that_is_cut_anywhere_waits_for_more),
		cmocka_unit_test(what_is_no_frame_of_ours_is_refused_by_its_head_alone),
		cmocka_unit_test(random_bytes_get_an_answer_within_their_bounds),
		cmocka_unit_test(the_banner_is_one_line),
	};
	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
