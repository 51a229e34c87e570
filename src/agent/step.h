/* SPDX-License-Identifier: MIT */
/*
 * What the keeper's files share: keeper.c is the process and its end, recover.c what a keeper
 * begins with, step.c one step of a transaction after the other.
 */
#ifndef BELAY_AGENT_STEP_H
#define BELAY_AGENT_STEP_H

#include "agent/checks.h"
#include "agent/doorman.h"
#include "agent/keeper.h"
#include "agent/watchdog.h"

/* How long OLD may wait for somebody to reach it, after a rollback from an unreachable NEW. */
#define BL_VISIT_MS 60000

struct bl_keeper {
	struct bl_job job;
	struct bl_doorman *doorman;
	struct bl_checks *checks; /* NULL: not begun */
	struct bl_watchdog watchdog;
	int switch_lock; /* NixOS's own lock while waiting: others fail loudly instead of racing
			  */
	enum bl_keeper_role role;
	bool after_boot;
	bool unconfirmed; /* live, and nobody came in time */
	int64_t pinged_ns;
	int64_t units_ns;
	struct bl_strv failed_jobs; /* of the activation, see bl_activation_failed */
	bool units_told;
};

/* Forwards only what the table allows; a journal that cannot be written then is a failure. */
void bl_keeper_move(struct bl_keeper *k, enum bl_txn_event event);
/* A recovery puts the state where the facts are, past the table's single steps. */
void bl_keeper_force(struct bl_keeper *k, enum bl_txn_state state);

/* Does what the present state asks for, up to the next one. */
void bl_step(struct bl_keeper *k);
/* The user's hook once OLD runs again. */
void bl_post_rollback(struct bl_keeper *k);

/* Brings the record in line with what runs and boots: a new one, a restart, a boot. */
void bl_recover(struct bl_keeper *k, const struct bl_facts *f);
/* Whether the record is of this boot. */
bool bl_same_boot(const struct bl_txn *t);
/* A one-shot that outlived its transaction: NEW runs, and nobody asked for it any more. */
bool bl_booted_unasked(const struct bl_keeper *k, const struct bl_facts *f);

#endif
