/* SPDX-License-Identifier: MIT */
/*
 * The agent's side of copying against a real nix-daemon with a store of its own. These tests
 * play the deployer: they speak wire/copy.h over pipes to a process that serves.
 */
#include "store.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/receive.h"
#include "agent/talk.h"
#include "base/clock.h"
#include "base/file.h"
#include "delta/encode.h"
#include "delta/rewrite.h"
#include "store/daemon.h"
#include "store/sign.h"
#include "wire/copy.h"
#include "wire/msg.h"

enum { THINGS_MAX = 64 };

/* ---- the process that serves */

struct sender {
	pid_t pid;
	int to, from;
	struct bl_buf in, out;
	size_t used;
	struct bl_strv paths; /* of what is copied, sorted */
	bool valid[THINGS_MAX];
	size_t infos[THINGS_MAX]; /* the thing of each info */
	size_t n_infos;
	uint32_t *guesses; /* when pairs were sent */
	struct bl_kv have;
};

struct host {
	const char *system;
	const char *const *program;
	const char *socket;
	uint64_t memory;
	const char *keep; /* NULL: nothing is kept */
	uint64_t reserve;
	int silent_ms;
};

/* What serve.c does. */
static void serve(const struct host *h)
{
	bl_autofree char *root = bl_xprintf("%s/root", folder);
	struct bl_receive_spec spec = { .system = h->system,
					.root = root,
					.socket = h->socket ? h->socket : "",
					.program = h->program,
					.env = (const char *const *)env.items,
					.memory_bytes = h->memory ? h->memory : 64 << 20,
					.keep_dir = h->keep,
					.keep_reserve_bytes = h->reserve,
					.silent_ms = h->silent_ms };
	struct bl_buf in = { 0 };
	int rc = 0;
	while (rc == 0) {
		BL_AUTO(bl_msg) m = { 0 };
		struct bl_err err = { 0 };
		if (bl_msg_read(STDIN_FILENO, &in, -1, &m, &err) < 0)
			break;
		rc = m.type == BL_MSG_COPY ? bl_receive(&spec, &m.kv, &in)
					   : bl_talk_reply(BL_MSG_STATE, NULL);
	}
	bl_buf_free(&in);
}

static void start(struct sender *s, const struct host *h)
{
	int to[2];
	int from[2];
	*s = (struct sender){ .pid = -1 };
	assert_true(pipe(to) == 0 && pipe(from) == 0);
	fflush(NULL);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		close(to[0]);
		close(to[1]);
		close(from[0]);
		close(from[1]);
		serve(h);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	s->to = to[1];
	s->from = from[0];
}

static void forget_closure(struct sender *s)
{
	bl_strv_free(&s->paths);
	bl_kv_free(&s->have);
	s->n_infos = 0;
	bl_buf_clear(&s->out);
}

/* The agent ends by itself when its deployer has gone. */
static void sender_autop(struct sender *s)
{
	int status = -1;
	bl_closep(&s->to);
	bl_closep(&s->from);
	for (int i = 0; i < 3000 && waitpid(s->pid, &status, WNOHANG) == 0; i++)
		bl_sleep_ms(10);
	if (status != 0) {
		kill(s->pid, SIGKILL);
		print_message("# the agent ended with %d\n", status);
		abort();
	}
	forget_closure(s);
	bl_buf_free(&s->in);
	bl_buf_free(&s->out);
	free(s->guesses);
}

static void flush(struct sender *s)
{
	/* who has refused may have gone */
	(void)!bl_write_all(s->to, s->out.data, s->out.len, NULL);
	bl_buf_clear(&s->out);
}

/* false: nothing comes any more */
static bool next(struct sender *s, struct bl_frame *f)
{
	struct bl_err err = { 0 };
	for (;;) {
		int rc = bl_frame_take(bl_buf_str(&s->in) + s->used, s->in.len - s->used, f,
				       &err);
		assert_works(rc, &err);
		if (rc > 0) {
			s->used += f->used;
			return true;
		}
		bl_buf_drop(&s->in, s->used);
		s->used = 0;
		char chunk[4096];
		struct pollfd p = { .fd = s->from, .events = POLLIN };
		if (poll(&p, 1, 60000) == 0)
			fail_msg("the agent says nothing");
		ssize_t n = read(s->from, chunk, sizeof(chunk));
		if (n <= 0)
			return false;
		bl_buf_append(&s->in, chunk, (size_t)n);
	}
}

