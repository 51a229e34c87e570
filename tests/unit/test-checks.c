/* SPDX-License-Identifier: MIT */
/* The target's checks with this machine's own programs in place of a system's. */
#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ask.h"
#include "agent/cgroup.h"
#include "agent/checks.h"
#include "agent/hook.h"
#include "base/clock.h"
#include "base/file.h"

static char old_system[64], new_system[64];

static void make_system(char *dir, const char *const *programs)
{
	assert_non_null(mkdtemp(dir));
	bl_autofree char *bin = bl_xprintf("%s/sw/bin", dir);
	assert_int_equal(bl_mkdirs(bin, 0755, NULL), 0);
	for (size_t i = 0; programs[i]; i++) {
		bl_autofree char *to = bl_xprintf("/usr/bin/%s", programs[i]);
		bl_autofree char *link = bl_xprintf("%s/%s", bin, programs[i]);
		assert_int_equal(symlink(to, link), 0);
	}
}

static int set_up(void **state)
{
	(void)state;
	snprintf(old_system, sizeof(old_system), "/tmp/belay-old-XXXXXX");
	snprintf(new_system, sizeof(new_system), "/tmp/belay-new-XXXXXX");
	make_system(old_system,
		    (const char *const[]){ "sh", "sleep", "cat", "getent", "head", NULL });
	make_system(new_system, (const char *const[]){ "test", "touch", NULL });
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		bl_autofree char *rm = bl_xprintf("rm -r %s", i ? new_system : old_system);
		if (system(rm) != 0) /* NOLINT(cert-env33-c): a name of mkdtemp's */
			return -1;
	}
	return 0;
}

static void begin(struct bl_job *job)
{
	*job = (struct bl_job){ .txn = { .dir_fd = -1 } };
	struct bl_record *r = &job->txn.rec;
	bl_replace_str(&r->system_old, old_system);
	bl_replace_str(&r->system_new, new_system);
	bl_replace_str(&r->remark, "");
	r->epoch = 7;
	r->activate_ms = 5000;
	job->log_fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	bl_plan_init(&job->plan);
}

static void end(struct bl_job *job)
{
	close(job->log_fd);
	bl_plan_free(&job->plan);
	bl_txn_close(&job->txn);
}

static void add(struct bl_job *job, const char *name, enum bl_check_type type, const char *what,
		const char *contains, uint32_t port)
{
	struct bl_check c = { .name = bl_xstrdup(name),
			      .type = type,
			      .timeout_ms = 5000,
			      .what = bl_xstrdup(what),
			      .contains = bl_xstrdup(contains),
			      .port = port };
	bl_plan_add_check(&job->plan, &c);
}

static enum bl_checks_verdict wait_for(struct bl_checks *c, char reason[256])
{
	int64_t limit = bl_now_boot_ns() + 20 * BL_NS_PER_S;
	for (;;) {
		int64_t began = bl_now_boot_ns();
		enum bl_checks_verdict v = bl_checks_step(c, reason, 256);
		/* a step never waits; a machine may be slow */
		assert_true(bl_now_boot_ns() - began < BL_NS_PER_S);
		if (v != BL_CHECKS_RUNNING)
			return v;
		assert_true(bl_now_boot_ns() < limit);
		bl_sleep_ms(5);
	}
}

/* A port of this machine; listening or about to be closed again. */
static int listen_somewhere(uint32_t *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 4), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	*port = ntohs(in.sin_port);
	return fd;
}

static void without_checks_all_is_good(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	begin(&job);
	struct bl_checks *c = bl_checks_new(&job);
	assert_int_equal(bl_checks_step(c, reason, sizeof(reason)), BL_CHECKS_OK);
	bl_checks_free(c);
	end(&job);
}

