/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/file.h"
#include "base/str.h"
#include "store/narcheck.h"

static char *folder; /* of this test, removed behind it */

static int make_folder(void **state)
{
	(void)state;
	folder =
		bl_xprintf("%s/belay-nar.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	const char *argv[] = { "rm", "-rf", folder, NULL };
	struct bl_child_spec spec = { .argv = argv, .timeout_ms = 60000 };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	int rc = bl_child_run(&spec, &r, &err);
	free(folder);
	return rc < 0 || r.status != 0 ? -1 : 0;
}

static char *in_folder(const char *name)
{
	return bl_xprintf("%s/%s", folder, name);
}

static void write_file(const char *name, const void *data, size_t len, mode_t mode)
{
	bl_autofree char *path = in_folder(name);
	bl_autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct bl_err err = { 0 };
	assert_true(fd >= 0);
	assert_works(bl_write_all(fd, data, len, &err), &err);
	assert_int_equal(fchmod(fd, mode), 0);
}

static void make_dir(const char *name)
{
	bl_autofree char *path = in_folder(name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *target, const char *name)
{
	bl_autofree char *path = in_folder(name);
	assert_int_equal(symlink(target, path), 0);
}

static int keep(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(ctx, data, len);
	return 0;
}

static void dump(const char *name, struct bl_buf *out)
{
	bl_autofree char *path = in_folder(name);
	struct bl_err err = { 0 };
	assert_works(bl_nar_dump(path, keep, out, &err), &err);
}

static void dump_fails(const char *name, enum bl_errc code, const char *end)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_autofree char *path = in_folder(name);
	struct bl_err err = { 0 };
	bl_autofree struct bl_nar_check *c = bl_xcalloc(1, sizeof(*c));
	assert_int_equal(bl_nar_dump(path, keep, &out, &err), -1);
	assert_int_equal(err.code, code);
	assert_true(strstr(err.msg, path) && bl_ends_with(err.msg, end));
	/* what came till then is the beginning of one, and no whole one */
	assert_works(bl_nar_check_feed(c, out.data, out.len, &err), &err);
	assert_int_equal(bl_nar_check_end(c, &err), -1);
}

/* Feeds in pieces of @piece bytes; -1 as the checker says. */
static int check(const char *data, size_t len, size_t piece, struct bl_err *err)
{
	bl_autofree struct bl_nar_check *c = bl_xcalloc(1, sizeof(*c));
	for (size_t at = 0; at < len; at += piece)
		if (bl_nar_check_feed(c, data + at, len - at < piece ? len - at : piece, err) <
		    0)
			return -1;
	return bl_nar_check_end(c, err);
}

static bool nix_has_the_same(const char *name, const struct bl_buf *nar)
{
	bl_autofree char *path = in_folder(name);
	const char *argv[] = { "nix-store", "--dump", path, NULL };
	struct bl_child_spec spec = { .argv = argv,
				      .timeout_ms = 50000,
				      .out_max = 64 << 20,
				      .err_mode = BL_CHILD_ERR_KEEP };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	if (bl_child_run(&spec, &r, &err) < 0)
		return false;
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out.len, nar->len);
	assert_memory_equal(r.out.data, nar->data, nar->len);
	return true;
}

/* a/a/a... with @nodes folders below the first, which is @name */
static void make_deep(const char *name, size_t nodes)
{
	struct bl_buf b = { 0 };
	bl_buf_puts(&b, name);
	make_dir(b.data);
	for (size_t i = 0; i < nodes; i++) {
		bl_buf_puts(&b, "/a");
		make_dir(b.data);
	}
	bl_buf_free(&b);
}

static void make_tree(void)
{
	static const char *const odd[] = {
		"tree/-n",       "tree/ blank ",  "tree/new\nline",
		"tree/\xff\xfe", "tree/\xc3\xa4", "tree/A",
		"tree/a.b",      "tree/a-b",      "tree/a~nix~case~hack~1",
	};
	make_dir("tree");
	for (size_t i = 0; i < BL_COUNT(odd); i++)
		write_file(odd[i], odd[i], i, 0644);
	char name[300] = "tree/";
	memset(name + 5, 'n', 255);
	name[260] = '\0';
	write_file(name, "long", 4, 0644);
	make_dir("tree/a");
	make_dir("tree/a/empty");
	write_file("tree/a/nothing", "", 0, 0400);
	for (size_t i = 1; i <= 17; i++) {
		bl_autofree char *file = bl_xprintf("tree/a/%zu", i);
		write_file(file, "12345678901234567", i, 0644);
	}
	write_file("tree/program", "#!/bin/sh\n", 10, 0744);
	write_file("tree/for-others-only", "x", 1, 0611);
	make_link("/nowhere", "tree/link");
	make_link("a", "tree/to-folder");
	char target[4096];
	memset(target, 't', 4095);
	target[4095] = '\0';
	make_link(target, "tree/long-link");
	make_deep("tree/deep", BL_NAR_DEPTH - 2);
	size_t len = 3 << 20;
	bl_autofree char *big = bl_xcalloc(len, 1);
	uint64_t seed = 1;
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t v = unit_random(&seed);
		memcpy(big + i, &v, 8);
	}
	write_file("tree/big", big, len - 3, 0644);
}

