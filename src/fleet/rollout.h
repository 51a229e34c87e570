/* SPDX-License-Identifier: MIT */
/*
 * How the user wants a fleet to be rolled out: who goes first, how many at once, and what a
 * failure means for the others. From the fleet document; the command line goes before it.
 */
#ifndef BELAY_FLEET_ROLLOUT_H
#define BELAY_FLEET_ROLLOUT_H

#include "base/err.h"
#include "base/str.h"

struct json_t; /* jansson's */

enum bl_on_failure {
	BL_ON_FAILURE_STOP,  /* what is committed stays */
	BL_ON_FAILURE_BATCH, /* the failed wave's committed hosts go back */
	BL_ON_FAILURE_ALL,   /* all that this run has committed go back */
	BL_ON_FAILURE_NKINDS,
};

/* All zero is what nobody said: all hosts at once, and the first failure stops the others. */
struct bl_rollout_settings {
	uint32_t canary_n; /* so many hosts go first; 0: none, or those of @canary */
	char *canary;      /* a selection of those that go first, NULL: none, or @canary_n */
	uint32_t soak_s;   /* between them and the others */
	uint32_t batch_n;  /* hosts of a wave; 0: @batch_percent of all, or all that are left */
	uint32_t batch_percent;
	uint32_t max_failures; /* so many may fail before no further wave begins */
	enum bl_on_failure on_failure;
	bool atomic; /* a wave is confirmed as a whole or not at all */
};

void bl_rollout_settings_free(struct bl_rollout_settings *s);
/* The document's object `rollout`; what it leaves out stays as it is in @s. */
int bl_rollout_settings_read(const struct json_t *v, struct bl_rollout_settings *s,
			     struct bl_err *err) BL_MUST_CHECK;

/*
 * The same as words of a command line, BL_E_USAGE when they are none: "2" or a selection; "10"
 * or "25%"; "stop".
 */
int bl_canary_parse(const char *text, struct bl_rollout_settings *s,
		    struct bl_err *err) BL_MUST_CHECK;
int bl_batch_parse(const char *text, struct bl_rollout_settings *s,
		   struct bl_err *err) BL_MUST_CHECK;
int bl_on_failure_parse(const char *text, enum bl_on_failure *out,
			struct bl_err *err) BL_MUST_CHECK;

#endif
