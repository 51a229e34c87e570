/* SPDX-License-Identifier: MIT */
#include "agent/unit.h"

#include "agent/system.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ATTACHED   "/etc/systemd/system.attached"
#define GUARD      "belay-guard.service"
#define SYSTEMD_MS 30000

/* What both the transient unit and the one for the next boot are. */
static const char *const properties[] = {
	"Type=notify",
	"WatchdogSec=30",
	"Restart=on-failure",
	"RestartSec=1",
	"KillMode=mixed",
	"TimeoutStopSec=20",
	"TimeoutStartSec=60",
	"Delegate=yes",
	"OOMPolicy=continue",
	"OOMScoreAdjust=-900",
	"UMask=0077",
	"LimitCORE=0",
	/* STUCK: shown as failed, and not tried again */
	"RestartPreventExitStatus=3",
	/* systemd calls these a clean end; only a shutdown may stop us, and that restarts
	   nothing */
	"RestartForceExitStatus=SIGTERM SIGHUP SIGINT SIGPIPE",
	/* what sleeps in the kernel is not woken by less */
	"WatchdogSignal=SIGKILL",
};
static const char *const unit_properties[] = {
	"StartLimitIntervalSec=0", "DefaultDependencies=no", "Conflicts=shutdown.target",
	"Before=shutdown.target",  "RefuseManualStop=yes",   "IgnoreOnIsolate=yes",
};

static int run_systemd(const char *system, const char *tool, const struct bl_strv *args,
		       struct bl_err *err)
{
	BL_AUTO(bl_child_result) r = { 0 };
	const char *const *argv = (const char *const *)args->items;
	if (bl_tool_run(system, tool, argv, SYSTEMD_MS, &r, err) < 0)
		return -1;
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED, "%s: status %d: %.300s", tool, r.status,
				  bl_buf_str(&r.err));
	return 0;
}

static void add_command(struct bl_strv *v, const struct bl_record *rec, const char *verb)
{
	bl_strv_add(v, "--");
	bl_strv_addf(v, "%s/bin/belay-agent", rec->agent);
	bl_strv_add(v, verb);
	bl_strv_addf(v, "%llu", (unsigned long long)rec->epoch);
}

int bl_unit_start_keeper(const char *system, const struct bl_record *rec, struct bl_err *err)
{
	BL_AUTO(bl_strv) v = { 0 };
	bl_strv_add(&v, "--quiet");
	bl_strv_add(&v, "--collect");
	bl_strv_addf(&v, "--unit=belay-%llu", (unsigned long long)rec->epoch);
	for (size_t i = 0; i < BL_COUNT(properties); i++)
		bl_strv_addf(&v, "-p%s", properties[i]);
	for (size_t i = 0; i < BL_COUNT(unit_properties); i++)
		bl_strv_addf(&v, "-p%s", unit_properties[i]);
	add_command(&v, rec, "keeper");
	return run_systemd(system, "systemd-run", &v, err);
}

/*
 * When the timer is to fire, counted from PID 1's own start. A timer that counts from its own
 * activation (--on-active) begins anew at every reload of systemd, and each run of
 * switch-to-configuration reloads it: seen with systemd 252, whose timer_enter_waiting() takes
 * "now" while it comes back from a reload.
 */
