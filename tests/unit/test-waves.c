/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rollout/waves.h"

#define HOSTS_MAX 12

struct fixture {
	struct bl_node nodes[HOSTS_MAX];
	struct bl_fleet fleet;
	struct bl_selection sel;
	char names[HOSTS_MAX][24];
};

/* Nodes h0, h1, ...; those with an even number have the tag "even". */
static void set_up(struct fixture *f, size_t n)
{
	*f = (struct fixture){ .fleet = { .nodes = f->nodes, .n = n } };
	const struct bl_node **list = bl_xcalloc(n, sizeof(void *));
	for (size_t i = 0; i < n; i++) {
		snprintf(f->names[i], sizeof(f->names[i]), "h%zu", i);
		f->nodes[i] = (struct bl_node){ .name = f->names[i], .enable = true };
		if (i % 2 == 0)
			bl_strv_add(&f->nodes[i].tags, "even");
		list[i] = &f->nodes[i];
	}
	f->sel = (struct bl_selection){ .nodes = list, .n = n };
}

static void tear_down(struct fixture *f)
{
	for (size_t i = 0; i < f->fleet.n; i++)
		bl_strv_free(&f->nodes[i].tags);
	free(f->sel.nodes);
}

static const struct {
	size_t n;
	const char *canary; /* as on the command line */
	const char *batch;
	const char *road; /* a digit a host, NULL: none is */
	const char *want; /* the wave of each */
	bool has_canaries;
} plans[] = {
	{ 3, NULL, NULL, NULL, "000", false },
	{ 1, NULL, NULL, NULL, "0", false },
	{ 5, NULL, "2", NULL, "00112", false },
	{ 5, NULL, "9", NULL, "00000", false },
	/* a part is of all, and rounded up */
	{ 8, NULL, "25%", NULL, "00112233", false },
	{ 5, NULL, "25%", NULL, "00112", false },
	{ 5, NULL, "1%", NULL, "01234", false },
	{ 5, NULL, "100%", NULL, "00000", false },
	{ 4, "1", NULL, NULL, "0111", true },
	{ 4, "2", "1", NULL, "0012", true },
	{ 5, "1", "40%", NULL, "01122", true },
	{ 3, "0", NULL, NULL, "000", false },
	/* as many canaries as there are hosts, and more */
	{ 2, "2", NULL, NULL, "00", true },
	{ 2, "9", "1", NULL, "00", true },
	/* by name, glob and tag */
	{ 4, "h2", NULL, NULL, "1101", true },
	{ 4, "h2,h1", "1", NULL, "1002", true },
	{ 4, "@even", NULL, NULL, "0101", true },
	{ 4, "h*,!h3", NULL, NULL, "0001", true },
	/* roads come last, alone, in their order, and are no canaries */
	{ 4, NULL, NULL, "0100", "0100", false },
	{ 4, NULL, NULL, "2010", "2010", false },
	{ 4, NULL, NULL, "1100", "1200", false },
	{ 4, "1", NULL, "1000", "2011", true },
	{ 4, "h0", NULL, "1000", "1000", false },
	{ 4, "h0,h1", "1", "1000", "3012", true },
	{ 4, NULL, "1", "0010", "0132", false },
	{ 2, NULL, NULL, "11", "01", false },
};

