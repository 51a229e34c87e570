/* SPDX-License-Identifier: MIT */
#include "store/request.h"

#include "store/worker.h"

#include <string.h>

#define HELLO_CLIENT 0x6e697863U

enum {
	OP_SUBSTITUTE = 10,
	OP_TEMP_ROOT = 11,
	OP_INDIRECT_ROOT = 12,
	OP_INFO = 26,
	OP_VALID = 31,
	OP_ADD = 39
};

static void put_u64(struct bl_buf *b, uint64_t v)
{
	char bytes[8];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(uint8_t)(v >> 8 * i);
	bl_buf_append(b, bytes, sizeof(bytes));
}

static void put_text(struct bl_buf *b, const char *s)
{
	static const char zeros[8];
	size_t len = strlen(s);
	put_u64(b, len);
	bl_buf_append(b, s, len);
	bl_buf_append(b, zeros, (8 - len % 8) % 8);
}

static void put_texts(struct bl_buf *b, char *const *items, size_t n)
{
	put_u64(b, n);
	for (size_t i = 0; i < n; i++)
		put_text(b, items[i]);
}

void bl_request_hello(struct bl_buf *b)
{
	put_u64(b, HELLO_CLIENT);
	put_u64(b, BL_WORKER_OFFERED);
	/* No processor is wished for and no space reserved: both are obsolete, and need not
	 * wait for the daemon's version, which is new enough for them or refused. */
	put_u64(b, 0);
	put_u64(b, 0);
}

static void put_op(struct bl_buf *b, uint64_t op, const char *text)
{
	put_u64(b, op);
	put_text(b, text);
}

void bl_request_temp_root(struct bl_buf *b, const char *path)
{
	put_op(b, OP_TEMP_ROOT, path);
}

void bl_request_indirect_root(struct bl_buf *b, const char *link)
{
	put_op(b, OP_INDIRECT_ROOT, link);
}

void bl_request_substitute(struct bl_buf *b, const char *path)
{
	put_op(b, OP_SUBSTITUTE, path);
}

void bl_request_path_info(struct bl_buf *b, const char *path)
{
	put_op(b, OP_INFO, path);
}

void bl_request_valid(struct bl_buf *b, char *const *paths, size_t n)
{
	put_u64(b, OP_VALID);
	put_texts(b, paths, n);
	put_u64(b, 0); /* nothing is substituted */
}

void bl_request_add(struct bl_buf *b, const struct bl_path_info *info)
{
	char hash[2 * BL_SHA256_LEN + 1];
	bl_hex(info->nar_hash, sizeof(info->nar_hash), hash);
	put_op(b, OP_ADD, info->path);
	put_text(b, info->deriver ? info->deriver : "");
	put_text(b, hash);
	put_texts(b, info->references.items, info->references.n);
	put_u64(b, info->registered);
	put_u64(b, info->nar_size);
	put_u64(b, 0); /* not built there */
	put_texts(b, info->sigs.items, info->sigs.n);
	put_text(b, info->ca ? info->ca : "");
	put_u64(b, 0); /* no repair */
	put_u64(b, 1); /* signatures are not checked */
}

void bl_request_frame(struct bl_buf *b, const void *data, size_t len)
{
	put_u64(b, len);
	bl_buf_append(b, data, len);
}
