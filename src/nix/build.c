/* SPDX-License-Identifier: MIT */
#include "nix/build.h"

#include "base/child.h"
#include "nix/nix.h"

#include <stdlib.h>
#include <string.h>

static void realise(const char *const *paths, const char *root, struct bl_strv *argv)
{
	bl_strv_add(argv, "nix-store");
	bl_strv_add(argv, "--realise");
	bl_strv_add(argv, "--add-root");
	bl_strv_add(argv, root);
	bl_strv_add(argv, "--indirect");
	for (size_t i = 0; paths[i]; i++)
		bl_strv_add(argv, paths[i]);
}

void bl_build_argv(const char *const *paths, const char *root, bool keep_going,
		   const struct bl_strv *flags, struct bl_strv *out)
{
	realise(paths, root, out);
	bl_strv_add(out, "--log-format");
	bl_strv_add(out, "internal-json");
	if (keep_going)
		bl_strv_add(out, "--keep-going");
	if (flags)
		bl_strv_append(out, flags);
}

int bl_build_invalid(const char *const *paths, struct bl_strv *out_invalid, struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_autofree char *text = NULL;
	bl_strv_add(&argv, "nix-store");
	bl_strv_add(&argv, "--check-validity");
	bl_strv_add(&argv, "--print-invalid");
	for (size_t i = 0; paths[i]; i++)
		bl_strv_add(&argv, paths[i]);
	if (bl_nix_output((const char *const *)argv.items, &text, NULL, err) < 0)
		return bl_err_wrap(err, "ask what was built");
	bl_strv_split(out_invalid, text, '\n');
	return 0;
}

int bl_build_root(const char *const *paths, const char *root, const struct bl_strv *flags,
		  struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_autofree char *text = NULL;
	realise(paths, root, &argv);
	if (flags)
		bl_strv_append(&argv, flags);
	if (bl_nix_output((const char *const *)argv.items, &text, NULL, err) < 0)
		return bl_err_wrap(err, "root %s", paths[0]);
	return 0;
}

int bl_build_root_start(const char *const *paths, const char *root, pid_t *out,
			struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	realise(paths, root, &argv);
	if (bl_child_spawn((const char *const *)argv.items, NULL, -1, -1, -1, NULL, NULL, out,
			   err) < 0)
		return bl_err_wrap(err, "Nix is needed on this machine");
	return 0;
}

void bl_build_needs(const char *drv, struct bl_strv *out)
{
	const char *const argv[] = { "nix-store", "--query", "--requisites", drv, NULL };
	bl_autofree char *text = NULL;
	if (bl_nix_output(argv, &text, NULL, NULL) == 0)
		bl_strv_split(out, text, '\n');
}
