/* SPDX-License-Identifier: MIT */
#include "cli/build.h"

#include "cli/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "copy/builder.h"
#include "nix/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COPIES_S 10 /* seconds between two lines about them, where there is no status */
#define NAMES    5

/* Where a node's system is built. */
struct place {
	size_t builder, item;
};

struct work {
	const struct bl_build_spec *spec;
	struct bl_built *out;
	struct bl_ui *ui;
	struct bl_fleet other; /* a build host that is no node */
	struct bl_builder *builders;
	size_t n;
	struct place *places; /* one a node of the selection */
	int64_t copies_ns;
	struct bl_progress_counts copies; /* as they were told last */
};

/* ---- who builds what */

/* The node that is the build host: one of the fleet, whose settings then count, or none. */
static int find_build_host(struct work *w, const struct bl_node **out, struct bl_err *err)
{
	const char *name = w->spec->build_host;
	const struct bl_fleet *fleet = w->spec->fleet;
	for (size_t i = 0; name && i < fleet->n; i++) {
		*out = &fleet->nodes[i];
		if (strcmp((*out)->host, name) == 0 || strcmp((*out)->name, name) == 0)
			return 0;
	}
	*out = NULL;
	if (!name)
		return 0;
	if (bl_fleet_single(name, NULL, &w->other, err) < 0)
		return bl_err_wrap(err, "--build-host");
	/* building needs no root there */
	bl_strv_free(&w->other.nodes[0].elevate);
	*out = &w->other.nodes[0];
	return 0;
}

static size_t builder_for(struct work *w, const struct bl_node *host)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct bl_node *has = w->builders[i].host;
		if (has == host || (has && host && strcmp(has->host, host->host) == 0))
			return i;
	}
	w->builders = bl_xrealloc(w->builders, w->n + 1, sizeof(*w->builders));
	w->builders[w->n] = (struct bl_builder){ .host = host };
	return w->n++;
}

/* What is no derivation is fetched, which this machine does. */
static const struct bl_node *place_of(const struct bl_node *node,
				      const struct bl_node *build_host)
{
	if (!node->drv_path)
		return NULL;
	if (build_host)
		return build_host;
	return node->build_on_target ? node : NULL;
}

static void distribute(struct work *w, const struct bl_node *build_host)
{
	const struct bl_selection *sel = w->spec->sel;
	w->places = bl_xcalloc(sel->n + 1, sizeof(*w->places));
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *node = sel->nodes[i];
		const struct bl_node *host = place_of(node, build_host);
		size_t k = builder_for(w, host);
		struct bl_builder *b = &w->builders[k];
		b->items = bl_xrealloc(b->items, b->n + 1, sizeof(*b->items));
		b->items[b->n] = (struct bl_builder_item){
			.drv = node->drv_path ? node->drv_path : node->out_path,
			.out = node->out_path,
			.stays = host && strcmp(host->host, node->host) == 0,
		};
		w->places[i] = (struct place){ k, b->n++ };
	}
}

static const struct bl_builder_item *item_of(const struct work *w, size_t node)
{
	return &w->builders[w->places[node].builder].items[w->places[node].item];
}

/* ---- telling */

static const char *host_of(const struct bl_builder *b)
{
	return b->host ? b->host->name : NULL;
}

static char *log_command(const struct bl_builder *b, const char *drv)
{
	return b->host ? bl_xprintf("ssh %s nix log %s", b->host->host, drv)
		       : bl_xprintf("nix log %s", drv);
}

static void put_log(const struct bl_build *build, struct bl_buf *out)
{
	for (size_t i = 0; i < build->n_log; i++)
		bl_buf_printf(out, "%s%s", i ? "\n" : "", build->log[i]);
}

static void tell_build(const struct work *w, const struct bl_builder *b,
		       const struct bl_progress_news *news)
{
	BL_AUTO(bl_buf) log = { 0 };
	struct bl_progress_counts c = { 0 };
	bl_progress_count(&b->progress, &c);
	bool begins = news->kind == BL_PROGRESS_BUILDING;
	bool broken = news->kind == BL_PROGRESS_BROKEN;
	const struct bl_build *build = news->build;
	bl_autofree char *name = bl_progress_name(build->drv);
	bl_autofree char *next = broken ? log_command(b, build->drv) : NULL;
	put_log(build, &log);
	const struct bl_ui_build told = {
		.state = begins   ? "running"
			 : broken ? "failed"
				  : "done",
		.name = name,
		.derivation = build->drv,
		.host = host_of(b),
		.number = begins ? b->progress.started : c.built,
		.of = c.builds,
		.reason = build->reason,
		.log = broken && log.len ? bl_buf_str(&log) : NULL,
		.next = next,
	};
	bl_ui_build(w->ui, &told);
}

