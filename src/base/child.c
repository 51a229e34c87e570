/* SPDX-License-Identifier: MIT */
#include "base/child.h"

#include "base/clock.h"
#include "base/compat.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEGIN_MS 10000
#define REAP_MS  5000

extern char **environ;

static void reset_signals(void)
{
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves @fd out of the way of 0 to 2, so that dup2 below never overwrites one still needed. */
static int lift(int fd, int flags)
{
	if (fd < 0)
		fd = open("/dev/null", flags | O_CLOEXEC);
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void exec_child(const char *const *argv, const char *const *env, const int fds[3],
		       int report)
{
	int in = lift(fds[0], O_RDONLY);
	int out = lift(fds[1], O_WRONLY);
	int err_fd = lift(fds[2], O_WRONLY);
	if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err_fd, 2) == 2) {
		bl_close_others_at_exec();
		bl_execvpe(argv[0], (char *const *)argv,
			   (char *const *)(env ? env : (const char *const *)environ));
	}
	int saved = errno;
	if (write(report, &saved, sizeof(saved)) < 0)
		_exit(125);
	_exit(127);
}

int bl_child_spawn(const char *const *argv, const char *const *env, int in, int out, int err_fd,
		   bool (*before)(void *ctx), void *ctx, pid_t *out_pid, struct bl_err *err)
{
	int report[2];
	if (bl_pipe(report) < 0)
		return bl_err_sys(err, errno, "pipe");
	pid_t pid = fork();
	if (pid < 0) {
		int saved = errno;
		close(report[0]);
		close(report[1]);
		return bl_err_sys(err, saved, "fork for %s", argv[0]);
	}
	if (pid == 0) {
		setpgid(0, 0);
		reset_signals();
		if (before && !before(ctx))
			_exit(126);
		exec_child(argv, env, (int[3]){ in, out, err_fd }, report[1]);
	}
	setpgid(pid, pid);
	close(report[1]);
	int child_errno = 0;
	ssize_t n = 0;
	/* a program on a disk that hangs does not even begin: whoever waits for it has a limit
	 */
	struct pollfd p = { .fd = report[0], .events = POLLIN };
	for (int i = 0; i < BEGIN_MS / 10 && poll(&p, 1, 10) <= 0; i++)
		continue;
	if (p.revents)
		n = read(report[0], &child_errno, sizeof(child_errno));
	close(report[0]);
	if (n == (ssize_t)sizeof(child_errno)) {
		waitpid(pid, NULL, 0);
		return bl_err_sys(err, child_errno, "start %s", argv[0]);
	}
	*out_pid = pid;
	return 0;
}

int bl_child_status(int wait_status)
{
	if (WIFEXITED(wait_status))
		return WEXITSTATUS(wait_status);
	return 128 + (WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0);
}

static void keep_tail(struct bl_buf *b, const char *data, size_t len)
{
	bl_buf_append(b, data, len);
	if (b->len > 4096)
		bl_buf_drop(b, b->len - 4096);
}

/* Reads what is there; false at the end of the stream. */
static bool drain(int fd, struct bl_buf *b, size_t max)
{
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	if (max == 0)
		keep_tail(b, chunk, (size_t)n);
	else if (b->len < max)
		bl_buf_append(b, chunk, (size_t)n < max - b->len ? (size_t)n : max - b->len);
	return true;
}

static int64_t left_ms(const struct bl_child_spec *spec, int64_t start_ns)
{
	int64_t wait = 1000;
	if (spec->timeout_ms > 0) {
		int64_t left = spec->timeout_ms - (bl_now_boot_ns() - start_ns) / BL_NS_PER_MS;
		wait = left < wait ? (left < 0 ? 0 : left) : wait;
	}
	return wait;
}

static bool is_over(const struct bl_child_spec *spec, int64_t start_ns)
{
	if (spec->stop && atomic_load(spec->stop))
		return true;
	return spec->timeout_ms > 0 && left_ms(spec, start_ns) == 0;
}

void bl_child_reap(pid_t pid)
{
	int64_t end = bl_now_boot_ns() + REAP_MS * BL_NS_PER_MS;
	while (waitpid(pid, NULL, WNOHANG) == 0 && bl_now_boot_ns() < end)
		if (!bl_idle())
			bl_sleep_ms(10);
}

