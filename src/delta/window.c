/* SPDX-License-Identifier: MIT */
#include "delta/window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ 65536

/* Room for @len bytes. Failing is an answer here: the size is the other side's. */
static int reserve(struct bl_base *b, size_t len, struct bl_err *err)
{
	if (len <= b->cap)
		return 0;
	uint8_t *bytes = realloc(b->bytes, len);
	if (!bytes)
		return bl_err_sys(err, ENOMEM, "window of %zu bytes", len);
	b->bytes = bytes;
	b->cap = len;
	return 0;
}

/* There is room: what is read at once has been added to what the window needs. */
static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct bl_base *b = arg;
	if (len > b->cap - b->len)
		return bl_err_set(err, BL_E_USAGE, "more was read than asked for");
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
	return 0;
}

static int more(struct bl_base *b, struct bl_err *err)
{
	uint8_t part[READ];
	size_t n = 0;
	struct bl_sink sink = { append, b };
	if (b->over)
		return bl_err_set(err, BL_E_INPUT, "the base ends at %" PRIu64 " bytes",
				  b->at + b->len);
	if (b->read(b->arg, part, sizeof(part), &n, err) < 0)
		return -1;
	b->over = n == 0;
	return b->over ? bl_rewrite_end(&b->rewrite, &sink, err)
		       : bl_rewrite_feed(&b->rewrite, part, n, &sink, err);
}

/* Forgets what is before @at. */
static void drop(struct bl_base *b, uint64_t at)
{
	size_t n = at - b->at < b->len ? (size_t)(at - b->at) : b->len;
	if (n > 0)
		memmove(b->bytes, b->bytes + n, b->len - n);
	b->len -= n;
	b->at += n;
}

int bl_base_window(struct bl_base *b, uint64_t at, size_t len, const uint8_t **out,
		   struct bl_err *err)
{
	if (at < b->at)
		return bl_err_set(err, BL_E_INPUT, "the base's window goes back");
	if (len > SIZE_MAX - READ - BL_STORE_HASH_LEN)
		return bl_err_sys(err, ENOMEM, "window of %zu bytes", len);
	drop(b, at);
	if (reserve(b, len + READ + BL_STORE_HASH_LEN, err) < 0)
		return -1;
	while (b->at < at || b->len < len) {
		if (more(b, err) < 0)
			return -1;
		drop(b, at);
	}
	*out = b->bytes;
	return 0;
}

void bl_base_free(struct bl_base *b)
{
	free(b->bytes);
	*b = (struct bl_base){ 0 };
}
