/* SPDX-License-Identifier: MIT */
/* What `deploy` and `resume` share: driving hosts, telling and recording what happens. */
#ifndef BELAY_CLI_TELLING_H
#define BELAY_CLI_TELLING_H

#include "cli/build.h"
#include "cli/cmd.h"
#include "rollout/drive.h"

/* The history's word for a run that takes hosts back. */
#define BL_RUN_TAKE_BACK "take-back"

struct bl_telling;

/* @history is borrowed. */
struct bl_telling *bl_telling_new(const struct bl_args *args, struct bl_history *history);
/*
 * Drives @hosts, and tells and records it as @run; its owner, run, observer and ctx are filled
 * in here. May be called again for another run: what it says of a host is what counts then.
 * Fails when nothing could be begun.
 */
int bl_telling_drive(struct bl_telling *t, const char *run, const struct bl_drive_spec *hosts,
		     struct bl_drive_report *out, struct bl_err *err) BL_MUST_CHECK;
/* After driving the others: a node that was left out of run @run, and so has failed in it. */
void bl_telling_not_built(struct bl_telling *t, const char *run, const struct bl_not_built *m);
/*
 * A line that a script of node @name printed on this machine, or that is about it; into @run's
 * history too, unless that is NULL.
 */
void bl_telling_said(struct bl_telling *t, const char *run, const char *name,
		     const char *stream, const char *line);
/* A remark about node @name, kept in @run's history. */
void bl_telling_note(struct bl_telling *t, const char *run, const char *name, const char *text);
/* Whether a run of @t was interrupted. */
bool bl_telling_interrupted(const struct bl_telling *t);
/* A remark about the run. */
void bl_telling_remark(struct bl_telling *t, const char *text);
/* How host @name ended, and the system that it ran before; NULL when it was not started. */
enum bl_outcome bl_telling_outcome(const struct bl_telling *t, const char *name,
				   const char **out_system_old);
/* The exit code so far: stuck before interrupted before rolled back before failed. */
int bl_telling_exit_code(const struct bl_telling *t);
/* The last word, with the program's exit code, and the end of @t. NULL is fine. */
void bl_telling_end(struct bl_telling *t, int exit_code);

#endif
