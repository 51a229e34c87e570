/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define TRY_TIMEOUT_S   8
#define QUICK_TIMEOUT_S 2
/* the agent waits 15 s for a proof: before that, a challenge is asked for anew */
#define CHALLENGE_MS 10000

void bl_way_try_failed(struct bl_way *h, const char *why)
{
	bl_session_drop(BL_STEAL(h->fresh));
	if (*bl_way_stage(h) == BL_ST_HOLDING) {
		/* the others wait for it once more, as long as it would have had by itself */
		*bl_way_stage(h) = BL_ST_SWITCHING;
		bl_way_set_limit(h, 0);
	}
	/* for whoever reads the log: why nobody came through */
	bl_way_observer(h)->output(h->d->spec->ctx, h->i, "confirm", why);
	bl_way_apply(h, BL_CE_TRY_FAILED);
}

/* The host is to go back at once, and to say why. */
static void ask_to_abort(struct bl_way *h, struct bl_session *by)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set_u64(&kv, "epoch", h->epoch);
	bl_kv_set(&kv, "reason", h->outside_reason);
	bl_session_send(by, BL_MSG_ABORT, &kv);
}

static void prove(struct bl_way *h, const struct bl_kv *challenge)
{
	BL_AUTO(bl_kv) kv = { 0 };
	char proof[BL_PROOF_HEX];
	/* what we vouch for is what we deployed, not what it says */
	if (strcmp(bl_kv_str(challenge, "new"), h->node->out_path) != 0 ||
	    bl_kv_u64_or(challenge, "epoch", 0) != h->epoch) {
		bl_way_try_failed(h,
				  "the host asks to confirm something else than was deployed");
		return;
	}
	bl_proof_make(h->key, challenge, proof);
	bl_kv_set(&kv, "proof", proof);
	h->proved = true;
	bl_session_send(h->fresh, BL_MSG_PROOF, &kv);
}

static void answer_challenge(struct bl_way *h, const struct bl_kv *challenge)
{
	if (h->outside == BL_OUTSIDE_GOOD)
		prove(h, challenge);
	else
		ask_to_abort(h, h->fresh);
}

/* A provisional confirmation binds nobody: it leads to the trial boot. */
static bool is_held(const struct bl_way *h)
{
	bool provisional = h->node->plan.strategy == BL_STRATEGY_LIVE_BOOT &&
			   strcmp(bl_kv_str(&h->asked, "state"), "WAIT_CONFIRM") == 0;
	return bl_way_is_undecided(h) && !provisional;
}

static void hold(struct bl_way *h)
{
	*bl_way_stage(h) = BL_ST_HOLDING;
	if (!h->held_told)
		bl_way_observer(h)->phase(
			h->d->spec->ctx, h->i, "confirm",
			"Could be confirmed; waiting for the rest of its wave..");
	h->held_told = true;
}

/* The challenge that is there, as soon as we know what to say. */
static void consider(struct bl_way *h)
{
	if (h->phase != BL_PH_CONFIRM || !h->fresh || h->asked.n == 0 ||
	    h->outside == BL_OUTSIDE_RUNNING)
		return;
	if (h->outside == BL_OUTSIDE_GOOD && is_held(h)) {
		hold(h);
		return;
	}
	BL_AUTO(bl_kv) challenge = h->asked;
	h->asked = (struct bl_kv){ 0 };
	answer_challenge(h, &challenge);
}

void bl_way_say_back(struct bl_way *h)
{
	/* the quickest way back, if it still leads there; a start is answered first */
	if (h->work && h->phase != BL_PH_START)
		ask_to_abort(h, h->work);
	if (h->phase == BL_PH_PAUSE)
		bl_way_apply(h, BL_CE_TIMER);
	else
		consider(h);
}

static void on_outside_done(void *ctx, const char *reason)
{
	struct bl_way *h = ctx;
	h->outside = reason ? BL_OUTSIDE_BAD : BL_OUTSIDE_GOOD;
	if (reason) {
		bl_replace_str(&h->outside_reason, reason);
		bl_way_note(h, reason);
		bl_way_say_back(h);
	} else if (h->phase == BL_PH_PAUSE) {
		bl_way_apply(h, BL_CE_TIMER);
	} else {
		consider(h);
	}
}

void bl_way_confirm(struct bl_way *h)
{
	*bl_way_stage(h) = BL_ST_SWITCHING;
	consider(h);
}

void bl_way_give_up(struct bl_way *h, const char *reason)
{
	*bl_way_stage(h) = BL_ST_FAILING;
	if (h->outside == BL_OUTSIDE_BAD)
		return;
	bl_outside_drop(BL_STEAL(h->checks));
	h->outside = BL_OUTSIDE_BAD;
	bl_replace_str(&h->outside_reason, reason);
	bl_way_say_back(h);
}

