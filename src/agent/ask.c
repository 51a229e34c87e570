/* SPDX-License-Identifier: MIT */
#include "agent/ask.h"

#include "agent/cgroup.h"
#include "base/clock.h"
#include "base/dial.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_KEEP (128UL * 1024) /* what came before was looked through */
#define OUTPUT_TAIL 4096
#define TRAILER_MAX 16 /* behind a page: a line end and curl's status */
#define DYING_MS    5000
#define PROC_MAX    (256UL * 1024)

struct bl_ask {
	const struct bl_job *job;
	const struct bl_check *check;
	char *cgroup; /* NULL: none */
	char *gateway;
	pid_t pid; /* -1: no program runs */
	int out_fd;
	struct bl_buf out; /* the end of what it said */
	bool found;        /* check->contains was in it */
	bool late;         /* killed at the limit */
	int64_t limit_ns, dead_ns;
	struct bl_dial dial; /* being connected */
	enum bl_ask_answer answer;
	char why[256];
};

static void answer(struct bl_ask *a, bool good)
{
	a->answer = good ? BL_ASK_GOOD : BL_ASK_BAD;
}

static void bad(struct bl_ask *a, const char *fmt, ...) BL_PRINTF(2, 3);

static void bad(struct bl_ask *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	answer(a, false);
}

/* --- programs --- */

static void run(struct bl_ask *a, const char *name, const char *const *args)
{
	const char *argv[24] = { 0 };
	BL_AUTO(bl_strv) env = { 0 };
	struct bl_err err = { 0 };
	int p[2];
	bl_autofree char *path = bl_job_tool(a->job, name);
	if (!path) {
		bad(a, "there is no %s on the host to ask with", name);
		return;
	}
	argv[0] = path;
	for (size_t i = 0; args[i] && i + 2 < BL_COUNT(argv); i++)
		argv[i + 1] = args[i];
	if (pipe2(p, O_CLOEXEC) < 0) {
		bad(a, "pipe: %s", strerror(errno));
		return;
	}
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	bl_job_env(a->job, true, &env);
	if (bl_child_spawn(argv, (const char *const *)env.items, -1, p[1], p[1],
			   bl_cgroup_enter, a->cgroup, &a->pid, &err) < 0) {
		bad(a, "%s", err.msg);
		a->pid = -1;
	}
	close(p[1]);
	a->out_fd = p[0];
}

static void look_through(struct bl_ask *a, size_t len)
{
	const char *want = a->check->contains;
	if (*want && !a->found && bl_find(bl_buf_str(&a->out), len, want))
		a->found = true;
}

/* Takes what is there, and no more than a bit of what never ends. */
static void drain(struct bl_ask *a)
{
	char chunk[4096];
	for (int i = 0; i < 64; i++) {
		ssize_t n = read(a->out_fd, chunk, sizeof(chunk));
		if (n <= 0)
			return;
		bl_buf_append(&a->out, chunk, (size_t)n);
		size_t keep = OUTPUT_TAIL + strlen(a->check->contains);
		if (a->out.len > OUTPUT_KEEP + keep) {
			/* the trailer of a page is no part of it */
			look_through(a, a->out.len - TRAILER_MAX);
			bl_buf_drop(&a->out, a->out.len - keep);
		}
	}
}

/* The last line that says something, made harmless; "" when there is none. */
static char *last_line(struct bl_ask *a)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, bl_buf_str(&a->out), '\n');
	bl_autofree char *line = bl_visible(lines.n ? lines.items[lines.n - 1] : "");
	return bl_xstrndup(line, strnlen(line, 160));
}

/* --- the types: how each one is begun, and what the end of its program means --- */

static void begin_unit(struct bl_ask *a)
{
	run(a, "systemctl", (const char *[]){ "is-active", "--", a->check->what, NULL });
}

static void end_unit(struct bl_ask *a, int status)
{
	bl_autofree char *line = last_line(a);
	if (status == 0)
		answer(a, true);
	else
		bad(a, "%s is %s", a->check->what, *line ? line : "not known");
}

static void resolve(struct bl_ask *a)
{
	run(a, "getent", (const char *[]){ "ahosts", a->check->what, NULL });
}

static void end_dns(struct bl_ask *a, int status)
{
	if (status == 0)
		answer(a, true);
	else
		bad(a, "%s cannot be resolved", a->check->what);
}

/* False: it is a name. */
static bool connect_to(struct bl_ask *a, const char *address)
{
	struct sockaddr_storage to;
	socklen_t len = bl_dial_address(address, a->check->port, &to);
	if (len > 0)
		bl_dial_add(&a->dial, (struct sockaddr *)&to, len);
	return len > 0;
}

