/* SPDX-License-Identifier: MIT */
#include "cli/ask.h"

#include "host/agent.h"
#include "host/session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE  32
#define LIMIT_MS 60000

struct asking {
	struct asker *all;
	struct bl_answer *answer;
	const struct bl_node *node;
	struct bl_session *session;
	bool begun, ended;
};

struct asker {
	uv_loop_t loop;
	uv_timer_t limit;
	struct asking *hosts;
	size_t n, running;
	int question;
	const char *run;
};

static void begin_more(struct asker *a);

static void end(struct asking *h)
{
	if (h->ended)
		return;
	h->ended = true;
	h->all->running--;
	bl_session_drop(BL_STEAL(h->session));
	begin_more(h->all);
}

static void steal_msg(struct bl_msg *to, const struct bl_msg *from)
{
	bl_msg_free(to);
	to->type = from->type;
	BL_KV_FOREACH (&from->kv, it)
		bl_kv_set(&to->kv, it->key, it->value);
}

static void on_msg(void *ctx, const struct bl_msg *m)
{
	struct asking *h = ctx;
	if (m->type == BL_MSG_HELLO) {
		steal_msg(&h->answer->hello, m);
		h->answer->reached = true;
		if (!h->all->question) {
			end(h);
			return;
		}
		BL_AUTO(bl_kv) kv = { 0 };
		bl_kv_set(&kv, "epoch", bl_kv_str(&m->kv, "epoch"));
		bl_kv_set(&kv, "run", h->all->run ? h->all->run : "");
		bl_session_send(h->session, (enum bl_msg_type)h->all->question, &kv);
	} else if (m->type == BL_MSG_OK || m->type == BL_MSG_REFUSED) {
		steal_msg(&h->answer->reply, m);
		end(h);
	}
}

static void on_need_agent(void *ctx, const char *machine)
{
	struct asking *h = ctx;
	/* it is not brought there; whether there is one is told */
	free(bl_agent_pick(h->node->agent, machine, &h->answer->what, &h->answer->remedy));
	h->answer->reached = h->answer->no_agent = true;
	end(h);
}

static void on_gone(void *ctx, const char *what, const char *remedy)
{
	struct asking *h = ctx;
	h->session = NULL;
	if (!h->answer->reached) {
		h->answer->what = bl_xstrdup(what);
		h->answer->remedy = bl_xstrdup(remedy);
	}
	end(h);
}

static void begin_more(struct asker *a)
{
	static const struct bl_session_events events = {
		.need_agent = on_need_agent,
		.msg = on_msg,
		.gone = on_gone,
	};
	for (size_t i = 0; i < a->n && a->running < AT_ONCE; i++) {
		struct asking *h = &a->hosts[i];
		struct bl_err err = { 0 };
		if (h->begun)
			continue;
		h->begun = true;
		a->running++;
		if (bl_session_work(&a->loop, h->node, NULL, h->node->agent, "", &events, h,
				    &h->session, &err) < 0)
			on_gone(h, err.msg, "install OpenSSH's client on this machine");
	}
	if (a->running == 0)
		uv_stop(&a->loop);
}

static void on_limit(uv_timer_t *timer)
{
	struct asker *a = timer->data;
	for (size_t i = 0; i < a->n; i++) {
		if (a->hosts[i].begun && !a->hosts[i].ended && !a->hosts[i].answer->reached)
			a->hosts[i].answer->what = bl_xstrdup("no answer within a minute");
		end(&a->hosts[i]);
	}
}

int bl_ask(const struct bl_selection *sel, int question, const char *run,
	   struct bl_answer **out, struct bl_err *err)
{
	struct asker a = { .n = sel->n, .question = question, .run = run };
	bl_autofree struct asking *hosts = bl_xcalloc(sel->n, sizeof(*hosts));
	struct bl_answer *answers = bl_xcalloc(sel->n, sizeof(*answers));
	a.hosts = hosts;
	if (uv_loop_init(&a.loop) < 0) {
		free(answers);
		return bl_err_set(err, BL_E_SYS, "no event loop");
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sel->n; i++)
		hosts[i] = (struct asking){ .all = &a,
					    .answer = &answers[i],
					    .node = sel->nodes[i] };
	uv_timer_init(&a.loop, &a.limit);
	a.limit.data = &a;
	uv_timer_start(&a.limit, on_limit, LIMIT_MS, 0);
	begin_more(&a);
	uv_run(&a.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&a.limit, NULL);
	bl_loop_end(&a.loop);
	*out = answers;
	return 0;
}

void bl_answers_free(struct bl_answer *answers, size_t n)
{
	for (size_t i = 0; answers && i < n; i++) {
		bl_msg_free(&answers[i].hello);
		bl_msg_free(&answers[i].reply);
		free(answers[i].what);
		free(answers[i].remedy);
	}
	free(answers);
}
