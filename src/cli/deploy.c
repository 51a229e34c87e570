/* SPDX-License-Identifier: MIT */
/* `belay deploy`: evaluate, build, then everything that the drive does. */
#include "cli/deploy.h"

#include "cli/build.h"
#include "cli/deployed.h"
#include "cli/scripts.h"
#include "cli/takeback.h"
#include "cli/telling.h"

#include "host/roads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For asking ssh about the ways to the hosts: a few milliseconds each, and one that hangs. */
#define ROADS_MS          10000
#define ROADS_MS_PER_HOST 50

static const struct bl_option options[] = {
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	BL_BUILD_OPTIONS,
	BL_COPY_OPTIONS,
	BL_PARALLEL_OPTION,
	{ "keep-going", 'k', BL_OPT_FLAG, NULL, "one host's failure does not stop the others",
	  offsetof(struct bl_args, keep_going), 0, 0 },
	{ "build-host", 0, BL_OPT_STRING, "HOST",
	  "build the systems there, and bring them here", offsetof(struct bl_args, build_host),
	  0, 0 },
	{ "keep-result", 0, BL_OPT_FLAG, NULL,
	  "leave links result-NODE, which keep the systems",
	  offsetof(struct bl_args, keep_result), 0, 0 },
	{ "canary", 0, BL_OPT_STRING, "N|HOSTS",
	  "a wave before all others: so many, or a selection", offsetof(struct bl_args, canary),
	  0, 0 },
	{ "soak", 0, BL_OPT_NUMBER, "S", "seconds between the canaries and the others",
	  offsetof(struct bl_args, soak), 0, 86400 },
	{ "batch", 0, BL_OPT_STRING, "N|N%", "hosts in a wave, or which part of all",
	  offsetof(struct bl_args, batch), 0, 0 },
	{ "max-failures", 0, BL_OPT_NUMBER, "N", "so many may fail before nothing more begins",
	  offsetof(struct bl_args, max_failures), 0, 10000 },
	{ "on-failure", 0, BL_OPT_STRING, "WHAT", "stop, rollback-batch or rollback-all",
	  offsetof(struct bl_args, on_failure), 0, 0 },
	{ "atomic", 0, BL_OPT_FLAG, NULL, "a wave is confirmed as a whole, or none of it",
	  offsetof(struct bl_args, atomic), 0, 0 },
	{ "force-drift", 0, BL_OPT_FLAG, NULL,
	  "where host and profile disagree, keep what runs",
	  offsetof(struct bl_args, force_drift), 0, 0 },
	{ "strategy", 0, BL_OPT_STRING, "S",
	  "try the new systems this way, not as the fleet says",
	  offsetof(struct bl_args, strategy), 0, 0 },
	{ "reboot", 0, BL_OPT_FLAG, NULL, "hosts may be rebooted to try their system",
	  offsetof(struct bl_args, reboot), 0, 0 },
	BL_COMMON_OPTIONS,
};

/* What there is to be known of a deployment before its hosts are driven. */
struct deployment {
	const struct bl_args *args;
	struct bl_fleet *fleet;
	struct bl_selection *sel;
	struct bl_history *history;
	const char *run, *source;
	unsigned *road; /* one a host, see bl_roads_find */
	struct bl_waves waves;
};

/* A host and its only road are not to be unconfirmed together. */
static int find_roads(struct deployment *d, struct bl_telling *t, struct bl_err *err)
{
	BL_AUTO(bl_buf) unknown = { 0 };
	size_t n = d->sel->n;
	d->road = bl_xcalloc(n + 1, sizeof(*d->road));
	if (n < 2)
		return 0;
	int64_t limit_ms = ROADS_MS + ROADS_MS_PER_HOST * (int64_t)n;
	if (bl_roads_find(d->sel->nodes, n, limit_ms, d->road, &unknown, err) < 0)
		return -1;
	if (unknown.len) {
		bl_autofree char *text = bl_xprintf(
			"ssh -G does not tell the way to %s: taken for one that leads through no other host",
			bl_buf_str(&unknown));
		bl_telling_remark(t, text);
	}
	return 0;
}

