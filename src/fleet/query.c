/* SPDX-License-Identifier: MIT */
#include "fleet/query.h"

#include "base/child.h"
#include "base/file.h"
#include "fleet/cache.h"
#include "nix/nix.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY_MAX (1024UL * 1024)

/* What of a flake can be a fleet, first found, first taken. */
static const struct {
	const char *output;
	const char *reader; /* makes our own form of it; "": is of our own form; NULL: is
			       evaluated */
} outputs[] = {
	/* REF#belay alone would find a package of that name first */
	{ "belay.belayFleet", NULL },
	{ "belay", "" },
	{ "colmenaHive", "readers/colmena.nix" },
	{ "deploy", "readers/deploy-rs.nix" },
	{ "nixosConfigurations", "readers/nixos.nix" },
};

void bl_source_take_nixos(struct bl_source *s)
{
	/* it is the last one, behind those that are made for deployments */
	s->output = BL_COUNT(outputs) - 1;
	s->decided = true;
}

/* ---- the sources */

static bool has_flag(const struct bl_source *source, const char *flag)
{
	return bl_strv_has(&source->flags, flag);
}

/* What Nix says of the flake and its inputs, by content: the same text, the same fleet. */
static char *identity(const struct bl_source *source)
{
	BL_AUTO(bl_strv) argv = { 0 };
	char *text = NULL;
	bl_strv_add(&argv, "nix");
	bl_strv_add(&argv, "--extra-experimental-features");
	bl_strv_add(&argv, "nix-command flakes");
	bl_strv_add(&argv, "flake");
	bl_strv_add(&argv, "metadata");
	bl_strv_add(&argv, "--json");
	bl_strv_add(&argv, "--no-write-lock-file");
	for (size_t i = 0; i < source->flags.n; i++)
		if (strcmp(source->flags.items[i], "--show-trace") != 0)
			bl_strv_add(&argv, source->flags.items[i]);
	bl_strv_add(&argv, source->where);
	/* what is wrong with the flake is told where it is evaluated */
	if (bl_nix_output((const char *const *)argv.items, &text, NULL, NULL) < 0)
		return NULL;
	return text;
}

/* What nix-instantiate evaluates for files. */
static const char *program_for(const struct bl_source *source)
{
	return source->kind == BL_SRC_SYSTEM ? "system.nix" : "read.nix";
}

static int begin_file(const struct bl_source *source, struct bl_err *err)
{
	bl_autofree char *reader =
		bl_xprintf("%s/nix/%s", source->datadir, program_for(source));
	if (access(reader, R_OK) < 0)
		return bl_err_set(
			err, BL_E_USAGE,
			"belay's Nix library is not in %s: install belay, or set BELAY_DATADIR",
			source->datadir);
	if (has_flag(source, "--override-input"))
		return bl_err_set(err, BL_E_USAGE,
				  "--override-input is for flakes, and this is a file");
	if (*source->where == '/' && access(source->where, R_OK) < 0)
		return bl_err_sys(err, 2, "%s", source->where);
	return 0;
}

int bl_query_begin(struct bl_source *source, const char *datadir, struct bl_err *err)
{
	bl_replace_str(&source->datadir, datadir);
	if (source->identity)
		return 0;
	if (source->kind == BL_SRC_FILE || source->kind == BL_SRC_SYSTEM)
		return begin_file(source, err);
	/* what may look at anything may have changed in anything */
	if (source->kind != BL_SRC_FLAKE || has_flag(source, "--impure") ||
	    has_flag(source, "pure-eval"))
		return 0;
	source->identity = identity(source);
	if (source->identity)
		source->cache = bl_cache_open(source->identity);
	return 0;
}

bool bl_query_unchanged(const struct bl_source *source)
{
	bl_autofree char *now = source->cache ? identity(source) : NULL;
	return now && strcmp(now, source->identity) == 0;
}

/* ---- the question */

