/* SPDX-License-Identifier: MIT */
/*
 * The journal of runs: SQLite in $XDG_STATE_HOME/belay/history.db, and one folder (0700) a run
 * that holds the keys of its transactions until they have ended.
 */
#ifndef BELAY_HISTORY_HISTORY_H
#define BELAY_HISTORY_HISTORY_H

#include "base/err.h"
#include "base/str.h"

/*
 * Text columns are bound, never part of the SQL. What fails names the file and the remedy:
 * BL_E_TIMEOUT when another belay kept it locked for 5 s, BL_E_INPUT when it is damaged,
 * BL_E_USAGE for a run or host that is not in it. Several handles, also of several processes,
 * may be open at once.
 */
struct bl_history;

/* $XDG_STATE_HOME/belay, or ~/.local/state/belay; made with 0700 when missing. Caller frees. */
int bl_history_dir(char **out_dir, struct bl_err *err) BL_MUST_CHECK;

/* Opens (and makes, 0600) @dir/history.db; a newer schema than ours is refused with the remedy.
 */
int bl_history_open(const char *dir, struct bl_history **out, struct bl_err *err) BL_MUST_CHECK;
void bl_history_close(struct bl_history *h);

/* A new run: writes an id like "20261122-074357-3f9a" into @out_id and makes runs/<id>/. */
int bl_history_run_begin(struct bl_history *h, const char *command, const char *source,
			 char out_id[32], struct bl_err *err) BL_MUST_CHECK;
int bl_history_run_end(struct bl_history *h, const char *run, int exit_code,
		       struct bl_err *err) BL_MUST_CHECK;

struct bl_history_host {
	char *run;
	char *host;   /* node name */
	char *target; /* as ssh got it */
	char *system_old;
	char *system_new;
	uint64_t epoch;     /* 0: never started */
	char *outcome;      /* NULL while it goes on (or the deployer died) */
	char *reason;       /* NULL: none */
	int64_t started_ms; /* wall clock, for people */
	int64_t ended_ms;   /* 0: not ended */
	uint32_t wave;      /* from 1; 0: not known */
	bool atomic;        /* its wave is confirmed as a whole */
	bool decided;       /* ... and that had begun */
};

struct bl_history_run {
	char *id;
	char *command;
	char *source;
	int64_t started_ms;
	int64_t ended_ms; /* 0: goes on, or died */
	int exit_code;    /* -1: none yet */
};

/* Host @host joins @run; a second time is an error. @system_new may be NULL. */
int bl_history_host_begin(struct bl_history *h, const char *run, const char *host,
			  const char *target, const char *system_new,
			  struct bl_err *err) BL_MUST_CHECK;
/* In which wave (from 1) @host of @run is, and whether that is confirmed as a whole. */
int bl_history_host_wave(struct bl_history *h, const char *run, const char *host, uint32_t wave,
			 bool atomic, struct bl_err *err) BL_MUST_CHECK;
/* All of @wave are being confirmed from here on; survives a power cut. */
int bl_history_wave_decided(struct bl_history *h, const char *run, uint32_t wave,
			    struct bl_err *err) BL_MUST_CHECK;
/*
 * Known once the host answered (system_old) and once a transaction started (epoch); NULL and 0
 * leave what was told before. The one write that also survives a power cut here: with the key
 * it finds an open transaction again.
 */
int bl_history_host_started(struct bl_history *h, const char *run, const char *host,
			    const char *system_old, uint64_t epoch,
			    struct bl_err *err) BL_MUST_CHECK;
/*
 * The end of @host in @run; removes its key. With the outcome "unknown" the key stays: the
 * transaction may still be open, and a later call with the outcome found out removes it.
 */
int bl_history_host_end(struct bl_history *h, const char *run, const char *host,
			const char *outcome, const char *reason,
			struct bl_err *err) BL_MUST_CHECK;
/*
 * One line of the log; cheap (batched: written at the latest after 1000 lines, by the next of
 * the calls above, by bl_history_flush, or by close). Control bytes are stored as \xNN. After a
 * failed write the lines wait in memory for the next one, 32 MiB of them at most.
 */
int bl_history_line(struct bl_history *h, const char *run, const char *host, const char *stream,
		    const char *text, struct bl_err *err) BL_MUST_CHECK;
int bl_history_flush(struct bl_history *h, struct bl_err *err) BL_MUST_CHECK;

/* The key of an open transaction: runs/<run>/<host>.key, 0600, durable before it returns. */
int bl_history_key_save(struct bl_history *h, const char *run, const char *host,
			const uint8_t *key, size_t len, struct bl_err *err) BL_MUST_CHECK;
int bl_history_key_load(struct bl_history *h, const char *run, const char *host, uint8_t *key,
			size_t len, struct bl_err *err) BL_MUST_CHECK;

/* Newest first, at most @max; the caller frees with the functions below. */
int bl_history_runs(struct bl_history *h, size_t max, struct bl_history_run **out,
		    size_t *out_n, struct bl_err *err) BL_MUST_CHECK;
/* Hosts of @run, or (run NULL) the newest entries of @host; newest first. */
int bl_history_hosts(struct bl_history *h, const char *run, const char *host, size_t max,
		     struct bl_history_host **out, size_t *out_n,
		     struct bl_err *err) BL_MUST_CHECK;
/* Calls @each for every log line of @host in @run, in order. */
int bl_history_lines(struct bl_history *h, const char *run, const char *host,
		     void (*each)(void *ctx, int64_t wall_ms, const char *stream,
				  const char *text),
		     void *ctx, struct bl_err *err) BL_MUST_CHECK;
void bl_history_runs_free(struct bl_history_run *runs, size_t n);
void bl_history_hosts_free(struct bl_history_host *hosts, size_t n);

#endif
