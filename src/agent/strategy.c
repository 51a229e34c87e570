/* SPDX-License-Identifier: MIT */
#include "agent/strategy.h"

#include "base/file.h"
#include "store/parts.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same_path(const char *a, const char *b, int depth);

/* The same names, and below each the same; links in a folder are followed. */
static bool same_folder(const char *a, const char *b, int depth)
{
	DIR *d = opendir(a);
	DIR *other = opendir(b);
	bool same = d && other;
	size_t names = 0;
	for (struct dirent *e = same ? readdir(d) : NULL; e && same; e = readdir(d)) {
		names++;
		if (e->d_name[0] == '.' && strspn(e->d_name, ".") == strlen(e->d_name))
			continue;
		bl_autofree char *pa = bl_xprintf("%s/%s", a, e->d_name);
		bl_autofree char *pb = bl_xprintf("%s/%s", b, e->d_name);
		same = same_path(pa, pb, depth - 1);
	}
	for (struct dirent *e = same ? readdir(other) : NULL; e; e = readdir(other))
		names--;
	if (d)
		closedir(d);
	if (other)
		closedir(other);
	return same && names == 0;
}

/*
 * Missing in both is the same; so is the same file behind another path, and, @depth levels
 * down, a folder of the same files.
 */
static bool same_path(const char *a, const char *b, int depth)
{
	bl_autofree char *ra = bl_realpath(a);
	bl_autofree char *rb = bl_realpath(b);
	struct stat sa;
	struct stat sb;
	if (!ra || !rb)
		return !ra && !rb;
	if (strcmp(ra, rb) == 0)
		return true;
	if (stat(ra, &sa) < 0 || stat(rb, &sb) < 0)
		return false;
	if (S_ISDIR(sa.st_mode) && S_ISDIR(sb.st_mode))
		return depth > 0 && same_folder(ra, rb, depth);
	return S_ISREG(sa.st_mode) && S_ISREG(sb.st_mode) && sa.st_size == sb.st_size &&
	       bl_same_content(ra, rb);
}

static bool same_part(const char *a, const char *b, const char *part, int depth)
{
	bl_autofree char *pa = bl_xprintf("%s/%s", a, part);
	bl_autofree char *pb = bl_xprintf("%s/%s", b, part);
	return same_path(pa, pb, depth);
}

static void add(struct bl_buf *b, const char *what)
{
	bl_buf_printf(b, "%s%s", b->len ? ", " : "", what);
}

static char *text_of(struct bl_buf *b)
{
	return b->len ? bl_buf_steal(b) : NULL;
}

char *bl_boot_difference(const char *booted, const char *system_new)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; bl_boot_parts[i]; i++)
		if (!same_part(booted, system_new, bl_boot_parts[i], 0))
			add(&b, bl_boot_parts[i]);
	return text_of(&b);
}

/* Units of @a that are not the same in @b; those that both have are told once. */
static void compare_units(const char *a, const char *b, bool only_missing, struct bl_buf *out)
{
	bl_autofree char *dir = bl_xprintf("%s/" BL_UNITS_DIR, a);
	DIR *d = opendir(dir);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (!bl_is_network_unit(e->d_name))
			continue;
		bl_autofree char *part = bl_xprintf(BL_UNITS_DIR "/%s", e->d_name);
		bl_autofree char *there = bl_xprintf("%s/%s", b, part);
		if (only_missing && access(there, F_OK) == 0)
			continue;
		if (!same_part(a, b, part, BL_NETWORK_DEPTH))
			add(out, e->d_name);
	}
	if (d)
		closedir(d);
}

char *bl_network_difference(const char *system_old, const char *system_new)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; bl_network_parts[i]; i++)
		if (!same_part(system_old, system_new, bl_network_parts[i], BL_NETWORK_DEPTH))
			add(&b, bl_network_parts[i]);
	compare_units(system_old, system_new, false, &b);
	compare_units(system_new, system_old, true, &b);
	return text_of(&b);
}

enum bl_strategy bl_strategy_resolve(const struct bl_plan *plan, const char *booted,
				     const char *system_old, const char *system_new,
				     char **out_remark)
{
	*out_remark = NULL;
	if (plan->strategy != BL_STRATEGY_AUTO && plan->strategy != BL_STRATEGY_LIVE)
		return plan->strategy;
	bl_autofree char *boot = bl_boot_difference(booted, system_new);
	bl_autofree char *network = bl_network_difference(system_old, system_new);
	return bl_strategy_choose(plan, boot, network, out_remark);
}
