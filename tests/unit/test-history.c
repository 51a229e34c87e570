/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "history/history.h"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/belay-history-XXXXXX");
	umask(022);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int remove_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct bl_history *open_it(void)
{
	struct bl_history *h = NULL;
	struct bl_err err = { 0 };
	assert_works(bl_history_open(dir, &h, &err), &err);
	return h;
}

static void begin_run(struct bl_history *h, char id[32])
{
	struct bl_err err = { 0 };
	assert_works(bl_history_run_begin(h, "deploy", "fleet.nix", id, &err), &err);
}

static void begin_host(struct bl_history *h, const char *run, const char *host)
{
	struct bl_err err = { 0 };
	assert_works(bl_history_host_begin(h, run, host, "root@x", "/nix/store/new", &err),
		     &err);
}

static mode_t mode_of(const char *name)
{
	bl_autofree char *path = bl_xprintf("%s/%s", dir, name);
	struct stat st = { 0 };
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Runs @sql through a connection of its own. */
static void by_hand(const char *sql)
{
	bl_autofree char *path = bl_xprintf("%s/history.db", dir);
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void the_folder_follows_xdg_and_is_for_the_user_alone(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofree char *xdg = bl_xprintf("%s/a/b", dir);
	bl_autofree char *want = bl_xprintf("%s/belay", xdg);
	bl_autofree char *home_want = bl_xprintf("%s/.local/state/belay", dir);
	bl_autofree char *got = NULL;
	setenv("XDG_STATE_HOME", xdg, 1);
	assert_works(bl_history_dir(&got, &err), &err);
	assert_string_equal(got, want);
	assert_int_equal(mode_of("a/b/belay"), 0700);
	setenv("XDG_STATE_HOME", "relative", 1);
	setenv("HOME", dir, 1);
	free(got);
	got = NULL;
	assert_works(bl_history_dir(&got, &err), &err);
	assert_string_equal(got, home_want);
	unsetenv("HOME");
	free(got);
	got = NULL;
	assert_fails(
		bl_history_dir(&got, &err), &err, BL_E_USAGE,
		"neither XDG_STATE_HOME nor HOME is an absolute path; set one, belay keeps its "
		"history there");
}

static void all_files_of_the_history_are_for_the_user_alone(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	assert_works(bl_history_key_save(h, id, "web1", (const uint8_t *)"secret", 6, &err),
		     &err);
	bl_autofree char *run = bl_xprintf("runs/%s", id);
	bl_autofree char *key = bl_xprintf("%s/web1.key", run);
	assert_int_equal(mode_of("history.db"), 0600);
	assert_int_equal(mode_of("history.db-wal"), 0600);
	assert_int_equal(mode_of("history.db-shm"), 0600);
	assert_int_equal(mode_of("runs"), 0700);
	assert_int_equal(mode_of(run), 0700);
	assert_int_equal(mode_of(key), 0600);
	bl_history_close(h);
	bl_autofree char *path = bl_xprintf("%s/history.db", dir);
	assert_int_equal(chmod(path, 0644), 0);
	bl_history_close(open_it());
	assert_int_equal(mode_of("history.db"), 0600);
}

static void a_run_is_told_as_it_went(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[32];
	begin_run(h, id);
	assert_int_equal(strlen(id), strlen("20261122-074357-3f9a"));
	begin_host(h, id, "web1");
	assert_works(bl_history_host_started(h, id, "web1", "/nix/store/old", UINT64_MAX, &err),
		     &err);
	assert_works(bl_history_host_started(h, id, "web1", NULL, 0, &err), &err);
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_hosts(h, id, NULL, 10, &hosts, &n, &err), &err);
	assert_int_equal(n, 1);
	assert_null(hosts[0].outcome);
	assert_int_equal(hosts[0].ended_ms, 0);
	bl_history_hosts_free(hosts, n);
	assert_works(bl_history_host_end(h, id, "web1", "rolled_back", "unit a\nfailed", &err),
		     &err);
	assert_works(bl_history_run_end(h, id, 3, &err), &err);
	bl_history_close(h);

	h = open_it();
	assert_works(bl_history_hosts(h, id, "web1", 10, &hosts, &n, &err), &err);
	assert_int_equal(n, 1);
	assert_string_equal(hosts[0].run, id);
	assert_string_equal(hosts[0].host, "web1");
	assert_string_equal(hosts[0].target, "root@x");
	assert_string_equal(hosts[0].system_old, "/nix/store/old");
	assert_string_equal(hosts[0].system_new, "/nix/store/new");
	assert_true(hosts[0].epoch == UINT64_MAX);
	assert_string_equal(hosts[0].outcome, "rolled_back");
	assert_string_equal(hosts[0].reason, "unit a\nfailed");
	assert_true(hosts[0].ended_ms >= hosts[0].started_ms);
	bl_history_hosts_free(hosts, n);
	struct bl_history_run *runs = NULL;
	assert_works(bl_history_runs(h, 10, &runs, &n, &err), &err);
	assert_int_equal(n, 1);
	assert_string_equal(runs[0].id, id);
	assert_string_equal(runs[0].command, "deploy");
	assert_string_equal(runs[0].source, "fleet.nix");
	assert_int_equal(runs[0].exit_code, 3);
	assert_true(runs[0].ended_ms >= runs[0].started_ms && runs[0].started_ms > 0);
	bl_history_runs_free(runs, n);
	bl_history_close(h);
}

static void runs_and_hosts_come_newest_first_and_no_more_than_asked_for(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[5][32];
	for (size_t i = 0; i < 5; i++) {
		begin_run(h, id[i]);
		begin_host(h, id[i], "web1");
		begin_host(h, id[i], "db1");
	}
	struct bl_history_run *runs = NULL;
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_runs(h, 2, &runs, &n, &err), &err);
	assert_int_equal(n, 2);
	assert_string_equal(runs[0].id, id[4]);
	assert_string_equal(runs[1].id, id[3]);
	assert_int_equal(runs[0].exit_code, -1);
	bl_history_runs_free(runs, n);
	assert_works(bl_history_hosts(h, NULL, "web1", 3, &hosts, &n, &err), &err);
	assert_int_equal(n, 3);
	assert_string_equal(hosts[0].run, id[4]);
	assert_string_equal(hosts[2].run, id[2]);
	bl_history_hosts_free(hosts, n);
	assert_works(bl_history_hosts(h, id[0], NULL, SIZE_MAX, &hosts, &n, &err), &err);
	assert_int_equal(n, 2);
	bl_history_hosts_free(hosts, n);
	assert_works(bl_history_hosts(h, NULL, NULL, SIZE_MAX, &hosts, &n, &err), &err);
	assert_int_equal(n, 10);
	bl_history_hosts_free(hosts, n);
	assert_works(bl_history_hosts(h, NULL, "none", 3, &hosts, &n, &err), &err);
	assert_int_equal(n, 0);
	bl_history_hosts_free(hosts, n);
	bl_history_close(h);
}

