/* SPDX-License-Identifier: MIT */
#include "guard/units.h"

static bool matches(const struct bl_strv *globs, const char *unit)
{
	for (size_t i = 0; i < globs->n; i++)
		if (bl_glob(globs->items[i], unit))
			return true;
	return false;
}

static bool counts(const struct bl_plan *plan, const char *unit, bool is_new)
{
	if (matches(&plan->ignore_units, unit))
		return false;
	switch (plan->units) {
	case BL_UNITS_STRICT:
		return true;
	case BL_UNITS_LISTED:
		return matches(&plan->listed_units, unit);
	case BL_UNITS_IGNORE:
		return false;
	case BL_UNITS_NEW_FAILURES:
	case BL_UNITS_NPOLICIES:
		break;
	}
	return is_new;
}

void bl_units_judge(const struct bl_plan *plan, const struct bl_strv *now,
		    const struct bl_strv *before, struct bl_strv *out_bad,
		    struct bl_strv *out_ignored)
{
	for (size_t i = 0; i < now->n; i++) {
		const char *unit = now->items[i];
		bool is_new = !bl_strv_has(before, unit);
		if (counts(plan, unit, is_new))
			bl_strv_add(out_bad, unit);
		else if (is_new)
			bl_strv_add(out_ignored, unit);
	}
}
