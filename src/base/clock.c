/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#ifndef CLOCK_BOOTTIME
#define CLOCK_BOOTTIME CLOCK_MONOTONIC
#endif

int64_t bl_now_boot_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * BL_NS_PER_S + ts.tv_nsec;
}

int64_t bl_now_wall_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / BL_NS_PER_MS;
}

const char *bl_boot_id(void)
{
	static char id[40];
	if (!id[0]) {
		bl_autofree char *text = bl_slurp("/proc/sys/kernel/random/boot_id", 64);
		if (text && strlen(text) >= 36)
			memcpy(id, text, 36);
	}
	return id;
}

void bl_sleep_ms(int64_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * BL_NS_PER_MS };
	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		continue;
}

static void (*idle_fn)(void *ctx);
static void *idle_ctx;

void bl_idle_set(void (*fn)(void *ctx), void *ctx)
{
	idle_fn = fn;
	idle_ctx = ctx;
}

bool bl_idle(void)
{
	if (idle_fn)
		idle_fn(idle_ctx);
	return idle_fn != NULL;
}

void bl_random(void *out, size_t len)
{
	uint8_t *p = out;
	while (len > 0) {
		size_t take = len > 256 ? 256 : len;
		if (getentropy(p, take) < 0)
			abort();
		p += take;
		len -= take;
	}
}
