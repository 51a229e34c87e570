/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static void equal_prefix_and_suffix_are_by_bytes(void **state)
{
	(void)state;
	assert_true(bl_str_eq("a", "a"));
	assert_false(bl_str_eq("a", "A"));
	assert_true(bl_str_eq(NULL, NULL));
	assert_false(bl_str_eq(NULL, ""));
	assert_false(bl_str_eq("", NULL));
	assert_true(bl_starts_with("abc", ""));
	assert_true(bl_starts_with("abc", "abc"));
	assert_false(bl_starts_with("ab", "abc"));
	assert_true(bl_ends_with("abc", ""));
	assert_true(bl_ends_with("abc", "bc"));
	assert_false(bl_ends_with("bc", "abc"));
}

static void a_number_is_the_whole_text_within_its_range(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t min, max, value;
	} cases[] = {
		{ "0", 0, 9, 0 },
		{ "9", 0, 9, 9 },
		{ "007", 7, 7, 7 },
		{ "18446744073709551615", 0, UINT64_MAX, UINT64_MAX },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_err err = { 0 };
		uint64_t v = 77;
		assert_works(bl_parse_u64(cases[i].text, cases[i].min, cases[i].max, &v, &err),
			     &err);
		assert_true(v == cases[i].value);
	}
}

static void what_is_not_a_number_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t min, max;
		const char *msg;
	} cases[] = {
		{ "", 0, 9, "'' is not a number from 0 to 9" },
		{ "10", 0, 9, "'10' is not a number from 0 to 9" },
		{ "1", 2, 9, "'1' is not a number from 2 to 9" },
		{ "-1", 0, 9, "'-1' is not a number from 0 to 9" },
		{ "+1", 0, 9, "'+1' is not a number from 0 to 9" },
		{ " 1", 0, 9, "' 1' is not a number from 0 to 9" },
		{ "1 ", 0, 9, "'1 ' is not a number from 0 to 9" },
		{ "0x1", 0, 9, "'0x1' is not a number from 0 to 9" },
		{ "18446744073709551616", 0, UINT64_MAX,
		  "'18446744073709551616' is not a number from 0 to 18446744073709551615" },
		{ "99999999999999999999999", 0, UINT64_MAX,
		  "'99999999999999999999999' is not a number from 0 to 18446744073709551615" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_err err = { 0 };
		uint64_t v = 77;
		assert_fails(bl_parse_u64(cases[i].text, cases[i].min, cases[i].max, &v, &err),
			     &err, BL_E_USAGE, cases[i].msg);
		assert_true(v == 77);
	}
}

static void hexadecimal_goes_both_ways(void **state)
{
	(void)state;
	uint8_t all[256];
	uint8_t back[256];
	char text[513];
	struct bl_err err = { 0 };
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	bl_hex(all, sizeof(all), text);
	assert_memory_equal(text, "000102", 6);
	assert_string_equal(text + 506, "fdfeff");
	assert_works(bl_unhex(text, back, sizeof(back), &err), &err);
	assert_memory_equal(back, all, sizeof(all));
}

static void bad_hexadecimal_is_refused(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	uint8_t out[2];
	assert_fails(bl_unhex("abc", out, 2, &err), &err, BL_E_INPUT,
		     "4 hexadecimal digits wanted, got 3");
	assert_fails(bl_unhex("abcde", out, 2, &err), &err, BL_E_INPUT,
		     "4 hexadecimal digits wanted, got 5");
	assert_fails(bl_unhex("abxd", out, 2, &err), &err, BL_E_INPUT,
		     "not a hexadecimal digit at 2");
	assert_fails(bl_unhex("ABCD", out, 2, &err), &err, BL_E_INPUT,
		     "not a hexadecimal digit at 0");
}

static void control_bytes_become_visible_and_text_stays(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ "plain text ~", "plain text ~" },
		{ "a\tb", "a b" },
		{ "a\nb\r", "a\\x0ab\\x0d" },
		{ "\x1b[2J", "\\x1b[2J" },
		{ "\x7f", "\\x7f" },
		{ "\xc2\x9b"
		  "31m",
		  "\\xc2\\x9b31m" },
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xe2\x82\xac", "\xe2\x82\xac" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *got = bl_visible(cases[i].text);
		assert_string_equal(got, cases[i].want);
	}
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_put_visible(&b, "a\0b\xc2", 4);
	assert_string_equal(bl_buf_str(&b), "a\\x00b\xc2");
}