static void put_nix_string(struct bl_buf *b, const char *text)
{
	bl_buf_putc(b, '"');
	for (const char *c = text; *c; c++) {
		if (strchr("\\\"$", *c))
			bl_buf_putc(b, '\\');
		bl_buf_putc(b, *c);
	}
	bl_buf_putc(b, '"');
}

static void put_library(struct bl_buf *b, const struct bl_source *source, const char *name)
{
	bl_autofree char *path = bl_xprintf("%s/nix/%s", source->datadir, name);
	bl_autofree char *text = bl_slurp(path, LIBRARY_MAX);
	bl_buf_printf(b, "(%s\n)", text ? text : "");
}

/*
 * What is applied to the flake's output. The library goes along as text, since pure evaluation
 * reads no path outside of the flake.
 */
static char *application(const struct bl_source *source, const char *query)
{
	struct bl_buf b = { 0 };
	const char *reader = outputs[source->output].reader;
	bl_buf_puts(&b, "value: ");
	put_library(&b, source, "query.nix");
	bl_buf_puts(&b, " (builtins.fromJSON ");
	put_nix_string(&b, query);
	bl_buf_puts(&b, ") (");
	if (reader) {
		put_library(&b, source, "read-value.nix");
		put_library(&b, source, "fleet.nix");
		bl_buf_printf(&b, " \"the flake's output '%s'\" (",
			      outputs[source->output].output);
		if (*reader)
			put_library(&b, source, reader);
		bl_buf_puts(&b, " value)");
	} else {
		bl_buf_puts(&b, "value");
	}
	bl_buf_puts(&b, ")");
	return bl_buf_steal(&b);
}

static void flake_argv(const struct bl_source *source, const char *query, struct bl_strv *argv)
{
	bl_strv_add(argv, "nix");
	bl_strv_add(argv, "--extra-experimental-features");
	bl_strv_add(argv, "nix-command flakes");
	bl_strv_add(argv, "eval");
	bl_strv_add(argv, "--json");
	bl_strv_add(argv, "--no-write-lock-file");
	bl_strv_add(argv, "--no-eval-cache");
	bl_strv_addf(argv, "%s#%s", source->where, outputs[source->output].output);
	bl_strv_add(argv, "--apply");
	bl_strv_add_take(argv, application(source, query));
}

static void add_argument(struct bl_strv *argv, const char *name, const char *value)
{
	bl_strv_add(argv, "--argstr");
	bl_strv_add(argv, name);
	bl_strv_add(argv, value);
}

static void file_argv(const struct bl_source *source, const char *query, struct bl_strv *argv)
{
	bool system = source->kind == BL_SRC_SYSTEM;
	bl_strv_add(argv, "nix-instantiate");
	bl_strv_add(argv, "--eval");
	bl_strv_add(argv, "--strict");
	bl_strv_add(argv, "--json");
	bl_strv_add(argv, "--read-write-mode");
	bl_strv_addf(argv, "%s/nix/%s", source->datadir, program_for(source));
	if (*source->where == '/')
		add_argument(argv, "file", source->where);
	if (system) {
		add_argument(argv, "attr", source->attr);
		add_argument(argv, "name", source->name);
	}
	add_argument(argv, "query", query);
}

void bl_query_argv(const struct bl_source *source, const char *query, struct bl_strv *argv)
{
	bool flake = source->kind == BL_SRC_FLAKE;
	if (flake)
		flake_argv(source, query, argv);
	else
		file_argv(source, query, argv);
	/* nix-instantiate is never pure, and does not know the word */
	for (size_t i = 0; i < source->flags.n; i++)
		if (flake || strcmp(source->flags.items[i], "--impure") != 0)
			bl_strv_add(argv, source->flags.items[i]);
}

