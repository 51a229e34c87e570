/* SPDX-License-Identifier: MIT */
/*
 * Questions to a Nix daemon, many in one burst: which paths are valid, what is known of them,
 * and keeping them from the garbage collector. How they fail stands in store/daemon.h. While a
 * path is being added they are BL_E_USAGE; between two paths they may be asked, and what became
 * of those before is told first.
 */
#ifndef BELAY_STORE_QUERY_H
#define BELAY_STORE_QUERY_H

#include "store/daemon.h"

/*
 * Keeps @paths from the garbage collector until the connection is closed; they need not be
 * valid yet. Ask which are valid after that, not before. Paths that are added have it anyway.
 */
int bl_query_temp_roots(struct bl_daemon *d, const struct bl_strv *paths,
			struct bl_err *err) BL_MUST_CHECK;
/*
 * Keeps what each of @links (symbolic links, absolute) leads to from the garbage collector, as
 * long as the link is there and leads to it.
 */
int bl_query_indirect_roots(struct bl_daemon *d, const struct bl_strv *links,
			    struct bl_err *err) BL_MUST_CHECK;
/* out_valid[i] says whether paths->items[i] is valid; the caller has room for all. */
int bl_query_valid(struct bl_daemon *d, const struct bl_strv *paths, bool *out_valid,
		   struct bl_err *err) BL_MUST_CHECK;
/*
 * What is not in @known of @tops and of all that they refer to through such paths, in any
 * order; @known borrows none of it. NULL: nothing is known.
 */
int bl_query_rest(struct bl_daemon *d, const struct bl_strv *tops, const struct bl_index *known,
		  struct bl_path_infos *out, struct bl_err *err) BL_MUST_CHECK;
/*
 * @tops and all that they refer to, directly or not, each once, references before those who
 * refer to them. BL_E_FAILED names a path that is not valid.
 */
int bl_query_closure(struct bl_daemon *d, const struct bl_strv *tops, struct bl_path_infos *out,
		     struct bl_err *err) BL_MUST_CHECK;
/*
 * Has the daemon fetch @paths, with what they refer to, from the caches it knows.
 * out_valid[i] says whether paths->items[i] is valid then: that one cannot be had is no
 * failure.
 */
int bl_query_substitute(struct bl_daemon *d, const struct bl_strv *paths, bool *out_valid,
			struct bl_err *err) BL_MUST_CHECK;

#endif
