/* SPDX-License-Identifier: MIT */
/*
 * Drives the tables of guard/state.h through every interleaving of one deployment, live, by a
 * trial boot or both, in a small world: what runs, what would boot, what the journal says.
 * Power may fail and the agent may be killed between any two steps, every outside event may
 * come in every state. A breadth-first search visits all of it and checks the invariants of the
 * protocol.
 *
 *   tables             search; the shortest way to a violation is shown
 *   tables --lose      the same, and power failures and kills may also take the journal
 *   tables --mutant=M  with one cell of a table changed for the worse; must end in a violation
 *   tables --mutants   names them and where each shows: 'search' here alone, 'both' in spin's
 * world too, 'loop' there as an endless way; 'lose' when it takes --lose tables --pml       the
 * tables for guarded-activation.pml, so that spin checks these very cells
 *
 * Not in this world: third parties (BL_ON_OTHER), the reboot budget, unguarded-boot.
 */
#include "guard/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRASHES 2
#define KILLS   2

/* The tables as data, so that a mutant can change a cell. */
static struct {
	enum bl_txn_state next[BL_TXN_NSTATES][BL_EV_NEVENTS];
	enum bl_journal journal[BL_TXN_NSTATES];
	enum bl_recovery boot[BL_JR_NJOURNALS][BL_ON_NWHERE][BL_ON_NWHERE];
	enum bl_recovery restart[BL_TXN_NSTATES][2][BL_ON_NWHERE];
} t;

static struct {
	bool boot[BL_JR_NJOURNALS][BL_ON_NWHERE][BL_ON_NWHERE];
	bool restart[BL_TXN_NSTATES][2][BL_ON_NWHERE];
	bool next[BL_TXN_NSTATES][BL_EV_NEVENTS];
} used;

static void fill_tables(void)
{
	for (size_t s = 0; s < BL_TXN_NSTATES; s++) {
		t.journal[s] = bl_txn_journal((enum bl_txn_state)s);
		for (size_t e = 0; e < BL_EV_NEVENTS; e++)
			t.next[s][e] = bl_txn_next((enum bl_txn_state)s, (enum bl_txn_event)e);
		for (size_t d = 0; d < BL_ON_NWHERE; d++)
			for (size_t in_time = 0; in_time < 2; in_time++)
				t.restart[s][in_time][d] = bl_guard_after_restart(
					(enum bl_txn_state)s, in_time == 1, (enum bl_where)d);
	}
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++)
		for (size_t b = 0; b < BL_ON_NWHERE; b++)
			for (size_t d = 0; d < BL_ON_NWHERE; d++)
				t.boot[j][b][d] = bl_guard_after_boot(
					(enum bl_journal)j, (enum bl_where)b, (enum bl_where)d);
}

/* --- mutants ------------------------------------------------------------------------------ */

enum table { NEXT, JOURNAL, BOOT, RESTART };

/* For RESTART and BOOT the last index, the boot default, may be ANY; RESTART's middle one too.
 */
#define ANY 9

