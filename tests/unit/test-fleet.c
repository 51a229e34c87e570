/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fleet/fleet.h"

#define HASH "0123456789abcdfghijklmnpqrsvwxyz"
#define OUT  "/nix/store/" HASH "-nixos-system-web1-24.05"
#define TOP  "\"toplevel\":{\"drvPath\":null,\"path\":\"" OUT "\"}"
#define HOST "\"host\":\"root@web1\""

/* A document with one node; @settings come behind host and toplevel. */
static char *with(const char *settings)
{
	return bl_xprintf("{\"belayFleet\":1,\"nodes\":{\"web1\":{" HOST "," TOP "%s%s}}}",
			  *settings ? "," : "", settings);
}

static int parse(const char *text, struct bl_fleet *out, struct bl_err *err)
{
	return bl_fleet_parse(text, strlen(text), "f.json", out, err);
}

static void every_setting_of_a_node_is_read(void **state)
{
	(void)state;
	static const char text[] =
		"{\"belayFleet\":1,\"nodes\":{\"web1\":{\"enable\":false,\"host\":\"root@web1\","
		"\"toplevel\":{\"drvPath\":\"/nix/store/" HASH "-s.drv\",\"path\":\"" OUT "\"},"
		"\"system\":\"x86_64-linux\",\"successTimeout\":21,\"switchTimeout\":86400,"
		"\"ignoreFailingSystemdUnits\":true,\"privilegeEscalationCommand\":[\"run0\",\"-n\"],"
		"\"hasFastConnection\":true,\"substituteOnTarget\":true,"
		"\"addresses\":[\"10.0.0.5\",\"fd00::5%eth0\"],\"tags\":[\"web\",\"eu.1\"],"
		"\"sshOptions\":[\"Port=2222\",\"User deploy\"],\"strategy\":\"live+boot\","
		"\"reboot\":\"allowed\",\"rollbackReboot\":\"always\",\"bootTimeout\":86400,\"preActivate\":\"a\\nb\","
		"\"postRollback\":\"c\",\"preparationPhases\":[{\"name\":\"z\",\"script\":\"d\\ne\"},"
		"{\"script\":\"\",\"name\":\"a.1\"}],\"postDeployScript\":\"f\","
		"\"scriptNeeds\":[\"/nix/store/" HASH "-s.drv!bin\"]}}}";
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(text, &fleet, &err), &err);
	assert_int_equal(fleet.n, 1);
	const struct bl_node *n = &fleet.nodes[0];
	assert_string_equal(n->name, "web1");
	assert_false(n->enable);
	assert_string_equal(n->host, "root@web1");
	assert_string_equal(n->drv_path, "/nix/store/" HASH "-s.drv");
	assert_string_equal(n->out_path, OUT);
	assert_string_equal(n->system, "x86_64-linux");
	assert_int_equal(n->success_timeout_s, 21);
	assert_int_equal(n->switch_timeout_s, 86400);
	assert_int_equal(n->plan.units, BL_UNITS_IGNORE);
	assert_int_equal(n->elevate.n, 2);
	assert_string_equal(n->elevate.items[0], "run0");
	assert_true(n->substitute_on_target);
	assert_int_equal(n->addresses.n, 2);
	assert_string_equal(n->addresses.items[1], "fd00::5%eth0");
	assert_string_equal(n->tags.items[1], "eu.1");
	assert_int_equal(n->ssh_options.n, 2);
	assert_string_equal(n->ssh_options.items[1], "User deploy");
	assert_int_equal(n->plan.strategy, BL_STRATEGY_LIVE_BOOT);
	assert_true(n->plan.reboot_allowed);
	assert_int_equal(n->plan.rollback_reboot, BL_RB_REBOOT_ALWAYS);
	assert_int_equal(n->plan.boot_ms, 86400000);
	assert_string_equal(n->plan.pre_activate, "a\nb");
	assert_string_equal(n->plan.post_rollback, "c");
	assert_int_equal(n->script_needs.n, 1);
	assert_string_equal(n->script_needs.items[0], "/nix/store/" HASH "-s.drv!bin");
	assert_int_equal(n->n_phases, 2);
	assert_string_equal(n->phases[0].name, "z");
	assert_string_equal(n->phases[0].script, "d\ne");
	assert_string_equal(n->phases[1].name, "a.1");
	assert_string_equal(n->phases[1].script, "");
	assert_string_equal(n->post_deploy, "f");
}

static void units_are_read_and_the_older_option_means_that_none_counts(void **state)
{
	(void)state;
	static const struct {
		const char *settings;
		enum bl_units_policy want;
		size_t ignored, listed;
	} cases[] = {
		{ "\"units\":{}", BL_UNITS_NEW_FAILURES, 0, 0 },
		{ "\"units\":{\"policy\":\"strict\",\"ignore\":[\"a@b-c.service\"]}",
		  BL_UNITS_STRICT, 1, 0 },
		{ "\"units\":{\"listed\":[\"dev-a\\\\x2db.mount\",\"b:c_d.timer\"],\"policy\":\"listed\"}",
		  BL_UNITS_LISTED, 0, 2 },
		{ "\"ignoreFailingSystemdUnits\":true,\"units\":{\"policy\":\"new-failures\"}",
		  BL_UNITS_IGNORE, 0, 0 },
		{ "\"ignoreFailingSystemdUnits\":false,\"units\":{\"policy\":\"strict\"}",
		  BL_UNITS_STRICT, 0, 0 },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *text = with(cases[i].settings);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		const struct bl_plan *plan = &fleet.nodes[0].plan;
		assert_int_equal(plan->units, cases[i].want);
		assert_int_equal(plan->ignore_units.n, cases[i].ignored);
		assert_int_equal(plan->listed_units.n, cases[i].listed);
	}
}

