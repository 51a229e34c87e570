/* SPDX-License-Identifier: MIT */
#include "nix/closure.h"

#include "nix/nix.h"

#include <stdlib.h>

#define AT_ONCE 1000 /* paths of one command line, well below what any system takes */

static int query_sizes(const struct bl_strv *paths, size_t from, struct bl_strv *out,
		       struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_autofree char *text = NULL;
	bl_strv_add(&argv, "nix-store");
	bl_strv_add(&argv, "--query");
	bl_strv_add(&argv, "--size");
	for (size_t i = from; i < paths->n && i < from + AT_ONCE; i++)
		bl_strv_add(&argv, paths->items[i]);
	if (bl_nix_output((const char *const *)argv.items, &text, NULL, err) < 0)
		return -1;
	bl_strv_split(out, text, '\n');
	return 0;
}

static int query(const char *path, struct bl_closure *out, struct bl_err *err)
{
	const char *const argv[] = { "nix-store", "--query", "--requisites", path, NULL };
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_strv) sizes = { 0 };
	bl_autofree char *text = NULL;
	if (bl_nix_output(argv, &text, NULL, err) < 0)
		return -1;
	bl_strv_split(&paths, text, '\n');
	for (size_t from = 0; from < paths.n; from += AT_ONCE)
		if (query_sizes(&paths, from, &sizes, err) < 0)
			return -1;
	return bl_closure_join(&paths, &sizes, out, err);
}

int bl_nix_closure(const char *path, struct bl_closure *out, struct bl_err *err)
{
	return query(path, out, err) < 0 ? bl_err_wrap(err, "closure of %s", path) : 0;
}
