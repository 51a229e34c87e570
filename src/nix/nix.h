/* SPDX-License-Identifier: MIT */
/* Running the user's own Nix: its output and its complaints, adding to the store. */
#ifndef BELAY_NIX_NIX_H
#define BELAY_NIX_NIX_H

#include "base/err.h"
#include "base/str.h"

/*
 * Runs @argv and gives its stdout. A failure's message holds what Nix said: the library's own
 * sentence ("belay: node web1: ...") when there is one, else Nix's last error in one line.
 */
int bl_nix_output(const char *const *argv, char **out_text, size_t *out_len,
		  struct bl_err *err) BL_MUST_CHECK;

/* The part of Nix's stderr that says what went wrong, in one line; a new string. */
char *bl_nix_complaint(const char *stderr_text);

/* @text without colours, every gap one blank, cut behind 400 bytes; a new string. */
char *bl_nix_one_line(const char *text);

/* Adds the folder @dir to the store under its base name, by content; the store path. */
int bl_nix_add(const char *dir, char **out_path, struct bl_err *err) BL_MUST_CHECK;

#endif
