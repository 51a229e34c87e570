/* SPDX-License-Identifier: MIT */
#include "agent/olds.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "store/nar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the closure */

static void add_refs(const struct bl_index *numbers, const struct bl_strv *refs, size_t i,
		     struct bl_olds *out)
{
	size_t n = out->refs_at[i];
	out->refs = bl_xrealloc(out->refs, n + refs->n + 1, sizeof(out->refs[0]));
	for (size_t k = 0; k < refs->n; k++) {
		size_t at = 0;
		if (bl_index_find(numbers, refs->items[k], &at))
			out->refs[n++] = (uint32_t)at;
	}
	out->refs_at[i + 1] = n;
}

static void sort(const struct bl_path_infos *list, struct bl_olds *out)
{
	BL_AUTO(bl_index) index = { 0 };
	BL_AUTO(bl_index) numbers = { 0 };
	for (size_t i = 0; i < list->n; i++) {
		bl_index_put(&index, list->items[i].path, i);
		bl_strv_add(&out->paths, list->items[i].path);
	}
	bl_copy_sort(&out->paths);
	out->sizes_bytes = bl_xcalloc(list->n, sizeof(out->sizes_bytes[0]));
	out->refs_at = bl_xcalloc(list->n + 1, sizeof(out->refs_at[0]));
	for (size_t i = 0; i < list->n; i++)
		bl_index_put(&numbers, out->paths.items[i], i);
	for (size_t i = 0; i < list->n; i++) {
		size_t at = 0;
		if (!bl_index_find(&index, out->paths.items[i], &at))
			continue;
		out->sizes_bytes[i] = list->items[at].nar_size;
		add_refs(&numbers, &list->items[at].references, i, out);
	}
}

int bl_olds_read(struct bl_daemon *d, const char *system, struct bl_olds *out,
		 struct bl_err *err)
{
	BL_AUTO(bl_path_infos) list = { 0 };
	BL_AUTO(bl_strv) tops = { 0 };
	BL_AUTO(bl_olds) olds = { 0 };
	bl_strv_add(&tops, system);
	/* the collector spares what a root refers to */
	if (bl_query_temp_roots(d, &tops, err) < 0 ||
	    bl_query_closure(d, &tops, &list, err) < 0)
		return -1;
	if (list.n > BL_COPY_PATHS_MAX)
		return bl_err_set(err, BL_E_INPUT, "%s has %zu paths in its closure", system,
				  list.n);
	sort(&list, &olds);
	*out = olds;
	olds = (struct bl_olds){ 0 };
	return 0;
}

void bl_olds_free(struct bl_olds *olds)
{
	bl_strv_free(&olds->paths);
	free(olds->sizes_bytes);
	free(olds->refs);
	free(olds->refs_at);
	*olds = (struct bl_olds){ 0 };
}

/* ---- reading old paths */

/* All that are @p's to @put, one behind the other. */
static int dump(const struct bl_bases *b, const struct bl_copy_piece *p, bl_nar_put *put,
		void *ctx, struct bl_err *err)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->olds[i] == BL_COPY_NO_OLD)
			continue;
		bl_autofree char *at =
			bl_xprintf("%s%s", b->root, b->olds->paths.items[p->olds[i]]);
		if (bl_nar_dump(at, put, ctx, err) < 0)
			return -1;
	}
	return 0;
}

struct room {
	uint8_t *bytes;
	size_t len, fill;
};

static int put_room(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	struct room *r = ctx;
	if (len > r->len - r->fill)
		return bl_err_set(err, BL_E_INPUT, "old paths are larger than they were");
	memcpy(r->bytes + r->fill, data, len);
	r->fill += len;
	return 0;
}

static int read_whole(struct bl_bases *b, const struct bl_copy_piece *p, uint64_t size,
		      struct bl_err *err)
{
	struct room r = { .len = (size_t)size };
	/* the size is the other side's choice, so failing is an answer */
	r.bytes = b->whole = malloc(r.len + 1);
	if (!r.bytes)
		return bl_err_sys(err, ENOMEM, "base of %zu bytes", r.len);
	if (dump(b, p, put_room, &r, err) < 0)
		return -1;
	if (r.fill < r.len)
		return bl_err_set(err, BL_E_INPUT, "old paths are smaller than they were");
	bl_rewrite_all(b->rewrites, r.bytes, r.len);
	return 0;
}

static int put_pipe(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	return bl_write_all(*(const int *)ctx, data, len, err);
}

