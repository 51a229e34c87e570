/* SPDX-License-Identifier: MIT */
/* What the other end of a connection sends: frames, and the messages in them, as a stream. */
#include "wire/msg.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message that was understood says the same when it is sent on. */
static void send_on(const struct bl_msg *m)
{
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_msg) back = { 0 };
	struct bl_err err = { 0 };
	size_t used = 0;
	bl_msg_put(&b, m->type, &m->kv);
	int rc = bl_msg_take(b.data, b.len, &back, &used, &err);
	assert(rc == 1 && used == b.len && back.type == m->type && back.kv.n == m->kv.n);
	for (size_t i = 0; i < m->kv.n; i++) {
		assert(strcmp(back.kv.items[i].key, m->kv.items[i].key) == 0);
		assert(strcmp(back.kv.items[i].value, m->kv.items[i].value) == 0);
	}
}

static int one_frame(const char *data, size_t size)
{
	struct bl_frame f = { 0 };
	struct bl_err err = { 0 };
	int rc = bl_frame_take(data, size, &f, &err);
	assert(rc >= 0 || (err.code == BL_E_INPUT && err.msg[0]));
	if (rc == 1) {
		assert(f.len <= BL_FRAME_MAX && f.used == f.len + BL_FRAME_HEAD);
		assert(f.used <= size && f.payload == data + BL_FRAME_HEAD);
	}
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data;
	for (;;) {
		BL_AUTO(bl_msg) m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 0;
		int frame = one_frame(at, size);
		int rc = bl_msg_take(at, size, &m, &used, &err);
		/* a message takes a frame, and nothing else */
		assert(frame == 1 ? rc != 0 : rc == frame);
		if (rc < 0)
			assert(err.code == BL_E_INPUT && err.msg[0] && m.kv.n == 0);
		if (rc <= 0)
			return 0;
		assert(used <= size && strcmp(bl_msg_name(m.type), "?") != 0);
		send_on(&m);
		at += used;
		size -= used;
	}
}
