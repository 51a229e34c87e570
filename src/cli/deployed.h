/* SPDX-License-Identifier: MIT */
/*
 * What was deployed last, kept from this machine's garbage collection: the next system of a
 * host is told by it, which takes a small part of the bytes.
 */
#ifndef BELAY_CLI_DEPLOYED_H
#define BELAY_CLI_DEPLOYED_H

#include "fleet/fleet.h"

/*
 * From now on, and instead of what was kept for it before, the system of each of the @n @nodes
 * is kept by a link with the node's name in the folder "deployed" of belay's own; what is not
 * on this machine is passed over. Fails with BL_E_SYS or as store/daemon.h says; then some may
 * be kept.
 */
int bl_keep_deployed(const struct bl_node *const *nodes, size_t n,
		     struct bl_err *err) BL_MUST_CHECK;

#endif