static void on_news(void *ctx, const struct bl_builder *b, const struct bl_progress_news *news)
{
	const struct work *w = ctx;
	if (news->kind != BL_PROGRESS_TEXT) {
		tell_build(w, b, news);
		return;
	}
	const char *host = host_of(b);
	bl_autofree char *line =
		bl_xprintf("build%s%s: %s", host ? " on " : "", host ? host : "", news->text);
	bl_ui_output(w->ui, NULL, "build", line);
}

static void tell_copies(struct work *w)
{
	BL_AUTO(bl_buf) line = { 0 };
	struct bl_progress_counts c = { 0 };
	int64_t now = bl_now_boot_ns();
	if (now - w->copies_ns < COPIES_S * BL_NS_PER_S)
		return;
	for (size_t i = 0; i < w->n; i++)
		bl_progress_count(&w->builders[i].progress, &c);
	if (c.copied == w->copies.copied && c.copied_bytes == w->copies.copied_bytes)
		return;
	bl_buf_puts(&line, "build: ");
	bl_progress_put_copies(&c, &line);
	bl_ui_output(w->ui, NULL, "build", bl_buf_str(&line));
	w->copies = c;
	w->copies_ns = now;
}

static void on_tick(void *ctx)
{
	struct work *w = ctx;
	BL_AUTO(bl_buf) line = { 0 };
	if (w->spec->mode != BL_UI_TERMINAL) {
		tell_copies(w);
		return;
	}
	bl_autofree const struct bl_progress **all = bl_xcalloc(w->n + 1, sizeof(void *));
	for (size_t i = 0; i < w->n; i++)
		all[i] = &w->builders[i].progress;
	bl_buf_puts(&line, "build: ");
	bl_progress_status(all, w->n, &line);
	bl_ui_status(w->ui, bl_ends_with(bl_buf_str(&line), ": ") ? "" : bl_buf_str(&line));
}

/* ---- what is missing */

/* What of @b's failures is why @drv was not built; NULL: none of those that are known. */
static const struct bl_build *why(const struct bl_builder *b, const char *drv)
{
	const struct bl_progress *p = &b->progress;
	BL_AUTO(bl_strv) needs = { 0 };
	if (p->n_failed > 0)
		bl_build_needs(drv, &needs);
	for (size_t i = 0; i < p->n_failed; i++)
		if (bl_strv_has(&needs, p->failed[i]->drv))
			return p->failed[i];
	return NULL;
}

static void add_missing(struct work *w, size_t i)
{
	const struct bl_builder *b = &w->builders[w->places[i].builder];
	struct bl_built *out = w->out;
	struct bl_not_built m = { .node = w->spec->sel->nodes[i] };
	const struct bl_build *cause = b->problem ? NULL : why(b, item_of(w, i)->drv);
	if (b->problem) {
		m.reason = bl_xprintf("build on %s: %s", b->host ? host_of(b) : "this machine",
				      b->problem);
		m.next = bl_xstrdup(b->remedy);
	} else if (cause) {
		bl_autofree char *name = bl_progress_name(cause->drv);
		m.reason = bl_xprintf("%s failed: %s", name, cause->reason);
		m.next = log_command(b, cause->drv);
	} else {
		m.reason = bl_xstrdup("Nix could not build it");
	}
	out->missing = bl_xrealloc(out->missing, out->n_missing + 1, sizeof(*out->missing));
	out->missing[out->n_missing++] = m;
}

/* Without what is missing, which is told. */
static void take_out_missing(struct work *w)
{
	struct bl_selection *sel = w->spec->sel;
	size_t left = 0;
	for (size_t i = 0; i < sel->n; i++) {
		w->places[left] = w->places[i];
		if (item_of(w, i)->there) {
			sel->nodes[left++] = sel->nodes[i];
			continue;
		}
		add_missing(w, i);
		const struct bl_not_built *m = &w->out->missing[w->out->n_missing - 1];
		bl_autofree char *text =
			bl_xprintf("node %s: not built: %s", m->node->name, m->reason);
		bl_ui_note(w->ui, NULL, text);
	}
	sel->n = left;
}

/* The names of everything that failed, each once. */
static void put_failed(const struct work *w, struct bl_buf *out)
{
	size_t n = 0;
	for (size_t k = 0; k < w->n; k++)
		for (size_t i = 0; i < w->builders[k].progress.n_failed; i++, n++) {
			bl_autofree char *name =
				bl_progress_name(w->builders[k].progress.failed[i]->drv);
			if (n <= NAMES)
				bl_buf_printf(out, "%s%s", n ? ", " : "",
					      n < NAMES ? name : "...");
		}
}

