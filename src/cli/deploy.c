/* SPDX-License-Identifier: MIT */
/* `belay deploy`: evaluate, build, then everything that the drive does. */
#include "cli/deploy.h"

#include "base/file.h"
#include "nix/nix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct bl_option options[] = {
	BL_FLEET_OPTIONS,
	{ "parallel", 0, BL_OPT_NUMBER, "N", "hosts worked on at once (default 10)",
	  offsetof(struct bl_args, parallel), 1, 1000 },
	{ "keep-going", 'k', BL_OPT_FLAG, NULL, "one host's failure does not stop the others",
	  offsetof(struct bl_args, keep_going), 0, 0 },
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

/* A toplevel that is none is found here, before any host is asked. */
static int looks_like_system(const struct bl_node *node, struct bl_err *err)
{
	static const char *const parts[] = { "activate", "bin/switch-to-configuration", "init",
					     "nixos-version" };
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		bl_autofree char *path = bl_xprintf("%s/%s", node->out_path, parts[i]);
		if (access(path, F_OK) < 0)
			return bl_err_set(
				err, BL_E_USAGE,
				"node %s: %s is not a NixOS system: it has no %s; set `toplevel` to "
				"config.system.build.toplevel",
				node->name, node->out_path, parts[i]);
	}
	return 0;
}

/* Whether every system is given as a path that is in the store. */
static bool all_there(const struct bl_selection *sel)
{
	for (size_t i = 0; i < sel->n; i++)
		if (sel->nodes[i]->drv_path || access(sel->nodes[i]->out_path, F_OK) < 0)
			return false;
	return true;
}

static int build(const struct bl_selection *sel, const char *roots, bool keep_going,
		 pid_t *out_rooting, struct bl_err *err)
{
	BL_AUTO(bl_strv) paths = { 0 };
	for (size_t i = 0; i < sel->n; i++)
		bl_strv_add(&paths, sel->nodes[i]->drv_path ? sel->nodes[i]->drv_path
							    : sel->nodes[i]->out_path);
	if (bl_mkdirs(roots, 0700, err) < 0)
		return -1;
	/* with nothing to build, the roots are made while the hosts are being reached */
	if (all_there(sel)) {
		if (bl_nix_root((const char *const *)paths.items, roots, out_rooting, err) < 0)
			return -1;
	} else if (bl_nix_realise((const char *const *)paths.items, roots, keep_going, err) <
		   0) {
		return bl_err_wrap(err, "build");
	}
	for (size_t i = 0; i < sel->n; i++)
		if (looks_like_system(sel->nodes[i], err) < 0)
			return -1;
	return 0;
}

static int drive(const struct bl_args *args, const struct bl_selection *sel, const char *agent,
		 struct bl_history *history, const char *run, struct bl_err *err)
{
	const struct bl_drive_spec hosts = {
		.nodes = sel->nodes,
		.n = sel->n,
		.parallel = args->parallel,
		.keep_going = args->keep_going,
		.force_drift = args->force_drift,
		.agent = agent,
	};
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *n = sel->nodes[i];
		if (bl_history_host_begin(history, run, n->name, n->host, n->out_path, err) < 0)
			return -1;
	}
	return bl_telling_drive(args, history, run, &hosts, err);
}

/* Nix names them root, root-2, root-3, ...: they hold the systems only while the run needs
 * them. */
static void drop_roots(const char *roots, size_t n)
{
	for (size_t i = 1; i <= n; i++) {
		bl_autofree char *link = i == 1 ? bl_xprintf("%s/root", roots)
						: bl_xprintf("%s/root-%zu", roots, i);
		unlink(link);
	}
}

/* Everything between a run's begin and its end. */
static int deploy(const struct bl_args *args, const struct bl_selection *sel,
		  struct bl_history *history, const char *run, struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	bl_autofree char *agent = NULL;
	if (bl_history_dir(&dir, err) < 0)
		return -1;
	bl_autofree char *roots = bl_xprintf("%s/runs/%s", dir, run);
	int rc = -1;
	pid_t rooting = -1;
	if (build(sel, roots, args->keep_going, &rooting, err) == 0 &&
	    bl_cmd_agent_for(sel, &agent, err) == 0)
		rc = drive(args, sel, agent, history, run, err);
	if (rooting > 0)
		waitpid(rooting, NULL, 0);
	drop_roots(roots, sel->n);
	return rc;
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

/* What the command line says goes before what the fleet says. */
static void overrule(struct bl_fleet *fleet, const struct bl_args *args,
		     enum bl_strategy strategy)
{
	for (size_t i = 0; i < fleet->n; i++) {
		struct bl_plan *plan = &fleet->nodes[i].plan;
		if (args->strategy)
			plan->strategy = strategy;
		if (args->reboot)
			plan->reboot_allowed = true;
	}
}

static int run_deploy(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	enum bl_strategy strategy = BL_STRATEGY_AUTO;
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	struct bl_history *history = NULL;
	char run[32];
	if (parse_strategy(args->strategy, &strategy, &err) < 0 ||
	    bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0 ||
	    bl_cmd_history(&history, &err) < 0)
		return bl_cmd_fail(&err);
	overrule(&fleet, args, strategy);
	int code = -1;
	if (bl_history_run_begin(history, "deploy", source.where, run, &err) == 0) {
		code = deploy(args, &sel, history, run, &err);
		struct bl_err end = { 0 };
		if (bl_history_run_end(history, run, code < 0 ? BL_EXIT_FAILED : code, &end) <
		    0)
			bl_cmd_fail(&end);
	}
	bl_history_close(history);
	return code < 0 ? bl_cmd_fail(&err) : code;
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
