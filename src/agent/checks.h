/* SPDX-License-Identifier: MIT */
/* The target's checks of a plan, side by side, without ever waiting for one. */
#ifndef BELAY_AGENT_CHECKS_H
#define BELAY_AGENT_CHECKS_H

#include "agent/job.h"

struct bl_checks;

enum bl_checks_verdict { BL_CHECKS_RUNNING, BL_CHECKS_OK, BL_CHECKS_FAILED };

/* All checks of @job's plan, not begun yet. @job is borrowed. */
struct bl_checks *bl_checks_new(struct bl_job *job);
/*
 * Goes on with all of them and returns at once. OK: all have ended, and every required one is
 * good. FAILED: a required one is not; @reason says which and why. What each one says goes into
 * stc.log, and the failure of an advisory one becomes a remark.
 */
enum bl_checks_verdict bl_checks_step(struct bl_checks *c, char *reason, size_t size);
/* Has the required units that were good asked once more, from the next step on. */
void bl_checks_ask_units(struct bl_checks *c);
/* Kills what still runs. NULL is fine. */
void bl_checks_free(struct bl_checks *c);

#endif
