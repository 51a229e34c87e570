/* SPDX-License-Identifier: MIT */
/* Which host may do what now: the prepare barrier, the limit on parallel work, the stop. */
#ifndef BELAY_ROLLOUT_ROLLOUT_H
#define BELAY_ROLLOUT_ROLLOUT_H

#include "base/base.h"

enum bl_stage {
	BL_ST_IDLE,
	BL_ST_PREPARING,
	BL_ST_READY,
	BL_ST_SWITCHING,
	BL_ST_GOOD, /* committed, or nothing to do */
	BL_ST_BAD,
	BL_ST_SKIPPED,
};

struct bl_rollout {
	enum bl_stage *stages; /* one a host, all BL_ST_IDLE at first; borrowed */
	size_t n;
	size_t parallel; /* at most so many hosts prepare, or switch, at once */
	bool keep_going; /* a failure on one host does not stop the others */
	bool stopped;    /* the operator wants no more to begin */
};

enum bl_rollout_order {
	BL_RO_PREPARE, /* host *out may begin */
	BL_RO_SWITCH,  /* host *out may be switched */
	BL_RO_SKIP,    /* host *out must not go on: mark it SKIPPED */
	BL_RO_WAIT,    /* nothing until a stage changes */
	BL_RO_END,     /* every host has ended */
};

/*
 * What to do next; call it again after each order was carried out and after each change of a
 * stage. No host is switched before every host is READY or has ended, and without keep_going
 * none after one has failed.
 */
enum bl_rollout_order bl_rollout_next(const struct bl_rollout *r, size_t *out);

#endif
