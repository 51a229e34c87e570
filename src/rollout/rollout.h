/* SPDX-License-Identifier: MIT */
/*
 * Which host may do what now: the prepare barrier, the limit on parallel work, waves, how many
 * may fail, waves that are confirmed as a whole, the stop. Nothing is done here, and time comes
 * in as a parameter.
 */
#ifndef BELAY_ROLLOUT_ROLLOUT_H
#define BELAY_ROLLOUT_ROLLOUT_H

#include "base/base.h"
#include "fleet/rollout.h"

enum bl_stage {
	BL_ST_IDLE,
	BL_ST_PREPARING,
	BL_ST_READY,
	BL_ST_SWITCHING,
	BL_ST_HOLDING, /* could be confirmed, and waits for the others of its wave */
	BL_ST_FAILING, /* is not to be confirmed any more; its end is waited for */
	BL_ST_GOOD,    /* committed, or nothing to do */
	BL_ST_BAD,
	BL_ST_SKIPPED,
};

struct bl_wave {
	bool canary;
	bool begun;   /* a host of it was switched */
	bool decided; /* its hosts are being confirmed: there is no way back from that */
	bool spoilt;  /* it is not to be confirmed */
};

struct bl_rollout {
	enum bl_stage *stages; /* one a host, all BL_ST_IDLE at first; borrowed */
	const size_t *wave_of; /* one a host, from 0; NULL: all are of the first; borrowed */
	struct bl_wave *waves; /* borrowed */
	size_t n;
	size_t parallel;     /* at most so many hosts prepare, or switch, at once */
	size_t max_failures; /* a host more that fails, and nothing further begins */
	bool atomic;         /* a wave is confirmed when all of its hosts can be */
	int64_t soak_ns;     /* between the canaries and the next wave */
	int64_t soak_end_ns; /* 0: that has not begun */
	bool stopped;        /* the operator wants no more to begin */
};

enum bl_rollout_order {
	BL_RO_PREPARE, /* host *out may begin */
	BL_RO_SWITCH,  /* host *out may be switched: mark its wave as begun */
	BL_RO_SKIP,    /* host *out must not go on: mark it SKIPPED */
	BL_RO_SOAK,    /* set soak_end_ns */
	BL_RO_DECIDE,  /* wave *out can be confirmed: write that down, mark it as decided */
	BL_RO_CONFIRM, /* host *out is to be confirmed: mark it SWITCHING */
	BL_RO_ABORT,   /* host *out is to go back: mark it FAILING */
	BL_RO_WAIT,    /* nothing until a stage changes, or time passes */
	BL_RO_END,     /* every host has ended */
};

/*
 * What to do next; call it again after each order was carried out and after each change of a
 * stage. No host is switched before every host is READY or has ended, none of a wave before the
 * waves in front of it have ended, and none after more than max_failures have failed.
 */
enum bl_rollout_order bl_rollout_next(const struct bl_rollout *r, int64_t now_ns, size_t *out);

size_t bl_rollout_wave(const struct bl_rollout *r, size_t host);
/* How many hosts have failed, of one wave or (SIZE_MAX) of all. */
size_t bl_rollout_failures(const struct bl_rollout *r, size_t wave);
/* Whether so many have failed that nothing further begins. */
bool bl_rollout_is_over(const struct bl_rollout *r);
/* The wave that was begun last; SIZE_MAX: none. */
size_t bl_rollout_last_wave(const struct bl_rollout *r);
/* At the end: whether @host, if this run has committed it, is to go back. */
bool bl_rollout_takes_back(const struct bl_rollout *r, enum bl_on_failure what, size_t host);

#endif
