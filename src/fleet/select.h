/* SPDX-License-Identifier: MIT */
/* Which nodes of a fleet a command is about. */
#ifndef BELAY_FLEET_SELECT_H
#define BELAY_FLEET_SELECT_H

#include "fleet/fleet.h"

struct bl_selection {
	const struct bl_node **nodes; /* borrowed from the fleet, in its order, each once */
	size_t n;
};

/*
 * Selects by @words: node names, globs (web-*), @tag; a word may hold several with commas; a
 * leading '!' takes away what it matches (alone: from all). No words: every enabled node. A
 * node that is named exactly is selected even when it is not enabled; globs and tags pick
 * enabled ones. A word that matches nothing, or an empty result, is BL_E_USAGE with the nearest
 * name there is.
 */
int bl_select(const struct bl_fleet *fleet, const struct bl_strv *words,
	      struct bl_selection *out, struct bl_err *err) BL_MUST_CHECK;
void bl_selection_free(struct bl_selection *s);

static inline void bl_selection_autop(struct bl_selection *s)
{
	bl_selection_free(s);
}

#endif