static void every_type_of_check_is_read(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		enum bl_check_type type;
		const char *what, *contains;
		uint32_t port, status;
		bool on_deployer, advisory;
	} cases[] = {
		{ "\"type\":\"unit\",\"unit\":\"a.service\"", .type = BL_CHECK_UNIT,
		  .what = "a.service" },
		{ "\"port\":65535,\"type\":\"tcp\"", .type = BL_CHECK_TCP, .what = "127.0.0.1",
		  .port = 65535 },
		{ "\"host\":\"fe80::1%eth0\",\"port\":1,\"type\":\"tcp\",\"where\":\"deployer\"",
		  .type = BL_CHECK_TCP, .what = "fe80::1%eth0", .port = 1,
		  .on_deployer = true },
		{ "\"type\":\"http\",\"url\":\"http://[::1]:8080/a?b\"", .type = BL_CHECK_HTTP,
		  .what = "http://[::1]:8080/a?b" },
		{ "\"type\":\"http\",\"url\":\"https://a\",\"status\":404,\"contains\":\"x\\ny\"",
		  .type = BL_CHECK_HTTP, .what = "https://a", .status = 404,
		  .contains = "x\ny" },
		{ "\"type\":\"http\",\"url\":\"http://a\",\"status\":null,\"contains\":null",
		  .type = BL_CHECK_HTTP, .what = "http://a" },
		{ "\"type\":\"command\",\"command\":\"a | b\\nc\",\"required\":false",
		  .type = BL_CHECK_COMMAND, .what = "a | b\nc", .advisory = true },
		{ "\"type\":\"dns\",\"lookup\":\"example.org\"", .type = BL_CHECK_DNS,
		  .what = "example.org" },
		{ "\"type\":\"route\"", .type = BL_CHECK_ROUTE, .what = "" },
		{ "\"type\":\"file\",\"path\":\"/a b\",\"contains\":\"\"",
		  .type = BL_CHECK_FILE, .what = "/a b" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *settings =
			bl_xprintf("\"checks\":[{\"name\":\"c.1\",%s}]", cases[i].json);
		bl_autofree char *text = with(settings);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		assert_int_equal(fleet.nodes[0].plan.n_checks, 1);
		const struct bl_check *c = &fleet.nodes[0].plan.checks[0];
		assert_string_equal(c->name, "c.1");
		assert_int_equal(c->type, cases[i].type);
		assert_string_equal(c->what, cases[i].what);
		assert_string_equal(c->contains, cases[i].contains ? cases[i].contains : "");
		assert_int_equal(c->port, cases[i].port);
		assert_int_equal(c->status, cases[i].status);
		assert_int_equal(c->on_deployer, cases[i].on_deployer);
		assert_int_equal(c->advisory, cases[i].advisory);
		assert_int_equal(c->timeout_ms, 10000);
		assert_int_equal(c->retries, 3);
		assert_int_equal(c->hold_ms, 0);
	}
}

static void checks_stay_in_order_and_have_their_times_in_milliseconds(void **state)
{
	(void)state;
	bl_autofree char *text = with(
		"\"checks\":[{\"name\":\"b\",\"type\":\"route\",\"timeout\":86400,\"retries\":0,"
		"\"hold\":86400,\"required\":true,\"where\":\"target\"},"
		"{\"name\":\"a\",\"type\":\"route\",\"hold\":0,\"retries\":1000}]");
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(text, &fleet, &err), &err);
	const struct bl_plan *plan = &fleet.nodes[0].plan;
	assert_int_equal(plan->n_checks, 2);
	assert_string_equal(plan->checks[0].name, "b");
	assert_int_equal(plan->checks[0].timeout_ms, 86400000);
	assert_int_equal(plan->checks[0].hold_ms, 86400000);
	assert_int_equal(plan->checks[0].retries, 0);
	assert_false(plan->checks[0].advisory);
	assert_string_equal(plan->checks[1].name, "a");
	assert_int_equal(plan->checks[1].hold_ms, 0);
	assert_int_equal(plan->checks[1].retries, 1000);
}

static void what_is_left_out_gets_its_documented_default(void **state)
{
	(void)state;
	bl_autofree char *text = with("\"system\":null");
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(text, &fleet, &err), &err);
	const struct bl_node *n = &fleet.nodes[0];
	assert_true(n->enable);
	assert_null(n->drv_path);
	assert_null(n->system);
	assert_int_equal(n->success_timeout_s, 20);
	assert_int_equal(n->switch_timeout_s, 60);
	assert_int_equal(n->plan.strategy, BL_STRATEGY_AUTO);
	assert_false(n->plan.reboot_allowed);
	assert_int_equal(n->plan.boot_ms, 300000);
	assert_int_equal(n->plan.units, BL_UNITS_NEW_FAILURES);
	assert_int_equal(n->plan.ignore_units.n, 0);
	assert_int_equal(n->plan.listed_units.n, 0);
	assert_string_equal(n->plan.pre_activate, "");
	assert_string_equal(n->plan.post_rollback, "");
	assert_int_equal(n->plan.n_checks, 0);
	assert_int_equal(n->n_phases, 0);
	assert_null(n->post_deploy);
	assert_int_equal(n->elevate.n, 2);
	assert_string_equal(n->elevate.items[0], "sudo");
	assert_string_equal(n->elevate.items[1], "-n");
	assert_true(n->substitute_on_target);
	assert_int_equal(n->tags.n, 0);
	assert_int_equal(n->ssh_options.n, 0);
}

static void a_fast_connection_turns_substitution_off_unless_it_is_asked_for(void **state)
{
	(void)state;
	static const struct {
		const char *settings;
		bool want;
	} cases[] = {
		{ "\"hasFastConnection\":true", false },
		{ "\"hasFastConnection\":false", true },
		{ "\"hasFastConnection\":true,\"substituteOnTarget\":true", true },
		{ "\"substituteOnTarget\":false,\"hasFastConnection\":false", false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *text = with(cases[i].settings);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		assert_int_equal(fleet.nodes[0].substitute_on_target, cases[i].want);
	}
}

static void a_system_is_built_here_unless_the_target_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *settings;
		bool want;
	} cases[] = { { "", false },
		      { "\"buildOn\":\"deployer\"", false },
		      { "\"buildOn\":\"target\"", true } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *text = with(cases[i].settings);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		assert_int_equal(fleet.nodes[0].build_on_target, cases[i].want);
	}
}

/* A document with these notes. */
static int parse_notes(const char *notes, struct bl_fleet *out, struct bl_err *err)
{
	bl_autofree char *text = bl_xprintf(
		"{\"belayFleet\":1,\"notes\":%s,\"nodes\":{\"web1\":{" HOST "," TOP "}}}",
		notes);
	return parse(text, out, err);
}

/* A JSON list of @n notes. */
static char *many_notes(size_t n)
{
	struct bl_buf b = { 0 };
	bl_buf_puts(&b, "[\"n\"");
	for (size_t i = 1; i < n; i++)
		bl_buf_puts(&b, ",\"n\"");
	bl_buf_puts(&b, "]");
	return bl_buf_steal(&b);
}

static void notes_are_read_a_line_each_and_a_thousand_at_most(void **state)
{
	(void)state;
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse_notes("[\"a: not supported\",\"\u00fc\"]", &fleet, &err), &err);
	assert_int_equal(fleet.notes.n, 2);
	assert_string_equal(fleet.notes.items[0], "a: not supported");
	bl_autofree char *of_node = with("\"notes\":[\"x\",\"y z\"]");
	BL_AUTO(bl_fleet) own = { 0 };
	assert_works(parse(of_node, &own, &err), &err);
	assert_int_equal(own.notes.n, 2);
	assert_string_equal(own.notes.items[1], "node web1: y z");
	bl_autofree char *most = many_notes(1000);
	BL_AUTO(bl_fleet) full = { 0 };
	assert_works(parse_notes(most, &full, &err), &err);
	assert_int_equal(full.notes.n, 1000);
	bl_autofree char *more = many_notes(1001);
	const char *const bad[] = {
		"3", "\"a\"", "{}", "[3]", "[\"\"]", "[\"a\\nb\"]", "[\"\\u001b\"]", more,
	};
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		struct bl_fleet none = { 0 };
		assert_int_equal(parse_notes(bad[i], &none, &err), -1);
		assert_non_null(strstr(err.msg, "f.json: 'notes' is "));
		assert_non_null(strstr(err.msg, "it must be a list of at most 1000 texts"));
		assert_null(none.notes.items);
	}
}

