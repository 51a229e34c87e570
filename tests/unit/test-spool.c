/* SPDX-License-Identifier: MIT */
/* The contents of pieces: what they are made of, once for all who want them. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy/spool.h"
#include "delta/decode.h"
#include "store/nar.h"

static char *folder;

static char *file_here(const char *name)
{
	return bl_xprintf("%s/%s", folder, name);
}

/* Of @len bytes that cannot be compressed, the same for the same seed. */
static char *put_file(const char *name, uint64_t seed, size_t len)
{
	char *at = file_here(name);
	FILE *f = fopen(at, "we");
	assert_non_null(f);
	for (size_t i = 0; i < len; i++)
		fputc((int)(unit_random(&seed) & 255), f);
	assert_int_equal(fclose(f), 0);
	return at;
}

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static int append_nar(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	return append(ctx, data, len, err);
}

static void dump(const char *path, struct bl_buf *out)
{
	struct bl_err err = { 0 };
	assert_works(bl_nar_dump(path, append_nar, out, &err), &err);
}

/* ---- making */

struct files {
	const char *news[1], *olds[1];
	struct bl_make make;
	struct bl_delta_head head;
	struct bl_buf new, old;
};

static void files_autop(struct files *f)
{
	bl_buf_free(&f->new);
	bl_buf_free(&f->old);
}

/* A piece that is all of @new, told by all of @old. */
static void prepare(struct files *f, const char *new, const char *old)
{
	*f = (struct files){ .news = { new }, .olds = { old } };
	dump(new, &f->new);
	dump(old, &f->old);
	f->make = (struct bl_make){ .news = f->news, .olds = f->olds, .count = 1, .level = 3 };
	f->head = (struct bl_delta_head){ .kind = BL_DELTA_PATCH,
					  .size_bytes = f->new.len,
					  .base_bytes = f->old.len };
}

/* It becomes @kind, and what it decodes to is the new one. */
static void assert_made(struct files *f, enum bl_delta_kind kind)
{
	BL_AUTO(bl_buf) content = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	struct bl_err err = { 0 };
	const struct bl_sink into = { append, &content };
	const struct bl_sink from = { append, &out };
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(64 << 20);
	assert_works(bl_make_piece(&f->make, &f->head, &into, &err), &err);
	assert_int_equal(f->head.kind, kind);
	assert_works(bl_decoder_begin(d, &f->head, (const uint8_t *)f->old.data, &from, &err),
		     &err);
	assert_works(bl_decoder_feed(d, bl_buf_str(&content), content.len, &err), &err);
	assert_works(bl_decoder_end(d, &err), &err);
	assert_int_equal(out.len, f->new.len);
	assert_memory_equal(out.data, f->new.data, out.len);
}

static void a_base_is_used_as_far_as_it_can_be(void **state)
{
	(void)state;
	bl_autofree char *same = put_file("same", 1, 100000);
	bl_autofree char *equal = put_file("equal", 1, 100000);
	bl_autofree char *longer = put_file("longer", 1, 150000);
	struct files f __attribute__((cleanup(files_autop)));
	struct files g __attribute__((cleanup(files_autop)));
	prepare(&f, same, equal);
	assert_made(&f, BL_DELTA_COPY);
	prepare(&g, same, longer);
	assert_made(&g, BL_DELTA_PATCH);
}

static void a_base_that_is_not_what_it_was_is_done_without(void **state)
{
	(void)state;
	bl_autofree char *new = put_file("new", 2, 100000);
	static const size_t sizes[] = { 0, 50000, 99999 };
	for (size_t i = 0; i <= BL_COUNT(sizes); i++) {
		bl_autofree char *old = put_file("old", 2, 120000);
		struct files f __attribute__((cleanup(files_autop)));
		prepare(&f, new, old);
		/* shorter now, or gone */
		if (i < BL_COUNT(sizes))
			assert_int_equal(truncate(old, (off_t)sizes[i]), 0);
		else
			assert_int_equal(unlink(old), 0);
		f.make.level = i == 1 ? 0 : 3;
		assert_made(&f, i == 1 ? BL_DELTA_RAW : BL_DELTA_ZSTD);
	}
}

