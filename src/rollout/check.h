/* SPDX-License-Identifier: MIT */
/*
 * The deployer's own checks of a host, before it is confirmed: each one waits in a thread of
 * libuv's, so that the loop goes on.
 */
#ifndef BELAY_ROLLOUT_CHECK_H
#define BELAY_ROLLOUT_CHECK_H

#include "fleet/fleet.h"

#include <stdatomic.h>
#include <uv.h>

struct bl_outside;

struct bl_outside_events {
	/* an advisory one failed: "check web: status 503" */
	void (*advisory)(void *ctx, const char *text);
	/* the end: NULL, or the same of the first required one that failed */
	void (*done)(void *ctx, const char *reason);
};

/* Whether the node has checks of the deployer's. */
bool bl_outside_needed(const struct bl_node *node);
/*
 * Lets libuv have a thread for each of @checks, up to 128: a check that waits must not hold up
 * another host's. Before the first thread is there; an own UV_THREADPOOL_SIZE stays.
 */
void bl_outside_threads(size_t checks);
/* Begins all of @node's checks; @node and @events are borrowed until bl_outside_drop. */
struct bl_outside *bl_outside_start(uv_loop_t *loop, const struct bl_node *node,
				    const struct bl_outside_events *events, void *ctx);
/* No event follows. The threads end within a moment, which the loop has to be run for. */
void bl_outside_drop(struct bl_outside *l);

/*
 * Asks one check once and waits for the answer, up to its timeout; @stop ends that early. When
 * it is bad, @why says why.
 */
bool bl_check_ask(const struct bl_check *check, const struct bl_node *node,
		  const atomic_bool *stop, char *why, size_t size);

#endif
