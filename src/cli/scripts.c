/* SPDX-License-Identifier: MIT */
#include "cli/scripts.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS    50
#define KILL_MS    5000   /* from the request to end to the end by force */
#define LINE_BYTES 65536U /* a longer one is told in parts */

extern char **environ;

/* ---- interrupts */

static volatile sig_atomic_t interrupted;

static void on_signal(int number BL_UNUSED)
{
	interrupted = 1;
}

struct signals {
	struct sigaction on_int, on_term;
};

static void catch_signals(struct signals *old)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigemptyset(&act.sa_mask);
	interrupted = 0;
	sigaction(SIGINT, &act, &old->on_int);
	sigaction(SIGTERM, &act, &old->on_term);
}

static void release_signals(const struct signals *old)
{
	sigaction(SIGINT, &old->on_int, NULL);
	sigaction(SIGTERM, &old->on_term, NULL);
}

/* ---- one script */

struct script {
	struct bl_telling *t;
	const char *run; /* in whose history its lines are kept, or NULL */
	const struct bl_node *node;
	const char *stream;
	const char *text;
	bool after; /* the deployment, and not before it */
	struct bl_buf line;
};

static void say(struct script *s, bool end)
{
	const char *text = bl_buf_str(&s->line);
	const char *stop;
	while ((stop = strchr(text, '\n'))) {
		bl_autofree char *line = bl_xprintf("%.*s", (int)(stop - text), text);
		bl_telling_said(s->t, s->run, s->node->name, s->stream, line);
		text = stop + 1;
	}
	bl_buf_drop(&s->line, (size_t)(text - bl_buf_str(&s->line)));
	if (s->line.len > 0 && (end || s->line.len > LINE_BYTES)) {
		bl_telling_said(s->t, s->run, s->node->name, s->stream, bl_buf_str(&s->line));
		bl_buf_clear(&s->line);
	}
}

/* Reads what is there, within @wait_ms; false when nothing was, or will be. */
static bool read_some(struct script *s, struct pollfd *p, int wait_ms)
{
	char chunk[4096];
	if (poll(p, 1, wait_ms) <= 0 || p->fd < 0)
		return false;
	ssize_t n = read(p->fd, chunk, sizeof(chunk));
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		p->fd = -1;
		return false;
	}
	for (ssize_t i = 0; i < n; i++)
		if (chunk[i])
			bl_buf_putc(&s->line, chunk[i]);
	say(s, false);
	return true;
}

/* Asks its group to end when there was an interrupt; later it has to. */
static void pass_interrupt(pid_t pid, int64_t *since_ns)
{
	int64_t now = bl_now_boot_ns();
	if (!interrupted)
		return;
	if (*since_ns == 0) {
		*since_ns = now;
		kill(-pid, SIGTERM);
		kill(-pid, SIGCONT); /* one that waits for the terminal is stopped */
	} else if (now - *since_ns > KILL_MS * BL_NS_PER_MS) {
		kill(-pid, SIGKILL);
	}
}

/* Its status, when it has ended; what it has left behind may hold the pipe, and is not waited
 * for.
 */
static int follow(struct script *s, pid_t pid, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t since_ns = 0;
	int status = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		read_some(s, &p, p.fd < 0 ? WAIT_MS / 5 : WAIT_MS);
		pass_interrupt(pid, &since_ns);
	}
	for (int n = 65536 / 4096; n > 0 && read_some(s, &p, 0); n--)
		continue;
	say(s, true);
	return bl_child_status(status);
}

static bool is_ours(const char *entry)
{
	static const char *const names[] = { "BELAY_NODE=", "BELAY_HOST=", "BELAY_SYSTEM=",
					     "HOST=", "status=" };
	for (size_t i = 0; i < BL_COUNT(names); i++)
		if (bl_starts_with(entry, names[i]))
			return true;
	return false;
}

static void make_environment(const struct script *s, struct bl_strv *env)
{
	for (char **e = environ; *e; e++)
		if (!is_ours(*e))
			bl_strv_add(env, *e);
	bl_strv_addf(env, "BELAY_NODE=%s", s->node->name);
	bl_strv_addf(env, "BELAY_HOST=%s", s->node->host);
	bl_strv_addf(env, "BELAY_SYSTEM=%s", s->node->out_path);
	/* as scripts that were written for nixus know it */
	bl_strv_addf(env, "HOST=%s", s->node->host);
	if (s->after)
		bl_strv_add(env, "status=success");
}

