/* SPDX-License-Identifier: MIT */
/* The systems of the nodes that were selected, several at once. */
#ifndef BELAY_FLEET_EVALUATE_H
#define BELAY_FLEET_EVALUATE_H

#include "fleet/read.h"
#include "fleet/select.h"

struct bl_evaluation {
	uint64_t workers; /* evaluations side by side; 0: as many as there are processors */
	uint64_t memory;  /* bytes that they may take together; 0: half of what is free */
	bool keep_going;  /* a node that fails does not keep the others from being evaluated */
	/* how many of @sel are done; may be NULL */
	void (*progress)(void *ctx, size_t done, size_t all);
	/* one that failed; with keep_going only */
	void (*failed)(void *ctx, const struct bl_node *node, const char *why);
	void *ctx;
};

/*
 * Evaluates the systems of @sel's nodes, which are @fleet's: drv_path, out_path and system are
 * set afterwards, and the derivations are in the local store, not built. With keep_going the
 * nodes that failed are taken out of @sel, and it is an error only when none is left. Without
 * it -1 as soon as one fails; some nodes may have theirs by then.
 */
int bl_fleet_evaluate(struct bl_source *source, const struct bl_evaluation *how,
		      struct bl_fleet *fleet, struct bl_selection *sel,
		      struct bl_err *err) BL_MUST_CHECK;

#endif
