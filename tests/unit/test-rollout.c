/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rollout/rollout.h"

#define HOSTS_MAX 12

/*
 * One letter a host: idle, preparing, ready, switching, holding, failing, good, bad, skipped
 * ('x').
 */
static const char letters[] = "iprshfgbx";

struct fixture {
	enum bl_stage stages[HOSTS_MAX];
	size_t wave_of[HOSTS_MAX];
	struct bl_wave waves[HOSTS_MAX];
	struct bl_rollout r;
};

/* @waves: a digit a host, NULL: all are of one. @begun: so many waves are. */
static void set_up(struct fixture *f, const char *stages, const char *waves, size_t begun,
		   size_t parallel)
{
	*f = (struct fixture){ .r = { .n = strlen(stages), .parallel = parallel } };
	f->r.stages = f->stages;
	f->r.waves = f->waves;
	f->r.wave_of = waves ? f->wave_of : NULL;
	for (size_t i = 0; i < f->r.n; i++) {
		f->stages[i] = (enum bl_stage)(strchr(letters, stages[i]) - letters);
		f->wave_of[i] = waves ? (size_t)(waves[i] - '0') : 0;
	}
	for (size_t w = 0; w < begun; w++)
		f->waves[w].begun = true;
}

static size_t count(const struct fixture *f, enum bl_stage stage)
{
	size_t n = 0;
	for (size_t i = 0; i < f->r.n; i++)
		n += f->stages[i] == stage;
	return n;
}

#define NOBODY SIZE_MAX

/* Without waves, as a run is that says nothing of them. */
static const struct {
	const char *stages;
	size_t parallel;
	const char *flags; /* k: no failure is one too many; s stopped */
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
	/* but not when the user wants to go on */
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
};

static void each_situation_has_its_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct fixture f;
		size_t host = NOBODY;
		set_up(&f, cases[i].stages, NULL, 0, cases[i].parallel);
		f.r.max_failures = strchr(cases[i].flags, 'k') ? SIZE_MAX : 0;
		f.r.stopped = strchr(cases[i].flags, 's');
		enum bl_rollout_order order = bl_rollout_next(&f.r, 0, &host);
		if (order != cases[i].order || host != cases[i].host)
			fail_msg("%s, %zu at once, flags '%s': order %d for host %zu",
				 cases[i].stages, cases[i].parallel, cases[i].flags, (int)order,
				 host);
	}
}

static const struct {
	const char *stages, *waves;
	size_t begun, max_failures;
	enum bl_rollout_order order;
	size_t host;
} wave_cases[] = {
	/* all are prepared before the first wave, those of the last one too */
	{ "rri", "012", 0, 0, BL_RO_PREPARE, 2 },
	{ "rrp", "012", 0, 0, BL_RO_WAIT, NOBODY },
	{ "rrr", "012", 0, 0, BL_RO_SWITCH, 0 },
	{ "rrr", "210", 0, 0, BL_RO_SWITCH, 2 },
	/* the next wave begins when the one before has ended */
	{ "srr", "011", 1, 0, BL_RO_WAIT, NOBODY },
	{ "grr", "011", 1, 0, BL_RO_SWITCH, 1 },
	{ "gsr", "011", 2, 0, BL_RO_SWITCH, 2 },
	{ "gssr", "0112", 2, 0, BL_RO_WAIT, NOBODY },
	{ "gggr", "0112", 2, 0, BL_RO_SWITCH, 3 },
	/* nothing to do in a whole wave */
	{ "ggr", "001", 0, 0, BL_RO_SWITCH, 2 },
	/* as many may fail as the user says, wherever that was */
	{ "brr", "011", 1, 0, BL_RO_SKIP, 1 },
	{ "brr", "011", 1, 1, BL_RO_SWITCH, 1 },
	{ "bgr", "011", 2, 1, BL_RO_SWITCH, 2 },
	{ "bbr", "011", 2, 1, BL_RO_SKIP, 2 },
	{ "bbr", "011", 2, 2, BL_RO_SWITCH, 2 },
	{ "bir", "011", 0, 1, BL_RO_PREPARE, 1 },
	{ "bbi", "011", 0, 1, BL_RO_SKIP, 2 },
	{ "bbx", "011", 2, 1, BL_RO_END, NOBODY },
	/* a failure in the middle of a wave lets the rest of it come to its end */
	{ "bsr", "001", 1, 0, BL_RO_SKIP, 2 },
	{ "bsx", "001", 1, 0, BL_RO_WAIT, NOBODY },
	/* whose connection was lost while it waited is prepared again, and only its own wave
	   waits */
	{ "srp", "001", 1, 0, BL_RO_SWITCH, 1 },
	{ "ggp", "001", 1, 0, BL_RO_WAIT, NOBODY },
	{ "grp", "011", 1, 0, BL_RO_WAIT, NOBODY },
	{ "grp", "012", 1, 0, BL_RO_SWITCH, 1 },
};

