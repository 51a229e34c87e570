/* SPDX-License-Identifier: MIT */
/*
 * The protocol of guarded activation as pure tables: the states of one transaction, what each
 * event does to it, and what the guard does with what it finds after a restart or a boot.
 * No processes, files or clocks here. The spin model in tests/model holds the same rules.
 */
#ifndef BELAY_GUARD_STATE_H
#define BELAY_GUARD_STATE_H

#include "base/err.h"

enum bl_txn_state {
	BL_TXN_NONE, /* no transaction, or a cell that is refused */
	BL_TXN_PREPARED,
	BL_TXN_ARMED,
	BL_TXN_ACTIVATING,
	BL_TXN_CHECKING,
	BL_TXN_WAIT_CONFIRM,
	BL_TXN_TRIAL_INSTALLED, /* the candidate is being put beside the untouched default */
	BL_TXN_TRIAL_REBOOT,    /* the next boot, and only that one, is into NEW */
	BL_TXN_TRIAL_CHECKING,  /* NEW came up */
	BL_TXN_TRIAL_WAIT,
	BL_TXN_CONFIRMED,
	BL_TXN_COMMITTING,
	BL_TXN_COMMITTED,
	BL_TXN_ROLLING_BACK,
	BL_TXN_ROLLED_BACK,
	BL_TXN_REFUSED,
	BL_TXN_SUPERSEDED,
	BL_TXN_STUCK,
	BL_TXN_NSTATES,
};

enum bl_txn_event {
	BL_EV_ARM,       /* the journal is durable, the deadman runs */
	BL_EV_ACTIVATE,  /* switch-to-configuration starts */
	BL_EV_ACTIVATED, /* its result is good enough to go on */
	BL_EV_UNTOUCHED, /* it refused before it changed anything */
	BL_EV_CHECKS_OK,
	BL_EV_FAIL,          /* activation or a check failed */
	BL_EV_CONFIRM,       /* a valid proof over a fresh connection */
	BL_EV_TRIAL,         /* NEW is to be booted once, unconfirmed */
	BL_EV_INSTALLED,     /* read back: the candidate is there, the default is OLD */
	BL_EV_UNGUARDED,     /* the operator wants NEW as boot default, unproven */
	BL_EV_DEADLINE,      /* nobody confirmed in time, or the deadman fired */
	BL_EV_ABORT,         /* the operator asks to stop */
	BL_EV_COMMIT,        /* the profile and boot loader are about to be changed */
	BL_EV_COMMIT_OK,     /* read back: the boot default is NEW */
	BL_EV_COMMIT_UNDONE, /* the commit failed and the boot default is OLD again */
	BL_EV_OLD_RUNS,      /* RB_VERIFY says so */
	BL_EV_THIRD_PARTY,   /* somebody else changed system, profile or loader */
	BL_EV_GIVE_UP,       /* the ladder is exhausted, or the loader cannot be written */
	BL_EV_NEVENTS,
};

/* Where @event leads from @state; BL_TXN_NONE: refused, the state stays. */
enum bl_txn_state bl_txn_next(enum bl_txn_state state, enum bl_txn_event event);

bool bl_txn_is_terminal(enum bl_txn_state state);
const char *bl_txn_name(enum bl_txn_state state); /* "WAIT_CONFIRM" */
const char *bl_txn_event_name(enum bl_txn_event event);
int bl_txn_parse(const char *name, enum bl_txn_state *out, struct bl_err *err) BL_MUST_CHECK;

/* What the journal of a state means to whoever reads it after a crash (section 3). */
enum bl_journal {
	BL_JR_NONE,  /* no journal, or one that cannot be read */
	BL_JR_ARMED, /* a step towards NEW may have been made */
	BL_JR_TRIAL, /* one boot into NEW was asked for, and has not been seen */
	BL_JR_CONFIRMED,
	BL_JR_DONE,
	BL_JR_RB, /* back on OLD, or never left it */
	BL_JR_NJOURNALS,
};

enum bl_journal bl_txn_journal(enum bl_txn_state state);
const char *bl_journal_name(enum bl_journal journal);

/* What runs and what would boot, as seen by whoever recovers. */
enum bl_where { BL_ON_OLD, BL_ON_NEW, BL_ON_OTHER, BL_ON_NWHERE };

enum bl_recovery {
	BL_REC_NOTHING,
	BL_REC_KEEP_ASIDE,    /* unreadable journal: keep the file, report, change nothing */
	BL_REC_CLOSE_RB,      /* write RB "rebooted in the window" */
	BL_REC_REBOOT,        /* an orphaned one-shot: reboot once to the default */
	BL_REC_SUPERSEDED,    /* not ours: somebody set it; hands off */
	BL_REC_FINISH_COMMIT, /* roll forward (idempotent) */
	BL_REC_UNDO_COMMIT,   /* put the default back to OLD, then write RB */
	BL_REC_ROLL_BACK,     /* live rollback to OLD */
	BL_REC_RESUME_WAIT,   /* wait on, with the original deadline */
	BL_REC_BEGIN,         /* nothing was done yet: begin */
	BL_REC_CLOSE_REFUSED, /* nothing was done, and it is too late to begin */
	BL_REC_TRIAL,         /* NEW came up as asked: check it and wait */
	BL_REC_NACTIONS,
};

const char *bl_recovery_name(enum bl_recovery action);

/*
 * After a boot (section 4.1): @journal as found, @booted what runs, @boot_default what a power
 * cycle would start. Never leads towards NEW without CONFIRMED; never moves the default when
 * the journal is gone.
 */
enum bl_recovery bl_guard_after_boot(enum bl_journal journal, enum bl_where booted,
				     enum bl_where boot_default);

/*
 * After a restart of the agent in the same boot: @state as recorded, BL_TXN_NONE when the
 * journal of this epoch cannot be read (then OLD is known from its GC root). @in_time: the
 * deadline of the recorded state has not passed. @boot_default: as above.
 *
 * A record of another boot goes through bl_guard_after_boot until it was written anew with this
 * boot's id: a guard that is killed while it undoes a commit must not come back to finish it.
 */
enum bl_recovery bl_guard_after_restart(enum bl_txn_state state, bool in_time,
					enum bl_where boot_default);

#endif
