/* SPDX-License-Identifier: MIT */
/* What Nix answered before, for flakes: the same question about the same sources has the same
 * answer. */
#ifndef BELAY_FLEET_CACHE_H
#define BELAY_FLEET_CACHE_H

#include "base/str.h"

/*
 * The folder for the answers about the sources that @key tells, of any length and form, below
 * $XDG_CACHE_HOME/belay; those of the sources that were longest not asked about are deleted.
 * NULL where there can be none: then nothing is remembered, which is no error.
 */
char *bl_cache_open(const char *key);

/* The answer to @argv, NUL-terminated, or NULL; @dir may be NULL. The caller frees it. */
char *bl_cache_get(const char *dir, const struct bl_strv *argv);
void bl_cache_put(const char *dir, const struct bl_strv *argv, const char *answer);

#endif
