/* SPDX-License-Identifier: MIT */
/*
 * The confirmation on the target: the keeper's socket, the proof that a session is fresh, and
 * the small program in the fresh session that stands between the two.
 */
#ifndef BELAY_AGENT_CONFIRM_H
#define BELAY_AGENT_CONFIRM_H

#include "agent/txn.h"
#include "wire/msg.h"

/* Connects to the keeper of @epoch; BL_E_UNREACHABLE when there is none. */
int bl_confirm_connect(uint64_t epoch, int *out_fd, struct bl_err *err) BL_MUST_CHECK;
/* Makes the keeper's listening socket, 0600. */
int bl_confirm_listen(uint64_t epoch, int *out_fd, struct bl_err *err) BL_MUST_CHECK;
void bl_confirm_unlink(uint64_t epoch);

/* Refuses a session older than @activated_ns ("stale connection"). */
int bl_session_fresh(int pid, int64_t activated_ns, struct bl_err *err) BL_MUST_CHECK;

/*
 * `belay-agent confirm N` on stdin and stdout: handshake with the keeper, then every change of
 * state until the end. Exit status of the program.
 */
int bl_confirm_main(uint64_t epoch);

/*
 * Asks the keeper to roll back for @reason ("": on request); BL_E_REFUSED with its words when
 * it is too late.
 */
int bl_confirm_abort(uint64_t epoch, const char *reason, struct bl_err *err) BL_MUST_CHECK;

#endif
