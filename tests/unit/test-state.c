/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "guard/state.h"

/* The diagram of guarded-activation.md section 4, one arrow a line. */
static const struct {
	enum bl_txn_state from;
	enum bl_txn_event event;
	enum bl_txn_state to;
} arrows[] = {
	/* refuse: nothing changed */
	{ BL_TXN_PREPARED, BL_EV_UNTOUCHED, BL_TXN_REFUSED },
	{ BL_TXN_PREPARED, BL_EV_FAIL, BL_TXN_REFUSED },
	{ BL_TXN_PREPARED, BL_EV_ABORT, BL_TXN_REFUSED },
	{ BL_TXN_PREPARED, BL_EV_DEADLINE, BL_TXN_REFUSED },
	{ BL_TXN_ARMED, BL_EV_UNTOUCHED, BL_TXN_REFUSED },
	{ BL_TXN_ACTIVATING, BL_EV_UNTOUCHED, BL_TXN_REFUSED },
	/* the way to NEW */
	{ BL_TXN_PREPARED, BL_EV_ARM, BL_TXN_ARMED },
	{ BL_TXN_ARMED, BL_EV_ACTIVATE, BL_TXN_ACTIVATING },
	{ BL_TXN_ACTIVATING, BL_EV_ACTIVATED, BL_TXN_CHECKING },
	{ BL_TXN_CHECKING, BL_EV_CHECKS_OK, BL_TXN_WAIT_CONFIRM },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_CONFIRM, BL_TXN_CONFIRMED },
	{ BL_TXN_CONFIRMED, BL_EV_COMMIT, BL_TXN_COMMITTING },
	{ BL_TXN_COMMITTING, BL_EV_COMMIT_OK, BL_TXN_COMMITTED },
	/* deadline, abort, failed check */
	{ BL_TXN_ARMED, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_ARMED, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_ARMED, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_ACTIVATING, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_ACTIVATING, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_ACTIVATING, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_CHECKING, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_CHECKING, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_CHECKING, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	/* a trial boot: at once, or behind a provisional confirmation */
	{ BL_TXN_ARMED, BL_EV_TRIAL, BL_TXN_TRIAL_INSTALLED },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_TRIAL, BL_TXN_TRIAL_INSTALLED },
	{ BL_TXN_TRIAL_INSTALLED, BL_EV_INSTALLED, BL_TXN_TRIAL_REBOOT },
	{ BL_TXN_TRIAL_CHECKING, BL_EV_CHECKS_OK, BL_TXN_TRIAL_WAIT },
	{ BL_TXN_TRIAL_WAIT, BL_EV_CONFIRM, BL_TXN_CONFIRMED },
	{ BL_TXN_TRIAL_INSTALLED, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_INSTALLED, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_INSTALLED, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_INSTALLED, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_TRIAL_REBOOT, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_REBOOT, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_REBOOT, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_REBOOT, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_TRIAL_CHECKING, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_CHECKING, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_CHECKING, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_CHECKING, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_TRIAL_WAIT, BL_EV_FAIL, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_WAIT, BL_EV_ABORT, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_WAIT, BL_EV_DEADLINE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_TRIAL_WAIT, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	/* unguarded-boot says itself what it is */
	{ BL_TXN_ARMED, BL_EV_UNGUARDED, BL_TXN_CONFIRMED },
	/* the commit fails: undo */
	{ BL_TXN_CONFIRMED, BL_EV_COMMIT_UNDONE, BL_TXN_ROLLING_BACK },
	{ BL_TXN_COMMITTING, BL_EV_COMMIT_UNDONE, BL_TXN_ROLLING_BACK },
	/* the way back ends */
	{ BL_TXN_ROLLING_BACK, BL_EV_OLD_RUNS, BL_TXN_ROLLED_BACK },
	/* a third party changed system or profile */
	{ BL_TXN_ARMED, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_CHECKING, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_WAIT_CONFIRM, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_CONFIRMED, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_COMMITTING, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	{ BL_TXN_ROLLING_BACK, BL_EV_THIRD_PARTY, BL_TXN_SUPERSEDED },
	/* the ladder is exhausted, or the loader cannot be written */
	{ BL_TXN_CONFIRMED, BL_EV_GIVE_UP, BL_TXN_STUCK },
	{ BL_TXN_COMMITTING, BL_EV_GIVE_UP, BL_TXN_STUCK },
	{ BL_TXN_ROLLING_BACK, BL_EV_GIVE_UP, BL_TXN_STUCK },
};

static enum bl_txn_state wanted(enum bl_txn_state from, enum bl_txn_event event)
{
	for (size_t i = 0; i < BL_COUNT(arrows); i++)
		if (arrows[i].from == from && arrows[i].event == event)
			return arrows[i].to;
	return BL_TXN_NONE;
}

static void every_event_in_every_state_leads_where_the_diagram_says(void **state)
{
	(void)state;
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		for (size_t e = 0; e < BL_EV_NEVENTS; e++) {
			enum bl_txn_state from = (enum bl_txn_state)s;
			enum bl_txn_event event = (enum bl_txn_event)e;
			enum bl_txn_state to = bl_txn_next(from, event);
			if (to != wanted(from, event))
				fail_msg("%s on %s leads to %s, not %s", bl_txn_name(from),
					 bl_txn_event_name(event), bl_txn_name(to),
					 bl_txn_name(wanted(from, event)));
		}
	}
}

