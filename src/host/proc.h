/* SPDX-License-Identifier: MIT */
/* Programs that run while others do: libuv behind one header. */
#ifndef BELAY_HOST_PROC_H
#define BELAY_HOST_PROC_H

#include "base/err.h"
#include "base/str.h"

#include <uv.h>

struct bl_proc;

struct bl_proc_spec {
	const char *const *argv;
	const char *const *env_add; /* "KEY=value" besides the caller's environment, or NULL */
	void (*on_out)(void *ctx, const char *data, size_t len);
	void (*on_err)(void *ctx, const char *data,
		       size_t len);    /* NULL: only the tail is kept */
	void (*on_drained)(void *ctx); /* all that was written is gone, maybe told more than
					  once; NULL: not wanted */
	/* once, last of all; @status as bl_child_status, @err_tail the last 4 KiB of stderr */
	void (*on_exit)(void *ctx, int status, const char *err_tail);
	void *ctx;
};

/* Starts it with a pipe on each of its three descriptors, in a process group of its own. */
int bl_proc_start(uv_loop_t *loop, const struct bl_proc_spec *spec, struct bl_proc **out,
		  struct bl_err *err) BL_MUST_CHECK;
/* Queues @data for its stdin; what it does not read is lost with it. */
void bl_proc_write(struct bl_proc *p, const void *data, size_t len);
/* The same of a text that nobody else needs any more: it is wiped and freed. NULL is fine. */
void bl_proc_write_secret(struct bl_proc *p, char *text);
/* Bytes that are queued and not written yet. */
size_t bl_proc_queued(const struct bl_proc *p);
/* SIGTERM to its group; on_exit follows. */
void bl_proc_kill(struct bl_proc *p);
/* No callback any more, SIGTERM, and the memory goes when the loop has reaped it. NULL is fine.
 */
void bl_proc_drop(struct bl_proc *p);
/*
 * The end of a loop whose own handles are closed or only wait: programs that were dropped are
 * reaped first, within a second, since it knows their memory.
 */
void bl_loop_end(uv_loop_t *loop);

#endif
