/* SPDX-License-Identifier: MIT */
/* The fleet document, and selections whose words come from the document itself. */
#include "fleet/select.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The agent reads what is told to it, and finds the same. */
static void check_plan(const struct bl_plan *plan)
{
	BL_AUTO(bl_kv) told = { 0 };
	BL_AUTO(bl_kv) again = { 0 };
	BL_AUTO(bl_plan) there = { 0 };
	struct bl_err err = { 0 };
	assert((plan->units == BL_UNITS_LISTED) == (plan->listed_units.n > 0));
	for (size_t i = 0; i < plan->n_checks; i++) {
		const struct bl_check *c = &plan->checks[i];
		assert(c->name[0] && c->what && c->contains && c->timeout_ms >= 1000);
	}
	bl_plan_tell(plan, &told);
	assert(bl_plan_read(&told, &there, &err) == 0);
	bl_plan_tell(&there, &again);
	assert(told.n == again.n);
	for (size_t i = 0; i < told.n; i++)
		assert(strcmp(told.items[i].key, again.items[i].key) == 0 &&
		       strcmp(told.items[i].value, again.items[i].value) == 0);
}

/* What a parsed fleet promises to all who read it. */
static void check(const struct bl_fleet *fleet)
{
	assert(fleet->n > 0);
	const struct bl_rollout_settings *r = &fleet->rollout;
	assert(!r->canary || (r->canary[0] && !r->canary_n));
	assert(!r->batch_n || !r->batch_percent);
	assert(r->batch_percent <= 100 && r->on_failure < BL_ON_FAILURE_NKINDS);
	for (size_t i = 0; i < fleet->n; i++) {
		const struct bl_node *node = &fleet->nodes[i];
		assert(node->host[0] && node->host[0] != '-' && node->name[0] != '-');
		assert(!strchr(node->name, '/'));
		assert(bl_starts_with(node->out_path, "/nix/store/"));
		assert(!node->drv_path || bl_ends_with(node->drv_path, ".drv"));
		assert(node->success_timeout_s >= 1 && node->switch_timeout_s >= 1);
		check_plan(&node->plan);
	}
}

static void select_by(const struct bl_fleet *fleet, const char *prefix, const char *word)
{
	BL_AUTO(bl_strv) words = { 0 };
	BL_AUTO(bl_selection) s = { 0 };
	struct bl_err err = { 0 };
	if (word)
		bl_strv_addf(&words, "%s%s", prefix, word);
	if (bl_select(fleet, &words, &s, &err) < 0)
		assert(s.n == 0 && err.code == BL_E_USAGE && err.msg[0]);
	else
		assert(s.n > 0 && s.n <= fleet->n);
}

/* What Nix answers in two parts: settings, and systems for a fleet that is there. */
static void parse_parts(const char *text, size_t size)
{
	static const char settings[] = "{\"belayFleet\":1,\"nodes\":{\"a\":{\"host\":\"a\"}}}";
	BL_AUTO(bl_fleet) alone = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	if (bl_fleet_parse_settings(text, size, "fuzz", &alone, &err) < 0)
		assert(alone.n == 0 && err.code == BL_E_INPUT);
	assert(bl_fleet_parse_settings(settings, sizeof(settings) - 1, "", &fleet, &err) == 0);
	if (bl_fleet_parse_systems(text, size, "fuzz", &fleet, &err) < 0)
		assert(err.code == BL_E_INPUT && bl_starts_with(err.msg, "fuzz: "));
	const char *path = fleet.nodes[0].out_path;
	assert(!path || bl_starts_with(path, "/nix/store/"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	parse_parts((const char *)data, size);
	if (bl_fleet_parse((const char *)data, size, "fuzz", &fleet, &err) < 0) {
		assert(fleet.n == 0 && err.code == BL_E_INPUT);
		assert(bl_starts_with(err.msg, "fuzz: ") && !strpbrk(err.msg, "\033\n"));
		return 0;
	}
	check(&fleet);
	select_by(&fleet, "", NULL);
	select_by(&fleet, "", fleet.nodes[0].name);
	select_by(&fleet, "!", fleet.nodes[0].name);
	select_by(&fleet, "", fleet.nodes[0].host);
	if (fleet.rollout.canary)
		select_by(&fleet, "", fleet.rollout.canary);
	if (fleet.nodes[0].tags.n > 0)
		select_by(&fleet, "@", fleet.nodes[0].tags.items[0]);
	return 0;
}
