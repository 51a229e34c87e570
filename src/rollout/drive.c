/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void pump(struct bl_drive *d)
{
	for (;;) {
		size_t i = 0;
		enum bl_rollout_order order = bl_rollout_next(&d->rollout, &i);
		if (order == BL_RO_WAIT)
			return;
		if (order == BL_RO_END) {
			uv_stop(&d->loop);
			return;
		}
		struct bl_way *h = &d->hosts[i];
		if (order == BL_RO_SKIP) {
			d->rollout.stages[i] = BL_ST_SKIPPED;
			h->outcome = BL_OUT_SKIPPED;
			bl_way_apply(h, BL_CE_STOP);
		} else if (order == BL_RO_PREPARE) {
			d->rollout.stages[i] = BL_ST_PREPARING;
			bl_way_apply(h, BL_CE_BEGIN);
		} else {
			d->rollout.stages[i] = BL_ST_SWITCHING;
			bl_way_apply(h, BL_CE_GO);
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

static void close_any(uv_handle_t *handle, void *arg BL_UNUSED)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
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
	/* dropped programs are reaped before the loop goes: it knows their memory */
	uv_close((uv_handle_t *)&d->tick, NULL);
	uv_close((uv_handle_t *)&d->on_int, NULL);
	uv_close((uv_handle_t *)&d->on_term, NULL);
	for (int i = 0; i < 100 && uv_run(&d->loop, UV_RUN_NOWAIT); i++)
		bl_sleep_ms(10);
	uv_walk(&d->loop, close_any, NULL);
	uv_run(&d->loop, UV_RUN_NOWAIT);
	uv_loop_close(&d->loop);
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

int bl_drive(const struct bl_drive_spec *spec, bool *out_interrupted, struct bl_err *err)
{
	struct bl_drive d = { .spec = spec, .dir = "/tmp/belay-XXXXXX" };
	bl_autofree enum bl_stage *stages = bl_xcalloc(spec->n, sizeof(*stages));
	bl_autofree struct bl_way *hosts = bl_xcalloc(spec->n, sizeof(*hosts));
	uv_check_t check;
	d.rollout = (struct bl_rollout){ .stages = stages,
					 .n = spec->n,
					 .parallel = spec->parallel,
					 .keep_going = spec->keep_going };
	d.hosts = hosts;
	if (!mkdtemp(d.dir))
		return bl_err_set(err, BL_E_SYS, "make a folder in /tmp for control sockets");
	signal(SIGPIPE, SIG_IGN);
	bl_outside_threads(count_checks(spec));
	uv_loop_init(&d.loop);
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
	*out_interrupted = d.signals > 0;
	return 0;
}
