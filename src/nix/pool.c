/* SPDX-License-Identifier: MIT */
#include "nix/pool.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/file.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT_MAX (64L * 1024 * 1024)
#define ERR_MAX (64L * 1024)
/* Measured: a toplevel with networkd, sshd and users takes 500 MB. */
#define USUAL_MEMORY (600UL << 20)

struct running {
	pid_t pid; /* 0: free */
	size_t task;
	int out, err;
	int64_t start_ns;
};

static const struct running free_slot = { .out = -1, .err = -1 };

struct pool {
	const struct bl_nix_pool *spec;
	struct running *slots;
	size_t n, running;
	uint64_t largest; /* 0: none has ended */
};

/* Who is gone needs no answer any more. */
static bool end_with_parent(BL_UNUSED void *ctx)
{
	bl_end_with_parent();
	return true;
}

static void close_slot(struct running *r)
{
	if (r->out >= 0)
		close(r->out);
	if (r->err >= 0)
		close(r->err);
	*r = free_slot;
}

static int start(struct pool *p, const struct bl_strv *argv, size_t task, struct bl_err *err)
{
	struct running *r = p->slots;
	while (r->pid != 0)
		r++;
	r->task = task;
	r->start_ns = bl_now_boot_ns();
	/* a pipe would have to be read while others are waited for */
	r->out = bl_nameless_file(bl_tmp_dir("/tmp"));
	r->err = bl_nameless_file(bl_tmp_dir("/tmp"));
	int rc =
		r->out < 0 || r->err < 0
			? bl_err_sys(err, errno, "make a file in the folder for temporary ones")
			: bl_child_spawn((const char *const *)argv->items, NULL, -1, r->out,
					 r->err, end_with_parent, NULL, &r->pid, err);
	if (rc < 0) {
		close_slot(r);
		return rc;
	}
	p->running++;
	return 0;
}

/* The last @max bytes of what was written there. */
static char *read_back(int fd, off_t max, size_t *out_len)
{
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > max ? end - max : 0;
	char *text = bl_xcalloc((size_t)(end - from) + 1, 1);
	ssize_t n = pread(fd, text, (size_t)(end - from), from);
	*out_len = n > 0 ? (size_t)n : 0;
	text[*out_len] = '\0';
	return text;
}

static void finish(struct pool *p, struct running *r, int wait_status, uint64_t memory)
{
	size_t err_len = 0;
	struct bl_nix_result result = { .status = bl_child_status(wait_status),
					.ms = (bl_now_boot_ns() - r->start_ns) / BL_NS_PER_MS,
					.memory = memory };
	result.out = read_back(r->out, OUT_MAX, &result.len);
	result.err = read_back(r->err, ERR_MAX, &err_len);
	size_t task = r->task;
	close_slot(r);
	p->running--;
	if (memory > p->largest)
		p->largest = memory;
	p->spec->done(p->spec->ctx, task, &result);
	free(result.out);
	free(result.err);
}

/* Waits for the end of one that runs. */
static void reap(struct pool *p)
{
	int status = 0;
	struct rusage usage = { 0 };
	pid_t pid = wait4(-1, &status, 0, &usage);
#ifdef __APPLE__
	uint64_t memory = (uint64_t)usage.ru_maxrss;
#else
	uint64_t memory = (uint64_t)usage.ru_maxrss * 1024;
#endif
	bool lost = pid < 0 && errno == ECHILD; /* the caller ignores SIGCHLD */
	for (size_t i = 0; i < p->n; i++)
		if (p->slots[i].pid && (lost || p->slots[i].pid == pid))
			finish(p, &p->slots[i], lost ? SIGKILL : status, memory);
}

static bool has_room(const struct pool *p)
{
	uint64_t each = p->largest ? p->largest : USUAL_MEMORY;
	return p->running == 0 ||
	       (p->running < p->n && (p->running + 1) * each <= p->spec->memory);
}

static int start_more(struct pool *p, struct bl_err *err)
{
	int rc = 0;
	while (rc == 0 && has_room(p)) {
		BL_AUTO(bl_strv) argv = { 0 };
		size_t task = 0;
		if (!p->spec->next(p->spec->ctx, &argv, &task))
			break;
		rc = start(p, &argv, task, err);
	}
	return rc;
}

int bl_nix_pool_run(const struct bl_nix_pool *spec, struct bl_err *err)
{
	struct pool p = { .spec = spec, .n = spec->workers ? spec->workers : 1 };
	p.slots = bl_xcalloc(p.n, sizeof(*p.slots));
	for (size_t i = 0; i < p.n; i++)
		p.slots[i] = free_slot;
	int rc = start_more(&p, err);
	while (p.running > 0) {
		reap(&p);
		if (rc == 0)
			rc = start_more(&p, err);
	}
	free(p.slots);
	return rc < 0 ? bl_err_wrap(err, "Nix is needed on this machine") : 0;
}

size_t bl_nix_workers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (size_t)n : 1;
}

/* /proc/meminfo's MemAvailable, where there is one; else what is built in, all of it. */
static uint64_t free_memory(void)
{
	bl_autofree char *text = bl_slurp("/proc/meminfo", 64UL * 1024);
	const char *at = text ? strstr(text, "MemAvailable:") : NULL;
	if (at)
		return strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024;
	long pages = sysconf(_SC_PHYS_PAGES);
	long size = sysconf(_SC_PAGESIZE);
	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 2UL << 30;
}

uint64_t bl_nix_memory(void)
{
	return free_memory() / 2;
}
