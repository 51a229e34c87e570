/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/activation.h"

#define NG_SCRIPT  "updating...\nFailed to run activate script\n"
#define SNIPPET    "Activation script snippet 'users' failed (1)\n"
#define NG_UNITS   "warning: the following units failed: nginx.service\n"
#define LOCK_TEXT  "Could not acquire lock\n"
#define LOCK_WORDS "another switch-to-configuration is running"

/* guarded-activation.md 5.1, row by row. */
static const struct {
	int status;
	const char *output;
	enum bl_verdict verdict;
	const char *reason;
} cases[] = {
	{ 0, "", BL_ACT_OK, "" },
	{ 0, "activating the configuration...\nsetting up /etc...\n", BL_ACT_OK, "" },
	{ 1, "", BL_ACT_FAILED, "the activation failed (status 1)" },
	{ 1, "Error: D-Bus connection lost\n", BL_ACT_FAILED,
	  "the activation failed (status 1)" },
	{ 2, "", BL_ACT_FAILED, "the activation script failed (status 2)" },
	{ 2, NG_SCRIPT, BL_ACT_FAILED, "the activation script failed (status 2)" },
	{ 3, "", BL_ACT_FAILED, "systemd could not be reloaded (status 3)" },
	{ 4, "", BL_ACT_UNITS, "units failed" },
	{ 4, NG_UNITS, BL_ACT_UNITS, "units failed" },
	/* 4 overwrites 2: the output tells */
	{ 4, NG_SCRIPT NG_UNITS, BL_ACT_FAILED, "the activation script failed (status 4)" },
	{ 4, SNIPPET NG_UNITS, BL_ACT_FAILED, "the activation script failed (status 4)" },
	{ 3, SNIPPET, BL_ACT_FAILED, "the activation script failed (status 3)" },
	{ 1, NG_SCRIPT, BL_ACT_FAILED, "the activation script failed (status 1)" },
	{ EAGAIN, LOCK_TEXT, BL_ACT_LOCKED, LOCK_WORDS },
	{ 1, LOCK_TEXT, BL_ACT_LOCKED, LOCK_WORDS },
	{ 0, LOCK_TEXT, BL_ACT_OK, "" },
	{ EAGAIN, "", BL_ACT_FAILED, "the activation failed (status 11)" },
	{ 13, "", BL_ACT_FAILED, "the activation failed (status 13)" },
	{ 100, "", BL_ACT_UNTOUCHED, "the init interface changed: it can only be booted into" },
	{ 101, "thread 'main' panicked at src/main.rs:1\n", BL_ACT_FAILED,
	  "switch-to-configuration crashed (status 101)" },
	{ 126, "", BL_ACT_UNTOUCHED, "switch-to-configuration cannot be run (status 126)" },
	{ 127, "", BL_ACT_UNTOUCHED, "switch-to-configuration cannot be run (status 127)" },
	{ 128, "", BL_ACT_FAILED, "the activation failed (status 128)" },
	{ 128 + SIGHUP, "", BL_ACT_FAILED, "the activation was killed by signal 1" },
	{ 128 + SIGKILL, "", BL_ACT_FAILED, "the activation was killed by signal 9" },
	{ 128 + 64, "", BL_ACT_FAILED, "the activation was killed by signal 64" },
	{ 128 + 65, "", BL_ACT_FAILED, "the activation failed (status 193)" },
	{ 255, "", BL_ACT_FAILED, "the activation failed (status 255)" },
	{ BL_STC_LIMIT, "", BL_ACT_FAILED,
	  "the activation did not end in time and was killed" },
	{ BL_STC_STOPPED, "", BL_ACT_FAILED, "the activation was stopped on request" },
	{ BL_STC_NOEXEC, "", BL_ACT_UNTOUCHED, "switch-to-configuration cannot be started" },
	{ BL_STC_FLOOD, "", BL_ACT_FAILED,
	  "the activation printed more than 64 MiB and was killed" },
};

static void every_end_of_an_activation_is_judged_as_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		char reason[256] = "before";
		enum bl_verdict is = bl_activation_judge(cases[i].status, cases[i].output,
							 reason, sizeof(reason));
		if (is != cases[i].verdict)
			fail_msg("status %d with '%s': verdict %d", cases[i].status,
				 cases[i].output, (int)is);
		assert_string_equal(reason, cases[i].reason);
	}
}

static void no_status_but_0_is_a_success(void **state)
{
	(void)state;
	for (int status = -4; status < 256; status++) {
		char reason[256] = "";
		enum bl_verdict is = bl_activation_judge(status, "", reason, sizeof(reason));
		assert_int_equal(is == BL_ACT_OK, status == 0);
		assert_int_equal(is == BL_ACT_UNITS, status == 4);
		assert_int_equal(is == BL_ACT_UNTOUCHED, status == 100 || status == 126 ||
								 status == 127 ||
								 status == BL_STC_NOEXEC);
		assert_int_equal(reason[0] == '\0', status == 0);
	}
}

