/* SPDX-License-Identifier: MIT */
/*
 * How often a check is asked, as plain steps without a clock: a failure is asked again after a
 * second until its retries are used up; once it is good it has to stay so for its hold.
 */
#ifndef BELAY_GUARD_TRIES_H
#define BELAY_GUARD_TRIES_H

#include "guard/plan.h"

/* All zero: nothing was asked yet; ask at once. */
struct bl_tries {
	uint32_t failed;
	bool was_good;
	int64_t good_ns; /* since when, if was_good */
	int64_t next_ns; /* when to ask again */
};

enum bl_tries_verdict { BL_TRIES_AGAIN, BL_TRIES_OK, BL_TRIES_FAILED };

/* Takes in one answer, given at @now_ns. After AGAIN the next asking begins at next_ns. */
enum bl_tries_verdict bl_tries_judge(struct bl_tries *t, const struct bl_check *check, bool ok,
				     int64_t now_ns);

#endif
