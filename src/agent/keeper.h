/* SPDX-License-Identifier: MIT */
/* The keeper: one process that guards one transaction from its first step to its end. */
#ifndef BELAY_AGENT_KEEPER_H
#define BELAY_AGENT_KEEPER_H

#include "base/base.h"

enum bl_keeper_role {
	BL_KEEPER,
	BL_DEADMAN, /* kills the keeper that did not end in time and takes its place */
	BL_GUARD,   /* in the unit of the boot, see bl_guard_main */
};

/*
 * Runs transaction @epoch to its end, from whatever its record says: a new one, one whose
 * keeper died, one that a reboot cut short. Exit status of the program.
 */
int bl_keeper_main(uint64_t epoch, enum bl_keeper_role role);

/*
 * Early in every boot: ends the transaction that the boot before left open, and a boot of NEW
 * that nobody asked for. A host that is STUCK says so again, with status BL_EXIT_STUCK.
 */
int bl_guard_main(void);
#define BL_EXIT_STUCK 3

/* Takes away what an ended transaction leaves outside of its folder. */
struct bl_txn;
void bl_keeper_clean(const struct bl_txn *t);

#endif
