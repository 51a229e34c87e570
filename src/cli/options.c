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
	case BL_OPT_NIX:
		bl_strv_add(at, value);
		return 0;
	case BL_OPT_NONE:
		return 0;
	}
	return 0;
}

/* How many values stand behind it. */
static size_t values_of(const struct bl_option *o)
{
	size_t n = o->arg ? 1 : 0;
	for (const char *c = o->arg; c && *c; c++)
		n += *c == ' ';
	return n;
}

static int set_all(const struct bl_option *o, const char *first, int argc, char **argv, int *i,
		   struct bl_args *args, struct bl_err *err)
{
	size_t n = values_of(o);
	if (n == 0 && first)
		return bl_err_set(err, BL_E_USAGE, "--%s takes no value", o->name);
	if (o->kind == BL_OPT_FLAG || o->kind == BL_OPT_NONE)
		return set(o, NULL, args, err);
	if (o->kind == BL_OPT_NIX)
		bl_strv_addf((struct bl_strv *)(void *)((char *)args + o->offset), "--%s",
			     o->name);
	for (size_t k = 0; k < n; k++) {
		const char *value = k == 0 && first ? first : NULL;
		if (!value && ++*i >= argc)
			return bl_err_set(err, BL_E_USAGE, "--%s wants a value: %s", o->name,
					  o->arg);
		if (set(o, value ? value : argv[*i], args, err) < 0)
			return -1;
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
	args = { .parallel = 10,
		 .max = 20,
		 .soak = BL_NOT_GIVEN,
		 .max_failures = BL_NOT_GIVEN,
		 .compression = BL_NOT_GIVEN };
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
		if (set_all(o, value, argc, argv, &i, &args, err) < 0)
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
	free(args->attr);
	free(args->sign_key);
	bl_strv_free(&args->on);
	bl_strv_free(&args->to);
	bl_strv_free(&args->nix);
	bl_strv_free(&args->nix_build);
	bl_strv_free(&args->nix_both);
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
