/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "nix/nix.h"

static void assert_complaint(const char *said, const char *want)
{
	bl_autofree char *is = bl_nix_complaint(said);
	assert_string_equal(is, want);
}

static void the_librarys_own_sentence_is_taken_out_of_the_trace(void **state)
{
	(void)state;
	static const char want[] = "node web1: has no `host`; write nodes.web1.host = \"...\"";
	/* Nix 2.8 puts the error first */
	assert_complaint("error: belay: node web1: has no `host`; write nodes.web1.host = "
			 "\"...\"\n"
			 "\n"
			 "       … while evaluating 'fail'\n"
			 "\n"
			 "       at /nix/store/x-belay/nix/lib.nix:12:10:\n"
			 "\n"
			 "           11|\n"
			 "           12|   fail = text: throw \"belay: ${text}\";\n"
			 "             |          ^\n"
			 "           13|\n",
			 want);
	/* newer ones put it last, behind the trace */
	assert_complaint(
		"error:\n"
		"       … while evaluating the attribute 'nodes'\n"
		"         at /nix/store/x-belay/nix/lib.nix:40:5:\n"
		"           39|   {\n"
		"           40|     nodes = builtins.mapAttrs node fleet.nodes;\n"
		"             |     ^\n"
		"           41|   }\n"
		"\n"
		"       … while calling the 'throw' builtin\n"
		"         at /nix/store/x-belay/nix/lib.nix:12:17:\n"
		"\n"
		"       error: belay: node web1: has no `host`; write nodes.web1.host = "
		"\"...\"\n",
		want);
	/* warnings before, and two of ours: the last is the cause */
	assert_complaint("warning: Git tree '/home/alice/fleet' is dirty\n"
			 "error: belay: first\n"
			 "error: belay: second\n"
			 "(use '--show-trace' to show detailed location information)\n",
			 "second");
	assert_complaint("error: belay: no line end", "no line end");
	assert_complaint("error: belay: ", "");
}

static void nixs_last_error_becomes_one_line(void **state)
{
	(void)state;
	assert_complaint(
		"error: undefined variable 'foo'\n"
		"\n"
		"       at /home/alice/fleet.nix:3:17:\n"
		"\n"
		"            2|   nodes.web1 = {\n"
		"            3|     toplevel = foo;\n"
		"             |                ^\n"
		"            4|   };\n",
		"undefined variable 'foo' at /home/alice/fleet.nix:3:17: 2| nodes.web1 = { "
		"3| toplevel = foo; | ^ 4| };");
	assert_complaint("error:\n"
			 "       … while calling the 'import' builtin\n"
			 "         at /home/alice/fleet.nix:1:1:\n"
			 "            1| import ./x.nix\n"
			 "             | ^\n"
			 "\n"
			 "       error: path '/home/alice/x.nix' does not exist\n",
			 "path '/home/alice/x.nix' does not exist");
	assert_complaint(
		"error: syntax error, unexpected end of file, expecting '}'\n"
		"       at «string»:1:3:\n"
		"            1| { \n"
		"             |   ^\n",
		"syntax error, unexpected end of file, expecting '}' at «string»:1:3: 1| "
		"{ | ^");
	/* a message that begins with a line end, before the trace and behind it */
	assert_complaint("error:\n"
			 "       Failed assertions:\n"
			 "       - no disk\n"
			 "       - no key\n",
			 "Failed assertions: - no disk - no key");
	assert_complaint("error:\n"
			 "       … in error: of old\n"
			 "\n"
			 "       error:\n"
			 "       Failed assertions:\n"
			 "       - no disk\n",
			 "Failed assertions: - no disk");
	assert_complaint("evaluating file '/x'\nwarning: foo\n"
			 "error: cached failure of attribute 'belay'\n",
			 "cached failure of attribute 'belay'");
}

static void what_is_no_error_of_nix_is_told_as_it_is(void **state)
{
	(void)state;
	assert_complaint("", "");
	assert_complaint("\n \t\n", "");
	assert_complaint("bash: nix: command not found\n", "bash: nix: command not found");
	assert_complaint("terminate called\n  after   throwing\n",
			 "terminate called after throwing");
}

static void colours_are_left_out(void **state)
{
	(void)state;
	assert_complaint("error: attribute '\033[35;1mfoo\033[0m' missing\n"
			 "\n"
			 "       at \033[35;1m/home/alice/fleet.nix:3:17\033[0m:\n",
			 "attribute 'foo' missing at /home/alice/fleet.nix:3:17:");
	/* a sequence that is cut off at the end of what was kept */
	assert_complaint("error: it is \033[35;1", "it is");
	assert_complaint("error: it is \033", "it is");
}

static void a_long_complaint_is_cut(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) said = { 0 };
	bl_buf_puts(&said, "error: ");
	for (int i = 0; i < 5000; i++)
		bl_buf_puts(&said, "word\n  ");
	bl_autofree char *is = bl_nix_complaint(bl_buf_str(&said));
	assert_true(strlen(is) >= 390 && strlen(is) <= 404);
	assert_null(strchr(is, '\n'));
	assert_memory_equal(is, "word word word", 14);
}

static void a_failing_program_is_quoted_and_a_good_one_gives_its_output(void **state)
{
	(void)state;
	static const char *const good[] = { "sh", "-c", "echo out; echo err >&2", NULL };
	static const char *const bad[] = {
		"sh", "-c", "echo out; echo 'error: belay: it is bad' >&2; exit 1", NULL
	};
	static const char *const none[] = { "/no/such/nix", NULL };
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	size_t len = 0;
	assert_works(bl_nix_output(good, &text, &len, &err), &err);
	assert_string_equal(text, "out\n");
	assert_int_equal(len, 4);
	char *untouched = NULL;
	assert_fails(bl_nix_output(bad, &untouched, &len, &err), &err, BL_E_FAILED,
		     "it is bad");
	assert_null(untouched);
	assert_int_equal(bl_nix_output(none, &untouched, NULL, &err), -1);
	assert_int_equal(err.code, BL_E_SYS);
	assert_non_null(strstr(err.msg, "Nix is needed on this machine: "));
	assert_null(untouched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_librarys_own_sentence_is_taken_out_of_the_trace),
		cmocka_unit_test(nixs_last_error_becomes_one_line),
		cmocka_unit_test(what_is_no_error_of_nix_is_told_as_it_is),
		cmocka_unit_test(colours_are_left_out),
		cmocka_unit_test(a_long_complaint_is_cut),
		cmocka_unit_test(a_failing_program_is_quoted_and_a_good_one_gives_its_output),
	};
	return cmocka_run_group_tests_name("nix", tests, NULL, NULL);
}
