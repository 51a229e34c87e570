/* SPDX-License-Identifier: MIT */
/*
 * nixos-rebuild's own verbs for a single host, with its flags and what they mean there. A
 * switch is a guarded deployment, also to the host that it is run on.
 */
#include "cli/build.h"
#include "cli/deploy.h"
#include "cli/dry.h"
#include "cli/generations.h"

#include "base/child.h"
#include "base/file.h"
#include "base/login.h"
#include "host/command.h"
#include "nix/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SYSTEM_FLAKE "/etc/nixos"
#define LOGIN_S      180 /* for logging in anew and confirming, on the host itself */
#define LOOK_MS      60000

#define SOURCE_OPTIONS                                                                            \
	{ "flake",                                                                                \
	  0,                                                                                      \
	  BL_OPT_STRING,                                                                          \
	  "REF#NAME",                                                                             \
	  "nixosConfigurations.NAME of this flake",                                               \
	  offsetof(struct bl_args, flake),                                                        \
	  0,                                                                                      \
	  0 },                                                                                    \
		{ "file",                                                                         \
		  'f',                                                                            \
		  BL_OPT_STRING,                                                                  \
		  "FILE",                                                                         \
		  "a Nix file instead of <nixpkgs/nixos>",                                        \
		  offsetof(struct bl_args, file),                                                 \
		  0,                                                                              \
		  0 },                                                                            \
		{ "attr",                                                                         \
		  'A',                                                                            \
		  BL_OPT_STRING,                                                                  \
		  "PATH",                                                                         \
		  "where in it the system is",                                                    \
		  offsetof(struct bl_args, attr),                                                 \
		  0,                                                                              \
		  0 },                                                                            \
		{ "no-flake",                                                                     \
		  0,                                                                              \
		  BL_OPT_FLAG,                                                                    \
		  NULL,                                                                           \
		  "no flake, even if /etc/nixos is one",                                          \
		  offsetof(struct bl_args, no_flake),                                             \
		  0,                                                                              \
		  0 },                                                                            \
		{ "target-host",                                                                  \
		  0,                                                                              \
		  BL_OPT_STRING,                                                                  \
		  "HOST",                                                                         \
		  "[user@]name; without it: this host",                                           \
		  offsetof(struct bl_args, target_host),                                          \
		  0,                                                                              \
		  0 },                                                                            \
		{ "build-host",                                                                   \
		  0,                                                                              \
		  BL_OPT_STRING,                                                                  \
		  "HOST",                                                                         \
		  "[user@]name; without it: here",                                                \
		  offsetof(struct bl_args, build_host),                                           \
		  0,                                                                              \
		  0 },                                                                            \
		{ "upgrade",                                                                      \
		  0,                                                                              \
		  BL_OPT_FLAG,                                                                    \
		  NULL,                                                                           \
		  "update root's channel nixos first",                                            \
		  offsetof(struct bl_args, upgrade),                                              \
		  0,                                                                              \
		  0 },                                                                            \
		BL_NIX_OPTIONS, BL_BUILD_OPTIONS,                                                 \
		{ "fast", 0, BL_OPT_NONE, NULL, "is always so", 0, 0, 0 },                        \
		{ "no-reexec", 0, BL_OPT_NONE, NULL, "is always so", 0, 0, 0 },                   \
		{ "no-build-nix", 0, BL_OPT_NONE, NULL, "is always so", 0, 0, 0 },                \
		{ "sudo", 0, BL_OPT_NONE, NULL, "is so where the login is not root's", 0, 0, 0 }, \
	{                                                                                         \
		"use-remote-sudo", 0, BL_OPT_NONE, NULL, "the same", 0, 0, 0                      \
	}
#define ACTIVATE_OPTIONS                                                                       \
	{ "rollback",                                                                          \
	  0,                                                                                   \
	  BL_OPT_FLAG,                                                                         \
	  NULL,                                                                                \
	  "take the system of the generation before",                                          \
	  offsetof(struct bl_args, rollback),                                                  \
	  0,                                                                                   \
	  0 },                                                                                 \
		{ "ask-sudo-password",                                                         \
		  0,                                                                           \
		  BL_OPT_FLAG,                                                                 \
		  NULL,                                                                        \
		  "ask for it here, where sudo wants one",                                     \
		  offsetof(struct bl_args, ask_sudo_password),                                 \
		  0,                                                                           \
		  0 },                                                                         \
	{                                                                                      \
		"no-confirm", 0, BL_OPT_FLAG, NULL, "on this host: no new login need confirm", \
			offsetof(struct bl_args, no_confirm), 0, 0                             \
	}

