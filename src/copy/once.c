/* SPDX-License-Identifier: MIT */
#include "copy/once.h"

#include "base/child.h"
#include "copy/copy.h"
#include "host/ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_S 8
#define READY_MS  60000

/* Says that it is there, as root, and stays until its input ends. */
static const char script[] = "echo belay-ready; read -r x";

struct master {
	pid_t pid;
	int in, out, err;
	struct bl_buf said; /* what it printed */
	char dir[64];
	char *control;
};

static void master_end(struct master *m)
{
	bl_closep(&m->in);
	if (m->pid > 0) {
		kill(m->pid, SIGTERM);
		bl_child_reap(m->pid);
	}
	bl_closep(&m->out);
	bl_closep(&m->err);
	bl_buf_free(&m->said);
	if (m->control)
		unlink(m->control);
	if (*m->dir)
		rmdir(m->dir);
	free(m->control);
}

/* What ssh left on its stderr, which ends with it. */
static int explain(struct master *m, const char *name, struct bl_err *err)
{
	char text[4096];
	size_t len = 0;
	ssize_t n = 0;
	kill(m->pid, SIGTERM);
	while (len < sizeof(text) - 1 &&
	       (n = read(m->err, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	bl_ssh_explain(text, 255, &what, &remedy);
	return bl_err_set(err, BL_E_UNREACHABLE, "%s: %s; %s", name, what, remedy);
}

static int wait_ready(struct master *m, const char *name, struct bl_err *err)
{
	char chunk[512];
	while (!strstr(bl_buf_str(&m->said), "belay-ready\n")) {
		struct pollfd p = { .fd = m->out, .events = POLLIN };
		if (poll(&p, 1, READY_MS) <= 0)
			return bl_err_set(err, BL_E_TIMEOUT,
					  "%s: its shell does not answer; try it by hand: ssh "
					  "with the same name and user",
					  name);
		ssize_t n = read(m->out, chunk, sizeof(chunk));
		if (n <= 0 || m->said.len > 65536)
			return explain(m, name, err);
		bl_buf_append(&m->said, chunk, (size_t)n);
	}
	return 0;
}

static int start(struct master *m, const struct bl_node *node, struct bl_err *err)
{
	static const char *const none[] = { NULL };
	BL_AUTO(bl_strv) argv = { 0 };
	int in[2] = { -1, -1 };
	int out[2] = { -1, -1 };
	int said[2] = { -1, -1 };
	snprintf(m->dir, sizeof(m->dir), "/tmp/belay-XXXXXX");
	if (!mkdtemp(m->dir)) {
		m->dir[0] = '\0';
		return bl_err_sys(err, errno, "make a folder in /tmp");
	}
	m->control = bl_xprintf("%s/0", m->dir);
	bl_autofree char *command = bl_ssh_remote(node, script, none);
	bl_ssh_argv(node, m->control, CONNECT_S, command, &argv);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(said, O_CLOEXEC) < 0)
		return bl_err_sys(err, errno, "pipe");
	int rc = bl_child_spawn((const char *const *)argv.items, NULL, in[0], out[1], said[1],
				NULL, NULL, &m->pid, err);
	close(in[0]);
	close(out[1]);
	close(said[1]);
	m->in = in[1];
	m->out = out[0];
	m->err = said[0];
	return rc < 0 ? bl_err_wrap(err, "install OpenSSH's client on this machine")
		      : wait_ready(m, node->name, err);
}

static int copy(const struct master *m, const struct bl_node *node, const char *path,
		struct bl_err *err)
{
	bool elevated = !strstr(bl_buf_str(&m->said), "belay-user 0\n");
	bl_autofree char *url = bl_copy_url(node, elevated);
	bl_autofree char *options = bl_ssh_nix_options(m->control);
	bl_autofree char *set = bl_xprintf("NIX_SSHOPTS=%s", options);
	BL_AUTO(bl_strv) argv = { 0 };
	const char *const head[] = { "env",
				     set,
				     "nix",
				     "--extra-experimental-features",
				     "nix-command",
				     "copy",
				     "--no-check-sigs" };
	for (size_t i = 0; i < BL_COUNT(head); i++)
		bl_strv_add(&argv, head[i]);
	if (node->substitute_on_target)
		bl_strv_add(&argv, "--substitute-on-destination");
	bl_strv_add(&argv, "--to");
	bl_strv_add(&argv, url);
	bl_strv_add(&argv, path);
	const struct bl_child_spec spec = { .argv = (const char *const *)argv.items,
					    .out_max = 65536,
					    .err_mode = BL_CHILD_ERR_KEEP };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_child_run(&spec, &r, err) < 0)
		return bl_err_wrap(err, "Nix is needed on this machine");
	if (r.status == 0)
		return 0;
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	bl_copy_explain(bl_buf_str(&r.err), r.status, &what, &remedy);
	return bl_err_set(err, BL_E_FAILED, "%s: copy the closure: %s; %s", node->name, what,
			  remedy);
}

int bl_copy_once(const struct bl_node *node, const char *path, struct bl_err *err)
{
	struct master m = { .in = -1, .out = -1, .err = -1 };
	if (node->plan.local)
		return 0;
	int rc = start(&m, node, err);
	if (rc == 0)
		rc = copy(&m, node, path, err);
	master_end(&m);
	return rc;
}
