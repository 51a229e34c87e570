/* SPDX-License-Identifier: MIT */
#include "agent/start.h"

#include "agent/activation.h"
#include "agent/confirm.h"
#include "agent/keeper.h"
#include "agent/point.h"
#include "agent/preflight.h"
#include "agent/snapshot.h"
#include "agent/step.h"
#include "agent/strategy.h"
#include "agent/unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "store/path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_MS   20
#define RECOVER_MS  15000
#define CLEAN_UP_MS 5000

/* The store path that this program runs from, a new string; NULL when it does not. */
char *bl_start_own_path(void)
{
	static const char tail[] = "/bin/belay-agent";
	char *exe = bl_readlink("/proc/self/exe");
	if (exe && bl_ends_with(exe, tail)) {
		exe[strlen(exe) - strlen(tail)] = '\0';
		if (bl_store_path_ok(exe))
			return exe;
	}
	free(exe);
	return NULL;
}

/* Whoever holds the lock is at work on it: a start, a keeper, a deadman. */
static bool somebody_works(void)
{
	bl_autofd int lock = -1;
	return bl_txn_lock(0, &lock, NULL) < 0;
}

void bl_start_recover(void)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	struct bl_err err = { 0 };
	uint64_t epoch = bl_txn_newest();
	if (epoch == 0 || somebody_works() || bl_txn_open(epoch, &t, &err) < 0 ||
	    bl_txn_is_terminal(t.rec.state))
		return;
	bl_autofree char *tools = bl_txn_tools(&t);
	if (bl_unit_is_alive(tools, epoch))
		return;
	/* the agent that began it may be gone with its root; this one speaks the same journal
	 */
	bl_autofree char *self = bl_start_own_path();
	if (self)
		bl_replace_str(&t.rec.agent, self);
	if (bl_unit_start_keeper(tools, &t.rec, &err) < 0) {
		bl_log(BL_LOG_ERR, "transaction %llu cannot be taken up again: %s",
		       (unsigned long long)epoch, err.msg);
		return;
	}
	/* most ends are quick, and whoever asks wants to go on */
	for (int i = 0; i < RECOVER_MS / FOLLOW_MS; i++) {
		BL_AUTO(bl_txn) now = { .dir_fd = -1 };
		if (bl_txn_open(epoch, &now, NULL) < 0 || bl_txn_is_terminal(now.rec.state))
			return;
		bl_sleep_ms(FOLLOW_MS);
	}
}

int bl_start_take_key(const struct bl_kv *kv, uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	return bl_unhex(bl_kv_str(kv, "key"), key, BL_KEY_LEN, err);
}

/* "address port" of our end of the ssh connection, from "client port server port". */
char *bl_start_own_sshd(void)
{
	BL_AUTO(bl_strv) w = { 0 };
	const char *connection = getenv("BELAY_SSH");
	bl_strv_split(&w, connection ? connection : "", ' ');
	return w.n == 4 ? bl_xprintf("%s %s", w.items[2], w.items[3]) : bl_xstrdup("");
}

/* Compare before start: what the deployer believes is what is. */
static int compare(const struct bl_kv *kv, const struct bl_facts *f, struct bl_err *err)
{
	static const char remedy[] = "somebody else works on this host; look and deploy again";
	uint64_t last = bl_txn_last_epoch();
	if (strcmp(bl_kv_str(kv, "system"), f->system) != 0)
		return bl_err_set(err, BL_E_REFUSED, "it runs %s now: %s", f->system, remedy);
	if (bl_kv_u64_or(kv, "generation", 0) != f->generation)
		return bl_err_set(err, BL_E_REFUSED,
				  "its profile is at generation %llu now: %s",
				  (unsigned long long)f->generation, remedy);
	if (strcmp(bl_kv_str(kv, "boot_default"), f->boot_default) != 0)
		return bl_err_set(err, BL_E_REFUSED, "it would boot %s now: %s",
				  f->boot_default, remedy);
	if (bl_kv_u64_or(kv, "last_epoch", 0) != last)
		return bl_err_set(err, BL_E_REFUSED,
				  "transaction %llu was started meanwhile: %s",
				  (unsigned long long)last, remedy);
	return 0;
}

static int nothing_open(struct bl_err *err)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	uint64_t epoch = bl_txn_newest();
	if (epoch == 0 || bl_txn_open(epoch, &t, NULL) < 0)
		return 0;
	if (t.rec.state == BL_TXN_STUCK)
		return bl_err_set(err, BL_E_REFUSED, "transaction %llu is STUCK: %s",
				  (unsigned long long)epoch, t.rec.reason);
	if (bl_txn_is_terminal(t.rec.state))
		return 0;
	return bl_err_set(err, BL_E_REFUSED, "transaction %llu of %s is open (%s)",
			  (unsigned long long)epoch, t.rec.owner ? t.rec.owner : "?",
			  bl_txn_name(t.rec.state));
}

static uint32_t limit_of(const struct bl_kv *kv, const char *key, uint32_t fallback)
{
	uint64_t v = 0;
	return bl_kv_u64(kv, key, 1000, 86400000, &v, NULL) < 0 ? fallback : (uint32_t)v;
}