static void nodes_stay_in_the_order_of_the_document(void **state)
{
	(void)state;
	static const char text[] = "{\"nodes\":{\"z\":{" HOST "," TOP "},\"a\":{" HOST "," TOP
				   "},\"m\":{" HOST "," TOP "}},\"belayFleet\":1}";
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(text, &fleet, &err), &err);
	assert_int_equal(fleet.n, 3);
	assert_string_equal(fleet.nodes[0].name, "z");
	assert_string_equal(fleet.nodes[1].name, "a");
	assert_string_equal(fleet.nodes[2].name, "m");
}

#define VERSIONS "this belay and the Nix library that wrote the file are of different versions"

static void a_document_that_is_not_a_fleet_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{ "",
		  "f.json: line 1, column 0: not the JSON wanted: '[' or '{' expected near end of "
		  "file" },
		{ "[]", "f.json: is not an object with 'belayFleet' and 'nodes'" },
		{ "{}",
		  "f.json: has no 'belayFleet'; it is not the fleet that belay's Nix library "
		  "makes" },
		{ "{\"belayFleet\":2,\"nodes\":{}}",
		  "f.json: 'belayFleet' is 2; it must be 1: " VERSIONS },
		{ "{\"belayFleet\":\"1\",\"nodes\":{}}",
		  "f.json: 'belayFleet' is \"1\"; it must be 1: " VERSIONS },
		{ "{\"belayFleet\":1.0,\"nodes\":{}}",
		  "f.json: 'belayFleet' is 1.0; it must be 1: " VERSIONS },
		{ "{\"belayFleet\":1}",
		  "f.json: 'nodes' must be an object with a node for each name" },
		{ "{\"belayFleet\":1,\"nodes\":[]}",
		  "f.json: 'nodes' must be an object with a node for each name" },
		{ "{\"belayFleet\":1,\"nodes\":{}}",
		  "f.json: the fleet has no nodes; write at least one, like "
		  "nodes.web1 = { host = ...; toplevel = ...; }" },
		{ "{\"belayFleet\":1,\"nodes\":{},\"hosts\":{}}",
		  "f.json: unknown key 'hosts'; " VERSIONS },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":[]}}",
		  "f.json: node a: is a list; it must be an object with its settings" },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" TOP "}}}",
		  "f.json: node a: has no 'host'; " VERSIONS },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST "}}}",
		  "f.json: node a: has no 'toplevel' with a 'path'; " VERSIONS },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST ",\"toplevel\":\"x\"}}}",
		  "f.json: node a: 'toplevel' is \"x\"; it must be an object with drvPath and path" },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST ",\"toplevel\":{}}}}",
		  "f.json: node a: has no 'toplevel' with a 'path'; " VERSIONS },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST "," TOP "},\"a\":{" HOST "," TOP
		  "}}}",
		  "f.json: line 1, column 158: not the JSON wanted: duplicate object key near '\"a\"'" },
		{ "{\"belayFleet\":1} x",
		  "f.json: line 1, column 18: not the JSON wanted: end of file expected near 'x'" },
		{ "{\"belayFleet\":\n\033[2J}",
		  "f.json: line 2, column 1: not the JSON wanted: invalid token near '\\x1b'" },
		{ "[[[[[[[[[", "f.json: is nested deeper than 8 levels" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_fails(parse(cases[i].text, &fleet, &err), &err, BL_E_INPUT,
			     cases[i].want);
		assert_null(fleet.nodes);
	}
}

/* A document with this object `rollout`. */
static int parse_rollout(const char *rollout, struct bl_fleet *out, struct bl_err *err)
{
	bl_autofree char *text = bl_xprintf(
		"{\"belayFleet\":1,\"rollout\":%s,\"nodes\":{\"web1\":{" HOST "," TOP "}}}",
		rollout);
	return parse(text, out, err);
}

static void a_rollout_is_read_in_all_its_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *canary;
		struct bl_rollout_settings want;
	} cases[] = {
		{ "{}", NULL, { 0 } },
		{ "{\"canary\":null,\"soak\":0,\"batch\":null,\"maxFailures\":0,\"onFailure\":\"stop\",\"atomic\":false}",
		  NULL,
		  { 0 } },
		{ "{\"canary\":3}", NULL, { .canary_n = 3 } },
		{ "{\"canary\":\"3\"}", "3", { 0 } },
		{ "{\"canary\":\"@db,!web-*\",\"soak\":86400}",
		  "@db,!web-*",
		  { .soak_s = 86400 } },
		{ "{\"batch\":10000}", NULL, { .batch_n = 10000 } },
		{ "{\"batch\":\"1%\"}", NULL, { .batch_percent = 1 } },
		{ "{\"batch\":\"100%\",\"maxFailures\":10000}",
		  NULL,
		  { .batch_percent = 100, .max_failures = 10000 } },
		{ "{\"onFailure\":\"rollback-batch\"}",
		  NULL,
		  { .on_failure = BL_ON_FAILURE_BATCH } },
		{ "{\"onFailure\":\"rollback-all\",\"atomic\":true}",
		  NULL,
		  { .on_failure = BL_ON_FAILURE_ALL, .atomic = true } },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		const struct bl_rollout_settings *want = &cases[i].want;
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse_rollout(cases[i].text, &fleet, &err), &err);
		const struct bl_rollout_settings *is = &fleet.rollout;
		if (is->canary_n != want->canary_n || !bl_str_eq(is->canary, cases[i].canary) ||
		    is->soak_s != want->soak_s || is->batch_n != want->batch_n ||
		    is->batch_percent != want->batch_percent ||
		    is->max_failures != want->max_failures ||
		    is->on_failure != want->on_failure || is->atomic != want->atomic)
			fail_msg("%s", cases[i].text);
	}
}

#define A_CANARY                                                                                   \
	"it must be null, a number of hosts up to 10000, or a selection like \"web1\", \"web-*\" " \
	"or \"@tag\""
#define A_BATCH \
	"it must be null, a number of hosts from 1 to 10000, or a part of them like \"25%\""

