/* SPDX-License-Identifier: MIT */
/*
 * The durable record of one transaction: versioned key=value text whose last line is the
 * CRC-32C of the rest. Whoever cannot read it takes it for an abort, never for a step forward.
 */
#ifndef BELAY_GUARD_RECORD_H
#define BELAY_GUARD_RECORD_H

#include "base/buf.h"
#include "base/err.h"
#include "guard/state.h"

#define BL_RECORD_VERSION 1
#define BL_RECORD_MAX     (64UL * 1024)

struct bl_record {
	uint64_t epoch; /* number of the transaction on this host, grows by one */
	uint64_t seq;   /* grows with every write of this record */
	enum bl_txn_state state;
	char *run;     /* the deployer's run, for people */
	char *owner;   /* who asked: user@machine, for people */
	char *agent;   /* store path of the agent that guards it */
	char *boot_id; /* the boot that deadline and activated belong to */
	char *system_old;
	char *system_new;
	uint64_t generation_old;   /* number of the system profile before */
	uint64_t generation_new;   /* after the commit; 0: not set yet */
	bool generation_created;   /* false: Nix took a generation that was there already */
	int64_t deadline_boot_ns;  /* of the present state, CLOCK_BOOTTIME; 0: none */
	int64_t activated_boot_ns; /* when the activation ended; 0: it has not */
	uint32_t activate_ms, confirm_ms, commit_ms, rollback_ms; /* the limits */
	uint32_t reboots; /* of ours, in this transaction */
	char *sshd;       /* local "address port" where sshd answered, "" when not known */
	char *reason;     /* why it went back; "" while nothing went wrong */
	char *remark;     /* what the operator should know besides; "" mostly */
};

/* The whole text, checksum line included. */
void bl_record_encode(const struct bl_record *r, struct bl_buf *out);
/*
 * Refuses (BL_E_INPUT): another version, a wrong checksum, unknown, missing or malformed keys.
 * On success the caller owns @out: bl_record_free().
 */
int bl_record_decode(const char *text, size_t len, struct bl_record *out,
		     struct bl_err *err) BL_MUST_CHECK;
void bl_record_free(struct bl_record *r);

static inline void bl_record_autop(struct bl_record *r)
{
	bl_record_free(r);
}

#endif
