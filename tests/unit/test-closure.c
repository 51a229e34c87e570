/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "store/closure.h"
#include "store/path.h"

/* @names with blanks between them; each path's hash is made of its place, from @first on. */
static void put(struct bl_closure *out, const char *names, int first)
{
	BL_AUTO(bl_strv) all = { 0 };
	BL_AUTO(bl_buf) paths = { 0 };
	BL_AUTO(bl_buf) sizes = { 0 };
	struct bl_err err = { 0 };
	bl_strv_split(&all, names, ' ');
	for (size_t i = 0; i < all.n; i++) {
		bl_buf_printf(&paths, "/nix/store/%032d-%s\n", first + (int)i, all.items[i]);
		bl_buf_printf(&sizes, "%zu\n", 100 + i);
	}
	assert_works(bl_closure_read(bl_buf_str(&paths), bl_buf_str(&sizes), out, &err), &err);
}

/* "name:old>new" for each, and how many were rebuilt. */
static void check(const char *old, const char *new, int first_new, const char *want,
		  size_t rebuilt)
{
	BL_AUTO(bl_closure) a = { 0 };
	BL_AUTO(bl_closure) b = { 0 };
	BL_AUTO(bl_closure_diff) d = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	put(&a, old, 0);
	put(&b, new, first_new);
	bl_closure_compare(&a, &b, &d);
	for (size_t i = 0; i < d.n; i++) {
		bl_autofree char *was = bl_package_versions(&d.packages[i].old);
		bl_autofree char *is = bl_package_versions(&d.packages[i].new);
		bl_buf_printf(&text, "%s%s:%s>%s", i ? ";" : "", d.packages[i].name,
			      d.packages[i].old.n ? was : "0", d.packages[i].new.n ? is : "0");
	}
	assert_string_equal(bl_buf_str(&text), want);
	assert_int_equal(d.rebuilt, rebuilt);
}