char *bl_query_names(const char *key, const struct bl_strv *names)
{
	json_t *list = json_array();
	for (size_t i = 0; i < names->n; i++)
		json_array_append_new(list, json_string(names->items[i]));
	json_t *query = json_pack("{s:o}", key, list);
	char *text = query ? json_dumps(query, JSON_COMPACT) : bl_xstrdup("{}");
	json_decref(query);
	return text;
}

/* ---- the answer */

static bool begins_with_any(const char *line, const char *const *words)
{
	while (*words && !bl_starts_with(line, *words))
		words++;
	return *words;
}

static void pass_on_one(struct bl_source *source, const char *text)
{
	if (bl_strv_has(&source->told, text))
		return;
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		bl_autofree char *visible = bl_visible(lines.items[i]);
		fprintf(stderr, "%s\n", visible);
	}
	bl_strv_add(&source->told, text);
}

/*
 * Warnings and traces, each once: the same ones come from every evaluation. Nix does not mark
 * where one of several lines ends, so that is where something else begins.
 */
static void pass_on(struct bl_source *source, const char *text)
{
	static const char *const first[] = { "trace: ", "warning: ", "evaluation warning: ",
					     NULL };
	static const char *const other[] = { "error:",     "(use ",       "building ",
					     "copying ",   "fetching ",   "downloading ",
					     "querying ",  "these ",      "this ",
					     "unpacking ", "evaluating ", NULL };
	BL_AUTO(bl_strv) lines = { 0 };
	BL_AUTO(bl_buf) one = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i <= lines.n; i++) {
		const char *line = i < lines.n ? lines.items[i] : "error:";
		bool begins = begins_with_any(line, first);
		if (one.len > 0 && (begins || begins_with_any(line, other))) {
			size_t len = one.len;
			while (len > 0 && one.data[len - 1] == '\n')
				len--;
			bl_autofree char *message = bl_xstrndup(one.data, len);
			pass_on_one(source, message);
			bl_buf_clear(&one);
		}
		if (begins || one.len > 0)
			bl_buf_printf(&one, "%s%s", begins ? "" : "\n", line);
	}
}

/* The folder that a flake reference names, or NULL. */
static char *folder_of(const char *ref)
{
	static const char *const schemes[] = { "git+file://", "path:", "" };
	for (size_t i = 0; i < BL_COUNT(schemes); i++) {
		if (!bl_starts_with(ref, schemes[i]))
			continue;
		ref += strlen(schemes[i]);
		bl_autofree char *dir = bl_xstrndup(ref, strcspn(ref, "?#"));
		return bl_realpath(dir);
	}
	return NULL;
}

/* A file that is missing in the flake's copy in the store, as it is called in the flake. */
static char *missing_file(const char *said)
{
	static const char *const before[] = { "-source/", "contain a '/", "Path '", "path '" };
	for (size_t i = 0; i < BL_COUNT(before); i++) {
		const char *at = strstr(said, before[i]);
		if (!at)
			continue;
		at += strlen(before[i]);
		return bl_xstrndup(at, strcspn(at, "'\" \n"));
	}
	return NULL;
}

/* Git's flakes see only what git knows: the usual reason for a file that is there and missing.
 */
static bool is_untracked(const struct bl_source *source, const char *said, char **out_file)
{
	bl_autofree char *dir = folder_of(source->where);
	bl_autofree char *file = missing_file(said);
	if (!dir || !file || !*file)
		return false;
	bl_autofree char *path = bl_xprintf("%s/%s", dir, file);
	const char *const argv[] = { "git", "-C", dir, "ls-files", "--error-unmatch",
				     "--",  file, NULL };
	const struct bl_child_spec spec = { .argv = argv, .out_max = 4096 };
	BL_AUTO(bl_child_result) r = { 0 };
	if (access(path, F_OK) < 0 || bl_child_run(&spec, &r, NULL) < 0 || r.status != 1)
		return false;
	*out_file = BL_STEAL(file);
	return true;
}

