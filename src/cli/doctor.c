/* SPDX-License-Identifier: MIT */
/* `belay doctor`: the preflight of a deployment, with nothing behind it. */
#include "cli/cmd.h"

#include "rollout/drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct bl_option options[] = {
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	{ "target-host", 0, BL_OPT_STRING, "HOST", "this host ([user@]name), without a fleet",
	  offsetof(struct bl_args, target_host), 0, 0 },
	{ "with-system", 0, BL_OPT_STRING, "PATH",
	  "judge this system there too, if it is there", offsetof(struct bl_args, with_system),
	  0, 0 },
	BL_PARALLEL_OPTION,
	BL_COMMON_OPTIONS,
};

struct doctor {
	struct bl_ui *ui;
	const struct bl_node *const *nodes;
	bool *told; /* for each node, that an item failed */
	bool json;
	size_t bad;
};

static void on_phase(void *ctx, size_t i, const char *phase, const char *line)
{
	struct doctor *d = ctx;
	if (d->json)
		bl_ui_phase(d->ui, d->nodes[i]->name, phase, line);
}

static void on_output(void *ctx, size_t i, const char *stream, const char *line)
{
	struct doctor *d = ctx;
	if (d->json)
		bl_ui_output(d->ui, d->nodes[i]->name, stream, line);
}

static void on_note(void *ctx, size_t i, const char *text)
{
	struct doctor *d = ctx;
	bl_ui_note(d->ui, d->nodes[i]->name, text);
}

static void on_item(void *ctx, size_t i, const char *name, const char *level, const char *text,
		    const char *remedy)
{
	struct doctor *d = ctx;
	d->told[i] |= strcmp(level, "failed") == 0;
	bl_ui_item(d->ui, d->nodes[i]->name, level, name, text, remedy);
}

static void on_result(void *ctx, size_t i, const struct bl_drive_result *r)
{
	struct doctor *d = ctx;
	const bool refused = r->outcome == BL_OUT_REFUSED;
	/* an item that failed has said it all */
	const bool told = refused && d->told[i];
	const struct bl_ui_result out = {
		.outcome = bl_outcome_name(r->outcome),
		.headline = refused ? "A deployment would be refused" : r->headline,
		.reason = told ? NULL : r->reason,
		.next = told ? NULL : r->next,
		.system = r->system,
	};
	d->bad += !bl_outcome_is_good(r->outcome);
	bl_ui_result(d->ui, d->nodes[i]->name, &out);
}

static void on_tick(void *ctx)
{
	struct doctor *d = ctx;
	bl_ui_tick(d->ui);
}

/* `starting` and `started` are missing: nothing is started. */
static const struct bl_drive_observer observer = {
	.phase = on_phase,
	.output = on_output,
	.note = on_note,
	.item = on_item,
	.result = on_result,
	.tick = on_tick,
};

static int examine(const struct bl_args *args, const struct bl_selection *sel,
		   struct bl_err *err)
{
	bl_autofree const char **names = bl_xcalloc(sel->n, sizeof(char *));
	bl_autofree bool *told = bl_xcalloc(sel->n, sizeof(bool));
	struct doctor d = { .nodes = sel->nodes, .told = told, .json = args->json };
	const struct bl_drive_spec spec = {
		.nodes = sel->nodes,
		.n = sel->n,
		.parallel = args->parallel,
		.max_failures = SIZE_MAX,
		.preflight_only = true,
		.run = "",
		.owner = "",
		.observer = &observer,
		.ctx = &d,
	};
	BL_AUTO(bl_drive_report) report = { 0 };
	for (size_t i = 0; i < sel->n; i++)
		names[i] = sel->nodes[i]->name;
	/* what is found is the result, so it goes to standard output */
	d.ui = bl_ui_new(args->json ? BL_UI_JSON : BL_UI_PLAIN, STDOUT_FILENO, STDOUT_FILENO);
	bl_ui_begin(d.ui, "doctor", names, sel->n);
	int rc = bl_drive(&spec, &report, err);
	int code = report.interrupted ? BL_EXIT_INTERRUPTED
		   : d.bad || rc < 0  ? BL_EXIT_FAILED
				      : 0;
	bl_ui_end(d.ui, code);
	bl_ui_free(d.ui);
	return rc < 0 ? -1 : code;
}

static int read_fleet(const struct bl_args *args, struct bl_source *source,
		      struct bl_fleet *fleet, struct bl_selection *sel, struct bl_err *err)
{
	size_t failed = 0;
	if (bl_cmd_fleet(args, source, fleet, sel, err) < 0)
		return -1;
	return bl_cmd_evaluate(args, source, fleet, sel, &failed, err);
}

/* The hosts: of a fleet, or the one that is named. */
static int find_hosts(const struct bl_args *args, struct bl_source *source,
		      struct bl_fleet *fleet, struct bl_selection *sel, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	if (!args->target_host)
		return args->with_system
			       ? bl_err_set(
					 err, BL_E_USAGE,
					 "--with-system goes with --target-host; a fleet says "
					 "itself which systems it has")
			       : read_fleet(args, source, fleet, sel, err);
	if (args->on.n || args->file || args->flake || args->fleet_json)
		return bl_err_set(
			err, BL_E_USAGE,
			"--target-host is one host; give no fleet and no other hosts");
	if (bl_fleet_single(args->target_host, args->with_system, fleet, err) < 0)
		return -1;
	return bl_select(fleet, &all, sel, err);
}

static int run_doctor(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	if (find_hosts(args, &source, &fleet, &sel, &err) < 0 ||
	    bl_cmd_agents(&fleet, &sel, &err) < 0)
		return bl_cmd_fail(&err);
	bl_cmd_addresses(&fleet, &sel);
	int code = examine(args, &sel, &err);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

const struct bl_command bl_cmd_doctor = {
	.name = "doctor",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Look whether hosts can be deployed to, and what is uncovered",
	.details = "\nRuns all that a deployment checks before its first change, and changes\n"
		   "nothing: at most the agent is copied there. A warning names what the host\n"
		   "would not come back from by itself, and is no failure.\n",
	.options = options,
	.words_max = 10000,
	.run = run_doctor,
};
