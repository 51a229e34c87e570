/* SPDX-License-Identifier: MIT */
/*
 * The agent's way to a host that has none: the user's `nix copy`, on the work connection. What
 * moves closures (copy/send.h) needs an agent there.
 */
#ifndef BELAY_COPY_COPY_H
#define BELAY_COPY_COPY_H

#include "fleet/fleet.h"
#include "host/session.h"

struct bl_copy;

struct bl_copy_spec {
	const struct bl_node *node;
	const struct bl_session *session; /* the work connection */
	const char *control;              /* its control socket */
	const char *path; /* whose closure is to be valid there; borrowed for the call */
	/* last of all; @what NULL when it is valid on the host now */
	void (*done)(void *ctx, const char *what, const char *remedy);
	void *ctx;
};

int bl_copy_start(uv_loop_t *loop, const struct bl_copy_spec *spec, struct bl_copy **out,
		  struct bl_err *err) BL_MUST_CHECK;
/*
 * A URL for Nix whose host is a name for people: the way there is the control socket.
 * `localhost` without a user would not be ssh for Nix, hence the user. @elevated: Nix on the
 * host has to become root first. A new string.
 */
char *bl_copy_url(const struct bl_node *node, bool elevated);
/* As bl_ssh_explain, for what a copying Nix @said. */
void bl_copy_explain(const char *said, int status, char **out_what, char **out_remedy);
/* Stops it; no callback follows. NULL is fine. */
void bl_copy_drop(struct bl_copy *c);

#endif
