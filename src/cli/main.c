/* SPDX-License-Identifier: MIT */
/* belay: the operator's program. Finds the command and hands over. */
#include "cli/cmd.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void print_help(void)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_buf_puts(&out,
		    "usage: belay COMMAND [OPTION]... [HOST]...\n\n"
		    "Deploys NixOS to a fleet over ssh. A host that the new system cuts off\n"
		    "goes back to the old one by itself.\n\n");
	for (size_t i = 0; bl_commands[i]; i++)
		bl_buf_printf(&out, "  %-17s%s\n", bl_commands[i]->name,
			      bl_commands[i]->summary);
	bl_buf_puts(&out,
		    "\nbelay COMMAND --help tells more; belay --version prints the version.\n");
	fputs(bl_buf_str(&out), stdout);
}

static int run(const struct bl_command *cmd, int argc, char **argv)
{
	BL_AUTO(bl_args) args = { 0 };
	struct bl_err err = { 0 };
	if (bl_options_parse(cmd, argc, argv, &args, &err) < 0) {
		fprintf(stderr, "belay: %s; see belay %s --help\n", err.msg, cmd->name);
		return BL_EXIT_USAGE;
	}
	if (args.help) {
		BL_AUTO(bl_buf) out = { 0 };
		bl_options_help(cmd, &out);
		fputs(bl_buf_str(&out), stdout);
		return BL_EXIT_OK;
	}
	return bl_cmd_run(cmd, &args);
}

/* The command with the arguments but its own name, which is the last of its kind. */
static int run_without(const struct bl_command *cmd, const char *name, int argc, char **argv)
{
	bl_autofree char **rest = bl_xcalloc((size_t)argc + 1, sizeof(char *));
	int last = argc;
	int n = 0;
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			last = i;
	for (int i = 0; i < argc; i++)
		if (i != last)
			rest[n++] = argv[i];
	return run(cmd, n, rest);
}

/* nixos-rebuild takes its verb at any place: options and then the verb. */
static int run_verb_behind(int argc, char **argv)
{
	BL_AUTO(bl_args) args = { 0 };
	struct bl_err err = { 0 };
	struct bl_command any = bl_cmd_switch_;
	any.words_max = 1;
	any.name = "switch";
	if (bl_options_parse(&any, argc, argv, &args, &err) < 0) {
		fprintf(stderr, "belay: %s, nor a command; see belay --help\n", err.msg);
		return BL_EXIT_USAGE;
	}
	const char *name = args.on.n ? args.on.items[0] : "";
	for (size_t i = 0; bl_commands[i]; i++)
		if (strcmp(bl_commands[i]->name, name) == 0)
			return run_without(bl_commands[i], name, argc, argv);
	fprintf(stderr,
		*name ? "belay: '%s' is not a command; see belay --help\n"
		      : "belay: a command is missing%s; see belay --help\n",
		name);
	return BL_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	bl_log_setup(BL_LOG_WARN, false);
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
	    strcmp(name, "help") == 0) {
		print_help();
		return argc > 1 ? BL_EXIT_OK : BL_EXIT_USAGE;
	}
	if (strcmp(name, "--version") == 0) {
		puts("belay " BELAY_VERSION);
		return BL_EXIT_OK;
	}
	if (name[0] == '-')
		return run_verb_behind(argc - 1, argv + 1);
	for (size_t i = 0; bl_commands[i]; i++)
		if (strcmp(bl_commands[i]->name, name) == 0)
			return run(bl_commands[i], argc - 2, argv + 2);
	fprintf(stderr, "belay: '%s' is not a command; see belay --help\n", name);
	return BL_EXIT_USAGE;
}
