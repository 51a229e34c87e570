/* SPDX-License-Identifier: MIT */
/* Carries out what course and rollout decide: sessions, copies, timers, for all hosts at once.
 */
#ifndef BELAY_ROLLOUT_DRIVE_H
#define BELAY_ROLLOUT_DRIVE_H

#include "copy/send.h"
#include "guard/proof.h"
#include "rollout/outcome.h"
#include "rollout/waves.h"

struct bl_drive_result {
	enum bl_outcome outcome;
	const char *headline;
	const char *reason; /* NULL: nothing to add */
	const char *state;  /* what the host is in now */
	const char *next;   /* what to do */
	const char *system; /* what it runs, NULL when not known */
	uint64_t epoch;     /* 0: no transaction was started */
};

/* Told as it happens; @i is the host's place in the nodes. Texts are borrowed for the call. */
struct bl_drive_observer {
	void (*phase)(void *ctx, size_t i, const char *phase, const char *line);
	void (*output)(void *ctx, size_t i, const char *stream, const char *line);
	void (*note)(void *ctx, size_t i, const char *text);
	/* how far its system is; NULL where none is sent */
	void (*copying)(void *ctx, size_t i, const struct bl_copy_stats *stats);
	/* a line of the preflight; @level "ok", "warning" or "failed". NULL: only what failed
	 * is told, as the result's reason and notes, and one note of what is not covered */
	void (*item)(void *ctx, size_t i, const char *name, const char *level, const char *text,
		     const char *remedy);
	/* before the start: key and number must be durable when it returns 0, else nothing is
	 * started; whoever takes it up later asks for that number, whatever became of it */
	int (*starting)(void *ctx, size_t i, const char *system_old, uint64_t epoch,
			const uint8_t key[BL_KEY_LEN], struct bl_err *err);
	void (*started)(void *ctx, size_t i, const char *system_old, uint64_t epoch);
	void (*result)(void *ctx, size_t i, const struct bl_drive_result *r);
	/* the next two may be NULL: wave @wave begins; a remark about the run itself */
	void (*wave)(void *ctx, size_t wave);
	void (*remark)(void *ctx, const char *text);
	/* before the first host of an atomic wave is confirmed: that all of it are to be must
	 * be durable when it returns 0, else none is; NULL: it need not be */
	int (*deciding)(void *ctx, size_t wave, struct bl_err *err);
	void (*tick)(void *ctx); /* every 100 ms */
};

/* An open transaction of an earlier run, to be brought to its end. */
struct bl_drive_resume {
	uint64_t epoch;
	uint8_t key[BL_KEY_LEN];
};

struct bl_drive_spec {
	const struct bl_node *const *nodes; /* with their agents */
	size_t n;
	size_t parallel;
	/* the waves, NULL: all hosts are of one; their state is changed here */
	struct bl_waves *waves;
	size_t max_failures; /* SIZE_MAX: no failure stops the others */
	bool atomic;
	uint32_t soak_s;
	enum bl_on_failure on_failure;
	bool taking_back; /* out_path is what the host ran before, and is there */
	bool force_drift;
	bool preflight_only; /* the preflight alone; a node's out_path may be "", and is not
				copied */
	struct bl_engine_spec engine; /* what the systems are sent by */
	const char *run;
	const char *owner;                    /* user@machine, for people */
	const struct bl_drive_resume *resume; /* one a node, or NULL: a new deployment */
	const struct bl_drive_observer *observer;
	void *ctx;
};

/* What is to be known of a run besides its hosts' results. */
struct bl_drive_report {
	bool interrupted;
	bool *take_back; /* one a host: on_failure wants it back, if it was committed */
	char *why;       /* why hosts were not switched; NULL: no failure was the reason */
};

/*
 * Runs until every host has ended or the operator gave up: the first SIGINT or SIGTERM lets
 * nothing new begin, the second leaves at once. @out is owned by the caller:
 * bl_drive_report_free(). Fails only where nothing could be begun.
 */
int bl_drive(const struct bl_drive_spec *spec, struct bl_drive_report *out,
	     struct bl_err *err) BL_MUST_CHECK;
void bl_drive_report_free(struct bl_drive_report *r);

static inline void bl_drive_report_autop(struct bl_drive_report *r)
{
	bl_drive_report_free(r);
}

#endif
