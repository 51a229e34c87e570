/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void bl_err_set_(struct bl_err *e, enum bl_errc code, int sys_errno, const char *fmt, ...)
{
	if (!e)
		return;
	va_list ap;
	e->code = code;
	e->sys_errno = sys_errno;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (sys_errno) {
		/* a name that fills everything makes room for the reason */
		const char *reason = strerror(sys_errno);
		size_t len = strlen(e->msg);
		size_t room = sizeof(e->msg) - strlen(reason) - sizeof(": ");
		if (len > room)
			len = room;
		snprintf(e->msg + len, sizeof(e->msg) - len, ": %s", reason);
	}
}

void bl_err_wrap_(struct bl_err *e, const char *fmt, ...)
{
	if (!e)
		return;
	char outer[sizeof(e->msg)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(outer, sizeof(outer), fmt, ap);
	va_end(ap);
	/* The cause is worth more than the place: it is kept whole, the outer part is cut. */
	size_t cause = strlen(e->msg);
	size_t room = sizeof(e->msg) - 1 - cause;
	if (room < 3)
		return;
	size_t take = strlen(outer);
	if (take > room - 2)
		take = room - 2;
	memmove(e->msg + take + 2, e->msg, cause + 1);
	memcpy(e->msg, outer, take);
	memcpy(e->msg + take, ": ", 2);
}
