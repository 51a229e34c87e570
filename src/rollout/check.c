/* SPDX-License-Identifier: MIT */
#include "rollout/check.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/dial.h"
#include "guard/tries.h"

#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS    50
#define THREADS_MAX 128
#define PAGE_KEEP   (128UL * 1024) /* what came before was looked through */

extern char **environ;

/* --- one asking --- */

struct asking {
	const struct bl_check *check;
	const struct bl_node *node;
	const atomic_bool *stop;
	int64_t end_ns;
	char *why;
	size_t size;
};

static bool is_over(const struct asking *a)
{
	return atomic_load(a->stop) || bl_now_boot_ns() >= a->end_ns;
}

static bool too_late(const struct asking *a)
{
	snprintf(a->why, a->size, "no answer within %u ms", a->check->timeout_ms);
	return false;
}

/*
 * getaddrinfo(3) in a thread of its own, whose end can be waited for with a limit; glibc's
 * getaddrinfo_a is the same, and nowhere else. Where it has to be left behind, the thread is
 * the one that frees it.
 */
struct lookup {
	uv_mutex_t lock;
	uv_cond_t ended;
	bool done, left_behind;
	int rc;
	struct addrinfo *list;
	char *name;
	char port[8];
};

static void lookup_free(struct lookup *l)
{
	if (l->list)
		freeaddrinfo(l->list);
	uv_cond_destroy(&l->ended);
	uv_mutex_destroy(&l->lock);
	free(l->name);
	free(l);
}

static void *look_up(void *ctx)
{
	struct lookup *l = ctx;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(l->name, l->port, &hints, &list);
	uv_mutex_lock(&l->lock);
	l->rc = rc;
	l->list = rc == 0 ? list : NULL;
	l->done = true;
	bool mine = l->left_behind;
	uv_cond_signal(&l->ended);
	uv_mutex_unlock(&l->lock);
	if (mine)
		lookup_free(l);
	return NULL;
}

static struct lookup *lookup_start(const struct bl_check *check)
{
	struct lookup *l = bl_xcalloc(1, sizeof(*l));
	pthread_t thread;
	l->name = bl_xstrdup(check->what);
	snprintf(l->port, sizeof(l->port), "%u", check->port);
	if (uv_mutex_init(&l->lock) < 0 || uv_cond_init(&l->ended) < 0)
		abort();
	if (pthread_create(&thread, NULL, look_up, l) == 0) {
		pthread_detach(thread);
	} else {
		l->rc = EAI_AGAIN;
		l->done = true;
	}
	return l;
}

/* NULL, with the reason told, when the name leads nowhere. */
static struct lookup *resolve(const struct asking *a)
{
	struct lookup *l = lookup_start(a->check);
	uv_mutex_lock(&l->lock);
	while (!l->done && !is_over(a))
		(void)uv_cond_timedwait(&l->ended, &l->lock, SLICE_MS * BL_NS_PER_MS);
	bool left_behind = l->left_behind = !l->done;
	int rc = l->rc;
	uv_mutex_unlock(&l->lock);
	if (left_behind) {
		too_late(a);
		return NULL;
	}
	if (rc == 0)
		return l;
	snprintf(a->why, a->size, "%.100s cannot be resolved: %s", a->check->what,
		 gai_strerror(rc));
	lookup_free(l);
	return NULL;
}

static bool ask_dns(const struct asking *a)
{
	struct lookup *l = resolve(a);
	if (!l)
		return false;
	lookup_free(l);
	return true;
}

static bool ask_tcp(const struct asking *a)
{
	BL_AUTO(bl_dial) dial = { 0 };
	struct lookup *l = resolve(a);
	if (!l)
		return false;
	for (const struct addrinfo *ai = l->list; ai; ai = ai->ai_next)
		bl_dial_add(&dial, ai->ai_addr, ai->ai_addrlen);
	lookup_free(l);
	for (;;) {
		switch (bl_dial_step(&dial, SLICE_MS)) {
		case BL_DIAL_OPEN:
			return true;
		case BL_DIAL_FAILED:
			snprintf(a->why, a->size, "%s",
				 dial.why[0] ? dial.why : "it has no address");
			return false;
		case BL_DIAL_PENDING:
			if (is_over(a))
				return too_late(a);
			break;
		}
	}
}