static void kill_group(pid_t pid, struct bl_child_result *r)
{
	kill(-pid, SIGKILL);
	bl_child_reap(pid);
	r->status = -1;
}

/* Waits for something to read and reads it; false when there was nothing. */
static bool read_some(const struct bl_child_spec *spec, struct pollfd p[2], int wait_ms,
		      struct bl_child_result *r)
{
	bool any = false;
	if (poll(p, 2, wait_ms) <= 0)
		return false;
	for (int i = 0; i < 2; i++) {
		if (p[i].fd < 0 || !p[i].revents)
			continue;
		any = true;
		struct bl_buf *b = i == 0 ? &r->out : &r->err;
		if (!drain(p[i].fd, b, i == 0 ? spec->out_max : 0))
			p[i].fd = -1;
	}
	return any;
}

/*
 * Both streams until their end, or that of the child, or the time limit: then the group is
 * killed. False when the streams have ended and the child has not.
 */
static bool read_streams(const struct bl_child_spec *spec, pid_t pid, int64_t start, int out_fd,
			 int err_fd, struct bl_child_result *r)
{
	struct pollfd p[2] = { { .fd = out_fd, .events = POLLIN },
			       { .fd = err_fd, .events = POLLIN } };
	int status = 0;
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			r->status = bl_child_status(status);
			/* a grandchild may hold the pipes and go on writing: the end of the
			 * child is enough, and two full pipes are all that it can have left */
			for (int n = 2 * 65536 / 4096; n > 0 && read_some(spec, p, 0, r); n--)
				continue;
			return true;
		}
		int64_t wait = left_ms(spec, start);
		read_some(spec, p, (int)(wait < 50 ? wait : 50), r);
		bl_idle();
		if (is_over(spec, start)) {
			kill_group(pid, r);
			return true;
		}
	}
	return false;
}

/* The streams are closed: all that is left is its end, or the time limit. */
static void wait_end(const struct bl_child_spec *spec, pid_t pid, int64_t start,
		     struct bl_child_result *r)
{
	int status = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (is_over(spec, start)) {
			kill_group(pid, r);
			return;
		}
		if (!bl_idle())
			bl_sleep_ms(2);
	}
	r->status = bl_child_status(status);
}

int bl_child_start(const struct bl_child_spec *spec, struct bl_child *out, struct bl_err *err)
{
	int o[2] = { -1, -1 };
	int e[2] = { -1, -1 };
	bool keep = spec->err_mode == BL_CHILD_ERR_KEEP;
	*out = (struct bl_child){ .out_fd = -1, .err_fd = -1, .start_ns = bl_now_boot_ns() };
	int rc = bl_pipe(o) < 0 || (keep && bl_pipe(e) < 0)
			 ? bl_err_sys(err, errno, "pipe for %s", spec->argv[0])
			 : 0;
	int err_fd = keep ? e[1] : spec->err_mode == BL_CHILD_ERR_MERGE ? o[1] : STDERR_FILENO;
	if (rc == 0)
		rc = bl_child_spawn(spec->argv, spec->env, -1, o[1], err_fd, NULL, NULL,
				    &out->pid, err);
	bl_closep(&o[1]);
	bl_closep(&e[1]);
	if (rc < 0) {
		bl_closep(&o[0]);
		bl_closep(&e[0]);
		return -1;
	}
	out->out_fd = o[0];
	out->err_fd = e[0];
	return 0;
}

void bl_child_finish(const struct bl_child_spec *spec, struct bl_child *c,
		     struct bl_child_result *out)
{
	struct bl_child_result r = { 0 };
	if (!read_streams(spec, c->pid, c->start_ns, c->out_fd, c->err_fd, &r))
		wait_end(spec, c->pid, c->start_ns, &r);
	bl_closep(&c->out_fd);
	bl_closep(&c->err_fd);
	c->pid = 0;
	*out = r;
}

int bl_child_run(const struct bl_child_spec *spec, struct bl_child_result *out,
		 struct bl_err *err)
{
	struct bl_child c;
	if (bl_child_start(spec, &c, err) < 0)
		return -1;
	bl_child_finish(spec, &c, out);
	return 0;
}

void bl_child_result_free(struct bl_child_result *r)
{
	bl_buf_free(&r->out);
	bl_buf_free(&r->err);
}
