/* SPDX-License-Identifier: MIT */
#include "store/query.h"

#include "store/exchange.h"
#include "store/path.h"
#include "store/request.h"

#include <stdlib.h>
#include <string.h>

#define VALID_BURST 1000 /* paths of one question */

static int check(const char *what, const struct bl_strv *paths, struct bl_err *err)
{
	for (size_t i = 0; i < paths->n; i++)
		if (bl_store_path_check(paths->items[i], what, err) < 0)
			return -1;
	return 0;
}

static struct bl_exchange *begin(struct bl_daemon *d, const char *what,
				 const struct bl_strv *paths, struct bl_err *err)
{
	return check(what, paths, err) < 0 ? NULL : bl_daemon_topic(d, what, err);
}

/* All answers are read; the first refusal is what is told. */
static int ended(struct bl_exchange *x, const struct bl_err *refusal, struct bl_err *err)
{
	if (bl_exchange_drain(x, err) < 0)
		return -1;
	if (refusal->code == BL_E_NONE)
		return 0;
	if (err)
		*err = *refusal;
	return bl_err_wrap(err, "Nix daemon: %s", x->what);
}

/* Whether it is a refusal, which @first keeps if it is the first. */
static bool refused(struct bl_err *first, const struct bl_worker_answer *a, const char *path)
{
	if (a->problem && first->code == BL_E_NONE)
		(void)bl_err_set(first, BL_E_FAILED, "%s: %.300s", path, a->problem);
	return a->problem != NULL;
}

struct roots {
	const struct bl_strv *paths;
	bool *valid; /* NULL: a refusal is a failure */
	struct bl_err refusal;
};

static void one_read(void *ctx, struct bl_await *self, struct bl_worker_answer *a)
{
	struct roots *r = ctx;
	if (r->valid)
		r->valid[self->at] = !a->problem;
	else
		refused(&r->refusal, a, r->paths->items[self->at]);
}

/* One request a path, each with a number for an answer. */
static int ask_each(struct bl_daemon *d, const char *what,
		    void (*request)(struct bl_buf *b, const char *path), struct roots *r,
		    struct bl_err *err)
{
	struct bl_exchange *x = bl_daemon_topic(d, what, err);
	if (!x)
		return -1;
	for (size_t i = 0; i < r->paths->n; i++) {
		request(&x->queue, r->paths->items[i]);
		bl_exchange_await(x, &(struct bl_await){ .kind = BL_WORKER_NUMBER,
							 .done = one_read,
							 .ctx = r,
							 .at = i });
		if (bl_exchange_room(x, err) < 0)
			return -1;
	}
	return ended(x, &r->refusal, err);
}

int bl_query_temp_roots(struct bl_daemon *d, const struct bl_strv *paths, struct bl_err *err)
{
	static const char what[] = "taking temporary roots";
	struct roots r = { .paths = paths };
	if (check(what, paths, err) < 0)
		return -1;
	return ask_each(d, what, bl_request_temp_root, &r, err);
}

int bl_query_indirect_roots(struct bl_daemon *d, const struct bl_strv *links,
			    struct bl_err *err)
{
	struct roots r = { .paths = links };
	return ask_each(d, "making garbage roots", bl_request_indirect_root, &r, err);
}

int bl_query_substitute(struct bl_daemon *d, const struct bl_strv *paths, bool *out_valid,
			struct bl_err *err)
{
	bl_autofree bool *valid = bl_xcalloc(paths->n, sizeof(bool));
	static const char what[] = "substituting paths";
	struct roots r = { .paths = paths, .valid = valid };
	if (check(what, paths, err) < 0 ||
	    ask_each(d, what, bl_request_substitute, &r, err) < 0)
		return -1;
	for (size_t i = 0; i < paths->n; i++)
		out_valid[i] = valid[i];
	return 0;
}

struct validity {
	const struct bl_index *index;
	bool *valid;
	struct bl_err refusal;
};

static void valid_read(void *ctx, struct bl_await *self BL_UNUSED, struct bl_worker_answer *a)
{
	struct validity *v = ctx;
	size_t at = 0;
	if (refused(&v->refusal, a, "which paths are valid"))
		return;
	for (size_t i = 0; i < a->paths.n; i++)
		if (bl_index_find(v->index, a->paths.items[i], &at))
			v->valid[at] = true;
		else if (v->refusal.code == BL_E_NONE)
			(void)bl_err_set(&v->refusal, BL_E_INPUT,
					 "%s is in the answer, which nobody asked for",
					 a->paths.items[i]);
}

