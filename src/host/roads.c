/* SPDX-License-Identifier: MIT */
#include "host/roads.h"

#include "host/proc.h"
#include "host/ssh.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 16
#define PLACES_MAX                                                                 \
	1000 /* besides the nodes; a configuration that names more goes in circles \
	      */
#define OUT_MAX 65536

void bl_place_free(struct bl_place *p)
{
	free(p->name);
	free(p->hostname);
	free(p->port);
	bl_strv_free(&p->via);
	*p = (struct bl_place){ 0 };
}

void bl_place_read(struct bl_place *p, const char *text)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *line = lines.items[i];
		line[strcspn(line, "\r")] = '\0';
		if (bl_starts_with(line, "hostname "))
			bl_replace_str(&p->hostname, line + strlen("hostname "));
		else if (bl_starts_with(line, "port "))
			bl_replace_str(&p->port, line + strlen("port "));
		else if (bl_starts_with(line, "proxyjump ") &&
			 strcmp(line, "proxyjump none") != 0)
			bl_strv_split(&p->via, line + strlen("proxyjump "), ',');
	}
}

char *bl_place_name(const char *destination)
{
	const char *name =
		bl_starts_with(destination, "ssh://") ? destination + 6 : destination;
	const char *at = strrchr(name, '@');
	if (at)
		name = at + 1;
	if (*name == '[')
		return bl_xstrndup(name + 1, strcspn(name + 1, "]"));
	const char *colon = strchr(name, ':');
	/* an address of IPv6 has several, and then no port without brackets */
	if (colon && !strchr(colon + 1, ':'))
		return bl_xstrndup(name, (size_t)(colon - name));
	return bl_xstrdup(name);
}

static bool is_same(const struct bl_place *a, const struct bl_place *b)
{
	if (strcmp(a->name, b->name) == 0)
		return true;
	return a->hostname && b->hostname && strcmp(a->hostname, b->hostname) == 0 &&
	       bl_str_eq(a->port, b->port);
}

/* The place of that name; @n: there is none. */
static size_t find(const struct bl_place *places, size_t n, const char *destination)
{
	bl_autofree char *name = bl_place_name(destination);
	size_t i = 0;
	while (i < n && strcmp(places[i].name, name) != 0)
		i++;
	return i;
}

/* Marks in @seen every place on the way to @from, which is not meant itself. */
static void walk(const struct bl_place *places, size_t n, size_t from, bool *seen)
{
	for (size_t k = 0; k < places[from].via.n; k++) {
		size_t named = find(places, n, places[from].via.items[k]);
		for (size_t i = 0; named < n && i < n; i++) {
			/* by whatever name it goes */
			if (seen[i] || !is_same(&places[i], &places[named]))
				continue;
			seen[i] = true;
			walk(places, n, i, seen);
		}
	}
}

void bl_roads_number(const struct bl_place *places, size_t n, size_t n_nodes, unsigned *out)
{
	bl_autofree bool *seen = bl_xcalloc(n + 1, sizeof(*seen));
	bl_autofree bool *is_road = bl_xcalloc(n + 1, sizeof(*is_road));
	bl_autofree unsigned *depth = bl_xcalloc(n + 1, sizeof(*depth));
	unsigned deepest = 0;
	for (size_t i = 0; i < n_nodes; i++) {
		if (places[i].via.n == 0)
			continue;
		memset(seen, 0, n * sizeof(*seen));
		walk(places, n, i, seen);
		for (size_t k = 0; k < n_nodes; k++) {
			bool through = seen[k] && !is_same(&places[i], &places[k]);
			is_road[k] |= through;
			depth[i] += through;
		}
	}
	for (size_t i = 0; i < n_nodes; i++)
		if (is_road[i] && depth[i] > deepest)
			deepest = depth[i];
	for (size_t i = 0; i < n_nodes; i++)
		out[i] = is_road[i] ? deepest - depth[i] + 1 : 0;
}

/* --- asking ssh --- */

struct question {
	struct asker *all;
	const struct bl_node *node; /* NULL: something that lies on the way to one */
	char *destination;
	struct bl_place place;
	struct bl_proc *proc;
	struct bl_buf out;
	bool begun, answered;
};

struct asker {
	uv_loop_t loop;
	uv_timer_t limit;
	/* one allocation each: programs that run know theirs */
	struct question **questions;
	size_t n, n_nodes, running;
};

