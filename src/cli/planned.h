/* SPDX-License-Identifier: MIT */
/* What a deployment would do to one host, worked out and put into words. */
#ifndef BELAY_CLI_PLANNED_H
#define BELAY_CLI_PLANNED_H

#include "copy/survey.h"

struct bl_planned {
	const struct bl_node *node;       /* borrowed, as the survey is */
	const struct bl_survey *host;     /* its err says whether anything below is known */
	bool same;                        /* it runs the system, and its profile names it */
	const struct bl_closure *closure; /* the new one */
	struct bl_closure_diff diff;
	size_t copy_paths;
	uint64_t copy_bytes;
	struct bl_strv boot, network; /* parts that change; see store/parts.h */
	enum bl_strategy strategy;    /* what the node's comes to */
	char *unproven;               /* what stays so, or NULL */
	/* of --units: what its dry-activate printed, or why there is none; NULL: not asked for
	 */
	char *units, *units_problem;
};

/*
 * @closure and @parts are those of @node's system as they are here; of one that was built there
 * the survey has them. Both are borrowed. The caller owns @out: bl_planned_free().
 */
void bl_planned_make(const struct bl_node *node, const struct bl_survey *host,
		     const struct bl_closure *closure, const struct bl_kv *parts,
		     struct bl_planned *out);
void bl_planned_free(struct bl_planned *p);

/* On standard output: lines for people, or one line of JSON. */
void bl_planned_print(const struct bl_planned *p);
void bl_planned_print_json(const struct bl_planned *p);

static inline void bl_planned_autop(struct bl_planned *p)
{
	bl_planned_free(p);
}

#endif
