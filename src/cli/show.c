/* SPDX-License-Identifier: MIT */
/* `belay show`: the settings of nodes as they were evaluated, a line each. */
#include "cli/cmd.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 26 /* privilegeEscalationCommand */

static const struct bl_option options[] = {
	{ "system", 0, BL_OPT_FLAG, NULL, "evaluate the system too, and show its paths",
	  offsetof(struct bl_args, systems), 0, 0 },
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	{ "json", 0, BL_OPT_FLAG, NULL, "one JSON object a line for each node",
	  offsetof(struct bl_args, json), 0, 0 },
	BL_HELP_OPTION,
};

/* Under the names that they have in the fleet file, in the order of the schema's page. */
static const struct {
	const char *key, *unit;
} settings[] = {
	{ "successTimeout", " s" },
	{ "switchTimeout", " s" },
	{ "bootTimeout", " s" },
	{ "strategy", "" },
	{ "reboot", "" },
	{ "rollbackReboot", "" },
	{ "ignoreFailingSystemdUnits", "" },
	{ "privilegeEscalationCommand", "" },
	{ "sshOptions", "" },
	{ "hasFastConnection", "" },
	{ "substituteOnTarget", "" },
	{ "buildOn", "" },
	{ "preActivate", "" },
	{ "postRollback", "" },
};

/* What all checks have; other keys are what one looks at. */
static const char *const of_all_checks[] = { "name",    "type",    "where", "required",
					     "timeout", "retries", "hold" };

/* What has several lines goes on below its first one. */
static void print_line(const char *label, const char *text)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		bl_autofree char *line = bl_visible(lines.items[i]);
		printf("  %-*s  %s\n", LABEL_WIDTH, i == 0 ? label : "", line);
	}
}

/* Nothing for what is not set. */
static void put_value(struct bl_buf *b, const json_t *v, const char *unit)
{
	if (json_is_string(v))
		bl_buf_puts(b, json_string_value(v));
	else if (json_is_integer(v))
		bl_buf_printf(b, "%lld%s", (long long)json_integer_value(v), unit);
	else if (json_is_boolean(v))
		bl_buf_puts(b, json_is_true(v) ? "true" : "false");
	for (size_t i = 0; i < json_array_size(v); i++) {
		bl_buf_puts(b, i ? " " : "");
		put_value(b, json_array_get(v, i), unit);
	}
}

static void print_value(const char *label, const json_t *v, const char *unit)
{
	BL_AUTO(bl_buf) text = { 0 };
	put_value(&text, v, unit);
	print_line(label, bl_buf_str(&text));
}

static void print_units(const json_t *units)
{
	static const char *const lists[] = { "ignore", "listed" };
	BL_AUTO(bl_buf) text = { 0 };
	put_value(&text, json_object_get(units, "policy"), "");
	for (size_t i = 0; i < BL_COUNT(lists); i++) {
		const json_t *list = json_object_get(units, lists[i]);
		if (json_array_size(list) == 0)
			continue;
		bl_buf_printf(&text, "%s%s: ", text.len ? "; " : "", lists[i]);
		put_value(&text, list, "");
	}
	print_line("units", bl_buf_str(&text));
}

static bool is_of_all_checks(const char *key)
{
	for (size_t i = 0; i < BL_COUNT(of_all_checks); i++)
		if (strcmp(of_all_checks[i], key) == 0)
			return true;
	return false;
}

static void put_field(struct bl_buf *b, const json_t *check, const char *key, const char *unit)
{
	const json_t *v = json_object_get(check, key);
	if (!v || json_is_null(v))
		return;
	bl_buf_printf(b, ", %s ", key);
	put_value(b, v, unit);
}