static void a_tree_of_all_kinds_is_dumped_as_nix_does(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) nar = { 0 };
	make_tree();
	dump("tree", &nar);
	static const size_t pieces[] = { 1, 7, 8, 4096, 100 << 20 };
	for (size_t i = 0; i < BL_COUNT(pieces); i++) {
		struct bl_err err = { 0 };
		assert_works(check(nar.data, nar.len, pieces[i], &err), &err);
	}
	if (!nix_has_the_same("tree", &nar))
		skip();
}

/* @got is @nar without its first @from bytes. */
static void assert_rest(const struct bl_buf *nar, size_t from, const struct bl_buf *got)
{
	size_t len = from < nar->len ? nar->len - from : 0;
	if (got->len != len || (len > 0 && memcmp(got->data, nar->data + from, len) != 0))
		fail_msg("from %zu on: %zu bytes, not the %zu", from, got->len, len);
}

/* The tree is the one above. */
static void the_rest_from_any_offset_on_is_that_of_the_whole(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) nar = { 0 };
	bl_autofree char *path = in_folder("tree");
	uint64_t seed = 3;
	dump("tree", &nar);
	assert_true(nar.len > 3 << 20);
	for (size_t i = 0; i < 400; i++) {
		BL_AUTO(bl_buf) rest = { 0 };
		struct bl_err err = { 0 };
		/* around what is small, and within what is large; the end and behind it */
		size_t from = i < 200 ? i * 7 : (size_t)(unit_random(&seed) % nar.len);
		if (i >= 390)
			from = nar.len - 5 + (i - 390);
		assert_works(bl_nar_dump_from(path, from, keep, &rest, &err), &err);
		assert_rest(&nar, from, &rest);
	}
}

static void what_no_nar_holds_is_refused_before_the_offset_too(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) out = { 0 };
	struct bl_err err = { 0 };
	make_dir("early-pipe");
	bl_autofree char *pipe_path = in_folder("early-pipe/pipe");
	bl_autofree char *path = in_folder("early-pipe");
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	write_file("early-pipe/z", "z", 1, 0644);
	assert_int_equal(bl_nar_dump_from(path, 600, keep, &out, &err), -1);
	assert_int_equal(err.code, BL_E_INPUT);
	assert_int_equal(out.len, 0);
}

static void a_file_and_a_link_alone_are_dumped_as_nix_does(void **state)
{
	(void)state;
	static const char *const names[] = { "file", "program", "empty", "link" };
	write_file("file", "hello\n", 6, 0644);
	write_file("program", "hello\n", 6, 0755);
	write_file("empty", "", 0, 0644);
	make_link("file", "link");
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		BL_AUTO(bl_buf) nar = { 0 };
		struct bl_err err = { 0 };
		dump(names[i], &nar);
		assert_works(check(nar.data, nar.len, nar.len, &err), &err);
		if (!nix_has_the_same(names[i], &nar))
			skip();
	}
}

static void what_no_nar_holds_is_refused(void **state)
{
	(void)state;
	make_dir("with-pipe");
	bl_autofree char *pipe_path = in_folder("with-pipe/pipe");
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	dump_fails("with-pipe", BL_E_INPUT,
		   "/with-pipe/pipe: a NAR holds files, links and folders only");
	make_deep("too-deep", BL_NAR_DEPTH);
	dump_fails("too-deep", BL_E_INPUT, ": a NAR holds no folders so deep in each other");
	dump_fails("not-there", BL_E_SYS, "/not-there: No such file or directory");
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	assert_fails(bl_nar_dump("/dev/null", keep, &out, &err), &err, BL_E_INPUT,
		     "/dev/null: a NAR holds files, links and folders only");
}

/* Changes the length of a file at the first bytes that come. */
struct changing {
	const char *path;
	off_t len;
};

static int change(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)data, (void)len, (void)err;
	const struct changing *c = ctx;
	return truncate(c->path, c->len);
}

