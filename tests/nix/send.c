/* SPDX-License-Identifier: MIT */
/*
 * The sender of copies, between real stores: this process has a /nix of its own, which is the
 * deployer's, and an `ssh` on PATH that is this program again and plays a host. Most of them
 * are the agent's own code with the store of store.h; some lie. BELAY_LARGE=1 makes the large
 * ones as large as they have to be.
 */
#include "store.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "agent/receive.h"
#include "agent/talk.h"
#include "base/clock.h"
#include "base/file.h"
#include "copy/send.h"
#include "store/nar.h"
#include "store/query.h"
#include "wire/copy.h"
#include "wire/msg.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static bool have_store; /* a /nix of our own */

static void need_store(void)
{
	if (!have_store || RUN(NULL, "nix-daemon", "--version") < 0)
		skip();
}

static bool is_large(void)
{
	const char *large = getenv("BELAY_LARGE");
	return large && *large == '1';
}

/* The most memory that @pid had, in KiB. */
static long peak_of(const char *pid)
{
	bl_autofree char *at = bl_xprintf("/proc/%s/status", pid);
	bl_autofree char *text = bl_slurp(at, 65536);
	const char *line = text ? strstr(text, "VmHWM:") : NULL;
	return line ? strtol(line + 6, NULL, 10) : -1;
}

static void forget_peak(void)
{
	bl_autofd int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "5", 1);
}

static char *file_here(const char *name)
{
	return bl_xprintf("%s/%s", folder, name);
}

/* ==== the hosts, each a process of its own */

static struct bl_buf in;
static size_t in_used;

static void note(const char *text)
{
	bl_autofree char *at = file_here("noted");
	FILE *f = fopen(at, "ae");
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static struct bl_kv read_copy(void)
{
	struct bl_msg m = { 0 };
	struct bl_err err = { 0 };
	if (bl_msg_read(STDIN_FILENO, &in, -1, &m, &err) < 0)
		_exit(0);
	if (m.type != BL_MSG_COPY)
		_exit(9);
	return m.kv;
}

static void next_frame(struct bl_frame *f)
{
	struct bl_err err = { 0 };
	if (bl_frame_read(STDIN_FILENO, &in, &in_used, -1, f, &err) < 0)
		_exit(0);
}

static void stay(void)
{
	struct bl_frame f;
	for (;;)
		next_frame(&f);
}

/* COPY and the paths of a small closure. */
static void read_closure(void)
{
	struct bl_kv kv = read_copy();
	struct bl_frame f;
	bl_kv_free(&kv);
	next_frame(&f);
	if (f.type != BL_COPY_PATHS)
		_exit(9);
}

/* Up to COPY_END; notes how many pieces had a base, and how many had none. */
static void read_pieces(void)
{
	unsigned based = 0;
	unsigned whole = 0;
	for (;;) {
		struct bl_frame f;
		next_frame(&f);
		if (f.type == BL_MSG_COPY_END)
			break;
		if (f.type != BL_COPY_PIECE)
			continue;
		bool has = f.payload[0] == BL_DELTA_PATCH || f.payload[0] == BL_DELTA_COPY;
		based += has;
		whole += !has;
	}
	bl_autofree char *text = bl_xprintf("%u based, %u whole\n", based, whole);
	note(text);
}

static void say_have(const char *old, const char *digest, const char *memory)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "old", old);
	bl_kv_set(&kv, "old_paths", "3");
	bl_kv_set(&kv, "old_digest", digest);
	bl_kv_set(&kv, "memory", memory);
	(void)!bl_talk_reply(BL_MSG_HAVE, &kv);
}

/* What claim() wrote. In the environment it would be a root for Nix's collector. */
static void read_claim(char *(*out)[3])
{
	bl_autofree char *at = file_here("claim");
	char *text = bl_slurp(at, 65536);
	for (size_t i = 0; i < 3; i++)
		(*out)[i] = strsep(&text, "|");
}

static void say_have_claimed(void)
{
	char *c[3];
	read_claim(&c);
	say_have(c[0], c[1], c[2]);
}

static void say_bits(enum bl_copy_frame type, const char *bits, size_t len)
{
	(void)!bl_talk_frame((uint16_t)type, bits, len);
}

/* What serve.c does, for one closure. */
static void play_real(void)
{
	struct bl_kv kv = read_copy();
	char *claimed[3];
	read_claim(&claimed);
	const char *system = claimed[0];
	bl_autofree char *root = file_here("root");
	struct bl_receive_spec spec = { .system = *system ? system : NULL,
					.root = root,
					.socket = "",
					.env = (const char *const *)env.items,
					.memory_bytes = 64 * MIB };
	bl_autofree char *pid = bl_xprintf("%d", getpid());
	bl_autofree char *at = file_here("agent");
	bl_autofd int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	(void)!bl_write_all(fd, pid, strlen(pid), NULL);
	(void)bl_receive(&spec, &kv, &in);
	bl_kv_free(&kv);
	/* whoever looks what it needed looks now */
	stay();
}

/* Its disk is small. */
static void play_small(void)
{
	bl_strv_addf(&env, "NIX_REMOTE=%s/small", folder);
	for (size_t i = 0; i + 1 < env.n; i++)
		if (bl_starts_with(env.items[i], "NIX_REMOTE="))
			bl_replace_str(&env.items[i], "BELAY_NOTHING=");
	play_real();
}

