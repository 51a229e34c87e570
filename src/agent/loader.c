/* SPDX-License-Identifier: MIT */
#include "agent/loader.h"

#include "base/file.h"
#include "base/str.h"
#include "store/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONF_MAX (4UL * 1024 * 1024)

/* Where NixOS mounts the EFI system partition, or keeps the loader's files without one. */
static const char *const boot_dirs[] = { "/boot", "/boot/efi", "/efi", "/boot/EFI" };

const char *bl_loader_name(enum bl_loader loader)
{
	switch (loader) {
	case BL_LOADER_NONE:
		return "none";
	case BL_LOADER_BLS:
		return "systemd-boot";
	case BL_LOADER_GRUB:
		return "grub";
	case BL_LOADER_EXTLINUX:
		return "extlinux";
	}
	return "?";
}

char *bl_loader_init_of(const char *options, size_t len)
{
	static const char key[] = "init=";
	bl_autofree char *line = bl_xstrndup(options, len);
	for (const char *at = strstr(line, key); at; at = strstr(at + 1, key)) {
		/* "rdinit=" is another option */
		if (at > line && at[-1] != ' ' && at[-1] != '\t')
			continue;
		const char *path = at + sizeof(key) - 1;
		size_t n = strcspn(path, " \t\r\n\"'");
		bl_autofree char *init = bl_xstrndup(path, n);
		if (!bl_ends_with(init, "/init"))
			return NULL;
		init[n - strlen("/init")] = '\0';
		return bl_store_path_ok(init) ? bl_xstrdup(init) : NULL;
	}
	return NULL;
}

bool bl_loader_next_line(const char **text, const char **line, size_t *len)
{
	if (!**text)
		return false;
	*line = *text;
	size_t n = strcspn(*text, "\n");
	*text += n + ((*text)[n] ? 1 : 0);
	while (n > 0 && (**line == ' ' || **line == '\t')) {
		(*line)++;
		n--;
	}
	while (n > 0 &&
	       ((*line)[n - 1] == ' ' || (*line)[n - 1] == '\t' || (*line)[n - 1] == '\r'))
		n--;
	*len = n;
	return true;
}

const char *bl_loader_value(const char *line, size_t len, const char *key, size_t *value_len)
{
	size_t n = strlen(key);
	if (len <= n || strncasecmp(line, key, n) != 0 || (line[n] != ' ' && line[n] != '\t'))
		return NULL;
	while (n < len && (line[n] == ' ' || line[n] == '\t'))
		n++;
	*value_len = len - n;
	return line + n;
}

char *bl_loader_conf_default(const char *loader_conf)
{
	const char *line = NULL;
	size_t len = 0;
	char *found = NULL;
	while (bl_loader_next_line(&loader_conf, &line, &len)) {
		size_t n = 0;
		const char *v = bl_loader_value(line, len, "default", &n);
		if (v) {
			free(found);
			found = bl_xstrndup(v, n);
		}
	}
	return found;
}

char *bl_loader_grub_default(const char *grub_cfg)
{
	const char *line = NULL;
	size_t len = 0;
	bool in_entry = false;
	size_t entries = 0;
	/* entry 0, or an entry by id as `set default=ID` names it */
	bl_autofree char *id = NULL;
	while (bl_loader_next_line(&grub_cfg, &line, &len)) {
		size_t n = 0;
		const char *v = bl_loader_value(line, len, "set", &n);
		if (v && !in_entry && bl_starts_with(v, "default=") && n > 8) {
			bool quoted = n >= 10 && v[8] == '"' && v[n - 1] == '"';
			bl_autofree char *word =
				quoted ? bl_xstrndup(v + 9, n - 10) : bl_xstrndup(v + 8, n - 8);
			/* the last one counts; a saved entry's variable is an id that no entry
			 * has */
			bl_replace_str(&id, strcmp(word, "0") == 0 ? NULL : word);
		}
		if (bl_loader_value(line, len, "menuentry", &n)) {
			bl_autofree char *head = bl_xstrndup(line, len);
			bl_autofree char *want = id ? bl_xprintf("--id %s ", id) : NULL;
			in_entry = want ? strstr(head, want) != NULL : entries == 0;
			entries++;
		}
		char *top = in_entry && line[0] != '#' ? bl_loader_init_of(line, len) : NULL;
		if (top)
			return top;
	}
	return NULL;
}