static void step_connect(struct bl_ask *a)
{
	switch (bl_dial_step(&a->dial, 0)) {
	case BL_DIAL_PENDING:
		return;
	case BL_DIAL_OPEN:
		answer(a, true);
		return;
	case BL_DIAL_FAILED:
		bad(a, "%s", a->dial.why[0] ? a->dial.why : "it has no address");
		return;
	}
}

static void begin_tcp(struct bl_ask *a)
{
	if (!connect_to(a, *a->check->what ? a->check->what : "127.0.0.1"))
		resolve(a);
	else
		step_connect(a);
}

static void end_tcp(struct bl_ask *a, int status)
{
	if (status != 0) {
		end_dns(a, status);
		return;
	}
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, bl_buf_str(&a->out), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *line = lines.items[i];
		if (!strstr(line, "STREAM"))
			continue;
		line[strcspn(line, " ")] = '\0';
		connect_to(a, line);
	}
	step_connect(a);
}

static void begin_http(struct bl_ask *a)
{
	bl_autofree char *limit =
		bl_xprintf("%u.%03u", a->check->timeout_ms / 1000, a->check->timeout_ms % 1000);
	/* no ~/.curlrc, no proxy, no redirects, nothing but http */
	run(a, "curl",
	    (const char *[]){ "-q", "-sS", "--globoff", "--noproxy", "*", "--proto",
			      "=http,https", "--max-time", limit, "-w", "\n%{http_code}",
			      "--url", a->check->what, NULL });
}

static void end_http(struct bl_ask *a, int status)
{
	uint64_t code = 0;
	const char *text = bl_buf_str(&a->out);
	const char *trailer = strrchr(text, '\n');
	if (trailer && bl_parse_u64(trailer + 1, 100, 999, &code, NULL) < 0)
		code = 0;
	size_t len = trailer ? (size_t)(trailer - text) : a->out.len;
	if (trailer)
		a->out.data[len] = '\0';
	bool fits = a->check->status ? code == a->check->status : code / 100 == 2;
	bl_autofree char *line = last_line(a);
	look_through(a, len);
	if (status != 0)
		bad(a, "%s", *line ? line : "curl failed");
	else if (!fits)
		bad(a, "status %u", (unsigned)code);
	else if (*a->check->contains && !a->found)
		bad(a, "the page does not contain '%.100s'", a->check->contains);
	else
		answer(a, true);
}

static void begin_command(struct bl_ask *a)
{
	run(a, "sh", (const char *[]){ "-c", a->check->what, NULL });
}

static void end_command(struct bl_ask *a, int status)
{
	bl_autofree char *line = last_line(a);
	if (status == 0)
		answer(a, true);
	else if (status > 128)
		bad(a, "killed by signal %d%s%s", status - 128, *line ? ": " : "", line);
	else
		bad(a, "status %d%s%s", status, *line ? ": " : "", line);
}

static void begin_file(struct bl_ask *a)
{
	if (*a->check->contains)
		run(a, "cat", (const char *[]){ "--", a->check->what, NULL });
	else
		run(a, "test", (const char *[]){ "-e", a->check->what, NULL });
}

static void end_file(struct bl_ask *a, int status)
{
	bl_autofree char *line = last_line(a);
	look_through(a, a->out.len);
	if (status != 0)
		bad(a, "%s", *a->check->contains && *line ? line : "it does not exist");
	else if (*a->check->contains && !a->found)
		bad(a, "it does not contain '%.100s'", a->check->contains);
	else
		answer(a, true);
}

static void begin_route(struct bl_ask *a)
{
	bl_autofree char *v4 = bl_slurp("/proc/net/route", PROC_MAX);
	bl_autofree char *v6 = bl_slurp("/proc/net/ipv6_route", PROC_MAX);
	BL_AUTO(bl_strv) routes = { 0 };
	bl_routes_v4(v4 ? v4 : "", &routes);
	bl_routes_v6(v6 ? v6 : "", &routes);
	if (routes.n == 0) {
		bad(a, "there is no default route");
		return;
	}
	/* of several, the kernel lists the preferred one first */
	a->gateway = bl_gateway_of(routes.items[0]);
	if (!a->gateway) {
		answer(a, true); /* a line to a single other end has none */
		return;
	}
	run(a, "ping", (const char *[]){ "-n", "-q", "-c", "1", "-W", "2", a->gateway, NULL });
}

static void end_route(struct bl_ask *a, int status)
{
	/* many gateways answer no ping; but they have to tell where they are */
	bl_autofree char *arp = status == 0 ? NULL : bl_slurp("/proc/net/arp", PROC_MAX);
	if (status == 0 || bl_arp_knows(arp ? arp : "", a->gateway))
		answer(a, true);
	else
		bad(a, "the gateway %s does not answer", a->gateway);
}

