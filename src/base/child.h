/* SPDX-License-Identifier: MIT */
/*
 * Runs one program and waits for it: no shell, only its three descriptors, default signals, a
 * process group of its own, a time limit. For the agent and for the CLI's steps before its
 * loop.
 */
#ifndef BELAY_BASE_CHILD_H
#define BELAY_BASE_CHILD_H

#include "base/buf.h"
#include "base/err.h"

#include <stdatomic.h>
#include <sys/types.h>

enum bl_child_err { BL_CHILD_ERR_KEEP, BL_CHILD_ERR_INHERIT, BL_CHILD_ERR_MERGE };

struct bl_child_spec {
	const char *const *argv; /* argv[0] is a path, or a name to be found in PATH */
	const char *const *env;  /* whole environment, or NULL: the caller's */
	int64_t timeout_ms;      /* 0: no limit; at the limit the whole group is killed */
	size_t out_max;          /* bytes of stdout to keep (the rest is read and dropped) */
	enum bl_child_err err_mode;
	/* becomes true, maybe by another thread: it ends as at the limit; NULL: never */
	const atomic_bool *stop;
};

struct bl_child_result {
	int status;        /* exit status; 128 + signal when killed; -1 when over the limit */
	struct bl_buf out; /* stdout (with MERGE also stderr) */
	struct bl_buf err; /* the last 4 KiB of stderr with KEEP */
};

/*
 * BL_E_SYS when it could not be started (then nothing ran); else 0, whatever it exited with.
 * While it waits, bl_idle() goes on. One that cannot even be killed is left behind after a
 * while.
 */
int bl_child_run(const struct bl_child_spec *spec, struct bl_child_result *out,
		 struct bl_err *err) BL_MUST_CHECK;
void bl_child_result_free(struct bl_child_result *r);

/* The same in two steps, for what may take its time beside other things. */
struct bl_child {
	pid_t pid; /* 0: none */
	int out_fd, err_fd;
	int64_t start_ns;
};
/* @spec is borrowed until bl_child_finish. Fails as bl_child_run does; then there is no child.
 */
int bl_child_start(const struct bl_child_spec *spec, struct bl_child *out,
		   struct bl_err *err) BL_MUST_CHECK;
/* Waits for its end, or for the limit, counted from its start. */
void bl_child_finish(const struct bl_child_spec *spec, struct bl_child *child,
		     struct bl_child_result *out);
/* Waits for @pid that was killed, 5 s at the most: what hangs in the kernel dies later. */
void bl_child_reap(pid_t pid);

/*
 * Starts @argv with the given descriptors (-1: /dev/null) and the other bells of above; the
 * caller waits. @before runs in the child before exec (NULL: nothing) and may only use
 * async-signal-safe calls; when it returns false the child exits with 126.
 */
int bl_child_spawn(const char *const *argv, const char *const *env, int in, int out, int err_fd,
		   bool (*before)(void *ctx), void *ctx, pid_t *out_pid,
		   struct bl_err *err) BL_MUST_CHECK;

/* 128 + signal or the exit status, from waitpid's word. */
int bl_child_status(int wait_status);

static inline void bl_child_result_autop(struct bl_child_result *r)
{
	bl_child_result_free(r);
}

#endif