static void a_bad_rollout_is_told_with_what_is_wanted(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{ "3", "f.json: 'rollout' is 3; it must be an object with its settings" },
		{ "null", "f.json: 'rollout' is null; it must be an object with its settings" },
		{ "{\"wave\":1}", "f.json: rollout: unknown key 'wave'; " VERSIONS },
		{ "{\"canary\":10001}", "f.json: rollout: 'canary' is 10001; " A_CANARY },
		{ "{\"canary\":-1}", "f.json: rollout: 'canary' is -1; " A_CANARY },
		{ "{\"canary\":\"\"}", "f.json: rollout: 'canary' is \"\"; " A_CANARY },
		{ "{\"canary\":\"a\\u001b\"}",
		  "f.json: rollout: 'canary' is \"a\\u001B\"; " A_CANARY },
		{ "{\"canary\":1.0}", "f.json: rollout: 'canary' is 1.0; " A_CANARY },
		{ "{\"batch\":0}", "f.json: rollout: 'batch' is 0; " A_BATCH },
		{ "{\"batch\":\"0%\"}", "f.json: rollout: 'batch' is \"0%\"; " A_BATCH },
		{ "{\"batch\":\"101%\"}", "f.json: rollout: 'batch' is \"101%\"; " A_BATCH },
		{ "{\"batch\":\"%\"}", "f.json: rollout: 'batch' is \"%\"; " A_BATCH },
		{ "{\"batch\":\"25\"}", "f.json: rollout: 'batch' is \"25\"; " A_BATCH },
		{ "{\"soak\":86401}",
		  "f.json: rollout: 'soak' is 86401; it must be a whole number of seconds from 0 to 86400" },
		{ "{\"maxFailures\":null}",
		  "f.json: rollout: 'maxFailures' is null; it must be a number of hosts from 0 to 10000" },
		{ "{\"onFailure\":\"rollback\"}",
		  "f.json: rollout: 'onFailure' is \"rollback\"; it must be \"stop\", "
		  "\"rollback-batch\" or \"rollback-all\"" },
		{ "{\"atomic\":1}",
		  "f.json: rollout: 'atomic' is 1; it must be true or false" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_fails(parse_rollout(cases[i].text, &fleet, &err), &err, BL_E_INPUT,
			     cases[i].want);
		assert_null(fleet.nodes);
		assert_null(fleet.rollout.canary);
	}
}

static void the_command_line_says_the_same_in_words(void **state)
{
	(void)state;
	struct bl_rollout_settings s = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_canary_parse("12", &s, &err), &err);
	assert_int_equal(s.canary_n, 12);
	assert_works(bl_canary_parse("@db", &s, &err), &err);
	assert_int_equal(s.canary_n, 0);
	assert_string_equal(s.canary, "@db");
	assert_works(bl_canary_parse("0", &s, &err), &err);
	assert_null(s.canary);
	assert_works(bl_batch_parse("25%", &s, &err), &err);
	assert_int_equal(s.batch_percent, 25);
	assert_works(bl_batch_parse("7", &s, &err), &err);
	assert_int_equal(s.batch_n, 7);
	assert_int_equal(s.batch_percent, 0);
	assert_works(bl_on_failure_parse("rollback-all", &s.on_failure, &err), &err);
	assert_int_equal(s.on_failure, BL_ON_FAILURE_ALL);
	assert_fails(bl_canary_parse("10001", &s, &err), &err, BL_E_USAGE,
		     "'10001' is not a number from 0 to 10000");
	assert_fails(bl_canary_parse("", &s, &err), &err, BL_E_USAGE,
		     "'' is neither a number of hosts nor a selection of them");
	assert_fails(bl_batch_parse("0", &s, &err), &err, BL_E_USAGE,
		     "'0' is neither a number of hosts from 1 to 10000 nor a part like 25%");
	assert_fails(bl_on_failure_parse("go", &s.on_failure, &err), &err, BL_E_USAGE,
		     "'go' is none of stop, rollback-batch, rollback-all");
	assert_int_equal(s.batch_n, 7);
	bl_rollout_settings_free(&s);
}

