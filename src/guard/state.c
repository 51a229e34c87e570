/* SPDX-License-Identifier: MIT */
#include "guard/state.h"

#include <string.h>

static const char *const state_names[BL_TXN_NSTATES] = {
	[BL_TXN_NONE] = "NONE",
	[BL_TXN_PREPARED] = "PREPARED",
	[BL_TXN_ARMED] = "ARMED",
	[BL_TXN_ACTIVATING] = "ACTIVATING",
	[BL_TXN_CHECKING] = "CHECKING",
	[BL_TXN_WAIT_CONFIRM] = "WAIT_CONFIRM",
	[BL_TXN_TRIAL_INSTALLED] = "TRIAL_INSTALLED",
	[BL_TXN_TRIAL_REBOOT] = "TRIAL_REBOOT",
	[BL_TXN_TRIAL_CHECKING] = "TRIAL_CHECKING",
	[BL_TXN_TRIAL_WAIT] = "TRIAL_WAIT",
	[BL_TXN_CONFIRMED] = "CONFIRMED",
	[BL_TXN_COMMITTING] = "COMMITTING",
	[BL_TXN_COMMITTED] = "COMMITTED",
	[BL_TXN_ROLLING_BACK] = "ROLLING_BACK",
	[BL_TXN_ROLLED_BACK] = "ROLLED_BACK",
	[BL_TXN_REFUSED] = "REFUSED",
	[BL_TXN_SUPERSEDED] = "SUPERSEDED",
	[BL_TXN_STUCK] = "STUCK",
};

static const char *const event_names[BL_EV_NEVENTS] = {
	[BL_EV_ARM] = "ARM",
	[BL_EV_ACTIVATE] = "ACTIVATE",
	[BL_EV_ACTIVATED] = "ACTIVATED",
	[BL_EV_UNTOUCHED] = "UNTOUCHED",
	[BL_EV_CHECKS_OK] = "CHECKS_OK",
	[BL_EV_FAIL] = "FAIL",
	[BL_EV_CONFIRM] = "CONFIRM",
	[BL_EV_TRIAL] = "TRIAL",
	[BL_EV_INSTALLED] = "INSTALLED",
	[BL_EV_UNGUARDED] = "UNGUARDED",
	[BL_EV_DEADLINE] = "DEADLINE",
	[BL_EV_ABORT] = "ABORT",
	[BL_EV_COMMIT] = "COMMIT",
	[BL_EV_COMMIT_OK] = "COMMIT_OK",
	[BL_EV_COMMIT_UNDONE] = "COMMIT_UNDONE",
	[BL_EV_OLD_RUNS] = "OLD_RUNS",
	[BL_EV_THIRD_PARTY] = "THIRD_PARTY",
	[BL_EV_GIVE_UP] = "GIVE_UP",
};

