/* SPDX-License-Identifier: MIT */
#include "cli/takeback.h"

#include <stdlib.h>
#include <string.h>

/* The hosts that go back. */
struct hosts {
	struct bl_node *nodes; /* shallow copies of the fleet's */
	const struct bl_node **list;
	struct bl_check **checks; /* of each */
	char **systems;
	unsigned *road;
	size_t n;
};

static void free_hosts(struct hosts *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->checks[i]);
		free(h->systems[i]);
	}
	free(h->nodes);
	free(h->list);
	free(h->checks);
	free(h->systems);
	free(h->road);
}

void bl_take_back_node(const struct bl_node *node, char *system, struct bl_check **checks,
		       struct bl_node *out)
{
	static char nothing[] = "";
	struct bl_plan *plan = &out->plan;
	*out = *node;
	out->out_path = system;
	out->drv_path = NULL;
	plan->units = BL_UNITS_IGNORE;
	plan->listed_units = (struct bl_strv){ 0 };
	plan->pre_activate = plan->post_rollback = nothing;
	*checks = bl_xcalloc(plan->n_checks + 1, sizeof(**checks));
	for (size_t i = 0; i < plan->n_checks; i++) {
		(*checks)[i] = plan->checks[i];
		(*checks)[i].advisory = true;
	}
	plan->checks = *checks;
}

static void collect(const struct bl_take_back *back, const struct bl_telling *t,
		    struct hosts *h)
{
	h->nodes = bl_xcalloc(back->n + 1, sizeof(*h->nodes));
	/* pointers are meant. NOLINTBEGIN(bugprone-sizeof-expression) */
	h->list = bl_xcalloc(back->n + 1, sizeof(*h->list));
	h->checks = bl_xcalloc(back->n + 1, sizeof(*h->checks));
	h->systems = bl_xcalloc(back->n + 1, sizeof(*h->systems));
	/* NOLINTEND(bugprone-sizeof-expression) */
	h->road = bl_xcalloc(back->n + 1, sizeof(*h->road));
	for (size_t i = 0; i < back->n; i++) {
		const char *old = NULL;
		enum bl_outcome outcome = bl_telling_outcome(t, back->nodes[i]->name, &old);
		if (!back->wanted[i] || outcome != BL_OUT_COMMITTED || !old)
			continue;
		h->systems[h->n] = bl_xstrdup(old);
		bl_take_back_node(back->nodes[i], h->systems[h->n], &h->checks[h->n],
				  &h->nodes[h->n]);
		h->list[h->n] = &h->nodes[h->n];
		h->road[h->n] = back->road[i];
		h->n++;
	}
}

/* All at once, but for the roads: a canary has nothing to tell any more. */
static int plan_waves(const struct hosts *h, struct bl_waves *out, struct bl_err *err)
{
	static const struct bl_rollout_settings all = { 0 };
	const struct bl_fleet fleet = { .nodes = h->nodes, .n = h->n };
	const struct bl_selection sel = { .nodes = h->list, .n = h->n };
	return bl_waves_plan(&fleet, &sel, &all, h->road, out, err);
}

static int drive(const struct bl_take_back *back, const struct hosts *h, struct bl_telling *t,
		 struct bl_history *history, const char *run, struct bl_err *err)
{
	BL_AUTO(bl_waves) waves = { 0 };
	BL_AUTO(bl_drive_report) report = { 0 };
	if (plan_waves(h, &waves, err) < 0)
		return -1;
	for (size_t i = 0; i < h->n; i++)
		if (bl_history_host_begin(history, run, h->nodes[i].name, h->nodes[i].host,
					  h->nodes[i].out_path, err) < 0)
			return -1;
	const struct bl_drive_spec spec = {
		.nodes = h->list,
		.n = h->n,
		.parallel = back->parallel,
		.waves = &waves,
		.max_failures = SIZE_MAX,
		.taking_back = true,
	};
	return bl_telling_drive(t, run, &spec, &report, err);
}

int bl_take_back(const struct bl_take_back *back, struct bl_telling *t,
		 struct bl_history *history, struct bl_err *err)
{
	struct hosts h = { 0 };
	char run[32];
	int rc = 0;
	collect(back, t, &h);
	if (h.n > 0) {
		bl_autofree char *text =
			bl_xprintf("taking back %zu committed host%s to what %s ran before",
				   h.n, h.n == 1 ? "" : "s", h.n == 1 ? "it" : "they");
		bl_telling_remark(t, text);
		rc = bl_history_run_begin(history, BL_RUN_TAKE_BACK, back->source, run, err);
		if (rc == 0) {
			rc = drive(back, &h, t, history, run, err);
			struct bl_err end = { 0 };
			int code = rc < 0 ? BL_EXIT_FAILED : bl_telling_exit_code(t);
			if (bl_history_run_end(history, run, code, &end) < 0)
				bl_cmd_fail(&end);
		}
		if (rc < 0)
			bl_err_wrap(err, "take hosts back");
	}
	free_hosts(&h);
	return rc;
}