static char *fires_at(const char *system, int64_t after_ms)
{
	const char *const args[] = { "show", "-p", "UserspaceTimestampMonotonic", "--value",
				     NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	struct timespec now;
	uint64_t start_us = 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / BL_NS_PER_MS;
	if (bl_tool_run(system, "systemctl", args, SYSTEMD_MS, &r, NULL) < 0)
		return bl_xprintf("--on-active=%lldms", (long long)after_ms);
	bl_autofree char *text =
		bl_xstrndup(bl_buf_str(&r.out), strcspn(bl_buf_str(&r.out), "\n"));
	if (bl_parse_u64(text, 1, INT64_MAX, &start_us, NULL) < 0)
		return bl_xprintf("--on-active=%lldms", (long long)after_ms);
	int64_t at_ms = now_ms - (int64_t)(start_us / 1000) + after_ms;
	return bl_xprintf("--on-startup=%lldms", (long long)at_ms);
}

int bl_unit_begin_deadman(const char *system, const struct bl_record *rec, int64_t after_ms,
			  struct bl_tool *out, struct bl_err *err)
{
	static const char *const want[] = { "--quiet",
					    "--collect",
					    "--timer-property=AccuracySec=1s",
					    "--timer-property=RemainAfterElapse=no",
					    "--timer-property=IgnoreOnIsolate=yes",
					    "--timer-property=DefaultDependencies=no",
					    "-pIgnoreOnIsolate=yes",
					    "-pDefaultDependencies=no",
					    "-pOOMScoreAdjust=-900",
					    "-pUMask=0077",
					    "-pDelegate=yes" };
	BL_AUTO(bl_strv) v = { 0 };
	bl_strv_addf(&v, "--unit=belay-deadman-%llu", (unsigned long long)rec->epoch);
	bl_strv_add_take(&v, fires_at(system, after_ms));
	for (size_t i = 0; i < BL_COUNT(want); i++)
		bl_strv_add(&v, want[i]);
	add_command(&v, rec, "deadman");
	return bl_tool_start(system, "systemd-run", (const char *const *)v.items, SYSTEMD_MS,
			     out, err);
}

int bl_unit_wait_deadman(struct bl_tool *begun, struct bl_err *err)
{
	BL_AUTO(bl_child_result) r = { 0 };
	bl_tool_finish(begun, &r);
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED,
				  "systemd-run could not set the deadman's timer (status %d)",
				  r.status);
	return 0;
}

static void systemctl(const char *system, const char *verb, const char *option,
		      const char *unit)
{
	BL_AUTO(bl_strv) v = { 0 };
	struct bl_err err = { 0 };
	bl_strv_add(&v, verb);
	if (option)
		bl_strv_add(&v, option);
	if (unit)
		bl_strv_add(&v, unit);
	if (run_systemd(system, "systemctl", &v, &err) < 0)
		bl_log(BL_LOG_WARN, "systemctl %s %s: %s", verb, unit ? unit : "", err.msg);
}

void bl_unit_reload(const char *system)
{
	systemctl(system, "daemon-reload", NULL, NULL);
}

void bl_unit_forget_guard(const char *system)
{
	systemctl(system, "reset-failed", NULL, GUARD);
}

void bl_unit_stop_deadman(const char *system, uint64_t epoch)
{
	bl_autofree char *unit =
		bl_xprintf("belay-deadman-%llu.timer", (unsigned long long)epoch);
	systemctl(system, "stop", NULL, unit);
}

void bl_unit_kill_keeper(const char *system, uint64_t epoch)
{
	bl_autofree char *unit = bl_xprintf("belay-%llu.service", (unsigned long long)epoch);
	systemctl(system, "kill", "--signal=KILL", unit);
	/* after a boot it is the guard that keeps it */
	systemctl(system, "kill", "--signal=KILL", GUARD);
}

uint64_t bl_unit_restarts(const char *system, uint64_t epoch)
{
	bl_autofree char *unit = bl_xprintf("belay-%llu.service", (unsigned long long)epoch);
	const char *const args[] = { "show", "-p", "NRestarts", "--value", unit, GUARD, NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	BL_AUTO(bl_strv) lines = { 0 };
	uint64_t sum = 0;
	if (bl_tool_run(system, "systemctl", args, SYSTEMD_MS, &r, NULL) < 0)
		return 0;
	bl_strv_split(&lines, bl_buf_str(&r.out), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		uint64_t n = 0;
		if (bl_parse_u64(lines.items[i], 0, UINT32_MAX, &n, NULL) == 0)
			sum += n;
	}
	return sum;
}

bool bl_unit_is_alive(const char *system, uint64_t epoch)
{
	bl_autofree char *unit = bl_xprintf("belay-%llu.service", (unsigned long long)epoch);
	const char *const args[] = {
		"show", "-p", "ActiveState", "--value", unit, GUARD, NULL
	};
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(system, "systemctl", args, SYSTEMD_MS, &r, NULL) < 0 || r.status != 0)
		return false;
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, bl_buf_str(&r.out), '\n');
	return bl_strv_has(&lines, "active") || bl_strv_has(&lines, "activating") ||
	       bl_strv_has(&lines, "reloading");
}

