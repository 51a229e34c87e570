/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bl_str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool bl_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool bl_ends_with(const char *s, const char *suffix)
{
	size_t a = strlen(s);
	size_t b = strlen(suffix);
	return a >= b && strcmp(s + a - b, suffix) == 0;
}

int bl_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct bl_err *err)
{
	uint64_t v = 0;
	bool bad = !*s;
	for (const char *p = s; *p && !bad; p++)
		bad = !bl_is_digit(*p) || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
		      __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	if (bad || v < min || v > max)
		return bl_err_set(err, BL_E_USAGE, "'%.64s' is not a number from %llu to %llu",
				  s, (unsigned long long)min, (unsigned long long)max);
	*out = v;
	return 0;
}

void bl_hex(const uint8_t *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (bl_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int bl_unhex(const char *s, uint8_t *out, size_t len, struct bl_err *err)
{
	if (strlen(s) != 2 * len)
		return bl_err_set(err, BL_E_INPUT, "%zu hexadecimal digits wanted, got %zu",
				  2 * len, strlen(s));
	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit(s[2 * i]);
		int lo = hex_digit(s[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return bl_err_set(err, BL_E_INPUT, "not a hexadecimal digit at %zu",
					  2 * i);
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

void bl_buf_put_visible(struct bl_buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		bool c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] >= 0x80 &&
			  (unsigned char)text[i + 1] < 0xa0;
		if (c == '\t')
			bl_buf_putc(b, ' ');
		else if (c < 0x20 || c == 0x7f || c1)
			bl_buf_printf(b, "\\x%02x", c);
		else
			bl_buf_putc(b, (char)c);
		if (c1)
			bl_buf_printf(b, "\\x%02x", (unsigned char)text[++i]);
	}
}

char *bl_visible(const char *text)
{
	struct bl_buf b = { 0 };
	bl_buf_put_visible(&b, text, strlen(text));
	return bl_buf_steal(&b);
}

static bool needs_no_quotes(const char *word)
{
	if (!*word)
		return false;
	for (const char *p = word; *p; p++)
		if (!bl_is_alpha(*p) && !bl_is_digit(*p) && !strchr("_-./=:,@%+", *p))
			return false;
	return true;
}

void bl_buf_put_bytes(struct bl_buf *b, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes / 1024;
	size_t i = 0;
	if (bytes < 1024) {
		bl_buf_printf(b, "%u bytes", (unsigned)bytes);
		return;
	}
	for (; n >= 1024 && i + 1 < BL_COUNT(units); i++)
		n /= 1024;
	bl_buf_printf(b, "%.1f %s", n, units[i]);
}

void bl_buf_put_shell_word(struct bl_buf *b, const char *word)
{
	if (needs_no_quotes(word)) {
		bl_buf_puts(b, word);
		return;
	}
	bl_buf_putc(b, '\'');
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			bl_buf_puts(b, "'\\''");
		else
			bl_buf_putc(b, *p);
	}
	bl_buf_putc(b, '\'');
}

/* One [set] at @p (behind the bracket); *end is behind its closing bracket, NULL if none. */
static bool in_set(const char *p, char c, const char **end)
{
	bool hit = false;
	const char *start = p;
	for (; *p && (*p != ']' || p == start); p++) {
		if (p[1] == '-' && p[2] && p[2] != ']') {
			hit = hit || (c >= p[0] && c <= p[2]);
			p += 2;
		} else {
			hit = hit || c == *p;
		}
	}
	*end = *p ? p + 1 : NULL;
	return hit;
}

bool bl_glob(const char *pattern, const char *s)
{
	const char *star = NULL; /* where to go back to: behind the last '*' */
	const char *from = NULL; /* and the text it has not eaten yet */
	for (;;) {
		const char *next = pattern + 1;
		bool hit = false;
		if (*pattern == '*') {
			star = pattern = next;
			from = s;
			continue;
		}
		if (!*s && !*pattern)
			return true;
		if (*pattern == '[') {
			const char *end = NULL;
			hit = in_set(next, *s, &end) && *s;
			if (!end)
				return false;
			next = end;
		} else {
			hit = *s && *pattern && (*pattern == '?' || *pattern == *s);
		}
		if (hit) {
			pattern = next;
			s++;
		} else if (star && *from) {
			pattern = star;
			s = ++from;
		} else {
			return false;
		}
	}
}

void bl_strv_add_take(struct bl_strv *v, char *s)
{
	/* room up to the next power of two: long lists are not to be moved for each item */
	if ((v->n & (v->n + 1)) == 0)
		v->items = bl_xrealloc(v->items, 2 * (v->n + 1), sizeof(*v->items));
	v->items[v->n++] = s;
	v->items[v->n] = NULL;
}

void bl_strv_add(struct bl_strv *v, const char *s)
{
	bl_strv_add_take(v, bl_xstrdup(s));
}

void bl_strv_addf(struct bl_strv *v, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	bl_strv_add_take(v, s ? s : bl_xstrdup(""));
}

void bl_strv_append(struct bl_strv *v, const struct bl_strv *more)
{
	for (size_t i = 0; i < more->n; i++)
		bl_strv_add(v, more->items[i]);
}

bool bl_strv_has(const struct bl_strv *v, const char *s)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->items[i], s) == 0)
			return true;
	return false;
}

bool bl_strv_eq(const struct bl_strv *a, const struct bl_strv *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(a->items[i], b->items[i]) == 0;
	return same;
}

void bl_strv_free(struct bl_strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct bl_strv){ 0 };
}

/* By hand: the C library's way is made for large things, and is large. */
const char *bl_find(const char *data, size_t len, const char *text)
{
	size_t n = strlen(text);
	for (; len >= n; data++, len--)
		if (memcmp(data, text, n) == 0)
			return data;
	return NULL;
}

void bl_strv_split(struct bl_strv *v, const char *s, char sep)
{
	while (*s) {
		const char *end = strchr(s, sep);
		size_t len = end ? (size_t)(end - s) : strlen(s);
		if (len)
			bl_strv_add_take(v, bl_xstrndup(s, len));
		s += len + (end ? 1 : 0);
	}
}