static void join_line(void *ctx, int64_t wall_ms, const char *stream, const char *text)
{
	assert_true(wall_ms > 0);
	bl_buf_printf(ctx, "%s:%.20s|", stream, text);
}

static char *lines_of(struct bl_history *h, const char *run, const char *host)
{
	struct bl_buf b = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_history_lines(h, run, host, join_line, &b, &err), &err);
	return bl_buf_steal(&b);
}

static void add_line(struct bl_history *h, const char *run, const char *host, const char *text)
{
	struct bl_err err = { 0 };
	assert_works(bl_history_line(h, run, host, "copy", text, &err), &err);
}

static void log_lines_come_back_in_order_host_by_host(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	begin_host(h, id, "db1");
	add_line(h, id, "web1", "one");
	add_line(h, id, "db1", "other");
	add_line(h, id, "web1", "two");
	bl_autofree char *web = lines_of(h, id, "web1");
	bl_autofree char *db = lines_of(h, id, "db1");
	assert_string_equal(web, "copy:one|copy:two|");
	assert_string_equal(db, "copy:other|");
	bl_history_close(h);
}

static void log_lines_wait_in_memory_until_a_durable_call_a_thousand_or_the_close(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_history *other = open_it();
	struct bl_err err = { 0 };
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	add_line(h, id, "web1", "one");
	bl_autofree char *before = lines_of(other, id, "web1");
	assert_string_equal(before, "");
	assert_works(bl_history_host_started(h, id, "web1", NULL, 1, &err), &err);
	bl_autofree char *after = lines_of(other, id, "web1");
	assert_string_equal(after, "copy:one|");
	for (int i = 0; i < 999; i++)
		add_line(h, id, "web1", "x");
	bl_autofree char *waiting = lines_of(other, id, "web1");
	assert_int_equal(strlen(waiting), strlen("copy:one|"));
	add_line(h, id, "web1", "x");
	bl_autofree char *thousand = lines_of(other, id, "web1");
	assert_int_equal(strlen(thousand), strlen("copy:one|") + 1000 * strlen("copy:x|"));
	add_line(h, id, "web1", "last");
	bl_history_close(h);
	bl_autofree char *closed = lines_of(other, id, "web1");
	assert_string_equal(closed + strlen(closed) - strlen("copy:last|"), "copy:last|");
	bl_history_close(other);
}