static void play_done_at_once(void)
{
	read_closure();
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

static void play_done_early(void)
{
	read_closure();
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\0", 1);
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

static void play_too_many_bits(void)
{
	read_closure();
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\0\0", 2);
	stay();
}

static void play_bits_of_nothing(void)
{
	read_closure();
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\x08", 1);
	stay();
}

static void play_no_frames(void)
{
	read_closure();
	(void)!write(STDOUT_FILENO, "Connection to web1 closed.\n", 27);
	stay();
}

static void play_failed_bits(void)
{
	read_closure();
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\0", 1);
	read_pieces();
	say_bits(BL_COPY_FAILED, "\7\7", 2);
	stay();
}

static void play_failed_twice(void)
{
	read_closure();
	say_have_claimed();
	say_bits(BL_COPY_VALID, "\0", 1);
	for (int i = 0; i < 2; i++) {
		read_pieces();
		say_bits(BL_COPY_FAILED, "\7", 1);
	}
	stay();
}

/* Says more than once what it has, and that in pieces of nothing. */
static void play_have_twice(void)
{
	read_closure();
	say_have("", "", "100000000");
	say_have("/nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-x", "00", "1");
	for (int i = 0; i < 1000; i++)
		say_bits(BL_COPY_VALID, "", 0);
	say_bits(BL_COPY_VALID, "\0", 1);
	say_bits(BL_COPY_VALID, "\7", 1);
	say_bits(BL_COPY_FAILED, "\7", 1);
	say_have("", "", "1");
	read_pieces();
	say_bits(BL_COPY_VALID, "\7", 1);
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

/* As it claims. */
static void play_claims(void)
{
	read_closure();
	say_have_claimed();
	say_bits(BL_COPY_VALID, "\0", 1);
	read_pieces();
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

enum { LINES = 5000 };

static void play_lines(void)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) line = { 0 };
	char text[4000];
	memset(text, '\x1b', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	bl_kv_set(&kv, "stream", "copy");
	bl_kv_set(&kv, "line", text);
	bl_msg_put(&line, BL_MSG_LINE, &kv);
	read_closure();
	for (int i = 0; i < LINES; i++)
		(void)!bl_write_all(STDOUT_FILENO, line.data, line.len, NULL);
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\0", 1);
	read_pieces();
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

/* Reads on when there is a file for it. */
static void play_stalled(void)
{
	bl_autofree char *at = file_here("go-on");
	read_closure();
	say_have("", "", "100000000");
	say_bits(BL_COPY_VALID, "\0", 1);
	while (access(at, F_OK) < 0)
		bl_sleep_ms(10);
	read_pieces();
	(void)!bl_talk_reply(BL_MSG_OK, NULL);
	stay();
}

static const struct {
	const char *name;
	void (*play)(void);
} plays[] = {
	{ "real", play_real },
	{ "small", play_small },
	{ "done-at-once", play_done_at_once },
	{ "done-early", play_done_early },
	{ "too-many-bits", play_too_many_bits },
	{ "bits-of-nothing", play_bits_of_nothing },
	{ "no-frames", play_no_frames },
	{ "failed-bits", play_failed_bits },
	{ "failed-twice", play_failed_twice },
	{ "have-twice", play_have_twice },
	{ "claims", play_claims },
	{ "lines", play_lines },
	{ "stalled", play_stalled },
};

static int play(const char *name)
{
	signal(SIGPIPE, SIG_IGN);
	(void)!write(STDOUT_FILENO, BL_WIRE_BANNER, sizeof(BL_WIRE_BANNER) - 1);
	for (size_t i = 0; i < BL_COUNT(plays); i++)
		if (strcmp(plays[i].name, name) == 0)
			plays[i].play();
	return 0;
}

/* ==== the deployer */

/* One run of belay. */
struct run {
	uv_loop_t loop;
	uv_timer_t limit;
	struct bl_engine *engine;
	size_t running;
};

/* One host of it. */
struct copy {
	struct run *run;
	struct bl_session *session;
	struct bl_send *send;
	struct bl_copy_stats stats;
	char *what, *remedy, *line;
	size_t lines, again; /* of these, that something came a second time */
	long agent_kib;      /* the most that the agent needed */
	/* when the host has said what it has, and before that is heard */
	void (*meanwhile)(void *ctx);
	void (*done)(void *ctx); /* when it is over */
	void *ctx;
};

static void on_limit(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("a copy does not end");
}

static void begin_run(struct run *r, const char *dir)
{
	struct bl_err err = { 0 };
	*r = (struct run){ 0 };
	struct bl_engine_spec spec = { .dir = dir ? dir : folder, .level = dir ? 0 : 1 };
	assert_int_equal(uv_loop_init(&r->loop), 0);
	uv_timer_init(&r->loop, &r->limit);
	uv_timer_start(&r->limit, on_limit, is_large() ? 1200000 : 120000, 0);
	assert_works(bl_engine_new(&r->loop, &spec, &r->engine, &err), &err);
}

static void end_run(struct run *r)
{
	uv_timer_stop(&r->limit);
	bl_engine_free(r->engine);
	bl_loop_end(&r->loop);
}

static void over(struct copy *c, const char *what, const char *remedy)
{
	c->send = NULL;
	bl_replace_str(&c->what, what);
	bl_replace_str(&c->remedy, remedy);
	bl_session_drop(BL_STEAL(c->session));
	if (c->done)
		c->done(c->ctx);
	if (--c->run->running == 0)
		uv_stop(&c->run->loop);
}

static void on_sent(void *ctx, const struct bl_copy_stats *stats, const char *what,
		    const char *remedy)
{
	struct copy *c = ctx;
	c->stats = *stats;
	over(c, what, remedy);
}

static void on_line(void *ctx, const char *line)
{
	struct copy *c = ctx;
	/* what is about to be sent */
	if (strncmp(line, "copying ", 8) == 0)
		return;
	c->lines++;
	c->again += strstr(line, "sent again") != NULL;
	bl_replace_str(&c->line, line);
}

static void on_progress(void *ctx, const struct bl_copy_stats *stats)
{
	((struct copy *)ctx)->stats = *stats;
}

/* What the last one that came up has needed. */
static long agent_peak(void)
{
	bl_autofree char *at = file_here("agent");
	bl_autofree char *pid = bl_slurp(at, 64);
	return pid ? peak_of(pid) : -1;
}

static void on_msg(void *ctx, const struct bl_msg *m)
{
	struct copy *c = ctx;
	if (c->meanwhile && m->type == BL_MSG_HAVE)
		c->meanwhile(c->ctx);
	/* it is at its end, and still there */
	if (m->type == BL_MSG_OK)
		c->agent_kib = agent_peak();
	if (c->send)
		bl_send_msg(c->send, m);
}

static void on_frame(void *ctx, const struct bl_frame *f)
{
	struct copy *c = ctx;
	if (c->send)
		bl_send_frame(c->send, f);
}

static void on_drained(void *ctx)
{
	struct copy *c = ctx;
	if (c->send)
		bl_send_drained(c->send);
}

static void on_gone(void *ctx, const char *what, const char *remedy)
{
	struct copy *c = ctx;
	bl_send_drop(BL_STEAL(c->send));
	c->session = NULL;
	over(c, what, remedy);
}

static void begin_copy(struct run *r, struct copy *c, const char *host, const char *top)
{
	static const struct bl_session_events events = {
		.msg = on_msg, .frame = on_frame, .drained = on_drained, .gone = on_gone
	};
	static char name[] = "root@web1";
	struct bl_node node = { .host = name };
	struct bl_err err = { 0 };
	BL_AUTO(bl_strv) tops = { 0 };
	c->run = r;
	bl_strv_add(&tops, top);
	setenv("PLAY", host, 1);
	r->running++;
	assert_works(bl_session_work(&r->loop, &node, "/run/control", "/nix/store/agent", "",
				     &events, c, &c->session, &err),
		     &err);
	const struct bl_send_spec spec = { .session = c->session,
					   .tops = &tops,
					   .line = on_line,
					   .progress = on_progress,
					   .done = on_sent,
					   .ctx = c };
	bl_send_start(r->engine, &spec, &c->send);
}

static void copy_autop(struct copy *c)
{
	free(c->what);
	free(c->remedy);
	free(c->line);
}

static void finish(struct run *r)
{
	if (r->running > 0)
		uv_run(&r->loop, UV_RUN_DEFAULT);
	end_run(r);
}

/* What the host has, as it says. */
static void claim(const char *old, const char *digest, const char *memory)
{
	bl_autofree char *at = file_here("claim");
	FILE *f = fopen(at, "we");
	assert_true(f && fprintf(f, "%s|%s|%s", old, digest, memory) > 0);
	assert_int_equal(fclose(f), 0);
}

/* One copy from beginning to end. */
static void copy(struct copy *c, const char *host, const char *top)
{
	struct run r;
	begin_run(&r, NULL);
	begin_copy(&r, c, host, top);
	finish(&r);
}

static void assert_copied(const struct copy *c)
{
	if (c->what)
		fail_msg("%s; %s", c->what, c->remedy);
}

static void assert_not_copied(const struct copy *c, const char *what, const char *remedy)
{
	if (!c->what || !strstr(c->what, what) || !strstr(c->remedy, remedy))
		fail_msg("'%s', '%s'; wanted '%s', '%s'", c->what ? c->what : "copied",
			 c->remedy ? c->remedy : "", what, remedy);
}

static char *noted(void)
{
	bl_autofree char *at = file_here("noted");
	char *text = bl_slurp(at, 65536);
	unlink(at);
	return text ? text : bl_xstrdup("");
}

static void assert_noted(const char *want)
{
	bl_autofree char *text = noted();
	assert_string_equal(text, want);
}

/* ==== stores and paths */

/* A command at the deployer; RUN() is at the host. */
static int run_here(const char *const *argv)
{
	struct bl_child_spec spec = {
		.argv = argv, .timeout_ms = 60000, .out_max = MIB, .err_mode = BL_CHILD_ERR_KEEP
	};
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	return r.status;
}
#define RUN_HERE(...) run_here((const char *const[]){ __VA_ARGS__, NULL })

static void note_problem(void *ctx, const char *path, const char *problem)
{
	(void)ctx;
	if (problem)
		fail_msg("%s: %s", path, problem);
}

/* A daemon of the host's store, or of the deployer's. */
static struct bl_daemon *open_store(bool host)
{
	struct bl_daemon_spec spec = { .socket = "",
				       .env = host ? (const char *const *)env.items : NULL,
				       .quiet_ms = 600000,
				       .added = note_problem };
	struct bl_daemon *d = NULL;
	struct bl_err err = { 0 };
	assert_works(bl_daemon_open(&spec, &d, &err), &err);
	return d;
}

static void close_store(struct bl_daemon *d)
{
	struct bl_err err = { 0 };
	assert_works(bl_daemon_finish(d, &err), &err);
	bl_daemon_close(d);
}

/* A text with the name, of which there may be more builds. */
static struct thing build(const char *name, const char *salt, const char *text, size_t len)
{
	bl_autofree char *salted = bl_xprintf("%s-%s", name, salt);
	struct thing named = text_thing(salted);
	struct thing t = thing(name, text, len);
	memcpy(t.info.path + sizeof(BL_STORE_DIR), named.info.path + sizeof(BL_STORE_DIR),
	       BL_STORE_HASH_LEN);
	thing_autop(&named);
	return t;
}

static void refer(struct thing *t, const struct thing *to)
{
	bl_strv_add(&t->info.references, to->info.path);
}

enum { LIB, BIG, TOP, PARTS };

/* A library, what is large and refers to it, and what refers to both. */
struct closure {
	struct thing part[PARTS];
};

static void closure_autop(struct closure *y)
{
	for (size_t i = 0; i < PARTS; i++)
		thing_autop(&y->part[i]);
}

static void make(struct closure *y, const char *name, const char *salt, size_t size)
{
	BL_AUTO(bl_buf) text = { 0 };
	uint64_t seed = 7;
	bl_autofree char *lib = bl_xprintf("%s-lib", name);
	bl_autofree char *big = bl_xprintf("%s-big", name);
	y->part[LIB] = build(lib, salt, name, strlen(name));
	bl_buf_printf(&text, "%s %s\n", salt, y->part[LIB].info.path);
	while (text.len < size) {
		uint64_t v = unit_random(&seed);
		bl_buf_append(&text, &v, sizeof(v));
	}
	y->part[BIG] = build(big, salt, text.data, text.len);
	bl_buf_clear(&text);
	bl_buf_printf(&text, "%s\n%s\n", y->part[LIB].info.path, y->part[BIG].info.path);
	y->part[TOP] = build(name, salt, text.data, text.len);
	refer(&y->part[BIG], &y->part[LIB]);
	refer(&y->part[TOP], &y->part[LIB]);
	refer(&y->part[TOP], &y->part[BIG]);
}

static void put(const struct closure *y, bool host)
{
	struct bl_daemon *d = open_store(host);
	for (size_t i = 0; i < PARTS; i++)
		add(d, &y->part[i]);
	close_store(d);
}

/* As make(), and it is in the deployer's store. */
static void make_here(struct closure *y, const char *name, const char *salt, size_t size)
{
	make(y, name, salt, size);
	put(y, false);
}

static const char *top(const struct closure *y)
{
	return y->part[TOP].info.path;
}

static void assert_there(const struct closure *y)
{
	for (size_t i = 0; i < PARTS; i++)
		if (RUN(NULL, "nix-store", "--verify-path", y->part[i].info.path) != 0)
			fail_msg("%s is not there as it should be", y->part[i].info.path);
}

static bool is_there(const char *path)
{
	return RUN(NULL, "nix-store", "--check-validity", path) == 0;
}

/* The digest that a host gives of it. */
static char *digest_of(const struct closure *y)
{
	BL_AUTO(bl_strv) paths = { 0 };
	uint8_t digest[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	for (size_t i = 0; i < PARTS; i++)
		bl_strv_add(&paths, y->part[i].info.path);
	bl_copy_sort(&paths);
	bl_copy_digest(&paths, digest);
	bl_hex(digest, sizeof(digest), hex);
	return bl_xstrdup(hex);
}

/* A byte of the file is another one, behind Nix's back. */
static void damage(const char *root, const char *path)
{
	bl_autofree char *at = bl_xprintf("%s%s", root, path);
	assert_int_equal(chmod(at, 0644), 0);
	bl_autofd int fd = open(at, O_RDWR | O_CLOEXEC);
	char c = 0;
	assert_int_equal(pread(fd, &c, 1, 1000), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, 1000), 1);
}

static char *memory; /* a folder whose files are nowhere else, NULL: none */

/* What happens to folders from here on is this process's alone. */
static void make_namespace(void)
{
	static char at[] = "/tmp/belay-memory.XXXXXX";
	have_store = unshare(CLONE_NEWNS) == 0 &&
		     mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	if (!have_store || is_large() || !mkdtemp(at))
		return;
	memory = at;
	if (mount("none", memory, "tmpfs", 0, "size=1g") == 0)
		setenv("TMPDIR", memory, 1);
}

static int make_both(void **state)
{
	make_namespace();
	if (make_store(state) < 0)
		return -1;
	bl_autofree char *here = file_here("here");
	bl_autofree char *ssh = file_here("ssh");
	bl_autofree char *self = bl_realpath("/proc/self/exe");
	bl_autofree char *path = bl_xprintf("%s:%s", folder, getenv("PATH"));
	setenv("PATH", path, 1);
	setenv("HOME", folder, 1);
	setenv("BELAY_TEST_FOLDER", folder, 1);
	setenv("NIX_CONF_DIR", folder, 1);
	setenv("NIX_USER_CONF_FILES", "", 1);
	unsetenv("NIX_REMOTE");
	claim("", "", "");
	FILE *f = fopen(ssh, "we");
	if (!f || fprintf(f, "#!/bin/sh\nexec '%s' \"$PLAY\"\n", self) < 0 || fclose(f) != 0 ||
	    chmod(ssh, 0755) < 0 || mkdir(here, 0755) < 0)
		return -1;
	if (have_store)
		mkdir("/nix", 0755);
	have_store = have_store && mount(here, "/nix", NULL, MS_BIND, NULL) == 0;
	return 0;
}

static int remove_both(void **state)
{
	if (have_store)
		umount2("/nix", MNT_DETACH);
	int rc = remove_store(state);
	if (memory) {
		umount2(memory, MNT_DETACH);
		rmdir(memory);
	}
	return rc;
}

/* ==== tests */

/* ---- hosts that lie */

static void a_host_that_speaks_out_of_turn_is_told_of(void **state)
{
	(void)state;
	need_store();
	static const char early[] = "says that it is done before it can be";
	static const char version[] = "use the same version of belay on both ends";
	static const struct {
		const char *host, *what, *remedy;
	} cases[] = {
		{ "done-early", early, version },
		{ "too-many-bits", "bits", version },
		{ "bits-of-nothing", "bits", version },
		{ "failed-bits", "bits", version },
		{ "no-frames", "does not speak belay's frames", version },
	};
	struct closure y __attribute__((cleanup(closure_autop)));
	make_here(&y, "liar", "a", 100 * KIB);
	claim("", "", "");
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
		copy(&c, cases[i].host, top(&y));
		assert_not_copied(&c, cases[i].what, cases[i].remedy);
		free(noted());
	}
}

/* That it has what refers to all of it is the host's to know. */
static void a_host_that_has_it_is_sent_nothing(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&y, "had", "a", 100 * KIB);
	copy(&c, "done-at-once", top(&y));
	assert_copied(&c);
	assert_int_equal(c.stats.sent_paths, 0);
	assert_int_equal(c.lines, 0);
	free(noted());
}

static void what_is_said_twice_counts_once(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&y, "twice", "a", 100 * KIB);
	copy(&c, "have-twice", top(&y));
	assert_copied(&c);
	assert_int_equal(c.stats.sent_paths, PARTS);
	assert_noted("0 based, 3 whole\n");
}

static void what_fails_twice_is_the_end(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&old, "failing", "a", 100 * KIB);
	make_here(&new, "failing", "b", 100 * KIB);
	bl_autofree char *digest = digest_of(&old);
	claim(top(&old), digest, "100000000");
	copy(&c, "failed-twice", top(&new));
	assert_not_copied(&c, "not what Nix there expects", "--check-contents");
	/* what was told by an old path comes again as it is */
	assert_noted("3 based, 0 whole\n0 based, 3 whole\n");
	assert_string_equal(c.line,
			    "some paths did not come right; they are sent again, in full");
}

