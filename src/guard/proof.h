/* SPDX-License-Identifier: MIT */
/* The proof that a confirmation is meant for this transaction, this boot and this moment. */
#ifndef BELAY_GUARD_PROOF_H
#define BELAY_GUARD_PROOF_H

#include "base/kv.h"
#include "base/sha256.h"

#define BL_KEY_LEN   32
#define BL_NONCE_LEN 16
#define BL_PROOF_HEX (2 * BL_SHA256_LEN + 1)

/*
 * HMAC-SHA256 over the challenge's nonce, epoch, boot_id, new and state, as lower-case hex. A
 * proof made before the activation ended, for another transaction, boot or system is another
 * one.
 */
void bl_proof_make(const uint8_t key[BL_KEY_LEN], const struct bl_kv *challenge,
		   char out_hex[BL_PROOF_HEX]);
/* BL_E_REFUSED "bad proof" when @hex is not the proof for @challenge. */
int bl_proof_check(const uint8_t key[BL_KEY_LEN], const struct bl_kv *challenge,
		   const char *hex, struct bl_err *err) BL_MUST_CHECK;

#endif
