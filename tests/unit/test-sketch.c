/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cli/sketch.h"

static void files_are_known_by_their_words(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum bl_look look;
	} cases[] = {
		{ "", BL_LOOK_OTHER },
		{ "{ }", BL_LOOK_OTHER },
		{ "{ boot.loader.grub.device = \"/dev/vda\"; }", BL_LOOK_SYSTEM },
		{ "{ config, pkgs, ... }:\n{\n  imports =\n    [ ./a.nix ];\n}",
		  BL_LOOK_SYSTEM },
		{ "{ lib, ... }: with lib; { networking = { hostName = \"a\"; }; }",
		  BL_LOOK_SYSTEM },
		{ "rec { x = 1; services.nginx.enable = true; }", BL_LOOK_SYSTEM },
		{ "{ system.stateVersion = \"24.05\"; }", BL_LOOK_SYSTEM },
		{ "{ /* a; */ fileSystems.\"/\".device = \"x\"; }", BL_LOOK_SYSTEM },
		/* not what is in comments and strings, or is but used */
		{ "{ # boot.x = 1;\n}", BL_LOOK_OTHER },
		{ "{ /* boot.x = 1; */ }", BL_LOOK_OTHER },
		{ "{ a = \"{ boot.x = 1; }\"; }", BL_LOOK_OTHER },
		{ "{ a = \"\\\"; boot.x = 1; \"; }", BL_LOOK_OTHER },
		{ "{ a = ''\n  ; boot.x = 1; ''${x} ''' ''\\n ; boot.y = 1;\n''; }",
		  BL_LOOK_OTHER },
		{ "{ a = '' ''; boot.x = 1; }", BL_LOOK_SYSTEM },
		{ "{ a'' = 1; boot.x = \"''\"; }", BL_LOOK_SYSTEM },
		{ "{ boot, services }: boot == services", BL_LOOK_OTHER },
		{ "{ a = if config. boot == 1 then 2 else 3; }", BL_LOOK_OTHER },
		{ "{ reboot.x = 1; bootstrap = 1; boot == 1; }", BL_LOOK_OTHER },
		/* modules of other kinds */
		{ "{ options.services.x = 1; config = { services.x = 1; }; }", BL_LOOK_OTHER },
		{ "{ home.stateVersion = \"24.05\"; services.gpg.enable = true; }",
		  BL_LOOK_OTHER },
		{ "{ nodes.machine = { }; testScript = \"\"; }", BL_LOOK_OTHER },
		{ "derivation { name = \"a\"; system = \"x86_64-linux\"; }", BL_LOOK_OTHER },
		{ "stdenv.mkDerivation { meta.license = 1; }", BL_LOOK_OTHER },
		/* fleets */
		{ "{ nodes.web1.toplevel = 1; }", BL_LOOK_FLEET },
		{ "import /belay { } {\n  defaults = { };\n  nodes = { };\n}", BL_LOOK_FLEET },
		{ "{ nodes, ... }: { networking.x = nodes.web1; }", BL_LOOK_SYSTEM },
		{ "import <nixus> { } { nodes.web1 = { }; }", BL_LOOK_NIXUS },
		{ "import (fetchTarball \"https://x/nixus\") { } { nodes.a = 1; }",
		  BL_LOOK_NIXUS },
		{ "# not nixus\n{ nodes.a = 1; }", BL_LOOK_FLEET },
		{ "{ meta.nixpkgs = <nixpkgs>; web1 = { deployment.targetHost = \"x\"; }; }",
		  BL_LOOK_HIVE },
		{ "{ network = { }; web1 = { deployment.targetHost = \"x\"; }; }",
		  BL_LOOK_HIVE },
		/* that never end */
		{ "{ boot.x = \"", BL_LOOK_SYSTEM },
		{ "{ boot.x = ''", BL_LOOK_SYSTEM },
		{ "{ boot.x = ''a''\\", BL_LOOK_SYSTEM },
		{ "{ boot.x = \"\\", BL_LOOK_SYSTEM },
		{ "{ boot.x = 1; /*", BL_LOOK_SYSTEM },
		{ "{ boot.x = 1; #", BL_LOOK_SYSTEM },
		{ "{ boot", BL_LOOK_OTHER },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++)
		if (bl_look_at(cases[i].text) != cases[i].look)
			fail_msg("%s: %d", cases[i].text, (int)bl_look_at(cases[i].text));
}