static void check_hostile(void *ctx, int64_t wall_ms, const char *stream, const char *text)
{
	(void)wall_ms;
	(void)stream;
	assert_null(strpbrk(text, "\033\n\r\007"));
	*(size_t *)ctx += strlen(text);
}

static void hostile_log_lines_are_stored_harmless_and_change_no_sql(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	bl_autofree char *longest = bl_xcalloc(100 * 1024 + 1, 1);
	memset(longest, 'x', 100 * 1024);
	add_line(h, id, "web1", "'); DROP TABLE run; --");
	add_line(h, id, "web1", "\033[2J\033]0;title\007\r\ntwo\nthree");
	add_line(h, id, "web1", "\xff\xfe not utf-8");
	add_line(h, id, "web1", longest);
	size_t total = 0;
	assert_works(bl_history_lines(h, id, "web1", check_hostile, &total, &err), &err);
	assert_true(total > 100 * 1024);
	assert_works(bl_history_run_end(h, id, 0, &err), &err);
	bl_history_close(h);
}

static void a_key_comes_back_and_goes_with_the_end_of_its_host(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[32];
	const uint8_t key[4] = { 0, 255, 10, 13 };
	uint8_t got[4] = { 0 };
	begin_run(h, id);
	begin_host(h, id, "web1");
	assert_works(bl_history_key_save(h, id, "web1", key, sizeof(key), &err), &err);
	assert_works(bl_history_key_load(h, id, "web1", got, sizeof(got), &err), &err);
	assert_memory_equal(got, key, sizeof(key));
	assert_int_equal(bl_history_key_load(h, id, "web1", got, 3, &err), -1);
	assert_non_null(strstr(err.msg, "web1.key: has 4 bytes, a key has 3"));
	/* unknown: it may be open still, so it stays for `belay resume` */
	assert_works(bl_history_host_end(h, id, "web1", "unknown", NULL, &err), &err);
	assert_works(bl_history_key_load(h, id, "web1", got, sizeof(got), &err), &err);
	assert_works(bl_history_host_end(h, id, "web1", "committed", NULL, &err), &err);
	bl_autofree char *want =
		bl_xprintf("load the key of host web1 in %s/runs/%s: open web1.key: "
			   "No such file or directory",
			   dir, id);
	assert_fails(bl_history_key_load(h, id, "web1", got, sizeof(got), &err), &err, BL_E_SYS,
		     want);
	assert_int_equal(err.sys_errno, ENOENT);
	/* no key, or no folder: nothing to remove */
	assert_works(bl_history_host_end(h, id, "web1", "committed", NULL, &err), &err);
	bl_autofree char *run = bl_xprintf("%s/runs/%s", dir, id);
	assert_int_equal(rmdir(run), 0);
	assert_works(bl_history_host_end(h, id, "web1", "committed", NULL, &err), &err);
	bl_history_close(h);
}

static void no_name_leads_out_of_the_folder_of_keys(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	uint8_t key[4] = { 0 };
	char id[32];
	begin_run(h, id);
	static const char *const hosts[] = { "", ".", "..", "../x", "a/b", ".hidden" };
	static const char *const runs[] = { "",    ".",    "..",         "../runs",
					    "a/b", "/tmp", "20261122-zz" };
	for (size_t i = 0; i < BL_COUNT(hosts); i++) {
		assert_int_equal(bl_history_key_save(h, id, hosts[i], key, 4, &err), -1);
		assert_non_null(strstr(err.msg, "cannot be the name of a key"));
	}
	for (size_t i = 0; i < BL_COUNT(runs); i++) {
		assert_int_equal(bl_history_key_load(h, runs[i], "web1", key, 4, &err), -1);
		assert_non_null(strstr(err.msg, "is not the id of a run"));
	}
	bl_history_close(h);
}

