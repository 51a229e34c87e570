/* SPDX-License-Identifier: MIT */
#include "agent/snapshot.h"

#include "agent/system.h"
#include "base/file.h"
#include "base/kv.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_MAX (256UL * 1024)
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

int bl_snapshot_take(const char *system, const char *sshd, struct bl_snapshot *out,
		     struct bl_err *err)
{
	BL_AUTO(bl_snapshot) s = { 0 };
	bl_autofree char *local = bl_xstrndup(sshd, strcspn(sshd, " "));
	if (bl_failed_units(system, &s.failed, err) < 0)
		return -1;
	bl_autofree char *v4 = bl_slurp("/proc/net/route", SNAPSHOT_MAX);
	bl_autofree char *v6 = bl_slurp("/proc/net/ipv6_route", SNAPSHOT_MAX);
	bl_routes_v4(v4 ? v4 : "", &s.routes);
	bl_routes_v6(v6 ? v6 : "", &s.routes);
	take_addresses(local, &s);
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
};

int bl_snapshot_save(const struct bl_snapshot *s, int dir_fd, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	for (size_t i = 0; i < BL_COUNT(lists); i++) {
		const struct bl_strv *v =
			(const struct bl_strv *)((const char *)s + lists[i].offset);
		for (size_t k = 0; k < v->n; k++)
			bl_kv_add(&kv, lists[i].key, v->items[k]);
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
				bl_strv_add((struct bl_strv *)((char *)out + lists[i].offset),
					    it->value);
	return 0;
}

void bl_snapshot_free(struct bl_snapshot *s)
{
	bl_strv_free(&s->failed);
	bl_strv_free(&s->addresses);
	bl_strv_free(&s->own);
	bl_strv_free(&s->routes);
}

char *bl_strv_missing(const struct bl_strv *want, const struct bl_strv *have)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; i < want->n; i++)
		if (!bl_strv_has(have, want->items[i]))
			bl_buf_printf(&b, "%s%s", b.len ? ", " : "", want->items[i]);
	return b.len ? bl_buf_steal(&b) : NULL;
}
