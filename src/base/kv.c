/* SPDX-License-Identifier: MIT */
#include "base/kv.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bl_kv_item *find(const struct bl_kv *kv, const char *key)
{
	for (size_t i = 0; i < kv->n; i++)
		if (strcmp(kv->items[i].key, key) == 0)
			return &kv->items[i];
	return NULL;
}

static void add_take(struct bl_kv *kv, char *key, char *value)
{
	kv->items = bl_xrealloc(kv->items, kv->n + 1, sizeof(*kv->items));
	kv->items[kv->n++] = (struct bl_kv_item){ .key = key, .value = value };
}

void bl_kv_add(struct bl_kv *kv, const char *key, const char *value)
{
	add_take(kv, bl_xstrdup(key), bl_xstrdup(value));
}

void bl_kv_set(struct bl_kv *kv, const char *key, const char *value)
{
	struct bl_kv_item *it = find(kv, key);
	if (it)
		bl_replace_str(&it->value, value);
	else
		bl_kv_add(kv, key, value);
}

void bl_kv_setf(struct bl_kv *kv, const char *key, const char *fmt, ...)
{
	va_list ap;
	char *value = NULL;
	va_start(ap, fmt);
	int n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n >= 0)
		bl_kv_set(kv, key, value);
	free(n >= 0 ? value : NULL);
}

void bl_kv_set_u64(struct bl_kv *kv, const char *key, uint64_t value)
{
	bl_kv_setf(kv, key, "%llu", (unsigned long long)value);
}

const char *bl_kv_get(const struct bl_kv *kv, const char *key)
{
	const struct bl_kv_item *it = find(kv, key);
	return it ? it->value : NULL;
}

const char *bl_kv_str(const struct bl_kv *kv, const char *key)
{
	const char *v = bl_kv_get(kv, key);
	return v ? v : "";
}

int bl_kv_u64(const struct bl_kv *kv, const char *key, uint64_t min, uint64_t max,
	      uint64_t *out, struct bl_err *err)
{
	const char *v = bl_kv_get(kv, key);
	if (!v)
		return bl_err_set(err, BL_E_INPUT, "%s is missing", key);
	if (bl_parse_u64(v, min, max, out, err) < 0)
		return bl_err_wrap(err, "%s", key);
	return 0;
}

uint64_t bl_kv_u64_or(const struct bl_kv *kv, const char *key, uint64_t fallback)
{
	uint64_t v = 0;
	return bl_kv_u64(kv, key, 0, UINT64_MAX, &v, NULL) < 0 ? fallback : v;
}

bool bl_kv_bool(const struct bl_kv *kv, const char *key)
{
	return strcmp(bl_kv_str(kv, key), "1") == 0;
}

void bl_kv_free(struct bl_kv *kv)
{
	for (size_t i = 0; i < kv->n; i++) {
		free(kv->items[i].key);
		free(kv->items[i].value);
	}
	free(kv->items);
	*kv = (struct bl_kv){ 0 };
}

void bl_kv_encode(const struct bl_kv *kv, struct bl_buf *out)
{
	BL_KV_FOREACH (kv, it) {
		bl_buf_printf(out, "%s=", it->key);
		for (const char *p = it->value; *p; p++) {
			unsigned char c = (unsigned char)*p;
			if (c < 0x20 || c == '%' || c == 0x7f)
				bl_buf_printf(out, "%%%02x", c);
			else
				bl_buf_putc(out, *p);
		}
		bl_buf_putc(out, '\n');
	}
}

static bool key_char(char c)
{
	return (c >= 'a' && c <= 'z') || bl_is_digit(c) || c == '_' || c == '.';
}

/* Undoes the %XX of one value; NULL when it is malformed or holds a NUL. */
static char *decode_value(const char *text, size_t len)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '%') {
			if (text[i] == '\0')
				return NULL;
			bl_buf_putc(&b, text[i]);
			continue;
		}
		uint8_t byte = 0;
		if (len - i < 3)
			return NULL;
		char digits[3] = { text[i + 1], text[i + 2], '\0' };
		if (bl_unhex(digits, &byte, 1, NULL) < 0 || byte == 0)
			return NULL;
		bl_buf_putc(&b, (char)byte);
		i += 2;
	}
	return bl_buf_steal(&b);
}

static int decode_line(const char *line, size_t len, size_t number, struct bl_kv *out,
		       struct bl_err *err)
{
	size_t key = 0;
	while (key < len && key_char(line[key]))
		key++;
	if (key == 0 || key == len || line[key] != '=')
		return bl_err_set(err, BL_E_INPUT, "line %zu is not key=value", number);
	if (out->n >= BL_KV_MAX_ITEMS)
		return bl_err_set(err, BL_E_INPUT, "more than %d lines", BL_KV_MAX_ITEMS);
	char *value = decode_value(line + key + 1, len - key - 1);
	if (!value)
		return bl_err_set(err, BL_E_INPUT, "line %zu: value of %.*s is malformed",
				  number, (int)(key > 64 ? 64 : key), line);
	add_take(out, bl_xstrndup(line, key), value);
	return 0;
}

int bl_kv_decode(const char *text, size_t len, struct bl_kv *out, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	size_t number = 0;
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		if (!end)
			return bl_err_set(err, BL_E_INPUT, "the last line is cut off");
		size_t line = (size_t)(end - text);
		if (decode_line(text, line, ++number, &kv, err) < 0)
			return -1;
		text += line + 1;
		len -= line + 1;
	}
	*out = kv;
	kv = (struct bl_kv){ 0 };
	return 0;
}
