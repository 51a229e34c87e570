/* SPDX-License-Identifier: MIT */
/* `belay push` and `belay copy`: closures to hosts, and nothing is activated there. */
#include "cli/build.h"
#include "cli/cmd.h"

#include "base/file.h"
#include "copy/deliver.h"
#include "store/path.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct telling {
	struct bl_ui *ui;
	const struct bl_delivery *items;
	size_t failed;
};

static const char *name_of(const struct telling *t, size_t i)
{
	return t->items[i].node->name;
}

static void on_phase(void *ctx, size_t i, const char *phase)
{
	const struct telling *t = ctx;
	bl_ui_phase(t->ui, name_of(t, i), phase, NULL);
}

static void on_line(void *ctx, size_t i, const char *line)
{
	const struct telling *t = ctx;
	bl_ui_output(t->ui, name_of(t, i), "copy", line);
}

static void on_progress(void *ctx, size_t i, const struct bl_copy_stats *stats)
{
	const struct telling *t = ctx;
	bl_ui_copying(t->ui, name_of(t, i), stats);
}

static void on_done(void *ctx, size_t i, const struct bl_copy_stats *stats, const char *what,
		    const char *remedy)
{
	struct telling *t = ctx;
	BL_AUTO(bl_buf) line = { 0 };
	struct bl_ui_result out = { .outcome = "failed",
				    .headline = "Not copied! Nothing was activated",
				    .reason = what,
				    .next = remedy };
	if (what) {
		t->failed++;
		bl_ui_result(t->ui, name_of(t, i), &out);
		return;
	}
	if (stats->sent_paths == 0) {
		bl_buf_printf(&line, "All %llu paths were there",
			      (unsigned long long)stats->paths);
	} else {
		bl_buf_puts(&line, "Copied ");
		bl_copy_stats_sum(stats, &line);
	}
	out.outcome = "copied";
	out.copied = stats;
	out.headline = bl_buf_str(&line);
	bl_ui_result(t->ui, name_of(t, i), &out);
}

static void on_tick(void *ctx)
{
	const struct telling *t = ctx;
	bl_ui_tick(t->ui);
}

static int deliver(const struct bl_args *args, const struct bl_delivery *items, size_t n,
		   struct bl_err *err)
{
	bl_autofree const char **names = bl_xcalloc(n + 1, sizeof(*names));
	struct telling t = { .items = items };
	bool interrupted = false;
	const struct bl_deliver_spec spec = {
		.items = items,
		.n = n,
		.parallel = (unsigned)args->parallel,
		.engine = bl_cmd_engine(args),
		.phase = on_phase,
		.line = on_line,
		.progress = on_progress,
		.done = on_done,
		.tick = on_tick,
		.ctx = &t,
	};
	for (size_t i = 0; i < n; i++)
		names[i] = items[i].node->name;
	t.ui = bl_ui_new(bl_cmd_ui_mode(args), STDOUT_FILENO, STDERR_FILENO);
	bl_ui_begin(t.ui, "copy", names, n);
	int code = bl_deliver(&spec, &interrupted, err);
	if (code == 0)
		code = interrupted ? BL_EXIT_INTERRUPTED : t.failed ? BL_EXIT_FAILED : 0;
	bl_ui_end(t.ui, code < 0 ? BL_EXIT_FAILED : code);
	bl_ui_free(t.ui);
	return code;
}

/* ---- push */

static int push_built(const struct bl_args *args, struct bl_fleet *fleet,
		      const struct bl_selection *sel, struct bl_err *err)
{
	bl_autofree struct bl_delivery *items = bl_xcalloc(sel->n + 1, sizeof(*items));
	bl_autofree struct bl_strv *tops = bl_xcalloc(sel->n + 1, sizeof(*tops));
	size_t n = 0;
	if (bl_cmd_agents(fleet, sel, err) < 0)
		return -1;
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *node = sel->nodes[i];
		/* it is there: built there, or its store is this machine's */
		if (node->built_there || node->plan.local)
			continue;
		bl_strv_add(&tops[n], node->out_path);
		items[n] = (struct bl_delivery){ node, &tops[n], node->out_path };
		n++;
	}
	int code = deliver(args, items, n, err);
	for (size_t i = 0; i < n; i++)
		bl_strv_free(&tops[i]);
	return code;
}

static int run_push(const struct bl_args *args)
{
	return bl_cmd_with_built(args, "push", push_built);
}

