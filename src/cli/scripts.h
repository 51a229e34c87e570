/* SPDX-License-Identifier: MIT */
/* The user's own scripts on this machine: before a node is deployed to, and behind it. */
#ifndef BELAY_CLI_SCRIPTS_H
#define BELAY_CLI_SCRIPTS_H

#include "cli/telling.h"

/*
 * Runs the phases of @sel's nodes, one after the other in the order of the nodes, until one
 * fails: then this fails too. With @keep_going the node alone is taken out of @sel, and is
 * another that @built misses; it fails when none is left. An interrupt stops the phase that
 * runs, and is a failure with built->interrupted.
 */
int bl_scripts_prepare(struct bl_telling *t, struct bl_selection *sel, bool keep_going,
		       struct bl_built *built, struct bl_err *err) BL_MUST_CHECK;
/*
 * Runs the postDeployScript of those nodes of @run that are on their new system since it, one
 * after the other; none where the run was interrupted. What fails is told. Gives the exit code:
 * @code, or what became of it.
 */
int bl_scripts_after(struct bl_telling *t, const char *run, const struct bl_selection *sel,
		     int code);

#endif
