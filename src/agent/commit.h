/* SPDX-License-Identifier: MIT */
/* Making NEW the boot default after the confirmation, and taking that back. */
#ifndef BELAY_AGENT_COMMIT_H
#define BELAY_AGENT_COMMIT_H

#include "agent/job.h"

/*
 * Profile, boot loader, read back: BL_EV_COMMIT_OK when a power cut now would start NEW. Else
 * the default is put back to OLD: BL_EV_COMMIT_UNDONE, or BL_EV_GIVE_UP when even that cannot
 * be told. BL_EV_THIRD_PARTY when profile or system are neither OLD's nor NEW's: nothing is
 * touched. May be repeated after a crash at any point. The record must say COMMITTING.
 */
enum bl_txn_event bl_commit(struct bl_job *job);

/* Profile back to the exact generation, loader to OLD, read back. Same results, never OK. */
enum bl_txn_event bl_commit_undo(struct bl_job *job);

/* Runs @system's installer, and flushes what it wrote. */
int bl_commit_install_loader(struct bl_job *job, const char *system,
			     struct bl_err *err) BL_MUST_CHECK;
/* Whether profile and loader agree that @system would boot; BL_E_FAILED says what would. */
int bl_commit_would_boot(const char *system, struct bl_err *err) BL_MUST_CHECK;

#endif
