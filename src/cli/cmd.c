/* SPDX-License-Identifier: MIT */
#include "cli/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "host/address.h"
#include "host/agent.h"
#include "nix/nix.h"
#include "store/sign.h"

#define AGENT_MAX     (8UL * 1024 * 1024)
#define FIRST_LINE_NS (2000 * BL_NS_PER_MS)
#define LINE_EVERY_NS (10000 * BL_NS_PER_MS)

const struct bl_command *const bl_commands[] = {
	&bl_cmd_init,
	&bl_cmd_plan,
	&bl_cmd_push,
	&bl_cmd_deploy,
	&bl_cmd_doctor,
	&bl_cmd_eval,
	&bl_cmd_show,
	&bl_cmd_status,
	&bl_cmd_log,
	&bl_cmd_history_,
	&bl_cmd_resume,
	&bl_cmd_abort,
	&bl_cmd_confirm,
	&bl_cmd_switch_,
	&bl_cmd_boot,
	&bl_cmd_test,
	&bl_cmd_build_,
	&bl_cmd_dry_activate,
	&bl_cmd_list_generations,
	&bl_cmd_copy,
	NULL,
};

int bl_cmd_fail(const struct bl_err *err)
{
	bl_autofree char *text = bl_visible(err->msg);
	fprintf(stderr, "belay: %s\n", text);
	return err->code == BL_E_USAGE || err->code == BL_E_INPUT ? BL_EXIT_USAGE
								  : BL_EXIT_FAILED;
}

static int find_source(const struct bl_args *args, struct bl_source *out, struct bl_err *err)
{
	const char *named = args->file ? args->file : args->fleet_json;
	if (!!args->file + !!args->flake + !!args->fleet_json > 1)
		return bl_err_set(err, BL_E_USAGE,
				  "only one of --file, --flake and --fleet-json");
	if (args->flake) {
		out->kind = BL_SRC_FLAKE;
		out->where = bl_xstrdup(args->flake);
		return 0;
	}
	if (!named)
		return bl_source_find(".", out, err);
	out->kind = args->file ? BL_SRC_FILE : BL_SRC_JSON;
	out->where = bl_realpath(named);
	if (!out->where)
		return bl_err_set(err, BL_E_USAGE, "%s: %s", named, strerror(errno));
	return 0;
}

/* What cannot be read is the user's to mend, as a wrong flag is. */
static int theirs(struct bl_err *err)
{
	err->code = BL_E_USAGE;
	return -1;
}

static int read_and_select(const struct bl_strv *words, const struct bl_strv *read,
			   struct bl_source *source, struct bl_fleet *fleet,
			   struct bl_selection *selection, struct bl_err *err)
{
	if (bl_fleet_read(source, bl_datadir(), read, fleet, err) < 0)
		return theirs(err);
	if (bl_select(fleet, words, selection, err) < 0) {
		bl_fleet_free(fleet);
		return -1;
	}
	return 0;
}

/* Which name was meant, is told by those that were not asked for. */
static void explain_words(const struct bl_strv *words, struct bl_source *source,
			  struct bl_err *err)
{
	BL_AUTO(bl_fleet) names = { 0 };
	BL_AUTO(bl_selection) selection = { 0 };
	struct bl_err why = { 0 };
	if (source->kind != BL_SRC_JSON && source->decided && words->n > 0 &&
	    bl_fleet_read_names(source, &names, &why) == 0 &&
	    bl_select(&names, words, &selection, &why) < 0)
		*err = why;
}

int bl_cmd_read(const struct bl_strv *words, const struct bl_strv *read,
		struct bl_source *source, struct bl_fleet *fleet,
		struct bl_selection *selection, struct bl_err *err)
{
	int rc = read_and_select(words, read ? read : words, source, fleet, selection, err);
	if (rc < 0)
		explain_words(words, source, err);
	return rc;
}

/* Whether the settings of node @name alone can be read; tells why not. */
static bool can_be_read(const char *name, struct bl_source *source)
{
	BL_AUTO(bl_strv) one = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err why = { 0 };
	bl_strv_add(&one, name);
	if (bl_fleet_read(source, bl_datadir(), &one, &fleet, &why) == 0)
		return true;
	bl_autofree char *text = bl_visible(why.msg);
	fprintf(stderr, "belay: node %s is left out, since its settings cannot be read: %s\n",
		name, text);
	source->left_out++;
	return false;
}

