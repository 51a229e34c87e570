/* SPDX-License-Identifier: MIT */
#include "copy/spool.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* keys are hashes already */
#define HASH_FUNCTION(key, len, out) memcpy(&(out), key, sizeof(out))
#include <uthash.h>

#define EXTENT   (1UL << 20) /* the file is given away in these */
#define CONTENTS 16384       /* that are remembered, if so many are not in use */

struct extent {
	uint64_t at;
	size_t used;
};

struct bl_spooled {
	uint8_t key[BL_SHA256_LEN];
	UT_hash_handle hh;
	struct bl_spool *spool;
	struct bl_spooled *next; /* in the queue of what is to be made */
	uv_work_t work;
	struct bl_make make; /* with lists of its own */
	unsigned users;
	bool running, queued;
	uint64_t used_at;            /* a clock of its own: the oldest goes first */
	struct bl_delta_head making; /* the thread's that makes it */
	/* behind the lock */
	struct bl_delta_head head;
	struct extent *extents;
	size_t n_extents;
	uint64_t len;
	bool head_known, over;
	struct bl_err err; /* with a code when it failed */
};

struct bl_spool {
	uv_loop_t *loop;
	struct bl_spool_spec spec;
	char *dir;
	int fd;
	uv_mutex_t lock;
	uv_async_t *async;
	struct bl_spooled *all; /* by key */
	size_t n;
	struct bl_spooled *queue, **queue_end;
	unsigned running, most;
	bool ending;
	uint64_t clock;
	/* behind the lock */
	bool stopping;
	uint64_t end_bytes;
	uint64_t *gaps; /* extents that are free again */
	size_t n_gaps;
	uint64_t kept_bytes;
};

static void on_async(uv_async_t *async)
{
	struct bl_spool *s = async->data;
	if (s)
		s->spec.news(s->spec.ctx);
}

static int begin_events(struct bl_spool *s, struct bl_err *err)
{
	int rc = uv_mutex_init(&s->lock);
	if (rc != 0)
		return bl_err_sys(err, -rc, "make a lock");
	s->async = bl_xcalloc(1, sizeof(*s->async));
	rc = uv_async_init(s->loop, s->async, on_async);
	if (rc != 0) {
		free(s->async);
		uv_mutex_destroy(&s->lock);
		return bl_err_sys(err, -rc, "make a wakeup for threads");
	}
	s->async->data = s;
	return 0;
}

int bl_spool_new(uv_loop_t *loop, const struct bl_spool_spec *spec, struct bl_spool **out,
		 struct bl_err *err)
{
	int fd = bl_nameless_file(spec->dir);
	if (fd < 0)
		return bl_err_sys(err, errno, "make a file in %s", spec->dir);
	struct bl_spool *s = bl_xcalloc(1, sizeof(*s));
	s->loop = loop;
	s->spec = *spec;
	s->fd = fd;
	struct statvfs fs;
	if (fstatvfs(fd, &fs) == 0 && fs.f_bavail * fs.f_frsize / 2 < spec->limit_bytes)
		s->spec.limit_bytes = fs.f_bavail * fs.f_frsize / 2;
	s->dir = bl_xstrdup(spec->dir);
	s->queue_end = &s->queue;
	s->most = uv_available_parallelism();
	if (begin_events(s, err) == 0) {
		*out = s;
		return 0;
	}
	close(fd);
	free(s->dir);
	free(s);
	return -1;
}

/* ---- making, in a thread of the loop's pool */

static void give_back(struct bl_spool *s, struct bl_spooled *c)
{
	for (size_t i = 0; i < c->n_extents; i++) {
		s->gaps = bl_xrealloc(s->gaps, s->n_gaps + 1, sizeof(*s->gaps));
		s->gaps[s->n_gaps++] = c->extents[i].at;
	}
	s->kept_bytes -= c->n_extents * EXTENT;
	free(c->extents);
	c->extents = NULL;
	c->n_extents = 0;
}

