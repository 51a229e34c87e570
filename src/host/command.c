/* SPDX-License-Identifier: MIT */
#include "host/command.h"

#include "base/child.h"
#include "host/proc.h"
#include "host/ssh.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX   (8UL * 1024 * 1024)
#define CONNECT_S 8

/* Behind the line that tells the user; what the login shell printed before it is passed over.
 */
static char *after_user(const char *text)
{
	const char *at = strstr(text, "belay-user ");
	const char *end = at ? strchr(at, '\n') : NULL;
	return bl_xstrdup(end ? end + 1 : "");
}

int bl_host_command(const struct bl_node *node, const char *script, const char *const *args,
		    int64_t limit_ms, int *out_status, char **out_text, struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	bl_autofree char *command = bl_ssh_remote(node, script, args);
	bl_ssh_argv(node, NULL, CONNECT_S, command, &argv);
	const struct bl_child_spec spec = {
		.argv = (const char *const *)argv.items,
		.timeout_ms = limit_ms,
		.out_max = OUT_MAX,
		.err_mode = out_status ? BL_CHILD_ERR_MERGE : BL_CHILD_ERR_KEEP,
	};
	if (bl_child_run(&spec, &r, err) < 0)
		return bl_err_wrap(err, "%s: install OpenSSH's client on this machine",
				   node->name);
	bool ran = strstr(bl_buf_str(&r.out), "belay-user ");
	if (r.status < 0)
		return bl_err_set(err, BL_E_TIMEOUT, "%s: no answer within %lld s", node->name,
				  (long long)limit_ms / 1000);
	if (r.status != 0 && !(ran && out_status)) {
		bl_autofree char *what = NULL;
		bl_autofree char *remedy = NULL;
		bl_ssh_explain(bl_buf_str(out_status ? &r.out : &r.err), r.status, &what,
			       &remedy);
		return bl_err_set(err, BL_E_UNREACHABLE, "%s: %s; %s", node->name, what,
				  remedy);
	}
	if (out_status)
		*out_status = r.status;
	*out_text = after_user(bl_buf_str(&r.out));
	return 0;
}

/* ---- on several hosts */

struct running {
	struct bl_host_call *call;
	struct caller *all;
	struct bl_proc *proc;
	uv_timer_t limit;
	struct bl_buf out;
};

struct caller {
	uv_loop_t loop;
	struct running *list;
	size_t n, begun, busy;
	const char *script;
	size_t parallel;
	int64_t limit_ms;
};

static void begin_more(struct caller *a);

static void call_end(struct running *r)
{
	uv_timer_stop(&r->limit);
	r->proc = NULL;
	r->all->busy--;
	begin_more(r->all);
}

static void on_out(void *ctx, const char *data, size_t len)
{
	struct running *r = ctx;
	if (r->out.len < OUT_MAX)
		bl_buf_append(&r->out, data, len);
}

static void on_exit_(void *ctx, int status, const char *err_tail)
{
	struct running *r = ctx;
	bool ran = strstr(bl_buf_str(&r->out), "belay-user ");
	if (status == 0) {
		r->call->text = after_user(bl_buf_str(&r->out));
	} else {
		bl_autofree char *what = NULL;
		bl_autofree char *remedy = NULL;
		bl_ssh_explain(err_tail, status, &what, &remedy);
		(void)bl_err_set(&r->call->err, ran ? BL_E_FAILED : BL_E_UNREACHABLE, "%s; %s",
				 what, remedy);
	}
	call_end(r);
}

static void on_limit(uv_timer_t *timer)
{
	struct running *r = timer->data;
	(void)bl_err_set(
		&r->call->err, BL_E_TIMEOUT,
		"no answer within %lld s; look whether it is up and what keeps it busy",
		(long long)r->all->limit_ms / 1000);
	bl_proc_drop(r->proc);
	call_end(r);
}

static void begin(struct caller *a, struct running *r)
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_autofree char *command = bl_ssh_remote(r->call->node, a->script, r->call->args);
	bl_ssh_argv(r->call->node, NULL, CONNECT_S, command, &argv);
	const struct bl_proc_spec spec = {
		.argv = (const char *const *)argv.items,
		.on_out = on_out,
		.on_exit = on_exit_,
		.ctx = r,
	};
	if (bl_proc_start(&a->loop, &spec, &r->proc, &r->call->err) < 0) {
		(void)bl_err_wrap(&r->call->err, "install OpenSSH's client on this machine");
		return;
	}
	a->busy++;
	uv_timer_start(&r->limit, on_limit, (uint64_t)a->limit_ms, 0);
	if (r->call->input)
		bl_proc_write(r->proc, r->call->input, strlen(r->call->input));
}

static void begin_more(struct caller *a)
{
	while (a->begun < a->n && a->busy < a->parallel)
		begin(a, &a->list[a->begun++]);
	if (a->busy == 0)
		uv_stop(&a->loop);
}

int bl_host_commands(struct bl_host_call *calls, size_t n, const char *script, size_t parallel,
		     int64_t limit_ms, struct bl_err *err)
{
	struct caller a = {
		.n = n, .script = script, .parallel = parallel, .limit_ms = limit_ms
	};
	if (uv_loop_init(&a.loop) < 0)
		return bl_err_set(err, BL_E_SYS, "no event loop");
	signal(SIGPIPE, SIG_IGN);
	a.list = bl_xcalloc(n + 1, sizeof(*a.list));
	for (size_t i = 0; i < n; i++) {
		a.list[i] = (struct running){ .call = &calls[i], .all = &a };
		uv_timer_init(&a.loop, &a.list[i].limit);
		a.list[i].limit.data = &a.list[i];
	}
	begin_more(&a);
	if (a.busy > 0)
		uv_run(&a.loop, UV_RUN_DEFAULT);
	bl_loop_end(&a.loop);
	for (size_t i = 0; i < n; i++)
		bl_buf_free(&a.list[i].out);
	free(a.list);
	return 0;
}
