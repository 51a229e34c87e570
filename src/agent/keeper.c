/* SPDX-License-Identifier: MIT */
#include "agent/keeper.h"

#include "agent/activation.h"
#include "agent/checks.h"
#include "agent/commit.h"
#include "agent/confirm.h"
#include "agent/doorman.h"
#include "agent/hook.h"
#include "agent/job.h"
#include "agent/point.h"
#include "agent/reboot.h"
#include "agent/rollback.h"
#include "agent/trial.h"
#include "agent/unit.h"
#include "agent/watchdog.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "guard/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWITCH_LOCK "/run/nixos/switch-to-configuration.lock"
#define OUTPUT_MAX  (64UL * 1024 * 1024)
#define UNITS_MS    2000

struct keeper {
	struct bl_job job;
	struct bl_doorman *doorman;
	struct bl_checks *checks; /* NULL: not begun */
	struct bl_watchdog watchdog;
	int switch_lock; /* NixOS's own lock while waiting: others fail loudly instead of racing
			  */
	enum bl_keeper_role role;
	bool after_boot;
	int64_t pinged_ns;
	int64_t units_ns;
	bool units_told;
};

bool bl_job_runs(const char *path)
{
	bl_autofree char *now = bl_realpath("/run/current-system");
	return now && strcmp(now, path) == 0;
}

void bl_job_say(const struct bl_job *job, const char *fmt, ...)
{
	BL_AUTO(bl_buf) line = { 0 };
	va_list ap;
	char text[1024];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bl_buf_printf(&line, "belay: %s\n", text);
	(void)!write(job->log_fd, line.data, line.len);
}

static void ping(void *ctx)
{
	struct keeper *k = ctx;
	int64_t now = bl_now_boot_ns();
	if (now - k->pinged_ns < 5 * BL_NS_PER_S)
		return;
	k->pinged_ns = now;
	bl_unit_notify("WATCHDOG=1");
	bl_watchdog_ping(&k->watchdog);
}

/* Runs while a step takes its time: answers who asks, keeps the watchdog calm. */
static void tick(void *ctx)
{
	struct keeper *k = ctx;
	ping(k);
	bl_doorman_serve(k->doorman, 10);
}

/* Forwards only what the table allows; an unwritable journal on the way forward is a failure.
 */
