/* SPDX-License-Identifier: MIT */
#include "agent/snapshot.h"

#include "agent/system.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/kv.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_MAX (4UL * 1024 * 1024)
#define SYSTEMCTL_MS 15000

/* Splits at blanks into at most @max words; the text is changed. */
static size_t words_of(char *line, char **words, size_t max)
{
	size_t n = 0;
	char *save = NULL;
	for (char *w = strtok_r(line, " \t", &save); w && n < max;
	     w = strtok_r(NULL, " \t", &save))
		words[n++] = w;
	return n;
}

/* A service that is started again and again has failed when its last run did. */
static bool restarts_after_failure(const char *system, const char *unit)
{
	const char *const args[] = {
		"show", "-p", "ExecMainStatus", "--value", "--", unit, NULL
	};
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(system, "systemctl", args, SYSTEMCTL_MS, &r, NULL) < 0 || r.status != 0)
		return true;
	return strcmp(bl_buf_str(&r.out), "0\n") != 0;
}

int bl_failed_units(const char *system, struct bl_strv *out, struct bl_err *err)
{
	const char *const args[] = { "list-units", "--state=failed,auto-restart",
				     "--plain",    "--no-legend",
				     "--full",     "--no-pager",
				     NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(system, "systemctl", args, SYSTEMCTL_MS, &r, err) < 0)
		return -1;
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED, "systemctl list-units: status %d: %.200s",
				  r.status, bl_buf_str(&r.err));
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, bl_buf_str(&r.out), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *w[5] = { 0 };
		if (words_of(lines.items[i], w, 5) < 4)
			continue;
		if (strcmp(w[2], "failed") == 0 || restarts_after_failure(system, w[0]))
			bl_strv_add(out, w[0]);
	}
	return 0;
}

void bl_routes_v4(const char *text, struct bl_strv *out)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		/* Iface Destination Gateway Flags RefCnt Use Metric Mask ... */
		char *w[8] = { 0 };
		if (words_of(lines.items[i], w, 8) == 8 && strcmp(w[1], "00000000") == 0 &&
		    strcmp(w[7], "00000000") == 0)
			bl_strv_addf(out, "%s %s", w[0], w[2]);
	}
}

void bl_routes_v6(const char *text, struct bl_strv *out)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		/* destination, its length, source, its length, next hop, metric, ..., interface
		 */
		char *w[10] = { 0 };
		if (words_of(lines.items[i], w, 10) == 10 && strspn(w[0], "0") == 32 &&
		    strcmp(w[1], "00") == 0 && strcmp(w[9], "lo") != 0)
			bl_strv_addf(out, "%s %s", w[9], w[4]);
	}
}

static bool routes_use(const struct bl_strv *routes, const char *ifname)
{
	size_t n = strlen(ifname);
	for (size_t i = 0; i < routes->n; i++)
		if (strncmp(routes->items[i], ifname, n) == 0 && routes->items[i][n] == ' ')
			return true;
	return false;
}

/* Text of a global address; of IPv6 the /64 alone, since privacy addresses come and go. */
static bool address_text(const struct sockaddr *sa, char *out, size_t size, char *full,
			 size_t full_size)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, sa, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, out, (socklen_t)size);
		snprintf(full, full_size, "%.45s", out);
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	struct sockaddr_in6 in6;
	memcpy(&in6, sa, sizeof(in6));
	if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
		return false;
	inet_ntop(AF_INET6, &in6.sin6_addr, full, (socklen_t)full_size);
	memset(in6.sin6_addr.s6_addr + 8, 0, 8);
	char prefix[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET6, &in6.sin6_addr, prefix, sizeof(prefix));
	snprintf(out, size, "%s/64", prefix);
	return true;
}

static void take_addresses(const char *local, struct bl_snapshot *s)
{
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *a = all; a; a = a->ifa_next) {
		char text[INET6_ADDRSTRLEN + 4];
		char full[INET6_ADDRSTRLEN];
		if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK) ||
		    /* an address of a link that is down leads nowhere */
		    !(a->ifa_flags & IFF_UP) ||
		    !address_text(a->ifa_addr, text, sizeof(text), full, sizeof(full)))
			continue;
		if (strcmp(full, local) != 0 && !routes_use(&s->routes, a->ifa_name))
			continue;
		bl_autofree char *entry = bl_xprintf("%s %s", a->ifa_name, text);
		if (!bl_strv_has(&s->addresses, entry))
			bl_strv_add(&s->addresses, entry);
		if (strcmp(full, local) == 0)
			bl_strv_add(&s->own, entry);
	}
	freeifaddrs(all);
}