static void waves_come_one_behind_the_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(wave_cases); i++) {
		struct fixture f;
		size_t host = NOBODY;
		set_up(&f, wave_cases[i].stages, wave_cases[i].waves, wave_cases[i].begun, 9);
		f.r.max_failures = wave_cases[i].max_failures;
		enum bl_rollout_order order = bl_rollout_next(&f.r, 0, &host);
		if (order != wave_cases[i].order || host != wave_cases[i].host)
			fail_msg("%s, waves %s, %zu begun, %zu may fail: order %d for host %zu",
				 wave_cases[i].stages, wave_cases[i].waves, wave_cases[i].begun,
				 wave_cases[i].max_failures, (int)order, host);
	}
}

static const struct {
	const char *stages, *waves;
	const char *flags; /* d: the first wave is decided; p: is spoilt; s stopped */
	enum bl_rollout_order order;
	size_t out; /* host, or wave */
} atomic_cases[] = {
	{ "rr", "00", "", BL_RO_SWITCH, 0 },
	{ "sr", "00", "", BL_RO_SWITCH, 1 },
	/* nobody is confirmed while one is on its way */
	{ "hs", "00", "", BL_RO_WAIT, NOBODY },
	{ "hr", "00", "", BL_RO_SWITCH, 1 },
	{ "hh", "00", "", BL_RO_DECIDE, 0 },
	{ "hgh", "000", "", BL_RO_DECIDE, 0 },
	{ "ghhr", "0112", "", BL_RO_DECIDE, 1 },
	/* decided once, they are confirmed, also who has to be reached again for it */
	{ "hh", "00", "d", BL_RO_CONFIRM, 0 },
	{ "sh", "00", "d", BL_RO_CONFIRM, 1 },
	{ "ss", "00", "d", BL_RO_WAIT, NOBODY },
	{ "gb", "00", "d", BL_RO_END, NOBODY },
	{ "bh", "00", "d", BL_RO_CONFIRM, 1 },
	/* one that will not be confirmed sends the others back, and who was not begun stays */
	{ "fsh", "000", "", BL_RO_ABORT, 1 },
	{ "ffh", "000", "", BL_RO_ABORT, 2 },
	{ "fff", "000", "", BL_RO_WAIT, NOBODY },
	{ "bsh", "000", "", BL_RO_ABORT, 1 },
	{ "fr", "00", "", BL_RO_SKIP, 1 },
	{ "bhr", "001", "", BL_RO_SKIP, 2 },
	{ "hh", "00", "p", BL_RO_ABORT, 0 },
	{ "rr", "00", "p", BL_RO_SKIP, 0 },
	/* the operator stops a wave of which not all were begun */
	{ "hr", "00", "s", BL_RO_SKIP, 1 },
	{ "hx", "00", "s", BL_RO_ABORT, 0 },
	/* of which all were, it comes to its end */
	{ "hs", "00", "s", BL_RO_WAIT, NOBODY },
	{ "hh", "00", "s", BL_RO_DECIDE, 0 },
};