static void move(struct keeper *k, enum bl_txn_event event)
{
	struct bl_err err = { 0 };
	if (bl_txn_move(&k->job.txn, event, &err) == 0)
		return;
	bl_log(BL_LOG_ERR, "%s", err.msg);
	bl_txn_reason(&k->job.txn, "%s", err.msg);
	enum bl_txn_event back = k->job.txn.rec.state == BL_TXN_CONFIRMED ||
						 k->job.txn.rec.state == BL_TXN_COMMITTING
					 ? bl_commit_undo(&k->job)
					 : BL_EV_FAIL;
	if (bl_txn_move(&k->job.txn, back, &err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
}

/* A recovery puts the state where the facts are, past the table's single steps. */
static void force(struct keeper *k, enum bl_txn_state state)
{
	struct bl_err err = { 0 };
	k->job.txn.rec.state = state;
	bl_replace_str(&k->job.txn.rec.boot_id, bl_boot_id());
	if (bl_txn_save(&k->job.txn, true, &err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
	bl_log(BL_LOG_INFO, "%s", bl_txn_name(state));
}

/* What the last activation printed, for its judge. */
static char *read_output(struct keeper *k, off_t from)
{
	char *text = NULL;
	bl_autofd int fd =
		openat(k->job.txn.dir_fd, "stc.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || lseek(fd, from, SEEK_SET) < 0 ||
	    bl_read_all(fd, OUTPUT_MAX, &text, NULL, NULL) < 0)
		return bl_xstrdup("");
	return text;
}

static enum bl_verdict activate_once(struct keeper *k, char *reason, size_t size)
{
	struct bl_record *r = &k->job.txn.rec;
	struct bl_stc stc = {
		.system = r->system_new,
		.action = "test",
		.tools_system = r->system_old,
		.log_fd = k->job.log_fd,
		.output_max = 64LL * 1024 * 1024,
		.limit_ms = r->activate_ms,
		.tick = tick,
		.ctx = k,
		.stop = &k->job.abort,
	};
	off_t from = lseek(k->job.log_fd, 0, SEEK_END);
	bl_job_say(&k->job, "activating %s", r->system_new);
	int status = bl_stc_run(&stc);
	bl_job_say(&k->job, "switch-to-configuration test: status %d", status);
	bl_autofree char *output = read_output(k, from < 0 ? 0 : from);
	return bl_activation_judge(status, output, reason, size);
}

/* The units policy 5.2. */
static enum bl_txn_event judge_units(struct keeper *k)
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
static bool step_checks(struct keeper *k, enum bl_txn_event *out)
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
static enum bl_txn_event judge(struct keeper *k, int64_t end_ns)
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
		tick(k);
	}
	return e;
}

/* The user's own preparation: nothing of NEW has run yet. */
static bool pre_activate(struct keeper *k)
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
static void post_rollback(struct keeper *k)
{
	static const char name[] = "postRollback";
	int status = bl_hook_run(&k->job, k->job.plan.post_rollback, name);
	if (status == 0)
		return;
	bl_autofree char *why = bl_hook_why(name, status);
	bl_txn_remark(&k->job.txn, "%s", why);
}

static void do_activate(struct keeper *k)
{
	char reason[256] = "";
	enum bl_verdict v = BL_ACT_LOCKED;
	/* somebody else's run: it may end soon */
	for (int i = 0; i < 3 && v == BL_ACT_LOCKED; i++) {
		for (int ms = 0; i > 0 && ms < 10000 && !k->job.abort; ms += 10)
			tick(k);
		v = activate_once(k, reason, sizeof(reason));
	}
	bl_point("activation-ended");
	k->job.txn.rec.activated_boot_ns = bl_now_boot_ns();
	switch (v) {
	case BL_ACT_OK:
	case BL_ACT_UNITS:
		move(k, BL_EV_ACTIVATED);
		return;
	case BL_ACT_LOCKED:
	case BL_ACT_UNTOUCHED:
		bl_txn_reason(&k->job.txn, "%s", reason);
		/* it says so, but what runs is what counts */
		if (!bl_job_runs(k->job.txn.rec.system_old)) {
			move(k, BL_EV_FAIL);
			return;
		}
		/* nothing to go back from, but for what the hook before it did */
		if (*k->job.plan.pre_activate)
			post_rollback(k);
		move(k, BL_EV_UNTOUCHED);
		return;
	case BL_ACT_FAILED:
		bl_txn_reason(&k->job.txn, "%s", reason);
		move(k, BL_EV_FAIL);
		return;
	}
}

/* In a trial boot: until NEW has started, failed units or not. */
static bool has_started(struct keeper *k)
{
	const char *const args[] = { "is-system-running", NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(k->job.txn.rec.system_old, "systemctl", args, 15000, &r, NULL) < 0)
		return false;
	const char *state = bl_buf_str(&r.out);
	return strcmp(state, "running\n") == 0 || strcmp(state, "degraded\n") == 0;
}

static void do_trial_check(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	while (!has_started(k)) {
		for (int ms = 0; ms < 500 && !k->job.abort; ms += 10)
			tick(k);
		if (k->job.abort) {
			bl_txn_reason(&k->job.txn, "stopped on request");
			move(k, BL_EV_ABORT);
			return;
		}
		if (bl_now_boot_ns() >= r->deadline_boot_ns) {
			bl_txn_reason(&k->job.txn,
				      "the new system did not finish starting within %u s",
				      k->job.plan.boot_ms / 1000);
			move(k, BL_EV_DEADLINE);
			return;
		}
	}
	enum bl_txn_event e = judge(k, INT64_MAX);
	int64_t window = bl_now_boot_ns() + r->confirm_ms * BL_NS_PER_MS;
	if (r->deadline_boot_ns < window)
		r->deadline_boot_ns = window;
	move(k, e);
}

static void do_check(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	if (!bl_job_runs(r->system_new)) {
		bl_txn_reason(&k->job.txn,
			      "after the activation the new system is not the running one");
		move(k, BL_EV_FAIL);
		return;
	}
	/* they have their own limits */
	enum bl_txn_event e = judge(k, INT64_MAX);
	if (e == BL_EV_CHECKS_OK)
		r->deadline_boot_ns = bl_now_boot_ns() + r->confirm_ms * BL_NS_PER_MS;
	move(k, e);
}

static void hold_switch_lock(struct keeper *k)
{
	int fd = open(SWITCH_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		bl_closep(&fd);
	k->switch_lock = fd;
}

/* A look every two seconds at what others may do to us meanwhile. */
static enum bl_txn_event watch(struct keeper *k)
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
		return bl_job_runs(r->system_old) ? BL_EV_FAIL : BL_EV_THIRD_PARTY;
	}
	return judge_units(k);
}

/* The vote is in. Late failures of units are to be seen before it counts. */
static void count_vote(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	bool provisional = k->job.plan.strategy == BL_STRATEGY_LIVE_BOOT &&
			   r->state == BL_TXN_WAIT_CONFIRM;
	enum bl_txn_event e = judge(k, r->deadline_boot_ns);
	if (e == BL_EV_CHECKS_OK)
		e = provisional ? BL_EV_TRIAL : BL_EV_CONFIRM;
	move(k, e);
	bool accepted = r->state == BL_TXN_CONFIRMED || r->state == BL_TXN_TRIAL_INSTALLED;
	bl_doorman_answer(k->doorman, accepted, provisional, r->reason);
}

static void do_wait(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	enum bl_txn_state waiting = r->state;
	hold_switch_lock(k);
	k->units_ns = bl_now_boot_ns();
	while (r->state == waiting) {
		tick(k);
		enum bl_txn_event seen = watch(k);
		if (k->job.abort) {
			bl_txn_reason(&k->job.txn, "stopped on request");
			move(k, BL_EV_ABORT);
		} else if (seen != BL_EV_CHECKS_OK) {
			move(k, seen);
		} else if (bl_now_boot_ns() >= r->deadline_boot_ns) {
			bool trial = waiting == BL_TXN_TRIAL_WAIT;
			bl_txn_reason(&k->job.txn,
				      "nobody confirmed over a fresh connection within %u s%s",
				      (trial ? k->job.plan.boot_ms : r->confirm_ms) / 1000,
				      trial ? " of the trial boot" : "");
			move(k, BL_EV_DEADLINE);
		} else if (bl_doorman_proof(k->doorman)) {
			count_vote(k);
		}
	}
	/* our own switch-to-configuration needs it */
	bl_closep(&k->switch_lock);
}

static void arm_unguarded(struct keeper *k)
{
	bl_txn_remark(&k->job.txn,
		      "not activated: it boots at the next reboot, and that is not proven");
	move(k, BL_EV_UNGUARDED);
}

static void do_arm(struct keeper *k)
{
	bool ready = !k->job.abort && pre_activate(k);
	if (k->job.abort)
		move(k, BL_EV_ABORT);
	else if (!ready)
		move(k, BL_EV_FAIL);
	else if (bl_strategy_boots(k->job.plan.strategy) &&
		 k->job.plan.strategy != BL_STRATEGY_LIVE_BOOT)
		move(k, BL_EV_TRIAL);
	else if (k->job.plan.strategy == BL_STRATEGY_UNGUARDED)
		arm_unguarded(k);
	else
		move(k, BL_EV_ACTIVATE);
}

static void do_trial_install(struct keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_trial_install(&k->job, &err) == 0) {
		move(k, k->job.abort ? BL_EV_ABORT : BL_EV_INSTALLED);
		return;
	}
	bl_txn_reason(&k->job.txn, "the trial boot cannot be prepared: %s", err.msg);
	move(k, BL_EV_FAIL);
}

