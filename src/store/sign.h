/* SPDX-License-Identifier: MIT */
/*
 * Signatures of store paths with a secret key of Nix: what makes a host take paths from a user
 * whom its Nix does not trust. Not for the agent, which only hands them on.
 */
#ifndef BELAY_STORE_SIGN_H
#define BELAY_STORE_SIGN_H

#include "store/info.h"

struct bl_sign_key;

/*
 * Reads the secret key in @file, one line "name:base64" as `nix-store
 * --generate-binary-cache-key` writes it; a pipe is fine too. BL_E_USAGE says what is wrong
 * with it and what to do, and nothing of what is in it: it cannot be read, other users can read
 * or change it, it is no such key, or one that was damaged. The caller owns @out:
 * bl_sign_key_free().
 * Source: Nix, libstore/crypto.cc (SecretKey).
 */
int bl_sign_key_read(const char *file, struct bl_sign_key **out,
		     struct bl_err *err) BL_MUST_CHECK;
void bl_sign_key_free(struct bl_sign_key *key); /* wipes it; NULL is fine */

/*
 * The signature of @info, "name:base64". NULL: it has one by a key of that name, which stays. A
 * new string. May be called by several threads at once.
 */
char *bl_sign(const struct bl_sign_key *key, const struct bl_path_info *info);

static inline void bl_sign_key_freep(struct bl_sign_key **key)
{
	bl_sign_key_free(*key);
	*key = NULL;
}
#define bl_auto_sign_key __attribute__((cleanup(bl_sign_key_freep)))

#endif
