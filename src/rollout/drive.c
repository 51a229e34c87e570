/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remark(const struct bl_drive *d, const char *text)
{
	if (d->spec->observer->remark)
		d->spec->observer->remark(d->spec->ctx, text);
}

static const char *hosts_word(size_t n)
{
	return n == 1 ? "host" : "hosts";
}

/* What has failed, where that stops others: "2 hosts of wave 3 failed". */
static char *why_over(const struct bl_drive *d)
{
	const struct bl_rollout *r = &d->rollout;
	size_t wave = bl_rollout_last_wave(r);
	size_t all = bl_rollout_failures(r, SIZE_MAX);
	size_t here = wave == SIZE_MAX ? 0 : bl_rollout_failures(r, wave);
	size_t waves = d->spec->waves ? d->spec->waves->n : 1;
	if (wave == SIZE_MAX)
		return bl_xprintf("%zu %s could not be prepared", all, hosts_word(all));
	if (waves == 1)
		return bl_xprintf("%zu %s failed", all, hosts_word(all));
	if (here < all)
		return bl_xprintf("%zu %s failed up to wave %zu", all, hosts_word(all),
				  wave + 1);
	return bl_xprintf("%zu %s of wave %zu failed", here, hosts_word(here), wave + 1);
}

/* The host because of which the atomic wave of @h is not confirmed. */
static char *why_spoilt(const struct bl_drive *d, const struct bl_way *h)
{
	const struct bl_rollout *r = &d->rollout;
	size_t wave = bl_rollout_wave(r, h->i);
	for (size_t i = 0; i < r->n; i++)
		if (bl_rollout_wave(r, i) == wave &&
		    (r->stages[i] == BL_ST_BAD || r->stages[i] == BL_ST_FAILING))
			return bl_xprintf("%s of its wave failed, and so none is confirmed",
					  d->hosts[i].node->name);
	return bl_xstrdup("its wave was stopped, and so none of it is confirmed");
}

static void skip(struct bl_drive *d, struct bl_way *h)
{
	bl_autofree char *why = NULL;
	*bl_way_stage(h) = BL_ST_SKIPPED;
	if (bl_rollout_is_over(&d->rollout))
		why = why_over(d);
	else if (!d->rollout.stopped)
		why = why_spoilt(d, h);
	if (why)
		bl_way_blame(h, BL_OUT_SKIPPED, why, NULL);
	h->outcome = BL_OUT_SKIPPED;
	bl_way_apply(h, BL_CE_STOP);
}

static void do_switch(struct bl_drive *d, struct bl_way *h)
{
	size_t w = bl_rollout_wave(&d->rollout, h->i);
	struct bl_wave *wave = &d->rollout.waves[w];
	if (!wave->begun && d->spec->observer->wave)
		d->spec->observer->wave(d->spec->ctx, w);
	wave->begun = true;
	*bl_way_stage(h) = BL_ST_SWITCHING;
	bl_way_apply(h, BL_CE_GO);
}

static void do_soak(struct bl_drive *d, int64_t now)
{
	bl_autofree char *text =
		bl_xprintf("the canaries are committed; %u s until the next wave",
			   (unsigned)(d->rollout.soak_ns / BL_NS_PER_S));
	d->rollout.soak_end_ns = now + d->rollout.soak_ns;
	remark(d, text);
}

/* The one step that cannot be taken back: who comes behind us has to know of it. */
static void decide(struct bl_drive *d, size_t wave)
{
	struct bl_err err = { 0 };
	const struct bl_drive_observer *o = d->spec->observer;
	if (o->deciding && o->deciding(d->spec->ctx, wave, &err) < 0) {
		bl_autofree char *text =
			bl_xprintf("wave %zu is not confirmed: %s", wave + 1, err.msg);
		remark(d, text);
		d->rollout.waves[wave].spoilt = true;
		return;
	}
	d->rollout.waves[wave].decided = true;
}