static void five_states_are_the_end(void **state)
{
	(void)state;
	static const enum bl_txn_state ends[] = { BL_TXN_COMMITTED, BL_TXN_ROLLED_BACK,
						  BL_TXN_REFUSED, BL_TXN_SUPERSEDED,
						  BL_TXN_STUCK };
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		bool end = false;
		for (size_t i = 0; i < BL_COUNT(ends); i++)
			end = end || ends[i] == (enum bl_txn_state)s;
		assert_int_equal(bl_txn_is_terminal((enum bl_txn_state)s), end);
	}
}

/* Which states can still be reached from @s, as bits. */
static uint32_t reach(enum bl_txn_state s, uint32_t seen)
{
	seen |= 1U << s;
	for (size_t e = 0; e < BL_EV_NEVENTS; e++) {
		enum bl_txn_state to = bl_txn_next(s, (enum bl_txn_event)e);
		if (to != BL_TXN_NONE && !(seen & 1U << to))
			seen = reach(to, seen);
	}
	return seen;
}

static void every_state_is_reached_and_can_end_and_none_comes_back(void **state)
{
	(void)state;
	uint32_t ends = 0;
	for (size_t s = 1; s < BL_TXN_NSTATES; s++)
		if (bl_txn_is_terminal((enum bl_txn_state)s))
			ends |= 1U << s;
	/* into a trial boot leads the boot itself */
	assert_int_equal(reach(BL_TXN_PREPARED, 0) | reach(BL_TXN_TRIAL_CHECKING, 0),
			 (1U << BL_TXN_NSTATES) - 2);
	for (size_t s = 1; s < BL_TXN_NSTATES; s++) {
		assert_true(reach((enum bl_txn_state)s, 0) & ends);
		for (size_t e = 0; e < BL_EV_NEVENTS; e++) {
			enum bl_txn_state to =
				bl_txn_next((enum bl_txn_state)s, (enum bl_txn_event)e);
			if (to != BL_TXN_NONE)
				assert_false(reach(to, 0) & 1U << s);
		}
	}
}

static void only_a_confirmation_while_waiting_leads_to_a_commit(void **state)
{
	(void)state;
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		for (size_t e = 0; e < BL_EV_NEVENTS; e++) {
			enum bl_txn_state to =
				bl_txn_next((enum bl_txn_state)s, (enum bl_txn_event)e);
			if (to == BL_TXN_CONFIRMED)
				assert_true(
					((s == BL_TXN_WAIT_CONFIRM || s == BL_TXN_TRIAL_WAIT) &&
					 e == BL_EV_CONFIRM) ||
					(s == BL_TXN_ARMED && e == BL_EV_UNGUARDED));
			if (to == BL_TXN_COMMITTING)
				assert_int_equal(s, BL_TXN_CONFIRMED);
			if (to == BL_TXN_COMMITTED)
				assert_int_equal(s, BL_TXN_COMMITTING);
		}
	}
	/* once confirmed, a late deadline or an abort changes nothing */
	for (size_t s = BL_TXN_CONFIRMED; s <= BL_TXN_COMMITTED; s++) {
		assert_int_equal(bl_txn_next((enum bl_txn_state)s, BL_EV_DEADLINE),
				 BL_TXN_NONE);
		assert_int_equal(bl_txn_next((enum bl_txn_state)s, BL_EV_ABORT), BL_TXN_NONE);
	}
}

