/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

static void a_message_holds_code_and_text(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	assert_fails(bl_err_set(&err, BL_E_INPUT, "line %d: no key", 3), &err, BL_E_INPUT,
		     "line 3: no key");
	assert_int_equal(err.sys_errno, 0);
}

static void a_system_error_names_its_cause(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	assert_fails(bl_err_sys(&err, ENOENT, "open %s", "record"), &err, BL_E_SYS,
		     "open record: No such file or directory");
	assert_int_equal(err.sys_errno, ENOENT);
}

static void wrapping_puts_the_place_before_the_cause(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_err_set_(&err, BL_E_TIMEOUT, 0, "no answer");
	assert_fails(bl_err_wrap(&err, "ssh"), &err, BL_E_TIMEOUT, "ssh: no answer");
	assert_fails(bl_err_wrap(&err, "host %s", "web1"), &err, BL_E_TIMEOUT,
		     "host web1: ssh: no answer");
}

static void a_full_message_keeps_the_cause_and_cuts_the_place(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	char place[600];
	memset(place, 'p', sizeof(place) - 1);
	place[sizeof(place) - 1] = '\0';
	bl_err_set_(&err, BL_E_FAILED, 0, "the very cause");
	assert_int_equal(bl_err_wrap(&err, "%s", place), -1);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + sizeof(err.msg) - 1 - strlen("p: the very cause"),
			    "p: the very cause");
	/* no room at all: nothing changes */
	char before[sizeof(err.msg)];
	memcpy(before, err.msg, sizeof(before));
	assert_int_equal(bl_err_wrap(&err, "outer"), -1);
	assert_string_equal(err.msg, before);
}

static void a_long_name_does_not_push_out_the_reason_of_the_system(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	char name[600];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(bl_err_sys(&err, ENOSPC, "create %s", name), -1);
	const char *end = "n: No space left on device";
	assert_true(strlen(err.msg) >= strlen(end));
	assert_string_equal(err.msg + strlen(err.msg) - strlen(end), end);
}

static void nobody_has_to_want_the_error(void **state)
{
	(void)state;
	assert_int_equal(bl_err_set(NULL, BL_E_USAGE, "x"), -1);
	assert_int_equal(bl_err_sys(NULL, EIO, "x"), -1);
	assert_int_equal(bl_err_wrap(NULL, "x"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_holds_code_and_text),
		cmocka_unit_test(a_system_error_names_its_cause),
		cmocka_unit_test(wrapping_puts_the_place_before_the_cause),
		cmocka_unit_test(a_full_message_keeps_the_cause_and_cuts_the_place),
		cmocka_unit_test(a_long_name_does_not_push_out_the_reason_of_the_system),
		cmocka_unit_test(nobody_has_to_want_the_error),
	};
	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
