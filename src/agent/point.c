/* SPDX-License-Identifier: MIT */
#include "agent/point.h"

#ifdef BELAY_POINTS
#include "agent/unit.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The second one outlives a reboot. */
static const char *const places[] = { "/run/belay", "/var/lib/belay-point" };

static int next_errno;
static const char *own_role = "";

void bl_point_role(const char *role)
{
	own_role = role;
}

static bool is_meant(const char *name, const char *point)
{
	return strcmp(name, point) == 0 ||
	       (strcmp(name, "*") == 0 && strcmp(own_role, "keeper") == 0);
}

int bl_point_take_errno(void)
{
	int e = next_errno;
	next_errno = 0;
	return e;
}

uint32_t bl_point_ms(const char *name, uint32_t ms)
{
	bl_autofree char *path = bl_xprintf("/run/belay/%s", name);
	bl_autofree char *text = bl_slurp(path, 32);
	uint64_t v = 0;
	if (!text)
		return ms;
	text[strcspn(text, "\n")] = '\0';
	return bl_parse_u64(text, 1, UINT32_MAX, &v, NULL) < 0 ? ms : (uint32_t)v;
}

static void count_down(int dir, const char *name, const char *action, uint64_t count)
{
	if (count == 0)
		return;
	if (count == 1) {
		unlinkat(dir, "point", 0);
		return;
	}
	bl_autofree char *text =
		bl_xprintf("%s %s %llu\n", name, action, (unsigned long long)count - 1);
	if (bl_write_file_at(dir, "point", 0600, text, strlen(text), NULL) < 0)
		abort();
}

static void act(int dir, const char *action)
{
	if (strcmp(action, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (strcmp(action, "stop") == 0)
		kill(getpid(), SIGSTOP);
	else if (strcmp(action, "sleep") == 0)
		sleep(1);
	else if (strcmp(action, "enospc") == 0)
		next_errno = ENOSPC;
	else if (strcmp(action, "eio") == 0)
		next_errno = EIO;
	for (; strcmp(action, "spin") == 0;)
		continue;
	for (; strcmp(action, "ping") == 0; sleep(1))
		bl_unit_notify("WATCHDOG=1");
	if (strcmp(action, "hold") == 0) {
		bl_autofd int fd =
			openat(dir, "point.hit", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		while (faccessat(dir, "point.hit", F_OK, 0) == 0)
			usleep(10000);
	}
}

/* What was passed, for a sweep that wants to know: only where it made the file. */
static void trace(int dir, const char *name, const char *action)
{
	bl_autofd int fd = openat(dir, "trace", O_WRONLY | O_APPEND | O_CLOEXEC);
	bl_autofree char *line = bl_xprintf("%s%s%s\n", name, *action ? " " : "", action);
	if (fd >= 0)
		(void)!write(fd, line, strlen(line));
}

static void look(int dir, const char *name)
{
	bl_autofree char *text = NULL;
	BL_AUTO(bl_strv) words = { 0 };
	uint64_t count = 1;
	trace(dir, name, "");
	if (bl_read_file_at(dir, "point", 256, &text, NULL, NULL) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	bl_strv_split(&words, text, ' ');
	if (words.n < 2 || !is_meant(words.items[0], name))
		return;
	if (words.n > 2 && bl_parse_u64(words.items[2], 0, 1000000, &count, NULL) < 0)
		return;
	count_down(dir, words.items[0], words.items[1], count);
	bl_log(BL_LOG_WARN, "point %s: %s", name, words.items[1]);
	trace(dir, name, words.items[1]);
	act(dir, words.items[1]);
}

void bl_point(const char *name)
{
	if (strcmp(own_role, "deadman") == 0)
		return;
	for (size_t i = 0; i < BL_COUNT(places); i++) {
		bl_autofd int dir = -1;
		if (bl_open_dir(places[i], &dir, NULL) == 0)
			look(dir, name);
	}
}
#endif
