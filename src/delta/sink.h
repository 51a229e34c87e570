/* SPDX-License-Identifier: MIT */
/* Where the streams of this room put what they make. */
#ifndef BELAY_DELTA_SINK_H
#define BELAY_DELTA_SINK_H

#include "base/err.h"

/* No call of put() gets more than that from the encoder and the decoder. */
#define BL_DELTA_CHUNK 65536

struct bl_sink {
	/* Takes all of @data, which is the caller's and gone when it returns. -1 ends the
	 * stream, which then fails with what put() says in @err. */
	int (*put)(void *arg, const uint8_t *data, size_t len, struct bl_err *err);
	void *arg;
};

static inline int bl_sink_put(const struct bl_sink *s, const uint8_t *data, size_t len,
			      struct bl_err *err)
{
	return len > 0 ? s->put(s->arg, data, len, err) : 0;
}

#endif
