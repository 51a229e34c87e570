/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void an_empty_buffer_is_an_empty_text(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	assert_string_equal(bl_buf_str(&b), "");
	bl_buf_clear(&b);
	bl_buf_drop(&b, 3);
	bl_buf_append(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	bl_autofree char *text = bl_buf_steal(&b);
	assert_string_equal(text, "");
	assert_null(b.data);
}

static void all_ways_to_append_add_up(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_puts(&b, "one");
	bl_buf_putc(&b, ' ');
	bl_buf_append(&b, "two three", 3);
	bl_buf_printf(&b, " %d%s", 3, "");
	bl_buf_printf(&b, "%s", "");
	assert_string_equal(bl_buf_str(&b), "one two 3");
	assert_int_equal(b.len, 9);
}

static void bytes_may_be_zero(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_append(&b, "a\0b", 3);
	bl_buf_putc(&b, '\0');
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "a\0b\0", 5);
}

static void it_grows_over_every_limit_and_stays_terminated(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	for (int i = 0; i < 10000; i++) {
		bl_buf_printf(&b, "%04d", i);
		assert_int_equal(b.data[b.len], 0);
		assert_true(b.cap > b.len);
	}
	assert_int_equal(b.len, 40000);
	assert_memory_equal(b.data + 39996, "9999", 5);
}

static void dropping_takes_from_the_front(void **state)
{
	(void)state;
	static const struct {
		size_t drop;
		const char *left;
	} cases[] = { { 0, "abcdef" }, { 1, "bcdef" }, { 5, "f" }, { 6, "" }, { 7, "" } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		bl_buf_puts(&b, "abcdef");
		bl_buf_drop(&b, cases[i].drop);
		assert_string_equal(bl_buf_str(&b), cases[i].left);
		assert_int_equal(b.len, strlen(cases[i].left));
	}
}

static void a_cleared_buffer_keeps_its_memory_and_starts_again(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_puts(&b, "abc");
	size_t cap = b.cap;
	bl_buf_clear(&b);
	assert_int_equal(b.cap, cap);
	assert_string_equal(bl_buf_str(&b), "");
	bl_buf_puts(&b, "d");
	assert_string_equal(bl_buf_str(&b), "d");
}

static void a_stolen_text_belongs_to_the_taker(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_puts(&b, "mine");
	bl_autofree char *text = bl_buf_steal(&b);
	assert_string_equal(text, "mine");
	assert_string_equal(bl_buf_str(&b), "");
	bl_buf_puts(&b, "other");
	assert_string_equal(text, "mine");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_is_an_empty_text),
		cmocka_unit_test(all_ways_to_append_add_up),
		cmocka_unit_test(bytes_may_be_zero),
		cmocka_unit_test(it_grows_over_every_limit_and_stays_terminated),
		cmocka_unit_test(dropping_takes_from_the_front),
		cmocka_unit_test(a_cleared_buffer_keeps_its_memory_and_starts_again),
		cmocka_unit_test(a_stolen_text_belongs_to_the_taker),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
