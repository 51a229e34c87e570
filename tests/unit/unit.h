/* SPDX-License-Identifier: MIT */
/* What every unit test includes: cmocka in the order it wants, and our checks. */
#ifndef BELAY_TESTS_UNIT_H
#define BELAY_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

/* The call failed with that code and exactly that message. */
#define assert_fails(call, err, want_code, want_msg)         \
	do {                                                 \
		assert_int_equal((call), -1);                \
		assert_int_equal((err)->code, (want_code));  \
		assert_string_equal((err)->msg, (want_msg)); \
	} while (0)

/* The call went well; otherwise its message is shown. */
#define assert_works(call, err)                                \
	do {                                                   \
		if ((call) < 0)                                \
			fail_msg("%s: %s", #call, (err)->msg); \
	} while (0)

/* A small generator (splitmix64), so that a printed seed repeats a run. */
static inline uint64_t unit_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15U);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

#endif
