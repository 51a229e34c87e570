/* SPDX-License-Identifier: MIT */
#include "cli/generations.h"

#include "cli/cmd.h"
#include "host/command.h"
#include "store/path.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 60000

/* A line each, fields with tabs between them: see `fields`. Everything but the revision is read
 * without running anything of the generation. */
static const char script[] =
	"PATH=\"$PATH:/run/current-system/sw/bin\"; p=/nix/var/nix/profiles/system; now=$(readlink $p); t=$(printf '\\t'); "
	"for l in $p-*-link; do [ -e \"$l\" ] || continue; n=${l#\"$p-\"}; n=${n%-link}; "
	"c=0; [ \"${l##*/}\" != \"${now##*/}\" ] || c=1; k=; s=; "
	"for m in \"$l\"/kernel-modules/lib/modules/*; do [ ! -e \"$m\" ] || k=${m##*/}; done; "
	"for m in \"$l\"/specialisation/*; do [ ! -e \"$m\" ] || s=\"$s${s:+,}${m##*/}\"; done; "
	"v=; [ ! -r \"$l/nixos-version\" ] || read -r v < \"$l/nixos-version\"; "
	"r=$(\"$l/sw/bin/nixos-version\" --configuration-revision 2> /dev/null); "
	"echo \"$n$t$c$t$(stat -c %Y \"$l\")$t$(readlink -f \"$l\")$t$v$t$k$t$s$t$r\"; done";

enum field {
	NUMBER,
	CURRENT,
	TIME,
	SYSTEM,
	VERSION,
	KERNEL,
	SPECIALISATIONS,
	REVISION,
	NFIELDS
};

struct generation {
	uint64_t number;
	char *line; /* what the fields are parts of */
	const char *field[NFIELDS];
};

struct generations {
	struct generation *list; /* oldest first */
	size_t n;
};

static void generations_free(struct generations *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->list[i].line);
	free(g->list);
}

/* A terminal is not to obey it. */
static char *harmless(const char *line)
{
	char *text = bl_xstrdup(line);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' && *c != '\t')
			*c = '?';
	return text;
}

static bool split(struct generation *g)
{
	char *at = g->line;
	for (int i = 0; i < NFIELDS; i++) {
		if (!at)
			return false;
		g->field[i] = at;
		at = strchr(at, '\t');
		if (at)
			*at++ = '\0';
	}
	return !at && bl_parse_u64(g->field[NUMBER], 1, UINT32_MAX, &g->number, NULL) == 0 &&
	       bl_store_path_ok(g->field[SYSTEM]);
}

static int by_number(const void *a, const void *b)
{
	const struct generation *x = a;
	const struct generation *y = b;
	return (x->number > y->number) - (x->number < y->number);
}

static int ask(const struct bl_node *node, struct generations *out, struct bl_err *err)
{
	static const char *const none[] = { NULL };
	BL_AUTO(bl_strv) lines = { 0 };
	bl_autofree char *text = NULL;
	/* looking needs no root */
	struct bl_node plain = *node;
	plain.elevate = (struct bl_strv){ 0 };
	if (bl_host_command(&plain, script, none, LIMIT_MS, NULL, &text, err) < 0)
		return -1;
	bl_strv_split(&lines, text, '\n');
	out->list = bl_xcalloc(lines.n + 1, sizeof(*out->list));
	for (size_t i = 0; i < lines.n; i++) {
		struct generation g = { .line = harmless(lines.items[i]) };
		/* what the login shell prints at its end */
		if (split(&g))
			out->list[out->n++] = g;
		else
			free(g.line);
	}
	if (out->n == 0)
		return bl_err_set(err, BL_E_FAILED,
				  "%s: its system profile has no generations; is it NixOS?",
				  node->name);
	qsort(out->list, out->n, sizeof(*out->list), by_number);
	return 0;
}

int bl_generations_previous(const struct bl_node *node, char **out_system, struct bl_err *err)
{
	struct generations g = { 0 };
	const char *found = NULL;
	if (ask(node, &g, err) < 0) {
		generations_free(&g);
		return -1;
	}
	for (size_t i = 1; i < g.n; i++)
		if (strcmp(g.list[i].field[CURRENT], "1") == 0)
			found = g.list[i - 1].field[SYSTEM];
	if (found)
		*out_system = bl_xstrdup(found);
	generations_free(&g);
	return found ? 0
		     : bl_err_set(err, BL_E_USAGE,
				  "%s: there is no generation before the current one",
				  node->name);
}

static void time_of(const struct generation *g, char out[32])
{
	bl_cmd_time((int64_t)strtoll(g->field[TIME], NULL, 10) * 1000, out);
}

static void print_table(const struct generations *g)
{
	printf("%-18s %-19s %-30s %-10s %-22s %s\n", "Generation", "Build-date",
	       "NixOS version", "Kernel", "Configuration Revision", "Specialisation");
	for (size_t i = g->n; i-- > 0;) {
		const struct generation *one = &g->list[i];
		char when[32];
		time_of(one, when);
		bl_autofree char *number =
			bl_xprintf("%s%s", one->field[NUMBER],
				   *one->field[CURRENT] == '1' ? " current" : "");
		printf("%-18s %-19s %-30s %-10s %-22s [%s]\n", number, when,
		       one->field[VERSION], one->field[KERNEL], one->field[REVISION],
		       one->field[SPECIALISATIONS]);
	}
}

static void print_json(const struct generations *g)
{
	json_t *list = json_array();
	for (size_t i = g->n; i-- > 0;) {
		const struct generation *one = &g->list[i];
		char when[32];
		time_of(one, when);
		BL_AUTO(bl_strv) names = { 0 };
		json_t *specialisations = json_array();
		bl_strv_split(&names, one->field[SPECIALISATIONS], ',');
		for (size_t k = 0; k < names.n; k++)
			json_array_append_new(specialisations, json_string(names.items[k]));
		json_t *o = json_pack("{s:I,s:s,s:s,s:s,s:s,s:o,s:b}", "generation",
				      (json_int_t)one->number, "date", when, "nixosVersion",
				      one->field[VERSION], "kernelVersion", one->field[KERNEL],
				      "configurationRevision", one->field[REVISION],
				      "specialisations", specialisations, "current",
				      *one->field[CURRENT] == '1');
		json_array_append_new(list, o);
	}
	bl_autofree char *text = json_dumps(list, JSON_INDENT(2));
	puts(text ? text : "[]");
	json_decref(list);
}

int bl_generations_list(const struct bl_node *node, bool json, struct bl_err *err)
{
	struct generations g = { 0 };
	int rc = ask(node, &g, err);
	if (rc == 0 && json)
		print_json(&g);
	else if (rc == 0)
		print_table(&g);
	generations_free(&g);
	return rc;
}