static const struct bl_option switch_options[] = {
	SOURCE_OPTIONS,
	ACTIVATE_OPTIONS,
	{ "reboot", 0, BL_OPT_FLAG, NULL, "the host may be rebooted to try its system",
	  offsetof(struct bl_args, reboot), 0, 0 },
	{ "force-drift", 0, BL_OPT_FLAG, NULL,
	  "where host and profile disagree, keep what runs",
	  offsetof(struct bl_args, force_drift), 0, 0 },
	BL_COMMON_OPTIONS,
};
static const struct bl_option build_options[] = { SOURCE_OPTIONS, BL_COMMON_OPTIONS };
static const struct bl_option list_options[] = {
	{ "target-host", 0, BL_OPT_STRING, "HOST", "[user@]name; without it: this host",
	  offsetof(struct bl_args, target_host), 0, 0 },
	BL_COMMON_OPTIONS,
};

/* What one run is about. */
struct rebuild {
	const struct bl_args *args;
	struct bl_source source;
	struct bl_fleet fleet;
	struct bl_selection sel;
	struct bl_node *node;
};

static void rebuild_end(struct rebuild *r)
{
	bl_selection_free(&r->sel);
	bl_fleet_free(&r->fleet);
	bl_source_free(&r->source);
}

/* ---- the host */

static bool is_here(const struct bl_args *args)
{
	return !args->target_host || strcmp(args->target_host, "localhost") == 0;
}

/* The host alone, by this machine's name where it is this one. */
static int single(const struct bl_args *args, struct bl_fleet *out, struct bl_err *err)
{
	bl_autofree char *own = bl_cmd_own_name();
	if (bl_fleet_single(is_here(args) ? own : args->target_host, NULL, out, err) < 0)
		return bl_err_wrap(err, "--target-host");
	out->nodes[0].plan.local = is_here(args);
	return 0;
}

/* A fleet of the one host alone, whose system is still to be found. */
static int host_alone(struct rebuild *r, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	if (single(r->args, &r->fleet, err) < 0)
		return -1;
	r->node = &r->fleet.nodes[0];
	return bl_select(&r->fleet, &all, &r->sel, err);
}

/* Which name the host has itself: that of its configuration, where none is given. */
static int ask_name(struct rebuild *r, char **out, struct bl_err *err)
{
	static const char *const none[] = { NULL };
	BL_AUTO(bl_strv) lines = { 0 };
	bl_autofree char *text = NULL;
	if (is_here(r->args)) {
		*out = bl_cmd_own_name();
		return 0;
	}
	BL_AUTO(bl_fleet) host = { 0 };
	if (single(r->args, &host, err) < 0)
		return -1;
	/* looking needs no root */
	bl_strv_free(&host.nodes[0].elevate);
	if (bl_host_command(&host.nodes[0], "cat /proc/sys/kernel/hostname", none, LOOK_MS,
			    NULL, &text, err) < 0)
		return -1;
	bl_strv_split(&lines, text, '\n');
	if (lines.n == 0)
		return bl_err_set(err, BL_E_FAILED,
				  "%s does not tell its name; give one: --flake REF#NAME",
				  r->args->target_host);
	*out = bl_xstrdup(lines.items[lines.n - 1]);
	return 0;
}

/* ---- its system */

static int flake_source(struct rebuild *r, const char *ref, struct bl_err *err)
{
	const char *hash = strchr(ref, '#');
	size_t len = hash ? (size_t)(hash - ref) : strlen(ref);
	r->source.kind = BL_SRC_FLAKE;
	r->source.where = len ? bl_xstrndup(ref, len) : bl_xstrdup(".");
	bl_source_take_nixos(&r->source);
	if (hash && hash[1]) {
		r->source.name = bl_xstrdup(hash + 1);
		return 0;
	}
	return ask_name(r, &r->source.name, err);
}