static void do_trial_reboot(struct keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_trial_arm(&k->job, &err) < 0) {
		bl_txn_reason(&k->job.txn, "the trial boot cannot be set: %s", err.msg);
		move(k, BL_EV_FAIL);
		return;
	}
	bl_point("trial-armed");
	if (k->job.abort) {
		bl_txn_reason(&k->job.txn, "stopped on request");
		move(k, BL_EV_ABORT);
		return;
	}
	bl_job_say(&k->job, "rebooting once into %s", k->job.txn.rec.system_new);
	bl_reboot(&k->job, k->job.plan.strategy == BL_STRATEGY_KEXEC ? BL_REBOOT_KEXEC
								     : BL_REBOOT_NORMAL);
	bl_txn_reason(&k->job.txn, "the host could not be rebooted");
	move(k, BL_EV_FAIL);
}

/*
 * Until the confirmation a crash needs nobody: OLD boots. From here on something has to look at
 * profile and loader. Not before: a reload of systemd would take the unit in during this boot.
 */
static void guard_next_boot(struct keeper *k)
{
	struct bl_err err = { 0 };
	if (bl_unit_guard_install(&k->job.txn.rec, &err) < 0)
		bl_log(BL_LOG_WARN, "%s; after a crash the next contact ends it", err.msg);
}

