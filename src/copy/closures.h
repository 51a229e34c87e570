/* SPDX-License-Identifier: MIT */
/*
 * Closures of this machine, for those who send them and those who are told by them: read in a
 * thread, one at a time and once for all, and gone when nobody uses them any more.
 */
#ifndef BELAY_COPY_CLOSURES_H
#define BELAY_COPY_CLOSURES_H

#include "copy/local.h"
#include "store/sign.h"

struct bl_closures;

struct bl_closure {
	struct bl_strv tops;
	bool ready;            /* only then the next two are of use */
	struct bl_err err;     /* BL_E_NONE: it was read */
	struct bl_local local; /* what it consists of stays as long as all closures do */
	/* the rest is closures.c's */
	struct bl_closures *all;
	struct bl_closure *next;
	char **sigs; /* of each path the signature that was made for it; NULL: none */
	uv_mutex_t signing;
	uv_work_t work;
	bool begun, expected;
	unsigned users;
};

/* @news is called in the loop's thread when one is ready. The caller owns @out:
 * bl_closures_free(). */
int bl_closures_new(uv_loop_t *loop, void (*news)(void *ctx), void *ctx,
		    struct bl_closures **out, struct bl_err *err) BL_MUST_CHECK;
/* Nothing more is begun, and what can be is called off. */
void bl_closures_stop(struct bl_closures *all);
/* With all closures; runs the loop until the one that is being read is. NULL is fine. */
void bl_closures_free(struct bl_closures *all);

/* Begins to read the closure of @tops, which somebody is going to want; they are copied. */
void bl_closures_expect(struct bl_closures *all, const struct bl_strv *tops);
/* The same, which stays until it is let go. */
struct bl_closure *bl_closures_get(struct bl_closures *all, const struct bl_strv *tops);
/* NULL is fine. */
void bl_closure_let_go(struct bl_closure *c);

/*
 * Signs those of @c's infos whose places @order has, as far as nobody has before. In any
 * thread: of several that want the same, the first one makes them, and the others wait.
 */
void bl_closure_sign(struct bl_closure *c, const struct bl_sign_key *key, const uint32_t *order,
		     size_t n);
/* What bl_closure_sign() made for the info at @place, or NULL. */
char *bl_closure_sig(const struct bl_closure *c, uint32_t place);

#endif
