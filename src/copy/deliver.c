/* SPDX-License-Identifier: MIT */
#include "copy/deliver.h"

#include "base/clock.h"
#include "copy/copy.h"
#include "host/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARALLEL 10
#define TICK_MS  200
#define READY_S  150 /* until its agent has said hello, but for the agent's own way */
#define PAUSE_S  2   /* before the first, twice as long before the second, ... */

struct host {
	struct deliverer *d;
	size_t i;
	const struct bl_node *node;
	struct bl_session *session;
	struct bl_copy *agent; /* on its way there */
	struct bl_send *send;
	char *control;
	bool copying; /* a connection came as far as that */
	unsigned reconnects;
	/* boot times: of the connection, and of the next one, 0: none is waited for */
	int64_t since_ns, again_ns;
	struct bl_copy_stats before; /* what connections came to that were cut */
	bool over;
};

struct deliverer {
	const struct bl_deliver_spec *spec;
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t on_int, on_term;
	struct bl_engine *engine;
	struct host *hosts;
	size_t next, running;
	bool interrupted, beginning;
	char dir[32];
};

static void begin_more(struct deliverer *d);

static void end(struct host *h, const struct bl_copy_stats *stats, const char *what,
		const char *remedy)
{
	static const struct bl_copy_stats nothing = { 0 };
	struct deliverer *d = h->d;
	if (h->over)
		return;
	h->over = true;
	h->again_ns = 0;
	h->send = NULL;
	d->spec->done(d->spec->ctx, h->i, stats ? stats : &nothing, what, remedy);
	bl_copy_drop(BL_STEAL(h->agent));
	bl_session_drop(BL_STEAL(h->session));
	d->running--;
	begin_more(d);
}

static void on_sent(void *ctx, const struct bl_copy_stats *stats, const char *what,
		    const char *remedy)
{
	end(ctx, stats, what, remedy);
}

static void on_line(void *ctx, const char *line)
{
	struct host *h = ctx;
	h->d->spec->line(h->d->spec->ctx, h->i, line);
}

static void on_progress(void *ctx, const struct bl_copy_stats *stats)
{
	struct host *h = ctx;
	h->d->spec->progress(h->d->spec->ctx, h->i, stats);
}

static void on_agent_there(void *ctx, const char *what, const char *remedy)
{
	struct host *h = ctx;
	h->agent = NULL;
	h->since_ns = bl_now_boot_ns();
	if (!what) {
		bl_session_go(h->session);
		return;
	}
	bl_autofree char *reason = bl_xprintf("copying the agent failed: %s", what);
	end(h, NULL, reason, remedy);
}

static void on_need_agent(void *ctx, const char *machine)
{
	struct host *h = ctx;
	struct bl_err err = { 0 };
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	bl_autofree char *agent = bl_agent_pick(h->node->agent, machine, &what, &remedy);
	if (!agent) {
		end(h, NULL, what, remedy);
		return;
	}
	const struct bl_copy_spec spec = {
		.node = h->node,
		.control = h->control,
		.session = h->session,
		.path = agent,
		.done = on_agent_there,
		.ctx = h,
	};
	h->d->spec->phase(h->d->spec->ctx, h->i, "agent");
	if (bl_copy_start(&h->d->loop, &spec, &h->agent, &err) < 0)
		end(h, NULL, err.msg, "install Nix on this machine");
}

static void on_hello(struct host *h)
{
	const struct bl_delivery *item = &h->d->spec->items[h->i];
	const struct bl_send_spec spec = {
		.session = h->session,
		.tops = item->tops,
		.before = &h->before,
		.substitute = h->node->substitute_on_target,
		.line = on_line,
		.progress = on_progress,
		.done = on_sent,
		.ctx = h,
	};
	h->d->spec->phase(h->d->spec->ctx, h->i, "copy");
	h->copying = true;
	bl_send_start(h->d->engine, &spec, &h->send);
}

static void on_msg(void *ctx, const struct bl_msg *m)
{
	struct host *h = ctx;
	uint64_t version = 0;
	if (h->send)
		bl_send_msg(h->send, m);
	else if (m->type == BL_MSG_HELLO && bl_kv_u64(&m->kv, "version", BL_WIRE_VERSION,
						      BL_WIRE_VERSION, &version, NULL) < 0)
		end(h, NULL, "the agent there speaks another version of the protocol",
		    "use the same version of belay on both ends");
	else if (m->type == BL_MSG_HELLO)
		on_hello(h);
}

static void on_frame(void *ctx, const struct bl_frame *f)
{
	struct host *h = ctx;
	if (h->send)
		bl_send_frame(h->send, f);
}

static void on_drained(void *ctx)
{
	struct host *h = ctx;
	if (h->send)
		bl_send_drained(h->send);
}

static void on_gone(void *ctx, const char *what, const char *remedy)
{
	struct host *h = ctx;
	int64_t now = bl_now_boot_ns();
	bool cut = h->copying && bl_session_was_cut(h->session);
	h->session = NULL;
	bl_copy_drop(BL_STEAL(h->agent));
	if (h->send)
		h->before = *bl_send_stats(h->send);
	bl_send_drop(BL_STEAL(h->send));
	if (now - h->since_ns > BL_SEND_STEADY_NS)
		h->reconnects = 0;
	if (!cut || h->reconnects == BL_SEND_RECONNECTS) {
		end(h, &h->before, what, remedy);
		return;
	}
	/* what came is not sent again */
	bl_autofree char *text = bl_xprintf("cut off: %s; connecting again", what);
	on_line(h, text);
	h->reconnects++;
	h->again_ns = now + PAUSE_S * BL_NS_PER_S * h->reconnects;
}

