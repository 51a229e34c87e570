/* SPDX-License-Identifier: MIT */
#include "copy/builder.h"

#include "base/clock.h"
#include "copy/copy.h"
#include "host/ssh.h"
#include "nix/build.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS     100
#define CONNECT_S   8
#define READY_MS    60000 /* until its shell, and sudo, have let us in */
#define LINE_LIMIT  (512UL * 1024)
#define SAID_MAX    4096
#define NOISE_LINES 1000

/*
 * $2 "--keep-going" or nothing. What is to be built comes by standard input, a line each and
 * then an empty one: derivation, store path, "stays" or "back". Roots are made before there is
 * anything for them, so that there is no moment without. What goes back is rooted as long as
 * the connection lasts; a power cut must not make that for ever. When we are gone before Nix
 * has ended, our end of standard input is, and Nix is stopped.
 */
static const char script[] =
	"export PATH=\"$PATH:/run/current-system/sw/bin\"; set -f; r=/nix/var/nix/gcroots/belay; d=; drvs=; outs=; i=0; "
	"if [ \"$(id -u)\" = 0 ]; then mkdir -p $r; find $r -maxdepth 1 -name 'build.*' -mtime +1 -exec rm -rf {} +; "
	"d=$(mktemp -d $r/build.XXXXXX) || exit 1; trap 'rm -rf \"$d\"' EXIT; trap 'exit 1' HUP TERM PIPE; fi; "
	"echo belay-ready; "
	"while read -r drv out how && [ -n \"$drv\" ]; do drvs=\"$drvs $drv\"; outs=\"$outs $out\"; i=$((i + 1)); "
	"[ -z \"$d\" ] || if [ \"$how\" = stays ]; then ln -sfn \"$out\" $r/next; else ln -s \"$out\" \"$d/$i\"; fi; done; "
	"[ -n \"$drvs\" ] || exit 0; "
	"exec 3<&0; nix-store --realise $2 --log-format internal-json $drvs < /dev/null > /dev/null & p=$!; "
	"{ read -r x <&3; kill $p; } > /dev/null 2>&1 & w=$!; wait $p; s=$?; kill $w; "
	"[ $s = 0 ] || nix-store --check-validity --print-invalid $outs; "
	"echo \"belay-built $s\"; read -r x";

enum step { CONNECT, SEND, BUILD, FETCH, ENDED };

struct runner {
	const struct bl_builders_spec *spec;
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t on_int, on_term;
	char dir[64]; /* of the control sockets */
	size_t begun, running;
	bool stopped, interrupted;
};

struct bl_building {
	struct runner *all;
	struct bl_builder *b;
	enum step step;
	struct bl_proc *session; /* the connection to a host */
	struct bl_proc *work;    /* Nix here: copying, or building */
	char *control;
	bool elevated;
	int64_t begun_ns;
	struct bl_buf out, err; /* lines that are not whole yet */
	struct bl_buf said;     /* what is no JSON, the last of it */
	size_t noise;
	struct bl_strv invalid;
};

static void begin_more(struct runner *all);

/* ---- the end of one */

static bool all_there(const struct bl_builder *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!b->items[i].there)
			return false;
	return true;
}

static void end(struct bl_building *g)
{
	struct runner *all = g->all;
	if (g->step == ENDED)
		return;
	g->step = ENDED;
	bl_proc_drop(BL_STEAL(g->work));
	bl_proc_drop(BL_STEAL(g->session));
	all->running--;
	if (!all->spec->keep_going && !all_there(g->b))
		all->stopped = true;
	begin_more(all);
}

/* @what and @remedy are owned from here on. */
static void give_up(struct bl_building *g, char *what, char *remedy)
{
	for (size_t i = 0; g->step == FETCH && i < g->b->n; i++)
		g->b->items[i].there &= g->b->items[i].stays;
	free(g->b->problem);
	free(g->b->remedy);
	g->b->problem = what;
	g->b->remedy = remedy;
	end(g);
}

static void give_up_explained(struct bl_building *g, const char *doing, int status)
{
	bl_autofree char *what = NULL;
	char *remedy = NULL;
	bl_copy_explain(bl_buf_str(&g->said), status, &what, &remedy);
	if (g->step == FETCH && strstr(bl_buf_str(&g->said), "lacks a"))
		bl_replace_str(&remedy,
			       "run belay as root, sign the paths, or list yourself in "
			       "trusted-users on this machine");
	give_up(g, bl_xprintf("%s: %s", doing, what), remedy);
}