static int begin_hosts(const struct deployment *d, struct bl_err *err)
{
	const struct bl_rollout_settings *s = &d->fleet->rollout;
	for (size_t i = 0; i < d->sel->n; i++) {
		const struct bl_node *n = d->sel->nodes[i];
		if (bl_history_host_begin(d->history, d->run, n->name, n->host, n->out_path,
					  err) < 0)
			return -1;
		bool waves = d->waves.n > 1 || s->atomic;
		if (waves &&
		    bl_history_host_wave(d->history, d->run, n->name,
					 (uint32_t)d->waves.of[i] + 1, s->atomic, err) < 0)
			return -1;
	}
	return 0;
}

/* How many were not switched, and why, where a failure was the reason. */
static void tell_stop(const struct deployment *d, struct bl_telling *t, const char *why)
{
	size_t skipped = 0;
	for (size_t i = 0; i < d->sel->n; i++) {
		const char *old = NULL;
		skipped +=
			bl_telling_outcome(t, d->sel->nodes[i]->name, &old) == BL_OUT_SKIPPED;
	}
	if (!why || skipped == 0)
		return;
	bl_autofree char *text = bl_xprintf("%zu host%s not switched, since %s", skipped,
					    skipped == 1 ? " was" : "s were", why);
	bl_telling_remark(t, text);
}

/* Whoever counts on canaries is to know when there are none. */
static void tell_canaries(const struct deployment *d, struct bl_telling *t)
{
	const struct bl_rollout_settings *s = &d->fleet->rollout;
	if ((s->canary || s->canary_n) && !d->waves.waves[0].canary)
		bl_telling_remark(
			t,
			"no canaries: none of this run's hosts is one, or others are reached through it");
}

/* What the hosts have now makes the next deployment small. */
static void keep(const struct deployment *d, struct bl_telling *t)
{
	bl_autofree const struct bl_node **have = bl_xcalloc(d->sel->n + 1, sizeof(void *));
	struct bl_err err = { 0 };
	size_t n = 0;
	for (size_t i = 0; i < d->sel->n; i++) {
		const char *old = NULL;
		enum bl_outcome is = bl_telling_outcome(t, d->sel->nodes[i]->name, &old);
		if (is == BL_OUT_COMMITTED || is == BL_OUT_UNCHANGED)
			have[n++] = d->sel->nodes[i];
	}
	if (bl_keep_deployed(have, n, &err) < 0) {
		bl_autofree char *text = bl_xprintf(
			"what was deployed is not kept here, so that the next deployment may send more: %s",
			err.msg);
		bl_telling_remark(t, text);
	}
}

static int drive(struct deployment *d, struct bl_telling *t, struct bl_err *err)
{
	const struct bl_rollout_settings *s = &d->fleet->rollout;
	BL_AUTO(bl_drive_report) report = { 0 };
	if (find_roads(d, t, err) < 0 ||
	    bl_waves_plan(d->fleet, d->sel, s, d->road, &d->waves, err) < 0 ||
	    begin_hosts(d, err) < 0)
		return -1;
	tell_canaries(d, t);
	const struct bl_drive_spec hosts = {
		.nodes = d->sel->nodes,
		.n = d->sel->n,
		.parallel = d->args->parallel,
		.waves = &d->waves,
		.max_failures = d->args->keep_going ? SIZE_MAX : s->max_failures,
		.atomic = s->atomic,
		.soak_s = s->soak_s,
		.on_failure = s->on_failure,
		.force_drift = d->args->force_drift,
		.engine = bl_cmd_engine(d->args),
	};
	if (bl_telling_drive(t, d->run, &hosts, &report, err) < 0)
		return -1;
	tell_stop(d, t, report.why);
	const struct bl_take_back back = {
		.nodes = d->sel->nodes,
		.n = d->sel->n,
		.wanted = report.take_back,
		.road = d->road,
		.parallel = d->args->parallel,
		.source = d->source,
	};
	int code = bl_take_back(&back, t, d->history, err);
	/* what was taken back is not among it */
	keep(d, t);
	return code;
}

static void tell_not_built(const struct deployment *d, struct bl_telling *t,
			   const struct bl_built *built)
{
	for (size_t i = 0; i < built->n_missing; i++)
		bl_telling_not_built(t, d->run, &built->missing[i]);
}

