/* SPDX-License-Identifier: MIT */
#include "rollout/rollout.h"

static size_t count(const struct bl_rollout *r, enum bl_stage stage)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		n += r->stages[i] == stage;
	return n;
}

static bool first(const struct bl_rollout *r, enum bl_stage stage, size_t *out)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->stages[i] == stage) {
			*out = i;
			return true;
		}
	}
	return false;
}

enum bl_rollout_order bl_rollout_next(const struct bl_rollout *r, size_t *out)
{
	bool failed = count(r, BL_ST_BAD) > 0 || count(r, BL_ST_SKIPPED) > 0;
	bool halt = r->stopped || (failed && !r->keep_going);
	size_t preparing = count(r, BL_ST_PREPARING);
	if (halt && (first(r, BL_ST_IDLE, out) || first(r, BL_ST_READY, out)))
		return BL_RO_SKIP;
	if (preparing < r->parallel && first(r, BL_ST_IDLE, out))
		return BL_RO_PREPARE;
	if (preparing > 0 || count(r, BL_ST_IDLE) > 0)
		return BL_RO_WAIT;
	if (count(r, BL_ST_SWITCHING) < r->parallel && first(r, BL_ST_READY, out))
		return BL_RO_SWITCH;
	return count(r, BL_ST_SWITCHING) > 0 ? BL_RO_WAIT : BL_RO_END;
}