static void a_deadline_ends_every_state_before_the_confirmation(void **state)
{
	(void)state;
	for (size_t s = BL_TXN_PREPARED; s < BL_TXN_CONFIRMED; s++) {
		enum bl_txn_state to = bl_txn_next((enum bl_txn_state)s, BL_EV_DEADLINE);
		assert_int_equal(to,
				 s == BL_TXN_PREPARED ? BL_TXN_REFUSED : BL_TXN_ROLLING_BACK);
	}
}

static void names_come_back_and_others_are_refused(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	for (size_t s = 1; s < BL_TXN_NSTATES; s++) {
		enum bl_txn_state back = BL_TXN_NONE;
		assert_works(bl_txn_parse(bl_txn_name((enum bl_txn_state)s), &back, &err),
			     &err);
		assert_int_equal(back, s);
		for (size_t o = 1; o < s; o++)
			assert_string_not_equal(bl_txn_name((enum bl_txn_state)s),
						bl_txn_name((enum bl_txn_state)o));
	}
	static const char *const bad[] = { "", "NONE", "armed", "ARMED ", "ARME", "?" };
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		enum bl_txn_state back = BL_TXN_STUCK;
		bl_autofree char *want =
			bl_xprintf("'%s' is not a state of a transaction", bad[i]);
		assert_fails(bl_txn_parse(bad[i], &back, &err), &err, BL_E_INPUT, want);
		assert_int_equal(back, BL_TXN_STUCK);
	}
	for (size_t e = 0; e < BL_EV_NEVENTS; e++)
		assert_string_not_equal(bl_txn_event_name((enum bl_txn_event)e), "?");
	assert_string_equal(bl_txn_name(BL_TXN_NSTATES), "?");
	assert_string_equal(bl_txn_event_name(BL_EV_NEVENTS), "?");
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++)
		assert_string_not_equal(bl_journal_name((enum bl_journal)j), "?");
	assert_string_equal(bl_journal_name(BL_JR_NJOURNALS), "?");
	for (size_t a = 0; a < BL_REC_NACTIONS; a++)
		assert_string_not_equal(bl_recovery_name((enum bl_recovery)a), "?");
	assert_string_equal(bl_recovery_name(BL_REC_NACTIONS), "?");
}

/* The column "durable record" of section 4's second table. */
static void the_journal_of_a_state_says_what_must_be_undone(void **state)
{
	(void)state;
	static const struct {
		enum bl_txn_state state;
		enum bl_journal want;
	} cases[BL_TXN_NSTATES] = {
		{ BL_TXN_NONE, BL_JR_NONE },
		{ BL_TXN_PREPARED, BL_JR_ARMED },
		{ BL_TXN_ARMED, BL_JR_ARMED },
		{ BL_TXN_ACTIVATING, BL_JR_ARMED },
		{ BL_TXN_CHECKING, BL_JR_ARMED },
		{ BL_TXN_WAIT_CONFIRM, BL_JR_ARMED },
		{ BL_TXN_TRIAL_INSTALLED, BL_JR_ARMED },
		{ BL_TXN_TRIAL_REBOOT, BL_JR_TRIAL },
		{ BL_TXN_TRIAL_CHECKING, BL_JR_ARMED },
		{ BL_TXN_TRIAL_WAIT, BL_JR_ARMED },
		{ BL_TXN_CONFIRMED, BL_JR_CONFIRMED },
		{ BL_TXN_COMMITTING, BL_JR_CONFIRMED },
		{ BL_TXN_COMMITTED, BL_JR_DONE },
		{ BL_TXN_ROLLING_BACK, BL_JR_ARMED },
		{ BL_TXN_ROLLED_BACK, BL_JR_RB },
		{ BL_TXN_REFUSED, BL_JR_RB },
		{ BL_TXN_SUPERSEDED, BL_JR_DONE },
		{ BL_TXN_STUCK, BL_JR_DONE },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++)
		assert_int_equal(bl_txn_journal(cases[i].state), cases[i].want);
}

