/* SPDX-License-Identifier: MIT */
/* The login that a process belongs to. Linux only. */
#ifndef BELAY_BASE_LOGIN_H
#define BELAY_BASE_LOGIN_H

#include "base/err.h"

/*
 * When the ssh connection that process @pid belongs to began (CLOCK_BOOTTIME, ns), found at the
 * nearest ancestor that is an sshd: a channel of an old connection has an old one.
 * BL_E_REFUSED when there is none. Source: proc_pid_stat(5), fields 4 and 22.
 */
int bl_session_start(int pid, int64_t *out_ns, struct bl_err *err) BL_MUST_CHECK;
/* One stat file: parent and start time in clock ticks. */
int bl_parse_stat(const char *text, int *out_ppid, uint64_t *out_ticks, char comm[32],
		  struct bl_err *err) BL_MUST_CHECK;

#endif