static void a_wave_is_confirmed_as_a_whole_or_not_at_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(atomic_cases); i++) {
		struct fixture f;
		size_t out = NOBODY;
		set_up(&f, atomic_cases[i].stages, atomic_cases[i].waves, 1, 9);
		f.r.atomic = true;
		f.r.stopped = strchr(atomic_cases[i].flags, 's');
		f.waves[0].decided = strchr(atomic_cases[i].flags, 'd');
		f.waves[0].spoilt = strchr(atomic_cases[i].flags, 'p');
		enum bl_rollout_order order = bl_rollout_next(&f.r, 0, &out);
		if (order != atomic_cases[i].order || out != atomic_cases[i].out)
			fail_msg("%s, waves %s, flags '%s': order %d for %zu",
				 atomic_cases[i].stages, atomic_cases[i].waves,
				 atomic_cases[i].flags, (int)order, out);
	}
}

static void
a_failed_host_of_an_atomic_wave_spoils_it_also_where_failures_are_allowed(void **state)
{
	(void)state;
	struct fixture f;
	size_t host = NOBODY;
	/* it was not reached when all were prepared */
	set_up(&f, "brrr", "0011", 0, 9);
	f.r.atomic = true;
	f.r.max_failures = SIZE_MAX;
	assert_int_equal(bl_rollout_next(&f.r, 0, &host), BL_RO_SKIP);
	assert_int_equal(host, 1);
	f.stages[1] = BL_ST_SKIPPED;
	assert_int_equal(bl_rollout_next(&f.r, 0, &host), BL_RO_SWITCH);
	assert_int_equal(host, 2);
}

static void who_holds_lets_the_next_of_a_wave_begin(void **state)
{
	(void)state;
	struct fixture f;
	size_t host = NOBODY;
	set_up(&f, "hhsr", NULL, 1, 2);
	f.r.atomic = true;
	assert_int_equal(bl_rollout_next(&f.r, 0, &host), BL_RO_SWITCH);
	assert_int_equal(host, 3);
	f.stages[3] = BL_ST_SWITCHING;
	assert_int_equal(bl_rollout_next(&f.r, 0, &host), BL_RO_WAIT);
}

static void behind_the_canaries_comes_the_soak(void **state)
{
	(void)state;
	struct fixture f;
	size_t host = NOBODY;
	set_up(&f, "grr", "012", 1, 9);
	f.r.soak_ns = 1000;
	/* without canaries there is none */
	assert_int_equal(bl_rollout_next(&f.r, 500, &host), BL_RO_SWITCH);
	f.waves[0].canary = true;
	assert_int_equal(bl_rollout_next(&f.r, 500, &host), BL_RO_SOAK);
	f.r.soak_end_ns = 1500;
	assert_int_equal(bl_rollout_next(&f.r, 1499, &host), BL_RO_WAIT);
	f.r.stopped = true;
	assert_int_equal(bl_rollout_next(&f.r, 1499, &host), BL_RO_SKIP);
	f.r.stopped = false;
	assert_int_equal(bl_rollout_next(&f.r, 1500, &host), BL_RO_SWITCH);
	assert_int_equal(host, 1);
	/* not between two canaries, where not all are switched at once */
	set_up(&f, "grr", "001", 1, 1);
	f.waves[0].canary = true;
	f.r.soak_ns = 1000;
	assert_int_equal(bl_rollout_next(&f.r, 500, &host), BL_RO_SWITCH);
	assert_int_equal(host, 1);
	/* once, and not behind canaries that had nothing to do */
	set_up(&f, "grr", "012", 1, 9);
	f.waves[0].canary = true;
	f.r.soak_ns = 1000;
	f.r.soak_end_ns = 1500;
	f.stages[1] = BL_ST_GOOD;
	f.waves[1].begun = true;
	assert_int_equal(bl_rollout_next(&f.r, 1600, &host), BL_RO_SWITCH);
	assert_int_equal(host, 2);
	set_up(&f, "gr", "01", 0, 9);
	f.waves[0].canary = true;
	f.r.soak_ns = 1000;
	assert_int_equal(bl_rollout_next(&f.r, 500, &host), BL_RO_SWITCH);
}

