/* SPDX-License-Identifier: MIT */
/*
 * What a command tells while it works: plain lines, a live picture on a terminal, or one JSON
 * event a line. It knows hosts, phases and outcomes as words, not what is being done.
 */
#ifndef BELAY_UI_UI_H
#define BELAY_UI_UI_H

#include "ui/copystats.h"

enum bl_ui_mode { BL_UI_PLAIN, BL_UI_TERMINAL, BL_UI_JSON };

struct bl_ui_result {
	/*
	 * "committed", "unchanged", "rolled_back", "refused", "unreachable", "failed", "stuck",
	 * "superseded", "unknown", "skipped", "ready", "taken_back", "kept",
	 * "copied"; never NULL
	 */
	const char *outcome;
	const char *headline; /* "Successfully activated new system!" */
	const char *reason;   /* what failed, or NULL */
	const char *state;    /* the state that the host is in now, or NULL */
	const char *next;     /* what to do next, a command, or NULL */
	const char *system;   /* the system the host runs now as far as is known, or NULL */
	uint64_t epoch;       /* the host's number of the transaction, 0 for none */
	size_t wave;          /* from 1; 0: there are none */
	const struct bl_copy_stats *copied; /* what a copy took, or NULL */
};

/* A derivation that is built. */
struct bl_ui_build {
	const char *state; /* "running", "done" or "failed" */
	const char *name;  /* "linux-6.6" */
	const char *derivation;
	const char *host;    /* the node that builds it; NULL: this machine */
	uint64_t number, of; /* the how manieth of how many as far as is known; of 0: not */
	/* of a failed one, else NULL: why, the last lines of its log or "", a command */
	const char *reason, *log, *next;
};

/*
 * @host is NULL for what is about the whole run (evaluating, building); such lines are allowed
 * before bl_ui_begin(). A host that was not given to bl_ui_begin() joins at the end. Text may
 * be anything: it is made harmless here, a line end at its end is dropped. Writing never fails:
 * a reader that has gone away does not stop a deployment.
 */
struct bl_ui;

/* PLAIN and TERMINAL write to @err_fd, JSON to @out_fd. Owned by the caller. */
struct bl_ui *bl_ui_new(enum bl_ui_mode mode, int out_fd, int err_fd);
void bl_ui_free(struct bl_ui *ui);

/*
 * Nodes in the order in which a terminal shows them. Call it before the others, and again for
 * another run: hosts that are in it again have not ended any more.
 */
void bl_ui_begin(struct bl_ui *ui, const char *run_id, const char *const *hosts, size_t n);
/*
 * The hosts of wave @wave (from 1) of @waves are switched now. People are told where there is
 * something to tell: canaries, or several waves.
 */
void bl_ui_wave(struct bl_ui *ui, size_t wave, size_t waves, bool canary,
		const char *const *hosts, size_t n);
/* @host enters a phase ("connect", "copy", ...); @line is for people and may be NULL. */
void bl_ui_phase(struct bl_ui *ui, const char *host, const char *phase, const char *line);
/*
 * How far copying to @host is: on a terminal its line, as an event once a second, and for
 * readers of lines every ten.
 */
void bl_ui_copying(struct bl_ui *ui, const char *host, const struct bl_copy_stats *stats);
/* One line that a program printed for @host; @stream "copy", "activation", "agent". */
void bl_ui_output(struct bl_ui *ui, const char *host, const char *stream, const char *line);
/* A remark that is no failure: "boot loader is not readable here, ...". */
void bl_ui_note(struct bl_ui *ui, const char *host, const char *text);
/* One thing that was looked at on @host; @level "ok", "warning" or "failed". */
void bl_ui_item(struct bl_ui *ui, const char *host, const char *level, const char *name,
		const char *text, const char *remedy);
/* A build begins or ends. On a terminal only failures are told: the status has the rest. */
void bl_ui_build(struct bl_ui *ui, const struct bl_ui_build *build);
/* One line under the picture that is rewritten, on a terminal alone; "" takes it away. */
void bl_ui_status(struct bl_ui *ui, const char *text);
/* The end of @host (never NULL). */
void bl_ui_result(struct bl_ui *ui, const char *host, const struct bl_ui_result *r);
/* Call every 100 to 250 ms: a terminal shows seconds running. */
void bl_ui_tick(struct bl_ui *ui);
/* Leaves the picture; tells failures in full and the summary. @exit_code: of the program. */
void bl_ui_end(struct bl_ui *ui, int exit_code);

#endif
