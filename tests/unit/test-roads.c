/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/roads.h"

static void a_destination_has_a_name(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "web1", "web1" },
		{ "root@web1", "web1" },
		{ "root@web1:2222", "web1" },
		{ "ssh://me@web1:22", "web1" },
		{ "u@dom@web1", "web1" },
		{ "[2001:db8::1]:22", "2001:db8::1" },
		{ "me@[::1]", "::1" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "", "" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *name = bl_place_name(cases[i][0]);
		assert_string_equal(name, cases[i][1]);
	}
}

static void what_ssh_says_of_a_place_is_read(void **state)
{
	(void)state;
	BL_AUTO(bl_place) p = { 0 };
	bl_place_read(&p, "user root\nhostname 10.0.0.1\r\nport 2222\nproxyusefdpass no\n"
			  "proxyjump root@a:22,b\nlocalcommand hostname x\n");
	assert_string_equal(p.hostname, "10.0.0.1");
	assert_string_equal(p.port, "2222");
	assert_int_equal(p.via.n, 2);
	assert_string_equal(p.via.items[0], "root@a:22");
	assert_string_equal(p.via.items[1], "b");
	BL_AUTO(bl_place) q = { 0 };
	bl_place_read(&q, "hostname x\nproxyjump none\nproxyjumps a");
	assert_int_equal(q.via.n, 0);
	assert_null(q.port);
}

#define PLACES_MAX 6

/* A place in a line "NAME[=HOSTNAME] [VIA...]". */
static void set_up(struct bl_place *p, const char *line)
{
	BL_AUTO(bl_strv) words = { 0 };
	bl_strv_split(&words, line, ' ');
	char *eq = strchr(words.items[0], '=');
	if (eq)
		*eq = '\0';
	p->name = bl_xstrdup(words.items[0]);
	p->hostname = bl_xstrdup(eq ? eq + 1 : words.items[0]);
	p->port = bl_xstrdup("22");
	for (size_t i = 1; i < words.n; i++)
		bl_strv_add(&p->via, words.items[i]);
}

static const struct {
	const char *places[PLACES_MAX];
	size_t n_nodes;
	const char *want;
} maps[] = {
	{ { "a", "b", "c" }, 3, "000" },
	{ { "a b", "b", "c" }, 3, "010" },
	{ { "a root@b:22", "c b", "b" }, 3, "001" },
	/* known under another name */
	{ { "a 10.0.0.2", "b=10.0.0.2", "10.0.0.2" }, 2, "01" },
	{ { "a gate", "b=10.0.0.2", "gate=10.0.0.2" }, 2, "01" },
	/* through what is no node itself */
	{ { "a gate", "b", "gate b" }, 2, "01" },
	{ { "a gate", "b", "gate" }, 2, "00" },
	/* a road behind a road goes before it */
	{ { "a b", "b c", "c" }, 3, "012" },
	{ { "c", "b c", "a b" }, 3, "210" },
	{ { "a c b", "b c", "c" }, 3, "012" },
	{ { "a b", "b", "d c", "c" }, 4, "0101" },
	/* circles end */
	{ { "a b", "b a" }, 2, "11" },
	{ { "a a", "b" }, 2, "00" },
	{ { "a nowhere", "b" }, 2, "00" },
};

static void roads_are_numbered_by_how_far_they_are(void **state)
{
	(void)state;
	for (size_t k = 0; k < BL_COUNT(maps); k++) {
		struct bl_place places[PLACES_MAX] = { 0 };
		unsigned road[PLACES_MAX];
		char is[PLACES_MAX + 1] = "";
		size_t n = 0;
		for (; n < PLACES_MAX && maps[k].places[n]; n++)
			set_up(&places[n], maps[k].places[n]);
		bl_roads_number(places, n, maps[k].n_nodes, road);
		for (size_t i = 0; i < maps[k].n_nodes; i++)
			is[i] = (char)('0' + road[i]);
		if (strcmp(is, maps[k].want) != 0)
			fail_msg("map %zu: %s, wanted %s", k, is, maps[k].want);
		for (size_t i = 0; i < n; i++)
			bl_place_free(&places[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_destination_has_a_name),
		cmocka_unit_test(what_ssh_says_of_a_place_is_read),
		cmocka_unit_test(roads_are_numbered_by_how_far_they_are),
	};
	return cmocka_run_group_tests_name("roads", tests, NULL, NULL);
}