static void what_goes_back_is_what_the_user_says(void **state)
{
	(void)state;
	static const struct {
		enum bl_on_failure what;
		size_t max_failures;
		bool stopped;
		const char *back; /* a letter a host: y, n */
	} afters[] = {
		{ BL_ON_FAILURE_STOP, 0, false, "nnnnnn" },
		{ BL_ON_FAILURE_BATCH, 0, false, "nnyyny" },
		{ BL_ON_FAILURE_ALL, 0, false, "yyyyny" },
		{ BL_ON_FAILURE_ALL, 1, false, "nnnnnn" },
		{ BL_ON_FAILURE_ALL, SIZE_MAX, false, "nnnnnn" },
		{ BL_ON_FAILURE_ALL, 0, true, "nnnnnn" },
	};
	for (size_t k = 0; k < BL_COUNT(afters); k++) {
		struct fixture f;
		set_up(&f, "ggggbgxx", "00111122", 2, 9);
		f.r.max_failures = afters[k].max_failures;
		f.r.stopped = afters[k].stopped;
		assert_int_equal(bl_rollout_last_wave(&f.r), 1);
		assert_int_equal(bl_rollout_failures(&f.r, 1), 1);
		assert_int_equal(bl_rollout_failures(&f.r, 0), 0);
		for (size_t i = 0; afters[k].back[i]; i++)
			if (bl_rollout_takes_back(&f.r, afters[k].what, i) !=
			    (afters[k].back[i] == 'y'))
				fail_msg("case %zu, host %zu", k, i);
	}
}

/* What must be true whenever @order is given for @host. */
static void check_order(const struct fixture *f, enum bl_rollout_order order, size_t host)
{
	const struct bl_rollout *r = &f->r;
	bool halt = r->stopped || count(f, BL_ST_BAD) > r->max_failures;
	size_t running =
		count(f, BL_ST_PREPARING) + count(f, BL_ST_SWITCHING) + count(f, BL_ST_FAILING);
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
		for (size_t i = 0; i < r->n; i++) {
			assert_true(f->wave_of[i] >= f->wave_of[host] ||
				    f->stages[i] >= BL_ST_GOOD);
			if (r->atomic && f->wave_of[i] == f->wave_of[host])
				assert_true(f->stages[i] <= BL_ST_HOLDING ||
					    f->stages[i] == BL_ST_GOOD);
		}
		return;
	case BL_RO_SKIP:
		assert_true(f->stages[host] == BL_ST_IDLE || f->stages[host] == BL_ST_READY);
		assert_true(halt || r->atomic);
		return;
	case BL_RO_DECIDE:
		assert_true(r->atomic && !f->waves[host].decided);
		for (size_t i = 0; i < r->n; i++)
			assert_true(f->wave_of[i] != host || f->stages[i] == BL_ST_HOLDING ||
				    f->stages[i] == BL_ST_GOOD);
		return;
	case BL_RO_CONFIRM:
		assert_int_equal(f->stages[host], BL_ST_HOLDING);
		assert_true(f->waves[f->wave_of[host]].decided);
		return;
	case BL_RO_ABORT:
		assert_true(f->stages[host] == BL_ST_HOLDING ||
			    f->stages[host] == BL_ST_SWITCHING);
		assert_false(f->waves[f->wave_of[host]].decided);
		return;
	case BL_RO_SOAK:
		assert_true(r->soak_ns > 0 && r->soak_end_ns == 0 && f->waves[0].canary);
		return;
	case BL_RO_WAIT:
		/* somebody is at work who will change a stage: it never waits for ever */
		assert_true(running > 0 || r->soak_end_ns > 0);
		return;
	case BL_RO_END:
		assert_int_equal(running + count(f, BL_ST_IDLE) + count(f, BL_ST_READY) +
					 count(f, BL_ST_HOLDING),
				 0);
		return;
	}
	fail();
}

static void carry_out(struct fixture *f, enum bl_rollout_order order, size_t out, int64_t now)
{
	static const enum bl_stage after[] = { [BL_RO_PREPARE] = BL_ST_PREPARING,
					       [BL_RO_SWITCH] = BL_ST_SWITCHING,
					       [BL_RO_SKIP] = BL_ST_SKIPPED,
					       [BL_RO_CONFIRM] = BL_ST_SWITCHING,
					       [BL_RO_ABORT] = BL_ST_FAILING };
	if (order == BL_RO_SOAK) {
		f->r.soak_end_ns = now + f->r.soak_ns;
	} else if (order == BL_RO_DECIDE) {
		f->waves[out].decided = true;
	} else {
		f->stages[out] = after[order];
		if (order == BL_RO_SWITCH)
			f->waves[f->wave_of[out]].begun = true;
	}
}

