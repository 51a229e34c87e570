/* SPDX-License-Identifier: MIT */
#include "agent/kept.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME "incoming"

_Static_assert(sizeof(struct bl_kept_head) == 4096, "a page");

static void make_head(struct bl_kept_head *out, const char *path,
		      const uint8_t nar_hash[BL_SHA256_LEN], uint64_t nar_size)
{
	*out = (struct bl_kept_head){ .magic = "belay incoming1", .nar_size = nar_size };
	snprintf(out->path, sizeof(out->path), "%s", path);
	memcpy(out->nar_hash, nar_hash, BL_SHA256_LEN);
}

static char *name_of(const struct bl_kept *k)
{
	return bl_xprintf("%s/" NAME, k->dir);
}

/* Another agent may have put another file there meanwhile, which is not ours to remove. */
void bl_kept_drop(struct bl_kept *k)
{
	struct stat st;
	struct stat there;
	if (k->fd < 0)
		return;
	bl_autofree char *name = name_of(k);
	if (fstat(k->fd, &st) == 0 && lstat(name, &there) == 0 && st.st_ino == there.st_ino &&
	    st.st_dev == there.st_dev)
		unlink(name);
	bl_kept_close(k);
}

void bl_kept_close(struct bl_kept *k)
{
	bl_closep(&k->fd);
	k->bytes = 0;
}

static bool is_ours(struct bl_kept *k)
{
	struct stat st;
	struct bl_kept_head again;
	if (fstat(k->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_size <= (off_t)sizeof(k->head) ||
	    pread(k->fd, &k->head, sizeof(k->head), 0) != sizeof(k->head) ||
	    !memchr(k->head.path, '\0', sizeof(k->head.path)))
		return false;
	make_head(&again, k->head.path, k->head.nar_hash, k->head.nar_size);
	if (memcmp(&again, &k->head, sizeof(again)) != 0)
		return false;
	k->bytes = (uint64_t)st.st_size - sizeof(k->head);
	return k->bytes <= k->head.nar_size;
}

void bl_kept_look(struct bl_kept *k)
{
	if (!k->dir)
		return;
	bl_autofree char *name = name_of(k);
	bl_kept_close(k);
	/* one that is no file must not hold us up */
	k->fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (k->fd < 0 ? errno != ENOENT : !is_ours(k)) {
		bl_kept_close(k);
		unlink(name);
	}
}

bool bl_kept_is(const struct bl_kept *k, const char *path,
		const uint8_t nar_hash[BL_SHA256_LEN], uint64_t nar_size)
{
	return k->fd >= 0 && strcmp(k->head.path, path) == 0 &&
	       memcmp(k->head.nar_hash, nar_hash, BL_SHA256_LEN) == 0 &&
	       k->head.nar_size == nar_size;
}

/* Nix writes all of it, and we what is not there yet: maybe on the same disk. */
static bool has_room(const struct bl_kept *k, uint64_t nar_size, uint64_t there)
{
	struct statvfs fs;
	return statvfs(k->dir, &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize >=
		       nar_size + (nar_size - there) + k->reserve_bytes;
}

void bl_kept_begin(struct bl_kept *k, const char *path, const uint8_t nar_hash[BL_SHA256_LEN],
		   uint64_t nar_size)
{
	if (!k->dir)
		return;
	bl_autofree char *name = name_of(k);
	bl_kept_close(k);
	unlink(name);
	if (!has_room(k, nar_size, 0))
		return;
	k->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (k->fd < 0)
		return;
	k->full = false;
	make_head(&k->head, path, nar_hash, nar_size);
	if (pwrite(k->fd, &k->head, sizeof(k->head), 0) != sizeof(k->head))
		bl_kept_drop(k);
}

void bl_kept_go_on(struct bl_kept *k)
{
	k->full = !has_room(k, k->head.nar_size, k->bytes);
}

void bl_kept_put(struct bl_kept *k, uint64_t at, const void *data, size_t len)
{
	if (k->fd < 0 || k->full || at > k->bytes)
		return;
	/* a disk that is full is left to Nix */
	if (pwrite(k->fd, data, len, (off_t)(sizeof(k->head) + at)) != (ssize_t)len)
		bl_kept_drop(k);
	else if (at + len > k->bytes)
		k->bytes = at + len;
}

int bl_kept_read(const struct bl_kept *k, uint64_t at, void *buf, size_t len,
		 struct bl_err *err)
{
	ssize_t n = pread(k->fd, buf, len, (off_t)(sizeof(k->head) + at));
	if (n < 0)
		return bl_err_sys(err, errno, "read what had come before");
	if ((size_t)n < len)
		return bl_err_set(err, BL_E_INPUT, "less of it had come than was said");
	return 0;
}
