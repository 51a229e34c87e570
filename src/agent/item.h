/* SPDX-License-Identifier: MIT */
/* One line of the preflight: what was looked at, how it is, and what helps. */
#ifndef BELAY_AGENT_ITEM_H
#define BELAY_AGENT_ITEM_H

enum bl_item_level {
	BL_ITEM_OK,
	BL_ITEM_WARNING, /* something that can happen is not covered here: no reason to refuse
			  */
	BL_ITEM_FAILED,
};

/* Where the items go. @text says what was seen; @remedy what helps, "" when nothing need be. */
struct bl_items {
	void (*put)(void *ctx, const char *name, enum bl_item_level level, const char *text,
		    const char *remedy);
	void *ctx;
};

#endif
