/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"

static const struct bl_option table[] = {
	{ "file", 'f', BL_OPT_STRING, "FILE", "a file", offsetof(struct bl_args, file), 0, 0 },
	{ "run", 0, BL_OPT_STRING, "RUN", "a run", offsetof(struct bl_args, run), 0, 0 },
	{ "on", 0, BL_OPT_LIST, "LIST", "hosts", offsetof(struct bl_args, on), 0, 0 },
	{ "json", 0, BL_OPT_FLAG, NULL, "events", offsetof(struct bl_args, json), 0, 0 },
	{ "help", 'h', BL_OPT_FLAG, NULL, "this", offsetof(struct bl_args, help), 0, 0 },
	{ "parallel", 'p', BL_OPT_NUMBER, "N", "at once", offsetof(struct bl_args, parallel), 1,
	  1000 },
	{ NULL, 0, BL_OPT_FLAG, NULL, NULL, 0, 0, 0 },
};
static const struct bl_command sample = { .name = "sample",
					  .words = "[HOST]...",
					  .summary = "Does something.",
					  .details = "",
					  .options = table,
					  .words_max = 3 };

/* @line split at single blanks; '_' stands for an empty word. */
static int parse(const struct bl_command *cmd, const char *line, struct bl_args *out,
		 struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_strv_split(&argv, line, ' ');
	for (size_t i = 0; i < argv.n; i++)
		if (strcmp(argv.items[i], "_") == 0)
			argv.items[i][0] = '\0';
	return bl_options_parse(cmd, (int)argv.n, argv.items, out, err);
}

static void without_words_the_defaults_stand(void **state)
{
	(void)state;
	BL_AUTO(bl_args) args = { 0 };
	struct bl_err err = { 0 };
	assert_works(parse(&sample, "", &args, &err), &err);
	assert_null(args.file);
	assert_null(args.run);
	assert_int_equal(args.on.n, 0);
	assert_false(args.json || args.help || args.keep_going || args.force_drift);
	assert_int_equal(args.parallel, 10);
	assert_int_equal(args.max, 20);
}

static void a_value_stands_with_its_option_or_behind_it(void **state)
{
	(void)state;
	static const struct {
		const char *line, *file;
		uint64_t parallel;
	} cases[] = {
		{ "--file=a.nix --parallel=7", "a.nix", 7 },
		{ "--file a.nix --parallel 7", "a.nix", 7 },
		{ "-f a.nix -p 7", "a.nix", 7 },
		{ "-fa.nix -p7", "a.nix", 7 },
		{ "--file=a=b=c", "a=b=c", 10 },
		{ "--file=", "", 10 },
		{ "--file _", "", 10 },
		{ "--file --json", "--json", 10 },
		{ "--file -", "-", 10 },
		{ "-f --", "--", 10 },
		/* the last one counts */
		{ "-f a -f b --file=c -p 1 -p 2", "c", 2 },
		{ "-p 1", NULL, 1 },
		{ "-p 1000", NULL, 1000 },
		{ "-p 007", NULL, 7 },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_args) args = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(&sample, cases[i].line, &args, &err), &err);
		assert_true(bl_str_eq(args.file, cases[i].file));
		assert_int_equal(args.parallel, cases[i].parallel);
		assert_int_equal(args.on.n, 0);
		assert_false(args.json);
	}
}

static void flags_and_words_come_in_any_order(void **state)
{
	(void)state;
	static const struct {
		const char *line, *words;
		bool json, help;
	} cases[] = {
		{ "--json", "", true, false },
		{ "-h", "", false, true },
		{ "--help --json --json", "", true, true },
		{ "web1 --json web2", "web1,web2", true, false },
		{ "--on web1 web2 --on=web3", "web1,web2,web3", false, false },
		{ "--on a,b @tag !x", "a,b,@tag,!x", false, false },
		{ "-", "-", false, false },
		{ "-- --json -h", "--json,-h", false, false },
		{ "--json -- --", "--", true, false },
		{ "a -- b", "a,b", false, false },
		{ "_", "", false, false },
		{ "--", "", false, false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_args) args = { 0 };
		BL_AUTO(bl_buf) words = { 0 };
		struct bl_err err = { 0 };
		assert_works(parse(&sample, cases[i].line, &args, &err), &err);
		for (size_t k = 0; k < args.on.n; k++)
			bl_buf_printf(&words, "%s%s", k ? "," : "", args.on.items[k]);
		assert_string_equal(bl_buf_str(&words), cases[i].words);
		assert_int_equal(args.json, cases[i].json);
		assert_int_equal(args.help, cases[i].help);
	}
}