char *bl_loader_extlinux_default(const char *conf)
{
	const char *line = NULL;
	size_t len = 0;
	bl_autofree char *want = NULL;
	bool in_entry = false;
	while (bl_loader_next_line(&conf, &line, &len)) {
		size_t n = 0;
		const char *v = bl_loader_value(line, len, "DEFAULT", &n);
		if (v && !want)
			want = bl_xstrndup(v, n);
		v = bl_loader_value(line, len, "LABEL", &n);
		if (v)
			in_entry = want && strlen(want) == n && strncmp(v, want, n) == 0;
		v = in_entry ? bl_loader_value(line, len, "APPEND", &n) : NULL;
		if (v)
			return bl_loader_init_of(v, n);
	}
	return NULL;
}

static char *read_conf(const char *dir, const char *name)
{
	bl_autofree char *path = bl_xprintf("%s/%s", dir, name);
	return bl_slurp(path, CONF_MAX);
}

/* The system that the entry in @name starts, a new string; NULL: none. */
static char *bls_system(const char *dir, const char *name)
{
	bl_autofree char *text = read_conf(dir, name);
	const char *line = NULL;
	const char *rest = text ? text : "";
	size_t len = 0;
	while (bl_loader_next_line(&rest, &line, &len)) {
		size_t n = 0;
		const char *v = bl_loader_value(line, len, "options", &n);
		char *top = v ? bl_loader_init_of(v, n) : NULL;
		if (top)
			return top;
	}
	return NULL;
}

static char *bls_default(const char *dir, const char *loader_conf, struct bl_err *err)
{
	bl_autofree char *entry = bl_loader_conf_default(loader_conf);
	if (!entry) {
		bl_err_set_(err, BL_E_INPUT, 0, "%s/loader/loader.conf has no default line",
			    dir);
		return NULL;
	}
	if (strchr(entry, '/') || strpbrk(entry, "*?[@")) {
		bl_err_set_(err, BL_E_INPUT, 0,
			    "%s/loader/loader.conf: default '%.100s' is no single entry", dir,
			    entry);
		return NULL;
	}
	bl_autofree char *name = bl_xprintf("loader/entries/%s%s", entry,
					    bl_ends_with(entry, ".conf") ? "" : ".conf");
	char *top = bls_system(dir, name);
	if (top)
		return top;
	bl_err_set_(err, BL_E_INPUT, 0, "%s/%s, the default, names no system", dir, name);
	return NULL;
}

#define EFI_VARS       "/sys/firmware/efi/efivars/"
#define SYSTEMD_VENDOR "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

const char *bl_loader_dir(enum bl_loader *out)
{
	static const struct {
		enum bl_loader loader;
		const char *file;
	} signs[] = {
		{ BL_LOADER_BLS, "loader/loader.conf" },
		{ BL_LOADER_GRUB, "grub/grub.cfg" },
		{ BL_LOADER_EXTLINUX, "extlinux/extlinux.conf" },
	};
	for (size_t i = 0; i < BL_COUNT(boot_dirs); i++) {
		for (size_t k = 0; k < BL_COUNT(signs); k++) {
			bl_autofree char *path =
				bl_xprintf("%s/%s", boot_dirs[i], signs[k].file);
			if (access(path, F_OK) < 0)
				continue;
			*out = signs[k].loader;
			return boot_dirs[i];
		}
	}
	*out = BL_LOADER_NONE;
	return NULL;
}

