/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/str.h"

#define SH(script) ((const char *const[]){ "/bin/sh", "-c", script, NULL })

static struct bl_child_spec sh(const char *const *argv)
{
	return (struct bl_child_spec){ .argv = argv, .timeout_ms = 20000, .out_max = 65536 };
}

static int64_t ms_since(int64_t start_ns)
{
	return (bl_now_boot_ns() - start_ns) / BL_NS_PER_MS;
}

static void the_exit_status_and_both_streams_come_back(void **state)
{
	(void)state;
	static const struct {
		const char *script;
		int status;
		const char *out, *err;
	} cases[] = {
		{ "exit 0", 0, "", "" },
		{ "echo hello; exit 3", 3, "hello\n", "" },
		{ "echo oh >&2; exit 255", 255, "", "oh\n" },
		{ "printf 'no end'; echo more >&2", 0, "no end", "more\n" },
		{ "kill -TERM $$", 128 + SIGTERM, "", "" },
		{ "kill -KILL $$", 128 + SIGKILL, "", "" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_child_spec spec = sh(SH(cases[i].script));
		BL_AUTO(bl_child_result) r = { 0 };
		struct bl_err err = { 0 };
		assert_works(bl_child_run(&spec, &r, &err), &err);
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(bl_buf_str(&r.out), cases[i].out);
		assert_string_equal(bl_buf_str(&r.err), cases[i].err);
	}
}

static void what_cannot_be_started_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *program, *msg;
		int sys_errno;
	} cases[] = {
		{ "/no/such/program", "start /no/such/program: No such file or directory",
		  ENOENT },
		{ "no-such-program-in-path",
		  "start no-such-program-in-path: No such file or directory", ENOENT },
		{ "/dev/null", "start /dev/null: Permission denied", EACCES },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		const char *argv[] = { cases[i].program, NULL };
		struct bl_child_spec spec = sh(argv);
		BL_AUTO(bl_child_result) r = { .status = 77 };
		struct bl_err err = { 0 };
		assert_fails(bl_child_run(&spec, &r, &err), &err, BL_E_SYS, cases[i].msg);
		assert_int_equal(err.sys_errno, cases[i].sys_errno);
		assert_int_equal(r.status, 77);
	}
}

/* Ends within @limit_ms, whatever it is that @pid names. */
static bool is_gone(pid_t pid, int64_t limit_ms)
{
	int64_t start = bl_now_boot_ns();
	bl_autofree char *path = bl_xprintf("/proc/%d/stat", (int)pid);
	for (;;) {
		/* a dead process may wait long for its parent: a zombie has ended too */
		char line[256] = "";
		FILE *f = fopen(path, "re");
		if (f) {
			if (!fgets(line, sizeof(line), f))
				line[0] = '\0';
			fclose(f);
		}
		const char *end = strrchr(line, ')');
		if (!f || !end || end[2] == 'Z' || end[2] == 'X')
			return true;
		if (ms_since(start) > limit_ms)
			return false;
		bl_sleep_ms(5);
	}
}

static void at_the_time_limit_the_whole_group_is_killed(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("sleep 60 & echo $!; trap '' TERM; wait"));
	spec.timeout_ms = 300;
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	int64_t start = bl_now_boot_ns();
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.status, -1);
	assert_in_range(ms_since(start), 250, 5000);
	pid_t grandchild = (pid_t)strtol(bl_buf_str(&r.out), NULL, 10);
	assert_true(grandchild > 1);
	assert_true(is_gone(grandchild, 2000));
}

static void the_time_limit_counts_when_the_streams_are_closed(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("exec >&- 2>&-; sleep 60"));
	spec.timeout_ms = 300;
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	int64_t start = bl_now_boot_ns();
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.status, -1);
	assert_in_range(ms_since(start), 250, 5000);
}

static void the_status_comes_back_when_the_streams_are_closed(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("exec >&- 2>&-; sleep 0.1; exit 7"));
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.status, 7);
}

