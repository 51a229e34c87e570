/* SPDX-License-Identifier: MIT */
/* Hosts that are reached at one of several addresses. */
#ifndef BELAY_HOST_ADDRESS_H
#define BELAY_HOST_ADDRESS_H

#include "fleet/fleet.h"

/*
 * Of a node with addresses: the first one that takes a connection on ssh's port within two
 * seconds, or the first of all, where none does or the way leads over another host. It becomes
 * the node's HostName for ssh, which looks for the host's key under the name in `host`. Does
 * nothing for a node without addresses.
 */
void bl_address_choose(struct bl_node *node);

#endif
