/* SPDX-License-Identifier: MIT */
/* What hosts run and have, before anything is sent: one question to each of them. */
#ifndef BELAY_COPY_SURVEY_H
#define BELAY_COPY_SURVEY_H

#include "base/kv.h"
#include "fleet/fleet.h"
#include "store/closure.h"

struct bl_survey {
	/* BL_E_NONE: the host was asked and answered. BL_E_UNREACHABLE, _TIMEOUT: it was not
	 * reached; else it was, and could not answer. */
	struct bl_err err;
	char *system, *profile; /* store paths: what runs, and what the system profile names */
	uint64_t generation;    /* of the profile; 0: not known */
	struct bl_closure old;  /* of what runs */
	struct bl_closure new;  /* of the node's system, where it was built there */
	/* see store/parts.h: of what was booted, what runs, and, built there, the node's system
	 */
	struct bl_kv booted_parts, old_parts, new_parts;
	struct bl_strv missing; /* paths of the new closure that the host does not have */
};

/*
 * Reads what a host printed; made harmless it is not. BL_E_INPUT: it is no answer, or not all
 * of one. On success the caller owns @out: bl_survey_free().
 */
int bl_survey_parse(const char *text, struct bl_survey *out, struct bl_err *err) BL_MUST_CHECK;
void bl_survey_free(struct bl_survey *s);

/*
 * Asks the hosts of all @n nodes, at most @parallel at once. @closures are the nodes' systems
 * here; those of nodes that were built there are asked of the host and ignored. Each host's
 * answer is in @out, which has room for @n; the caller frees each.
 */
int bl_survey(const struct bl_node *const *nodes, const struct bl_closure *closures, size_t n,
	      size_t parallel, struct bl_survey *out, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_survey_autop(struct bl_survey *s)
{
	bl_survey_free(s);
}

#endif
