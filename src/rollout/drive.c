/* SPDX-License-Identifier: MIT */
#include "rollout/drive.h"

#include "base/clock.h"
#include "copy/copy.h"
#include "host/session.h"
#include "rollout/check.h"
#include "rollout/course.h"
#include "rollout/rollout.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS         100
#define SILENCE_MS      5000
#define LINGER_MS       300
#define TRY_TIMEOUT_S   8
#define QUICK_TIMEOUT_S 2
#define PREPARE_MS      150000 /* the preflight itself waits up to a minute for a booting host */
#define START_LIMIT_MS  900000
#define DAY_MS          86400000

struct drive;

/* Our own checks, from outside, of a host that waits for us. */
enum outside { OUTSIDE_NOT_YET, OUTSIDE_RUNNING, OUTSIDE_GOOD, OUTSIDE_BAD };

struct host {
	struct drive *d;
	size_t i;
	const struct bl_node *node;
	enum bl_phase phase;
	struct bl_session *work, *fresh;
	struct bl_copy *copy;
	struct bl_outside *checks;
	enum outside outside;
	char *outside_reason; /* when it is bad */
	struct bl_kv asked;   /* the challenge of the fresh connection, until we have checked */
	char *control;
	struct bl_kv facts; /* the agent's HELLO */
	struct bl_kv last;  /* the last STATE */
	uint8_t key[BL_KEY_LEN];
	uint64_t epoch;
	/* of the two logs: lines heard, and to be passed over on a new connection */
	uint64_t lines[2], skip[2];
	unsigned tries;
	bool bound_told;  /* our start was answered */
	bool foreign;     /* the transaction of that number is another deployment's */
	bool refused;     /* sshd answered the last try with a no */
	bool provisional; /* it was confirmed to work live, and boots */
	bool proved;      /* our proof was sent: it may be confirmed */
	bool confirmed;   /* the host said so */
	bool rebooting;   /* a trial boot was told */
	bool seen;        /* a fresh connection came through to the end */
	char *reason, *remedy;
	struct bl_buf uncovered; /* the preflight's warnings, by name */
	enum bl_outcome outcome; /* of an end before the start */
	/* boot time, ns; 0: not set */
	int64_t heard_ns, lost_ns, due_ns, bound_ns, wake_ns, end_ns, phase_ns;
	enum bl_course_event end; /* what is to be applied at end_ns at the latest */
};

struct drive {
	const struct bl_drive_spec *spec;
	struct bl_rollout rollout;
	struct host *hosts;
	char dir[64]; /* of the control sockets */
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t on_int, on_term;
	int signals;
};

static void apply(struct host *h, enum bl_course_event event);
static void begin_outside(struct host *h);
static void pump(struct drive *d);

/* The first cause stays: what follows it is its consequence. */
static void blame(struct host *h, enum bl_outcome outcome, const char *reason,
		  const char *remedy)
{
	if (h->reason)
		return;
	h->outcome = outcome;
	h->reason = bl_xstrdup(reason);
	h->remedy = remedy && *remedy ? bl_xstrdup(remedy) : NULL;
}

static const struct bl_drive_observer *watch(const struct host *h)
{
	return h->d->spec->observer;
}

static void note(struct host *h, const char *text)
{
	watch(h)->note(h->d->spec->ctx, h->i, text);
}

static void drop_all(struct host *h)
{
	bl_session_drop(BL_STEAL(h->work));
	bl_session_drop(BL_STEAL(h->fresh));
	bl_copy_drop(BL_STEAL(h->copy));
	bl_outside_drop(BL_STEAL(h->checks));
	explicit_bzero(h->key, sizeof(h->key));
}

