/* SPDX-License-Identifier: MIT */
#include "cli/folder.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MAX (1024UL * 1024)

/* ---- files */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted; without hidden ones, among which editors keep their own. */
static int list(const char *dir, struct bl_strv *out, struct bl_err *err)
{
	DIR *d = opendir(dir);
	if (!d)
		return bl_err_sys(err, errno, "%s", dir);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		if (e->d_name[0] != '.')
			bl_strv_add(out, e->d_name);
	closedir(d);
	if (out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_name);
	return 0;
}

static int not_opened(const char *path, int why, struct bl_err *err)
{
	bl_autofree char *to = bl_readlink(path);
	if (why == ENOTDIR || (why == ENOENT && !to))
		return 0;
	if (why == ENOENT)
		return bl_err_set(err, BL_E_USAGE,
				  "%s is a link that leads nowhere; mend or remove it", path);
	return bl_err_sys(err, why, "%s", path);
}

/* 1: it is a file, and there is its text; 0: there is no file of this name. */
static int read_file(const char *path, char **out_text, struct bl_err *err)
{
	struct stat st;
	size_t len = 0;
	/* a pipe must not keep us */
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return not_opened(path, errno, err);
	if (fstat(fd, &st) < 0)
		return bl_err_sys(err, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return 0;
	if ((size_t)st.st_size > LOOK_MAX)
		*out_text = bl_xstrdup("");
	else if (bl_read_all(fd, LOOK_MAX, out_text, &len, err) < 0)
		return bl_err_wrap(err, "%s", path);
	return 1;
}

static int add_file(struct bl_folder *f, const char *name, struct bl_err *err)
{
	bl_autofree char *path = bl_xprintf("%s/%s", f->dir, name);
	struct bl_nix_file file = { 0 };
	int rc = read_file(path, &file.text, err);
	if (rc <= 0)
		return rc;
	file.name = bl_xstrdup(name);
	file.look = bl_look_at(file.text);
	f->files = bl_xrealloc(f->files, f->n + 1, sizeof(*f->files));
	f->files[f->n++] = file;
	return 0;
}

int bl_folder_look(const char *dir, struct bl_folder *out, struct bl_err *err)
{
	BL_AUTO(bl_folder) f = { .dir = bl_realpath(dir) };
	BL_AUTO(bl_strv) names = { 0 };
	if (!f.dir)
		return bl_err_sys(err, errno, "%s", dir);
	if (list(f.dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++)
		if (bl_ends_with(names.items[i], ".nix") &&
		    add_file(&f, names.items[i], err) < 0)
			return -1;
	*out = f;
	f = (struct bl_folder){ 0 };
	return 0;
}

void bl_folder_free(struct bl_folder *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->files[i].name);
		free(f->files[i].text);
	}
	free(f->files);
	free(f->dir);
	*f = (struct bl_folder){ 0 };
}

const struct bl_nix_file *bl_folder_file(const struct bl_folder *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->files[i].name, name) == 0)
			return &f->files[i];
	return NULL;
}

/* ---- hosts */

/* What may be one. */
struct candidate {
	const char *entry; /* in the folder: "web1.nix" or "web1" */
	char *path;        /* from the top: "hosts/web1/configuration.nix" */
	char *code;        /* without comments */
};
struct scan {
	const char *top;    /* absolute */
	const char *folder; /* "" for the top itself, else "hosts/" */
	struct bl_strv entries;
	struct candidate *all;
	size_t n;
};

static void scan_end(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->all[i].path);
		free(s->all[i].code);
	}
	free(s->all);
	bl_strv_free(&s->entries);
}

/* 1: taken. What is called a configuration is one, whatever it looks like. */
static int take(struct scan *s, const char *entry, const char *below, bool sure,
		struct bl_err *err)
{
	bl_autofree char *path = bl_xprintf("%s%s%s", s->folder, entry, below);
	bl_autofree char *full = bl_xprintf("%s/%s", s->top, path);
	bl_autofree char *text = NULL;
	int rc = read_file(full, &text, err);
	if (rc <= 0)
		return rc;
	if (!sure && bl_look_at(text) != BL_LOOK_SYSTEM)
		return 0;
	s->all[s->n++] = (struct candidate){ entry, BL_STEAL(path), bl_look_uncommented(text) };
	return 1;
}