static int fail(const struct work *w, struct bl_err *err)
{
	BL_AUTO(bl_buf) names = { 0 };
	if (w->out->interrupted)
		return bl_err_set(err, BL_E_FAILED, "build: interrupted");
	for (size_t i = 0; i < w->n; i++) {
		const struct bl_builder *b = &w->builders[i];
		if (b->problem)
			return bl_err_set(err, BL_E_FAILED, "build on %s: %s; %s",
					  b->host ? host_of(b) : "this machine", b->problem,
					  b->remedy);
	}
	put_failed(w, &names);
	if (names.len == 0)
		return bl_err_set(err, BL_E_FAILED, "build: Nix failed, for the reason above");
	return bl_err_set(err, BL_E_FAILED, "build: %s failed", bl_buf_str(&names));
}

/* ---- the steps */

/* What came from elsewhere, or from a build of which only a part is there. */
static int root_the_rest(const struct work *w, struct bl_err *err)
{
	BL_AUTO(bl_strv) outs = { 0 };
	bl_autofree char *root = bl_xprintf("%s/root-rest", w->spec->roots);
	for (size_t i = 0; i < w->spec->sel->n; i++) {
		const struct bl_builder *b = &w->builders[w->places[i].builder];
		const struct bl_builder_item *item = item_of(w, i);
		if (!item->stays && (b->host || w->out->n_missing > 0))
			bl_strv_add(&outs, item->out);
	}
	return outs.n ? bl_build_root((const char *const *)outs.items, root, NULL, err) : 0;
}

static void mark_built_there(const struct work *w)
{
	const struct bl_fleet *fleet = w->spec->fleet;
	for (size_t i = 0; i < w->spec->sel->n; i++)
		fleet->nodes[w->spec->sel->nodes[i] - fleet->nodes].built_there =
			item_of(w, i)->stays;
}

static void flags_of(const struct bl_build_spec *spec, struct bl_strv *out)
{
	bl_strv_append(out, &spec->args->nix_build);
	bl_strv_append(out, &spec->args->nix_both);
}

/* What the nodes' scripts name of the store runs here, whoever builds the systems. */
static int build_for_scripts(const struct work *w, struct bl_err *err)
{
	const struct bl_build_spec *spec = w->spec;
	BL_AUTO(bl_strv) flags = { 0 };
	flags_of(spec, &flags);
	for (size_t i = 0; i < spec->sel->n; i++) {
		const struct bl_node *node = spec->sel->nodes[i];
		const char *const *needs = (const char *const *)node->script_needs.items;
		bl_autofree char *root = bl_xprintf("%s/root-scripts-%zu", spec->roots, i);
		if (node->script_needs.n > 0 && bl_build_root(needs, root, &flags, err) < 0)
			return bl_err_wrap(err, "node %s: what its scripts need", node->name);
	}
	return 0;
}

static int build(struct work *w, struct bl_err *err)
{
	const struct bl_build_spec *spec = w->spec;
	const struct bl_node *build_host = NULL;
	bl_autofree char *root = bl_xprintf("%s/root", spec->roots);
	if (find_build_host(w, &build_host, err) < 0)
		return -1;
	distribute(w, build_host);
	BL_AUTO(bl_strv) flags = { 0 };
	flags_of(spec, &flags);
	const struct bl_builders_spec run = {
		.builders = w->builders,
		.n = w->n,
		.parallel = spec->parallel,
		.root = root,
		.keep_going = spec->keep_going,
		.flags = &flags,
		.news = on_news,
		.tick = on_tick,
		.ctx = w,
	};
	w->copies_ns = bl_now_boot_ns();
	int rc = bl_builders_run(&run, &w->out->interrupted, err);
	bl_ui_status(w->ui, "");
	if (rc < 0)
		return -1;
	bool whole = !w->out->interrupted;
	for (size_t i = 0; i < spec->sel->n; i++)
		whole &= item_of(w, i)->there;
	if (!whole && (!spec->keep_going || w->out->interrupted))
		return fail(w, err);
	take_out_missing(w);
	if (spec->sel->n == 0)
		return fail(w, err);
	mark_built_there(w);
	return root_the_rest(w, err);
}

/* Whether every system is given as a path that is in the store. */
static bool all_there(const struct bl_selection *sel)
{
	for (size_t i = 0; i < sel->n; i++)
		if (sel->nodes[i]->drv_path || access(sel->nodes[i]->out_path, F_OK) < 0)
			return false;
	return true;
}

/* With nothing to build, the roots are made while the hosts are being reached. */
static int begin_roots(const struct bl_build_spec *spec, struct bl_built *out,
		       struct bl_err *err)
{
	BL_AUTO(bl_strv) paths = { 0 };
	bl_autofree char *root = bl_xprintf("%s/root", spec->roots);
	for (size_t i = 0; i < spec->sel->n; i++)
		bl_strv_add(&paths, spec->sel->nodes[i]->out_path);
	return bl_build_root_start((const char *const *)paths.items, root, &out->rooting, err);
}

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

