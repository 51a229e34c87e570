/* SPDX-License-Identifier: MIT */
/* The generations of a host's system profile. */
#ifndef BELAY_CLI_GENERATIONS_H
#define BELAY_CLI_GENERATIONS_H

#include "fleet/fleet.h"

/* The system of the generation before the current one, a new string. */
int bl_generations_previous(const struct bl_node *node, char **out_system,
			    struct bl_err *err) BL_MUST_CHECK;
/* Prints them, newest first: a table, or with @json one JSON list as nixos-rebuild prints it.
 */
int bl_generations_list(const struct bl_node *node, bool json,
			struct bl_err *err) BL_MUST_CHECK;

#endif
