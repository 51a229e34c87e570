/* SPDX-License-Identifier: MIT */
/* How a host's deployment can end, and how that is told. Texts alone: nothing is done here. */
#ifndef BELAY_ROLLOUT_OUTCOME_H
#define BELAY_ROLLOUT_OUTCOME_H

#include "base/kv.h"

enum bl_outcome {
	BL_OUT_COMMITTED,
	BL_OUT_UNCHANGED,
	BL_OUT_ROLLED_BACK,
	BL_OUT_REFUSED,     /* the host said no; nothing was changed */
	BL_OUT_UNREACHABLE, /* it could not be talked to; nothing was changed */
	BL_OUT_FAILED,      /* copying failed; nothing was changed */
	BL_OUT_STUCK,
	BL_OUT_SUPERSEDED,
	BL_OUT_UNKNOWN,    /* changed, and it did not answer within its own limit */
	BL_OUT_SKIPPED,    /* another host's failure or the operator came first */
	BL_OUT_READY,      /* it was only to be looked at, and a deployment could begin */
	BL_OUT_TAKEN_BACK, /* committed by this run, and on its previous system again */
	BL_OUT_KEPT,       /* committed by this run, and not to be taken back */
	BL_OUT_NOUTCOMES,
};

const char *bl_outcome_name(enum bl_outcome outcome); /* "rolled_back" */
bool bl_outcome_is_good(enum bl_outcome outcome);
/* One line for people: "Refused! Nothing was changed". */
const char *bl_outcome_headline(enum bl_outcome outcome);
/* What an end means where the deployed system is the one to be taken back to. */
enum bl_outcome bl_outcome_of_taking_back(enum bl_outcome outcome);
/* What the host's last STATE says; UNKNOWN when that is no end. */
enum bl_outcome bl_outcome_of(const struct bl_kv *last);

/* What is known of a host at its end; borrowed. */
struct bl_outcome_host {
	const struct bl_kv *facts; /* of its HELLO */
	const struct bl_kv *last;  /* its last STATE */
	bool confirmed;            /* it may be: a proof was sent */
	bool rebooting;            /* into NEW, when it was last heard */
	bool seen;                 /* a fresh connection came through to the end */
};

/* One sentence about the host as it is now, from its own last word; the caller frees. */
char *bl_outcome_state(enum bl_outcome outcome, const struct bl_outcome_host *host);

#endif