static int keep_results(const struct work *w, struct bl_err *err)
{
	const struct bl_selection *sel = w->spec->sel;
	bl_autofree char *here = bl_realpath(".");
	if (!here)
		return bl_err_sys(err, errno, "--keep-result: the current folder");
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *node = sel->nodes[i];
		const char *const path[] = { node->out_path, NULL };
		bl_autofree char *link = bl_xprintf("%s/result-%s", here, node->name);
		if (node->built_there) {
			bl_autofree char *text = bl_xprintf(
				"node %s: built on the host itself, so there is no result-%s",
				node->name, node->name);
			bl_ui_note(w->ui, NULL, text);
		} else if (bl_build_root(path, link, NULL, err) < 0) {
			return bl_err_wrap(err, "--keep-result");
		}
	}
	return 0;
}

static int steps(struct work *w, struct bl_err *err)
{
	const struct bl_build_spec *spec = w->spec;
	if (bl_mkdirs(spec->roots, 0700, err) < 0 || build_for_scripts(w, err) < 0 ||
	    (all_there(spec->sel) ? begin_roots(spec, w->out, err) : build(w, err)) < 0)
		return -1;
	for (size_t i = 0; i < spec->sel->n; i++)
		if (!spec->sel->nodes[i]->built_there &&
		    looks_like_system(spec->sel->nodes[i], err) < 0)
			return -1;
	return spec->keep_result ? keep_results(w, err) : 0;
}

int bl_cmd_build(const struct bl_build_spec *spec, struct bl_built *out, struct bl_err *err)
{
	struct work w = { .spec = spec, .out = out };
	*out = (struct bl_built){ .roots = bl_xstrdup(spec->roots) };
	w.ui = bl_ui_new(spec->mode, STDOUT_FILENO, STDERR_FILENO);
	int rc = steps(&w, err);
	bl_ui_free(w.ui);
	for (size_t i = 0; i < w.n; i++) {
		free(w.builders[i].items);
		bl_builder_free(&w.builders[i]);
	}
	free(w.builders);
	free(w.places);
	bl_fleet_free(&w.other);
	return rc;
}

/* Nix names them root, root-2, root-3, ...: they hold the systems only while they are needed.
 */
static void drop_roots(const char *roots)
{
	DIR *dir = opendir(roots);
	const struct dirent *e = NULL;
	while (dir && (e = readdir(dir)))
		if (bl_starts_with(e->d_name, "root"))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

void bl_built_end(struct bl_built *built)
{
	if (built->rooting > 0)
		waitpid(built->rooting, NULL, 0);
	if (built->roots)
		drop_roots(built->roots);
	for (size_t i = 0; i < built->n_missing; i++) {
		free(built->missing[i].reason);
		free(built->missing[i].next);
	}
	free(built->missing);
	free(built->roots);
	*built = (struct bl_built){ 0 };
}

static int build_and(const struct bl_args *args, const char *name, struct bl_fleet *fleet,
		     struct bl_selection *sel,
		     int (*then)(const struct bl_args *args, struct bl_fleet *fleet,
				 const struct bl_selection *sel, struct bl_err *err),
		     struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	if (bl_history_dir(&dir, err) < 0)
		return -1;
	bl_autofree char *roots = bl_xprintf("%s/runs/%s.%d", dir, name, (int)getpid());
	const struct bl_build_spec spec = {
		.fleet = fleet,
		.sel = sel,
		.roots = roots,
		.args = args,
		.build_host = args->build_host,
		.keep_going = args->keep_going,
		.parallel = args->parallel,
		.mode = bl_cmd_ui_mode(args),
	};
	struct bl_built built = { 0 };
	int code = bl_cmd_build(&spec, &built, err);
	if (code == 0)
		code = then(args, fleet, sel, err);
	if (code < 0 && built.interrupted) {
		bl_cmd_fail(err);
		code = BL_EXIT_INTERRUPTED;
	}
	if (code == BL_EXIT_OK && built.n_missing > 0)
		code = BL_EXIT_FAILED;
	bl_built_end(&built);
	rmdir(roots);
	return code;
}

int bl_cmd_with_built(const struct bl_args *args, const char *name,
		      int (*then)(const struct bl_args *args, struct bl_fleet *fleet,
				  const struct bl_selection *sel, struct bl_err *err))
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	size_t failed = 0;
	if (bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0 ||
	    bl_cmd_evaluate(args, &source, &fleet, &sel, &failed, &err) < 0)
		return bl_cmd_fail(&err);
	bl_cmd_addresses(&fleet, &sel);
	int code = build_and(args, name, &fleet, &sel, then, &err);
	if (code < 0)
		return bl_cmd_fail(&err);
	return code == BL_EXIT_OK && failed ? BL_EXIT_FAILED : code;
}
