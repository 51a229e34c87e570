/* SPDX-License-Identifier: MIT */
#include "agent/step.h"

#include "agent/commit.h"
#include "agent/point.h"
#include "agent/rollback.h"
#include "agent/trial.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static enum bl_where where(const struct bl_record *r, const char *path)
{
	if (strcmp(path, r->system_old) == 0)
		return BL_ON_OLD;
	return strcmp(path, r->system_new) == 0 ? BL_ON_NEW : BL_ON_OTHER;
}

bool bl_same_boot(const struct bl_txn *t)
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

static enum bl_recovery what_to_do(struct bl_keeper *k, const struct bl_facts *f)
{
	const struct bl_record *r = &k->job.txn.rec;
	enum bl_where dflt = where(r, bl_facts_default(f));
	if (bl_same_boot(&k->job.txn)) {
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

static void begin_rollback(struct bl_keeper *k)
{
	bl_txn_reason(&k->job.txn, "the agent was interrupted");
	bl_keeper_force(k, BL_TXN_ROLLING_BACK);
}

/* The deadman of the boot before went with it. */
static int set_deadman(struct bl_keeper *k, int64_t after_ms, struct bl_err *err)
{
	struct bl_tool d;
	const char *tools = k->job.txn.rec.system_old;
	return bl_unit_begin_deadman(tools, &k->job.txn.rec, after_ms, &d, err) < 0
		       ? -1
		       : bl_unit_wait_deadman(&d, err);
}

/*
 * NEW came up, as asked. That is on disk before anything else: whoever boots NEW once more has
 * not been asked to.
 */
static void begin_trial(struct bl_keeper *k)
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
	int64_t dead_ms = (int64_t)k->job.plan.boot_ms +
			  (int64_t)bl_plan_checks_ms(&k->job.plan) + r->confirm_ms + 30000;
	/* a keeper that nobody watches does not go on */
	if (set_deadman(k, dead_ms, &err) < 0) {
		bl_txn_reason(&k->job.txn, "%s", err.msg);
		begin_rollback(k);
	}
}

/* Ends what a boot or a lost journal left, by what runs now. */
static void close_by_facts(struct bl_keeper *k, const struct bl_facts *f)
{
	static const enum bl_txn_state end[BL_ON_NWHERE] = {
		[BL_ON_OLD] = BL_TXN_ROLLED_BACK,
		[BL_ON_NEW] = BL_TXN_COMMITTED,
		[BL_ON_OTHER] = BL_TXN_SUPERSEDED,
	};
	bl_txn_remark(&k->job.txn, "its journal was lost; told by what runs and boots");
	bl_keeper_force(k, end[where(&k->job.txn.rec, f->system)]);
}

void bl_recover(struct bl_keeper *k, const struct bl_facts *f)
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
		bl_post_rollback(k);
		bl_keeper_force(k, BL_TXN_ROLLED_BACK);
		return;
	case BL_REC_TRIAL:
		begin_trial(k);
		return;
	case BL_REC_CLOSE_REFUSED:
		bl_txn_reason(&k->job.txn, "it could not begin in time");
		bl_keeper_force(k, BL_TXN_REFUSED);
		return;
	case BL_REC_REBOOT:
		/* it comes back only where no reboot can help */
		k->job.txn.rec.state = BL_TXN_ROLLING_BACK;
		bl_trial_leave(&k->job);
		bl_rollback_reboot(&k->job, BL_REBOOT_NORMAL);
		bl_keeper_force(k, BL_TXN_STUCK);
		return;
	case BL_REC_SUPERSEDED:
		bl_txn_reason(&k->job.txn, "somebody else chose another system meanwhile");
		bl_keeper_force(k, BL_TXN_SUPERSEDED);
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
			bl_post_rollback(k);
		bl_keeper_force(k, e == BL_EV_COMMIT_UNDONE ? BL_TXN_ROLLED_BACK
				   : e == BL_EV_THIRD_PARTY ? BL_TXN_SUPERSEDED
							    : BL_TXN_STUCK);
		return;
	}
	case BL_REC_ROLL_BACK:
		begin_rollback(k);
		return;
	}
}

bool bl_booted_unasked(const struct bl_keeper *k, const struct bl_facts *f)
{
	const struct bl_record *r = &k->job.txn.rec;
	return !bl_same_boot(&k->job.txn) &&
	       bl_guard_after_boot(bl_txn_journal(r->state), where(r, f->booted),
				   where(r, bl_facts_default(f))) == BL_REC_REBOOT;
}
