/* SPDX-License-Identifier: MIT */
/* The units policy (guarded-activation.md 5.2) as a pure function. */
#ifndef BELAY_GUARD_UNITS_H
#define BELAY_GUARD_UNITS_H

#include "guard/plan.h"

/*
 * @now and @before are the failed units after and before the activation. Those that fail the
 * deployment by @plan's policy are added to @out_bad; what failed newly and is let pass, to
 * @out_ignored. The plan's lists hold names and globs; its ignored units never count.
 */
void bl_units_judge(const struct bl_plan *plan, const struct bl_strv *now,
		    const struct bl_strv *before, struct bl_strv *out_bad,
		    struct bl_strv *out_ignored);

#endif
