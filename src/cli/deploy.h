/* SPDX-License-Identifier: MIT */
/* Building and deploying systems that were evaluated: of a fleet, or of a single host. */
#ifndef BELAY_CLI_DEPLOY_H
#define BELAY_CLI_DEPLOY_H

#include "cli/cmd.h"

/*
 * Deploys the systems of @sel, nodes of @fleet, as a run of @command and @source in the
 * history. Gives the exit code; what went wrong has been told. Nodes that are marked
 * built_there are not built.
 */
int bl_deploy(const struct bl_args *args, const char *command, const char *source,
	      struct bl_fleet *fleet, struct bl_selection *sel);

#endif