static void mistakes_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *line, *msg;
	} cases[] = {
		{ "--nope", "'--nope' is not an option of belay sample" },
		{ "--nope=1", "'--nope=1' is not an option of belay sample" },
		{ "-x", "'-x' is not an option of belay sample" },
		{ "--", NULL },
		{ "---", "'---' is not an option of belay sample" },
		{ "--=x", "'--=x' is not an option of belay sample" },
		/* no shortened names: a later option could make them mean another one */
		{ "--fil x", "'--fil' is not an option of belay sample" },
		{ "--filer x", "'--filer' is not an option of belay sample" },
		{ "--File x", "'--File' is not an option of belay sample" },
		{ "-file", NULL },
		{ "--f x", "'--f' is not an option of belay sample" },
		{ "--json=1", "--json takes no value" },
		{ "--json=", "--json takes no value" },
		{ "-hf", "--help takes no value" },
		{ "--file", "--file wants a value: FILE" },
		{ "-f", "--file wants a value: FILE" },
		{ "--json --parallel", "--parallel wants a value: N" },
		{ "--parallel 0", "--parallel: '0' is not a number from 1 to 1000" },
		{ "--parallel 1001", "--parallel: '1001' is not a number from 1 to 1000" },
		{ "--parallel=", "--parallel: '' is not a number from 1 to 1000" },
		{ "-p -1", "--parallel: '-1' is not a number from 1 to 1000" },
		{ "-p=7", "--parallel: '=7' is not a number from 1 to 1000" },
		{ "-p 7x", "--parallel: '7x' is not a number from 1 to 1000" },
		{ "-p +7", "--parallel: '+7' is not a number from 1 to 1000" },
		{ "-p 0x7", "--parallel: '0x7' is not a number from 1 to 1000" },
		{ "-p 18446744073709551617",
		  "--parallel: '18446744073709551617' is not a number from 1 to 1000" },
		{ "a b c d", "'d' is one word too many" },
		{ "a b c -- --json", "'--json' is one word too many" },
		{ "a b c -", "'-' is one word too many" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_args) args = { .max = 99 };
		struct bl_err err = { 0 };
		if (!cases[i].msg) {
			assert_works(parse(&sample, cases[i].line, &args, &err), &err);
			continue;
		}
		assert_fails(parse(&sample, cases[i].line, &args, &err), &err, BL_E_USAGE,
			     cases[i].msg);
		/* what was read before the mistake is thrown away */
		assert_int_equal(args.max, 99);
		assert_null(args.file);
		assert_null(args.on.items);
	}
}

static void options_for_nix_are_kept_with_their_values(void **state)
{
	(void)state;
	static const struct bl_option nix_table[] = {
		{ "show-trace", 0, BL_OPT_NIX, NULL, "t", offsetof(struct bl_args, nix), 0, 0 },
		{ "option", 0, BL_OPT_NIX, "NAME VALUE", "o", offsetof(struct bl_args, nix), 0,
		  0 },
		{ "include", 'I', BL_OPT_NIX, "PATH", "i", offsetof(struct bl_args, nix), 0,
		  0 },
		{ NULL, 0, BL_OPT_FLAG, NULL, NULL, 0, 0, 0 },
	};
	static const struct {
		const char *line, *nix, *msg;
	} cases[] = {
		{ "--show-trace", "--show-trace", NULL },
		{ "--option cores 2 web1", "--option|cores|2", NULL },
		{ "--option=cores 2", "--option|cores|2", NULL },
		{ "--option --option --option --show-trace",
		  "--option|--option|--option|--show-trace", NULL },
		{ "-Inixpkgs=/x -I y", "--include|nixpkgs=/x|--include|y", NULL },
		{ "--option cores", NULL, "--option wants a value: NAME VALUE" },
		{ "--option", NULL, "--option wants a value: NAME VALUE" },
		{ "--show-trace=1", NULL, "--show-trace takes no value" },
	};
	struct bl_command cmd = sample;
	cmd.options = nix_table;
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_args) args = { 0 };
		BL_AUTO(bl_buf) text = { 0 };
		struct bl_err err = { 0 };
		int rc = parse(&cmd, cases[i].line, &args, &err);
		if (cases[i].msg) {
			assert_fails(rc, &err, BL_E_USAGE, cases[i].msg);
			continue;
		}
		assert_works(rc, &err);
		for (size_t k = 0; k < args.nix.n; k++)
			bl_buf_printf(&text, "%s%s", k ? "|" : "", args.nix.items[k]);
		assert_string_equal(bl_buf_str(&text), cases[i].nix);
	}
}