static void a_bad_setting_is_told_with_node_field_and_what_is_wanted(void **state)
{
	(void)state;
	static const struct {
		const char *settings;
		const char *want;
	} cases[] = {
		{ "\"colour\":1", "unknown key 'colour'; " VERSIONS },
		{ "\"co\\u001b[2Jlour\":1", "unknown key 'co\\x1b[2Jlour'; " VERSIONS },
		{ "\"enable\":1", "'enable' is 1; it must be true or false" },
		{ "\"enable\":null", "'enable' is null; it must be true or false" },
		{ "\"successTimeout\":0",
		  "'successTimeout' is 0; it must be a whole number of seconds from 1 to 86400" },
		{ "\"successTimeout\":86401",
		  "'successTimeout' is 86401; it must be a whole number of seconds from 1 to 86400" },
		{ "\"switchTimeout\":-5",
		  "'switchTimeout' is -5; it must be a whole number of seconds from 1 to 86400" },
		{ "\"switchTimeout\":20.5",
		  "'switchTimeout' is 20.5; it must be a whole number of seconds from 1 to 86400" },
		{ "\"switchTimeout\":\"20\"",
		  "'switchTimeout' is \"20\"; it must be a whole number of seconds from 1 to 86400" },
		{ "\"system\":7",
		  "'system' is 7; it must be null or a system like \"x86_64-linux\"" },
		{ "\"system\":\"a b\"",
		  "'system' is \"a b\"; it must be null or a system like \"x86_64-linux\"" },
		{ "\"notes\":[\"a\\nb\"]",
		  "'notes' has \"a\\nb\" as entry 1; it must be a list of texts, each of one line" },
		{ "\"buildOn\":\"host\"",
		  "'buildOn' is \"host\"; it must be \"deployer\" or \"target\"" },
		{ "\"strategy\":\"trial\"",
		  "'strategy' is \"trial\"; it must be \"auto\", \"live\", \"boot\", "
		  "\"live+boot\", \"kexec\" or \"unguarded-boot\"" },
		{ "\"reboot\":true", "'reboot' is true; it must be \"never\" or \"allowed\"" },
		{ "\"rollbackReboot\":true",
		  "'rollbackReboot' is true; it must be \"auto\", \"always\" or \"never\"" },
		{ "\"bootTimeout\":0",
		  "'bootTimeout' is 0; it must be a whole number of seconds from 1 to 86400" },
		{ "\"preActivate\":[]", "'preActivate' is a list; it must be null or at most "
					"16384 bytes of lines for sh" },
		{ "\"postDeployScript\":{}",
		  "'postDeployScript' is an object; it must be null or "
		  "at most 16384 bytes of lines for sh" },
		{ "\"scriptNeeds\":[\"/nix/store/" HASH "-s.drv\"]",
		  "'scriptNeeds' has \"/nix/store/" HASH "-s.drv\" as entry 1; "
		  "it must be a list of outputs "
		  "/nix/store/<hash>-<name>.drv!<output>" },
		{ "\"scriptNeeds\":[\"/nix/store/" HASH "-s!out\"]",
		  "'scriptNeeds' has \"/nix/store/" HASH "-s!out\" as entry 1; "
		  "it must be a list of outputs "
		  "/nix/store/<hash>-<name>.drv!<output>" },
		{ "\"scriptNeeds\":[\"/nix/store/" HASH "-s.drv!--x y\"]",
		  "'scriptNeeds' has \"/nix/store/" HASH "-s.drv!--x y\" as entry 1; "
		  "it must be a list of outputs "
		  "/nix/store/<hash>-<name>.drv!<output>" },
		{ "\"preparationPhases\":null",
		  "'preparationPhases' is null; it must be a list of at most 128 phases, each an "
		  "object with name and script" },
		{ "\"preparationPhases\":{}",
		  "'preparationPhases' is an object; it must be a list of at most 128 phases, "
		  "each an object with name and script" },
		{ "\"preparationPhases\":[7]",
		  "preparation phase 1: is 7; it must be an object" },
		{ "\"preparationPhases\":[{\"name\":\"a\",\"script\":\"x\"},{\"name\":\"a b\"}]",
		  "preparation phase 2: 'name' is \"a b\"; it must be a text of letters, digits, "
		  "'_', '.' and '-'" },
		{ "\"preparationPhases\":[{\"script\":\"x\"}]",
		  "preparation phase 1: has no 'name'; " VERSIONS },
		{ "\"preparationPhases\":[{\"name\":\"a\"}]",
		  "preparation phase 'a': has no 'script'; " VERSIONS },
		{ "\"preparationPhases\":[{\"name\":\"a\",\"script\":null}]",
		  "preparation phase 'a': 'script' is null; it must be at most 16384 bytes of "
		  "lines for sh" },
		{ "\"preparationPhases\":[{\"name\":\"a\",\"script\":\"x\",\"after\":[]}]",
		  "preparation phase 'a': unknown key 'after'; " VERSIONS },
		{ "\"units\":\"strict\"", "'units' is \"strict\"; it must be an object with "
					  "policy, ignore and listed" },
		{ "\"units\":{\"polcy\":1}", "'units': unknown key 'polcy'; " VERSIONS },
		{ "\"units\":{\"policy\":\"ignore\"}",
		  "'units': 'policy' is \"ignore\"; it must be \"new-failures\", \"strict\" or "
		  "\"listed\"" },
		{ "\"units\":{\"ignore\":[\"a.service\",\"nginx\"]}",
		  "'units': 'ignore' has \"nginx\" as entry 2; it must be a list of units like "
		  "\"nginx.service\"" },
		{ "\"units\":{\"ignore\":[\".service\"]}",
		  "'units': 'ignore' has \".service\" as entry 1; it must be a list of units like "
		  "\"nginx.service\"" },
		{ "\"units\":{\"ignore\":[\"a b.service\"]}",
		  "'units': 'ignore' has \"a b.service\" as entry 1; it must be a list of units "
		  "like \"nginx.service\"" },
		{ "\"units\":{\"policy\":\"listed\"}",
		  "'units': the policy \"listed\" and a list 'listed' belong together: give both "
		  "or none" },
		{ "\"units\":{\"listed\":[\"a.service\"]}",
		  "'units': the policy \"listed\" and a list 'listed' belong together: give both "
		  "or none" },
		{ "\"units\":{\"policy\":\"strict\"},\"ignoreFailingSystemdUnits\":true",
		  "'ignoreFailingSystemdUnits' is true and 'units' has the policy \"strict\"; "
		  "remove one of them" },
		{ "\"checks\":{}", "'checks' is an object; it must be a list of at most 128 "
				   "checks, each an object" },
		{ "\"system\":{}",
		  "'system' is an object; it must be null or a system like \"x86_64-linux\"" },
		{ "\"addresses\":[\"a\",\"root@b\"]",
		  "'addresses' has \"root@b\" as entry 2; it must be a list of names and "
		  "addresses, without a user" },
		{ "\"addresses\":[\"-oProxyCommand=x\"]",
		  "'addresses' has \"-oProxyCommand=x\" as entry 1; it must be a list of names "
		  "and addresses, without a user" },
		{ "\"tags\":\"web\"",
		  "'tags' is \"web\"; it must be a list of texts of letters, "
		  "digits, '_', '.' and '-', at most 128 long" },
		{ "\"tags\":[\"a\",\"b,c\"]",
		  "'tags' has \"b,c\" as entry 2; it must be a list of texts of letters, digits, "
		  "'_', '.' and '-', at most 128 long" },
		{ "\"privilegeEscalationCommand\":\"sudo\"",
		  "'privilegeEscalationCommand' is \"sudo\"; it must be a list of words like "
		  "[\"sudo\",\"-n\"]" },
		{ "\"privilegeEscalationCommand\":[\"sudo\",\"\"]",
		  "'privilegeEscalationCommand' has \"\" as entry 2; it must be a list of words like "
		  "[\"sudo\",\"-n\"]" },
		{ "\"privilegeEscalationCommand\":[\"su\\ndo\"]",
		  "'privilegeEscalationCommand' has \"su\\ndo\" as entry 1; it must be a list of "
		  "words like [\"sudo\",\"-n\"]" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *text = with(cases[i].settings);
		bl_autofree char *want = bl_xprintf("f.json: node web1: %s", cases[i].want);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_fails(parse(text, &fleet, &err), &err, BL_E_INPUT, want);
	}
}

static void a_bad_check_is_told_with_its_name_and_what_is_wanted(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		const char *want;
	} cases[] = {
		{ "7", "check 1: is 7; it must be an object" },
		{ "{}", "check 1: has no 'type'; " VERSIONS },
		{ "{\"type\":\"ping\"}",
		  "check 1: 'type' is \"ping\"; it must be \"unit\", \"tcp\", \"http\", "
		  "\"command\", \"dns\", \"route\" or \"file\"" },
		{ "{\"type\":\"route\"}", "check 1: has no 'name'; " VERSIONS },
		{ "{\"type\":\"route\",\"name\":\"a b\"}",
		  "check 1: 'name' is \"a b\"; it must be a text of letters, digits, '_', '.' "
		  "and '-'" },
		{ "{\"name\":\"x\",\"type\":\"http\"}", "check 'x': has no 'url'; " VERSIONS },
		{ "{\"name\":\"x\",\"type\":\"http\",\"url\":\"http://\"}",
		  "check 'x': 'url' is \"http://\"; it must be a URL like "
		  "\"http://127.0.0.1/health\"" },
		{ "{\"name\":\"x\",\"type\":\"http\",\"url\":\"http://a b\"}",
		  "check 'x': 'url' is \"http://a b\"; it must be a URL like "
		  "\"http://127.0.0.1/health\"" },
		{ "{\"name\":\"x\",\"type\":\"http\",\"url\":\"http://a\",\"status\":99}",
		  "check 'x': 'status' is 99; it must be null or a number from 100 to 599" },
		{ "{\"name\":\"x\",\"type\":\"http\",\"url\":\"http://a\",\"port\":80}",
		  "check 'x': unknown key 'port'; " VERSIONS },
		{ "{\"name\":\"x\",\"type\":\"tcp\"}", "check 'x': has no 'port'; " VERSIONS },
		{ "{\"name\":\"x\",\"type\":\"tcp\",\"port\":65536}",
		  "check 'x': 'port' is 65536; it must be a whole number from 1 to 65535" },
		{ "{\"name\":\"x\",\"type\":\"tcp\",\"port\":1,\"host\":\"-a\"}",
		  "check 'x': 'host' is \"-a\"; it must be a name or an address" },
		{ "{\"name\":\"x\",\"type\":\"tcp\",\"port\":1,\"where\":\"deployer\"}",
		  "check 'x': has no 'host'; " VERSIONS },
		{ "{\"name\":\"x\",\"type\":\"file\",\"path\":\"a\"}",
		  "check 'x': 'path' is \"a\"; it must be an absolute path" },
		{ "{\"name\":\"x\",\"type\":\"unit\",\"unit\":\"nginx\"}",
		  "check 'x': 'unit' is \"nginx\"; it must be a unit like \"nginx.service\"" },
		{ "{\"name\":\"x\",\"type\":\"command\",\"command\":\"\"}",
		  "check 'x': 'command' is \"\"; it must be a line for sh" },
		{ "{\"name\":\"x\",\"type\":\"dns\",\"lookup\":null}",
		  "check 'x': 'lookup' is null; it must be a name to look up" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"where\":\"deployer\"}",
		  "check 'x': looks at a route of the deployer's machine, which says nothing "
		  "about the host; leave 'where' out" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"where\":\"here\"}",
		  "check 'x': 'where' is \"here\"; it must be \"target\" or \"deployer\"" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"required\":1}",
		  "check 'x': 'required' is 1; it must be true or false" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"timeout\":0}",
		  "check 'x': 'timeout' is 0; it must be a whole number of seconds from 1 to "
		  "86400" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"hold\":-1}",
		  "check 'x': 'hold' is -1; it must be a whole number of seconds from 0 to "
		  "86400" },
		{ "{\"name\":\"x\",\"type\":\"route\",\"retries\":1001}",
		  "check 'x': 'retries' is 1001; it must be a whole number from 0 to 1000" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *settings = bl_xprintf("\"checks\":[%s]", cases[i].json);
		bl_autofree char *text = with(settings);
		bl_autofree char *want = bl_xprintf("f.json: node web1: %s", cases[i].want);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_fails(parse(text, &fleet, &err), &err, BL_E_INPUT, want);
	}
}

static char *with_phases(size_t n, size_t script)
{
	struct bl_buf b = { 0 };
	bl_autofree char *lines = bl_xcalloc(script + 1, 1);
	memset(lines, 'x', script);
	for (size_t i = 0; i < n; i++)
		bl_buf_printf(&b, "%s{\"name\":\"p%zu\",\"script\":\"%s\"}", i ? "," : "", i,
			      lines);
	bl_autofree char *phases = bl_buf_steal(&b);
	bl_autofree char *settings = bl_xprintf("\"preparationPhases\":[%s]", phases);
	return with(settings);
}

static void a_node_has_128_phases_of_16_kibibytes_at_most(void **state)
{
	(void)state;
	bl_autofree char *most = with_phases(128, 16384);
	bl_autofree char *more = with_phases(129, 1);
	bl_autofree char *longer = with_phases(1, 16385);
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_fleet none = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(most, &fleet, &err), &err);
	assert_int_equal(fleet.nodes[0].n_phases, 128);
	assert_fails(
		parse(more, &none, &err), &err, BL_E_INPUT,
		"f.json: node web1: 'preparationPhases' is a list; it must be a list of at "
		"most 128 phases, each an object with name and script");
	assert_int_equal(parse(longer, &none, &err), -1);
	assert_non_null(strstr(err.msg, "preparation phase 'p0': 'script' is \"xxx"));
}

