/* SPDX-License-Identifier: MIT */
/*
 * Nix's archives: writing a file tree as one, as a stream; store/narcheck.h looks at streams.
 * Source: Nix, doc/manual protocols/nix-archive.md; the limits are those of libutil/archive.cc
 * of 2.36.
 */
#ifndef BELAY_STORE_NAR_H
#define BELAY_STORE_NAR_H

#include "base/err.h"

#define BL_NAR_DEPTH      64 /* nodes in one another, the root too */
#define BL_NAR_NAME_MAX   255
#define BL_NAR_TARGET_MAX 4095

/* Takes the next bytes, which stay the caller's. Less than 0 ends it, with @err filled. */
typedef int bl_nar_put(void *ctx, const void *data, size_t len, struct bl_err *err);

/*
 * Writes @path (a file, a link or a folder with everything below) to @put, the same bytes as
 * `nix-store --dump`. Links are never followed but in the folders that lead to @path. It takes
 * 256 KiB, the names of the folders that are open and a descriptor for each of them.
 *
 * Returns 0, or -1: BL_E_SYS (something cannot be read), BL_E_INPUT (no NAR can hold it: a
 * device, a name or link that is too long, too deep; or a file changed while it was read), or
 * what @put failed with. Then what @put got is the beginning of an archive and never a whole
 * one. While it runs, bl_idle() goes on.
 *
 * The suffixes with which Nix on macOS keeps names apart that differ in case only
 * ("~nix~case~hack~1") are written as they stand.
 */
int bl_nar_dump(const char *path, bl_nar_put *put, void *ctx, struct bl_err *err) BL_MUST_CHECK;
/*
 * The same without the first @from bytes, nothing at all where there are not more. The tree is
 * walked from its beginning, but what files hold that end before is not read.
 */
int bl_nar_dump_from(const char *path, uint64_t from, bl_nar_put *put, void *ctx,
		     struct bl_err *err) BL_MUST_CHECK;

#endif
