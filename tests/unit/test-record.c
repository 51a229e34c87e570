/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "base/str.h"
#include "guard/record.h"

#define OLD "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1-23.11"
#define NEW "/nix/store/z123456789abcdfghijklmnpqrsvwxy0-nixos-system-web1-24.05"

/* The text of a record as it stands in a file, without its checksum. */
static const char sample[] = "version=1\n"
			     "state=WAIT_CONFIRM\n"
			     "epoch=7\n"
			     "seq=9\n"
			     "run=20261122-101500-1a2b\n"
			     "owner=alice@laptop\n"
			     "agent=/nix/store/a123456789abcdfghijklmnpqrsvwxy0-belay-agent\n"
			     "boot_id=5f9f1b9c-8f0e-4d5b-9d0a-3c1d2e3f4a5b\n"
			     "system_old=" OLD "\n"
			     "system_new=" NEW "\n"
			     "generation_old=41\n"
			     "generation_new=0\n"
			     "generation_created=0\n"
			     "deadline_boot_ns=9223372036854775807\n"
			     "activated_boot_ns=1234567890123\n"
			     "activate_ms=300000\n"
			     "confirm_ms=4294967295\n"
			     "commit_ms=180000\n"
			     "rollback_ms=300000\n"
			     "reboots=2\n"
			     "sshd=10.0.0.2 22\n"
			     "reason=100%25 of%0ait\n"
			     "remark=\n";

/* @body with the checksum that belongs to it. */
static void seal(const char *body, size_t len, struct bl_buf *out)
{
	bl_buf_append(out, body, len);
	bl_buf_printf(out, "crc32c=%08x\n", bl_crc32c(body, len));
}

static int decode(const struct bl_buf *text, struct bl_record *out, struct bl_err *err)
{
	return bl_record_decode(bl_buf_str(text), text->len, out, err);
}

static void a_record_is_the_text_that_is_written_down(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) text = { 0 };
	BL_AUTO(bl_buf) again = { 0 };
	BL_AUTO(bl_record) r = { 0 };
	struct bl_err err = { 0 };
	seal(sample, strlen(sample), &text);
	assert_works(decode(&text, &r, &err), &err);
	assert_int_equal(r.state, BL_TXN_WAIT_CONFIRM);
	assert_int_equal(r.epoch, 7);
	assert_int_equal(r.seq, 9);
	assert_string_equal(r.run, "20261122-101500-1a2b");
	assert_string_equal(r.owner, "alice@laptop");
	assert_string_equal(r.boot_id, "5f9f1b9c-8f0e-4d5b-9d0a-3c1d2e3f4a5b");
	assert_string_equal(r.system_old, OLD);
	assert_string_equal(r.system_new, NEW);
	assert_int_equal(r.generation_old, 41);
	assert_false(r.generation_created);
	assert_int_equal(r.deadline_boot_ns, INT64_MAX);
	assert_int_equal(r.confirm_ms, UINT32_MAX);
	assert_int_equal(r.reboots, 2);
	assert_string_equal(r.sshd, "10.0.0.2 22");
	assert_string_equal(r.reason, "100% of\nit");
	assert_string_equal(r.remark, "");
	bl_record_encode(&r, &again);
	assert_string_equal(bl_buf_str(&again), bl_buf_str(&text));
}

static void an_empty_record_has_empty_texts(void **state)
{
	(void)state;
	struct bl_record empty = { .state = BL_TXN_PREPARED };
	BL_AUTO(bl_record) back = { 0 };
	/* the checksum is of the record alone, whatever stands before it */
	BL_AUTO(bl_buf) text = { 0 };
	struct bl_err err = { 0 };
	bl_buf_puts(&text, "before");
	bl_record_encode(&empty, &text);
	bl_buf_drop(&text, strlen("before"));
	assert_works(decode(&text, &back, &err), &err);
	assert_string_equal(back.run, "");
	assert_string_equal(back.remark, "");
	assert_int_equal(back.deadline_boot_ns, 0);
}

static char *random_text(uint64_t *seed)
{
	size_t len = unit_random(seed) % 80;
	char *s = bl_xcalloc(len + 1, 1);
	for (size_t i = 0; i < len; i++)
		s[i] = (char)(1 + unit_random(seed) % 255);
	return s;
}

static uint64_t random_number(uint64_t *seed)
{
	return unit_random(seed) >> unit_random(seed) % 64;
}

static void random_record(uint64_t *seed, struct bl_record *r)
{
	*r = (struct bl_record){
		.state = (enum bl_txn_state)(1 + unit_random(seed) % (BL_TXN_NSTATES - 1)),
		.epoch = random_number(seed),
		.seq = random_number(seed),
		.run = random_text(seed),
		.owner = random_text(seed),
		.agent = random_text(seed),
		.boot_id = random_text(seed),
		.system_old = random_text(seed),
		.system_new = random_text(seed),
		.generation_old = random_number(seed),
		.generation_new = random_number(seed),
		.generation_created = unit_random(seed) % 2,
		.deadline_boot_ns = (int64_t)(random_number(seed) >> 1),
		.activated_boot_ns = (int64_t)(random_number(seed) >> 1),
		.activate_ms = (uint32_t)random_number(seed),
		.confirm_ms = (uint32_t)random_number(seed),
		.commit_ms = (uint32_t)random_number(seed),
		.rollback_ms = (uint32_t)random_number(seed),
		.reboots = (uint32_t)random_number(seed),
		.sshd = random_text(seed),
		.reason = random_text(seed),
		.remark = random_text(seed),
	};
}