static void pump(struct bl_drive *d)
{
	for (;;) {
		size_t i = 0;
		int64_t now = bl_now_boot_ns();
		enum bl_rollout_order order = bl_rollout_next(&d->rollout, now, &i);
		struct bl_way *h = &d->hosts[i];
		switch (order) {
		case BL_RO_WAIT:
			return;
		case BL_RO_END:
			uv_stop(&d->loop);
			return;
		case BL_RO_SKIP:
			skip(d, h);
			break;
		case BL_RO_PREPARE:
			*bl_way_stage(h) = BL_ST_PREPARING;
			bl_way_apply(h, BL_CE_BEGIN);
			break;
		case BL_RO_SWITCH:
			do_switch(d, h);
			break;
		case BL_RO_SOAK:
			do_soak(d, now);
			break;
		case BL_RO_DECIDE:
			decide(d, i);
			break;
		case BL_RO_CONFIRM:
			bl_way_confirm(h);
			break;
		case BL_RO_ABORT: {
			bl_autofree char *why = why_spoilt(d, h);
			bl_way_give_up(h, why);
			break;
		}
		}
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct bl_drive *d = timer->data;
	int64_t now = bl_now_boot_ns();
	for (size_t i = 0; i < d->spec->n; i++)
		bl_way_watch(&d->hosts[i], now);
	d->spec->observer->tick(d->spec->ctx);
}

/* After whatever happened in this turn of the loop: one place that gives new orders. */
static void on_check(uv_check_t *check)
{
	pump(check->data);
}

static void on_signal(uv_signal_t *handle, int sig BL_UNUSED)
{
	struct bl_drive *d = handle->data;
	if (++d->signals > 1) {
		uv_stop(&d->loop);
		return;
	}
	d->rollout.stopped = true;
	for (size_t i = 0; i < d->spec->n; i++) {
		struct bl_way *h = &d->hosts[i];
		if (bl_phase_is_open(h->phase)) {
			bl_way_note(
				h,
				"interrupted: waiting for this host's end; once more leaves it to itself");
		} else if (h->phase != BL_PH_DONE && h->phase != BL_PH_IDLE) {
			bl_way_blame(h, BL_OUT_SKIPPED, "interrupted", NULL);
			h->outcome = BL_OUT_SKIPPED;
			bl_way_apply(h, BL_CE_STOP);
		}
	}
}

static void init_host(struct bl_drive *d, size_t i)
{
	struct bl_way *h = &d->hosts[i];
	const struct bl_drive_resume *r = d->spec->resume;
	*h = (struct bl_way){
		.d = d, .i = i, .node = d->spec->nodes[i], .outcome = BL_OUT_FAILED
	};
	if (!r)
		return;
	h->epoch = r[i].epoch;
	memcpy(h->key, r[i].key, BL_KEY_LEN);
	d->rollout.stages[i] = BL_ST_SWITCHING;
	h->bound_ns = bl_now_boot_ns() + BL_START_LIMIT_MS * BL_NS_PER_MS;
	h->phase = BL_PH_FOLLOW;
	bl_way_set_limit(h, bl_node_forward_ms(h->node));
}

static void end_of_loop(struct bl_drive *d)
{
	for (size_t i = 0; i < d->spec->n; i++) {
		struct bl_way *h = &d->hosts[i];
		/* only a second ctrl-C leaves hosts like this */
		if (h->phase != BL_PH_DONE) {
			if (!bl_phase_is_open(h->phase))
				bl_way_blame(h, BL_OUT_SKIPPED, "interrupted", NULL);
			bl_way_tell_result(h, h->phase);
		}
		bl_way_free(h);
	}
	/* it may wait for this machine's Nix; whoever has no time for that is not held */
	uv_signal_stop(&d->on_int);
	uv_signal_stop(&d->on_term);
	bl_engine_free(d->engine);
	uv_close((uv_handle_t *)&d->tick, NULL);
	uv_close((uv_handle_t *)&d->on_int, NULL);
	uv_close((uv_handle_t *)&d->on_term, NULL);
	bl_loop_end(&d->loop);
	rmdir(d->dir);
}

static size_t count_checks(const struct bl_drive_spec *spec)
{
	size_t n = 0;
	for (size_t i = 0; i < spec->n; i++)
		for (size_t k = 0; k < spec->nodes[i]->plan.n_checks; k++)
			n += spec->nodes[i]->plan.checks[k].on_deployer;
	return n;
}

/* An atomic wave of which only a part was confirmed: nobody can make that undone. */
static void tell_split(const struct bl_drive *d)
{
	const struct bl_rollout *r = &d->rollout;
	size_t waves = d->spec->waves ? d->spec->waves->n : 1;
	for (size_t w = 0; r->atomic && w < waves; w++) {
		BL_AUTO(bl_buf) bad = { 0 };
		for (size_t i = 0; r->waves[w].decided && i < r->n; i++)
			if (bl_rollout_wave(r, i) == w && r->stages[i] != BL_ST_GOOD)
				bl_buf_printf(&bad, "%s%s", bad.len ? ", " : "",
					      d->hosts[i].node->name);
		if (bad.len == 0)
			continue;
		bl_autofree char *text = bl_xprintf(
			"wave %zu is split: it was to be confirmed as a whole, and was not on: %s",
			w + 1, bl_buf_str(&bad));
		remark(d, text);
	}
}

static void report(const struct bl_drive *d, struct bl_drive_report *out)
{
	const struct bl_rollout *r = &d->rollout;
	out->interrupted = d->signals > 0;
	out->take_back = bl_xcalloc(r->n + 1, sizeof(*out->take_back));
	for (size_t i = 0; i < r->n; i++)
		out->take_back[i] = bl_rollout_takes_back(r, d->spec->on_failure, i);
	if (!r->stopped && bl_rollout_is_over(r))
		out->why = why_over(d);
	tell_split(d);
}

void bl_drive_report_free(struct bl_drive_report *r)
{
	free(r->take_back);
	free(r->why);
	*r = (struct bl_drive_report){ 0 };
}

/* What the hosts of each wave wait for each other. */
static uint64_t *find_hold_ms(const struct bl_drive_spec *spec)
{
	const struct bl_waves *w = spec->waves;
	size_t n = w ? w->n : 1;
	uint64_t *ms = bl_xcalloc(n, sizeof(*ms));
	for (size_t i = 0; spec->atomic && i < n; i++)
		ms[i] = bl_waves_hold_ms(spec->nodes, spec->n, w ? w->of : NULL, i,
					 spec->parallel);
	return ms;
}

static void init_rollout(struct bl_drive *d, enum bl_stage *stages)
{
	const struct bl_drive_spec *spec = d->spec;
	d->rollout = (struct bl_rollout){
		.stages = stages,
		.wave_of = spec->waves ? spec->waves->of : NULL,
		.waves = spec->waves ? spec->waves->waves : &d->one_wave,
		.n = spec->n,
		.parallel = spec->parallel,
		.max_failures = spec->max_failures,
		.atomic = spec->atomic,
		.soak_ns = spec->soak_s * BL_NS_PER_S,
	};
}

/* Where there is something to be sent. */
static int start_engine(struct bl_drive *d, struct bl_err *err)
{
	bool sends = false;
	for (size_t i = 0; i < d->spec->n; i++)
		sends |= bl_way_is_sent(d->spec, d->spec->nodes[i]);
	if (!sends)
		return 0;
	return bl_engine_new(&d->loop, &d->spec->engine, &d->engine, err);
}

int bl_drive(const struct bl_drive_spec *spec, struct bl_drive_report *out, struct bl_err *err)
{
	struct bl_drive d = { .spec = spec, .dir = "/tmp/belay-XXXXXX" };
	bl_autofree enum bl_stage *stages = bl_xcalloc(spec->n, sizeof(*stages));
	bl_autofree struct bl_way *hosts = bl_xcalloc(spec->n, sizeof(*hosts));
	uv_check_t check;
	bl_autofree uint64_t *hold_ms = find_hold_ms(spec);
	init_rollout(&d, stages);
	d.hosts = hosts;
	d.hold_ms = hold_ms;
	if (!mkdtemp(d.dir))
		return bl_err_set(err, BL_E_SYS, "make a folder in /tmp for control sockets");
	signal(SIGPIPE, SIG_IGN);
	bl_outside_threads(count_checks(spec) + bl_engine_threads());
	uv_loop_init(&d.loop);
	if (start_engine(&d, err) < 0) {
		bl_loop_end(&d.loop);
		rmdir(d.dir);
		return -1;
	}
	uv_timer_init(&d.loop, &d.tick);
	uv_signal_init(&d.loop, &d.on_int);
	uv_signal_init(&d.loop, &d.on_term);
	uv_check_init(&d.loop, &check);
	d.tick.data = d.on_int.data = d.on_term.data = check.data = &d;
	uv_timer_start(&d.tick, on_tick, BL_TICK_MS, BL_TICK_MS);
	uv_signal_start(&d.on_int, on_signal, SIGINT);
	uv_signal_start(&d.on_term, on_signal, SIGTERM);
	uv_check_start(&check, on_check);
	for (size_t i = 0; i < spec->n; i++) {
		init_host(&d, i);
		if (spec->resume)
			bl_way_apply(&d.hosts[i], BL_CE_LOST);
	}
	pump(&d);
	uv_run(&d.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&check, NULL);
	end_of_loop(&d);
	report(&d, out);
	return 0;
}
