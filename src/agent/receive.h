/* SPDX-License-Identifier: MIT */
/* Takes a closure from the deployer (wire/copy.h) and puts it into the store. */
#ifndef BELAY_AGENT_RECEIVE_H
#define BELAY_AGENT_RECEIVE_H

#include "base/kv.h"
#include "delta/frame.h"

struct bl_receive_spec {
	const char *system; /* the one that runs; NULL: unknown */
	const char *root;   /* what stands before /nix/store; "" but in tests */
	const char *socket; /* as in struct bl_daemon_spec */
	const char *const *program, *const *env; /* as there */
	uint64_t memory_bytes; /* for a piece together with its base; besides that there are
				  lists of the closure's paths, and a block */
	const char *keep_dir;  /* where what came of a large path is kept; NULL: nowhere */
	uint64_t keep_reserve_bytes; /* that stay free there */
	int silent_ms; /* a deployer has gone that says nothing for as long within a path,
			  which nobody else can add meanwhile; 0: no limit */
};

/*
 * Answers a message COPY with fields @kv, on standard input and output, to the end: OK or
 * REFUSED. @in has what was read behind the message, and then what was read behind the copying.
 *
 * What is refused says what to do. Paths that are valid by then stay so, and need not be sent
 * when it is tried again, nor what came of a large path; until the end nothing of the closure
 * goes to the garbage collector.
 *
 * 0: something else may be asked; -1: the deployer has gone, or does not speak our frames any
 * more. Takes what a process of @spec's may need, which must ignore SIGPIPE.
 */
int bl_receive(const struct bl_receive_spec *spec, const struct bl_kv *kv, struct bl_buf *in);

/*
 * How many bytes a host should give for that, by the text of its /proc/meminfo: half of what is
 * available, BL_DELTA_BOUND at the most and 16 MiB at least; BL_DELTA_BOUND where it does not
 * say.
 */
uint64_t bl_receive_memory(const char *meminfo);

#endif