static void assert_same(const struct bl_record *a, const struct bl_record *b)
{
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->seq, b->seq);
	assert_string_equal(a->run, b->run);
	assert_string_equal(a->owner, b->owner);
	assert_string_equal(a->agent, b->agent);
	assert_string_equal(a->boot_id, b->boot_id);
	assert_string_equal(a->system_old, b->system_old);
	assert_string_equal(a->system_new, b->system_new);
	assert_int_equal(a->generation_old, b->generation_old);
	assert_int_equal(a->generation_new, b->generation_new);
	assert_int_equal(a->generation_created, b->generation_created);
	assert_int_equal(a->deadline_boot_ns, b->deadline_boot_ns);
	assert_int_equal(a->activated_boot_ns, b->activated_boot_ns);
	assert_int_equal(a->activate_ms, b->activate_ms);
	assert_int_equal(a->confirm_ms, b->confirm_ms);
	assert_int_equal(a->commit_ms, b->commit_ms);
	assert_int_equal(a->rollback_ms, b->rollback_ms);
	assert_int_equal(a->reboots, b->reboots);
	assert_string_equal(a->sshd, b->sshd);
	assert_string_equal(a->reason, b->reason);
	assert_string_equal(a->remark, b->remark);
}

static void random_records_come_back(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 500; round++) {
		BL_AUTO(bl_record) r = { 0 };
		BL_AUTO(bl_record) back = { 0 };
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_err err = { 0 };
		random_record(&seed, &r);
		bl_record_encode(&r, &text);
		assert_works(decode(&text, &back, &err), &err);
		assert_same(&r, &back);
	}
}

static void every_single_bit_counts(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) text = { 0 };
	seal(sample, strlen(sample), &text);
	for (size_t bit = 0; bit < 8 * text.len; bit++) {
		struct bl_record r = { .epoch = 99 };
		struct bl_err err = { 0 };
		text.data[bit / 8] = (char)(text.data[bit / 8] ^ (1 << bit % 8));
		if (decode(&text, &r, &err) == 0)
			fail_msg("bit %zu may fall over", bit);
		assert_int_equal(err.code, BL_E_INPUT);
		assert_int_equal(r.epoch, 99);
		text.data[bit / 8] = (char)(text.data[bit / 8] ^ (1 << bit % 8));
	}
}

static void a_record_that_is_cut_anywhere_is_refused(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) text = { 0 };
	seal(sample, strlen(sample), &text);
	for (size_t len = 0; len < text.len; len++) {
		bl_autofree char *cut = bl_xcalloc(len, 1);
		memcpy(cut, text.data, len);
		struct bl_record r = { 0 };
		struct bl_err err = { 0 };
		assert_fails(bl_record_decode(cut, len, &r, &err), &err, BL_E_INPUT,
			     "no checksum at its end");
	}
}