static void claims_of_an_old_system_are_not_taken_on_trust(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	make_here(&old, "claimed", "a", 100 * KIB);
	make_here(&new, "claimed", "b", 100 * KIB);
	bl_autofree char *right = digest_of(&old);
	bl_autofree char *other = digest_of(&new);
	static const char nowhere[] = "/nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-nothing";
	const struct {
		const char *old, *digest, *memory, *noted;
	} cases[] = {
		{ top(&old), right, "100000000", "3 based, 0 whole\n" },
		{ top(&old), other, "100000000", "0 based, 3 whole\n" },
		{ top(&old), "no digest", "100000000", "0 based, 3 whole\n" },
		{ top(&old), "", "100000000", "0 based, 3 whole\n" },
		{ nowhere, right, "100000000", "0 based, 3 whole\n" },
		{ "/etc/passwd", right, "100000000", "0 based, 3 whole\n" },
		{ "", right, "100000000", "0 based, 3 whole\n" },
		/* memory for nothing, for everything, and no number */
		{ top(&old), right, "0", "0 based, 3 whole\n" },
		{ top(&old), right, "1", "0 based, 3 whole\n" },
		{ top(&old), right, "18446744073709551615", "3 based, 0 whole\n" },
		{ top(&old), right, "99999999999999999999999", "0 based, 3 whole\n" },
		{ top(&old), right, "-1", "0 based, 3 whole\n" },
		{ top(&old), right, "", "0 based, 3 whole\n" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
		claim(cases[i].old, cases[i].digest, cases[i].memory);
		copy(&c, "claims", top(&new));
		assert_copied(&c);
		assert_noted(cases[i].noted);
	}
}

static void lines_without_end_take_no_memory(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&y, "lines", "a", 100 * KIB);
	forget_peak();
	long before = peak_of("self");
	copy(&c, "lines", top(&y));
	assert_copied(&c);
	assert_true(c.lines >= LINES);
	free(noted());
	print_message("# %ld KiB for 20 MB of lines\n", peak_of("self") - before);
	assert_in_range(peak_of("self") - before + 1024, 0, 8 * KIB);
}

