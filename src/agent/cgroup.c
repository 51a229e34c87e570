/* SPDX-License-Identifier: MIT */
#include "agent/cgroup.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

char *bl_cgroup_make(const char *name)
{
	bl_autofree char *unit = unit_cgroup();
	if (!unit)
		return NULL;
	/* controllers can be enabled only where no process sits: we move one level down */
	bl_autofree char *keeper = bl_xprintf("%s/keeper", unit);
	bl_autofree char *dir = bl_xprintf("%s/%s", unit, name);
	if ((mkdir(keeper, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(dir, 0755) < 0 && errno != EEXIST))
		return NULL;
	if (!cg_write(keeper, "cgroup.procs", "0"))
		return NULL;
	if (cg_write(unit, "cgroup.subtree_control", "+pids"))
		cg_write(dir, "pids.max", PIDS_MAX);
	return BL_STEAL(dir);
}

bool bl_cgroup_populated(const char *dir)
{
	if (!dir)
		return false;
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

void bl_cgroup_kill(const char *dir, pid_t group)
{
	if (group > 0)
		kill(-group, SIGKILL);
	/* cgroup.kill came with Linux 5.14 */
	if (dir && !cg_write(dir, "cgroup.kill", "1"))
		kill_each(dir);
}

void bl_cgroup_kill_wait(const char *dir, pid_t group)
{
	bl_cgroup_kill(dir, group);
	for (int i = 0; i < 1000 && bl_cgroup_populated(dir); i++) {
		if (!bl_idle())
			bl_sleep_ms(10);
		/* without cgroup.kill, what forks meanwhile is found by looking again */
		bl_cgroup_kill(dir, 0);
	}
	if (bl_cgroup_populated(dir))
		bl_log(BL_LOG_ERR, "processes in %s cannot be killed", dir);
}

void bl_cgroup_remove(const char *dir)
{
	if (dir && !bl_cgroup_populated(dir))
		rmdir(dir);
}

bool bl_cgroup_enter(void *ctx)
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
static int wait_for(const struct bl_cgroup_run *run, pid_t pid, bool *out_running)
{
	int64_t end = bl_now_boot_ns() + run->limit_ms * BL_NS_PER_MS;
	off_t from = size_of(run->log_fd);
	for (;;) {
		int status = 0;
		if (waitpid(pid, &status, WNOHANG) == pid) {
			*out_running = false;
			return bl_child_status(status);
		}
		if (run->stop && *run->stop)
			return BL_RUN_STOPPED;
		if (bl_now_boot_ns() > end)
			return BL_RUN_LIMIT;
		if (run->output_max && size_of(run->log_fd) - from > run->output_max)
			return BL_RUN_FLOOD;
		if (!bl_idle())
			bl_sleep_ms(10);
	}
}

int bl_cgroup_run(const struct bl_cgroup_run *run)
{
	struct bl_err err = { 0 };
	pid_t pid = -1;
	bl_autofree char *dir = bl_cgroup_make(run->name);
	if (run->alone && bl_cgroup_populated(dir))
		bl_cgroup_kill_wait(dir, 0);
	if (bl_child_spawn(run->argv, run->env, -1, run->log_fd, run->log_fd, bl_cgroup_enter,
			   dir, &pid, &err) < 0) {
		bl_log(BL_LOG_ERR, "%s", err.msg);
		return BL_RUN_NOEXEC;
	}
	bool running = true;
	int status = wait_for(run, pid, &running);
	if (running) {
		bl_cgroup_kill_wait(dir, pid);
		bl_child_reap(pid);
	}
	bl_cgroup_remove(dir);
	return status;
}
