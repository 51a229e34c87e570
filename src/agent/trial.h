/* SPDX-License-Identifier: MIT */
/*
 * One boot into NEW beside a boot default that stays OLD (guarded-activation.md 8): a profile
 * of its own makes OLD's installer add an entry for NEW, and a one-shot of the boot loader, or
 * kexec, starts it once.
 */
#ifndef BELAY_AGENT_TRIAL_H
#define BELAY_AGENT_TRIAL_H

#include "agent/job.h"

/*
 * Whether this host can be trusted with a trial boot of @system_new. BL_E_REFUSED says why not,
 * and @out_remedy (static) what to do.
 */
int bl_trial_check(const struct bl_facts *facts, const char *system_new,
		   enum bl_strategy strategy, const char **out_remedy,
		   struct bl_err *err) BL_MUST_CHECK;

/*
 * Puts the candidate beside the default, and the guard into the next boot. Read back: NEW has
 * an entry and OLD is the default. A failure leaves what bl_trial_leave takes away.
 */
int bl_trial_install(struct bl_job *job, struct bl_err *err) BL_MUST_CHECK;
/* Sets the one-shot and reads it back, or loads NEW's kernel. Only behind a durable journal. */
int bl_trial_arm(struct bl_job *job, struct bl_err *err) BL_MUST_CHECK;
/*
 * In NEW, as soon as it runs: whether the boot loader cleared the one-shot. One that it left is
 * cleared here, and this host is marked as not to be trusted with trial boots.
 */
bool bl_trial_cleared(const struct bl_job *job);
/* Takes one-shot and candidate away again; nothing happens where there are none. */
void bl_trial_leave(struct bl_job *job);

#endif
