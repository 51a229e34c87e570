/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fleet/select.h"

/* web-1 web-2 (prod, web), web-3 (web, not enabled), db1 (prod, db), mail (not enabled, old) */
static void make_fleet(struct bl_fleet *fleet)
{
	static const struct {
		const char *name;
		bool enable;
		const char *tags;
	} nodes[] = {
		{ "web-1", true, "prod,web" }, { "web-2", true, "prod,web" },
		{ "web-3", false, "web" },     { "db1", true, "prod,db" },
		{ "mail", false, "old" },
	};
	fleet->nodes = bl_xcalloc(BL_COUNT(nodes), sizeof(*fleet->nodes));
	for (size_t i = 0; i < BL_COUNT(nodes); i++) {
		fleet->nodes[i].name = bl_xstrdup(nodes[i].name);
		fleet->nodes[i].enable = nodes[i].enable;
		bl_strv_split(&fleet->nodes[i].tags, nodes[i].tags, ',');
	}
	fleet->n = BL_COUNT(nodes);
}

/* @words are separated by blanks; gives the names selected, or the message. */
static char *selected(const struct bl_fleet *fleet, const char *words)
{
	BL_AUTO(bl_strv) list = { 0 };
	BL_AUTO(bl_selection) s = { 0 };
	struct bl_err err = { 0 };
	bl_strv_split(&list, words, ' ');
	if (bl_select(fleet, &list, &s, &err) < 0) {
		assert_int_equal(err.code, BL_E_USAGE);
		assert_null(s.nodes);
		return bl_xstrdup(err.msg);
	}
	struct bl_buf b = { 0 };
	for (size_t i = 0; i < s.n; i++)
		bl_buf_printf(&b, "%s%s", i ? " " : "", s.nodes[i]->name);
	return bl_buf_steal(&b);
}

static void check(const char *const (*cases)[2], size_t n)
{
	BL_AUTO(bl_fleet) fleet = { 0 };
	make_fleet(&fleet);
	for (size_t i = 0; i < n; i++) {
		bl_autofree char *got = selected(&fleet, cases[i][0]);
		if (strcmp(got, cases[i][1]) != 0)
			fail_msg("'%s' gives '%s', not '%s'", cases[i][0], got, cases[i][1]);
	}
}

static void words_select_nodes_in_the_order_of_the_fleet(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "", "web-1 web-2 db1" },        { "db1 web-1", "web-1 db1" },
		{ "db1,web-1,db1", "web-1 db1" }, { "web-*", "web-1 web-2" },
		{ "web-[2-3] db?", "web-2 db1" }, { "*", "web-1 web-2 db1" },
		{ "@prod", "web-1 web-2 db1" },   { "@db,web-1", "web-1 db1" },
		{ "@w*", "web-1 web-2" },
	};
	check(cases, BL_COUNT(cases));
}

static void a_disabled_node_is_taken_only_by_its_very_name(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "mail", "mail" },
		{ "web-3,@prod", "web-1 web-2 web-3 db1" },
		{ "mai?",
		  "'mai?' matches only nodes that are not enabled; set enable = true or give "
		  "a node's full name" },
		{ "@old",
		  "'@old' matches only nodes that are not enabled; set enable = true or give "
		  "a node's full name" },
	};
	check(cases, BL_COUNT(cases));
}

static void an_exclamation_mark_takes_away_wherever_it_stands(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "!db1", "web-1 web-2" },
		{ "!@web", "db1" },
		{ "@prod !web-1", "web-2 db1" },
		{ "!web-1 @prod", "web-2 db1" },
		{ "@prod,!web-*,!mail", "db1" },
		{ "mail !db1", "mail" },
		{ "web-1 !web-1", "'web-1,!web-1' leaves no node; take less away with '!'" },
		{ "!*", "'!*' leaves no node; take less away with '!'" },
	};
	check(cases, BL_COUNT(cases));
}