void bl_way_watch_hold(struct bl_way *h, int64_t now)
{
	enum bl_stage stage = *bl_way_stage(h);
	if (!bl_way_is_undecided(h) || (stage != BL_ST_SWITCHING && stage != BL_ST_HOLDING))
		return;
	bool back = h->phase == BL_PH_VERIFY || h->phase == BL_PH_VERIFY_PAUSE;
	bool live = !h->rebooting && !h->provisional;
	bool late = (live && h->due_ns && now > h->due_ns) ||
		    (stage == BL_ST_SWITCHING && h->limit_ns && now > h->limit_ns);
	if (back || h->outside == BL_OUTSIDE_BAD)
		*bl_way_stage(h) = BL_ST_FAILING;
	else if (late)
		bl_way_give_up(h, "it could not be confirmed while its wave waited");
	else if (stage == BL_ST_HOLDING && h->phase == BL_PH_CONFIRM && h->asked.n > 0 &&
		 now - h->asked_ns > CHALLENGE_MS * BL_NS_PER_MS)
		bl_way_apply(h, BL_CE_TIMER);
}

static void on_outside_advisory(void *ctx, const char *text)
{
	struct bl_way *h = ctx;
	bl_autofree char *all = bl_xprintf("%s (advisory)", text);
	bl_way_note(h, all);
}

/* The host waits for the confirmation: now is what it will be judged by. */
void bl_way_begin_checks(struct bl_way *h)
{
	static const struct bl_outside_events events = { .advisory = on_outside_advisory,
							 .done = on_outside_done };
	if (h->outside != BL_OUTSIDE_NOT_YET)
		return;
	h->outside = BL_OUTSIDE_GOOD;
	if (!bl_outside_needed(h->node))
		return;
	h->outside = BL_OUTSIDE_RUNNING;
	h->checks = bl_outside_start(&h->d->loop, h->node, &events, h);
}

static void on_challenge(struct bl_way *h, const struct bl_kv *challenge)
{
	bl_way_begin_checks(h);
	bl_kv_free(&h->asked);
	BL_KV_FOREACH (challenge, it)
		bl_kv_set(&h->asked, it->key, it->value);
	h->asked_ns = bl_now_boot_ns();
	/* it was reached: a later try that fails begins to count anew */
	h->tries = 1;
	consider(h);
}

static void on_fresh_msg(void *ctx, const struct bl_msg *m)
{
	struct bl_way *h = ctx;
	if (m->type == BL_MSG_CHALLENGE && h->phase == BL_PH_CONFIRM) {
		on_challenge(h, &m->kv);
	} else if (m->type == BL_MSG_OK && bl_kv_bool(&m->kv, "provisional")) {
		h->proved = false;
		/* what comes up then is another system to judge */
		bl_outside_drop(BL_STEAL(h->checks));
		if (h->outside != BL_OUTSIDE_BAD)
			h->outside = BL_OUTSIDE_NOT_YET;
		h->provisional = true;
		bl_way_set_limit(h, bl_node_forward_ms(h->node));
		bl_way_note(h, "it works live; now a trial boot");
	} else if (m->type == BL_MSG_OK && h->proved) {
		h->confirmed = true;
		bl_way_observer(h)->phase(h->d->spec->ctx, h->i, "commit", NULL);
	} else if (m->type == BL_MSG_REFUSED) {
		const char *reason = bl_kv_str(&m->kv, "reason");
		/* "too late": the states that follow tell the end */
		if (!bl_starts_with(reason, "too late") &&
		    !bl_starts_with(reason, "it is confirmed"))
			bl_way_try_failed(h, reason);
	} else if (m->type == BL_MSG_STATE) {
		bl_way_state(h, m, true);
	} else if (m->type == BL_MSG_LINE) {
		/* while the work connection lives, it tells the logs */
		if (!h->work)
			bl_way_line(h, m, true);
	}
}

static void on_fresh_gone(void *ctx, const char *what, const char *remedy BL_UNUSED)
{
	struct bl_way *h = ctx;
	h->fresh = NULL;
	/* it has said all it had to say */
	if (h->end_ns)
		return;
	h->refused = strstr(what, "accepts none of our keys") || strstr(what, "host key");
	bl_way_try_failed(h, what);
}

/*
 * On the host itself nothing that we can do shows that the host can be reached: whoever logs in
 * anew confirms, by `belay confirm`, and we hear of it.
 */
static bool waits_for_a_login(struct bl_way *h)
{
	if (h->phase != BL_PH_CONFIRM || !h->work || h->d->spec->resume ||
	    !h->node->plan.local || h->node->plan.any_login)
		return false;
	if (!h->login_told) {
		bl_autofree char *text = bl_xprintf(
			"log in to this host anew, from where you reach it, and run there: belay "
			"confirm; without that it goes back in %u s",
			h->node->success_timeout_s);
		bl_way_note(h, text);
	}
	h->login_told = true;
	return true;
}

void bl_way_try(struct bl_way *h)
{
	static const struct bl_session_events events = { .msg = on_fresh_msg,
							 .gone = on_fresh_gone };
	struct bl_err err = { 0 };
	bool due = h->due_ns && bl_now_boot_ns() > h->due_ns;
	if (waits_for_a_login(h))
		return;
	bl_session_drop(BL_STEAL(h->fresh));
	bl_kv_free(&h->asked);
	h->tries++;
	h->refused = false;
	memcpy(h->skip, h->lines, sizeof(h->skip));
	if (bl_session_fresh_start(&h->d->loop, h->node, h->node->agent, h->epoch,
				   due ? QUICK_TIMEOUT_S : TRY_TIMEOUT_S, &events, h, &h->fresh,
				   &err) < 0)
		bl_way_try_failed(h, err.msg);
}