static void a_file_that_changes_its_size_is_an_error(void **state)
{
	(void)state;
	static const struct {
		off_t len;
		const char *end;
	} cases[] = { { 300001 << 1, ": became longer while it was read" },
		      { 260000, ": became shorter while it was read" } };
	bl_autofree char *path = in_folder("changing");
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		write_file("changing", "", 0, 0644);
		assert_int_equal(truncate(path, 600001), 0);
		struct changing c = { .path = path, .len = cases[i].len };
		struct bl_err err = { 0 };
		assert_int_equal(bl_nar_dump(path, change, &c, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
		assert_true(bl_ends_with(err.msg, cases[i].end));
	}
}

static int say_no(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)ctx, (void)data, (void)len;
	return bl_err_set(err, BL_E_FAILED, "no more");
}

static void what_the_sink_fails_with_comes_back(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	write_file("some", "x", 1, 0644);
	bl_autofree char *path = in_folder("some");
	assert_fails(bl_nar_dump(path, say_no, NULL, &err), &err, BL_E_FAILED, "no more");
}

static int count(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)data, (void)err;
	*(uint64_t *)ctx += len;
	return 0;
}

static long peak_kib(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static void a_large_file_takes_no_memory(void **state)
{
	(void)state;
	const uint64_t size = 5ULL << 30;
	uint64_t got = 0;
	struct bl_err err = { 0 };
	write_file("sparse", "", 0, 0644);
	bl_autofree char *path = in_folder("sparse");
	if (truncate(path, (off_t)size + 1) < 0)
		skip(); /* a file system without such files */
	long before = peak_kib();
	assert_works(bl_nar_dump(path, count, &got, &err), &err);
	/* the words around it and the padding */
	assert_int_equal(got, size + 8 + 24 + 16 + 16 + 16 + 16 + 8 + 16);
	assert_true(peak_kib() - before < 8 << 10);
	/* and its end is there at once */
	uint64_t end = 0;
	assert_works(bl_nar_dump_from(path, got - 1000, count, &end, &err), &err);
	assert_int_equal(end, 1000);
}

/* ---- the checker */

static void put_bytes(struct bl_buf *b, const char *s, uint64_t len)
{
	for (size_t i = 0; i < 8; i++)
		bl_buf_putc(b, (char)(uint8_t)(len >> 8 * i));
	bl_buf_append(b, s, len);
	while (b->len % 8)
		bl_buf_putc(b, '\0');
}

/* Words separated by blanks; '' is the empty one. */
static void put_words(struct bl_buf *b, const char *words)
{
	BL_AUTO(bl_strv) v = { 0 };
	bl_strv_split(&v, words, ' ');
	for (size_t i = 0; i < v.n; i++)
		put_bytes(b, v.items[i], strcmp(v.items[i], "''") ? strlen(v.items[i]) : 0);
}

#define ENTRY(name) "entry ( name " name " node ( type symlink target t ) ) "

static void words_in_another_order_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *words;
		bool good;
	} cases[] = {
		{ "( type regular contents '' )", true },
		{ "( type regular contents text )", true },
		{ "( type regular executable '' contents text )", true },
		{ "( type symlink target t )", true },
		{ "( type directory )", true },
		{ "( type directory " ENTRY("a") ENTRY("b") ")", true },
		{ "( type directory " ENTRY("A") ENTRY("a") ENTRY("aa") ENTRY("\xff") ")",
		  true },
		{ "( type directory entry ( name d node ( type directory " ENTRY(
			  "a") ") ) " ENTRY("e") ")",
		  true },
		{ "( type regular )", false },
		{ "( type regular executable x contents text )", false },
		{ "( type regular contents text contents text )", false },
		{ "( type regular contents text", false },
		{ "( type regular contents text ) )", false },
		{ "( type fifo )", false },
		{ "( type symlink )", false },
		{ "( type symlink target '' )", false },
		{ "( type directory " ENTRY("b") ENTRY("a") ")", false },
		{ "( type directory " ENTRY("a") ENTRY("a") ")", false },
		{ "( type directory " ENTRY("''") ")", false },
		{ "( type directory " ENTRY(".") ")", false },
		{ "( type directory " ENTRY("..") ")", false },
		{ "( type directory " ENTRY("a/b") ")", false },
		{ "( type directory entry ( name a ) )", false },
		{ "( type directory entry ( node ( type directory ) ) )", false },
		{ "type directory", false },
		{ "", false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_err err = { 0 };
		put_words(&b, "nix-archive-1");
		put_words(&b, cases[i].words);
		for (size_t piece = 1; piece <= b.len; piece++)
			if (check(b.data, b.len, piece, &err) != (cases[i].good ? 0 : -1))
				fail_msg("%s in pieces of %zu: %s", cases[i].words, piece,
					 err.msg);
		for (size_t len = 0; cases[i].good && len < b.len; len++)
			assert_int_equal(check(b.data, len, 3, &err), -1);
		/* nothing may stand behind it */
		bl_buf_putc(&b, '\0');
		assert_int_equal(check(b.data, b.len, b.len, &err), -1);
	}
}

