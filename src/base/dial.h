/* SPDX-License-Identifier: MIT */
/*
 * Connecting to several addresses at once without waiting: one that is filtered must not hide
 * one that answers. Nothing is sent.
 */
#ifndef BELAY_BASE_DIAL_H
#define BELAY_BASE_DIAL_H

#include "base/base.h"

#include <sys/socket.h>

#define BL_DIAL_MAX 8 /* more addresses are left out */

struct bl_dial {
	int fds[BL_DIAL_MAX];
	size_t n;
	char why[128]; /* what the last one that failed said */
};

enum bl_dial_state { BL_DIAL_PENDING, BL_DIAL_OPEN, BL_DIAL_FAILED };

/* Begins one more. */
void bl_dial_add(struct bl_dial *d, const struct sockaddr *to, socklen_t len);
/* Waits up to @wait_ms for news. FAILED: none is left; why says something about the last. */
enum bl_dial_state bl_dial_step(struct bl_dial *d, int wait_ms);
void bl_dial_close(struct bl_dial *d);

/* Fills @to from a numeric address; 0 when @text is none. */
socklen_t bl_dial_address(const char *text, uint32_t port, struct sockaddr_storage *to);

static inline void bl_dial_autop(struct bl_dial *d)
{
	bl_dial_close(d);
}

#endif