static void add_extent(struct bl_spool *s, struct bl_spooled *c)
{
	uint64_t at = s->end_bytes;
	if (s->n_gaps > 0)
		at = s->gaps[--s->n_gaps];
	else
		s->end_bytes += EXTENT;
	c->extents = bl_xrealloc(c->extents, c->n_extents + 1, sizeof(*c->extents));
	c->extents[c->n_extents++] = (struct extent){ at, 0 };
	s->kept_bytes += EXTENT;
}

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t at, struct bl_err *err)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bl_err_sys(err, n < 0 ? errno : EIO, "write what is to be sent");
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* Only this thread appends to it. */
static int on_content(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct bl_spooled *c = arg;
	struct bl_spool *s = c->spool;
	while (len > 0) {
		uv_mutex_lock(&s->lock);
		if (s->stopping) {
			uv_mutex_unlock(&s->lock);
			return bl_err_set(err, BL_E_FAILED, "it is not wanted any more");
		}
		if (c->n_extents == 0 || c->extents[c->n_extents - 1].used == EXTENT)
			add_extent(s, c);
		struct extent e = c->extents[c->n_extents - 1];
		uv_mutex_unlock(&s->lock);
		size_t n = len < EXTENT - e.used ? len : EXTENT - e.used;
		if (write_at(s->fd, data, n, e.at + e.used, err) < 0)
			return bl_err_wrap(err, "%s", s->dir);
		uv_mutex_lock(&s->lock);
		c->extents[c->n_extents - 1].used += n;
		c->len += n;
		c->head = c->making;
		c->head_known = true;
		uv_mutex_unlock(&s->lock);
		data += n;
		len -= n;
	}
	uv_async_send(s->async);
	return 0;
}

static void make(uv_work_t *work)
{
	struct bl_spooled *c = work->data;
	struct bl_err err = { 0 };
	const struct bl_sink sink = { on_content, c };
	c->making = c->head;
	int rc = bl_make_piece(&c->make, &c->making, &sink, &err);
	uv_mutex_lock(&c->spool->lock);
	c->head = c->making;
	c->head_known = true;
	c->over = true;
	if (rc < 0) {
		c->err = err;
		if (c->err.code == BL_E_NONE)
			bl_err_set_(&c->err, BL_E_FAILED, 0, "it could not be read");
	}
	uv_mutex_unlock(&c->spool->lock);
}

/* ---- in the loop's thread */

static void free_lists(struct bl_make *m)
{
	/* NOLINTBEGIN(performance-no-int-to-ptr): free() takes no const */
	free((void *)(uintptr_t)m->news);
	free((void *)(uintptr_t)m->olds);
	free((void *)(uintptr_t)m->pairs);
	/* NOLINTEND(performance-no-int-to-ptr) */
	m->news = NULL;
	m->olds = NULL;
	m->pairs = NULL;
}

static void *copy_of(const void *list, size_t n, size_t size)
{
	void *copy = list ? bl_xcalloc(n + 1, size) : NULL;
	if (copy && n > 0)
		memcpy(copy, list, n * size);
	return copy;
}

/* NOLINTBEGIN(readability-function-cognitive-complexity): all of it is uthash's macros */
static struct bl_spooled *find(struct bl_spool *s, const uint8_t *key)
{
	struct bl_spooled *c = NULL;
	HASH_FIND(hh, s->all, key, BL_SHA256_LEN, c);
	return c;
}

static void insert(struct bl_spool *s, struct bl_spooled *c)
{
	HASH_ADD(hh, s->all, key, BL_SHA256_LEN, c);
	s->n++;
}

static void take_out(struct bl_spool *s, struct bl_spooled *c)
{
	HASH_DEL(s->all, c);
	s->n--;
}
/* NOLINTEND(readability-function-cognitive-complexity) */

static void forget(struct bl_spool *s, struct bl_spooled *c)
{
	take_out(s, c);
	uv_mutex_lock(&s->lock);
	give_back(s, c);
	uv_mutex_unlock(&s->lock);
	free_lists(&c->make);
	free(c);
}

static void begin_more(struct bl_spool *s);

static void on_made(uv_work_t *work, int status BL_UNUSED)
{
	struct bl_spooled *c = work->data;
	struct bl_spool *s = c->spool;
	c->running = false;
	s->running--;
	/* it is not made again */
	free_lists(&c->make);
	if (s->ending)
		return;
	/* nobody is to find a failure that was somebody else's */
	if (c->users == 0 && c->err.code != BL_E_NONE)
		forget(s, c);
	begin_more(s);
	s->spec.news(s->spec.ctx);
}

static void begin_more(struct bl_spool *s)
{
	while (s->queue && s->running < s->most) {
		struct bl_spooled *c = s->queue;
		s->queue = c->next;
		if (!s->queue)
			s->queue_end = &s->queue;
		c->queued = false;
		c->running = true;
		s->running++;
		c->work.data = c;
		uv_queue_work(s->loop, &c->work, make, on_made);
	}
}