static int file_source(struct rebuild *r, struct bl_err *err)
{
	const struct bl_args *args = r->args;
	r->source.kind = BL_SRC_SYSTEM;
	r->source.attr = bl_xstrdup(args->attr ? args->attr : "");
	r->source.where = args->file ? bl_realpath(args->file) : bl_xstrdup("<nixpkgs/nixos>");
	if (!r->source.where)
		return bl_err_set(err, BL_E_USAGE, "%s: there is no such file", args->file);
	return ask_name(r, &r->source.name, err);
}

static int find_source(struct rebuild *r, struct bl_err *err)
{
	const struct bl_args *args = r->args;
	bool file = args->file || args->attr;
	if (args->flake && (file || args->no_flake))
		return bl_err_set(err, BL_E_USAGE,
				  "--flake goes with none of --file, --attr and --no-flake");
	bl_cmd_source_flags(args, &r->source);
	if (args->flake)
		return flake_source(r, args->flake, err);
	if (!file && !args->no_flake && access(SYSTEM_FLAKE "/flake.nix", F_OK) == 0)
		return flake_source(r, SYSTEM_FLAKE, err);
	return file_source(r, err);
}

static int upgrade(struct bl_err *err)
{
	const char *const argv[] = { "nix-channel", "--update", "nixos", NULL };
	const struct bl_child_spec spec = { .argv = argv,
					    .out_max = 4096,
					    .err_mode = BL_CHILD_ERR_INHERIT };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_child_run(&spec, &r, err) < 0)
		return bl_err_wrap(err, "Nix is needed on this machine");
	return r.status == 0 ? 0
			     : bl_err_set(err, BL_E_FAILED,
					  "--upgrade: nix-channel --update nixos failed");
}

/* What says where the configuration's own host is: another one was named. */
static void forget_where(struct bl_node *node)
{
	struct bl_strv kept = { 0 };
	for (size_t i = 0; i < node->ssh_options.n; i++) {
		const char *o = node->ssh_options.items[i];
		size_t len = strcspn(o, " =");
		if (!(len == 8 && strncasecmp(o, "HostName", len) == 0) &&
		    !(len == 12 && strncasecmp(o, "HostKeyAlias", len) == 0))
			bl_strv_add(&kept, o);
	}
	bl_strv_free(&node->ssh_options);
	node->ssh_options = kept;
	bl_strv_free(&node->addresses);
}

/* What the configuration says of itself (belay.deploy) counts, but not where the host is. */
static int evaluate(struct rebuild *r, struct bl_err *err)
{
	const struct bl_args *args = r->args;
	BL_AUTO(bl_strv) words = { 0 };
	size_t failed = 0;
	if ((args->upgrade && upgrade(err) < 0) || find_source(r, err) < 0)
		return -1;
	bl_strv_add(&words, r->source.name);
	if (bl_cmd_read(&words, NULL, &r->source, &r->fleet, &r->sel, err) < 0 ||
	    bl_cmd_evaluate(args, &r->source, &r->fleet, &r->sel, &failed, err) < 0)
		return -1;
	r->node = &r->fleet.nodes[r->sel.nodes[0] - r->fleet.nodes];
	BL_AUTO(bl_fleet) to = { 0 };
	if (single(args, &to, err) < 0)
		return -1;
	bl_replace_str(&r->node->host, to.nodes[0].host);
	r->node->plan.local = to.nodes[0].plan.local;
	forget_where(r->node);
	return 0;
}

/* ---- a deployment to the host that it is run on */

/* A keyboard of the machine itself. That a terminal has a screen is no sign of it: an old tmux
 * has one, and so has a remote desktop. */
static bool at_the_console(void)
{
	const char *tty = ttyname(STDIN_FILENO);
	return tty && (bl_starts_with(tty, "/dev/tty") || bl_starts_with(tty, "/dev/hvc") ||
		       strcmp(tty, "/dev/console") == 0);
}

static bool over_ssh(void)
{
	static const char *const names[] = { "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY" };
	int64_t began = 0;
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return true;
	}
	return bl_session_start(getpid(), &began, NULL) == 0;
}

/*
 * That we run here shows nothing of the way to the host. So somebody has to log in anew and say
 * so; at the machine's own console that way does not matter, and elsewhere --no-confirm can be
 * said aloud.
 */
