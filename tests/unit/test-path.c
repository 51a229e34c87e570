/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "store/path.h"

#define HASH "0123456789abcdfghijklmnpqrsvwxyz"
#define S    "/nix/store/"

static void paths_of_the_store_are_taken(void **state)
{
	(void)state;
	static const char *const good[] = {
		S HASH "-a",
		S HASH "-nixos-system-web1-24.05.20240512.abcdef1",
		S HASH "-g++_1.0-rc?=x",
		S HASH "--",
		S HASH "-_",
		S HASH "-=.",
		S HASH "-x.drv",
		S "00000000000000000000000000000000-0",
	};
	for (size_t i = 0; i < BL_COUNT(good); i++) {
		struct bl_err err = { 0 };
		if (!bl_store_path_ok(good[i]))
			fail_msg("%s", good[i]);
		assert_works(bl_store_path_check(good[i], "toplevel", &err), &err);
		assert_ptr_equal(bl_store_path_name(good[i]),
				 good[i] + strlen(S) + strlen(HASH) + 1);
	}
}

static void what_is_no_path_of_the_store_is_refused_and_shown(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"/",
		"/nix/store",
		S,
		S HASH,
		S HASH "-",
		S HASH "a-a",
		S "123456789abcdfghijklmnpqrsvwxyz-a",
		HASH "-a",
		"nix/store/" HASH "-a",
		"/gnu/store/" HASH "-a",
		"/nix//store/" HASH "-a",
		"//nix/store/" HASH "-a",
		S "/" HASH "-a",
		S "../store/" HASH "-a",
		S HASH "-a/",
		S HASH "-a/bin/sh",
		S HASH "-.a",
		S HASH "-..",
		S HASH "-a b",
		S HASH " -a",
		S HASH "-a\n",
		S HASH "-a\t",
		S HASH "-a'",
		S HASH "-a\"",
		S HASH "-a$x",
		S HASH "-a;x",
		S HASH "-a`x`",
		S HASH "-a*",
		S HASH "-a~",
		S HASH "-a%",
		S HASH "-a:b",
		S HASH "-a\\",
		S HASH "-\xc3\xbc",
		S HASH "-a\x80",
		/* not letters of nix32 */
		S "e123456789abcdfghijklmnpqrsvwxyz-a",
		S "o123456789abcdfghijklmnpqrsvwxyz-a",
		S "t123456789abcdfghijklmnpqrsvwxyz-a",
		S "u123456789abcdfghijklmnpqrsvwxyz-a",
		S "A123456789abcdfghijklmnpqrsvwxyz-a",
		S "0123456789abcdfghijklmnpqrsvwxy\xff-a",
		" " S HASH "-a",
	};
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		struct bl_err err = { 0 };
		bl_autofree char *want =
			bl_xprintf("toplevel: '%s' is not a path of the Nix store", bad[i]);
		assert_fails(bl_store_path_check(bad[i], "toplevel", &err), &err, BL_E_INPUT,
			     want);
		assert_false(bl_store_path_ok(bad[i]));
		assert_ptr_equal(bl_store_path_name(bad[i]), bad[i]);
	}
}

static void every_other_byte_in_a_hash_or_name_is_refused(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char in_hash[] = S HASH "-aa";
		char in_name[] = S HASH "-aa";
		in_hash[sizeof(S) - 1 + 5] = (char)c;
		in_name[sizeof(in_name) - 2] = (char)c;
		assert_int_equal(bl_store_path_ok(in_hash), strchr(HASH, c) != NULL);
		assert_int_equal(bl_store_path_ok(in_name),
				 strchr("0123456789abcdefghijklmnopqrstuvwxyz"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ+._?=-",
					c) != NULL);
	}
}

static void a_path_that_is_cut_is_refused(void **state)
{
	(void)state;
	static const char whole[] = S HASH "-a";
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		bl_autofree char *cut = bl_xstrndup(whole, len);
		assert_false(bl_store_path_ok(cut));
	}
}

static void a_name_has_211_characters_at_most(void **state)
{
	(void)state;
	char path[sizeof(S HASH "-") + 212] = S HASH "-";
	memset(path + sizeof(S HASH "-") - 1, 'a', 211);
	assert_true(bl_store_path_ok(path));
	path[sizeof(S HASH "-") - 1 + 211] = 'a';
	assert_false(bl_store_path_ok(path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_of_the_store_are_taken),
		cmocka_unit_test(what_is_no_path_of_the_store_is_refused_and_shown),
		cmocka_unit_test(every_other_byte_in_a_hash_or_name_is_refused),
		cmocka_unit_test(a_path_that_is_cut_is_refused),
		cmocka_unit_test(a_name_has_211_characters_at_most),
	};
	return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
