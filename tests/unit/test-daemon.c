/* SPDX-License-Identifier: MIT */
/* Against daemons that we play ourselves; tests/nix/daemon.c has a real one. */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/query.h"
#include "store/worker.h"

#define A    "/nix/store/00000000000000000000000000000000-a"
#define B    "/nix/store/00000000000000000000000000000001-b"
#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define LAST 0x616c7473U

/* ---- the daemon's side: runs in a child and blocks as real ones do */

static void take(int fd, void *out, size_t len)
{
	for (char *p = out; len > 0;) {
		ssize_t n = read(fd, p, len);
		if (n <= 0)
			_exit(0);
		p += n;
		len -= (size_t)n;
	}
}

static uint64_t take_u64(int fd)
{
	uint8_t bytes[8];
	uint64_t v = 0;
	take(fd, bytes, 8);
	for (size_t i = 0; i < 8; i++)
		v |= (uint64_t)bytes[i] << 8 * i;
	return v;
}

static void take_text(int fd)
{
	char text[4096];
	take(fd, text, (take_u64(fd) + 7) / 8 * 8);
}

static void give(int fd, const void *data, size_t len)
{
	if (bl_write_all(fd, data, len, NULL) < 0)
		_exit(0);
}

static void give_u64(int fd, uint64_t v)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	give(fd, bytes, 8);
}

static void give_text(int fd, const char *s)
{
	static const char zeros[8];
	give_u64(fd, strlen(s));
	give(fd, s, strlen(s));
	give(fd, zeros, (8 - strlen(s) % 8) % 8);
}

static void give_problem(int fd, const char *text)
{
	give_u64(fd, 0x63787470);
	give_text(fd, "Error");
	give_u64(fd, 0);
	give_text(fd, "Error");
	give_text(fd, text);
	give_u64(fd, 0);
	give_u64(fd, 0);
}

static void hello(int fd)
{
	char bytes[32];
	take(fd, bytes, sizeof(bytes));
	give_u64(fd, 0x6478696f);
	give_u64(fd, 0x123);
	give_text(fd, "2.18.1");
	give_u64(fd, 1);
	give_u64(fd, LAST);
}

static void give_no_info(int fd)
{
	give_u64(fd, LAST);
	give_u64(fd, 0);
}

/* ---- our side */

struct told {
	struct bl_buf text;
};

static void note(void *ctx, const char *path, const char *problem)
{
	struct told *t = ctx;
	bl_buf_printf(&t->text, "%s: %s\n", strrchr(path, '-') + 1, problem ? problem : "ok");
}

struct play {
	pid_t pid;
	struct told told;
	struct bl_daemon *d;
	struct bl_err err;
};

