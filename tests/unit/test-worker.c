/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "store/request.h"
#include "store/worker.h"

#define A    "/nix/store/00000000000000000000000000000000-a"
#define B    "/nix/store/00000000000000000000000000000001-b"
#define DRV  "/nix/store/00000000000000000000000000000002-a.drv"
#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

#define LAST  0x616c7473U
#define ERROR 0x63787470U
#define NEXT  0x6f6c6d67U
#define START 0x53545254U
#define STOP  0x53544f50U
#define RSLT  0x52534c54U

static void put_bytes(struct bl_buf *b, const void *s, size_t len)
{
	bl_request_frame(b, s, len);
	while (b->len % 8)
		bl_buf_putc(b, '\0');
}

/*
 * Numbers and texts as bytes: 'n' an unsigned, 's' a text, behind it the arguments. The way
 * they are written is that of the requests, which are compared with bytes made by hand below.
 */
static void put(struct bl_buf *b, const char *form, ...)
{
	va_list ap;
	va_start(ap, form);
	for (; *form; form++) {
		if (*form == 'n') {
			uint64_t v = va_arg(ap, unsigned);
			for (size_t i = 0; i < 8; i++)
				bl_buf_putc(b, (char)(uint8_t)(v >> 8 * i));
		} else {
			const char *s = va_arg(ap, const char *);
			put_bytes(b, s, strlen(s));
		}
	}
	va_end(ap);
}

struct read {
	struct bl_worker_reader r;
	struct bl_err err;
	size_t used;
	struct bl_buf log;
};

static void keep_line(void *ctx, const char *text)
{
	struct read *x = ctx;
	bl_buf_printf(&x->log, "%s|", text);
}

static void read_free(struct read *x)
{
	bl_worker_reader_free(&x->r);
	bl_buf_free(&x->log);
}

static void read_autop(struct read *x)
{
	read_free(x);
}

/* In pieces that are copied, so that a step too far is seen. */
static int read_in(struct read *x, enum bl_worker_kind kind, const struct bl_buf *b,
		   size_t piece)
{
	int rc = 0;
	x->r.line = keep_line;
	x->r.ctx = x;
	bl_worker_expect(&x->r, kind, 3);
	for (x->used = 0; rc == 0 && x->used < b->len;) {
		size_t used = 0;
		size_t len = b->len - x->used < piece ? b->len - x->used : piece;
		char *copy = bl_xcalloc(len, 1);
		memcpy(copy, b->data + x->used, len);
		rc = bl_worker_read(&x->r, copy, len, &used, &x->err);
		free(copy);
		assert_true(rc < 0 || used == len || rc == 1);
		x->used += used;
	}
	return rc;
}

/* In pieces of every size, and every beginning of it is not enough. */
static void reads_whole(struct read *x, enum bl_worker_kind kind, const struct bl_buf *b)
{
	for (size_t len = 0; len < b->len; len++) {
		struct bl_buf part = { .data = b->data, .len = len };
		if (read_in(x, kind, &part, len ? len : 1) != 0)
			fail_msg("%zu of %zu bytes are enough: %s", len, b->len, x->err.msg);
	}
	for (size_t piece = 1; piece <= b->len + 1; piece += piece < 20 ? 1 : 13) {
		bl_buf_clear(&x->log);
		x->r.kept = 0;
		if (read_in(x, kind, b, piece) != 1)
			fail_msg("in pieces of %zu: %s", piece, x->err.msg);
		assert_int_equal(x->used, b->len);
	}
}