int bl_query_valid(struct bl_daemon *d, const struct bl_strv *paths, bool *out_valid,
		   struct bl_err *err)
{
	BL_AUTO(bl_index) index = { 0 };
	bl_autofree bool *valid = bl_xcalloc(paths->n, sizeof(bool));
	struct validity v = { .index = &index, .valid = valid };
	struct bl_exchange *x = begin(d, "asking which paths are valid", paths, err);
	if (!x)
		return -1;
	for (size_t i = 0; i < paths->n; i++)
		bl_index_put(&index, paths->items[i], i);
	for (size_t i = 0; i < paths->n; i += VALID_BURST) {
		size_t n = paths->n - i < VALID_BURST ? paths->n - i : VALID_BURST;
		bl_request_valid(&x->queue, paths->items + i, n);
		bl_exchange_await(x, &(struct bl_await){ .kind = BL_WORKER_PATHS,
							 .paths_max = n,
							 .done = valid_read,
							 .ctx = &v });
		if (bl_exchange_room(x, err) < 0)
			return -1;
	}
	if (ended(x, &v.refusal, err) < 0)
		return -1;
	for (size_t i = 0; i < paths->n; i++) {
		size_t at = i; /* of the first that is the same */
		bl_index_find(&index, paths->items[i], &at);
		out_valid[i] = valid[at];
	}
	return 0;
}

static const char closure_topic[] = "asking for a closure";

struct looking {
	struct bl_path_infos *list;
	struct bl_index *index;       /* of what is in the list */
	const struct bl_index *known; /* what need not be asked for; NULL: nothing */
	struct bl_err refusal;
};

static void info_read(void *ctx, struct bl_await *self, struct bl_worker_answer *a)
{
	struct looking *l = ctx;
	struct bl_path_info *item = &l->list->items[self->at];
	if (refused(&l->refusal, a, item->path))
		return;
	if (!a->number && l->refusal.code == BL_E_NONE)
		(void)bl_err_set(&l->refusal, BL_E_FAILED, "%s is not valid", item->path);
	if (!a->number)
		return;
	char *path = item->path;
	*item = a->info;
	item->path = path;
	a->info = (struct bl_path_info){ 0 };
	const struct bl_strv references = item->references; /* items may move, these not */
	for (size_t i = 0; i < references.n; i++) {
		size_t at = 0;
		if (bl_index_find(l->index, references.items[i], &at) ||
		    (l->known && bl_index_find(l->known, references.items[i], &at)))
			continue;
		const struct bl_path_info *more =
			bl_path_infos_add(l->list, references.items[i]);
		bl_index_put(l->index, more->path, l->list->n - 1);
	}
}

/* Asks for all that is in the list, and for what the answers put there. */
static int look(struct bl_daemon *d, struct looking *l, struct bl_err *err)
{
	struct bl_exchange *x = bl_daemon_topic(d, closure_topic, err);
	if (!x)
		return -1;
	size_t asked = 0;
	while (asked < l->list->n && l->refusal.code == BL_E_NONE) {
		while (asked < l->list->n) {
			bl_request_path_info(&x->queue, l->list->items[asked].path);
			bl_exchange_await(x, &(struct bl_await){ .kind = BL_WORKER_INFO,
								 .done = info_read,
								 .ctx = l,
								 .at = asked++ });
			if (bl_exchange_room(x, err) < 0)
				return -1;
		}
		/* a closure goes on as soon as there is something to ask */
		while (asked == l->list->n && x->first < x->n)
			if (bl_exchange_wait(x, err) < 0)
				return -1;
	}
	return ended(x, &l->refusal, err);
}

int bl_query_rest(struct bl_daemon *d, const struct bl_strv *tops, const struct bl_index *known,
		  struct bl_path_infos *out, struct bl_err *err)
{
	BL_AUTO(bl_path_infos) list = { 0 };
	BL_AUTO(bl_index) index = { 0 };
	struct looking l = { .list = &list, .index = &index, .known = known };
	for (size_t i = 0; i < tops->n; i++) {
		size_t at = 0;
		if (bl_store_path_check(tops->items[i], closure_topic, err) < 0)
			return -1;
		if (bl_index_find(&index, tops->items[i], &at) ||
		    (known && bl_index_find(known, tops->items[i], &at)))
			continue;
		bl_index_put(&index, bl_path_infos_add(&list, tops->items[i])->path,
			     list.n - 1);
	}
	if (look(d, &l, err) < 0)
		return -1;
	*out = list;
	list = (struct bl_path_infos){ 0 };
	return 0;
}

int bl_query_closure(struct bl_daemon *d, const struct bl_strv *tops, struct bl_path_infos *out,
		     struct bl_err *err)
{
	BL_AUTO(bl_path_infos) list = { 0 };
	if (bl_query_rest(d, tops, NULL, &list, err) < 0)
		return -1;
	if (bl_path_infos_sort(&list, err) < 0)
		return bl_err_wrap(err, "Nix daemon: %s", closure_topic);
	*out = list;
	list = (struct bl_path_infos){ 0 };
	return 0;
}