static int begin(struct play *p, void (*daemon_side)(int fd), int64_t quiet_ms)
{
	int fds[2];
	alarm(50);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(fds[0]);
		daemon_side(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	struct bl_daemon_spec spec = { .quiet_ms = quiet_ms, .added = note, .ctx = &p->told };
	return bl_daemon_attach(&spec, fds[0], fds[0], &p->d, &p->err);
}

static void end(struct play *p)
{
	bl_daemon_close(p->d);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	bl_buf_free(&p->told.text);
}

static void one_path(struct bl_strv *v)
{
	bl_strv_add(v, A);
}

/* As the one who owns it makes it: so many references to the same. */
static struct bl_path_info info_of(const char *path, uint64_t size)
{
	return (struct bl_path_info){ .path = bl_xstrdup(path), .nar_size = size };
}

static void only_hello(int fd)
{
	hello(fd);
	take_u64(fd);
}

static void what_the_hello_says_is_known(void **state)
{
	(void)state;
	struct play p = { 0 };
	assert_works(begin(&p, only_hello, 5000), &p.err);
	assert_string_equal(bl_daemon_nix_version(p.d), "2.18.1");
	assert_int_equal(bl_daemon_protocol(p.d), 0x123);
	assert_int_equal(bl_daemon_trust(p.d), BL_TRUST_YES);
	assert_true(bl_daemon_works(p.d));
	end(&p);
}

static void refuse(int fd)
{
	char bytes[32];
	take(fd, bytes, sizeof(bytes));
	give_u64(fd, 0x6478696f);
	give_u64(fd, 0x122);
	give_text(fd, "2.8.0");
	give_problem(fd, "user 'nobody' is not allowed to connect to the Nix daemon");
}

static void very_old(int fd)
{
	give_u64(fd, 0x6478696f);
	give_u64(fd, 0x115);
	take_u64(fd);
}

static void closes(int fd)
{
	(void)fd;
}

static void who_does_not_let_us_in_says_why(void **state)
{
	(void)state;
	static const struct {
		void (*side)(int fd);
		enum bl_errc code;
		const char *msg;
	} cases[] = {
		{ refuse, BL_E_FAILED,
		  "Nix daemon: user 'nobody' is not allowed to connect to the Nix daemon" },
		{ very_old, BL_E_REFUSED,
		  "Nix daemon: saying hello: it speaks protocol 1.21, which is older than Nix "
		  "2.4: update Nix on that machine" },
		{ closes, BL_E_FAILED, "Nix daemon: saying hello: it closed the connection" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct play p = { 0 };
		assert_fails(begin(&p, cases[i].side, 5000), &p.err, cases[i].code,
			     cases[i].msg);
		assert_null(p.d);
		end(&p);
	}
}

/* Many log lines for each question, before it reads the next one. */
static void talkative(int fd)
{
	hello(fd);
	char line[2000];
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	for (;;) {
		uint64_t op = take_u64(fd);
		take_text(fd);
		for (int i = 0; i < 5; i++) {
			give_u64(fd, 0x6f6c6d67);
			give_text(fd, line);
		}
		give_u64(fd, LAST);
		give_u64(fd, op == 11);
	}
}

static void answers_are_read_while_questions_are_written(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	assert_works(begin(&p, talkative, 5000), &p.err);
	/* both sides' buffers are smaller than what either has to say */
	for (size_t i = 0; i < 20000; i++)
		bl_strv_add(&paths, A);
	assert_works(bl_query_temp_roots(p.d, &paths, &p.err), &p.err);
	end(&p);
}

static void four_answers(int fd)
{
	hello(fd);
	for (int i = 0; i < 4; i++) {
		take_u64(fd);
		take_text(fd);
		give_u64(fd, LAST);
		give_u64(fd, 1);
	}
}

static void a_daemon_that_ends_says_how_far_it_came(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	bool valid[1] = { true };
	for (size_t i = 0; i < 10; i++)
		bl_strv_add(&paths, A);
	assert_works(begin(&p, four_answers, 5000), &p.err);
	static const char msg[] = "Nix daemon: taking temporary roots (4 of 10 answered): it "
				  "closed the connection";
	assert_fails(bl_query_temp_roots(p.d, &paths, &p.err), &p.err, BL_E_FAILED, msg);
	assert_false(bl_daemon_works(p.d));
	/* and says so again, whatever is asked */
	assert_fails(bl_query_valid(p.d, &paths, valid, &p.err), &p.err, BL_E_FAILED, msg);
	assert_true(valid[0]);
	assert_fails(bl_daemon_finish(p.d, &p.err), &p.err, BL_E_FAILED, msg);
	end(&p);
}

static void reads_nothing(int fd)
{
	hello(fd);
	for (;;)
		pause();
}

static void a_silent_daemon_has_a_limit(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	struct bl_path_infos out = { .n = 7 };
	one_path(&paths);
	assert_works(begin(&p, reads_nothing, 300), &p.err);
	int64_t start = bl_now_boot_ns();
	assert_int_equal(bl_query_rest(p.d, &paths, NULL, &out, &p.err), -1);
	assert_int_equal(p.err.code, BL_E_TIMEOUT);
	assert_true(
		strstr(p.err.msg, "Nix daemon: asking for a closure: nothing came or went"));
	assert_in_range((bl_now_boot_ns() - start) / BL_NS_PER_MS, 250, 5000);
	assert_int_equal(out.n, 7);
	end(&p);
}

static void a_daemon_that_reads_nothing_has_a_limit_too(void **state)
{
	(void)state;
	struct play p = { 0 };
	static const char zeros[1 << 16];
	BL_AUTO(bl_path_info) info = info_of(A, 1ULL << 40);
	assert_works(begin(&p, reads_nothing, 300), &p.err);
	assert_works(bl_daemon_add_begin(p.d, &info, &p.err), &p.err);
	size_t sent = 0;
	while (bl_daemon_add_data(p.d, zeros, sizeof(zeros), &p.err) == 0)
		sent += sizeof(zeros);
	assert_int_equal(p.err.code, BL_E_TIMEOUT);
	assert_in_range(sent, 1 << 20, 4 << 20);
	end(&p);
}

static void odd_answer(int fd)
{
	hello(fd);
	take_u64(fd);
	give_u64(fd, 5);
	take_u64(fd);
}

static void another_path(int fd)
{
	hello(fd);
	take_u64(fd);
	give_u64(fd, LAST);
	give_u64(fd, 1);
	give_text(fd, B);
	take_u64(fd);
}

static void answers_that_do_not_fit_are_errors(void **state)
{
	(void)state;
	static const struct {
		void (*side)(int fd);
		bool works;
		const char *msg;
	} cases[] = {
		{ odd_answer, false,
		  "Nix daemon: asking which paths are valid: 0x5 is no kind of message" },
		{ another_path, true,
		  "Nix daemon: asking which paths are valid: " B
		  " is in the answer, which nobody asked for" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct play p = { 0 };
		bool valid[1];
		BL_AUTO(bl_strv) paths = { 0 };
		one_path(&paths);
		assert_works(begin(&p, cases[i].side, 5000), &p.err);
		assert_fails(bl_query_valid(p.d, &paths, valid, &p.err), &p.err, BL_E_INPUT,
			     cases[i].msg);
		assert_int_equal(bl_daemon_works(p.d), cases[i].works);
		end(&p);
	}
}

static void no_infos(int fd)
{
	hello(fd);
	for (;;) {
		take_u64(fd);
		take_text(fd);
		give_no_info(fd);
	}
}

static void refusing(int fd)
{
	hello(fd);
	for (int i = 0;; i++) {
		take_u64(fd);
		take_text(fd);
		if (i == 1)
			give_problem(fd, "\x1b[31mno\x1b[0m");
		else
			give_no_info(fd);
	}
}

static void a_path_that_is_not_valid_is_named_and_all_goes_on(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_path_infos) out = { 0 };
	bl_strv_add(&paths, A);
	bl_strv_add(&paths, B);
	assert_works(begin(&p, no_infos, 5000), &p.err);
	for (int i = 0; i < 2; i++) {
		assert_fails(bl_query_closure(p.d, &paths, &out, &p.err), &p.err, BL_E_FAILED,
			     "Nix daemon: asking for a closure: " A " is not valid");
	}
	end(&p);
	p = (struct play){ 0 };
	assert_works(begin(&p, refusing, 5000), &p.err);
	assert_fails(bl_query_temp_roots(p.d, &paths, &p.err), &p.err, BL_E_FAILED,
		     "Nix daemon: taking temporary roots: " B ": no");
	assert_true(bl_daemon_works(p.d));
	end(&p);
}

/* A knows B, B knows A: what no Nix has. */
static void circle(int fd)
{
	hello(fd);
	for (int i = 0;; i++) {
		take_u64(fd);
		take_text(fd);
		give_u64(fd, LAST);
		give_u64(fd, 1);
		give_text(fd, "");
		give_text(fd, HASH);
		give_u64(fd, 1);
		give_text(fd, i % 2 ? A : B);
		for (int k = 0; k < 4; k++)
			give_u64(fd, 0);
		give_text(fd, "");
	}
}

static void a_closure_with_a_circle_is_refused(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_path_infos) out = { 0 };
	one_path(&paths);
	assert_works(begin(&p, circle, 5000), &p.err);
	assert_fails(bl_query_closure(p.d, &paths, &out, &p.err), &p.err, BL_E_INPUT,
		     "Nix daemon: asking for a closure: " B " and " A
		     " refer to each other in a circle");
	end(&p);
}

/* Takes paths as a daemon does; every second one fails. */
static void takes_paths(int fd)
{
	hello(fd);
	char data[65536];
	for (int i = 0;; i++) {
		take_u64(fd); /* the operation, then its fields */
		for (int k = 0; k < 3; k++)
			take_text(fd);
		for (uint64_t n = take_u64(fd); n > 0; n--)
			take_text(fd);
		for (int k = 0; k < 3; k++)
			take_u64(fd);
		take_u64(fd); /* no signatures */
		take_text(fd);
		take_u64(fd);
		take_u64(fd);
		for (uint64_t n = take_u64(fd); n > 0; n = take_u64(fd))
			take(fd, data, n);
		if (i % 2)
			give_problem(fd, "hash mismatch");
		else
			give_u64(fd, LAST);
	}
}

static void outcomes_come_in_order(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_path_info) a = info_of(A, 300000);
	BL_AUTO(bl_path_info) b = info_of(B, 3);
	static const char zeros[300000];
	bl_strv_add(&b.references, A);
	assert_works(begin(&p, takes_paths, 5000), &p.err);
	for (int i = 0; i < 2; i++) {
		assert_works(bl_daemon_add_begin(p.d, &a, &p.err), &p.err);
		assert_works(bl_daemon_add_data(p.d, zeros, sizeof(zeros), &p.err), &p.err);
		assert_works(bl_daemon_add_end(p.d, &p.err), &p.err);
		assert_works(bl_daemon_add_begin(p.d, &b, &p.err), &p.err);
		assert_works(bl_daemon_add_data(p.d, "a", 1, &p.err), &p.err);
		assert_works(bl_daemon_add_data(p.d, "bc", 2, &p.err), &p.err);
		assert_works(bl_daemon_add_end(p.d, &p.err), &p.err);
	}
	assert_works(bl_daemon_finish(p.d, &p.err), &p.err);
	assert_string_equal(bl_buf_str(&p.told.text),
			    "a: ok\nb: hash mismatch\na: ok\nb: hash mismatch\n");
	end(&p);
}

