/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/parts.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char dir[] = "/tmp/belay-parts-XXXXXX";

static char *make(const char *path)
{
	char *full = bl_xprintf("%s/%s", dir, path);
	char *slash = strrchr(full, '/');
	*slash = '\0';
	assert_int_equal(bl_mkdirs(full, 0755, NULL), 0);
	*slash = '/';
	return full;
}

static void put(const char *path, const char *text)
{
	bl_autofree char *full = make(path);
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void put_link(const char *path, const char *to)
{
	bl_autofree char *full = make(path);
	assert_int_equal(symlink(to, full), 0);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	put("a/kernel-params", "abc");
	put_link("a/kernel", "/boot/vmlinuz");
	put_link("a/initrd", "images/initrd");
	put("a/images/initrd", "abc");
	put("a/kernel-modules/lib/x", "abc");
	put_link("a/dtbs", "nowhere");
	put_link("a/firmware", "firmware");
	put("a/etc/systemd/network/10.network", "abc");
	put("a/etc/systemd/system/sshd.service", "abc");
	put("a/etc/systemd/system/sshd.service.d/a.conf", "abc");
	put_link("a/etc/systemd/system/firewall.service", "/dev/null");
	put("a/etc/systemd/system/cron.service", "abc");
	put("a/etc/sysctl.d/1/2/3/4", "abc");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bl_autofree char *command = bl_xprintf("rm -rf %s", dir);
	return system(command);
}

static void read_a(struct bl_kv *out)
{
	bl_autofree char *a = bl_xprintf("%s/a", dir);
	bl_parts_read(a, out);
}

static void files_links_and_folders_each_have_their_value(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	bl_autofree char *modules = bl_xprintf("%s/a/kernel-modules", dir);
	bl_autofree char *deep = bl_xprintf("%s/a/etc/sysctl.d/1/2/3", dir);
	read_a(&kv);
	const struct {
		const char *name, *value;
	} want[] = {
		{ "kernel-params", ABC },
		{ "kernel", "/boot/vmlinuz" },
		{ "initrd", ABC },
		{ "kernel-modules", modules },
		{ "dtbs", NULL },
		{ "firmware", NULL },
		{ "etc/fstab", NULL },
		{ "etc/systemd/network", "folder" },
		{ "etc/systemd/network/10.network", ABC },
		{ "etc/systemd/system/sshd.service", ABC },
		{ "etc/systemd/system/sshd.service.d", "folder" },
		{ "etc/systemd/system/sshd.service.d/a.conf", ABC },
		{ "etc/systemd/system/firewall.service", "/dev/null" },
		{ "etc/systemd/system/cron.service", NULL },
		{ "etc/sysctl.d/1/2", "folder" },
		{ "etc/sysctl.d/1/2/3", deep },
	};
	for (size_t i = 0; i < BL_COUNT(want); i++)
		if (!bl_str_eq(bl_kv_get(&kv, want[i].name), want[i].value))
			fail_msg("%s is %s", want[i].name, bl_kv_str(&kv, want[i].name));
}

/* What changes where @name (NULL: nothing) has @value (NULL: is not there) in the new system.
 */
static void check(const char *name, const char *value, const char *boot, const char *network)
{
	BL_AUTO(bl_kv) old = { 0 };
	BL_AUTO(bl_kv) new = { 0 };
	BL_AUTO(bl_strv) b = { 0 };
	BL_AUTO(bl_strv) n = { 0 };
	read_a(&old);
	BL_KV_FOREACH (&old, it)
		if (!bl_str_eq(it->key, name))
			bl_kv_add(&new, it->key, it->value);
	if (name && value)
		bl_kv_add(&new, name, value);
	bl_boot_parts_changed(&old, &new, &b);
	bl_network_parts_changed(&old, &new, &n);
	assert_int_equal(b.n, *boot ? 1 : 0);
	assert_int_equal(n.n, *network ? 1 : 0);
	if (b.n)
		assert_string_equal(b.items[0], boot);
	if (n.n)
		assert_string_equal(n.items[0], network);
	/* and the way back */
	bl_strv_free(&n);
	bl_network_parts_changed(&new, &old, &n);
	assert_int_equal(n.n, *network ? 1 : 0);
	if (n.n)
		assert_string_equal(n.items[0], network);
}

static void a_change_is_told_as_its_part(void **state)
{
	(void)state;
	check(NULL, NULL, "", "");
	check("kernel", "/boot/other", "kernel", "");
	check("initrd", NULL, "initrd", "");
	check("etc/fstab", ABC, "etc/fstab", "");
	check("etc/systemd/network/10.network", "x", "", "etc/systemd/network");
	check("etc/systemd/network/20.network", ABC, "", "etc/systemd/network");
	check("etc/systemd/system/sshd.service.d/a.conf", NULL, "", "sshd.service.d");
	check("etc/systemd/system/firewall.service", ABC, "", "firewall.service");
	check("etc/systemd/system/wg-quick-x.service", ABC, "", "wg-quick-x.service");
	check("etc/systemd/system/cron.service", ABC, "", "");
	check("etc/hosts", ABC, "", "etc/hosts");
	/* another file beside it */
	check("etc/hosts.allow", ABC, "", "");
}

static void nothing_known_of_the_old_one_is_all_of_it(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) none = { 0 };
	BL_AUTO(bl_kv) new = { 0 };
	BL_AUTO(bl_strv) b = { 0 };
	read_a(&new);
	bl_boot_parts_changed(&none, &new, &b);
	assert_int_equal(b.n, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_links_and_folders_each_have_their_value),
		cmocka_unit_test(a_change_is_told_as_its_part),
		cmocka_unit_test(nothing_known_of_the_old_one_is_all_of_it),
	};
	return cmocka_run_group_tests_name("parts", tests, set_up, tear_down);
}