static int read_pipe(void *arg, uint8_t *buf, size_t max, size_t *out_len, struct bl_err *err)
{
	ssize_t n;
	do {
		n = read(*(const int *)arg, buf, max);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return bl_err_sys(err, errno, "read old paths");
	*out_len = (size_t)n;
	return 0;
}

/* A process of our own writes them, since windows are taken and archives are put. */
static int start_stream(struct bl_bases *b, const struct bl_copy_piece *p, struct bl_err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return bl_err_sys(err, errno, "pipe");
	b->pid = fork();
	if (b->pid == 0) {
		/* what is ours it must not keep open */
		bl_idle_set(NULL, NULL);
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		close(ends[0]);
		_exit(dump(b, p, put_pipe, &ends[1], NULL) < 0 ? 1 : 0);
	}
	int why = errno;
	close(ends[1]);
	b->fd = ends[0];
	if (b->pid < 0)
		return bl_err_sys(err, why, "start a process");
	b->stream = (struct bl_base){ .read = read_pipe,
				      .arg = &b->fd,
				      .rewrite = { .list = b->rewrites } };
	return 0;
}

/* ---- what is rewritten */

/* Adds the pair of old path @number, if it has one, once. */
static void add_pair(const struct bl_bases *b, bool *seen, uint32_t number,
		     struct bl_hash_pair **list, size_t *n, size_t *cap)
{
	const struct bl_hash_pair *pair = &b->pairs[number];
	if (seen[number] || !pair->old[0])
		return;
	seen[number] = true;
	if (*n == *cap) {
		*cap = *cap ? 2 * *cap : 64;
		*list = bl_xrealloc(*list, *cap, sizeof(**list));
	}
	(*list)[(*n)++] = *pair;
}

static int make_rewrites(struct bl_bases *b, const struct bl_copy_piece *p, struct bl_err *err)
{
	const struct bl_olds *o = b->olds;
	bl_autofree bool *seen = bl_xcalloc(o->paths.n + 1, sizeof(*seen));
	bl_autofree struct bl_hash_pair *list = NULL;
	size_t n = 0;
	size_t cap = 0;
	for (size_t i = 0; i < p->count; i++) {
		uint32_t old = p->olds[i];
		if (old == BL_COPY_NO_OLD)
			continue;
		add_pair(b, seen, old, &list, &n, &cap);
		for (size_t k = o->refs_at[old]; k < o->refs_at[old + 1]; k++)
			add_pair(b, seen, o->refs[k], &list, &n, &cap);
	}
	return bl_rewrites_new(list, n, &b->rewrites, err);
}

/* ---- windows */

static bool goes_on(const struct bl_bases *b, const struct bl_copy_piece *p)
{
	return b->held && b->alone && p->count == 1 && p->first == b->first &&
	       p->olds[0] == b->old;
}

static int hold(struct bl_bases *b, const struct bl_copy_piece *p, uint64_t size,
		struct bl_err *err)
{
	bl_bases_drop(b);
	b->held = true;
	b->fd = -1;
	b->alone = p->count == 1;
	b->first = p->first;
	b->old = p->olds[0];
	if (make_rewrites(b, p, err) < 0)
		return -1;
	bool fits = size <= b->memory_bytes && p->size_bytes <= b->memory_bytes - size;
	return fits ? read_whole(b, p, size, err) : start_stream(b, p, err);
}

static int window(struct bl_bases *b, const struct bl_copy_piece *p, const uint8_t **out,
		  struct bl_err *err)
{
	uint64_t size = 0;
	for (size_t i = 0; i < p->count; i++)
		if (p->olds[i] != BL_COPY_NO_OLD)
			size += b->olds->sizes_bytes[p->olds[i]];
	if (p->base_at > size || p->base_bytes > size - p->base_at)
		return bl_err_set(err, BL_E_INPUT, "its base has only %" PRIu64 " bytes", size);
	if (p->base_bytes > b->memory_bytes)
		return bl_err_set(err, BL_E_INPUT, "its base is too large for this host");
	if (!goes_on(b, p) && hold(b, p, size, err) < 0)
		return -1;
	if (!b->whole)
		return bl_base_window(&b->stream, p->base_at, (size_t)p->base_bytes, out, err);
	*out = b->whole + p->base_at;
	return 0;
}

int bl_bases_window(struct bl_bases *b, const struct bl_copy_piece *p, const uint8_t **out,
		    struct bl_err *err)
{
	if (window(b, p, out, err) == 0)
		return 0;
	bl_bases_drop(b);
	return -1;
}

void bl_bases_drop(struct bl_bases *b)
{
	if (!b->held)
		return;
	free(b->whole);
	b->whole = NULL;
	bl_rewrites_free(b->rewrites);
	b->rewrites = NULL;
	bl_base_free(&b->stream);
	bl_closep(&b->fd);
	if (b->pid > 0) {
		kill(b->pid, SIGKILL);
		bl_child_reap(b->pid);
	}
	b->pid = 0;
	b->held = false;
}
