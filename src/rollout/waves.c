/* SPDX-License-Identifier: MIT */
#include "rollout/waves.h"

#include <stdlib.h>

#define KILL_MS 10000  /* what the agent needs to end what takes too long */
#define BOOT_MS 180000 /* a shutdown before the boot */

/* How many hosts of @n a wave has. */
static size_t batch_of(const struct bl_rollout_settings *s, size_t n)
{
	if (s->batch_n)
		return s->batch_n;
	if (s->batch_percent)
		return (n * s->batch_percent + 99) / 100;
	return n;
}

static bool is_road(const unsigned *road, size_t host)
{
	return road && road[host] > 0;
}

static bool has_node(const struct bl_selection *sel, const struct bl_node *node)
{
	for (size_t i = 0; i < sel->n; i++)
		if (sel->nodes[i] == node)
			return true;
	return false;
}

/* Sets in @canary who goes first. */
static int find_canaries(const struct bl_fleet *fleet, const struct bl_selection *sel,
			 const struct bl_rollout_settings *s, const unsigned *road,
			 bool *canary, struct bl_err *err)
{
	BL_AUTO(bl_strv) words = { 0 };
	BL_AUTO(bl_selection) named = { 0 };
	size_t left = s->canary_n;
	for (size_t i = 0; i < sel->n && left > 0; i++) {
		canary[i] = !is_road(road, i);
		left -= canary[i];
	}
	if (!s->canary)
		return 0;
	bl_strv_add(&words, s->canary);
	if (bl_select(fleet, &words, &named, err) < 0)
		return bl_err_wrap(err, "canary");
	for (size_t i = 0; i < sel->n; i++)
		canary[i] = !is_road(road, i) && has_node(&named, sel->nodes[i]);
	return 0;
}

static size_t add_wave(struct bl_waves *w, bool canary)
{
	w->waves = bl_xrealloc(w->waves, w->n + 1, sizeof(*w->waves));
	w->waves[w->n] = (struct bl_wave){ .canary = canary };
	return w->n++;
}

/* The roads, each alone, in the order of their numbers. */
static void add_roads(struct bl_waves *w, const unsigned *road, size_t n)
{
	unsigned last = 0;
	for (size_t i = 0; i < n; i++)
		if (is_road(road, i) && road[i] > last)
			last = road[i];
	for (unsigned k = 1; k <= last; k++)
		for (size_t i = 0; i < n; i++)
			if (road[i] == k)
				w->of[i] = add_wave(w, false);
}

int bl_waves_plan(const struct bl_fleet *fleet, const struct bl_selection *sel,
		  const struct bl_rollout_settings *settings, const unsigned *road,
		  struct bl_waves *out, struct bl_err *err)
{
	BL_AUTO(bl_waves) w = { .of = bl_xcalloc(sel->n + 1, sizeof(*w.of)) };
	bl_autofree bool *canary = bl_xcalloc(sel->n + 1, sizeof(*canary));
	size_t batch = batch_of(settings, sel->n);
	size_t room = 0;
	if (find_canaries(fleet, sel, settings, road, canary, err) < 0)
		return -1;
	for (size_t i = 0; i < sel->n; i++) {
		if (!canary[i])
			continue;
		if (w.n == 0)
			add_wave(&w, true);
		w.of[i] = 0;
	}
	for (size_t i = 0; i < sel->n; i++) {
		if (canary[i] || is_road(road, i))
			continue;
		if (room == 0) {
			add_wave(&w, false);
			room = batch;
		}
		w.of[i] = w.n - 1;
		room--;
	}
	if (road)
		add_roads(&w, road, sel->n);
	*out = w;
	w = (struct bl_waves){ 0 };
	return 0;
}

void bl_waves_free(struct bl_waves *w)
{
	free(w->of);
	free(w->waves);
	*w = (struct bl_waves){ 0 };
}

uint64_t bl_node_window_ms(const struct bl_node *node)
{
	return (uint64_t)node->success_timeout_s * 1000 +
	       bl_plan_deployer_checks_ms(&node->plan);
}

uint64_t bl_node_forward_ms(const struct bl_node *node)
{
	const struct bl_plan *plan = &node->plan;
	uint64_t activation = (uint64_t)node->switch_timeout_s * 1000 + KILL_MS;
	uint64_t checks = bl_plan_checks_ms(plan);
	uint64_t ms = activation + checks + (*plan->pre_activate ? activation : 0);
	bool boots = bl_strategy_boots(plan->strategy) ||
		     (plan->strategy == BL_STRATEGY_AUTO && plan->reboot_allowed);
	if (boots)
		ms += BOOT_MS + plan->boot_ms + checks;
	/* confirmed twice, and the first time does not wait for the others */
	if (plan->strategy == BL_STRATEGY_LIVE_BOOT)
		ms += bl_node_window_ms(node);
	return ms;
}

uint64_t bl_waves_hold_ms(const struct bl_node *const *nodes, size_t n, const size_t *wave_of,
			  size_t wave, size_t parallel)
{
	uint64_t slowest = 0;
	size_t members = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t ms = bl_node_forward_ms(nodes[i]) + bl_node_window_ms(nodes[i]);
		if (wave_of && wave_of[i] != wave)
			continue;
		members++;
		if (ms > slowest)
			slowest = ms;
	}
	if (members < 2)
		return 0;
	return slowest * ((members + parallel - 1) / parallel);
}
