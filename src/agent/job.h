/* SPDX-License-Identifier: MIT */
/* What the steps of one transaction share while its keeper works on it. */
#ifndef BELAY_AGENT_JOB_H
#define BELAY_AGENT_JOB_H

#include "agent/snapshot.h"
#include "agent/system.h"
#include "agent/txn.h"
#include "guard/plan.h"

struct bl_job {
	struct bl_txn txn;
	struct bl_plan plan;
	struct bl_snapshot before; /* empty when it was lost */
	bool have_before;
	int log_fd;   /* stc.log */
	bool abort;   /* an operator asked to stop */
	bool leaving; /* the trial's reboot is under way */
	bool starve;  /* no reboot came about: the watchdog, if it is ours, is to bite */
};

/* Whether @path is what runs now. */
bool bl_job_runs(const char *path);
/* Whether it is a third system, of somebody else's. What cannot be read is nobody's. */
bool bl_job_runs_other(const struct bl_job *job);
/* Writes one line for people into stc.log. */
void bl_job_say(const struct bl_job *job, const char *fmt, ...) BL_PRINTF(2, 3);
/*
 * On a full disk what programs print goes nowhere from here on: some die when they cannot
 * print, and the way back is not to.
 */
void bl_job_spare_log(const struct bl_job *job);
/*
 * The environment of what the user has run in a transaction: OLD's programs, or NEW's before
 * OLD's with @new_first, and BELAY_OLD, BELAY_NEW, BELAY_TRANSACTION.
 */
void bl_job_env(const struct bl_job *job, bool new_first, struct bl_strv *out);
/* Path of a program of OLD, or of NEW where OLD lacks it; NULL when both do. */
char *bl_job_tool(const struct bl_job *job, const char *name);

#endif
