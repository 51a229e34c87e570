/* SPDX-License-Identifier: MIT */
/*
 * Control groups below the agent's own unit: what runs in one can be killed as a whole, also
 * what left its process group or session. Where there is none (cgroup v1, outside of our unit)
 * the process group has to do.
 */
#ifndef BELAY_AGENT_CGROUP_H
#define BELAY_AGENT_CGROUP_H

#include "base/err.h"

#include <sys/types.h>

/* Makes <unit>/@name (pids.max 2048) or finds it there; its path, NULL where not possible. */
char *bl_cgroup_make(const char *name);
/* NULL is fine for all of these. */
bool bl_cgroup_populated(const char *dir);
/* Sends SIGKILL to all in @dir and to process group @group (0: none); does not wait. */
void bl_cgroup_kill(const char *dir, pid_t group);
/* The same until all are gone, at most 10 s. */
void bl_cgroup_kill_wait(const char *dir, pid_t group);
/* Removes it if it is empty. */
void bl_cgroup_remove(const char *dir);
/* For bl_child_spawn's @before; @ctx is the path, or NULL: without the agent's protections. */
bool bl_cgroup_enter(void *ctx);

struct bl_cgroup_run {
	const char *const *argv;
	const char *const *env;
	const char *name;   /* of its control group */
	bool alone;         /* what an earlier run left there is killed first */
	int log_fd;         /* stdout and stderr: a regular file */
	int64_t output_max; /* bytes of output after which it is killed; 0: no limit */
	int64_t limit_ms;
	const bool *stop; /* becomes true: kill it; NULL: never */
};

#define BL_RUN_LIMIT   (-1) /* killed at the time limit */
#define BL_RUN_STOPPED (-2) /* killed because *stop was set */
#define BL_RUN_NOEXEC  (-3) /* it could not be started: nothing was done */
#define BL_RUN_FLOOD   (-4) /* killed because its output passed output_max */

/*
 * Runs it in its control group and waits. When it is killed, everything that it started is
 * killed with it. Gives the exit status, 128 + signal, or one of the above.
 */
int bl_cgroup_run(const struct bl_cgroup_run *run);

#endif
