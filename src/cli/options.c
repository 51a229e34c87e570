/* SPDX-License-Identifier: MIT */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

static const struct bl_option *find(const struct bl_command *cmd, const char *name, size_t len)
{
	for (const struct bl_option *o = cmd->options; o->name; o++)
		if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static const struct bl_option *find_letter(const struct bl_command *cmd, char letter)
{
	for (const struct bl_option *o = cmd->options; o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

static int set(const struct bl_option *o, const char *value, struct bl_args *args,
	       struct bl_err *err)
{
	void *at = (char *)args + o->offset;
	switch (o->kind) {
	case BL_OPT_FLAG:
		*(bool *)at = true;
		return 0;
	case BL_OPT_STRING:
		bl_replace_str(at, value);
		return 0;
	case BL_OPT_LIST:
		bl_strv_add(at, value);
		return 0;
	case BL_OPT_NUMBER:
		if (bl_parse_u64(value, o->min, o->max, at, err) < 0)
			return bl_err_wrap(err, "--%s", o->name);
		return 0;
	}
	return 0;
}

/* The option that @arg is, and the value that stands with it (NULL: none). */
static const struct bl_option *match(const struct bl_command *cmd, const char *arg,
				     const char **value)
{
	*value = NULL;
	if (bl_starts_with(arg, "--")) {
		size_t len = strcspn(arg + 2, "=");
		*value = arg[2 + len] ? arg + 3 + len : NULL;
		return find(cmd, arg + 2, len);
	}
	const struct bl_option *o = find_letter(cmd, arg[1]);
	*value = arg[2] ? arg + 2 : NULL;
	return o;
}

int bl_options_parse(const struct bl_command *cmd, int argc, char **argv, struct bl_args *out,
		     struct bl_err *err)
{
	BL_AUTO(bl_args)
	args = {
		.parallel = 10, .max = 20, .soak = BL_NOT_GIVEN, .max_failures = BL_NOT_GIVEN
	};
	bool only_words = false;
	size_t words = 0;
	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i];
		const char *value = NULL;
		if (only_words || arg[0] != '-' || !arg[1]) {
			if (++words > cmd->words_max)
				return bl_err_set(err, BL_E_USAGE, "'%s' is one word too many",
						  arg);
			bl_strv_add(&args.on, arg);
			continue;
		}
		if (strcmp(arg, "--") == 0) {
			only_words = true;
			continue;
		}
		const struct bl_option *o = match(cmd, arg, &value);
		if (!o)
			return bl_err_set(err, BL_E_USAGE, "'%s' is not an option of belay %s",
					  arg, cmd->name);
		if (o->kind == BL_OPT_FLAG && value)
			return bl_err_set(err, BL_E_USAGE, "--%s takes no value", o->name);
		if (o->kind != BL_OPT_FLAG && !value) {
			if (++i >= argc)
				return bl_err_set(err, BL_E_USAGE, "--%s wants a value: %s",
						  o->name, o->arg);
			value = argv[i];
		}
		if (set(o, value, &args, err) < 0)
			return -1;
	}
	*out = args;
	args = (struct bl_args){ 0 };
	return 0;
}

void bl_args_free(struct bl_args *args)
{
	free(args->file);
	free(args->flake);
	free(args->fleet_json);
	free(args->run);
	free(args->target_host);
	free(args->with_system);
	free(args->strategy);
	free(args->canary);
	free(args->batch);
	free(args->on_failure);
	free(args->build_host);
	bl_strv_free(&args->on);
	*args = (struct bl_args){ 0 };
}

void bl_options_help(const struct bl_command *cmd, struct bl_buf *out)
{
	bl_buf_printf(out, "usage: belay %s [OPTION]...%s%s\n\n%s\n%s\n", cmd->name,
		      *cmd->words ? " " : "", cmd->words, cmd->summary, cmd->details);
	for (const struct bl_option *o = cmd->options; o->name; o++) {
		bl_autofree char *head =
			bl_xprintf("%c%c%c --%s%s%s", o->letter ? '-' : ' ',
				   o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
				   o->arg ? " " : "", o->arg ? o->arg : "");
		bl_buf_printf(out, "  %-24s %s\n", head, o->help);
	}
}
