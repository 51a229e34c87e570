/* SPDX-License-Identifier: MIT */
#include "store/exchange.h"

#include "base/child.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK       ((size_t)64 << 10)
#define QUEUE_SEND  ((size_t)128 << 10) /* from here on a call is worth it */
#define QUEUE_MAX   ((size_t)1 << 20)
#define AWAITS_MAX  8192
#define SLICE_MS    50 /* bl_idle() wants to be called */
#define TAIL_MAX    4096
#define END_WAIT_MS 2000

void bl_exchange_begin(struct bl_exchange *x, int in, int out, int err_fd, pid_t pid,
		       int64_t quiet_ms)
{
	*x = (struct bl_exchange){ .in = in,
				   .out = out,
				   .err_fd = err_fd,
				   .pid = pid,
				   .quiet_ms = quiet_ms,
				   .news_ns = bl_now_boot_ns(),
				   .what = "" };
	const int fds[] = { in, out, err_fd };
	for (size_t i = 0; i < BL_COUNT(fds); i++)
		if (fds[i] >= 0)
			(void)fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
	x->chunk = bl_xcalloc(CHUNK, 1);
}

static void forget_awaits(struct bl_exchange *x)
{
	for (size_t i = x->first; i < x->n; i++)
		free(x->awaits[i].path);
	x->first = x->n = 0;
	x->reading = false;
}

static void end_child(pid_t pid)
{
	for (int64_t ms = 0; ms < END_WAIT_MS; ms += 5) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		bl_idle();
		bl_sleep_ms(5);
	}
	kill(-pid, SIGKILL);
	bl_child_reap(pid);
}

void bl_exchange_end(struct bl_exchange *x)
{
	if (x->out != x->in)
		bl_closep(&x->out);
	bl_closep(&x->in);
	bl_closep(&x->err_fd);
	if (x->pid > 0)
		end_child(x->pid);
	forget_awaits(x);
	free(x->awaits);
	free(x->chunk);
	bl_buf_free(&x->queue);
	bl_buf_free(&x->tail);
	bl_worker_reader_free(&x->reader);
	*x = (struct bl_exchange){ .in = -1, .out = -1, .err_fd = -1 };
}

void bl_exchange_topic(struct bl_exchange *x, const char *what)
{
	if (x->first == x->n) {
		x->reader.kept = 0;
		if (what != x->what)
			x->asked = x->answered = 0;
	}
	x->what = what;
}

void bl_exchange_await(struct bl_exchange *x, const struct bl_await *a)
{
	if (x->n == x->cap && x->first > x->cap / 2) {
		x->n -= x->first;
		memmove(x->awaits, x->awaits + x->first, x->n * sizeof(x->awaits[0]));
		x->first = 0;
	} else if (x->n == x->cap) {
		x->cap = x->cap ? 2 * x->cap : 64;
		x->awaits = bl_xrealloc(x->awaits, x->cap, sizeof(x->awaits[0]));
	}
	x->awaits[x->n++] = *a;
	x->asked++;
}

/* ---- one direction each: 1 something moved, 0 nothing did, -1 */

static int send_some(struct bl_exchange *x, struct bl_err *err)
{
	if (x->write_closed || x->sent == x->queue.len)
		return 0;
	const char *data = x->queue.data + x->sent;
	size_t len = x->queue.len - x->sent;
	ssize_t n = send(x->out, data, len, MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK)
		n = write(x->out, data, len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
		x->write_closed = true; /* but it may have said why */
		return 1;
	}
	if (n < 0)
		return bl_err_sys(err, errno, "write");
	x->sent += (size_t)n;
	if (x->sent == x->queue.len || x->sent >= QUEUE_MAX / 2) {
		bl_buf_drop(&x->queue, x->sent);
		x->sent = 0;
	}
	return n > 0;
}

static void answer_read(struct bl_exchange *x)
{
	struct bl_await a = x->awaits[x->first++];
	x->answered++;
	x->reading = false;
	if (x->first == x->n)
		x->first = x->n = 0;
	if (a.done)
		a.done(a.ctx, &a, &x->reader.answer);
	free(a.path);
}

