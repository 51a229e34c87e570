/* SPDX-License-Identifier: MIT */
/*
 * Ordered key=value lines: the form of the agent's journal and of every message on the wire.
 * Keys are [a-z0-9_.]+; in values '%' and control bytes are written %XX, so a line is a line.
 */
#ifndef BELAY_BASE_KV_H
#define BELAY_BASE_KV_H

#include "base/buf.h"
#include "base/err.h"

#define BL_KV_MAX_ITEMS 512

struct bl_kv_item {
	char *key;
	char *value;
};

struct bl_kv {
	struct bl_kv_item *items;
	size_t n;
};

void bl_kv_set(struct bl_kv *kv, const char *key, const char *value); /* replaces; copies */
void bl_kv_setf(struct bl_kv *kv, const char *key, const char *fmt, ...) BL_PRINTF(3, 4);
void bl_kv_set_u64(struct bl_kv *kv, const char *key, uint64_t value);
void bl_kv_add(struct bl_kv *kv, const char *key, const char *value); /* one more of that key */
/* The first value of @key, or NULL; borrowed. */
const char *bl_kv_get(const struct bl_kv *kv, const char *key);
/* The same, "" when it is not there. */
const char *bl_kv_str(const struct bl_kv *kv, const char *key);
/* A number within [min, max]; a missing key is an error that names it. */
int bl_kv_u64(const struct bl_kv *kv, const char *key, uint64_t min, uint64_t max,
	      uint64_t *out, struct bl_err *err) BL_MUST_CHECK;
/* A number that may be missing or broken: then @fallback. */
uint64_t bl_kv_u64_or(const struct bl_kv *kv, const char *key, uint64_t fallback);
bool bl_kv_bool(const struct bl_kv *kv, const char *key); /* "1" is true, all else false */
void bl_kv_free(struct bl_kv *kv);

void bl_kv_encode(const struct bl_kv *kv, struct bl_buf *out);
/* Parses @len bytes; on failure @out is empty and the message names the line. */
int bl_kv_decode(const char *text, size_t len, struct bl_kv *out,
		 struct bl_err *err) BL_MUST_CHECK;

/* NOLINTBEGIN(bugprone-macro-parentheses): @it is a name that is declared here */
#define BL_KV_FOREACH(kv, it) \
	for (const struct bl_kv_item *it = (kv)->items; it && it < (kv)->items + (kv)->n; it++)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void bl_kv_autop(struct bl_kv *kv)
{
	bl_kv_free(kv);
}

#endif
