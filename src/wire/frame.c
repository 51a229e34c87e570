/* SPDX-License-Identifier: MIT */
#include "wire/frame.h"

#include <assert.h>

void bl_frame_put(struct bl_buf *out, uint16_t type, const void *payload, size_t len)
{
	assert(len <= BL_FRAME_MAX);
	uint8_t head[BL_FRAME_HEAD] = {
		(uint8_t)len,
		(uint8_t)(len >> 8),
		(uint8_t)(len >> 16),
		(uint8_t)(len >> 24),
		(uint8_t)type,
		(uint8_t)(type >> 8),
		0,
		0,
	};
	bl_buf_append(out, head, sizeof(head));
	bl_buf_append(out, payload, len);
}

int bl_frame_take(const char *data, size_t len, struct bl_frame *out, struct bl_err *err)
{
	const uint8_t *h = (const uint8_t *)data;
	if (len < BL_FRAME_HEAD)
		return 0;
	size_t size =
		(size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
	if (h[6] || h[7] || size > BL_FRAME_MAX)
		return bl_err_set(err, BL_E_INPUT,
				  "the other end does not speak belay's frames (length %zu)",
				  size);
	if (len < BL_FRAME_HEAD + size)
		return 0;
	*out = (struct bl_frame){
		.type = (uint16_t)(h[4] | h[5] << 8),
		.payload = data + BL_FRAME_HEAD,
		.len = size,
		.used = BL_FRAME_HEAD + size,
	};
	return 1;
}