/* ---- old systems that are not what they should be */

static void an_old_path_that_is_damaged_there_is_done_without(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	bl_autofree char *root = file_here("root");
	make_here(&old, "rotten", "a", 300 * KIB);
	make_here(&new, "rotten", "b", 300 * KIB);
	put(&old, true);
	damage(root, old.part[BIG].info.path);
	claim(top(&old), "", "");
	copy(&c, "real", top(&new));
	assert_copied(&c);
	/* what Nix said, and that it came again */
	assert_int_equal(c.again, 1);
	assert_there(&new);
	assert_in_range(c.stats.wire_bytes, 300 * KIB, 400 * KIB);
}

static void an_old_path_that_has_gone_here_is_done_without(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&old, "gone", "a", 300 * KIB);
	make_here(&new, "gone", "b", 300 * KIB);
	put(&old, true);
	/* Nix believes that it is there */
	assert_int_equal(unlink(old.part[BIG].info.path), 0);
	claim(top(&old), "", "");
	copy(&c, "real", top(&new));
	assert_copied(&c);
	assert_int_equal(c.again, 0);
	assert_there(&new);
	assert_in_range(c.stats.wire_bytes, 300 * KIB, 400 * KIB);
}

static void what_is_damaged_here_is_refused(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&y, "damaged", "a", 300 * KIB);
	damage("", y.part[BIG].info.path);
	claim("", "", "");
	copy(&c, "real", top(&y));
	assert_not_copied(&c, "-damaged-big: hash mismatch", "what was copied so far stays");
	assert_true(is_there(y.part[LIB].info.path));
	assert_false(is_there(y.part[BIG].info.path));
	assert_false(is_there(top(&y)));
}

