/* SPDX-License-Identifier: MIT */
/* One error value for everything that can fail: a plain struct, no allocation. */
#ifndef BELAY_BASE_ERR_H
#define BELAY_BASE_ERR_H

#include "base/base.h"

enum bl_errc {
	BL_E_NONE = 0,
	BL_E_SYS,   /* the system said no: sys_errno */
	BL_E_USAGE, /* the caller or the user asked for something that cannot be */
	BL_E_INPUT, /* bytes from elsewhere are not what they should be */
	BL_E_TIMEOUT,
	BL_E_UNREACHABLE, /* a host did not answer */
	BL_E_REFUSED,     /* a host said no and changed nothing */
	BL_E_FAILED,      /* another program failed */
};

struct bl_err {
	enum bl_errc code;
	int sys_errno; /* 0 unless code is BL_E_SYS */
	char msg[512]; /* "outer: inner: cause"; when full, the outer part is cut */
};

void bl_err_set_(struct bl_err *e, enum bl_errc code, int sys_errno, const char *fmt, ...)
	BL_PRINTF(4, 5);
void bl_err_wrap_(struct bl_err *e, const char *fmt, ...) BL_PRINTF(2, 3);

/* The -1 is inline, so that compilers and analysers see in the caller that these fail. */
static inline int bl_neg_(void)
{
	return -1;
}

/* Fill @e (which may be NULL) and give -1, so that `return bl_err_set(...)` reads as one step.
 */
#define bl_err_set(e, code, ...)   (bl_err_set_(e, code, 0, __VA_ARGS__), bl_neg_())
#define bl_err_sys(e, errnum, ...) (bl_err_set_(e, BL_E_SYS, errnum, __VA_ARGS__), bl_neg_())
#define bl_err_wrap(e, ...)        (bl_err_wrap_(e, __VA_ARGS__), bl_neg_())

#endif