static void tell_result(struct host *h, enum bl_phase from)
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
					    .seen = h->seen };
	bl_autofree char *state = bl_outcome_state(outcome, &is);
	h->phase = BL_PH_DONE;
	bl_autofree char *next = h->remedy ? bl_xstrdup(h->remedy) : NULL;
	if (h->epoch && outcome != BL_OUT_COMMITTED)
		bl_replace_str(&next, NULL);
	if (!next && h->epoch && outcome != BL_OUT_COMMITTED)
		next = outcome == BL_OUT_UNKNOWN
			       ? bl_xprintf("belay resume %s, and belay log %s", h->node->name,
					    h->node->name)
			       : bl_xprintf("belay log %s", h->node->name);
	const struct bl_drive_result r = {
		.outcome = outcome,
		.headline = outcome == BL_OUT_UNKNOWN && h->d->signals > 1
				    ? "Left to itself, since the run was interrupted"
				    : bl_outcome_headline(outcome),
		.reason = bl_outcome_is_good(outcome) ? NULL : reason,
		.state = bl_outcome_is_good(outcome) && !*bl_kv_str(&h->last, "remark") ? NULL
											: state,
		.next = next,
		.system = bl_kv_get(&h->last, "system") ? bl_kv_get(&h->last, "system")
							: bl_kv_get(&h->facts, "system"),
		.epoch = h->epoch,
	};
	h->d->rollout.stages[h->i] = bl_outcome_is_good(outcome) ? BL_ST_GOOD
				     : outcome == BL_OUT_SKIPPED ? BL_ST_SKIPPED
								 : BL_ST_BAD;
	watch(h)->result(h->d->spec->ctx, h->i, &r);
}

/* The host waits for our own checks too. */
static uint64_t confirm_ms(const struct bl_node *node)
{
	uint64_t ms = (uint64_t)node->success_timeout_s * 1000 +
		      bl_plan_deployer_checks_ms(&node->plan);
	return ms < DAY_MS ? ms : DAY_MS;
}

/* --- what the host says --- */

static bool runs_new(const struct host *h)
{
	const char *want = h->node->out_path;
	const char *boots = bl_kv_str(&h->facts, "boot_default");
	return strcmp(bl_kv_str(&h->facts, "system"), want) == 0 &&
	       strcmp(bl_kv_str(&h->facts, "profile"), want) == 0 &&
	       (!*boots || strcmp(boots, want) == 0) &&
	       !*bl_kv_str(&h->facts, "loader_problem");
}

static void on_hello(struct host *h, const struct bl_msg *m)
{
	struct bl_err err = { 0 };
	uint64_t version = 0;
	BL_KV_FOREACH (&m->kv, it)
		bl_kv_set(&h->facts, it->key, it->value);
	if (bl_kv_u64(&m->kv, "version", BL_WIRE_VERSION, BL_WIRE_VERSION, &version, &err) <
	    0) {
		blame(h, BL_OUT_REFUSED,
		      "the agent there speaks another version of the protocol",
		      "use the same version of belay on both ends");
		apply(h, BL_CE_FAILED);
		return;
	}
	if (*bl_kv_str(&m->kv, "problem")) {
		blame(h, BL_OUT_REFUSED, bl_kv_str(&m->kv, "problem"),
		      "belay deploys to NixOS hosts only");
		apply(h, BL_CE_FAILED);
		return;
	}
	/* the preflight tells of it, and of everything else too */
	if (h->d->spec->preflight_only) {
		apply(h, BL_CE_HELLO);
		return;
	}
	if (bl_kv_bool(&m->kv, "open")) {
		bl_autofree char *reason = bl_xprintf(
			"transaction %s of %s is open (%s)", bl_kv_str(&m->kv, "epoch"),
			bl_kv_str(&m->kv, "owner"), bl_kv_str(&m->kv, "state"));
		bl_autofree char *remedy = bl_xprintf(
			"it ends by itself within %llu s, confirmed or rolled back; then deploy again",
			(unsigned long long)bl_kv_u64_or(&m->kv, "left_ms", 60000) / 1000 + 1);
		blame(h, BL_OUT_REFUSED, reason, remedy);
		apply(h, BL_CE_FAILED);
		return;
	}
	if (strcmp(bl_kv_str(&m->kv, "state"), "STUCK") == 0) {
		bl_autofree char *reason =
			bl_xprintf("transaction %s is STUCK: %s", bl_kv_str(&m->kv, "epoch"),
				   bl_kv_str(&m->kv, "reason"));
		bl_autofree char *remedy =
			bl_xprintf("mend the host, then `belay abort %s`, then deploy again",
				   h->node->name);
		blame(h, BL_OUT_REFUSED, reason, remedy);
		apply(h, BL_CE_FAILED);
		return;
	}
	h->outcome = BL_OUT_UNCHANGED;
	apply(h, runs_new(h) ? BL_CE_UNCHANGED : BL_CE_HELLO);
}