static void step(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	switch (r->state) {
	case BL_TXN_PREPARED:
		move(k, k->job.abort ? BL_EV_ABORT : BL_EV_ARM);
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
		move(k, BL_EV_COMMIT);
		return;
	case BL_TXN_COMMITTING: {
		enum bl_txn_event e = bl_commit(&k->job);
		/* the rollback reloads systemd, which is not to see it */
		if (e != BL_EV_COMMIT_OK)
			bl_unit_guard_remove();
		move(k, e);
		return;
	}
	case BL_TXN_ROLLING_BACK: {
		bl_checks_free(BL_STEAL(k->checks));
		enum bl_txn_event e = bl_rollback(&k->job);
		if (e == BL_EV_OLD_RUNS)
			post_rollback(k);
		move(k, e);
		return;
	}
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

static enum bl_where where(const struct bl_record *r, const char *path)
{
	if (strcmp(path, r->system_old) == 0)
		return BL_ON_OLD;
	return strcmp(path, r->system_new) == 0 ? BL_ON_NEW : BL_ON_OTHER;
}

static bool same_boot(const struct bl_txn *t)
{
	/* without a record, /run tells: a reboot clears it */
	return t->rec.boot_id[0] ? strcmp(t->rec.boot_id, bl_boot_id()) == 0
				 : bl_txn_is_live(t->rec.epoch);
}

/* What the machine itself knows of its last end. */
static const char *trace_of_crash(void)
{
	DIR *d = opendir("/sys/fs/pstore");
	bool crashed = false;
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		crashed = crashed || bl_starts_with(e->d_name, "dmesg-");
	if (d)
		closedir(d);
	if (crashed)
		return ": the kernel left a crash record in /sys/fs/pstore";
	bl_autofree char *text = bl_slurp("/sys/class/watchdog/watchdog0/bootstatus", 32);
	/* WDIOF_CARDRESET */
	if (text && strtoul(text, NULL, 10) & 0x20)
		return ": the watchdog reset it";
	return "";
}

static enum bl_recovery what_to_do(struct keeper *k, const struct bl_facts *f)
{
	const struct bl_record *r = &k->job.txn.rec;
	enum bl_where dflt = where(r, bl_facts_default(f));
	if (same_boot(&k->job.txn)) {
		/* a deadman is there to end it, never to go forward */
		bool in_time = k->role != BL_DEADMAN && r->deadline_boot_ns > bl_now_boot_ns();
		return bl_guard_after_restart(r->state, in_time, dflt);
	}
	k->after_boot = true;
	enum bl_journal journal = k->job.txn.broken ? BL_JR_NONE : bl_txn_journal(r->state);
	enum bl_recovery what = bl_guard_after_boot(journal, where(r, f->booted), dflt);
	if (what == BL_REC_TRIAL || bl_txn_is_terminal(r->state))
		return what;
	if (journal == BL_JR_TRIAL)
		bl_txn_reason(&k->job.txn, "the new system did not come up in its trial boot%s",
			      trace_of_crash());
	else
		bl_txn_reason(
			&k->job.txn,
			journal == BL_JR_CONFIRMED
				? "the host restarted before the new system was its boot default"
				: "the host restarted before it was confirmed");
	return what;
}

static void begin_rollback(struct keeper *k)
{
	bl_txn_reason(&k->job.txn, "the agent was interrupted");
	force(k, BL_TXN_ROLLING_BACK);
}

/* The deadman of the boot before went with it. */
static void set_deadman(struct keeper *k, int64_t after_ms)
{
	struct bl_err err = { 0 };
	pid_t pid = -1;
	bl_autofree char *log = bl_xprintf("%s/agent.log", k->job.txn.dir);
	const char *tools = k->job.txn.rec.system_old;
	if (bl_unit_begin_deadman(tools, &k->job.txn.rec, log, after_ms, &pid, &err) < 0 ||
	    bl_unit_wait_deadman(pid, &err) < 0)
		bl_log(BL_LOG_WARN, "%s", err.msg);
}

/*
 * NEW came up, as asked. That is on disk before anything else: whoever boots NEW once more has
 * not been asked to.
 */
static void begin_trial(struct keeper *k)
{
	struct bl_record *r = &k->job.txn.rec;
	struct bl_err err = { 0 };
	bool cleared = bl_trial_cleared(&k->job);
	r->state = BL_TXN_TRIAL_CHECKING;
	bl_replace_str(&r->boot_id, bl_boot_id());
	r->deadline_boot_ns = bl_now_boot_ns() + k->job.plan.boot_ms * BL_NS_PER_MS;
	/* every session of this boot is a fresh one */
	r->activated_boot_ns = 1;
	if (bl_txn_save(&k->job.txn, false, &err) < 0 || !cleared) {
		bl_txn_reason(&k->job.txn, "%s",
			      cleared ? err.msg
				      : "the boot loader did not clear the one-shot entry");
		begin_rollback(k);
		return;
	}
	if (k->job.plan.strategy == BL_STRATEGY_KEXEC)
		bl_facts_mark_kexec();
	bl_log(BL_LOG_INFO, "%s", bl_txn_name(r->state));
	bl_point("after-TRIAL_CHECKING");
	set_deadman(k, (int64_t)k->job.plan.boot_ms + (int64_t)bl_plan_checks_ms(&k->job.plan) +
			       r->confirm_ms + 30000);
}

/* Ends what a boot or a lost journal left, by what runs now. */
static void close_by_facts(struct keeper *k, const struct bl_facts *f)
{
	static const enum bl_txn_state end[BL_ON_NWHERE] = {
		[BL_ON_OLD] = BL_TXN_ROLLED_BACK,
		[BL_ON_NEW] = BL_TXN_COMMITTED,
		[BL_ON_OTHER] = BL_TXN_SUPERSEDED,
	};
	bl_txn_remark(&k->job.txn, "its journal was lost; told by what runs and boots");
	force(k, end[where(&k->job.txn.rec, f->system)]);
}

static void recover(struct keeper *k, const struct bl_facts *f)
{
	enum bl_recovery what = what_to_do(k, f);
	bl_log(BL_LOG_INFO, "transaction %llu, %s: %s",
	       (unsigned long long)k->job.txn.rec.epoch, bl_txn_name(k->job.txn.rec.state),
	       bl_recovery_name(what));
	switch (what) {
	case BL_REC_BEGIN:
	case BL_REC_RESUME_WAIT:
	case BL_REC_NACTIONS:
		return;
	case BL_REC_NOTHING:
	case BL_REC_KEEP_ASIDE:
		if (!bl_txn_is_terminal(k->job.txn.rec.state))
			close_by_facts(k, f);
		return;
	case BL_REC_CLOSE_RB:
		bl_trial_leave(&k->job);
		post_rollback(k);
		force(k, BL_TXN_ROLLED_BACK);
		return;
	case BL_REC_TRIAL:
		begin_trial(k);
		return;
	case BL_REC_CLOSE_REFUSED:
		bl_txn_reason(&k->job.txn, "it could not begin in time");
		force(k, BL_TXN_REFUSED);
		return;
	case BL_REC_REBOOT:
		/* it comes back only where no reboot can help */
		k->job.txn.rec.state = BL_TXN_ROLLING_BACK;
		bl_trial_leave(&k->job);
		bl_rollback_reboot(&k->job, BL_REBOOT_NORMAL);
		force(k, BL_TXN_STUCK);
		return;
	case BL_REC_SUPERSEDED:
		bl_txn_reason(&k->job.txn, "somebody else chose another system meanwhile");
		force(k, BL_TXN_SUPERSEDED);
		return;
	case BL_REC_FINISH_COMMIT:
		if (k->job.txn.broken)
			close_by_facts(k, f);
		else
			bl_replace_str(&k->job.txn.rec.reason, "");
		return;
	case BL_REC_UNDO_COMMIT: {
		enum bl_txn_event e = bl_commit_undo(&k->job);
		if (e == BL_EV_COMMIT_UNDONE)
			post_rollback(k);
		force(k, e == BL_EV_COMMIT_UNDONE ? BL_TXN_ROLLED_BACK
			 : e == BL_EV_THIRD_PARTY ? BL_TXN_SUPERSEDED
						  : BL_TXN_STUCK);
		return;
	}
	case BL_REC_ROLL_BACK:
		begin_rollback(k);
		return;
	}
}

void bl_keeper_clean(const struct bl_txn *t)
{
	bl_confirm_unlink(t->rec.epoch);
	bl_txn_drop_roots(t);
	bl_unit_guard_remove();
	bl_txn_live(t->rec.epoch, false);
}

/*
 * A keeper that commits or goes back is given its time, as long as it is the same one: what
 * dies again and again gets nowhere.
 */
static void give_time(uint64_t epoch, const char *system)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open(epoch, &t, NULL) < 0 || t.broken ||
	    (t.rec.state != BL_TXN_ROLLING_BACK &&
	     bl_txn_journal(t.rec.state) != BL_JR_CONFIRMED))
		return;
	uint64_t before = bl_unit_restarts(system, epoch);
	int64_t end = bl_now_boot_ns() +
		      (2 * (int64_t)t.rec.commit_ms + 2 * (int64_t)t.rec.rollback_ms + 120000 +
		       t.rec.activate_ms) * /* the hook behind it */
			      BL_NS_PER_MS;
	while (bl_now_boot_ns() < end && bl_unit_restarts(system, epoch) == before) {
		BL_AUTO(bl_txn) now = { .dir_fd = -1 };
		if (bl_txn_open(epoch, &now, NULL) < 0 || bl_txn_is_terminal(now.rec.state))
			return;
		bl_sleep_ms(1000);
	}
}