/* Text of a variable of systemd-boot: four bytes of attributes, then UTF-16; NULL: not set. */
static char *efi_text(const char *name)
{
	bl_autofree char *path = bl_xprintf(EFI_VARS "%s" SYSTEMD_VENDOR, name);
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *raw = NULL;
	size_t len = 0;
	if (fd < 0 || bl_read_all(fd, 4096, &raw, &len, NULL) < 0)
		return NULL;
	BL_AUTO(bl_buf) text = { 0 };
	for (size_t i = 4; i + 1 < len && (raw[i] || raw[i + 1]); i += 2)
		bl_buf_printf(&text, "%c", raw[i + 1] ? '?' : raw[i]);
	free(raw);
	return text.len ? bl_buf_steal(&text) : NULL;
}

static char *grub_next_entry(const char *dir)
{
	static const char key[] = "\nnext_entry=";
	bl_autofree char *env = read_conf(dir, "grub/grubenv");
	const char *at = env ? strstr(env, key) : NULL;
	size_t n = at ? strcspn(at + sizeof(key) - 1, "\n") : 0;
	return n ? bl_xstrndup(at + sizeof(key) - 1, n) : NULL;
}

char *bl_loader_oneshot(void)
{
	enum bl_loader loader = BL_LOADER_NONE;
	const char *dir = bl_loader_dir(&loader);
	if (loader == BL_LOADER_BLS)
		return efi_text("LoaderEntryOneShot");
	return loader == BL_LOADER_GRUB ? grub_next_entry(dir) : NULL;
}

/* "name+3-1.conf" as boot counting writes it is the entry "name.conf". */
static char *bls_id(const char *file)
{
	const char *plus = strrchr(file, '+');
	if (plus && strspn(plus + 1, "0123456789-") == strcspn(plus + 1, ".") &&
	    bl_is_digit(plus[1]))
		return bl_xprintf("%.*s.conf", (int)(plus - file), file);
	return bl_xstrdup(file);
}

