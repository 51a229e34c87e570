/* SPDX-License-Identifier: MIT */
/* What a deployment of NEW would change in how the host boots and is reached. */
#ifndef BELAY_AGENT_STRATEGY_H
#define BELAY_AGENT_STRATEGY_H

#include "guard/plan.h"

/*
 * What differs between two systems, as "kernel, initrd"; a new string, NULL: nothing does.
 * Decided by the parts of the toplevels (links, and contents where links differ), not by text
 * that programs print.
 */
char *bl_boot_difference(const char *booted, const char *system_new);
char *bl_network_difference(const char *system_old, const char *system_new);

/*
 * What `auto` means for these systems: boot where NEW boots otherwise than what is booted and a
 * reboot is allowed, else live. @out_remark says what stays unproven, as a sentence; a new
 * string, NULL: nothing does. Other strategies stay what they are.
 */
enum bl_strategy bl_strategy_resolve(const struct bl_plan *plan, const char *booted,
				     const char *system_old, const char *system_new,
				     char **out_remark);

#endif