/* clang-format off: one mutant is one line, so that the table can be read as one */
static const struct mutant {
	const char *name;
	bool spin; /* spin's world shows it too: as an endless way when the action is a reboot
		    */
	bool lose; /* it takes a lost journal to see it */
	enum table table;
	int a, b, c;
	int value;
} mutants[] = {
	/* after a boot */
	{ "boot-none-new-undoes", true, true, BOOT, BL_JR_NONE, BL_ON_NEW, BL_ON_NEW,
	  BL_REC_UNDO_COMMIT },
	{ "boot-none-old-commits", true, true, BOOT, BL_JR_NONE, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_FINISH_COMMIT },
	{ "boot-armed-old-left-open", true, false, BOOT, BL_JR_ARMED, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_NOTHING },
	{ "boot-armed-old-commits", true, false, BOOT, BL_JR_ARMED, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_FINISH_COMMIT },
	{ "boot-armed-old-reboots", true, false, BOOT, BL_JR_ARMED, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_REBOOT },
	{ "boot-armed-old-waits", true, false, BOOT, BL_JR_ARMED, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_RESUME_WAIT },
	{ "boot-confirmed-old-commits", true, false, BOOT, BL_JR_CONFIRMED, BL_ON_OLD,
	  BL_ON_OLD, BL_REC_FINISH_COMMIT },
	{ "boot-confirmed-old-left-open", true, false, BOOT, BL_JR_CONFIRMED, BL_ON_OLD,
	  BL_ON_OLD, BL_REC_NOTHING },
	{ "boot-confirmed-new-closes", true, false, BOOT, BL_JR_CONFIRMED, BL_ON_NEW, BL_ON_NEW,
	  BL_REC_CLOSE_RB },
	{ "boot-confirmed-new-rolls-back", true, false, BOOT, BL_JR_CONFIRMED, BL_ON_NEW,
	  BL_ON_NEW, BL_REC_ROLL_BACK },
	{ "boot-done-new-undoes", true, false, BOOT, BL_JR_DONE, BL_ON_NEW, BL_ON_NEW,
	  BL_REC_UNDO_COMMIT },
	{ "boot-done-new-reboots", true, false, BOOT, BL_JR_DONE, BL_ON_NEW, BL_ON_NEW,
	  BL_REC_REBOOT },
	{ "boot-rb-old-reboots", true, false, BOOT, BL_JR_RB, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_REBOOT },
	{ "boot-rb-old-commits", true, false, BOOT, BL_JR_RB, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_FINISH_COMMIT },
	{ "boot-trial-new-commits", true, false, BOOT, BL_JR_TRIAL, BL_ON_NEW, BL_ON_OLD,
	  BL_REC_FINISH_COMMIT },
	{ "boot-trial-new-left-open", true, false, BOOT, BL_JR_TRIAL, BL_ON_NEW, BL_ON_OLD,
	  BL_REC_NOTHING },
	{ "boot-trial-old-left-open", true, false, BOOT, BL_JR_TRIAL, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_NOTHING },
	{ "boot-trial-old-tries-again", false, false, BOOT, BL_JR_TRIAL, BL_ON_OLD, BL_ON_OLD,
	  BL_REC_TRIAL },
	{ "boot-armed-new-left-open", true, false, BOOT, BL_JR_ARMED, BL_ON_NEW, BL_ON_OLD,
	  BL_REC_NOTHING },
	{ "boot-none-new-left-open", false, true, BOOT, BL_JR_NONE, BL_ON_NEW, BL_ON_OLD,
	  BL_REC_KEEP_ASIDE },
	/* after a restart of the agent */
	{ "restart-trial-reboot-left-open", true, false, RESTART, BL_TXN_TRIAL_REBOOT, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-trial-reboot-closes", true, false, RESTART, BL_TXN_TRIAL_REBOOT, ANY, ANY,
	  BL_REC_CLOSE_REFUSED },
	{ "restart-trial-wait-commits", true, false, RESTART, BL_TXN_TRIAL_WAIT, ANY, ANY,
	  BL_REC_FINISH_COMMIT },
	{ "restart-trial-wait-ignores-deadline", false, false, RESTART, BL_TXN_TRIAL_WAIT, 0,
	  ANY, BL_REC_RESUME_WAIT },
	{ "restart-none-new-rolls-back", false, true, RESTART, BL_TXN_NONE, ANY, BL_ON_NEW,
	  BL_REC_ROLL_BACK },
	{ "restart-none-old-commits", false, true, RESTART, BL_TXN_NONE, ANY, BL_ON_OLD,
	  BL_REC_FINISH_COMMIT },
	{ "restart-none-old-left-open", false, true, RESTART, BL_TXN_NONE, ANY, BL_ON_OLD,
	  BL_REC_NOTHING },
	{ "restart-prepared-left-open", true, false, RESTART, BL_TXN_PREPARED, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-armed-left-open", true, false, RESTART, BL_TXN_ARMED, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-activating-waits", false, false, RESTART, BL_TXN_ACTIVATING, ANY, ANY,
	  BL_REC_RESUME_WAIT },
	{ "restart-activating-closes", true, false, RESTART, BL_TXN_ACTIVATING, ANY, ANY,
	  BL_REC_CLOSE_RB },
	{ "restart-activating-begins-again", false, false, RESTART, BL_TXN_ACTIVATING, ANY, ANY,
	  BL_REC_BEGIN },
	{ "restart-checking-closes-as-refused", true, false, RESTART, BL_TXN_CHECKING, ANY, ANY,
	  BL_REC_CLOSE_REFUSED },
	{ "restart-checking-commits", true, false, RESTART, BL_TXN_CHECKING, ANY, ANY,
	  BL_REC_FINISH_COMMIT },
	{ "restart-waiting-commits", true, false, RESTART, BL_TXN_WAIT_CONFIRM, ANY, ANY,
	  BL_REC_FINISH_COMMIT },
	{ "restart-waiting-ignores-deadline", false, false, RESTART, BL_TXN_WAIT_CONFIRM, 0,
	  ANY, BL_REC_RESUME_WAIT },
	{ "restart-waiting-left-open", true, false, RESTART, BL_TXN_WAIT_CONFIRM, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-confirmed-left-open", true, false, RESTART, BL_TXN_CONFIRMED, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-committing-rolls-back", true, false, RESTART, BL_TXN_COMMITTING, ANY, ANY,
	  BL_REC_ROLL_BACK },
	{ "restart-committing-waits", true, false, RESTART, BL_TXN_COMMITTING, ANY, ANY,
	  BL_REC_RESUME_WAIT },
	{ "restart-rolling-back-waits", false, false, RESTART, BL_TXN_ROLLING_BACK, ANY, ANY,
	  BL_REC_RESUME_WAIT },
	{ "restart-rolling-back-commits", true, false, RESTART, BL_TXN_ROLLING_BACK, ANY, ANY,
	  BL_REC_FINISH_COMMIT },
	{ "restart-rolling-back-left-open", true, false, RESTART, BL_TXN_ROLLING_BACK, ANY, ANY,
	  BL_REC_NOTHING },
	{ "restart-committed-rolls-back", true, false, RESTART, BL_TXN_COMMITTED, ANY, ANY,
	  BL_REC_ROLL_BACK },
	/* what a state means to whoever reads it */
	{ "journal-activating-says-back", false, false, JOURNAL, BL_TXN_ACTIVATING, 0, 0,
	  BL_JR_RB },
	{ "journal-waiting-says-confirmed", true, false, JOURNAL, BL_TXN_WAIT_CONFIRM, 0, 0,
	  BL_JR_CONFIRMED },
	{ "journal-committing-says-armed", true, false, JOURNAL, BL_TXN_COMMITTING, 0, 0,
	  BL_JR_ARMED },
	{ "journal-committed-says-back", true, false, JOURNAL, BL_TXN_COMMITTED, 0, 0,
	  BL_JR_RB },
	{ "journal-rolling-back-says-confirmed", true, false, JOURNAL, BL_TXN_ROLLING_BACK, 0,
	  0, BL_JR_CONFIRMED },
	{ "journal-rolled-back-says-armed", true, false, JOURNAL, BL_TXN_ROLLED_BACK, 0, 0,
	  BL_JR_ARMED },
	{ "journal-trial-says-confirmed", true, false, JOURNAL, BL_TXN_TRIAL_REBOOT, 0, 0,
	  BL_JR_CONFIRMED },
	{ "journal-trial-says-back", false, false, JOURNAL, BL_TXN_TRIAL_REBOOT, 0, 0,
	  BL_JR_RB },
	{ "journal-trial-wait-says-confirmed", true, false, JOURNAL, BL_TXN_TRIAL_WAIT, 0, 0,
	  BL_JR_CONFIRMED },
	/* events */
	{ "next-trial-checking-takes-confirm", false, false, NEXT, BL_TXN_TRIAL_CHECKING,
	  BL_EV_CONFIRM, 0, BL_TXN_CONFIRMED },
	{ "next-trial-wait-deadline-confirms", true, false, NEXT, BL_TXN_TRIAL_WAIT,
	  BL_EV_DEADLINE, 0, BL_TXN_CONFIRMED },
	{ "next-armed-takes-confirm", false, false, NEXT, BL_TXN_ARMED, BL_EV_CONFIRM, 0,
	  BL_TXN_CONFIRMED },
	{ "next-checking-takes-confirm", false, false, NEXT, BL_TXN_CHECKING, BL_EV_CONFIRM, 0,
	  BL_TXN_CONFIRMED },
	{ "next-rolling-back-takes-confirm", false, false, NEXT, BL_TXN_ROLLING_BACK,
	  BL_EV_CONFIRM, 0, BL_TXN_CONFIRMED },
	{ "next-rolled-back-takes-confirm", false, false, NEXT, BL_TXN_ROLLED_BACK,
	  BL_EV_CONFIRM, 0, BL_TXN_CONFIRMED },
	{ "next-waiting-deadline-confirms", true, false, NEXT, BL_TXN_WAIT_CONFIRM,
	  BL_EV_DEADLINE, 0, BL_TXN_CONFIRMED },
	{ "next-waiting-ignores-deadline", true, false, NEXT, BL_TXN_WAIT_CONFIRM,
	  BL_EV_DEADLINE, 0, BL_TXN_NONE },
	{ "next-waiting-skips-the-journal", true, false, NEXT, BL_TXN_WAIT_CONFIRM,
	  BL_EV_CONFIRM, 0, BL_TXN_COMMITTED },
	{ "next-activating-failure-goes-on", false, false, NEXT, BL_TXN_ACTIVATING, BL_EV_FAIL,
	  0, BL_TXN_CHECKING },
	{ "next-activating-failure-is-refused", false, false, NEXT, BL_TXN_ACTIVATING,
	  BL_EV_FAIL, 0, BL_TXN_REFUSED },
	{ "next-activating-ignores-abort-half-way", false, false, NEXT, BL_TXN_ACTIVATING,
	  BL_EV_ABORT, 0, BL_TXN_REFUSED },
	{ "next-committing-takes-deadline", false, false, NEXT, BL_TXN_COMMITTING,
	  BL_EV_DEADLINE, 0, BL_TXN_ROLLING_BACK },
	{ "next-committing-takes-abort", false, false, NEXT, BL_TXN_COMMITTING, BL_EV_ABORT, 0,
	  BL_TXN_ROLLING_BACK },
	{ "next-committed-takes-abort", false, false, NEXT, BL_TXN_COMMITTED, BL_EV_ABORT, 0,
	  BL_TXN_ROLLING_BACK },
	{ "next-undone-is-at-once-rolled-back", true, false, NEXT, BL_TXN_COMMITTING,
	  BL_EV_COMMIT_UNDONE, 0, BL_TXN_ROLLED_BACK },
	{ "next-undone-is-not-heard", true, false, NEXT, BL_TXN_COMMITTING, BL_EV_COMMIT_UNDONE,
	  0, BL_TXN_NONE },
	{ "next-rolling-back-never-ends", true, false, NEXT, BL_TXN_ROLLING_BACK,
	  BL_EV_OLD_RUNS, 0, BL_TXN_NONE },
};
/* clang-format on */