static void requests_are_nixs_bytes(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_request_hello(&b);
	static const uint8_t hello[32] = { 'c', 'x', 'i', 'n', 0, 0, 0, 0, 0x25, 1 };
	assert_int_equal(b.len, sizeof(hello));
	assert_memory_equal(b.data, hello, sizeof(hello));
	bl_buf_clear(&b);
	bl_request_temp_root(&b, "abc");
	static const uint8_t root[24] = { 11, 0, 0, 0, 0, 0, 0,   0,   3,  0,
					  0,  0, 0, 0, 0, 0, 'a', 'b', 'c' };
	assert_int_equal(b.len, sizeof(root));
	assert_memory_equal(b.data, root, sizeof(root));
	bl_buf_clear(&b);
	bl_request_frame(&b, "abc", 3);
	bl_request_frame(&b, NULL, 0);
	static const uint8_t frames[19] = { 3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c' };
	assert_int_equal(b.len, sizeof(frames));
	assert_memory_equal(b.data, frames, sizeof(frames));
}

static void longer_requests_have_all_their_fields(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_buf) want = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	bl_strv_add(&paths, A);
	bl_strv_add(&paths, B);
	bl_request_valid(&b, paths.items, 2);
	bl_request_temp_root(&b, A);
	bl_request_substitute(&b, A);
	bl_request_path_info(&b, A);
	put(&want, "nnssn", 31U, 2U, A, B, 0U);
	put(&want, "nsnsns", 11U, A, 10U, A, 26U, A);
	BL_AUTO(bl_path_info)
	info = { .path = bl_xstrdup(B),
		 .deriver = bl_xstrdup(DRV),
		 .ca = bl_xstrdup("fixed:sha256:x"),
		 .nar_size = 77,
		 .ultimate = true,
		 .registered = 5 };
	struct bl_err err = { 0 };
	assert_works(bl_unhex(HASH, info.nar_hash, 32, &err), &err);
	bl_strv_add(&info.references, A);
	bl_strv_add(&info.sigs, "k:s");
	bl_request_add(&b, &info);
	put(&want, "nsssns", 39U, B, DRV, HASH, 1U, A);
	put(&want, "nnnnssnn", 5U, 77U, 0U, 1U, "k:s", "fixed:sha256:x", 0U, 1U);
	assert_int_equal(b.len, want.len);
	assert_memory_equal(b.data, want.data, want.len);
}

static void every_kind_of_answer_is_read(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put(&b, "n", LAST);
	reads_whole(&x, BL_WORKER_NOTHING, &b);
	put(&b, "n", 1U);
	reads_whole(&x, BL_WORKER_NUMBER, &b);
	assert_int_equal(x.r.answer.number, 1);
	bl_buf_clear(&b);
	put(&b, "ns", LAST, A);
	reads_whole(&x, BL_WORKER_PATH, &b);
	assert_string_equal(x.r.answer.text, A);
	bl_buf_clear(&b);
	put(&b, "ns", LAST, "");
	reads_whole(&x, BL_WORKER_PATH, &b);
	assert_string_equal(x.r.answer.text, "");
	bl_buf_clear(&b);
	put(&b, "nn", LAST, 0U);
	reads_whole(&x, BL_WORKER_PATHS, &b);
	assert_int_equal(x.r.answer.paths.n, 0);
	reads_whole(&x, BL_WORKER_INFO, &b);
	assert_int_equal(x.r.answer.number, 0);
	bl_buf_clear(&b);
	put(&b, "nnss", LAST, 2U, B, A);
	reads_whole(&x, BL_WORKER_PATHS, &b);
	assert_int_equal(x.r.answer.paths.n, 2);
	assert_string_equal(x.r.answer.paths.items[1], A);
}

static void put_info(struct bl_buf *b)
{
	put(b, "nnss", LAST, 1U, DRV, HASH);
	put(b, "nssnnnnsss", 2U, A, B, 1700000000U, 12345U, 1U, 2U, "k1:a", "k2:b",
	    "text:sha256:x");
}