static void on_item(struct host *h, const struct bl_msg *m)
{
	const char *name = bl_kv_str(&m->kv, "item");
	const char *text = bl_kv_str(&m->kv, "text");
	const char *remedy = bl_kv_str(&m->kv, "remedy");
	bool ok = bl_kv_bool(&m->kv, "ok");
	bool warning = ok && bl_kv_bool(&m->kv, "warning");
	if (warning)
		bl_buf_printf(&h->uncovered, "%s%s", h->uncovered.len ? ", " : "", name);
	if (watch(h)->item)
		watch(h)->item(h->d->spec->ctx, h->i, name,
			       warning ? "warning"
			       : ok    ? "ok"
				       : "failed",
			       text, remedy);
	if (ok)
		return;
	bl_autofree char *reason = bl_xprintf("%s: %s", name, text);
	if (!h->reason)
		blame(h, BL_OUT_REFUSED, reason, remedy);
	else if (!watch(h)->item)
		note(h, reason);
}

static void on_checked(struct host *h)
{
	if (h->uncovered.len && !watch(h)->item) {
		bl_autofree char *text =
			bl_xprintf("not covered on this host: %s (belay doctor %s)",
				   bl_buf_str(&h->uncovered), h->node->name);
		note(h, text);
	}
	if (h->d->spec->preflight_only)
		h->outcome = BL_OUT_READY;
	apply(h, h->d->spec->preflight_only ? BL_CE_UNCHANGED : BL_CE_CHECKED);
}

static void on_line(struct host *h, const struct bl_msg *m, bool fresh)
{
	const char *stream = bl_kv_str(&m->kv, "stream");
	size_t log = strcmp(stream, "agent") == 0;
	/* a new connection tells the logs from their beginning */
	if (fresh && h->skip[log] > 0) {
		h->skip[log]--;
		return;
	}
	h->lines[log]++;
	watch(h)->output(h->d->spec->ctx, h->i, stream, bl_kv_str(&m->kv, "line"));
}

/*
 * The end as a fresh connection tells it. The work connection, while it lives, is a moment
 * behind with the last lines of the logs: they are waited for, for a third of a second.
 */
static void end_seen(struct host *h, enum bl_course_event event)
{
	int64_t now = bl_now_boot_ns();
	h->seen = true;
	if (!h->work || h->phase == BL_PH_VERIFY ||
	    now - h->heard_ns > SILENCE_MS * BL_NS_PER_MS) {
		apply(h, event);
		return;
	}
	h->end = event;
	h->end_ns = now + LINGER_MS * BL_NS_PER_MS;
}

/* With the answer to our start lost, the number that we guess may be somebody else's. */
static bool is_ours(const struct host *h, const struct bl_kv *kv)
{
	/* a journal that was lost and begun anew does not know it any more */
	const char *run = bl_kv_str(kv, "run");
	return !*run || strcmp(run, h->d->spec->run) == 0;
}

static void on_state(struct host *h, const struct bl_msg *m, bool fresh)
{
	if (!is_ours(h, &m->kv) && strcmp(bl_kv_str(&m->kv, "state"), "BROKEN") != 0) {
		bl_autofree char *reason =
			bl_xprintf("another deployment, of %s, took its place",
				   bl_kv_str(&m->kv, "owner"));
		blame(h, BL_OUT_REFUSED, reason, "look with `belay status`, then deploy again");
		h->foreign = true;
		apply(h, BL_CE_BACK_SEEN);
		apply(h, BL_CE_BOUND);
		return;
	}
	bl_kv_free(&h->last);
	BL_KV_FOREACH (&m->kv, it)
		bl_kv_set(&h->last, it->key, it->value);
	const char *state = bl_kv_str(&m->kv, "state");
	if (strcmp(state, "WAIT_CONFIRM") == 0) {
		h->due_ns = bl_now_boot_ns() +
			    (int64_t)bl_kv_u64_or(&m->kv, "left_ms", 0) * BL_NS_PER_MS;
		/* the work connection may be a moment behind a provisional confirmation */
		if (!h->provisional)
			begin_outside(h);
		if (!fresh)
			apply(h, BL_CE_WAITING);
	} else if (strcmp(state, "TRIAL_REBOOT") == 0) {
		if (!h->rebooting)
			note(h, "rebooting once into the new system; the boot default stays");
		h->rebooting = true;
	} else if (strcmp(state, "COMMITTED") == 0) {
		if (fresh)
			end_seen(h, BL_CE_COMMITTED);
		else
			apply(h, BL_CE_COMMITTED);
	} else if (!bl_kv_bool(&m->kv, "open") && strcmp(state, "BROKEN") != 0) {
		if (strcmp(state, "NONE") == 0)
			blame(h, BL_OUT_REFUSED,
			      h->bound_told
				      ? "its journal was lost, and with it what it had begun"
				      : "the start did not arrive",
			      "deploy again");
		if (fresh)
			end_seen(h, BL_CE_BACK_SEEN);
		else
			apply(h, h->end_ns ? h->end : BL_CE_BACK_HEARD);
	}
}

