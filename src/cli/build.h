/* SPDX-License-Identifier: MIT */
/*
 * The building step of every command that needs the systems of its nodes: here, on a build
 * host, or on the targets, and told while it goes on.
 */
#ifndef BELAY_CLI_BUILD_H
#define BELAY_CLI_BUILD_H

#include "cli/options.h"
#include "fleet/select.h"
#include "ui/ui.h"

#include <sys/types.h>

struct bl_build_spec {
	struct bl_fleet *fleet;   /* of the selection; nodes are marked built_there */
	struct bl_selection *sel; /* with keep_going, what was not built is taken out of it */
	const char *roots;        /* a folder for garbage roots, made where it is missing */
	/* "[user@]name", or a node's name: built there, whatever the nodes say; NULL: they do
	 */
	const char *build_host;
	const struct bl_args *args; /* the options for Nix */
	bool keep_going;            /* the systems that can be built are enough */
	bool keep_result; /* links result-NODE in the current folder, which are roots */
	size_t parallel;  /* so many machines at once */
	enum bl_ui_mode mode;
};

/* A node whose system there is not, or whose deployment is not prepared. */
struct bl_not_built {
	const struct bl_node *node;
	bool unprepared; /* its system is there */
	char *reason;    /* in one line */
	char *next;      /* what to do, or NULL */
};

struct bl_built {
	struct bl_not_built *missing; /* with keep_going */
	size_t n_missing;
	bool interrupted;
	char *roots;
	pid_t rooting; /* roots are still being made; 0: no */
};

/*
 * Afterwards every node that is left in the selection has its system in the local store, a
 * NixOS system as far as can be seen here, rooted until bl_built_end(); or it is marked
 * built_there and has it itself. Fails when one is missing, with keep_going when all are;
 * then failed builds have been told with their logs.
 */
int bl_cmd_build(const struct bl_build_spec *spec, struct bl_built *out,
		 struct bl_err *err) BL_MUST_CHECK;
/*
 * A command that reads the fleet, evaluates, finds where the hosts are, builds, and then has
 * @then do what it is for; @name is its own. An exit code, everything told.
 */
int bl_cmd_with_built(const struct bl_args *args, const char *name,
		      int (*then)(const struct bl_args *args, struct bl_fleet *fleet,
				  const struct bl_selection *sel, struct bl_err *err));
/* Drops the roots, and what @built holds, also after a failure. */
void bl_built_end(struct bl_built *built);

#endif