static void what_has_gone_here_is_named(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_here(&y, "vanished", "a", 300 * KIB);
	assert_int_equal(unlink(y.part[BIG].info.path), 0);
	claim("", "", "");
	copy(&c, "real", top(&y));
	assert_not_copied(&c, y.part[BIG].info.path, "nix-store --verify");
	assert_false(is_there(top(&y)));
}

/* Paths of one hash have no place among pairs. */
static void an_old_system_that_cannot_be_paired_is_done_without(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make(&old, "unpaired", "a", 100 * KIB);
	make_here(&new, "unpaired", "b", 100 * KIB);
	memcpy(old.part[TOP].info.path + sizeof(BL_STORE_DIR),
	       old.part[LIB].info.path + sizeof(BL_STORE_DIR), BL_STORE_HASH_LEN);
	put(&old, false);
	put(&old, true);
	claim(top(&old), "", "");
	copy(&c, "real", top(&new));
	assert_copied(&c);
	assert_there(&new);
}

/* ---- garbage collection */

static void collect_here(void *ctx)
{
	(void)ctx;
	assert_int_equal(RUN_HERE("nix-store", "--gc"), 0);
}

static void a_collection_here_spares_what_is_sent_and_what_it_is_told_by(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { .meanwhile = collect_here };
	struct run r;
	BL_AUTO(bl_strv) tops = { 0 };
	make_here(&old, "collected", "a", 300 * KIB);
	make_here(&new, "collected", "b", 300 * KIB);
	put(&old, true);
	claim(top(&old), "", "");
	bl_strv_add(&tops, top(&old));
	begin_run(&r, NULL);
	/* as if another host had been told by it before */
	bl_engine_expect(r.engine, &tops);
	begin_copy(&r, &c, "real", top(&new));
	finish(&r);
	assert_copied(&c);
	assert_there(&new);
	assert_in_range(c.stats.wire_bytes, 1, 10 * KIB);
	/* and nothing is kept for longer */
	collect_here(NULL);
	assert_int_not_equal(access(top(&new), F_OK), 0);
	assert_int_not_equal(access(top(&old), F_OK), 0);
}

static void an_old_system_that_was_collected_here_is_done_without(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { .meanwhile = collect_here };
	make_here(&old, "swept", "a", 300 * KIB);
	make_here(&new, "swept", "b", 300 * KIB);
	put(&old, true);
	claim(top(&old), "", "");
	copy(&c, "real", top(&new));
	assert_copied(&c);
	assert_there(&new);
	assert_in_range(c.stats.wire_bytes, 300 * KIB, 400 * KIB);
}

static void collect_there(void *ctx)
{
	(void)ctx;
	assert_int_equal(RUN(NULL, "nix-store", "--gc"), 0);
}

static void a_collection_there_spares_what_it_is_told_by(void **state)
{
	(void)state;
	need_store();
	struct closure old __attribute__((cleanup(closure_autop)));
	struct closure new __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { .meanwhile = collect_there };
	make_here(&old, "dust", "a", 300 * KIB);
	make_here(&new, "dust", "b", 300 * KIB);
	put(&old, true);
	claim(top(&old), "", "");
	copy(&c, "real", top(&new));
	assert_copied(&c);
	assert_int_equal(c.again, 0);
	assert_there(&new);
	assert_there(&old);
	assert_in_range(c.stats.wire_bytes, 1, 10 * KIB);
}

enum { SMALL = 300 };

