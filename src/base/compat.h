/* SPDX-License-Identifier: MIT */
/*
 * What Linux and macOS do each in its own way, for the rooms that `belay` is made of. The
 * agent, which links them too, runs on Linux only. For macOS it is in compat-darwin.c.
 */
#ifndef BELAY_BASE_COMPAT_H
#define BELAY_BASE_COMPAT_H

#ifdef __linux__

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Both ends are closed in programs that are started. */
static inline int bl_pipe(int fds[2])
{
	return pipe2(fds, O_CLOEXEC);
}

/* A stream socket that waits for nothing and is closed in programs that are started. */
static inline int bl_stream_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A file without a name that others could open, closed in programs that are started. */
static inline int bl_memory_file(void)
{
	return memfd_create("belay", MFD_CLOEXEC);
}

/* In a new child: what the caller itself inherited, from descriptor 3 on, is not for what is
 * started now; kernels before 5.11 say no. */
static inline void bl_close_others_at_exec(void)
{
#ifdef SYS_close_range
	const unsigned int cloexec = 1U
				     << 2; /* CLOSE_RANGE_CLOEXEC, which musl's headers lack */
	syscall(SYS_close_range, 3U, ~0U, cloexec);
#endif
}

/* execvp(3) with another environment. */
static inline void bl_execvpe(const char *file, char *const *argv, char *const *env)
{
	execvpe(file, argv, env);
}

/* In a new child: it is asked to end when its parent is gone. macOS cannot: there it runs to
 * its own end, which nobody waits for. */
static inline void bl_end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
}

#else

int bl_pipe(int fds[2]);
int bl_stream_socket(int family);
int bl_memory_file(void);
void bl_close_others_at_exec(void);
void bl_execvpe(const char *file, char *const *argv, char *const *env);
static inline void bl_end_with_parent(void)
{
}

/* Flushes all file systems: there is nothing for one alone. */
int syncfs(int fd);

#endif
#endif
