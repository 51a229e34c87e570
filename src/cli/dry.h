/* SPDX-License-Identifier: MIT */
/* What a host itself says that a switch would do. */
#ifndef BELAY_CLI_DRY_H
#define BELAY_CLI_DRY_H

#include "fleet/fleet.h"

/*
 * Brings the closure of @node's system there, unless it was built there, and runs its
 * switch-to-configuration dry-activate. What that printed is @out_text, the caller's, and
 * @out_status its status. Fails when the host cannot be copied to or asked.
 */
int bl_dry_activate(const struct bl_node *node, int *out_status, char **out_text,
		    struct bl_err *err) BL_MUST_CHECK;

#endif
