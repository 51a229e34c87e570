/* SPDX-License-Identifier: MIT */
/* `belay resume`: takes up the transactions of a run whose deployer died, with their keys. */
#include "cli/takeback.h"
#include "cli/telling.h"

#include "base/clock.h"
#include "base/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_BACK 100 /* runs */

static const struct bl_option options[] = {
	{ "run", 0, BL_OPT_STRING, "ID", "of this run (default: the last open one)",
	  offsetof(struct bl_args, run), 0, 0 },
	BL_FLEET_OPTIONS,
	BL_COMMON_OPTIONS,
};

/* Nodes with an open end in the run, as they were deployed then. */
struct open_hosts {
	struct bl_node *nodes; /* shallow copies of the fleet's; out_path is our own */
	const struct bl_node **list;
	struct bl_drive_resume *resume;
	struct bl_check **checks; /* of hosts that are being taken back */
	struct bl_waves waves;
	size_t n;
	bool taking_back;
	bool atomic;
};

static void free_open(struct open_hosts *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->nodes[i].out_path);
		free(o->checks[i]);
	}
	free(o->nodes);
	free(o->list);
	free(o->checks);
	bl_waves_free(&o->waves);
	if (o->resume)
		explicit_bzero(o->resume, o->n * sizeof(*o->resume));
	free(o->resume);
}

static const struct bl_history_host *entry_of(const struct bl_history_host *e, size_t n,
					      const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(e[i].host, name) == 0)
			return &e[i];
	return NULL;
}

/* Whether it has ended, and not with the new system. */
static bool ended_badly(const struct bl_history_host *e)
{
	return e->outcome && strcmp(e->outcome, bl_outcome_name(BL_OUT_COMMITTED)) != 0 &&
	       strcmp(e->outcome, bl_outcome_name(BL_OUT_UNCHANGED)) != 0;
}

/*
 * What has become of an atomic wave: once its confirmation had begun, it is finished. Before
 * that nobody is confirmed, and nobody will be where one of its hosts has failed or was never
 * begun.
 */
static struct bl_wave wave_of(const struct bl_history_host *entries, size_t n, uint32_t wave)
{
	struct bl_wave w = { .begun = true };
	for (size_t i = 0; i < n; i++) {
		const struct bl_history_host *e = &entries[i];
		if (e->wave != wave || !e->atomic)
			continue;
		w.decided |= e->decided;
		w.spoilt |= ended_badly(e) || (!e->outcome && !e->epoch);
	}
	return w;
}

static void add_host(struct open_hosts *out, const struct bl_node *node,
		     const struct bl_history_host *e, struct bl_history *h, const char *run)
{
	struct bl_drive_resume *r = &out->resume[out->n];
	struct bl_err no_key = { 0 };
	char *system = bl_xstrdup(e->system_new);
	r->epoch = e->epoch;
	if (bl_history_key_load(h, run, e->host, r->key, BL_KEY_LEN, &no_key) < 0)
		fprintf(stderr, "belay: %s: %s: it can be looked at, not confirmed\n", e->host,
			no_key.msg);
	out->nodes[out->n] = *node;
	if (out->taking_back)
		bl_take_back_node(node, system, &out->checks[out->n], &out->nodes[out->n]);
	out->nodes[out->n].out_path = system;
	out->list[out->n] = &out->nodes[out->n];
	out->waves.of[out->n] = e->wave ? e->wave - 1 : 0;
	out->atomic |= e->atomic;
	out->n++;
}

static void collect_waves(struct open_hosts *out, const struct bl_history_host *entries,
			  size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].wave > out->waves.n)
			out->waves.n = entries[i].wave;
	if (out->waves.n == 0)
		out->waves.n = 1;
	out->waves.waves = bl_xcalloc(out->waves.n, sizeof(*out->waves.waves));
	for (size_t i = 0; i < out->waves.n; i++)
		out->waves.waves[i] = wave_of(entries, n, (uint32_t)i + 1);
}