static bool hits(int want, size_t is)
{
	return want == ANY || (size_t)want == is;
}

static const struct mutant *find_mutant(const char *name)
{
	for (size_t i = 0; i < BL_COUNT(mutants); i++)
		if (strcmp(mutants[i].name, name) == 0)
			return &mutants[i];
	return NULL;
}

static void apply(const struct mutant *m)
{
	switch (m->table) {
	case NEXT:
		t.next[m->a][m->b] = (enum bl_txn_state)m->value;
		return;
	case JOURNAL:
		t.journal[m->a] = (enum bl_journal)m->value;
		return;
	case BOOT:
		t.boot[m->a][m->b][m->c] = (enum bl_recovery)m->value;
		return;
	case RESTART:
		for (size_t in_time = 0; in_time < 2; in_time++)
			for (size_t d = 0; d < BL_ON_NWHERE; d++)
				if (hits(m->b, in_time) && hits(m->c, d))
					t.restart[m->a][in_time][d] =
						(enum bl_recovery)m->value;
		return;
	}
}

/* --- the world ---------------------------------------------------------------------------- */

enum where_we_are { AGENT, RESTARTED, FIRMWARE, GUARD, UNDO, END };
enum up {
	UP_DOWN,
	UP_OLD,
	UP_HALF,
	UP_NEW,
	UP_CUT
}; /* HALF: reachable; CUT: NEW or OLD, not reachable */