/* ---- what Nix says */

static void tell(struct bl_building *g, const struct bl_progress_news *news)
{
	const struct bl_builders_spec *spec = g->all->spec;
	if (news->kind == BL_PROGRESS_TEXT) {
		bl_buf_puts(&g->said, news->text);
		bl_buf_putc(&g->said, '\n');
		if (g->said.len > SAID_MAX)
			bl_buf_drop(&g->said, g->said.len - SAID_MAX);
	}
	/* what goes wrong on the way is told once, as the problem */
	if (news->kind != BL_PROGRESS_NOTHING && g->step == BUILD)
		spec->news(spec->ctx, g->b, news);
}

/* Takes the next whole line out of @b; one without end is dropped. */
static bool take_line(struct bl_buf *b, char **out, size_t *out_len)
{
	const char *end = memchr(bl_buf_str(b), '\n', b->len);
	if (!end) {
		if (b->len > LINE_LIMIT)
			bl_buf_clear(b);
		return false;
	}
	*out_len = (size_t)(end - b->data);
	*out = bl_xstrndup(b->data, *out_len);
	bl_buf_drop(b, *out_len + 1);
	return true;
}

static void on_err(void *ctx, const char *data, size_t len)
{
	struct bl_building *g = ctx;
	char *line = NULL;
	size_t n = 0;
	bl_buf_append(&g->err, data, len);
	while (take_line(&g->err, &line, &n)) {
		BL_AUTO(bl_progress_news) news = { 0 };
		bl_progress_line(&g->b->progress, line, strlen(line), &news);
		tell(g, &news);
		free(line);
	}
}

/*
 * Nix has ended: the builds of whose end it did not tell were built, unless it stopped them
 * because of another that failed.
 */
static void end_progress(struct bl_building *g, int status)
{
	while (status == 0 || g->all->spec->keep_going) {
		BL_AUTO(bl_progress_news) news = { 0 };
		bl_progress_end(&g->b->progress, &news);
		if (news.kind == BL_PROGRESS_NOTHING)
			return;
		tell(g, &news);
	}
}

static int start_here(struct bl_building *g, const struct bl_strv *argv, const char *const *env,
		      void (*on_exit)(void *, int, const char *))
{
	struct bl_err err = { 0 };
	const struct bl_proc_spec spec = {
		.argv = (const char *const *)argv->items,
		.env_add = env,
		.on_err = on_err,
		.on_exit = on_exit,
		.ctx = g,
	};
	if (bl_proc_start(&g->all->loop, &spec, &g->work, &err) == 0)
		return 0;
	give_up(g, bl_xprintf("Nix is needed on this machine: %s", err.msg),
		bl_xstrdup("install Nix"));
	return -1;
}

/* ---- on this machine */

static void mark_there(struct bl_building *g, bool failed)
{
	struct bl_builder *b = g->b;
	for (size_t i = 0; i < b->n; i++)
		b->items[i].there = !failed || !bl_strv_has(&g->invalid, b->items[i].out);
}

static void on_built_here(void *ctx, int status, const char *tail BL_UNUSED)
{
	struct bl_building *g = ctx;
	struct bl_err err = { 0 };
	g->work = NULL;
	end_progress(g, status);
	BL_AUTO(bl_strv) outs = { 0 };
	for (size_t i = 0; i < g->b->n; i++)
		bl_strv_add(&outs, g->b->items[i].out);
	if (status != 0 &&
	    bl_build_invalid((const char *const *)outs.items, &g->invalid, &err) < 0) {
		give_up(g, bl_xstrdup(err.msg), bl_xstrdup("look at Nix on this machine"));
		return;
	}
	mark_there(g, status != 0);
	end(g);
}

static void build_here(struct bl_building *g)
{
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_strv) argv = { 0 };
	for (size_t i = 0; i < g->b->n; i++)
		bl_strv_add(&paths, g->b->items[i].drv);
	bl_build_argv((const char *const *)paths.items, g->all->spec->root,
		      g->all->spec->keep_going, g->all->spec->flags, &argv);
	g->step = BUILD;
	(void)!start_here(g, &argv, NULL, on_built_here);
}

/* ---- on a host */

