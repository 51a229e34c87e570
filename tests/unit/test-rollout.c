/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rollout/rollout.h"

#define HOSTS_MAX 12

/* One letter a host: idle, preparing, ready, switching, good, bad, skipped ('x'). */
static const char letters[] = "iprsgbx";

struct fixture {
	enum bl_stage stages[HOSTS_MAX];
	struct bl_rollout r;
};

static void set_up(struct fixture *f, const char *stages, size_t parallel)
{
	*f = (struct fixture){ .r = { .n = strlen(stages), .parallel = parallel } };
	f->r.stages = f->stages;
	for (size_t i = 0; i < f->r.n; i++)
		f->stages[i] = (enum bl_stage)(strchr(letters, stages[i]) - letters);
}

static size_t count(const struct fixture *f, enum bl_stage stage)
{
	size_t n = 0;
	for (size_t i = 0; i < f->r.n; i++)
		n += f->stages[i] == stage;
	return n;
}

#define NOBODY SIZE_MAX

static const struct {
	const char *stages;
	size_t parallel;
	const char *flags; /* k keep_going, s stopped */
	enum bl_rollout_order order;
	size_t host;
} cases[] = {
	/* preparing begins in order, as many at once as allowed */
	{ "iii", 2, "", BL_RO_PREPARE, 0 },
	{ "pii", 2, "", BL_RO_PREPARE, 1 },
	{ "ppi", 2, "", BL_RO_WAIT, NOBODY },
	{ "rpi", 2, "", BL_RO_PREPARE, 2 },
	{ "gpi", 2, "", BL_RO_PREPARE, 2 },
	{ "i", 1, "", BL_RO_PREPARE, 0 },
	/* the barrier: nobody is switched before all are ready or have ended */
	{ "rrp", 3, "", BL_RO_WAIT, NOBODY },
	{ "rri", 3, "", BL_RO_PREPARE, 2 },
	{ "rgp", 3, "", BL_RO_WAIT, NOBODY },
	{ "rrr", 2, "", BL_RO_SWITCH, 0 },
	{ "srr", 2, "", BL_RO_SWITCH, 1 },
	{ "ssr", 2, "", BL_RO_WAIT, NOBODY },
	{ "sgr", 2, "", BL_RO_SWITCH, 2 },
	{ "grg", 1, "", BL_RO_SWITCH, 1 },
	{ "gsg", 1, "", BL_RO_WAIT, NOBODY },
	{ "ggg", 1, "", BL_RO_END, NOBODY },
	{ "", 1, "", BL_RO_END, NOBODY },
	/* a failure ends all that have not begun to switch */
	{ "bii", 2, "", BL_RO_SKIP, 1 },
	{ "bri", 2, "", BL_RO_SKIP, 2 },
	{ "brx", 2, "", BL_RO_SKIP, 1 },
	{ "bpx", 2, "", BL_RO_WAIT, NOBODY },
	{ "sbr", 2, "", BL_RO_SKIP, 2 },
	{ "sbx", 2, "", BL_RO_WAIT, NOBODY },
	{ "gbx", 2, "", BL_RO_END, NOBODY },
	{ "xrr", 2, "", BL_RO_SKIP, 1 },
	/* but not with keep_going */
	{ "bii", 2, "k", BL_RO_PREPARE, 1 },
	{ "bpi", 1, "k", BL_RO_WAIT, NOBODY },
	{ "brp", 2, "k", BL_RO_WAIT, NOBODY },
	{ "brr", 1, "k", BL_RO_SWITCH, 1 },
	{ "sbr", 2, "k", BL_RO_SWITCH, 2 },
	{ "bbr", 2, "k", BL_RO_SWITCH, 2 },
	{ "bbb", 2, "k", BL_RO_END, NOBODY },
	/* the operator's stop is stronger */
	{ "iii", 2, "s", BL_RO_SKIP, 0 },
	{ "iii", 2, "ks", BL_RO_SKIP, 0 },
	{ "prr", 2, "s", BL_RO_SKIP, 1 },
	{ "pxx", 2, "s", BL_RO_WAIT, NOBODY },
	{ "ssr", 9, "ks", BL_RO_SKIP, 2 },
	{ "ssx", 9, "s", BL_RO_WAIT, NOBODY },
	{ "gxx", 9, "s", BL_RO_END, NOBODY },
	/* only preparing */
};

