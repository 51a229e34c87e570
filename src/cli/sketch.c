/* SPDX-License-Identifier: MIT */
#include "cli/sketch.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#define NAME_LEN 100 /* of 128, so that a number can be put behind it */

/* ---- looking */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_name_char(char c)
{
	return bl_is_alpha(c) || bl_is_digit(c) || c == '_' || c == '-' || c == '\'';
}

/* What stands behind the comment that begins at @s; @s itself where none does. */
static const char *behind_comment(const char *s)
{
	if (*s == '#')
		return s + strcspn(s, "\n");
	if (!bl_starts_with(s, "/*"))
		return s;
	const char *end = strstr(s + 2, "*/");
	return end ? end + 2 : s + strlen(s);
}

/* The same of a string in '' and ''. */
static const char *behind_lines(const char *s)
{
	for (s += 2; *s; s++) {
		if (!bl_starts_with(s, "''"))
			continue;
		/* ''' ''$ and ''\ are characters */
		if (!s[2] || !strchr("'$\\", s[2]))
			return s + 2;
		s += 2;
	}
	return s;
}

static const char *behind_string(const char *s)
{
	if (bl_starts_with(s, "''"))
		return behind_lines(s);
	if (*s != '"')
		return s;
	for (s++; *s; s++) {
		if (*s == '"')
			return s + 1;
		if (*s == '\\' && s[1])
			s++;
	}
	return s;
}

/* The text without comments and, unless @strings, without what its strings say. */
static char *code_of(const char *text, bool strings)
{
	struct bl_buf b = { 0 };
	const char *s = text;
	while (*s) {
		const char *comment = behind_comment(s);
		/* a name may end with '' */
		bool name = b.len && is_name_char(b.data[b.len - 1]);
		const char *string = name && *s == '\'' ? s : behind_string(s);
		if (comment > s) {
			bl_buf_putc(&b, ' ');
			s = comment;
		} else if (string > s) {
			bl_buf_append(&b, strings ? s : "\"\"",
				      strings ? (size_t)(string - s) : 2);
			s = string;
		} else {
			bl_buf_putc(&b, *s++);
		}
	}
	return bl_buf_steal(&b);
}

static const char *skip_blanks(const char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

/* What stands behind the = of a definition that goes on at @s; NULL where it is none. */
static const char *behind_equals(const char *s)
{
	s = skip_blanks(s);
	return *s == '=' && s[1] != '=' ? skip_blanks(s + 1) : NULL;
}

/* Whether @code has `word = ` or `word.` at the begin of a definition. */
static bool defines(const char *code, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = code; (at = strstr(at, word)); at += len) {
		const char *before = at;
		while (before > code && is_blank(before[-1]))
			before--;
		bool begins = before > code && strchr("{;", before[-1]);
		if (begins && (at[len] == '.' || behind_equals(at + len)))
			return true;
	}
	return false;
}

static bool defines_one_of(const char *code, const char *const *words)
{
	for (; *words; words++)
		if (defines(code, *words))
			return true;
	return false;
}

enum bl_look bl_look_at(const char *text)
{
	static const char *const of_nixos[] = {
		"boot",     "environment",         "fileSystems", "imports", "networking",
		"services", "system.stateVersion", "users",       NULL
	};
	/* modules with options, home-manager's files, NixOS's tests */
	static const char *const of_others[] = { "options", "home", "testScript", NULL };
	static const char *const of_hives[] = { "meta", "network", NULL };
	bl_autofree char *code = code_of(text, false);
	bl_autofree char *all = code_of(text, true);
	if (defines_one_of(code, of_others))
		return BL_LOOK_OTHER;
	if (defines(code, "nodes"))
		return strstr(all, "nixus") ? BL_LOOK_NIXUS : BL_LOOK_FLEET;
	if (defines_one_of(code, of_hives) && strstr(code, "deployment"))
		return BL_LOOK_HIVE;
	return defines_one_of(code, of_nixos) ? BL_LOOK_SYSTEM : BL_LOOK_OTHER;
}

char *bl_look_uncommented(const char *text)
{
	return code_of(text, true);
}

bool bl_look_mentions(const char *code, const char *name)
{
	bl_autofree char *path = bl_xprintf("/%s", name);
	size_t len = strlen(path);
	for (const char *at = code; (at = strstr(at, path)); at += len)
		if (!is_name_char(at[len]) && at[len] != '.' && at[len] != '/')
			return true;
	return false;
}

bool bl_look_says_platform(const char *text)
{
	bl_autofree char *code = code_of(text, false);
	return strstr(code, "hostPlatform");
}

char *bl_look_host_name(const char *text)
{
	static const char word[] = "hostName";
	bl_autofree char *code = code_of(text, true);
	for (const char *at = code; (at = strstr(at, word)); at += strlen(word)) {
		const char *value = behind_equals(at + strlen(word));
		if ((at > code && is_name_char(at[-1])) || !value || *value != '"')
			continue;
		size_t len = strcspn(value + 1, "\"");
		/* neither "" nor "${...}" */
		if (len > 0 && !memchr(value + 1, '$', len))
			return bl_xstrndup(value + 1, len);
	}
	return NULL;
}

/* ---- a sketch */

