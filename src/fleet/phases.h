/* SPDX-License-Identifier: MIT */
/* The phases of a node's preparation, read from the fleet JSON. */
#ifndef BELAY_FLEET_PHASES_H
#define BELAY_FLEET_PHASES_H

#include "fleet/field.h"
#include "fleet/fleet.h"

#define BL_WANT_PHASES "a list of at most 128 phases, each an object with name and script"

/* Reader of a struct bl_node. */
int bl_read_phases(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
void bl_phases_free(struct bl_node *node);

#endif