static int understand(struct bl_exchange *x, const char *data, size_t len, struct bl_err *err)
{
	while (len > 0) {
		size_t used = 0;
		if (x->first == x->n)
			return bl_err_set(err, BL_E_INPUT, "it answers what nobody asked");
		const struct bl_await *a = &x->awaits[x->first];
		if (!x->reading)
			bl_worker_expect(&x->reader, a->kind, a->paths_max);
		x->reading = true;
		int rc = bl_worker_read(&x->reader, data, len, &used, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			answer_read(x);
		data += used;
		len -= used;
	}
	return 0;
}

static void read_stderr(struct bl_exchange *x)
{
	char text[1024];
	ssize_t n = x->err_fd < 0 ? 0 : read(x->err_fd, text, sizeof(text));
	if (n == 0)
		bl_closep(&x->err_fd);
	if (n <= 0)
		return;
	bl_buf_append(&x->tail, text, (size_t)n);
	if (x->tail.len > TAIL_MAX)
		bl_buf_drop(&x->tail, x->tail.len - TAIL_MAX);
}

static int ended(struct bl_exchange *x, struct bl_err *err)
{
	/* what it wrote before its end may not have been read; after it there is no more */
	for (int i = 0; i < 2 * TAIL_MAX / 1024 && x->err_fd >= 0; i++)
		read_stderr(x);
	bl_autofree char *said = bl_worker_clean(bl_buf_str(&x->tail), x->tail.len);
	const char *line = strrchr(said, '\n');
	line = line ? line + 1 : said;
	return bl_err_set(err, BL_E_FAILED, "it closed the connection%s%.200s",
			  *line ? ": " : "", line);
}

static int read_some(struct bl_exchange *x, struct bl_err *err)
{
	ssize_t n = read(x->in, x->chunk, CHUNK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return ended(x, err);
	if (n < 0)
		return bl_err_sys(err, errno, "read");
	return understand(x, x->chunk, (size_t)n, err) < 0 ? -1 : 1;
}

/* Both directions once, after at most @wait_ms. */
static int move(struct bl_exchange *x, int wait_ms, struct bl_err *err)
{
	bool queued = x->sent < x->queue.len && !x->write_closed;
	struct pollfd p[3] = { { .fd = x->in, .events = POLLIN },
			       { .fd = queued ? x->out : -1, .events = POLLOUT },
			       { .fd = x->err_fd, .events = POLLIN } };
	if (poll(p, BL_COUNT(p), wait_ms) <= 0)
		return 0;
	int moved = 0;
	if (p[2].revents)
		read_stderr(x);
	if (p[0].revents)
		moved = read_some(x, err);
	if (moved >= 0 && p[1].revents) {
		int rc = send_some(x, err);
		moved = rc < 0 ? -1 : moved | rc;
	}
	return moved;
}

/* ---- with time limits and messages */

static int breaks(struct bl_exchange *x, struct bl_err *err)
{
	if (x->broken.code == BL_E_NONE)
		bl_err_set(&x->broken, BL_E_FAILED, "it is of no use any more");
	if (x->asked > 1)
		(void)bl_err_wrap(&x->broken, "Nix daemon: %s (%zu of %zu answered)", x->what,
				  x->answered, x->asked);
	else
		(void)bl_err_wrap(&x->broken, "Nix daemon: %s", x->what);
	forget_awaits(x);
	if (err)
		*err = x->broken;
	return -1;
}

static int attempt(struct bl_exchange *x, int wait_ms, struct bl_err *err)
{
	if (x->broken.code != BL_E_NONE) {
		if (err)
			*err = x->broken;
		return -1;
	}
	int rc = move(x, wait_ms, &x->broken);
	if (rc < 0)
		return breaks(x, err);
	if (rc > 0)
		x->news_ns = bl_now_boot_ns();
	return rc;
}

int bl_exchange_wait(struct bl_exchange *x, struct bl_err *err)
{
	for (;;) {
		int rc = attempt(x, SLICE_MS, err);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		bl_idle();
		int64_t quiet = (bl_now_boot_ns() - x->news_ns) / BL_NS_PER_MS;
		if (x->quiet_ms > 0 && quiet > x->quiet_ms) {
			(void)bl_err_set(&x->broken, BL_E_TIMEOUT,
					 "nothing came or went for %lld ms", (long long)quiet);
			return breaks(x, err);
		}
	}
}

int bl_exchange_room(struct bl_exchange *x, struct bl_err *err)
{
	size_t queued = x->queue.len - x->sent;
	if (x->broken.code == BL_E_NONE && queued < QUEUE_SEND && x->n - x->first < AWAITS_MAX)
		return 0;
	if (attempt(x, 0, err) < 0)
		return -1;
	x->news_ns = bl_now_boot_ns();
	while (x->queue.len - x->sent > QUEUE_MAX || x->n - x->first >= AWAITS_MAX)
		if (bl_exchange_wait(x, err) < 0)
			return -1;
	return 0;
}

int bl_exchange_drain(struct bl_exchange *x, struct bl_err *err)
{
	x->news_ns = bl_now_boot_ns();
	if (x->broken.code != BL_E_NONE)
		return attempt(x, 0, err);
	while (x->first < x->n)
		if (bl_exchange_wait(x, err) < 0)
			return -1;
	return 0;
}
