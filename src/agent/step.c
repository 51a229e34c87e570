/* SPDX-License-Identifier: MIT */
#include "agent/step.h"

#include "agent/activation.h"
#include "agent/commit.h"
#include "agent/hook.h"
#include "agent/point.h"
#include "agent/profile.h"
#include "agent/reboot.h"
#include "agent/rollback.h"
#include "agent/strategy.h"
#include "agent/trial.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "guard/units.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SWITCH_LOCK "/run/nixos/switch-to-configuration.lock"
#define UNITS_MS    2000
#define ROUTES_MS   10000 /* networks need a moment to settle */

/* What the last activation printed that its judge looks for. */
static char *read_signs(struct bl_keeper *k, off_t from)
{
	bl_autofd int fd =
		openat(k->job.txn.dir_fd, "stc.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || lseek(fd, from, SEEK_SET) < 0)
		return bl_xstrdup("");
	return bl_activation_signs(fd);
}

static enum bl_verdict activate_once(struct bl_keeper *k, char *reason, size_t size)
{
	struct bl_record *r = &k->job.txn.rec;
	struct bl_stc stc = {
		.system = r->system_new,
		.action = "test",
		.tools_system = r->system_old,
		.log_fd = k->job.log_fd,
		.output_max = 64LL * 1024 * 1024,
		.limit_ms = r->activate_ms,
		.stop = &k->job.abort,
	};
	off_t from = lseek(k->job.log_fd, 0, SEEK_END);
	bl_job_say(&k->job, "activating %s", r->system_new);
	int status = bl_stc_run(&stc);
	bl_job_say(&k->job, "switch-to-configuration test: status %d", status);
	bl_autofree char *output = read_signs(k, from < 0 ? 0 : from);
	enum bl_verdict v = bl_activation_judge(status, output, reason, size);
	if (v == BL_ACT_UNITS)
		bl_activation_failed(output, &k->failed_jobs);
	return v;
}

/* The units policy 5.2. */
static enum bl_txn_event judge_units(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	BL_AUTO(bl_strv) failed = { 0 };
	BL_AUTO(bl_strv) bad = { 0 };
	BL_AUTO(bl_strv) ignored = { 0 };
	static const struct bl_strv none = { 0 };
	struct bl_err err = { 0 };
	if (bl_failed_units(r->system_old, &failed, &err) < 0) {
		bl_txn_reason(&k->job.txn, "units cannot be asked for: %s", err.msg);
		return BL_EV_FAIL;
	}
	for (size_t i = 0; i < k->failed_jobs.n; i++)
		if (!bl_strv_has(&failed, k->failed_jobs.items[i]))
			bl_strv_add(&failed, k->failed_jobs.items[i]);
	bl_units_judge(&k->job.plan, &failed, &k->job.before.failed, &bad, &ignored);
	bl_autofree char *let_pass = bl_strv_missing(&ignored, &none);
	if (let_pass && !k->units_told)
		bl_txn_remark(&k->job.txn, "failed units, ignored as asked for: %s", let_pass);
	k->units_told = k->units_told || let_pass;
	if (bad.n == 0)
		return BL_EV_CHECKS_OK;
	bl_autofree char *names = bl_strv_missing(&bad, &none);
	bl_txn_reason(&k->job.txn,
		      k->job.plan.units == BL_UNITS_NEW_FAILURES
			      ? "units failed that were not failed before: %s"
			      : "units have failed: %s",
		      names);
	return BL_EV_FAIL;
}

/* One step of the plan's checks; false: they go on. */
static bool step_checks(struct bl_keeper *k, enum bl_txn_event *out)
{
	char reason[512] = "";
	*out = BL_EV_CHECKS_OK;
	if (!k->checks)
		k->checks = bl_checks_new(&k->job);
	switch (bl_checks_step(k->checks, reason, sizeof(reason))) {
	case BL_CHECKS_RUNNING:
		return false;
	case BL_CHECKS_FAILED:
		bl_txn_reason(&k->job.txn, "%s", reason);
		*out = BL_EV_FAIL;
		return true;
	case BL_CHECKS_OK:
		break;
	}
	return true;
}

/*
 * Failed units, then the plan's checks until all have ended, or until @end_ns; those that were
 * good before are asked again where they are units.
 */
static enum bl_txn_event judge(struct bl_keeper *k, int64_t end_ns)
{
	enum bl_txn_event e = judge_units(k);
	if (e != BL_EV_CHECKS_OK)
		return e;
	if (k->checks)
		bl_checks_ask_units(k->checks);
	while (!step_checks(k, &e)) {
		if (k->job.abort) {
			bl_txn_reason(&k->job.txn, "stopped on request");
			return BL_EV_ABORT;
		}
		if (bl_now_boot_ns() >= end_ns) {
			bl_txn_reason(&k->job.txn, "its checks did not end in time");
			return BL_EV_DEADLINE;
		}
		bl_idle();
	}
	return e;
}

/* The user's own preparation: nothing of NEW has run yet. */
static bool pre_activate(struct bl_keeper *k)
{
	static const char name[] = "preActivate";
	int status = bl_hook_run(&k->job, k->job.plan.pre_activate, name);
	if (status == 0)
		return true;
	bl_autofree char *why = bl_hook_why(name, status);
	bl_txn_reason(&k->job.txn, "%s", why);
	return false;
}

/* OLD runs again and the end is not recorded yet: if we die now, it runs once more. */
void bl_post_rollback(struct bl_keeper *k)
{
	static const char name[] = "postRollback";
	int status = bl_hook_run(&k->job, k->job.plan.post_rollback, name);
	if (status == 0)
		return;
	bl_autofree char *why = bl_hook_why(name, status);
	bl_txn_remark(&k->job.txn, "%s", why);
}

static void do_activate(struct bl_keeper *k)
{
	char reason[256] = "";
	enum bl_verdict v = BL_ACT_LOCKED;
	/* somebody else's run: it may end soon */
	for (int i = 0; i < 3 && v == BL_ACT_LOCKED; i++) {
		for (int ms = 0; i > 0 && ms < 10000 && !k->job.abort; ms += 10)
			bl_idle();
		v = activate_once(k, reason, sizeof(reason));
	}
	bl_point("activation-ended");
	k->job.txn.rec.activated_boot_ns = bl_now_boot_ns();
	switch (v) {
	case BL_ACT_OK:
	case BL_ACT_UNITS:
		bl_keeper_move(k, BL_EV_ACTIVATED);
		return;
	case BL_ACT_LOCKED:
	case BL_ACT_UNTOUCHED:
		bl_txn_reason(&k->job.txn, "%s", reason);
		/* it says so, but what runs is what counts */
		if (!bl_job_runs(k->job.txn.rec.system_old)) {
			bl_keeper_move(k, BL_EV_FAIL);
			return;
		}
		/* nothing to go back from, but for what the hook before it did */
		if (*k->job.plan.pre_activate)
			bl_post_rollback(k);
		bl_keeper_move(k, BL_EV_UNTOUCHED);
		return;
	case BL_ACT_FAILED:
		bl_txn_reason(&k->job.txn, "%s", reason);
		bl_keeper_move(k, BL_EV_FAIL);
		return;
	}
}

/* In a trial boot: until NEW has started, failed units or not. */
static bool has_started(struct bl_keeper *k)
{
	const char *const args[] = { "is-system-running", NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(k->job.txn.rec.system_old, "systemctl", args, 15000, &r, NULL) < 0)
		return false;
	const char *state = bl_buf_str(&r.out);
	return strcmp(state, "running\n") == 0 || strcmp(state, "degraded\n") == 0;
}

static void do_trial_check(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	while (!has_started(k)) {
		for (int ms = 0; ms < 500 && !k->job.abort; ms += 10)
			bl_idle();
		if (k->job.abort) {
			bl_txn_reason(&k->job.txn, "stopped on request");
			bl_keeper_move(k, BL_EV_ABORT);
			return;
		}
		if (bl_now_boot_ns() >= r->deadline_boot_ns) {
			bl_txn_reason(&k->job.txn,
				      "the new system did not finish starting within %u s",
				      k->job.plan.boot_ms / 1000);
			bl_keeper_move(k, BL_EV_DEADLINE);
			return;
		}
	}
	enum bl_txn_event e = judge(k, INT64_MAX);
	int64_t window = bl_now_boot_ns() + r->confirm_ms * BL_NS_PER_MS;
	if (r->deadline_boot_ns < window)
		r->deadline_boot_ns = window;
	bl_keeper_move(k, e);
}

/*
 * A default route that is gone, with a LAN that still works, is not seen by a deployer in that
 * LAN. The configuration may want it so; where NEW left that alone, it does not.
 */
static bool routes_as_before(struct bl_keeper *k)
{
	const struct bl_record *r = &k->job.txn.rec;
	int64_t end = bl_now_boot_ns() + ROUTES_MS * BL_NS_PER_MS;
	bl_autofree char *changed = bl_network_difference(r->system_old, r->system_new);
	for (;;) {
		BL_AUTO(bl_snapshot) now = { 0 };
		bl_snapshot_network(r->sshd, &now);
		bl_autofree char *gone = bl_strv_missing(&k->job.before.routes, &now.routes);
		if (!gone)
			return true;
		if (changed) {
			bl_txn_remark(&k->job.txn, "default route gone: %s", gone);
			return true;
		}
		if (bl_now_boot_ns() > end || k->job.abort) {
			bl_txn_reason(&k->job.txn,
				      "default route gone, without a change of the network's "
				      "configuration: %s",
				      gone);
			return false;
		}
		for (int ms = 0; ms < 500; ms += 10)
			bl_idle();
	}
}

static void do_check(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	if (!bl_job_runs(r->system_new)) {
		bl_txn_reason(&k->job.txn,
			      "after the activation the new system is not the running one");
		bl_keeper_move(k, BL_EV_FAIL);
		return;
	}
	if (!routes_as_before(k)) {
		bl_keeper_move(k, BL_EV_FAIL);
		return;
	}
	/* they have their own limits */
	enum bl_txn_event e = judge(k, INT64_MAX);
	if (e == BL_EV_CHECKS_OK)
		r->deadline_boot_ns = bl_now_boot_ns() + r->confirm_ms * BL_NS_PER_MS;
	bl_keeper_move(k, e);
}

static void hold_switch_lock(struct bl_keeper *k)
{
	int fd = open(SWITCH_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		bl_closep(&fd);
	k->switch_lock = fd;
}

/* A look every two seconds at what others may do to us meanwhile. */
static enum bl_txn_event watch(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	int64_t now = bl_now_boot_ns();
	enum bl_txn_event e = BL_EV_CHECKS_OK;
	bool ended = step_checks(k, &e);
	if (e != BL_EV_CHECKS_OK || now - k->units_ns < UNITS_MS * BL_NS_PER_MS)
		return e;
	k->units_ns = now;
	if (ended)
		bl_checks_ask_units(k->checks);
	if (!bl_job_runs(r->system_new)) {
		bl_txn_reason(&k->job.txn, "somebody else switched the system meanwhile");
		return bl_job_runs_other(&k->job) ? BL_EV_THIRD_PARTY : BL_EV_FAIL;
	}
	return judge_units(k);
}

/*
 * Until the confirmation a crash needs nobody: OLD boots. From its record on something has to
 * look at profile and loader, so the unit is there just before that. Not sooner: a reload of
 * systemd would take it in during this boot.
 */
static void guard_next_boot(struct bl_keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_unit_guard_install(&k->job.txn.rec, &err) < 0)
		bl_log(BL_LOG_WARN, "%s; after a crash the next contact ends it", err.msg);
}

/* The vote is in. Late failures of units are to be seen before it counts. */
static void count_vote(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	bool provisional = k->job.plan.strategy == BL_STRATEGY_LIVE_BOOT &&
			   r->state == BL_TXN_WAIT_CONFIRM;
	enum bl_txn_event e = judge(k, r->deadline_boot_ns);
	if (e == BL_EV_CHECKS_OK)
		e = provisional ? BL_EV_TRIAL : BL_EV_CONFIRM;
	if (e == BL_EV_CONFIRM)
		guard_next_boot(k);
	bl_keeper_move(k, e);
	bool accepted = r->state == BL_TXN_CONFIRMED || r->state == BL_TXN_TRIAL_INSTALLED;
	bl_doorman_answer(k->doorman, accepted, provisional, r->reason);
}

static void do_wait(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	enum bl_txn_state waiting = r->state;
	hold_switch_lock(k);
	k->units_ns = bl_now_boot_ns();
	while (r->state == waiting) {
		bl_idle();
		enum bl_txn_event seen = watch(k);
		if (k->job.abort) {
			bl_txn_reason(&k->job.txn, "stopped on request");
			bl_keeper_move(k, BL_EV_ABORT);
		} else if (seen != BL_EV_CHECKS_OK) {
			bl_keeper_move(k, seen);
		} else if (bl_now_boot_ns() >= r->deadline_boot_ns) {
			bool trial = waiting == BL_TXN_TRIAL_WAIT;
			bl_txn_reason(&k->job.txn,
				      "nobody confirmed over a fresh connection within %u s%s",
				      (trial ? k->job.plan.boot_ms : r->confirm_ms) / 1000,
				      trial ? " of the trial boot" : "");
			k->unconfirmed = !trial;
			bl_keeper_move(k, BL_EV_DEADLINE);
		} else if (bl_doorman_proof(k->doorman)) {
			count_vote(k);
		}
	}
	/* our own switch-to-configuration needs it */
	bl_closep(&k->switch_lock);
}

/*
 * NEW was unreachable, and what it changed may be left behind by a switch back: a route, a
 * filter, an MTU. So OLD has to be reached too, by anybody, or a reboot clears the rest.
 */
static bool reached_again(struct bl_keeper *k)
{
	const struct bl_record *r = &k->job.txn.rec;
	int64_t back = bl_now_boot_ns();
	int64_t end = back + bl_point_ms("visit_ms", BL_VISIT_MS) * BL_NS_PER_MS;
	if (!k->unconfirmed || k->job.plan.rollback_reboot == BL_RB_REBOOT_NEVER)
		return true;
	if (k->job.plan.rollback_reboot == BL_RB_REBOOT_AUTO) {
		bl_autofree char *network = bl_network_difference(r->system_old, r->system_new);
		if (!network)
			return true;
	}
	while (bl_now_boot_ns() < end) {
		if (bl_doorman_visited(k->doorman, back))
			return true;
		bl_idle();
	}
	bl_txn_remark(&k->job.txn, "nobody reached the old system either");
	return false;
}

/* NEW's own scripts, or somebody in the window, may have moved what boots: then it is put back.
 */
static void mend_default(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	struct bl_err err = { 0 };
	if (bl_commit_would_boot(r->system_old, &err) == 0)
		return;
	if (k->job.txn.broken || bl_profile_is_others(r) ||
	    bl_commit_undo(&k->job) != BL_EV_COMMIT_UNDONE)
		bl_txn_remark(&k->job.txn, "the boot default is not the old system: %s",
			      err.msg);
}

static enum bl_txn_event roll_back(struct bl_keeper *k)
{
	bl_checks_free(BL_STEAL(k->checks));
	enum bl_txn_event e = bl_rollback(&k->job);
	/* where no reboot is possible it comes back, and OLD runs all the same */
	if (e == BL_EV_OLD_RUNS && !reached_again(k))
		bl_rollback_reboot(&k->job, BL_REBOOT_NORMAL);
	if (e == BL_EV_OLD_RUNS) {
		mend_default(k);
		bl_post_rollback(k);
	}
	return e;
}

static void arm_unguarded(struct bl_keeper *k)
{
	bl_txn_remark(&k->job.txn,
		      "not activated: it boots at the next reboot, and that is not proven");
	bl_keeper_move(k, BL_EV_UNGUARDED);
}

static void do_arm(struct bl_keeper *k)
{
	bool ready = !k->job.abort && pre_activate(k);
	if (k->job.abort)
		bl_keeper_move(k, BL_EV_ABORT);
	else if (!ready)
		bl_keeper_move(k, BL_EV_FAIL);
	else if (bl_strategy_boots(k->job.plan.strategy) &&
		 k->job.plan.strategy != BL_STRATEGY_LIVE_BOOT)
		bl_keeper_move(k, BL_EV_TRIAL);
	else if (k->job.plan.strategy == BL_STRATEGY_UNGUARDED)
		arm_unguarded(k);
	else
		bl_keeper_move(k, BL_EV_ACTIVATE);
}

static void do_trial_install(struct bl_keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_trial_install(&k->job, &err) == 0) {
		bl_keeper_move(k, k->job.abort ? BL_EV_ABORT : BL_EV_INSTALLED);
		return;
	}
	bl_txn_reason(&k->job.txn, "the trial boot cannot be prepared: %s", err.msg);
	bl_keeper_move(k, BL_EV_FAIL);
}

