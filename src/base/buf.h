/* SPDX-License-Identifier: MIT */
/* A growing byte buffer; data is always followed by a NUL that len does not count. */
#ifndef BELAY_BASE_BUF_H
#define BELAY_BASE_BUF_H

#include "base/base.h"

struct bl_buf {
	char *data; /* NULL while empty and never grown */
	size_t len;
	size_t cap;
};

void bl_buf_append(struct bl_buf *b, const void *data, size_t len);
void bl_buf_puts(struct bl_buf *b, const char *s);
void bl_buf_putc(struct bl_buf *b, char c);
void bl_buf_printf(struct bl_buf *b, const char *fmt, ...) BL_PRINTF(2, 3);
/* Removes @len bytes from the front. */
void bl_buf_drop(struct bl_buf *b, size_t len);
void bl_buf_clear(struct bl_buf *b); /* len = 0, memory stays */
void bl_buf_free(struct bl_buf *b);
/* Hands the text to the caller, who frees it; never NULL. The buffer is empty afterwards. */
char *bl_buf_steal(struct bl_buf *b);
/* The text so far, never NULL; borrowed until the next change. */
const char *bl_buf_str(const struct bl_buf *b);

static inline void bl_buf_autop(struct bl_buf *b)
{
	bl_buf_free(b);
}

#endif