static void expect(struct sender *s, enum bl_msg_type type, struct bl_kv *out)
{
	struct bl_frame f = { 0 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	assert_true(next(s, &f));
	if (f.type <= BL_MSG_HAVE)
		assert_works(bl_kv_decode(f.payload, f.len, &kv, &err), &err);
	if (f.type != type)
		fail_msg("a frame of type %u: %s %s", f.type, bl_kv_str(&kv, "reason"),
			 bl_kv_str(&kv, "line"));
	if (out) {
		*out = kv;
		kv = (struct bl_kv){ 0 };
	}
}

static void expect_ok(struct sender *s)
{
	expect(s, BL_MSG_OK, NULL);
}

static void expect_text(const struct bl_kv *kv, const char *key, const char *part)
{
	if (!strstr(bl_kv_str(kv, key), part))
		fail_msg("'%s' is not in '%s'", part, bl_kv_str(kv, key));
}

/* ... and that the connection is as before. */
static void expect_refused(struct sender *s, const char *reason, const char *remedy)
{
	BL_AUTO(bl_kv) kv = { 0 };
	expect(s, BL_MSG_REFUSED, &kv);
	expect_text(&kv, "reason", reason);
	expect_text(&kv, "remedy", remedy);
	bl_msg_put(&s->out, BL_MSG_STATUS, NULL);
	flush(s);
	expect(s, BL_MSG_STATE, NULL);
}

/* ---- what a deployer says */

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static void put_data(struct bl_buf *out, const struct bl_buf *content)
{
	for (size_t at = 0; at < content->len; at += 65536)
		bl_frame_put(out, BL_COPY_DATA, content->data + at,
			     content->len - at < 65536 ? content->len - at : 65536);
}

static void encode(const struct bl_delta_head *h, const void *base, const void *new,
		   struct bl_buf *out)
{
	struct bl_err err = { 0 };
	struct bl_sink sink = { append, out };
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	assert_works(bl_encoder_begin(e, h, 3, base, &sink, &err), &err);
	assert_works(bl_encoder_feed(e, new, h->size_bytes, &err), &err);
	assert_works(bl_encoder_end(e, &err), &err);
}

static void put_block(struct bl_buf *out, enum bl_copy_frame type, const struct bl_buf *data)
{
	BL_AUTO(bl_buf) block = { 0 };
	struct bl_delta_head h = { BL_DELTA_ZSTD, data->len, 0, 0 };
	bl_copy_put_number(&block, data->len);
	encode(&h, NULL, bl_buf_str(data), &block);
	bl_frame_put(out, (uint16_t)type, block.data, block.len);
}

static uint32_t place(const struct bl_strv *paths, const char *path)
{
	for (size_t i = 0; i < paths->n; i++)
		if (strcmp(paths->items[i], path) == 0)
			return (uint32_t)i;
	fail_msg("%s is not in the closure", path);
	return 0;
}

/* COPY and PATHS, in blocks of ten. */
/* The list of what put_closure() told last. */
static void put_paths(struct sender *s)
{
	size_t n = s->paths.n;
	for (size_t i = 0; i < n; i += 10) {
		BL_AUTO(bl_buf) block = { 0 };
		for (size_t k = i; k < n && k < i + 10; k++)
			bl_copy_put_path(&block, s->paths.items[k]);
		put_block(&s->out, BL_COPY_PATHS, &block);
	}
}

static void put_closure(struct sender *s, const struct thing *things, size_t n)
{
	BL_AUTO(bl_kv) kv = { 0 };
	forget_closure(s);
	for (size_t i = 0; i < n; i++)
		bl_strv_add(&s->paths, things[i].info.path);
	bl_copy_sort(&s->paths);
	bl_kv_set_u64(&kv, "paths", n);
	bl_msg_put(&s->out, BL_MSG_COPY, &kv);
	put_paths(s);
}

static void expect_have(struct sender *s)
{
	struct bl_frame f = { 0 };
	struct bl_err err = { 0 };
	expect(s, BL_MSG_HAVE, &s->have);
	assert_true(next(s, &f));
	assert_int_equal(f.type, BL_COPY_VALID);
	assert_works(bl_copy_take_bits(f.payload, f.len, s->valid, s->paths.n, &err), &err);
}

static void put_info(struct sender *s, const struct thing *t, struct bl_buf *block)
{
	uint32_t refs[THINGS_MAX];
	struct bl_copy_info info = { .path = place(&s->paths, t->info.path),
				     .nar_size = t->info.nar_size,
				     .deriver = (char[]){ "" },
				     .ca = t->info.ca ? t->info.ca : (char[]){ "" },
				     .refs = refs,
				     .n_refs = t->info.references.n,
				     .sigs = t->info.sigs };
	memcpy(info.nar_hash, t->info.nar_hash, BL_SHA256_LEN);
	for (size_t i = 0; i < info.n_refs; i++)
		refs[i] = place(&s->paths, t->info.references.items[i]);
	bl_copy_put_info(block, &info);
}

/* Of those that are missing. */
static void put_infos(struct sender *s, const struct thing *things, size_t n)
{
	BL_AUTO(bl_buf) block = { 0 };
	for (size_t i = 0; i < n; i++) {
		if (s->valid[place(&s->paths, things[i].info.path)])
			continue;
		put_info(s, &things[i], &block);
		s->infos[s->n_infos++] = i;
		if (s->n_infos % 10 == 0) {
			put_block(&s->out, BL_COPY_INFOS, &block);
			bl_buf_clear(&block);
		}
	}
	if (block.len > 0)
		put_block(&s->out, BL_COPY_INFOS, &block);
}

static void put_head(struct sender *s, const struct bl_copy_piece *p)
{
	BL_AUTO(bl_buf) head = { 0 };
	bl_copy_put_piece(&head, p, s->guesses);
	bl_frame_put(&s->out, BL_COPY_PIECE, head.data, head.len);
}

static void put_piece(struct sender *s, const struct bl_copy_piece *p, const void *base,
		      const void *new)
{
	struct bl_delta_head h = { (enum bl_delta_kind)p->kind, p->size_bytes, p->base_at,
				   p->base_bytes };
	BL_AUTO(bl_buf) content = { 0 };
	put_head(s, p);
	encode(&h, base, new, &content);
	put_data(&s->out, &content);
}

/* The whole NAR of info @i without a base. */
static void put_whole(struct sender *s, const struct thing *things, size_t i, unsigned kind)
{
	const struct thing *t = &things[s->infos[i]];
	struct bl_copy_piece p = {
		.kind = kind, .first = (uint32_t)i, .count = 1, .size_bytes = t->nar.len
	};
	put_piece(s, &p, NULL, t->nar.data);
}

static void put_end(struct sender *s)
{
	bl_msg_put(&s->out, BL_MSG_COPY_END, NULL);
}

/* Up to where pieces are to come. */
static void begin_copy(struct sender *s, const struct thing *things, size_t n)
{
	put_closure(s, things, n);
	flush(s);
	expect_have(s);
	put_infos(s, things, n);
}

static void copy_whole(struct sender *s, const struct thing *things, size_t n)
{
	begin_copy(s, things, n);
	for (size_t i = 0; i < s->n_infos; i++)
		put_whole(s, things, i, BL_DELTA_ZSTD);
	put_end(s);
	flush(s);
	expect_ok(s);
}

/* ---- what is copied */

/* Each refers to itself and to the one before. */
static void make_chain(struct thing *things, size_t n, const char *stem)
{
	for (size_t i = 0; i < n; i++) {
		bl_autofree char *name = bl_xprintf("%s-%zu", stem, i);
		things[i] = text_thing(name);
		bl_strv_add(&things[i].info.references, things[i].info.path);
		if (i > 0)
			bl_strv_add(&things[i].info.references, things[i - 1].info.path);
	}
}

static void free_things(struct thing *things, size_t n)
{
	for (size_t i = 0; i < n; i++)
		thing_autop(&things[i]);
}

static void assert_valid(const struct thing *things, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (RUN(NULL, "nix-store", "--verify-path", things[i].info.path) != 0)
			fail_msg("%s is not there as it should be", things[i].info.path);
}

static bool is_valid(const char *path)
{
	return RUN(NULL, "nix-store", "--check-validity", path) == 0;
}

static const struct host plain = { .system = NULL };

static void need_nix(void)
{
	if (RUN(NULL, "nix-daemon", "--version") < 0)
		skip();
}

/* ---- without a base */

static void new_paths_arrive_raw_as_zstd_and_together(void **state)
{
	(void)state;
	need_nix();
	struct thing things[30];
	struct sender s __attribute__((cleanup(sender_autop)));
	make_chain(things, 30, "new");
	start(&s, &plain);
	begin_copy(&s, things, 30);
	assert_string_equal(bl_kv_str(&s.have, "old"), "");
	assert_int_equal(s.n_infos, 30);
	for (size_t i = 0; i < 20; i++)
		put_whole(&s, things, i, i % 2 ? BL_DELTA_RAW : BL_DELTA_ZSTD);
	BL_AUTO(bl_buf) solid = { 0 };
	for (size_t i = 20; i < 30; i++)
		bl_buf_append(&solid, things[i].nar.data, things[i].nar.len);
	struct bl_copy_piece p = {
		.kind = BL_DELTA_ZSTD, .first = 20, .count = 10, .size_bytes = solid.len
	};
	put_piece(&s, &p, NULL, solid.data);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	assert_valid(things, 30);
	/* and once more on the same connection: nothing is missing */
	put_closure(&s, things, 30);
	flush(&s);
	expect_have(&s);
	for (size_t i = 0; i < 30; i++)
		assert_true(s.valid[i]);
	expect_ok(&s);
	/* what refers to all of it is said to: OK before the list has come */
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set_u64(&kv, "paths", 30);
	bl_kv_set(&kv, "top", things[29].info.path);
	bl_msg_put(&s.out, BL_MSG_COPY, &kv);
	flush(&s);
	expect_ok(&s);
	put_paths(&s);
	/* one that is not there says nothing about the others */
	bl_kv_set(&kv, "top", BL_STORE_DIR "/00000000000000000000000000000000-gone");
	bl_msg_put(&s.out, BL_MSG_COPY, &kv);
	put_paths(&s);
	flush(&s);
	expect_have(&s);
	expect_ok(&s);
	free_things(things, 30);
}

/* ---- with the running system's paths */

enum { LIBS = 20, BIG = 300000 };

struct systems {
	struct thing old[LIBS + 2], new[LIBS + 2]; /* libs, the big one, the top */
	struct bl_strv olds;                       /* sorted */
	struct bl_rewrites *rewrites;
	struct bl_copy_pair pairs[LIBS + 2];
	size_t n_pairs;
};

static void systems_autop(struct systems *y)
{
	free_things(y->old, LIBS + 2);
	free_things(y->new, LIBS + 2);
	bl_strv_free(&y->olds);
	bl_rewrites_free(y->rewrites);
}

static struct thing make_part(const char *name, const char *run, struct bl_buf *text,
			      const struct thing *refs, size_t n_refs)
{
	bl_autofree char *salted = bl_xprintf("%s-%s", name, run);
	struct thing named = text_thing(salted);
	struct thing t = { 0 };
	for (size_t i = 0; i < n_refs; i++)
		bl_buf_printf(text, " %s\n", refs[i].info.path);
	t = thing(name, bl_buf_str(text), text->len);
	/* the hash of another build, the same name */
	memcpy(t.info.path + sizeof(BL_STORE_DIR), named.info.path + sizeof(BL_STORE_DIR),
	       BL_STORE_HASH_LEN);
	for (size_t i = 0; i < n_refs; i++)
		bl_strv_add(&t.info.references, refs[i].info.path);
	thing_autop(&named);
	return t;
}

/* Noise that is the same in all builds, but for some bytes of @run where that is said. */
static void noise(struct bl_buf *b, uint64_t seed, size_t len, uint64_t change)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t v = unit_random(&seed);
		bool other = change && i % 50000 < 100;
		bl_buf_putc(b, (char)(uint8_t)(other ? v ^ change : v));
	}
}

static void make_system(struct thing *out, const char *run, size_t big, uint64_t change)
{
	for (size_t i = 0; i < LIBS; i++) {
		BL_AUTO(bl_buf) text = { 0 };
		bl_autofree char *name = bl_xprintf("lib-%zu", i);
		noise(&text, i, 200, 0);
		out[i] = make_part(name, run, &text, out, i < 3 ? i : 3);
	}
	BL_AUTO(bl_buf) text = { 0 };
	noise(&text, 99, big, change);
	out[LIBS] = make_part("big", run, &text, out, LIBS);
	bl_buf_clear(&text);
	out[LIBS + 1] = make_part("system", run, &text, out, LIBS + 1);
}

