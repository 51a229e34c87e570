/* SPDX-License-Identifier: MIT */
#include "agent/reboot.h"

#include "agent/unit.h"
#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHUTDOWN_MS 90000
#define DEAF_MS     5000 /* systemd did not take the order: no use in waiting for it */
#define SYNC_MS     10000

/* On a dead disk sync() never comes back: then it is left alone. */
static void sync_for_a_while(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		sync();
		_exit(0);
	}
	for (int i = 0; pid > 0 && i < SYNC_MS / 20 && waitpid(pid, NULL, WNOHANG) == 0; i++)
		bl_sleep_ms(20);
}

void bl_reboot_force(int64_t wait_ms)
{
	/* SIGTERM ends it: that comes when all units are down, and from there on systemd itself
	 * waits for nobody for long */
	bl_sleep_ms(wait_ms);
	sync_for_a_while();
	reboot(RB_AUTOBOOT);
	bl_autofd int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "b", 1);
	bl_sleep_ms(1000);
}

void bl_reboot(struct bl_job *job, enum bl_reboot how)
{
	const struct bl_record *r = &job->txn.rec;
	struct bl_err err = { 0 };
	/* -i: no inhibitor may stand in the way */
	const char *const args[] = { how == BL_REBOOT_KEXEC ? "kexec" : "reboot", "-i",
				     "--no-wall", NULL };
	BL_AUTO(bl_child_result) res = { 0 };
	if (how == BL_REBOOT_FORCED) {
		bl_reboot_force(0);
		return;
	}
	/* the shutdown ends this process; that one outlives it */
	if (bl_unit_start_forcer(r->system_old, r, SHUTDOWN_MS, &err) < 0)
		bl_log(BL_LOG_WARN, "%s", err.msg);
	bool asked = bl_tool_run(r->system_old, "systemctl", args, 15000, &res, &err) == 0 &&
		     res.status == 0;
	if (!asked)
		bl_log(BL_LOG_ERR, "systemctl %s does not work", args[0]);
	int64_t end =
		bl_now_boot_ns() + (asked ? SHUTDOWN_MS : DEAF_MS) * (int64_t)BL_NS_PER_MS;
	while (bl_now_boot_ns() < end)
		bl_idle();
	bl_reboot_force(0);
}
