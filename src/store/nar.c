/* SPDX-License-Identifier: MIT */
#include "store/nar.h"

#include "base/clock.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER ((size_t)256 << 10)

struct dump {
	bl_nar_put *put;
	void *ctx;
	struct bl_err *err;
	char *data; /* what is not yet put */
	size_t fill;
	uint64_t skip;      /* bytes that are still to be left out */
	struct bl_buf path; /* of the node that is written, for messages */
};

static int flush(struct dump *d)
{
	size_t len = d->fill;
	d->fill = 0;
	bl_idle();
	return len > 0 ? d->put(d->ctx, d->data, len, d->err) : 0;
}

static int put(struct dump *d, const void *data, size_t len)
{
	const char *p = data;
	size_t skip = len < d->skip ? len : (size_t)d->skip;
	d->skip -= skip;
	p += skip;
	len -= skip;
	while (len > 0) {
		if (d->fill == BUFFER && flush(d) < 0)
			return -1;
		size_t take = BUFFER - d->fill < len ? BUFFER - d->fill : len;
		memcpy(d->data + d->fill, p, take);
		d->fill += take;
		p += take;
		len -= take;
	}
	return 0;
}

static int put_u64(struct dump *d, uint64_t v)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	return put(d, bytes, sizeof(bytes));
}

static int put_padding(struct dump *d, uint64_t len)
{
	static const char zeros[8];
	return put(d, zeros, (8 - len % 8) % 8);
}

static int put_text(struct dump *d, const char *s)
{
	size_t len = strlen(s);
	if (put_u64(d, len) < 0 || put(d, s, len) < 0)
		return -1;
	return put_padding(d, len);
}

static int put_texts(struct dump *d, const char *const *texts)
{
	for (; *texts; texts++)
		if (put_text(d, *texts) < 0)
			return -1;
	return 0;
}
#define PUT(d, ...) put_texts(d, (const char *const[]){ __VA_ARGS__, NULL })

static int fails(struct dump *d, const char *why)
{
	return bl_err_set(d->err, BL_E_INPUT, "%s: %s", bl_buf_str(&d->path), why);
}

static int fails_sys(struct dump *d, const char *what)
{
	return bl_err_sys(d->err, errno, "%s %s", what, bl_buf_str(&d->path));
}

/* Opens what fstatat has just seen; whatever stands there meanwhile must not hold us up. */
static int open_node(struct dump *d, int dir, const char *name, mode_t type, struct stat *st)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	bl_autofd int fd = openat(dir, name, flags | (S_ISDIR(type) ? O_DIRECTORY : 0));
	if (fd < 0)
		return fails_sys(d, "open");
	if (fstat(fd, st) < 0)
		return fails_sys(d, "look at");
	if ((st->st_mode & S_IFMT) != (type & S_IFMT))
		return fails(d, "changed while it was read");
	return BL_STEAL_FD(fd);
}

static ssize_t read_some(int fd, char *data, size_t len)
{
	ssize_t n;
	do {
		n = read(fd, data, len);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int dump_contents(struct dump *d, int fd, uint64_t size)
{
	uint64_t skip = size < d->skip ? size : d->skip;
	if (skip > 0 && lseek(fd, (off_t)skip, SEEK_SET) < 0)
		return fails_sys(d, "read");
	d->skip -= skip;
	for (uint64_t left = size - skip; left > 0;) {
		if (d->fill == BUFFER && flush(d) < 0)
			return -1;
		size_t room = BUFFER - d->fill;
		ssize_t n = read_some(fd, d->data + d->fill, left < room ? left : room);
		if (n < 0)
			return fails_sys(d, "read");
		if (n == 0)
			return fails(d, "became shorter while it was read");
		d->fill += (size_t)n;
		left -= (uint64_t)n;
	}
	char more;
	ssize_t n = read_some(fd, &more, 1);
	if (n < 0)
		return fails_sys(d, "read");
	return n > 0 ? fails(d, "became longer while it was read") : put_padding(d, size);
}

static int dump_file(struct dump *d, int dir, const char *name)
{
	struct stat st;
	bl_autofd int fd = open_node(d, dir, name, S_IFREG, &st);
	if (fd < 0 || PUT(d, "regular") < 0)
		return -1;
	if ((st.st_mode & S_IXUSR) && PUT(d, "executable", "") < 0)
		return -1;
	if (PUT(d, "contents") < 0 || put_u64(d, (uint64_t)st.st_size) < 0)
		return -1;
	return dump_contents(d, fd, (uint64_t)st.st_size);
}

static int dump_link(struct dump *d, int dir, const char *name)
{
	char target[BL_NAR_TARGET_MAX + 2];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));
	if (n < 0)
		return fails_sys(d, "read the link");
	if (n == 0 || n > BL_NAR_TARGET_MAX)
		return fails(d, "a NAR holds no link that is empty or so long");
	target[n] = '\0';
	return PUT(d, "symlink", "target", target);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b); /* compares as unsigned */
}