int bl_query_result(struct bl_source *source, const struct bl_nix_result *result,
		    struct bl_err *err)
{
	bl_autofree char *untracked = NULL;
	if (result->status == 0) {
		pass_on(source, result->err);
		return 0;
	}
	if (has_flag(source, "--show-trace"))
		fputs(result->err, stderr);
	if (source->kind == BL_SRC_FLAKE && is_untracked(source, result->err, &untracked))
		return bl_err_set(
			err, BL_E_FAILED,
			"'%s' is there, but git does not know it, and so the flake does not "
			"see it: git add %s",
			untracked, untracked);
	bl_autofree char *said = bl_nix_complaint(result->err);
	return bl_err_set(err, BL_E_FAILED, "%s", said);
}

struct asking {
	struct bl_source *source;
	const struct bl_strv *argv;
	char *answer;
	bool begun, absent;
	struct bl_err why;
};

static bool ask_next(void *ctx, struct bl_strv *argv, size_t *out_task)
{
	struct asking *a = ctx;
	if (a->begun)
		return false;
	bl_strv_append(argv, a->argv);
	a->begun = true;
	*out_task = 0;
	return true;
}

static void ask_done(void *ctx, BL_UNUSED size_t task, const struct bl_nix_result *result)
{
	struct asking *a = ctx;
	a->absent = result->status != 0 && a->source->kind == BL_SRC_FLAKE &&
		    strstr(result->err, "does not provide attribute");
	if (!a->absent && bl_query_result(a->source, result, &a->why) == 0)
		a->answer = bl_xstrdup(result->out);
}

/* 1 where the flake has no such output. */
static int ask_once(struct bl_source *source, const char *query, char **out, struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_query_argv(source, query, &argv);
	struct asking a = { .source = source, .argv = &argv };
	const struct bl_nix_pool one = {
		.workers = 1, .next = ask_next, .done = ask_done, .ctx = &a
	};
	if (bl_nix_pool_run(&one, err) < 0)
		return -1;
	if (a.absent)
		return 1;
	if (!a.answer) {
		if (err)
			*err = a.why;
		return -1;
	}
	if (bl_query_unchanged(source))
		bl_cache_put(source->cache, &argv, a.answer);
	*out = a.answer;
	return 0;
}

/* What is remembered of the outputs comes before Nix is started for any of them. */
static bool remembered(struct bl_source *source, const char *query, char **out)
{
	size_t last = source->decided ? source->output : BL_COUNT(outputs) - 1;
	size_t first = source->decided ? source->output : 0;
	for (size_t i = first; source->cache && i <= last; i++) {
		BL_AUTO(bl_strv) argv = { 0 };
		source->output = i;
		bl_query_argv(source, query, &argv);
		*out = bl_cache_get(source->cache, &argv);
		if (*out)
			return true;
	}
	source->output = first;
	return false;
}

static void decide(struct bl_source *source)
{
	const char *reader = outputs[source->output].reader;
	source->decided = true;
	if (source->kind == BL_SRC_FLAKE && reader && *reader)
		source->foreign = outputs[source->output].output;
}

int bl_query_ask(struct bl_source *source, const char *query, char **out, struct bl_err *err)
{
	size_t n = source->kind == BL_SRC_FLAKE && !source->decided ? BL_COUNT(outputs) : 1;
	int rc = remembered(source, query, out) ? 0 : 1;
	for (size_t i = 0; rc == 1 && i < n; i++) {
		if (!source->decided)
			source->output = i;
		rc = ask_once(source, query, out, err);
	}
	if (rc == 0)
		decide(source);
	if (rc != 1)
		return rc;
	if (source->decided)
		return bl_err_set(err, BL_E_USAGE, "the flake has no output '%s'",
				  outputs[source->output].output);
	return bl_err_set(
		err, BL_E_USAGE,
		"the flake has none of the outputs 'belay', 'colmenaHive', 'deploy' and "
		"'nixosConfigurations'; add one, or name a fleet file with -f");
}