static void good_checks_are_good(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	uint32_t port = 0;
	int fd = listen_somewhere(&port);
	begin(&job);
	add(&job, "command", BL_CHECK_COMMAND,
	    "case $PATH in $BELAY_NEW/sw/bin:$BELAY_OLD/sw/bin) ;; *) exit 1 ;; esac; "
	    "[ $BELAY_TRANSACTION = 7 ]",
	    "", 0);
	add(&job, "tcp", BL_CHECK_TCP, "127.0.0.1", "", port);
	add(&job, "by name", BL_CHECK_TCP, "localhost", "", port);
	add(&job, "dns", BL_CHECK_DNS, "localhost", "", 0);
	add(&job, "file", BL_CHECK_FILE, "/proc/self/stat", "(cat)", 0);
	/* NEW's, since OLD has no `test` */
	add(&job, "folder", BL_CHECK_FILE, "/", "", 0);
	struct bl_checks *c = bl_checks_new(&job);
	if (wait_for(c, reason) != BL_CHECKS_OK)
		fail_msg("%s", reason);
	bl_checks_free(c);
	end(&job);
	close(fd);
}

static const struct {
	enum bl_check_type type;
	const char *what, *contains, *reason;
} bad[] = {
	{ BL_CHECK_COMMAND, "exit 3", "", "check it: status 3" },
	{ BL_CHECK_COMMAND, "echo one; echo two >&2; exit 1", "", "check it: status 1: two" },
	{ BL_CHECK_COMMAND, "printf '\\033[2Jx\\n'; exit 1", "",
	  "check it: status 1: \\x1b[2Jx" },
	{ BL_CHECK_COMMAND, "kill -SEGV $$", "", "check it: killed by signal 11" },
	{ BL_CHECK_FILE, "/nowhere", "", "check it: it does not exist" },
	{ BL_CHECK_FILE, "/proc/self/stat", "(dog)", "check it: it does not contain '(dog)'" },
	{ BL_CHECK_DNS, "nowhere.invalid", "", "check it: nowhere.invalid cannot be resolved" },
	{ BL_CHECK_UNIT, "x.service", "",
	  "check it: there is no systemctl on the host to ask with" },
	{ BL_CHECK_HTTP, "http://127.0.0.1/", "",
	  "check it: there is no curl on the host to ask with" },
};

static void bad_checks_say_why(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		struct bl_job job;
		char reason[256] = "";
		begin(&job);
		add(&job, "it", bad[i].type, bad[i].what, bad[i].contains, 0);
		struct bl_checks *c = bl_checks_new(&job);
		assert_int_equal(wait_for(c, reason), BL_CHECKS_FAILED);
		assert_string_equal(reason, bad[i].reason);
		bl_checks_free(c);
		end(&job);
	}
}

static void a_closed_port_is_bad(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	uint32_t port = 0;
	close(listen_somewhere(&port));
	begin(&job);
	add(&job, "it", BL_CHECK_TCP, "127.0.0.1", "", port);
	struct bl_checks *c = bl_checks_new(&job);
	assert_int_equal(wait_for(c, reason), BL_CHECKS_FAILED);
	assert_string_equal(reason, "check it: Connection refused");
	bl_checks_free(c);
	end(&job);
}

static void what_hangs_is_killed_at_its_limit(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	begin(&job);
	add(&job, "it", BL_CHECK_COMMAND, "sleep 60 & sleep 60", "", 0);
	job.plan.checks[0].timeout_ms = 300;
	int64_t began = bl_now_boot_ns();
	struct bl_checks *c = bl_checks_new(&job);
	assert_int_equal(wait_for(c, reason), BL_CHECKS_FAILED);
	assert_string_equal(reason, "check it: no answer within 300 ms");
	assert_true(bl_now_boot_ns() - began < 10 * BL_NS_PER_S);
	bl_checks_free(c);
	end(&job);
}

static void endless_output_is_no_trouble(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	begin(&job);
	/* the text stands far from the end, and across two reads */
	bl_autofree char *path = bl_xprintf("%s/long", old_system);
	add(&job, "early", BL_CHECK_FILE, path, "needle", 0);
	FILE *f = fopen(path, "we");
	for (int i = 0; i < 1000000; i++)
		fputs(i == 2047 / 4 ? "needle" : "hay ", f);
	fclose(f);
	add(&job, "endless", BL_CHECK_COMMAND, "while :; do echo yes; done", "", 0);
	job.plan.checks[1].timeout_ms = 500;
	job.plan.checks[1].advisory = true;
	struct bl_checks *c = bl_checks_new(&job);
	if (wait_for(c, reason) != BL_CHECKS_OK)
		fail_msg("%s", reason);
	assert_string_equal(job.txn.rec.remark,
			    "check endless (advisory): no answer within 500 ms");
	bl_checks_free(c);
	end(&job);
}

