/* SPDX-License-Identifier: MIT */
/*
 * A conversation with belay-agent over one ssh connection: the work connection that a
 * deployment keeps, or a fresh one that runs `confirm`.
 */
#ifndef BELAY_HOST_SESSION_H
#define BELAY_HOST_SESSION_H

#include "fleet/fleet.h"
#include "host/proc.h"
#include "wire/msg.h"

struct bl_session;

struct bl_session_events {
	/* the host has no agent yet; @machine as `uname -m` says. Then bl_session_go. */
	void (*need_agent)(void *ctx, const char *machine);
	void (*msg)(void *ctx, const struct bl_msg *msg);
	/* frames of wire/copy.h, when somebody copies; NULL: they are not expected */
	void (*frame)(void *ctx, const struct bl_frame *frame);
	/* what was sent has gone into the connection; NULL: nobody waits for that */
	void (*drained)(void *ctx);
	/* the connection is over; last of all. @what and @remedy are for people. */
	void (*gone)(void *ctx, const char *what, const char *remedy);
};

/*
 * The work connection: master of the control socket @control, running the agent @agent for
 * @system_new (garbage roots; "" for none). @node, @events are borrowed.
 */
int bl_session_work(uv_loop_t *loop, const struct bl_node *node, const char *control,
		    const char *agent, const char *system_new,
		    const struct bl_session_events *events, void *ctx, struct bl_session **out,
		    struct bl_err *err) BL_MUST_CHECK;
/* A fresh connection that no multiplexing reaches, running `confirm @epoch` of @agent. */
int bl_session_fresh_start(uv_loop_t *loop, const struct bl_node *node, const char *agent,
			   uint64_t epoch, unsigned connect_timeout_s,
			   const struct bl_session_events *events, void *ctx,
			   struct bl_session **out, struct bl_err *err) BL_MUST_CHECK;

void bl_session_go(struct bl_session *s); /* the agent is there now */
void bl_session_send(struct bl_session *s, enum bl_msg_type type, const struct bl_kv *kv);
/* A frame of wire/copy.h. */
void bl_session_send_frame(struct bl_session *s, uint16_t type, const void *payload,
			   size_t len);
/* Bytes that were sent and have not gone into the connection yet. */
size_t bl_session_queued(const struct bl_session *s);
/* Whether the login is not root's and has become root, so that Nix on the host has to as well.
 */
bool bl_session_elevated(const struct bl_session *s);
/* From within gone(): whether it was the connection that ended, and not what is at its end. */
bool bl_session_was_cut(const struct bl_session *s);
/* Whether any byte of the agent came over it. */
bool bl_session_heard(const struct bl_session *s);
/* Ends it without a word; no callback follows. NULL is fine. */
void bl_session_drop(struct bl_session *s);

#endif
