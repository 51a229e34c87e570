/* SPDX-License-Identifier: MIT */
/* A transaction as it lies on the target's disk: its folder, record, key and garbage roots. */
#ifndef BELAY_AGENT_TXN_H
#define BELAY_AGENT_TXN_H

#include "base/kv.h"
#include "guard/plan.h"
#include "guard/proof.h"
#include "guard/record.h"

#define BL_AGENT_DIR "/var/lib/belay"
#define BL_RUN_DIR   "/run/belay"
#define BL_ROOTS_DIR "/nix/var/nix/gcroots/belay"

struct bl_txn {
	char *dir; /* /var/lib/belay/txn/<epoch> */
	int dir_fd;
	struct bl_record rec;
	bool never_began; /* its folder was made, and no record in it */
	bool broken; /* the record could not be read: rec holds what is known from elsewhere */
};

/* Makes the state folders (0700). */
int bl_agent_dirs(struct bl_err *err) BL_MUST_CHECK;
/*
 * The lock of all transactions of this host. One that is held is waited for up to @wait_ms,
 * then it is BL_E_REFUSED. Closing @out_fd lets go of it.
 */
int bl_txn_lock(int64_t wait_ms, int *out_fd, struct bl_err *err) BL_MUST_CHECK;
/* The newest transaction's number, 0 when there was none. */
uint64_t bl_txn_newest(void);
/* The same, and when /var/lib/belay was lost, what the garbage roots still tell. */
uint64_t bl_txn_newest_known(void);
/* The last number handed out; a new one is this plus one, whatever lies in txn/. */
uint64_t bl_txn_last_epoch(void);

/*
 * Opens transaction @epoch; changes nothing. An unreadable record is no failure: @out->broken
 * is set, and OLD, NEW and agent come from the garbage roots. One whose first record was never
 * written shows as REFUSED.
 */
int bl_txn_open(uint64_t epoch, struct bl_txn *out, struct bl_err *err) BL_MUST_CHECK;
/* The same where even the folder may be gone: it is made again. */
int bl_txn_open_lost(uint64_t epoch, struct bl_txn *out, struct bl_err *err) BL_MUST_CHECK;
/* Takes the next epoch and makes the folder, with key, plan and record durable, and the roots.
 */
int bl_txn_create(struct bl_record *rec, const struct bl_plan *plan,
		  const uint8_t key[BL_KEY_LEN], struct bl_txn *out,
		  struct bl_err *err) BL_MUST_CHECK;
void bl_txn_close(struct bl_txn *t);
/* The system whose programs serve it: OLD, or what runs where OLD is not known. A new string.
 */
char *bl_txn_tools(const struct bl_txn *t);
/* Puts an unreadable record aside as state.broken; for the keeper, who holds the lock. */
void bl_txn_keep_broken(struct bl_txn *t);
/* Durably marks every number up to @epoch as given out. */
int bl_txn_use_up(uint64_t epoch, struct bl_err *err) BL_MUST_CHECK;
/* A mark in /run that a reboot clears: whether @epoch belongs to this boot. */
void bl_txn_live(uint64_t epoch, bool live);
bool bl_txn_is_live(uint64_t epoch);

/* Writes the record durably; seq grows. A full disk is met with the reserve when @backward. */
int bl_txn_save(struct bl_txn *t, bool backward, struct bl_err *err) BL_MUST_CHECK;
/*
 * Applies @event: the new state is durable before this returns 0. Towards OLD the state changes
 * even when it cannot be written. An event that the table refuses is BL_E_USAGE.
 */
int bl_txn_move(struct bl_txn *t, enum bl_txn_event event, struct bl_err *err) BL_MUST_CHECK;
/* Sets the reason once; the first cause is the one to tell. */
void bl_txn_reason(struct bl_txn *t, const char *fmt, ...) BL_PRINTF(2, 3);
void bl_txn_remark(struct bl_txn *t, const char *fmt, ...) BL_PRINTF(2, 3);

/* The plan that the transaction was started with; written once, read after a boot again. */
int bl_txn_plan_save(const struct bl_txn *t, const struct bl_plan *plan,
		     struct bl_err *err) BL_MUST_CHECK;
int bl_txn_plan_load(const struct bl_txn *t, struct bl_plan *out,
		     struct bl_err *err) BL_MUST_CHECK;

int bl_txn_key(const struct bl_txn *t, uint8_t key[BL_KEY_LEN],
	       struct bl_err *err) BL_MUST_CHECK;
/* Roots that the ended transaction no longer needs; "previous" stays on OLD after a commit. */
void bl_txn_drop_roots(const struct bl_txn *t);
/* Puts a garbage root named @name on @path. */
int bl_root_set(const char *name, const char *path, struct bl_err *err) BL_MUST_CHECK;

/* The keys of a STATE message. */
void bl_txn_tell(const struct bl_txn *t, struct bl_kv *out);

static inline void bl_txn_autop(struct bl_txn *t)
{
	bl_txn_close(t);
}

#endif