static int collect(struct bl_history *h, const char *run, const struct bl_selection *sel,
		   struct open_hosts *out, struct bl_err *err)
{
	struct bl_history_host *entries = NULL;
	size_t n = 0;
	if (bl_history_hosts(h, run, NULL, 1000000, &entries, &n, err) < 0)
		return -1;
	out->nodes = bl_xcalloc(sel->n, sizeof(*out->nodes));
	/* pointers are meant. NOLINTBEGIN(bugprone-sizeof-expression) */
	out->list = bl_xcalloc(sel->n, sizeof(*out->list));
	out->checks = bl_xcalloc(sel->n, sizeof(*out->checks));
	/* NOLINTEND(bugprone-sizeof-expression) */
	out->resume = bl_xcalloc(sel->n, sizeof(*out->resume));
	out->waves.of = bl_xcalloc(sel->n, sizeof(*out->waves.of));
	collect_waves(out, entries, n);
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_history_host *e = entry_of(entries, n, sel->nodes[i]->name);
		if (e && !e->outcome && e->epoch)
			add_host(out, sel->nodes[i], e, h, run);
	}
	bl_history_hosts_free(entries, n);
	return 0;
}

/* In which state the deployer left an atomic wave. */
static void tell_wave(struct bl_telling *t, const struct open_hosts *o)
{
	for (size_t w = 0; o->atomic && w < o->waves.n; w++) {
		BL_AUTO(bl_buf) names = { 0 };
		const struct bl_wave *wave = &o->waves.waves[w];
		for (size_t i = 0; i < o->n; i++)
			if (o->waves.of[i] == w)
				bl_buf_printf(&names, "%s%s", names.len ? ", " : "",
					      o->nodes[i].name);
		if (names.len == 0)
			continue;
		bl_autofree char *text = bl_xprintf(
			"wave %zu %s: %s", w + 1,
			wave->decided
				? "was left while it was being confirmed, and may be split; still open"
			: wave->spoilt
				? "was not complete, and so none of it is confirmed; goes back"
				: "was left before it was confirmed; it is when all of these can be",
			bl_buf_str(&names));
		bl_telling_remark(t, text);
	}
}

static int take_up(const struct bl_args *args, struct bl_history *h, const char *run,
		   struct open_hosts *o, struct bl_err *err)
{
	BL_AUTO(bl_drive_report) report = { 0 };
	const struct bl_drive_spec hosts = {
		.nodes = o->list,
		.n = o->n,
		.parallel = o->n,
		.waves = &o->waves,
		.max_failures = SIZE_MAX,
		.atomic = o->atomic,
		.taking_back = o->taking_back,
		.resume = o->resume,
	};
	struct bl_telling *t = bl_telling_new(args, h);
	tell_wave(t, o);
	int code = bl_telling_drive(t, run, &hosts, &report, err);
	if (code == 0)
		code = bl_telling_exit_code(t);
	bl_telling_end(t, code < 0 ? BL_EXIT_FAILED : code);
	return code;
}

