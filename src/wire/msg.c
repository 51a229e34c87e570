/* SPDX-License-Identifier: MIT */
#include "wire/msg.h"

void bl_msg_put(struct bl_buf *out, enum bl_msg_type type, const struct bl_kv *kv)
{
	BL_AUTO(bl_buf) payload = { 0 };
	if (kv)
		bl_kv_encode(kv, &payload);
	bl_frame_put(out, (uint16_t)type, bl_buf_str(&payload), payload.len);
}

static bool known_type(uint16_t type)
{
	return (type >= BL_MSG_HELLO && type <= BL_MSG_COPY_END) ||
	       (type >= BL_MSG_CHALLENGE && type <= BL_MSG_HAVE);
}

int bl_msg_take(const char *data, size_t len, struct bl_msg *out, size_t *used,
		struct bl_err *err)
{
	struct bl_frame f;
	int rc = bl_frame_take(data, len, &f, err);
	if (rc <= 0)
		return rc;
	if (!known_type(f.type))
		return bl_err_set(err, BL_E_INPUT, "message of unknown type %u", f.type);
	struct bl_msg m = { .type = (enum bl_msg_type)f.type };
	if (bl_kv_decode(f.payload, f.len, &m.kv, err) < 0)
		return bl_err_wrap(err, "message %s", bl_msg_name(m.type));
	*out = m;
	*used = f.used;
	return 1;
}

void bl_msg_free(struct bl_msg *msg)
{
	bl_kv_free(&msg->kv);
}

const char *bl_msg_name(enum bl_msg_type type)
{
	switch (type) {
	case BL_MSG_HELLO:
		return "hello";
	case BL_MSG_PREFLIGHT:
		return "preflight";
	case BL_MSG_START:
		return "start";
	case BL_MSG_STATUS:
		return "status";
	case BL_MSG_ABORT:
		return "abort";
	case BL_MSG_LOG:
		return "log";
	case BL_MSG_CHALLENGE:
		return "challenge";
	case BL_MSG_PROOF:
		return "proof";
	case BL_MSG_OK:
		return "ok";
	case BL_MSG_REFUSED:
		return "refused";
	case BL_MSG_STATE:
		return "state";
	case BL_MSG_LINE:
		return "line";
	case BL_MSG_ITEM:
		return "item";
	case BL_MSG_COPY:
		return "copy";
	case BL_MSG_COPY_END:
		return "copy end";
	case BL_MSG_HAVE:
		return "have";
	}
	return "?";
}