static void whatever_stands_around_a_record_spoils_it(void **state)
{
	(void)state;
	static const char *const around[][2] = {
		{ "\n", "" }, { "", "\n" }, { "", "x" }, { "a=1\n", "" }, { "", "a=1\n" }
	};
	for (size_t i = 0; i < BL_COUNT(around); i++) {
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_record r = { 0 };
		struct bl_err err = { 0 };
		seal(sample, strlen(sample), &text);
		BL_AUTO(bl_buf) whole = { 0 };
		bl_buf_puts(&whole, around[i][0]);
		bl_buf_append(&whole, text.data, text.len);
		bl_buf_puts(&whole, around[i][1]);
		assert_int_equal(decode(&whole, &r, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
	}
}

/* The sample with its first @from replaced by @to, sealed. */
static void altered(const char *from, const char *to, struct bl_buf *out)
{
	BL_AUTO(bl_buf) body = { 0 };
	const char *at = strstr(sample, from);
	assert_non_null(at);
	bl_buf_append(&body, sample, (size_t)(at - sample));
	bl_buf_puts(&body, to);
	bl_buf_puts(&body, at + strlen(from));
	seal(bl_buf_str(&body), body.len, out);
}

static void a_sealed_text_that_is_no_record_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
		const char *msg;
	} cases[] = {
		{ "version=1", "version=2", "version 2 is not known here" },
		{ "version=1", "version=0", "version 0 is not known here" },
		{ "version=1\n", "", "version is missing" },
		{ "version=1", "version=one",
		  "version: 'one' is not a number from 0 to 4294967295" },
		{ "state=WAIT_CONFIRM\n", "", "'' is not a state of a transaction" },
		{ "WAIT_CONFIRM", "NONE", "'NONE' is not a state of a transaction" },
		{ "WAIT_CONFIRM", "CONFIRMED ",
		  "'CONFIRMED ' is not a state of a transaction" },
		{ "remark=\n", "remark=\nmore=1\n", "it holds keys that are not known here" },
		{ "epoch=7\n", "epoch=7\nepoch=7\n", "it holds keys that are not known here" },
		{ "version=1\n", "version=1\nversion=1\n",
		  "it holds keys that are not known here" },
		{ "state=", "state=CONFIRMED\nstate=",
		  "it holds keys that are not known here" },
		/* one key too few and one too many are as many */
		{ "seq=9\n", "epoch=8\n", "seq is missing" },
		{ "epoch=7\n", "", "epoch is missing" },
		{ "remark=\n", "", "remark is missing" },
		{ "system_old=" OLD "\n", "", "system_old is missing" },
		{ "epoch=7", "epoch=",
		  "epoch: '' is not a number from 0 to "
		  "18446744073709551615" },
		{ "epoch=7", "epoch=-1",
		  "epoch: '-1' is not a number from 0 to 18446744073709551615" },
		{ "epoch=7", "epoch=18446744073709551616",
		  "epoch: '18446744073709551616' is not a number from 0 to "
		  "18446744073709551615" },
		{ "9223372036854775807", "9223372036854775808",
		  "deadline_boot_ns: '9223372036854775808' is not a number from 0 to "
		  "9223372036854775807" },
		{ "4294967295", "4294967296",
		  "confirm_ms: '4294967296' is not a number from 0 to 4294967295" },
		{ "generation_created=0", "generation_created=2",
		  "generation_created: '2' is not a number from 0 to 1" },
		{ "reason=100%25", "reason=100%", "line 22: value of reason is malformed" },
		{ "owner=alice", "owner alice", "line 6 is not key=value" },
		{ "remark=\n", "remark=", "the last line is cut off" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_record r = { .epoch = 99 };
		struct bl_err err = { 0 };
		altered(cases[i].from, cases[i].to, &text);
		assert_int_equal(decode(&text, &r, &err), -1);
		assert_string_equal(err.msg, cases[i].msg);
		assert_int_equal(r.epoch, 99);
		assert_null(r.run);
	}
}

static void every_key_is_needed(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, sample, '\n');
	for (size_t skip = 0; skip < lines.n; skip++) {
		BL_AUTO(bl_buf) body = { 0 };
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_record r = { 0 };
		struct bl_err err = { 0 };
		for (size_t i = 0; i < lines.n; i++)
			if (i != skip)
				bl_buf_printf(&body, "%s\n", lines.items[i]);
		seal(bl_buf_str(&body), body.len, &text);
		if (decode(&text, &r, &err) == 0)
			fail_msg("without %s", lines.items[skip]);
	}
}

static void the_order_of_the_keys_is_free(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) lines = { 0 };
	BL_AUTO(bl_buf) body = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	BL_AUTO(bl_record) r = { 0 };
	struct bl_err err = { 0 };
	bl_strv_split(&lines, sample, '\n');
	for (size_t i = lines.n; i-- > 0;)
		bl_buf_printf(&body, "%s\n", lines.items[i]);
	seal(bl_buf_str(&body), body.len, &text);
	assert_works(decode(&text, &r, &err), &err);
	assert_int_equal(r.epoch, 7);
}

static void a_record_has_64_kibibytes_at_most(void **state)
{
	(void)state;
	for (size_t more = 0; more < 2; more++) {
		BL_AUTO(bl_buf) body = { 0 };
		BL_AUTO(bl_buf) text = { 0 };
		BL_AUTO(bl_record) r = { 0 };
		struct bl_err err = { 0 };
		bl_buf_append(&body, sample, strlen(sample) - 1);
		while (body.len + 1 + strlen("crc32c=00000000\n") < BL_RECORD_MAX + more)
			bl_buf_putc(&body, 'x');
		bl_buf_putc(&body, '\n');
		seal(body.data, body.len, &text);
		assert_int_equal(text.len, BL_RECORD_MAX + more);
		if (more)
			assert_fails(decode(&text, &r, &err), &err, BL_E_INPUT,
				     "larger than 65536 bytes");
		else
			assert_works(decode(&text, &r, &err), &err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_the_text_that_is_written_down),
		cmocka_unit_test(an_empty_record_has_empty_texts),
		cmocka_unit_test(random_records_come_back),
		cmocka_unit_test(every_single_bit_counts),
		cmocka_unit_test(a_record_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(whatever_stands_around_a_record_spoils_it),
		cmocka_unit_test(a_sealed_text_that_is_no_record_is_refused),
		cmocka_unit_test(every_key_is_needed),
		cmocka_unit_test(the_order_of_the_keys_is_free),
		cmocka_unit_test(a_record_has_64_kibibytes_at_most),
	};
	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
