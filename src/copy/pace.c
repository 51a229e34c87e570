/* SPDX-License-Identifier: MIT */
#include "copy/pace.h"

#include "base/clock.h"

#include <stddef.h>
#include <uv.h>

#define MEASURE_NS (BL_NS_PER_S / 2)
/* on a fast line; several times what ssh and the kernels hold on the way */
#define MEASURE_BYTES (24UL << 20)

/*
 * Processors have other things to do: ssh's, and other hosts'. And what looks like a slow line
 * may be a slow disk at its end, where compressing more makes nothing faster: so only where it
 * costs little beside the waiting.
 */
#define SHARE 8.0

/*
 * What a thread makes of machine code and text, bytes a second, and what is left of them; as
 * bench/delta measures both. Other machines are faster or slower, but in much the same order.
 */
static const struct tier {
	int level;
	double speed;
	double ratio;
} tiers[] = {
	{ 0, 3e9, 1.0 },
	{ 1, 250e6, 0.40 },
	{ 3, 150e6, 0.36 },
	{ 10, 28e6, 0.32 },
};

void bl_pace_begin(struct bl_pace *p, int fixed)
{
	*p = (struct bl_pace){ .fixed = fixed, .threads = uv_available_parallelism() };
}

void bl_pace_tick(struct bl_pace *p, uint64_t bytes, bool waiting)
{
	int64_t now = bl_now_boot_ns();
	/* only while it is the connection that is waited for */
	if (p->waited && bytes >= p->bytes) {
		p->left_bytes += bytes - p->bytes;
		p->busy_ns += now - p->at_ns;
	}
	p->bytes = bytes;
	p->at_ns = now;
	p->waited = waiting;
}

static double rate(const struct bl_pace *p)
{
	return (double)p->left_bytes * BL_NS_PER_S / (double)p->busy_ns;
}

bool bl_pace_known(const struct bl_pace *p)
{
	return p->fixed >= 0 || p->busy_ns >= MEASURE_NS || p->left_bytes >= MEASURE_BYTES;
}

int bl_pace_level(const struct bl_pace *p, bool patch)
{
	if (p->fixed >= 0)
		return p->fixed;
	/* a patch knows no levels; this one is for when its base cannot be read */
	if (patch)
		return 3;
	if (!bl_pace_known(p))
		return 1;
	if (p->left_bytes == 0)
		return 10;
	const struct tier *best = &tiers[0];
	double least = 0;
	for (size_t i = 0; i < BL_COUNT(tiers); i++) {
		double making = SHARE / (tiers[i].speed * p->threads);
		double sending = tiers[i].ratio / rate(p);
		double slower = making > sending ? making : sending;
		if (i == 0 || slower < least) {
			least = slower;
			best = &tiers[i];
		}
	}
	return best->level;
}
