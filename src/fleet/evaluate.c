/* SPDX-License-Identifier: MIT */
/*
 * One process for a node is hardly slower than one for many (2 s against 1.8 s for a further
 * toplevel), needs the least memory, and its failure is that node's alone. Only where systems
 * are evaluated in no time, because they are paths, say, several go into one.
 */
#include "fleet/evaluate.h"

#include "fleet/cache.h"
#include "fleet/query.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_MAX 64
#define QUICK_MS  1000

/* Nodes that are evaluated by one command, as a part of evaluation.todo. */
struct batch {
	size_t first, n;
};

struct evaluation {
	struct bl_source *source;
	const struct bl_evaluation *how;
	struct bl_fleet *fleet;
	struct bl_selection *sel;
	size_t *todo; /* of @sel: those that nobody remembers */
	size_t n, next;
	size_t *alone; /* of @todo: to be tried again, each by itself */
	size_t n_alone;
	struct batch *batches; /* all that were begun */
	size_t n_batches;
	size_t size; /* of the next batch */
	uint64_t share;
	size_t done;
	bool *failed;           /* of @sel */
	struct bl_strv answers; /* to be remembered */
	struct bl_err why;
};

static void argv_for(const struct evaluation *e, const struct bl_strv *names,
		     struct bl_strv *argv)
{
	bl_autofree char *query = bl_query_names("systems", names);
	bl_query_argv(e->source, query, argv);
}

/* ---- what is remembered, node by node */

static void argv_of_one(const struct evaluation *e, const char *name, struct bl_strv *argv)
{
	BL_AUTO(bl_strv) names = { 0 };
	bl_strv_add(&names, name);
	argv_for(e, &names, argv);
}

static void remember(const struct evaluation *e, const char *answer)
{
	json_t *systems = json_loads(answer, 0, NULL);
	const char *name;
	json_t *v;
	json_object_foreach(systems, name, v)
	{
		BL_AUTO(bl_strv) argv = { 0 };
		json_t *one = json_pack("{s:O}", name, v);
		bl_autofree char *text = one ? json_dumps(one, JSON_COMPACT) : NULL;
		argv_of_one(e, name, &argv);
		if (text)
			bl_cache_put(e->source->cache, &argv, text);
		json_decref(one);
	}
	json_decref(systems);
}

/* Garbage may have been collected since: there has to be a way to the system. */
static bool is_there(const struct bl_node *node)
{
	return access(node->out_path, F_OK) == 0 ||
	       (node->drv_path && access(node->drv_path, F_OK) == 0);
}

static bool is_remembered(const struct evaluation *e, const struct bl_node *node)
{
	BL_AUTO(bl_strv) argv = { 0 };
	if (!e->source->cache)
		return false;
	argv_of_one(e, node->name, &argv);
	bl_autofree char *answer = bl_cache_get(e->source->cache, &argv);
	return answer &&
	       bl_fleet_parse_systems(answer, strlen(answer), "", e->fleet, NULL) == 0 &&
	       node->out_path && is_there(node);
}

/* ---- one batch after another */

static bool take_batch(struct evaluation *e, struct batch *out)
{
	if (e->why.code != BL_E_NONE && !e->how->keep_going)
		return false;
	if (e->n_alone > 0) {
		*out = (struct batch){ e->alone[--e->n_alone], 1 };
		return true;
	}
	size_t left = e->n - e->next;
	*out = (struct batch){ e->next, e->size < left ? e->size : left };
	e->next += out->n;
	return out->n > 0;
}

static bool on_next(void *ctx, struct bl_strv *argv, size_t *out_task)
{
	struct evaluation *e = ctx;
	BL_AUTO(bl_strv) names = { 0 };
	struct batch b;
	if (!take_batch(e, &b))
		return false;
	for (size_t i = 0; i < b.n; i++)
		bl_strv_add(&names, e->sel->nodes[e->todo[b.first + i]]->name);
	argv_for(e, &names, argv);
	*out_task = e->n_batches;
	e->batches[e->n_batches++] = b;
	return true;
}

/* Larger ones as long as they cost nothing, smaller ones when memory is short. */
static void adapt(struct evaluation *e, const struct batch *b, const struct bl_nix_result *r)
{
	if (r->memory > e->share)
		e->size = e->size > 1 ? e->size / 2 : 1;
	else if (b->n == e->size && r->ms < QUICK_MS && r->memory * 2 < e->share &&
		 e->size < BATCH_MAX)
		e->size *= 2;
}