/* A cell that is not listed is BL_TXN_NONE: the event is refused. */
static const enum bl_txn_state next_state[BL_TXN_NSTATES][BL_EV_NEVENTS] = {
	[BL_TXN_PREPARED] = {
		[BL_EV_ARM] = BL_TXN_ARMED,
		[BL_EV_UNTOUCHED] = BL_TXN_REFUSED,
		[BL_EV_ABORT] = BL_TXN_REFUSED,
		[BL_EV_DEADLINE] = BL_TXN_REFUSED,
		[BL_EV_FAIL] = BL_TXN_REFUSED,
	},
	[BL_TXN_ARMED] = {
		[BL_EV_ACTIVATE] = BL_TXN_ACTIVATING,
		[BL_EV_TRIAL] = BL_TXN_TRIAL_INSTALLED,
		[BL_EV_UNGUARDED] = BL_TXN_CONFIRMED,
		[BL_EV_UNTOUCHED] = BL_TXN_REFUSED,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_ACTIVATING] = {
		[BL_EV_ACTIVATED] = BL_TXN_CHECKING,
		[BL_EV_UNTOUCHED] = BL_TXN_REFUSED,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
	},
	[BL_TXN_CHECKING] = {
		[BL_EV_CHECKS_OK] = BL_TXN_WAIT_CONFIRM,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_WAIT_CONFIRM] = {
		[BL_EV_CONFIRM] = BL_TXN_CONFIRMED,
		/* live+boot: the confirmation was a provisional one */
		[BL_EV_TRIAL] = BL_TXN_TRIAL_INSTALLED,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_TRIAL_INSTALLED] = {
		[BL_EV_INSTALLED] = BL_TXN_TRIAL_REBOOT,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	/* forward leads a boot alone: bl_guard_after_boot */
	[BL_TXN_TRIAL_REBOOT] = {
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_TRIAL_CHECKING] = {
		[BL_EV_CHECKS_OK] = BL_TXN_TRIAL_WAIT,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_TRIAL_WAIT] = {
		[BL_EV_CONFIRM] = BL_TXN_CONFIRMED,
		[BL_EV_FAIL] = BL_TXN_ROLLING_BACK,
		[BL_EV_ABORT] = BL_TXN_ROLLING_BACK,
		[BL_EV_DEADLINE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
	},
	[BL_TXN_CONFIRMED] = {
		[BL_EV_COMMIT] = BL_TXN_COMMITTING,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
		[BL_EV_COMMIT_UNDONE] = BL_TXN_ROLLING_BACK,
		[BL_EV_GIVE_UP] = BL_TXN_STUCK,
	},
	[BL_TXN_COMMITTING] = {
		[BL_EV_COMMIT_OK] = BL_TXN_COMMITTED,
		[BL_EV_COMMIT_UNDONE] = BL_TXN_ROLLING_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
		[BL_EV_GIVE_UP] = BL_TXN_STUCK,
	},
	[BL_TXN_ROLLING_BACK] = {
		[BL_EV_OLD_RUNS] = BL_TXN_ROLLED_BACK,
		[BL_EV_THIRD_PARTY] = BL_TXN_SUPERSEDED,
		[BL_EV_GIVE_UP] = BL_TXN_STUCK,
	},
};

enum bl_txn_state bl_txn_next(enum bl_txn_state state, enum bl_txn_event event)
{
	return next_state[state][event];
}

bool bl_txn_is_terminal(enum bl_txn_state state)
{
	for (size_t e = 0; e < BL_EV_NEVENTS; e++)
		if (next_state[state][e] != BL_TXN_NONE)
			return false;
	return state != BL_TXN_NONE;
}

const char *bl_txn_name(enum bl_txn_state state)
{
	return state < BL_TXN_NSTATES ? state_names[state] : "?";
}

const char *bl_txn_event_name(enum bl_txn_event event)
{
	return event < BL_EV_NEVENTS ? event_names[event] : "?";
}

int bl_txn_parse(const char *name, enum bl_txn_state *out, struct bl_err *err)
{
	for (size_t i = 1; i < BL_TXN_NSTATES; i++) {
		if (strcmp(state_names[i], name) == 0) {
			*out = (enum bl_txn_state)i;
			return 0;
		}
	}
	return bl_err_set(err, BL_E_INPUT, "'%.32s' is not a state of a transaction", name);
}

enum bl_journal bl_txn_journal(enum bl_txn_state state)
{
	static const enum bl_journal journal[BL_TXN_NSTATES] = {
		[BL_TXN_NONE] = BL_JR_NONE,
		/* nothing was done yet, but nobody is to guess: it is closed like an armed one
		 */
		[BL_TXN_PREPARED] = BL_JR_ARMED,
		[BL_TXN_ARMED] = BL_JR_ARMED,
		[BL_TXN_ACTIVATING] = BL_JR_ARMED,
		[BL_TXN_CHECKING] = BL_JR_ARMED,
		[BL_TXN_WAIT_CONFIRM] = BL_JR_ARMED,
		/* no one-shot before its journal is durable, and none any more once NEW came
		 * up: from there a second boot of NEW was not asked for */
		[BL_TXN_TRIAL_INSTALLED] = BL_JR_ARMED,
		[BL_TXN_TRIAL_REBOOT] = BL_JR_TRIAL,
		[BL_TXN_TRIAL_CHECKING] = BL_JR_ARMED,
		[BL_TXN_TRIAL_WAIT] = BL_JR_ARMED,
		[BL_TXN_CONFIRMED] = BL_JR_CONFIRMED,
		[BL_TXN_COMMITTING] = BL_JR_CONFIRMED,
		[BL_TXN_COMMITTED] = BL_JR_DONE,
		[BL_TXN_ROLLING_BACK] = BL_JR_ARMED,
		[BL_TXN_ROLLED_BACK] = BL_JR_RB,
		[BL_TXN_REFUSED] = BL_JR_RB,
		/* hands off for ever, as after a commit: what boots is somebody else's choice
		 */
		[BL_TXN_SUPERSEDED] = BL_JR_DONE,
		[BL_TXN_STUCK] = BL_JR_DONE,
	};
	return journal[state];
}

const char *bl_journal_name(enum bl_journal journal)
{
	static const char *const names[BL_JR_NJOURNALS] = { "NONE",      "ARMED", "TRIAL",
							    "CONFIRMED", "DONE",  "RB" };
	return journal < BL_JR_NJOURNALS ? names[journal] : "?";
}

const char *bl_recovery_name(enum bl_recovery action)
{
	static const char *const names[BL_REC_NACTIONS] = {
		"nothing",     "keep aside",    "close as rolled back", "reboot",
		"superseded",  "finish commit", "undo commit",          "roll back",
		"resume wait", "begin",         "close as refused",     "trial",
	};
	return action < BL_REC_NACTIONS ? names[action] : "?";
}

enum bl_recovery bl_guard_after_boot(enum bl_journal journal, enum bl_where booted,
				     enum bl_where boot_default)
{
	switch (journal) {
	case BL_JR_DONE:
	case BL_JR_NJOURNALS:
		return BL_REC_NOTHING;
	case BL_JR_NONE:
		/* an orphaned one-shot runs NEW; what else runs is somebody's choice */
		return booted == BL_ON_NEW && boot_default == BL_ON_OLD ? BL_REC_REBOOT
									: BL_REC_KEEP_ASIDE;
	case BL_JR_RB:
		/* only NEW running unasked, beside OLD, is ours to end; another default, or an
		 * older entry, is the operator's choice */
		return booted == BL_ON_NEW && boot_default == BL_ON_OLD ? BL_REC_REBOOT
									: BL_REC_NOTHING;
	case BL_JR_ARMED:
		if (booted == BL_ON_OLD)
			return BL_REC_CLOSE_RB;
		if (booted == BL_ON_NEW && boot_default == BL_ON_OLD)
			return BL_REC_REBOOT;
		return BL_REC_SUPERSEDED;
	case BL_JR_TRIAL:
		if (booted == BL_ON_OLD)
			return BL_REC_CLOSE_RB;
		return booted == BL_ON_NEW && boot_default == BL_ON_OLD ? BL_REC_TRIAL
									: BL_REC_SUPERSEDED;
	case BL_JR_CONFIRMED:
		if (booted == BL_ON_NEW)
			return BL_REC_FINISH_COMMIT;
		return booted == BL_ON_OLD ? BL_REC_UNDO_COMMIT : BL_REC_SUPERSEDED;
	}
	return BL_REC_NOTHING;
}

enum bl_recovery bl_guard_after_restart(enum bl_txn_state state, bool in_time,
					enum bl_where boot_default)
{
	switch (state) {
	case BL_TXN_NONE:
	case BL_TXN_NSTATES:
		/* the default is NEW only after a confirmation (I1): then it was committed */
		return boot_default == BL_ON_NEW ? BL_REC_FINISH_COMMIT : BL_REC_ROLL_BACK;
	case BL_TXN_PREPARED:
		return in_time ? BL_REC_BEGIN : BL_REC_CLOSE_REFUSED;
	case BL_TXN_ARMED:
	case BL_TXN_ACTIVATING:
	case BL_TXN_CHECKING:
	case BL_TXN_ROLLING_BACK:
	case BL_TXN_TRIAL_INSTALLED:
	case BL_TXN_TRIAL_REBOOT:
		return BL_REC_ROLL_BACK;
	case BL_TXN_WAIT_CONFIRM:
	case BL_TXN_TRIAL_CHECKING:
	case BL_TXN_TRIAL_WAIT:
		return in_time ? BL_REC_RESUME_WAIT : BL_REC_ROLL_BACK;
	case BL_TXN_CONFIRMED:
	case BL_TXN_COMMITTING:
		return BL_REC_FINISH_COMMIT;
	case BL_TXN_COMMITTED:
	case BL_TXN_ROLLED_BACK:
	case BL_TXN_REFUSED:
	case BL_TXN_SUPERSEDED:
	case BL_TXN_STUCK:
		return BL_REC_NOTHING;
	}
	return BL_REC_NOTHING;
}
