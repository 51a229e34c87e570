/* SPDX-License-Identifier: MIT */
/* macOS's side of compat.h. */
#define __STDC_WANT_LIB_EXT1__ 1 /* memset_s. NOLINT(bugprone-reserved-identifier) */
#include "base/compat.h"

#include "base/base.h"
#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

static int flag(int fd, int get, int set, int bit)
{
	int flags = fcntl(fd, get);
	return flags < 0 ? -1 : fcntl(fd, set, flags | bit);
}

/* Not at once as on Linux: bl_close_others_at_exec is what keeps them from programs that
 * another thread starts in between. */
int bl_pipe(int fds[2])
{
	if (pipe(fds) < 0)
		return -1;
	if (flag(fds[0], F_GETFD, F_SETFD, FD_CLOEXEC) == 0 &&
	    flag(fds[1], F_GETFD, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	bl_closep(&fds[0]);
	bl_closep(&fds[1]);
	return -1;
}

int bl_stream_socket(int family)
{
	int fd = socket(family, SOCK_STREAM, 0);
	if (fd >= 0 && (flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC) < 0 ||
			flag(fd, F_GETFL, F_SETFL, O_NONBLOCK) < 0))
		bl_closep(&fd);
	return fd;
}

int bl_memory_file(void)
{
	return bl_nameless_file(bl_tmp_dir("/tmp"));
}

void bl_close_others_at_exec(void)
{
	for (int fd = 3; fd < OPEN_MAX; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* The new environment's PATH counts, as the caller's does on Linux: belay adds to its own
 * environment and changes no PATH. */
void bl_execvpe(const char *file, char *const *argv, char *const *env)
{
	environ = (char **)env;
	execvp(file, argv);
}

int syncfs(int fd BL_UNUSED)
{
	sync();
	return 0;
}

void explicit_bzero(void *p, size_t len)
{
	memset_s(p, len, 0, len);
}