/* Small paths that refer to some before them, in the deployer's store; the last is the top. */
static void make_many(struct bl_strv *paths, const char *name, size_t n)
{
	struct bl_daemon *d = open_store(false);
	struct thing last = { 0 };
	for (size_t i = 0; i <= n; i++) {
		bl_autofree char *one = bl_xprintf("%s-%zu", name, i);
		struct thing t = text_thing(one);
		if (i > 0)
			bl_strv_add(&t.info.references, paths->items[i - 1]);
		if (i > 3)
			bl_strv_add(&t.info.references, paths->items[i / 3]);
		add(d, &t);
		bl_strv_add(paths, t.info.path);
		thing_autop(&last);
		last = t;
	}
	thing_autop(&last);
	close_store(d);
}

/* All of the closure is valid at the host, and what Nix says of its contents is right. */
static void assert_all_there(const struct bl_strv *paths)
{
	struct bl_daemon *d = open_store(true);
	struct bl_err err = { 0 };
	bl_autofree bool *valid = bl_xcalloc(paths->n, sizeof(*valid));
	assert_works(bl_query_valid(d, paths, valid, &err), &err);
	for (size_t i = 0; i < paths->n; i++)
		if (!valid[i])
			fail_msg("%s is not there", paths->items[i]);
	close_store(d);
	assert_int_equal(RUN(NULL, "nix-store", "--verify", "--check-contents"), 0);
}

static void collections_there_lose_nothing(void **state)
{
	(void)state;
	need_store();
	static const char *const argv[] = { "/bin/sh", "-c",
					    "while :; do nix-store --gc || exit 1; done",
					    NULL };
	struct bl_child_spec spec = { .argv = argv, .env = (const char *const *)env.items };
	atomic_bool stop = false;
	struct bl_child child;
	BL_AUTO(bl_child_result) result = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	struct bl_err err = { 0 };
	spec.stop = &stop;
	make_many(&paths, "garbage", SMALL);
	const char *last = paths.items[paths.n - 1];
	/* what the next system's root is for; until it is valid, it keeps nothing */
	bl_autofree char *root = file_here("root/nix/var/nix/gcroots/next");
	assert_int_equal(RUN(NULL, "nix-store", "--verify"), 0);
	assert_int_equal(symlink(last, root), 0);
	claim("", "", "");
	assert_works(bl_child_start(&spec, &child, &err), &err);
	copy(&c, "real", last);
	stop = true;
	bl_child_finish(&spec, &child, &result);
	assert_copied(&c);
	assert_int_equal(c.stats.sent_paths, paths.n);
	assert_all_there(&paths);
	assert_int_equal(RUN(NULL, "nix-store", "--gc"), 0);
	assert_all_there(&paths);
	unlink(root);
}

/* ---- others at the same time */

static void put_there(void *ctx)
{
	put(ctx, true);
}

static void what_becomes_valid_in_between_is_no_failure(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { .meanwhile = put_there };
	make_here(&y, "between", "a", 300 * KIB);
	c.ctx = &y;
	claim("", "", "");
	copy(&c, "real", top(&y));
	assert_copied(&c);
	assert_int_equal(c.again, 0);
	assert_int_equal(c.stats.sent_paths, PARTS);
	assert_there(&y);
}

/* Each has the other's paths to wait for. */
static void two_senders_of_one_closure_both_end_well(void **state)
{
	(void)state;
	need_store();
	BL_AUTO(bl_strv) paths = { 0 };
	struct copy c[2] = { 0 };
	struct run r;
	make_many(&paths, "both", SMALL);
	claim("", "", "");
	begin_run(&r, NULL);
	for (size_t i = 0; i < 2; i++)
		begin_copy(&r, &c[i], "real", paths.items[paths.n - 1]);
	finish(&r);
	for (size_t i = 0; i < 2; i++) {
		assert_copied(&c[i]);
		copy_autop(&c[i]);
	}
	assert_all_there(&paths);
}

static void two_senders_of_closures_that_share_paths_both_end_well(void **state)
{
	(void)state;
	need_store();
	BL_AUTO(bl_strv) paths = { 0 };
	struct copy c[2] = { 0 };
	struct run r[2];
	make_many(&paths, "shared", SMALL);
	/* the half is in the closure of the whole */
	const char *tops[2] = { paths.items[paths.n - 1], paths.items[paths.n / 2] };
	claim("", "", "");
	begin_run(&r[0], NULL);
	for (size_t i = 0; i < 2; i++)
		begin_copy(&r[0], &c[i], "real", tops[i]);
	finish(&r[0]);
	for (size_t i = 0; i < 2; i++) {
		assert_copied(&c[i]);
		copy_autop(&c[i]);
	}
	assert_all_there(&paths);
}

static void let_go_on(void *ctx)
{
	(void)ctx;
	bl_autofree char *at = file_here("go-on");
	FILE *f = fopen(at, "we");
	assert_true(f && fclose(f) == 0);
}

/* What waits for it waits in the spool. */
static void a_host_that_does_not_read_delays_none_and_takes_no_memory(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c[2] = { { .done = NULL }, { .done = let_go_on } };
	struct run r;
	make_here(&y, "waiting", "a", 256 * MIB);
	bl_autofree char *at = file_here("go-on");
	claim("", "", "100000000");
	begin_run(&r, folder);
	forget_peak();
	long before = peak_of("self");
	begin_copy(&r, &c[0], "stalled", top(&y));
	begin_copy(&r, &c[1], "claims", top(&y));
	finish(&r);
	for (size_t i = 0; i < 2; i++) {
		assert_copied(&c[i]);
		copy_autop(&c[i]);
	}
	unlink(at);
	free(noted());
	print_message("# %ld KiB for 256 MiB\n", peak_of("self") - before);
	/* that of two threads at zstd's level 10 */
	assert_in_range(peak_of("self") - before + 1024, 0, 200 * KIB);
}

/* ---- disks that are full, and daemons that die */

static void a_full_disk_here_is_named_with_the_remedy(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	struct run r;
	bl_autofree char *dir = file_here("tiny");
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mount("none", dir, "tmpfs", 0, "size=2m"), 0);
	make_here(&y, "toolarge", "a", 8 * MIB);
	claim("", "", "");
	begin_run(&r, dir);
	begin_copy(&r, &c, "real", top(&y));
	finish(&r);
	umount2(dir, MNT_DETACH);
	assert_not_copied(&c, dir, "set TMPDIR to a folder with more");
	assert_not_copied(&c, "No space left on device", "");
	assert_false(is_there(top(&y)));
}

