/* SPDX-License-Identifier: MIT */
/* In which wave each host is switched: planned before a run begins, and only that. */
#ifndef BELAY_ROLLOUT_WAVES_H
#define BELAY_ROLLOUT_WAVES_H

#include "fleet/select.h"
#include "rollout/rollout.h"

struct bl_waves {
	size_t *of;            /* one a host: its wave, from 0 */
	struct bl_wave *waves; /* canary is set, the rest is not */
	size_t n;
};

/*
 * Plans the waves of @sel: the canaries, the others in batches in their order, and behind them
 * every host that is a road (@road, one a host: 0 for none; NULL: there are none), alone, those
 * of a higher number later. A canary's selection is looked up in the whole @fleet: it need not
 * match a host of this run. On success the caller owns @out: bl_waves_free().
 */
int bl_waves_plan(const struct bl_fleet *fleet, const struct bl_selection *sel,
		  const struct bl_rollout_settings *settings, const unsigned *road,
		  struct bl_waves *out, struct bl_err *err) BL_MUST_CHECK;
void bl_waves_free(struct bl_waves *w);

/* How long a host waits for its confirmation when it waits for no other host. */
uint64_t bl_node_window_ms(const struct bl_node *node);
/* From its start until it can be confirmed at the latest. */
uint64_t bl_node_forward_ms(const struct bl_node *node);
/*
 * How much longer each host of @wave has to wait, when @parallel are switched at once and all
 * are confirmed together: until the last one can be reached.
 */
uint64_t bl_waves_hold_ms(const struct bl_node *const *nodes, size_t n, const size_t *wave_of,
			  size_t wave, size_t parallel);

static inline void bl_waves_autop(struct bl_waves *w)
{
	bl_waves_free(w);
}

#endif
