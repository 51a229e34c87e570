/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "wire/msg.h"

static const struct {
	enum bl_msg_type type;
	uint16_t number;
	const char *name;
} types[] = {
	{ BL_MSG_HELLO, 1, "hello" },
	{ BL_MSG_PREFLIGHT, 2, "preflight" },
	{ BL_MSG_START, 3, "start" },
	{ BL_MSG_STATUS, 4, "status" },
	{ BL_MSG_ABORT, 5, "abort" },
	{ BL_MSG_LOG, 6, "log" },
	{ BL_MSG_COPY, 7, "copy" },
	{ BL_MSG_COPY_END, 8, "copy end" },
	{ BL_MSG_CHALLENGE, 16, "challenge" },
	{ BL_MSG_PROOF, 17, "proof" },
	{ BL_MSG_OK, 18, "ok" },
	{ BL_MSG_REFUSED, 19, "refused" },
	{ BL_MSG_STATE, 20, "state" },
	{ BL_MSG_LINE, 21, "line" },
	{ BL_MSG_ITEM, 22, "item" },
	{ BL_MSG_HAVE, 23, "have" },
};

static const char *name_of(uint32_t number)
{
	for (size_t i = 0; i < BL_COUNT(types); i++)
		if (types[i].number == number)
			return types[i].name;
	return NULL;
}

static int take(const struct bl_buf *b, struct bl_msg *m, size_t *used, struct bl_err *err)
{
	return bl_msg_take(bl_buf_str(b), b->len, m, used, err);
}

static void every_message_comes_back_with_its_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(types); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		BL_AUTO(bl_kv) kv = { 0 };
		BL_AUTO(bl_msg) m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 0;
		bl_kv_add(&kv, "line", "a%b\nc=d\t\x7f");
		bl_kv_add(&kv, "line", "");
		bl_msg_put(&b, types[i].type, &kv);
		assert_int_equal(take(&b, &m, &used, &err), 1);
		assert_int_equal(m.type, types[i].number);
		assert_string_equal(bl_msg_name(m.type), types[i].name);
		assert_int_equal(used, b.len);
		assert_int_equal(m.kv.n, 2);
		assert_string_equal(m.kv.items[0].value, "a%b\nc=d\t\x7f");
		assert_string_equal(m.kv.items[1].value, "");
	}
}

static void a_message_needs_no_fields(void **state)
{
	(void)state;
	static const struct bl_kv empty = { 0 };
	for (int i = 0; i < 2; i++) {
		BL_AUTO(bl_buf) b = { 0 };
		BL_AUTO(bl_msg) m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 0;
		bl_msg_put(&b, BL_MSG_OK, i ? &empty : NULL);
		assert_int_equal(b.len, BL_FRAME_HEAD);
		assert_int_equal(take(&b, &m, &used, &err), 1);
		assert_int_equal(m.kv.n, 0);
		assert_int_equal(used, BL_FRAME_HEAD);
	}
}

static void a_stream_is_taken_message_by_message_whatever_the_pieces(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) stream = { 0 };
	for (int i = 0; i < 20; i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		bl_kv_setf(&kv, "i", "%d", i);
		if (i % 3)
			bl_kv_setf(&kv, "pad", "%*s", i * 11, "");
		bl_msg_put(&stream, BL_MSG_LINE, &kv);
	}
	for (size_t piece = 1; piece < 40; piece++) {
		BL_AUTO(bl_buf) in = { 0 };
		uint64_t next = 0;
		for (size_t at = 0; at < stream.len; at += piece) {
			size_t len = stream.len - at < piece ? stream.len - at : piece;
			bl_buf_append(&in, stream.data + at, len);
			for (;;) {
				BL_AUTO(bl_msg) m = { 0 };
				struct bl_err err = { 0 };
				size_t used = 0;
				int rc = take(&in, &m, &used, &err);
				assert_int_not_equal(rc, -1);
				if (rc == 0)
					break;
				assert_int_equal(bl_kv_u64_or(&m.kv, "i", 99), next++);
				bl_buf_drop(&in, used);
			}
		}
		assert_int_equal(next, 20);
		assert_int_equal(in.len, 0);
	}
}

static void a_message_that_is_cut_anywhere_waits_for_more(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "state", "WAIT_CONFIRM");
	bl_kv_set(&kv, "epoch", "7");
	bl_msg_put(&b, BL_MSG_STATE, &kv);
	for (size_t len = 0; len < b.len; len++) {
		bl_autofree char *cut = bl_xcalloc(len, 1);
		memcpy(cut, b.data, len);
		struct bl_msg m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 99;
		assert_int_equal(bl_msg_take(cut, len, &m, &used, &err), 0);
		assert_int_equal(used, 99);
		assert_null(m.kv.items);
	}
}

static void a_type_that_is_not_known_is_refused_by_its_number(void **state)
{
	(void)state;
	for (uint32_t type = 0; type < 65536; type++) {
		BL_AUTO(bl_buf) b = { 0 };
		BL_AUTO(bl_msg) m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 99;
		bl_frame_put(&b, (uint16_t)type, NULL, 0);
		if (name_of(type)) {
			assert_int_equal(take(&b, &m, &used, &err), 1);
			continue;
		}
		char want[64];
		snprintf(want, sizeof(want), "message of unknown type %u", type);
		assert_fails(take(&b, &m, &used, &err), &err, BL_E_INPUT, want);
		assert_int_equal(used, 99);
	}
	assert_string_equal(bl_msg_name((enum bl_msg_type)9), "?");
}

static void malformed_fields_are_refused_with_the_messages_name(void **state)
{
	(void)state;
	static const struct {
		const char *payload;
		size_t len;
		const char *msg;
	} cases[] = {
		{ "epoch=1", 7, "message state: the last line is cut off" },
		{ "epoch=1\n\n", 9, "message state: line 2 is not key=value" },
		{ "epoch\n", 6, "message state: line 1 is not key=value" },
		{ "Epoch=1\n", 8, "message state: line 1 is not key=value" },
		{ "a=1\nepoch=%zz\n", 14,
		  "message state: line 2: value of epoch is malformed" },
		{ "epoch=1\0002\n", 10, "message state: line 1: value of epoch is malformed" },
		{ "\0\0\0\0", 4, "message state: the last line is cut off" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_msg m = { 0 };
		struct bl_err err = { 0 };
		size_t used = 99;
		bl_frame_put(&b, BL_MSG_STATE, cases[i].payload, cases[i].len);
		assert_fails(take(&b, &m, &used, &err), &err, BL_E_INPUT, cases[i].msg);
		assert_null(m.kv.items);
		assert_int_equal(used, 99);
	}
}

static void a_message_longer_than_any_of_ours_is_refused_before_it_came(void **state)
{
	(void)state;
	struct bl_msg m = { 0 };
	struct bl_err err = { 0 };
	size_t used = 0;
	assert_fails(bl_msg_take("\x01\x00\x04\x00\x14\x00\x00\x00", 8, &m, &used, &err), &err,
		     BL_E_INPUT, "the other end does not speak belay's frames (length 262145)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_comes_back_with_its_fields),
		cmocka_unit_test(a_message_needs_no_fields),
		cmocka_unit_test(a_stream_is_taken_message_by_message_whatever_the_pieces),
		cmocka_unit_test(a_message_that_is_cut_anywhere_waits_for_more),
		cmocka_unit_test(a_type_that_is_not_known_is_refused_by_its_number),
		cmocka_unit_test(malformed_fields_are_refused_with_the_messages_name),
		cmocka_unit_test(a_message_longer_than_any_of_ours_is_refused_before_it_came),
	};
	return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
