/* SPDX-License-Identifier: MIT */
/* Parts of a NAR, told by windows of an old one, are what the other end makes of them. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "copy/make.h"
#include "delta/decode.h"
#include "store/nar.h"

enum { SIZE = 300000, PAIRS = 40, WINDOW = 50000 };

struct made {
	char dir[32];
	char *old, *new; /* files that stand for store paths */
	struct bl_buf old_nar, new_nar;
	struct bl_hash_pair pairs[PAIRS];
};

static int keep(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(ctx, data, len);
	return 0;
}

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	return keep(arg, data, len, err);
}

static void make_hash(uint64_t *seed, char out[BL_STORE_HASH_LEN])
{
	for (size_t i = 0; i < BL_STORE_HASH_LEN; i++)
		out[i] = "0123456789abcdfghijklmnpqrsvwxyz"[unit_random(seed) % 32];
}

static char *write_file(const struct made *m, const char *name, const void *data,
			struct bl_buf *nar)
{
	struct bl_err err = { 0 };
	bl_autofd int dir = -1;
	char *path = bl_xprintf("%s/%s", m->dir, name);
	assert_works(bl_open_dir(m->dir, &dir, &err), &err);
	assert_works(bl_write_file_at(dir, name, 0644, data, SIZE, &err), &err);
	assert_works(bl_nar_dump(path, keep, nar, &err), &err);
	return path;
}

/* Noise with hashes every 100 bytes or so, which the new one has other ones for. */
static void make(struct made *m)
{
	uint64_t seed = 5;
	bl_autofree char *old = bl_xcalloc(SIZE, 1);
	bl_autofree char *new = bl_xcalloc(SIZE, 1);
	*m = (struct made){ .dir = "/tmp/belay-make.XXXXXX" };
	assert_non_null(mkdtemp(m->dir));
	for (size_t i = 0; i < PAIRS; i++) {
		make_hash(&seed, m->pairs[i].old);
		make_hash(&seed, m->pairs[i].new);
	}
	for (size_t i = 0; i < SIZE; i++)
		old[i] = new[i] = (char)(uint8_t)unit_random(&seed);
	for (size_t at = 0; at + 200 < SIZE; at += 80 + unit_random(&seed) % 50) {
		const struct bl_hash_pair *pair = &m->pairs[unit_random(&seed) % PAIRS];
		memcpy(old + at, pair->old, BL_STORE_HASH_LEN);
		memcpy(new + at, pair->new, BL_STORE_HASH_LEN);
	}
	m->old = write_file(m, "old", old, &m->old_nar);
	m->new = write_file(m, "new", new, &m->new_nar);
}

static void made_autop(struct made *m)
{
	unlink(m->old);
	unlink(m->new);
	rmdir(m->dir);
	free(m->old);
	free(m->new);
	bl_buf_free(&m->old_nar);
	bl_buf_free(&m->new_nar);
}

/* As make.h has it, and back: @head is what was asked for, @base the other end's. */
static size_t there_and_back(const struct made *m, struct bl_delta_head head, uint64_t part,
			     const struct bl_buf *base, enum bl_delta_kind kind)
{
	const char *const news[] = { m->new };
	const char *const olds[] = { m->old };
	const struct bl_make make = { .news = news,
				      .olds = olds,
				      .count = 1,
				      .pairs = m->pairs,
				      .n_pairs = PAIRS,
				      .part = part,
				      .level = 3 };
	BL_AUTO(bl_buf) content = { 0 };
	BL_AUTO(bl_buf) got = { 0 };
	struct bl_err err = { 0 };
	const struct bl_sink into = { append, &content };
	const struct bl_sink out = { append, &got };
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(64 << 20);
	assert_works(bl_make_piece(&make, &head, &into, &err), &err);
	assert_int_equal(head.kind, kind);
	const uint8_t *window = (const uint8_t *)base->data + head.base_at;
	assert_works(bl_decoder_begin(d, &head, window, &out, &err), &err);
	assert_works(bl_decoder_feed(d, bl_buf_str(&content), content.len, &err), &err);
	assert_works(bl_decoder_end(d, &err), &err);
	assert_int_equal(got.len, head.size_bytes);
	assert_memory_equal(got.data, m->new_nar.data + part, got.len);
	return content.len;
}

static void parts_are_told_by_windows_that_begin_anywhere(void **state)
{
	(void)state;
	BL_AUTO(made) m;
	BL_AUTO(bl_buf) base = { 0 };
	struct bl_err err = { 0 };
	uint64_t seed = 9;
	bl_auto_rewrites struct bl_rewrites *list = NULL;
	make(&m);
	bl_buf_append(&base, m.old_nar.data, m.old_nar.len);
	assert_works(bl_rewrites_new(m.pairs, PAIRS, &list, &err), &err);
	bl_rewrite_all(list, (uint8_t *)base.data, base.len);
	for (size_t i = 0; i < 300; i++) {
		uint64_t at = unit_random(&seed) % (SIZE - WINDOW);
		struct bl_delta_head same = { BL_DELTA_PATCH, WINDOW, at, WINDOW };
		there_and_back(&m, same, at, &base, BL_DELTA_COPY);
		struct bl_delta_head inner = { BL_DELTA_PATCH, WINDOW / 2, at, WINDOW };
		size_t len = there_and_back(&m, inner, at + WINDOW / 4, &base, BL_DELTA_PATCH);
		assert_in_range(len, 1, 200);
	}
}

static void parts_without_a_base_begin_anywhere(void **state)
{
	(void)state;
	BL_AUTO(made) m;
	BL_AUTO(bl_buf) none = { 0 };
	bl_buf_puts(&none, "");
	make(&m);
	for (uint64_t at = 0; at < m.new_nar.len; at += 9973) {
		struct bl_delta_head h = { .kind = BL_DELTA_ZSTD,
					   .size_bytes = m.new_nar.len - at };
		there_and_back(&m, h, at, &none, BL_DELTA_ZSTD);
	}
}

static void a_part_that_is_not_there_is_told_so(void **state)
{
	(void)state;
	BL_AUTO(made) m;
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) content = { 0 };
	const struct bl_sink into = { append, &content };
	make(&m);
	const char *const news[] = { m.new };
	struct bl_make what = { .news = news, .count = 1, .part = SIZE, .level = 1 };
	struct bl_delta_head h = { .kind = BL_DELTA_ZSTD, .size_bytes = 1000 };
	assert_int_equal(bl_make_piece(&what, &h, &into, &err), -1);
	assert_int_equal(err.code, BL_E_INPUT);
	assert_non_null(strstr(err.msg, "is not as large as Nix says"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_told_by_windows_that_begin_anywhere),
		cmocka_unit_test(parts_without_a_base_begin_anywhere),
		cmocka_unit_test(a_part_that_is_not_there_is_told_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