static void what_cannot_be_added_is_refused_before_it_is_sent(void **state)
{
	(void)state;
	struct play p = { 0 };
	BL_AUTO(bl_path_info) a = info_of(A, 3);
	BL_AUTO(bl_path_info) bad = info_of("/nix/store/x", 3);
	BL_AUTO(bl_path_info) none = info_of(A, 0);
	BL_AUTO(bl_strv) paths = { 0 };
	one_path(&paths);
	assert_works(begin(&p, takes_paths, 5000), &p.err);
	assert_fails(bl_daemon_add_begin(p.d, &bad, &p.err), &p.err, BL_E_INPUT,
		     "a path to add: '/nix/store/x' is not a path of the Nix store");
	assert_fails(bl_daemon_add_begin(p.d, &none, &p.err), &p.err, BL_E_INPUT,
		     A ": a NAR of no size");
	assert_fails(bl_daemon_add_data(p.d, "abc", 3, &p.err), &p.err, BL_E_USAGE,
		     "no path is being added");
	assert_fails(bl_daemon_add_end(p.d, &p.err), &p.err, BL_E_USAGE,
		     "no path is being added");
	assert_works(bl_daemon_add_cancel(p.d, &p.err), &p.err);
	assert_works(bl_daemon_add_begin(p.d, &a, &p.err), &p.err);
	assert_fails(bl_daemon_add_begin(p.d, &a, &p.err), &p.err, BL_E_USAGE,
		     "adding paths while " A " is being added");
	assert_fails(bl_query_temp_roots(p.d, &paths, &p.err), &p.err, BL_E_USAGE,
		     "taking temporary roots while " A " is being added");
	assert_fails(bl_daemon_add_data(p.d, "abcd", 4, &p.err), &p.err, BL_E_INPUT,
		     A ": its NAR has more than 3 bytes");
	assert_works(bl_daemon_add_data(p.d, "ab", 2, &p.err), &p.err);
	assert_fails(bl_daemon_add_end(p.d, &p.err), &p.err, BL_E_INPUT,
		     A ": its NAR ends after 2 of 3 bytes");
	assert_works(bl_daemon_add_cancel(p.d, &p.err), &p.err);
	assert_works(bl_daemon_finish(p.d, &p.err), &p.err);
	assert_string_equal(bl_buf_str(&p.told.text), "a: ok\n");
	end(&p);
}