static void a_grandchild_that_keeps_the_pipe_does_not_hold_us_up(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("sleep 60 & echo $!; exit 4"));
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	int64_t start = bl_now_boot_ns();
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_in_range(ms_since(start), 0, 5000);
	assert_int_equal(r.status, 4);
	pid_t grandchild = (pid_t)strtol(bl_buf_str(&r.out), NULL, 10);
	assert_true(grandchild > 1);
	assert_int_equal(kill(grandchild, SIGKILL), 0);
}

static void a_grandchild_that_never_stops_writing_does_not_hold_us_up(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("cat /dev/zero & echo $! >&2; exit 4"));
	spec.timeout_ms = 1500;
	spec.out_max = 8;
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	int64_t start = bl_now_boot_ns();
	alarm(30); /* the end of this program is better than none */
	assert_works(bl_child_run(&spec, &r, &err), &err);
	alarm(0);
	assert_in_range(ms_since(start), 0, 5000);
	assert_int_equal(r.status, 4);
	pid_t grandchild = (pid_t)strtol(bl_buf_str(&r.err), NULL, 10);
	assert_true(grandchild > 1);
	assert_true(is_gone(grandchild, 2000)); /* nobody reads what it writes */
}

static void of_the_output_the_first_bytes_are_kept_and_the_rest_is_read(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("echo 0123456789; head -c 300000 /dev/zero; exit 5"));
	spec.out_max = 7;
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.status, 5);
	assert_string_equal(bl_buf_str(&r.out), "0123456");
}

static void of_the_errors_the_last_4_kib_are_kept(void **state)
{
	(void)state;
	struct bl_child_spec spec =
		sh(SH("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done >&2"));
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.err.len, 4096);
	assert_true(bl_ends_with(bl_buf_str(&r.err), "line 1998\nline 1999\n"));
}

static void merged_errors_stand_in_the_output(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("echo one; echo two >&2; echo three"));
	spec.err_mode = BL_CHILD_ERR_MERGE;
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_string_equal(bl_buf_str(&r.out), "one\ntwo\nthree\n");
	assert_int_equal(r.err.len, 0);
}

static void the_environment_is_ours_or_the_given_one(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	assert_int_equal(setenv("BELAY_TEST_WORD", "inherited", 1), 0);
	struct bl_child_spec spec = sh(SH("echo \"$BELAY_TEST_WORD\""));
	BL_AUTO(bl_child_result) ours = { 0 };
	assert_works(bl_child_run(&spec, &ours, &err), &err);
	assert_string_equal(bl_buf_str(&ours.out), "inherited\n");
	spec.env = (const char *const[]){ "BELAY_TEST_WORD=given", NULL };
	BL_AUTO(bl_child_result) given = { 0 };
	assert_works(bl_child_run(&spec, &given, &err), &err);
	assert_string_equal(bl_buf_str(&given.out), "given\n");
}

static void a_child_has_default_signals_its_own_group_and_no_input(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &all, &before);
	struct bl_child_spec spec = sh(SH(
		"cat; sed -n 's/^SigIgn:/0x/p; s/^SigBlk:/0x/p' /proc/self/status;"
		"read -r _ _ _ _ group _ < /proc/$$/stat; [ $group = $$ ] && echo own group"));
	BL_AUTO(bl_child_result) r = { 0 };
	int rc = bl_child_run(&spec, &r, &err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
	assert_works(rc, &err);
	unsigned long long blocked = 0;
	unsigned long long ignored = 0;
	char rest[16] = "";
	assert_int_equal(sscanf(bl_buf_str(&r.out), "0x %llx 0x %llx %15[a-z ]", &blocked,
				&ignored, rest),
			 3);
	assert_int_equal(blocked, 0);
	/* 32 and up are libc's own or nobody's, and stay as this program got them */
	assert_int_equal(ignored & 0x7fffffff, 0);
	assert_string_equal(rest, "own group");
}

static void a_child_has_three_descriptors_and_no_more(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_child_spec spec = sh((const char *const[]){ "ls", "/proc/self/fd", NULL });
	BL_AUTO(bl_child_result) r = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	/* 3 is the folder that ls itself reads */
	assert_string_equal(bl_buf_str(&r.out), "0\n1\n2\n3\n");
}

static int ticks;