void bl_snapshot_network(const char *sshd, struct bl_snapshot *out)
{
	bl_autofree char *local = bl_xstrndup(sshd, strcspn(sshd, " "));
	bl_autofree char *v4 = bl_slurp("/proc/net/route", SNAPSHOT_MAX);
	bl_autofree char *v6 = bl_slurp("/proc/net/ipv6_route", SNAPSHOT_MAX);
	bl_autofree char *resolver = bl_slurp("/etc/resolv.conf", SNAPSHOT_MAX);
	*out = (struct bl_snapshot){ 0 };
	bl_routes_v4(v4 ? v4 : "", &out->routes);
	bl_routes_v6(v6 ? v6 : "", &out->routes);
	take_addresses(local, out);
	bl_strv_addf(&out->resolver, "%08x",
		     resolver ? bl_crc32c(resolver, strlen(resolver)) : 0);
	if (sshd[0])
		bl_strv_add(&out->sshd, sshd);
}

int bl_snapshot_take(const char *system, const char *sshd, struct bl_snapshot *out,
		     struct bl_err *err)
{
	BL_AUTO(bl_snapshot) s = { 0 };
	bl_snapshot_network(sshd, &s);
	if (bl_failed_units(system, &s.failed, err) < 0)
		return -1;
	*out = s;
	s = (struct bl_snapshot){ 0 };
	return 0;
}

static const struct {
	const char *key;
	size_t offset;
} lists[] = {
	{ "failed", offsetof(struct bl_snapshot, failed) },
	{ "address", offsetof(struct bl_snapshot, addresses) },
	{ "own", offsetof(struct bl_snapshot, own) },
	{ "route", offsetof(struct bl_snapshot, routes) },
	{ "resolver", offsetof(struct bl_snapshot, resolver) },
	{ "sshd", offsetof(struct bl_snapshot, sshd) },
	{ "active", offsetof(struct bl_snapshot, active) },
	{ "restore", offsetof(struct bl_snapshot, restore) },
};

int bl_snapshot_save(const struct bl_snapshot *s, int dir_fd, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	/* a list is one value: of lines there is a limit, of units there is none */
	for (size_t i = 0; i < BL_COUNT(lists); i++) {
		const struct bl_strv *v =
			(const struct bl_strv *)((const char *)s + lists[i].offset);
		BL_AUTO(bl_buf) all = { 0 };
		for (size_t k = 0; k < v->n; k++)
			bl_buf_printf(&all, "%s\n", v->items[k]);
		bl_kv_set(&kv, lists[i].key, bl_buf_str(&all));
	}
	bl_kv_encode(&kv, &text);
	return bl_write_file_at(dir_fd, "snapshot", 0600, bl_buf_str(&text), text.len, err);
}

int bl_snapshot_load(int dir_fd, struct bl_snapshot *out, struct bl_err *err)
{
	bl_autofree char *text = NULL;
	size_t len = 0;
	BL_AUTO(bl_kv) kv = { 0 };
	if (bl_read_file_at(dir_fd, "snapshot", SNAPSHOT_MAX, &text, &len, err) < 0 ||
	    bl_kv_decode(text, len, &kv, err) < 0)
		return bl_err_wrap(err, "snapshot");
	*out = (struct bl_snapshot){ 0 };
	BL_KV_FOREACH (&kv, it)
		for (size_t i = 0; i < BL_COUNT(lists); i++)
			if (strcmp(it->key, lists[i].key) == 0)
				bl_strv_split((struct bl_strv *)((char *)out + lists[i].offset),
					      it->value, '\n');
	return 0;
}

void bl_snapshot_free(struct bl_snapshot *s)
{
	bl_strv_free(&s->failed);
	bl_strv_free(&s->addresses);
	bl_strv_free(&s->own);
	bl_strv_free(&s->routes);
	bl_strv_free(&s->resolver);
	bl_strv_free(&s->sshd);
	bl_strv_free(&s->active);
	bl_strv_free(&s->restore);
}

/* --- the means to put it back --- */

static char *output_of(const char *system, const char *tool, const char *const *args)
{
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(system, tool, args, SYSTEMCTL_MS, &r, NULL) < 0 || r.status != 0)
		return bl_xstrdup("");
	return bl_xstrdup(bl_buf_str(&r.out));
}

/* Units of sessions and of ours come and go with those. */
static bool is_lasting(const char *unit)
{
	static const char *const passing[] = { "belay-", "user@", "user-runtime-dir@", "run-" };
	for (size_t i = 0; i < BL_COUNT(passing); i++)
		if (bl_starts_with(unit, passing[i]))
			return false;
	return true;
}

static void active_units(const char *system, struct bl_strv *out)
{
	const char *const args[] = { "list-units",
				     "--state=active",
				     "--type=service,socket,timer,path,target",
				     "--plain",
				     "--no-legend",
				     "--full",
				     "--no-pager",
				     NULL };
	bl_autofree char *text = output_of(system, "systemctl", args);
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *w[1] = { NULL };
		if (words_of(lines.items[i], w, 1) == 1 && is_lasting(w[0]))
			bl_strv_add(out, w[0]);
	}
}

