/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREPARE_MS 150000 /* the preflight itself waits up to a minute for a booting host */

void bl_way_blame(struct bl_way *h, enum bl_outcome outcome, const char *reason,
		  const char *remedy)
{
	if (h->reason)
		return;
	h->outcome = outcome;
	h->reason = bl_xstrdup(reason);
	h->remedy = remedy && *remedy ? bl_xstrdup(remedy) : NULL;
}

const struct bl_drive_observer *bl_way_observer(const struct bl_way *h)
{
	return h->d->spec->observer;
}

void bl_way_note(struct bl_way *h, const char *text)
{
	bl_way_observer(h)->note(h->d->spec->ctx, h->i, text);
}

enum bl_stage *bl_way_stage(struct bl_way *h)
{
	return &h->d->rollout.stages[h->i];
}

bool bl_way_is_undecided(const struct bl_way *h)
{
	const struct bl_rollout *r = &h->d->rollout;
	return r->atomic && !r->waves[bl_rollout_wave(r, h->i)].decided;
}

static void drop_all(struct bl_way *h)
{
	bl_send_drop(BL_STEAL(h->send));
	bl_copy_drop(BL_STEAL(h->agent));
	bl_session_drop(BL_STEAL(h->work));
	bl_session_drop(BL_STEAL(h->fresh));
	bl_outside_drop(BL_STEAL(h->checks));
	explicit_bzero(h->key, sizeof(h->key));
}

void bl_way_tell_result(struct bl_way *h, enum bl_phase from)
{
	bool opened =
		bl_phase_is_open(from) && !h->foreign && !(from == BL_PH_START && h->reason);
	enum bl_outcome outcome = opened ? bl_outcome_of(&h->last) : h->outcome;
	const char *reason = h->reason;
	if (opened && *bl_kv_str(&h->last, "reason"))
		reason = bl_kv_str(&h->last, "reason");
	const struct bl_outcome_host is = { .facts = &h->facts,
					    .last = &h->last,
					    .confirmed = h->confirmed || h->proved,
					    .rebooting = strcmp(bl_kv_str(&h->last, "state"),
								"TRIAL_REBOOT") == 0,
					    .seen = h->seen };
	bl_autofree char *state = bl_outcome_state(outcome, &is);
	*bl_way_stage(h) = bl_outcome_is_good(outcome) ? BL_ST_GOOD
			   : outcome == BL_OUT_SKIPPED ? BL_ST_SKIPPED
						       : BL_ST_BAD;
	if (h->d->spec->taking_back)
		outcome = bl_outcome_of_taking_back(outcome);
	h->phase = BL_PH_DONE;
	bl_autofree char *next = h->remedy ? bl_xstrdup(h->remedy) : NULL;
	bool well = outcome == BL_OUT_COMMITTED || outcome == BL_OUT_TAKEN_BACK;
	if (h->epoch && !well)
		bl_replace_str(&next, NULL);
	if (!next && h->epoch && !well)
		next = outcome == BL_OUT_UNKNOWN
			       ? bl_xprintf("belay resume %s, and belay log %s", h->node->name,
					    h->node->name)
			       : bl_xprintf("belay log %s", h->node->name);
	const struct bl_drive_result r = {
		.outcome = outcome,
		.headline = outcome == BL_OUT_UNKNOWN && h->d->signals > 1
				    ? "Left to itself, since the run was interrupted"
				    : bl_outcome_headline(outcome),
		.reason = bl_outcome_is_good(outcome) || well ? NULL : reason,
		.state = bl_outcome_is_good(outcome) && !*bl_kv_str(&h->last, "remark") ? NULL
											: state,
		.next = next,
		.system = bl_kv_get(&h->last, "system") ? bl_kv_get(&h->last, "system")
							: bl_kv_get(&h->facts, "system"),
		.epoch = h->epoch,
	};
	bl_way_observer(h)->result(h->d->spec->ctx, h->i, &r);
}

static void do_action(struct bl_way *h, enum bl_course_action action)
{
	switch (action) {
	case BL_CA_NONE:
	case BL_CA_END:
		return;
	case BL_CA_CONNECT:
		bl_way_connect(h);
		return;
	case BL_CA_COPY_AGENT:
		bl_way_copy_agent(h);
		return;
	case BL_CA_GREET:
		bl_session_go(h->work);
		return;
	case BL_CA_COPY:
		bl_way_copy(h);
		return;
	case BL_CA_REJOIN:
		h->wake_ns = bl_now_boot_ns() +
			     bl_course_pause_ms(h->reconnects, false, false) * BL_NS_PER_MS;
		return;
	case BL_CA_PREFLIGHT:
		bl_way_preflight(h);
		return;
	case BL_CA_READY:
		*bl_way_stage(h) = BL_ST_READY;
		return;
	case BL_CA_START:
		bl_way_start(h);
		return;
	case BL_CA_TRY:
		bl_way_try(h);
		return;
	case BL_CA_PAUSE: {
		bool due = h->due_ns && bl_now_boot_ns() > h->due_ns;
		bool back = due || h->phase == BL_PH_VERIFY_PAUSE;
		h->wake_ns = bl_now_boot_ns() +
			     bl_course_pause_ms(h->tries, h->refused, back) * BL_NS_PER_MS;
		/* no sleeping past the moment at which the host goes back */
		if (!back && h->due_ns && h->wake_ns > h->due_ns)
			h->wake_ns = h->due_ns + BL_NS_PER_S;
		return;
	}
	}
}