static void a_plan_too_long_for_one_message_is_refused(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_puts(&b, "\"checks\":[");
	for (int i = 0; i < 20; i++)
		bl_buf_printf(
			&b,
			"%s{\"name\":\"c%d\",\"type\":\"command\",\"command\":\"%010000d\"}",
			i ? "," : "", i, 0);
	bl_buf_puts(&b, "]");
	bl_autofree char *text = with(bl_buf_str(&b));
	struct bl_fleet fleet = { 0 };
	struct bl_err err = { 0 };
	assert_int_equal(parse(text, &fleet, &err), -1);
	assert_non_null(
		strstr(err.msg, "are too long for one message to the host: 29 entries"));
}

static void a_host_that_ssh_or_a_shell_could_misread_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"-oProxyCommand=x",
		"root@-oProxyCommand=x",
		"",
		"@",
		"root@",
		"@web1",
		"web 1",
		"web1\\n",
		"web1\\t",
		"\\u001b[2Jweb1",
		"web1\\u007f",
		"web1\\u009b",
		"$(id)",
		"`id`",
		"a;b",
		"a|b",
		"a\\\"b",
		"a'b",
		"a\\\\b",
		"root@a&b",
		"a{b}",
	};
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		bl_autofree char *text = bl_xprintf(
			"{\"belayFleet\":1,\"nodes\":{\"web1\":{\"host\":\"%s\"," TOP "}}}",
			bad[i]);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
		if (!strstr(err.msg, "f.json: node web1: 'host' is \"") ||
		    !strstr(err.msg, "it must be what to give to ssh") ||
		    strchr(err.msg, '\033'))
			fail_msg("%s: %s", bad[i], err.msg);
	}
}

static void usual_hosts_are_taken_as_they_are(void **state)
{
	(void)state;
	static const char *const good[] = { "web1",
					    "root@203.0.113.7",
					    "deploy@web-1.example.org",
					    "root@2001:db8::1",
					    "fe80::1%eth0",
					    "[2001:db8::1]",
					    "ssh://root@web1:2222",
					    "a@b@c" };
	for (size_t i = 0; i < BL_COUNT(good); i++) {
		bl_autofree char *text = bl_xprintf(
			"{\"belayFleet\":1,\"nodes\":{\"web1\":{\"host\":\"%s\"," TOP "}}}",
			good[i]);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		assert_string_equal(fleet.nodes[0].host, good[i]);
	}
}

static void what_is_no_store_path_is_no_toplevel(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"\"\"",
		"\"/etc/passwd\"",
		"\"/nix/store/\"",
		"\"/nix/store/" HASH "\"",
		"\"/nix/store/" HASH "-\"",
		"\"/nix/store/e123456789abcdfghijklmnpqrsvwxyz-a\"",
		"\"/nix/store/" HASH "-a/bin\"",
		"\"/nix/store/" HASH "-a b\"",
		"\"/nix/store/" HASH "-a\\n\"",
		"\"/nix/store/" HASH "-a;rm\"",
		"\"/nix/store/../" HASH "-a\"",
		"\"/nix/store/0" HASH "-a\"",
		"7",
		"null",
		"\"/nix/store/" HASH "-a.drv\"",
	};
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		bl_autofree char *text = bl_xprintf(
			"{\"belayFleet\":1,\"nodes\":{\"web1\":{" HOST ",\"toplevel\":"
			"{\"path\":%s}}}}",
			bad[i]);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		if (!strstr(err.msg, "f.json: node web1: 'toplevel': 'path' is ") ||
		    !strstr(err.msg,
			    "it must be the path /nix/store/<hash>-<name> of a built system"))
			fail_msg("%s: %s", bad[i], err.msg);
	}
	static const char *const bad_drv[] = { "\"" OUT "\"", "\"/tmp/a.drv\"", "1" };
	for (size_t i = 0; i < BL_COUNT(bad_drv); i++) {
		bl_autofree char *text = bl_xprintf(
			"{\"belayFleet\":1,\"nodes\":{\"web1\":{" HOST ",\"toplevel\":"
			"{\"path\":\"" OUT "\",\"drvPath\":%s}}}}",
			bad_drv[i]);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		assert_non_null(strstr(err.msg, "'toplevel': 'drvPath' is "));
	}
}

