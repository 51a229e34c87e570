/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watchdog.h"
#include "base/file.h"
#include "base/log.h"

static char root[] = "/tmp/belay-watchdog-XXXXXX";

static void put(const char *path, const char *text)
{
	struct bl_err err = { 0 };
	bl_autofree char *full = bl_xprintf("%s/%s", root, path);
	bl_autofree char *dir = bl_xstrndup(full, (size_t)(strrchr(full, '/') - full));
	bl_autofd int fd = -1;
	assert_works(bl_mkdirs(dir, 0755, &err), &err);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_works(bl_write_all(fd, text, strlen(text), &err), &err);
}

static void device(const char *identity, const char *state, const char *nowayout)
{
	put("sys/class/watchdog/watchdog0/identity", identity);
	put("sys/class/watchdog/watchdog0/state", state);
	put("sys/class/watchdog/watchdog0/nowayout", nowayout);
	put("dev/watchdog0", "");
	put("dev/watchdog", "");
	put("run/belay/.keep", "");
}

static bool has_mark(void)
{
	bl_autofree char *path = bl_xprintf("%s/run/belay/watchdog", root);
	return access(path, F_OK) == 0;
}

/* What was written to the device: a point for every 0. */
static void assert_written(const char *want)
{
	char text[16];
	bl_autofree char *path = bl_xprintf("%s/dev/watchdog", root);
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '.';
	text[n] = '\0';
	assert_string_equal(text, want);
}

static int begin(void **state)
{
	(void)state;
	bl_log_setup(BL_LOG_ERR, false);
	memcpy(strrchr(root, '-'), "-XXXXXX", 8);
	return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	bl_autofree char *command = bl_xprintf("rm -rf %s", root);
	return system(command); /* NOLINT(cert-env33-c): a path of ours */
}

static void a_host_without_one_is_left_alone(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	bl_watchdog_open(&w, root);
	assert_int_equal(w.fd, -1);
	bl_watchdog_ping(&w);
	bl_watchdog_close(&w);
	assert_false(has_mark());
}

static void one_that_nobody_has_is_fed_and_stopped(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	device("iTCO_wdt\n", "inactive\n", "0\n");
	bl_watchdog_open(&w, root);
	assert_true(w.fd >= 0);
	assert_true(has_mark());
	bl_watchdog_ping(&w);
	bl_watchdog_ping(&w);
	bl_watchdog_close(&w);
	assert_int_equal(w.fd, -1);
	assert_written("..V");
	assert_false(has_mark());
}

static void one_that_somebody_has_is_left_to_him(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	device("iTCO_wdt\n", "active\n", "0\n");
	bl_watchdog_open(&w, root);
	assert_int_equal(w.fd, -1);
	assert_false(has_mark());
}

static void one_that_cannot_be_stopped_is_not_started(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	device("iTCO_wdt\n", "inactive\n", "1\n");
	bl_watchdog_open(&w, root);
	assert_int_equal(w.fd, -1);
	/* nor one of which nobody can tell */
	device("iTCO_wdt\n", "", "");
	bl_watchdog_open(&w, root);
	assert_int_equal(w.fd, -1);
	assert_written("");
}

static void what_a_dead_keeper_left_running_is_taken_up(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	device("iTCO_wdt\n", "inactive\n", "0\n");
	bl_watchdog_open(&w, root);
	/* killed: no letter at the end */
	bl_closep(&w.fd);
	free(w.mark);
	assert_true(has_mark());
	put("sys/class/watchdog/watchdog0/state", "active\n");
	bl_watchdog_open(&w, root);
	assert_true(w.fd >= 0);
	bl_watchdog_close(&w);
	assert_written("V");
	assert_false(has_mark());
}

static void a_device_that_cannot_be_opened_is_no_failure(void **state)
{
	(void)state;
	struct bl_watchdog w = { .fd = -1 };
	device("iTCO_wdt\n", "inactive\n", "0\n");
	bl_autofree char *path = bl_xprintf("%s/dev/watchdog", root);
	unlink(path);
	bl_watchdog_open(&w, root);
	assert_int_equal(w.fd, -1);
	assert_false(has_mark());
}

static void a_shutdown_is_given_its_time(void **state)
{
	(void)state;
	device("iTCO_wdt\n", "inactive\n", "0\n");
	pid_t pid = fork();
	if (pid == 0) {
		struct bl_watchdog w = { .fd = -1 };
		bl_watchdog_open(&w, root);
		bl_watchdog_ping(&w);
		raise(SIGTERM);
		bl_watchdog_ping(&w);
		_exit(0);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	/* a file takes no longer time: then it is stopped */
	assert_written(".V");
}

static void software_is_told_from_hardware(void **state)
{
	(void)state;
	struct bl_watchdog_seen seen;
	device("Software Watchdog\n", "inactive\n", "0\n");
	bl_watchdog_look(root, "watchdog0", &seen);
	assert_true(seen.there && seen.told && seen.soft && !seen.active && !seen.nowayout);
	assert_true(bl_watchdog_is_free(&seen));
	bl_watchdog_look(root, "watchdog1", &seen);
	assert_false(seen.there);
	assert_false(bl_watchdog_is_free(&seen));
	/* without attributes in sysfs its name stands for it */
	put("sys/class/watchdog/watchdog2/dev", "10:130\n");
	put("dev/watchdog2", "");
	bl_watchdog_look(root, "watchdog2", &seen);
	assert_true(seen.there && !seen.told);
	assert_string_equal(seen.identity, "watchdog2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_host_without_one_is_left_alone, begin, end),
		cmocka_unit_test_setup_teardown(one_that_nobody_has_is_fed_and_stopped, begin,
						end),
		cmocka_unit_test_setup_teardown(one_that_somebody_has_is_left_to_him, begin,
						end),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_stopped_is_not_started,
						begin, end),
		cmocka_unit_test_setup_teardown(what_a_dead_keeper_left_running_is_taken_up,
						begin, end),
		cmocka_unit_test_setup_teardown(a_device_that_cannot_be_opened_is_no_failure,
						begin, end),
		cmocka_unit_test_setup_teardown(a_shutdown_is_given_its_time, begin, end),
		cmocka_unit_test_setup_teardown(software_is_told_from_hardware, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
