/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "guard/tries.h"

#define S 1000000000LL

static void one_good_answer_is_enough(void **state)
{
	(void)state;
	const struct bl_check c = { .timeout_ms = 1000 };
	struct bl_tries t = { 0 };
	assert_int_equal(bl_tries_judge(&t, &c, true, 5 * S), BL_TRIES_OK);
}

static void one_bad_answer_without_retries_is_the_end(void **state)
{
	(void)state;
	const struct bl_check c = { .timeout_ms = 1000 };
	struct bl_tries t = { 0 };
	assert_int_equal(bl_tries_judge(&t, &c, false, 5 * S), BL_TRIES_FAILED);
}

static void retries_are_a_second_apart_and_used_up(void **state)
{
	(void)state;
	const struct bl_check c = { .timeout_ms = 1000, .retries = 2 };
	struct bl_tries t = { 0 };
	assert_int_equal(bl_tries_judge(&t, &c, false, 5 * S), BL_TRIES_AGAIN);
	assert_int_equal(t.next_ns, 6 * S);
	assert_int_equal(bl_tries_judge(&t, &c, false, 7 * S), BL_TRIES_AGAIN);
	assert_int_equal(t.next_ns, 8 * S);
	assert_int_equal(bl_tries_judge(&t, &c, false, 9 * S), BL_TRIES_FAILED);
	t = (struct bl_tries){ 0 };
	assert_int_equal(bl_tries_judge(&t, &c, false, 5 * S), BL_TRIES_AGAIN);
	assert_int_equal(bl_tries_judge(&t, &c, true, 7 * S), BL_TRIES_OK);
}

static void a_hold_is_asked_each_second_and_at_its_end(void **state)
{
	(void)state;
	const struct bl_check c = { .timeout_ms = 1000, .hold_ms = 2500 };
	struct bl_tries t = { 0 };
	assert_int_equal(bl_tries_judge(&t, &c, true, 0), BL_TRIES_AGAIN);
	assert_int_equal(t.next_ns, S);
	assert_int_equal(bl_tries_judge(&t, &c, true, S), BL_TRIES_AGAIN);
	assert_int_equal(bl_tries_judge(&t, &c, true, 2 * S), BL_TRIES_AGAIN);
	assert_int_equal(t.next_ns, 5 * S / 2);
	assert_int_equal(bl_tries_judge(&t, &c, true, 5 * S / 2), BL_TRIES_OK);
}

static void what_does_not_hold_has_no_more_tries(void **state)
{
	(void)state;
	const struct bl_check c = { .timeout_ms = 1000, .retries = 9, .hold_ms = 5000 };
	struct bl_tries t = { 0 };
	assert_int_equal(bl_tries_judge(&t, &c, false, 0), BL_TRIES_AGAIN);
	assert_int_equal(bl_tries_judge(&t, &c, true, S), BL_TRIES_AGAIN);
	assert_int_equal(bl_tries_judge(&t, &c, false, 2 * S), BL_TRIES_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_good_answer_is_enough),
		cmocka_unit_test(one_bad_answer_without_retries_is_the_end),
		cmocka_unit_test(retries_are_a_second_apart_and_used_up),
		cmocka_unit_test(a_hold_is_asked_each_second_and_at_its_end),
		cmocka_unit_test(what_does_not_hold_has_no_more_tries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