/* The old one is valid afterwards. */
static void make_systems(struct systems *y, const char *run, size_t big, uint64_t change)
{
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_hash_pair hashes[LIBS + 2];
	struct bl_err err = { 0 };
	bl_autofree char *old = bl_xprintf("old-%s", run);
	bl_autofree char *new = bl_xprintf("new-%s", run);
	BL_AUTO(bl_strv) news = { 0 };
	make_system(y->old, old, big, 0);
	make_system(y->new, new, big, change);
	for (size_t i = 0; i < LIBS + 2; i++) {
		bl_strv_add(&y->olds, y->old[i].info.path);
		bl_strv_add(&news, y->new[i].info.path);
		memcpy(hashes[i].old, y->old[i].info.path + sizeof(BL_STORE_DIR), 32);
		memcpy(hashes[i].new, y->new[i].info.path + sizeof(BL_STORE_DIR), 32);
	}
	bl_copy_sort(&y->olds);
	bl_copy_sort(&news);
	for (size_t i = 0; i < LIBS + 2; i++)
		y->pairs[y->n_pairs++] =
			(struct bl_copy_pair){ place(&y->olds, y->old[i].info.path),
					       place(&news, y->new[i].info.path) };
	assert_works(bl_rewrites_new(hashes, LIBS + 2, &y->rewrites, &err), &err);
	start(&s, &plain);
	copy_whole(&s, y->old, LIBS + 2);
}

static void put_pairs(struct sender *s, const struct systems *y)
{
	for (size_t i = 0; i < y->n_pairs; i += 7) {
		BL_AUTO(bl_buf) block = { 0 };
		bl_copy_put_pairs(&block, y->pairs + i,
				  y->n_pairs - i < 7 ? y->n_pairs - i : 7);
		put_block(&s->out, BL_COPY_PAIRS, &block);
	}
	uint32_t numbers[THINGS_MAX];
	for (size_t i = 0; i < s->n_infos; i++)
		numbers[i] = (uint32_t)place(&s->paths, y->new[s->infos[i]].info.path);
	free(s->guesses);
	s->guesses = bl_copy_guesses(y->pairs, y->n_pairs, numbers, s->n_infos, s->paths.n);
}

static void rewritten(const struct systems *y, size_t from, size_t n, struct bl_buf *out)
{
	for (size_t i = from; i < from + n; i++)
		bl_buf_append(out, y->old[i].nar.data, y->old[i].nar.len);
	bl_rewrite_all(y->rewrites, (uint8_t *)out->data, out->len);
}

