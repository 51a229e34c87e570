/* SPDX-License-Identifier: MIT */
/* Text helpers that know no locale. */
#ifndef BELAY_BASE_STR_H
#define BELAY_BASE_STR_H

#include "base/buf.h"
#include "base/err.h"

static inline bool bl_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool bl_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool bl_str_eq(const char *a, const char *b); /* NULL equals NULL only */
bool bl_starts_with(const char *s, const char *prefix);
bool bl_ends_with(const char *s, const char *suffix);

/* The whole of @s as a decimal number within [min, max]; the message names the text. */
int bl_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out,
		 struct bl_err *err) BL_MUST_CHECK;

/* Lower-case hexadecimal of @data; @out holds 2 * len + 1 bytes. */
void bl_hex(const uint8_t *data, size_t len, char *out);
/* The way back: exactly @len bytes from 2 * @len digits. */
int bl_unhex(const char *s, uint8_t *out, size_t len, struct bl_err *err) BL_MUST_CHECK;

/*
 * Appends @text to @b with everything escaped that could move a terminal's cursor or break a
 * line: control bytes, DEL, and the C1 range in UTF-8 become \xNN; tab becomes a blank.
 * Text from hosts goes through here before anybody sees it.
 */
void bl_buf_put_visible(struct bl_buf *b, const char *text, size_t len);
char *bl_visible(const char *text); /* the same into a new string */

/* A number of bytes for people: "7 bytes", "1.8 MiB". */
void bl_buf_put_bytes(struct bl_buf *b, uint64_t bytes);

/* One word of a POSIX shell command line, quoted where needed. */
void bl_buf_put_shell_word(struct bl_buf *b, const char *word);

/* A shell-like glob over the whole string: '*', '?', '[abc]', '[a-z]'. */
bool bl_glob(const char *pattern, const char *s);

/* A NULL-terminated list of strings that is owned; grows with bl_strv_add. */
/* Where @text is in the @len bytes of @data, which may hold anything; NULL: nowhere. */
const char *bl_find(const char *data, size_t len, const char *text);

struct bl_strv {
	char **items; /* NULL-terminated once anything was added */
	size_t n;
};

void bl_strv_add(struct bl_strv *v, const char *s); /* copies */
void bl_strv_add_take(struct bl_strv *v, char *s);  /* owns @s from here on */
void bl_strv_addf(struct bl_strv *v, const char *fmt, ...) BL_PRINTF(2, 3);
void bl_strv_append(struct bl_strv *v, const struct bl_strv *more); /* copies all of @more */
bool bl_strv_has(const struct bl_strv *v, const char *s);
/* Whether they have the same items in the same order. */
bool bl_strv_eq(const struct bl_strv *a, const struct bl_strv *b);
void bl_strv_free(struct bl_strv *v);
/* Splits at every @sep; empty parts are left out. */
void bl_strv_split(struct bl_strv *v, const char *s, char sep);

static inline void bl_strv_autop(struct bl_strv *v)
{
	bl_strv_free(v);
}

#endif
