/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "store/info.h"

/* nixpkgs' hello 2.1.2 and its like, of the lengths that Nix has */
static void nix32_goes_there_and_back(void **state)
{
	(void)state;
	static const struct {
		const char *hex, *nix32;
	} cases[] = {
		/* sha256 of "abc" and sha1 of "abc", as `nix-hash --to-base32` writes them */
		{ "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		  "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s" },
		{ "a9993e364706816aba3e25717850c26c9cd0d89d",
		  "kpcd173cq987hw957sx6m0868wv3x6d9" },
		{ "00", "00" },
		{ "ff", "7z" },
		{ "", "" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		uint8_t bytes[32];
		uint8_t back[32];
		char text[64];
		struct bl_err err = { 0 };
		size_t len = strlen(cases[i].hex) / 2;
		assert_works(bl_unhex(cases[i].hex, bytes, len, &err), &err);
		bl_nix32(bytes, len, text);
		assert_string_equal(text, cases[i].nix32);
		assert_works(bl_unnix32(text, back, len, &err), &err);
		assert_memory_equal(back, bytes, len);
	}
}

static void what_is_no_nix32_is_refused(void **state)
{
	(void)state;
	uint8_t out[32] = { 7 };
	struct bl_err err = { 0 };
	assert_fails(bl_unnix32("abc", out, 32, &err), &err, BL_E_INPUT,
		     "52 characters of nix32 wanted, got 3");
	assert_fails(bl_unnix32("0e", out, 1, &err), &err, BL_E_INPUT,
		     "not a character of nix32 at 1");
	assert_fails(bl_unnix32("80", out, 1, &err), &err, BL_E_INPUT,
		     "'80' is no nix32 of 1 bytes");
	assert_int_equal(out[0], 7);
}

#define A "/nix/store/00000000000000000000000000000000-a"
#define B "/nix/store/00000000000000000000000000000001-b"
#define C "/nix/store/00000000000000000000000000000002-c"

static void the_fingerprint_is_what_nix_signs(void **state)
{
	(void)state;
	BL_AUTO(bl_path_info) info = { .path = bl_xstrdup(B), .nar_size = 34878 };
	bl_strv_add(&info.references, C);
	bl_strv_add(&info.references, A);
	struct bl_err err = { 0 };
	assert_works(bl_unnix32("1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
				info.nar_hash, 32, &err),
		     &err);
	bl_autofree char *text = bl_path_info_fingerprint(&info);
	assert_string_equal(
		text, "1;" B ";sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s;"
		      "34878;" A "," C);
	bl_strv_free(&info.references);
	bl_autofree char *none = bl_path_info_fingerprint(&info);
	assert_true(bl_ends_with(none, ";34878;"));
}

static void add(struct bl_path_infos *list, const char *path, const char *references)
{
	struct bl_path_info *info = bl_path_infos_add(list, path);
	bl_strv_split(&info->references, references, ' ');
}

static void references_come_first(void **state)
{
	(void)state;
	BL_AUTO(bl_path_infos) list = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_path_infos_sort(&list, &err), &err);
	add(&list, C, B " " C " " A);
	add(&list, A, "");
	add(&list, B, A " " B);
	assert_works(bl_path_infos_sort(&list, &err), &err);
	assert_int_equal(list.n, 3);
	assert_string_equal(list.items[0].path, A);
	assert_string_equal(list.items[1].path, B);
	assert_string_equal(list.items[2].path, C);
	assert_int_equal(list.items[2].references.n, 3);
}

static void circles_gaps_and_doubles_are_refused(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	BL_AUTO(bl_path_infos) circle = { 0 };
	add(&circle, A, B);
	add(&circle, B, C);
	add(&circle, C, A);
	assert_fails(bl_path_infos_sort(&circle, &err), &err, BL_E_INPUT,
		     C " and " A " refer to each other in a circle");
	assert_string_equal(circle.items[0].path, A);
	BL_AUTO(bl_path_infos) gap = { 0 };
	add(&gap, A, B);
	assert_fails(bl_path_infos_sort(&gap, &err), &err, BL_E_INPUT,
		     A " refers to " B ", which is not in the list");
	BL_AUTO(bl_path_infos) twice = { 0 };
	add(&twice, A, "");
	add(&twice, A, "");
	assert_fails(bl_path_infos_sort(&twice, &err), &err, BL_E_INPUT,
		     A " is twice in the list");
}

static void a_long_chain_is_sorted_without_a_deep_stack(void **state)
{
	(void)state;
	enum { N = 100000 };
	BL_AUTO(bl_path_infos) list = { 0 };
	for (size_t i = 0; i < N; i++) {
		bl_autofree char *path = bl_xprintf("/p%zu", i);
		bl_autofree char *next = bl_xprintf("/p%zu", i + 1);
		add(&list, path, i + 1 < N ? next : "");
	}
	struct bl_err err = { 0 };
	assert_works(bl_path_infos_sort(&list, &err), &err);
	for (size_t i = 0; i < N; i++) {
		bl_autofree char *path = bl_xprintf("/p%zu", N - 1 - i);
		assert_string_equal(list.items[i].path, path);
	}
}

static void an_index_finds_what_was_put_first(void **state)
{
	(void)state;
	BL_AUTO(bl_index) x = { 0 };
	BL_AUTO(bl_strv) texts = { 0 };
	size_t at = 77;
	assert_false(bl_index_find(&x, "t1", &at));
	for (size_t i = 0; i < 1000; i++)
		bl_strv_addf(&texts, "t%zu", i);
	for (size_t i = 0; i < texts.n; i++)
		assert_int_equal(bl_index_put(&x, texts.items[i], i), i);
	for (size_t i = 0; i < texts.n; i++)
		assert_int_equal(bl_index_put(&x, texts.items[i], 5000), i);
	assert_false(bl_index_find(&x, "t1000", &at));
	assert_int_equal(at, 77);
	assert_true(bl_index_find(&x, "t999", &at));
	assert_int_equal(at, 999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nix32_goes_there_and_back),
		cmocka_unit_test(what_is_no_nix32_is_refused),
		cmocka_unit_test(the_fingerprint_is_what_nix_signs),
		cmocka_unit_test(references_come_first),
		cmocka_unit_test(circles_gaps_and_doubles_are_refused),
		cmocka_unit_test(a_long_chain_is_sorted_without_a_deep_stack),
		cmocka_unit_test(an_index_finds_what_was_put_first),
	};
	return cmocka_run_group_tests_name("info", tests, NULL, NULL);
}
