/* SPDX-License-Identifier: MIT */
/* Time: CLOCK_BOOTTIME decides, the wall clock is for people. */
#ifndef BELAY_BASE_CLOCK_H
#define BELAY_BASE_CLOCK_H

#include "base/base.h"

#define BL_NS_PER_MS 1000000LL
#define BL_NS_PER_S  1000000000LL

/* Nanoseconds since boot, time asleep included (monotonic where there is no such clock). */
int64_t bl_now_boot_ns(void);
/* Milliseconds since 1970, for people only. */
int64_t bl_now_wall_ms(void);
/* The kernel's id of this boot, 36 characters; "" where there is none. */
const char *bl_boot_id(void);
void bl_sleep_ms(int64_t ms);
/*
 * What has to go on while this program waits for something: @fn is called at least every 50 ms
 * by whatever in these rooms takes its time, and must not take long. NULL: nothing.
 */
void bl_idle_set(void (*fn)(void *ctx), void *ctx);
/* Calls it; false: there is none, and nobody waited either. */
bool bl_idle(void);
/* Fills @out with @len bytes from the kernel's random source; ends the program without one. */
void bl_random(void *out, size_t len);

#endif