static void a_run_or_host_that_is_not_there_is_told(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	bl_autofree char *no_run = bl_xprintf("%s/history.db: there is no run '2026'", dir);
	bl_autofree char *no_host =
		bl_xprintf("%s/history.db: there is no run '2026' with host web1", dir);
	bl_autofree char *joins =
		bl_xprintf("host web1 of run 2026: %s/history.db: begin a host: "
			   "FOREIGN KEY constraint failed",
			   dir);
	assert_fails(bl_history_run_end(h, "2026", 0, &err), &err, BL_E_USAGE, no_run);
	assert_fails(bl_history_host_started(h, "2026", "web1", NULL, 1, &err), &err,
		     BL_E_USAGE, no_host);
	assert_fails(bl_history_host_end(h, "2026", "web1", "failed", NULL, &err), &err,
		     BL_E_USAGE, no_host);
	assert_fails(bl_history_line(h, "2026", "web1", "copy", "x", &err), &err, BL_E_USAGE,
		     no_host);
	assert_fails(bl_history_host_begin(h, "2026", "web1", "x", NULL, &err), &err,
		     BL_E_FAILED, joins);
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	assert_int_equal(bl_history_host_begin(h, id, "web1", "x", NULL, &err), -1);
	assert_non_null(strstr(err.msg, "UNIQUE constraint failed"));
	bl_history_close(h);
}

static void lines_of_a_run_that_was_removed_meanwhile_are_dropped_without_harm(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char gone[32];
	char id[32];
	begin_run(h, gone);
	begin_run(h, id);
	begin_host(h, gone, "web1");
	begin_host(h, id, "web1");
	add_line(h, gone, "web1", "lost");
	add_line(h, id, "web1", "kept");
	bl_autofree char *sql =
		bl_xprintf("PRAGMA foreign_keys=ON; DELETE FROM run WHERE id='%s'", gone);
	by_hand(sql);
	assert_works(bl_history_run_end(h, id, 0, &err), &err);
	bl_autofree char *lines = lines_of(h, id, "web1");
	assert_string_equal(lines, "copy:kept|");
	bl_history_close(h);
}

static void a_newer_schema_is_refused_with_the_remedy(void **state)
{
	(void)state;
	bl_history_close(open_it());
	by_hand("PRAGMA user_version=3");
	struct bl_history *h = NULL;
	struct bl_err err = { 0 };
	bl_autofree char *want = bl_xprintf(
		"%s/history.db: was written by a newer belay (schema 3, this one knows 2); "
		"use that belay, or move the file away",
		dir);
	assert_fails(bl_history_open(dir, &h, &err), &err, BL_E_USAGE, want);
	assert_null(h);
}

static void an_older_schema_is_brought_up_to_date(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	char run[32];
	struct bl_history *h = open_it();
	begin_run(h, run);
	begin_host(h, run, "web1");
	bl_history_close(h);
	by_hand("ALTER TABLE host DROP COLUMN wave; ALTER TABLE host DROP COLUMN together;"
		"PRAGMA user_version=1");
	h = open_it();
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_hosts(h, run, NULL, 9, &hosts, &n, &err), &err);
	assert_int_equal(n, 1);
	assert_int_equal(hosts[0].wave, 0);
	assert_false(hosts[0].atomic);
	assert_works(bl_history_host_wave(h, run, "web1", 1, true, &err), &err);
	bl_history_hosts_free(hosts, n);
	bl_history_close(h);
}