/* The keeper that does not end is killed; PID 1 brings up another, so the lock is raced for. */
static int take_over(uint64_t epoch, const char *system, int *out_lock, struct bl_err *err)
{
	for (int i = 0; i < 20; i++) {
		bl_unit_kill_keeper(system, epoch);
		for (int wait = 0; wait < 20; wait++) {
			if (bl_txn_lock(false, NULL, NULL, out_lock, err) == 0)
				return 0;
			bl_sleep_ms(10);
		}
	}
	return -1;
}

static int open_job(struct keeper *k, uint64_t epoch, struct bl_err *err)
{
	if (bl_txn_open(epoch, &k->job.txn, err) < 0)
		return -1;
	k->job.log_fd = openat(k->job.txn.dir_fd, "stc.log",
			       O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (k->job.log_fd < 0)
		/* a full disk is no reason not to go back */
		k->job.log_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct bl_err lost = { 0 };
	if (bl_txn_plan_load(&k->job.txn, &k->job.plan, &lost) < 0) {
		/* what is not known is not waited for: without a plan it goes back */
		bl_log(BL_LOG_ERR, "%s", lost.msg);
		bl_plan_init(&k->job.plan);
		k->job.abort = true;
	}
	k->job.have_before = bl_snapshot_load(k->job.txn.dir_fd, &k->job.before, &lost) == 0;
	if (!k->job.have_before)
		bl_log(BL_LOG_WARN, "%s", lost.msg);
	/* with the record went where sshd answered, and without it no address looks like ours
	 */
	else if (k->job.txn.broken && k->job.before.sshd.n > 0)
		bl_replace_str(&k->job.txn.rec.sshd, k->job.before.sshd.items[0]);
	return 0;
}

static void clean_up(const struct keeper *k, const char *system)
{
	uint64_t epoch = k->job.txn.rec.epoch;
	/* of an older one, roots and guard may belong to its successor by now */
	if (epoch == bl_txn_newest())
		bl_keeper_clean(&k->job.txn);
	bl_unit_stop_deadman(system, epoch);
	/* systemd took the unit in when it booted; now its file is gone */
	if (k->after_boot || k->role != BL_KEEPER)
		bl_unit_reload(system);
}

/* A host whose facts cannot be read any more still goes back to the system that is recorded. */
static int read_facts(struct keeper *k, struct bl_facts *out, struct bl_err *err)
{
	if (bl_facts_read(out, err) == 0)
		return 0;
	if (k->job.txn.broken || !same_boot(&k->job.txn))
		return -1;
	bl_log(BL_LOG_ERR, "%s", err->msg);
	*out = (struct bl_facts){
		.system = bl_xstrdup(k->job.txn.rec.system_old),
		.booted = bl_xstrdup(""),
		.profile = bl_xstrdup(""),
		.boot_default = bl_xstrdup(""),
	};
	return 0;
}

/* A one-shot that outlived its transaction: NEW runs, and nobody asked for it any more. */
static bool booted_unasked(const struct keeper *k, const struct bl_facts *f)
{
	const struct bl_record *r = &k->job.txn.rec;
	return !same_boot(&k->job.txn) &&
	       bl_guard_after_boot(bl_txn_journal(r->state), where(r, f->booted),
				   where(r, bl_facts_default(f))) == BL_REC_REBOOT;
}

/* Loud where people and their monitoring look: the kernel's log, the console, a failed unit. */
static int tell_stuck(const struct bl_txn *t)
{
	bl_autofree char *text = bl_xprintf("<2>belay: transaction %llu is STUCK: %s%s%s\n",
					    (unsigned long long)t->rec.epoch, t->rec.reason,
					    t->rec.remark[0] ? "; " : "", t->rec.remark);
	static const char *const where_to[] = { "/dev/kmsg", "/dev/console" };
	for (size_t i = 0; i < BL_COUNT(where_to); i++) {
		bl_autofd int fd =
			open(where_to[i], O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		const char *line = i == 0 ? text : text + 3;
		if (fd >= 0)
			(void)!write(fd, line, strlen(line));
	}
	bl_log(BL_LOG_ERR, "%s", text + 3);
	return BL_EXIT_STUCK;
}

static int run(struct keeper *k, uint64_t epoch, struct bl_err *err)
{
	BL_AUTO(bl_facts) facts = { 0 };
	if (open_job(k, epoch, err) < 0)
		return -1;
	if (read_facts(k, &facts, err) < 0)
		return -1;
	if (bl_txn_is_terminal(k->job.txn.rec.state) && !booted_unasked(k, &facts)) {
		/* killed right behind its end, or the deadman of one that has ended */
		clean_up(k, facts.system);
		return 0;
	}
	bl_txn_keep_broken(&k->job.txn);
	if (bl_doorman_new(&k->job, &k->doorman, err) < 0) {
		bl_log(BL_LOG_ERR, "%s", err->msg);
		/* nobody could confirm: then it must not begin */
		if (k->job.txn.rec.state == BL_TXN_PREPARED) {
			bl_txn_reason(&k->job.txn, "%s", err->msg);
			force(k, BL_TXN_REFUSED);
		}
	}
	recover(k, &facts);
	bl_txn_live(epoch, true);
	while (!bl_txn_is_terminal(k->job.txn.rec.state)) {
		ping(k);
		step(k);
	}
	bl_checks_free(k->checks);
	bl_doorman_free(k->doorman);
	if (k->job.txn.rec.state == BL_TXN_STUCK)
		tell_stuck(&k->job.txn);
	clean_up(k, facts.system);
	return 0;
}

/* What the unit prints belongs to the transaction that it works on. */
static void log_into(const struct bl_txn *t)
{
	bl_autofd int fd = openat(t->dir_fd, "agent.log",
				  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	(void)!dup2(fd, STDOUT_FILENO);
	(void)!dup2(fd, STDERR_FILENO);
}

int bl_guard_main(void)
{
	bl_unit_notify("READY=1");
	uint64_t epoch = bl_txn_newest_known();
	bl_autofd int lock = -1;
	struct bl_err err = { 0 };
	if (epoch == 0)
		return 0;
	if (bl_agent_dirs(&err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
	/* somebody has it in hand: a switch in this boot may start this unit too */
	else if (bl_txn_lock(false, NULL, NULL, &lock, &err) < 0)
		return 0;
	bl_closep(&lock);
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open_lost(epoch, &t, NULL) == 0) {
		if (t.rec.state == BL_TXN_STUCK)
			return tell_stuck(&t);
		log_into(&t);
	}
	return bl_keeper_main(epoch, BL_GUARD);
}

int bl_keeper_main(uint64_t epoch, enum bl_keeper_role role)
{
	struct keeper k = { .job = { .log_fd = -1, .txn = { .dir_fd = -1 }, .tick = tick },
			    .watchdog = { .fd = -1 },
			    .switch_lock = -1 };
	struct bl_err err = { 0 };
	bl_autofd int lock = -1;
	k.job.ctx = &k;
	k.role = role;
	bl_log_setup(BL_LOG_INFO, false);
	bl_point_role(role == BL_DEADMAN ? "deadman" : "keeper");
	/* paged out code cannot be read back from a disk that died; not every limit allows it
	 */
	(void)!mlockall(MCL_CURRENT | MCL_FUTURE);
	bl_autofree char *system = bl_realpath("/run/current-system");
	int rc = bl_agent_dirs(&err);
	if (rc < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
	if (role == BL_DEADMAN) {
		give_time(epoch, system ? system : "");
		rc = take_over(epoch, system ? system : "", &lock, &err);
	} else {
		rc = bl_txn_lock(true, ping, &k, &lock, &err);
	}
	bl_unit_notify("READY=1");
	if (rc == 0) {
		/* also for one that has ended: its keeper may have been killed before it let go
		 */
		bl_watchdog_open(&k.watchdog, "");
		rc = run(&k, epoch, &err);
		bl_watchdog_close(&k.watchdog);
	}
	if (rc < 0)
		bl_log(BL_LOG_ERR, "transaction %llu: %s", (unsigned long long)epoch, err.msg);
	bl_snapshot_free(&k.job.before);
	bl_plan_free(&k.job.plan);
	bl_txn_close(&k.job.txn);
	bl_closep(&k.job.log_fd);
	return rc < 0 ? 1 : 0;
}