static void an_info_has_all_its_fields(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put_info(&b);
	reads_whole(&x, BL_WORKER_INFO, &b);
	const struct bl_path_info *info = &x.r.answer.info;
	char hash[65];
	bl_hex(info->nar_hash, 32, hash);
	assert_int_equal(x.r.answer.number, 1);
	assert_string_equal(info->deriver, DRV);
	assert_string_equal(hash, HASH);
	assert_int_equal(info->references.n, 2);
	assert_string_equal(info->references.items[1], B);
	assert_int_equal(info->registered, 1700000000);
	assert_int_equal(info->nar_size, 12345);
	assert_true(info->ultimate);
	assert_int_equal(info->sigs.n, 2);
	assert_string_equal(info->sigs.items[1], "k2:b");
	assert_string_equal(info->ca, "text:sha256:x");
	assert_null(info->path);
}

static void the_hello_differs_by_version(void **state)
{
	(void)state;
	static const struct {
		unsigned version, trust, protocol;
		const char *nix;
	} cases[] = {
		{ 0x120, 0, 0x120, NULL },     { 0x121, 0, 0x121, "2.7.0" },
		{ 0x122, 0, 0x122, "2.8.0" },  { 0x123, 1, 0x123, "2.18.8-lix" },
		{ 0x125, 2, 0x125, "2.20.1" }, { 0x126, 1, 0x125, "2.36.0" },
		{ 0x1ff, 1, 0x125, "9.0" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(read) x = { 0 };
		BL_AUTO(bl_buf) b = { 0 };
		put(&b, "nn", 0x6478696fU, cases[i].version);
		if (cases[i].nix)
			put(&b, "s", cases[i].nix);
		if (cases[i].version >= 0x123)
			put(&b, "n", cases[i].trust);
		put(&b, "n", LAST);
		reads_whole(&x, BL_WORKER_HELLO, &b);
		assert_int_equal(x.r.answer.protocol, cases[i].protocol);
		assert_int_equal(x.r.answer.number, cases[i].trust);
		assert_string_equal(x.r.answer.text, cases[i].nix ? cases[i].nix : "");
	}
}

static void old_and_foreign_programs_are_refused(void **state)
{
	(void)state;
	static const struct {
		unsigned magic, version;
		enum bl_errc code;
		const char *msg;
	} cases[] = {
		{ 0x6478696f, 0x115, BL_E_REFUSED,
		  "it speaks protocol 1.21, which is older than Nix 2.4: update Nix on that "
		  "machine" },
		{ 0x6478696f, 0x11f, BL_E_REFUSED,
		  "it speaks protocol 1.31, which is older than Nix 2.4: update Nix on that "
		  "machine" },
		{ 0x6478696f, 0x200, BL_E_INPUT, "it speaks protocol 0x200, which we do not" },
		{ 0x6478696f, 0x20, BL_E_INPUT, "it speaks protocol 0x20, which we do not" },
		{ 0x2d485353, 0x125, BL_E_INPUT, "what answers is no Nix daemon" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(read) x = { 0 };
		BL_AUTO(bl_buf) b = { 0 };
		put(&b, "nn", cases[i].magic, cases[i].version);
		assert_fails(read_in(&x, BL_WORKER_HELLO, &b, b.len), &x.err, cases[i].code,
			     cases[i].msg);
	}
}

static void what_nix_logs_is_told_or_passed_over(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put(&b, "ns", NEXT, "\x1b[31;1mwarning:\x1b[0m one\n");
	put(&b, "nnnnsn", START, 7U, 3U, 100U, "copying", 3U);
	put(&b, "nsnnnsn", 1U, "text", 0U, 9U, 1U, "", 0U);
	put(&b, "ns", NEXT, "two");
	put(&b, "nnnnnn", RSLT, 7U, 101U, 1U, 0U, 4U);
	put(&b, "nnnn", RSLT, 7U, 101U, 0U);
	put(&b, "nn", STOP, 7U);
	put(&b, "n", LAST);
	reads_whole(&x, BL_WORKER_NOTHING, &b);
	assert_string_equal(bl_buf_str(&x.log), "warning: one|two|");
}

static void an_error_has_its_message_and_traces(void **state)
{
	(void)state;
	static const enum bl_worker_kind kinds[] = { BL_WORKER_NOTHING, BL_WORKER_PATHS,
						     BL_WORKER_INFO };
	for (size_t i = 0; i < BL_COUNT(kinds); i++) {
		BL_AUTO(read) x = { 0 };
		BL_AUTO(bl_buf) b = { 0 };
		put(&b, "ns", NEXT, "before");
		put(&b, "nsnssnnnsns", ERROR, "Error", 0U, "Error",
		    "path '\x1b[35;1m" A "\x1b[0m' is\r not valid\n", 0U, 2U, 0U, "while a", 0U,
		    "while b");
		reads_whole(&x, kinds[i], &b);
		assert_string_equal(x.r.answer.problem,
				    "path '" A "' is not valid\n\nwhile a\nwhile b");
		/* the next one is read as if nothing had been */
		bl_buf_clear(&b);
		put(&b, "nn", LAST, 0U);
		assert_int_equal(read_in(&x, BL_WORKER_PATHS, &b, 3), 1);
		assert_null(x.r.answer.problem);
	}
}

static void the_bytes_behind_an_answer_stay(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	size_t used = 0;
	put(&b, "nnnn", LAST, 1U, LAST, 2U);
	bl_worker_expect(&x.r, BL_WORKER_NUMBER, 0);
	assert_int_equal(bl_worker_read(&x.r, b.data, b.len, &used, &x.err), 1);
	assert_int_equal(used, 16);
}

static void limits_and_broken_bytes_are_refused(void **state)
{
	(void)state;
	static const struct {
		enum bl_worker_kind kind;
		const char *form;
		unsigned a, b;
		const char *s;
		const char *msg;
	} cases[] = {
		{ BL_WORKER_PATHS, "nn", LAST, 4, "", "4 items, where 3 are the limit" },
		{ BL_WORKER_PATHS, "nn", LAST, 0xffffffff, "",
		  "4294967295 items, where 3 are the limit" },
		{ BL_WORKER_PATHS, "nns", LAST, 1, "/nix/store/x",
		  "the Nix daemon: '/nix/store/x' is not a path of the Nix store" },
		{ BL_WORKER_PATHS, "nns", LAST, 1, "",
		  "the Nix daemon: '' is not a path of the Nix store" },
		{ BL_WORKER_INFO, "nns", LAST, 1, "unknown",
		  "the Nix daemon: 'unknown' is not a path of the Nix store" },
		{ BL_WORKER_NUMBER, "nn", 0x64617461, 1, "",
		  "0x64617461 is no kind of message" },
		{ BL_WORKER_NUMBER, "nn", NEXT, (64 << 20) + 1, "",
		  "a text of 67108865 bytes, where 67108864 are the limit" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(read) x = { 0 };
		BL_AUTO(bl_buf) b = { 0 };
		put(&b, cases[i].form, cases[i].a, cases[i].b, cases[i].s);
		assert_fails(read_in(&x, cases[i].kind, &b, b.len), &x.err, BL_E_INPUT,
			     cases[i].msg);
	}
}

static void counts_inside_of_an_info_are_limited(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put(&b, "nnssn", LAST, 1U, "", HASH, BL_WORKER_REFERENCES_MAX + 1U);
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "100001 items, where 100000 are the limit");
	bl_buf_clear(&b);
	put(&b, "nnssnnnnn", LAST, 1U, "", HASH, 0U, 0U, 0U, 0U, 1001U);
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "1001 items, where 1000 are the limit");
	bl_buf_clear(&b);
	put(&b, "nnn", LAST, 1U, 4097U);
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "a text of 4097 bytes, where 4096 are the limit");
	bl_buf_clear(&b);
	put(&b, "nnss", LAST, 1U, "", "abc");
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "a hash: 64 hexadecimal digits wanted, got 3");
	bl_buf_clear(&b);
	put(&b, "nsnssn", ERROR, "Error", 0U, "Error", "no", 1U);
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "a position, which no daemon sends");
	bl_buf_clear(&b);
	put(&b, "nnnnsnn", START, 7U, 3U, 100U, "copying", 1U, 2U);
	assert_fails(read_in(&x, BL_WORKER_INFO, &b, b.len), &x.err, BL_E_INPUT,
		     "2 is no type of a field");
}