static void a_full_disk_there_is_refused_with_the_remedy(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	bl_autofree char *dir = file_here("small");
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(mount("none", dir, "tmpfs", 0, "size=6m"), 0);
	make_here(&y, "nowhere", "a", 8 * MIB);
	claim("", "", "");
	copy(&c, "small", top(&y));
	umount2(dir, MNT_DETACH);
	assert_not_copied(&c, "No space left on device", "nix-collect-garbage");
}

static void a_daemon_that_dies_here_is_told_of(void **state)
{
	(void)state;
	need_store();
	struct closure y __attribute__((cleanup(closure_autop)));
	static const char script[] =
		"#!/bin/sh\nPATH=${PATH#*:}\n"
		"dd bs=4096 count=%zu iflag=count_bytes status=none | nix-daemon --stdio\n";
	/* in the first word, behind it, and in what it is asked */
	static const size_t counts[] = { 4, 32, 70, 150 };
	bl_autofree char *at = file_here("nix-daemon");
	make_here(&y, "dying", "a", 100 * KIB);
	claim("", "", "");
	for (size_t i = 0; i < BL_COUNT(counts); i++) {
		struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
		FILE *f = fopen(at, "we");
		assert_true(f && fprintf(f, script, counts[i]) > 0);
		assert_int_equal(fclose(f), 0);
		assert_int_equal(chmod(at, 0755), 0);
		copy(&c, "real", top(&y));
		assert_not_copied(&c, "this machine's store: ", "Nix's daemon runs");
	}
	unlink(at);
}

/* ---- large ones */

static int64_t began_ns;

static void begin_large(void)
{
	forget_peak();
	began_ns = bl_now_boot_ns();
}

/* Says what it took; the deployer had @before_kib already. */
static void end_large(const char *what, const struct copy *c, long before_kib)
{
	print_message("# %s: %lld ms, %llu bytes for %llu; peak here %ld KiB (%ld before), "
		      "of the agent %ld KiB\n",
		      what, (long long)((bl_now_boot_ns() - began_ns) / BL_NS_PER_MS),
		      (unsigned long long)c->stats.wire_bytes,
		      (unsigned long long)c->stats.nar_bytes, peak_of("self"), before_kib,
		      c->agent_kib);
	/* and bases, of which there are no more than a piece's bound */
	assert_in_range(peak_of("self"), 1, 256 * KIB + 128 * KIB);
	assert_in_range(c->agent_kib, 1, 300 * KIB);
}

static void many_paths_are_copied_within_the_bounds(void **state)
{
	(void)state;
	need_store();
	BL_AUTO(bl_strv) paths = { 0 };
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	make_many(&paths, "thousands", is_large() ? 20000 : 2000);
	claim("", "", "");
	begin_large();
	long before = peak_of("self");
	copy(&c, "real", paths.items[paths.n - 1]);
	assert_copied(&c);
	assert_int_equal(c.stats.sent_paths, paths.n);
	end_large("many paths", &c, before);
	assert_all_there(&paths);
}

static void put_words(struct bl_buf *b, const char *words)
{
	BL_AUTO(bl_strv) list = { 0 };
	bl_strv_split(&list, words, ' ');
	for (size_t i = 0; i < list.n; i++)
		put_text(b, list.items[i], strlen(list.items[i]));
}

/* Its archive is made. */
static void seal(struct thing *t)
{
	struct bl_sha256 s;
	bl_sha256_init(&s);
	bl_sha256_update(&s, t->nar.data, t->nar.len);
	bl_sha256_final(&s, t->info.nar_hash);
	t->info.nar_size = t->nar.len;
}

static struct thing tree(const char *name, size_t files)
{
	struct thing t = text_thing(name);
	bl_buf_clear(&t.nar);
	put_words(&t.nar, "nix-archive-1 ( type directory");
	for (size_t i = 0; i < files; i++) {
		bl_autofree char *file = bl_xprintf("file-%08zu", i);
		put_words(&t.nar, "entry ( name");
		put_text(&t.nar, file, strlen(file));
		put_words(&t.nar, "node ( type regular contents");
		put_text(&t.nar, file, strlen(file));
		put_words(&t.nar, ") )");
	}
	put_words(&t.nar, ")");
	seal(&t);
	return t;
}

static void many_files_are_copied_within_the_bounds(void **state)
{
	(void)state;
	need_store();
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	struct thing t = tree("tree", is_large() ? 100000 : 10000);
	struct bl_daemon *d = open_store(false);
	add(d, &t);
	close_store(d);
	bl_strv_add(&paths, t.info.path);
	thing_autop(&t);
	claim("", "", "");
	begin_large();
	long before = peak_of("self");
	copy(&c, "real", paths.items[0]);
	assert_copied(&c);
	end_large("many files", &c, before);
	assert_all_there(&paths);
}

/* Names and targets that only look as if no archive could hold them. */
static void odd_names_arrive_as_they_are(void **state)
{
	(void)state;
	need_store();
	char long_name[256];
	char long_target[4096];
	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(long_target, 't', sizeof(long_target) - 1);
	long_name[255] = long_target[4095] = '\0';
	const char *const names[] = { "\n",      " ",           "-rf",     "...",
				      "\\",      "caf\xc3\xa9", long_name, "~nix~case~hack~1",
				      "\xff\xfe" };
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	struct thing t __attribute__((cleanup(thing_autop))) = text_thing("odd");
	struct bl_daemon *d = open_store(false);
	bl_buf_clear(&t.nar);
	put_words(&t.nar, "nix-archive-1 ( type directory");
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		put_words(&t.nar, "entry ( name");
		put_text(&t.nar, names[i], strlen(names[i]));
		put_words(&t.nar, i % 2 ? "node ( type symlink target"
					: "node ( type regular executable");
		put_text(&t.nar, i % 2 ? long_target : "", i % 2 ? strlen(long_target) : 0);
		put_words(&t.nar, i % 2 ? ") )" : "contents");
		if (i % 2 == 0) {
			put_text(&t.nar, "", 0);
			put_words(&t.nar, ") )");
		}
	}
	put_words(&t.nar, ")");
	seal(&t);
	add(d, &t);
	close_store(d);
	claim("", "", "");
	copy(&c, "real", t.info.path);
	assert_copied(&c);
	assert_int_equal(c.again, 0);
	assert_int_equal(RUN(NULL, "nix-store", "--verify-path", t.info.path), 0);
}

