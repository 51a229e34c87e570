/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

static char *folder;
static int folder_fd = -1;

static int make_folder(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	folder = bl_xstrdup("/tmp/belay-test-file-XXXXXX");
	if (!mkdtemp(folder) || bl_open_dir(folder, &folder_fd, &err) < 0)
		return -1;
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	bl_closep(&folder_fd);
	bl_autofree char *cmd = bl_xprintf("rm -rf %s", folder);
	int rc = system(cmd);
	bl_freep(&folder);
	return rc;
}

static char *in_folder(const char *name)
{
	return bl_xprintf("%s/%s", folder, name);
}

static void put(const char *name, const char *text)
{
	struct bl_err err = { 0 };
	assert_works(bl_write_file_at(folder_fd, name, 0600, text, strlen(text), &err), &err);
}

static void assert_holds(const char *name, const char *want)
{
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	size_t len = 0;
	assert_works(bl_read_file_at(folder_fd, name, 4096, &text, &len, &err), &err);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
}

static void a_file_is_made_and_replaced_as_a_whole(void **state)
{
	(void)state;
	put("a", "first, and longer");
	assert_holds("a", "first, and longer");
	int before = openat(folder_fd, "a", O_RDONLY | O_CLOEXEC);
	put("a", "second");
	assert_holds("a", "second");
	/* who had it open still reads the old one: it was replaced, not overwritten */
	char old[6] = "";
	assert_int_equal(read(before, old, 5), 5);
	assert_string_equal(old, "first");
	close(before);
	assert_int_equal(faccessat(folder_fd, "a.new", F_OK, 0), -1);
	put("a", "");
	assert_holds("a", "");
}