static void begin_system(struct sender *s, const struct systems *y)
{
	uint8_t digest[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	begin_copy(s, y->new, LIBS + 2);
	assert_int_equal(s->n_infos, LIBS + 2);
	assert_string_equal(bl_kv_str(&s->have, "old"), y->old[LIBS + 1].info.path);
	assert_int_equal(bl_kv_u64_or(&s->have, "old_paths", 0), LIBS + 2);
	bl_copy_digest(&y->olds, digest);
	bl_hex(digest, sizeof(digest), hex);
	assert_string_equal(bl_kv_str(&s->have, "old_digest"), hex);
	put_pairs(s, y);
}

/* All libs as one frame, whose base are the old ones; every fourth has none. */
static void put_libs(struct sender *s, const struct systems *y)
{
	uint32_t olds[LIBS];
	BL_AUTO(bl_buf) base = { 0 };
	BL_AUTO(bl_buf) new = { 0 };
	for (size_t i = 0; i < LIBS; i++) {
		bl_buf_append(&new, y->new[i].nar.data, y->new[i].nar.len);
		olds[i] = i % 4 == 3 ? BL_COPY_NO_OLD : place(&y->olds, y->old[i].info.path);
		if (i % 4 != 3)
			bl_buf_append(&base, y->old[i].nar.data, y->old[i].nar.len);
	}
	bl_rewrite_all(y->rewrites, (uint8_t *)base.data, base.len);
	struct bl_copy_piece p = { .kind = BL_DELTA_PATCH,
				   .count = LIBS,
				   .size_bytes = new.len,
				   .base_bytes = base.len,
				   .olds = olds };
	put_piece(s, &p, base.data, new.data);
}

/* NAR @i as it is told by its old one. */
static void put_told(struct sender *s, const struct systems *y, size_t i, unsigned kind)
{
	BL_AUTO(bl_buf) base = { 0 };
	uint32_t old = place(&y->olds, y->old[i].info.path);
	rewritten(y, i, 1, &base);
	struct bl_copy_piece p = { .kind = kind,
				   .first = (uint32_t)i,
				   .count = 1,
				   .size_bytes = y->new[i].nar.len,
				   .base_bytes = base.len,
				   .olds = &old };
	put_piece(s, &p, base.data, y->new[i].nar.data);
}

static void old_paths_are_rewritten_copied_and_patched(void **state)
{
	(void)state;
	need_nix();
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_systems(&y, "patched", BIG, 7);
	struct host h = { .system = y.old[LIBS + 1].info.path };
	start(&s, &h);
	begin_system(&s, &y);
	put_libs(&s, &y);
	put_told(&s, &y, LIBS, BL_DELTA_PATCH);
	put_told(&s, &y, LIBS + 1, BL_DELTA_COPY);
	put_end(&s);
	print_message("# %zu bytes instead of %zu\n", s.out.len,
		      y.new[LIBS].nar.len + y.new[LIBS + 1].nar.len);
	assert_in_range(s.out.len, 1, 20000);
	flush(&s);
	expect_ok(&s);
	assert_valid(y.new, LIBS + 2);
}

/* Returns how many bytes. */
static size_t put_slices(struct sender *s, const struct systems *y, uint64_t bound)
{
	BL_AUTO(bl_buf) base = { 0 };
	const struct bl_buf *new = &y->new[LIBS].nar;
	uint32_t old = place(&y->olds, y->old[LIBS].info.path);
	size_t before = s->out.len;
	uint64_t at = 0;
	rewritten(y, LIBS, 1, &base);
	uint64_t n = bl_delta_slices(new->len, base.len, bound);
	assert_true(n > 3);
	for (uint64_t i = 0; i < n; i++) {
		struct bl_delta_head h;
		bl_delta_slice(new->len, base.len, bound, i, &h);
		struct bl_copy_piece p = { .kind = h.kind,
					   .first = LIBS,
					   .count = 1,
					   .part = at,
					   .size_bytes = h.size_bytes,
					   .base_at = h.base_at,
					   .base_bytes = h.base_bytes,
					   .olds = &old };
		put_piece(s, &p, base.data + h.base_at, new->data + at);
		at += h.size_bytes;
	}
	assert_int_equal(at, new->len);
	return s->out.len - before;
}

static void what_is_too_large_for_memory_comes_in_slices(void **state)
{
	(void)state;
	need_nix();
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_systems(&y, "sliced", (size_t)6 << 20, 9);
	struct host h = { .system = y.old[LIBS + 1].info.path, .memory = 3 << 20 };
	start(&s, &h);
	begin_system(&s, &y);
	assert_int_equal(bl_kv_u64_or(&s.have, "memory", 0), h.memory);
	put_libs(&s, &y);
	assert_in_range(put_slices(&s, &y, h.memory), 1, 100000);
	put_told(&s, &y, LIBS + 1, BL_DELTA_COPY);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	assert_valid(y.new, LIBS + 2);
}

static void a_slice_out_of_order_fails_its_path_alone(void **state)
{
	(void)state;
	need_nix();
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	struct bl_err err = { 0 };
	bool failed[LIBS + 2];
	BL_AUTO(bl_kv) line = { 0 };
	make_systems(&y, "disordered", BIG, 11);
	struct host h = { .system = y.old[LIBS + 1].info.path };
	start(&s, &h);
	begin_system(&s, &y);
	put_libs(&s, &y);
	struct bl_copy_piece p = { .first = LIBS, .count = 1, .size_bytes = 1000 };
	const char *nar = y.new[LIBS].nar.data;
	put_piece(&s, &p, NULL, nar);
	p.part = 2000;
	put_piece(&s, &p, NULL, nar + 2000);
	p.part = 1000;
	put_piece(&s, &p, NULL, nar + 1000);
	put_told(&s, &y, LIBS + 1, BL_DELTA_COPY);
	put_end(&s);
	flush(&s);
	expect(&s, BL_MSG_LINE, &line);
	assert_string_equal(bl_kv_str(&line, "stream"), "copy");
	expect_text(&line, "line", "-big: its NAR ends after 1000 of ");
	assert_true(next(&s, &f));
	assert_int_equal(f.type, BL_COPY_FAILED);
	assert_works(bl_copy_take_bits(f.payload, f.len, failed, LIBS + 2, &err), &err);
	for (size_t i = 0; i < LIBS + 2; i++)
		assert_int_equal(failed[i], i >= LIBS); /* the top refers to it */
	put_whole(&s, y.new, LIBS, BL_DELTA_ZSTD);
	put_whole(&s, y.new, LIBS + 1, BL_DELTA_RAW);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	assert_valid(y.new, LIBS + 2);
}

static void bases_that_cannot_be_are_no_end(void **state)
{
	(void)state;
	need_nix();
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	BL_AUTO(bl_kv) line = { 0 };
	make_systems(&y, "baseless", BIG, 13);
	struct host h = { .system = y.old[LIBS + 1].info.path };
	start(&s, &h);
	begin_system(&s, &y);
	uint32_t old = place(&y.olds, y.old[0].info.path);
	struct bl_copy_piece p = { .kind = BL_DELTA_COPY,
				   .count = 1,
				   .size_bytes = y.new[0].nar.len,
				   .base_at = 1ULL << 43,
				   .base_bytes = y.new[0].nar.len,
				   .olds = &old };
	put_head(&s, &p);
	p.base_at = 0;
	p.size_bytes = 1;
	put_head(&s, &p);
	for (size_t i = 1; i < LIBS; i++)
		put_whole(&s, y.new, i, BL_DELTA_ZSTD);
	put_end(&s);
	flush(&s);
	expect(&s, BL_MSG_LINE, &line);
	expect_text(&line, "line", "-lib-0: its base has only ");
	assert_true(next(&s, &f));
	assert_int_equal(f.type, BL_COPY_FAILED);
	for (size_t i = 0; i < LIBS + 2; i++)
		put_whole(&s, y.new, i, BL_DELTA_ZSTD);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
}

/* ---- what is wrong with contents */

static void put_wrong(struct sender *s, struct thing *things, size_t i)
{
	things[s->infos[i]].nar.data[100] ^= 1;
	put_whole(s, things, i, BL_DELTA_ZSTD);
	things[s->infos[i]].nar.data[100] ^= 1;
}

static void put_garbage(struct sender *s, const struct thing *things, size_t i)
{
	struct bl_copy_piece p = { .kind = BL_DELTA_ZSTD,
				   .first = (uint32_t)i,
				   .count = 1,
				   .size_bytes = things[s->infos[i]].nar.len };
	put_head(s, &p);
	bl_frame_put(&s->out, BL_COPY_DATA, "this is not zstd", 16);
	bl_frame_put(&s->out, BL_COPY_DATA, "and more of it", 14);
}

static void what_is_wrong_is_asked_for_once_more(void **state)
{
	(void)state;
	need_nix();
	enum { N = 12 };
	struct thing things[N];
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	struct bl_err err = { 0 };
	bool failed[N];
	BL_AUTO(bl_kv) line = { 0 };
	make_chain(things, N, "wrong");
	start(&s, &plain);
	begin_copy(&s, things, N);
	for (size_t i = 0; i < 8; i++)
		put_whole(&s, things, i, BL_DELTA_RAW);
	put_wrong(&s, things, 8);
	put_garbage(&s, things, 9);
	put_whole(&s, things, 10, BL_DELTA_RAW); /* 11 is left out */
	put_end(&s);
	flush(&s);
	expect(&s, BL_MSG_LINE, &line);
	assert_true(next(&s, &f));
	assert_int_equal(f.type, BL_COPY_FAILED);
	assert_works(bl_copy_take_bits(f.payload, f.len, failed, N, &err), &err);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(failed[i], i >= 8);
	assert_valid(things, 8);
	for (size_t i = 0; i < N; i++) /* those that are valid too: they are passed over */
		put_whole(&s, things, i, BL_DELTA_ZSTD);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	assert_valid(things, N);
	free_things(things, N);
}

static void what_is_wrong_twice_is_refused_with_nixs_words(void **state)
{
	(void)state;
	need_nix();
	struct thing things[3];
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	make_chain(things, 3, "twice");
	start(&s, &plain);
	begin_copy(&s, things, 3);
	for (int round = 0; round < 2; round++) {
		put_whole(&s, things, 0, BL_DELTA_RAW);
		put_wrong(&s, things, 1);
		put_whole(&s, things, 2, BL_DELTA_RAW);
		put_end(&s);
		flush(&s);
		if (round > 0)
			continue;
		BL_AUTO(bl_kv) line = { 0 };
		expect(&s, BL_MSG_LINE, &line);
		expect_text(&line, "line", "-twice-1: hash mismatch");
		assert_true(next(&s, &f));
		assert_int_equal(f.type, BL_COPY_FAILED);
		assert_memory_equal(f.payload, "\x06", 1);
	}
	expect_refused(&s, "-twice-1: hash mismatch", "look at Nix's words");
	assert_valid(things, 1);
	assert_false(is_valid(things[1].info.path));
	/* the next run goes on from there */
	begin_copy(&s, things, 3);
	assert_int_equal(s.n_infos, 2);
	put_whole(&s, things, 0, BL_DELTA_RAW);
	put_whole(&s, things, 1, BL_DELTA_RAW);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	free_things(things, 3);
}

/* ---- what came of a large path before */

enum { LARGE = 9 << 20, FRAME = 65536, NAR_AT = 4096 };

struct kept {
	struct thing things[4]; /* small, large, large, small */
	char *dir, *file;
	struct host host;
};

static void make_large(struct thing *out, const char *name, uint64_t seed)
{
	BL_AUTO(bl_buf) text = { 0 };
	noise(&text, seed, LARGE, 0);
	*out = thing(name, bl_buf_str(&text), text.len);
}

static void make_kept(struct kept *k, const char *run)
{
	bl_autofree char *one = bl_xprintf("large-1-%s", run);
	bl_autofree char *two = bl_xprintf("large-2-%s", run);
	make_chain(k->things, 1, run);
	make_large(&k->things[1], one, 21);
	make_large(&k->things[2], two, 22);
	make_chain(&k->things[3], 1, two);
	for (size_t i = 1; i < 4; i++)
		bl_strv_add(&k->things[i].info.references, k->things[i - 1].info.path);
	k->dir = bl_xprintf("%s/%s", folder, run);
	k->file = bl_xprintf("%s/incoming", k->dir);
	k->host.keep = k->dir;
	assert_int_equal(mkdir(k->dir, 0700), 0);
}

static void kept_autop(struct kept *k)
{
	free_things(k->things, 4);
	free(k->dir);
	free(k->file);
}

/* Of info @i's NAR bytes @from to @end, the piece cut off unless that is its end. */
static void put_rest(struct sender *s, const struct thing *things, size_t i, uint64_t from,
		     uint64_t end)
{
	const struct bl_buf *nar = &things[s->infos[i]].nar;
	struct bl_copy_piece p = { .kind = BL_DELTA_RAW,
				   .first = (uint32_t)i,
				   .count = 1,
				   .part = from,
				   .size_bytes = nar->len - from };
	put_head(s, &p);
	for (uint64_t at = from; at < end; at += FRAME)
		bl_frame_put(&s->out, BL_COPY_DATA, nar->data + at,
			     end - at < FRAME ? (size_t)(end - at) : FRAME);
}

/* The things' first one, and the second up to @end; then the deployer has gone. */
static void cut_at(const struct kept *k, uint64_t end)
{
	struct sender s __attribute__((cleanup(sender_autop)));
	start(&s, &k->host);
	begin_copy(&s, k->things, 4);
	for (size_t i = 0; i + 3 < s.n_infos; i++)
		put_whole(&s, k->things, i, BL_DELTA_ZSTD);
	put_rest(&s, k->things, s.n_infos - 3, 0, end);
	flush(&s);
}

static void expect_kept(struct sender *s, const struct thing *t, uint64_t bytes)
{
	char hex[2 * BL_SHA256_LEN + 1];
	bl_hex(t->info.nar_hash, BL_SHA256_LEN, hex);
	assert_int_equal(bl_kv_u64_or(&s->have, "kept", 99), place(&s->paths, t->info.path));
	assert_int_equal(bl_kv_u64_or(&s->have, "kept_bytes", 0), bytes);
	assert_string_equal(bl_kv_str(&s->have, "kept_hash"), hex);
}

static void expect_nothing_kept(struct sender *s)
{
	assert_string_equal(bl_kv_str(&s->have, "kept"), "");
	assert_string_equal(bl_kv_str(&s->have, "kept_bytes"), "");
}

/* From the large ones on, which are the first that are missing; the first of them from @from.
 */
static void finish(struct sender *s, struct kept *k, uint64_t from)
{
	assert_int_equal(s->n_infos, 3);
	put_rest(s, k->things, 0, from, k->things[1].nar.len);
	put_whole(s, k->things, 1, BL_DELTA_RAW);
	put_whole(s, k->things, 2, BL_DELTA_RAW);
	put_end(s);
	flush(s);
	expect_ok(s);
	assert_valid(k->things, 4);
	assert_int_equal(access(k->file, F_OK), -1);
}

static void a_large_path_goes_on_where_it_was_cut_off(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	make_kept(&k, "goes-on");
	uint64_t size = k.things[1].nar.len;
	/* the first frame, two of them, most of it, all but the last */
	const uint64_t cuts[] = { FRAME, 2 * FRAME, LARGE / 2 / FRAME * FRAME,
				  (size - 1) / FRAME * FRAME };
	for (size_t i = 0; i < BL_COUNT(cuts); i++) {
		struct stat st;
		cut_at(&k, cuts[i]);
		assert_int_equal(lstat(k.file, &st), 0);
		assert_int_equal(st.st_size, NAR_AT + cuts[i]);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	/* three times more, each from where the last one came to */
	uint64_t at = cuts[2];
	cut_at(&k, at);
	for (size_t i = 0; i < 3; i++) {
		struct sender s __attribute__((cleanup(sender_autop)));
		start(&s, &k.host);
		begin_copy(&s, k.things, 4);
		expect_kept(&s, &k.things[1], at);
		/* not all of what is there need be used */
		put_rest(&s, k.things, 0, at - i * 1000, at + 10 * FRAME);
		flush(&s);
		at += 10 * FRAME;
	}
	struct sender s __attribute__((cleanup(sender_autop)));
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_kept(&s, &k.things[1], at);
	finish(&s, &k, at);
}

static void all_of_it_but_its_end_is_kept(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "all-kept");
	uint64_t size = k.things[1].nar.len;
	cut_at(&k, size - 1);
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_kept(&s, &k.things[1], size - 1);
	finish(&s, &k, size - 1);
}

static void expect_failed(struct sender *s, const char *why)
{
	struct bl_frame f = { 0 };
	BL_AUTO(bl_kv) line = { 0 };
	expect(s, BL_MSG_LINE, &line);
	expect_text(&line, "line", why);
	assert_true(next(s, &f));
	assert_int_equal(f.type, BL_COPY_FAILED);
}

static void flip(const char *file, off_t at)
{
	char c = 0;
	bl_autofd int fd = open(file, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c = (char)(c ^ 1);
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

static void what_is_kept_and_damaged_comes_again_in_full(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "damaged");
	cut_at(&k, 50 * FRAME);
	flip(k.file, NAR_AT + 30 * FRAME);
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_kept(&s, &k.things[1], 50 * FRAME);
	put_rest(&s, k.things, 0, 50 * FRAME, k.things[1].nar.len);
	put_end(&s);
	flush(&s);
	expect_failed(&s, "-large-1-damaged: hash mismatch");
	assert_int_equal(access(k.file, F_OK), -1);
	finish(&s, &k, 0);
}

static void what_is_no_such_file_goes(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	bl_autofree char *other = bl_xprintf("%s/precious", folder);
	make_kept(&k, "no-file");
	for (size_t i = 0; i < 6; i++) {
		struct sender s __attribute__((cleanup(sender_autop)));
		cut_at(&k, 20 * FRAME);
		if (i == 0) /* not the magic */
			flip(k.file, 3);
		if (i == 1) /* behind the path */
			flip(k.file, 16 + 250);
		if (i == 2)
			assert_int_equal(truncate(k.file, NAR_AT), 0);
		if (i == 3) /* more than the NAR has */
			assert_int_equal(truncate(k.file, NAR_AT + 10 * LARGE), 0);
		if (i == 4) {
			assert_int_equal(rename(k.file, other), 0);
			assert_int_equal(symlink(other, k.file), 0);
		}
		if (i == 5) {
			assert_int_equal(unlink(k.file), 0);
			assert_int_equal(mkfifo(k.file, 0600), 0);
		}
		start(&s, &k.host);
		begin_copy(&s, k.things, 4);
		expect_nothing_kept(&s);
		assert_int_equal(access(k.file, F_OK), -1);
	}
	assert_int_equal(access(other, F_OK), 0);
}

static void what_is_kept_of_another_nar_is_not_used(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "other-nar");
	struct thing was = k.things[1];
	make_large(&k.things[1], "large-1-other-nar", 23);
	bl_strv_add(&k.things[1].info.references, k.things[0].info.path);
	assert_string_equal(was.info.path, k.things[1].info.path);
	struct thing now = k.things[1];
	k.things[1] = was;
	cut_at(&k, 50 * FRAME);
	k.things[1] = now;
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_kept(&s, &was, 50 * FRAME);
	thing_autop(&was);
	put_rest(&s, k.things, 0, 50 * FRAME, now.nar.len); /* as if it had not been told */
	put_end(&s);
	flush(&s);
	expect_failed(&s, "a part of its NAR comes without those before");
	finish(&s, &k, 0);
}

static void more_than_is_kept_cannot_be_left_out(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "left-out");
	cut_at(&k, 50 * FRAME);
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	put_rest(&s, k.things, 0, 50 * FRAME + 1, k.things[1].nar.len);
	put_end(&s);
	flush(&s);
	expect_failed(&s, "a part of its NAR comes without those before");
	finish(&s, &k, 0);
}

