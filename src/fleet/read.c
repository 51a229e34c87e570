/* SPDX-License-Identifier: MIT */
#include "fleet/read.h"

#include "base/file.h"
#include "fleet/query.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_MAX (16UL * 1024 * 1024)

int bl_source_find(const char *dir, struct bl_source *out, struct bl_err *err)
{
	static const char *const names[] = { "fleet.nix", "default.nix", "flake.nix" };
	bl_autofree char *abs = bl_realpath(dir);
	for (size_t i = 0; abs && i < BL_COUNT(names); i++) {
		bl_autofree char *path = bl_xprintf("%s/%s", abs, names[i]);
		if (access(path, F_OK) < 0)
			continue;
		bool flake = strcmp(names[i], "flake.nix") == 0;
		out->kind = flake ? BL_SRC_FLAKE : BL_SRC_FILE;
		out->where = flake ? BL_STEAL(abs) : BL_STEAL(path);
		return 0;
	}
	return bl_err_set(
		err, BL_E_USAGE,
		"no fleet in %s: write fleet.nix, or name one with -f FILE or --flake REF",
		dir);
}

void bl_source_free(struct bl_source *s)
{
	free(s->where);
	free(s->attr);
	free(s->name);
	free(s->datadir);
	free(s->identity);
	free(s->cache);
	bl_strv_free(&s->flags);
	bl_strv_free(&s->told);
	*s = (struct bl_source){ 0 };
}

static int read_json(const char *file, char **text, size_t *len, struct bl_err *err)
{
	bl_autofd int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bl_err_sys(err, 2, "open");
	return bl_read_all(fd, JSON_MAX, text, len, err);
}

/* A glob as the regular expression that Nix knows; NULL: it is not that simple. */
static char *regex_of(const char *glob)
{
	struct bl_buf b = { 0 };
	for (const char *c = glob; *c; c++) {
		if (*c == '*')
			bl_buf_puts(&b, ".*");
		else if (*c == '?')
			bl_buf_putc(&b, '.');
		else if (bl_is_alpha(*c) || bl_is_digit(*c) || strchr("_-", *c))
			bl_buf_putc(&b, *c);
		else if (*c == '.')
			bl_buf_puts(&b, "[.]");
		else {
			bl_buf_free(&b);
			return NULL;
		}
	}
	return bl_buf_steal(&b);
}

/* The question for what @words can select; NULL: for all nodes, since tags are settings too. */
static char *query_for(const struct bl_strv *words)
{
	BL_AUTO(bl_strv) parts = { 0 };
	BL_AUTO(bl_strv) regexes = { 0 };
	for (size_t i = 0; i < words->n; i++)
		bl_strv_split(&parts, words->items[i], ',');
	for (size_t i = 0; i < parts.n; i++) {
		char *regex = regex_of(parts.items[i]);
		if (!regex)
			return NULL;
		bl_strv_add_take(&regexes, regex);
	}
	return parts.n ? bl_query_names("settings", &regexes) : NULL;
}

static int ask(struct bl_source *source, const char *query, struct bl_fleet *out,
	       struct bl_err *err)
{
	bl_autofree char *answer = NULL;
	if (bl_query_ask(source, query, &answer, err) < 0)
		return bl_err_wrap(err, "%s", source->where);
	return bl_fleet_parse_settings(answer, strlen(answer), source->where, out, err);
}

/* Garbage may have been collected since these were evaluated. */
static bool scripts_have_needs(const struct bl_fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++) {
		const struct bl_strv *needs = &fleet->nodes[i].script_needs;
		for (size_t k = 0; k < needs->n; k++) {
			bl_autofree char *drv =
				bl_xstrndup(needs->items[k], strcspn(needs->items[k], "!"));
			if (access(drv, F_OK) < 0)
				return false;
		}
	}
	return true;
}

static int read_with_nix(struct bl_source *source, const char *datadir,
			 const struct bl_strv *words, struct bl_fleet *out, struct bl_err *err)
{
	bl_autofree char *narrow = query_for(words);
	const char *query = narrow ? narrow : "{\"settings\":null}";
	if (bl_query_begin(source, datadir, err) < 0)
		return bl_err_wrap(err, "%s", source->where);
	if (ask(source, query, out, err) < 0)
		return -1;
	if (!source->cache || scripts_have_needs(out))
		return 0;
	char *cache = BL_STEAL(source->cache);
	bl_fleet_free(out);
	int rc = ask(source, query, out, err);
	source->cache = cache;
	return rc;
}

int bl_fleet_read_names(struct bl_source *source, struct bl_fleet *out, struct bl_err *err)
{
	return ask(source, "{\"names\":true}", out, err);
}

int bl_fleet_read(struct bl_source *source, const char *datadir, const struct bl_strv *words,
		  struct bl_fleet *out, struct bl_err *err)
{
	bl_autofree char *text = NULL;
	size_t len = 0;
	if (source->kind != BL_SRC_JSON)
		return read_with_nix(source, datadir, words, out, err);
	if (read_json(source->where, &text, &len, err) < 0)
		return bl_err_wrap(err, "%s", source->where);
	return bl_fleet_parse(text, len, source->where, out, err);
}
