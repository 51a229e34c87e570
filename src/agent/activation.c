/* SPDX-License-Identifier: MIT */
#include "agent/activation.h"

#include "agent/system.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define PIDS_MAX    "2048"

/* Writes @text into a file of the control group; best effort, since v1 hosts have none. */
static bool cg_write(const char *dir, const char *file, const char *text)
{
	bl_autofree char *path = bl_xprintf("%s/%s", dir, file);
	bl_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && bl_write_all(fd, text, strlen(text), NULL) == 0;
}

/* Our unit's control group on v2, or NULL. */
static char *unit_cgroup(void)
{
	bl_autofree char *text = bl_slurp("/proc/self/cgroup", 4096);
	const char *line = text ? strstr(text, "0::/") : NULL;
	if (!line || (line != text && line[-1] != '\n'))
		return NULL;
	bl_autofree char *path = bl_xstrndup(line + 3, strcspn(line + 3, "\n"));
	/* moved into a child of it by an earlier run */
	char *own = strstr(path, "/keeper");
	if (own && !own[7])
		*own = '\0';
	/* only a unit of our own is delegated to us */
	return strstr(path, "/belay-") ? bl_xprintf(CGROUP_ROOT "%s", path) : NULL;
}

/* Makes <unit>/activation with a limit on its processes; NULL where that is not possible. */
static char *make_cgroup(void)
{
	bl_autofree char *unit = unit_cgroup();
	if (!unit)
		return NULL;
	/* controllers can be enabled only where no process sits: we move one level down */
	bl_autofree char *keeper = bl_xprintf("%s/keeper", unit);
	bl_autofree char *dir = bl_xprintf("%s/activation", unit);
	if ((mkdir(keeper, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(dir, 0755) < 0 && errno != EEXIST))
		return NULL;
	if (!cg_write(keeper, "cgroup.procs", "0"))
		return NULL;
	if (cg_write(unit, "cgroup.subtree_control", "+pids"))
		cg_write(dir, "pids.max", PIDS_MAX);
	return BL_STEAL(dir);
}

static bool cg_populated(const char *dir)
{
	bl_autofree char *path = bl_xprintf("%s/cgroup.events", dir);
	bl_autofree char *text = bl_slurp(path, 4096);
	return text && strstr(text, "populated 1");
}

static void kill_each(const char *dir)
{
	bl_autofree char *path = bl_xprintf("%s/cgroup.procs", dir);
	bl_autofree char *text = bl_slurp(path, 1024UL * 1024);
	BL_AUTO(bl_strv) pids = { 0 };
	bl_strv_split(&pids, text ? text : "", '\n');
	for (size_t i = 0; i < pids.n; i++) {
		uint64_t pid = 0;
		if (bl_parse_u64(pids.items[i], 2, INT32_MAX, &pid, NULL) == 0)
			kill((pid_t)pid, SIGKILL);
	}
}

/* Kills everything in @dir and waits until it is gone, at most 10 s. */
static void kill_all(const char *dir, pid_t group)
{
	if (group > 0)
		kill(-group, SIGKILL);
	if (!dir)
		return;
	/* cgroup.kill came with Linux 5.14 */
	bool at_once = cg_write(dir, "cgroup.kill", "1");
	for (int i = 0; i < 1000 && cg_populated(dir); i++) {
		if (!at_once)
			kill_each(dir);
		bl_sleep_ms(10);
	}
	if (cg_populated(dir))
		bl_log(BL_LOG_ERR, "processes of the activation cannot be killed");
}

static bool enter_cgroup(void *ctx)
{
	const char *dir = ctx;
	/* what protects the agent must not protect what it runs */
	(void)!cg_write("/proc/self", "oom_score_adj", "0");
	umask(022);
	return !dir || cg_write(dir, "cgroup.procs", "0");
}

static off_t size_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Waits for @pid; the status, or why it has to be killed. */
static int wait_for(const struct bl_stc *stc, pid_t pid, bool *out_running)
{
	int64_t end = bl_now_boot_ns() + stc->limit_ms * BL_NS_PER_MS;
	off_t from = size_of(stc->log_fd);
	for (;;) {
		int status = 0;
		if (waitpid(pid, &status, WNOHANG) == pid) {
			*out_running = false;
			return bl_child_status(status);
		}
		if (stc->stop && *stc->stop)
			return BL_STC_STOPPED;
		if (bl_now_boot_ns() > end)
			return BL_STC_LIMIT;
		if (stc->output_max && size_of(stc->log_fd) - from > stc->output_max)
			return BL_STC_FLOOD;
		if (stc->tick)
			stc->tick(stc->ctx);
		else
			bl_sleep_ms(10);
	}
}

int bl_stc_run(const struct bl_stc *stc)
{
	bl_autofree char *program = bl_xprintf("%s/bin/switch-to-configuration", stc->system);
	const char *argv[] = { program, stc->action, NULL };
	struct bl_tool_env env;
	struct bl_err err = { 0 };
	pid_t pid = -1;
	bl_autofree char *cgroup = make_cgroup();
	/* what an earlier run left behind could starve this one */
	if (cgroup && strcmp(stc->action, "test") == 0 && cg_populated(cgroup))
		kill_all(cgroup, 0);
	bl_tool_env_init(&env, stc->tools_system, stc->no_check ? "NIXOS_NO_CHECK=1" : NULL);
	int rc = bl_child_spawn(argv, env.vars, -1, stc->log_fd, stc->log_fd, enter_cgroup,
				cgroup, &pid, &err);
	bl_tool_env_free(&env);
	if (rc < 0) {
		bl_log(BL_LOG_ERR, "%s", err.msg);
		return BL_STC_NOEXEC;
	}
	bool running = true;
	int status = wait_for(stc, pid, &running);
	if (running) {
		kill_all(cgroup, pid);
		waitpid(pid, NULL, 0);
	}
	if (cgroup && !cg_populated(cgroup))
		rmdir(cgroup);
	return status;
}

static enum bl_verdict judge_status(int status, const char *output, char *reason, size_t size)
{
	/* both implementations say this when the script fails; 4 would hide it */
	bool script = strstr(output, "Failed to run activate script") ||
		      strstr(output, "Activation script snippet '");
	if (script || status == 2) {
		snprintf(reason, size, "the activation script failed (status %d)", status);
		return BL_ACT_FAILED;
	}
	if (status == 4) {
		snprintf(reason, size, "units failed");
		return BL_ACT_UNITS;
	}
	if (status == 100) {
		snprintf(reason, size,
			 "the init interface changed: it can only be booted into");
		return BL_ACT_UNTOUCHED;
	}
	if (status == 126 || status == 127) {
		snprintf(reason, size, "switch-to-configuration cannot be run (status %d)",
			 status);
		return BL_ACT_UNTOUCHED;
	}
	/* only the program's own word, and only where it ends at once: a failed unit may say it
	 * too */
	if ((status == 1 || status == 11) && strstr(output, "Could not acquire lock")) {
		snprintf(reason, size, "another switch-to-configuration is running");
		return BL_ACT_LOCKED;
	}
	if (status > 128 && status < 128 + 65)
		snprintf(reason, size, "the activation was killed by signal %d", status - 128);
	else if (status == 3)
		snprintf(reason, size, "systemd could not be reloaded (status 3)");
	else if (status == 101)
		snprintf(reason, size, "switch-to-configuration crashed (status 101)");
	else
		snprintf(reason, size, "the activation failed (status %d)", status);
	return BL_ACT_FAILED;
}

enum bl_verdict bl_activation_judge(int status, const char *output, char *reason, size_t size)
{
	switch (status) {
	case 0:
		reason[0] = '\0';
		return BL_ACT_OK;
	case BL_STC_NOEXEC:
		snprintf(reason, size, "switch-to-configuration cannot be started");
		return BL_ACT_UNTOUCHED;
	case BL_STC_LIMIT:
		snprintf(reason, size, "the activation did not end in time and was killed");
		return BL_ACT_FAILED;
	case BL_STC_STOPPED:
		snprintf(reason, size, "the activation was stopped on request");
		return BL_ACT_FAILED;
	case BL_STC_FLOOD:
		snprintf(reason, size,
			 "the activation printed more than 64 MiB and was killed");
		return BL_ACT_FAILED;
	default:
		return judge_status(status, output, reason, size);
	}
}

static bool has_unit(const char *system, const char *unit)
{
	/* an instance comes from its template */
	const char *at = strchr(unit, '@');
	const char *dot = strrchr(unit, '.');
	bl_autofree char *path = bl_xprintf("%s/etc/systemd/system/%s", system, unit);
	if (access(path, F_OK) == 0)
		return true;
	if (!at || !dot || dot < at)
		return false;
	bl_autofree char *template = bl_xprintf("%s/etc/systemd/system/%.*s@%s", system,
						(int)(at - unit), unit, dot);
	return access(template, F_OK) == 0;
}

void bl_activation_clean_lists(const char *system)
{
	static const char *const lists[] = { "start-list", "restart-list", "reload-list" };
	bl_autofd int dir = -1;
	if (bl_open_dir("/run/nixos", &dir, NULL) < 0)
		return;
	for (size_t i = 0; i < BL_COUNT(lists); i++) {
		bl_autofree char *text = NULL;
		BL_AUTO(bl_strv) units = { 0 };
		BL_AUTO(bl_buf) keep = { 0 };
		if (bl_read_file_at(dir, lists[i], 1024UL * 1024, &text, NULL, NULL) < 0)
			continue;
		bl_strv_split(&units, text, '\n');
		for (size_t k = 0; k < units.n; k++)
			if (!strchr(units.items[k], '/') && has_unit(system, units.items[k]))
				bl_buf_printf(&keep, "%s\n", units.items[k]);
		if (keep.len == strlen(text))
			continue;
		/* best effort: a unit that cannot be started fails the rollback's own check */
		if (bl_write_file_at(dir, lists[i], 0644, bl_buf_str(&keep), keep.len, NULL) <
		    0)
			unlinkat(dir, lists[i], 0);
	}
}
