/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rollout/course.h"

/* Every step there is; what is not here leaves the phase and does nothing. */
static const struct {
	enum bl_phase from;
	enum bl_course_event event;
	enum bl_phase to;
	enum bl_course_action action;
} steps[] = {
	{ BL_PH_IDLE, BL_CE_BEGIN, BL_PH_CONNECT, BL_CA_CONNECT },
	{ BL_PH_IDLE, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_CONNECT, BL_CE_HELLO, BL_PH_COPY, BL_CA_COPY },
	{ BL_PH_CONNECT, BL_CE_NEED_AGENT, BL_PH_BOOTSTRAP, BL_CA_COPY_AGENT },
	{ BL_PH_CONNECT, BL_CE_UNCHANGED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_CONNECT, BL_CE_LOST, BL_PH_DONE, BL_CA_END },
	{ BL_PH_CONNECT, BL_CE_CUT, BL_PH_REJOIN, BL_CA_REJOIN },
	{ BL_PH_CONNECT, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_CONNECT, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_BOOTSTRAP, BL_CE_COPIED, BL_PH_GREET, BL_CA_GREET },
	{ BL_PH_BOOTSTRAP, BL_CE_LOST, BL_PH_DONE, BL_CA_END },
	{ BL_PH_BOOTSTRAP, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_BOOTSTRAP, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_GREET, BL_CE_HELLO, BL_PH_COPY, BL_CA_COPY },
	{ BL_PH_GREET, BL_CE_UNCHANGED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_GREET, BL_CE_LOST, BL_PH_DONE, BL_CA_END },
	{ BL_PH_GREET, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_GREET, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_COPY, BL_CE_COPIED, BL_PH_PREFLIGHT, BL_CA_PREFLIGHT },
	{ BL_PH_COPY, BL_CE_LOST, BL_PH_DONE, BL_CA_END },
	{ BL_PH_COPY, BL_CE_CUT, BL_PH_REJOIN, BL_CA_REJOIN },
	{ BL_PH_COPY, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_COPY, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_REJOIN, BL_CE_TIMER, BL_PH_CONNECT, BL_CA_CONNECT },
	{ BL_PH_REJOIN, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_PREFLIGHT, BL_CE_CHECKED, BL_PH_READY, BL_CA_READY },
	{ BL_PH_PREFLIGHT, BL_CE_UNCHANGED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_PREFLIGHT, BL_CE_LOST, BL_PH_DONE, BL_CA_END },
	{ BL_PH_PREFLIGHT, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_PREFLIGHT, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_READY, BL_CE_GO, BL_PH_START, BL_CA_START },
	{ BL_PH_READY, BL_CE_LOST, BL_PH_CONNECT, BL_CA_CONNECT },
	{ BL_PH_READY, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_READY, BL_CE_STOP, BL_PH_DONE, BL_CA_END },

	{ BL_PH_START, BL_CE_STARTED, BL_PH_FOLLOW, BL_CA_NONE },
	{ BL_PH_START, BL_CE_FAILED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_START, BL_CE_LOST, BL_PH_CONFIRM, BL_CA_TRY },
	{ BL_PH_START, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },

	{ BL_PH_FOLLOW, BL_CE_WAITING, BL_PH_CONFIRM, BL_CA_TRY },
	{ BL_PH_FOLLOW, BL_CE_LOST, BL_PH_CONFIRM, BL_CA_TRY },
	{ BL_PH_FOLLOW, BL_CE_BACK_HEARD, BL_PH_VERIFY, BL_CA_TRY },
	{ BL_PH_FOLLOW, BL_CE_COMMITTED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_FOLLOW, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },

	{ BL_PH_CONFIRM, BL_CE_COMMITTED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_CONFIRM, BL_CE_BACK_SEEN, BL_PH_DONE, BL_CA_END },
	{ BL_PH_CONFIRM, BL_CE_BACK_HEARD, BL_PH_VERIFY, BL_CA_TRY },
	{ BL_PH_CONFIRM, BL_CE_TRY_FAILED, BL_PH_PAUSE, BL_CA_PAUSE },
	{ BL_PH_CONFIRM, BL_CE_TIMER, BL_PH_CONFIRM, BL_CA_TRY },
	{ BL_PH_CONFIRM, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },

	{ BL_PH_PAUSE, BL_CE_TIMER, BL_PH_CONFIRM, BL_CA_TRY },
	{ BL_PH_PAUSE, BL_CE_COMMITTED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_PAUSE, BL_CE_BACK_HEARD, BL_PH_VERIFY, BL_CA_TRY },
	{ BL_PH_PAUSE, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },

	{ BL_PH_VERIFY, BL_CE_BACK_SEEN, BL_PH_DONE, BL_CA_END },
	{ BL_PH_VERIFY, BL_CE_COMMITTED, BL_PH_DONE, BL_CA_END },
	{ BL_PH_VERIFY, BL_CE_TRY_FAILED, BL_PH_VERIFY_PAUSE, BL_CA_PAUSE },
	{ BL_PH_VERIFY, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },

	{ BL_PH_VERIFY_PAUSE, BL_CE_TIMER, BL_PH_VERIFY, BL_CA_TRY },
	{ BL_PH_VERIFY_PAUSE, BL_CE_BOUND, BL_PH_DONE, BL_CA_END },
};

