/* SPDX-License-Identifier: MIT */
/* The user's own commands around an activation: preActivate and postRollback. */
#ifndef BELAY_AGENT_HOOK_H
#define BELAY_AGENT_HOOK_H

#include "agent/job.h"

/*
 * Runs @command by OLD's `sh -c` in a control group of its own, for activate_ms at the most;
 * its output goes to stc.log. Gives its exit status, or 128 + signal, or a BL_RUN_ of
 * agent/cgroup.h; 0 at once when @command is "".
 */
int bl_hook_run(struct bl_job *job, const char *command, const char *name);
/* "preActivate failed: status 3", for any result but 0. */
char *bl_hook_why(const char *name, int status);

#endif
