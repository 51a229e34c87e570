/* SPDX-License-Identifier: MIT */
#include "host/session.h"

#include "host/ssh.h"
#include "wire/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEED_AGENT "belay-need-agent "
#define NOT_NIXOS  "belay-not-nixos"
#define USER       "belay-user "
#define STAYS      "belay-stays"
#define NOISE_MAX  65536
#define BANNER_LEN (sizeof(BL_WIRE_BANNER) - 2) /* without the line's end */

struct bl_session {
	struct bl_proc *proc;
	struct bl_session_events events;
	void *ctx;
	struct bl_buf in;
	bool framed; /* the banner went by */
	bool elevated;
	bool not_nixos;
	bool asked; /* need_agent was told */
	bool cut;
	bool in_callback, dropped;
	size_t noise_len; /* bytes before the banner */
	char *noise;      /* what made the stream unusable, NULL mostly */
};

static void free_session(struct bl_session *s)
{
	bl_buf_free(&s->in);
	free(s->noise);
	free(s);
}

/* The lines before the banner; what the login shell prints besides is passed over. */
static void hear_line(struct bl_session *s, const char *line)
{
	if (bl_starts_with(line, USER))
		s->elevated = strcmp(line + strlen(USER), "0") != 0;
	else if (strcmp(line, STAYS) == 0)
		s->elevated = false;
	else if (strcmp(line, NOT_NIXOS) == 0)
		s->not_nixos = true;
	else if (bl_starts_with(line, NEED_AGENT) && !s->asked) {
		s->asked = true;
		if (s->events.need_agent)
			s->events.need_agent(s->ctx, line + strlen(NEED_AGENT));
	}
}

/* Lines up to the banner; false while it has not come. */
static bool find_banner(struct bl_session *s)
{
	while (!s->dropped) {
		const char *end = memchr(bl_buf_str(&s->in), '\n', s->in.len);
		if (!end || s->noise_len > NOISE_MAX) {
			if (s->in.len + s->noise_len > NOISE_MAX && !s->noise) {
				s->noise = bl_xstrdup(
					"its login shell prints without end, and the agent is not heard");
				bl_proc_kill(s->proc);
			}
			return false;
		}
		size_t len = (size_t)(end - s->in.data);
		bl_autofree char *line = bl_xstrndup(s->in.data, len);
		bl_buf_drop(&s->in, len + 1);
		s->noise_len += len + 1;
		if (len == BANNER_LEN && memcmp(line, BL_WIRE_BANNER, len) == 0)
			return true;
		hear_line(s, line);
	}
	return false;
}

/* As bl_frame_take(), and the callback. */
static int take_one(struct bl_session *s, size_t *used, struct bl_err *err)
{
	BL_AUTO(bl_msg) m = { 0 };
	struct bl_frame f;
	int rc = bl_frame_take(bl_buf_str(&s->in), s->in.len, &f, err);
	if (rc == 1 && s->events.frame && f.type >= BL_COPY_PATHS) {
		*used = f.used;
		s->events.frame(s->ctx, &f);
		return 1;
	}
	rc = rc == 1 ? bl_msg_take(bl_buf_str(&s->in), s->in.len, &m, used, err) : rc;
	if (rc == 1)
		s->events.msg(s->ctx, &m);
	return rc;
}

static void on_out(void *ctx, const char *data, size_t len)
{
	struct bl_session *s = ctx;
	bl_buf_append(&s->in, data, len);
	s->in_callback = true;
	if (!s->framed)
		s->framed = find_banner(s);
	while (s->framed && !s->dropped && !s->noise) {
		size_t used = 0;
		struct bl_err err = { 0 };
		int rc = take_one(s, &used, &err);
		if (rc < 0) {
			s->noise = bl_xstrdup(err.msg);
			bl_proc_kill(s->proc);
		}
		if (rc <= 0)
			break;
		bl_buf_drop(&s->in, used);
	}
	s->in_callback = false;
	if (s->dropped)
		free_session(s);
}