static void each_situation_has_its_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct fixture f;
		size_t host = NOBODY;
		set_up(&f, cases[i].stages, cases[i].parallel);
		f.r.keep_going = strchr(cases[i].flags, 'k');
		f.r.stopped = strchr(cases[i].flags, 's');
		enum bl_rollout_order order = bl_rollout_next(&f.r, &host);
		if (order != cases[i].order || host != cases[i].host)
			fail_msg("%s, %zu at once, flags '%s': order %d for host %zu",
				 cases[i].stages, cases[i].parallel, cases[i].flags, (int)order,
				 host);
	}
}

/* What must be true whenever @order is given for @host. */
static void check_order(const struct fixture *f, enum bl_rollout_order order, size_t host)
{
	const struct bl_rollout *r = &f->r;
	bool halt = r->stopped || (!r->keep_going &&
				   (count(f, BL_ST_BAD) > 0 || count(f, BL_ST_SKIPPED) > 0));
	size_t running = count(f, BL_ST_PREPARING) + count(f, BL_ST_SWITCHING);
	switch (order) {
	case BL_RO_PREPARE:
		assert_int_equal(f->stages[host], BL_ST_IDLE);
		assert_false(halt);
		assert_true(count(f, BL_ST_PREPARING) < r->parallel);
		return;
	case BL_RO_SWITCH:
		assert_int_equal(f->stages[host], BL_ST_READY);
		assert_false(halt);
		assert_int_equal(count(f, BL_ST_IDLE) + count(f, BL_ST_PREPARING), 0);
		assert_true(count(f, BL_ST_SWITCHING) < r->parallel);
		return;
	case BL_RO_SKIP:
		assert_true(f->stages[host] == BL_ST_IDLE || f->stages[host] == BL_ST_READY);
		assert_true(halt);
		return;
	case BL_RO_WAIT:
		/* somebody is at work who will change a stage: it never waits for ever */
		assert_true(running > 0);
		return;
	case BL_RO_END:
		assert_int_equal(running + count(f, BL_ST_IDLE) + count(f, BL_ST_READY), 0);
		return;
	}
	fail();
}

/* A host at work comes to the end of what it does, well or not. */
static void something_happens(struct fixture *f, uint64_t *seed)
{
	size_t i = unit_random(seed) % f->r.n;
	while (f->stages[i] != BL_ST_PREPARING && f->stages[i] != BL_ST_SWITCHING)
		i = (i + 1) % f->r.n;
	uint64_t luck = unit_random(seed) % 16;
	if (luck == 0)
		f->stages[i] = BL_ST_BAD;
	else if (f->stages[i] == BL_ST_SWITCHING || luck == 1)
		f->stages[i] = BL_ST_GOOD;
	else
		f->stages[i] = BL_ST_READY;
	if (unit_random(seed) % 64 == 0)
		f->r.stopped = true;
}

static void random_fleets_keep_the_promises_and_come_to_an_end(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 5000; round++) {
		static const enum bl_stage after[] = { [BL_RO_PREPARE] = BL_ST_PREPARING,
						       [BL_RO_SWITCH] = BL_ST_SWITCHING,
						       [BL_RO_SKIP] = BL_ST_SKIPPED };
		struct fixture f = { .r = { .n = 1 + unit_random(&seed) % HOSTS_MAX,
					    .parallel = 1 + unit_random(&seed) % 4,
					    .keep_going = unit_random(&seed) % 2 } };
		f.r.stages = f.stages;
		int left = 1000;
		for (; left > 0; left--) {
			size_t host = NOBODY;
			enum bl_rollout_order order = bl_rollout_next(&f.r, &host);
			check_order(&f, order, host);
			if (order == BL_RO_END)
				break;
			if (order == BL_RO_WAIT)
				something_happens(&f, &seed);
			else
				f.stages[host] = after[order];
		}
		assert_true(left > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_situation_has_its_order),
		cmocka_unit_test(random_fleets_keep_the_promises_and_come_to_an_end),
	};
	return cmocka_run_group_tests_name("rollout", tests, NULL, NULL);
}
