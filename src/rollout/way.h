/* SPDX-License-Identifier: MIT */
/*
 * One host's way through a run, carried out: what the files share that do the actions of
 * course.h. prepare.c is up to READY, follow.c from the start on over the work connection,
 * confirm.c the fresh connection, way.c the steps between them and the end.
 */
#ifndef BELAY_ROLLOUT_WAY_H
#define BELAY_ROLLOUT_WAY_H

#include "copy/copy.h"
#include "copy/send.h"
#include "rollout/check.h"
#include "rollout/course.h"
#include "rollout/drive.h"
#include "rollout/rollout.h"

#define BL_TICK_MS        100
#define BL_START_LIMIT_MS 900000
#define BL_SILENCE_MS     5000 /* an agent that follows says something every two seconds */

/* Our own checks, from outside, of a host that waits for us. */
enum bl_outside_state {
	BL_OUTSIDE_NOT_YET,
	BL_OUTSIDE_RUNNING,
	BL_OUTSIDE_GOOD,
	BL_OUTSIDE_BAD
};

struct bl_way {
	struct bl_drive *d;
	size_t i;
	const struct bl_node *node;
	enum bl_phase phase;
	struct bl_session *work, *fresh;
	struct bl_copy *agent;     /* on its way there */
	struct bl_send *send;      /* its closure */
	struct bl_copy_stats sent; /* of it over connections that were cut */
	struct bl_outside *checks;
	enum bl_outside_state outside;
	char *outside_reason; /* when it is bad */
	/* the challenge of the fresh connection, until we have checked and may confirm */
	struct bl_kv asked;
	char *control;
	struct bl_kv facts; /* the agent's HELLO */
	struct bl_kv last;  /* the last STATE */
	uint8_t key[BL_KEY_LEN];
	uint64_t epoch;
	/* of the two logs: lines heard, and to be passed over on a new connection */
	uint64_t lines[2], skip[2];
	unsigned tries;
	unsigned reconnects; /* while it copied, or was ready and its wave had not begun */
	bool copying;        /* a connection came as far as that */
	bool held_told;      /* that it waits for the others of its wave */
	bool login_told;     /* that somebody has to log in anew */
	bool bound_told;     /* our start was answered */
	bool foreign;        /* the transaction of that number is another deployment's */
	bool refused;        /* sshd answered the last try with a no */
	bool provisional;    /* it was confirmed to work live, and boots */
	bool proved;         /* our proof was sent: it may be confirmed */
	bool confirmed;      /* the host said so */
	bool rebooting;      /* a trial boot was told */
	bool seen;           /* a fresh connection came through to the end */
	char *reason, *remedy;
	struct bl_buf uncovered; /* the preflight's warnings, by name */
	enum bl_outcome outcome; /* of an end before the start */
	/* boot time, ns; 0: not set */
	int64_t heard_ns, lost_ns, due_ns, bound_ns, wake_ns, end_ns, phase_ns, asked_ns;
	int64_t limit_ns;         /* until then the others of an atomic wave wait for it */
	enum bl_course_event end; /* what is to be applied at end_ns at the latest */
};

struct bl_drive {
	const struct bl_drive_spec *spec;
	struct bl_rollout rollout;
	struct bl_wave one_wave; /* where the run has none of its own */
	uint64_t *hold_ms;       /* one a wave: how long a host waits for the others of it */
	struct bl_way *hosts;
	char dir[64]; /* of the control sockets */
	uv_loop_t loop;
	struct bl_engine *engine; /* NULL: nothing is copied in this run */
	uv_timer_t tick;
	uv_signal_t on_int, on_term;
	int signals;
};

/* Gives the host's course an event, and does what follows from it. May end the way. */
void bl_way_apply(struct bl_way *h, enum bl_course_event event);
/* Why it ends before the start; the first cause stays: what follows it is its consequence. */
void bl_way_blame(struct bl_way *h, enum bl_outcome outcome, const char *reason,
		  const char *remedy);
const struct bl_drive_observer *bl_way_observer(const struct bl_way *h);
void bl_way_note(struct bl_way *h, const char *text);
/* Tells how it ended; @from is the phase that it ended in. */
void bl_way_tell_result(struct bl_way *h, enum bl_phase from);
enum bl_stage *bl_way_stage(struct bl_way *h);
/* Whether it is one of a wave that is confirmed as a whole, and that is not decided yet. */
bool bl_way_is_undecided(const struct bl_way *h);
/* What is due at @now, CLOCK_BOOTTIME. */
void bl_way_watch(struct bl_way *h, int64_t now);
void bl_way_free(struct bl_way *h);

/* prepare.c */
void bl_way_connect(struct bl_way *h);
void bl_way_copy_agent(struct bl_way *h);
void bl_way_copy(struct bl_way *h);
/* Whether its system has to be brought to it. */
bool bl_way_is_sent(const struct bl_drive_spec *spec, const struct bl_node *node);
void bl_way_preflight(struct bl_way *h);

/* follow.c */
/* How long the host waits for its confirmation. */
uint64_t bl_way_window_ms(const struct bl_way *h);
/* From now on the others of an atomic wave wait for it @ms, and what it would have alone. */
void bl_way_set_limit(struct bl_way *h, uint64_t ms);
void bl_way_start(struct bl_way *h);
void bl_way_started(struct bl_way *h, const struct bl_msg *ok);
/* A STATE or a LINE of the host's, over the work connection or a fresh one. */
void bl_way_state(struct bl_way *h, const struct bl_msg *m, bool fresh);
void bl_way_line(struct bl_way *h, const struct bl_msg *m, bool fresh);
/* The work connection is gone, or says nothing any more. */
void bl_way_lose_work(struct bl_way *h);

/* confirm.c */
void bl_way_try(struct bl_way *h);
void bl_way_try_failed(struct bl_way *h, const char *why);
/* Our own checks, once, as soon as the host waits. */
void bl_way_begin_checks(struct bl_way *h);
/* Its wave is decided: the confirmation that it holds back, if it has one. */
void bl_way_confirm(struct bl_way *h);
/* It is not to be confirmed any more: back at once, for @reason. */
void bl_way_give_up(struct bl_way *h, const char *reason);
/* Tells a host that is to go back so, in whatever way there is now. */
void bl_way_say_back(struct bl_way *h);
/* What waiting for the others of the wave needs at @now. */
void bl_way_watch_hold(struct bl_way *h, int64_t now);

#endif