static const struct bl_option push_options[] = {
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	BL_BUILD_OPTIONS,
	BL_COPY_OPTIONS,
	BL_PARALLEL_OPTION,
	{ "keep-going", 'k', BL_OPT_FLAG, NULL, "push the systems that can be built",
	  offsetof(struct bl_args, keep_going), 0, 0 },
	{ "build-host", 0, BL_OPT_STRING, "HOST",
	  "build the systems there, and bring them here", offsetof(struct bl_args, build_host),
	  0, 0 },
	BL_COMMON_OPTIONS,
};

const struct bl_command bl_cmd_push = {
	.name = "push",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Build, and bring each host its system without activating it",
	.details = "\nA deployment that follows has nothing left to copy.\n",
	.options = push_options,
	.words_max = 10000,
	.run = run_push,
};

/* ---- copy */

/* The store path that @word is, is in or leads to, such as ./result; NULL: it is not there. */
static char *store_path_of(const char *word)
{
	static const char store[] = BL_STORE_DIR "/";
	bl_autofree char *link = bl_readlink(word);
	char *path = NULL;
	/* one that is a link itself is meant, not what it leads to */
	if (bl_starts_with(word, store))
		path = access(word, F_OK) == 0 || link ? bl_xstrdup(word) : NULL;
	else if (link && bl_starts_with(link, store))
		path = BL_STEAL(link);
	else
		path = bl_realpath(word);
	if (path && bl_starts_with(path, store)) {
		char *end = strchr(path + sizeof(store) - 1, '/');
		if (end)
			*end = '\0';
	}
	return path;
}

static int find_paths(const struct bl_strv *words, struct bl_strv *out, struct bl_err *err)
{
	if (words->n == 0)
		return bl_err_set(err, BL_E_USAGE, "name a store path, like ./result");
	for (size_t i = 0; i < words->n; i++) {
		bl_autofree char *path = store_path_of(words->items[i]);
		if (!path)
			return bl_err_set(err, BL_E_USAGE, "'%s' is not there",
					  words->items[i]);
		if (bl_store_path_check(path, "what is to be copied", err) < 0)
			return -1;
		bl_strv_add_take(out, BL_STEAL(path));
	}
	return 0;
}

static int find_host(const char *name, struct bl_fleet *out, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	if (bl_fleet_single(name, NULL, out, err) < 0 || bl_select(out, &all, &sel, err) < 0 ||
	    bl_cmd_agents(out, &sel, err) < 0)
		return -1;
	/* nothing is kept or activated there: Nix may take it from that user */
	out->nodes[0].may_stay_user = true;
	return 0;
}

static int copy(const struct bl_args *args, const struct bl_strv *hosts,
		struct bl_fleet *fleets, struct bl_err *err)
{
	BL_AUTO(bl_strv) paths = { 0 };
	bl_autofree struct bl_delivery *items = bl_xcalloc(hosts->n + 1, sizeof(*items));
	if (find_paths(&args->on, &paths, err) < 0)
		return -1;
	for (size_t i = 0; i < hosts->n; i++) {
		if (find_host(hosts->items[i], &fleets[i], err) < 0)
			return bl_err_wrap(err, "--to");
		items[i] = (struct bl_delivery){ &fleets[i].nodes[0], &paths, "" };
	}
	return deliver(args, items, hosts->n, err);
}

static int run_copy(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_strv) hosts = { 0 };
	for (size_t i = 0; i < args->to.n; i++)
		bl_strv_split(&hosts, args->to.items[i], ',');
	bl_autofree struct bl_fleet *fleets = bl_xcalloc(hosts.n + 1, sizeof(*fleets));
	int code = hosts.n ? copy(args, &hosts, fleets, &err)
			   : bl_err_set(&err, BL_E_USAGE, "name a host: --to [user@]host");
	for (size_t i = 0; i < hosts.n; i++)
		bl_fleet_free(&fleets[i]);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

static const struct bl_option copy_options[] = {
	{ "to", 0, BL_OPT_LIST, "HOST,...", "the hosts, as ssh knows them",
	  offsetof(struct bl_args, to), 0, 0 },
	BL_COPY_OPTIONS,
	BL_PARALLEL_OPTION,
	BL_COMMON_OPTIONS,
};

const struct bl_command bl_cmd_copy = {
	.name = "copy",
	.words = "STOREPATH...",
	.summary = "Copy the closures of store paths to hosts",
	.details =
		"\nWhat a host has is not sent, and what is nearly what it has is told by that.\n"
		"Nothing keeps the paths there from the garbage collector.\n",
	.options = copy_options,
	.words_max = 10000,
	.run = run_copy,
};
