/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define LINGER_MS 300
#define DAY_MS    86400000

/* The host waits for our own checks too, and for the others of its wave. */
uint64_t bl_way_window_ms(const struct bl_way *h)
{
	uint64_t ms = bl_node_window_ms(h->node) +
		      h->d->hold_ms[bl_rollout_wave(&h->d->rollout, h->i)];
	return ms < DAY_MS ? ms : DAY_MS;
}

void bl_way_set_limit(struct bl_way *h, uint64_t ms)
{
	h->limit_ns =
		bl_now_boot_ns() + (int64_t)(ms + bl_node_window_ms(h->node)) * BL_NS_PER_MS;
}

void bl_way_line(struct bl_way *h, const struct bl_msg *m, bool fresh)
{
	const char *stream = bl_kv_str(&m->kv, "stream");
	size_t log = strcmp(stream, "agent") == 0;
	/* a new connection tells the logs from their beginning */
	if (fresh && h->skip[log] > 0) {
		h->skip[log]--;
		return;
	}
	h->lines[log]++;
	bl_way_observer(h)->output(h->d->spec->ctx, h->i, stream, bl_kv_str(&m->kv, "line"));
}

/*
 * The end as a fresh connection tells it. The work connection, while it lives, is a moment
 * behind with the last lines of the logs: they are waited for, for a third of a second.
 */
static void end_seen(struct bl_way *h, enum bl_course_event event)
{
	int64_t now = bl_now_boot_ns();
	h->seen = true;
	if (!h->work || h->phase == BL_PH_VERIFY ||
	    now - h->heard_ns > BL_SILENCE_MS * BL_NS_PER_MS) {
		bl_way_apply(h, event);
		return;
	}
	h->end = event;
	h->end_ns = now + LINGER_MS * BL_NS_PER_MS;
}

/* With the answer to our start lost, the number that we guess may be somebody else's. */
static bool is_ours(const struct bl_way *h, const struct bl_kv *kv)
{
	/* a journal that was lost and begun anew does not know it any more */
	const char *run = bl_kv_str(kv, "run");
	return !*run || strcmp(run, h->d->spec->run) == 0;
}

/* @first: it has just begun to. */
static void on_waiting(struct bl_way *h, const struct bl_msg *m, bool first, bool fresh)
{
	if (first)
		bl_way_set_limit(h, 0);
	h->due_ns =
		bl_now_boot_ns() + (int64_t)bl_kv_u64_or(&m->kv, "left_ms", 0) * BL_NS_PER_MS;
	/* the work connection may be a moment behind a provisional confirmation */
	if (!h->provisional)
		bl_way_begin_checks(h);
	if (!fresh)
		bl_way_apply(h, BL_CE_WAITING);
}

void bl_way_state(struct bl_way *h, const struct bl_msg *m, bool fresh)
{
	if (!is_ours(h, &m->kv) && strcmp(bl_kv_str(&m->kv, "state"), "BROKEN") != 0) {
		bl_autofree char *reason =
			bl_xprintf("another deployment, of %s, took its place",
				   bl_kv_str(&m->kv, "owner"));
		bl_way_blame(h, BL_OUT_REFUSED, reason,
			     "look with `belay status`, then deploy again");
		h->foreign = true;
		bl_way_apply(h, BL_CE_BACK_SEEN);
		bl_way_apply(h, BL_CE_BOUND);
		return;
	}
	bl_autofree char *was = bl_xstrdup(bl_kv_str(&h->last, "state"));
	bl_kv_free(&h->last);
	BL_KV_FOREACH (&m->kv, it)
		bl_kv_set(&h->last, it->key, it->value);
	const char *state = bl_kv_str(&m->kv, "state");
	bool begins = strcmp(was, state) != 0;
	if (strcmp(state, "ROLLING_BACK") == 0 && begins && h->node->plan.local &&
	    h->node->plan.rollback_reboot != BL_RB_REBOOT_NEVER)
		bl_way_note(
			h,
			"it goes back; if the new system changed how this host is reached, log "
			"in anew within a minute and run belay confirm again, which shows that it "
			"can be: else it reboots into the old system");
	if (strcmp(state, "WAIT_CONFIRM") == 0) {
		on_waiting(h, m, begins, fresh);
	} else if (strcmp(state, "TRIAL_REBOOT") == 0) {
		if (!h->rebooting)
			bl_way_note(
				h,
				"rebooting once into the new system; the boot default stays");
		h->rebooting = true;
	} else if (strcmp(state, "ROLLING_BACK") == 0 && fresh && h->phase == BL_PH_CONFIRM) {
		/* the host wants to know whether it can be reached when it is back: a
		 * connection from before that does not tell */
		bl_way_try_failed(h, "it goes back; another look when it is there");
	} else if (strcmp(state, "COMMITTED") == 0) {
		if (fresh)
			end_seen(h, BL_CE_COMMITTED);
		else
			bl_way_apply(h, BL_CE_COMMITTED);
	} else if (!bl_kv_bool(&m->kv, "open") && strcmp(state, "BROKEN") != 0) {
		if (strcmp(state, "NONE") == 0)
			bl_way_blame(
				h, BL_OUT_REFUSED,
				h->bound_told
					? "its journal was lost, and with it what it had begun"
					: "the start did not arrive",
				"deploy again");
		if (fresh)
			end_seen(h, BL_CE_BACK_SEEN);
		else
			bl_way_apply(h, h->end_ns ? h->end : BL_CE_BACK_HEARD);
	}
}

