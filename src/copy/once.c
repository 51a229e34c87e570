/* SPDX-License-Identifier: MIT */
#include "copy/once.h"

#include "copy/copy.h"
#include "host/proc.h"
#include "host/ssh.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_S 8
#define READY_MS  60000
#define SAID_MAX  65536

/* Says that it is there, as root, and stays until its input ends. */
static const char script[] = "echo belay-ready; read -r x";

/* The connection, and what goes over it. */
struct once {
	const struct bl_node *node;
	const char *paths[2];
	uv_loop_t loop;
	uv_timer_t limit;
	char dir[32]; /* of the control socket */
	char *control;
	struct bl_proc *master;
	struct bl_copy *copy;
	struct bl_buf said; /* what the connection printed */
	struct bl_err *err;
	int rc;
};

static void fail(struct once *o, const char *doing, const char *what, const char *remedy)
{
	o->rc = bl_err_set(o->err, BL_E_FAILED, "%s: %s%s; %s", o->node->name, doing, what,
			   remedy);
	uv_stop(&o->loop);
}

static void on_line(BL_UNUSED void *ctx, BL_UNUSED const char *line)
{
}

static void on_copied(void *ctx, const char *what, const char *remedy)
{
	struct once *o = ctx;
	o->copy = NULL;
	if (what)
		fail(o, "copy the closure: ", what, remedy);
	else
		uv_stop(&o->loop);
}

static void copy(struct once *o)
{
	const struct bl_copy_spec spec = {
		.node = o->node,
		.control = o->control,
		.elevated = !strstr(bl_buf_str(&o->said), "belay-user 0\n") &&
			    !o->node->sudo_password,
		.paths = o->paths,
		.line = on_line,
		.done = on_copied,
		.ctx = o,
	};
	uv_timer_stop(&o->limit);
	o->rc = bl_copy_start(&o->loop, &spec, &o->copy, o->err);
	if (o->rc < 0)
		uv_stop(&o->loop);
}

static void on_out(void *ctx, const char *data, size_t len)
{
	struct once *o = ctx;
	if (o->copy || o->said.len > SAID_MAX)
		return;
	bl_buf_append(&o->said, data, len);
	if (strstr(bl_buf_str(&o->said), "belay-ready\n"))
		copy(o);
}

static void on_gone(void *ctx, int status, const char *err_tail)
{
	struct once *o = ctx;
	o->master = NULL;
	/* a copy that is on its way says itself what became of it */
	if (o->copy)
		return;
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	bl_ssh_explain(err_tail, status, &what, &remedy);
	fail(o, "", what, remedy);
	if (o->err)
		o->err->code = BL_E_UNREACHABLE;
}

static void on_limit(uv_timer_t *timer)
{
	struct once *o = timer->data;
	fail(o, "", "its shell does not answer",
	     "try it by hand: ssh with the same name and user");
	if (o->err)
		o->err->code = BL_E_TIMEOUT;
}

static int connect_host(struct once *o)
{
	static const char *const none[] = { NULL };
	BL_AUTO(bl_strv) argv = { 0 };
	snprintf(o->dir, sizeof(o->dir), "/tmp/belay-XXXXXX");
	if (!mkdtemp(o->dir)) {
		o->dir[0] = '\0';
		return bl_err_sys(o->err, errno, "make a folder in /tmp");
	}
	o->control = bl_xprintf("%s/0", o->dir);
	bl_autofree char *command = bl_ssh_remote(o->node, script, none);
	bl_ssh_argv(o->node, o->control, CONNECT_S, command, &argv);
	const struct bl_proc_spec spec = {
		.argv = (const char *const *)argv.items,
		.on_out = on_out,
		.on_exit = on_gone,
		.ctx = o,
	};
	if (bl_proc_start(&o->loop, &spec, &o->master, o->err) < 0)
		return bl_err_wrap(o->err, "install OpenSSH's client on this machine");
	bl_proc_write_secret(o->master, bl_ssh_password_line(o->node));
	uv_timer_start(&o->limit, on_limit, READY_MS, 0);
	return 0;
}

int bl_copy_once(const struct bl_node *node, const char *path, struct bl_err *err)
{
	struct once o = { .node = node, .paths = { path }, .err = err };
	if (node->plan.local)
		return 0;
	if (uv_loop_init(&o.loop) < 0)
		return bl_err_set(err, BL_E_SYS, "no event loop");
	signal(SIGPIPE, SIG_IGN);
	uv_timer_init(&o.loop, &o.limit);
	o.limit.data = &o;
	o.rc = connect_host(&o);
	if (o.rc == 0)
		uv_run(&o.loop, UV_RUN_DEFAULT);
	uv_timer_stop(&o.limit);
	bl_copy_drop(o.copy);
	bl_proc_drop(o.master);
	bl_loop_end(&o.loop);
	if (o.control)
		unlink(o.control);
	if (*o.dir)
		rmdir(o.dir);
	bl_buf_free(&o.said);
	free(o.control);
	return o.rc;
}
