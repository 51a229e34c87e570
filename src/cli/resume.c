/* SPDX-License-Identifier: MIT */
/* `belay resume`: takes up the transactions of a run whose deployer died, with their keys. */
#include "cli/deploy.h"

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
	size_t n;
};

static void free_open(struct open_hosts *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->nodes[i].out_path);
	free(o->nodes);
	free(o->list);
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

static int collect(struct bl_history *h, const char *run, const struct bl_selection *sel,
		   struct open_hosts *out, struct bl_err *err)
{
	struct bl_history_host *entries = NULL;
	size_t n = 0;
	if (bl_history_hosts(h, run, NULL, 1000000, &entries, &n, err) < 0)
		return -1;
	out->nodes = bl_xcalloc(sel->n, sizeof(*out->nodes));
	/* pointers are meant. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	out->list = bl_xcalloc(sel->n, sizeof(*out->list));
	out->resume = bl_xcalloc(sel->n, sizeof(*out->resume));
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_history_host *e = entry_of(entries, n, sel->nodes[i]->name);
		struct bl_err no_key = { 0 };
		if (!e || e->outcome || !e->epoch)
			continue;
		struct bl_drive_resume *r = &out->resume[out->n];
		r->epoch = e->epoch;
		if (bl_history_key_load(h, run, e->host, r->key, BL_KEY_LEN, &no_key) < 0)
			fprintf(stderr, "belay: %s: %s: it can be looked at, not confirmed\n",
				e->host, no_key.msg);
		out->nodes[out->n] = *sel->nodes[i];
		out->nodes[out->n].out_path = bl_xstrdup(e->system_new);
		out->list[out->n] = &out->nodes[out->n];
		out->n++;
	}
	bl_history_hosts_free(entries, n);
	return 0;
}

static int take_up(const struct bl_args *args, struct bl_history *h, const char *run,
		   const struct open_hosts *o, struct bl_err *err)
{
	bl_autofree char *agent = NULL;
	if (bl_cmd_agent(o->nodes[0].system, &agent, err) < 0)
		return -1;
	const struct bl_drive_spec hosts = {
		.nodes = o->list,
		.n = o->n,
		.parallel = o->n,
		.keep_going = true,
		.agent = agent,
		.resume = o->resume,
	};
	return bl_telling_drive(args, h, run, &hosts, err);
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
	int code = -1;
	if ((run || last_open_run(h, &run, &err) == 0) &&
	    collect(h, run, &sel, &open, &err) == 0) {
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

const struct bl_command bl_cmd_resume = {
	.name = "resume",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Take up a run that was cut off: confirm in time, or tell the end",
	.details =
		"\nA host that still waits is confirmed; one that went back is reported so.\n",
	.options = options,
	.words_max = 10000,
	.run = run_resume,
};