static void copy(struct bl_building *g, const char *direction, const struct bl_strv *paths,
		 void (*on_exit)(void *, int, const char *))
{
	BL_AUTO(bl_strv) argv = { 0 };
	bl_autofree char *url = bl_copy_url(g->b->host, g->elevated);
	bl_autofree char *options = bl_ssh_nix_options(g->control);
	bl_autofree char *env = bl_xprintf("NIX_SSHOPTS=%s", options);
	const char *const env_add[] = { env, NULL };
	static const char *const head[] = { "nix",
					    "--extra-experimental-features",
					    "nix-command",
					    "copy",
					    "--log-format",
					    "internal-json",
					    "--no-check-sigs" };
	for (size_t i = 0; i < BL_COUNT(head); i++)
		bl_strv_add(&argv, head[i]);
	if (g->step == SEND)
		bl_strv_add(&argv, "--derivation");
	bl_strv_add(&argv, direction);
	bl_strv_add(&argv, url);
	bl_strv_append(&argv, paths);
	(void)!start_here(g, &argv, env_add, on_exit);
}

static void on_sent(void *ctx, int status, const char *tail BL_UNUSED)
{
	struct bl_building *g = ctx;
	BL_AUTO(bl_buf) lines = { 0 };
	g->work = NULL;
	if (status != 0) {
		give_up_explained(g, "send the derivations", status);
		return;
	}
	for (size_t i = 0; i < g->b->n; i++) {
		const struct bl_builder_item *item = &g->b->items[i];
		bl_buf_printf(&lines, "%s %s %s\n", item->drv, item->out,
			      item->stays ? "stays" : "back");
	}
	bl_buf_putc(&lines, '\n');
	bl_progress_free(&g->b->progress);
	g->step = BUILD;
	bl_proc_write(g->session, lines.data, lines.len);
}

static void send_drvs(struct bl_building *g)
{
	BL_AUTO(bl_strv) drvs = { 0 };
	g->step = SEND;
	for (size_t i = 0; i < g->b->n; i++)
		bl_strv_add(&drvs, g->b->items[i].drv);
	copy(g, "--to", &drvs, on_sent);
}

static void on_fetched(void *ctx, int status, const char *tail BL_UNUSED)
{
	struct bl_building *g = ctx;
	g->work = NULL;
	if (status != 0)
		give_up_explained(g, "fetch what was built", status);
	else
		end(g);
}

static void fetch(struct bl_building *g, int status)
{
	BL_AUTO(bl_strv) outs = { 0 };
	end_progress(g, status);
	mark_there(g, status != 0);
	for (size_t i = 0; i < g->b->n; i++)
		if (g->b->items[i].there && !g->b->items[i].stays)
			bl_strv_add(&outs, g->b->items[i].out);
	if (outs.n == 0 || (status != 0 && !g->all->spec->keep_going)) {
		end(g);
		return;
	}
	g->step = FETCH;
	copy(g, "--from", &outs, on_fetched);
}

static void hear_line(struct bl_building *g, const char *line)
{
	static const char user[] = "belay-user ";
	static const char built[] = "belay-built ";
	if (bl_starts_with(line, user))
		g->elevated =
			strcmp(line + sizeof(user) - 1, "0") != 0 && !g->b->host->sudo_password;
	else if (g->step == CONNECT && strcmp(line, "belay-ready") == 0)
		send_drvs(g);
	else if (g->step == BUILD && bl_starts_with(line, built))
		fetch(g, strcmp(line + sizeof(built) - 1, "0") != 0);
	else if (g->step == BUILD && g->invalid.n < g->b->n)
		bl_strv_add(&g->invalid, line);
	else if (++g->noise > NOISE_LINES)
		give_up(g, bl_xstrdup("its login shell prints without end"),
			bl_xstrdup("look at the login shell's start-up files on the host"));
}

static void on_out(void *ctx, const char *data, size_t len)
{
	struct bl_building *g = ctx;
	char *line = NULL;
	size_t n = 0;
	bl_buf_append(&g->out, data, len);
	while (g->step != ENDED && take_line(&g->out, &line, &n)) {
		hear_line(g, line);
		free(line);
	}
}

static void on_session_gone(void *ctx, int status, const char *tail BL_UNUSED)
{
	struct bl_building *g = ctx;
	g->session = NULL;
	give_up_explained(g, g->step == CONNECT ? "connect" : "the connection is lost", status);
}

