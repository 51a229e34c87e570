/* SPDX-License-Identifier: MIT */
/* Running a system's switch-to-configuration so that nothing of it can outlive or block us. */
#ifndef BELAY_AGENT_ACTIVATION_H
#define BELAY_AGENT_ACTIVATION_H

#include "agent/cgroup.h"
#include "base/str.h"

struct bl_stc {
	const char *system;       /* whose switch-to-configuration */
	const char *action;       /* "test", "boot", "check" */
	const char *tools_system; /* whose sw/bin is its PATH to begin with */
	bool no_check;            /* NIXOS_NO_CHECK=1: pre-switch checks cannot block it */
	int log_fd;               /* stdout and stderr: a regular file */
	int64_t output_max;       /* bytes of output after which it is killed; 0: no limit */
	int64_t limit_ms;
	const bool *stop; /* becomes true: kill it; NULL: never */
};

#define BL_STC_LIMIT   BL_RUN_LIMIT
#define BL_STC_STOPPED BL_RUN_STOPPED
#define BL_STC_NOEXEC  BL_RUN_NOEXEC
#define BL_STC_FLOOD   BL_RUN_FLOOD

/*
 * Runs it in a control group of its own below ours (pids.max 2048) and waits. When it is
 * killed, everything that it started is killed with it, also what left its process group; where
 * there is no control group, the process group has to do. Gives the exit status, 128 + signal,
 * or one of the above.
 */
int bl_stc_run(const struct bl_stc *stc);

enum bl_verdict {
	BL_ACT_OK,
	BL_ACT_UNITS,     /* units failed, nothing else: the units policy decides */
	BL_ACT_LOCKED,    /* another switch-to-configuration holds the lock: nothing was done */
	BL_ACT_UNTOUCHED, /* refused before anything was changed */
	BL_ACT_FAILED,    /* done in part */
};

/*
 * What @status of `test` and its output say (guarded-activation.md 5.1). 4 overwrites 2, so the
 * output decides there. @reason gets a sentence. Source: nixpkgs switch-to-configuration(-ng).
 */
enum bl_verdict bl_activation_judge(int status, const char *output, char *reason, size_t size);

/*
 * The lines of the output that @fd gives up to its end which the two below look for: a new
 * string, of 64 KiB at the most however much was printed.
 */
char *bl_activation_signs(int fd);

/*
 * What failed by the @output of a `test` that ended with 4, and is not to be seen in the states
 * of the units afterwards: units whose job failed though they are not failed themselves (a
 * reload), and users' units, as "user@NAME.service". Adds to @out, 64 at the most. Source:
 * nixpkgs switch-to-configuration-ng; older ones, and the one in Perl, are silent about users.
 */
void bl_activation_failed(const char *output, struct bl_strv *out);

/*
 * Drops from /run/nixos/{start,restart,reload}-list every unit that @system does not have: a
 * killed run leaves them behind, and the way back would try to start units that are no more.
 */
void bl_activation_clean_lists(const char *system);

#endif
