/* SPDX-License-Identifier: MIT */
/* Words that every file may use: attributes, ownership, allocation. */
#ifndef BELAY_BASE_BASE_H
#define BELAY_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_MUST_CHECK      __attribute__((warn_unused_result))
#define BL_PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))
#define BL_NORETURN        __attribute__((noreturn))
#define BL_UNUSED          __attribute__((unused))
#define BL_COUNT(a)        (sizeof(a) / sizeof((a)[0]))

#define bl_autofree __attribute__((cleanup(bl_freep)))
#define bl_autofd   __attribute__((cleanup(bl_closep))) /* closes once, never again on EINTR */
#define BL_STEAL(p)                     \
	({                              \
		__typeof__(p) v_ = (p); \
		(p) = NULL;             \
		v_;                     \
	})
#define BL_STEAL_FD(fd)        \
	({                     \
		int v_ = (fd); \
		(fd) = -1;     \
		v_;            \
	})
#define BL_AUTO(type) __attribute__((cleanup(type##_autop))) struct type

#ifdef __APPLE__
/* As string.h has it elsewhere; see compat-darwin.c. */
void explicit_bzero(void *p, size_t len);
#endif

void bl_freep(void *p);
void bl_closep(int *fd);

/*
 * Allocators that never return NULL: out of memory ends the program. In the CLI that is a
 * clean failure; the agent's keeper is started again by PID 1 and then rolls back.
 * The caller owns what they return: free().
 */
void *bl_xcalloc(size_t n, size_t size);
void *bl_xrealloc(void *p, size_t n, size_t size);
char *bl_xstrdup(const char *s);
char *bl_xstrndup(const char *s, size_t len);
char *bl_xprintf(const char *fmt, ...) BL_PRINTF(1, 2);

/* Frees @*slot and puts a copy of @s (which may be NULL) there. */
void bl_replace_str(char **slot, const char *s);

#endif