/* Systems that the hosts have already, such as an older generation's. */
static bool all_built_there(const struct bl_selection *sel)
{
	for (size_t i = 0; i < sel->n; i++)
		if (!sel->nodes[i]->built_there)
			return false;
	return true;
}

/* Everything between a run's begin and its end. */
static int deploy(struct deployment *d, struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	if (bl_history_dir(&dir, err) < 0)
		return -1;
	bl_autofree char *roots = bl_xprintf("%s/runs/%s", dir, d->run);
	const struct bl_build_spec build = {
		.fleet = d->fleet,
		.sel = d->sel,
		.roots = roots,
		.args = d->args,
		.build_host = d->args->build_host,
		.keep_going = d->args->keep_going,
		.keep_result = d->args->keep_result,
		.parallel = d->args->parallel,
		.mode = bl_cmd_ui_mode(d->args),
	};
	struct bl_built built = { 0 };
	struct bl_telling *t = NULL;
	int code = -1;
	if ((all_built_there(d->sel) || bl_cmd_build(&build, &built, err) == 0) &&
	    bl_cmd_agents(d->fleet, d->sel, err) == 0) {
		t = bl_telling_new(d->args, d->history);
		code = bl_scripts_prepare(t, d->sel, d->args->keep_going, &built, err);
		code = code < 0 ? -1 : drive(d, t, err);
		tell_not_built(d, t, &built);
		if (code == 0)
			code = bl_scripts_after(t, d->run, d->sel, bl_telling_exit_code(t));
	}
	if (code < 0 && built.interrupted) {
		bl_cmd_fail(err);
		code = BL_EXIT_INTERRUPTED;
	}
	bl_built_end(&built);
	bl_telling_end(t, code < 0 ? BL_EXIT_FAILED : code);
	return code;
}

static int parse_strategy(const char *text, enum bl_strategy *out, struct bl_err *err)
{
	BL_AUTO(bl_buf) known = { 0 };
	if (!text || bl_strategy_parse(text, out, NULL) == 0)
		return 0;
	for (int i = 0; i < BL_STRATEGY_NSTRATEGIES; i++)
		bl_buf_printf(&known, "%s%s", i > 0 ? ", " : "",
			      bl_strategy_name((enum bl_strategy)i));
	return bl_err_set(err, BL_E_USAGE, "--strategy: '%.60s' is none of %s", text,
			  bl_buf_str(&known));
}

static int overrule_rollout(struct bl_rollout_settings *s, const struct bl_args *args,
			    struct bl_err *err)
{
	if (args->canary && bl_canary_parse(args->canary, s, err) < 0)
		return bl_err_wrap(err, "--canary");
	if (args->batch && bl_batch_parse(args->batch, s, err) < 0)
		return bl_err_wrap(err, "--batch");
	if (args->on_failure && bl_on_failure_parse(args->on_failure, &s->on_failure, err) < 0)
		return bl_err_wrap(err, "--on-failure");
	if (args->keep_going && args->max_failures != BL_NOT_GIVEN)
		return bl_err_set(err, BL_E_USAGE,
				  "--keep-going is --max-failures without a limit; give one");
	if (args->soak != BL_NOT_GIVEN)
		s->soak_s = (uint32_t)args->soak;
	if (args->max_failures != BL_NOT_GIVEN)
		s->max_failures = (uint32_t)args->max_failures;
	s->atomic |= args->atomic;
	return 0;
}

/* What contradicts the settings, or each other. */
static int check_rollout(const struct bl_fleet *fleet, const struct bl_selection *sel,
			 struct bl_err *err)
{
	BL_AUTO(bl_waves) waves = { 0 };
	for (size_t i = 0; fleet->rollout.atomic && i < sel->n; i++)
		if (sel->nodes[i]->plan.strategy == BL_STRATEGY_UNGUARDED)
			return bl_err_set(
				err, BL_E_USAGE,
				"node %s: with the strategy unguarded-boot there is no confirmation that "
				"an atomic wave could hold back; choose another, or leave atomic out",
				sel->nodes[i]->name);
	/* a canary that matches nothing is told before anything is built */
	return bl_waves_plan(fleet, sel, &fleet->rollout, NULL, &waves, err);
}