#define OLD      BL_ON_OLD
#define NEW      BL_ON_NEW
#define OTHER    BL_ON_OTHER
#define ASIDE    BL_REC_KEEP_ASIDE
#define NOTHING  BL_REC_NOTHING
#define REBOOT   BL_REC_REBOOT
#define CLOSE_RB BL_REC_CLOSE_RB
#define THEIRS   BL_REC_SUPERSEDED
#define FINISH   BL_REC_FINISH_COMMIT
#define UNDO     BL_REC_UNDO_COMMIT

/* Section 4.1 row by row: journal, booted, then the action for default OLD, NEW, OTHER. */
static const struct {
	enum bl_journal journal;
	enum bl_where booted;
	enum bl_recovery want[BL_ON_NWHERE];
} boots[] = {
	{ BL_JR_DONE, OLD, { NOTHING, NOTHING, NOTHING } },
	{ BL_JR_DONE, NEW, { NOTHING, NOTHING, NOTHING } },
	{ BL_JR_DONE, OTHER, { NOTHING, NOTHING, NOTHING } },
	/* NEW beside a default that is OLD: reboot to it once; else somebody chose it */
	{ BL_JR_NONE, OLD, { ASIDE, ASIDE, ASIDE } },
	{ BL_JR_NONE, NEW, { REBOOT, ASIDE, ASIDE } },
	{ BL_JR_NONE, OTHER, { ASIDE, ASIDE, ASIDE } },
	/* a closed transaction: an older entry that somebody picked is left alone */
	{ BL_JR_RB, OLD, { NOTHING, NOTHING, NOTHING } },
	{ BL_JR_RB, NEW, { REBOOT, NOTHING, NOTHING } },
	{ BL_JR_RB, OTHER, { NOTHING, NOTHING, NOTHING } },
	{ BL_JR_ARMED, OLD, { CLOSE_RB, CLOSE_RB, CLOSE_RB } },
	{ BL_JR_ARMED, NEW, { REBOOT, THEIRS, THEIRS } },
	{ BL_JR_ARMED, OTHER, { THEIRS, THEIRS, THEIRS } },
	{ BL_JR_TRIAL, OLD, { CLOSE_RB, CLOSE_RB, CLOSE_RB } },
	{ BL_JR_TRIAL, NEW, { BL_REC_TRIAL, THEIRS, THEIRS } },
	{ BL_JR_TRIAL, OTHER, { THEIRS, THEIRS, THEIRS } },
	{ BL_JR_CONFIRMED, OLD, { UNDO, UNDO, UNDO } },
	{ BL_JR_CONFIRMED, NEW, { FINISH, FINISH, FINISH } },
	{ BL_JR_CONFIRMED, OTHER, { THEIRS, THEIRS, THEIRS } },
};

static void a_boot_is_answered_as_the_table_says(void **state)
{
	(void)state;
	size_t cells = 0;
	for (size_t i = 0; i < BL_COUNT(boots); i++) {
		for (size_t d = 0; d < BL_ON_NWHERE; d++, cells++) {
			enum bl_recovery is = bl_guard_after_boot(
				boots[i].journal, boots[i].booted, (enum bl_where)d);
			if (is != boots[i].want[d])
				fail_msg("%s, booted %d, default %zu: %s, not %s",
					 bl_journal_name(boots[i].journal),
					 (int)boots[i].booted, d, bl_recovery_name(is),
					 bl_recovery_name(boots[i].want[d]));
		}
	}
	assert_int_equal(cells, (int)BL_JR_NJOURNALS * BL_ON_NWHERE * BL_ON_NWHERE);
}

