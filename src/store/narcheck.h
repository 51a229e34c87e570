/* SPDX-License-Identifier: MIT */
/* Whether a stream of bytes is one of Nix's archives, within the limits of store/nar.h. */
#ifndef BELAY_STORE_NARCHECK_H
#define BELAY_STORE_NARCHECK_H

#include "store/nar.h"

/*
 * Whether bytes that come in pieces are one archive, whole and in the only form that Nix
 * writes: padding is zero, names are in order, `contents` is always there. It allocates
 * nothing. Begin with { 0 }; after a failure it stays failed.
 */
struct bl_nar_check {
	uint64_t size; /* bytes seen so far */
	int state;
	size_t depth;  /* of the node that is being read; the root has 0 */
	unsigned pad;  /* bytes of padding still to come */
	unsigned got;  /* bytes of the length that are there */
	bool in_text;  /* the length is known */
	uint64_t len;  /* of the string that is being read */
	uint64_t left; /* bytes of it still to come */
	char text[BL_NAR_TARGET_MAX + 1];
	char last[BL_NAR_DEPTH][BL_NAR_NAME_MAX + 1]; /* the name before, in each folder */
};

/* BL_E_INPUT: this cannot be an archive, for the reason that is told with the place. */
int bl_nar_check_feed(struct bl_nar_check *c, const void *data, size_t len,
		      struct bl_err *err) BL_MUST_CHECK;
/* BL_E_INPUT: there had to be more. */
int bl_nar_check_end(const struct bl_nar_check *c, struct bl_err *err) BL_MUST_CHECK;

#endif
