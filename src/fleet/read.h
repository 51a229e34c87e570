/* SPDX-License-Identifier: MIT */
/* Where a fleet comes from, and evaluating it with the user's Nix. */
#ifndef BELAY_FLEET_READ_H
#define BELAY_FLEET_READ_H

#include "fleet/fleet.h"

enum bl_source_kind {
	BL_SRC_JSON,  /* a fleet that was evaluated already (docs/fleet-schema.md) */
	BL_SRC_FILE,  /* a Nix file */
	BL_SRC_FLAKE, /* a flake with the output `belay`, or one that a reader knows */
};

struct bl_source {
	enum bl_source_kind kind;
	char *where;         /* absolute path, or flake reference */
	const char *foreign; /* once read: the output that was taken for a fleet; NULL: ours */
};

/* What folder @dir holds: fleet.nix, default.nix or flake.nix, in this order. */
int bl_source_find(const char *dir, struct bl_source *out, struct bl_err *err) BL_MUST_CHECK;
void bl_source_free(struct bl_source *s);

/*
 * Reads the fleet. @datadir is the folder with belay's Nix library. The derivations it names
 * are in the local store afterwards, not built.
 */
int bl_fleet_read(struct bl_source *source, const char *datadir, struct bl_fleet *out,
		  struct bl_err *err) BL_MUST_CHECK;

static inline void bl_source_autop(struct bl_source *s)
{
	bl_source_free(s);
}

#endif
