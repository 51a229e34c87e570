/* SPDX-License-Identifier: MIT */
#include "store/parts.h"

#include "base/file.h"
#include "base/sha256.h"
#include "store/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40

const char *const bl_boot_parts[] = {
	"kernel",
	"initrd",
	"kernel-params",
	"kernel-modules",
	"firmware",
	"systemd",
	"init-interface-version",
	"etc/fstab",
	"dtbs",
	"append-initrd-secrets",
	NULL,
};

const char *const bl_network_parts[] = {
	"etc/systemd/network",
	"etc/NetworkManager",
	"etc/dhcpcd.conf",
	"etc/wpa_supplicant",
	"etc/wpa_supplicant.conf",
	"etc/ssh/sshd_config",
	"etc/resolv.conf",
	"etc/resolvconf.conf",
	"etc/systemd/resolved.conf",
	"etc/hosts",
	"etc/nftables.conf",
	"etc/sysctl.d",
	NULL,
};

const char *const bl_network_units[] = {
	"systemd-networkd", "network-",   "dhcpcd",    "NetworkManager",
	"wpa_supplicant",   "wireguard-", "wg-quick-", "tailscaled",
	"firewall",         "nftables",   "sshd",      "iwd",
	"systemd-resolved", "resolvconf", NULL,
};

bool bl_is_network_unit(const char *name)
{
	for (size_t i = 0; bl_network_units[i]; i++)
		if (bl_starts_with(name, bl_network_units[i]))
			return true;
	return false;
}

/* ---- reading */

/*
 * Where links in the store lead to. What is outside of it is the host's own, which is not here:
 * then the link's text stands for it, and @outside is set.
 */
static char *resolve(const char *path, bool *outside)
{
	char *at = bl_xstrdup(path);
	for (int i = 0; i < LINKS_MAX; i++) {
		bl_autofree char *to = bl_readlink(at);
		const char *slash = strrchr(at, '/');
		if (!to || !slash)
			break;
		char *next = *to == '/' ? bl_xstrdup(to)
					: bl_xprintf("%.*s/%s", (int)(slash - at), at, to);
		free(at);
		at = next;
		*outside = *to == '/' && !bl_starts_with(to, BL_STORE_DIR "/");
		if (*outside)
			break;
	}
	return at;
}

static char *hash_file(const char *path)
{
	char chunk[65536];
	uint8_t sum[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	struct bl_sha256 s;
	ssize_t n = 0;
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	bl_sha256_init(&s);
	while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
		bl_sha256_update(&s, chunk, (size_t)n);
	if (fd < 0 || n < 0)
		return NULL;
	bl_sha256_final(&s, sum);
	bl_hex(sum, sizeof(sum), hex);
	return bl_xstrdup(hex);
}

static void read_part(const char *system, const char *part, int depth, struct bl_kv *out);

static void read_folder(const char *system, const char *part, int depth, struct bl_kv *out)
{
	bl_autofree char *dir = bl_xprintf("%s/%s", system, part);
	DIR *d = opendir(dir);
	bl_kv_add(out, part, "folder");
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		bl_autofree char *name = bl_xprintf("%s/%s", part, e->d_name);
		if (e->d_name[0] != '.')
			read_part(system, name, depth - 1, out);
	}
	if (d)
		closedir(d);
}

static void read_part(const char *system, const char *part, int depth, struct bl_kv *out)
{
	bool outside = false;
	struct stat st;
	bl_autofree char *path = bl_xprintf("%s/%s", system, part);
	bl_autofree char *end = resolve(path, &outside);
	bl_autofree char *value = NULL;
	if (outside) {
		bl_kv_add(out, part, end);
		return;
	}
	if (stat(end, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode) && depth > 0) {
		read_folder(system, part, depth, out);
		return;
	}
	value = S_ISREG(st.st_mode) ? hash_file(end) : bl_realpath(end);
	if (value)
		bl_kv_add(out, part, value);
}

void bl_parts_read(const char *system, struct bl_kv *out)
{
	bl_autofree char *dir = bl_xprintf("%s/" BL_UNITS_DIR, system);
	for (size_t i = 0; bl_boot_parts[i]; i++)
		read_part(system, bl_boot_parts[i], 0, out);
	for (size_t i = 0; bl_network_parts[i]; i++)
		read_part(system, bl_network_parts[i], BL_NETWORK_DEPTH, out);
	DIR *d = opendir(dir);
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		bl_autofree char *name = bl_xprintf(BL_UNITS_DIR "/%s", e->d_name);
		if (bl_is_network_unit(e->d_name))
			read_part(system, name, BL_NETWORK_DEPTH, out);
	}
	if (d)
		closedir(d);
}

/* ---- comparing */

static bool is_within(const char *name, const char *part)
{
	size_t len = strlen(part);
	return strncmp(name, part, len) == 0 && (!name[len] || name[len] == '/');
}

/* Whether @b has all that @a has of @part. */
static bool has_all(const struct bl_kv *a, const struct bl_kv *b, const char *part)
{
	BL_KV_FOREACH (a, it)
		if (is_within(it->key, part) && !bl_str_eq(bl_kv_get(b, it->key), it->value))
			return false;
	return true;
}

static bool same_part(const struct bl_kv *a, const struct bl_kv *b, const char *part)
{
	return has_all(a, b, part) && has_all(b, a, part);
}

void bl_boot_parts_changed(const struct bl_kv *booted, const struct bl_kv *new,
			   struct bl_strv *out)
{
	for (size_t i = 0; bl_boot_parts[i]; i++)
		if (!same_part(booted, new, bl_boot_parts[i]))
			bl_strv_add(out, bl_boot_parts[i]);
}

/* Units of @a that are not the same in @b, and are not told yet; what is below one is of it. */
static void compare_units(const struct bl_kv *a, const struct bl_kv *b, struct bl_strv *out)
{
	static const char units[] = BL_UNITS_DIR "/";
	BL_KV_FOREACH (a, it) {
		const char *name = it->key + sizeof(units) - 1;
		if (bl_starts_with(it->key, units) && !strchr(name, '/') &&
		    bl_is_network_unit(name) && !bl_strv_has(out, name) &&
		    !same_part(a, b, it->key))
			bl_strv_add(out, name);
	}
}

void bl_network_parts_changed(const struct bl_kv *old, const struct bl_kv *new,
			      struct bl_strv *out)
{
	for (size_t i = 0; bl_network_parts[i]; i++)
		if (!same_part(old, new, bl_network_parts[i]))
			bl_strv_add(out, bl_network_parts[i]);
	compare_units(old, new, out);
	compare_units(new, old, out);
}
