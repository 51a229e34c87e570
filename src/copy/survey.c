/* SPDX-License-Identifier: MIT */
#include "copy/survey.h"

#include "host/command.h"
#include "store/parts.h"
#include "store/path.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_MS  180000
#define PARTS_MAX 4096 /* of one system */

/*
 * $2 the new system, $3 "there" when it is only there, $4 parts that are booted, $5 parts of
 * the network, $6 its units; stdin: the new closure, then a dot. `part` is what store/parts.c
 * does here. Everything is asked before anything is printed behind it, so that "end" stands
 * behind what is whole. A store path has no letters that a shell or xargs would take for
 * others.
 */
static const char script[] =
	"export PATH=\"$PATH:/run/current-system/sw/bin\"; p=/nix/var/nix/profiles/system; d=" BL_UNITS_DIR
	"\n"
	"s=$(readlink -f /run/current-system) && [ -e \"$s\" ] || { echo '/run/current-system names no system: is this a NixOS host?' >&2; exit 1; }\n"
	/* WHICH SYSTEM PART DEPTH */
	"part() (\n"
	"  f=$2/$3 n=0\n"
	"  while [ -L \"$f\" ] && [ $n -lt 40 ]; do\n"
	"    n=$((n + 1)) t=$(readlink \"$f\")\n"
	"    case $t in /nix/store/*) f=$t ;; /*) printf 'part %s %s %s\\n' $1 \"$t\" \"$3\"; exit ;; *) f=${f%/*}/$t ;; esac\n"
	"  done\n"
	"  if [ -f \"$f\" ]; then v=$(sha256sum < \"$f\") && printf 'part %s %s %s\\n' $1 \"${v%% *}\" \"$3\"\n"
	"  elif [ -d \"$f\" ] && [ $4 = 0 ]; then printf 'part %s %s %s\\n' $1 \"$(readlink -f \"$f\")\" \"$3\"\n"
	"  elif [ -d \"$f\" ]; then\n"
	"    printf 'part %s folder %s\\n' $1 \"$3\"\n"
	"    for e in \"$f\"/*; do { [ -e \"$e\" ] || [ -L \"$e\" ]; } && part $1 \"$2\" \"$3/${e##*/}\" $(($4 - 1)); done\n"
	"  fi\n"
	")\n"
	/* WHICH SYSTEM PARTS-OF-THE-NETWORK UNITS */
	"network() {\n"
	"  for i in $3; do part $1 $2 $i 3; done\n"
	"  for i in $4; do for u in $2/$d/$i*; do { [ -e \"$u\" ] || [ -L \"$u\" ]; } && part $1 $2 \"$d/${u##*/}\" 3; done; done\n"
	"}\n"
	/* WHICH SYSTEM */
	"closure() {\n"
	"  l=$(nix-store --query --requisites \"$2\") && z=$(printf '%s\\n' \"$l\" | xargs nix-store --query --size) || exit 1\n"
	"  printf '%s\\n' \"$l\" | sed \"s/^/path $1 /\"; printf '%s\\n' \"$z\" | sed \"s/^/size $1 /\"\n"
	"}\n"
	"m=$(sed '/^\\.$/{s/.*//;q;}' | xargs nix-store --check-validity --print-invalid) || exit 1\n"
	"[ -z \"$m\" ] || printf '%s\\n' \"$m\" | sed 's/^/missing /'\n"
	"g=$(readlink $p); g=${g#system-}\n"
	"echo \"system $s\"; echo \"profile $(readlink -f $p)\"; echo \"generation ${g%-link}\"\n"
	"closure old \"$s\"\n"
	"b=$(readlink -f /run/booted-system) && for i in $4; do part booted \"$b\" $i 0; done\n"
	"network old \"$s\" \"$5\" \"$6\"\n"
	"if [ \"$3\" = there ]; then closure new \"$2\"; for i in $4; do part new \"$2\" $i 0; done; network new \"$2\" \"$5\" \"$6\"; fi\n"
	"echo end\n";

/* ---- what it printed */

struct lists {
	struct bl_strv old_paths, old_sizes, new_paths, new_sizes;
};

static void lists_free(struct lists *l)
{
	bl_strv_free(&l->old_paths);
	bl_strv_free(&l->old_sizes);
	bl_strv_free(&l->new_paths);
	bl_strv_free(&l->new_sizes);
}

/* Of "part WHICH VALUE NAME" what stands behind the first word. */
static int take_part(const char *line, struct bl_survey *out, struct bl_err *err)
{
	struct bl_kv *of = bl_starts_with(line, "booted ") ? &out->booted_parts
			   : bl_starts_with(line, "old ")  ? &out->old_parts
			   : bl_starts_with(line, "new ")  ? &out->new_parts
							   : NULL;
	const char *value = strchr(line, ' ');
	const char *name = value ? strchr(value + 1, ' ') : NULL;
	if (!of || !name || of->n >= PARTS_MAX)
		return bl_err_set(err, BL_E_INPUT, "a part of a system is not understood");
	bl_autofree char *v = bl_xstrndup(value + 1, (size_t)(name - value) - 1);
	bl_kv_add(of, name + 1, v);
	return 0;
}

static int take_path(const char *path, const char *what, char **out, struct bl_err *err)
{
	if (bl_store_path_check(path, what, err) < 0)
		return -1;
	bl_replace_str(out, path);
	return 0;
}