static const char *line_of(const struct bl_way *h, enum bl_course_action action)
{
	bool back = h->d->spec->taking_back;
	if (action == BL_CA_COPY && bl_way_is_sent(h->d->spec, h->node))
		return "Copying closure to host..";
	if (action == BL_CA_START)
		return back ? "Taking it back to its previous system.."
			    : "Triggering system switcher..";
	if (action == BL_CA_TRY && h->phase == BL_PH_CONFIRM && h->tries == 0)
		return "Trying to confirm success..";
	return NULL;
}

void bl_way_apply(struct bl_way *h, enum bl_course_event event)
{
	enum bl_phase from = h->phase;
	if (from == BL_PH_DONE)
		return;
	struct bl_course_step s = bl_course_next(from, event);
	h->phase = s.phase;
	if (s.phase == BL_PH_DONE) {
		bl_way_tell_result(h, from);
		drop_all(h);
		return;
	}
	if (s.phase != from || s.action != BL_CA_NONE) {
		const char *line = line_of(h, s.action);
		if (line || strcmp(bl_phase_name(from), bl_phase_name(s.phase)) != 0)
			bl_way_observer(h)->phase(h->d->spec->ctx, h->i, bl_phase_name(s.phase),
						  line);
		h->phase_ns = bl_now_boot_ns();
		do_action(h, s.action);
	}
}

static void watch_time(struct bl_way *h, int64_t now)
{
	if (h->bound_ns && now > h->bound_ns) {
		bl_way_apply(h, BL_CE_BOUND);
		return;
	}
	if (h->end_ns && now > h->end_ns) {
		bl_way_apply(h, h->end);
		return;
	}
	bool follows = h->phase == BL_PH_FOLLOW || h->phase == BL_PH_START;
	if (follows && now - h->heard_ns > BL_SILENCE_MS * BL_NS_PER_MS)
		bl_way_lose_work(h);
	bool pausing = h->phase == BL_PH_PAUSE || h->phase == BL_PH_VERIFY_PAUSE;
	if (pausing && now >= h->wake_ns)
		bl_way_apply(h, BL_CE_TIMER);
	/* a try that hangs since before the host went back would hang on for its own timeout */
	if (h->phase == BL_PH_CONFIRM && h->fresh && !bl_session_heard(h->fresh) && h->due_ns &&
	    now > h->due_ns && now < h->due_ns + 2 * BL_NS_PER_MS * BL_TICK_MS)
		bl_way_try_failed(h, "no answer while the host waited");
}

/* Before the start nothing is at stake, but one host that says nothing would stop all others.
 */
static void watch_preparation(struct bl_way *h, int64_t now)
{
	if (h->phase == BL_PH_REJOIN && now >= h->wake_ns) {
		bl_way_apply(h, BL_CE_TIMER);
		return;
	}
	bool limited = h->phase == BL_PH_CONNECT || h->phase == BL_PH_GREET ||
		       h->phase == BL_PH_PREFLIGHT;
	if (!limited || now - h->phase_ns < PREPARE_MS * BL_NS_PER_MS)
		return;
	bl_autofree char *reason = bl_xprintf("no answer within %d s (%s)", PREPARE_MS / 1000,
					      bl_phase_name(h->phase));
	bl_way_blame(h, BL_OUT_UNREACHABLE, reason,
		     "log in by hand and look what keeps the host busy");
	bl_way_apply(h, BL_CE_FAILED);
}

void bl_way_watch(struct bl_way *h, int64_t now)
{
	if (bl_phase_is_open(h->phase)) {
		bl_way_watch_hold(h, now);
		watch_time(h, now);
	} else {
		watch_preparation(h, now);
	}
}

void bl_way_free(struct bl_way *h)
{
	drop_all(h);
	if (h->control)
		unlink(h->control);
	free(h->control);
	free(h->reason);
	free(h->remedy);
	free(h->outside_reason);
	bl_kv_free(&h->asked);
	bl_buf_free(&h->uncovered);
	bl_kv_free(&h->facts);
	bl_kv_free(&h->last);
}