static void on_started(struct host *h, const struct bl_msg *m)
{
	h->epoch = bl_kv_u64_or(&m->kv, "epoch", 0);
	uint64_t bound_ms = bl_kv_u64_or(&m->kv, "bound_ms", START_LIMIT_MS);
	h->bound_ns = bl_now_boot_ns() + (int64_t)bound_ms * BL_NS_PER_MS;
	h->bound_told = true;
	bl_autofree char *text = bl_xprintf(
		"transaction %llu: confirmed, or back on the old system, within %llu s at the most",
		(unsigned long long)h->epoch, (unsigned long long)bound_ms / 1000);
	note(h, text);
	watch(h)->started(h->d->spec->ctx, h->i, bl_kv_str(&h->facts, "system"), h->epoch);
	apply(h, BL_CE_STARTED);
}

static void on_work_msg(void *ctx, const struct bl_msg *m)
{
	struct host *h = ctx;
	h->heard_ns = bl_now_boot_ns();
	switch (m->type) {
	case BL_MSG_HELLO:
		on_hello(h, m);
		return;
	case BL_MSG_ITEM:
		on_item(h, m);
		return;
	case BL_MSG_OK:
		if (h->phase == BL_PH_PREFLIGHT)
			on_checked(h);
		else if (h->phase == BL_PH_START)
			on_started(h, m);
		return;
	case BL_MSG_REFUSED:
		blame(h, BL_OUT_REFUSED, bl_kv_str(&m->kv, "reason"),
		      bl_kv_str(&m->kv, "remedy"));
		apply(h, BL_CE_FAILED);
		return;
	case BL_MSG_STATE:
		on_state(h, m, false);
		return;
	case BL_MSG_LINE:
		on_line(h, m, false);
		return;
	case BL_MSG_PREFLIGHT:
	case BL_MSG_START:
	case BL_MSG_STATUS:
	case BL_MSG_ABORT:
	case BL_MSG_LOG:
	case BL_MSG_CHALLENGE:
	case BL_MSG_PROOF:
		return;
	}
}

static void on_need_agent(void *ctx, const char *machine)
{
	struct host *h = ctx;
	bl_kv_set(&h->facts, "machine", machine);
	apply(h, BL_CE_NEED_AGENT);
}

/* The start is the next number, or it was refused. */
static void guess_epoch(struct host *h)
{
	h->epoch = bl_kv_u64_or(&h->facts, "last_epoch", 0) + 1;
	watch(h)->started(h->d->spec->ctx, h->i, bl_kv_str(&h->facts, "system"), h->epoch);
}

static void lose_work(struct host *h)
{
	if (!h->lost_ns)
		h->lost_ns = bl_now_boot_ns();
	/* nobody knows when the activation ended: count from the last word */
	if (!h->due_ns)
		h->due_ns = (h->heard_ns ? h->heard_ns : h->lost_ns) +
			    (int64_t)(confirm_ms(h->node) + bl_plan_checks_ms(&h->node->plan)) *
				    BL_NS_PER_MS;
	if (h->phase == BL_PH_START && !h->epoch)
		guess_epoch(h);
	apply(h, BL_CE_LOST);
}

static void on_work_gone(void *ctx, const char *what, const char *remedy)
{
	struct host *h = ctx;
	h->work = NULL;
	if (!bl_phase_is_open(h->phase))
		blame(h, BL_OUT_UNREACHABLE, what, remedy);
	lose_work(h);
}

/* --- the fresh connection --- */

static void try_failed(struct host *h, const char *why)
{
	bl_session_drop(BL_STEAL(h->fresh));
	/* for whoever reads the log: why nobody came through */
	watch(h)->output(h->d->spec->ctx, h->i, "confirm", why);
	apply(h, BL_CE_TRY_FAILED);
}

/* The host is to go back at once, and to say why. */
static void ask_to_abort(struct host *h, struct bl_session *by)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set_u64(&kv, "epoch", h->epoch);
	bl_kv_set(&kv, "reason", h->outside_reason);
	bl_session_send(by, BL_MSG_ABORT, &kv);
}

