/* SPDX-License-Identifier: MIT */
#include "rollout/course.h"

#define TO(p, a)                     \
	{                            \
		BL_PH_##p, BL_CA_##a \
	}

/* IDLE in a cell means: not listed. */
static const struct bl_course_step table[BL_PH_NPHASES][BL_CE_NEVENTS] = {
	[BL_PH_IDLE] = {
		[BL_CE_BEGIN] = TO(CONNECT, CONNECT),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_CONNECT] = {
		[BL_CE_NEED_AGENT] = TO(BOOTSTRAP, COPY_AGENT),
		[BL_CE_HELLO] = TO(COPY, COPY),
		[BL_CE_UNCHANGED] = TO(DONE, END),
		[BL_CE_LOST] = TO(DONE, END),
		[BL_CE_CUT] = TO(REJOIN, REJOIN),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_BOOTSTRAP] = {
		[BL_CE_COPIED] = TO(GREET, GREET),
		[BL_CE_LOST] = TO(DONE, END),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_GREET] = {
		[BL_CE_HELLO] = TO(COPY, COPY),
		[BL_CE_UNCHANGED] = TO(DONE, END),
		[BL_CE_LOST] = TO(DONE, END),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_COPY] = {
		[BL_CE_COPIED] = TO(PREFLIGHT, PREFLIGHT),
		[BL_CE_LOST] = TO(DONE, END),
		[BL_CE_CUT] = TO(REJOIN, REJOIN),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_REJOIN] = {
		[BL_CE_TIMER] = TO(CONNECT, CONNECT),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_PREFLIGHT] = {
		[BL_CE_CHECKED] = TO(READY, READY),
		[BL_CE_UNCHANGED] = TO(DONE, END),
		[BL_CE_LOST] = TO(DONE, END),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	[BL_PH_READY] = {
		[BL_CE_GO] = TO(START, START),
		/* its wave may be hours away */
		[BL_CE_LOST] = TO(CONNECT, CONNECT),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_STOP] = TO(DONE, END),
	},
	/* From here on the host may have been changed: only its own word ends it. */
	[BL_PH_START] = {
		[BL_CE_STARTED] = TO(FOLLOW, NONE),
		[BL_CE_FAILED] = TO(DONE, END),
		[BL_CE_LOST] = TO(CONFIRM, TRY),
		[BL_CE_BOUND] = TO(DONE, END),
	},
	[BL_PH_FOLLOW] = {
		[BL_CE_WAITING] = TO(CONFIRM, TRY),
		[BL_CE_LOST] = TO(CONFIRM, TRY),
		[BL_CE_BACK_HEARD] = TO(VERIFY, TRY),
		/* somebody else confirmed it: a run that was resumed elsewhere */
		[BL_CE_COMMITTED] = TO(DONE, END),
		[BL_CE_BOUND] = TO(DONE, END),
	},
	[BL_PH_CONFIRM] = {
		[BL_CE_COMMITTED] = TO(DONE, END),
		[BL_CE_BACK_SEEN] = TO(DONE, END),
		[BL_CE_BACK_HEARD] = TO(VERIFY, TRY),
		[BL_CE_TRY_FAILED] = TO(PAUSE, PAUSE),
		/* the challenge gets old while its wave waits */
		[BL_CE_TIMER] = TO(CONFIRM, TRY),
		[BL_CE_BOUND] = TO(DONE, END),
	},
	[BL_PH_PAUSE] = {
		[BL_CE_TIMER] = TO(CONFIRM, TRY),
		/* the work connection may come back and tell */
		[BL_CE_COMMITTED] = TO(DONE, END),
		[BL_CE_BACK_HEARD] = TO(VERIFY, TRY),
		[BL_CE_BOUND] = TO(DONE, END),
	},
	[BL_PH_VERIFY] = {
		[BL_CE_BACK_SEEN] = TO(DONE, END),
		[BL_CE_COMMITTED] = TO(DONE, END),
		[BL_CE_TRY_FAILED] = TO(VERIFY_PAUSE, PAUSE),
		[BL_CE_BOUND] = TO(DONE, END),
	},
	[BL_PH_VERIFY_PAUSE] = {
		[BL_CE_TIMER] = TO(VERIFY, TRY),
		[BL_CE_BOUND] = TO(DONE, END),
	},
};

struct bl_course_step bl_course_next(enum bl_phase phase, enum bl_course_event event)
{
	struct bl_course_step s = table[phase][event];
	if (s.phase == BL_PH_IDLE)
		return (struct bl_course_step){ phase, BL_CA_NONE };
	return s;
}

const char *bl_phase_name(enum bl_phase phase)
{
	static const char *const names[BL_PH_NPHASES] = {
		"idle",    "connect",   "agent",  "connect", "copy",
		"connect", "preflight", "ready",  "switch",  "switch",
		"confirm", "confirm",   "verify", "verify",  "done",
	};
	return phase < BL_PH_NPHASES ? names[phase] : "?";
}

bool bl_phase_is_open(enum bl_phase phase)
{
	return phase >= BL_PH_START && phase < BL_PH_DONE;
}

uint32_t bl_course_pause_ms(unsigned n, bool refused, bool back_due)
{
	/* the tries start 0, 2, 5, 10, 20, 35, 55, 80 s after the first */
	static const uint32_t gaps[] = { 2000, 3000, 5000, 10000, 15000, 20000, 25000 };
	if (refused)
		return back_due ? 4000 : 7000;
	if (back_due)
		return n < 60 ? 500 : 5000;
	size_t i = n ? n - 1 : 0;
	return gaps[i < BL_COUNT(gaps) ? i : BL_COUNT(gaps) - 1];
}