static void hosts_go_where_the_settings_say(void **state)
{
	(void)state;
	for (size_t k = 0; k < BL_COUNT(plans); k++) {
		struct fixture f;
		struct bl_rollout_settings s = { 0 };
		struct bl_err err = { 0 };
		BL_AUTO(bl_waves) w = { 0 };
		unsigned road[HOSTS_MAX];
		char is[HOSTS_MAX + 1] = "";
		set_up(&f, plans[k].n);
		if (plans[k].canary)
			assert_works(bl_canary_parse(plans[k].canary, &s, &err), &err);
		if (plans[k].batch)
			assert_works(bl_batch_parse(plans[k].batch, &s, &err), &err);
		for (size_t i = 0; plans[k].road && i < plans[k].n; i++)
			road[i] = (unsigned)(plans[k].road[i] - '0');
		assert_works(bl_waves_plan(&f.fleet, &f.sel, &s, plans[k].road ? road : NULL,
					   &w, &err),
			     &err);
		size_t last = 0;
		for (size_t i = 0; i < plans[k].n; i++) {
			is[i] = (char)('0' + w.of[i]);
			last = w.of[i] > last ? w.of[i] : last;
		}
		if (strcmp(is, plans[k].want) != 0 || w.n != last + 1 ||
		    w.waves[0].canary != plans[k].has_canaries)
			fail_msg("plan %zu: %s, %zu waves, wanted %s", k, is, w.n,
				 plans[k].want);
		for (size_t i = 1; i < w.n; i++)
			assert_false(w.waves[i].canary);
		bl_rollout_settings_free(&s);
		tear_down(&f);
	}
}

static void a_canary_that_no_node_of_the_fleet_is_is_told(void **state)
{
	(void)state;
	struct fixture f;
	struct bl_rollout_settings s = { 0 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_waves) w = { 0 };
	set_up(&f, 3);
	assert_works(bl_canary_parse("h7", &s, &err), &err);
	assert_fails(bl_waves_plan(&f.fleet, &f.sel, &s, NULL, &w, &err), &err, BL_E_USAGE,
		     "canary: no node matches 'h7'; did you mean 'h0'?");
	/* one that is not selected now is none, and no mistake */
	f.sel.n = 1;
	assert_works(bl_canary_parse("h2", &s, &err), &err);
	assert_works(bl_waves_plan(&f.fleet, &f.sel, &s, NULL, &w, &err), &err);
	assert_int_equal(w.n, 1);
	assert_false(w.waves[0].canary);
	bl_rollout_settings_free(&s);
	tear_down(&f);
}

static void an_atomic_wave_waits_for_its_slowest_host(void **state)
{
	(void)state;
	static char none[] = "";
	static char some[] = "true";
	struct bl_node fast = { .success_timeout_s = 20,
				.switch_timeout_s = 60,
				.plan = { .strategy = BL_STRATEGY_LIVE,
					  .boot_ms = 300000,
					  .pre_activate = none } };
	struct bl_node slow = fast;
	const struct bl_node *nodes[] = { &fast, &slow, &fast };
	static const size_t wave_of[] = { 0, 0, 1 };
	assert_int_equal(bl_node_window_ms(&fast), 20000);
	assert_int_equal(bl_node_forward_ms(&fast), 70000);
	slow.switch_timeout_s = 600;
	assert_int_equal(bl_waves_hold_ms(nodes, 3, wave_of, 0, 10), 630000);
	assert_int_equal(bl_waves_hold_ms(nodes, 3, NULL, 0, 10), 630000);
	/* one behind the other */
	assert_int_equal(bl_waves_hold_ms(nodes, 3, wave_of, 0, 1), 2 * 630000);
	assert_int_equal(bl_waves_hold_ms(nodes, 3, NULL, 0, 2), 2 * 630000);
	/* alone it waits for nobody */
	assert_int_equal(bl_waves_hold_ms(nodes, 3, wave_of, 1, 10), 0);
	slow = fast;
	slow.plan.pre_activate = some;
	assert_int_equal(bl_node_forward_ms(&slow), 140000);
	slow = fast;
	slow.plan.strategy = BL_STRATEGY_AUTO;
	assert_int_equal(bl_node_forward_ms(&slow), 70000);
	slow.plan.reboot_allowed = true;
	assert_int_equal(bl_node_forward_ms(&slow), 70000 + 180000 + 300000);
	slow.plan.strategy = BL_STRATEGY_LIVE_BOOT;
	assert_int_equal(bl_node_forward_ms(&slow), 70000 + 180000 + 300000 + 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_go_where_the_settings_say),
		cmocka_unit_test(a_canary_that_no_node_of_the_fleet_is_is_told),
		cmocka_unit_test(an_atomic_wave_waits_for_its_slowest_host),
	};
	return cmocka_run_group_tests_name("waves", tests, NULL, NULL);
}