/* With --keep-going: those whose settings can be read. @err says why not all could be. */
static int read_the_others(const struct bl_strv *words, struct bl_source *source,
			   struct bl_fleet *fleet, struct bl_selection *selection,
			   struct bl_err *err)
{
	BL_AUTO(bl_fleet) names = { 0 };
	BL_AUTO(bl_strv) good = { 0 };
	BL_AUTO(bl_selection) meant = { 0 };
	struct bl_err ignored = { 0 };
	bool tags = false;
	for (size_t i = 0; i < words->n; i++)
		tags |= strchr(words->items[i], '@') != NULL;
	/* a name that there is not is no node's fault */
	if (bl_fleet_read_names(source, &names, &ignored) < 0 ||
	    (!tags && bl_select(&names, words, &meant, &ignored) < 0))
		return -1;
	for (size_t i = 0; i < names.n; i++)
		if (can_be_read(names.nodes[i].name, source))
			bl_strv_add(&good, names.nodes[i].name);
	if (source->left_out == 0 || good.n == 0)
		return -1;
	return bl_cmd_read(words, &good, source, fleet, selection, err);
}

void bl_cmd_source_flags(const struct bl_args *args, struct bl_source *source)
{
	bl_strv_append(&source->flags, &args->nix);
	bl_strv_append(&source->flags, &args->nix_both);
}

int bl_cmd_fleet(const struct bl_args *args, struct bl_source *source, struct bl_fleet *fleet,
		 struct bl_selection *selection, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	if (find_source(args, source, err) < 0)
		return -1;
	bl_cmd_source_flags(args, source);
	/* who is a canary is told by nodes that are not asked for, too */
	int rc = bl_cmd_read(&args->on, args->canary ? &all : NULL, source, fleet, selection,
			     err);
	if (rc < 0 && args->keep_going && source->kind != BL_SRC_JSON)
		rc = read_the_others(&args->on, source, fleet, selection, err);
	if (rc == 0 && source->foreign)
		fprintf(stderr, "reading %s from %s\n", source->foreign, source->where);
	return rc;
}

struct telling {
	bool live, told;
	int64_t next_ns; /* without a terminal: when there is to be a line again */
	size_t failed;
};

static void on_progress(void *ctx, size_t done, size_t all)
{
	struct telling *t = ctx;
	if (t->live) {
		fprintf(stderr, "\r\033[Kevaluating: %zu of %zu", done, all);
		t->told = true;
	} else if (bl_now_boot_ns() >= t->next_ns) {
		fprintf(stderr, "evaluating: %zu of %zu\n", done, all);
		t->next_ns = bl_now_boot_ns() + LINE_EVERY_NS;
	}
	fflush(stderr);
}

static void on_failed(void *ctx, const struct bl_node *node, const char *why)
{
	struct telling *t = ctx;
	bl_autofree char *text = bl_visible(why);
	fprintf(stderr, "%sbelay: node %s is left out, since it could not be evaluated: %s\n",
		t->live ? "\r\033[K" : "", node->name, text);
	t->failed++;
}

void bl_cmd_notes(const struct bl_strv *notes)
{
	for (size_t i = 0; i < notes->n; i++) {
		bl_autofree char *text = bl_visible(notes->items[i]);
		fprintf(stderr, "note: %s\n", text);
	}
}

int bl_cmd_evaluate(const struct bl_args *args, struct bl_source *source,
		    struct bl_fleet *fleet, struct bl_selection *sel, size_t *out_failed,
		    struct bl_err *err)
{
	struct telling t = { .live = bl_cmd_ui_mode(args) == BL_UI_TERMINAL,
			     .next_ns = bl_now_boot_ns() + FIRST_LINE_NS };
	const struct bl_evaluation how = {
		.workers = args->eval_workers,
		.memory = args->eval_memory << 20,
		.keep_going = args->keep_going,
		.progress = on_progress,
		.failed = on_failed,
		.ctx = &t,
	};
	bl_cmd_notes(&fleet->notes);
	int rc = bl_fleet_evaluate(source, &how, fleet, sel, err);
	if (t.live && t.told)
		fputs("\r\033[K", stderr);
	*out_failed = t.failed + source->left_out;
	return rc < 0 ? theirs(err) : 0;
}

