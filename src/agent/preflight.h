/* SPDX-License-Identifier: MIT */
/* Everything that can be known to be wrong before the first change. */
#ifndef BELAY_AGENT_PREFLIGHT_H
#define BELAY_AGENT_PREFLIGHT_H

#include "agent/item.h"
#include "agent/system.h"
#include "guard/plan.h"

struct bl_preflight {
	const char *system_new; /* NULL: the host alone is looked at */
	const struct bl_plan *plan;
	const struct bl_facts *facts;
	const char *sshd; /* "address port" of this session's sshd, "" when not known */
	bool force_drift; /* what runs, profile and loader may disagree */
	struct bl_items items;
};

/* Runs all items, also behind one that failed; how many failed. Changes nothing. */
size_t bl_preflight_run(const struct bl_preflight *p);

/* Whether Nix on the host, of system @tools, has @path whole. */
bool bl_preflight_is_valid(const char *tools, const char *path);
/* Whether running system, profile and boot default are one and the same. */
bool bl_preflight_drifted(const struct bl_facts *f);

#endif