static void on_failure(struct evaluation *e, const struct batch *b, const struct bl_err *why)
{
	const struct bl_node *node = e->sel->nodes[e->todo[b->first]];
	/* whose fault it is, each of them tells by itself */
	if (b->n > 1) {
		for (size_t i = b->n; i-- > 0;)
			e->alone[e->n_alone++] = b->first + i;
		e->size = 1;
		return;
	}
	e->done++;
	e->failed[e->todo[b->first]] = true;
	if (e->how->keep_going && e->how->failed)
		e->how->failed(e->how->ctx, node, why->msg);
	if (e->why.code != BL_E_NONE)
		return;
	e->why = *why;
	bl_autofree char *name = bl_xprintf("node %s: ", node->name);
	if (!bl_starts_with(why->msg, name))
		bl_err_wrap_(&e->why, "node %s", node->name);
}

static void on_done(void *ctx, size_t task, const struct bl_nix_result *result)
{
	struct evaluation *e = ctx;
	const struct batch *b = &e->batches[task];
	struct bl_err err = { 0 };
	if (b->n > 1 && result->status != 0) {
		on_failure(e, b, &err);
		return;
	}
	if (bl_query_result(e->source, result, &err) < 0 ||
	    bl_fleet_parse_systems(result->out, result->len, e->source->where, e->fleet, &err) <
		    0) {
		on_failure(e, b, &err);
		return;
	}
	if (e->source->cache)
		bl_strv_add(&e->answers, result->out);
	adapt(e, b, result);
	e->done += b->n;
	if (e->how->progress)
		e->how->progress(e->how->ctx, e->done, e->sel->n);
}

static int run(struct evaluation *e, struct bl_err *err)
{
	size_t workers = e->how->workers ? e->how->workers : bl_nix_workers();
	const struct bl_nix_pool pool = {
		.workers = workers,
		.memory = e->how->memory ? e->how->memory : bl_nix_memory(),
		.next = on_next,
		.done = on_done,
		.ctx = e,
	};
	e->share = pool.memory / workers;
	if (e->how->progress && e->n > 0)
		e->how->progress(e->how->ctx, e->done, e->sel->n);
	return bl_nix_pool_run(&pool, err);
}

/* Those without a system leave the selection. */
static void drop_failed(struct evaluation *e)
{
	size_t n = 0;
	for (size_t i = 0; i < e->sel->n; i++)
		if (!e->failed[i])
			e->sel->nodes[n++] = e->sel->nodes[i];
	e->sel->n = n;
}

static void begin(struct evaluation *e)
{
	size_t n = e->sel->n;
	e->todo = bl_xcalloc(n + 1, sizeof(*e->todo));
	e->alone = bl_xcalloc(n + 1, sizeof(*e->alone));
	e->failed = bl_xcalloc(n + 1, sizeof(*e->failed));
	/* each node is in one, and in one more when that failed */
	e->batches = bl_xcalloc(2 * n + 1, sizeof(*e->batches));
	for (size_t i = 0; i < n; i++) {
		if (e->source->kind == BL_SRC_JSON || is_remembered(e, e->sel->nodes[i]))
			e->done++;
		else
			e->todo[e->n++] = i;
	}
}

static void end(struct evaluation *e)
{
	bool remembered = e->answers.n > 0 && bl_query_unchanged(e->source);
	for (size_t i = 0; remembered && i < e->answers.n; i++)
		remember(e, e->answers.items[i]);
	bl_strv_free(&e->answers);
	free(e->todo);
	free(e->alone);
	free(e->failed);
	free(e->batches);
}

int bl_fleet_evaluate(struct bl_source *source, const struct bl_evaluation *how,
		      struct bl_fleet *fleet, struct bl_selection *sel, struct bl_err *err)
{
	struct evaluation e = {
		.source = source, .how = how, .fleet = fleet, .sel = sel, .size = 1
	};
	begin(&e);
	int rc = run(&e, err);
	if (rc == 0)
		drop_failed(&e);
	end(&e);
	if (rc < 0 || e.why.code == BL_E_NONE || (how->keep_going && sel->n > 0))
		return rc;
	if (err)
		*err = e.why;
	return bl_err_wrap(err, "%s", source->where);
}
