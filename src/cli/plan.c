/* SPDX-License-Identifier: MIT */
/* `belay plan`: what a deployment would do to each host, before anything is changed there. */
#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/dry.h"
#include "cli/planned.h"

#include "nix/closure.h"
#include "store/parts.h"

#include <stdio.h>
#include <stdlib.h>

static const struct bl_option options[] = {
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	BL_BUILD_OPTIONS,
	{ "parallel", 0, BL_OPT_NUMBER, "N", "hosts asked at once (default 10)",
	  offsetof(struct bl_args, parallel), 1, 1000 },
	{ "keep-going", 'k', BL_OPT_FLAG, NULL, "plan for the systems that can be built",
	  offsetof(struct bl_args, keep_going), 0, 0 },
	{ "build-host", 0, BL_OPT_STRING, "HOST",
	  "build the systems there, and bring them here", offsetof(struct bl_args, build_host),
	  0, 0 },
	{ "units", 0, BL_OPT_FLAG, NULL, "copy the systems there, and ask what units would do",
	  offsetof(struct bl_args, units), 0, 0 },
	BL_COMMON_OPTIONS,
};

/* One for each selected node. */
struct hosts {
	struct bl_closure *closures;
	struct bl_kv *parts;
	struct bl_survey *surveys;
	size_t n;
};

static void hosts_free(struct hosts *h)
{
	for (size_t i = 0; i < h->n; i++) {
		bl_closure_free(&h->closures[i]);
		bl_kv_free(&h->parts[i]);
		bl_survey_free(&h->surveys[i]);
	}
	free(h->closures);
	free(h->parts);
	free(h->surveys);
}

/* The new systems as far as they are here, and what the hosts say. */
static int look(const struct bl_args *args, const struct bl_selection *sel, struct hosts *h,
		struct bl_err *err)
{
	h->n = sel->n;
	h->closures = bl_xcalloc(sel->n + 1, sizeof(*h->closures));
	h->parts = bl_xcalloc(sel->n + 1, sizeof(*h->parts));
	h->surveys = bl_xcalloc(sel->n + 1, sizeof(*h->surveys));
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *node = sel->nodes[i];
		if (node->built_there)
			continue;
		if (bl_nix_closure(node->out_path, &h->closures[i], err) < 0)
			return bl_err_wrap(err, "node %s", node->name);
		bl_parts_read(node->out_path, &h->parts[i]);
	}
	return bl_survey(sel->nodes, h->closures, sel->n, args->parallel, h->surveys, err);
}

static void ask_units(struct bl_planned *p)
{
	struct bl_err err = { 0 };
	int status = 0;
	if (p->same || p->host->err.code != BL_E_NONE)
		return;
	if (bl_dry_activate(p->node, &status, &p->units, &err) < 0)
		p->units_problem = bl_xstrdup(err.msg);
	else if (status != 0)
		p->units_problem = bl_xprintf("dry-activate ended with status %d", status);
}

/* Prints what would be done to each host; an exit code. */
static int tell(const struct bl_args *args, const struct bl_selection *sel,
		const struct hosts *h)
{
	int code = BL_EXIT_OK;
	for (size_t i = 0; i < sel->n; i++) {
		BL_AUTO(bl_planned) p = { 0 };
		bl_planned_make(sel->nodes[i], &h->surveys[i], &h->closures[i], &h->parts[i],
				&p);
		if (args->units)
			ask_units(&p);
		if (args->json)
			bl_planned_print_json(&p);
		else
			bl_planned_print(&p);
		fflush(stdout);
		if (h->surveys[i].err.code != BL_E_NONE || p.units_problem)
			code = BL_EXIT_FAILED;
	}
	return code;
}

static int plan_built(const struct bl_args *args, struct bl_fleet *fleet,
		      const struct bl_selection *sel, struct bl_err *err)
{
	struct hosts h = { 0 };
	if (args->units && bl_cmd_agents(fleet, sel, err) < 0)
		return -1;
	int code = look(args, sel, &h, err);
	if (code == 0)
		code = tell(args, sel, &h);
	hosts_free(&h);
	return code;
}

static int run_plan(const struct bl_args *args)
{
	return bl_cmd_with_built(args, "plan", plan_built);
}

const struct bl_command bl_cmd_plan = {
	.name = "plan",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Show what a deployment would do, before it does",
	.details =
		"\nEvaluates and builds, and asks each host what it runs and has. Nothing is\n"
		"changed there; with --units the closures are copied.\n",
	.options = options,
	.words_max = 10000,
	.run = run_plan,
};