static void a_wave_is_decided_as_a_whole(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	char run[32];
	static const char *const names[] = { "web1", "web2", "web3" };
	static const uint32_t waves[] = { 1, 2, 2 };
	struct bl_history *h = open_it();
	begin_run(h, run);
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		begin_host(h, run, names[i]);
		assert_works(
			bl_history_host_wave(h, run, names[i], waves[i], waves[i] == 2, &err),
			&err);
	}
	assert_works(bl_history_wave_decided(h, run, 2, &err), &err);
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_hosts(h, run, NULL, 9, &hosts, &n, &err), &err);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		bool second = strcmp(hosts[i].host, "web1") != 0;
		assert_int_equal(hosts[i].wave, second ? 2 : 1);
		assert_int_equal(hosts[i].atomic, second);
		assert_int_equal(hosts[i].decided, second);
	}
	bl_history_hosts_free(hosts, n);
	bl_autofree char *want = bl_xprintf("%s/history.db: there is no run '%s'", dir, run);
	assert_fails(bl_history_wave_decided(h, run, 3, &err), &err, BL_E_USAGE, want);
	bl_history_close(h);
}

static void write_db(const char *text)
{
	struct bl_err err = { 0 };
	bl_autofd int fd = -1;
	assert_works(bl_open_dir(dir, &fd, &err), &err);
	assert_works(bl_write_file_at(fd, "history.db", 0600, text, strlen(text), &err), &err);
}

static void a_damaged_file_is_told_with_the_remedy_and_left_alone(void **state)
{
	(void)state;
	bl_autofree char *junk = bl_xcalloc(8193, 1);
	memset(junk, 'j', 8192);
	write_db(junk);
	struct bl_history *h = NULL;
	struct bl_err err = { 0 };
	bl_autofree char *want =
		bl_xprintf("%s/history.db: open: file is not a database; move it "
			   "away and belay starts a new one",
			   dir);
	assert_fails(bl_history_open(dir, &h, &err), &err, BL_E_INPUT, want);
	bl_autofree char *path = bl_xprintf("%s/history.db", dir);
	bl_autofree char *text = bl_slurp(path, 10000);
	assert_string_equal(text, junk);
}