static bool works(enum bl_stage s)
{
	return s == BL_ST_PREPARING || s == BL_ST_SWITCHING || s == BL_ST_FAILING;
}

/* A host at work comes to the end of what it does, well or not. */
static void something_happens(struct fixture *f, uint64_t *seed)
{
	size_t i = unit_random(seed) % f->r.n;
	for (size_t k = 0; k < f->r.n && !works(f->stages[i]); k++)
		i = (i + 1) % f->r.n;
	/* only the soak goes on */
	if (!works(f->stages[i]))
		return;
	uint64_t luck = unit_random(seed) % 16;
	bool held = f->r.atomic && !f->waves[f->wave_of[i]].decided;
	if (luck == 0 || f->stages[i] == BL_ST_FAILING)
		f->stages[i] = BL_ST_BAD;
	else if (f->stages[i] == BL_ST_SWITCHING && luck == 1 && held)
		f->stages[i] = BL_ST_FAILING;
	else if (f->stages[i] == BL_ST_SWITCHING && held)
		f->stages[i] = BL_ST_HOLDING;
	else if (f->stages[i] == BL_ST_SWITCHING || luck == 1)
		f->stages[i] = BL_ST_GOOD;
	else
		f->stages[i] = BL_ST_READY;
	if (unit_random(seed) % 64 == 0)
		f->r.stopped = true;
}

/* In an atomic wave nobody was confirmed that another one's failure should have kept. */
static void check_end(const struct fixture *f, const bool *confirmed)
{
	for (size_t i = 0; f->r.atomic && i < f->r.n; i++)
		if (confirmed[i])
			assert_true(f->waves[f->wave_of[i]].decided);
}

static void random_fleets_keep_the_promises_and_come_to_an_end(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++) {
		struct fixture f = { .r = { .n = 1 + unit_random(&seed) % HOSTS_MAX,
					    .parallel = 1 + unit_random(&seed) % 4,
					    .atomic = unit_random(&seed) % 2,
					    .soak_ns = (int64_t)(unit_random(&seed) % 3) } };
		bool confirmed[HOSTS_MAX] = { 0 };
		size_t limits[] = { 0, 1, 2, SIZE_MAX };
		size_t waves = 1 + unit_random(&seed) % 4;
		f.r.max_failures = limits[unit_random(&seed) % 4];
		f.r.stages = f.stages;
		f.r.wave_of = f.wave_of;
		f.r.waves = f.waves;
		f.waves[0].canary = unit_random(&seed) % 2;
		for (size_t i = 0; i < f.r.n; i++)
			f.wave_of[i] = unit_random(&seed) % waves;
		int left = 1000;
		int64_t now = 1;
		for (; left > 0; left--, now++) {
			size_t out = NOBODY;
			enum bl_rollout_order order = bl_rollout_next(&f.r, now, &out);
			check_order(&f, order, out);
			if (order == BL_RO_END)
				break;
			if (order == BL_RO_WAIT)
				something_happens(&f, &seed);
			else
				carry_out(&f, order, out, now);
			if (order == BL_RO_CONFIRM)
				confirmed[out] = true;
		}
		assert_true(left > 0);
		check_end(&f, confirmed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_situation_has_its_order),
		cmocka_unit_test(waves_come_one_behind_the_other),
		cmocka_unit_test(a_wave_is_confirmed_as_a_whole_or_not_at_all),
		cmocka_unit_test(
			a_failed_host_of_an_atomic_wave_spoils_it_also_where_failures_are_allowed),
		cmocka_unit_test(who_holds_lets_the_next_of_a_wave_begin),
		cmocka_unit_test(behind_the_canaries_comes_the_soak),
		cmocka_unit_test(what_goes_back_is_what_the_user_says),
		cmocka_unit_test(random_fleets_keep_the_promises_and_come_to_an_end),
	};
	return cmocka_run_group_tests_name("rollout", tests, NULL, NULL);
}
