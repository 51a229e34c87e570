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
		bl_buf_printf(&out, "  %-10s %s\n", bl_commands[i]->name,
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
	return cmd->run(&args);
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
	for (size_t i = 0; bl_commands[i]; i++)
		if (strcmp(bl_commands[i]->name, name) == 0)
			return run(bl_commands[i], argc - 2, argv + 2);
	fprintf(stderr, "belay: '%s' is not a command; see belay --help\n", name);
	return BL_EXIT_USAGE;
}