/* Says why before it ends, and does not read everything. */
static void fails_and_ends(int fd)
{
	hello(fd);
	take_u64(fd);
	give_u64(fd, 0x6f6c6d67);
	give_text(fd, "on the way");
	give_problem(fd, "disk full");
}

static void a_daemon_that_dies_while_paths_are_sent_is_named(void **state)
{
	(void)state;
	struct play p = { 0 };
	static const char zeros[300000];
	BL_AUTO(bl_path_info) a = info_of(A, sizeof(zeros));
	assert_works(begin(&p, fails_and_ends, 5000), &p.err);
	int rc = 0;
	for (int i = 0; i < 50 && rc == 0; i++) {
		rc = bl_daemon_add_begin(p.d, &a, &p.err);
		if (rc == 0)
			rc = bl_daemon_add_data(p.d, zeros, sizeof(zeros), &p.err);
		if (rc == 0)
			rc = bl_daemon_add_end(p.d, &p.err);
	}
	assert_int_equal(rc, -1);
	assert_false(bl_daemon_works(p.d));
	assert_true(strstr(p.err.msg, "Nix daemon: adding paths"));
	assert_true(bl_ends_with(p.err.msg, "it closed the connection"));
	assert_string_equal(bl_buf_str(&p.told.text), "a: disk full\n");
	end(&p);
}

