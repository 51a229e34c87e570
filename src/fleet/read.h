/* SPDX-License-Identifier: MIT */
/* Where a fleet comes from, and reading it with the user's Nix. */
#ifndef BELAY_FLEET_READ_H
#define BELAY_FLEET_READ_H

#include "fleet/fleet.h"

enum bl_source_kind {
	BL_SRC_JSON,   /* a fleet that was evaluated already (docs/fleet-schema.md) */
	BL_SRC_FILE,   /* a Nix file */
	BL_SRC_FLAKE,  /* a flake with the output `belay`, or one that a reader knows */
	BL_SRC_SYSTEM, /* one NixOS system, as nixos-rebuild finds it without a flake */
};

struct bl_source {
	enum bl_source_kind kind;
	char *where;          /* absolute path, flake reference, or "<nixpkgs/nixos>" */
	char *attr;           /* of a system: where in it it is, "" for itself */
	char *name;           /* of a system: the node's */
	struct bl_strv flags; /* for Nix, when it evaluates: "--option" "cores" "2" */

	/* once read */
	char *datadir;
	char *identity;      /* what Nix said of a flake and its inputs before it was asked */
	char *cache;         /* where answers are remembered; NULL: nowhere */
	size_t output;       /* which of a flake's outputs is the fleet */
	bool decided;        /* that is known */
	const char *foreign; /* its name, where it is another tool's; NULL: ours */
	struct bl_strv told; /* warnings that were passed on */
	size_t left_out;     /* nodes without settings, with --keep-going */
};

/* What folder @dir holds: fleet.nix, default.nix or flake.nix, in this order. */
int bl_source_find(const char *dir, struct bl_source *out, struct bl_err *err) BL_MUST_CHECK;
/* Of the flake, the output nixosConfigurations, whatever else there is. */
void bl_source_take_nixos(struct bl_source *s);
void bl_source_free(struct bl_source *s);

/*
 * Reads the fleet's settings; its nodes have no systems yet, unless the source is JSON.
 * @datadir is the folder with belay's Nix library. Where @words, a selection, are names and
 * globs alone, other nodes may be left out. Nix's warnings go to stderr.
 */
int bl_fleet_read(struct bl_source *source, const char *datadir, const struct bl_strv *words,
		  struct bl_fleet *out, struct bl_err *err) BL_MUST_CHECK;

/* The names of all nodes of a source that was read, as nodes with no settings of their own. */
int bl_fleet_read_names(struct bl_source *source, struct bl_fleet *out,
			struct bl_err *err) BL_MUST_CHECK;

static inline void bl_source_autop(struct bl_source *s)
{
	bl_source_free(s);
}

#endif
