/* SPDX-License-Identifier: MIT */
/* Running the user's own Nix: evaluating, building, adding to the store. */
#ifndef BELAY_NIX_NIX_H
#define BELAY_NIX_NIX_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

/*
 * Runs @argv and gives its stdout. A failure's message holds what Nix said: the library's own
 * sentence ("belay: node web1: ...") when there is one, else Nix's last error in one line.
 */
int bl_nix_output(const char *const *argv, char **out_text, size_t *out_len,
		  struct bl_err *err) BL_MUST_CHECK;

/* The part of Nix's stderr that says what went wrong, in one line; a new string. */
char *bl_nix_complaint(const char *stderr_text);

/*
 * Realises @paths (derivations or store paths) with progress on our stderr, and roots their
 * outputs below @roots_dir. With @keep_going the rest is built when one fails; -1 all the same.
 */
int bl_nix_realise(const char *const *paths, const char *roots_dir, bool keep_going,
		   struct bl_err *err) BL_MUST_CHECK;

/*
 * Begins to root @paths, which are in the store already, below @roots_dir; the caller reaps
 * @out. Whether Nix knows them as valid shows when they are copied.
 */
int bl_nix_root(const char *const *paths, const char *roots_dir, pid_t *out,
		struct bl_err *err) BL_MUST_CHECK;

/* Adds the folder @dir to the store under its base name, by content; the store path. */
int bl_nix_add(const char *dir, char **out_path, struct bl_err *err) BL_MUST_CHECK;

#endif