static void what_is_kept_goes_when_it_is_not_asked_for(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	make_kept(&k, "unasked");
	for (size_t i = 0; i < 2; i++) {
		struct sender s __attribute__((cleanup(sender_autop)));
		cut_at(&k, 20 * FRAME);
		assert_int_equal(access(k.file, F_OK), 0);
		start(&s, &k.host);
		if (i == 0) { /* another closure */
			copy_whole(&s, k.things, 1);
			expect_nothing_kept(&s);
		} else { /* a copy by another way */
			struct host plain_host = { .keep = NULL };
			struct sender t __attribute__((cleanup(sender_autop)));
			start(&t, &plain_host);
			copy_whole(&t, k.things, 4);
			put_closure(&s, k.things, 4);
			flush(&s);
			expect_have(&s);
			expect_nothing_kept(&s);
		}
		assert_int_equal(access(k.file, F_OK), -1);
	}
}

static void without_room_nothing_is_kept_and_all_goes_well(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "no-room");
	k.host.reserve = 1ULL << 60;
	cut_at(&k, 20 * FRAME);
	assert_int_equal(access(k.file, F_OK), -1);
	k.host.reserve = 0;
	cut_at(&k, 30 * FRAME);
	/* what is there is used, and nothing more written */
	k.host.reserve = 1ULL << 60;
	{
		struct stat st;
		struct sender t __attribute__((cleanup(sender_autop)));
		start(&t, &k.host);
		begin_copy(&t, k.things, 4);
		expect_kept(&t, &k.things[1], 30 * FRAME);
		put_rest(&t, k.things, 0, 30 * FRAME, 60 * FRAME);
		bl_msg_put(&t.out, BL_MSG_STATUS, NULL);
		flush(&t);
		expect(&t, BL_MSG_REFUSED, NULL); /* it has seen all of that */
		assert_int_equal(stat(k.file, &st), 0);
		assert_int_equal(st.st_size, NAR_AT + 30 * FRAME);
	}
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_kept(&s, &k.things[1], 30 * FRAME);
	finish(&s, &k, 30 * FRAME);
}

static void where_nothing_can_be_written_all_goes_well(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_kept(&k, "no-folder");
	assert_int_equal(rmdir(k.dir), 0);
	cut_at(&k, 20 * FRAME);
	start(&s, &k.host);
	begin_copy(&s, k.things, 4);
	expect_nothing_kept(&s);
	finish(&s, &k, 0);
}

