/* SPDX-License-Identifier: MIT */
/* The checker of archives: pieces of any size say the same, and what is good is so only once.
 */
#include "store/narcheck.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(const uint8_t *data, size_t size, size_t piece, uint64_t *out_seen)
{
	bl_autofree struct bl_nar_check *c = bl_xcalloc(1, sizeof(*c));
	struct bl_err err = { 0 };
	int rc = 0;
	for (size_t at = 0; at < size && rc == 0; at += piece)
		rc = bl_nar_check_feed(c, data + at, size - at < piece ? size - at : piece,
				       &err);
	*out_seen = c->size;
	if (rc == 0)
		rc = bl_nar_check_end(c, &err);
	assert(c->depth < BL_NAR_DEPTH || rc < 0);
	assert(rc == 0 || (err.code == BL_E_INPUT && err.msg[0]));
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seen = 0;
	int whole = check(data, size, size + 1, &seen);
	static const size_t pieces[] = { 1, 3, 8, 61 };
	for (size_t i = 0; i < BL_COUNT(pieces); i++) {
		uint64_t at = 0;
		int rc = check(data, size, pieces[i], &at);
		assert(rc == whole && at == seen);
	}
	if (whole == 0) {
		assert(seen == size && size % 8 == 0);
		/* the beginning of one is none */
		assert(check(data, size - 8, 4096, &seen) < 0);
	}
	return 0;
}