struct page {
	const char *want;
	struct bl_buf part;
	bool found;
	const atomic_bool *stop;
};

static void look_through(struct page *p)
{
	if (*p->want && !p->found && bl_find(bl_buf_str(&p->part), p->part.len, p->want))
		p->found = true;
}

static size_t on_page(char *data, size_t one, size_t n, void *ctx)
{
	struct page *p = ctx;
	size_t keep = strlen(p->want);
	bl_buf_append(&p->part, data, one * n);
	if (p->part.len > PAGE_KEEP + keep) {
		look_through(p);
		bl_buf_drop(&p->part, p->part.len - keep);
	}
	return one * n;
}

static int on_progress(void *ctx, curl_off_t a BL_UNUSED, curl_off_t b BL_UNUSED,
		       curl_off_t c BL_UNUSED, curl_off_t d BL_UNUSED)
{
	const struct page *p = ctx;
	return atomic_load(p->stop);
}

static bool judge_page(const struct asking *a, const struct page *p, long status)
{
	bool fits = a->check->status ? status == (long)a->check->status : status / 100 == 2;
	if (!fits)
		snprintf(a->why, a->size, "status %ld", status);
	else if (*p->want && !p->found)
		snprintf(a->why, a->size, "the page does not contain '%.100s'", p->want);
	else
		return true;
	return false;
}

static bool ask_http(const struct asking *a)
{
	struct page p = { .want = a->check->contains, .stop = a->stop };
	char error[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURL *c = curl_easy_init();
	if (!c) {
		snprintf(a->why, a->size, "libcurl does not start");
		return false;
	}
	curl_easy_setopt(c, CURLOPT_URL, a->check->what);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)a->check->timeout_ms);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "belay/" BELAY_VERSION);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_page);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &p);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, &p);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	CURLcode rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(c);
	look_through(&p);
	bl_buf_free(&p.part);
	if (rc == CURLE_OK)
		return judge_page(a, &p, status);
	snprintf(a->why, a->size, "%s", error[0] ? error : curl_easy_strerror(rc));
	return false;
}

static bool ask_command(const struct asking *a)
{
	BL_AUTO(bl_strv) env = { 0 };
	BL_AUTO(bl_strv) lines = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	for (char **e = environ; *e; e++)
		if (!bl_starts_with(*e, "BELAY_HOST=") && !bl_starts_with(*e, "BELAY_NODE="))
			bl_strv_add(&env, *e);
	bl_strv_addf(&env, "BELAY_HOST=%s", a->node->host);
	bl_strv_addf(&env, "BELAY_NODE=%s", a->node->name);
	const struct bl_child_spec spec = {
		.argv = (const char *const[]){ "sh", "-c", a->check->what, NULL },
		.env = (const char *const *)env.items,
		.timeout_ms = a->check->timeout_ms,
		.err_mode = BL_CHILD_ERR_MERGE, /* no out_max: the end of it is kept */
		.stop = a->stop,
	};
	if (bl_child_run(&spec, &r, &err) < 0) {
		snprintf(a->why, a->size, "%s", err.msg);
		return false;
	}
	if (r.status == 0)
		return true;
	if (r.status < 0)
		return too_late(a);
	bl_strv_split(&lines, bl_buf_str(&r.out), '\n');
	bl_autofree char *last = bl_visible(lines.n ? lines.items[lines.n - 1] : "");
	snprintf(a->why, a->size, "status %d%s%.160s", r.status, *last ? ": " : "", last);
	return false;
}

bool bl_check_ask(const struct bl_check *check, const struct bl_node *node,
		  const atomic_bool *stop, char *why, size_t size)
{
	const struct asking a = {
		.check = check,
		.node = node,
		.stop = stop,
		.end_ns = bl_now_boot_ns() + check->timeout_ms * BL_NS_PER_MS,
		.why = why,
		.size = size,
	};
	switch (check->type) {
	case BL_CHECK_TCP:
		return ask_tcp(&a);
	case BL_CHECK_HTTP:
		return ask_http(&a);
	case BL_CHECK_COMMAND:
		return ask_command(&a);
	case BL_CHECK_DNS:
		return ask_dns(&a);
	case BL_CHECK_UNIT:
	case BL_CHECK_ROUTE:
	case BL_CHECK_FILE:
	case BL_CHECK_NTYPES:
		break;
	}
	snprintf(why, size, "a check of type %s is for the host itself",
		 bl_check_type_name(check->type));
	return false;
}

