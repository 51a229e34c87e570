/* SPDX-License-Identifier: MIT */
/*
 * The host's watchdog, a device that resets the machine when nobody writes to it any more.
 * Where nobody else does, the keeper feeds it for the length of a transaction: a kernel that
 * hangs ends by a boot, into the boot default. A systemd that NEW tells to feed it finds it
 * busy, tries again at each of its pings, and has it once we close it. Sources: the kernel's
 * watchdog-api and its sysfs class; systemd, watchdog_ping().
 */
#ifndef BELAY_AGENT_WATCHDOG_H
#define BELAY_AGENT_WATCHDOG_H

#include "base/err.h"

/* What sysfs tells of one device. */
struct bl_watchdog_seen {
	bool there;        /* and it has its file in /dev */
	char identity[64]; /* "iTCO_wdt"; its name where sysfs says no more */
	bool told;         /* sysfs says the two below; kernels can be built without */
	bool active;       /* somebody has opened it */
	bool nowayout;     /* once started it can never be stopped */
	bool soft;         /* softdog: a timer of the kernel that it is to watch */
};

/* Looks at "watchdog0" or the like below @root's /sys and /dev ("" for the real ones). */
void bl_watchdog_look(const char *root, const char *name, struct bl_watchdog_seen *out);
/* Whether a transaction may take it: nobody has it, and it can be stopped at the end. */
bool bl_watchdog_is_free(const struct bl_watchdog_seen *seen);

struct bl_watchdog {
	int fd;     /* -1: not ours */
	char *mark; /* its mark in /run */
};

/*
 * Takes "/dev/watchdog" below @root when it is free, or was left by a keeper that died, and
 * starts it with a minute; else leaves fd at -1 (no failure: not every host has one).
 */
void bl_watchdog_open(struct bl_watchdog *w, const char *root);
/* To be called every 10 s at least. Behind a SIGTERM, which is then held back, it ends us. */
void bl_watchdog_ping(const struct bl_watchdog *w);
/* Stops it. A keeper that dies without leaves it running: the host resets and boots OLD. */
void bl_watchdog_close(struct bl_watchdog *w);

#endif