static void who_is_silent_within_a_path_has_gone(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	make_kept(&k, "silent");
	k.host.silent_ms = 1000;
	start(&s, &k.host);
	/* before it, that does not matter */
	begin_copy(&s, k.things, 4);
	put_whole(&s, k.things, 0, BL_DELTA_RAW);
	flush(&s);
	bl_sleep_ms(1300);
	put_rest(&s, k.things, 1, 0, 10 * FRAME);
	flush(&s);
	/* who says something, be it nothing, has not */
	for (size_t i = 0; i < 6; i++) {
		bl_sleep_ms(300);
		bl_frame_put(&s.out, BL_COPY_DATA, "", 0);
		flush(&s);
	}
	assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);
	assert_false(next(&s, &f));
	/* and it is not in the way of the next one */
	struct sender t __attribute__((cleanup(sender_autop)));
	start(&t, &k.host);
	begin_copy(&t, k.things, 4);
	expect_kept(&t, &k.things[1], 10 * FRAME);
	finish(&t, &k, 10 * FRAME);
}

/* A closure in which another large one comes before it. */
static void what_is_kept_waits_for_its_turn(void **state)
{
	(void)state;
	need_nix();
	struct kept k __attribute__((cleanup(kept_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	struct thing others[3] = { 0 };
	struct stat st;
	make_kept(&k, "turn");
	cut_at(&k, 20 * FRAME);
	make_large(&others[0], "large-0-turn", 24);
	others[1] = k.things[0];
	others[2] = k.things[1];
	start(&s, &k.host);
	begin_copy(&s, others, 3);
	expect_kept(&s, &k.things[1], 20 * FRAME);
	assert_int_equal(s.n_infos, 2);
	put_whole(&s, others, 0, BL_DELTA_RAW);
	put_rest(&s, others, 1, 20 * FRAME, k.things[1].nar.len);
	put_end(&s);
	flush(&s);
	expect_ok(&s);
	assert_valid(others, 3);
	assert_int_equal(stat(k.file, &st), -1);
	thing_autop(&others[0]);
}

/* The rest of a slice, by the window that is the whole slice's. */
static void the_rest_is_told_by_an_old_path(void **state)
{
	(void)state;
	need_nix();
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	bl_autofree char *dir = bl_xprintf("%s/kept-base", folder);
	make_systems(&y, "kept-base", LARGE, 15);
	struct host h = { .system = y.old[LIBS + 1].info.path, .keep = dir };
	uint32_t old = place(&y.olds, y.old[LIBS].info.path);
	assert_int_equal(mkdir(dir, 0700), 0);
	{
		struct sender s __attribute__((cleanup(sender_autop)));
		start(&s, &h);
		begin_system(&s, &y);
		put_rest(&s, y.new, LIBS, 0, 33 * FRAME);
		flush(&s);
	}
	struct sender s __attribute__((cleanup(sender_autop)));
	start(&s, &h);
	begin_system(&s, &y);
	expect_kept(&s, &y.new[LIBS], 33 * FRAME);
	put_libs(&s, &y);
	BL_AUTO(bl_buf) base = { 0 };
	rewritten(&y, LIBS, 1, &base);
	const struct bl_buf *new = &y.new[LIBS].nar;
	for (uint64_t at = 33 * FRAME; at < new->len;) {
		uint64_t slice = (2U << 20) - at % (2U << 20);
		uint64_t from = at - at % (2U << 20);
		struct bl_copy_piece p = {
			.kind = BL_DELTA_PATCH,
			.first = LIBS,
			.count = 1,
			.part = at,
			.size_bytes = slice < new->len - at ? slice : new->len - at,
			.base_at = from,
			.base_bytes = base.len - from < 3U << 20 ? base.len - from : 3U << 20,
			.olds = &old
		};
		put_piece(&s, &p, base.data + from, new->data + at);
		at += p.size_bytes;
	}
	put_told(&s, &y, LIBS + 1, BL_DELTA_COPY);
	put_end(&s);
	assert_in_range(s.out.len, 1, 200000);
	flush(&s);
	expect_ok(&s);
	assert_valid(y.new, LIBS + 2);
}

static void memory_is_half_of_what_is_available(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t mib;
	} cases[] = {
		{ "MemTotal:  1000 kB\nMemFree: 5 kB\nMemAvailable:   204800 kB\nX: 1", 100 },
		{ "MemTotal:  1000 kB\nMemAvailable:   524290 kB\n", 256 },
		{ "MemTotal:  1000 kB\nMemAvailable:99999999999999999999999999 kB\n", 256 },
		{ "MemTotal:  1000 kB\nMemAvailable:   0 kB\n", 16 },
		{ "MemTotal:  1000 kB\nMemAvailable:", 16 },
		{ "MemTotal:  1000 kB\n", 256 },
		{ "", 256 },
		{ NULL, 256 },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++)
		assert_int_equal(bl_receive_memory(cases[i].text), cases[i].mib << 20);
}

/* ---- what is no copying */

struct bad {
	const char *reason;
	/* queues something behind infos */
	void (*put)(struct sender *s, const struct thing *things);
};

static void bad_type(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, 77, "x", 1);
}

static void bad_piece(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_PIECE, "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11);
}

static void bad_number(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_PIECE, "\0\3\1\0\1", 5);
}

static void bad_old(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_PIECE, "\3\0\1\0\1\0\1\0\1", 9);
}

static void bad_block(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_PAIRS, "\x05this is not zstd", 17);
}

static void bad_block_size(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_PAIRS, "\xff\xff\xff\xff\x0f", 5);
}

static void bad_pairs(struct sender *s, const struct thing *things)
{
	(void)things;
	struct bl_copy_pair pair = { 0, 0 };
	BL_AUTO(bl_buf) block = { 0 };
	bl_copy_put_pairs(&block, &pair, 1);
	put_block(&s->out, BL_COPY_PAIRS, &block);
}

static void bad_twice(struct sender *s, const struct thing *things)
{
	put_infos(s, things, 3);
}

static void bad_data(struct sender *s, const struct thing *things)
{
	(void)things;
	bl_frame_put(&s->out, BL_COPY_DATA, "x", 1);
}

static void bad_late_infos(struct sender *s, const struct thing *things)
{
	put_whole(s, things, 0, BL_DELTA_RAW);
	put_infos(s, things, 3);
}

static void what_cannot_be_understood_is_refused(void **state)
{
	(void)state;
	need_nix();
	static const struct bad cases[] = {
		{ "a frame of type 77 while a closure is sent", bad_type },
		{ "piece: a number of more than 64 bits", bad_piece },
		{ "piece: a number is 3, at most 2 may be", bad_number },
		{ "base: a number is 1, at most 0 may be", bad_old },
		{ "block: the content of a frame is not zstd", bad_block },
		{ "block: a number is 4294967295, at most 4194304 may be", bad_block_size },
		{ "pairs: a number is 1, at most 0 may be", bad_pairs },
		{ "is valid, or comes twice", bad_twice },
		{ "a frame of type 69 before any piece", bad_data },
		{ "a frame of type 66 behind the list of paths", bad_late_infos },
	};
	struct thing things[3];
	struct sender s __attribute__((cleanup(sender_autop)));
	make_chain(things, 3, "bad");
	start(&s, &plain);
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		begin_copy(&s, things, 3);
		cases[i].put(&s, things);
		/* goes on as if nothing were */
		for (size_t k = 0; k < 3; k++)
			put_whole(&s, things, k, BL_DELTA_RAW);
		put_end(&s);
		flush(&s);
		expect_refused(&s, cases[i].reason, "use the same version of belay");
	}
	free_things(things, 3);
}

static void closures_that_cannot_be_are_refused(void **state)
{
	(void)state;
	need_nix();
	static const struct {
		const char *paths, *block, *reason;
	} cases[] = {
		{ "", "", "paths" },
		{ "0", "", "'0' is not a number from 1 to 262144" },
		{ "262145", "", "'262145' is not a number from 1 to 262144" },
		{ "2", "", "0 paths of a closure of 2" },
		{ "1",
		  "00000000000000000000000000000000-a\n00000000000000000000000000000000-b\n",
		  "2 paths of a closure of 1" },
		{ "2",
		  "00000000000000000000000000000000-b\n00000000000000000000000000000000-a\n",
		  "path 1 of a closure is out of order" },
		{ "1", "../../etc/passwd\n", "path 0 of a closure is no store path" },
	};
	struct sender s __attribute__((cleanup(sender_autop)));
	start(&s, &plain);
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		BL_AUTO(bl_buf) block = { 0 };
		if (*cases[i].paths)
			bl_kv_set(&kv, "paths", cases[i].paths);
		bl_msg_put(&s.out, BL_MSG_COPY, &kv);
		bl_buf_puts(&block, cases[i].block);
		put_block(&s.out, BL_COPY_PATHS, &block);
		flush(&s);
		expect_refused(&s, cases[i].reason, "use the same version of belay");
	}
}

