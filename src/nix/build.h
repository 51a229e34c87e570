/* SPDX-License-Identifier: MIT */
/* Building and rooting: the command for it, and what is there afterwards. */
#ifndef BELAY_NIX_BUILD_H
#define BELAY_NIX_BUILD_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

/*
 * The command that realises @paths (derivations or store paths) in one build and tells its
 * progress on stderr as progress.h reads it. Their outputs are rooted as @root, @root-2, ...,
 * but only when all of them are there in the end. With @keep_going the rest is built when one
 * fails; the status says so all the same. @flags, NULL for none, are further ones for Nix.
 */
void bl_build_argv(const char *const *paths, const char *root, bool keep_going,
		   const struct bl_strv *flags, struct bl_strv *out);

/*
 * Which of @paths the store does not have: a failed build may leave files under its output's
 * name. Fails when Nix cannot be asked.
 */
int bl_build_invalid(const char *const *paths, struct bl_strv *out_invalid,
		     struct bl_err *err) BL_MUST_CHECK;

/*
 * Roots @paths as @root, @root-2, ...; what is not in the store is fetched or built first, with
 * @flags as above and without a word.
 */
int bl_build_root(const char *const *paths, const char *root, const struct bl_strv *flags,
		  struct bl_err *err) BL_MUST_CHECK;
/*
 * Begins to do that; the caller reaps @out. Whether Nix knows the paths as valid shows when
 * they are copied.
 */
int bl_build_root_start(const char *const *paths, const char *root, pid_t *out,
			struct bl_err *err) BL_MUST_CHECK;

/* The store paths that the derivation @drv needs, itself among them; none when Nix does not
 * say. */
void bl_build_needs(const char *drv, struct bl_strv *out);

#endif
