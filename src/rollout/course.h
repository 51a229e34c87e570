/* SPDX-License-Identifier: MIT */
/*
 * One host's way through a deployment as a table: an event comes in, the next phase and one
 * action come out. No clocks, processes or hosts here.
 */
#ifndef BELAY_ROLLOUT_COURSE_H
#define BELAY_ROLLOUT_COURSE_H

#include "base/base.h"

enum bl_phase {
	BL_PH_IDLE,
	BL_PH_CONNECT,   /* the work connection is being made */
	BL_PH_BOOTSTRAP, /* the agent is copied to a host without one */
	BL_PH_GREET,     /* that agent is being started */
	BL_PH_COPY,
	BL_PH_REJOIN, /* the connection was cut while it copied: a pause before the next one */
	BL_PH_PREFLIGHT,
	BL_PH_READY, /* waits until all hosts are, and for its wave */
	BL_PH_START,
	BL_PH_FOLLOW,  /* the host activates */
	BL_PH_CONFIRM, /* a fresh connection is being tried, or commits */
	BL_PH_PAUSE,   /* between two tries */
	BL_PH_VERIFY,  /* it says it went back: a fresh connection looks */
	BL_PH_VERIFY_PAUSE,
	BL_PH_DONE,
	BL_PH_NPHASES,
};

enum bl_course_event {
	BL_CE_BEGIN,
	BL_CE_NEED_AGENT,
	BL_CE_HELLO, /* the agent is there, and the host runs something else than NEW */
	/* nothing is left to do: NEW runs and boots already, or it was only to be looked at */
	BL_CE_UNCHANGED,
	BL_CE_COPIED,
	BL_CE_FAILED,  /* what this phase waits for failed; nothing was changed on the host */
	BL_CE_CHECKED, /* the preflight is fine */
	BL_CE_GO,      /* all hosts are ready, and its wave begins */
	BL_CE_STOP,    /* another host's failure or the operator stops the run */
	BL_CE_STARTED,
	BL_CE_WAITING,    /* the host waits for the confirmation */
	BL_CE_LOST,       /* the work connection is gone, or silent */
	BL_CE_CUT,        /* the same, while nothing is at stake and it is worth another try */
	BL_CE_TRY_FAILED, /* a fresh connection did not come through */
	BL_CE_TIMER,
	BL_CE_COMMITTED,  /* the host says so */
	BL_CE_BACK_HEARD, /* the work connection says that it ended otherwise */
	BL_CE_BACK_SEEN,  /* a fresh connection says so */
	BL_CE_BOUND,      /* the host's own limit is over and nobody answers */
	BL_CE_NEVENTS,
};

enum bl_course_action {
	BL_CA_NONE,
	BL_CA_CONNECT,
	BL_CA_COPY_AGENT,
	BL_CA_GREET,
	BL_CA_COPY,
	BL_CA_REJOIN, /* a timer: BL_CE_TIMER */
	BL_CA_PREFLIGHT,
	BL_CA_READY,
	BL_CA_START,
	BL_CA_TRY,   /* a fresh connection */
	BL_CA_PAUSE, /* a timer: BL_CE_TIMER */
	BL_CA_END,
};

struct bl_course_step {
	enum bl_phase phase;
	enum bl_course_action action;
};

/* A cell that is not listed leaves the phase and does nothing. */
struct bl_course_step bl_course_next(enum bl_phase phase, enum bl_course_event event);

const char *bl_phase_name(enum bl_phase phase); /* "preflight" */
/* Whether a host in this phase may have been changed. */
bool bl_phase_is_open(enum bl_phase phase);

/*
 * How long to wait after try number @n (from 1) failed. @refused: sshd answered and refused us;
 * OpenSSH 9.8 and later bar sources that do that more than every few seconds. @back_due: the
 * host should be on its way back: then the next look comes soon. Milliseconds.
 */
uint32_t bl_course_pause_ms(unsigned n, bool refused, bool back_due);

#endif
