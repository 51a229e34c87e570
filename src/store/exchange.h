/* SPDX-License-Identifier: MIT */
/*
 * A connection to a Nix daemon over which requests and answers pass at the same time: who
 * writes never waits for a daemon that waits for its answers to be read. It knows bytes and
 * their order; store/daemon.h knows what they are for.
 */
#ifndef BELAY_STORE_EXCHANGE_H
#define BELAY_STORE_EXCHANGE_H

#include "store/worker.h"

#include <sys/types.h>

/* One answer that is awaited. */
struct bl_await {
	enum bl_worker_kind kind;
	size_t paths_max;
	/* gets the answer, and may take things out of it; asks nothing itself. Not called when
	 * the connection breaks. NULL: only the count is wanted */
	void (*done)(void *ctx, struct bl_await *self, struct bl_worker_answer *a);
	void *ctx;
	size_t at;  /* for @done */
	char *path; /* for @done; owned */
};

struct bl_exchange {
	int in, out; /* may be the same */
	int err_fd;  /* the daemon's stderr, -1: none */
	pid_t pid;   /* of a daemon of our own; 0: none */
	int64_t quiet_ms;
	int64_t news_ns; /* when something moved, or somebody began to wait */

	struct bl_buf queue; /* to be sent */
	size_t sent;         /* bytes of it that are */
	bool write_closed;
	struct bl_await *awaits; /* [first, n) */
	size_t first, n, cap;
	struct bl_worker_reader reader;
	bool reading; /* it reads the answer of awaits[first] */
	char *chunk;
	struct bl_buf tail; /* the last of its stderr */

	const char *what;       /* that is being asked, for messages */
	size_t asked, answered; /* requests of that */
	struct bl_err broken;   /* why nothing works any more */
};

/* Takes @in, @out and @err_fd over; they do not block from here on. */
void bl_exchange_begin(struct bl_exchange *x, int in, int out, int err_fd, pid_t pid,
		       int64_t quiet_ms);
/* Closes everything; a daemon of our own ends, or is killed after a while. */
void bl_exchange_end(struct bl_exchange *x);

/* Says what is asked from here on ("which paths are valid"); borrowed. */
void bl_exchange_topic(struct bl_exchange *x, const char *what);
/* The request that is at the end of x->queue has this answer; a->path is taken. */
void bl_exchange_await(struct bl_exchange *x, const struct bl_await *a);
/*
 * To be called after each request or frame: sends and reads when that does not block, and
 * waits while more than 1 MiB is to be sent or thousands of answers are to come.
 */
int bl_exchange_room(struct bl_exchange *x, struct bl_err *err) BL_MUST_CHECK;
/* Waits for something to happen. */
int bl_exchange_wait(struct bl_exchange *x, struct bl_err *err) BL_MUST_CHECK;
/* Waits for all answers. */
int bl_exchange_drain(struct bl_exchange *x, struct bl_err *err) BL_MUST_CHECK;
/*
 * All three fail with BL_E_TIMEOUT (nothing moved for quiet_ms), BL_E_FAILED (the daemon
 * ended), BL_E_INPUT (it breaks the protocol), BL_E_REFUSED (too old), BL_E_SYS; the message
 * says what was asked and how much of it was answered. No answer is awaited then, and the next
 * call says the same.
 */

#endif