static void every_event_in_every_phase_is_listed_or_changes_nothing(void **state)
{
	(void)state;
	for (size_t p = 0; p < BL_PH_NPHASES; p++) {
		for (size_t e = 0; e < BL_CE_NEVENTS; e++) {
			struct bl_course_step want = { (enum bl_phase)p, BL_CA_NONE };
			for (size_t i = 0; i < BL_COUNT(steps); i++)
				if (steps[i].from == p && steps[i].event == e)
					want = (struct bl_course_step){ steps[i].to,
									steps[i].action };
			struct bl_course_step is =
				bl_course_next((enum bl_phase)p, (enum bl_course_event)e);
			if (is.phase != want.phase || is.action != want.action)
				fail_msg("phase %zu, event %zu: phase %d, action %d", p, e,
					 (int)is.phase, (int)is.action);
		}
	}
}

static void a_host_that_may_have_been_changed_is_left_on_its_own_word_or_its_limit(void **state)
{
	(void)state;
	for (size_t p = 0; p < BL_PH_NPHASES; p++) {
		enum bl_phase phase = (enum bl_phase)p;
		if (!bl_phase_is_open(phase))
			continue;
		for (size_t e = 0; e < BL_CE_NEVENTS; e++) {
			struct bl_course_step s =
				bl_course_next(phase, (enum bl_course_event)e);
			if (s.phase != BL_PH_DONE) {
				assert_true(bl_phase_is_open(s.phase));
				continue;
			}
			/* FAILED: the host itself refused to start */
			assert_true(e == BL_CE_COMMITTED || e == BL_CE_BACK_SEEN ||
				    e == BL_CE_BOUND ||
				    (e == BL_CE_FAILED && p == BL_PH_START));
		}
		/* neither the operator nor another host's failure ends it, but the limit does
		 */
		assert_int_equal(bl_course_next(phase, BL_CE_STOP).phase, p);
		assert_int_equal(bl_course_next(phase, BL_CE_BOUND).phase, BL_PH_DONE);
	}
}

static void before_the_start_every_host_can_be_stopped(void **state)
{
	(void)state;
	for (size_t p = 0; p < BL_PH_START; p++) {
		struct bl_course_step s = bl_course_next((enum bl_phase)p, BL_CE_STOP);
		assert_false(bl_phase_is_open((enum bl_phase)p));
		assert_int_equal(s.phase, BL_PH_DONE);
		assert_int_equal(s.action, BL_CA_END);
	}
}

