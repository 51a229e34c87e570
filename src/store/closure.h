/* SPDX-License-Identifier: MIT */
/* Closures as lists of store paths, and what differs between two of them, package by package.
 */
#ifndef BELAY_STORE_CLOSURE_H
#define BELAY_STORE_CLOSURE_H

#include "base/err.h"
#include "base/str.h"

struct bl_closure_path {
	char *path;
	uint64_t size_bytes; /* of its NAR */
};

struct bl_closure {
	struct bl_closure_path *paths;
	size_t n;
	uint64_t size_bytes; /* of all */
};

/*
 * @paths and @sizes are lines in the same order, as `nix-store --query --requisites` and
 * `--size` print them; empty ones are passed over. BL_E_INPUT: one is no store path or no size,
 * or they are not equally many. The caller owns @out: bl_closure_free().
 */
int bl_closure_read(const char *paths, const char *sizes, struct bl_closure *out,
		    struct bl_err *err) BL_MUST_CHECK;
/* The same of lists. */
int bl_closure_join(const struct bl_strv *paths, const struct bl_strv *sizes,
		    struct bl_closure *out, struct bl_err *err) BL_MUST_CHECK;
void bl_closure_free(struct bl_closure *c);

/*
 * How long the package's name is in @name ("gcc" of "gcc-12.2.0-lib"); behind it and a dash is
 * its version, if anything is. The version begins at the first dash that no letter follows.
 * Source: Nix, libstore/names.cc (DrvName), which is builtins.parseDrvName.
 */
size_t bl_package_name_len(const char *name);
/*
 * How long the version is in @version, which is what stands behind a package's name; what
 * follows is the output: "2.35-224" of "2.35-224-bin". Outputs are known by the names that
 * nixpkgs gives them.
 */
size_t bl_package_version_len(const char *version);

/* A package of which the two closures have not the same versions. */
struct bl_package {
	char *name;
	/* each version once, sorted; a package without any has one that is ""; none at all
	 * where the closure does not have it */
	struct bl_strv old, new;
};

struct bl_closure_diff {
	struct bl_package *packages; /* by name */
	size_t n;
	size_t rebuilt; /* packages with the same versions at other paths */
};

/*
 * The outputs of a package ("-lib", "-man") are the package; two store paths with one name and
 * version are one. The caller owns @out: bl_closure_diff_free().
 */
void bl_closure_compare(const struct bl_closure *old, const struct bl_closure *new,
			struct bl_closure_diff *out);
void bl_closure_diff_free(struct bl_closure_diff *d);
/* "1.2, 1.3" of a package's old or new; a new string, "" where there is no version. */
char *bl_package_versions(const struct bl_strv *versions);

static inline void bl_closure_autop(struct bl_closure *c)
{
	bl_closure_free(c);
}

static inline void bl_closure_diff_autop(struct bl_closure_diff *d)
{
	bl_closure_diff_free(d);
}

#endif
