/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/confirm.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/login.h"
#include "base/str.h"

/* Behind the name: state, parent, and so on up to the start time, field 22; then some more. */
#define REST(ppid, start)                                                             \
	" S " ppid " 812 812 0 -1 4194560 1041 0 0 0 12 7 0 0 20 0 1 0 " start        \
	" 17575936 2816 18446744073709551615 94208 94209 140722 0 0 0 0 4096 81923 1" \
	" 0 0 17 3 0 0 0 0 0 94210 94211 94212 140723 140724 140725 140726 0\n"

static void parent_and_start_are_read_whatever_the_name(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *comm;
	} cases[] = {
		{ "812 (sshd)" REST("1", "4711"), "sshd" },
		{ "812 (sshd-session)" REST("1", "4711"), "sshd-session" },
		{ "812 ((sd-pam))" REST("1", "4711"), "(sd-pam)" },
		{ "812 (a) b (c)" REST("1", "4711"), "a) b (c" },
		{ "812 (a) S 7 (x)" REST("1", "4711"), "a) S 7 (x" },
		{ "812 ()" REST("1", "4711"), "" },
		{ "812 ( )" REST("1", "4711"), " " },
		{ "812 ())" REST("1", "4711"), ")" },
		{ "812 (()" REST("1", "4711"), "(" },
		{ "812 (line\nbreak)" REST("1", "4711"), "line\nbreak" },
		{ "812 (\xff\x01%s)" REST("1", "4711"), "\xff\x01%s" },
		{ "812 (kworker/0:1H-kblockd)" REST("1", "4711"), "kworker/0:1H-kblockd" },
		/* longer than any that the kernel gives: cut */
		{ "812 (0123456789012345678901234567890123456789)" REST("1", "4711"),
		  "0123456789012345678901234567890" },
		{ "0 (sshd)" REST("1", "4711"), "sshd" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_err err = { 0 };
		char comm[32] = "";
		uint64_t ticks = 0;
		int ppid = 0;
		assert_works(bl_parse_stat(cases[i].text, &ppid, &ticks, comm, &err), &err);
		assert_int_equal(ppid, 1);
		assert_int_equal(ticks, 4711);
		assert_string_equal(comm, cases[i].comm);
	}
}

static void numbers_have_the_ranges_of_their_kinds(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int ppid; /* -1: refused */
		uint64_t ticks;
	} cases[] = {
		{ "1 (init)" REST("0", "0"), 0, 0 },
		{ "9 (x)" REST("2147483647", "9223372036854775807"), INT32_MAX, INT64_MAX },
		{ "9 (x)" REST("2147483648", "1"), -1, 0 },
		{ "9 (x)" REST("-1", "1"), -1, 0 },
		{ "9 (x)" REST("1", "9223372036854775808"), -1, 0 },
		{ "9 (x)" REST("1", "-1"), -1, 0 },
		{ "9 (x)" REST("1", "1x"), -1, 0 },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_err err = { 0 };
		char comm[32] = "";
		uint64_t ticks = 77;
		int ppid = 77;
		if (cases[i].ppid < 0) {

			assert_fails(bl_parse_stat(cases[i].text, &ppid, &ticks, comm, &err),
				     &err, BL_E_INPUT, "a stat file of /proc is malformed");
			assert_int_equal(ppid, 77);
			continue;
		}
		assert_works(bl_parse_stat(cases[i].text, &ppid, &ticks, comm, &err), &err);
		assert_int_equal(ppid, cases[i].ppid);
		assert_int_equal(ticks, cases[i].ticks);
	}
}

static void a_stat_file_that_is_cut_is_refused(void **state)
{
	(void)state;
	static const char whole[] = "812 (sshd)" REST("1", "4711");
	size_t enough = (size_t)(strstr(whole, "4711") - whole);
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		bl_autofree char *cut = bl_xstrndup(whole, len);
		struct bl_err err = { 0 };
		char comm[32];
		uint64_t ticks = 0;
		int ppid = 77;
		int rc = bl_parse_stat(cut, &ppid, &ticks, comm, &err);
		assert_int_equal(rc, len <= enough ? -1 : 0);
		if (rc < 0) {
			assert_string_equal(err.msg, "a stat file of /proc is malformed");
			assert_int_equal(ppid, 77);
		}
	}
}

static void what_is_no_stat_file_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"\n",
		"812 sshd S 1 2 3",
		"812 (sshd",
		"812 sshd)",
		")(",
		"812 )sshd(" REST("1", "4711"),
		"812 (sshd)",
		"812 (sshd) ",
		"812 (sshd)S 1 812 812 0 -1 4194560 1041 0 0 0 12 7 0 0 20 0 1 0 4711 1 1",
		"812 (sshd) S 1 812 812 0 -1 4194560 1041 0 0 0 12 7 0 0 20 0 1 0",
		"812 (sshd) 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k",
	};
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		struct bl_err err = { 0 };
		char comm[32];
		uint64_t ticks = 0;
		int ppid = 0;
		assert_fails(bl_parse_stat(bad[i], &ppid, &ticks, comm, &err), &err, BL_E_INPUT,
			     "a stat file of /proc is malformed");
	}
}

static void our_own_stat_file_is_read(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofree char *text = bl_slurp("/proc/self/stat", 4096);
	char comm[32] = "";
	uint64_t ticks = 0;
	int ppid = 0;
	assert_non_null(text);
	assert_works(bl_parse_stat(text, &ppid, &ticks, comm, &err), &err);
	assert_int_equal(ppid, getppid());
	bl_autofree char *name = bl_slurp("/proc/self/comm", 64);
	assert_non_null(name);
	name[strcspn(name, "\n")] = '\0';
	assert_string_equal(comm, name);
	int64_t start_ns = (int64_t)ticks * (BL_NS_PER_S / sysconf(_SC_CLK_TCK));
	assert_true(start_ns > 0 && start_ns <= bl_now_boot_ns());
}

static void a_process_that_is_not_there_has_no_session(void **state)
{
	(void)state;
	static const int pids[] = { 0, 1, -1, INT32_MAX };
	for (size_t i = 0; i < BL_COUNT(pids); i++) {
		struct bl_err err = { 0 };
		int64_t ns = 77;
		assert_fails(bl_session_start(pids[i], &ns, &err), &err, BL_E_REFUSED,
			     "no sshd is above this session, so it cannot be told to be fresh");
		assert_int_equal(ns, 77);
		assert_int_equal(bl_session_fresh(pids[i], 0, &err), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parent_and_start_are_read_whatever_the_name),
		cmocka_unit_test(numbers_have_the_ranges_of_their_kinds),
		cmocka_unit_test(a_stat_file_that_is_cut_is_refused),
		cmocka_unit_test(what_is_no_stat_file_is_refused),
		cmocka_unit_test(our_own_stat_file_is_read),
		cmocka_unit_test(a_process_that_is_not_there_has_no_session),
	};
	return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