static int list_names(struct dump *d, DIR *stream, struct bl_strv *names)
{
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(stream);
		if (!e)
			break;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		size_t len = strlen(e->d_name);
		if (len == 0 || len > BL_NAR_NAME_MAX)
			return fails(d, "a NAR holds no name that is empty or so long");
		bl_strv_add(names, e->d_name);
	}
	if (errno != 0)
		return fails_sys(d, "list");
	if (names->n > 1)
		qsort(names->items, names->n, sizeof(names->items[0]), by_bytes);
	return 0;
}

static int dump_node(struct dump *d, int dir, const char *name, size_t depth);

static int dump_entries(struct dump *d, DIR *stream, size_t depth)
{
	BL_AUTO(bl_strv) names = { 0 };
	if (list_names(d, stream, &names) < 0)
		return -1;
	size_t len = d->path.len;
	for (size_t i = 0; i < names.n; i++) {
		bl_buf_putc(&d->path, '/');
		bl_buf_puts(&d->path, names.items[i]);
		if (PUT(d, "entry", "(", "name", names.items[i], "node") < 0 ||
		    dump_node(d, dirfd(stream), names.items[i], depth + 1) < 0 ||
		    PUT(d, ")") < 0)
			return -1;
		d->path.len = len;
		d->path.data[len] = '\0';
	}
	return 0;
}

static int dump_folder(struct dump *d, int dir, const char *name, size_t depth)
{
	struct stat st;
	int fd = open_node(d, dir, name, S_IFDIR, &st);
	if (fd < 0)
		return -1;
	DIR *stream = fdopendir(fd);
	if (!stream) {
		int rc = fails_sys(d, "list");
		close(fd);
		return rc;
	}
	int rc = PUT(d, "directory") < 0 ? -1 : dump_entries(d, stream, depth);
	closedir(stream);
	return rc;
}

static int dump_node(struct dump *d, int dir, const char *name, size_t depth)
{
	struct stat st;
	int rc = 0;
	if (depth >= BL_NAR_DEPTH)
		return fails(d, "a NAR holds no folders so deep in each other");
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fails_sys(d, "look at");
	if (PUT(d, "(", "type") < 0)
		return -1;
	if (S_ISREG(st.st_mode))
		rc = dump_file(d, dir, name);
	else if (S_ISLNK(st.st_mode))
		rc = dump_link(d, dir, name);
	else if (S_ISDIR(st.st_mode))
		rc = dump_folder(d, dir, name, depth);
	else
		rc = fails(d, "a NAR holds files, links and folders only");
	return rc < 0 ? -1 : PUT(d, ")");
}

int bl_nar_dump_from(const char *path, uint64_t from, bl_nar_put *to, void *ctx,
		     struct bl_err *err)
{
	bl_autofree char *data = bl_xcalloc(BUFFER, 1);
	struct dump d = { .put = to, .ctx = ctx, .err = err, .data = data, .skip = from };
	bl_buf_puts(&d.path, path);
	int rc = PUT(&d, "nix-archive-1");
	if (rc == 0)
		rc = dump_node(&d, AT_FDCWD, path, 0);
	if (rc == 0)
		rc = flush(&d);
	bl_buf_free(&d.path);
	return rc < 0 ? -1 : 0;
}

int bl_nar_dump(const char *path, bl_nar_put *to, void *ctx, struct bl_err *err)
{
	return bl_nar_dump_from(path, 0, to, ctx, err);
}