static void each_changed_bit_of_the_frame_is_noticed(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	struct bl_err err = { 0 };
	put_words(&b, "nix-archive-1 ( type directory entry ( name a node ( type regular "
		      "contents x ) ) entry ( name b node ( type symlink target tt ) ) )");
	assert_works(check(b.data, b.len, b.len, &err), &err);
	size_t unnoticed = 0;
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] = (char)(uint8_t)((uint8_t)b.data[bit / 8] ^ 1U << bit % 8);
		unnoticed += check(b.data, b.len, b.len, &err) == 0;
		b.data[bit / 8] = (char)(uint8_t)((uint8_t)b.data[bit / 8] ^ 1U << bit % 8);
	}
	/* what may be anything: 8 bits of x; 8 of t twice (no bit makes a NUL of it); of the
	 * name b those bits that leave it behind a and no '/', and of a those before b */
	assert_in_range(unnoticed, 24 + 2, 24 + 16);
}

static void messages_name_the_place(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	struct bl_err err = { 0 };
	put_words(&b, "nix-archive-1 (");
	assert_fails(check(b.data, b.len, 5, &err), &err, BL_E_INPUT,
		     "no NAR: it ends too early, after 40 bytes");
	put_words(&b, "mode");
	assert_fails(check(b.data, b.len, 5, &err), &err, BL_E_INPUT,
		     "no NAR: byte 56: another word has to stand here");
	b.data[39] = 1;
	assert_fails(check(b.data, b.len, 5, &err), &err, BL_E_INPUT,
		     "no NAR: byte 40: padding that is not zero");
	b.data[1] = 1;
	assert_fails(check(b.data, b.len, 5, &err), &err, BL_E_INPUT,
		     "no NAR: byte 8: too long");
}

static void lengths_end_at_nixs_limits(void **state)
{
	(void)state;
	static const struct {
		size_t name, target, depth;
		bool good;
	} cases[] = { { 255, 4095, 64, true },
		      { 256, 1, 2, false },
		      { 1, 4096, 2, false },
		      { 1, 1, 65, false } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_err err = { 0 };
		char text[5000];
		memset(text, 'x', sizeof(text));
		put_words(&b, "nix-archive-1 ( type");
		for (size_t k = 1; k < cases[i].depth; k++) {
			put_words(&b, "directory entry ( name");
			put_bytes(&b, text, cases[i].name);
			put_words(&b, "node ( type");
		}
		put_words(&b, "symlink target");
		put_bytes(&b, text, cases[i].target);
		for (size_t k = 1; k < cases[i].depth; k++)
			put_words(&b, ") )");
		put_words(&b, ")");
		assert_int_equal(check(b.data, b.len, b.len, &err), cases[i].good ? 0 : -1);
	}
}

static void names_and_targets_hold_no_nul(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	struct bl_err err = { 0 };
	put_words(&b, "nix-archive-1 ( type symlink target");
	put_bytes(&b, "a\0b", 3);
	assert_fails(check(b.data, b.len, b.len, &err), &err, BL_E_INPUT,
		     "no NAR: byte 104: a target that no link has");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_of_all_kinds_is_dumped_as_nix_does),
		cmocka_unit_test(the_rest_from_any_offset_on_is_that_of_the_whole),
		cmocka_unit_test(what_no_nar_holds_is_refused_before_the_offset_too),
		cmocka_unit_test(a_file_and_a_link_alone_are_dumped_as_nix_does),
		cmocka_unit_test(what_no_nar_holds_is_refused),
		cmocka_unit_test(a_file_that_changes_its_size_is_an_error),
		cmocka_unit_test(what_the_sink_fails_with_comes_back),
		cmocka_unit_test(a_large_file_takes_no_memory),
		cmocka_unit_test(words_in_another_order_are_refused),
		cmocka_unit_test(each_changed_bit_of_the_frame_is_noticed),
		cmocka_unit_test(messages_name_the_place),
		cmocka_unit_test(lengths_end_at_nixs_limits),
		cmocka_unit_test(names_and_targets_hold_no_nul),
	};
	return cmocka_run_group_tests_name("nar", tests, make_folder, remove_folder);
}
