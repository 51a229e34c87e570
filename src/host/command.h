/* SPDX-License-Identifier: MIT */
/* One command on a host, beside what its agent does: for looking, never for changing its
 * system. */
#ifndef BELAY_HOST_COMMAND_H
#define BELAY_HOST_COMMAND_H

#include "fleet/fleet.h"

/*
 * Runs the POSIX shell @script as root with @args as $2, $3, ... over a fresh connection (or
 * here, where the node is local), within @limit_ms, and gives its stdout. With @merged that
 * holds its stderr too, and its status is no failure but @out_status. Fails with what ssh or
 * the script said; the caller frees @out_text.
 */
int bl_host_command(const struct bl_node *node, const char *script, const char *const *args,
		    int64_t limit_ms, int *out_status, char **out_text,
		    struct bl_err *err) BL_MUST_CHECK;

/* One host's command among those of several hosts. */
struct bl_host_call {
	const struct bl_node *node;
	const char *const *args;
	const char *input; /* for its stdin, which does not end behind it; NULL: nothing */
	char *text;        /* what it printed, the caller's; NULL when it failed */
	/* why: BL_E_UNREACHABLE or _TIMEOUT, BL_E_FAILED where the script itself failed */
	struct bl_err err;
};

/*
 * Runs @script on the hosts of all @n calls, at most @parallel at once, as bl_host_command
 * does, each within @limit_ms. What one host does is in its call, and stops no other.
 */
int bl_host_commands(struct bl_host_call *calls, size_t n, const char *script, size_t parallel,
		     int64_t limit_ms, struct bl_err *err) BL_MUST_CHECK;

#endif
