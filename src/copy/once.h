/* SPDX-License-Identifier: MIT */
/* Copying one closure to one host, for what is no deployment. */
#ifndef BELAY_COPY_ONCE_H
#define BELAY_COPY_ONCE_H

#include "fleet/fleet.h"

/*
 * Makes the closure of @path valid on @node, over a connection of its own, without a word.
 * Nothing is rooted there, and nothing is copied where the node is local. Its agent has to be
 * known, and is copied too. Fails with what ssh, Nix or the agent said; then a part of the
 * closure may be there.
 */
int bl_copy_once(const struct bl_node *node, const char *path,
		 struct bl_err *err) BL_MUST_CHECK;

#endif