void bl_restore_address(const char *line, struct bl_strv *out)
{
	/* "2: eth0    inet 10.0.0.1/24 brd 10.0.0.255 scope global eth0 ..." */
	bl_autofree char *copy = bl_xstrdup(line);
	char *w[4] = { NULL };
	if (words_of(copy, w, 4) == 4 && bl_starts_with(w[2], "inet"))
		bl_strv_addf(out, "addr replace %s dev %s", w[3], w[1]);
}

void bl_restore_route(const char *family, const char *line, struct bl_strv *out)
{
	/* what routers announce comes back by itself, and has a lifetime */
	if (strstr(line, "proto ra") || strstr(line, "proto kernel") ||
	    !bl_starts_with(line, "default"))
		return;
	size_t n = strlen(line);
	while (n > 0 && line[n - 1] == ' ')
		n--;
	if (n > 9 && strncmp(line + n - 9, " linkdown", 9) == 0)
		n -= 9;
	bl_strv_addf(out, "%s route replace %.*s", family, (int)n, line);
}

static void each_line(const char *text, const char *family, struct bl_strv *out)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		if (family)
			bl_restore_route(family, lines.items[i], out);
		else
			bl_restore_address(lines.items[i], out);
	}
}

static void take_restore(const char *system, struct bl_strv *out)
{
	const char *const addresses[] = { "-o", "addr", "show", "scope", "global", NULL };
	bl_autofree char *text = output_of(system, "ip", addresses);
	each_line(text, NULL, out);
	static const char *const families[] = { "-4", "-6" };
	for (size_t i = 0; i < BL_COUNT(families); i++) {
		const char *const routes[] = { families[i], "route", "show", "default", NULL };
		bl_autofree char *lines = output_of(system, "ip", routes);
		each_line(lines, families[i], out);
	}
}

void bl_snapshot_take_means(const char *system, struct bl_snapshot *s)
{
	active_units(system, &s->active);
	take_restore(system, &s->restore);
}

static void run_ip(const char *system, const char *line)
{
	BL_AUTO(bl_child_result) r = { 0 };
	bl_autofree char *copy = bl_xstrdup(line);
	char *words[30] = { NULL };
	words_of(copy, words, BL_COUNT(words) - 1);
	if (bl_tool_run(system, "ip", (const char *const *)words, SYSTEMCTL_MS, &r, NULL) < 0 ||
	    r.status != 0)
		bl_log(BL_LOG_WARN, "ip %s: %s", line, bl_buf_str(&r.err));
}

#define UNITS_AT_ONCE 20

static void start_units(const char *system, const struct bl_strv *units)
{
	for (size_t i = 0; i < units->n; i += UNITS_AT_ONCE) {
		const char *args[UNITS_AT_ONCE + 3] = { "start", "--no-block" };
		for (size_t k = 0; k < UNITS_AT_ONCE && i + k < units->n; k++)
			args[k + 2] = units->items[i + k];
		BL_AUTO(bl_child_result) r = { 0 };
		if (bl_tool_run(system, "systemctl", args, SYSTEMCTL_MS, &r, NULL) < 0)
			bl_log(BL_LOG_WARN, "systemctl start does not work");
	}
}

void bl_snapshot_restore(const char *system, const struct bl_snapshot *before)
{
	BL_AUTO(bl_snapshot) now = { 0 };
	BL_AUTO(bl_strv) start = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	const char *const reload[] = { "daemon-reload", NULL };
	if (bl_tool_run(system, "systemctl", reload, SYSTEMCTL_MS, &r, NULL) < 0)
		bl_log(BL_LOG_WARN, "systemctl daemon-reload does not work");
	bl_snapshot_take_means(system, &now);
	for (size_t i = 0; i < now.restore.n; i++) {
		const char *line = now.restore.items[i];
		const char *route = strstr(line, "route replace");
		if (!route || bl_strv_has(&before->restore, line))
			continue;
		bl_autofree char *del = bl_xprintf("%.*sroute del%s", (int)(route - line), line,
						   route + strlen("route replace"));
		run_ip(system, del);
	}
	for (size_t i = 0; i < before->restore.n; i++)
		if (!bl_strv_has(&now.restore, before->restore.items[i]))
			run_ip(system, before->restore.items[i]);
	for (size_t i = 0; i < before->active.n; i++)
		if (!bl_strv_has(&now.active, before->active.items[i]))
			bl_strv_add(&start, before->active.items[i]);
	start_units(system, &start);
}

char *bl_strv_missing(const struct bl_strv *want, const struct bl_strv *have)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; i < want->n; i++)
		if (!bl_strv_has(have, want->items[i]))
			bl_buf_printf(&b, "%s%s", b.len ? ", " : "", want->items[i]);
	return b.len ? bl_buf_steal(&b) : NULL;
}
