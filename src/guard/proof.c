/* SPDX-License-Identifier: MIT */
#include "guard/proof.h"

#include "base/str.h"

#include <string.h>

void bl_proof_make(const uint8_t key[BL_KEY_LEN], const struct bl_kv *challenge,
		   char out_hex[BL_PROOF_HEX])
{
	static const char *const fields[] = { "nonce", "epoch", "boot_id", "new", "state" };
	struct bl_kv kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	/* encoded as a message is: no value can pass for two fields */
	bl_kv_set(&kv, "purpose", "belay-confirm-1");
	for (size_t i = 0; i < BL_COUNT(fields); i++)
		bl_kv_set(&kv, fields[i], bl_kv_str(challenge, fields[i]));
	bl_kv_encode(&kv, &text);
	bl_kv_free(&kv);
	uint8_t mac[BL_SHA256_LEN];
	bl_hmac_sha256(key, BL_KEY_LEN, text.data, text.len, mac);
	bl_hex(mac, sizeof(mac), out_hex);
}

int bl_proof_check(const uint8_t key[BL_KEY_LEN], const struct bl_kv *challenge,
		   const char *hex, struct bl_err *err)
{
	char want[BL_PROOF_HEX];
	bl_proof_make(key, challenge, want);
	if (strlen(hex) != sizeof(want) - 1 ||
	    !bl_secret_eq((const uint8_t *)hex, (const uint8_t *)want, sizeof(want) - 1))
		return bl_err_set(err, BL_E_REFUSED, "bad proof");
	return 0;
}
