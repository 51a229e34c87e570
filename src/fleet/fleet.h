/* SPDX-License-Identifier: MIT */
/*
 * What the user wants, as plain data: the nodes of a fleet and their settings, and how they are
 * rolled out, read from the JSON document that the Nix library makes (docs/fleet-schema.md,
 * version 1).
 */
#ifndef BELAY_FLEET_FLEET_H
#define BELAY_FLEET_FLEET_H

#include "base/err.h"
#include "base/str.h"
#include "fleet/rollout.h"
#include "guard/plan.h"

#define BL_SUCCESS_TIMEOUT_S 20 /* by default */

/* Lines for sh on the machine that deploys. */
struct bl_preparation {
	char *name;
	char *script;
};

struct bl_node {
	char *name;
	bool enable;
	char *host; /* as the user wrote it: [user@]name, name may be an alias of ~/.ssh/config
		     */
	char *drv_path; /* derivation of the toplevel, NULL when it is given as a built path */
	char *out_path; /* the toplevel; NULL as long as only settings were read */
	char *system;   /* "x86_64-linux"; NULL when not known */
	uint32_t success_timeout_s; /* how long the host waits for the confirmation */
	uint32_t switch_timeout_s;  /* how long the activation may take */
	struct bl_strv elevate;     /* how another user than root becomes root: "sudo" "-n" */
	bool may_stay_user;         /* where that fails, the user's own rights may be enough */
	char *sudo_password;        /* what sudo asks for there; NULL: nothing is asked */
	bool substitute_on_target;
	char *agent;          /* the agent for it, see host/agent.h; NULL until it is needed */
	bool build_on_target; /* its system is built on the host itself */
	bool built_there;     /* it was: the host has out_path, and this machine need not */
	struct bl_strv addresses; /* where it may be reached, besides what its name says */
	struct bl_strv tags;
	struct bl_strv ssh_options;    /* each one the argument of an `ssh -o` */
	struct bl_preparation *phases; /* before anything is sent to the host, in this order */
	size_t n_phases;
	struct bl_strv script_needs; /* what these and post_deploy name: derivation!output */
	char *post_deploy;   /* the same after the new system was confirmed; NULL or "": none */
	struct bl_plan plan; /* plan.local: the host is this machine, and no ssh leads there */
};

struct json_t;

struct bl_fleet {
	struct bl_node *nodes; /* in the document's order */
	size_t n;
	struct bl_rollout_settings rollout;
	struct json_t
		*document;    /* what it was parsed from; systems that came later are in it */
	struct bl_strv notes; /* for the user, a line each: what of the fleet is not honoured */
};

/*
 * Parses the fleet JSON. @origin names it in messages (a file, "the evaluation of fleet.nix").
 * Refuses what it does not know: another version, unknown keys, wrong types, values out of
 * range, node names other than [A-Za-z0-9_][A-Za-z0-9_.-]*, hosts that ssh could take for an
 * option. On success the caller owns @out: bl_fleet_free().
 */
int bl_fleet_parse(const char *text, size_t len, const char *origin, struct bl_fleet *out,
		   struct bl_err *err) BL_MUST_CHECK;
/* The same of a document whose nodes may be without their systems. */
int bl_fleet_parse_settings(const char *text, size_t len, const char *origin,
			    struct bl_fleet *out, struct bl_err *err) BL_MUST_CHECK;
/*
 * The systems of some of @fleet's nodes: an object, name to { toplevel, system } as in the
 * document. BL_E_INPUT: some of the nodes may have theirs by then.
 */
int bl_fleet_parse_systems(const char *text, size_t len, const char *origin,
			   struct bl_fleet *fleet, struct bl_err *err) BL_MUST_CHECK;
/*
 * A fleet of the one host @host ("[user@]name"), with every setting's default, named as the
 * host is as far as its characters allow. @toplevel may be NULL; then its out_path is "".
 */
int bl_fleet_single(const char *host, const char *toplevel, struct bl_fleet *out,
		    struct bl_err *err) BL_MUST_CHECK;
void bl_fleet_free(struct bl_fleet *fleet);

static inline void bl_fleet_autop(struct bl_fleet *fleet)
{
	bl_fleet_free(fleet);
}

#endif
