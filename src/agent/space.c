/* SPDX-License-Identifier: MIT */
#include "agent/space.h"

#include "base/file.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *part_of(const char *system, const char *part)
{
	bl_autofree char *link = bl_xprintf("%s/%s", system, part);
	return bl_realpath(link);
}

static bool lies_there(const char *boot, const char *file)
{
	const char *tail = strstr(file, "/store/");
	if (!tail)
		return false;
	bl_autofree char *name = bl_xstrdup(tail + strlen("/store/"));
	for (char *c = name; *c; c++)
		if (*c == '/')
			*c = '-';
	const char *const dirs[][2] = { { "EFI/nixos", ".efi" },
					{ "kernels", "" },
					{ "nixos", "" } };
	for (size_t i = 0; i < BL_COUNT(dirs); i++) {
		bl_autofree char *path =
			bl_xprintf("%s/%s/%s%s", boot, dirs[i][0], name, dirs[i][1]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

uint64_t bl_boot_need(const char *boot, const char *system, const char *installed)
{
	static const char *const parts[] = { "kernel", "initrd" };
	struct stat at;
	uint64_t need = 0;
	if (stat(boot, &at) < 0)
		return 0;
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		bl_autofree char *file = part_of(system, parts[i]);
		bl_autofree char *is = installed ? part_of(installed, parts[i]) : NULL;
		struct stat st;
		if (!file || bl_str_eq(file, is) || stat(file, &st) < 0 ||
		    st.st_dev == at.st_dev || lies_there(boot, file))
			continue;
		need += (uint64_t)st.st_size;
	}
	return need;
}
