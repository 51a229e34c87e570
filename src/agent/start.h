/* SPDX-License-Identifier: MIT */
/* START: a new transaction, with its record, its deadman and its keeper. */
#ifndef BELAY_AGENT_START_H
#define BELAY_AGENT_START_H

#include "agent/system.h"
#include "agent/txn.h"

/*
 * Begins what the START @kv asks for, if the host is as the deployer believes (BL_E_REFUSED).
 * When it fails, nothing was changed and no transaction is open. @out is the caller's:
 * bl_txn_close().
 */
int bl_start(const struct bl_kv *kv, struct bl_txn *out, struct bl_err *err) BL_MUST_CHECK;
/*
 * What the newest transaction tested, and what runs on: where @new is that, the system to go
 * back to is the one that would boot, as it was for the test. @f->system is made that one.
 */
void bl_start_past_test(struct bl_facts *f, const char *new);
/* How long that transaction may take to its end at the most, its boots included. */
uint64_t bl_start_bound_ms(const struct bl_record *r, const struct bl_plan *plan);

/* Starts the keeper of an open transaction that has none, and gives it up to 15 s to end it. */
void bl_start_recover(void);

/* The store path that this program runs from, a new string; NULL when it does not. */
char *bl_start_own_path(void);
/* "address port" of our end of the ssh connection, a new string, "": not known. */
char *bl_start_own_sshd(void);
/* The key that a PREFLIGHT or START brings. */
int bl_start_take_key(const struct bl_kv *kv, uint8_t key[BL_KEY_LEN],
		      struct bl_err *err) BL_MUST_CHECK;

#endif
