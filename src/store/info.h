/* SPDX-License-Identifier: MIT */
/*
 * What Nix knows of a valid store path, lists of that, and the order in which a store takes
 * them; nix32, Nix's way to write hashes.
 */
#ifndef BELAY_STORE_INFO_H
#define BELAY_STORE_INFO_H

#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"

struct bl_path_info {
	char *path;
	char *deriver;                   /* "": unknown */
	char *ca;                        /* "": not addressed by its content */
	uint8_t nar_hash[BL_SHA256_LEN]; /* SHA-256 of the NAR */
	uint64_t nar_size;               /* bytes of the NAR */
	uint64_t registered;             /* seconds since 1970 */
	struct bl_strv references;       /* store paths, maybe its own */
	struct bl_strv sigs;             /* "keyname:base64" */
	bool ultimate;                   /* built here */
};

/* A list; it owns what is in it. */
struct bl_path_infos {
	struct bl_path_info *items;
	size_t n;
	size_t cap;
};

void bl_path_info_free(struct bl_path_info *info);
/* A new item with nothing but a copy of @path; borrowed until the next one is added. */
struct bl_path_info *bl_path_infos_add(struct bl_path_infos *list, const char *path);
/* Takes over what @info consists of, which is empty afterwards; its place in the list. */
size_t bl_path_infos_take(struct bl_path_infos *list, struct bl_path_info *info);
void bl_path_infos_free(struct bl_path_infos *list);

/*
 * Puts a closure in the order that a store takes it: references before those who refer to
 * them. Beyond that the order is that of the list. BL_E_INPUT, the list as it was: a reference
 * is not in it, or paths refer to each other in a circle (which Nix cannot have made).
 */
int bl_path_infos_sort(struct bl_path_infos *list, struct bl_err *err) BL_MUST_CHECK;

/*
 * The text that a signature of @info signs: "1;<path>;sha256:<nix32>;<narSize>;<references,
 * sorted, separated by commas>". A new string.
 * Source: Nix, libstore/path-info.cc (ValidPathInfo::fingerprint).
 */
char *bl_path_info_fingerprint(const struct bl_path_info *info);

/*
 * nix32: five bits a character, beginning with the last ones. 32 bytes are 52 characters.
 * Source: Nix, libutil/base-nix-32.
 */
#define BL_NIX32_LEN(bytes) (((bytes)*8 + 4) / 5)
/* @out holds BL_NIX32_LEN(len) + 1 bytes. */
void bl_nix32(const uint8_t *data, size_t len, char *out);
/* The way back to exactly @len bytes. BL_E_INPUT: not so many characters, or not of nix32. */
int bl_unnix32(const char *s, uint8_t *out, size_t len, struct bl_err *err) BL_MUST_CHECK;

/* Where each of some texts is in a list: borrows the texts. */
struct bl_index {
	struct bl_index_slot {
		const char *text; /* NULL: free */
		size_t at;
	} * slots;
	size_t size, used; /* size is a power of two */
};

/* Remembers @text at @at; returns where it was already, else @at. */
size_t bl_index_put(struct bl_index *x, const char *text, size_t at);
bool bl_index_find(const struct bl_index *x, const char *text, size_t *out_at);
void bl_index_free(struct bl_index *x);

static inline void bl_path_info_autop(struct bl_path_info *info)
{
	bl_path_info_free(info);
}

static inline void bl_path_infos_autop(struct bl_path_infos *list)
{
	bl_path_infos_free(list);
}

static inline void bl_index_autop(struct bl_index *x)
{
	bl_index_free(x);
}

#endif
