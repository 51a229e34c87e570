/* SPDX-License-Identifier: MIT */
/* `belay log`: everything that was said of one host in one run. */
#include "cli/cmd.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_option options[] = {
	{ "run", 0, BL_OPT_STRING, "ID", "of this run (default: the host's last one)",
	  offsetof(struct bl_args, run), 0, 0 },
	BL_COMMON_OPTIONS,
};

struct printing {
	bool json;
	const char *host;
	const char *run;
};

static void print_line(void *ctx, int64_t wall_ms, const char *stream, const char *text)
{
	const struct printing *p = ctx;
	char when[32];
	if (p->json) {
		/* what is not UTF-8 is made visible, so that the line stays JSON */
		bl_autofree char *shown = bl_visible(text);
		json_t *line = json_string(shown);
		json_t *o = json_pack("{s:s,s:s,s:s,s:I,s:s,s:o}", "event", "log", "run",
				      p->run, "host", p->host, "wallMs", (json_int_t)wall_ms,
				      "stream", stream, "line", line ? line : json_string("?"));
		bl_autofree char *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
		if (out)
			puts(out);
		json_decref(o);
		return;
	}
	bl_autofree char *shown = bl_visible(text);
	bl_cmd_time(wall_ms, when);
	printf("%s %-10s %s\n", when, stream, shown);
}

static int find_entry(struct bl_history *h, const struct bl_args *args,
		      struct bl_history_host **out, size_t *n, struct bl_err *err)
{
	const char *host = args->on.items[0];
	if (bl_history_hosts(h, args->run, host, args->run ? 1000000 : 1, out, n, err) < 0)
		return -1;
	for (size_t i = 0; i < *n; i++)
		if (strcmp((*out)[i].host, host) == 0)
			return (int)i;
	return bl_err_set(err, BL_E_USAGE, "%s was in no %s; `belay history` lists them", host,
			  args->run ? "such run" : "run yet");
}

static void print_head(const struct bl_history_host *e)
{
	char when[32];
	bl_cmd_time(e->started_ms, when);
	printf("run %s, host %s (%s), begun %s\n", e->run, e->host, e->target, when);
	if (e->system_old && *e->system_old)
		printf("from %s\n", e->system_old);
	printf("to   %s\n", e->system_new);
	if (e->epoch)
		printf("transaction %llu on the host: /var/lib/belay/txn/%llu there\n",
		       (unsigned long long)e->epoch, (unsigned long long)e->epoch);
	bl_autofree char *reason = bl_visible(e->reason ? e->reason : "");
	printf("outcome: %s%s%s\n\n",
	       e->outcome ? e->outcome : "not known; `belay status` asks the host",
	       *reason ? ": " : "", reason);
}

static int run_log(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	struct bl_history *h = NULL;
	struct bl_history_host *entries = NULL;
	size_t n = 0;
	if (args->on.n != 1) {
		err.code = BL_E_USAGE;
		snprintf(err.msg, sizeof(err.msg), "log wants one host; see belay log --help");
		return bl_cmd_fail(&err);
	}
	if (bl_cmd_history(&h, &err) < 0)
		return bl_cmd_fail(&err);
	int i = find_entry(h, args, &entries, &n, &err);
	int rc = i < 0 ? -1 : 0;
	if (rc == 0) {
		struct printing p = { .json = args->json,
				      .host = entries[i].host,
				      .run = entries[i].run };
		if (!args->json)
			print_head(&entries[i]);
		rc = bl_history_lines(h, entries[i].run, entries[i].host, print_line, &p, &err);
	}
	bl_history_hosts_free(entries, n);
	bl_history_close(h);
	return rc < 0 ? bl_cmd_fail(&err) : BL_EXIT_OK;
}

const struct bl_command bl_cmd_log = {
	.name = "log",
	.words = "HOST",
	.summary = "Print the log of a host's last deployment",
	.details = "\nWhat belay did, what the activation printed, what the agent decided.\n",
	.options = options,
	.words_max = 1,
	.run = run_log,
};
