/* SPDX-License-Identifier: MIT */
/*
 * Which failures below the agent this host comes back from by itself: a panic, and hangs in the
 * kernel, in PID 1, in boot and in shutdown. The protocol keeps the boot default on the right
 * system; what is judged here is whether something makes the host boot.
 */
#ifndef BELAY_AGENT_COVERAGE_H
#define BELAY_AGENT_COVERAGE_H

#include "agent/item.h"
#include "agent/watchdog.h"

struct bl_coverage {
	int64_t panic_s;      /* kernel.panic: 0 stays down, below 0 restarts at once */
	int64_t panic_next_s; /* panic= on the next boot's command line, 0 when it is not there
			       */
	bool panic_on_oops;
	bool lockups_panic; /* one of softlockup_panic, hardlockup_panic, hung_task_panic */
	bool boot_watched;  /* the kernel lets a watchdog that the firmware started run out */
	bool feedable;      /* belay's keeper may take the device for a transaction */
	struct bl_watchdog_seen dog;
	/* as systemd prints its times; "" when it is off or not known */
	char runtime[32], reboot[32];
};

/* The properties that @show in bl_coverage_read is to have, for `systemctl show`. */
#define BL_COVERAGE_SHOW \
	"show", "-p", "RuntimeWatchdogUSec", "-p", "RebootWatchdogUSec", "-p", "WatchdogDevice"

/*
 * Reads /proc/sys and /sys below @root ("" for the real ones). @show is what systemctl printed;
 * @params the next boot's kernel command line. Sources: the kernel's admin-guide/sysctl/kernel
 * and watchdog parameters; systemd-system.conf(5).
 */
void bl_coverage_read(const char *root, const char *show, const char *params,
		      struct bl_coverage *out);
/* One item for each of the five. Pure. */
void bl_coverage_judge(const struct bl_coverage *c, const struct bl_items *items);

#endif