static void prove(struct host *h, const struct bl_kv *challenge)
{
	BL_AUTO(bl_kv) kv = { 0 };
	char proof[BL_PROOF_HEX];
	/* what we vouch for is what we deployed, not what it says */
	if (strcmp(bl_kv_str(challenge, "new"), h->node->out_path) != 0 ||
	    bl_kv_u64_or(challenge, "epoch", 0) != h->epoch) {
		try_failed(h, "the host asks to confirm something else than was deployed");
		return;
	}
	bl_proof_make(h->key, challenge, proof);
	bl_kv_set(&kv, "proof", proof);
	h->proved = true;
	bl_session_send(h->fresh, BL_MSG_PROOF, &kv);
}

static void answer_challenge(struct host *h, const struct bl_kv *challenge)
{
	if (h->outside == OUTSIDE_GOOD)
		prove(h, challenge);
	else
		ask_to_abort(h, h->fresh);
}

static void on_outside_done(void *ctx, const char *reason)
{
	struct host *h = ctx;
	h->outside = reason ? OUTSIDE_BAD : OUTSIDE_GOOD;
	if (reason) {
		bl_replace_str(&h->outside_reason, reason);
		note(h, reason);
		/* the quickest way back, if it still leads there */
		if (h->work)
			ask_to_abort(h, h->work);
	}
	if (h->phase == BL_PH_CONFIRM && h->fresh && h->asked.n > 0) {
		BL_AUTO(bl_kv) challenge = h->asked;
		h->asked = (struct bl_kv){ 0 };
		answer_challenge(h, &challenge);
	} else if (h->phase == BL_PH_PAUSE) {
		apply(h, BL_CE_TIMER);
	}
}

static void on_outside_advisory(void *ctx, const char *text)
{
	struct host *h = ctx;
	bl_autofree char *all = bl_xprintf("%s (advisory)", text);
	note(h, all);
}

/* The host waits for the confirmation: now is what it will be judged by. */
static void begin_outside(struct host *h)
{
	static const struct bl_outside_events events = { .advisory = on_outside_advisory,
							 .done = on_outside_done };
	if (h->outside != OUTSIDE_NOT_YET)
		return;
	h->outside = OUTSIDE_GOOD;
	if (!bl_outside_needed(h->node))
		return;
	h->outside = OUTSIDE_RUNNING;
	h->checks = bl_outside_start(&h->d->loop, h->node, &events, h);
}

static void on_challenge(struct host *h, const struct bl_kv *challenge)
{
	begin_outside(h);
	if (h->outside != OUTSIDE_RUNNING) {
		answer_challenge(h, challenge);
		return;
	}
	bl_kv_free(&h->asked);
	BL_KV_FOREACH (challenge, it)
		bl_kv_set(&h->asked, it->key, it->value);
}

static void on_fresh_msg(void *ctx, const struct bl_msg *m)
{
	struct host *h = ctx;
	if (m->type == BL_MSG_CHALLENGE && h->phase == BL_PH_CONFIRM) {
		on_challenge(h, &m->kv);
	} else if (m->type == BL_MSG_OK && bl_kv_bool(&m->kv, "provisional")) {
		h->proved = false;
		/* what comes up then is another system to judge */
		bl_outside_drop(BL_STEAL(h->checks));
		h->outside = OUTSIDE_NOT_YET;
		h->provisional = true;
		note(h, "it works live; now a trial boot");
	} else if (m->type == BL_MSG_OK && h->proved) {
		h->confirmed = true;
		watch(h)->phase(h->d->spec->ctx, h->i, "commit", NULL);
	} else if (m->type == BL_MSG_REFUSED) {
		const char *reason = bl_kv_str(&m->kv, "reason");
		/* "too late": the states that follow tell the end */
		if (!bl_starts_with(reason, "too late") &&
		    !bl_starts_with(reason, "it is confirmed"))
			try_failed(h, reason);
	} else if (m->type == BL_MSG_STATE) {
		on_state(h, m, true);
	} else if (m->type == BL_MSG_LINE) {
		/* while the work connection lives, it tells the logs */
		if (!h->work)
			on_line(h, m, true);
	}
}

