/* SPDX-License-Identifier: MIT */
/* What has to be as before when a rollback is to be believed: units, addresses, routes. */
#ifndef BELAY_AGENT_SNAPSHOT_H
#define BELAY_AGENT_SNAPSHOT_H

#include "base/err.h"
#include "base/str.h"

struct bl_snapshot {
	struct bl_strv failed;    /* units that are failed, or restart again and again */
	struct bl_strv addresses; /* "eth0 10.0.0.1", on interfaces that lead to others */
	struct bl_strv own;       /* of these, the one that the deployer came in on */
	struct bl_strv routes;    /* default routes, "eth0 0100000a" */
	struct bl_strv resolver;  /* one, the checksum of resolv.conf */
	struct bl_strv sshd;      /* one, "address port", or none: where sshd answered */
	/* to put it back by hand where OLD's own activation did not */
	struct bl_strv active;  /* units that were up */
	struct bl_strv restore; /* arguments of ip(8): "route replace default via ..." */
};

/*
 * Looks at the running system with @system's systemctl. Addresses count on interfaces that have
 * a default route or hold the address of @sshd ("address port" that the deployer's session came
 * in on; may be ""). Sources: proc(5) net/route and net/ipv6_route, getifaddrs(3).
 */
int bl_snapshot_take(const char *system, const char *sshd, struct bl_snapshot *out,
		     struct bl_err *err) BL_MUST_CHECK;
/* Adds what bl_snapshot_restore needs; a host without ip(8) gets less. */
void bl_snapshot_take_means(const char *system, struct bl_snapshot *s);
/*
 * Rung R2: systemd reads its units again; addresses and default routes of @before are put back,
 * default routes that came since are deleted, units that were up are started.
 */
void bl_snapshot_restore(const char *system, const struct bl_snapshot *before);
/* Pure: lines of `ip -o addr` and `ip route show default` as arguments that bring them back. */
void bl_restore_address(const char *line, struct bl_strv *out);
void bl_restore_route(const char *family, const char *line, struct bl_strv *out);
/* Only the units. */
int bl_failed_units(const char *system, struct bl_strv *out, struct bl_err *err) BL_MUST_CHECK;
int bl_snapshot_save(const struct bl_snapshot *s, int dir_fd, struct bl_err *err) BL_MUST_CHECK;
int bl_snapshot_load(int dir_fd, struct bl_snapshot *out, struct bl_err *err) BL_MUST_CHECK;
void bl_snapshot_free(struct bl_snapshot *s);

/* What is in @want and not in @have, as "a, b"; a new string, NULL when there is nothing. */
char *bl_strv_missing(const struct bl_strv *want, const struct bl_strv *have);

/* Default routes in the text of /proc/net/route (v4) and ipv6_route (v6), appended to @out. */
void bl_routes_v4(const char *text, struct bl_strv *out);
void bl_routes_v6(const char *text, struct bl_strv *out);

static inline void bl_snapshot_autop(struct bl_snapshot *s)
{
	bl_snapshot_free(s);
}

#endif
