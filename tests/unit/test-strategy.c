/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/strategy.h"
#include "base/file.h"

static char dir[] = "/tmp/belay-strategy-XXXXXX";

static void put(const char *path, const char *text)
{
	bl_autofree char *full = bl_xprintf("%s/%s", dir, path);
	char *slash = strrchr(full, '/');
	*slash = '\0';
	assert_int_equal(bl_mkdirs(full, 0755, NULL), 0);
	*slash = '/';
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	(void)state;
	static const char *const systems[] = { "a", "b" };
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 2; i++) {
		bl_autofree char *kernel = bl_xprintf("%s/kernel", systems[i]);
		bl_autofree char *params = bl_xprintf("%s/kernel-params", systems[i]);
		bl_autofree char *net =
			bl_xprintf("%s/etc/systemd/network/10.network", systems[i]);
		bl_autofree char *sshd =
			bl_xprintf("%s/etc/systemd/system/sshd.service", systems[i]);
		bl_autofree char *cron =
			bl_xprintf("%s/etc/systemd/system/cron.service", systems[i]);
		put(kernel, "kernel");
		put(params, "quiet");
		put(net, "[Match]");
		put(sshd, "[Service]");
		put(cron, systems[i]);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bl_autofree char *command = bl_xprintf("rm -rf %s", dir);
	return system(command);
}

static enum bl_strategy resolve(enum bl_strategy strategy, bool allowed, char **remark)
{
	struct bl_plan plan = { .strategy = strategy, .reboot_allowed = allowed };
	bl_autofree char *a = bl_xprintf("%s/a", dir);
	bl_autofree char *b = bl_xprintf("%s/b", dir);
	return bl_strategy_resolve(&plan, a, a, b, remark);
}

static void the_same_parts_behind_other_paths_are_live_and_proven(void **state)
{
	(void)state;
	char *remark = NULL;
	assert_int_equal(resolve(BL_STRATEGY_AUTO, true, &remark), BL_STRATEGY_LIVE);
	assert_null(remark);
}

static void network_alone_is_live_and_says_so(void **state)
{
	(void)state;
	char *remark = NULL;
	put("b/etc/systemd/network/20.network", "more");
	put("b/etc/systemd/system/firewall.service", "more");
	assert_int_equal(resolve(BL_STRATEGY_AUTO, true, &remark), BL_STRATEGY_LIVE);
	assert_string_equal(remark, "boot path of the network not proven: etc/systemd/network, "
				    "firewall.service changed");
	free(remark);
	put("b/etc/systemd/system/sshd.service", "[Service]x");
	assert_int_equal(resolve(BL_STRATEGY_LIVE, true, &remark), BL_STRATEGY_LIVE);
	assert_non_null(strstr(remark, "sshd.service"));
	free(remark);
}

static void what_boots_otherwise_is_booted_where_that_is_allowed(void **state)
{
	(void)state;
	char *remark = NULL;
	put("b/kernel", "kern2l");
	put("b/initrd", "new");
	assert_int_equal(resolve(BL_STRATEGY_AUTO, true, &remark), BL_STRATEGY_BOOT);
	assert_null(remark);
	assert_int_equal(resolve(BL_STRATEGY_AUTO, false, &remark), BL_STRATEGY_LIVE);
	assert_string_equal(remark, "boot path not proven: kernel, initrd changed");
	free(remark);
	/* live means live */
	assert_int_equal(resolve(BL_STRATEGY_LIVE, true, &remark), BL_STRATEGY_LIVE);
	assert_non_null(remark);
	free(remark);
	assert_int_equal(resolve(BL_STRATEGY_KEXEC, false, &remark), BL_STRATEGY_KEXEC);
	assert_null(remark);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_parts_behind_other_paths_are_live_and_proven),
		cmocka_unit_test(network_alone_is_live_and_says_so),
		cmocka_unit_test(what_boots_otherwise_is_booted_where_that_is_allowed),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
