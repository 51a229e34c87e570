/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/coverage.h"
#include "agent/space.h"
#include "base/file.h"
#include "base/str.h"

#define OFF "RuntimeWatchdogUSec=0\nRebootWatchdogUSec=10min\nWatchdogDevice=\n"
#define ON  "WatchdogDevice=\nRuntimeWatchdogUSec=30s\nRebootWatchdogUSec=10min\n"

static char root[] = "/tmp/belay-coverage-XXXXXX";

static void put(const char *path, const char *text)
{
	struct bl_err err = { 0 };
	bl_autofree char *full =
		*path == '/' ? bl_xstrdup(path) : bl_xprintf("%s/%s", root, path);
	bl_autofree char *dir = bl_xstrndup(full, (size_t)(strrchr(full, '/') - full));
	assert_works(bl_mkdirs(dir, 0755, &err), &err);
	bl_autofd int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_works(bl_write_all(fd, text, strlen(text), &err), &err);
}

static void device(const char *name, const char *identity, const char *state)
{
	static const char *const parts[] = { "identity", "state", "nowayout" };
	const char *const values[] = { identity, state, "0\n" };
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		bl_autofree char *path = bl_xprintf("sys/class/watchdog/%s/%s", name, parts[i]);
		put(path, values[i]);
	}
	bl_autofree char *file = bl_xprintf("dev/%s", name);
	put(file, "");
}

/* A kernel as NixOS has it: nothing is set. */
static int begin(void **state)
{
	(void)state;
	memcpy(strrchr(root, '-'), "-XXXXXX", 8);
	if (!mkdtemp(root))
		return -1;
	put("proc/sys/kernel/panic", "0\n");
	put("proc/sys/kernel/panic_on_oops", "0\n");
	put("proc/sys/kernel/softlockup_panic", "0\n");
	put("sys/module/watchdog/parameters/handle_boot_enabled", "Y\n");
	put("sys/module/watchdog/parameters/open_timeout", "0\n");
	return 0;
}

static int end(void **state)
{
	(void)state;
	bl_autofree char *command = bl_xprintf("rm -rf %s", root);
	return system(command); /* NOLINT(cert-env33-c): a path of ours */
}

static void collect(void *ctx, const char *name, enum bl_item_level level, const char *text,
		    const char *remedy)
{
	static const char *const levels[] = { "ok", "warning", "failed" };
	struct bl_buf *b = ctx;
	bl_buf_printf(b, "%s: %s: %s\n", levels[level], name, text);
	/* whoever is warned is told what helps, and nobody else */
	assert_int_equal(level == BL_ITEM_OK, !*remedy);
}

static char *judged(const char *show, const char *params)
{
	struct bl_coverage c;
	struct bl_buf b = { 0 };
	const struct bl_items items = { collect, &b };
	bl_coverage_read(root, show, params, &c);
	bl_coverage_judge(&c, &items);
	return bl_buf_steal(&b);
}

static void assert_judged(const char *show, const char *params, const char *want)
{
	bl_autofree char *is = judged(show, params);
	assert_string_equal(is, want);
}

static void assert_line(const char *show, const char *params, const char *line)
{
	bl_autofree char *is = judged(show, params);
	if (!strstr(is, line))
		fail_msg("no '%s' in:\n%s", line, is);
}

static void a_host_with_nothing_is_warned_of_everything(void **state)
{
	(void)state;
	assert_judged(
		OFF, "loglevel=4",
		"warning: panic: the host stays down after one (kernel.panic=0), and the next "
		"boot's kernel command line has no panic=\n"
		"warning: hang in the kernel: no watchdog device\n"
		"warning: hang in PID 1: only belay's keeper restarts the host without it, as long "
		"as it lives and a deployment is open\n"
		"warning: hang in boot: no watchdog runs then: the host would need a power cycle\n"
		"warning: hang in shutdown: no watchdog device: systemd's own limits end units that "
		"hang, nothing ends a kernel\n");
	/* nothing could be read at all: nothing is promised */
	assert_line("", "", "warning: hang in the kernel: no watchdog device\n");
}

static void a_host_with_everything_is_covered(void **state)
{
	(void)state;
	device("watchdog0", "iTCO_wdt\n", "active\n");
	put("proc/sys/kernel/panic", "30\n");
	put("proc/sys/kernel/panic_on_oops", "1\n");
	put("sys/module/watchdog/parameters/open_timeout", "180\n");
	assert_judged(
		ON, "loglevel=4 panic=30 boot.panic_on_fail",
		"ok: panic: the host restarts 30 s after one\n"
		"ok: hang in the kernel: iTCO_wdt, which systemd feeds, resets the host\n"
		"ok: hang in PID 1: systemd feeds iTCO_wdt (RuntimeWatchdogSec: 30s)\n"
		"ok: hang in boot: the kernel lets iTCO_wdt run out until systemd is there, if the "
		"firmware has started it\n"
		"ok: hang in shutdown: systemd leaves iTCO_wdt running (RebootWatchdogSec: 10min)\n");
}

static void what_counts_for_a_panic_is_now_and_the_next_boot(void **state)
{
	(void)state;
	put("proc/sys/kernel/panic", "-1\n");
	assert_line(OFF, "panic=1", "ok: panic: the host restarts at once after one; an oops");
	assert_line(OFF, "",
		    "warning: panic: the host restarts at once after one, but the next");
	/* the last one counts; words that only look like it do not */
	assert_line(OFF, "panic=30 panic=0\n", "warning: panic: ");
	assert_line(OFF, "boot.panic=30 panic_print=1", "warning: panic: ");
	assert_line(OFF, "panic=0 panic=-1", "ok: panic: ");
	put("proc/sys/kernel/panic", "0\n");
	assert_line(OFF, "panic=30", "warning: panic: the host stays down after one");
	/* a panicked kernel feeds nothing */
	device("watchdog0", "iTCO_wdt\n", "active\n");
	assert_line(ON, "", "has no panic=; iTCO_wdt, which systemd feeds, resets it\n");
}

