/* SPDX-License-Identifier: MIT */
/* Key=value lines, which journal, snapshot and messages are made of. */
#include "base/kv.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct bl_kv *kv, const char *key)
{
	struct bl_err err = { 0 };
	uint64_t v = 0;
	assert(bl_kv_get(kv, key) != NULL);
	assert(strcmp(bl_kv_str(kv, key), bl_kv_get(kv, key)) == 0);
	if (bl_kv_u64(kv, key, 0, UINT64_MAX, &v, &err) == 0)
		assert(bl_kv_u64_or(kv, key, ~v) == v);
	else
		assert(err.msg[0] && bl_kv_u64_or(kv, key, 7) == 7);
	if (bl_kv_bool(kv, key))
		assert(v == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_kv) back = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	struct bl_err err = { 0 };
	if (bl_kv_decode((const char *)data, size, &kv, &err) < 0) {
		assert(kv.n == 0 && err.code == BL_E_INPUT && err.msg[0]);
		return 0;
	}
	assert(kv.n <= BL_KV_MAX_ITEMS);
	bl_kv_encode(&kv, &text);
	int rc = bl_kv_decode(bl_buf_str(&text), text.len, &back, &err);
	assert(rc == 0 && back.n == kv.n);
	for (size_t i = 0; i < kv.n; i++) {
		assert(strcmp(kv.items[i].key, back.items[i].key) == 0);
		assert(strcmp(kv.items[i].value, back.items[i].value) == 0);
		ask(&kv, kv.items[i].key);
	}
	return 0;
}