/* A pipe in a store path, which Nix would not have put there. */
static void what_no_archive_holds_is_named(void **state)
{
	(void)state;
	need_store();
	struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
	struct thing t __attribute__((cleanup(thing_autop))) = tree("piped", 3);
	struct bl_daemon *d = open_store(false);
	add(d, &t);
	close_store(d);
	bl_autofree char *pipe_path = bl_xprintf("%s/a-pipe", t.info.path);
	assert_int_equal(chmod(t.info.path, 0755), 0);
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	claim("", "", "");
	copy(&c, "real", t.info.path);
	assert_not_copied(&c, "/a-pipe: a NAR holds files, links and folders only",
			  "nix-store --verify");
	assert_false(is_there(t.info.path));
}

static int hash(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_sha256_update(ctx, data, len);
	return 0;
}

/* A file with holes that Nix is told of as it lies there; what is in it is at the far end. */
static char *put_sparse(const char *name, const char *salt, uint64_t size)
{
	struct thing t = build(name, salt, "", 0);
	struct bl_err err = { 0 };
	struct bl_sha256 s;
	uint8_t sum[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	bl_autofree char *list = file_here("registration");
	bl_autofree char *command =
		bl_xprintf("nix-store --register-validity --hash-given < '%s'", list);
	int fd = open(t.info.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (uint64_t at = 0; at < size; at += size / 9)
		assert_int_equal(pwrite(fd, salt, 1, (off_t)at), 1);
	assert_int_equal(pwrite(fd, "the end", 7, (off_t)size - 7), 7);
	close(fd);
	const struct timeval times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	assert_int_equal(utimes(t.info.path, times), 0);
	bl_sha256_init(&s);
	assert_works(bl_nar_dump(t.info.path, hash, &s, &err), &err);
	bl_sha256_final(&s, sum);
	bl_hex(sum, sizeof(sum), hex);
	FILE *f = fopen(list, "we");
	/* 112 bytes of archive are around it */
	assert_true(f && fprintf(f, "%s\n%s\n%llu\n\n0\n", t.info.path, hex,
				 (unsigned long long)((size + 7) / 8 * 8 + 112)) > 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(RUN_HERE("/bin/sh", "-c", command), 0);
	char *path = BL_STEAL(t.info.path);
	thing_autop(&t);
	return path;
}

/* As it is, and then another build of it, told by the first in slices. */
static void a_large_file_is_copied_within_the_bounds(void **state)
{
	(void)state;
	need_store();
	uint64_t size = is_large() ? 5ULL << 30 : 64ULL << 20;
	struct statvfs fs;
	if (statvfs(folder, &fs) < 0 || fs.f_bavail * fs.f_frsize < 2 * size + (128ULL << 20))
		skip();
	bl_autofree char *old = put_sparse("sparse", "a", size);
	bl_autofree char *new = put_sparse("sparse", "b", size);
	const char *const paths[] = { old, new };
	for (size_t i = 0; i < 2; i++) {
		struct copy c __attribute__((cleanup(copy_autop))) = { 0 };
		claim(i ? old : "", "", "");
		begin_large();
		long before = peak_of("self");
		copy(&c, "real", paths[i]);
		assert_copied(&c);
		assert_int_equal(c.again, 0);
		end_large(i ? "a large file, told by an old one" : "a large file", &c, before);
		assert_int_equal(RUN(NULL, "nix-store", "--verify-path", paths[i]), 0);
	}
}

int main(int argc, char **argv)
{
	const char *at = getenv("BELAY_TEST_FOLDER");
	if (argc > 1 && at) {
		/* what make_store() made */
		folder = bl_xstrdup(at);
		bl_strv_addf(&env, "PATH=%s", getenv("PATH"));
		bl_strv_addf(&env, "HOME=%s", folder);
		bl_strv_addf(&env, "NIX_CONF_DIR=%s", folder);
		bl_strv_addf(&env, "NIX_REMOTE=%s/root", folder);
		bl_strv_add(&env, "NIX_USER_CONF_FILES=");
		return play(argv[1]);
	}
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_that_speaks_out_of_turn_is_told_of),
		cmocka_unit_test(a_host_that_has_it_is_sent_nothing),
		cmocka_unit_test(what_is_said_twice_counts_once),
		cmocka_unit_test(what_fails_twice_is_the_end),
		cmocka_unit_test(claims_of_an_old_system_are_not_taken_on_trust),
		cmocka_unit_test(lines_without_end_take_no_memory),
		cmocka_unit_test(an_old_path_that_is_damaged_there_is_done_without),
		cmocka_unit_test(an_old_path_that_has_gone_here_is_done_without),
		cmocka_unit_test(what_is_damaged_here_is_refused),
		cmocka_unit_test(what_has_gone_here_is_named),
		cmocka_unit_test(an_old_system_that_cannot_be_paired_is_done_without),
		cmocka_unit_test(a_collection_here_spares_what_is_sent_and_what_it_is_told_by),
		cmocka_unit_test(an_old_system_that_was_collected_here_is_done_without),
		cmocka_unit_test(a_collection_there_spares_what_it_is_told_by),
		cmocka_unit_test(collections_there_lose_nothing),
		cmocka_unit_test(what_becomes_valid_in_between_is_no_failure),
		cmocka_unit_test(two_senders_of_one_closure_both_end_well),
		cmocka_unit_test(two_senders_of_closures_that_share_paths_both_end_well),
		cmocka_unit_test(a_host_that_does_not_read_delays_none_and_takes_no_memory),
		cmocka_unit_test(a_full_disk_here_is_named_with_the_remedy),
		cmocka_unit_test(a_full_disk_there_is_refused_with_the_remedy),
		cmocka_unit_test(a_daemon_that_dies_here_is_told_of),
		cmocka_unit_test(odd_names_arrive_as_they_are),
		cmocka_unit_test(what_no_archive_holds_is_named),
		cmocka_unit_test(many_paths_are_copied_within_the_bounds),
		cmocka_unit_test(many_files_are_copied_within_the_bounds),
		cmocka_unit_test(a_large_file_is_copied_within_the_bounds),
	};
	return cmocka_run_group_tests_name("nix-send", tests, make_both, remove_both);
}
