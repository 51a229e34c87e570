/* SPDX-License-Identifier: MIT */
/* Log lines on stderr: a message for people, under systemd with its priority prefix. */
#ifndef BELAY_BASE_LOG_H
#define BELAY_BASE_LOG_H

#include "base/base.h"

enum bl_level { BL_LOG_ERR = 3, BL_LOG_WARN = 4, BL_LOG_INFO = 6, BL_LOG_DEBUG = 7 };

/* What is less important than @max is not printed. @prefix_priority: "<N>" as journald reads.
 */
void bl_log_setup(enum bl_level max, bool prefix_priority);
void bl_log(enum bl_level level, const char *fmt, ...) BL_PRINTF(2, 3);

#endif
