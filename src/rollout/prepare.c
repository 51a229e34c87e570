/* SPDX-License-Identifier: MIT */
#include "rollout/way.h"

#include "base/clock.h"
#include "host/agent.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool runs_new(const struct bl_way *h)
{
	const char *want = h->node->out_path;
	const char *boots = bl_kv_str(&h->facts, "boot_default");
	bool runs = strcmp(bl_kv_str(&h->facts, "system"), want) == 0;
	if (h->node->plan.strategy == BL_STRATEGY_TEST)
		return runs;
	return runs && strcmp(bl_kv_str(&h->facts, "profile"), want) == 0 &&
	       (!*boots || strcmp(boots, want) == 0) &&
	       !*bl_kv_str(&h->facts, "loader_problem");
}

static void on_hello(struct bl_way *h, const struct bl_msg *m)
{
	struct bl_err err = { 0 };
	uint64_t version = 0;
	BL_KV_FOREACH (&m->kv, it)
		bl_kv_set(&h->facts, it->key, it->value);
	if (bl_kv_u64(&m->kv, "version", BL_WIRE_VERSION, BL_WIRE_VERSION, &version, &err) <
	    0) {
		bl_way_blame(h, BL_OUT_REFUSED,
			     "the agent there speaks another version of the protocol",
			     "use the same version of belay on both ends");
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	if (*bl_kv_str(&m->kv, "problem")) {
		bl_way_blame(h, BL_OUT_REFUSED, bl_kv_str(&m->kv, "problem"),
			     "belay deploys to NixOS hosts only");
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	if (!bl_kv_get(&m->kv, "boot_id")) {
		bl_way_blame(h, BL_OUT_REFUSED, "its agent does not run as root",
			     "come as root, or allow the user sudo");
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	/* the preflight tells of it, and of everything else too */
	if (h->d->spec->preflight_only) {
		bl_way_apply(h, BL_CE_HELLO);
		return;
	}
	if (bl_kv_bool(&m->kv, "open")) {
		bl_autofree char *reason = bl_xprintf(
			"transaction %s of %s is open (%s)", bl_kv_str(&m->kv, "epoch"),
			bl_kv_str(&m->kv, "owner"), bl_kv_str(&m->kv, "state"));
		bl_autofree char *remedy = bl_xprintf(
			"it ends by itself within %llu s, confirmed or rolled back; then deploy again",
			(unsigned long long)bl_kv_u64_or(&m->kv, "left_ms", 60000) / 1000 + 1);
		bl_way_blame(h, BL_OUT_REFUSED, reason, remedy);
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	if (strcmp(bl_kv_str(&m->kv, "state"), "STUCK") == 0) {
		bl_autofree char *reason =
			bl_xprintf("transaction %s is STUCK: %s", bl_kv_str(&m->kv, "epoch"),
				   bl_kv_str(&m->kv, "reason"));
		bl_autofree char *remedy =
			bl_xprintf("mend the host, then `belay abort %s`, then deploy again",
				   h->node->name);
		bl_way_blame(h, BL_OUT_REFUSED, reason, remedy);
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	h->outcome = BL_OUT_UNCHANGED;
	bl_way_apply(h, runs_new(h) ? BL_CE_UNCHANGED : BL_CE_HELLO);
}

static void on_item(struct bl_way *h, const struct bl_msg *m)
{
	const char *name = bl_kv_str(&m->kv, "item");
	const char *text = bl_kv_str(&m->kv, "text");
	const char *remedy = bl_kv_str(&m->kv, "remedy");
	bool ok = bl_kv_bool(&m->kv, "ok");
	bool warning = ok && bl_kv_bool(&m->kv, "warning");
	if (warning)
		bl_buf_printf(&h->uncovered, "%s%s", h->uncovered.len ? ", " : "", name);
	if (bl_way_observer(h)->item)
		bl_way_observer(h)->item(h->d->spec->ctx, h->i, name,
					 warning ? "warning"
					 : ok    ? "ok"
						 : "failed",
					 text, remedy);
	if (ok)
		return;
	bl_autofree char *reason = bl_xprintf("%s: %s", name, text);
	if (!h->reason)
		bl_way_blame(h, BL_OUT_REFUSED, reason, remedy);
	else if (!bl_way_observer(h)->item)
		bl_way_note(h, reason);
}

static void on_checked(struct bl_way *h)
{
	if (h->uncovered.len && !bl_way_observer(h)->item) {
		bl_autofree char *text =
			bl_xprintf("not covered on this host: %s (belay doctor %s)",
				   bl_buf_str(&h->uncovered), h->node->name);
		bl_way_note(h, text);
	}
	if (h->d->spec->preflight_only)
		h->outcome = BL_OUT_READY;
	bl_way_apply(h, h->d->spec->preflight_only ? BL_CE_UNCHANGED : BL_CE_CHECKED);
}

bool bl_way_is_sent(const struct bl_drive_spec *spec, const struct bl_node *node)
{
	/* a local host's store is this machine's */
	return !spec->preflight_only && !spec->taking_back && !spec->resume &&
	       !node->built_there && !node->plan.local;
}

/* ---- copying: the agent by the user's Nix, and what it is there for by our own engine */

static void on_agent_there(void *ctx, const char *what, const char *remedy)
{
	struct bl_way *h = ctx;
	h->agent = NULL;
	if (what) {
		bl_autofree char *reason = bl_xprintf("copying the agent failed: %s", what);
		bl_way_blame(h, BL_OUT_FAILED, reason, remedy);
	}
	bl_way_apply(h, what ? BL_CE_FAILED : BL_CE_COPIED);
}

void bl_way_copy_agent(struct bl_way *h)
{
	struct bl_err err = { 0 };
	bl_autofree char *agent = bl_agent_for(h->node->agent, bl_kv_str(&h->facts, "machine"));
	/* this machine's store is the host's */
	if (h->node->plan.local) {
		bl_way_apply(h, BL_CE_COPIED);
		return;
	}
	const struct bl_copy_spec spec = {
		.node = h->node,
		.control = h->control,
		.session = h->work,
		.path = agent,
		.done = on_agent_there,
		.ctx = h,
	};
	if (bl_copy_start(&h->d->loop, &spec, &h->agent, &err) < 0)
		on_agent_there(h, err.msg, "install Nix on this machine");
}

static void on_copy_line(void *ctx, const char *line)
{
	struct bl_way *h = ctx;
	bl_way_observer(h)->output(h->d->spec->ctx, h->i, "copy", line);
}

static void on_copying(void *ctx, const struct bl_copy_stats *stats)
{
	struct bl_way *h = ctx;
	bl_way_observer(h)->copying(h->d->spec->ctx, h->i, stats);
}

static void on_copied(void *ctx, const struct bl_copy_stats *stats, const char *what,
		      const char *remedy)
{
	struct bl_way *h = ctx;
	h->send = NULL;
	h->sent = (struct bl_copy_stats){ 0 };
	if (what) {
		bl_autofree char *reason = bl_xprintf("copying the closure failed: %s", what);
		bl_way_blame(h, BL_OUT_FAILED, reason, remedy);
	} else if (stats->sent_paths > 0) {
		BL_AUTO(bl_buf) line = { 0 };
		bl_buf_puts(&line, "copied ");
		bl_copy_stats_sum(stats, &line);
		on_copy_line(h, bl_buf_str(&line));
	}
	bl_way_apply(h, what ? BL_CE_FAILED : BL_CE_COPIED);
}

void bl_way_copy(struct bl_way *h)
{
	BL_AUTO(bl_strv) tops = { 0 };
	if (!bl_way_is_sent(h->d->spec, h->node)) {
		bl_way_apply(h, BL_CE_COPIED);
		return;
	}
	bl_strv_add(&tops, h->node->out_path);
	const struct bl_send_spec spec = {
		.session = h->work,
		.tops = &tops,
		.before = &h->sent,
		.substitute = h->node->substitute_on_target,
		.line = on_copy_line,
		.progress = on_copying,
		.done = on_copied,
		.ctx = h,
	};
	h->copying = true;
	bl_send_start(h->d->engine, &spec, &h->send);
}

static void on_need_agent(void *ctx, const char *machine)
{
	struct bl_way *h = ctx;
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	bl_autofree char *agent = bl_agent_pick(h->node->agent, machine, &what, &remedy);
	bl_kv_set(&h->facts, "machine", machine);
	if (!agent) {
		bl_way_blame(h, BL_OUT_REFUSED, what, remedy);
		bl_way_apply(h, BL_CE_FAILED);
		return;
	}
	bl_way_apply(h, BL_CE_NEED_AGENT);
}

/* What is known of it may be hours old by now: all of it is asked for anew. */
static void prepare_again(struct bl_way *h, const char *when, const char *what)
{
	bl_autofree char *text = bl_xprintf("%s: %s; connecting again", when, what);
	bl_way_note(h, text);
	h->reconnects++;
	*bl_way_stage(h) = BL_ST_PREPARING;
	bl_kv_free(&h->facts);
	bl_buf_clear(&h->uncovered);
}

static void on_work_gone(void *ctx, const char *what, const char *remedy)
{
	struct bl_way *h = ctx;
	int64_t now = bl_now_boot_ns();
	if (h->send && now - h->phase_ns > BL_SEND_STEADY_NS)
		h->reconnects = 0;
	bool again = h->reconnects < BL_SEND_RECONNECTS;
	bool cut = h->work && bl_session_was_cut(h->work);
	bool joining = h->copying && h->phase == BL_PH_CONNECT;
	if (h->send)
		h->sent = *bl_send_stats(h->send);
	bl_send_drop(BL_STEAL(h->send));
	h->work = NULL;
	if (h->phase == BL_PH_READY && again) {
		prepare_again(h, "lost while it waited for its turn", what);
		bl_way_apply(h, BL_CE_LOST);
		return;
	}
	/* what came is not sent again */
	if ((h->phase == BL_PH_COPY || joining) && cut && again) {
		prepare_again(h,
			      joining ? "still away" : "cut off while it was sent its system",
			      what);
		bl_way_apply(h, BL_CE_CUT);
		return;
	}
	if (!bl_phase_is_open(h->phase))
		bl_way_blame(h, BL_OUT_UNREACHABLE, what, remedy);
	if (h->phase == BL_PH_READY)
		bl_way_apply(h, BL_CE_FAILED);
	else
		bl_way_lose_work(h);
}

static void on_work_msg(void *ctx, const struct bl_msg *m)
{
	struct bl_way *h = ctx;
	h->heard_ns = bl_now_boot_ns();
	if (h->send) {
		bl_send_msg(h->send, m);
		return;
	}
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
			bl_way_started(h, m);
		return;
	case BL_MSG_REFUSED:
		bl_way_blame(h, BL_OUT_REFUSED, bl_kv_str(&m->kv, "reason"),
			     bl_kv_str(&m->kv, "remedy"));
		bl_way_apply(h, BL_CE_FAILED);
		return;
	case BL_MSG_STATE:
		bl_way_state(h, m, false);
		return;
	case BL_MSG_LINE:
		bl_way_line(h, m, false);
		return;
	case BL_MSG_PREFLIGHT:
	case BL_MSG_START:
	case BL_MSG_STATUS:
	case BL_MSG_ABORT:
	case BL_MSG_LOG:
	case BL_MSG_CHALLENGE:
	case BL_MSG_PROOF:
	case BL_MSG_COPY:
	case BL_MSG_COPY_END:
	case BL_MSG_HAVE:
		return;
	}
}

static void on_work_frame(void *ctx, const struct bl_frame *f)
{
	struct bl_way *h = ctx;
	if (h->send)
		bl_send_frame(h->send, f);
}

static void on_work_drained(void *ctx)
{
	struct bl_way *h = ctx;
	if (h->send)
		bl_send_drained(h->send);
}

/* Its closure is read while ssh logs in. */
static void expect_closure(struct bl_way *h)
{
	BL_AUTO(bl_strv) tops = { 0 };
	if (!bl_way_is_sent(h->d->spec, h->node))
		return;
	bl_strv_add(&tops, h->node->out_path);
	bl_engine_expect(h->d->engine, &tops);
}

void bl_way_connect(struct bl_way *h)
{
	static const struct bl_session_events events = {
		.need_agent = on_need_agent,
		.msg = on_work_msg,
		.frame = on_work_frame,
		.drained = on_work_drained,
		.gone = on_work_gone,
	};
	struct bl_err err = { 0 };
	/* a master that is on its way out may still hold the name of the one before */
	if (h->control)
		unlink(h->control);
	free(h->control);
	expect_closure(h);
	h->control = bl_xprintf("%s/%zu.%u", h->d->dir, h->i, h->reconnects);
	if (bl_session_work(&h->d->loop, h->node, h->control, h->node->agent,
			    h->d->spec->preflight_only ? "" : h->node->out_path, &events, h,
			    &h->work, &err) < 0)
		on_work_gone(h, err.msg, "install OpenSSH's client on this machine");
}

void bl_way_preflight(struct bl_way *h)
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