/* The script without a name that others could open. */
static int script_file(const char *text, int *out_fd, struct bl_err *err)
{
	bl_autofd int fd = bl_memory_file();
	if (fd < 0)
		return bl_err_sys(err, errno, "make a file in memory");
	if (bl_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return bl_err_sys(err, errno, "seek");
	*out_fd = fd;
	fd = -1;
	return 0;
}

/* Fails when it could not be started, does not end well, or was interrupted. */
static int run_script(struct script *s, struct bl_err *err)
{
	/* everybody sees arguments: it comes on stdin, and has none of its own */
	static const char *const argv[] = {
		"sh", "-ec", "script=$(cat)\nexec < /dev/null\neval \"unset script\n$script\"",
		NULL
	};
	BL_AUTO(bl_strv) env = { 0 };
	bl_autofd int in = -1;
	int out[2];
	pid_t pid = 0;
	if (script_file(s->text, &in, err) < 0)
		return -1;
	if (bl_pipe(out) < 0)
		return bl_err_sys(err, errno, "pipe");
	make_environment(s, &env);
	int rc = bl_child_spawn(argv, (const char *const *)env.items, in, out[1], out[1], NULL,
				NULL, &pid, err);
	close(out[1]);
	int status = rc < 0 ? 0 : follow(s, pid, out[0]);
	close(out[0]);
	bl_buf_free(&s->line);
	if (rc < 0)
		return -1;
	if (interrupted)
		return bl_err_set(err, BL_E_FAILED, "interrupted");
	return status ? bl_err_set(err, BL_E_FAILED, "failed: status %d", status) : 0;
}

/* ---- before the deployment */

static int prepare(struct bl_telling *t, const struct bl_node *node, struct bl_err *err)
{
	for (size_t i = 0; i < node->n_phases; i++) {
		const struct bl_preparation *phase = &node->phases[i];
		bl_autofree char *line =
			bl_xprintf("Running preparation phase %s..", phase->name);
		struct script s = {
			.t = t, .node = node, .stream = "preparation", .text = phase->script
		};
		bl_telling_said(t, NULL, node->name, "belay", line);
		if (run_script(&s, err) < 0)
			return bl_err_wrap(err, "preparation phase %s", phase->name);
	}
	return 0;
}

static void leave_out(struct bl_telling *t, const struct bl_node *node, const char *why,
		      struct bl_built *built)
{
	bl_autofree char *text = bl_xprintf("node %s: not prepared: %s", node->name, why);
	bl_telling_remark(t, text);
	built->missing =
		bl_xrealloc(built->missing, built->n_missing + 1, sizeof(*built->missing));
	built->missing[built->n_missing++] = (struct bl_not_built){ .node = node,
								    .reason = bl_xstrdup(why),
								    .unprepared = true };
}

static int prepare_all(struct bl_telling *t, struct bl_selection *sel, bool keep_going,
		       struct bl_built *built, struct bl_err *err)
{
	size_t left = 0;
	for (size_t i = 0; i < sel->n; i++) {
		const struct bl_node *node = sel->nodes[i];
		struct bl_err why = { 0 };
		if (prepare(t, node, &why) == 0) {
			sel->nodes[left++] = node;
		} else if (keep_going && !interrupted) {
			leave_out(t, node, why.msg, built);
		} else {
			*err = why;
			return bl_err_wrap(err, "node %s", node->name);
		}
	}
	sel->n = left;
	if (left == 0)
		return bl_err_set(err, BL_E_FAILED, "no node could be prepared");
	return 0;
}

int bl_scripts_prepare(struct bl_telling *t, struct bl_selection *sel, bool keep_going,
		       struct bl_built *built, struct bl_err *err)
{
	struct signals old;
	bool any = false;
	for (size_t i = 0; i < sel->n; i++)
		any |= sel->nodes[i]->n_phases > 0;
	if (!any)
		return 0;
	catch_signals(&old);
	int rc = prepare_all(t, sel, keep_going, built, err);
	if (rc == 0 && interrupted)
		rc = bl_err_set(err, BL_E_FAILED, "interrupted");
	built->interrupted |= interrupted;
	release_signals(&old);
	return rc;
}

/* ---- after it */

static bool wants_script(const struct bl_telling *t, const struct bl_node *node)
{
	const char *old = NULL;
	return node->post_deploy && *node->post_deploy &&
	       bl_telling_outcome(t, node->name, &old) == BL_OUT_COMMITTED;
}

static bool run_after(struct bl_telling *t, const char *run, const struct bl_node *node)
{
	struct bl_err err = { 0 };
	struct script s = { .t = t,
			    .run = run,
			    .node = node,
			    .stream = "post-deploy",
			    .text = node->post_deploy,
			    .after = true };
	bl_telling_said(t, run, node->name, "belay", "Running postDeployScript..");
	if (run_script(&s, &err) == 0)
		return true;
	bl_autofree char *text =
		bl_xprintf("postDeployScript: %s; the host stays on its new system", err.msg);
	bl_telling_note(t, run, node->name, text);
	return false;
}

int bl_scripts_after(struct bl_telling *t, const char *run, const struct bl_selection *sel,
		     int code)
{
	struct signals old;
	bool failed = false;
	size_t left_out = 0;
	catch_signals(&old);
	for (size_t i = 0; i < sel->n; i++) {
		if (!wants_script(t, sel->nodes[i]))
			continue;
		if (interrupted || bl_telling_interrupted(t)) {
			bl_telling_note(t, run, sel->nodes[i]->name,
					"interrupted: its postDeployScript is not run");
			left_out++;
		} else if (!run_after(t, run, sel->nodes[i])) {
			failed = true;
		}
	}
	if ((interrupted || left_out > 0) && code != BL_EXIT_STUCK)
		code = BL_EXIT_INTERRUPTED;
	release_signals(&old);
	return failed && code == BL_EXIT_OK ? BL_EXIT_FAILED : code;
}
