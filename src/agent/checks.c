/* SPDX-License-Identifier: MIT */
#include "agent/checks.h"

#include "agent/ask.h"
#include "base/clock.h"
#include "guard/tries.h"

#include <stdio.h>
#include <stdlib.h>

struct run {
	struct bl_check check; /* borrows its texts */
	struct bl_tries tries;
	struct bl_ask *ask; /* NULL: between two askings */
	bool again;         /* it was good, and is asked once more */
	enum bl_checks_verdict verdict;
	char why[320];
};

struct bl_checks {
	struct bl_job *job;
	struct run *runs;
	size_t n;
};

struct bl_checks *bl_checks_new(struct bl_job *job)
{
	struct bl_checks *c = bl_xcalloc(1, sizeof(*c));
	c->job = job;
	c->n = job->plan.n_checks;
	c->runs = bl_xcalloc(c->n, sizeof(*c->runs));
	for (size_t i = 0; i < c->n; i++)
		c->runs[i].check = job->plan.checks[i];
	return c;
}

static void ended(struct bl_checks *c, struct run *r, bool good)
{
	const char *name = r->check.name;
	r->verdict = good ? BL_CHECKS_OK : BL_CHECKS_FAILED;
	if (good && !r->again)
		bl_job_say(c->job, "check %s: good", name);
	if (!good)
		bl_job_say(c->job, "check %s: failed: %s", name, r->why);
	if (!good && r->check.advisory)
		bl_txn_remark(&c->job->txn, "check %s (advisory): %s", name, r->why);
}

static void step_run(struct bl_checks *c, struct run *r)
{
	int64_t now = bl_now_boot_ns();
	if (!r->ask && now < r->tries.next_ns)
		return;
	if (!r->ask)
		r->ask = bl_ask_begin(c->job, &r->check, (size_t)(r - c->runs));
	enum bl_ask_answer answer = bl_ask_step(r->ask);
	if (answer == BL_ASK_PENDING)
		return;
	if (answer == BL_ASK_BAD && r->tries.was_good)
		snprintf(r->why, sizeof(r->why), "did not stay good for %u ms: %s",
			 r->check.hold_ms, bl_ask_why(r->ask));
	else
		snprintf(r->why, sizeof(r->why), "%s", bl_ask_why(r->ask));
	bl_ask_free(BL_STEAL(r->ask));
	switch (bl_tries_judge(&r->tries, &r->check, answer == BL_ASK_GOOD, now)) {
	case BL_TRIES_AGAIN:
		if (answer == BL_ASK_BAD)
			bl_job_say(c->job, "check %s: not yet: %s", r->check.name, r->why);
		return;
	case BL_TRIES_OK:
	case BL_TRIES_FAILED:
		ended(c, r, answer == BL_ASK_GOOD);
		return;
	}
}

enum bl_checks_verdict bl_checks_step(struct bl_checks *c, char *reason, size_t size)
{
	enum bl_checks_verdict all = BL_CHECKS_OK;
	for (size_t i = 0; i < c->n; i++) {
		struct run *r = &c->runs[i];
		if (r->verdict == BL_CHECKS_RUNNING)
			step_run(c, r);
		if (r->verdict == BL_CHECKS_FAILED && !r->check.advisory) {
			snprintf(reason, size, "check %s: %s", r->check.name, r->why);
			return BL_CHECKS_FAILED;
		}
		if (r->verdict == BL_CHECKS_RUNNING)
			all = BL_CHECKS_RUNNING;
	}
	return all;
}

void bl_checks_ask_units(struct bl_checks *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct run *r = &c->runs[i];
		if (r->check.type != BL_CHECK_UNIT || r->check.advisory ||
		    r->verdict != BL_CHECKS_OK)
			continue;
		r->verdict = BL_CHECKS_RUNNING;
		r->tries = (struct bl_tries){ 0 };
		r->check.hold_ms = 0;
		r->again = true;
	}
}

void bl_checks_free(struct bl_checks *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		bl_ask_free(c->runs[i].ask);
	free(c->runs);
	free(c);
}
