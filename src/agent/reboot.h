/* SPDX-License-Identifier: MIT */
/* A reboot that happens: rungs R3 to R6 of guarded-activation.md 7. */
#ifndef BELAY_AGENT_REBOOT_H
#define BELAY_AGENT_REBOOT_H

#include "agent/job.h"

enum bl_reboot { BL_REBOOT_NORMAL, BL_REBOOT_KEXEC, BL_REBOOT_FORCED };

/*
 * Asks systemd, past all inhibitors; when the shutdown hangs, or systemd does not answer, the
 * kernel is asked: reboot(2), then sysrq. Returns only when none of that helped.
 */
void bl_reboot(struct bl_job *job, enum bl_reboot how);

/* The part that needs no systemd: after @wait_ms, by reboot(2), then by sysrq. */
void bl_reboot_force(int64_t wait_ms);

#endif