static void connect_host(struct host *h)
{
	static const struct bl_session_events events = {
		.need_agent = on_need_agent,
		.msg = on_msg,
		.frame = on_frame,
		.drained = on_drained,
		.gone = on_gone,
	};
	struct bl_err err = { 0 };
	h->again_ns = 0;
	h->since_ns = bl_now_boot_ns();
	/* a master that is on its way out may still hold the name of the one before */
	if (h->control)
		unlink(h->control);
	free(h->control);
	h->control = bl_xprintf("%s/%zu.%u", h->d->dir, h->i, h->reconnects);
	h->d->spec->phase(h->d->spec->ctx, h->i, "connect");
	/* read while ssh logs in */
	bl_engine_expect(h->d->engine, h->d->spec->items[h->i].tops);
	if (bl_session_work(&h->d->loop, h->node, h->control, h->node->agent,
			    h->d->spec->items[h->i].root, &events, h, &h->session, &err) < 0)
		end(h, NULL, err.msg, "install OpenSSH's client on this machine");
}

static void begin_more(struct deliverer *d)
{
	unsigned most = d->spec->parallel ? d->spec->parallel : PARALLEL;
	/* what ends at once comes by here again */
	if (d->beginning)
		return;
	d->beginning = true;
	while (!d->interrupted && d->running < most && d->next < d->spec->n) {
		d->running++;
		connect_host(&d->hosts[d->next++]);
	}
	d->beginning = false;
	if (d->running == 0)
		uv_stop(&d->loop);
}

static void on_signal(uv_signal_t *handle, int sig BL_UNUSED)
{
	struct deliverer *d = handle->data;
	d->interrupted = true;
	for (size_t i = 0; i < d->spec->n; i++) {
		struct host *h = &d->hosts[i];
		if (h->over)
			continue;
		bl_send_drop(BL_STEAL(h->send));
		if (i >= d->next)
			d->running++;
		end(h, NULL, "interrupted", "do it again: what came is not sent anew");
	}
}

static void watch(struct host *h, int64_t now)
{
	if (h->again_ns && now >= h->again_ns)
		connect_host(h);
	else if (h->session && !h->send && !h->agent && !h->over &&
		 now - h->since_ns > READY_S * BL_NS_PER_S)
		end(h, &h->before, "its shell does not answer",
		    "try it by hand: ssh with the same name and user");
}

static void on_tick(uv_timer_t *timer)
{
	struct deliverer *d = timer->data;
	int64_t now = bl_now_boot_ns();
	for (size_t i = 0; i < d->next; i++)
		watch(&d->hosts[i], now);
	d->spec->tick(d->spec->ctx);
}

static void listen_to_signals(struct deliverer *d)
{
	uv_signal_init(&d->loop, &d->on_int);
	uv_signal_init(&d->loop, &d->on_term);
	d->on_int.data = d->on_term.data = d;
	if (!d->spec->leave_signals) {
		uv_signal_start(&d->on_int, on_signal, SIGINT);
		uv_signal_start(&d->on_term, on_signal, SIGTERM);
	}
	uv_timer_init(&d->loop, &d->tick);
	d->tick.data = d;
	uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
}

static void run(struct deliverer *d)
{
	const struct bl_deliver_spec *spec = d->spec;
	d->hosts = bl_xcalloc(spec->n + 1, sizeof(*d->hosts));
	for (size_t i = 0; i < spec->n; i++)
		d->hosts[i] = (struct host){ .d = d, .i = i, .node = spec->items[i].node };
	listen_to_signals(d);
	begin_more(d);
	if (d->running > 0)
		uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_timer_stop(&d->tick);
	uv_signal_stop(&d->on_int);
	uv_signal_stop(&d->on_term);
	bl_engine_free(d->engine);
	bl_loop_end(&d->loop);
	for (size_t i = 0; i < spec->n; i++) {
		if (d->hosts[i].control)
			unlink(d->hosts[i].control);
		free(d->hosts[i].control);
	}
	free(d->hosts);
}

/* Before the first of them. */
static void set_threads(void)
{
	char text[16];
	snprintf(text, sizeof(text), "%u", bl_engine_threads());
	setenv("UV_THREADPOOL_SIZE", text, 0);
}

int bl_deliver(const struct bl_deliver_spec *spec, bool *out_interrupted, struct bl_err *err)
{
	struct deliverer d = { .spec = spec, .dir = "/tmp/belay-XXXXXX" };
	if (!mkdtemp(d.dir))
		return bl_err_sys(err, errno, "make a folder in /tmp");
	int rc = -1;
	if (uv_loop_init(&d.loop) < 0) {
		bl_err_set_(err, BL_E_SYS, 0, "no event loop");
	} else if (bl_engine_new(&d.loop, &spec->engine, &d.engine, err) < 0) {
		bl_loop_end(&d.loop);
	} else {
		signal(SIGPIPE, SIG_IGN);
		set_threads();
		run(&d);
		rc = 0;
	}
	rmdir(d.dir);
	*out_interrupted = d.interrupted;
	return rc;
}
