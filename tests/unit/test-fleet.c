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
		"\"hasFastConnection\":true,\"substituteOnTarget\":true,\"tags\":[\"web\",\"eu.1\"],"
		"\"sshOptions\":[\"Port=2222\",\"User deploy\"],\"strategy\":\"auto\"}}}";
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
	assert_true(n->ignore_failing_units);
	assert_int_equal(n->elevate.n, 2);
	assert_string_equal(n->elevate.items[0], "run0");
	assert_true(n->substitute_on_target);
	assert_string_equal(n->tags.items[1], "eu.1");
	assert_int_equal(n->ssh_options.n, 2);
	assert_string_equal(n->ssh_options.items[1], "User deploy");
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
	assert_false(n->ignore_failing_units);
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
		  "f.json: node a: has no 'toplevel' with an 'path'; " VERSIONS },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST ",\"toplevel\":\"x\"}}}",
		  "f.json: node a: 'toplevel' is \"x\"; it must be an object with drvPath and path" },
		{ "{\"belayFleet\":1,\"nodes\":{\"a\":{" HOST ",\"toplevel\":{}}}}",
		  "f.json: node a: has no 'toplevel' with an 'path'; " VERSIONS },
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
		{ "\"strategy\":\"trial\"",
		  "'strategy' is \"trial\"; it must be \"live\" or \"auto\"; "
		  "this version knows no other way to switch" },
		{ "\"system\":{}",
		  "'system' is an object; it must be null or a system like \"x86_64-linux\"" },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_setting_of_a_node_is_read),
		cmocka_unit_test(what_is_left_out_gets_its_documented_default),
		cmocka_unit_test(
			a_fast_connection_turns_substitution_off_unless_it_is_asked_for),
		cmocka_unit_test(nodes_stay_in_the_order_of_the_document),
		cmocka_unit_test(a_document_that_is_not_a_fleet_is_refused),
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
	};
	return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