static void do_trial_reboot(struct bl_keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_trial_arm(&k->job, &err) < 0) {
		bl_txn_reason(&k->job.txn, "the trial boot cannot be set: %s", err.msg);
		bl_keeper_move(k, BL_EV_FAIL);
		return;
	}
	bl_point("trial-armed");
	if (k->job.abort) {
		bl_txn_reason(&k->job.txn, "stopped on request");
		bl_keeper_move(k, BL_EV_ABORT);
		return;
	}
	k->job.leaving = true;
	bl_job_say(&k->job, "rebooting once into %s", k->job.txn.rec.system_new);
	bl_reboot(&k->job, k->job.plan.strategy == BL_STRATEGY_KEXEC ? BL_REBOOT_KEXEC
								     : BL_REBOOT_NORMAL);
	k->job.leaving = false;
	bl_txn_reason(&k->job.txn, "the host could not be rebooted");
	bl_keeper_move(k, BL_EV_FAIL);
}

void bl_step(struct bl_keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	switch (r->state) {
	case BL_TXN_PREPARED:
		bl_keeper_move(k, k->job.abort ? BL_EV_ABORT : BL_EV_ARM);
		return;
	case BL_TXN_ARMED:
		do_arm(k);
		return;
	case BL_TXN_ACTIVATING:
		do_activate(k);
		return;
	case BL_TXN_CHECKING:
		do_check(k);
		return;
	case BL_TXN_WAIT_CONFIRM:
	case BL_TXN_TRIAL_WAIT:
		do_wait(k);
		return;
	case BL_TXN_TRIAL_INSTALLED:
		do_trial_install(k);
		return;
	case BL_TXN_TRIAL_REBOOT:
		do_trial_reboot(k);
		return;
	case BL_TXN_TRIAL_CHECKING:
		do_trial_check(k);
		return;
	case BL_TXN_CONFIRMED:
		guard_next_boot(k);
		bl_keeper_move(k, BL_EV_COMMIT);
		return;
	case BL_TXN_COMMITTING:
		bl_keeper_move(k, bl_commit(&k->job));
		return;
	case BL_TXN_ROLLING_BACK:
		bl_keeper_move(k, roll_back(k));
		return;
	case BL_TXN_NONE:
	case BL_TXN_COMMITTED:
	case BL_TXN_ROLLED_BACK:
	case BL_TXN_REFUSED:
	case BL_TXN_SUPERSEDED:
	case BL_TXN_STUCK:
	case BL_TXN_NSTATES:
		return;
	}
}
