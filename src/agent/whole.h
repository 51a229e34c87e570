/* SPDX-License-Identifier: MIT */
/*
 * Whether a copy that a power cut may have hit is whole. Nix does not flush what it writes:
 * after such an end its database may call valid what is full of holes (NixOS/nix#11457). A mark
 * lies on the disk from before a copy until the store was flushed behind it.
 */
#ifndef BELAY_AGENT_WHOLE_H
#define BELAY_AGENT_WHOLE_H

#include "base/err.h"

/* A copy may follow: the mark, with this boot's id, durable. An older mark stays. */
void bl_whole_begin(void);
/* The store was flushed: the mark goes. */
void bl_whole_end(void);
/*
 * Where the mark is of another boot, every path of @system_new's closure is hashed by Nix (of
 * @system); BL_E_FAILED names what is damaged. 0 at once where the mark is of this boot, or
 * none.
 */
int bl_whole_check(const char *system, const char *system_new,
		   struct bl_err *err) BL_MUST_CHECK;

#endif