static void on_fresh_gone(void *ctx, const char *what, const char *remedy BL_UNUSED)
{
	struct host *h = ctx;
	h->fresh = NULL;
	/* it has said all it had to say */
	if (h->end_ns)
		return;
	h->refused = strstr(what, "accepts none of our keys") || strstr(what, "host key");
	try_failed(h, what);
}

static void start_try(struct host *h)
{
	static const struct bl_session_events events = { .msg = on_fresh_msg,
							 .gone = on_fresh_gone };
	struct bl_err err = { 0 };
	bool due = h->due_ns && bl_now_boot_ns() > h->due_ns;
	bl_session_drop(BL_STEAL(h->fresh));
	bl_kv_free(&h->asked);
	h->tries++;
	h->refused = false;
	memcpy(h->skip, h->lines, sizeof(h->skip));
	if (bl_session_fresh_start(&h->d->loop, h->node, h->d->spec->agent, h->epoch,
				   due ? QUICK_TIMEOUT_S : TRY_TIMEOUT_S, &events, h, &h->fresh,
				   &err) < 0)
		try_failed(h, err.msg);
}

/* --- copying --- */

static void on_copy_line(void *ctx, const char *line)
{
	struct host *h = ctx;
	if (bl_starts_with(line, "copying "))
		watch(h)->output(h->d->spec->ctx, h->i, "copy", line);
}

static void on_copy_done(void *ctx, const char *what, const char *remedy)
{
	struct host *h = ctx;
	h->copy = NULL;
	if (what) {
		bl_autofree char *reason = bl_xprintf("copying the closure failed: %s", what);
		blame(h, BL_OUT_FAILED, reason, remedy);
	}
	apply(h, what ? BL_CE_FAILED : BL_CE_COPIED);
}

static void start_copy(struct host *h, bool with_agent)
{
	const char *paths[3] = { 0 };
	size_t n = 0;
	if (!h->d->spec->preflight_only)
		paths[n++] = h->node->out_path;
	if (with_agent)
		paths[n++] = h->d->spec->agent;
	if (n == 0) {
		apply(h, BL_CE_COPIED);
		return;
	}
	struct bl_err err = { 0 };
	const struct bl_copy_spec spec = {
		.node = h->node,
		.control = h->control,
		.elevated = bl_session_elevated(h->work),
		.paths = paths,
		.line = on_copy_line,
		.done = on_copy_done,
		.ctx = h,
	};
	if (bl_copy_start(&h->d->loop, &spec, &h->copy, &err) < 0)
		on_copy_done(h, err.msg, "install Nix on this machine");
}

/* --- actions --- */

static void do_connect(struct host *h)
{
	static const struct bl_session_events events = {
		.need_agent = on_need_agent,
		.msg = on_work_msg,
		.gone = on_work_gone,
	};
	struct bl_err err = { 0 };
	h->control = bl_xprintf("%s/%zu", h->d->dir, h->i);
	if (bl_session_work(&h->d->loop, h->node, h->control, h->d->spec->agent,
			    h->d->spec->preflight_only ? "" : h->node->out_path, &events, h,
			    &h->work, &err) < 0)
		on_work_gone(h, err.msg, "install OpenSSH's client on this machine");
}

static void do_preflight(struct host *h)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_kv) challenge = { 0 };
	uint8_t key[BL_KEY_LEN];
	char hex[2 * BL_KEY_LEN + 1];
	char proof[BL_PROOF_HEX];
	/* a throwaway: the key of the transaction is drawn when it starts */
	bl_random(key, sizeof(key));
	bl_hex(key, sizeof(key), hex);
	bl_kv_set(&challenge, "nonce", bl_kv_str(&h->facts, "nonce"));
	bl_kv_set(&challenge, "boot_id", bl_kv_str(&h->facts, "boot_id"));
	bl_proof_make(key, &challenge, proof);
	bl_kv_set(&kv, "new", h->node->out_path);
	bl_kv_set(&kv, "key", hex);
	bl_kv_set(&kv, "proof", proof);
	bl_kv_set(&kv, "force_drift", h->d->spec->force_drift ? "1" : "0");
	bl_kv_set(&kv, "preflight_only", h->d->spec->preflight_only ? "1" : "0");
	bl_plan_tell(&h->node->plan, &kv);
	bl_session_send(h->work, BL_MSG_PREFLIGHT, &kv);
}