static void what_are_no_frames_ends_the_connection(void **state)
{
	(void)state;
	need_nix();
	struct thing things[3];
	struct sender s __attribute__((cleanup(sender_autop)));
	struct bl_frame f = { 0 };
	make_chain(things, 3, "noframes");
	start(&s, &plain);
	begin_copy(&s, things, 3);
	bl_buf_puts(&s.out, "Connection to somewhere closed.");
	flush(&s);
	BL_AUTO(bl_kv) kv = { 0 };
	expect(&s, BL_MSG_REFUSED, &kv);
	expect_text(&kv, "reason", "does not speak belay's frames");
	assert_false(next(&s, &f));
	free_things(things, 3);
}

static void a_deployer_that_goes_is_the_end_at_any_point(void **state)
{
	(void)state;
	need_nix();
	struct thing things[3];
	BL_AUTO(bl_buf) all = { 0 };
	make_chain(things, 3, "cut");
	/* all that is said, as long as nothing is valid */
	struct sender s = { 0 };
	put_closure(&s, things, 3);
	put_infos(&s, things, 3);
	for (size_t i = 0; i < 3; i++)
		put_whole(&s, things, i, i % 2 ? BL_DELTA_RAW : BL_DELTA_ZSTD);
	put_end(&s);
	bl_buf_append(&all, s.out.data, s.out.len);
	forget_closure(&s);
	bl_buf_free(&s.out);
	for (size_t at = 0; at < all.len;) {
		struct bl_frame f = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(bl_frame_take(all.data + at, all.len - at, &f, &err), 1);
		/* before it, and within it */
		for (size_t cut = at; cut < at + f.used; cut += f.used / 2 + 1) {
			struct sender t __attribute__((cleanup(sender_autop)));
			start(&t, &plain);
			bl_buf_append(&t.out, all.data, cut);
			flush(&t);
		}
		at += f.used;
	}
	struct sender t __attribute__((cleanup(sender_autop)));
	start(&t, &plain);
	copy_whole(&t, things, 3);
	assert_valid(things, 3);
	free_things(things, 3);
}

/* ---- daemons */

static void a_daemon_that_dies_is_told_of(void **state)
{
	(void)state;
	need_nix();
	/* the connection is as long as that */
	static const char *const dying[] = {
		"/bin/sh", "-c",
		"dd bs=4096 count=300000 iflag=count_bytes status=none | "
		"nix-daemon --stdio",
		NULL
	};
	struct systems y __attribute__((cleanup(systems_autop))) = { 0 };
	struct sender s __attribute__((cleanup(sender_autop)));
	make_systems(&y, "dying", 3 * BIG, 17);
	struct host h = { .system = y.old[LIBS + 1].info.path, .program = dying };
	start(&s, &h);
	begin_system(&s, &y);
	put_libs(&s, &y);
	put_told(&s, &y, LIBS, BL_DELTA_PATCH);
	put_told(&s, &y, LIBS + 1, BL_DELTA_COPY);
	put_end(&s);
	flush(&s);
	expect_refused(&s, "Nix daemon: adding paths", "systemctl status nix-daemon");
}

static void without_a_daemon_nothing_is_sent(void **state)
{
	(void)state;
	need_nix();
	static const char *const none[] = { "/nonexistent/nix-daemon", NULL };
	static const char *const silent[] = { "/bin/sh", "-c", "echo no store >&2; exit 1",
					      NULL };
	static const struct {
		const char *const *program;
		const char *reason, *remedy;
	} cases[] = {
		{ none, "/nonexistent/nix-daemon", "systemctl status nix-daemon" },
		{ silent, "no store", "systemctl status nix-daemon" },
	};
	struct thing things[3];
	make_chain(things, 3, "daemonless");
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct host h = { .program = cases[i].program };
		struct sender s __attribute__((cleanup(sender_autop)));
		start(&s, &h);
		put_closure(&s, things, 3);
		flush(&s);
		expect_refused(&s, cases[i].reason, cases[i].remedy);
	}
	free_things(things, 3);
}

/* ---- a daemon that is played: a disk is not filled that easily, and older ones do not say
 * whom they trust */

static uint64_t get_u64(FILE *f)
{
	uint8_t b[8] = { 0 };
	uint64_t v = 0;
	if (fread(b, 1, sizeof(b), f) < sizeof(b))
		_exit(0);
	for (size_t i = sizeof(b); i-- > 0;)
		v = v << 8 | b[i];
	return v;
}

static void skip_text(FILE *f)
{
	for (uint64_t n = (get_u64(f) + 7) / 8; n > 0; n--)
		(void)get_u64(f);
}

static void put_u64(struct bl_buf *b, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		bl_buf_putc(b, (char)(uint8_t)(v >> 8 * i));
}

enum { LAST = 0x616c7473, ERROR = 0x63787470 };

static void answer(int fd, struct bl_buf *b)
{
	(void)!bl_write_all(fd, b->data, b->len, NULL);
	bl_buf_clear(b);
}

static void say_hello(int fd, struct bl_buf *b, enum bl_daemon_trust trust)
{
	put_u64(b, 0x6478696f);
	put_u64(b, 0x123);
	put_text(b, "2.15.0", 6);
	put_u64(b, trust);
	put_u64(b, LAST);
	answer(fd, b);
}

/* Nothing is valid, and it says @words to whatever is added. */
static void play(int fd, enum bl_daemon_trust trust, const char *words)
{
	struct bl_buf b = { 0 };
	FILE *f = fdopen(fd, "r");
	for (size_t i = 0; i < 4; i++)
		(void)get_u64(f);
	say_hello(fd, &b, trust);
	for (uint64_t op = get_u64(f); op != 39; op = get_u64(f)) {
		uint64_t n = op == 31 ? get_u64(f) : 1;
		for (; n > 0; n--)
			skip_text(f);
		if (op == 31)
			(void)get_u64(f);
		put_u64(&b, LAST);
		put_u64(&b, op == 31 ? 0 : 1);
		answer(fd, &b);
	}
	put_u64(&b, ERROR);
	put_text(&b, "Error", 5);
	put_u64(&b, 0);
	put_text(&b, "Error", 5);
	put_text(&b, words, strlen(words));
	put_u64(&b, 0);
	put_u64(&b, 0);
	answer(fd, &b);
	for (;;)
		(void)get_u64(f);
}

/* One path to a daemon that says @words of it: refused at once. */
static void copy_to_played(const char *name, enum bl_daemon_trust trust, const char *words,
			   const char *reason, const char *remedy)
{
	struct thing things[1];
	struct sender s __attribute__((cleanup(sender_autop)));
	bl_autofree char *at = bl_xprintf("%s/%s", folder, name);
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	assert_true(strlen(at) < sizeof(to.sun_path));
	memcpy(to.sun_path, at, strlen(at) + 1);
	bl_autofd int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(fd, 1), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		play(accept(fd, NULL, NULL), trust, words);
	make_chain(things, 1, name);
	struct host h = { .socket = at };
	start(&s, &h);
	begin_copy(&s, things, 1);
	put_whole(&s, things, 0, BL_DELTA_RAW);
	put_end(&s);
	flush(&s);
	expect_refused(&s, reason, remedy);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	free_things(things, 1);
}

static void a_full_disk_is_refused_at_once(void **state)
{
	(void)state;
	copy_to_played("full", BL_TRUST_YES,
		       "error: writing to file '/nix/store/x': No space left on device",
		       "-full-0: error: writing to file '/nix/store/x': No space left",
		       "nix-collect-garbage");
}

static void who_is_not_trusted_is_told_to_sign(void **state)
{
	(void)state;
	static const char reason[] = " is not signed by a key that the host's Nix trusts";
	copy_to_played("new", BL_TRUST_NO,
		       "error: cannot add path '/nix/store/x' because it lacks a signature by "
		       "a trusted key",
		       reason, "--sign-key FILE");
	copy_to_played("old", BL_TRUST_UNKNOWN,
		       "error: cannot add path '/nix/store/x' because it lacks a valid "
		       "signature",
		       reason, "trusted-public-keys");
}

/* ---- signatures, to a daemon that trusts nobody */

struct keys {
	struct bl_sign_key *trusted, *unknown;
	char *public; /* of the trusted one */
};

static void keys_autop(struct keys *k)
{
	bl_sign_key_free(k->trusted);
	bl_sign_key_free(k->unknown);
	free(k->public);
}

