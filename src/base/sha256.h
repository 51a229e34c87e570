/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104): the agent has libc alone. */
#ifndef BELAY_BASE_SHA256_H
#define BELAY_BASE_SHA256_H

#include "base/base.h"

#define BL_SHA256_LEN 32

struct bl_sha256 {
	uint32_t h[8];
	uint64_t total;
	uint8_t block[64];
	size_t fill;
};

void bl_sha256_init(struct bl_sha256 *s);
void bl_sha256_update(struct bl_sha256 *s, const void *data, size_t len);
void bl_sha256_final(struct bl_sha256 *s, uint8_t out[BL_SHA256_LEN]);

void bl_hmac_sha256(const uint8_t *key, size_t key_len, const void *data, size_t len,
		    uint8_t out[BL_SHA256_LEN]);
/* Compares in constant time. */
bool bl_secret_eq(const uint8_t *a, const uint8_t *b, size_t len);

#endif