static int take_entry(struct scan *s, const char *entry, struct bl_err *err)
{
	static const char *const no_hosts[] = { "default.nix", "flake.nix",
						"hardware-configuration.nix" };
	if (bl_ends_with(entry, ".nix")) {
		for (size_t i = 0; i < BL_COUNT(no_hosts); i++)
			if (strcmp(entry, no_hosts[i]) == 0)
				return 0;
		return take(s, entry, "", false, err);
	}
	/* beside the fleet there are folders of all kinds, also ones that we may not enter */
	if (!*s->folder)
		return take(s, entry, "/configuration.nix", true, NULL) > 0;
	int rc = take(s, entry, "/configuration.nix", true, err);
	return rc == 0 ? take(s, entry, "/default.nix", false, err) : rc;
}

/* A part of another one is no host of its own. */
static bool is_part(const struct scan *s, size_t i)
{
	for (size_t k = 0; k < s->n; k++)
		if (k != i && bl_look_mentions(s->all[k].code, s->all[i].entry))
			return true;
	return false;
}

/* What nixos-generate-config writes says it beside the configuration. */
static bool says_platform(const char *top, const char *path, const char *text)
{
	const char *slash = strrchr(path, '/');
	bl_autofree char *beside = bl_xprintf("%s/%.*shardware-configuration.nix", top,
					      slash ? (int)(slash - path) + 1 : 0, path);
	bl_autofree char *hardware = bl_slurp(beside, LOOK_MAX);
	return bl_look_says_platform(text) || (hardware && bl_look_says_platform(hardware));
}

static void add_candidates(const struct scan *s, struct bl_sketch *out)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct candidate *c = &s->all[i];
		size_t len = strlen(c->entry);
		bl_autofree char *name =
			bl_xstrndup(c->entry, bl_ends_with(c->entry, ".nix") ? len - 4 : len);
		if (!is_part(s, i))
			bl_sketch_add(out, name, c->path,
				      says_platform(s->top, c->path, c->code));
	}
}

static int scan_folder(const struct bl_folder *f, const char *folder, struct bl_sketch *out,
		       struct bl_err *err)
{
	struct scan s = { .top = f->dir, .folder = folder };
	bl_autofree char *dir = bl_xprintf("%s/%s", f->dir, folder);
	int rc = list(dir, &s.entries, err);
	s.all = bl_xcalloc(s.entries.n + 1, sizeof(*s.all));
	for (size_t i = 0; rc >= 0 && i < s.entries.n; i++)
		rc = take_entry(&s, s.entries.items[i], err);
	if (rc >= 0)
		add_candidates(&s, out);
	scan_end(&s);
	return rc < 0 ? -1 : 0;
}

static bool is_folder(const struct bl_folder *f, const char *name)
{
	struct stat st;
	bl_autofree char *path = bl_xprintf("%s/%s", f->dir, name);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* One that does not say its name has that of its folder, as /etc/nixos fits NixOS's own. */
static void add_configuration(const struct bl_folder *f, const struct bl_nix_file *file,
			      struct bl_sketch *out)
{
	const char *slash = strrchr(f->dir, '/');
	bl_autofree char *name = bl_look_host_name(file->text);
	bl_sketch_add(out, name ? name : slash + 1, file->name,
		      says_platform(f->dir, file->name, file->text));
}

int bl_folder_hosts(const struct bl_folder *f, struct bl_sketch *out, struct bl_err *err)
{
	static const char *const folders[] = { "hosts/", "machines/" };
	for (size_t i = 0; i < BL_COUNT(folders); i++)
		if (is_folder(f, folders[i]) && scan_folder(f, folders[i], out, err) < 0)
			return -1;
	if (out->n)
		return 0;
	const struct bl_nix_file *file = bl_folder_file(f, "configuration.nix");
	if (!file)
		return scan_folder(f, "", out, err);
	add_configuration(f, file, out);
	return 0;
}
