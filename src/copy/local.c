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

int bl_keeper_begin(struct bl_keeper *k, struct bl_err *err)
{
	*k = (struct bl_keeper){ 0 };
	if (uv_mutex_init(&k->lock) != 0)
		return bl_err_set(err, BL_E_SYS, "no lock for this machine's store");
	return 0;
}

void bl_keeper_end(struct bl_keeper *k)
{
	bl_daemon_close(BL_STEAL(k->daemon));
	bl_strv_free(&k->tops);
	uv_mutex_destroy(&k->lock);
}

static const struct bl_daemon_spec daemon_spec = { .quiet_ms = QUIET_MS };

/* The collector spares what a root refers to; so roots of the tops are roots of all. */
static int keep(struct bl_keeper *k, const struct bl_strv *tops, struct bl_err *err)
{
	bl_strv_append(&k->tops, tops);
	if (k->daemon && bl_daemon_works(k->daemon))
		return bl_query_temp_roots(k->daemon, tops, err);
	/* roots go with their connection */
	bl_daemon_close(BL_STEAL(k->daemon));
	if (bl_daemon_open(&daemon_spec, &k->daemon, err) < 0)
		return -1;
	return bl_query_temp_roots(k->daemon, &k->tops, err);
}

/*
 * Each is read over a connection of its own: several at the same time, and what one of them
 * breaks with is not the others' end.
 */
int bl_local_read(struct bl_keeper *keeper, const struct bl_strv *tops, struct bl_local *out,
		  struct bl_err *err)
{
	bl_autodaemon struct bl_daemon *d = NULL;
	BL_AUTO(bl_path_infos) infos = { 0 };
	uv_mutex_lock(&keeper->lock);
	int rc = keep(keeper, tops, err);
	uv_mutex_unlock(&keeper->lock);
	if (rc < 0 || bl_daemon_open(&daemon_spec, &d, err) < 0 ||
	    bl_query_closure(d, tops, &infos, err) < 0 || bl_local_make(&infos, out, err) < 0)
		return bl_err_wrap(err, "this machine's store");
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
	bl_path_infos_free(&l->infos);
	*l = (struct bl_local){ 0 };
}