static void what_is_new_has_to_be_as_nix_says(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 50000, 99992 };
	bl_autofree char *old = put_file("old", 4, 100000);
	for (size_t i = 0; i <= BL_COUNT(sizes); i++) {
		bl_autofree char *new = put_file("new", 3, 100000);
		struct files f __attribute__((cleanup(files_autop)));
		BL_AUTO(bl_buf) content = { 0 };
		struct bl_err err = { 0 };
		const struct bl_sink into = { append, &content };
		prepare(&f, new, old);
		if (i < BL_COUNT(sizes))
			assert_int_equal(truncate(new, (off_t)sizes[i]), 0);
		else
			assert_int_equal(unlink(new), 0);
		assert_int_equal(bl_make_piece(&f.make, &f.head, &into, &err), -1);
		assert_non_null(strstr(err.msg, new));
	}
}

/* ---- the spool */

struct world {
	uv_loop_t loop;
	struct bl_spool *spool;
	size_t news;
};

static void on_news(void *ctx)
{
	((struct world *)ctx)->news++;
}

static void begin(struct world *w)
{
	struct bl_err err = { 0 };
	const struct bl_spool_spec spec = {
		.dir = folder, .limit_bytes = 4 << 20, .news = on_news, .ctx = w
	};
	*w = (struct world){ 0 };
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_works(bl_spool_new(&w->loop, &spec, &w->spool, &err), &err);
}

static void end(struct world *w)
{
	bl_spool_free(w->spool);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* The piece with number @n of those that have the same content. */
static struct bl_spooled *get(struct world *w, const struct files *f, uint32_t n)
{
	struct bl_load_piece piece = { .count = 1, .head = f->head };
	memset(piece.key, 0xab, sizeof(piece.key));
	memcpy(piece.key, &n, sizeof(n));
	return bl_spool_get(w->spool, &piece, &f->make);
}

static void wait_for(struct world *w, const struct bl_spooled *c, struct bl_buf *out)
{
	bool over = false;
	while (!over) {
		char bytes[7000];
		size_t len = 0;
		struct bl_err err = { 0 };
		assert_works(
			bl_spooled_read(c, out->len, bytes, sizeof(bytes), &len, &over, &err),
			&err);
		bl_buf_append(out, bytes, len);
		if (!over && len == 0)
			uv_run(&w->loop, UV_RUN_ONCE);
	}
}

static void contents_are_made_once(void **state)
{
	(void)state;
	bl_autofree char *new = put_file("once-new", 5, 3000000);
	bl_autofree char *old = put_file("once-old", 6, 100000);
	struct files f __attribute__((cleanup(files_autop)));
	struct world w;
	struct bl_delta_head head;
	BL_AUTO(bl_buf) first = { 0 };
	BL_AUTO(bl_buf) second = { 0 };
	prepare(&f, new, old);
	begin(&w);
	struct bl_spooled *a = get(&w, &f, 1);
	struct bl_spooled *b = get(&w, &f, 1);
	assert_ptr_equal(a, b);
	wait_for(&w, a, &first);
	wait_for(&w, b, &second);
	assert_true(bl_spooled_head(a, &head));
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	bl_spool_drop(w.spool, a);
	bl_spool_drop(w.spool, b);
	/* kept for who comes later, though its file has gone */
	assert_int_equal(unlink(new), 0);
	a = get(&w, &f, 1);
	assert_true(bl_spooled_head(a, &head));
	bl_spool_drop(w.spool, a);
	end(&w);
}

static void contents_without_bytes_are_not_kept_without_end(void **state)
{
	(void)state;
	enum { MANY = 20000, BATCH = 500 };
	bl_autofree char *new = put_file("copied", 7, 10);
	struct files f __attribute__((cleanup(files_autop)));
	struct world w;
	struct bl_spooled *list[BATCH];
	struct bl_delta_head head;
	prepare(&f, new, new);
	begin(&w);
	for (uint32_t n = 0; n < MANY; n += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++)
			list[i] = get(&w, &f, n + i);
		for (uint32_t i = 0; i < BATCH; i++) {
			BL_AUTO(bl_buf) none = { 0 };
			wait_for(&w, list[i], &none);
			assert_int_equal(none.len, 0);
			assert_true(bl_spooled_head(list[i], &head));
			assert_int_equal(head.kind, BL_DELTA_COPY);
			bl_spool_drop(w.spool, list[i]);
		}
	}
	/* the last one is known, the first one was forgotten */
	struct bl_spooled *c = get(&w, &f, MANY - 1);
	assert_true(bl_spooled_head(c, &head));
	bl_spool_drop(w.spool, c);
	bl_autofree char *other = put_file("other", 8, 10);
	f.olds[0] = other;
	c = get(&w, &f, 0);
	BL_AUTO(bl_buf) some = { 0 };
	wait_for(&w, c, &some);
	assert_true(bl_spooled_head(c, &head));
	assert_int_equal(head.kind, BL_DELTA_PATCH);
	bl_spool_drop(w.spool, c);
	end(&w);
}

