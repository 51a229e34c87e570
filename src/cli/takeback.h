/* SPDX-License-Identifier: MIT */
/* Committed hosts of a failed run go back to the system that they ran before it. */
#ifndef BELAY_CLI_TAKEBACK_H
#define BELAY_CLI_TAKEBACK_H

#include "cli/telling.h"

struct bl_take_back {
	const struct bl_node *const *nodes; /* of the failed run */
	size_t n;
	const bool *wanted;   /* one a host; only committed ones go back */
	const unsigned *road; /* one a host, as bl_waves_plan takes it */
	size_t parallel;
	const char *source; /* of the fleet, for the history */
};

/*
 * A run of its own, with a guarded transaction for each host; nothing where there is none.
 * Fails when it could not be begun.
 */
int bl_take_back(const struct bl_take_back *back, struct bl_telling *t,
		 struct bl_history *history, struct bl_err *err) BL_MUST_CHECK;

/*
 * What goes for @node on its way back to @system: its hooks, checks and the judgement of units
 * are for the new system, so that none of them decides. @checks takes its checks then, freed by
 * the caller; the rest of @out is @node's own.
 */
void bl_take_back_node(const struct bl_node *node, char *system, struct bl_check **checks,
		       struct bl_node *out);

#endif