static void a_link_or_folder_in_place_of_the_file_is_refused(void **state)
{
	(void)state;
	struct bl_history *h = NULL;
	struct bl_err err = { 0 };
	bl_autofree char *path = bl_xprintf("%s/history.db", dir);
	bl_autofree char *want = bl_xprintf("%s is not a plain file; move it away", path);
	assert_int_equal(symlink("/tmp/belay-elsewhere", path), 0);
	assert_fails(bl_history_open(dir, &h, &err), &err, BL_E_INPUT, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_fails(bl_history_open(dir, &h, &err), &err, BL_E_INPUT, want);
}

static void a_file_kept_locked_by_another_is_waited_for_and_no_line_is_lost(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	add_line(h, id, "web1", "kept");
	bl_autofree char *path = bl_xprintf("%s/history.db", dir);
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	int64_t start = bl_now_boot_ns();
	bl_autofree char *want =
		bl_xprintf("%s: begin: database is locked; another belay is writing "
			   "to it; try again when that one is done",
			   path);
	assert_fails(bl_history_flush(h, &err), &err, BL_E_TIMEOUT, want);
	assert_true(bl_now_boot_ns() - start > 4 * BL_NS_PER_S);
	sqlite3_close(db);
	bl_autofree char *lines = lines_of(h, id, "web1");
	assert_string_equal(lines, "copy:kept|");
	bl_history_close(h);
}

static void log_lines_that_cannot_be_written_wait_for_a_better_time(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	struct rlimit before = { 0 };
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit full = { .rlim_cur = 4096, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	size_t failed = 0;
	for (int i = 0; i < 2500; i++)
		failed += bl_history_line(h, id, "web1", "copy", "x", &err) < 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(failed, 2);
	bl_autofree char *want =
		bl_xprintf("%s/history.db: commit: disk I/O error; check the disk and "
			   "its free space",
			   dir);
	assert_string_equal(err.msg, want);
	assert_works(bl_history_run_end(h, id, 0, &err), &err);
	bl_autofree char *lines = lines_of(h, id, "web1");
	assert_int_equal(strlen(lines), 2500 * strlen("copy:x|"));
	bl_history_close(h);
}

/* One belay of several: exits 0 when all of its run is written. */
static void work(int hosts, int lines)
{
	struct bl_history *h = NULL;
	struct bl_err err = { 0 };
	char id[32];
	bool ok = bl_history_open(dir, &h, &err) == 0 &&
		  bl_history_run_begin(h, "deploy", "f", id, &err) == 0;
	for (int i = 0; ok && i < hosts; i++) {
		bl_autofree char *name = bl_xprintf("h%d", i);
		ok = bl_history_host_begin(h, id, name, "t", NULL, &err) == 0;
		for (int k = 0; ok && k < lines; k++)
			ok = bl_history_line(h, id, name, "copy", "a line", &err) == 0;
		ok = ok && bl_history_host_end(h, id, name, "committed", NULL, &err) == 0;
	}
	ok = ok && bl_history_run_end(h, id, 0, &err) == 0;
	if (!ok)
		fprintf(stderr, "%s\n", err.msg);
	bl_history_close(h);
	_exit(ok ? 0 : 1);
}

static void four_belays_at_once_on_a_new_file_lose_nothing(void **state)
{
	(void)state;
	pid_t pids[4];
	for (size_t i = 0; i < BL_COUNT(pids); i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			work(5, 1500);
	}
	for (size_t i = 0; i < BL_COUNT(pids); i++) {
		int status = -1;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	struct bl_history *h = open_it();
	struct bl_err err = { 0 };
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_hosts(h, NULL, NULL, 100, &hosts, &n, &err), &err);
	assert_int_equal(n, 20);
	for (size_t i = 0; i < n; i++) {
		bl_autofree char *lines = lines_of(h, hosts[i].run, hosts[i].host);
		assert_int_equal(strlen(lines), 1500 * strlen("copy:a line|"));
		assert_string_equal(hosts[i].outcome, "committed");
	}
	bl_history_hosts_free(hosts, n);
	bl_history_close(h);
}

static void what_was_committed_before_a_kill_is_there(void **state)
{
	(void)state;
	struct bl_history *h = open_it();
	char id[32];
	begin_run(h, id);
	begin_host(h, id, "web1");
	bl_history_close(h); /* SQLite's handles must not be carried over a fork */
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct bl_history *mine = open_it();
		struct bl_err err = { 0 };
		add_line(mine, id, "web1", "before");
		if (bl_history_host_started(mine, id, "web1", "/nix/store/old", 7, &err) < 0)
			_exit(1);
		add_line(mine, id, "web1", "lost with the process");
		raise(SIGKILL);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	h = open_it();
	struct bl_err err = { 0 };
	struct bl_history_host *hosts = NULL;
	size_t n = 0;
	assert_works(bl_history_hosts(h, id, "web1", 1, &hosts, &n, &err), &err);
	assert_int_equal(hosts[0].epoch, 7);
	bl_history_hosts_free(hosts, n);
	bl_autofree char *lines = lines_of(h, id, "web1");
	assert_string_equal(lines, "copy:before|");
	bl_history_close(h);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(the_folder_follows_xdg_and_is_for_the_user_alone),
		IN_DIR(all_files_of_the_history_are_for_the_user_alone),
		IN_DIR(a_run_is_told_as_it_went),
		IN_DIR(runs_and_hosts_come_newest_first_and_no_more_than_asked_for),
		IN_DIR(log_lines_come_back_in_order_host_by_host),
		IN_DIR(log_lines_wait_in_memory_until_a_durable_call_a_thousand_or_the_close),
		IN_DIR(hostile_log_lines_are_stored_harmless_and_change_no_sql),
		IN_DIR(a_key_comes_back_and_goes_with_the_end_of_its_host),
		IN_DIR(no_name_leads_out_of_the_folder_of_keys),
		IN_DIR(a_run_or_host_that_is_not_there_is_told),
		IN_DIR(lines_of_a_run_that_was_removed_meanwhile_are_dropped_without_harm),
		IN_DIR(a_newer_schema_is_refused_with_the_remedy),
		IN_DIR(an_older_schema_is_brought_up_to_date),
		IN_DIR(a_wave_is_decided_as_a_whole),
		IN_DIR(a_damaged_file_is_told_with_the_remedy_and_left_alone),
		IN_DIR(a_link_or_folder_in_place_of_the_file_is_refused),
		IN_DIR(a_file_kept_locked_by_another_is_waited_for_and_no_line_is_lost),
		IN_DIR(log_lines_that_cannot_be_written_wait_for_a_better_time),
		IN_DIR(four_belays_at_once_on_a_new_file_lose_nothing),
		IN_DIR(what_was_committed_before_a_kill_is_there),
	};
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