static void count_tick(void *ctx)
{
	ticks++;
	assert_ptr_equal(ctx, &ticks);
}

static void what_goes_on_meanwhile_goes_on_while_it_runs(void **state)
{
	(void)state;
	struct bl_child_spec spec = sh(SH("sleep 1.2"));
	bl_idle_set(count_tick, &ticks);
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	ticks = 0;
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_true(ticks >= 10);
	/* and nobody while there is nobody */
	bl_idle_set(NULL, NULL);
	ticks = 0;
	assert_false(bl_idle());
	assert_int_equal(ticks, 0);
}

static void what_hangs_on_is_asked_for_in_two_steps(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_child_spec spec = sh(SH("echo out; echo err >&2; exit 3"));
	struct bl_child child;
	spec.err_mode = BL_CHILD_ERR_MERGE;
	assert_works(bl_child_start(&spec, &child, &err), &err);
	BL_AUTO(bl_child_result) r = { 0 };
	bl_child_finish(&spec, &child, &r);
	assert_int_equal(r.status, 3);
	assert_string_equal(bl_buf_str(&r.out), "out\nerr\n");
	spec.argv = (const char *const[]){ "/no/such/program", NULL };
	assert_fails(bl_child_start(&spec, &child, &err), &err, BL_E_SYS,
		     "start /no/such/program: No such file or directory");
}

static bool refuse(void *ctx)
{
	return ctx == NULL;
}

static void what_is_to_happen_before_exec_may_refuse(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	pid_t pid = -1;
	int status = 0;
	assert_works(bl_child_spawn(SH("exit 9"), NULL, -1, -1, -1, refuse, &pid, &pid, &err),
		     &err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(bl_child_status(status), 126);
	assert_works(bl_child_spawn(SH("exit 9"), NULL, -1, -1, -1, refuse, NULL, &pid, &err),
		     &err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(bl_child_status(status), 9);
}

static void a_spawned_child_reads_and_writes_what_it_was_given(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	int in[2];
	int out[2];
	assert_int_equal(bl_pipe(in), 0);
	assert_int_equal(bl_pipe(out), 0);
	pid_t pid = -1;
	int status = 0;
	char got[16] = "";
	assert_works(bl_child_spawn(SH("cat; echo end >&2"), NULL, in[0], out[1], out[1], NULL,
				    NULL, &pid, &err),
		     &err);
	close(in[0]);
	close(out[1]);
	assert_int_equal(write(in[1], "word\n", 5), 5);
	close(in[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(read(out[0], got, sizeof(got) - 1), 9);
	close(out[0]);
	assert_string_equal(got, "word\nend\n");
	assert_int_equal(bl_child_status(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_exit_status_and_both_streams_come_back),
		cmocka_unit_test(what_cannot_be_started_is_named),
		cmocka_unit_test(at_the_time_limit_the_whole_group_is_killed),
		cmocka_unit_test(the_time_limit_counts_when_the_streams_are_closed),
		cmocka_unit_test(the_status_comes_back_when_the_streams_are_closed),
		cmocka_unit_test(a_grandchild_that_keeps_the_pipe_does_not_hold_us_up),
		cmocka_unit_test(a_grandchild_that_never_stops_writing_does_not_hold_us_up),
		cmocka_unit_test(of_the_output_the_first_bytes_are_kept_and_the_rest_is_read),
		cmocka_unit_test(of_the_errors_the_last_4_kib_are_kept),
		cmocka_unit_test(merged_errors_stand_in_the_output),
		cmocka_unit_test(the_environment_is_ours_or_the_given_one),
		cmocka_unit_test(a_child_has_default_signals_its_own_group_and_no_input),
		cmocka_unit_test(a_child_has_three_descriptors_and_no_more),
		cmocka_unit_test(what_goes_on_meanwhile_goes_on_while_it_runs),
		cmocka_unit_test(what_hangs_on_is_asked_for_in_two_steps),
		cmocka_unit_test(what_is_to_happen_before_exec_may_refuse),
		cmocka_unit_test(a_spawned_child_reads_and_writes_what_it_was_given),
	};
	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
