/* SPDX-License-Identifier: MIT */
#include "store/daemon.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/compat.h"
#include "store/exchange.h"
#include "store/path.h"
#include "store/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME ((size_t)64 << 10)

static const char adding[] = "adding paths";

struct bl_daemon {
	struct bl_exchange x;
	void (*added)(void *ctx, const char *path, const char *problem);
	void *ctx;
	char *version;
	unsigned protocol;
	enum bl_daemon_trust trust;
	char *path;    /* that is being added, or NULL */
	uint64_t size; /* of its NAR */
	uint64_t left; /* bytes of that still to come */
};

/* ---- connecting */

static void hello_read(void *ctx, struct bl_await *self BL_UNUSED, struct bl_worker_answer *a)
{
	struct bl_daemon *d = ctx;
	d->protocol = a->protocol;
	d->trust =
		a->number <= BL_TRUST_NO ? (enum bl_daemon_trust)a->number : BL_TRUST_UNKNOWN;
	bl_replace_str(&d->version, a->problem ? a->problem : a->text);
	if (a->problem)
		d->protocol = 0;
}

static int say_hello(struct bl_daemon *d, struct bl_err *err)
{
	bl_exchange_topic(&d->x, "saying hello");
	bl_request_hello(&d->x.queue);
	bl_exchange_await(
		&d->x,
		&(struct bl_await){ .kind = BL_WORKER_HELLO, .done = hello_read, .ctx = d });
	if (bl_exchange_drain(&d->x, err) < 0)
		return -1;
	if (d->protocol == 0)
		return bl_err_set(err, BL_E_FAILED, "Nix daemon: %s", d->version);
	return 0;
}

static int attach(const struct bl_daemon_spec *spec, int in, int out_fd, int err_fd, pid_t pid,
		  struct bl_daemon **out, struct bl_err *err)
{
	bl_autodaemon struct bl_daemon *d = bl_xcalloc(1, sizeof(*d));
	bl_exchange_begin(&d->x, in, out_fd, err_fd, pid, spec->quiet_ms);
	d->x.reader.line = spec->line;
	d->x.reader.ctx = spec->ctx;
	d->added = spec->added;
	d->ctx = spec->ctx;
	if (say_hello(d, err) < 0)
		return -1;
	*out = BL_STEAL(d);
	return 0;
}

int bl_daemon_attach(const struct bl_daemon_spec *spec, int in, int out_fd,
		     struct bl_daemon **out, struct bl_err *err)
{
	return attach(spec, in, out_fd, -1, 0, out, err);
}

static int start_program(const struct bl_daemon_spec *spec, struct bl_daemon **out,
			 struct bl_err *err)
{
	static const char *const usual[] = { "nix-daemon", "--stdio", NULL };
	const char *const *argv = spec->program ? spec->program : usual;
	int p[6] = {
		-1, -1, -1, -1, -1, -1
	}; /* its stdin, stdout, stderr, both ends of each */
	pid_t pid = 0;
	int rc = 0;
	for (size_t i = 0; i < BL_COUNT(p) && rc == 0; i += 2)
		if (bl_pipe(p + i) < 0)
			rc = bl_err_sys(err, errno, "pipe for %s", argv[0]);
	if (rc == 0)
		rc = bl_child_spawn(argv, spec->env, p[0], p[3], p[5], NULL, NULL, &pid, err);
	bl_closep(&p[0]);
	bl_closep(&p[3]);
	bl_closep(&p[5]);
	if (rc == 0)
		return attach(spec, p[2], p[1], p[4], pid, out, err);
	bl_closep(&p[1]);
	bl_closep(&p[2]);
	bl_closep(&p[4]);
	return -1;
}

/* 1 connected, 0 nobody listens there, -1 */
static int connect_to(const char *socket_path, int64_t quiet_ms, int *out_fd,
		      struct bl_err *err)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	if (strlen(socket_path) >= sizeof(to.sun_path))
		return bl_err_set(err, BL_E_USAGE, "%s: too long for a socket", socket_path);
	memcpy(to.sun_path, socket_path, strlen(socket_path) + 1);
	bl_autofd int fd = bl_stream_socket(AF_UNIX);
	if (fd < 0)
		return bl_err_sys(err, errno, "socket");
	int64_t start = bl_now_boot_ns();
	while (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		int why = errno;
		if (why == ENOENT || why == ENOTDIR || why == ECONNREFUSED)
			return 0;
		if (why != EAGAIN && why != EINTR)
			return bl_err_sys(err, why, "connect to %s", socket_path);
		/* more clients wait there than it takes */
		if (quiet_ms > 0 && bl_now_boot_ns() - start > quiet_ms * BL_NS_PER_MS)
			return bl_err_set(err, BL_E_TIMEOUT, "connect to %s: it is too busy",
					  socket_path);
		bl_idle();
		bl_sleep_ms(10);
	}
	*out_fd = BL_STEAL_FD(fd);
	return 1;
}