/* Whether @run takes hosts back: then the systems that it brings are old ones. */
static int find_command(struct bl_history *h, const char *run, bool *out, struct bl_err *err)
{
	struct bl_history_run *runs = NULL;
	size_t n = 0;
	if (bl_history_runs(h, SIZE_MAX, &runs, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (strcmp(runs[i].id, run) == 0)
			*out = strcmp(runs[i].command, BL_RUN_TAKE_BACK) == 0;
	bl_history_runs_free(runs, n);
	return 0;
}

/* The newest run that has an open end; the newest of all when none has. */
static int last_open_run(struct bl_history *h, char **out, struct bl_err *err)
{
	struct bl_history_run *runs = NULL;
	size_t n = 0;
	size_t found = 0;
	if (bl_history_runs(h, LOOK_BACK, &runs, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && !found; i++) {
		struct bl_history_host *hosts = NULL;
		size_t m = 0;
		if (bl_history_hosts(h, runs[i].id, NULL, 1000000, &hosts, &m, err) < 0)
			break;
		for (size_t k = 0; k < m; k++)
			if (!hosts[k].outcome && hosts[k].epoch)
				found = i + 1;
		bl_history_hosts_free(hosts, m);
	}
	if (n > 0)
		*out = bl_xstrdup(runs[found ? found - 1 : 0].id);
	bl_history_runs_free(runs, n);
	return n > 0 ? 0 : bl_err_set(err, BL_E_USAGE, "there was no run yet");
}

static int run_resume(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	struct bl_history *h = NULL;
	struct open_hosts open = { 0 };
	bl_autofree char *run = args->run ? bl_xstrdup(args->run) : NULL;
	if (bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0 || bl_cmd_history(&h, &err) < 0)
		return bl_cmd_fail(&err);
	bl_cmd_addresses(&fleet, &sel);
	int code = -1;
	if ((run || last_open_run(h, &run, &err) == 0) &&
	    find_command(h, run, &open.taking_back, &err) == 0 &&
	    bl_cmd_agents(&fleet, &sel, &err) == 0 && collect(h, run, &sel, &open, &err) == 0) {
		if (open.n == 0) {
			fprintf(stderr,
				"belay: run %s has no open transaction on these hosts\n", run);
			code = BL_EXIT_OK;
		} else {
			code = take_up(args, h, run, &open, &err);
		}
	}
	struct bl_err end = { 0 };
	if (code >= 0 && open.n && bl_history_run_end(h, run, code, &end) < 0)
		bl_cmd_fail(&end);
	free_open(&open);
	bl_history_close(h);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

/* ---- confirm: the same for the host that it is run on, by whoever has logged in anew */

/* The newest transaction of this machine that a deployment on it has left open. */
static int find_own(struct bl_history *h, const char *own, struct bl_history_host **out,
		    size_t *out_n, const struct bl_history_host **out_entry, struct bl_err *err)
{
	struct bl_history_run *runs = NULL;
	size_t n = 0;
	if (bl_history_runs(h, LOOK_BACK, &runs, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && !*out_entry; i++) {
		bl_history_hosts_free(*out, *out_n);
		*out = NULL;
		*out_n = 0;
		if (bl_history_hosts(h, runs[i].id, NULL, 1000000, out, out_n, err) < 0)
			break;
		for (size_t k = 0; k < *out_n; k++)
			if (!(*out)[k].outcome && (*out)[k].epoch &&
			    strcmp((*out)[k].target, own) == 0)
				*out_entry = &(*out)[k];
	}
	bl_history_runs_free(runs, n);
	return *out_entry
		       ? 0
		       : bl_err_set(err, BL_E_USAGE,
				    "nothing on this host waits for a confirmation, as far as "
				    "this user's history tells; belay history shows it");
}

/* The host decides; but what it will refuse can be said at once. */
static void warn_of_old_login(int64_t deployed_ms)
{
	static const char remedy[] =
		"log in anew from where you reach this host, and run it there";
	int64_t began_ns = 0;
	if (bl_session_start(getpid(), &began_ns, NULL) < 0) {
		fprintf(stderr,
			"note: this is no login over ssh, or a screen or tmux of an older one; where "
			"one is needed, %s\n",
			remedy);
		return;
	}
	int64_t began_ms = bl_now_wall_ms() - (bl_now_boot_ns() - began_ns) / BL_NS_PER_MS;
	if (began_ms < deployed_ms)
		fprintf(stderr,
			"note: this login began before the deployment did, and shows nothing: %s\n",
			remedy);
}

static int confirm(const struct bl_args *args, struct bl_history *h,
		   const struct bl_history_host *entry, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	struct open_hosts open = { 0 };
	int code = -1;
	warn_of_old_login(entry->started_ms);
	if (bl_fleet_single(entry->target, NULL, &fleet, err) < 0)
		return -1;
	bl_replace_str(&fleet.nodes[0].name, entry->host);
	fleet.nodes[0].plan.local = true;
	if (bl_select(&fleet, &all, &sel, err) == 0 && bl_cmd_agents(&fleet, &sel, err) == 0 &&
	    collect(h, entry->run, &sel, &open, err) == 0)
		code = take_up(args, h, entry->run, &open, err);
	free_open(&open);
	return code;
}

static int run_confirm(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	struct bl_history *h = NULL;
	struct bl_history_host *hosts = NULL;
	const struct bl_history_host *entry = NULL;
	size_t n = 0;
	bl_autofree char *own = bl_cmd_own_name();
	int code = -1;
	if (bl_cmd_history(&h, &err) < 0)
		return bl_cmd_fail(&err);
	if (find_own(h, own, &hosts, &n, &entry, &err) == 0)
		code = confirm(args, h, entry, &err);
	bl_history_hosts_free(hosts, n);
	bl_history_close(h);
	return code < 0 ? bl_cmd_fail(&err) : code;
}

static const struct bl_option confirm_options[] = { BL_COMMON_OPTIONS };

const struct bl_command bl_cmd_confirm = {
	.name = "confirm",
	.words = "",
	.summary = "Confirm what a switch did on this host, from a new login",
	.details =
		"\nA deployment that is run on the host itself cannot tell whether the host can\n"
		"still be reached. Whoever logs in anew can, and says so by this.\n",
	.options = confirm_options,
	.words_max = 0,
	.run = run_confirm,
};

const struct bl_command bl_cmd_resume = {
	.name = "resume",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Take up a run that was cut off: confirm, or tell the end",
	.details =
		"\nA host that still waits is confirmed; one that went back is reported so.\n",
	.options = options,
	.words_max = 10000,
	.run = run_resume,
};