static void a_command_without_words_takes_none(void **state)
{
	(void)state;
	struct bl_command cmd = sample;
	BL_AUTO(bl_args) args = { 0 };
	struct bl_err err = { 0 };
	cmd.words_max = 0;
	assert_fails(parse(&cmd, "web1", &args, &err), &err, BL_E_USAGE,
		     "'web1' is one word too many");
	assert_works(parse(&cmd, "--on web1", &args, &err), &err);
}

static void help_is_made_of_the_table(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) text = { 0 };
	bl_options_help(&sample, &text);
	assert_string_equal(bl_buf_str(&text), "usage: belay sample [OPTION]... [HOST]...\n"
					       "\n"
					       "Does something.\n"
					       "\n"
					       "  -f, --file FILE          a file\n"
					       "      --run RUN            a run\n"
					       "      --on LIST            hosts\n"
					       "      --json               events\n"
					       "  -h, --help               this\n"
					       "  -p, --parallel N         at once\n");
}

static void check_option(const struct bl_command *cmd, const struct bl_option *o)
{
	size_t size = 0;
	switch (o->kind) {
	case BL_OPT_FLAG:
		size = sizeof(bool);
		assert_null(o->arg);
		break;
	case BL_OPT_STRING:
		size = sizeof(char *);
		assert_non_null(o->arg);
		break;
	case BL_OPT_LIST:
		size = sizeof(struct bl_strv);
		assert_non_null(o->arg);
		break;
	case BL_OPT_NUMBER:
		size = sizeof(uint64_t);
		assert_non_null(o->arg);
		assert_true(o->min < o->max);
		break;
	case BL_OPT_NIX:
		size = sizeof(struct bl_strv);
		break;
	case BL_OPT_NONE:
		assert_null(o->arg);
		assert_int_equal(o->offset, 0);
		break;
	}
	assert_true(o->offset + size <= sizeof(struct bl_args));
	assert_true(o->help && *o->help);
	for (const struct bl_option *other = cmd->options; other != o; other++) {
		assert_string_not_equal(o->name, other->name);
		assert_true(!o->letter || o->letter != other->letter);
		if (o->kind != BL_OPT_NIX && o->kind != BL_OPT_NONE)
			assert_int_not_equal(o->offset, other->offset);
	}
}

static void the_real_commands_tables_are_sound(void **state)
{
	(void)state;
	size_t n = 0;
	for (; bl_commands[n]; n++) {
		const struct bl_command *cmd = bl_commands[n];
		bool help = false;
		for (const struct bl_option *o = cmd->options; o->name; o++) {
			check_option(cmd, o);
			help = help || strcmp(o->name, "help") == 0;
		}
		assert_true(help);
		assert_non_null(cmd->run);
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(cmd->name, bl_commands[i]->name);
	}
	assert_int_equal(n, 20);
}

static void help_of_every_command_fits_80_columns(void **state)
{
	(void)state;
	for (size_t i = 0; bl_commands[i]; i++) {
		BL_AUTO(bl_buf) text = { 0 };
		BL_AUTO(bl_strv) lines = { 0 };
		bl_options_help(bl_commands[i], &text);
		bl_strv_split(&lines, bl_buf_str(&text), '\n');
		for (size_t k = 0; k < lines.n; k++)
			if (strlen(lines.items[k]) > 80)
				fail_msg("belay %s --help: %s", bl_commands[i]->name,
					 lines.items[k]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_words_the_defaults_stand),
		cmocka_unit_test(a_value_stands_with_its_option_or_behind_it),
		cmocka_unit_test(flags_and_words_come_in_any_order),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(options_for_nix_are_kept_with_their_values),
		cmocka_unit_test(a_command_without_words_takes_none),
		cmocka_unit_test(help_is_made_of_the_table),
		cmocka_unit_test(the_real_commands_tables_are_sound),
		cmocka_unit_test(help_of_every_command_fits_80_columns),
	};
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