static void print_check(const json_t *check)
{
	BL_AUTO(bl_buf) text = { 0 };
	bl_autofree char *label =
		bl_xprintf("check %s", json_string_value(json_object_get(check, "name")));
	const char *key;
	json_t *v;
	put_value(&text, json_object_get(check, "type"), "");
	json_object_foreach((json_t *)check, key, v)
	{
		if (!is_of_all_checks(key))
			put_field(&text, check, key, "");
	}
	put_field(&text, check, "where", "");
	put_field(&text, check, "timeout", " s");
	put_field(&text, check, "retries", "");
	if (json_integer_value(json_object_get(check, "hold")) > 0)
		put_field(&text, check, "hold", " s");
	if (json_is_false(json_object_get(check, "required")))
		bl_buf_puts(&text, ", not required");
	/* a command may have several lines, and a check is to have one */
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] == '\n')
			text.data[i] = ' ';
	print_line(label, bl_buf_str(&text));
}

static void print_source(const struct bl_source *source)
{
	bl_autofree char *text = NULL;
	if (source->kind == BL_SRC_FLAKE)
		text = bl_xprintf("flake %s, output %s", source->where,
				  source->foreign ? source->foreign : "belay");
	else
		text = bl_xprintf("%s%s", source->where,
				  source->kind == BL_SRC_JSON ? ", evaluated before" : "");
	print_line("from", text);
}

static void print_system(const struct bl_node *node)
{
	print_line("platform", node->system ? node->system : "not known");
	print_line("path", node->out_path ? node->out_path : "");
	print_line("drvPath", node->drv_path ? node->drv_path : "none: it is given as built");
}

static void print_node(const struct bl_source *source, const struct bl_node *node,
		       const json_t *settings_of, bool system)
{
	const json_t *notes = json_object_get(settings_of, "notes");
	const json_t *checks = json_object_get(settings_of, "checks");
	puts(node->name);
	print_line("host", node->host);
	print_source(source);
	print_value("tags", json_object_get(settings_of, "tags"), "");
	print_line("enabled",
		   node->enable ? "yes" : "no: it is deployed only by its full name");
	for (size_t i = 0; i < json_array_size(notes); i++)
		print_value("note", json_array_get(notes, i), "");
	if (system)
		print_system(node);
	for (size_t i = 0; i < BL_COUNT(settings); i++)
		print_value(settings[i].key, json_object_get(settings_of, settings[i].key),
			    settings[i].unit);
	print_units(json_object_get(settings_of, "units"));
	for (size_t i = 0; i < json_array_size(checks); i++)
		print_check(json_array_get(checks, i));
}

/* The document's object, with its name in front. */
static void print_json(const struct bl_node *node, const json_t *settings_of, bool system)
{
	json_t *o = json_pack("{s:s}", "name", node->name);
	json_object_update(o, (json_t *)settings_of);
	if (!system) {
		json_object_del(o, "toplevel");
		json_object_del(o, "system");
	}
	bl_autofree char *text = json_dumps(o, JSON_COMPACT);
	if (text)
		puts(text);
	json_decref(o);
}

/* What is said of the fleet and of no node of it. */
static void tell_notes(const json_t *doc)
{
	const json_t *notes = json_object_get(doc, "notes");
	BL_AUTO(bl_strv) texts = { 0 };
	for (size_t i = 0; i < json_array_size(notes); i++)
		bl_strv_add(&texts, json_string_value(json_array_get(notes, i)));
	bl_cmd_notes(&texts);
}

static int run_show(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	size_t failed = 0;
	if (bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0)
		return bl_cmd_fail(&err);
	tell_notes(fleet.document);
	/* the others are shown with their node */
	bl_strv_free(&fleet.notes);
	if (args->systems && bl_cmd_evaluate(args, &source, &fleet, &sel, &failed, &err) < 0)
		return bl_cmd_fail(&err);
	const json_t *nodes = json_object_get(fleet.document, "nodes");
	for (size_t i = 0; i < sel.n; i++) {
		const struct bl_node *node = sel.nodes[i];
		const json_t *settings_of = json_object_get(nodes, node->name);
		if (args->json)
			print_json(node, settings_of, args->systems);
		else
			print_node(&source, node, settings_of, args->systems);
	}
	return BL_EXIT_OK;
}

const struct bl_command bl_cmd_show = {
	.name = "show",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Show the settings of nodes as they were evaluated",
	.details =
		"\nDefaults are in it, and what is not set is left out. No system is evaluated\n"
		"without --system, and no host is asked.\n",
	.options = options,
	.words_max = 10000,
	.run = run_show,
};