static bool is_full(struct bl_spool *s)
{
	uv_mutex_lock(&s->lock);
	bool full = s->kept_bytes > s->spec.limit_bytes;
	uv_mutex_unlock(&s->lock);
	/* a copy of an old path has no bytes */
	return full || s->n >= CONTENTS;
}

/* What nobody reads, the oldest first. */
static void make_room(struct bl_spool *s)
{
	while (is_full(s)) {
		struct bl_spooled *oldest = NULL;
		for (struct bl_spooled *c = s->all; c; c = c->hh.next)
			if (c->users == 0 && !c->running && !c->queued &&
			    (!oldest || c->used_at < oldest->used_at))
				oldest = c;
		if (!oldest)
			return;
		forget(s, oldest);
	}
}

struct bl_spooled *bl_spool_get(struct bl_spool *s, const struct bl_load_piece *piece,
				const struct bl_make *m)
{
	struct bl_spooled *c = find(s, piece->key);
	if (c) {
		c->users++;
		return c;
	}
	make_room(s);
	c = bl_xcalloc(1, sizeof(*c));
	memcpy(c->key, piece->key, BL_SHA256_LEN);
	c->spool = s;
	c->make = *m;
	c->make.news = copy_of(m->news, m->count, sizeof(*m->news));
	c->make.olds = copy_of(m->olds, m->count, sizeof(*m->olds));
	c->make.pairs = copy_of(m->pairs, m->n_pairs, sizeof(*m->pairs));
	c->head = piece->head;
	c->users = 1;
	c->queued = true;
	insert(s, c);
	*s->queue_end = c;
	s->queue_end = &c->next;
	begin_more(s);
	return c;
}

static void unqueue(struct bl_spool *s, struct bl_spooled *c)
{
	struct bl_spooled **at = &s->queue;
	while (*at && *at != c)
		at = &(*at)->next;
	if (*at == c)
		*at = c->next;
	s->queue_end = &s->queue;
	while (*s->queue_end)
		s->queue_end = &(*s->queue_end)->next;
}

void bl_spool_drop(struct bl_spool *s, struct bl_spooled *c)
{
	c->used_at = ++s->clock;
	if (--c->users > 0 || c->running)
		return;
	if (c->queued)
		unqueue(s, c);
	if (c->queued || c->err.code != BL_E_NONE)
		forget(s, c);
}

bool bl_spooled_head(const struct bl_spooled *c, struct bl_delta_head *out)
{
	uv_mutex_lock(&c->spool->lock);
	bool known = c->head_known;
	*out = c->head;
	uv_mutex_unlock(&c->spool->lock);
	return known;
}

int bl_spooled_read(const struct bl_spooled *c, uint64_t at, void *buf, size_t max,
		    size_t *out_len, bool *out_over, struct bl_err *err)
{
	uv_mutex_lock(&c->spool->lock);
	uint64_t there = c->len;
	bool over = c->over;
	bool failed = c->err.code != BL_E_NONE;
	/* all extents but the last are full */
	struct extent e = { 0 };
	if (at < there)
		e = c->extents[at / EXTENT];
	uv_mutex_unlock(&c->spool->lock);
	*out_len = 0;
	*out_over = over && at >= there;
	if (failed) {
		if (err)
			*err = c->err;
		return -1;
	}
	if (at >= there)
		return 0;
	size_t n = e.used - (size_t)(at % EXTENT);
	ssize_t got = pread(c->spool->fd, buf, n < max ? n : max, (off_t)(e.at + at % EXTENT));
	if (got <= 0)
		return bl_err_sys(err, got < 0 ? errno : EIO, "read what is to be sent");
	*out_len = (size_t)got;
	return 0;
}

static void free_async(uv_handle_t *handle)
{
	free(handle);
}

void bl_spool_free(struct bl_spool *s)
{
	if (!s)
		return;
	s->ending = true;
	s->queue = NULL;
	struct bl_spooled *c = NULL;
	uv_mutex_lock(&s->lock);
	s->stopping = true;
	uv_mutex_unlock(&s->lock);
	for (c = s->all; c; c = c->hh.next)
		if (c->running)
			uv_cancel((uv_req_t *)&c->work);
	/* threads end with the next bytes that they put out */
	while (s->running > 0)
		uv_run(s->loop, UV_RUN_ONCE);
	while (s->all)
		forget(s, s->all);
	s->async->data = NULL;
	uv_close((uv_handle_t *)s->async, free_async);
	uv_mutex_destroy(&s->lock);
	free(s->gaps);
	free(s->dir);
	close(s->fd);
	free(s);
}