static int choose_confirmation(struct rebuild *r, struct bl_err *err)
{
	struct bl_node *node = r->node;
	bool console = !over_ssh() && at_the_console();
	if (node->plan.strategy == BL_STRATEGY_UNGUARDED)
		return 0;
	node->plan.any_login = r->args->no_confirm || console;
	for (size_t i = 0; !node->plan.any_login && i < node->plan.n_checks; i++)
		if (node->plan.checks[i].on_deployer)
			return bl_err_set(
				err, BL_E_USAGE,
				"check '%s' is the deployer's, and whoever logs in anew would not wait "
				"for it: deploy from another machine, or say --no-confirm",
				node->plan.checks[i].name);
	if (console && !r->args->no_confirm)
		fprintf(stderr,
			"this is the host's own console: no new login has to confirm\n");
	if (node->plan.any_login)
		return 0;
	if (!isatty(STDIN_FILENO) && !over_ssh())
		return bl_err_set(
			err, BL_E_USAGE,
			"nobody is there who could log in anew and confirm that this host can be "
			"reached; say --no-confirm if a system that works otherwise is to stay");
	/* who says nothing else has a connection in mind, and no person */
	if (node->success_timeout_s == BL_SUCCESS_TIMEOUT_S)
		node->success_timeout_s = LOGIN_S;
	return 0;
}

/*
 * sudo's, of the user on the host: it goes there as the first line over each connection, and is
 * kept nowhere else. Copying is left to that user then, as nixos-rebuild leaves it.
 */
static int ask_password(const struct rebuild *r, struct bl_err *err)
{
	struct bl_node *node = r->node;
	if (!r->args->ask_sudo_password || (node->plan.local && geteuid() == 0))
		return 0;
	if (node->elevate.n == 0 || strcmp(node->elevate.items[0], "sudo") != 0)
		return bl_err_set(err, BL_E_USAGE,
				  "--ask-sudo-password is for sudo, and the configuration's "
				  "privilegeEscalationCommand is another one");
	bl_autofree char *prompt = bl_xprintf("sudo's password for %s: ", node->host);
	char *typed = getpass(prompt);
	if (!typed)
		return bl_err_sys(err, errno, "read the password");
	node->sudo_password = bl_xstrdup(typed);
	explicit_bzero(typed, strlen(typed));
	return 0;
}

static int settle_local(struct rebuild *r, struct bl_err *err)
{
	if (bl_cmd_local_check(r->node, err) < 0 || ask_password(r, err) < 0)
		return -1;
	if (r->node->plan.local)
		return choose_confirmation(r, err);
	if (r->args->no_confirm)
		return bl_err_set(
			err, BL_E_USAGE,
			"--no-confirm is for the host that belay runs on; another one is "
			"confirmed over a fresh connection");
	return 0;
}

/* ---- the verbs */