/* Bytes only: compared and hashed as they lie. */
struct world {
	uint8_t at;             /* enum where_we_are */
	uint8_t state;          /* what the agent believes */
	uint8_t record;         /* the state that the journal holds; BL_TXN_NONE: unreadable */
	uint8_t step;           /* how far the work of this state has come */
	uint8_t up;             /* enum up */
	uint8_t booted;         /* enum bl_where: OLD or NEW */
	uint8_t bdef;           /* boot default, the same */
	uint8_t crashes, kills; /* still to come */
	uint8_t checked;        /* the checks on the host passed */
	uint8_t conf;           /* a confirmation was durable once */
	uint8_t acked;          /* "committed" was said */
	uint8_t late;           /* the deadline is over */
	uint8_t lost;           /* a journal was lost once */
	uint8_t ours; /* the journal holds this boot's id, or this is the boot it began in */
	uint8_t live_done; /* the activation of NEW came to its end */
	uint8_t oneshot;   /* the next boot, and only that one, is into NEW */
};

struct node {
	struct world w;
	uint32_t parent;
	const char *how;
};

static struct node *nodes;
static uint32_t n_nodes, cap_nodes;
static uint32_t *slots; /* hash table of node numbers + 1 */
static size_t n_slots;
static struct edge {
	uint32_t from, to;
} * edges;
static size_t n_edges, cap_edges;
static bool lose;
static uint32_t current;
static const char *violation;
static uint32_t violated;

static uint64_t hash(const struct world *w)
{
	const uint8_t *p = (const uint8_t *)w;
	uint64_t h = 1469598103934665603U;
	for (size_t i = 0; i < sizeof(*w); i++)
		h = (h ^ p[i]) * 1099511628211U;
	return h ^ h >> 29;
}

static void rehash(void)
{
	free(slots);
	n_slots = n_slots ? n_slots * 2 : 1U << 16;
	slots = bl_xcalloc(n_slots, sizeof(*slots));
	for (uint32_t i = 0; i < n_nodes; i++) {
		size_t k = hash(&nodes[i].w) & (n_slots - 1);
		while (slots[k])
			k = (k + 1) & (n_slots - 1);
		slots[k] = i + 1;
	}
}

static void check(uint32_t node);

/* The world @w can follow the current one. */
static void to(const struct world *w, const char *how)
{
	if (2 * (size_t)n_nodes >= n_slots)
		rehash();
	size_t k = hash(w) & (n_slots - 1);
	while (slots[k] && memcmp(&nodes[slots[k] - 1].w, w, sizeof(*w)) != 0)
		k = (k + 1) & (n_slots - 1);
	bool known = slots[k] != 0;
	if (!known) {
		if (n_nodes == cap_nodes) {
			cap_nodes = cap_nodes ? cap_nodes * 2 : 4096;
			nodes = bl_xrealloc(nodes, cap_nodes, sizeof(*nodes));
		}
		nodes[n_nodes] = (struct node){ .w = *w, .parent = current, .how = how };
		slots[k] = ++n_nodes;
	}
	if (n_edges == cap_edges) {
		cap_edges = cap_edges ? cap_edges * 2 : 4096;
		edges = bl_xrealloc(edges, cap_edges, sizeof(*edges));
	}
	edges[n_edges++] = (struct edge){ current, slots[k] - 1 };
	if (!known)
		check(slots[k] - 1);
}

static void violate(uint32_t node, const char *what)
{
	if (!violation) {
		violation = what;
		violated = node;
	}
}

static void check_end(uint32_t node, const struct world *w, enum bl_journal journal)
{
	if (w->up != UP_OLD && w->up != UP_NEW)
		violate(node, "it is over and the host cannot be reached");
	if (journal == BL_JR_ARMED || journal == BL_JR_TRIAL || journal == BL_JR_CONFIRMED)
		violate(node, "it is over and the transaction is still open (I3)");
	if (w->record == BL_TXN_COMMITTED && (w->bdef != BL_ON_NEW || w->up != UP_NEW))
		violate(node, "committed, but NEW does not run or would not boot (I2)");
	if (journal == BL_JR_RB && (w->bdef != BL_ON_OLD || w->up != UP_OLD))
		violate(node, "rolled back, but OLD does not run or would not boot (I10)");
	if (!w->conf && (w->bdef != BL_ON_OLD || w->up != UP_OLD))
		violate(node, "nobody confirmed, but the end is not OLD (I8)");
	if (w->oneshot)
		violate(node, "it is over and the next boot is into NEW (I5)");
	if (w->up == UP_NEW && !w->conf)
		violate(node, "NEW runs with neither a supervisor nor a confirmation (I5)");
}

