/* SPDX-License-Identifier: MIT */
/*
 * Sending closures to hosts, over the connections that their agents listen at: what each of
 * them lacks, told by what it has where that is shorter, and made once for all of them.
 */
#ifndef BELAY_COPY_SEND_H
#define BELAY_COPY_SEND_H

#include "host/session.h"
#include "ui/copystats.h"

#include <uv.h>

struct bl_sign_key;

/* What the hosts of a run share. */
struct bl_engine;

struct bl_engine_spec {
	const char *dir;       /* for the file of what is to be sent; only while it runs */
	int level;             /* of zstd, 1 to 19; 0: none; BL_ENGINE_ADAPTS */
	uint64_t memory_bytes; /* for a piece and its base together; 0: the default */
	/* what is sent is signed with it; borrowed. NULL: the signatures that there are go
	 * along */
	const struct bl_sign_key *sign;
};

#define BL_ENGINE_ADAPTS (-1)

/* Threads of libuv's that an engine keeps busy. */
unsigned bl_engine_threads(void);

/* The caller owns @out: bl_engine_free(), when all of its sends have ended or were dropped. */
int bl_engine_new(uv_loop_t *loop, const struct bl_engine_spec *spec, struct bl_engine **out,
		  struct bl_err *err) BL_MUST_CHECK;
void bl_engine_free(struct bl_engine *e); /* NULL is fine */

/* Begins to read the closure of @tops, which somebody is going to send; they are copied. */
void bl_engine_expect(struct bl_engine *e, const struct bl_strv *tops);

/*
 * Who was cut off while it was sent something is connected to again so many times in a row; a
 * connection that lasted for so long begins the row anew: a line that breaks now and then is no
 * reason to give up.
 */
#define BL_SEND_RECONNECTS 6
#define BL_SEND_STEADY_NS  (300 * BL_NS_PER_S)

struct bl_send; /* one closure to one host */

/* Nothing of the engine's may be dropped from within line() and progress(). */
struct bl_send_spec {
	struct bl_session *session; /* whose msg(), frame() and drained() are passed on */
	const struct bl_strv *tops; /* store paths; copied */
	/* what an earlier connection came to that was cut, see bl_send_stats(); NULL: none. Its
	 * bytes are counted too */
	const struct bl_copy_stats *before;
	bool substitute; /* the host fetches first what its caches have */
	/* a line that the host's Nix, or belay, says about it */
	void (*line)(void *ctx, const char *text);
	/* now and then */
	void (*progress)(void *ctx, const struct bl_copy_stats *stats);
	/* last of all; @what NULL when every path is valid on the host now */
	void (*done)(void *ctx, const struct bl_copy_stats *stats, const char *what,
		     const char *remedy);
	void *ctx;
};

void bl_send_start(struct bl_engine *e, const struct bl_send_spec *spec, struct bl_send **out);
/* What came over its session, until done(). */
void bl_send_msg(struct bl_send *s, const struct bl_msg *m);
void bl_send_frame(struct bl_send *s, const struct bl_frame *f);
void bl_send_drained(struct bl_send *s);
/* So far. */
const struct bl_copy_stats *bl_send_stats(const struct bl_send *s);
/* Stops it; no callback follows. The session has to go too. NULL is fine. */
void bl_send_drop(struct bl_send *s);

#endif