static void a_program_is_started_where_nobody_listens(void **state)
{
	(void)state;
	static const char *const fails[] = { "/bin/sh", "-c",
					     "echo first >&2; echo 'error: no store' >&2",
					     NULL };
	static const char *const missing[] = { "/no/such/program", NULL };
	static const char *const greets[] = {
		"/bin/sh", "-c",
		/* hello, 1.32, the end of the log; then it waits for the end of the input */
		"printf 'oixd\\0\\0\\0\\0\\040\\001\\0\\0\\0\\0\\0\\0stla\\0\\0\\0\\0'; "
		"exec cat > /dev/null",
		NULL
	};
	struct bl_daemon_spec spec = { .socket = "/no/such/socket",
				       .program = fails,
				       .quiet_ms = 5000 };
	bl_autodaemon struct bl_daemon *d = NULL;
	struct bl_err err = { 0 };
	alarm(50);
	assert_fails(bl_daemon_open(&spec, &d, &err), &err, BL_E_FAILED,
		     "Nix daemon: saying hello: it closed the connection: error: no store");
	spec.program = missing;
	assert_fails(bl_daemon_open(&spec, &d, &err), &err, BL_E_SYS,
		     "start /no/such/program: No such file or directory");
	spec.program = greets;
	assert_works(bl_daemon_open(&spec, &d, &err), &err);
	assert_int_equal(bl_daemon_protocol(d), 0x120);
	assert_string_equal(bl_daemon_nix_version(d), "");
	assert_int_equal(bl_daemon_trust(d), BL_TRUST_UNKNOWN);
}

static void nothing_is_asked_of_nothing(void **state)
{
	(void)state;
	struct play p = { 0 };
	static const struct bl_strv none;
	BL_AUTO(bl_path_infos) out = { 0 };
	assert_works(begin(&p, only_hello, 5000), &p.err);
	assert_works(bl_query_temp_roots(p.d, &none, &p.err), &p.err);
	assert_works(bl_query_valid(p.d, &none, NULL, &p.err), &p.err);
	assert_works(bl_query_rest(p.d, &none, NULL, &out, &p.err), &p.err);
	assert_works(bl_query_closure(p.d, &none, &out, &p.err), &p.err);
	assert_int_equal(out.n, 0);
	assert_works(bl_daemon_finish(p.d, &p.err), &p.err);
	end(&p);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_hello_says_is_known),
		cmocka_unit_test(who_does_not_let_us_in_says_why),
		cmocka_unit_test(answers_are_read_while_questions_are_written),
		cmocka_unit_test(a_daemon_that_ends_says_how_far_it_came),
		cmocka_unit_test(a_silent_daemon_has_a_limit),
		cmocka_unit_test(a_daemon_that_reads_nothing_has_a_limit_too),
		cmocka_unit_test(answers_that_do_not_fit_are_errors),
		cmocka_unit_test(a_path_that_is_not_valid_is_named_and_all_goes_on),
		cmocka_unit_test(a_closure_with_a_circle_is_refused),
		cmocka_unit_test(outcomes_come_in_order),
		cmocka_unit_test(what_cannot_be_added_is_refused_before_it_is_sent),
		cmocka_unit_test(a_daemon_that_dies_while_paths_are_sent_is_named),
		cmocka_unit_test(a_program_is_started_where_nobody_listens),
		cmocka_unit_test(nothing_is_asked_of_nothing),
	};
	return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