static void check(uint32_t node)
{
	const struct world *w = &nodes[node].w;
	enum bl_journal journal = t.journal[w->record];
	if (w->bdef == BL_ON_NEW && !w->conf)
		violate(node, "NEW would boot before a confirmation was durable (I1)");
	if (w->bdef == BL_ON_NEW && !w->lost && journal != BL_JR_CONFIRMED &&
	    journal != BL_JR_DONE)
		violate(node, "NEW would boot and the journal does not say confirmed (I1)");
	if (journal == BL_JR_CONFIRMED && !w->conf)
		violate(node, "the journal says confirmed and nobody confirmed (I6)");
	if (w->acked && (w->bdef != BL_ON_NEW || (!w->lost && w->record != BL_TXN_COMMITTED)))
		violate(node, "what was acknowledged as committed is gone (I2)");
	if (w->up != UP_DOWN && w->up != UP_OLD && journal == BL_JR_RB)
		violate(node, "the journal says rolled back and OLD does not run (I10)");
	if (w->oneshot && !w->lost && journal != BL_JR_TRIAL &&
	    w->record != BL_TXN_ROLLING_BACK)
		violate(node, "the next boot is into NEW and the journal does not know (I5)");
	if (w->at == END)
		check_end(node, w, journal);
}

/* --- what can happen ---------------------------------------------------------------------- */

/* The agent gets @event; @w is the world with the event's own effects already in it. */
static void fire(struct world w, enum bl_txn_event event, const char *how)
{
	enum bl_txn_state next = t.next[w.state][event];
	used.next[w.state][event] = true;
	if (next != BL_TXN_NONE) {
		w.state = w.record = (uint8_t)next;
		w.step = 0;
		w.ours = 1;
		w.conf = w.conf || event == BL_EV_CONFIRM;
		w.checked = w.checked || event == BL_EV_CHECKS_OK;
	}
	/* a refused event leaves the agent where it was: if that is its own, a loop shows it */
	to(&w, how);
	if (event == BL_EV_CONFIRM && next != BL_TXN_NONE) {
		if (w.up != UP_NEW || !w.live_done)
			violate(n_nodes - 1, "confirmed, but NEW does not run as a whole (I6)");
		if (!w.checked)
			violate(n_nodes - 1, "confirmed before the checks passed (I6)");
		if (w.late)
			violate(n_nodes - 1, "confirmed after the deadline (I6)");
	}
}

static void outside(const struct world *w)
{
	enum bl_txn_state state = (enum bl_txn_state)w->state;
	if (w->step == 0 && t.next[state][BL_EV_CONFIRM] != BL_TXN_NONE && w->up != UP_DOWN &&
	    w->up != UP_CUT)
		fire(*w, BL_EV_CONFIRM, "confirm");
	if (t.next[state][BL_EV_ABORT] != BL_TXN_NONE)
		fire(*w, BL_EV_ABORT, "abort");
	/* waiting has no other end of its own, so there a deadline that is refused is a loop */
	if (t.next[state][BL_EV_DEADLINE] != BL_TXN_NONE || state == BL_TXN_WAIT_CONFIRM ||
	    state == BL_TXN_TRIAL_WAIT)
		fire(*w, BL_EV_DEADLINE, "deadline");
}

static void moved(struct world w, uint8_t up, uint8_t step, const char *how)
{
	w.up = up;
	w.step = step;
	to(&w, how);
}

static void activating(struct world w)
{
	switch (w.step) {
	case 0:
		if (w.up == UP_OLD)
			fire(w, BL_EV_UNTOUCHED, "activation refuses, nothing touched");
		moved(w, UP_HALF, 1, "activation is half way");
		return;
	default:
		fire(w, BL_EV_FAIL, "activation fails half way");
		w.up = UP_CUT;
		fire(w, BL_EV_FAIL, "activation fails and cuts the host off");
		w.live_done = 1;
		fire(w, BL_EV_ACTIVATED, "activated, and cut off");
		w.up = UP_NEW;
		fire(w, BL_EV_ACTIVATED, "activated");
	}
}

static void committing(struct world w)
{
	if (w.step == 0 && w.up != UP_NEW)
		violate(current, "the boot default is to change and NEW does not run");
	switch (w.step) {
	case 0:
		w.step = 2;
		to(&w, "commit fails before it did anything");
		w.bdef = BL_ON_NEW;
		to(&w, "commit fails after half its work");
		w.step = 1;
		to(&w, "profile and boot loader are NEW");
		return;
	case 1:
		fire(w, BL_EV_COMMIT_OK, "read back: NEW");
		return;
	case 2:
		w.step = 4;
		to(&w, "the undo fails too");
		w.step = 3;
		w.bdef = BL_ON_OLD;
		to(&w, "undo: boot default is OLD");
		return;
	case 3:
		fire(w, BL_EV_COMMIT_UNDONE, "read back: OLD");
		return;
	default:
		fire(w, BL_EV_GIVE_UP, "give up");
	}
}

static void reboot(struct world w, const char *how)
{
	w.at = FIRMWARE;
	w.up = UP_DOWN;
	w.step = 0;
	w.state = BL_TXN_NONE;
	to(&w, how);
}

/* Its journal is durable before the one-shot is set. */
static void trial_reboot(struct world w)
{
	if (w.step == 0) {
		w.oneshot = 1;
		w.step = 1;
		to(&w, "one-shot set and read back");
		return;
	}
	fire(w, BL_EV_FAIL, "the reboot is refused");
	reboot(w, "reboot for the trial");
}

