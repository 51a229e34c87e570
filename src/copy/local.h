/* SPDX-License-Identifier: MIT */
/* Closures in this machine's store, as the copy engine needs them: read once, used by many
 * hosts. */
#ifndef BELAY_COPY_LOCAL_H
#define BELAY_COPY_LOCAL_H

#include "store/info.h"
#include "store/query.h"

#include <uv.h>

/*
 * What keeps closures from this machine's garbage collector: one connection to the Nix daemon
 * for all that are read. Threads may share it.
 */
struct bl_keeper {
	uv_mutex_t lock;
	struct bl_daemon *daemon;
	struct bl_strv tops; /* that it has roots of */
};

int bl_keeper_begin(struct bl_keeper *k, struct bl_err *err) BL_MUST_CHECK;
/* From here on nothing is kept any more. */
void bl_keeper_end(struct bl_keeper *k);

struct bl_local {
	struct bl_path_infos infos; /* references before those who refer to them */
	/* the references of each, as places in infos */
	uint32_t **refs;
	size_t *n_refs;
	/* the numbers of wire/copy.h: places in the sorted list */
	struct bl_strv sorted;
	uint32_t *number; /* of each info */
	uint32_t *place;  /* in infos, of each number */
	uint8_t digest[BL_SHA256_LEN];
};

/*
 * The closure of @tops, which @keeper keeps from before it is read until it ends. Blocks while
 * it asks the Nix daemon, a moment for thousands of paths. BL_E_FAILED names a path that is not
 * valid here. The caller owns @out: bl_local_free().
 */
int bl_local_read(struct bl_keeper *keeper, const struct bl_strv *tops, struct bl_local *out,
		  struct bl_err *err) BL_MUST_CHECK;
/*
 * The same of a closure that is known, references before those who refer to them. Takes over
 * what is in @infos; as it was when that fails, with BL_E_FAILED: a NAR of no size.
 */
int bl_local_make(struct bl_path_infos *infos, struct bl_local *out,
		  struct bl_err *err) BL_MUST_CHECK;
void bl_local_free(struct bl_local *l);

static inline void bl_local_autop(struct bl_local *l)
{
	bl_local_free(l);
}

#endif