static void a_new_file_has_the_given_mode(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct stat st;
	mode_t mask = umask(0);
	assert_works(bl_write_file_at(folder_fd, "mode", 0640, "x", 1, &err), &err);
	umask(mask);
	assert_int_equal(fstatat(folder_fd, "mode", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void what_a_crash_left_behind_is_replaced(void **state)
{
	(void)state;
	put("left.new", "half writ");
	put("left", "whole");
	assert_holds("left", "whole");
	assert_int_equal(faccessat(folder_fd, "left.new", F_OK, 0), -1);
}

static void links_are_not_followed_when_writing(void **state)
{
	(void)state;
	put("victim", "untouched");
	assert_int_equal(symlinkat("victim", folder_fd, "trap"), 0);
	assert_int_equal(symlinkat("victim", folder_fd, "trap.new"), 0);
	put("trap", "mine");
	assert_holds("trap", "mine");
	assert_holds("victim", "untouched");
}

static void links_are_not_followed_when_reading(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	put("real", "secret");
	assert_int_equal(symlinkat("real", folder_fd, "link"), 0);
	assert_fails(bl_read_file_at(folder_fd, "link", 4096, &text, NULL, &err), &err,
		     BL_E_SYS, "open link: Too many levels of symbolic links");
	assert_int_equal(err.sys_errno, ELOOP);
	assert_null(text);
}

static void a_write_that_fails_leaves_the_old_content(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	put("kept", "old");
	assert_int_equal(mkdirat(folder_fd, "kept.new", 0700), 0);
	assert_fails(bl_write_file_at(folder_fd, "kept", 0600, "new", 3, &err), &err, BL_E_SYS,
		     "create kept.new: File exists");
	assert_holds("kept", "old");
	assert_int_equal(unlinkat(folder_fd, "kept.new", AT_REMOVEDIR), 0);
	assert_int_equal(mkdirat(folder_fd, "taken", 0700), 0);
	assert_fails(bl_write_file_at(folder_fd, "taken", 0600, "new", 3, &err), &err, BL_E_SYS,
		     "replace taken: Is a directory");
	assert_int_equal(faccessat(folder_fd, "taken.new", F_OK, 0), -1);
}

static void reading_stops_at_the_limit(void **state)
{
	(void)state;
	static const struct {
		size_t size, max;
		bool fits;
	} cases[] = {
		{ 0, 0, true },         { 1, 0, false },        { 10, 10, true },
		{ 11, 10, false },      { 4096, 4096, true },   { 4097, 4096, false },
		{ 20000, 20000, true }, { 20000, 8191, false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_err err = { 0 };
		bl_autofree char *data = bl_xcalloc(cases[i].size, 1);
		bl_autofree char *text = NULL;
		size_t len = 77;
		memset(data, 'd', cases[i].size);
		assert_works(
			bl_write_file_at(folder_fd, "size", 0600, data, cases[i].size, &err),
			&err);
		int rc = bl_read_file_at(folder_fd, "size", cases[i].max, &text, &len, &err);
		if (cases[i].fits) {
			assert_works(rc, &err);
			assert_int_equal(len, cases[i].size);
			assert_int_equal(text[len], 0);
		} else {
			bl_autofree char *msg =
				bl_xprintf("read size: larger than %zu bytes", cases[i].max);
			assert_fails(rc, &err, BL_E_INPUT, msg);
			assert_null(text);
			assert_int_equal(len, 77);
		}
	}
}

static void a_missing_file_is_named(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	assert_fails(bl_read_file_at(folder_fd, "none", 9, &text, NULL, &err), &err, BL_E_SYS,
		     "open none: No such file or directory");
	assert_null(bl_slurp("/no/such/file", 9));
	int fd = -1;
	assert_fails(bl_open_dir("/no/such/folder", &fd, &err), &err, BL_E_SYS,
		     "open folder /no/such/folder: No such file or directory");
	assert_fails(bl_sync_dir("/no/such/folder", &err), &err, BL_E_SYS,
		     "open folder /no/such/folder: No such file or directory");
	assert_fails(bl_sync_fs("/no/such/folder", &err), &err, BL_E_SYS,
		     "open /no/such/folder: No such file or directory");
	assert_int_equal(fd, -1);
}

static void slurping_follows_links_and_has_a_limit(void **state)
{
	(void)state;
	put("source", "12345");
	assert_int_equal(symlinkat("source", folder_fd, "way"), 0);
	bl_autofree char *path = in_folder("way");
	bl_autofree char *text = bl_slurp(path, 5);
	assert_string_equal(text, "12345");
	assert_null(bl_slurp(path, 4));
}

static void folders_are_made_with_their_parents(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct stat st;
	bl_autofree char *deep = in_folder("x/y//z");
	assert_works(bl_mkdirs(deep, 0700, &err), &err);
	assert_works(bl_mkdirs(deep, 0700, &err), &err);
	assert_int_equal(fstatat(folder_fd, "x/y/z", &st, 0), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
	bl_autofree char *slash = in_folder("s/");
	assert_works(bl_mkdirs(slash, 0700, &err), &err);
}

static void a_file_where_a_folder_should_be_is_an_error(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	put("file", "x");
	bl_autofree char *path = in_folder("file");
	bl_autofree char *below = in_folder("file/below");
	bl_autofree char *msg = bl_xprintf("make folder %s: Not a directory", path);
	bl_autofree char *msg_below = bl_xprintf("make folder %s: Not a directory", below);
	assert_fails(bl_mkdirs(path, 0700, &err), &err, BL_E_SYS, msg);
	assert_fails(bl_mkdirs(below, 0700, &err), &err, BL_E_SYS, msg_below);
}

static void a_link_is_put_and_replaced_in_one_step(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofree char *path = in_folder("current");
	assert_null(bl_readlink(path));
	static const char *const targets[] = { "/nix/store/a", "/nix/store/b" };
	for (size_t i = 0; i < BL_COUNT(targets); i++) {
		bl_autofree char *tmp = in_folder("current.new");
		assert_int_equal(symlink("left behind", tmp), 0);
		assert_works(bl_symlink_replace(targets[i], path, &err), &err);
		bl_autofree char *got = bl_readlink(path);
		assert_string_equal(got, targets[i]);
		assert_int_equal(access(tmp, F_OK), -1);
	}
}

static void all_links_are_followed_to_the_end(void **state)
{
	(void)state;
	put("end", "x");
	assert_int_equal(symlinkat("end", folder_fd, "hop"), 0);
	assert_int_equal(symlinkat("hop", folder_fd, "hop2"), 0);
	bl_autofree char *from = in_folder("hop2");
	bl_autofree char *end = in_folder("end");
	bl_autofree char *real_end = bl_realpath(end);
	bl_autofree char *got = bl_realpath(from);
	assert_string_equal(got, real_end);
	assert_null(bl_realpath("/no/such/file"));
}

static void a_full_pipe_or_disk_is_an_error(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	bl_autofd int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_fails(bl_write_all(fd, "x", 1, &err), &err, BL_E_SYS,
		     "write: No space left on device");
	assert_works(bl_sync_dir(folder, &err), &err);
	assert_works(bl_sync_fs(folder, &err), &err);
}

static int ticks;

static void count_tick(void *ctx)
{
	(void)ctx;
	ticks++;
}

static void files_are_the_same_when_every_byte_is(void **state)
{
	(void)state;
	static const size_t size = (17UL * 1024 * 1024) + 3;
	bl_autofree char *a = in_folder("same-a");
	bl_autofree char *b = in_folder("same-b");
	bl_autofree char *bytes = bl_xcalloc(size, 1);
	struct bl_err err = { 0 };
	bl_autofd int dir = -1;
	assert_works(bl_open_dir(folder, &dir, &err), &err);
	memset(bytes, 'x', size);
	assert_works(bl_write_file_at(dir, "same-a", 0600, bytes, size, &err), &err);
	assert_works(bl_write_file_at(dir, "same-b", 0600, bytes, size, &err), &err);
	ticks = 0;
	assert_true(bl_same_content(a, b, count_tick, NULL));
	assert_int_equal(ticks, 1);
	/* the last byte, one less, one more */
	bytes[size - 1] = 'y';
	assert_works(bl_write_file_at(dir, "same-b", 0600, bytes, size, &err), &err);
	assert_false(bl_same_content(a, b, NULL, NULL));
	bytes[size - 1] = 'x';
	assert_works(bl_write_file_at(dir, "same-b", 0600, bytes, size - 1, &err), &err);
	assert_false(bl_same_content(a, b, NULL, NULL));
	assert_false(bl_same_content(b, a, NULL, NULL));
	assert_false(bl_same_content(a, "/no/such/file", NULL, NULL));
	assert_false(bl_same_content("/no/such/file", "/no/such/file", NULL, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_made_and_replaced_as_a_whole),
		cmocka_unit_test(a_new_file_has_the_given_mode),
		cmocka_unit_test(what_a_crash_left_behind_is_replaced),
		cmocka_unit_test(links_are_not_followed_when_writing),
		cmocka_unit_test(links_are_not_followed_when_reading),
		cmocka_unit_test(a_write_that_fails_leaves_the_old_content),
		cmocka_unit_test(reading_stops_at_the_limit),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(slurping_follows_links_and_has_a_limit),
		cmocka_unit_test(folders_are_made_with_their_parents),
		cmocka_unit_test(a_file_where_a_folder_should_be_is_an_error),
		cmocka_unit_test(a_link_is_put_and_replaced_in_one_step),
		cmocka_unit_test(all_links_are_followed_to_the_end),
		cmocka_unit_test(files_are_the_same_when_every_byte_is),
		cmocka_unit_test(a_full_pipe_or_disk_is_an_error),
	};
	return cmocka_run_group_tests_name("file", tests, make_folder, remove_folder);
}