static int activate(const struct bl_args *args, const char *verb, enum bl_strategy strategy)
{
	struct rebuild r = { .args = args };
	struct bl_err err = { 0 };
	int code = -1;
	int rc = args->rollback ? host_alone(&r, &err) : evaluate(&r, &err);
	if (rc == 0 && args->rollback) {
		rc = bl_generations_previous(r.node, &r.node->out_path, &err);
		r.node->built_there = true;
	}
	if (rc == 0) {
		if (strategy != BL_STRATEGY_AUTO)
			r.node->plan.strategy = strategy;
		r.node->plan.reboot_allowed |= args->reboot;
		rc = settle_local(&r, &err);
	}
	if (rc == 0)
		code = bl_deploy(args, verb, r.source.where ? r.source.where : "", &r.fleet,
				 &r.sel);
	rebuild_end(&r);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

static int run_switch(const struct bl_args *args)
{
	return activate(args, "switch", BL_STRATEGY_AUTO);
}

static int run_boot(const struct bl_args *args)
{
	return activate(args, "boot", BL_STRATEGY_UNGUARDED);
}

static int run_test(const struct bl_args *args)
{
	return activate(args, "test", BL_STRATEGY_TEST);
}

/* Builds, and roots the result as @link (NULL: not). */
static int build(struct rebuild *r, const char *link, struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	if (evaluate(r, err) < 0 || bl_history_dir(&dir, err) < 0)
		return -1;
	bl_autofree char *roots = bl_xprintf("%s/runs/build.%d", dir, (int)getpid());
	const struct bl_build_spec spec = {
		.fleet = &r->fleet,
		.sel = &r->sel,
		.roots = roots,
		.args = r->args,
		.build_host = r->args->build_host,
		.parallel = 1,
		.mode = bl_cmd_ui_mode(r->args),
	};
	struct bl_built built = { 0 };
	int rc = bl_cmd_build(&spec, &built, err);
	if (rc == 0 && link && !r->node->built_there) {
		const char *const path[] = { r->node->out_path, NULL };
		bl_autofree char *here = bl_realpath(".");
		bl_autofree char *to = bl_xprintf("%s/%s", here ? here : ".", link);
		rc = bl_build_root(path, to, NULL, err);
	}
	bl_built_end(&built);
	rmdir(roots);
	return rc;
}

static int run_build(const struct bl_args *args)
{
	struct rebuild r = { .args = args };
	struct bl_err err = { 0 };
	int rc = build(&r, "result", &err);
	if (rc == 0)
		puts(r.node->out_path);
	rebuild_end(&r);
	return rc < 0 ? bl_cmd_fail(&err) : BL_EXIT_OK;
}

static int run_dry_activate(const struct bl_args *args)
{
	struct rebuild r = { .args = args };
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	int status = 0;
	int rc = build(&r, NULL, &err);
	if (rc == 0)
		rc = bl_cmd_local_check(r.node, &err);
	if (rc == 0)
		rc = bl_cmd_agents(&r.fleet, &r.sel, &err);
	if (rc == 0)
		rc = bl_dry_activate(r.node, &status, &text, &err);
	if (rc == 0)
		fputs(text, stdout);
	if (rc == 0 && status != 0)
		rc = bl_err_set(&err, BL_E_FAILED, "dry-activate ended with status %d", status);
	rebuild_end(&r);
	return rc < 0 ? bl_cmd_fail(&err) : BL_EXIT_OK;
}

static int run_list(const struct bl_args *args)
{
	struct rebuild r = { .args = args };
	struct bl_err err = { 0 };
	int rc = host_alone(&r, &err);
	if (rc == 0)
		rc = bl_generations_list(r.node, args->json, &err);
	rebuild_end(&r);
	return rc < 0 ? bl_cmd_fail(&err) : BL_EXIT_OK;
}

const struct bl_command bl_cmd_switch_ = {
	.name = "switch",
	.words = "",
	.summary = "As nixos-rebuild switch, guarded: one host, or this one",
	.details =
		"\nWithout --target-host the host is this one. Then somebody who logs in anew has\n"
		"to confirm by `belay confirm`, or it goes back.\n",
	.options = switch_options,
	.words_max = 0,
	.run = run_switch,
};

const struct bl_command bl_cmd_boot = {
	.name = "boot",
	.words = "",
	.summary = "As nixos-rebuild boot: the system is started at the next boot",
	.details =
		"\nNothing is activated, and nothing is proven before it boots: to try a boot and\n"
		"come back from it, deploy with the strategy boot.\n",
	.options = switch_options,
	.words_max = 0,
	.run = run_boot,
};

const struct bl_command bl_cmd_test = {
	.name = "test",
	.words = "",
	.summary = "As nixos-rebuild test, guarded: what boots stays as it is",
	.details = "\nA reboot ends it; a switch to the same system keeps it.\n",
	.options = switch_options,
	.words_max = 0,
	.run = run_test,
};

const struct bl_command bl_cmd_build_ = {
	.name = "build",
	.words = "",
	.summary = "As nixos-rebuild build: the system as ./result",
	.details = "\nPrints its store path. A build host that is the target keeps it.\n",
	.options = build_options,
	.words_max = 0,
	.run = run_build,
};

const struct bl_command bl_cmd_dry_activate = {
	.name = "dry-activate",
	.words = "",
	.summary = "As nixos-rebuild dry-activate: what a switch would do",
	.details = "\nThe system is built and copied, and nothing is changed.\n",
	.options = build_options,
	.words_max = 0,
	.run = run_dry_activate,
};

const struct bl_command bl_cmd_list_generations = {
	.name = "list-generations",
	.words = "",
	.summary = "As nixos-rebuild list-generations",
	.details = "\nWith --json as nixos-rebuild prints it.\n",
	.options = list_options,
	.words_max = 0,
	.run = run_list,
};
