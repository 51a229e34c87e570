/* SPDX-License-Identifier: MIT */
/* What `deploy` and `resume` share: driving hosts, telling and recording what happens. */
#ifndef BELAY_CLI_DEPLOY_H
#define BELAY_CLI_DEPLOY_H

#include "cli/cmd.h"
#include "rollout/drive.h"

/*
 * Drives @hosts' nodes, and tells and records it as @run; its owner, run, observer and ctx are
 * filled in here. Gives the exit code (stuck before rolled back before failed), or -1 when
 * nothing could be begun.
 */
int bl_telling_drive(const struct bl_args *args, struct bl_history *history, const char *run,
		     const struct bl_drive_spec *hosts, struct bl_err *err) BL_MUST_CHECK;

#endif
