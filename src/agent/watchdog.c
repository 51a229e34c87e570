/* SPDX-License-Identifier: MIT */
#include "agent/watchdog.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMEOUT_S  60
#define SHUTDOWN_S 600
#define MARK       "/run/belay/watchdog"

static volatile sig_atomic_t stopped;

/*
 * WDIOC_SETTIMEOUT, _IOWR('W', 6, int): musl-gcc finds no headers of the kernel, and the two
 * C libraries do not agree on the type of ioctl's number.
 */
static bool set_timeout(int fd, int seconds)
{
	return syscall(SYS_ioctl, fd, 0xc0045706UL, &seconds) == 0;
}

static void read_value(const char *dir, const char *name, char *out, size_t size)
{
	bl_autofree char *path = bl_xprintf("%s/%s", dir, name);
	bl_autofree char *text = bl_slurp(path, 4096);
	snprintf(out, size, "%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
}

void bl_watchdog_look(const char *root, const char *name, struct bl_watchdog_seen *out)
{
	bl_autofree char *dir = bl_xprintf("%s/sys/class/watchdog/%s", root, name);
	bl_autofree char *device = bl_xprintf("%s/dev/%s", root, name);
	char state[16];
	char nowayout[16];
	*out = (struct bl_watchdog_seen){ 0 };
	out->there = access(dir, F_OK) == 0 && access(device, F_OK) == 0;
	read_value(dir, "identity", out->identity, sizeof(out->identity));
	read_value(dir, "state", state, sizeof(state));
	read_value(dir, "nowayout", nowayout, sizeof(nowayout));
	out->soft = strcmp(out->identity, "Software Watchdog") == 0;
	if (!out->identity[0])
		snprintf(out->identity, sizeof(out->identity), "%s", name);
	out->told = state[0] && nowayout[0];
	out->active = strcmp(state, "active") == 0;
	out->nowayout = strcmp(nowayout, "1") == 0;
}

bool bl_watchdog_is_free(const struct bl_watchdog_seen *seen)
{
	return seen->there && seen->told && !seen->active && !seen->nowayout;
}

static void on_term(int sig BL_UNUSED)
{
	stopped = 1;
}

/*
 * PID 1 stops us for nothing but a shutdown. A minute would be too short for services that take
 * their time to end, and whoever pulls the plug on a database has to have a reason.
 */
static void leave(const struct bl_watchdog *w)
{
	if (!set_timeout(w->fd, SHUTDOWN_S))
		(void)!write(w->fd, "V", 1);
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
}

void bl_watchdog_open(struct bl_watchdog *w, const char *root)
{
	struct bl_watchdog_seen seen;
	struct bl_err err = { 0 };
	bl_autofree char *path = bl_xprintf("%s/dev/watchdog", root);
	bl_autofree char *mark = bl_xprintf("%s" MARK, root);
	*w = (struct bl_watchdog){ .fd = -1 };
	bl_watchdog_look(root, "watchdog0", &seen);
	/* a keeper that was killed left it running, and its mark */
	bool left = access(mark, F_OK) == 0;
	if (!left && !bl_watchdog_is_free(&seen))
		return;
	if (!left && bl_symlink_replace(path, mark, &err) < 0) {
		bl_log(BL_LOG_WARN, "the watchdog is not fed: %s", err.msg);
		return;
	}
	w->fd = open(path, O_WRONLY | O_CLOEXEC);
	if (w->fd < 0) {
		/* busy: somebody was quicker, and feeds it */
		bl_log(BL_LOG_INFO, "%s: %s", path, strerror(errno));
		unlink(mark);
		return;
	}
	/* the driver's own time is as good where it has only that */
	(void)!set_timeout(w->fd, TIMEOUT_S);
	w->mark = BL_STEAL(mark);
	signal(SIGTERM, on_term);
	bl_log(BL_LOG_INFO, "feeds the watchdog %s", seen.identity);
}

void bl_watchdog_ping(const struct bl_watchdog *w)
{
	if (w->fd < 0)
		return;
	if (stopped)
		leave(w);
	(void)!write(w->fd, "", 1);
}

void bl_watchdog_close(struct bl_watchdog *w)
{
	if (w->fd < 0)
		return;
	signal(SIGTERM, SIG_DFL);
	/* the letter that says that the end is meant; see the kernel's watchdog-api */
	if (write(w->fd, "V", 1) != 1)
		bl_log(BL_LOG_ERR, "the watchdog cannot be stopped: %s", strerror(errno));
	bl_closep(&w->fd);
	unlink(w->mark);
	free(w->mark);
	w->mark = NULL;
}