static void a_killed_activation_is_never_taken_for_one_that_did_nothing(void **state)
{
	(void)state;
	static const char *const outputs[] = { "", LOCK_TEXT, NG_SCRIPT, NG_UNITS };
	static const int kills[] = { BL_STC_LIMIT, BL_STC_STOPPED, BL_STC_FLOOD };
	for (size_t i = 0; i < BL_COUNT(outputs) * BL_COUNT(kills); i++) {
		char reason[256] = "";
		assert_int_equal(bl_activation_judge(kills[i / BL_COUNT(outputs)],
						     outputs[i % BL_COUNT(outputs)], reason,
						     sizeof(reason)),
				 BL_ACT_FAILED);
	}
}

static void a_reason_never_passes_its_room(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		for (size_t size = 1; size < 24; size++) {
			char reason[32];
			memset(reason, 'x', sizeof(reason));
			bl_activation_judge(cases[i].status, cases[i].output, reason, size);
			assert_true(strnlen(reason, size) < size);
			assert_int_equal(reason[size], 'x');
		}
	}
}

/* Behind megabytes, and cut by whatever it is read in. */
static void signs_are_found_wherever_they_stand(void **state)
{
	(void)state;
	static const size_t at[] = { 0, 1, 4096 - 5, 4096, 3 * 4096 - 27, 60000, 1000000 };
	for (size_t i = 0; i < BL_COUNT(at); i++) {
		FILE *f = tmpfile();
		assert_non_null(f);
		for (size_t n = 0; n < at[i]; n++)
			fputc('x', f);
		fputs("\n" NG_SCRIPT LOCK_TEXT "  Failed to mount\n", f);
		for (size_t n = 0; n < at[i]; n++)
			fputc('y', f);
		fputs("Failed to start a.service", f);
		rewind(f);
		bl_autofree char *signs = bl_activation_signs(fileno(f));
		static const char want[] =
			"Failed to run activate script\n" LOCK_TEXT "  Failed to mount\n";
		assert_int_equal(strncmp(signs, want, sizeof(want) - 1), 0);
		assert_non_null(strstr(signs, "Failed to start a.service\n"));
		assert_true(strlen(signs) < 8192);
		fclose(f);
	}
	bl_autofree char *none = bl_activation_signs(-1);
	assert_string_equal(none, "");
}

static void jobs_and_users_that_failed_are_told_apart_from_other_lines(void **state)
{
	(void)state;
	static const char output[] =
		"activating the configuration...\n"
		"Failed to reload nginx.service: Unit nginx.service cannot be reloaded\n"
		"Failed to restart getty@tty1.service\n"
		"Failed to restart getty@tty1.service\n"
		"Failed to restart user unit app.service\n"
		"warning: user activation for ann failed\n"
		"warning: user activation for  failed\n"
		"warning: user activation for bob failed to be long\n"
		"Failed to run activate script\n"
		"Failed to start \n"
		"Failed to start the whole thing\n"
		"Failed to start dev-disk-by\\x2dlabel-a:b.device\n"
		"  systemd[1]: Failed to start other.service\n"
		"Failed to stop last.mount";
	static const char *const want[] = { "nginx.service", "getty@tty1.service",
					    "user@ann.service",
					    "dev-disk-by\\x2dlabel-a:b.device", "last.mount" };
	BL_AUTO(bl_strv) got = { 0 };
	bl_activation_failed(output, &got);
	assert_int_equal(got.n, BL_COUNT(want));
	for (size_t i = 0; i < got.n; i++)
		assert_string_equal(got.items[i], want[i]);
	BL_AUTO(bl_strv) none = { 0 };
	bl_activation_failed("", &none);
	assert_int_equal(none.n, 0);
}

static void a_flood_of_failed_jobs_is_cut(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) output = { 0 };
	BL_AUTO(bl_strv) got = { 0 };
	for (int i = 0; i < 1000; i++)
		bl_buf_printf(&output, "Failed to start u%d.service\n", i);
	bl_activation_failed(bl_buf_str(&output), &got);
	assert_int_equal(got.n, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_end_of_an_activation_is_judged_as_the_table_says),
		cmocka_unit_test(no_status_but_0_is_a_success),
		cmocka_unit_test(a_killed_activation_is_never_taken_for_one_that_did_nothing),
		cmocka_unit_test(signs_are_found_wherever_they_stand),
		cmocka_unit_test(a_reason_never_passes_its_room),
		cmocka_unit_test(jobs_and_users_that_failed_are_told_apart_from_other_lines),
		cmocka_unit_test(a_flood_of_failed_jobs_is_cut),
	};
	return cmocka_run_group_tests_name("activation", tests, NULL, NULL);
}
