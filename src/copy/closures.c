/* SPDX-License-Identifier: MIT */
#include "copy/closures.h"

#include <stdlib.h>

struct bl_closures {
	uv_loop_t *loop;
	void (*news)(void *ctx);
	void *ctx;
	struct bl_catalog catalog;
	struct bl_closure *first;
	bool reading; /* a thread: others would wait for the catalog */
	bool stopped;
};

static void free_closure(struct bl_closure *c)
{
	for (size_t i = 0; c->sigs && i < c->local.infos.n; i++)
		free(c->sigs[i]);
	free(c->sigs);
	uv_mutex_destroy(&c->signing);
	bl_strv_free(&c->tops);
	bl_local_free(&c->local);
	free(c);
}

/* ---- reading */

static void read_closure(uv_work_t *work)
{
	struct bl_closure *c = work->data;
	if (bl_local_read(&c->all->catalog, &c->tops, &c->local, &c->err) < 0 &&
	    c->err.code == BL_E_NONE)
		bl_err_set_(&c->err, BL_E_FAILED, 0, "the closure could not be read");
}

static void read_next(struct bl_closures *all);

static void on_closure(uv_work_t *work, int status)
{
	struct bl_closure *c = work->data;
	struct bl_closures *all = c->all;
	c->ready = true;
	all->reading = false;
	if (status != 0)
		return;
	read_next(all);
	all->news(all->ctx);
}

/* The one that was asked for first. */
static void read_next(struct bl_closures *all)
{
	struct bl_closure *next = NULL;
	if (all->reading || all->stopped)
		return;
	for (struct bl_closure *c = all->first; c; c = c->next)
		if (!c->begun)
			next = c;
	if (!next)
		return;
	next->begun = all->reading = true;
	uv_queue_work(all->loop, &next->work, read_closure, on_closure);
}

/* ---- who uses one */

static struct bl_closure *find(struct bl_closures *all, const struct bl_strv *tops)
{
	/* what failed may go well the next time */
	for (struct bl_closure *c = all->first; c; c = c->next)
		if (bl_strv_eq(&c->tops, tops) && (!c->ready || c->err.code == BL_E_NONE))
			return c;
	struct bl_closure *c = bl_xcalloc(1, sizeof(*c));
	c->all = all;
	if (uv_mutex_init(&c->signing) != 0)
		abort();
	bl_strv_append(&c->tops, tops);
	c->next = all->first;
	all->first = c;
	c->work.data = c;
	read_next(all);
	return c;
}

void bl_closures_expect(struct bl_closures *all, const struct bl_strv *tops)
{
	find(all, tops)->expected = true;
}

struct bl_closure *bl_closures_get(struct bl_closures *all, const struct bl_strv *tops)
{
	struct bl_closure *c = find(all, tops);
	c->users++;
	c->expected = false;
	return c;
}

/* One that nobody uses is quickly made again from the catalog. */
void bl_closure_let_go(struct bl_closure *c)
{
	if (!c || --c->users > 0 || !c->ready || c->expected)
		return;
	struct bl_closure **at = &c->all->first;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free_closure(c);
}

/* ---- signatures */

void bl_closure_sign(struct bl_closure *c, const struct bl_sign_key *key, const uint32_t *order,
		     size_t n)
{
	const struct bl_path_infos *infos = &c->local.infos;
	uv_mutex_lock(&c->signing);
	if (!c->sigs)
		c->sigs = bl_xcalloc(infos->n + 1, sizeof(*c->sigs));
	for (size_t i = 0; i < n; i++) {
		uint32_t at = order[i];
		char *sig = c->sigs[at] ? NULL : bl_sign(key, &infos->items[at]);
		/* others are read at the same time */
		if (sig)
			c->sigs[at] = sig;
	}
	uv_mutex_unlock(&c->signing);
}

char *bl_closure_sig(const struct bl_closure *c, uint32_t place)
{
	return c->sigs ? c->sigs[place] : NULL;
}

/* ---- all of them */

int bl_closures_new(uv_loop_t *loop, void (*news)(void *ctx), void *ctx,
		    struct bl_closures **out, struct bl_err *err)
{
	struct bl_closures *all = bl_xcalloc(1, sizeof(*all));
	*all = (struct bl_closures){ .loop = loop, .news = news, .ctx = ctx };
	if (bl_catalog_begin(&all->catalog, err) < 0) {
		free(all);
		return -1;
	}
	*out = all;
	return 0;
}

void bl_closures_stop(struct bl_closures *all)
{
	all->stopped = true;
	for (struct bl_closure *c = all->first; c; c = c->next)
		if (c->begun && !c->ready)
			uv_cancel((uv_req_t *)&c->work);
}

void bl_closures_free(struct bl_closures *all)
{
	if (!all)
		return;
	bl_closures_stop(all);
	while (all->reading)
		uv_run(all->loop, UV_RUN_ONCE);
	while (all->first) {
		struct bl_closure *c = all->first;
		all->first = c->next;
		free_closure(c);
	}
	bl_catalog_end(&all->catalog);
	free(all);
}
