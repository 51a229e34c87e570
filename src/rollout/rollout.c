/* SPDX-License-Identifier: MIT */
#include "rollout/rollout.h"

#define ANY SIZE_MAX

size_t bl_rollout_wave(const struct bl_rollout *r, size_t host)
{
	return r->wave_of ? r->wave_of[host] : 0;
}

static bool is_of(const struct bl_rollout *r, size_t host, size_t wave)
{
	return wave == ANY || bl_rollout_wave(r, host) == wave;
}

static size_t count(const struct bl_rollout *r, enum bl_stage stage, size_t wave)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		n += r->stages[i] == stage && is_of(r, i, wave);
	return n;
}

static bool first(const struct bl_rollout *r, enum bl_stage stage, size_t wave, size_t *out)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->stages[i] == stage && is_of(r, i, wave)) {
			*out = i;
			return true;
		}
	}
	return false;
}

size_t bl_rollout_failures(const struct bl_rollout *r, size_t wave)
{
	return count(r, BL_ST_BAD, wave);
}

bool bl_rollout_is_over(const struct bl_rollout *r)
{
	return bl_rollout_failures(r, ANY) > r->max_failures;
}

size_t bl_rollout_last_wave(const struct bl_rollout *r)
{
	size_t last = ANY;
	for (size_t i = 0; i < r->n; i++) {
		size_t w = bl_rollout_wave(r, i);
		if (r->waves[w].begun && (last == ANY || w > last))
			last = w;
	}
	return last;
}

bool bl_rollout_takes_back(const struct bl_rollout *r, enum bl_on_failure what, size_t host)
{
	/* whoever stops a run wants nothing further to begin */
	if (what == BL_ON_FAILURE_STOP || r->stopped || !bl_rollout_is_over(r) ||
	    r->stages[host] != BL_ST_GOOD)
		return false;
	return what == BL_ON_FAILURE_ALL || bl_rollout_wave(r, host) == bl_rollout_last_wave(r);
}

/* The first wave with a host that has not ended; ANY: all have. */
static size_t current_wave(const struct bl_rollout *r)
{
	size_t wave = ANY;
	for (size_t i = 0; i < r->n; i++)
		if (r->stages[i] < BL_ST_GOOD && bl_rollout_wave(r, i) < wave)
			wave = bl_rollout_wave(r, i);
	return wave;
}

/* A wave of which one will not be confirmed. */
static bool is_spoilt(const struct bl_rollout *r, size_t wave)
{
	return r->waves[wave].spoilt || count(r, BL_ST_FAILING, wave) > 0 ||
	       count(r, BL_ST_BAD, wave) > 0 || count(r, BL_ST_SKIPPED, wave) > 0;
}

/* What a wave that is confirmed as a whole needs now; WAIT: nothing of that kind. */
static enum bl_rollout_order hold_together(const struct bl_rollout *r, size_t wave, size_t *out)
{
	if (r->waves[wave].decided)
		return first(r, BL_ST_HOLDING, wave, out) ? BL_RO_CONFIRM : BL_RO_WAIT;
	if (is_spoilt(r, wave)) {
		if (first(r, BL_ST_READY, wave, out))
			return BL_RO_SKIP;
		if (first(r, BL_ST_SWITCHING, wave, out) || first(r, BL_ST_HOLDING, wave, out))
			return BL_RO_ABORT;
		return BL_RO_WAIT;
	}
	size_t on_the_way = count(r, BL_ST_IDLE, wave) + count(r, BL_ST_PREPARING, wave) +
			    count(r, BL_ST_READY, wave) + count(r, BL_ST_SWITCHING, wave);
	if (on_the_way > 0)
		return BL_RO_WAIT;
	*out = wave;
	return BL_RO_DECIDE;
}

/* Between the canaries, if they were switched, and whoever comes next. */
static enum bl_rollout_order soak(const struct bl_rollout *r, size_t wave, int64_t now_ns)
{
	if (wave == 0 || !r->waves[0].canary || !r->waves[0].begun || r->soak_ns == 0)
		return BL_RO_SWITCH;
	if (r->soak_end_ns == 0)
		return BL_RO_SOAK;
	return now_ns < r->soak_end_ns ? BL_RO_WAIT : BL_RO_SWITCH;
}

enum bl_rollout_order bl_rollout_next(const struct bl_rollout *r, int64_t now_ns, size_t *out)
{
	bool halt = r->stopped || bl_rollout_is_over(r);
	if (halt && (first(r, BL_ST_IDLE, ANY, out) || first(r, BL_ST_READY, ANY, out)))
		return BL_RO_SKIP;
	if (count(r, BL_ST_PREPARING, ANY) < r->parallel && first(r, BL_ST_IDLE, ANY, out))
		return BL_RO_PREPARE;
	size_t wave = current_wave(r);
	if (wave == ANY)
		return BL_RO_END;
	if (r->atomic) {
		enum bl_rollout_order order = hold_together(r, wave, out);
		if (order != BL_RO_WAIT)
			return order;
	}
	/* a host of a later wave that is prepared once more holds nobody up */
	size_t unprepared = bl_rollout_last_wave(r) == ANY ? ANY : wave;
	if (count(r, BL_ST_PREPARING, unprepared) + count(r, BL_ST_IDLE, unprepared) > 0)
		return BL_RO_WAIT;
	/* who only waits for the others of its wave is no work */
	size_t host = 0;
	if (count(r, BL_ST_SWITCHING, wave) >= r->parallel ||
	    !first(r, BL_ST_READY, wave, &host))
		return BL_RO_WAIT;
	enum bl_rollout_order order = soak(r, wave, now_ns);
	if (order == BL_RO_SWITCH)
		*out = host;
	return order;
}