void bl_way_started(struct bl_way *h, const struct bl_msg *m)
{
	h->epoch = bl_kv_u64_or(&m->kv, "epoch", 0);
	uint64_t bound_ms = bl_kv_u64_or(&m->kv, "bound_ms", BL_START_LIMIT_MS);
	h->bound_ns = bl_now_boot_ns() + (int64_t)bound_ms * BL_NS_PER_MS;
	h->bound_told = true;
	bl_autofree char *text = bl_xprintf(
		"transaction %llu: confirmed, or back on the old system, within %llu s at the most",
		(unsigned long long)h->epoch, (unsigned long long)bound_ms / 1000);
	bl_way_note(h, text);
	bl_way_observer(h)->started(h->d->spec->ctx, h->i, bl_kv_str(&m->kv, "old"), h->epoch);
	bl_way_apply(h, BL_CE_STARTED);
	bl_way_set_limit(h, bl_node_forward_ms(h->node));
	/* what came before the answer to the start is said now */
	if (h->outside == BL_OUTSIDE_BAD)
		bl_way_say_back(h);
}

/* The start is the next number, or it is refused. */
static uint64_t next_epoch(const struct bl_way *h)
{
	return bl_kv_u64_or(&h->facts, "last_epoch", 0) + 1;
}

void bl_way_lose_work(struct bl_way *h)
{
	if (!h->lost_ns)
		h->lost_ns = bl_now_boot_ns();
	/* nobody knows when the activation ended: count from the last word */
	if (!h->due_ns)
		h->due_ns = (h->heard_ns ? h->heard_ns : h->lost_ns) +
			    (int64_t)(bl_way_window_ms(h) + bl_plan_checks_ms(&h->node->plan)) *
				    BL_NS_PER_MS;
	if (h->phase == BL_PH_START && !h->epoch)
		h->epoch = next_epoch(h);
	bl_way_apply(h, BL_CE_LOST);
}

void bl_way_start(struct bl_way *h)
{
	static const char *const believed[] = { "system", "generation", "boot_default",
						"last_epoch" };
	const struct bl_drive_spec *spec = h->d->spec;
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_err err = { 0 };
	char hex[2 * BL_KEY_LEN + 1];
	bl_random(h->key, sizeof(h->key));
	if (bl_way_observer(h)->starting(spec->ctx, h->i, bl_kv_str(&h->facts, "system"),
					 next_epoch(h), h->key, &err) < 0) {
		bl_way_blame(h, BL_OUT_FAILED, err.msg, "make room on this machine");
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	bl_hex(h->key, sizeof(h->key), hex);
	bl_kv_set(&kv, "new", h->node->out_path);
	bl_kv_set(&kv, "key", hex);
	bl_kv_set(&kv, "run", spec->run);
	bl_kv_set(&kv, "owner", spec->owner);
	for (size_t i = 0; i < BL_COUNT(believed); i++)
		bl_kv_set(&kv, believed[i], bl_kv_str(&h->facts, believed[i]));
	bl_kv_set_u64(&kv, "activate_ms", (uint64_t)h->node->switch_timeout_s * 1000);
	bl_kv_set_u64(&kv, "confirm_ms", bl_way_window_ms(h));
	bl_kv_set(&kv, "force_drift", spec->force_drift ? "1" : "0");
	bl_plan_tell(&h->node->plan, &kv);
	h->bound_ns = bl_now_boot_ns() + BL_START_LIMIT_MS * BL_NS_PER_MS;
	h->heard_ns = bl_now_boot_ns();
	bl_session_send(h->work, BL_MSG_START, &kv);
	explicit_bzero(hex, sizeof(hex));
}