static bool is_taken(const struct bl_sketch *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->hosts[i].name, name) == 0)
			return true;
	return false;
}

static char *node_name(const struct bl_sketch *s, const char *wish)
{
	bl_autofree char *name = bl_xstrndup(*wish ? wish : "host", NAME_LEN);
	for (char *c = name; *c; c++)
		if (!bl_is_alpha(*c) && !bl_is_digit(*c) && !strchr("_.-", *c))
			*c = '-';
	if (*name == '.' || *name == '-')
		*name = '_';
	if (!is_taken(s, name))
		return BL_STEAL(name);
	for (size_t i = 2;; i++) {
		bl_autofree char *other = bl_xprintf("%s-%zu", name, i);
		if (!is_taken(s, other))
			return BL_STEAL(other);
	}
}

void bl_sketch_add(struct bl_sketch *s, const char *name, const char *path, bool platform)
{
	struct bl_sketched host = {
		.name = node_name(s, name),
		.path = bl_xstrdup(path),
		.platform = platform,
	};
	s->hosts = bl_xrealloc(s->hosts, s->n + 1, sizeof(*s->hosts));
	s->hosts[s->n++] = host;
}

void bl_sketch_free(struct bl_sketch *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->hosts[i].name);
		free(s->hosts[i].path);
	}
	free(s->hosts);
	*s = (struct bl_sketch){ 0 };
}

/* ---- its text */

static void put_string(struct bl_buf *b, const char *text)
{
	bl_buf_putc(b, '"');
	for (const char *c = text; *c; c++) {
		if (*c == '\n' || *c == '\r') {
			bl_buf_puts(b, *c == '\n' ? "\\n" : "\\r");
			continue;
		}
		if (strchr("\\\"$", *c))
			bl_buf_putc(b, '\\');
		bl_buf_putc(b, *c);
	}
	bl_buf_putc(b, '"');
}

static bool is_keyword(const char *name)
{
	static const char *const words[] = { "assert", "else", "if",  "in",   "inherit",
					     "let",    "or",   "rec", "then", "with" };
	for (size_t i = 0; i < BL_COUNT(words); i++)
		if (strcmp(words[i], name) == 0)
			return true;
	return false;
}

static void put_attribute(struct bl_buf *b, const char *name)
{
	if (strchr(name, '.') || bl_is_digit(*name) || is_keyword(name))
		put_string(b, name);
	else
		bl_buf_puts(b, name);
}

/* Nix knows but few characters in a path that is not in quotes. */
static void put_path(struct bl_buf *b, const char *path)
{
	for (const char *c = path; *c; c++) {
		if (bl_is_alpha(*c) || bl_is_digit(*c) || strchr("._-+/", *c))
			continue;
		bl_autofree char *behind = bl_xprintf("/%s", path);
		bl_buf_puts(b, "(./. + ");
		put_string(b, behind);
		bl_buf_putc(b, ')');
		return;
	}
	bl_buf_printf(b, "./%s", path);
}

static const char indent[] = "      ";

/* @system: what a host that does not say it runs on; NULL: that need not be said. */
static void put_host(struct bl_buf *b, const struct bl_sketched *host, const char *system,
		     const char *in)
{
	bl_buf_printf(b, "%snodes.", in);
	put_attribute(b, host->name);
	bl_buf_printf(b, " = {\n%s  host = \"root@%s\";\n%s  configuration = ", in, host->name,
		      in);
	if (system && !host->platform) {
		bl_buf_puts(b, "{ imports = [ ");
		put_path(b, host->path);
		bl_buf_printf(b, " ]; nixpkgs.hostPlatform = \"%s\"; }", system);
	} else {
		put_path(b, host->path);
	}
	bl_buf_printf(b, ";\n%s};\n", in);
}

static const char comment[] =
	"# Change each `host` to what ssh is given for it: [user@]address, or a name from "
	"~/.ssh/config.\n";

void bl_sketch_fleet(const struct bl_sketch *s, struct bl_buf *out)
{
	bl_buf_puts(out, comment);
	bl_buf_puts(out, "# NixOS is <nixpkgs>, or what `defaults.nixpkgs` says. All options: "
			 "belay(1), FLEET FILE.\n{\n");
	for (size_t i = 0; i < s->n; i++)
		put_host(out, &s->hosts[i], NULL, indent + 4);
	bl_buf_puts(out, "}\n");
}

void bl_sketch_flake(const struct bl_sketch *s, const char *belay, const char *system,
		     struct bl_buf *out)
{
	bl_buf_puts(out, comment);
	bl_buf_puts(out, "# All options: belay(1), FLEET FILE.\n"
			 "{\n"
			 "  inputs.nixpkgs.url = \"github:NixOS/nixpkgs/nixos-unstable\";\n"
			 "  inputs.belay.url = ");
	put_string(out, belay);
	bl_buf_puts(out, ";\n"
			 "  inputs.belay.inputs.nixpkgs.follows = \"nixpkgs\";\n"
			 "  outputs = { belay, ... }: {\n"
			 "    belay = belay.lib.fleet {\n");
	for (size_t i = 0; i < s->n; i++)
		put_host(out, &s->hosts[i], system, indent);
	bl_buf_puts(out, "    };\n  };\n}\n");
}
