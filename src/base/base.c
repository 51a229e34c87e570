/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bl_freep(void *p)
{
	void **slot = p;
	free(*slot);
	*slot = NULL;
}

void bl_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void *checked(void *p)
{
	if (!p) {
		static const char msg[] = "belay: out of memory\n";
		if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
			_exit(1);
		abort();
	}
	return p;
}

void *bl_xcalloc(size_t n, size_t size)
{
	return checked(calloc(n ? n : 1, size ? size : 1));
}

void *bl_xrealloc(void *p, size_t n, size_t size)
{
	size_t total = 0;
	if (__builtin_mul_overflow(n, size, &total))
		return checked(NULL);
	return checked(realloc(p, total ? total : 1));
}

char *bl_xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *bl_xstrndup(const char *s, size_t len)
{
	return checked(strndup(s, len));
}

char *bl_xprintf(const char *fmt, ...)
{
	va_list ap;
	char *out = NULL;
	va_start(ap, fmt);
	int n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return checked(n < 0 ? NULL : out);
}

void bl_replace_str(char **slot, const char *s)
{
	char *copy = s ? bl_xstrdup(s) : NULL;
	free(*slot);
	*slot = copy;
}