/* --- all of a host --- */

struct item {
	uv_work_t work;
	struct bl_outside *all;
	const struct bl_check *check;
	bool good;
	char why[320];
};

struct bl_outside {
	const struct bl_node *node;
	const struct bl_outside_events *events; /* NULL: dropped, or the end was told */
	void *ctx;
	atomic_bool stop;
	bool dropped;
	struct item *items;
	size_t n, left;
};

bool bl_outside_needed(const struct bl_node *node)
{
	return bl_plan_deployer_checks_ms(&node->plan) > 0;
}

void bl_outside_threads(size_t checks)
{
	char text[8];
	if (checks <= 4)
		return;
	snprintf(text, sizeof(text), "%zu", checks < THREADS_MAX ? checks : THREADS_MAX);
	setenv("UV_THREADPOOL_SIZE", text, 0);
}

/* In a thread: asks by the rules until it is settled. */
static void on_work(uv_work_t *work)
{
	struct item *it = work->data;
	struct bl_tries tries = { 0 };
	enum bl_tries_verdict v = BL_TRIES_AGAIN;
	while (v == BL_TRIES_AGAIN && !atomic_load(&it->all->stop)) {
		char why[256] = "";
		bool held = tries.was_good;
		bool good = bl_check_ask(it->check, it->all->node, &it->all->stop, why,
					 sizeof(why));
		v = bl_tries_judge(&tries, it->check, good, bl_now_boot_ns());
		it->good = good && v == BL_TRIES_OK;
		if (!good && held)
			snprintf(it->why, sizeof(it->why), "did not stay good for %u ms: %s",
				 it->check->hold_ms, why);
		else
			snprintf(it->why, sizeof(it->why), "%s", why);
		while (v == BL_TRIES_AGAIN && !atomic_load(&it->all->stop) &&
		       bl_now_boot_ns() < tries.next_ns)
			bl_sleep_ms(SLICE_MS);
	}
}

static void free_outside(struct bl_outside *l)
{
	free(l->items);
	free(l);
}

static void tell_end(struct bl_outside *l, const char *reason)
{
	const struct bl_outside_events *events = BL_STEAL(l->events);
	events->done(l->ctx, reason);
}

static void on_item_done(uv_work_t *work, int status)
{
	struct item *it = work->data;
	struct bl_outside *l = it->all;
	bl_autofree char *text = bl_xprintf("check %s: %s", it->check->name,
					    status < 0 ? uv_strerror(status) : it->why);
	bool good = status == 0 && it->good;
	if (l->events && !good && it->check->advisory) {
		l->events->advisory(l->ctx, text);
	} else if (l->events && !good) {
		/* one is enough: the others need not go on */
		atomic_store(&l->stop, true);
		tell_end(l, text);
	}
	if (l->events && l->left == 1)
		tell_end(l, NULL);
	/* not before: whoever was told may have dropped it */
	if (--l->left == 0 && l->dropped)
		free_outside(l);
}

struct bl_outside *bl_outside_start(uv_loop_t *loop, const struct bl_node *node,
				    const struct bl_outside_events *events, void *ctx)
{
	static bool curl_is_up;
	struct bl_outside *l = bl_xcalloc(1, sizeof(*l));
	const struct bl_plan *plan = &node->plan;
	*l = (struct bl_outside){ .node = node, .events = events, .ctx = ctx };
	l->items = bl_xcalloc(plan->n_checks, sizeof(*l->items));
	/* before any thread needs it */
	if (!curl_is_up)
		curl_is_up = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	for (size_t i = 0; i < plan->n_checks; i++) {
		if (!plan->checks[i].on_deployer)
			continue;
		struct item *it = &l->items[l->n++];
		*it = (struct item){ .all = l, .check = &plan->checks[i] };
		it->work.data = it;
		uv_queue_work(loop, &it->work, on_work, on_item_done);
	}
	l->left = l->n;
	return l;
}

void bl_outside_drop(struct bl_outside *l)
{
	if (!l)
		return;
	l->events = NULL;
	l->dropped = true;
	atomic_store(&l->stop, true);
	if (l->left == 0)
		free_outside(l);
}