/* Where it is remembered under which store path the agent with this content was added. */
static char *agent_note(const char *text, size_t len)
{
	uint8_t sum[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	struct bl_sha256 s;
	bl_autofree char *dir = NULL;
	if (bl_history_dir(&dir, NULL) < 0)
		return NULL;
	bl_sha256_init(&s);
	bl_sha256_update(&s, text, len);
	bl_sha256_final(&s, sum);
	bl_hex(sum, sizeof(sum), hex);
	return bl_xprintf("%s/agent-%.32s", dir, hex);
}

static int write_program(const char *text, size_t len, const char *dir, struct bl_err *err)
{
	bl_autofree char *bin = bl_xprintf("%s/belay-agent/bin", dir);
	bl_autofree char *to = bl_xprintf("%s/belay-agent", bin);
	if (bl_mkdirs(bin, 0755, err) < 0)
		return -1;
	bl_autofd int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (out < 0)
		return bl_err_sys(err, errno, "create %s", to);
	return bl_write_all(out, text, len, err);
}

static void remove_copy(const char *dir)
{
	static const char *const parts[] = { "belay-agent/bin/belay-agent", "belay-agent/bin",
					     "belay-agent", "" };
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		bl_autofree char *path = bl_xprintf("%s/%s", dir, parts[i]);
		(void)!remove(path);
	}
}

static int add_agent(const char *text, size_t len, char **out_path, struct bl_err *err)
{
	/* the name in the store is the folder's */
	char dir[] = "/tmp/belay-agent-XXXXXX";
	if (!mkdtemp(dir))
		return bl_err_sys(err, errno, "make a folder in /tmp");
	bl_autofree char *tree = bl_xprintf("%s/belay-agent", dir);
	int rc = write_program(text, len, dir, err);
	if (rc == 0)
		rc = bl_nix_add(tree, out_path, err);
	remove_copy(dir);
	return rc;
}

char *bl_cmd_own_machine(void)
{
	struct utsname u;
	if (uname(&u) < 0)
		return bl_xstrdup("x86_64");
	return bl_xstrdup(strcmp(u.machine, "arm64") == 0 ? "aarch64" : u.machine);
}

int bl_cmd_local_check(const struct bl_node *node, struct bl_err *err)
{
	struct utsname u;
	bl_autofree char *own = bl_cmd_own_machine();
	bl_autofree char *system = bl_xprintf("%s-linux", own);
	if (!node->plan.local)
		return 0;
	if (uname(&u) == 0 && strcmp(u.sysname, "Linux") != 0)
		return bl_err_set(err, BL_E_USAGE,
				  "this machine runs %s and no NixOS: name the host by "
				  "--target-host",
				  u.sysname);
	/* a 64-bit machine may run a 32-bit system, but none of another family */
	if (node->system && strcmp(node->system, system) != 0 &&
	    !(strcmp(own, "x86_64") == 0 && strcmp(node->system, "i686-linux") == 0) &&
	    !(strcmp(own, "aarch64") == 0 && bl_starts_with(node->system, "armv")))
		return bl_err_set(
			err, BL_E_USAGE,
			"the configuration is for %s, and this machine is %s: name the "
			"host by --target-host",
			node->system, system);
	return 0;
}

/* The agent for @system as a store path. */
static int find_agent(const char *system, char **out_path, struct bl_err *err)
{
	bl_autofree char *from = bl_agent_file(system);
	bl_autofree char *text = NULL;
	size_t len = 0;
	bl_autofd int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0) {
		bl_autofree char *what = NULL;
		bl_autofree char *remedy = NULL;
		bl_agent_missing(system, &what, &remedy);
		return bl_err_set(err, BL_E_USAGE, "%s: %s", what, remedy);
	}
	if (bl_read_all(in, AGENT_MAX, &text, &len, err) < 0)
		return bl_err_wrap(err, "%s", from);
	/* the same content has the same path: Nix need not be started to be told so */
	bl_autofree char *note = agent_note(text, len);
	char *known = note ? bl_readlink(note) : NULL;
	bl_autofree char *program = known ? bl_xprintf("%s/bin/belay-agent", known) : NULL;
	if (program && access(program, X_OK) == 0) {
		*out_path = known;
		return 0;
	}
	free(known);
	if (add_agent(text, len, out_path, err) < 0)
		return -1;
	if (note && bl_symlink_replace(*out_path, note, NULL) < 0)
		bl_log(BL_LOG_DEBUG, "the agent's path could not be noted");
	return 0;
}

