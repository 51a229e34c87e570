/* SPDX-License-Identifier: MIT */
/* Closures in this machine's store, as the copy engine needs them: read once, used by many
 * hosts. */
#ifndef BELAY_COPY_LOCAL_H
#define BELAY_COPY_LOCAL_H

#include "store/info.h"
#include "store/query.h"

#include <uv.h>

/*
 * What this machine's store has, as far as somebody asked: each path is read once for all
 * closures, over one connection to the Nix daemon, which keeps them from the garbage collector.
 * Threads may share it.
 */
struct bl_catalog {
	uv_mutex_t lock;
	struct bl_daemon *daemon;
	struct bl_strv tops; /* that it has roots of */
	struct bl_path_infos all;
	struct bl_index index; /* places in all */
};

int bl_catalog_begin(struct bl_catalog *c, struct bl_err *err) BL_MUST_CHECK;
/* From here on nothing is kept any more. Closures that were read go first. */
void bl_catalog_end(struct bl_catalog *c);

struct bl_local {
	struct bl_path_infos infos; /* references before those who refer to them */
	bool borrowed;              /* what they consist of is the catalog's */
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
 * The closure of @tops, which @catalog keeps from before it is read until it ends. Blocks while
 * it asks the Nix daemon, a moment for thousands of paths. BL_E_FAILED names a path that is not
 * valid here. The caller owns @out: bl_local_free().
 */
int bl_local_read(struct bl_catalog *catalog, const struct bl_strv *tops, struct bl_local *out,
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