static void add(struct asker *a, const struct bl_node *node, const char *destination)
{
	struct question *q = bl_xcalloc(1, sizeof(*q));
	q->all = a;
	q->node = node;
	q->destination = bl_xstrdup(destination);
	q->place.name = bl_place_name(destination);
	a->questions = bl_xrealloc(a->questions, a->n + 1, sizeof(struct question *));
	a->questions[a->n++] = q;
}

/* What lies on the way may have a way of its own. */
static void ask_on(struct asker *a, const struct bl_place *p)
{
	for (size_t k = 0; k < p->via.n && a->n < a->n_nodes + PLACES_MAX; k++) {
		bl_autofree char *name = bl_place_name(p->via.items[k]);
		bool known = false;
		for (size_t i = 0; i < a->n && !known; i++)
			known = strcmp(a->questions[i]->place.name, name) == 0;
		if (!known && *name && *name != '-')
			add(a, NULL, name);
	}
}

static void begin_more(struct asker *a);

static void on_out(void *ctx, const char *data, size_t len)
{
	struct question *q = ctx;
	if (q->out.len + len <= OUT_MAX)
		bl_buf_append(&q->out, data, len);
}

static void on_exit_(void *ctx, int status, const char *err_tail BL_UNUSED)
{
	struct question *q = ctx;
	q->proc = NULL;
	q->all->running--;
	if (status == 0) {
		q->answered = true;
		bl_place_read(&q->place, bl_buf_str(&q->out));
		ask_on(q->all, &q->place);
	}
	begin_more(q->all);
}

static void begin_more(struct asker *a)
{
	for (size_t i = 0; i < a->n && a->running < AT_ONCE; i++) {
		struct question *q = a->questions[i];
		BL_AUTO(bl_strv) argv = { 0 };
		struct bl_err err = { 0 };
		if (q->begun)
			continue;
		q->begun = true;
		bl_ssh_config_argv(q->node, q->destination, &argv);
		const struct bl_proc_spec spec = {
			.argv = (const char *const *)argv.items,
			.on_out = on_out,
			.on_exit = on_exit_,
			.ctx = q,
		};
		if (bl_proc_start(&a->loop, &spec, &q->proc, &err) == 0)
			a->running++;
	}
	if (a->running == 0)
		uv_stop(&a->loop);
}

static void on_limit(uv_timer_t *timer)
{
	struct asker *a = timer->data;
	for (size_t i = 0; i < a->n; i++) {
		a->questions[i]->begun = true;
		bl_proc_drop(BL_STEAL(a->questions[i]->proc));
	}
	uv_stop(&a->loop);
}

/* Takes what was learned, and the questions with it. */
static struct bl_place *take_places(struct asker *a, struct bl_buf *unknown)
{
	struct bl_place *places = bl_xcalloc(a->n + 1, sizeof(*places));
	for (size_t i = 0; i < a->n; i++) {
		struct question *q = a->questions[i];
		if (q->node && !q->answered)
			bl_buf_printf(unknown, "%s%s", unknown->len ? ", " : "", q->node->name);
		places[i] = q->place;
		bl_buf_free(&q->out);
		free(q->destination);
		free(q);
	}
	free(a->questions);
	return places;
}

int bl_roads_find(const struct bl_node *const *nodes, size_t n, int64_t limit_ms, unsigned *out,
		  struct bl_buf *unknown, struct bl_err *err)
{
	struct asker a = { .n_nodes = n };
	if (uv_loop_init(&a.loop) < 0)
		return bl_err_set(err, BL_E_SYS, "no event loop");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < n; i++)
		add(&a, nodes[i], nodes[i]->host);
	uv_timer_init(&a.loop, &a.limit);
	a.limit.data = &a;
	uv_timer_start(&a.limit, on_limit, (uint64_t)limit_ms, 0);
	begin_more(&a);
	if (a.running > 0)
		uv_run(&a.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&a.limit, NULL);
	bl_loop_end(&a.loop);
	size_t all = a.n;
	struct bl_place *places = take_places(&a, unknown);
	bl_roads_number(places, all, n, out);
	for (size_t i = 0; i < all; i++)
		bl_place_free(&places[i]);
	free(places);
	return 0;
}
