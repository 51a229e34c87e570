/* SPDX-License-Identifier: MIT */
/* `belay history`: the last runs, or those of one host. */
#include "cli/cmd.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_option options[] = {
	{ "max", 'n', BL_OPT_NUMBER, "N", "at most so many (default 20)",
	  offsetof(struct bl_args, max), 1, 1000000 },
	BL_COMMON_OPTIONS,
};

static void print_host(const struct bl_history_host *e, bool json)
{
	char when[32];
	if (json) {
		json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s?,s:s?,s:I,s:I,s:I}", "event",
				      "history", "run", e->run, "host", e->host, "system",
				      e->system_new, "outcome", e->outcome, "reason", e->reason,
				      "epoch", (json_int_t)e->epoch, "startedMs",
				      (json_int_t)e->started_ms, "wave", (json_int_t)e->wave);
		bl_autofree char *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
		if (out)
			puts(out);
		json_decref(o);
		return;
	}
	bl_autofree char *reason = bl_visible(e->reason ? e->reason : "");
	bl_cmd_time(e->started_ms, when);
	printf("%s  %s  %-16s %s%s%s\n", e->run, when, e->host,
	       e->outcome ? e->outcome : "open", *reason ? ": " : "", reason);
}

static int run_history(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	struct bl_history *h = NULL;
	struct bl_history_run *runs = NULL;
	size_t n = 0;
	int rc = -1;
	if (bl_cmd_history(&h, &err) < 0)
		return bl_cmd_fail(&err);
	if (args->on.n == 1) {
		struct bl_history_host *hosts = NULL;
		rc = bl_history_hosts(h, NULL, args->on.items[0], args->max, &hosts, &n, &err);
		for (size_t i = 0; i < n; i++)
			print_host(&hosts[i], args->json);
		bl_history_hosts_free(hosts, n);
	} else {
		rc = bl_history_runs(h, args->max, &runs, &n, &err);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			struct bl_history_host *hosts = NULL;
			size_t m = 0;
			rc = bl_history_hosts(h, runs[i].id, NULL, 1000000, &hosts, &m, &err);
			/* newest first they come; within a run the fleet's order reads better
			 */
			for (size_t k = m; k-- > 0;)
				print_host(&hosts[k], args->json);
			bl_history_hosts_free(hosts, m);
		}
		bl_history_runs_free(runs, n);
	}
	bl_history_close(h);
	return rc < 0 ? bl_cmd_fail(&err) : BL_EXIT_OK;
}

const struct bl_command bl_cmd_history_ = {
	.name = "history",
	.words = "[HOST]",
	.summary = "List the last deployments and how they ended",
	.details = "",
	.options = options,
	.words_max = 1,
	.run = run_history,
};