int bl_daemon_open(const struct bl_daemon_spec *spec, struct bl_daemon **out,
		   struct bl_err *err)
{
	const char *at = spec->socket ? spec->socket : BL_DAEMON_SOCKET;
	int fd = -1;
	int rc = *at ? connect_to(at, spec->quiet_ms, &fd, err) : 0;
	if (rc < 0)
		return -1;
	return rc > 0 ? attach(spec, fd, fd, -1, 0, out, err) : start_program(spec, out, err);
}

void bl_daemon_close(struct bl_daemon *d)
{
	if (!d)
		return;
	bl_exchange_end(&d->x);
	free(d->version);
	free(d->path);
	free(d);
}

bool bl_daemon_works(const struct bl_daemon *d)
{
	return d->x.broken.code == BL_E_NONE;
}

const char *bl_daemon_nix_version(const struct bl_daemon *d)
{
	return d->version;
}

unsigned bl_daemon_protocol(const struct bl_daemon *d)
{
	return d->protocol;
}

enum bl_daemon_trust bl_daemon_trust(const struct bl_daemon *d)
{
	return d->trust;
}

struct bl_exchange *bl_daemon_topic(struct bl_daemon *d, const char *what, struct bl_err *err)
{
	if (d->path) {
		(void)bl_err_set(err, BL_E_USAGE, "%s while %s is being added", what, d->path);
		return NULL;
	}
	bl_exchange_topic(&d->x, what);
	return &d->x;
}

/* ---- adding */

static int check_info(const struct bl_path_info *info, struct bl_err *err)
{
	if (bl_store_path_check(info->path, "a path to add", err) < 0)
		return -1;
	if (info->deriver && *info->deriver &&
	    bl_store_path_check(info->deriver, "its deriver", err) < 0)
		return bl_err_wrap(err, "%s", info->path);
	for (size_t i = 0; i < info->references.n; i++)
		if (bl_store_path_check(info->references.items[i], "a reference", err) < 0)
			return bl_err_wrap(err, "%s", info->path);
	if (info->nar_size == 0)
		return bl_err_set(err, BL_E_INPUT, "%s: a NAR of no size", info->path);
	return 0;
}

static void outcome_read(void *ctx, struct bl_await *self, struct bl_worker_answer *a)
{
	struct bl_daemon *d = ctx;
	if (d->added)
		d->added(d->ctx, self->path, a->problem);
}

int bl_daemon_add_begin(struct bl_daemon *d, const struct bl_path_info *info,
			struct bl_err *err)
{
	if (check_info(info, err) < 0 || !bl_daemon_topic(d, adding, err))
		return -1;
	if (bl_exchange_room(&d->x, err) < 0)
		return -1;
	bl_request_add(&d->x.queue, info);
	/* it may log while the NAR is still on its way */
	bl_exchange_await(&d->x, &(struct bl_await){ .kind = BL_WORKER_NOTHING,
						     .done = outcome_read,
						     .ctx = d,
						     .path = bl_xstrdup(info->path) });
	d->path = bl_xstrdup(info->path);
	d->size = d->left = info->nar_size;
	return 0;
}

int bl_daemon_add_data(struct bl_daemon *d, const void *data, size_t len, struct bl_err *err)
{
	const char *p = data;
	if (!d->path)
		return bl_err_set(err, BL_E_USAGE, "no path is being added");
	if (len > d->left)
		return bl_err_set(err, BL_E_INPUT, "%s: its NAR has more than %llu bytes",
				  d->path, (unsigned long long)d->size);
	while (len > 0) {
		size_t take = len < FRAME ? len : FRAME;
		bl_request_frame(&d->x.queue, p, take);
		p += take;
		len -= take;
		d->left -= take;
		if (bl_exchange_room(&d->x, err) < 0)
			return -1;
	}
	return 0;
}

static int end_path(struct bl_daemon *d, struct bl_err *err)
{
	bl_request_frame(&d->x.queue, NULL, 0);
	bl_replace_str(&d->path, NULL);
	return bl_exchange_room(&d->x, err);
}

int bl_daemon_add_end(struct bl_daemon *d, struct bl_err *err)
{
	if (!d->path)
		return bl_err_set(err, BL_E_USAGE, "no path is being added");
	if (d->left > 0)
		return bl_err_set(err, BL_E_INPUT, "%s: its NAR ends after %llu of %llu bytes",
				  d->path, (unsigned long long)(d->size - d->left),
				  (unsigned long long)d->size);
	return end_path(d, err);
}

int bl_daemon_add_cancel(struct bl_daemon *d, struct bl_err *err)
{
	return d->path ? end_path(d, err) : 0;
}

int bl_daemon_finish(struct bl_daemon *d, struct bl_err *err)
{
	if (!bl_daemon_topic(d, adding, err))
		return -1;
	return bl_exchange_drain(&d->x, err);
}