static void on_exit_(void *ctx, int status, const char *err_tail)
{
	struct bl_session *s = ctx;
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	if (s->noise) {
		what = bl_xstrdup(s->noise);
		remedy = bl_xstrdup(
			s->framed ? "use the same version of belay on both ends"
				  : "look at the login shell's start-up files on the host");
	} else if (s->not_nixos) {
		what = bl_xstrdup("it is no NixOS host: it has no /run/current-system");
		remedy = bl_xstrdup("correct the node's `host`; belay deploys to NixOS");
	} else {
		bl_ssh_explain(err_tail, status, &what, &remedy);
		/* ssh's own, 255, or ssh was killed */
		s->cut = status > 128;
	}
	s->proc = NULL;
	s->in_callback = true;
	s->events.gone(s->ctx, what, remedy);
	s->in_callback = false;
	free_session(s);
}

static void on_drained(void *ctx)
{
	struct bl_session *s = ctx;
	if (s->events.drained && !s->dropped)
		s->events.drained(s->ctx);
}

static int start(uv_loop_t *loop, const struct bl_node *node, const struct bl_strv *argv,
		 const struct bl_session_events *events, void *ctx, struct bl_session **out,
		 struct bl_err *err)
{
	struct bl_session *s = bl_xcalloc(1, sizeof(*s));
	s->events = *events;
	s->ctx = ctx;
	struct bl_proc_spec spec = {
		.argv = (const char *const *)argv->items,
		.on_out = on_out,
		.on_exit = on_exit_,
		.on_drained = on_drained,
		.ctx = s,
	};
	if (bl_proc_start(loop, &spec, &s->proc, err) < 0) {
		free_session(s);
		return -1;
	}
	bl_proc_write_secret(s->proc, bl_ssh_password_line(node));
	*out = s;
	return 0;
}

int bl_session_work(uv_loop_t *loop, const struct bl_node *node, const char *control,
		    const char *agent, const char *system_new,
		    const struct bl_session_events *events, void *ctx, struct bl_session **out,
		    struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	const char *const args[] = { agent, system_new, NULL };
	bl_autofree char *command = bl_ssh_remote(node, bl_ssh_boot_script, args);
	bl_ssh_argv(node, control, 8, command, &argv);
	return start(loop, node, &argv, events, ctx, out, err);
}

int bl_session_fresh_start(uv_loop_t *loop, const struct bl_node *node, const char *agent,
			   uint64_t epoch, unsigned connect_timeout_s,
			   const struct bl_session_events *events, void *ctx,
			   struct bl_session **out, struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)epoch);
	const char *const args[] = { agent, number, NULL };
	bl_autofree char *command = bl_ssh_remote(node, bl_ssh_confirm_script, args);
	bl_ssh_argv(node, NULL, connect_timeout_s, command, &argv);
	return start(loop, node, &argv, events, ctx, out, err);
}

void bl_session_go(struct bl_session *s)
{
	bl_proc_write(s->proc, "go\n", 3);
}

void bl_session_send(struct bl_session *s, enum bl_msg_type type, const struct bl_kv *kv)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_msg_put(&out, type, kv);
	if (s->proc)
		bl_proc_write(s->proc, out.data, out.len);
	/* a key may have gone through it */
	explicit_bzero(out.data, out.len);
}

void bl_session_send_frame(struct bl_session *s, uint16_t type, const void *payload, size_t len)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_frame_put(&out, type, payload, len);
	if (s->proc)
		bl_proc_write(s->proc, out.data, out.len);
}

size_t bl_session_queued(const struct bl_session *s)
{
	return s->proc ? bl_proc_queued(s->proc) : 0;
}

bool bl_session_elevated(const struct bl_session *s)
{
	return s->elevated;
}

bool bl_session_was_cut(const struct bl_session *s)
{
	return s->cut;
}

bool bl_session_heard(const struct bl_session *s)
{
	return s->framed;
}

void bl_session_drop(struct bl_session *s)
{
	if (!s || s->dropped)
		return;
	s->dropped = true;
	if (s->proc)
		bl_proc_drop(s->proc);
	if (!s->in_callback)
		free_session(s);
}