void bl_cmd_addresses(struct bl_fleet *fleet, const struct bl_selection *sel)
{
	for (size_t i = 0; i < sel->n; i++)
		bl_address_choose(&fleet->nodes[sel->nodes[i] - fleet->nodes]);
}

/* Of each kind that there is, in a row. */
static int find_agents(char **out, struct bl_err *err)
{
	BL_AUTO(bl_buf) words = { 0 };
	bl_autofree char *dir = bl_xprintf("%s/agent", bl_datadir());
	DIR *d = opendir(dir);
	int rc = 0;
	for (const struct dirent *e; d && rc == 0 && (e = readdir(d));) {
		const char *dash = strchr(e->d_name, '-');
		bl_autofree char *file = bl_agent_file(e->d_name);
		bl_autofree char *path = NULL;
		if (!dash || strcmp(dash, "-linux") != 0 || access(file, R_OK) < 0)
			continue;
		rc = find_agent(e->d_name, &path, err);
		if (rc == 0)
			bl_buf_printf(&words, "%s%.*s=%s", words.len ? " " : "",
				      (int)(dash - e->d_name), e->d_name, path);
	}
	if (d)
		closedir(d);
	if (rc == 0 && words.len == 0)
		rc = bl_err_set(
			err, BL_E_USAGE,
			"no agent in %s: install belay's agents for the kinds of hosts that "
			"it is to reach",
			dir);
	if (rc == 0)
		*out = bl_buf_steal(&words);
	return rc;
}

static int agent_of(const struct bl_node *node, char **out, struct bl_err *err)
{
	if (node->system)
		return find_agent(node->system, out, err);
	if (!node->plan.local)
		return find_agents(out, err);
	bl_autofree char *machine = bl_cmd_own_machine();
	bl_autofree char *system = bl_xprintf("%s-linux", machine);
	return find_agent(system, out, err);
}

int bl_cmd_agents(struct bl_fleet *fleet, const struct bl_selection *sel, struct bl_err *err)
{
	for (size_t i = 0; i < sel->n; i++) {
		struct bl_node *node = &fleet->nodes[sel->nodes[i] - fleet->nodes];
		const struct bl_node *same = NULL;
		for (size_t k = 0; k < i && !same; k++)
			if (bl_str_eq(sel->nodes[k]->system, node->system))
				same = sel->nodes[k];
		if (same)
			bl_replace_str(&node->agent, same->agent);
		else if (agent_of(node, &node->agent, err) < 0)
			return bl_err_wrap(err, "node %s", node->name);
	}
	return 0;
}

int bl_cmd_run(const struct bl_command *cmd, const struct bl_args *args)
{
	bl_auto_sign_key struct bl_sign_key *key = NULL;
	struct bl_err err = { 0 };
	struct bl_args with = *args;
	if (args->sign_key && bl_sign_key_read(args->sign_key, &key, &err) < 0)
		return bl_cmd_fail(&err);
	with.sign = key;
	return cmd->run(&with);
}

struct bl_engine_spec bl_cmd_engine(const struct bl_args *args)
{
	return (struct bl_engine_spec){
		/* where much may be written for a while */
		.dir = bl_tmp_dir("/var/tmp"),
		.level = args->compression == BL_NOT_GIVEN ? BL_ENGINE_ADAPTS
							   : (int)args->compression,
		.memory_bytes = args->memory << 20,
		.sign = args->sign,
	};
}

int bl_cmd_history(struct bl_history **out, struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	if (bl_history_dir(&dir, err) < 0)
		return -1;
	return bl_history_open(dir, out, err);
}

char *bl_cmd_own_name(void)
{
	char name[256] = "";
	if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
		return bl_xstrdup("localhost");
	return bl_xstrdup(name);
}

char *bl_cmd_owner(void)
{
	char machine[256] = "?";
	const struct passwd *pw = getpwuid(getuid());
	if (gethostname(machine, sizeof(machine)) < 0)
		machine[0] = '\0';
	machine[sizeof(machine) - 1] = '\0';
	return bl_xprintf("%s@%s", pw ? pw->pw_name : "?", machine);
}

void bl_cmd_time(int64_t wall_ms, char out[32])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	if (!localtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		out[0] = '\0';
}

enum bl_ui_mode bl_cmd_ui_mode(const struct bl_args *args)
{
	const char *term = getenv("TERM");
	if (args->json)
		return BL_UI_JSON;
	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 ? BL_UI_TERMINAL
									  : BL_UI_PLAIN;
}
