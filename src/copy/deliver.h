/* SPDX-License-Identifier: MIT */
/* Closures to hosts, and nothing else: the copy engine without a deployment. */
#ifndef BELAY_COPY_DELIVER_H
#define BELAY_COPY_DELIVER_H

#include "copy/send.h"

struct bl_delivery {
	const struct bl_node *node;
	const struct bl_strv *tops; /* store paths, whose closures are to be valid there */
	const char *root; /* of them what is kept there as the next system; "": none */
};

struct bl_deliver_spec {
	const struct bl_delivery *items;
	size_t n;
	unsigned parallel; /* hosts at once; 0: 10 */
	struct bl_engine_spec engine;
	bool leave_signals; /* they end the program, as they did before */
	/* @phase is "connect", "agent" or "copy" */
	void (*phase)(void *ctx, size_t i, const char *phase);
	void (*line)(void *ctx, size_t i, const char *line);
	void (*progress)(void *ctx, size_t i, const struct bl_copy_stats *stats);
	/* the end of one; @what NULL: all of it is valid there */
	void (*done)(void *ctx, size_t i, const struct bl_copy_stats *stats, const char *what,
		     const char *remedy);
	void (*tick)(void *ctx);
	void *ctx;
};

/*
 * Until each of them has ended. SIGINT and SIGTERM end those that have not, as failures, and
 * set @out_interrupted; what came stays, and is not sent again the next time. Fails, with
 * nothing sent, when there is no loop, no place for what is to be sent, or no folder for
 * sockets.
 */
int bl_deliver(const struct bl_deliver_spec *spec, bool *out_interrupted,
	       struct bl_err *err) BL_MUST_CHECK;

#endif
