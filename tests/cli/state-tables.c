/* SPDX-License-Identifier: MIT */
/*
 * Prints the tables of guard/state.c as they stand in docs/state-machine.md;
 * tests/cli/states.sh compares the two.
 */
#include "guard/state.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const where[BL_ON_NWHERE] = { "OLD", "NEW", "other" };

/* "ARM → ARMED; FAIL, ABORT → REFUSED", in the order of the states that follow. */
static void print_events(enum bl_txn_state from)
{
	const char *semicolon = "";
	for (size_t to = 1; to < BL_TXN_NSTATES; to++) {
		const char *comma = semicolon;
		bool any = false;
		for (size_t e = 0; e < BL_EV_NEVENTS; e++) {
			if (bl_txn_next(from, (enum bl_txn_event)e) != (enum bl_txn_state)to)
				continue;
			printf("%s%s", comma, bl_txn_event_name((enum bl_txn_event)e));
			comma = ", ";
			any = true;
		}
		if (any) {
			printf(" → %s", bl_txn_name((enum bl_txn_state)to));
			semicolon = "; ";
		}
	}
}

static void print_states(void)
{
	puts("| state | journal | event → next state |\n| --- | --- | --- |");
	for (size_t s = 1; s < BL_TXN_NSTATES; s++) {
		enum bl_txn_state state = (enum bl_txn_state)s;
		printf("| %s | %s | ", bl_txn_name(state),
		       bl_journal_name(bl_txn_journal(state)));
		if (bl_txn_is_terminal(state))
			printf("the end");
		else
			print_events(state);
		puts(" |");
	}
}

static void print_boot(void)
{
	puts("| journal | booted | default OLD | default NEW | default other |\n"
	     "| --- | --- | --- | --- | --- |");
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++) {
		for (size_t b = 0; b < BL_ON_NWHERE; b++) {
			printf("| %s | %s |", bl_journal_name((enum bl_journal)j), where[b]);
			for (size_t d = 0; d < BL_ON_NWHERE; d++)
				printf(" %s |", bl_recovery_name(bl_guard_after_boot(
							(enum bl_journal)j, (enum bl_where)b,
							(enum bl_where)d)));
			putchar('\n');
		}
	}
}

/* Only what the answer depends on is named: time, boot default, or neither. */
static void print_restart_of(enum bl_txn_state state)
{
	enum bl_recovery late[BL_ON_NWHERE];
	enum bl_recovery in_time[BL_ON_NWHERE];
	bool by_time = false;
	bool by_default = false;
	for (size_t d = 0; d < BL_ON_NWHERE; d++) {
		late[d] = bl_guard_after_restart(state, false, (enum bl_where)d);
		in_time[d] = bl_guard_after_restart(state, true, (enum bl_where)d);
		by_time = by_time || late[d] != in_time[d];
		by_default = by_default || late[d] != late[0] || in_time[d] != in_time[0];
	}
	if (by_time && by_default)
		abort(); /* no state needs both so far: then this wants two columns */
	if (by_time)
		printf("in time: %s; late: %s", bl_recovery_name(in_time[0]),
		       bl_recovery_name(late[0]));
	else if (!by_default)
		printf("%s", bl_recovery_name(late[0]));
	for (size_t d = 0; by_default && d < BL_ON_NWHERE; d++)
		printf("%sdefault %s: %s", d ? "; " : "", where[d], bl_recovery_name(late[d]));
}

static void print_restart(void)
{
	puts("| state as recorded | what the new keeper does |\n| --- | --- |");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		enum bl_txn_state state = (enum bl_txn_state)s;
		printf("| %s | ", state == BL_TXN_NONE ? "cannot be read" : bl_txn_name(state));
		print_restart_of(state);
		puts(" |");
	}
}

int main(void)
{
	print_states();
	putchar('\n');
	print_boot();
	putchar('\n');
	print_restart();
	return 0;
}
