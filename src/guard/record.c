/* SPDX-License-Identifier: MIT */
#include "guard/record.h"

#include "base/crc32c.h"
#include "base/kv.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum field_kind { F_STR, F_U64, F_I64, F_U32, F_BOOL };

/* One table for both ways. */
static const struct {
	const char *key;
	enum field_kind kind;
	size_t offset;
} fields[] = {
	{ "epoch", F_U64, offsetof(struct bl_record, epoch) },
	{ "seq", F_U64, offsetof(struct bl_record, seq) },
	{ "run", F_STR, offsetof(struct bl_record, run) },
	{ "owner", F_STR, offsetof(struct bl_record, owner) },
	{ "agent", F_STR, offsetof(struct bl_record, agent) },
	{ "boot_id", F_STR, offsetof(struct bl_record, boot_id) },
	{ "system_old", F_STR, offsetof(struct bl_record, system_old) },
	{ "system_new", F_STR, offsetof(struct bl_record, system_new) },
	{ "generation_old", F_U64, offsetof(struct bl_record, generation_old) },
	{ "generation_new", F_U64, offsetof(struct bl_record, generation_new) },
	{ "generation_created", F_BOOL, offsetof(struct bl_record, generation_created) },
	{ "deadline_boot_ns", F_I64, offsetof(struct bl_record, deadline_boot_ns) },
	{ "activated_boot_ns", F_I64, offsetof(struct bl_record, activated_boot_ns) },
	{ "activate_ms", F_U32, offsetof(struct bl_record, activate_ms) },
	{ "confirm_ms", F_U32, offsetof(struct bl_record, confirm_ms) },
	{ "commit_ms", F_U32, offsetof(struct bl_record, commit_ms) },
	{ "rollback_ms", F_U32, offsetof(struct bl_record, rollback_ms) },
	{ "reboots", F_U32, offsetof(struct bl_record, reboots) },
	{ "sshd", F_STR, offsetof(struct bl_record, sshd) },
	{ "reason", F_STR, offsetof(struct bl_record, reason) },
	{ "remark", F_STR, offsetof(struct bl_record, remark) },
};

static void put_field(struct bl_kv *kv, const struct bl_record *r, size_t i)
{
	const void *at = (const char *)r + fields[i].offset;
	switch (fields[i].kind) {
	case F_STR: {
		const char *s = *(char *const *)at;
		bl_kv_add(kv, fields[i].key, s ? s : "");
		break;
	}
	case F_U64:
		bl_kv_set_u64(kv, fields[i].key, *(const uint64_t *)at);
		break;
	case F_I64:
		bl_kv_set_u64(kv, fields[i].key, (uint64_t) * (const int64_t *)at);
		break;
	case F_U32:
		bl_kv_set_u64(kv, fields[i].key, *(const uint32_t *)at);
		break;
	case F_BOOL:
		bl_kv_set_u64(kv, fields[i].key, *(const bool *)at ? 1 : 0);
		break;
	}
}

void bl_record_encode(const struct bl_record *r, struct bl_buf *out)
{
	BL_AUTO(bl_kv) kv = { 0 };
	size_t start = out->len;
	bl_kv_set_u64(&kv, "version", BL_RECORD_VERSION);
	bl_kv_set(&kv, "state", bl_txn_name(r->state));
	for (size_t i = 0; i < BL_COUNT(fields); i++)
		put_field(&kv, r, i);
	bl_kv_encode(&kv, out);
	bl_buf_printf(out, "crc32c=%08x\n", bl_crc32c(out->data + start, out->len - start));
}

static int take_field(const char *value, struct bl_record *r, size_t i, struct bl_err *err)
{
	static const uint64_t max[] = {
		[F_U64] = UINT64_MAX, [F_I64] = INT64_MAX, [F_U32] = UINT32_MAX, [F_BOOL] = 1
	};
	void *at = (char *)r + fields[i].offset;
	uint64_t v = 0;
	if (fields[i].kind == F_STR) {
		bl_replace_str(at, value);
		return 0;
	}
	if (bl_parse_u64(value, 0, max[fields[i].kind], &v, err) < 0)
		return bl_err_wrap(err, "%s", fields[i].key);
	if (fields[i].kind == F_BOOL)
		*(bool *)at = v != 0;
	else if (fields[i].kind == F_U32)
		*(uint32_t *)at = (uint32_t)v;
	else if (fields[i].kind == F_I64)
		*(int64_t *)at = (int64_t)v;
	else
		*(uint64_t *)at = v;
	return 0;
}

/* The text without its checksum line, when that line is there and right. */
static int check_crc(const char *text, size_t len, size_t *body, struct bl_err *err)
{
	static const char head[] = "crc32c=";
	const size_t line = sizeof(head) - 1 + 8 + 1;
	if (len > BL_RECORD_MAX)
		return bl_err_set(err, BL_E_INPUT, "larger than %lu bytes", BL_RECORD_MAX);
	if (len < line || memcmp(text + len - line, head, sizeof(head) - 1) != 0 ||
	    text[len - 1] != '\n')
		return bl_err_set(err, BL_E_INPUT, "no checksum at its end");
	char want[9];
	*body = len - line;
	snprintf(want, sizeof(want), "%08x", bl_crc32c(text, *body));
	if (memcmp(text + len - 9, want, 8) != 0)
		return bl_err_set(err, BL_E_INPUT, "the checksum is wrong");
	return 0;
}

static int take_all(const struct bl_kv *kv, struct bl_record *r, struct bl_err *err)
{
	uint64_t version = 0;
	if (bl_kv_u64(kv, "version", 0, UINT32_MAX, &version, err) < 0)
		return -1;
	if (version != BL_RECORD_VERSION)
		return bl_err_set(err, BL_E_INPUT, "version %llu is not known here",
				  (unsigned long long)version);
	if (bl_txn_parse(bl_kv_str(kv, "state"), &r->state, err) < 0)
		return -1;
	for (size_t i = 0; i < BL_COUNT(fields); i++) {
		const char *value = bl_kv_get(kv, fields[i].key);
		if (!value)
			return bl_err_set(err, BL_E_INPUT, "%s is missing", fields[i].key);
		if (take_field(value, r, i, err) < 0)
			return -1;
	}
	/* nothing but version, state and the fields, each once */
	if (kv->n != BL_COUNT(fields) + 2)
		return bl_err_set(err, BL_E_INPUT, "it holds keys that are not known here");
	return 0;
}

int bl_record_decode(const char *text, size_t len, struct bl_record *out, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_record) r = { 0 };
	size_t body = 0;
	if (check_crc(text, len, &body, err) < 0 || bl_kv_decode(text, body, &kv, err) < 0 ||
	    take_all(&kv, &r, err) < 0)
		return -1;
	*out = r;
	r = (struct bl_record){ 0 };
	return 0;
}

void bl_record_free(struct bl_record *r)
{
	for (size_t i = 0; i < BL_COUNT(fields); i++)
		if (fields[i].kind == F_STR)
			free(*(char **)((char *)r + fields[i].offset));
	*r = (struct bl_record){ 0 };
}