static struct bl_sign_key *make_key(const char *name, char **out_public)
{
	bl_autofree char *secret = bl_xprintf("%s/%s.secret", folder, name);
	bl_autofree char *public = bl_xprintf("%s/%s.public", folder, name);
	struct bl_sign_key *key = NULL;
	struct bl_err err = { 0 };
	assert_int_equal(
		RUN(NULL, "nix-store", "--generate-binary-cache-key", name, secret, public), 0);
	assert_works(bl_sign_key_read(secret, &key, &err), &err);
	if (out_public)
		assert_non_null(*out_public = bl_slurp(public, 4096));
	return key;
}

static bool listens(const char *at)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	memcpy(to.sun_path, at, strlen(at) + 1);
	bl_autofd int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;
}

/* Also when a test fails in the middle. */
static bool end_with_us(void *ctx)
{
	(void)ctx;
	return prctl(PR_SET_PDEATHSIG, SIGTERM) == 0;
}

/* Where nix-daemon listens, which trusts no user, and the key alone. */
static char *start_distrusting(const char *public, pid_t *out_pid)
{
	static const char *const argv[] = { "nix-daemon", NULL };
	bl_autofree char *more = bl_xprintf(
		"trusted-users =\nrequire-sigs = true\ntrusted-public-keys = %s\n", public);
	char *at = bl_xprintf("%s/socket", folder);
	struct bl_err err = { 0 };
	assert_int_equal(write_conf(more), 0);
	assert_works(bl_child_spawn(argv, (const char *const *)env.items, -1, -1, -1,
				    end_with_us, NULL, out_pid, &err),
		     &err);
	for (int i = 0; i < 1000 && !listens(at); i++)
		bl_sleep_ms(10);
	return at;
}

static void sign_all(const struct bl_sign_key *key, struct thing *things, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bl_strv_add_take(&things[i].info.sigs, bl_sign(key, &things[i].info));
}

/* As `nix-store --add` names it: by its content alone. Source: Nix, makeFixedOutputPath. */
static void address_by_content(struct thing *t)
{
	char hex[2 * BL_SHA256_LEN + 1];
	char nix32[BL_NIX32_LEN(BL_SHA256_LEN) + 1];
	uint8_t sum[BL_SHA256_LEN];
	struct bl_sha256 s;
	bl_hex(t->info.nar_hash, BL_SHA256_LEN, hex);
	bl_nix32(t->info.nar_hash, BL_SHA256_LEN, nix32);
	bl_autofree char *said =
		bl_xprintf("source:sha256:%s:" BL_STORE_DIR ":by-content", hex);
	bl_sha256_init(&s);
	bl_sha256_update(&s, said, strlen(said));
	bl_sha256_final(&s, sum);
	for (size_t i = 20; i < sizeof(sum); i++)
		sum[i - 20] ^= sum[i];
	char hash[33];
	bl_nix32(sum, 20, hash);
	free(t->info.path);
	t->info.path = bl_xprintf(BL_STORE_DIR "/%s-by-content", hash);
	t->info.ca = bl_xprintf("fixed:r:sha256:%s", nix32);
}

static void put_all(struct sender *s, const struct thing *things, size_t n)
{
	begin_copy(s, things, n);
	for (size_t i = 0; i < s->n_infos; i++)
		put_whole(s, things, i, BL_DELTA_ZSTD);
	put_end(s);
	flush(s);
}

static void expect_unsigned(struct sender *s, const struct thing *named)
{
	bl_autofree char *reason = bl_xprintf(
		"%s is not signed by a key that the host's Nix trusts", named->info.path);
	expect_refused(s, reason,
		       "come as root or with sudo; or sign what is sent (--sign-key FILE) "
		       "with a key whose public half is in trusted-public-keys");
	assert_false(is_valid(named->info.path));
}

static void without_trust_a_signature_is_what_counts(void **state)
{
	(void)state;
	need_nix();
	enum { N = 12 };
	struct keys keys __attribute__((cleanup(keys_autop))) = { 0 };
	struct thing things[N];
	struct thing other[N];
	struct thing content = text_thing("by-content");
	pid_t pid = 0;
	keys.trusted = make_key("belay-trusted-1", &keys.public);
	keys.unknown = make_key("belay-unknown-1", NULL);
	bl_autofree char *at = start_distrusting(keys.public, &pid);
	make_chain(things, N, "signed");
	make_chain(other, N, "half-signed");
	address_by_content(&content);
	{
		struct host h = { .socket = at };
		struct sender s __attribute__((cleanup(sender_autop)));
		start(&s, &h);
		put_all(&s, things, N);
		expect_unsigned(&s, &things[0]);
		sign_all(keys.unknown, things, N);
		put_all(&s, things, N);
		expect_unsigned(&s, &things[0]);
		/* one more signature, on the same connection */
		sign_all(keys.trusted, things, N);
		put_all(&s, things, N);
		expect_ok(&s);
		assert_valid(things, N);
		/* what is signed stays, and the first that is not is named */
		sign_all(keys.trusted, other, 5);
		put_all(&s, other, N);
		expect_unsigned(&s, &other[5]);
		assert_valid(other, 5);
		for (size_t i = 5; i < N; i++)
			assert_false(is_valid(other[i].info.path));
		/* a signature of another path is none */
		bl_strv_add(&other[5].info.sigs, other[4].info.sigs.items[0]);
		put_all(&s, other, N);
		expect_unsigned(&s, &other[5]);
		put_all(&s, &content, 1);
		expect_ok(&s);
		assert_valid(&content, 1);
	}
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(write_conf(""), 0);
	free_things(things, N);
	free_things(other, N);
	thing_autop(&content);
}

static void a_system_that_is_not_valid_is_no_base(void **state)
{
	(void)state;
	need_nix();
	struct thing things[3];
	struct sender s __attribute__((cleanup(sender_autop)));
	struct host h = { .system = BL_STORE_DIR "/00000000000000000000000000000000-gone" };
	make_chain(things, 3, "nobase");
	start(&s, &h);
	copy_whole(&s, things, 3);
	assert_string_equal(bl_kv_str(&s.have, "old"), "");
	assert_int_equal(bl_kv_u64_or(&s.have, "old_paths", 9), 0);
	free_things(things, 3);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_paths_arrive_raw_as_zstd_and_together),
		cmocka_unit_test(old_paths_are_rewritten_copied_and_patched),
		cmocka_unit_test(what_is_too_large_for_memory_comes_in_slices),
		cmocka_unit_test(a_slice_out_of_order_fails_its_path_alone),
		cmocka_unit_test(bases_that_cannot_be_are_no_end),
		cmocka_unit_test(what_is_wrong_is_asked_for_once_more),
		cmocka_unit_test(what_is_wrong_twice_is_refused_with_nixs_words),
		cmocka_unit_test(a_large_path_goes_on_where_it_was_cut_off),
		cmocka_unit_test(all_of_it_but_its_end_is_kept),
		cmocka_unit_test(what_is_kept_and_damaged_comes_again_in_full),
		cmocka_unit_test(what_is_no_such_file_goes),
		cmocka_unit_test(what_is_kept_of_another_nar_is_not_used),
		cmocka_unit_test(more_than_is_kept_cannot_be_left_out),
		cmocka_unit_test(what_is_kept_goes_when_it_is_not_asked_for),
		cmocka_unit_test(without_room_nothing_is_kept_and_all_goes_well),
		cmocka_unit_test(where_nothing_can_be_written_all_goes_well),
		cmocka_unit_test(who_is_silent_within_a_path_has_gone),
		cmocka_unit_test(what_is_kept_waits_for_its_turn),
		cmocka_unit_test(the_rest_is_told_by_an_old_path),
		cmocka_unit_test(memory_is_half_of_what_is_available),
		cmocka_unit_test(what_cannot_be_understood_is_refused),
		cmocka_unit_test(closures_that_cannot_be_are_refused),
		cmocka_unit_test(what_are_no_frames_ends_the_connection),
		cmocka_unit_test(a_deployer_that_goes_is_the_end_at_any_point),
		cmocka_unit_test(a_daemon_that_dies_is_told_of),
		cmocka_unit_test(without_a_daemon_nothing_is_sent),
		cmocka_unit_test(a_full_disk_is_refused_at_once),
		cmocka_unit_test(who_is_not_trusted_is_told_to_sign),
		cmocka_unit_test(without_trust_a_signature_is_what_counts),
		cmocka_unit_test(a_system_that_is_not_valid_is_no_base),
	};
	return cmocka_run_group_tests_name("nix-receive", tests, make_store, remove_store);
}
