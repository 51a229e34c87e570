/* SPDX-License-Identifier: MIT */
/* The way back to OLD, which nothing may block: the ladder of guarded-activation.md 7. */
#ifndef BELAY_AGENT_ROLLBACK_H
#define BELAY_AGENT_ROLLBACK_H

#include "agent/reboot.h"

/*
 * R1, verified (another switch-to-configuration is waited for); R2, which puts units, addresses
 * and default routes back by hand, and R1 again; then R3, a reboot into the boot default, which
 * is OLD (and does not return). BL_EV_OLD_RUNS when OLD runs and answers; BL_EV_THIRD_PARTY
 * when somebody else put another system there; BL_EV_GIVE_UP when the boot default is not OLD
 * and cannot be made so, or three reboots were not enough.
 */
enum bl_txn_event bl_rollback(struct bl_job *job);

/* R3 alone: checks the boot default, records the reboot, and reboots. */
enum bl_txn_event bl_rollback_reboot(struct bl_job *job, enum bl_reboot how);

/* Whether an sshd greets at "address port"; true when @where is "". */
bool bl_sshd_answers(const char *where);

#endif