static void fill_record(const struct bl_kv *kv, const struct bl_facts *f, const char *agent,
			struct bl_record *r)
{
	bl_autofree char *sshd = bl_start_own_sshd();
	bl_replace_str(&r->run, bl_kv_str(kv, "run"));
	bl_replace_str(&r->owner, bl_kv_str(kv, "owner"));
	bl_replace_str(&r->agent, agent);
	bl_replace_str(&r->boot_id, bl_boot_id());
	bl_replace_str(&r->system_old, f->system);
	bl_replace_str(&r->system_new, bl_kv_str(kv, "new"));
	bl_replace_str(&r->sshd, sshd);
	bl_replace_str(&r->reason, "");
	bl_replace_str(&r->remark, "");
	r->generation_old = f->generation;
	r->activate_ms = limit_of(kv, "activate_ms", 60000);
	r->confirm_ms = limit_of(kv, "confirm_ms", 20000);
	r->commit_ms = bl_point_ms("commit_ms", limit_of(kv, "commit_ms", 180000));
	r->rollback_ms = r->activate_ms * 2 > 60000 ? r->activate_ms * 2 : 60000;
	r->rollback_ms = bl_point_ms("rollback_ms", r->rollback_ms);
	/* whoever takes it up later than this does not begin it any more */
	r->deadline_boot_ns = bl_now_boot_ns() + 60 * BL_NS_PER_S;
}

void bl_start_past_test(struct bl_facts *f, const char *new)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_plan) plan = { 0 };
	const char *boots = bl_facts_default(f);
	uint64_t epoch = bl_txn_newest();
	if (epoch > 0 && strcmp(f->system, new) == 0 && strcmp(f->profile, boots) == 0 &&
	    bl_txn_open(epoch, &t, NULL) == 0 && !t.broken && t.rec.state == BL_TXN_COMMITTED &&
	    strcmp(t.rec.system_new, new) == 0 && strcmp(t.rec.system_old, boots) == 0 &&
	    bl_txn_plan_load(&t, &plan, NULL) == 0 && plan.strategy == BL_STRATEGY_TEST)
		bl_replace_str(&f->system, boots);
}

/* With --force-drift: what runs becomes what boots, before anything else. */
static int mend_drift(struct bl_facts *f, struct bl_err *err)
{
	const char *const args[] = { "--profile", BL_PROFILE, "--set", f->system, NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(f->system, "nix-env", args, 180000, &r, err) < 0)
		return -1;
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED, "set the system profile: %.300s",
				  bl_buf_str(&r.err));
	bl_autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct bl_stc stc = { .system = f->system,
			      .action = "boot",
			      .tools_system = f->system,
			      .no_check = true,
			      .log_fd = null,
			      .limit_ms = 180000 };
	if (bl_stc_run(&stc) != 0)
		return bl_err_set(err, BL_E_FAILED,
				  "the boot loader of the running system cannot be installed");
	bl_facts_free(f);
	if (bl_facts_read(f, err) < 0)
		return -1;
	if (f->loader_problem[0] || bl_preflight_drifted(f))
		return bl_err_set(err, BL_E_FAILED,
				  "the running system cannot be made the boot default");
	return 0;
}

static int take_snapshot(const struct bl_txn *t, const char *system, struct bl_err *err)
{
	struct bl_snapshot before = { 0 };
	int rc = bl_snapshot_take(system, t->rec.sshd, &before, err);
	bl_snapshot_take_means(system, &before);
	if (rc == 0)
		rc = bl_snapshot_save(&before, t->dir_fd, err);
	bl_snapshot_free(&before);
	/* nothing begins without knowing how it was */
	if (rc == 0)
		rc = bl_snapshot_load(t->dir_fd, &before, err);
	bl_snapshot_free(&before);
	return rc;
}

/* The windows in which it goes forward: hook, activation, checks, confirmation. */
static uint64_t forward_ms(const struct bl_record *r, const struct bl_plan *plan)
{
	uint64_t hook = *plan->pre_activate ? (uint64_t)r->activate_ms + 10000 : 0;
	return hook + r->activate_ms + 10000 + bl_plan_checks_ms(plan) + r->confirm_ms;
}

/* Keeper and deadman, side by side: whichever is there first can end what the other is to end.
 */
static int launch(struct bl_txn *t, const struct bl_plan *plan, const char *system,
		  struct bl_err *err)
{
	struct bl_record *r = &t->rec;
	/* the windows, their kills, and what the machine needs besides */
	int64_t dead_ms = (int64_t)forward_ms(r, plan) + 20000;
	if (bl_strategy_boots(plan->strategy))
		dead_ms += 2 * (int64_t)r->commit_ms;
	struct bl_tool deadman;
	if (take_snapshot(t, system, err) < 0)
		return -1;
	bl_point("before-deadman");
	if (bl_unit_begin_deadman(system, r, dead_ms, &deadman, err) < 0)
		return -1;
	bl_point("before-keeper");
	int rc = bl_unit_start_keeper(system, r, err);
	struct bl_err no_deadman = { 0 };
	if (bl_unit_wait_deadman(&deadman, &no_deadman) == 0 || rc < 0)
		return rc;
	/* a keeper that nobody watches is not to go on */
	*err = no_deadman;
	for (int i = 0; i < 20; i++) {
		if (bl_confirm_abort(r->epoch, err->msg, NULL) == 0)
			return -1;
		/* it says that it is ready a moment before it opens its door */
		bl_sleep_ms(100);
	}
	bl_log(BL_LOG_ERR, "%s; and it cannot be stopped", err->msg);
	return -1;
}

