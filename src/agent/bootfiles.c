/* SPDX-License-Identifier: MIT */
#include "agent/bootfiles.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void take_word(const char *value, size_t len, char **out)
{
	size_t n = 0;
	while (n < len && value[n] != ' ' && value[n] != '\t')
		n++;
	if (!*out)
		*out = bl_xstrndup(value, n);
}

bool bl_bootfiles_words(const char *text, const char *system, char **out_kernel,
			char **out_initrd)
{
	bl_autofree char *kernel = NULL;
	bl_autofree char *initrd = NULL;
	const char *line = NULL;
	size_t len = 0;
	bool found = false;
	while (bl_loader_next_line(&text, &line, &len)) {
		size_t n = 0;
		const char *v = NULL;
		/* where another entry begins, or this one ends */
		if (bl_loader_value(line, len, "menuentry", &n) ||
		    bl_loader_value(line, len, "label", &n) || (len == 1 && line[0] == '}')) {
			if (found)
				break;
			bl_replace_str(&kernel, NULL);
			bl_replace_str(&initrd, NULL);
		}
		if ((v = bl_loader_value(line, len, "linux", &n)))
			take_word(v, n, &kernel);
		if ((v = bl_loader_value(line, len, "initrd", &n)))
			take_word(v, n, &initrd);
		bl_autofree char *top =
			len && line[0] != '#' ? bl_loader_init_of(line, len) : NULL;
		found = found || (top && strcmp(top, system) == 0);
	}
	if (!found)
		return false;
	*out_kernel = BL_STEAL(kernel);
	*out_initrd = BL_STEAL(initrd);
	return true;
}

char *bl_bootfiles_path(enum bl_loader loader, const char *dir, const char *word)
{
	/* GRUB's "($drive1)//kernels/...", extlinux's "../nixos/...": the folder that the
	 * installer copies to; what is not in it is in the store */
	const char *tail = word;
	if (loader == BL_LOADER_GRUB)
		tail = strstr(word, "/kernels/");
	else if (loader == BL_LOADER_EXTLINUX)
		tail = strstr(word, "/nixos/");
	bl_autofree char *path =
		tail ? bl_xprintf("%s/%s", dir, tail + strspn(tail, "/")) : NULL;
	return path && !strstr(path, "/../") ? BL_STEAL(path) : NULL;
}

struct look {
	enum bl_loader loader;
	const char *dir, *system;
	bool deep;
};

/* @part, "kernel" or "initrd", against the file that @word names. */
static int check_one(const struct look *l, const char *part, const char *word,
		     struct bl_err *err)
{
	struct stat want;
	struct stat is;
	bl_autofree char *link = bl_xprintf("%s/%s", l->system, part);
	bl_autofree char *file = word ? bl_bootfiles_path(l->loader, l->dir, word) : NULL;
	/* a container's system has no kernel */
	if (!file || stat(link, &want) < 0)
		return 0;
	if (stat(file, &is) < 0)
		return bl_err_set(err, BL_E_FAILED, "%s: %s", file, strerror(errno));
	if (is.st_size > want.st_size)
		return 0;
	if (is.st_size < want.st_size || (l->deep && !bl_same_content(link, file)))
		return bl_err_set(err, BL_E_FAILED,
				  "%s is not the %s of the system that it starts: remove it "
				  "and install the boot loader again",
				  file, part);
	return 0;
}

int bl_bootfiles_check(const char *system, bool deep, struct bl_err *err)
{
	struct look l = { .system = system, .deep = deep };
	l.dir = bl_loader_dir(&l.loader);
	bl_autofree char *text = l.dir ? bl_loader_text(l.loader, l.dir, system) : NULL;
	bl_autofree char *kernel = NULL;
	bl_autofree char *initrd = NULL;
	if (!text || !bl_bootfiles_words(text, system, &kernel, &initrd))
		return 0;
	return check_one(&l, "kernel", kernel, err) < 0 ? -1
							: check_one(&l, "initrd", initrd, err);
}