/* What is none of ours is what the login shell prints. */
static int take_line(const char *line, struct lists *l, struct bl_survey *out,
		     struct bl_err *err)
{
	const struct {
		const char *head;
		struct bl_strv *list;
	} lists[] = {
		{ "path old ", &l->old_paths }, { "size old ", &l->old_sizes },
		{ "path new ", &l->new_paths }, { "size new ", &l->new_sizes },
		{ "missing ", &out->missing },
	};
	for (size_t i = 0; i < BL_COUNT(lists); i++)
		if (bl_starts_with(line, lists[i].head))
			bl_strv_add(lists[i].list, line + strlen(lists[i].head));
	if (bl_starts_with(line, "part "))
		return take_part(line + 5, out, err);
	if (bl_starts_with(line, "system "))
		return take_path(line + 7, "what runs", &out->system, err);
	if (bl_starts_with(line, "profile "))
		return take_path(line + 8, "the system profile", &out->profile, err);
	if (bl_starts_with(line, "generation ") &&
	    bl_parse_u64(line + 11, 1, INT64_MAX, &out->generation, NULL) < 0)
		out->generation = 0;
	return 0;
}

static int settle(const struct lists *l, struct bl_survey *out, struct bl_err *err)
{
	if (!out->system || !out->profile)
		return bl_err_set(err, BL_E_INPUT, "it does not tell its system");
	for (size_t i = 0; i < out->missing.n; i++)
		if (bl_store_path_check(out->missing.items[i], "what is missing", err) < 0)
			return -1;
	if (bl_closure_join(&l->old_paths, &l->old_sizes, &out->old, err) < 0)
		return -1;
	return bl_closure_join(&l->new_paths, &l->new_sizes, &out->new, err);
}

int bl_survey_parse(const char *text, struct bl_survey *out, struct bl_err *err)
{
	BL_AUTO(bl_survey) s = { 0 };
	BL_AUTO(bl_strv) lines = { 0 };
	struct lists l = { 0 };
	bool whole = false;
	int rc = 0;
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; rc == 0 && i < lines.n && !whole; i++) {
		whole = strcmp(lines.items[i], "end") == 0;
		rc = take_line(lines.items[i], &l, &s, err);
	}
	if (rc == 0)
		rc = whole ? settle(&l, &s, err)
			   : bl_err_set(err, BL_E_INPUT, "its answer has no end");
	lists_free(&l);
	if (rc < 0)
		return -1;
	*out = s;
	s = (struct bl_survey){ 0 };
	return 0;
}

void bl_survey_free(struct bl_survey *s)
{
	free(s->system);
	free(s->profile);
	bl_closure_free(&s->old);
	bl_closure_free(&s->new);
	bl_kv_free(&s->booted_parts);
	bl_kv_free(&s->old_parts);
	bl_kv_free(&s->new_parts);
	bl_strv_free(&s->missing);
	*s = (struct bl_survey){ 0 };
}

/* ---- asking */

static char *words(const char *const *list)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; list[i]; i++)
		bl_buf_printf(&b, "%s%s", i ? " " : "", list[i]);
	return bl_buf_steal(&b);
}

static char *input_of(const struct bl_node *node, const struct bl_closure *c)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; !node->built_there && i < c->n; i++)
		bl_buf_printf(&b, "%s\n", c->paths[i].path);
	bl_buf_puts(&b, ".\n");
	return bl_buf_steal(&b);
}

static void take_answer(const struct bl_host_call *call, struct bl_survey *out)
{
	struct bl_err err = { 0 };
	*out = (struct bl_survey){ .err = call->err };
	if (!call->text || bl_survey_parse(call->text, out, &err) == 0)
		return;
	(void)bl_err_set(
		&out->err, BL_E_INPUT,
		"%s; look by hand (ssh) what its login shell prints, and whether nix-store works there",
		err.msg);
}

int bl_survey(const struct bl_node *const *nodes, const struct bl_closure *closures, size_t n,
	      size_t parallel, struct bl_survey *out, struct bl_err *err)
{
	bl_autofree char *boot = words(bl_boot_parts);
	bl_autofree char *network = words(bl_network_parts);
	bl_autofree char *units = words(bl_network_units);
	struct bl_host_call *calls = bl_xcalloc(n + 1, sizeof(*calls));
	const char *(*args)[6] = bl_xcalloc(n + 1, sizeof(*args));
	BL_AUTO(bl_strv) inputs = { 0 };
	for (size_t i = 0; i < n; i++) {
		args[i][0] = nodes[i]->out_path;
		args[i][1] = nodes[i]->built_there ? "there" : "";
		args[i][2] = boot;
		args[i][3] = network;
		args[i][4] = units;
		bl_strv_add_take(&inputs, input_of(nodes[i], &closures[i]));
		calls[i] = (struct bl_host_call){ .node = nodes[i],
						  .args = args[i],
						  .input = inputs.items[i] };
	}
	int rc = bl_host_commands(calls, n, script, parallel, LIMIT_MS, err);
	for (size_t i = 0; i < n; i++) {
		take_answer(&calls[i], &out[i]);
		free(calls[i].text);
	}
	free(calls);
	free(args);
	return rc;
}
