/* SPDX-License-Identifier: MIT */
/*
 * The messages that frames carry: a type and key=value lines. Keys that a reader does not know
 * are skipped, so that a field can be added without a new version.
 */
#ifndef BELAY_WIRE_MSG_H
#define BELAY_WIRE_MSG_H

#include "base/kv.h"
#include "wire/frame.h"

#define BL_WIRE_VERSION 1

enum bl_msg_type {
	/* agent: first of all. version, agent, nonce (of the rehearsal) and the keys of STATE
	 */
	BL_MSG_HELLO = 1,
	/* deployer: new, key (a throwaway), proof (over HELLO's nonce and boot_id),
	 * force_drift, preflight_only (nothing is to be started; new may be missing)
	 * -> ITEM..., OK | REFUSED */
	BL_MSG_PREFLIGHT = 2,
	/* deployer: new, key, run, owner, system, generation, boot_default, last_epoch,
	 * activate_ms, confirm_ms, force_drift and the keys of a plan -> OK
	 * (epoch, bound_ms, old) | REFUSED, then STATE and LINE until the end */
	BL_MSG_START = 3,
	/* deployer: epoch (0: the newest) -> STATE */
	BL_MSG_STATUS = 4,
	/* deployer: epoch, reason ("": on request) -> OK | REFUSED */
	BL_MSG_ABORT = 5,
	/* deployer: epoch (0: the newest) -> LINE..., OK */
	BL_MSG_LOG = 6,
	/* deployer: paths (how many), substitute; then the frames of wire/copy.h
	 * -> HAVE, VALID..., and OK at once when nothing is missing | REFUSED */
	BL_MSG_COPY = 7,
	/* deployer: that was all -> OK | FAILED... | REFUSED */
	BL_MSG_COPY_END = 8,
	/* agent: nonce, epoch, boot_id, new, state: what the proof is made of */
	BL_MSG_CHALLENGE = 16,
	/* deployer: proof */
	BL_MSG_PROOF = 17,
	BL_MSG_OK = 18,
	BL_MSG_REFUSED = 19, /* reason, remedy */
	/* agent: epoch, state, new, old, reason, left_ms, system, generation, boot_default */
	BL_MSG_STATE = 20,
	/* agent: stream, line */
	BL_MSG_LINE = 21,
	/* agent: item, ok, warning (ok, but not covered), text, remedy: a line of the preflight
	 */
	BL_MSG_ITEM = 22,
	/* agent: old (the system that runs, "" when it cannot be told by it), old_paths (how
	 * many its closure has), old_digest (bl_copy_digest of them, hex), memory (bytes for a
	 * piece and its base together); of a path that came in part before, if there is one:
	 * kept (its number), kept_bytes (of its NAR, from its beginning on), kept_hash (which
	 * the NAR was to have, hex). A piece of that one may begin anywhere within these */
	BL_MSG_HAVE = 23,
};

struct bl_msg {
	enum bl_msg_type type;
	struct bl_kv kv;
};

void bl_msg_put(struct bl_buf *out, enum bl_msg_type type, const struct bl_kv *kv);
/* As bl_frame_take; @used is what to drop from the input when 1 is returned. */
int bl_msg_take(const char *data, size_t len, struct bl_msg *out, size_t *used,
		struct bl_err *err) BL_MUST_CHECK;
void bl_msg_free(struct bl_msg *msg);
const char *bl_msg_name(enum bl_msg_type type);

static inline void bl_msg_autop(struct bl_msg *msg)
{
	bl_msg_free(msg);
}

#endif