static void connect_host(struct bl_building *g)
{
	BL_AUTO(bl_strv) argv = { 0 };
	struct bl_err err = { 0 };
	const char *const args[] = { g->all->spec->keep_going ? "--keep-going" : "", NULL };
	bl_autofree char *command = bl_ssh_remote(g->b->host, script, args);
	g->control = bl_xprintf("%s/%zu", g->all->dir, g->all->begun);
	bl_ssh_argv(g->b->host, g->control, CONNECT_S, command, &argv);
	const struct bl_proc_spec spec = {
		.argv = (const char *const *)argv.items,
		.on_out = on_out,
		.on_err = on_err,
		.on_exit = on_session_gone,
		.ctx = g,
	};
	if (bl_proc_start(&g->all->loop, &spec, &g->session, &err) < 0) {
		give_up(g, bl_xstrdup(err.msg),
			bl_xstrdup("install OpenSSH's client on this machine"));
		return;
	}
	bl_proc_write_secret(g->session, bl_ssh_password_line(g->b->host));
}

/* ---- all of them */

static void begin(struct runner *all, struct bl_builder *b)
{
	struct bl_building *g = bl_xcalloc(1, sizeof(*g));
	g->all = all;
	g->b = b;
	g->begun_ns = bl_now_boot_ns();
	b->run = g;
	all->running++;
	if (b->host)
		connect_host(g);
	else
		build_here(g);
}

static void begin_more(struct runner *all)
{
	const struct bl_builders_spec *spec = all->spec;
	while (!all->stopped && all->begun < spec->n && all->running < spec->parallel)
		begin(all, &spec->builders[all->begun++]);
	if (all->stopped || all->running == 0)
		uv_stop(&all->loop);
}

static void on_tick(uv_timer_t *timer)
{
	struct runner *all = timer->data;
	int64_t late = bl_now_boot_ns() - READY_MS * BL_NS_PER_MS;
	for (size_t i = 0; i < all->begun; i++) {
		struct bl_building *g = all->spec->builders[i].run;
		if (g->b->host && g->step == CONNECT && g->begun_ns < late)
			give_up(g, bl_xstrdup("connect: its shell does not answer"),
				bl_xstrdup("try it by hand: ssh with the same name and user"));
	}
	all->spec->tick(all->spec->ctx);
}

static void on_signal(uv_signal_t *handle, int number BL_UNUSED)
{
	struct runner *all = handle->data;
	all->interrupted = all->stopped = true;
	uv_stop(&all->loop);
}

static int init(struct runner *all, struct bl_err *err)
{
	const char *tmp = "/tmp/belay-XXXXXX"; /* a socket's name is short */
	memcpy(all->dir, tmp, strlen(tmp) + 1);
	if (!mkdtemp(all->dir))
		return bl_err_sys(err, errno, "make a folder in /tmp");
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&all->loop);
	uv_timer_init(&all->loop, &all->tick);
	uv_signal_init(&all->loop, &all->on_int);
	uv_signal_init(&all->loop, &all->on_term);
	all->tick.data = all->on_int.data = all->on_term.data = all;
	uv_timer_start(&all->tick, on_tick, TICK_MS, TICK_MS);
	uv_signal_start(&all->on_int, on_signal, SIGINT);
	uv_signal_start(&all->on_term, on_signal, SIGTERM);
	return 0;
}

static void free_building(struct bl_building *g)
{
	if (!g)
		return;
	bl_proc_drop(g->work);
	bl_proc_drop(g->session);
	if (g->control)
		unlink(g->control);
	free(g->control);
	bl_buf_free(&g->out);
	bl_buf_free(&g->err);
	bl_buf_free(&g->said);
	bl_strv_free(&g->invalid);
	free(g);
}

int bl_builders_run(const struct bl_builders_spec *spec, bool *out_interrupted,
		    struct bl_err *err)
{
	struct runner all = { .spec = spec };
	if (init(&all, err) < 0)
		return -1;
	begin_more(&all);
	if (all.running > 0 && !all.stopped)
		uv_run(&all.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < spec->n; i++) {
		free_building(spec->builders[i].run);
		spec->builders[i].run = NULL;
	}
	uv_close((uv_handle_t *)&all.tick, NULL);
	uv_close((uv_handle_t *)&all.on_int, NULL);
	uv_close((uv_handle_t *)&all.on_term, NULL);
	bl_loop_end(&all.loop);
	rmdir(all.dir);
	*out_interrupted = all.interrupted;
	return 0;
}

void bl_builder_free(struct bl_builder *b)
{
	bl_progress_free(&b->progress);
	free(b->problem);
	free(b->remedy);
}
