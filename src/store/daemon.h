/* SPDX-License-Identifier: MIT */
/*
 * The local Nix store by way of its daemon: connecting and adding paths. What can be asked
 * stands in store/query.h. Nothing waits for a round trip a path.
 *
 * Everything blocks until it is done, while bl_idle() goes on. The program has to ignore
 * SIGPIPE. What fails returns -1 and one of:
 *   BL_E_FAILED   the daemon said no to something, with its words; or it ended
 *   BL_E_TIMEOUT  nothing came or went for quiet_ms
 *   BL_E_INPUT    an argument is no store path and the like; or the daemon breaks the protocol
 *                 or a limit of store/worker.h
 * bl_daemon_works() tells whether the connection can still be used; out parameters are as they
 * were.
 * Source: that of store/worker.h.
 */
#ifndef BELAY_STORE_DAEMON_H
#define BELAY_STORE_DAEMON_H

#include "store/info.h"

#define BL_DAEMON_SOCKET "/nix/var/nix/daemon-socket/socket"

struct bl_daemon;

struct bl_daemon_spec {
	const char *socket; /* NULL: BL_DAEMON_SOCKET; "": none */
	/* what is started where nobody listens at the socket; NULL: `nix-daemon --stdio` */
	const char *const *program;
	const char *const *env; /* its environment; NULL: the caller's */
	/* the limit for anything to come or go; 0: none. Substituting, a garbage collection
	 * that runs and the registration of a large path are silent for a while */
	int64_t quiet_ms;
	void (*line)(void *ctx,
		     const char *text); /* what it logs, clean; NULL: nobody wants it */
	/* what became of each path that was added, in that order; @problem is NULL when it is
	 * valid now, else the daemon's words. It must not use the connection */
	void (*added)(void *ctx, const char *path, const char *problem);
	void *ctx;
};

enum bl_daemon_trust { BL_TRUST_UNKNOWN, BL_TRUST_YES, BL_TRUST_NO };

/*
 * Connects and says hello: one round trip. @spec is not needed afterwards. Besides the above:
 * BL_E_SYS (no connection, nothing could be started), BL_E_REFUSED (before Nix 2.4). The caller
 * owns @out.
 */
int bl_daemon_open(const struct bl_daemon_spec *spec, struct bl_daemon **out,
		   struct bl_err *err) BL_MUST_CHECK;
/* The same over descriptors that are connected, and which it owns from here on. */
int bl_daemon_attach(const struct bl_daemon_spec *spec, int in, int out_fd,
		     struct bl_daemon **out, struct bl_err *err) BL_MUST_CHECK;
/* Temporary roots go with it, and paths that were not finished. */
void bl_daemon_close(struct bl_daemon *d);
bool bl_daemon_works(const struct bl_daemon *d);
const char *bl_daemon_nix_version(const struct bl_daemon *d); /* "" before 2.7; not checked */
unsigned bl_daemon_protocol(const struct bl_daemon *d);       /* 0x125 is 1.37 */
/* Without trust only paths with signatures that it knows can be added. Unknown before 2.15. */
enum bl_daemon_trust bl_daemon_trust(const struct bl_daemon *d);

/*
 * For store/query.h: the connection, with @what as that which is being asked; NULL, BL_E_USAGE:
 * a path is being added.
 */
struct bl_exchange;
struct bl_exchange *bl_daemon_topic(struct bl_daemon *d, const char *what, struct bl_err *err);

/*
 * Adding paths: begin, the NAR in pieces of any size, end; then at once the next one. What a
 * path refers to has to be added before it. The outcome of each comes to spec->added, at some
 * later call (or at one of these, if Nix gives up early: the path is still ended as others); a
 * path that fails does not harm the others, unless they refer to it. Nix compares hash and
 * size, and a path that is valid already is left as it is.
 */
/* @info is not needed afterwards. BL_E_INPUT: it cannot be; nothing was begun. */
int bl_daemon_add_begin(struct bl_daemon *d, const struct bl_path_info *info,
			struct bl_err *err) BL_MUST_CHECK;
/* BL_E_INPUT: more than info->nar_size; nothing of it is sent. */
int bl_daemon_add_data(struct bl_daemon *d, const void *data, size_t len,
		       struct bl_err *err) BL_MUST_CHECK;
/* BL_E_INPUT: less than info->nar_size; the path is still begun, add_cancel ends it. */
int bl_daemon_add_end(struct bl_daemon *d, struct bl_err *err) BL_MUST_CHECK;
/*
 * Gives up the path that is begun, if one is, and leaves the connection in order: the daemon
 * finds an archive that is cut off, registers nothing, and says so to spec->added as it does of
 * others that fail. (That it is valid it says where it was before, or where all the bytes had
 * come and were right.)
 */
int bl_daemon_add_cancel(struct bl_daemon *d, struct bl_err *err) BL_MUST_CHECK;
/* Waits until the outcome of each path is told. That some failed is no failure here. */
int bl_daemon_finish(struct bl_daemon *d, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_daemon_closep(struct bl_daemon **d)
{
	bl_daemon_close(*d);
	*d = NULL;
}
#define bl_autodaemon __attribute__((cleanup(bl_daemon_closep)))

#endif
