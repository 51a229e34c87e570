/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum bl_level max_level = BL_LOG_WARN;
static bool priorities;

void bl_log_setup(enum bl_level max, bool prefix_priority)
{
	max_level = max;
	priorities = prefix_priority;
}

void bl_log(enum bl_level level, const char *fmt, ...)
{
	if (level > max_level)
		return;
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	BL_AUTO(bl_buf) line = { 0 };
	if (priorities)
		bl_buf_printf(&line, "<%d>", (int)level);
	bl_buf_put_visible(&line, text, (size_t)n);
	bl_buf_putc(&line, '\n');
	free(text);
	/* one write: lines of several processes do not mix */
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		return;
}
