/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include "base/clock.h"
#include "base/compat.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int bl_read_all(int fd, size_t max, char **out_text, size_t *out_len, struct bl_err *err)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (;;) {
		char chunk[4096];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return bl_err_sys(err, errno, "read");
		if (n == 0)
			break;
		if (b.len + (size_t)n > max)
			return bl_err_set(err, BL_E_INPUT, "larger than %zu bytes", max);
		bl_buf_append(&b, chunk, (size_t)n);
	}
	if (out_len)
		*out_len = b.len;
	*out_text = bl_buf_steal(&b);
	return 0;
}

int bl_read_file_at(int dir_fd, const char *name, size_t max, char **out_text, size_t *out_len,
		    struct bl_err *err)
{
	bl_autofd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return bl_err_sys(err, errno, "open %s", name);
	if (bl_read_all(fd, max, out_text, out_len, err) < 0)
		return bl_err_wrap(err, "read %s", name);
	return 0;
}

char *bl_slurp(const char *path, size_t max)
{
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	if (fd < 0 || bl_read_all(fd, max, &text, NULL, NULL) < 0)
		return NULL;
	return text;
}

const char *bl_tmp_dir(const char *otherwise)
{
	const char *dir = getenv("TMPDIR");
	return dir && *dir == '/' ? dir : otherwise;
}

int bl_nameless_file(const char *dir)
{
	bl_autofree char *path = bl_xprintf("%s/belay-XXXXXX", dir);
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

int bl_write_all(int fd, const void *data, size_t len, struct bl_err *err)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return bl_err_sys(err, errno, "write");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int bl_write_file_at(int dir_fd, const char *name, mode_t mode, const void *data, size_t len,
		     struct bl_err *err)
{
	bl_autofree char *tmp = bl_xprintf("%s.new", name);
	/* one that a crash left behind is ours to replace */
	unlinkat(dir_fd, tmp, 0);
	bl_autofd int fd =
		openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return bl_err_sys(err, errno, "create %s", tmp);
	if (bl_write_all(fd, data, len, err) < 0) {
		unlinkat(dir_fd, tmp, 0);
		return bl_err_wrap(err, "%s", tmp);
	}
	if (fsync(fd) < 0 || renameat(dir_fd, tmp, dir_fd, name) < 0) {
		int saved = errno;
		unlinkat(dir_fd, tmp, 0);
		return bl_err_sys(err, saved, "replace %s", name);
	}
	if (fsync(dir_fd) < 0)
		return bl_err_sys(err, errno, "sync folder of %s", name);
	return 0;
}

/* A new folder is there after a crash once the one above it was flushed. */
static int sync_above(const char *path, struct bl_err *err)
{
	const char *slash = strrchr(path, '/');
	bl_autofree char *above = !slash          ? bl_xstrdup(".")
				  : slash == path ? bl_xstrdup("/")
						  : bl_xstrndup(path, (size_t)(slash - path));
	return bl_sync_dir(above, err);
}

int bl_mkdirs(const char *path, mode_t mode, struct bl_err *err)
{
	bl_autofree char *copy = bl_xstrdup(path);
	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = '\0';
		struct stat st;
		if (mkdir(copy, mode) == 0) {
			if (sync_above(copy, err) < 0)
				return -1;
		} else if (errno != EEXIST) {
			return bl_err_sys(err, errno, "make folder %s", copy);
		}
		if (!c && (stat(copy, &st) < 0 || !S_ISDIR(st.st_mode)))
			return bl_err_sys(err, ENOTDIR, "make folder %s", copy);
		*p = c;
		if (!c)
			return 0;
	}
}

int bl_open_dir(const char *path, int *out_fd, struct bl_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return bl_err_sys(err, errno, "open folder %s", path);
	*out_fd = fd;
	return 0;
}

char *bl_readlink(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));
	if (n < 0 || (size_t)n >= sizeof(target))
		return NULL;
	return bl_xstrndup(target, (size_t)n);
}

char *bl_realpath(const char *path)
{
	return realpath(path, NULL);
}

bool bl_same_content(const char *a, const char *b)
{
	static char left[65536];
	static char right[sizeof(left)];
	bl_autofd int fa = open(a, O_RDONLY | O_CLOEXEC);
	bl_autofd int fb = open(b, O_RDONLY | O_CLOEXEC);
	for (unsigned i = 1;; i++) {
		ssize_t n = fa < 0 ? -1 : read(fa, left, sizeof(left));
		ssize_t m = fb < 0 ? -1 : read(fb, right, sizeof(right));
		if (n < 0 || n != m || memcmp(left, right, (size_t)n) != 0)
			return false;
		if (n == 0)
			return true;
		if (i % 16 == 0)
			bl_idle();
	}
}

int bl_symlink_replace(const char *target, const char *path, struct bl_err *err)
{
	bl_autofree char *tmp = bl_xprintf("%s.new", path);
	unlink(tmp);
	if (symlink(target, tmp) < 0)
		return bl_err_sys(err, errno, "link %s", tmp);
	if (rename(tmp, path) < 0) {
		int saved = errno;
		unlink(tmp);
		return bl_err_sys(err, saved, "link %s", path);
	}
	return 0;
}

int bl_sync_dir(const char *dir, struct bl_err *err)
{
	bl_autofd int fd = -1;
	if (bl_open_dir(dir, &fd, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return bl_err_sys(err, errno, "sync folder %s", dir);
	return 0;
}

int bl_sync_fs(const char *path, struct bl_err *err)
{
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bl_err_sys(err, errno, "open %s", path);
	if (syncfs(fd) < 0)
		return bl_err_sys(err, errno, "flush the file system of %s", path);
	return 0;
}
