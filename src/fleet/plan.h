/* SPDX-License-Identifier: MIT */
/* The part of a node's settings that is its plan (guard/plan.h), read from the fleet JSON. */
#ifndef BELAY_FLEET_PLAN_H
#define BELAY_FLEET_PLAN_H

#include "fleet/field.h"
#include "guard/plan.h"

#define BL_WANT_SCRIPT "null or at most 16384 bytes of lines for sh"

/* Readers of a struct bl_plan. */
int bl_read_strategy(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
int bl_read_reboot(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
int bl_read_rollback_reboot(const struct bl_field *f, const json_t *v, void *to,
			    struct bl_err *err);
int bl_read_units(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
int bl_read_checks(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
/* Of a string of its own: "" for null. */
int bl_read_script(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);

/*
 * What can only be told when every field was read: that the fields do not contradict each
 * other, and that the plan fits into a message. @ignore_units is the older way to say that no
 * unit counts. Refuses with BL_E_INPUT.
 */
int bl_plan_settle(struct bl_plan *plan, bool ignore_units, struct bl_err *err) BL_MUST_CHECK;

#endif