/* What the command line says goes before what the fleet says. */
static int overrule(struct bl_fleet *fleet, const struct bl_args *args,
		    enum bl_strategy strategy, struct bl_err *err)
{
	for (size_t i = 0; i < fleet->n; i++) {
		struct bl_plan *plan = &fleet->nodes[i].plan;
		if (args->strategy)
			plan->strategy = strategy;
		if (args->reboot)
			plan->reboot_allowed = true;
	}
	return overrule_rollout(&fleet->rollout, args, err);
}

/* A test leaves what boots as it is, so that neither of these can be meant. */
static int check_test(const struct bl_args *args, const struct bl_fleet *fleet,
		      const struct bl_selection *sel, struct bl_err *err)
{
	bool back = fleet->rollout.on_failure != BL_ON_FAILURE_STOP;
	for (size_t i = 0; i < sel->n; i++) {
		if (sel->nodes[i]->plan.strategy != BL_STRATEGY_TEST)
			continue;
		if (args->force_drift)
			return bl_err_set(
				err, BL_E_USAGE,
				"--force-drift makes what runs the boot default, and a "
				"test leaves that as it is: leave one of them out");
		if (back)
			return bl_err_set(err, BL_E_USAGE,
					  "what was tested cannot be taken back by another "
					  "deployment, but by a reboot: --on-failure stop");
	}
	return 0;
}

/* Two systems for one host: the second would be refused while the first is on its way. */
static int check_hosts(const struct bl_selection *sel, struct bl_err *err)
{
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *a = sel->nodes[i];
		for (size_t k = 0; k < i; k++) {
			const struct bl_node *b = sel->nodes[k];
			if (strcmp(a->host, b->host) == 0 &&
			    bl_strv_eq(&a->ssh_options, &b->ssh_options) &&
			    bl_strv_eq(&a->addresses, &b->addresses))
				return bl_err_set(
					err, BL_E_USAGE,
					"%s and %s are the same host, %s: deploy one of "
					"them, or correct its 'host'",
					b->name, a->name, a->host);
		}
	}
	return 0;
}

int bl_deploy(const struct bl_args *args, const char *command, const char *source,
	      struct bl_fleet *fleet, struct bl_selection *sel)
{
	struct bl_err err = { 0 };
	struct bl_history *history = NULL;
	char run[32];
	if (check_hosts(sel, &err) < 0 || check_test(args, fleet, sel, &err) < 0 ||
	    bl_cmd_history(&history, &err) < 0)
		return bl_cmd_fail(&err);
	bl_cmd_addresses(fleet, sel);
	struct deployment d = { .args = args,
				.fleet = fleet,
				.sel = sel,
				.history = history,
				.run = run,
				.source = source };
	int code = -1;
	if (bl_history_run_begin(history, command, source, run, &err) == 0) {
		code = deploy(&d, &err);
		struct bl_err end = { 0 };
		if (bl_history_run_end(history, run, code < 0 ? BL_EXIT_FAILED : code, &end) <
		    0)
			bl_cmd_fail(&end);
	}
	bl_history_close(history);
	bl_waves_free(&d.waves);
	free(d.road);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

static int run_deploy(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	enum bl_strategy strategy = BL_STRATEGY_AUTO;
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	size_t failed = 0;
	if (parse_strategy(args->strategy, &strategy, &err) < 0 ||
	    bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0 ||
	    overrule(&fleet, args, strategy, &err) < 0 ||
	    check_rollout(&fleet, &sel, &err) < 0 ||
	    bl_cmd_evaluate(args, &source, &fleet, &sel, &failed, &err) < 0)
		return bl_cmd_fail(&err);
	int code = bl_deploy(args, "deploy", source.where, &fleet, &sel);
	return code == BL_EXIT_OK && failed ? BL_EXIT_FAILED : code;
}

const struct bl_command bl_cmd_deploy = {
	.name = "deploy",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Deploy the fleet's systems, each guarded by its host itself",
	.details =
		"\nThe fleet is read from fleet.nix, default.nix or flake.nix in this folder.\n"
		"Every host is prepared (built, copied, checked) before the first is switched.\n"
		"A host that is not confirmed over a fresh connection goes back by itself.\n",
	.options = options,
	.words_max = 10000,
	.run = run_deploy,
};