static const struct {
	void (*begin)(struct bl_ask *a);
	void (*end)(struct bl_ask *a, int status);
} types[BL_CHECK_NTYPES] = {
	[BL_CHECK_UNIT] = { begin_unit, end_unit },
	[BL_CHECK_TCP] = { begin_tcp, end_tcp },
	[BL_CHECK_HTTP] = { begin_http, end_http },
	[BL_CHECK_COMMAND] = { begin_command, end_command },
	[BL_CHECK_DNS] = { resolve, end_dns },
	[BL_CHECK_ROUTE] = { begin_route, end_route },
	[BL_CHECK_FILE] = { begin_file, end_file },
};

/* --- text of /proc --- */

bool bl_arp_knows(const char *arp, const char *address)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, arp, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		/* IP address, HW type, Flags, HW address, Mask, Device */
		BL_AUTO(bl_strv) w = { 0 };
		bl_strv_split(&w, lines.items[i], ' ');
		if (w.n >= 4 && strcmp(w.items[0], address) == 0)
			return (strtoul(w.items[2], NULL, 16) & 2U) &&
			       strcmp(w.items[3], "00:00:00:00:00:00") != 0;
	}
	return false;
}

char *bl_gateway_of(const char *route)
{
	const char *blank = strchr(route, ' ');
	const char *hex = blank ? blank + 1 : "";
	char text[INET6_ADDRSTRLEN];
	if (strspn(hex, "0") == strlen(hex))
		return NULL;
	if (strlen(hex) == 8) {
		/* the kernel prints the address as the number that it is in memory */
		struct in_addr in = { .s_addr = (in_addr_t)strtoul(hex, NULL, 16) };
		return bl_xstrdup(inet_ntop(AF_INET, &in, text, sizeof(text)) ? text : "");
	}
	struct in6_addr in6;
	if (bl_unhex(hex, in6.s6_addr, sizeof(in6.s6_addr), NULL) < 0 ||
	    !inet_ntop(AF_INET6, &in6, text, sizeof(text)))
		return NULL;
	/* a link-local address means nothing without its interface */
	return bl_xprintf("%s%%%.*s", text, (int)(blank - route), route);
}

/* --- begin, step, end --- */

struct bl_ask *bl_ask_begin(const struct bl_job *job, const struct bl_check *check,
			    size_t number)
{
	struct bl_ask *a = bl_xcalloc(1, sizeof(*a));
	bl_autofree char *name = bl_xprintf("check-%zu", number);
	*a = (struct bl_ask){ .job = job, .check = check, .pid = -1, .out_fd = -1 };
	a->limit_ns = bl_now_boot_ns() + check->timeout_ms * BL_NS_PER_MS;
	a->cgroup = bl_cgroup_make(name);
	types[check->type].begin(a);
	return a;
}

static void step_program(struct bl_ask *a, int64_t now)
{
	int status = 0;
	drain(a);
	if (waitpid(a->pid, &status, WNOHANG) != a->pid) {
		/* what not even SIGKILL ends is left behind */
		if (a->late && now > a->dead_ns)
			bad(a, "no answer within %u ms, and it cannot be killed",
			    a->check->timeout_ms);
		return;
	}
	a->pid = -1;
	drain(a);
	if (bl_cgroup_populated(a->cgroup))
		bl_cgroup_kill(a->cgroup, 0);
	if (a->late)
		bad(a, "no answer within %u ms", a->check->timeout_ms);
	else
		types[a->check->type].end(a, bl_child_status(status));
}

enum bl_ask_answer bl_ask_step(struct bl_ask *a)
{
	int64_t now = bl_now_boot_ns();
	if (a->answer != BL_ASK_PENDING)
		return a->answer;
	if (a->pid > 0)
		step_program(a, now);
	else if (a->dial.n > 0)
		step_connect(a);
	if (a->answer != BL_ASK_PENDING || now < a->limit_ns || a->late)
		return a->answer;
	if (a->pid > 0) {
		a->late = true;
		a->dead_ns = now + DYING_MS * BL_NS_PER_MS;
		bl_cgroup_kill(a->cgroup, a->pid);
	} else {
		bad(a, "no answer within %u ms", a->check->timeout_ms);
	}
	return a->answer;
}

const char *bl_ask_why(const struct bl_ask *a)
{
	return a->why;
}

void bl_ask_free(struct bl_ask *a)
{
	if (!a)
		return;
	if (a->pid > 0) {
		bl_cgroup_kill(a->cgroup, a->pid);
		for (int i = 0; i < 100 && waitpid(a->pid, NULL, WNOHANG) == 0; i++)
			bl_sleep_ms(10);
	}
	bl_cgroup_remove(a->cgroup);
	bl_dial_close(&a->dial);
	bl_closep(&a->out_fd);
	bl_buf_free(&a->out);
	free(a->cgroup);
	free(a->gateway);
	free(a);
}
