/* SPDX-License-Identifier: MIT */
/*
 * Which old path of a host each new one is told by, and the list of hashes that the old ones
 * are rewritten with. It is decided once, where the closure is sent from, and told.
 */
#ifndef BELAY_DELTA_PAIR_H
#define BELAY_DELTA_PAIR_H

#include "delta/rewrite.h"

#define BL_NO_BASE    UINT32_MAX
#define BL_PAIR_PATHS (1U << 20) /* on each side */

struct bl_pair_path {
	const char *path;     /* a store path; borrowed */
	uint64_t size_bytes;  /* of its NAR; 0: not known */
	const uint32_t *refs; /* places in the same list, itself maybe among them; borrowed */
	size_t n_refs;
	bool missing; /* of new ones: the host does not have it */
};

struct bl_pairing {
	uint32_t *bases; /* for each new path a place among the old ones, or BL_NO_BASE */
	struct bl_hash_pair *pairs; /* sorted by the old hash, each of which is there once */
	size_t n_pairs;
};

/*
 * @new  a closure
 * @old  what the host has and may be told by, the newest first
 *
 * The base of a missing path is one with the same name, else one of the same package and output
 * in another version; of several the one with the most similar size, if the sizes of all paths
 * on both sides are known; of those the first. Paths that are not missing have none.
 *
 * The list has the hash of each base, to become that of the path it is the base of (of several
 * paths one with the base's name, else the first); then that of each path that a base refers
 * to, to become that of the path with the same name, else of the same package and output, that
 * the new one refers to. A hash that the new closure has too stays as it is.
 *
 * O(n log n) in paths and references. BL_E_INPUT: no store path, a reference to nowhere, one
 * hash with two paths, or more than BL_PAIR_PATHS paths; @out is not written then. The caller
 * owns @out: bl_pairing_free().
 */
int bl_pair(const struct bl_pair_path *new, size_t n_new, const struct bl_pair_path *old,
	    size_t n_old, struct bl_pairing *out, struct bl_err *err) BL_MUST_CHECK;
void bl_pairing_free(struct bl_pairing *p);

static inline void bl_pairing_autop(struct bl_pairing *p)
{
	bl_pairing_free(p);
}

#endif