static void what_does_not_hold_is_told_so(void **state)
{
	(void)state;
	struct bl_job job;
	char reason[256] = "";
	begin(&job);
	bl_autofree char *flag = bl_xprintf("%s/flag", old_system);
	bl_autofree char *what = bl_xprintf("[ ! -e %s ] && touch %s", flag, flag);
	add(&job, "it", BL_CHECK_COMMAND, what, "", 0);
	job.plan.checks[0].hold_ms = 2000;
	job.plan.checks[0].retries = 5;
	struct bl_checks *c = bl_checks_new(&job);
	assert_int_equal(wait_for(c, reason), BL_CHECKS_FAILED);
	assert_string_equal(reason, "check it: did not stay good for 2000 ms: status 1");
	bl_checks_free(c);
	end(&job);
}

static void a_hook_knows_its_transaction(void **state)
{
	(void)state;
	struct bl_job job;
	char text[64] = "";
	begin(&job);
	assert_int_equal(bl_hook_run(&job, "", "preActivate"), 0);
	assert_int_equal(bl_hook_run(&job, "echo $BELAY_TRANSACTION; exit 9", "preActivate"),
			 9);
	assert_true(pread(job.log_fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "running preActivate\n7\n"));
	job.txn.rec.activate_ms = 200;
	int status = bl_hook_run(&job, "sleep 60", "postRollback");
	assert_int_equal(status, BL_RUN_LIMIT);
	bl_autofree char *why = bl_hook_why("postRollback", status);
	assert_string_equal(why, "postRollback did not end in time and was killed");
	bl_autofree char *plain = bl_hook_why("preActivate", 9);
	assert_string_equal(plain, "preActivate failed: status 9");
	end(&job);
}

static void a_gateway_is_read_from_its_route(void **state)
{
	(void)state;
	static const struct {
		const char *route, *address;
	} cases[] = {
		{ "eth0 01004D0A", "10.77.0.1" },
		{ "eth0 00000000", NULL },
		{ "eth0 fe800000000000000000000000000001", "fe80::1%eth0" },
		{ "wg0 00000000000000000000000000000000", NULL },
		{ "eth0 xyz", NULL },
		{ "eth0", NULL },
		{ "", NULL },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *got = bl_gateway_of(cases[i].route);
		if (cases[i].address)
			assert_string_equal(got, cases[i].address);
		else
			assert_null(got);
	}
}

static void a_neighbour_is_known_when_its_entry_is_complete(void **state)
{
	(void)state;
	static const char arp[] =
		"IP address       HW type     Flags       HW address            Mask     Device\n"
		"10.77.0.1        0x1         0x2         0a:1b:2c:3d:4e:5f     *        eth0\n"
		"10.77.0.2        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
		"10.77.0.3        0x1         0x2\n";
	assert_true(bl_arp_knows(arp, "10.77.0.1"));
	assert_false(bl_arp_knows(arp, "10.77.0.2"));
	assert_false(bl_arp_knows(arp, "10.77.0.3"));
	assert_false(bl_arp_knows(arp, "10.77.0.10"));
	assert_false(bl_arp_knows("", "10.77.0.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_checks_all_is_good),
		cmocka_unit_test(good_checks_are_good),
		cmocka_unit_test(bad_checks_say_why),
		cmocka_unit_test(a_closed_port_is_bad),
		cmocka_unit_test(what_hangs_is_killed_at_its_limit),
		cmocka_unit_test(endless_output_is_no_trouble),
		cmocka_unit_test(what_does_not_hold_is_told_so),
		cmocka_unit_test(a_hook_knows_its_transaction),
		cmocka_unit_test(a_gateway_is_read_from_its_route),
		cmocka_unit_test(a_neighbour_is_known_when_its_entry_is_complete),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
