/* SPDX-License-Identifier: MIT */
/* Store paths as text. */
#ifndef BELAY_STORE_PATH_H
#define BELAY_STORE_PATH_H

#include "base/err.h"

#define BL_STORE_DIR      "/nix/store"
#define BL_STORE_HASH_LEN 32 /* characters of nix32 */

/*
 * Whether @s is /nix/store/<32 nix32>-<name> and nothing below it. Names are
 * [0-9A-Za-z+._?=-]{1,211} and do not begin with a dot.
 * Source: Nix, libstore/path.cc (checkName), libutil base-nix-32.
 */
bool bl_store_path_ok(const char *s);
/* The same as an error that names @what ("toplevel of web1") and @s. */
int bl_store_path_check(const char *s, const char *what, struct bl_err *err) BL_MUST_CHECK;
/* The BL_STORE_HASH_LEN characters of a store path's hash, no NUL behind them; borrowed. */
const char *bl_store_path_hash(const char *path);
/* "nixos-system-web1-24.11" of a store path; borrowed, never NULL. */
const char *bl_store_path_name(const char *path);

#endif