/* The name of the file of an entry that starts @system. */
static char *bls_entry_of(const char *dir, const char *system)
{
	bl_autofree char *path = bl_xprintf("%s/loader/entries", dir);
	char *found = NULL;
	DIR *d = opendir(path);
	for (struct dirent *e = d ? readdir(d) : NULL; e && !found; e = readdir(d)) {
		if (!bl_ends_with(e->d_name, ".conf"))
			continue;
		bl_autofree char *name = bl_xprintf("loader/entries/%s", e->d_name);
		bl_autofree char *is = bls_system(dir, name);
		if (is && strcmp(is, system) == 0)
			found = bl_xstrdup(e->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

#define GRUB_DEPTH 8

/* "1>0": the places of the @depth blocks that are open, as far as they count. */
static char *grub_path(const size_t *next, const bool *counts, size_t depth)
{
	BL_AUTO(bl_buf) path = { 0 };
	for (size_t i = 0; i < depth; i++)
		if (counts[i])
			bl_buf_printf(&path, "%s%zu", path.len ? ">" : "", next[i] - 1);
	return path.len ? bl_buf_steal(&path) : NULL;
}

char *bl_loader_grub_entry(const char *grub_cfg, const char *system)
{
	const char *line = NULL;
	size_t len = 0;
	/* the place of each open entry or submenu among its siblings; other blocks count not */
	size_t next[GRUB_DEPTH + 1] = { 0 };
	bool counts[GRUB_DEPTH] = { false };
	size_t depth = 0;
	while (bl_loader_next_line(&grub_cfg, &line, &len)) {
		size_t n = 0;
		bool opens = len > 0 && line[len - 1] == '{';
		bool entry = bl_loader_value(line, len, "menuentry", &n) ||
			     bl_loader_value(line, len, "submenu", &n);
		bl_autofree char *init =
			depth > 0 && line[0] != '#' ? bl_loader_init_of(line, len) : NULL;
		if (init && strcmp(init, system) == 0)
			return grub_path(next, counts, depth);
		if (entry)
			next[depth]++;
		if (opens) {
			if (depth == GRUB_DEPTH)
				return NULL;
			counts[depth++] = entry;
			next[depth] = 0;
		} else if (len == 1 && line[0] == '}' && depth > 0) {
			depth--;
		}
	}
	return NULL;
}

char *bl_loader_entry_of(const char *system, struct bl_err *err)
{
	enum bl_loader loader = BL_LOADER_NONE;
	const char *dir = bl_loader_dir(&loader);
	char *found = NULL;
	if (loader == BL_LOADER_BLS) {
		bl_autofree char *file = bls_entry_of(dir, system);
		found = file ? bls_id(file) : NULL;
	} else if (loader == BL_LOADER_GRUB) {
		bl_autofree char *cfg = bl_loader_text(loader, dir, system);
		found = cfg ? bl_loader_grub_entry(cfg, system) : NULL;
	}
	if (!found)
		bl_err_set_(err, BL_E_FAILED, 0, "the boot loader has no entry for %s", system);
	return found;
}

/* What starts instead of the default in the files; NULL: nothing does. */
static const char *override_of(enum bl_loader loader)
{
	bl_autofree char *other =
		loader == BL_LOADER_BLS ? efi_text("LoaderEntryDefault") : NULL;
	bl_autofree char *once = bl_loader_oneshot();
	if (other)
		return "the EFI variable LoaderEntryDefault overrides loader.conf "
		       "(bootctl set-default '' takes it away)";
	if (once && loader == BL_LOADER_BLS)
		return "the EFI variable LoaderEntryOneShot names the next boot "
		       "(bootctl set-oneshot '' takes it away)";
	if (once)
		return "grubenv's next_entry names the next boot (grub-editenv unset next_entry)";
	return NULL;
}

int bl_loader_default(enum bl_loader *out_loader, char **out_default, struct bl_err *err)
{
	const char *dir = bl_loader_dir(out_loader);
	bl_autofree char *top = NULL;
	if (*out_loader == BL_LOADER_BLS) {
		bl_autofree char *conf = read_conf(dir, "loader/loader.conf");
		top = bls_default(dir, conf ? conf : "", err);
		if (!top)
			return -1;
	} else if (*out_loader == BL_LOADER_GRUB) {
		bl_autofree char *conf = bl_loader_text(*out_loader, dir, NULL);
		top = bl_loader_grub_default(conf ? conf : "");
	} else if (*out_loader == BL_LOADER_EXTLINUX) {
		bl_autofree char *conf = bl_loader_text(*out_loader, dir, NULL);
		top = bl_loader_extlinux_default(conf ? conf : "");
	} else {
		*out_default = bl_xstrdup("");
		return 0;
	}
	if (!top)
		return bl_err_set(err, BL_E_INPUT,
				  "the default entry of %s in %s names no system",
				  bl_loader_name(*out_loader), dir);
	const char *instead = override_of(*out_loader);
	if (instead)
		return bl_err_set(err, BL_E_INPUT, "%s", instead);
	*out_default = BL_STEAL(top);
	return 0;
}

char *bl_loader_text(enum bl_loader loader, const char *dir, const char *system)
{
	if (loader == BL_LOADER_GRUB)
		return read_conf(dir, "grub/grub.cfg");
	if (loader == BL_LOADER_EXTLINUX)
		return read_conf(dir, "extlinux/extlinux.conf");
	bl_autofree char *file = bls_entry_of(dir, system);
	bl_autofree char *name = file ? bl_xprintf("loader/entries/%s", file) : NULL;
	return name ? read_conf(dir, name) : NULL;
}

int bl_loader_sync(struct bl_err *err)
{
	for (size_t i = 0; i < BL_COUNT(boot_dirs); i++)
		if (access(boot_dirs[i], F_OK) == 0 && bl_sync_fs(boot_dirs[i], err) < 0)
			return -1;
	return 0;
}
