/* SPDX-License-Identifier: MIT */
/* What of a fleet is in a folder, as far as names and a look at Nix files tell. */
#ifndef BELAY_CLI_FOLDER_H
#define BELAY_CLI_FOLDER_H

#include "base/err.h"
#include "cli/sketch.h"

struct bl_nix_file {
	char *name; /* "web1.nix" */
	char *text; /* "" of one that is too large to be looked at */
	enum bl_look look;
};
struct bl_folder {
	char *dir;                 /* absolute */
	struct bl_nix_file *files; /* its Nix files, by name */
	size_t n;
};

/*
 * Looks at the Nix files in @dir itself. A file that cannot be read, or a link that leads
 * nowhere, is an error that names it. On success the caller owns @out: bl_folder_free().
 */
int bl_folder_look(const char *dir, struct bl_folder *out, struct bl_err *err) BL_MUST_CHECK;
/* The file of this name, or NULL. */
const struct bl_nix_file *bl_folder_file(const struct bl_folder *f, const char *name);
/*
 * Adds the hosts whose configurations are there: in the folders hosts or machines, each by
 * itself; else the folder's configuration.nix; else folders with a configuration.nix and files
 * that look like one and are no part of another.
 */
int bl_folder_hosts(const struct bl_folder *f, struct bl_sketch *out,
		    struct bl_err *err) BL_MUST_CHECK;
void bl_folder_free(struct bl_folder *f);

static inline void bl_folder_autop(struct bl_folder *f)
{
	bl_folder_free(f);
}

#endif