static void padding_is_zero_and_texts_have_no_nul(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put(&b, "ns", LAST, A);
	b.data[b.len - 1] = 1;
	assert_fails(read_in(&x, BL_WORKER_PATH, &b, 5), &x.err, BL_E_INPUT,
		     "padding that is not zero");
	bl_buf_clear(&b);
	put(&b, "n", LAST);
	put_bytes(&b, "/nix\0store", 10);
	assert_fails(read_in(&x, BL_WORKER_PATH, &b, 5), &x.err, BL_E_INPUT, "a NUL in a text");
}

static void of_a_long_message_the_beginning_is_kept(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	bl_autofree char *text = bl_xcalloc((1 << 20) + 1, 1);
	memset(text, 'x', 1 << 20);
	put(&b, "ns", NEXT, text);
	put(&b, "nsnssnnns", ERROR, "Error", 0U, "Error", text, 0U, 1U, 0U, text);
	assert_int_equal(read_in(&x, BL_WORKER_NOTHING, &b, 4096), 1);
	assert_int_equal(x.log.len, BL_WORKER_TEXT_MAX + 1);
	assert_int_equal(strlen(x.r.answer.problem), BL_WORKER_TEXT_MAX);
}

static void memory_for_answers_is_limited(void **state)
{
	(void)state;
	BL_AUTO(read) x = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	put(&b, "ns", LAST, A);
	x.r.kept = BL_WORKER_KEPT_MAX - 10;
	assert_fails(read_in(&x, BL_WORKER_PATH, &b, b.len), &x.err, BL_E_INPUT,
		     "its answers take more than 128 MiB");
}

