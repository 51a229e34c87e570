/* SPDX-License-Identifier: MIT */
#include "host/proc.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ERR_TAIL 4096
/* A grandchild may keep the pipes open for ever: this long after the exit they are let go. */
#define GRACE_MS 300

extern char **environ;

struct bl_proc {
	uv_process_t process;
	uv_pipe_t in, out, err;
	uv_timer_t grace;
	struct bl_proc_spec spec; /* argv and env_add are not kept */
	struct bl_buf tail;
	int status;
	int open_streams;
	int handles; /* not closed yet; at 0 the memory goes */
	bool exited, told, dropped;
};

struct write_req {
	uv_write_t req;
	size_t len;
	char data[];
};

static void on_closed(uv_handle_t *handle)
{
	struct bl_proc *p = handle->data;
	if (--p->handles > 0)
		return;
	bl_buf_free(&p->tail);
	free(p);
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_closed);
}

static void close_all(struct bl_proc *p)
{
	close_handle((uv_handle_t *)&p->in);
	close_handle((uv_handle_t *)&p->out);
	close_handle((uv_handle_t *)&p->err);
	close_handle((uv_handle_t *)&p->grace);
	close_handle((uv_handle_t *)&p->process);
}

static void finish(struct bl_proc *p)
{
	if (p->told)
		return;
	p->told = true;
	if (!p->dropped && p->spec.on_exit)
		p->spec.on_exit(p->spec.ctx, p->status, bl_buf_str(&p->tail));
	close_all(p);
}

static void on_grace(uv_timer_t *timer)
{
	finish(timer->data);
}

static void maybe_finish(struct bl_proc *p)
{
	if (!p->exited)
		return;
	if (p->open_streams == 0 || p->dropped)
		finish(p);
	else
		uv_timer_start(&p->grace, on_grace, GRACE_MS, 0);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
	struct bl_proc *p = process->data;
	p->exited = true;
	p->status = signal ? 128 + signal : (int)status;
	maybe_finish(p);
}

static void give_memory(uv_handle_t *handle BL_UNUSED, size_t suggested BL_UNUSED,
			uv_buf_t *buf)
{
	*buf = uv_buf_init(bl_xcalloc(1, 65536), 65536);
}

static void keep_tail(struct bl_proc *p, const char *data, size_t len)
{
	bl_buf_append(&p->tail, data, len);
	if (p->tail.len > ERR_TAIL)
		bl_buf_drop(&p->tail, p->tail.len - ERR_TAIL);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct bl_proc *p = stream->data;
	bool is_err = stream == (uv_stream_t *)&p->err;
	if (n > 0 && is_err)
		keep_tail(p, buf->base, (size_t)n);
	if (n > 0 && !p->dropped) {
		if (is_err && p->spec.on_err)
			p->spec.on_err(p->spec.ctx, buf->base, (size_t)n);
		if (!is_err && p->spec.on_out)
			p->spec.on_out(p->spec.ctx, buf->base, (size_t)n);
	}
	free(buf->base);
	if (n >= 0)
		return;
	uv_read_stop(stream);
	p->open_streams--;
	maybe_finish(p);
}

/* The caller's environment plus @add; the caller frees the array, not the strings. */
static char **make_env(const char *const *add)
{
	size_t n = 0;
	size_t more = 0;
	while (environ[n])
		n++;
	while (add && add[more])
		more++;
	char **env = bl_xcalloc(n + more + 1, sizeof(*env));
	/* getenv() finds the first: ours come first */
	for (size_t i = 0; i < more; i++)
		/* execve takes no const. NOLINTNEXTLINE(performance-no-int-to-ptr) */
		env[i] = (char *)(uintptr_t)add[i];
	memcpy(env + more, environ, n * sizeof(*env));
	return env;
}

static void init_handles(uv_loop_t *loop, struct bl_proc *p)
{
	uv_pipe_init(loop, &p->in, 0);
	uv_pipe_init(loop, &p->out, 0);
	uv_pipe_init(loop, &p->err, 0);
	uv_timer_init(loop, &p->grace);
	p->in.data = p->out.data = p->err.data = p->grace.data = p->process.data = p;
	p->handles = 5;
}

int bl_proc_start(uv_loop_t *loop, const struct bl_proc_spec *spec, struct bl_proc **out,
		  struct bl_err *err)
{
	struct bl_proc *p = bl_xcalloc(1, sizeof(*p));
	char **env = make_env(spec->env_add);
	p->spec = *spec;
	init_handles(loop, p);
	uv_stdio_container_t io[3] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->in },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->out },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->err },
	};
	uv_process_options_t options = {
		.file = spec->argv[0],
		/* uv changes nothing. NOLINTNEXTLINE(performance-no-int-to-ptr) */
		.args = (char **)(uintptr_t)spec->argv,
		.env = env,
		.exit_cb = on_process_exit,
		.stdio = io,
		.stdio_count = 3,
		/* its own session: what a terminal sends at ctrl-C is for us alone */
		.flags = UV_PROCESS_DETACHED,
	};
	int rc = uv_spawn(loop, &p->process, &options);
	free(env);
	if (rc < 0) {
		p->dropped = p->told = true;
		close_all(p);
		return bl_err_set(err, BL_E_FAILED, "start %s: %s", spec->argv[0],
				  uv_strerror(rc));
	}
	p->open_streams = 2;
	uv_read_start((uv_stream_t *)&p->out, give_memory, on_read);
	uv_read_start((uv_stream_t *)&p->err, give_memory, on_read);
	*out = p;
	return 0;
}

/* A key or a password may have gone through it. */
static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = (struct write_req *)req;
	struct bl_proc *p = req->handle->data;
	explicit_bzero(w->data, w->len);
	free(w);
	if (status == 0 && !p->dropped && !p->told && p->spec.on_drained &&
	    uv_stream_get_write_queue_size((uv_stream_t *)&p->in) == 0)
		p->spec.on_drained(p->spec.ctx);
}

void bl_proc_write(struct bl_proc *p, const void *data, size_t len)
{
	if (uv_is_closing((uv_handle_t *)&p->in))
		return;
	struct write_req *w = bl_xcalloc(1, sizeof(*w) + len);
	memcpy(w->data, data, len);
	w->len = len;
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&p->in, &buf, 1, on_written) < 0)
		free(w);
}

void bl_proc_write_secret(struct bl_proc *p, char *text)
{
	if (!text)
		return;
	bl_proc_write(p, text, strlen(text));
	explicit_bzero(text, strlen(text));
	free(text);
}

size_t bl_proc_queued(const struct bl_proc *p)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&p->in);
}

void bl_proc_kill(struct bl_proc *p)
{
	if (!p->exited)
		kill(-p->process.pid, SIGTERM);
}

void bl_proc_drop(struct bl_proc *p)
{
	if (!p || p->dropped)
		return;
	p->dropped = true;
	bl_proc_kill(p);
	maybe_finish(p);
}

static void close_any(uv_handle_t *handle, void *arg BL_UNUSED)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void bl_loop_end(uv_loop_t *loop)
{
	for (int i = 0; i < 100 && uv_run(loop, UV_RUN_NOWAIT); i++)
		bl_sleep_ms(10);
	uv_walk(loop, close_any, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	uv_loop_close(loop);
}
