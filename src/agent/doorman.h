/* SPDX-License-Identifier: MIT */
/*
 * Who comes to the keeper's socket: asks for the challenge, brings a proof, or wants it all
 * stopped. It checks proofs and sessions; whether a valid one still counts, the keeper decides.
 */
#ifndef BELAY_AGENT_DOORMAN_H
#define BELAY_AGENT_DOORMAN_H

#include "agent/job.h"

struct bl_doorman;

/* @job is borrowed; an ABORT sets job->abort. */
int bl_doorman_new(struct bl_job *job, struct bl_doorman **out,
		   struct bl_err *err) BL_MUST_CHECK;
void bl_doorman_free(struct bl_doorman *d);
/* Serves what is there, at most @wait_ms. NULL waits only. No client can make it block. */
void bl_doorman_serve(struct bl_doorman *d, int wait_ms);
/* Whether somebody came over an ssh connection that began after @since_ns, CLOCK_BOOTTIME. */
bool bl_doorman_visited(const struct bl_doorman *d, int64_t since_ns);
/* Whether a valid proof over a fresh session waits for bl_doorman_answer. */
bool bl_doorman_proof(const struct bl_doorman *d);
/*
 * Answers it: OK, or REFUSED with @reason. OK of a @provisional one says that a trial boot
 * follows, whose own confirmation counts.
 */
void bl_doorman_answer(struct bl_doorman *d, bool accepted, bool provisional,
		       const char *reason);

#endif
