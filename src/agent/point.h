/* SPDX-License-Identifier: MIT */
/* Places where a test may kill, stop or hold the agent; nothing at all in release builds. */
#ifndef BELAY_AGENT_POINT_H
#define BELAY_AGENT_POINT_H

#include "base/base.h"

/*
 * In builds with -Dpoints=true: when /run/belay/point holds "NAME ACTION [COUNT]" and NAME is
 * this one, do ACTION: kill, stop, spin, ping (spin, but the watchdog is
 * kept calm), hold (as long as /run/belay/point.hit is there, which
 * it makes), sleep (one second), enospc and eio (the next journal write fails). COUNT (default
 * 1) goes down each time, 0 stands for "every time". NAME "*" is every point of a keeper; a
 * deadman has none. The same by the same names in /var/lib/belay-point, which outlives a
 * reboot. Where a file trace is beside them, each point that is passed adds a line "NAME", and
 * "NAME ACTION" when it acts.
 */
#ifdef BELAY_POINTS
void bl_point(const char *name);
/* Says which program this is: "keeper", "deadman". */
void bl_point_role(const char *role);
/* The errno that the next journal write must fail with, once; 0: none. */
int bl_point_take_errno(void);
/* A limit: what /run/belay/NAME holds, or else @ms. */
uint32_t bl_point_ms(const char *name, uint32_t ms);
#else
static inline void bl_point(const char *name BL_UNUSED)
{
}
static inline void bl_point_role(const char *role BL_UNUSED)
{
}
static inline int bl_point_take_errno(void)
{
	return 0;
}
static inline uint32_t bl_point_ms(const char *name BL_UNUSED, uint32_t ms)
{
	return ms;
}
#endif

#endif