static void what_fails_is_made_anew(void **state)
{
	(void)state;
	bl_autofree char *new = put_file("late", 9, 1000);
	struct files f __attribute__((cleanup(files_autop)));
	struct world w;
	struct bl_err err = { 0 };
	char byte;
	size_t len = 0;
	bool over = false;
	prepare(&f, new, new);
	begin(&w);
	assert_int_equal(unlink(new), 0);
	struct bl_spooled *c = get(&w, &f, 1);
	while (bl_spooled_read(c, 0, &byte, 1, &len, &over, &err) == 0)
		uv_run(&w.loop, UV_RUN_ONCE);
	assert_non_null(strstr(err.msg, new));
	while (w.news == 0)
		uv_run(&w.loop, UV_RUN_ONCE);
	bl_spool_drop(w.spool, c);
	free(put_file("late", 9, 1000));
	c = get(&w, &f, 1);
	BL_AUTO(bl_buf) content = { 0 };
	wait_for(&w, c, &content);
	bl_spool_drop(w.spool, c);
	end(&w);
}

static void what_nobody_wants_any_more_is_no_harm(void **state)
{
	(void)state;
	bl_autofree char *new = put_file("unwanted", 10, 6000000);
	struct files f __attribute__((cleanup(files_autop)));
	struct world w;
	prepare(&f, new, new);
	f.head = (struct bl_delta_head){ .kind = BL_DELTA_ZSTD, .size_bytes = f.new.len };
	f.make.olds = NULL;
	begin(&w);
	/* more than there is room for; some run, some wait */
	for (uint32_t n = 0; n < 20; n++)
		bl_spool_drop(w.spool, get(&w, &f, n));
	for (uint32_t n = 0; n < 20; n++)
		(void)get(&w, &f, 100 + n);
	uv_run(&w.loop, UV_RUN_ONCE);
	end(&w);
}

static void without_a_folder_there_is_no_spool(void **state)
{
	(void)state;
	struct world w = { 0 };
	struct bl_err err = { 0 };
	const struct bl_spool_spec spec = { .dir = "/nonexistent", .news = on_news };
	assert_int_equal(uv_loop_init(&w.loop), 0);
	assert_int_equal(bl_spool_new(&w.loop, &spec, &w.spool, &err), -1);
	assert_non_null(strstr(err.msg, "make a file in /nonexistent"));
	assert_int_equal(uv_loop_close(&w.loop), 0);
}

static int make_folder(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	folder = bl_xprintf("%s/belay-spool.XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	static const char *const names[] = { "same",   "equal", "longer",   "new",
					     "old",    "late",  "once-new", "once-old",
					     "copied", "other", "unwanted" };
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		bl_autofree char *at = file_here(names[i]);
		unlink(at);
	}
	int rc = rmdir(folder);
	free(folder);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_base_is_used_as_far_as_it_can_be),
		cmocka_unit_test(a_base_that_is_not_what_it_was_is_done_without),
		cmocka_unit_test(what_is_new_has_to_be_as_nix_says),
		cmocka_unit_test(contents_are_made_once),
		cmocka_unit_test(contents_without_bytes_are_not_kept_without_end),
		cmocka_unit_test(what_fails_is_made_anew),
		cmocka_unit_test(what_nobody_wants_any_more_is_no_harm),
		cmocka_unit_test(without_a_folder_there_is_no_spool),
	};
	return cmocka_run_group_tests_name("spool", tests, make_folder, remove_folder);
}