/* Each was asked of builtins.parseDrvName of Nix 2.8. */
static void names_are_split_as_nix_splits_them(void **state)
{
	(void)state;
	static const struct {
		const char *name, *package, *version;
	} cases[] = {
		{ "a-1", "a", "1" },
		{ "a-b", "a-b", "" },
		{ "a-1b-c", "a", "1b-c" },
		{ "a--1", "a", "-1" },
		{ "-1", "", "1" },
		{ "1", "1", "" },
		{ "a-", "a-", "" },
		{ "a-.1", "a", ".1" },
		{ "a-_", "a", "_" },
		{ "nixos-system-web1-24.05", "nixos-system-web1", "24.05" },
		{ "gcc-12.2.0-lib", "gcc", "12.2.0-lib" },
		{ "a-+1", "a", "+1" },
		{ "a-\xc3\xa9", "a", "\xc3\xa9" },
		{ "", "", "" },
		{ "ab-1-2", "ab", "1-2" },
		{ "a-?", "a", "?" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		const char *name = cases[i].name;
		size_t len = bl_package_name_len(name);
		bl_autofree char *package = bl_xstrndup(name, len);
		assert_string_equal(package, cases[i].package);
		assert_string_equal(name[len] ? name + len + 1 : "", cases[i].version);
	}
}

static void what_comes_goes_and_changes_is_told_by_name(void **state)
{
	(void)state;
	check("", "", 0, "", 0);
	check("zlib-1.2 gone-3 gcc-12", "zlib-1.3 gcc-12 come-1", 0,
	      "come:0>1;gone:3>0;zlib:1.2>1.3", 1);
	check("", "a-1 b", 0, "a:0>1;b:0>", 0);
	check("a-1 b", "", 0, "a:1>0;b:>0", 0);
}

static void the_same_closure_is_no_difference(void **state)
{
	(void)state;
	check("a-1 b-2 c", "a-1 b-2 c", 0, "", 0);
}

static void the_same_versions_at_other_paths_are_rebuilt(void **state)
{
	(void)state;
	check("a-1 b-2 c", "a-1 b-2 c", 100, "", 3);
	/* one of two */
	check("a-1", "a-1 a-1", 0, "", 1);
}

static void several_versions_of_a_package_are_listed(void **state)
{
	(void)state;
	check("a-2 a-1 a-1", "a-1", 0, "a:1, 2>1", 0);
	check("a-1", "a-3 a-1 a-2", 0, "a:1>1, 2, 3", 0);
	check("a-1 a-2", "a-2 a-1", 0, "", 1);
}

static void outputs_are_their_package(void **state)
{
	(void)state;
	check("glibc-2.35-224 glibc-2.35-224-bin glibc-2.35-224-dev",
	      "glibc-2.36 glibc-2.36-man", 0, "glibc:2.35-224>2.36", 0);
	check("gcc-12.2.0-lib", "gcc-12.2.0", 0, "", 1);
	/* a version is left over */
	check("a-1-lib", "a-1-library", 0, "a:1>1-library", 0);
}

static void what_has_no_version_is_told_without_one(void **state)
{
	(void)state;
	check("unit-a.service", "unit-b.service", 0, "unit-a.service:>0;unit-b.service:0>", 0);
	check("foo", "foo-1", 0, "foo:>1", 0);
	/* beside versions it is none */
	check("foo foo-1", "foo-1 foo", 0, "", 1);
	check("foo-1 foo", "foo", 0, "foo:1>", 0);
}

static void names_that_begin_alike_are_not_the_same(void **state)
{
	(void)state;
	check("python3-3.10 python3-3.10-env", "python3-3.11 python-2", 0,
	      "python:0>2;python3:3.10, 3.10-env>3.11", 0);
	check("a a-b", "a-b a", 0, "", 2);
}

static void sizes_are_added_up(void **state)
{
	(void)state;
	BL_AUTO(bl_closure) c = { 0 };
	put(&c, "a b c", 0);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.size_bytes, 303);
	assert_int_equal(c.paths[2].size_bytes, 102);
	assert_string_equal(bl_store_path_name(c.paths[2].path), "c");
}

static void what_is_no_closure_is_refused(void **state)
{
	(void)state;
	static const char path[] = "/nix/store/00000000000000000000000000000000-a\n";
	static const struct {
		const char *paths, *sizes, *msg;
	} cases[] = {
		{ path, "", "a closure of 1 paths has 0 sizes" },
		{ path, "1\n2\n", "a closure of 1 paths has 2 sizes" },
		{ "", "1", "a closure of 0 paths has 1 sizes" },
		{ "/etc\n", "1\n", "a closure: '/etc' is not a path of the Nix store" },
		{ path, "-1", "size of a: '-1' is not a number from 0 to 17592186044416" },
		{ path, "17592186044417",
		  "size of a: '17592186044417' is not a number from 0 to 17592186044416" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_closure) c = { 0 };
		struct bl_err err = { 0 };
		assert_fails(bl_closure_read(cases[i].paths, cases[i].sizes, &c, &err), &err,
			     BL_E_INPUT, cases[i].msg);
		assert_int_equal(c.n, 0);
		assert_null(c.paths);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_split_as_nix_splits_them),
		cmocka_unit_test(what_comes_goes_and_changes_is_told_by_name),
		cmocka_unit_test(the_same_closure_is_no_difference),
		cmocka_unit_test(the_same_versions_at_other_paths_are_rebuilt),
		cmocka_unit_test(several_versions_of_a_package_are_listed),
		cmocka_unit_test(outputs_are_their_package),
		cmocka_unit_test(what_has_no_version_is_told_without_one),
		cmocka_unit_test(names_that_begin_alike_are_not_the_same),
		cmocka_unit_test(sizes_are_added_up),
		cmocka_unit_test(what_is_no_closure_is_refused),
	};
	return cmocka_run_group_tests_name("closure", tests, NULL, NULL);
}