static void a_node_name_must_be_harmless_as_a_word_and_as_a_file(void **state)
{
	(void)state;
	static const char *const bad[] = { "",        "-a",   ".a",        "a b", "a/b",
					   "../a",    "@a",   "!a",        "a,b", "a*",
					   "\\u00e4", "a\\n", "\\u001b[2J" };
	bl_autofree char *lengthy = bl_xcalloc(130, 1);
	memset(lengthy, 'a', 129);
	for (size_t i = 0; i <= BL_COUNT(bad); i++) {
		bl_autofree char *text =
			bl_xprintf("{\"belayFleet\":1,\"nodes\":{\"%s\":{" HOST "," TOP "}}}",
				   i < BL_COUNT(bad) ? bad[i] : lengthy);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		if (!strstr(err.msg, "its name must be of letters") || strchr(err.msg, '\033'))
			fail_msg("%zu: %s", i, err.msg);
	}
}

static void ssh_options_that_undo_a_promise_are_refused_with_the_reason(void **state)
{
	(void)state;
	static const struct {
		const char *option;
		const char *why;
	} cases[] = {
		{ "ControlMaster=auto", "a confirmation must be a fresh one" },
		{ "controlpath /tmp/x", "a confirmation must be a fresh one" },
		{ "CONTROLPERSIST = yes", "a confirmation must be a fresh one" },
		{ "BatchMode=no", "nobody can type a password" },
		{ "StrictHostKeyChecking=no", "deploy to whoever answers" },
		{ "stricthostkeychecking off", "deploy to whoever answers" },
		{ "StrictHostKeyChecking=NO", "deploy to whoever answers" },
		{ "StrictHostKeyChecking=\\\"no\\\"", "deploy to whoever answers" },
		{ "StrictHostKeyChecking=n\\\"o\\\"", "deploy to whoever answers" },
		{ "StrictHostKeyChecking no ", "deploy to whoever answers" },
		{ "RequestTTY=force", "input and output of this very connection" },
		{ "RemoteCommand=id", "input and output of this very connection" },
		{ "ForkAfterAuthentication yes", "input and output of this very connection" },
		{ "SessionType=none", "input and output of this very connection" },
		{ "StdinNull=yes", "input and output of this very connection" },
		{ "LocalCommand=id", "run a program here" },
		{ "PermitLocalCommand=yes", "run a program here" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *settings =
			bl_xprintf("\"sshOptions\":[\"Port=22\",\"%s\"]", cases[i].option);
		bl_autofree char *text = with(settings);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		if (!strstr(err.msg, "f.json: node web1: 'sshOptions' has \"") ||
		    !strstr(err.msg, "remove it: ") || !strstr(err.msg, cases[i].why))
			fail_msg("%s: %s", cases[i].option, err.msg);
	}
}

static void ssh_options_in_another_form_than_key_and_value_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "Port",
					   "Port=",
					   "=22",
					   " Port=22",
					   "-oPort=22",
					   "Port=22\\nControlMaster=yes",
					   "Port\\t22",
					   "\\\"ControlMaster\\\" yes",
					   "Port=\\u001b",
					   "Po-rt=22" };
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		bl_autofree char *settings = bl_xprintf("\"sshOptions\":[\"%s\"]", bad[i]);
		bl_autofree char *text = with(settings);
		struct bl_fleet fleet = { 0 };
		struct bl_err err = { 0 };
		assert_int_equal(parse(text, &fleet, &err), -1);
		if (!strstr(err.msg, "each on one line"))
			fail_msg("%s: %s", bad[i], err.msg);
	}
}

static void ssh_options_that_help_to_reach_a_host_are_taken(void **state)
{
	(void)state;
	static const char *const good[] = { "ProxyJump=bastion",
					    "Port 2222",
					    "Port = 2222",
					    "StrictHostKeyChecking=accept-new",
					    "StrictHostKeyChecking=yes",
					    "IdentityFile=/home/a b/key",
					    "PKCS11Provider=/lib/x.so",
					    "ControlFreak=yes",
					    "NoBatchMode=x" };
	for (size_t i = 0; i < BL_COUNT(good); i++) {
		bl_autofree char *settings = bl_xprintf("\"sshOptions\":[\"%s\"]", good[i]);
		bl_autofree char *text = with(settings);
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(text, &fleet, &err), &err);
		assert_string_equal(fleet.nodes[0].ssh_options.items[0], good[i]);
	}
}

static void a_list_has_256_entries_at_most(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_puts(&b, "\"tags\":[\"a\"");
	for (int i = 0; i < 256; i++)
		bl_buf_puts(&b, ",\"a\"");
	bl_buf_putc(&b, ']');
	bl_autofree char *text = with(bl_buf_str(&b));
	struct bl_fleet fleet = { 0 };
	struct bl_err err = { 0 };
	assert_fails(parse(text, &fleet, &err), &err, BL_E_INPUT,
		     "f.json: node web1: 'tags' has 257 entries; at most 256 are read");
}

static void a_long_value_is_shortened_in_the_message(void **state)
{
	(void)state;
	bl_autofree char *longest = bl_xcalloc(100001, 1);
	memset(longest, 'x', 100000);
	bl_autofree char *settings = bl_xprintf("\"system\":\"%s y\"", longest);
	bl_autofree char *text = with(settings);
	struct bl_fleet fleet = { 0 };
	struct bl_err err = { 0 };
	assert_fails(parse(text, &fleet, &err), &err, BL_E_INPUT,
		     "f.json: node web1: 'system' is "
		     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...; "
		     "it must be null or a system like \"x86_64-linux\"");
}

static char *fleet_of(size_t n)
{
	struct bl_buf b = { 0 };
	bl_buf_puts(&b, "{\"belayFleet\":1,\"nodes\":{");
	for (size_t i = 0; i < n; i++)
		bl_buf_printf(&b, "%s\"n%zu\":{" HOST "," TOP "}", i ? "," : "", i);
	bl_buf_puts(&b, "}}");
	return bl_buf_steal(&b);
}