static void rolling_back(struct world w)
{
	w.live_done = 0;
	if (w.oneshot) {
		w.oneshot = 0;
		to(&w, "one-shot cleared");
		return;
	}
	switch (w.step) {
	case 0:
		if (w.booted == BL_ON_NEW)
			reboot(w, "NEW was booted: leave it by reboot");
		else
			moved(w, w.up == UP_CUT ? UP_CUT : UP_HALF, 1,
			      "activation of OLD is half way");
		return;
	case 1:
		moved(w, UP_OLD, 2, "OLD runs again");
		reboot(w, "the live rollback failed: reboot");
		return;
	default:
		fire(w, BL_EV_OLD_RUNS, "verified: OLD runs");
	}
}

static void agent(struct world w)
{
	outside(&w);
	switch ((enum bl_txn_state)w.state) {
	case BL_TXN_PREPARED:
		fire(w, BL_EV_FAIL, "preflight fails");
		fire(w, BL_EV_ARM, "arm");
		return;
	case BL_TXN_ARMED:
		fire(w, BL_EV_FAIL, "cannot start the activation");
		fire(w, BL_EV_ACTIVATE, "activate");
		fire(w, BL_EV_TRIAL, "trial boot");
		return;
	case BL_TXN_ACTIVATING:
		activating(w);
		return;
	case BL_TXN_CHECKING:
		fire(w, BL_EV_FAIL, "a check fails");
		fire(w, BL_EV_CHECKS_OK, "the checks pass");
		return;
	case BL_TXN_WAIT_CONFIRM:
		fire(w, BL_EV_FAIL, "a unit fails while waiting");
		if (w.up == UP_NEW)
			fire(w, BL_EV_TRIAL, "provisional confirmation: trial boot");
		return;
	case BL_TXN_TRIAL_INSTALLED:
		fire(w, BL_EV_FAIL, "the candidate cannot be installed");
		fire(w, BL_EV_INSTALLED, "the candidate is installed");
		return;
	case BL_TXN_TRIAL_REBOOT:
		trial_reboot(w);
		return;
	case BL_TXN_TRIAL_CHECKING:
		fire(w, BL_EV_FAIL, "a check fails in the trial boot");
		fire(w, BL_EV_CHECKS_OK, "the checks pass in the trial boot");
		return;
	case BL_TXN_TRIAL_WAIT:
		fire(w, BL_EV_FAIL, "a unit fails while waiting in the trial boot");
		return;
	case BL_TXN_CONFIRMED:
		fire(w, BL_EV_COMMIT, "commit");
		return;
	case BL_TXN_COMMITTING:
		committing(w);
		return;
	case BL_TXN_ROLLING_BACK:
		rolling_back(w);
		return;
	case BL_TXN_COMMITTED:
		w.acked = 1;
		w.at = END;
		to(&w, "acknowledge");
		return;
	case BL_TXN_NONE:
	case BL_TXN_NSTATES:
	case BL_TXN_ROLLED_BACK:
	case BL_TXN_REFUSED:
	case BL_TXN_SUPERSEDED:
	case BL_TXN_STUCK:
		w.at = END;
		to(&w, "the agent ends");
	}
}

static void set_state(struct world *w, enum bl_txn_state state)
{
	w->state = w->record = (uint8_t)state;
	w->step = 0;
	w->ours = 1;
}

static void recover(struct world w, enum bl_recovery action)
{
	const char *how = bl_recovery_name(action);
	w.at = AGENT;
	w.step = 0;
	switch (action) {
	case BL_REC_NOTHING:
	case BL_REC_KEEP_ASIDE:
		w.at = END;
		w.acked = w.acked || w.record == BL_TXN_COMMITTED;
		break;
	case BL_REC_CLOSE_RB:
		w.at = END;
		w.oneshot = 0;
		set_state(&w, BL_TXN_ROLLED_BACK);
		break;
	case BL_REC_TRIAL:
		set_state(&w, BL_TXN_TRIAL_CHECKING);
		w.late = 0;
		break;
	case BL_REC_REBOOT:
		w.oneshot = 0;
		reboot(w, how);
		return;
	case BL_REC_SUPERSEDED:
		w.at = END;
		set_state(&w, BL_TXN_SUPERSEDED);
		break;
	case BL_REC_FINISH_COMMIT:
		/* goes on where it was; the journal is not written for it */
		w.state = w.record == BL_TXN_CONFIRMED ? BL_TXN_CONFIRMED : BL_TXN_COMMITTING;
		break;
	case BL_REC_UNDO_COMMIT:
		w.at = UNDO;
		w.bdef = BL_ON_OLD;
		break;
	case BL_REC_ROLL_BACK:
		set_state(&w, BL_TXN_ROLLING_BACK);
		break;
	case BL_REC_RESUME_WAIT:
		/* a mutant may say so of a state in which nobody waits */
		w.state = w.record == BL_TXN_TRIAL_CHECKING || w.record == BL_TXN_TRIAL_WAIT
				  ? w.record
				  : BL_TXN_WAIT_CONFIRM;
		break;
	case BL_REC_BEGIN:
		w.state = BL_TXN_PREPARED;
		break;
	case BL_REC_CLOSE_REFUSED:
		w.at = END;
		set_state(&w, BL_TXN_REFUSED);
		break;
	case BL_REC_NACTIONS:
		return;
	}
	to(&w, how);
}

static void after_boot(struct world w)
{
	enum bl_journal journal = t.journal[w.record];
	used.boot[journal][w.booted][w.bdef] = true;
	recover(w, t.boot[journal][w.booted][w.bdef]);
}