static void do_start(struct host *h)
{
	static const char *const believed[] = { "system", "generation", "boot_default",
						"last_epoch" };
	const struct bl_drive_spec *spec = h->d->spec;
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_err err = { 0 };
	char hex[2 * BL_KEY_LEN + 1];
	bl_random(h->key, sizeof(h->key));
	if (watch(h)->starting(spec->ctx, h->i, bl_kv_str(&h->facts, "system"), h->key, &err) <
	    0) {
		blame(h, BL_OUT_FAILED, err.msg, "make room on this machine");
		apply(h, BL_CE_FAILED);
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
	bl_kv_set_u64(&kv, "confirm_ms", confirm_ms(h->node));
	bl_kv_set(&kv, "force_drift", spec->force_drift ? "1" : "0");
	bl_plan_tell(&h->node->plan, &kv);
	h->bound_ns = bl_now_boot_ns() + START_LIMIT_MS * BL_NS_PER_MS;
	h->heard_ns = bl_now_boot_ns();
	bl_session_send(h->work, BL_MSG_START, &kv);
	explicit_bzero(hex, sizeof(hex));
}

static void do_action(struct host *h, enum bl_course_action action)
{
	switch (action) {
	case BL_CA_NONE:
	case BL_CA_END:
		return;
	case BL_CA_CONNECT:
		do_connect(h);
		return;
	case BL_CA_COPY_BOTH:
		start_copy(h, true);
		return;
	case BL_CA_GREET:
		bl_session_go(h->work);
		return;
	case BL_CA_COPY:
		start_copy(h, false);
		return;
	case BL_CA_PREFLIGHT:
		do_preflight(h);
		return;
	case BL_CA_READY:
		h->d->rollout.stages[h->i] = BL_ST_READY;
		return;
	case BL_CA_START:
		do_start(h);
		return;
	case BL_CA_TRY:
		start_try(h);
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

static const char *line_of(const struct host *h, enum bl_course_action action)
{
	if (action == BL_CA_COPY || action == BL_CA_COPY_BOTH)
		return "Copying closure to host..";
	if (action == BL_CA_START)
		return "Triggering system switcher..";
	if (action == BL_CA_TRY && h->phase == BL_PH_CONFIRM && h->tries == 0)
		return "Trying to confirm success..";
	return NULL;
}

static void apply(struct host *h, enum bl_course_event event)
{
	enum bl_phase from = h->phase;
	if (from == BL_PH_DONE)
		return;
	struct bl_course_step s = bl_course_next(from, event);
	h->phase = s.phase;
	if (s.phase == BL_PH_DONE) {
		tell_result(h, from);
		drop_all(h);
		return;
	}
	if (s.phase != from || s.action != BL_CA_NONE) {
		const char *line = line_of(h, s.action);
		if (line || strcmp(bl_phase_name(from), bl_phase_name(s.phase)) != 0)
			watch(h)->phase(h->d->spec->ctx, h->i, bl_phase_name(s.phase), line);
		h->phase_ns = bl_now_boot_ns();
		do_action(h, s.action);
	}
}

/* --- time, signals, order --- */

static void pump(struct drive *d)
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
		struct host *h = &d->hosts[i];
		if (order == BL_RO_SKIP) {
			d->rollout.stages[i] = BL_ST_SKIPPED;
			h->outcome = BL_OUT_SKIPPED;
			apply(h, BL_CE_STOP);
		} else if (order == BL_RO_PREPARE) {
			d->rollout.stages[i] = BL_ST_PREPARING;
			apply(h, BL_CE_BEGIN);
		} else {
			d->rollout.stages[i] = BL_ST_SWITCHING;
			apply(h, BL_CE_GO);
		}
	}
}

static void watch_time(struct host *h, int64_t now)
{
	if (h->bound_ns && now > h->bound_ns) {
		apply(h, BL_CE_BOUND);
		return;
	}
	if (h->end_ns && now > h->end_ns) {
		apply(h, h->end);
		return;
	}
	bool follows = h->phase == BL_PH_FOLLOW || h->phase == BL_PH_START;
	if (follows && now - h->heard_ns > SILENCE_MS * BL_NS_PER_MS)
		lose_work(h);
	bool pausing = h->phase == BL_PH_PAUSE || h->phase == BL_PH_VERIFY_PAUSE;
	if (pausing && now >= h->wake_ns)
		apply(h, BL_CE_TIMER);
	/* a try that hangs since before the host went back would hang on for its own timeout */
	if (h->phase == BL_PH_CONFIRM && h->fresh && !bl_session_heard(h->fresh) && h->due_ns &&
	    now > h->due_ns && now < h->due_ns + 2 * BL_NS_PER_MS * TICK_MS)
		try_failed(h, "no answer while the host waited");
}

/* Before the start nothing is at stake, but one host that says nothing would stop all others.
 */
static void watch_preparation(struct host *h, int64_t now)
{
	bool limited = h->phase == BL_PH_CONNECT || h->phase == BL_PH_GREET ||
		       h->phase == BL_PH_PREFLIGHT;
	if (!limited || now - h->phase_ns < PREPARE_MS * BL_NS_PER_MS)
		return;
	bl_autofree char *reason = bl_xprintf("no answer within %d s (%s)", PREPARE_MS / 1000,
					      bl_phase_name(h->phase));
	blame(h, BL_OUT_UNREACHABLE, reason,
	      "log in by hand and look what keeps the host busy");
	apply(h, BL_CE_FAILED);
}

static void on_tick(uv_timer_t *timer)
{
	struct drive *d = timer->data;
	int64_t now = bl_now_boot_ns();
	for (size_t i = 0; i < d->spec->n; i++)
		if (bl_phase_is_open(d->hosts[i].phase))
			watch_time(&d->hosts[i], now);
		else
			watch_preparation(&d->hosts[i], now);
	d->spec->observer->tick(d->spec->ctx);
}

/* After whatever happened in this turn of the loop: one place that gives new orders. */
static void on_check(uv_check_t *check)
{
	pump(check->data);
}

static void on_signal(uv_signal_t *handle, int sig BL_UNUSED)
{
	struct drive *d = handle->data;
	if (++d->signals > 1) {
		uv_stop(&d->loop);
		return;
	}
	d->rollout.stopped = true;
	for (size_t i = 0; i < d->spec->n; i++) {
		struct host *h = &d->hosts[i];
		if (bl_phase_is_open(h->phase)) {
			note(h,
			     "interrupted: waiting for this host's end; once more leaves it to itself");
		} else if (h->phase != BL_PH_DONE && h->phase != BL_PH_IDLE) {
			blame(h, BL_OUT_SKIPPED, "interrupted", NULL);
			h->outcome = BL_OUT_SKIPPED;
			apply(h, BL_CE_STOP);
		}
	}
}

static void close_any(uv_handle_t *handle, void *arg BL_UNUSED)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void free_host(struct host *h)
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

static void init_host(struct drive *d, size_t i)
{
	struct host *h = &d->hosts[i];
	const struct bl_drive_resume *r = d->spec->resume;
	*h = (struct host){
		.d = d, .i = i, .node = d->spec->nodes[i], .outcome = BL_OUT_FAILED
	};
	if (!r)
		return;
	h->epoch = r[i].epoch;
	memcpy(h->key, r[i].key, BL_KEY_LEN);
	d->rollout.stages[i] = BL_ST_SWITCHING;
	h->bound_ns = bl_now_boot_ns() + START_LIMIT_MS * BL_NS_PER_MS;
	h->phase = BL_PH_FOLLOW;
}

static void end_of_loop(struct drive *d)
{
	for (size_t i = 0; i < d->spec->n; i++) {
		struct host *h = &d->hosts[i];
		/* only a second ctrl-C leaves hosts like this */
		if (h->phase != BL_PH_DONE) {
			if (!bl_phase_is_open(h->phase))
				blame(h, BL_OUT_SKIPPED, "interrupted", NULL);
			tell_result(h, h->phase);
		}
		free_host(h);
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
	struct drive d = { .spec = spec, .dir = "/tmp/belay-XXXXXX" };
	bl_autofree enum bl_stage *stages = bl_xcalloc(spec->n, sizeof(*stages));
	bl_autofree struct host *hosts = bl_xcalloc(spec->n, sizeof(*hosts));
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
	uv_timer_start(&d.tick, on_tick, TICK_MS, TICK_MS);
	uv_signal_start(&d.on_int, on_signal, SIGINT);
	uv_signal_start(&d.on_term, on_signal, SIGTERM);
	uv_check_start(&check, on_check);
	for (size_t i = 0; i < spec->n; i++) {
		init_host(&d, i);
		if (spec->resume)
			apply(&d.hosts[i], BL_CE_LOST);
	}
	pump(&d);
	uv_run(&d.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&check, NULL);
	end_of_loop(&d);
	*out_interrupted = d.signals > 0;
	return 0;
}