static void the_end_is_the_end_and_is_told_once(void **state)
{
	(void)state;
	assert_false(bl_phase_is_open(BL_PH_DONE));
	for (size_t e = 0; e < BL_CE_NEVENTS; e++) {
		struct bl_course_step s = bl_course_next(BL_PH_DONE, (enum bl_course_event)e);
		assert_int_equal(s.phase, BL_PH_DONE);
		assert_int_equal(s.action, BL_CA_NONE);
	}
	for (size_t p = 0; p < BL_PH_DONE; p++) {
		for (size_t e = 0; e < BL_CE_NEVENTS; e++) {
			struct bl_course_step s =
				bl_course_next((enum bl_phase)p, (enum bl_course_event)e);
			assert_int_equal(s.action == BL_CA_END, s.phase == BL_PH_DONE);
		}
	}
}

#define WALK_MAX 24

/* One way through: the events, and what each makes us do. */
static const struct {
	const char *name;
	struct {
		enum bl_course_event event;
		enum bl_course_action action;
	} steps[WALK_MAX];
	size_t n;
} walks[] = {
	{ "good",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_WAITING, BL_CA_TRY },
	    { BL_CE_COMMITTED, BL_CA_END } },
	  8 },
	{ "first contact",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_NEED_AGENT, BL_CA_COPY_AGENT },
	    { BL_CE_COPIED, BL_CA_GREET },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_WAITING, BL_CA_TRY },
	    { BL_CE_COMMITTED, BL_CA_END } },
	  10 },
	{ "cut off while it copied: what came is not sent again",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_CUT, BL_CA_REJOIN },
	    { BL_CE_TIMER, BL_CA_CONNECT },
	    { BL_CE_CUT, BL_CA_REJOIN },
	    { BL_CE_TIMER, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_FAILED, BL_CA_END } },
	  9 },
	{ "unchanged", { { BL_CE_BEGIN, BL_CA_CONNECT }, { BL_CE_UNCHANGED, BL_CA_END } }, 2 },
	{ "unchanged at first contact",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_NEED_AGENT, BL_CA_COPY_AGENT },
	    { BL_CE_COPIED, BL_CA_GREET },
	    { BL_CE_UNCHANGED, BL_CA_END } },
	  4 },
	{ "cut off: the network comes back in time",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_LOST, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_COMMITTED, BL_CA_END } },
	  12 },
	{ "cut off: it went back and is seen",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_WAITING, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_BACK_SEEN, BL_CA_END } },
	  10 },
	{ "cut off for good",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_LOST, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_STOP, BL_CA_NONE },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_BOUND, BL_CA_END } },
	  11 },
	{ "session lost while it is being started: nobody knows whether it was",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_LOST, BL_CA_TRY },
	    { BL_CE_BACK_SEEN, BL_CA_END } },
	  7 },
	{ "rolled back is heard, and believed when a fresh connection sees it",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_BACK_HEARD, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_LOST, BL_CA_NONE },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_BACK_SEEN, BL_CA_END } },
	  11 },
	{ "rolled back is heard between two tries",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_WAITING, BL_CA_TRY },
	    { BL_CE_TRY_FAILED, BL_CA_PAUSE },
	    { BL_CE_BACK_HEARD, BL_CA_TRY },
	    { BL_CE_TIMER, BL_CA_NONE },
	    { BL_CE_BACK_SEEN, BL_CA_END } },
	  11 },
	{ "lost while its wave is far away: prepared once more",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_LOST, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_STARTED, BL_CA_NONE },
	    { BL_CE_WAITING, BL_CA_TRY },
	    { BL_CE_TIMER, BL_CA_TRY },
	    { BL_CE_COMMITTED, BL_CA_END } },
	  13 },
	{ "refused at the start",
	  { { BL_CE_BEGIN, BL_CA_CONNECT },
	    { BL_CE_HELLO, BL_CA_COPY },
	    { BL_CE_COPIED, BL_CA_PREFLIGHT },
	    { BL_CE_CHECKED, BL_CA_READY },
	    { BL_CE_GO, BL_CA_START },
	    { BL_CE_FAILED, BL_CA_END } },
	  6 },
};