/* As long as nothing was written in this boot, a restart is a recovery after a boot. */
static void restarted(struct world w)
{
	if (!w.ours) {
		after_boot(w);
		return;
	}
	for (uint8_t late = w.late; late < 2; late++) {
		struct world next = w;
		next.late = late;
		used.restart[w.record][!late][w.bdef] = true;
		recover(next, t.restart[w.record][!late][w.bdef]);
	}
}

static void power_and_kill(struct world w)
{
	bool ended = w.at == END;
	if (w.crashes > 0 && w.at != FIRMWARE) {
		struct world c = w;
		c.crashes--;
		c.live_done = 0;
		reboot(c, "POWER FAILS");
		if (lose && w.record != BL_TXN_NONE) {
			c.record = BL_TXN_NONE;
			c.lost = 1;
			reboot(c, "POWER FAILS, the journal is lost");
		}
	}
	if (w.kills > 0 && !ended && (w.at == AGENT || w.at == UNDO)) {
		w.kills--;
		w.at = RESTARTED;
		w.step = 0;
		w.state = BL_TXN_NONE;
		to(&w, "KILLED");
		if (lose && w.record != BL_TXN_NONE) {
			w.record = BL_TXN_NONE;
			w.lost = 1;
			to(&w, "KILLED, the journal is lost");
		}
	}
}

/* The one-shot is gone before what it names is started. */
static void firmware(struct world w)
{
	bool trial = w.oneshot;
	w.oneshot = 0;
	w.ours = 0;
	w.late = 1; /* another boot voids the deadline */
	if (trial)
		to(&w, "the trial boot dies");
	w.at = GUARD;
	w.booted = trial ? BL_ON_NEW : w.bdef;
	w.up = w.booted == BL_ON_NEW ? UP_NEW : UP_OLD;
	w.live_done = w.up == UP_NEW;
	to(&w, trial ? "boots NEW once" : "boots the default");
	if (trial) {
		w.up = UP_CUT;
		to(&w, "boots NEW once, cut off");
	}
}

static void expand(uint32_t node)
{
	struct world w = nodes[node].w;
	current = node;
	switch ((enum where_we_are)w.at) {
	case AGENT:
		agent(w);
		break;
	case RESTARTED:
		restarted(w);
		break;
	case FIRMWARE:
		firmware(w);
		break;
	case GUARD:
		after_boot(w);
		break;
	case UNDO:
		w.at = END;
		set_state(&w, BL_TXN_ROLLED_BACK);
		to(&w, "close as rolled back");
		break;
	case END:
		break;
	}
	power_and_kill(nodes[node].w);
}

/* Kahn's order: what cannot be put in order lies on, or behind, an endless way. */
static void check_no_endless_way(void)
{
	uint32_t *incoming = bl_xcalloc(n_nodes, sizeof(*incoming));
	uint32_t *first = bl_xcalloc((size_t)n_nodes + 1, sizeof(*first));
	uint32_t *order = bl_xcalloc(n_nodes, sizeof(*order));
	uint32_t head = 0;
	uint32_t tail = 0;
	for (size_t i = 0; i < n_edges; i++) {
		incoming[edges[i].to]++;
		first[edges[i].from +
		      1]++; /* edges are sorted by their start: nodes are expanded in order */
	}
	for (uint32_t i = 0; i < n_nodes; i++)
		first[i + 1] += first[i];
	for (uint32_t i = 0; i < n_nodes; i++)
		if (incoming[i] == 0)
			order[tail++] = i;
	while (head < tail) {
		uint32_t node = order[head++];
		for (uint32_t i = first[node]; i < first[node + 1]; i++)
			if (--incoming[edges[i].to] == 0)
				order[tail++] = edges[i].to;
	}
	for (uint32_t i = 0; i < n_nodes && tail < n_nodes; i++)
		if (incoming[i] > 0)
			violate(i, "it may go on for ever (I3)");
	free(incoming);
	free(first);
	free(order);
}

static void print_way(uint32_t node)
{
	static const char *const ups[] = { "down", "OLD", "half", "NEW", "cut off" };
	if (node != 0)
		print_way(nodes[node].parent);
	const struct world *w = &nodes[node].w;
	printf("%-36s state %-12s journal %-12s runs %-7s boots %s\n",
	       node ? nodes[node].how : "start", bl_txn_name((enum bl_txn_state)w->state),
	       bl_txn_name((enum bl_txn_state)w->record), ups[w->up],
	       w->bdef == BL_ON_NEW ? "NEW" : "OLD");
}

static void print_cells(void)
{
	static const char *const where[] = { "OLD", "NEW", "OTHER" };
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++)
		for (size_t b = 0; b < BL_ON_OTHER; b++)
			for (size_t d = 0; d < BL_ON_OTHER; d++)
				printf("boot: journal %-9s booted %s default %s -> %s%s\n",
				       bl_journal_name((enum bl_journal)j), where[b], where[d],
				       bl_recovery_name(t.boot[j][b][d]),
				       used.boot[j][b][d] ? "" : " (not reached)");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++)
		for (size_t in_time = 0; in_time < 2; in_time++)
			for (size_t d = 0; d < BL_ON_OTHER; d++)
				if (used.restart[s][in_time][d])
					printf("restart: state %s %s default %s -> %s\n",
					       bl_txn_name((enum bl_txn_state)s),
					       in_time ? "in time" : "late", where[d],
					       bl_recovery_name(t.restart[s][in_time][d]));
}

