/* SPDX-License-Identifier: MIT */
#include "agent/loader.h"

#include "base/file.h"
#include "base/str.h"
#include "store/path.h"

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

/* The next line of *@text without blanks around it; false at the end. */
static bool next_line(const char **text, const char **line, size_t *len)
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

/* The text behind the word @key and blanks, when @line begins with them. */
static const char *value_of(const char *line, size_t len, const char *key, size_t *value_len)
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
	while (next_line(&loader_conf, &line, &len)) {
		size_t n = 0;
		const char *v = value_of(line, len, "default", &n);
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
	while (next_line(&grub_cfg, &line, &len)) {
		size_t n = 0;
		const char *v = value_of(line, len, "set", &n);
		if (v && !in_entry && bl_starts_with(v, "default=") && n > 8) {
			bool quoted = n >= 10 && v[8] == '"' && v[n - 1] == '"';
			bl_autofree char *word =
				quoted ? bl_xstrndup(v + 9, n - 10) : bl_xstrndup(v + 8, n - 8);
			/* the last one counts; a saved entry's variable is an id that no entry
			 * has */
			bl_replace_str(&id, strcmp(word, "0") == 0 ? NULL : word);
		}
		if (value_of(line, len, "menuentry", &n)) {
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
	while (next_line(&conf, &line, &len)) {
		size_t n = 0;
		const char *v = value_of(line, len, "DEFAULT", &n);
		if (v && !want)
			want = bl_xstrndup(v, n);
		v = value_of(line, len, "LABEL", &n);
		if (v)
			in_entry = want && strlen(want) == n && strncmp(v, want, n) == 0;
		v = in_entry ? value_of(line, len, "APPEND", &n) : NULL;
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
	bl_autofree char *text = read_conf(dir, name);
	const char *line = NULL;
	const char *rest = text ? text : "";
	size_t len = 0;
	while (next_line(&rest, &line, &len)) {
		size_t n = 0;
		const char *v = value_of(line, len, "options", &n);
		char *top = v ? bl_loader_init_of(v, n) : NULL;
		if (top)
			return top;
	}
	bl_err_set_(err, BL_E_INPUT, 0, "%s/%s, the default, names no system", dir, name);
	return NULL;
}

/* What starts instead of the default in the files; NULL: nothing does. */
static const char *override_of(enum bl_loader loader, const char *dir)
{
	static const char efi[] = "/sys/firmware/efi/efivars/LoaderEntry";
	static const char vendor[] = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
	static const char *const vars[] = { "Default", "OneShot" };
	for (size_t i = 0; loader == BL_LOADER_BLS && i < BL_COUNT(vars); i++) {
		bl_autofree char *path = bl_xprintf("%s%s%s", efi, vars[i], vendor);
		if (access(path, F_OK) == 0)
			return i == 0 ? "the EFI variable LoaderEntryDefault overrides loader.conf "
					"(bootctl set-default '' takes it away)"
				      : "the EFI variable LoaderEntryOneShot names the next boot "
					"(bootctl set-oneshot '' takes it away)";
	}
	bl_autofree char *env =
		loader == BL_LOADER_GRUB ? read_conf(dir, "grub/grubenv") : NULL;
	const char *next = env ? strstr(env, "\nnext_entry=") : NULL;
	if (next && next[strlen("\nnext_entry=")] != '\n')
		return "grubenv's next_entry names the next boot (grub-editenv unset next_entry)";
	return NULL;
}

int bl_loader_default(enum bl_loader *out_loader, char **out_default, struct bl_err *err)
{
	for (size_t i = 0; i < BL_COUNT(boot_dirs); i++) {
		const char *dir = boot_dirs[i];
		bl_autofree char *bls = read_conf(dir, "loader/loader.conf");
		bl_autofree char *grub = bls ? NULL : read_conf(dir, "grub/grub.cfg");
		bl_autofree char *ext =
			bls || grub ? NULL : read_conf(dir, "extlinux/extlinux.conf");
		char *top = NULL;
		if (bls) {
			*out_loader = BL_LOADER_BLS;
			top = bls_default(dir, bls, err);
			if (!top)
				return -1;
		} else if (grub) {
			*out_loader = BL_LOADER_GRUB;
			top = bl_loader_grub_default(grub);
		} else if (ext) {
			*out_loader = BL_LOADER_EXTLINUX;
			top = bl_loader_extlinux_default(ext);
		} else {
			continue;
		}
		if (!top)
			return bl_err_set(err, BL_E_INPUT,
					  "the default entry of %s in %s names no system",
					  bl_loader_name(*out_loader), dir);
		const char *instead = override_of(*out_loader, dir);
		if (instead) {
			free(top);
			return bl_err_set(err, BL_E_INPUT, "%s", instead);
		}
		*out_default = top;
		return 0;
	}
	*out_loader = BL_LOADER_NONE;
	*out_default = bl_xstrdup("");
	return 0;
}

int bl_loader_sync(struct bl_err *err)
{
	for (size_t i = 0; i < BL_COUNT(boot_dirs); i++)
		if (access(boot_dirs[i], F_OK) == 0 && bl_sync_fs(boot_dirs[i], err) < 0)
			return -1;
	return 0;
}