/* A keeper holds the lock for a moment behind its transaction's end: that one is waited for. */
static int lock_soon(int *out_lock, struct bl_err *err)
{
	for (int ms = 0; ms < CLEAN_UP_MS; ms += FOLLOW_MS) {
		struct bl_err held = { 0 };
		if (bl_txn_lock(0, out_lock, &held) == 0)
			return 0;
		if (nothing_open(err) < 0)
			return -1;
		bl_sleep_ms(FOLLOW_MS);
	}
	return bl_txn_lock(0, out_lock, err);
}

int bl_start(const struct bl_kv *kv, struct bl_txn *out, struct bl_err *err)
{
	BL_AUTO(bl_facts) facts = { 0 };
	BL_AUTO(bl_record) rec = { 0 };
	BL_AUTO(bl_plan) plan = { 0 };
	bl_autofd int lock = -1;
	uint8_t key[BL_KEY_LEN];
	bl_autofree char *self = bl_start_own_path();
	bl_autofree char *unproven = NULL;
	if (bl_plan_read(kv, &plan, err) < 0)
		return -1;
	if (!self)
		return bl_err_set(err, BL_E_REFUSED, "the agent does not run from the store");
	if (bl_start_take_key(kv, key, err) < 0 || bl_agent_dirs(err) < 0 ||
	    lock_soon(&lock, err) < 0 || nothing_open(err) < 0 ||
	    bl_facts_read(&facts, err) < 0 || compare(kv, &facts, err) < 0)
		return -1;
	bl_start_past_test(&facts, bl_kv_str(kv, "new"));
	if (bl_preflight_drifted(&facts)) {
		if (!bl_kv_bool(kv, "force_drift"))
			return bl_err_set(err, BL_E_REFUSED,
					  "what runs is not what would boot");
		if (mend_drift(&facts, err) < 0)
			return -1;
	}
	fill_record(kv, &facts, self, &rec);
	plan.strategy = bl_strategy_resolve(&plan, facts.booted, facts.system,
					    bl_kv_str(kv, "new"), &unproven);
	if (unproven)
		bl_replace_str(&rec.remark, unproven);
	/* the store on disk before anything refers to it: Nix does not flush what it writes,
	 * and nobody watches the clock yet */
	if (bl_sync_fs("/nix/store", err) < 0)
		return -1;
	int rc = bl_txn_create(&rec, &plan, key, out, err);
	explicit_bzero(key, sizeof(key));
	if (rc < 0)
		return -1;
	/* the open record keeps others out from here on; the keeper takes the lock */
	bl_closep(&lock);
	rc = launch(out, &plan, facts.system, err);
	/* too slow to answer, or somebody's look took it up first: it runs, and that is what
	 * counts */
	if (rc < 0 &&
	    (bl_unit_is_alive(facts.system, out->rec.epoch) || bl_txn_lock(0, &lock, NULL) < 0))
		return 0;
	BL_AUTO(bl_txn) now = { .dir_fd = -1 };
	if (rc < 0 && bl_txn_open(out->rec.epoch, &now, NULL) == 0 &&
	    now.rec.state != BL_TXN_PREPARED)
		return 0;
	if (rc < 0) {
		bl_txn_reason(out, "%s", err->msg);
		if (bl_txn_move(out, BL_EV_UNTOUCHED, NULL) < 0)
			bl_log(BL_LOG_ERR, "the refusal could not be recorded");
		bl_unit_stop_deadman(facts.system, out->rec.epoch);
		bl_keeper_clean(out);
	}
	return rc;
}

uint64_t bl_start_bound_ms(const struct bl_record *r, const struct bl_plan *plan)
{
	/* all windows, a commit and its undoing, two rollbacks with their checks and the hook
	 * behind them, a shutdown and a boot */
	uint64_t bound = forward_ms(r, plan) + 2 * (uint64_t)r->commit_ms +
			 2 * ((uint64_t)r->rollback_ms + 60000) + BL_VISIT_MS +
			 (*plan->post_rollback ? (uint64_t)r->activate_ms + 10000 : 0) + 90000 +
			 180000;
	/* the trial's preparation, its shutdown, the boot with its own checks, and another one
	 * to leave it */
	if (bl_strategy_boots(plan->strategy))
		bound += (uint64_t)r->commit_ms + 180000 + plan->boot_ms +
			 bl_plan_checks_ms(plan) + 180000;
	return bound;
}