static int search(void)
{
	struct world start = { .at = AGENT,
			       .state = BL_TXN_PREPARED,
			       .record = BL_TXN_PREPARED,
			       .up = UP_OLD,
			       .booted = BL_ON_OLD,
			       .bdef = BL_ON_OLD,
			       .crashes = CRASHES,
			       .kills = KILLS,
			       .ours = 1 };
	to(&start, "start");
	n_edges = 0;
	for (uint32_t i = 0; i < n_nodes && !violation; i++)
		expand(i);
	if (!violation)
		check_no_endless_way();
	if (violation) {
		print_way(violated);
		printf("violated: %s\n", violation);
		return 1;
	}
	print_cells();
	printf("%u states, %zu steps, no violation\n", n_nodes, n_edges);
	return 0;
}

/* --- for spin ----------------------------------------------------------------------------- */

static const char *spin_word(const char *name)
{
	static char word[2][40];
	static int turn;
	turn = !turn;
	size_t n = 0;
	for (; name[n] && n < sizeof(word[0]) - 1; n++)
		word[turn][n] = name[n] == ' ' ? '_' : name[n];
	word[turn][n] = '\0';
	return word[turn];
}

static const char *spin_journal(enum bl_journal journal)
{
	static const char *const names[] = { "jNONE", "jARMED", "jTRIAL",
					     "jCONF", "jDONE",  "jRB" };
	return names[journal];
}

/* Promela has no tables: each one becomes a choice with one line for each of its cells. */
static void print_pml(void)
{
	static const char *const systems[] = { "sOLD", "sNEW" };
	printf("/* Made by tests/model/tables --pml from src/guard/state.c. */\n");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++)
		printf("#define t%s %zu\n", bl_txn_name((enum bl_txn_state)s), s);
	for (size_t e = 0; e < BL_EV_NEVENTS; e++)
		printf("#define e%s %zu\n", bl_txn_event_name((enum bl_txn_event)e), e);
	for (size_t a = 0; a < BL_REC_NACTIONS; a++)
		printf("#define a_%s %zu\n", spin_word(bl_recovery_name((enum bl_recovery)a)),
		       a);
	printf("inline record(s) {\n  d_step {\n    st = s;\n    if\n");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++)
		printf("    :: st == t%s -> jr = %s\n", bl_txn_name((enum bl_txn_state)s),
		       spin_journal(t.journal[s]));
	printf("    fi\n  }\n}\ninline next(ev) {\n  d_step {\n    if\n");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++)
		for (size_t e = 0; e < BL_EV_NEVENTS; e++)
			if (t.next[s][e] != BL_TXN_NONE)
				printf("    :: st == t%s && ev == e%s -> st = t%s\n",
				       bl_txn_name((enum bl_txn_state)s),
				       bl_txn_event_name((enum bl_txn_event)e),
				       bl_txn_name(t.next[s][e]));
	printf("    :: else -> assert(false) /* the model makes a step that the table refuses */\n"
	       "    fi\n  }\n  record(st)\n}\ninline after_boot() {\n  if\n");
	for (size_t j = 0; j < BL_JR_NJOURNALS; j++)
		for (size_t b = 0; b < BL_ON_OTHER; b++)
			for (size_t d = 0; d < BL_ON_OTHER; d++)
				printf("  :: jr == %s && sys == %s && bdef == %s -> act = a_%s\n",
				       spin_journal((enum bl_journal)j), systems[b], systems[d],
				       spin_word(bl_recovery_name(t.boot[j][b][d])));
	printf("  fi\n}\n/* whether a confirmation is still in time is open: both lines may be taken */\n"
	       "inline after_restart() {\n  if\n");
	for (size_t s = 0; s < BL_TXN_NSTATES; s++)
		for (size_t in_time = 0; in_time < 2; in_time++)
			for (size_t d = 0; d < BL_ON_OTHER; d++)
				printf("  :: st == t%s && bdef == %s -> act = a_%s /* %s */\n",
				       bl_txn_name((enum bl_txn_state)s), systems[d],
				       spin_word(bl_recovery_name(t.restart[s][in_time][d])),
				       in_time ? "in time" : "late");
	printf("  fi\n}\n");
}

static void print_mutant(const struct mutant *m)
{
	bool endless = m->table == BOOT && m->value == BL_REC_REBOOT;
	printf("%s %s%s\n", m->name,
	       !m->spin  ? "search"
	       : endless ? "loop"
			 : "both",
	       m->lose ? " lose" : "");
}

static int usage(void)
{
	fprintf(stderr, "usage: tables [--lose] [--mutant=NAME] [--pml] | --mutants\n");
	return 2;
}

int main(int argc, char **argv)
{
	bool pml = false;
	fill_tables();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--mutants") == 0) {
			for (size_t k = 0; k < BL_COUNT(mutants); k++)
				print_mutant(&mutants[k]);
			return 0;
		}
		if (strncmp(argv[i], "--mutant=", 9) == 0) {
			const struct mutant *m = find_mutant(argv[i] + 9);
			if (!m)
				return usage();
			apply(m);
		} else if (strcmp(argv[i], "--lose") == 0) {
			lose = true;
		} else if (strcmp(argv[i], "--pml") == 0) {
			pml = true;
		} else {
			return usage();
		}
	}
	if (pml) {
		print_pml();
		return 0;
	}
	return search();
}