static void a_word_that_matches_nothing_is_told_with_the_nearest_name(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "wbe-1", "no node matches 'wbe-1'; did you mean 'web-1'?" },
		{ "WEB-1", "no node matches 'WEB-1'; did you mean 'web-1'?" },
		{ "web1", "no node matches 'web1'; did you mean 'web-1'?" },
		{ "db", "no node matches 'db'; did you mean 'db1'?" },
		{ "!maol", "no node matches '!maol'; did you mean '!mail'?" },
		{ "@prd", "no node matches '@prd'; did you mean '@prod'?" },
		{ "!@bd1", "no node matches '!@bd1'; there are: @prod, @web, @db, @old" },
		{ "nothing-like-it",
		  "no node matches 'nothing-like-it'; there are: web-1, web-2, "
		  "web-3, db1, mail" },
		{ "x*", "no node matches 'x*'; there are: web-1, web-2, web-3, db1, mail" },
		{ "@", "a name is missing behind '@'; write @NAME" },
		{ "web-1,!", "a name is missing behind '!'; write !NAME" },
		{ "!@", "a name is missing behind '!@'; write !@NAME" },
		{ ",", "the selection is empty; leave it out to select every enabled node" },
		{ "\033[2J",
		  "no node matches '\\x1b[2J'; there are: web-1, web-2, web-3, db1, mail" },
	};
	check(cases, BL_COUNT(cases));
}

static void an_empty_word_never_means_the_whole_fleet(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_strv) words = { 0 };
	struct bl_selection s = { 0 };
	struct bl_err err = { 0 };
	make_fleet(&fleet);
	bl_strv_add(&words, "");
	assert_fails(bl_select(&fleet, &words, &s, &err), &err, BL_E_USAGE,
		     "the selection is empty; leave it out to select every enabled node");
}

static void a_fleet_where_nothing_is_enabled_says_so(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	make_fleet(&fleet);
	for (size_t i = 0; i < fleet.n; i++)
		fleet.nodes[i].enable = false;
	bl_autofree char *got = selected(&fleet, "");
	assert_string_equal(got, "no node of the fleet is enabled; set enable = true or give a "
				 "node's full name");
}

static void a_fleet_without_tags_says_so(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	make_fleet(&fleet);
	for (size_t i = 0; i < fleet.n; i++)
		bl_strv_free(&fleet.nodes[i].tags);
	bl_autofree char *got = selected(&fleet, "@web");
	assert_string_equal(got, "no node matches '@web'; no node has a tag");
}

static void a_word_of_100_kib_is_answered_in_one_short_line(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	make_fleet(&fleet);
	bl_autofree char *word = bl_xcalloc(100 * 1024 + 1, 1);
	memset(word, '*', 100 * 1024 - 1);
	word[100 * 1024 - 1] = 'x';
	bl_autofree char *got = selected(&fleet, word);
	assert_true(strlen(got) < 200);
	assert_true(strncmp(got, "no node matches '***", 20) == 0);
}

static void of_a_large_fleet_only_a_few_names_are_listed(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	fleet.n = 10000;
	fleet.nodes = bl_xcalloc(fleet.n, sizeof(*fleet.nodes));
	for (size_t i = 0; i < fleet.n; i++)
		fleet.nodes[i].name = bl_xprintf("n%zu", i);
	bl_autofree char *got = selected(&fleet, "something-else");
	assert_string_equal(got,
			    "no node matches 'something-else'; there are: n0, n1, n2, n3, n4, "
			    "n5, n6, n7, ...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_select_nodes_in_the_order_of_the_fleet),
		cmocka_unit_test(a_disabled_node_is_taken_only_by_its_very_name),
		cmocka_unit_test(an_exclamation_mark_takes_away_wherever_it_stands),
		cmocka_unit_test(a_word_that_matches_nothing_is_told_with_the_nearest_name),
		cmocka_unit_test(an_empty_word_never_means_the_whole_fleet),
		cmocka_unit_test(a_fleet_where_nothing_is_enabled_says_so),
		cmocka_unit_test(a_fleet_without_tags_says_so),
		cmocka_unit_test(a_word_of_100_kib_is_answered_in_one_short_line),
		cmocka_unit_test(of_a_large_fleet_only_a_few_names_are_listed),
	};
	return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
