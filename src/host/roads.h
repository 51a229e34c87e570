/* SPDX-License-Identifier: MIT */
/*
 * Which hosts are the road to others: ssh itself is asked (`ssh -G`), whose configuration may
 * say ProxyJump in many ways.
 */
#ifndef BELAY_HOST_ROADS_H
#define BELAY_HOST_ROADS_H

#include "base/buf.h"
#include "fleet/fleet.h"

/* A destination as ssh knows it. */
struct bl_place {
	char *name;         /* without user and port */
	char *hostname;     /* what it stands for, NULL: not known (yet) */
	char *port;         /* the same */
	struct bl_strv via; /* the destinations on the way there, as they were written */
};

void bl_place_free(struct bl_place *p);
/* Takes from the output of `ssh -G` what it says of @p. */
void bl_place_read(struct bl_place *p, const char *text);
/* The name in "[ssh://][user@]name[:port]", also "[::1]:22"; a new string. */
char *bl_place_name(const char *destination);

/*
 * Of the first @n_nodes of @n places: sets in @out 0 for each that no other of them is reached
 * through, else a number from 1: a road that is reached through another one has the lower
 * number.
 */
void bl_roads_number(const struct bl_place *places, size_t n, size_t n_nodes, unsigned *out);

/*
 * The same for @nodes, asking ssh about each of them and about what they name, @limit_ms for
 * all of it. In @unknown come the names of those it said nothing about: their ways are not
 * known.
 */
int bl_roads_find(const struct bl_node *const *nodes, size_t n, int64_t limit_ms, unsigned *out,
		  struct bl_buf *unknown, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_place_autop(struct bl_place *p)
{
	bl_place_free(p);
}

#endif
