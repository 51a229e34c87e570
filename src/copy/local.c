/* SPDX-License-Identifier: MIT */
#include "copy/local.h"

#include "wire/copy.h"

#include <stdlib.h>

#define QUIET_MS 600000 /* a garbage collection may hold it up */

static void number_refs(const struct bl_index *places, const struct bl_path_info *info,
			uint32_t **out, size_t *out_n)
{
	size_t n = info->references.n;
	*out = bl_xcalloc(n + 1, sizeof(**out));
	*out_n = n;
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;
		/* a closure has all of them */
		bl_index_find(places, info->references.items[i], &at);
		(*out)[i] = (uint32_t)at;
	}
}

static void number(struct bl_local *l)
{
	size_t n = l->infos.n;
	BL_AUTO(bl_index) places = { 0 };
	l->refs = bl_xcalloc(n + 1, sizeof(*l->refs));
	l->n_refs = bl_xcalloc(n + 1, sizeof(*l->n_refs));
	l->number = bl_xcalloc(n + 1, sizeof(*l->number));
	l->place = bl_xcalloc(n + 1, sizeof(*l->place));
	for (size_t i = 0; i < n; i++) {
		bl_index_put(&places, l->infos.items[i].path, i);
		bl_strv_add(&l->sorted, l->infos.items[i].path);
	}
	bl_copy_sort(&l->sorted);
	bl_copy_digest(&l->sorted, l->digest);
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;
		bl_index_find(&places, l->sorted.items[i], &at);
		l->place[i] = (uint32_t)at;
		l->number[at] = (uint32_t)i;
	}
	for (size_t i = 0; i < n; i++)
		number_refs(&places, &l->infos.items[i], &l->refs[i], &l->n_refs[i]);
}

int bl_local_make(struct bl_path_infos *infos, struct bl_local *out, struct bl_err *err)
{
	for (size_t i = 0; i < infos->n; i++)
		if (infos->items[i].nar_size == 0)
			return bl_err_set(err, BL_E_FAILED, "%s: Nix does not know its size",
					  infos->items[i].path);
	*out = (struct bl_local){ .infos = *infos };
	*infos = (struct bl_path_infos){ 0 };
	number(out);
	return 0;
}

int bl_catalog_begin(struct bl_catalog *c, struct bl_err *err)
{
	*c = (struct bl_catalog){ 0 };
	if (uv_mutex_init(&c->lock) != 0)
		return bl_err_set(err, BL_E_SYS, "no lock for this machine's store");
	return 0;
}

void bl_catalog_end(struct bl_catalog *c)
{
	bl_daemon_close(BL_STEAL(c->daemon));
	bl_strv_free(&c->tops);
	bl_index_free(&c->index);
	bl_path_infos_free(&c->all);
	uv_mutex_destroy(&c->lock);
}

/* The collector spares what a root refers to; so roots of the tops are roots of all. */
static int keep(struct bl_catalog *c, const struct bl_strv *tops, struct bl_err *err)
{
	static const struct bl_daemon_spec spec = { .quiet_ms = QUIET_MS };
	for (size_t i = 0; i < tops->n; i++)
		if (!bl_strv_has(&c->tops, tops->items[i]))
			bl_strv_add(&c->tops, tops->items[i]);
	if (c->daemon && bl_daemon_works(c->daemon))
		return bl_query_temp_roots(c->daemon, tops, err);
	/* roots go with their connection */
	bl_daemon_close(BL_STEAL(c->daemon));
	if (bl_daemon_open(&spec, &c->daemon, err) < 0)
		return -1;
	return bl_query_temp_roots(c->daemon, &c->tops, err);
}

static void add(struct bl_catalog *c, struct bl_path_info *info)
{
	const char *path = info->path;
	bl_index_put(&c->index, path, bl_path_infos_take(&c->all, info));
}

/* What was not known of the closure of @tops: it is closed then, as all that is known. */
static int learn(struct bl_catalog *c, const struct bl_strv *tops, struct bl_err *err)
{
	struct bl_path_infos more = { 0 };
	if (bl_query_rest(c->daemon, tops, &c->index, &more, err) < 0)
		return -1;
	for (size_t i = 0; i < more.n; i++)
		add(c, &more.items[i]);
	bl_path_infos_free(&more);
	return 0;
}

static void want(const struct bl_catalog *c, struct bl_index *seen, const char *path,
		 struct bl_path_infos *out)
{
	size_t at = 0;
	if (bl_index_find(seen, path, &at) || !bl_index_find(&c->index, path, &at))
		return;
	struct bl_path_info info = c->all.items[at];
	bl_index_put(seen, info.path, 0);
	bl_path_infos_take(out, &info);
}

/* What is known of @tops and of all that they refer to, references first. */
static int gather(struct bl_catalog *c, const struct bl_strv *tops, struct bl_path_infos *out,
		  struct bl_err *err)
{
	BL_AUTO(bl_index) seen = { 0 };
	if (learn(c, tops, err) < 0)
		return -1;
	for (size_t i = 0; i < tops->n; i++)
		want(c, &seen, tops->items[i], out);
	for (size_t i = 0; i < out->n; i++) {
		const struct bl_strv references = out->items[i].references;
		for (size_t k = 0; k < references.n; k++)
			want(c, &seen, references.items[k], out);
	}
	return bl_path_infos_sort(out, err);
}

static int read_once(struct bl_catalog *c, const struct bl_strv *tops,
		     struct bl_path_infos *out, struct bl_err *err)
{
	if (keep(c, tops, err) == 0 && gather(c, tops, out, err) == 0)
		return 0;
	free(out->items);
	*out = (struct bl_path_infos){ 0 };
	return -1;
}

int bl_local_read(struct bl_catalog *catalog, const struct bl_strv *tops, struct bl_local *out,
		  struct bl_err *err)
{
	struct bl_path_infos infos = { 0 };
	struct bl_err first = { 0 };
	uv_mutex_lock(&catalog->lock);
	int rc = read_once(catalog, tops, &infos, &first);
	/* a daemon that was there before may have been restarted since */
	if (rc < 0 && catalog->daemon && !bl_daemon_works(catalog->daemon))
		rc = read_once(catalog, tops, &infos, err);
	else if (rc < 0 && err)
		*err = first;
	uv_mutex_unlock(&catalog->lock);
	if (rc == 0)
		rc = bl_local_make(&infos, out, err);
	if (rc < 0) {
		free(infos.items);
		return bl_err_wrap(err, "this machine's store");
	}
	out->borrowed = true;
	return 0;
}

void bl_local_free(struct bl_local *l)
{
	for (size_t i = 0; l->refs && i < l->infos.n; i++)
		free(l->refs[i]);
	free(l->refs);
	free(l->n_refs);
	free(l->number);
	free(l->place);
	bl_strv_free(&l->sorted);
	if (l->borrowed)
		free(l->infos.items);
	else
		bl_path_infos_free(&l->infos);
	*l = (struct bl_local){ 0 };
}