static void a_fleet_has_ten_thousand_nodes_at_most(void **state)
{
	(void)state;
	bl_autofree char *most = fleet_of(10000);
	bl_autofree char *more = fleet_of(10001);
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(most, &fleet, &err), &err);
	assert_int_equal(fleet.n, 10000);
	struct bl_fleet other = { 0 };
	assert_fails(parse(more, &other, &err), &err, BL_E_INPUT,
		     "f.json: the fleet has 10001 nodes; at most 10000 are read");
}

static void a_document_has_sixteen_mebibytes_at_most(void **state)
{
	(void)state;
	size_t len = (16U << 20) + 1;
	bl_autofree char *text = bl_xcalloc(len + 1, 1);
	memset(text, ' ', len);
	struct bl_fleet fleet = { 0 };
	struct bl_err err = { 0 };
	assert_fails(bl_fleet_parse(text, len, "f.json", &fleet, &err), &err, BL_E_INPUT,
		     "f.json: is larger than 16777216 bytes");
}

static void one_host_makes_a_fleet(void **state)
{
	(void)state;
	static const struct {
		const char *host, *name;
	} cases[] = {
		{ "root@web1", "web1" },
		{ "web1.example.org", "web1.example.org" },
		{ "a@b@203.0.113.7", "203.0.113.7" },
		{ "fe80::1%eth0", "fe80__1_eth0" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(bl_fleet_single(cases[i].host, NULL, &fleet, &err), &err);
		assert_true(fleet.nodes[0].substitute_on_target);
		assert_int_equal(fleet.n, 1);
		assert_string_equal(fleet.nodes[0].host, cases[i].host);
		assert_string_equal(fleet.nodes[0].name, cases[i].name);
		assert_string_equal(fleet.nodes[0].out_path, "");
		assert_true(fleet.nodes[0].enable);
		assert_int_equal(fleet.nodes[0].elevate.n, 2);
	}
	BL_AUTO(bl_fleet) none = { 0 };
	struct bl_err err = { 0 };
	assert_fails(bl_fleet_single("-oX=y", NULL, &none, &err), &err, BL_E_USAGE,
		     "'-oX=y' is no host for ssh: [user@]name");
	assert_int_equal(bl_fleet_single("web1", "/etc", &none, &err), -1);
	assert_int_equal(err.code, BL_E_USAGE);
}

static const char settings[] =
	"{\"belayFleet\":1,\"nodes\":{\"a\":{\"host\":\"a\"},\"b\":{\"host\":\"b\"}}}";
#define SYSTEM_A                                                       \
	"\"a\":{\"toplevel\":{\"drvPath\":null,\"path\":\"/nix/store/" \
	"00000000000000000000000000000000-nixos-system-a\"},\"system\":\"x86_64-linux\"}"

static void systems_come_after_the_settings(void **state)
{
	(void)state;
	static const char systems[] = "{" SYSTEM_A "}";
	BL_AUTO(bl_fleet) fleet = { 0 };
	struct bl_err err = { 0 };
	assert_works(bl_fleet_parse_settings(settings, strlen(settings), "f", &fleet, &err),
		     &err);
	assert_null(fleet.nodes[0].out_path);
	assert_works(bl_fleet_parse_systems(systems, strlen(systems), "f", &fleet, &err), &err);
	assert_string_equal(fleet.nodes[0].out_path,
			    "/nix/store/00000000000000000000000000000000-nixos-system-a");
	assert_string_equal(fleet.nodes[0].system, "x86_64-linux");
	assert_null(fleet.nodes[0].drv_path);
	assert_null(fleet.nodes[1].out_path);
}

static void systems_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "[]", "f: is not an object with a system for a name" },
		{ "{\"c\":{}}", "f: there is no node 'c'" },
		{ "{\"a\":7}", "f: node a: is not an object" },
		{ "{\"a\":{}}",
		  "f: node a: has no 'toplevel' with a 'path'; this belay and the "
		  "Nix library that wrote the file are of different versions" },
		{ "{\"a\":{\"host\":\"x\"}}",
		  "f: node a: unknown key 'host'; this belay and the "
		  "Nix library that wrote the file are of different versions" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_fleet) fleet = { 0 };
		struct bl_err err = { 0 };
		assert_works(
			bl_fleet_parse_settings(settings, strlen(settings), "f", &fleet, &err),
			&err);
		assert_fails(bl_fleet_parse_systems(cases[i].text, strlen(cases[i].text), "f",
						    &fleet, &err),
			     &err, BL_E_INPUT, cases[i].msg);
		assert_null(fleet.nodes[0].out_path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_setting_of_a_node_is_read),
		cmocka_unit_test(units_are_read_and_the_older_option_means_that_none_counts),
		cmocka_unit_test(every_type_of_check_is_read),
		cmocka_unit_test(checks_stay_in_order_and_have_their_times_in_milliseconds),
		cmocka_unit_test(a_bad_check_is_told_with_its_name_and_what_is_wanted),
		cmocka_unit_test(a_node_has_128_phases_of_16_kibibytes_at_most),
		cmocka_unit_test(a_plan_too_long_for_one_message_is_refused),
		cmocka_unit_test(what_is_left_out_gets_its_documented_default),
		cmocka_unit_test(
			a_fast_connection_turns_substitution_off_unless_it_is_asked_for),
		cmocka_unit_test(a_system_is_built_here_unless_the_target_is_named),
		cmocka_unit_test(notes_are_read_a_line_each_and_a_thousand_at_most),
		cmocka_unit_test(nodes_stay_in_the_order_of_the_document),
		cmocka_unit_test(a_document_that_is_not_a_fleet_is_refused),
		cmocka_unit_test(a_rollout_is_read_in_all_its_forms),
		cmocka_unit_test(a_bad_rollout_is_told_with_what_is_wanted),
		cmocka_unit_test(the_command_line_says_the_same_in_words),
		cmocka_unit_test(a_bad_setting_is_told_with_node_field_and_what_is_wanted),
		cmocka_unit_test(a_host_that_ssh_or_a_shell_could_misread_is_refused),
		cmocka_unit_test(usual_hosts_are_taken_as_they_are),
		cmocka_unit_test(what_is_no_store_path_is_no_toplevel),
		cmocka_unit_test(a_node_name_must_be_harmless_as_a_word_and_as_a_file),
		cmocka_unit_test(ssh_options_that_undo_a_promise_are_refused_with_the_reason),
		cmocka_unit_test(ssh_options_in_another_form_than_key_and_value_are_refused),
		cmocka_unit_test(ssh_options_that_help_to_reach_a_host_are_taken),
		cmocka_unit_test(a_list_has_256_entries_at_most),
		cmocka_unit_test(a_long_value_is_shortened_in_the_message),
		cmocka_unit_test(a_fleet_has_ten_thousand_nodes_at_most),
		cmocka_unit_test(a_document_has_sixteen_mebibytes_at_most),
		cmocka_unit_test(one_host_makes_a_fleet),
		cmocka_unit_test(systems_come_after_the_settings),
		cmocka_unit_test(systems_that_do_not_fit_are_refused),
	};
	return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