static void the_usual_ways_end_as_they_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(walks); i++) {
		enum bl_phase phase = BL_PH_IDLE;
		for (size_t k = 0; k < walks[i].n; k++) {
			struct bl_course_step s =
				bl_course_next(phase, walks[i].steps[k].event);
			if (s.action != walks[i].steps[k].action)
				fail_msg("%s: step %zu does %d", walks[i].name, k,
					 (int)s.action);
			phase = s.phase;
		}
		if (phase != BL_PH_DONE)
			fail_msg("%s: ends in %s", walks[i].name, bl_phase_name(phase));
	}
}

static void random_events_never_start_a_host_twice_nor_forget_an_open_one(void **state)
{
	(void)state;
	const char *given = getenv("BELAY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# BELAY_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 2000; round++) {
		enum bl_phase phase = BL_PH_IDLE;
		int starts = 0;
		int ends = 0;
		bool open = false;
		for (int k = 0; k < 400; k++) {
			enum bl_course_event e =
				(enum bl_course_event)(unit_random(&seed) % BL_CE_NEVENTS);
			struct bl_course_step s = bl_course_next(phase, e);
			starts += s.action == BL_CA_START;
			ends += s.action == BL_CA_END;
			if (s.action == BL_CA_TRY)
				assert_true(open);
			open = open || bl_phase_is_open(s.phase);
			assert_true(!open || bl_phase_is_open(s.phase) ||
				    s.phase == BL_PH_DONE);
			phase = s.phase;
		}
		assert_true(starts <= 1 && ends <= 1);
		assert_int_equal(ends, phase == BL_PH_DONE);
	}
}

static void tries_come_at_the_times_that_are_promised(void **state)
{
	(void)state;
	static const uint32_t at_s[] = { 0, 2, 5, 10, 20, 35, 55, 80, 105, 130 };
	uint32_t now_ms = 0;
	for (unsigned n = 1; n < BL_COUNT(at_s); n++) {
		now_ms += bl_course_pause_ms(n, false, false);
		assert_int_equal(now_ms, at_s[n] * 1000);
	}
	assert_int_equal(bl_course_pause_ms(0, false, false), 2000);
	assert_int_equal(bl_course_pause_ms(1000000, false, false), 25000);
}

static void a_host_that_should_be_back_is_looked_at_often_at_first(void **state)
{
	(void)state;
	assert_int_equal(bl_course_pause_ms(1, false, true), 500);
	assert_int_equal(bl_course_pause_ms(59, false, true), 500);
	assert_int_equal(bl_course_pause_ms(60, false, true), 5000);
}

static void an_sshd_that_refuses_is_not_asked_too_often(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 100; n++) {
		assert_int_equal(bl_course_pause_ms(n, true, false), 7000);
		assert_int_equal(bl_course_pause_ms(n, true, true), 4000);
	}
}

static void every_phase_has_a_word_for_people(void **state)
{
	(void)state;
	static const char *const want[BL_PH_NPHASES] = {
		"idle",    "connect",   "agent",  "connect", "copy",
		"connect", "preflight", "ready",  "switch",  "switch",
		"confirm", "confirm",   "verify", "verify",  "done",
	};
	for (size_t p = 0; p < BL_PH_NPHASES; p++)
		assert_string_equal(bl_phase_name((enum bl_phase)p), want[p]);
	assert_string_equal(bl_phase_name(BL_PH_NPHASES), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_in_every_phase_is_listed_or_changes_nothing),
		cmocka_unit_test(
			a_host_that_may_have_been_changed_is_left_on_its_own_word_or_its_limit),
		cmocka_unit_test(before_the_start_every_host_can_be_stopped),
		cmocka_unit_test(the_end_is_the_end_and_is_told_once),
		cmocka_unit_test(the_usual_ways_end_as_they_should),
		cmocka_unit_test(random_events_never_start_a_host_twice_nor_forget_an_open_one),
		cmocka_unit_test(tries_come_at_the_times_that_are_promised),
		cmocka_unit_test(a_host_that_should_be_back_is_looked_at_often_at_first),
		cmocka_unit_test(an_sshd_that_refuses_is_not_asked_too_often),
		cmocka_unit_test(every_phase_has_a_word_for_people),
	};
	return cmocka_run_group_tests_name("course", tests, NULL, NULL);
}
