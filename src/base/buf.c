/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct bl_buf *b, size_t more)
{
	size_t want = b->len + more + 1;
	if (want <= b->cap)
		return;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < want)
		cap *= 2;
	b->data = bl_xrealloc(b->data, cap, 1);
	b->cap = cap;
}

void bl_buf_append(struct bl_buf *b, const void *data, size_t len)
{
	reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void bl_buf_puts(struct bl_buf *b, const char *s)
{
	bl_buf_append(b, s, strlen(s));
}

void bl_buf_putc(struct bl_buf *b, char c)
{
	bl_buf_append(b, &c, 1);
}

void bl_buf_printf(struct bl_buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n > 0) {
		reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void bl_buf_drop(struct bl_buf *b, size_t len)
{
	if (len >= b->len) {
		bl_buf_clear(b);
		return;
	}
	memmove(b->data, b->data + len, b->len - len + 1);
	b->len -= len;
}

void bl_buf_clear(struct bl_buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void bl_buf_free(struct bl_buf *b)
{
	free(b->data);
	*b = (struct bl_buf){ 0 };
}

char *bl_buf_steal(struct bl_buf *b)
{
	reserve(b, 0);
	b->data[b->len] = '\0';
	char *text = b->data;
	*b = (struct bl_buf){ 0 };
	return text;
}

const char *bl_buf_str(const struct bl_buf *b)
{
	return b->data ? b->data : "";
}