static void a_restart_is_answered_as_the_table_says(void **state)
{
	(void)state;
	/* late, in time; the boot default does not matter but where the journal is gone */
	static const enum bl_recovery want[BL_TXN_NSTATES][2] = {
		[BL_TXN_PREPARED] = { BL_REC_CLOSE_REFUSED, BL_REC_BEGIN },
		[BL_TXN_ARMED] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_ACTIVATING] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_CHECKING] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_WAIT_CONFIRM] = { BL_REC_ROLL_BACK, BL_REC_RESUME_WAIT },
		[BL_TXN_TRIAL_INSTALLED] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_TRIAL_REBOOT] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_TRIAL_CHECKING] = { BL_REC_ROLL_BACK, BL_REC_RESUME_WAIT },
		[BL_TXN_TRIAL_WAIT] = { BL_REC_ROLL_BACK, BL_REC_RESUME_WAIT },
		[BL_TXN_CONFIRMED] = { FINISH, FINISH },
		[BL_TXN_COMMITTING] = { FINISH, FINISH },
		[BL_TXN_COMMITTED] = { NOTHING, NOTHING },
		[BL_TXN_ROLLING_BACK] = { BL_REC_ROLL_BACK, BL_REC_ROLL_BACK },
		[BL_TXN_ROLLED_BACK] = { NOTHING, NOTHING },
		[BL_TXN_REFUSED] = { NOTHING, NOTHING },
		[BL_TXN_SUPERSEDED] = { NOTHING, NOTHING },
		[BL_TXN_STUCK] = { NOTHING, NOTHING },
	};
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		for (size_t i = 0; i < 2 * (size_t)BL_ON_NWHERE; i++) {
			enum bl_where d = (enum bl_where)(i / 2);
			enum bl_recovery is =
				bl_guard_after_restart((enum bl_txn_state)s, i % 2, d);
			enum bl_recovery lost = d == NEW ? FINISH : BL_REC_ROLL_BACK;
			assert_int_equal(is, s == BL_TXN_NONE ? lost : want[s][i % 2]);
		}
	}
}

static void nothing_leads_towards_new_without_a_durable_confirmation(void **state)
{
	(void)state;
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++) {
		for (size_t i = 0; i < (size_t)BL_ON_NWHERE * BL_ON_NWHERE; i++) {
			enum bl_recovery is = bl_guard_after_boot(
				(enum bl_journal)j, (enum bl_where)(i / BL_ON_NWHERE),
				(enum bl_where)(i % BL_ON_NWHERE));
			/* a boot has ended every live activation: nothing to go on with */
			assert_int_not_equal(is, BL_REC_BEGIN);
			assert_int_not_equal(is, BL_REC_RESUME_WAIT);
			if (is == FINISH)
				assert_int_equal(j, BL_JR_CONFIRMED);
			if (is == UNDO)
				assert_int_equal(j, BL_JR_CONFIRMED);
		}
	}
	for (size_t s = 1; s < BL_TXN_NSTATES; s++) {
		for (size_t i = 0; i < 2 * (size_t)BL_ON_NWHERE; i++) {
			enum bl_recovery is = bl_guard_after_restart(
				(enum bl_txn_state)s, i % 2, (enum bl_where)(i / 2));
			if (is == FINISH)
				assert_int_equal(bl_txn_journal((enum bl_txn_state)s),
						 BL_JR_CONFIRMED);
			if (is == BL_REC_RESUME_WAIT || is == BL_REC_BEGIN)
				assert_true(i % 2);
			assert_int_equal(is == NOTHING,
					 bl_txn_is_terminal((enum bl_txn_state)s));
		}
	}
}

static void an_unreadable_journal_never_moves_a_default(void **state)
{
	(void)state;
	for (size_t b = 0; b < BL_ON_NWHERE; b++) {
		for (size_t d = 0; d < BL_ON_NWHERE; d++) {
			enum bl_recovery is = bl_guard_after_boot(BL_JR_NONE, (enum bl_where)b,
								  (enum bl_where)d);
			assert_true(is == ASIDE || is == REBOOT);
		}
	}
	/* I1: the default is NEW after a confirmation only, so that it stays */
	for (int in_time = 0; in_time < 2; in_time++)
		assert_int_equal(bl_guard_after_restart(BL_TXN_NONE, in_time, NEW), FINISH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_in_every_state_leads_where_the_diagram_says),
		cmocka_unit_test(five_states_are_the_end),
		cmocka_unit_test(every_state_is_reached_and_can_end_and_none_comes_back),
		cmocka_unit_test(only_a_confirmation_while_waiting_leads_to_a_commit),
		cmocka_unit_test(a_deadline_ends_every_state_before_the_confirmation),
		cmocka_unit_test(names_come_back_and_others_are_refused),
		cmocka_unit_test(the_journal_of_a_state_says_what_must_be_undone),
		cmocka_unit_test(a_boot_is_answered_as_the_table_says),
		cmocka_unit_test(a_restart_is_answered_as_the_table_says),
		cmocka_unit_test(nothing_leads_towards_new_without_a_durable_confirmation),
		cmocka_unit_test(an_unreadable_journal_never_moves_a_default),
	};
	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