static void colours_and_controls_are_taken_out(void **state)
{
	(void)state;
	static const struct {
		const char *text, *clean;
	} cases[] = {
		{ "plain", "plain" },
		{ "\x1b[31;1merror:\x1b[0m no", "error: no" },
		{ "a\tb\nc\n\n", "a\tb\nc" },
		{ "bell\a \r\x7f end", "bell  end" },
		{ "\x1b", "" },
		{ "\x1b[", "" },
		{ "\x1b[12", "" },
		{ "\x1b(Bx", "Bx" },
		{ "ä", "ä" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *clean = bl_worker_clean(cases[i].text, strlen(cases[i].text));
		assert_string_equal(clean, cases[i].clean);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_nixs_bytes),
		cmocka_unit_test(longer_requests_have_all_their_fields),
		cmocka_unit_test(every_kind_of_answer_is_read),
		cmocka_unit_test(an_info_has_all_its_fields),
		cmocka_unit_test(the_hello_differs_by_version),
		cmocka_unit_test(old_and_foreign_programs_are_refused),
		cmocka_unit_test(what_nix_logs_is_told_or_passed_over),
		cmocka_unit_test(an_error_has_its_message_and_traces),
		cmocka_unit_test(the_bytes_behind_an_answer_stay),
		cmocka_unit_test(limits_and_broken_bytes_are_refused),
		cmocka_unit_test(counts_inside_of_an_info_are_limited),
		cmocka_unit_test(padding_is_zero_and_texts_have_no_nul),
		cmocka_unit_test(of_a_long_message_the_beginning_is_kept),
		cmocka_unit_test(memory_for_answers_is_limited),
		cmocka_unit_test(colours_and_controls_are_taken_out),
	};
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
