/* SPDX-License-Identifier: MIT */
/* One question to the user's Nix about a fleet (nix/query.nix), as a command line and back. */
#ifndef BELAY_FLEET_QUERY_H
#define BELAY_FLEET_QUERY_H

#include "fleet/read.h"
#include "nix/pool.h"

/* Makes @source ready to be asked: what is evaluated is there, and what of it is remembered. */
int bl_query_begin(struct bl_source *source, const char *datadir,
		   struct bl_err *err) BL_MUST_CHECK;
/*
 * Whether the flake and its inputs are what they were at the beginning, so that the answers may
 * be remembered: somebody may have worked on them while it was evaluated.
 */
bool bl_query_unchanged(const struct bl_source *source);
/* The command that asks @query, JSON, of a source that has answered before. */
void bl_query_argv(const struct bl_source *source, const char *query, struct bl_strv *argv);
/*
 * The answer to @query, JSON; the caller frees it. The first question to a flake also decides
 * which of its outputs is the fleet.
 */
int bl_query_ask(struct bl_source *source, const char *query, char **out_answer,
		 struct bl_err *err) BL_MUST_CHECK;
/* What Nix's @result means: 0, or its complaint. What it told by the way goes to stderr, once.
 */
int bl_query_result(struct bl_source *source, const struct bl_nix_result *result,
		    struct bl_err *err) BL_MUST_CHECK;

/* "name1","name2" as a JSON list. */
char *bl_query_names(const char *key, const struct bl_strv *names);

#endif
