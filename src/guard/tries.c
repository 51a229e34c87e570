/* SPDX-License-Identifier: MIT */
#include "guard/tries.h"

#define MS 1000000LL

enum bl_tries_verdict bl_tries_judge(struct bl_tries *t, const struct bl_check *check, bool ok,
				     int64_t now_ns)
{
	t->next_ns = now_ns + 1000 * MS;
	if (!ok) {
		/* what was good and is not any more did not hold: no more tries */
		if (t->was_good || t->failed >= check->retries)
			return BL_TRIES_FAILED;
		t->failed++;
		return BL_TRIES_AGAIN;
	}
	if (!t->was_good)
		t->good_ns = now_ns;
	t->was_good = true;
	int64_t until = t->good_ns + check->hold_ms * MS;
	if (now_ns >= until)
		return BL_TRIES_OK;
	if (t->next_ns > until)
		t->next_ns = until;
	return BL_TRIES_AGAIN;
}
