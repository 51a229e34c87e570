/* SPDX-License-Identifier: MIT */
/*
 * The contents of pieces, each made once for all hosts: threads make them into a file without
 * a name, hosts read them from it as fast as each of them can.
 */
#ifndef BELAY_COPY_SPOOL_H
#define BELAY_COPY_SPOOL_H

#include "copy/make.h"

#include <uv.h>

struct bl_spool;
struct bl_spooled; /* one content */

struct bl_spool_spec {
	const char *dir;      /* where the file lies */
	uint64_t limit_bytes; /* what nobody reads at the moment is dropped beyond it */
	/* something was made, or failed; in the loop's thread */
	void (*news)(void *ctx);
	void *ctx;
};

/* BL_E_SYS: no file there. The caller owns @out: bl_spool_free(), which waits for the threads.
 */
int bl_spool_new(uv_loop_t *loop, const struct bl_spool_spec *spec, struct bl_spool **out,
		 struct bl_err *err) BL_MUST_CHECK;
void bl_spool_free(struct bl_spool *s); /* NULL is fine */

/*
 * The content with @piece's key, which is made as @m says where it is not there, being made or
 * waiting to be. The store paths that @m borrows have to stay until the spool is freed, its
 * lists are copied; what it says of the level counts for who asks first. The caller gives the
 * content back with bl_spool_drop().
 */
struct bl_spooled *bl_spool_get(struct bl_spool *s, const struct bl_load_piece *piece,
				const struct bl_make *m);
void bl_spool_drop(struct bl_spool *s, struct bl_spooled *c);

/* The kind it became; false: that is not known yet. */
bool bl_spooled_head(const struct bl_spooled *c, struct bl_delta_head *out);
/*
 * Bytes of it from @at on, at most @max, as far as they are there: 0 and @out_over: that is its
 * end. What it could not be made for fails it, with the store path.
 */
int bl_spooled_read(const struct bl_spooled *c, uint64_t at, void *buf, size_t max,
		    size_t *out_len, bool *out_over, struct bl_err *err) BL_MUST_CHECK;

#endif