static void a_free_device_is_fed_by_the_keeper(void **state)
{
	(void)state;
	device("watchdog0", "i6300ESB timer\n", "inactive\n");
	assert_line(
		OFF, "",
		"ok: hang in the kernel: i6300ESB timer, which belay feeds while a deployment "
		"is open, resets the host\n");
	assert_line(OFF, "", "ok: hang in PID 1: belay's keeper restarts the host without it");
	assert_line(OFF, "", "warning: hang in boot: no watchdog runs then");
}

static void a_device_that_cannot_be_stopped_is_told_of(void **state)
{
	(void)state;
	device("watchdog0", "iTCO_wdt\n", "inactive\n");
	put("sys/class/watchdog/watchdog0/nowayout", "1\n");
	assert_line(OFF, "",
		    "warning: hang in the kernel: nobody feeds iTCO_wdt, and what belay starts "
		    "could not be stopped again (nowayout)\n");
	assert_line(OFF, "", "warning: hang in PID 1: only belay's keeper");
}

static void another_program_may_feed_it(void **state)
{
	(void)state;
	device("watchdog0", "iTCO_wdt\n", "active\n");
	assert_line(OFF, "",
		    "ok: hang in the kernel: iTCO_wdt, which another program feeds, resets");
	assert_line(OFF, "", "warning: hang in PID 1: ");
}

static void softdog_is_weak(void **state)
{
	(void)state;
	device("watchdog0", "Software Watchdog\n", "active\n");
	assert_line(ON, "", "warning: hang in the kernel: softdog alone, which hangs with");
	assert_line(ON, "", "ok: hang in PID 1: systemd feeds Software Watchdog");
	assert_line(ON, "",
		    "ok: hang in shutdown: systemd leaves Software Watchdog running "
		    "(RebootWatchdogSec: 10min), as long as the kernel lives\n");
	put("sys/module/watchdog/parameters/open_timeout", "180\n");
	assert_line(ON, "", "warning: hang in boot: ");
	put("proc/sys/kernel/softlockup_panic", "1\n");
	put("proc/sys/kernel/panic", "30\n");
	assert_line(ON, "",
		    "hangs with its kernel; lockups that the kernel finds itself end in");
}

static void systemd_may_be_told_another_device(void **state)
{
	(void)state;
	device("watchdog0", "Software Watchdog\n", "inactive\n");
	device("watchdog1", "iTCO_wdt\n", "active\n");
	assert_line(
		"RuntimeWatchdogUSec=infinity\nWatchdogDevice=/dev/watchdog1\n", "",
		"ok: hang in PID 1: systemd feeds iTCO_wdt (RuntimeWatchdogSec: the device's "
		"own time)\n");
	assert_line(
		"RuntimeWatchdogUSec=30s\nWatchdogDevice=/dev/watchdog1\n", "",
		"warning: hang in shutdown: RebootWatchdogSec is off: systemd's own limits");
}

/* The boot file system has to be another than the store's, as on every host that copies. */
static void the_loader_needs_room_for_what_is_not_there_yet(void **state)
{
	(void)state;
	char boot[] = "/dev/shm/belay-boot-XXXXXX";
	if (!mkdtemp(boot))
		skip();
	put("nix/store/aaa-linux-6.6/bzImage", "12345");
	put("nix/store/bbb-initrd/initrd", "123");
	put("nix/store/ccc-system/init", "");
	bl_autofree char *top = bl_xprintf("%s/nix/store/ccc-system", root);
	static const char *const links[][2] = { { "aaa-linux-6.6/bzImage", "kernel" },
						{ "bbb-initrd/initrd", "initrd" } };
	for (size_t i = 0; i < BL_COUNT(links); i++) {
		bl_autofree char *to = bl_xprintf("%s/nix/store/%s", root, links[i][0]);
		bl_autofree char *at = bl_xprintf("%s/%s", top, links[i][1]);
		assert_int_equal(symlink(to, at), 0);
	}
	assert_int_equal(bl_boot_need(boot, top, NULL), 8);
	assert_int_equal(bl_boot_need(boot, top, top), 0);
	assert_int_equal(bl_boot_need(boot, top, "/nix/store/none"), 8);
	assert_int_equal(bl_boot_need("/no/such/folder", top, NULL), 0);
	assert_int_equal(bl_boot_need(root, top, NULL), 0);
	bl_autofree char *kernel = bl_xprintf("%s/EFI/nixos/aaa-linux-6.6-bzImage.efi", boot);
	put(kernel, "");
	assert_int_equal(bl_boot_need(boot, top, NULL), 3);
	bl_autofree char *initrd = bl_xprintf("%s/kernels/bbb-initrd-initrd", boot);
	put(initrd, "");
	assert_int_equal(bl_boot_need(boot, top, NULL), 0);
	bl_autofree char *command = bl_xprintf("rm -rf %s", boot);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of ours */
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_host_with_nothing_is_warned_of_everything),
		T(a_host_with_everything_is_covered),
		T(what_counts_for_a_panic_is_now_and_the_next_boot),
		T(a_free_device_is_fed_by_the_keeper),
		T(a_device_that_cannot_be_stopped_is_told_of),
		T(another_program_may_feed_it),
		T(softdog_is_weak),
		T(systemd_may_be_told_another_device),
		T(the_loader_needs_room_for_what_is_not_there_yet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