static void what_a_file_imports_is_mentioned(void **state)
{
	(void)state;
	static const struct {
		const char *text, *name;
		bool mentioned;
	} cases[] = {
		{ "{ imports = [ ./common.nix ]; }", "common.nix", true },
		{ "[ ../common.nix]", "common.nix", true },
		{ "[ (./. + \"/common.nix\") ]", "common.nix", true },
		{ "import ../common", "common", true },
		{ "[ ../common ]", "common", true },
		{ "[ ./uncommon.nix ]", "common.nix", false },
		{ "[ ./common.nix.old ./common.nixy ]", "common.nix", false },
		{ "readFile ../web1/key.pub", "web1", false },
		{ "[ ../web1.nix ]", "web1", false },
		{ "# ./common.nix\n{ }", "common.nix", false },
		{ "common.nix", "common.nix", false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *code = bl_look_uncommented(cases[i].text);
		if (bl_look_mentions(code, cases[i].name) != cases[i].mentioned)
			fail_msg("%s: %s", cases[i].text, cases[i].name);
	}
}

static void a_host_name_is_found_where_it_is_plain(void **state)
{
	(void)state;
	static const struct {
		const char *text, *name;
	} cases[] = {
		{ "{ networking.hostName = \"web1\"; }", "web1" },
		{ "{ networking = {\n hostName=\n\"web1\"; }; }", "web1" },
		{ "{ # networking.hostName = \"old\";\n networking.hostName = \"new\"; }",
		  "new" },
		{ "{ x = config.networking.hostName; networking.hostName = \"a\"; }", "a" },
		{ "{ myhostName = \"a\"; hostNames = \"b\"; }", NULL },
		{ "{ networking.hostName = \"\"; }", NULL },
		{ "{ networking.hostName = \"web${n}\"; }", NULL },
		{ "{ networking.hostName = lib.mkDefault \"a\"; }", NULL },
		{ "{ networking.hostName = name; }", NULL },
		{ "hostName", NULL },
		{ "hostName = \"", NULL },
		{ "", NULL },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *name = bl_look_host_name(cases[i].text);
		if (!name != !cases[i].name || (name && strcmp(name, cases[i].name) != 0))
			fail_msg("%s: %s", cases[i].text, name ? name : "none");
	}
}

static void names_become_those_of_nodes_and_none_comes_twice(void **state)
{
	(void)state;
	static const struct {
		const char *wish, *name;
	} cases[] = {
		{ "web1", "web1" },
		{ "web1", "web1-2" },
		{ "web1", "web1-3" },
		{ "a b", "a-b" },
		{ "a/b", "a-b-2" },
		{ "", "host" },
		{ "-x", "_x" },
		{ ".x", "_x-2" },
		{ "b\xc3\xbcro", "b--ro" },
		{ "nixos.home", "nixos.home" },
	};
	BL_AUTO(bl_sketch) s = { 0 };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_sketch_add(&s, cases[i].wish, "x.nix", false);
		assert_string_equal(s.hosts[i].name, cases[i].name);
	}
	char longest[300];
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	bl_sketch_add(&s, longest, "x.nix", false);
	bl_sketch_add(&s, longest, "x.nix", false);
	assert_true(strlen(s.hosts[s.n - 1].name) <= 128);
}

static void a_fleet_file_has_a_node_for_each_host(void **state)
{
	(void)state;
	BL_AUTO(bl_sketch) s = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	bl_sketch_add(&s, "web1", "hosts/web1/configuration.nix", false);
	bl_sketch_add(&s, "9.x", "a b/$\"\\.nix", false);
	bl_sketch_add(&s, "let", "new\nline.nix", true);
	bl_sketch_fleet(&s, &text);
	assert_string_equal(
		bl_buf_str(&text),
		"# Change each `host` to what ssh is given for it: [user@]address, or a name from "
		"~/.ssh/config.\n"
		"# NixOS is <nixpkgs>, or what `defaults.nixpkgs` says. All options: belay(1), "
		"FLEET FILE.\n"
		"{\n"
		"  nodes.web1 = {\n"
		"    host = \"root@web1\";\n"
		"    configuration = ./hosts/web1/configuration.nix;\n"
		"  };\n"
		"  nodes.\"9.x\" = {\n"
		"    host = \"root@9.x\";\n"
		"    configuration = (./. + \"/a b/\\$\\\"\\\\.nix\");\n"
		"  };\n"
		"  nodes.\"let\" = {\n"
		"    host = \"root@let\";\n"
		"    configuration = (./. + \"/new\\nline.nix\");\n"
		"  };\n"
		"}\n");
}

static void a_flake_says_what_hosts_run_on_that_do_not_say_it(void **state)
{
	(void)state;
	BL_AUTO(bl_sketch) s = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	bl_sketch_add(&s, "web1", "web1.nix", false);
	bl_sketch_add(&s, "web2", "web2.nix", true);
	bl_sketch_flake(&s, "path:/belay", "x86_64-linux", &text);
	assert_string_equal(
		bl_buf_str(&text),
		"# Change each `host` to what ssh is given for it: [user@]address, or a name from "
		"~/.ssh/config.\n"
		"# All options: belay(1), FLEET FILE.\n"
		"{\n"
		"  inputs.nixpkgs.url = \"github:NixOS/nixpkgs/nixos-unstable\";\n"
		"  inputs.belay.url = \"path:/belay\";\n"
		"  inputs.belay.inputs.nixpkgs.follows = \"nixpkgs\";\n"
		"  outputs = { belay, ... }: {\n"
		"    belay = belay.lib.fleet {\n"
		"      nodes.web1 = {\n"
		"        host = \"root@web1\";\n"
		"        configuration = { imports = [ ./web1.nix ]; nixpkgs.hostPlatform = "
		"\"x86_64-linux\"; };\n"
		"      };\n"
		"      nodes.web2 = {\n"
		"        host = \"root@web2\";\n"
		"        configuration = ./web2.nix;\n"
		"      };\n"
		"    };\n"
		"  };\n"
		"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_known_by_their_words),
		cmocka_unit_test(what_a_file_imports_is_mentioned),
		cmocka_unit_test(a_host_name_is_found_where_it_is_plain),
		cmocka_unit_test(names_become_those_of_nodes_and_none_comes_twice),
		cmocka_unit_test(a_fleet_file_has_a_node_for_each_host),
		cmocka_unit_test(a_flake_says_what_hosts_run_on_that_do_not_say_it),
	};
	return cmocka_run_group_tests_name("sketch", tests, NULL, NULL);
}