static void a_shell_reads_every_word_as_it_was(void **state)
{
	(void)state;
	static const char *const words[] = {
		"",
		"plain",
		"a b",
		"it's",
		"$HOME `id` $(id)",
		"a\"b\\c",
		"'''",
		"*",
		"~root",
		"a\nb",
		"-o",
		"user@host:/nix/store/a+b.c",
		"%41=1,2",
		"\x1b[m",
		"#no",
		"!history",
		"{a,b}",
	};
	for (size_t i = 0; i < BL_COUNT(words); i++) {
		BL_AUTO(bl_buf) cmd = { 0 };
		bl_buf_puts(&cmd, "printf %s ");
		bl_buf_put_shell_word(&cmd, words[i]);
		char got[256];
		FILE *p = popen(bl_buf_str(&cmd), "re");
		assert_non_null(p);
		got[fread(got, 1, sizeof(got) - 1, p)] = '\0';
		assert_int_equal(pclose(p), 0);
		assert_string_equal(got, words[i]);
	}
}

static void plain_words_are_not_quoted(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_put_shell_word(&b, "/nix/store/abc-1.0+x");
	bl_buf_putc(&b, ' ');
	bl_buf_put_shell_word(&b, "two words");
	assert_string_equal(bl_buf_str(&b), "/nix/store/abc-1.0+x 'two words'");
}

static void a_glob_covers_the_whole_text(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool hit;
	} cases[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "a", "a", true },
		{ "a", "ab", false },
		{ "ab", "a", false },
		{ "*", "", true },
		{ "*", "anything", true },
		{ "**", "x", true },
		{ "?", "", false },
		{ "?", "x", true },
		{ "web-*", "web-1", true },
		{ "web-*", "web-", true },
		{ "web-*", "db-1", false },
		{ "*-db", "web-db", true },
		{ "*-db", "web-dbx", false },
		{ "a*b*c", "aXbYbZc", true },
		{ "a*b*c", "aXbYbZ", false },
		{ "[abc]", "b", true },
		{ "[abc]", "d", false },
		{ "[a-c]x", "bx", true },
		{ "[a-c]", "", false },
		{ "[]]", "]", true },
		{ "[a", "a", false },
		{ "[a-]", "-", true },
		{ "*[0-9]", "web12", true },
		{ "*[0-9]", "web", false },
		{ "w?b*", "web1", true },
		{ "A", "a", false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++)
		if (bl_glob(cases[i].pattern, cases[i].text) != cases[i].hit)
			fail_msg("'%s' on '%s' should be %d", cases[i].pattern, cases[i].text,
				 cases[i].hit);
}

static void a_glob_with_many_stars_ends_soon(void **state)
{
	(void)state;
	char text[5001];
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(bl_glob("*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
}

static void a_list_of_strings_owns_copies(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) v = { 0 };
	assert_false(bl_strv_has(&v, "a"));
	char word[] = "a";
	bl_strv_add(&v, word);
	word[0] = 'x';
	bl_strv_add_take(&v, bl_xstrdup("b"));
	bl_strv_addf(&v, "%s%d", "c", 1);
	assert_int_equal(v.n, 3);
	assert_string_equal(v.items[0], "a");
	assert_string_equal(v.items[2], "c1");
	assert_null(v.items[3]);
	assert_true(bl_strv_has(&v, "b"));
	assert_false(bl_strv_has(&v, "x"));
}

static void splitting_leaves_out_empty_parts(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n;
		const char *last;
	} cases[] = {
		{ "", 0, "" },     { ",", 0, "" },           { "a", 1, "a" },
		{ "a,b", 2, "b" }, { ",a,,b c,", 2, "b c" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_strv) v = { 0 };
		bl_strv_split(&v, cases[i].text, ',');
		assert_int_equal(v.n, cases[i].n);
		if (v.n)
			assert_string_equal(v.items[v.n - 1], cases[i].last);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_prefix_and_suffix_are_by_bytes),
		cmocka_unit_test(a_number_is_the_whole_text_within_its_range),
		cmocka_unit_test(what_is_not_a_number_is_named),
		cmocka_unit_test(hexadecimal_goes_both_ways),
		cmocka_unit_test(bad_hexadecimal_is_refused),
		cmocka_unit_test(control_bytes_become_visible_and_text_stays),
		cmocka_unit_test(a_shell_reads_every_word_as_it_was),
		cmocka_unit_test(plain_words_are_not_quoted),
		cmocka_unit_test(a_glob_covers_the_whole_text),
		cmocka_unit_test(a_glob_with_many_stars_ends_soon),
		cmocka_unit_test(a_list_of_strings_owns_copies),
		cmocka_unit_test(splitting_leaves_out_empty_parts),
	};
	return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