int bl_unit_start_forcer(const char *system, const struct bl_record *rec, int64_t after_ms,
			 struct bl_err *err)
{
	BL_AUTO(bl_strv) v = { 0 };
	bl_strv_add(&v, "--quiet");
	bl_strv_add(&v, "--collect");
	bl_strv_add(&v, "--no-block");
	bl_strv_addf(&v, "--unit=belay-force-%llu", (unsigned long long)rec->epoch);
	bl_strv_add(&v, "-pDefaultDependencies=no");
	bl_strv_add(&v, "-pIgnoreOnIsolate=yes");
	bl_strv_add(&v, "-pOOMScoreAdjust=-900");
	bl_strv_add(&v, "--");
	bl_strv_addf(&v, "%s/bin/belay-agent", rec->agent);
	bl_strv_add(&v, "force");
	bl_strv_addf(&v, "%lld", (long long)after_ms);
	return run_systemd(system, "systemd-run", &v, err);
}

bool bl_unit_guard_in(const char *system)
{
	bl_autofree char *unit = bl_xprintf("%s/etc/systemd/system/" GUARD, system);
	bl_autofree char *wants =
		bl_xprintf("%s/etc/systemd/system/multi-user.target.wants/" GUARD, system);
	return access(unit, R_OK) == 0 && access(wants, R_OK) == 0;
}

/* As nix/module.nix has it for systems that bring it themselves. */
static void guard_text(const struct bl_record *rec, struct bl_buf *b)
{
	bl_buf_puts(b, "[Unit]\nDescription=belay: end an open transaction after a boot\n");
	bl_buf_puts(b, "After=local-fs.target dbus.socket\n");
	for (size_t i = 0; i < BL_COUNT(unit_properties); i++)
		bl_buf_printf(b, "%s\n", unit_properties[i]);
	bl_buf_puts(b, "[Service]\n");
	for (size_t i = 0; i < BL_COUNT(properties); i++)
		bl_buf_printf(b, "%s\n", properties[i]);
	bl_buf_printf(b, "ExecStart=%s/bin/belay-agent guard\n", rec->agent);
}

int bl_unit_guard_install(const struct bl_record *rec, struct bl_err *err)
{
	bl_autofd int dir = -1;
	BL_AUTO(bl_buf) text = { 0 };
	guard_text(rec, &text);
	if (bl_mkdirs(ATTACHED "/multi-user.target.wants", 0755, err) < 0 ||
	    bl_open_dir(ATTACHED, &dir, err) < 0 ||
	    bl_write_file_at(dir, GUARD, 0644, text.data, text.len, err) < 0 ||
	    bl_symlink_replace("../" GUARD, ATTACHED "/multi-user.target.wants/" GUARD, err) <
		    0 ||
	    bl_sync_dir(ATTACHED "/multi-user.target.wants", err) < 0)
		return bl_err_wrap(err, "unit for the next boot");
	return 0;
}

void bl_unit_guard_remove(void)
{
	unlink(ATTACHED "/multi-user.target.wants/" GUARD);
	rmdir(ATTACHED "/multi-user.target.wants");
	unlink(ATTACHED "/" GUARD);
	rmdir(ATTACHED);
}

void bl_unit_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	if (len == 0 || len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	bl_autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
		      (struct sockaddr *)&to, size);
}
