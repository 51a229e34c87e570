/* SPDX-License-Identifier: MIT */
#include "delta/frame.h"

#include <assert.h>
#include <inttypes.h>

static void put_number(uint64_t v, uint8_t *out)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_number(const uint8_t *p)
{
	uint64_t v = 0;
	for (size_t i = 8; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

void bl_delta_head_put(const struct bl_delta_head *h, uint8_t out[BL_DELTA_HEAD_LEN])
{
	out[0] = (uint8_t)h->kind;
	put_number(h->size_bytes, out + 1);
	put_number(h->base_at, out + 9);
	put_number(h->base_bytes, out + 17);
}

static bool has_base(enum bl_delta_kind kind)
{
	return kind == BL_DELTA_PATCH || kind == BL_DELTA_COPY;
}

int bl_delta_head_check(const struct bl_delta_head *h, struct bl_err *err)
{
	if ((unsigned)h->kind > BL_DELTA_COPY)
		return bl_err_set(err, BL_E_INPUT, "a frame of kind %u", (unsigned)h->kind);
	if (h->size_bytes > BL_DELTA_SIZE_MAX || h->base_at > BL_DELTA_SIZE_MAX ||
	    h->base_bytes > BL_DELTA_SIZE_MAX)
		return bl_err_set(err, BL_E_INPUT, "a frame of more than %llu bytes",
				  BL_DELTA_SIZE_MAX);
	if (!has_base(h->kind) && (h->base_at > 0 || h->base_bytes > 0))
		return bl_err_set(err, BL_E_INPUT, "a frame with a base that it does not use");
	if (h->kind == BL_DELTA_PATCH && h->base_bytes == 0)
		return bl_err_set(err, BL_E_INPUT, "a patch without a base");
	if (h->kind == BL_DELTA_COPY && h->base_bytes != h->size_bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a copy of %" PRIu64 " bytes with a base of %" PRIu64,
				  h->size_bytes, h->base_bytes);
	return 0;
}

int bl_delta_head_parse(const uint8_t *data, size_t len, struct bl_delta_head *out,
			struct bl_err *err)
{
	if (len != BL_DELTA_HEAD_LEN)
		return bl_err_set(err, BL_E_INPUT, "a frame's head of %zu bytes", len);
	if (data[0] > BL_DELTA_COPY)
		return bl_err_set(err, BL_E_INPUT, "a frame of kind %u", data[0]);
	struct bl_delta_head h = { .kind = (enum bl_delta_kind)data[0],
				   .size_bytes = get_number(data + 1),
				   .base_at = get_number(data + 9),
				   .base_bytes = get_number(data + 17) };
	if (bl_delta_head_check(&h, err) < 0)
		return -1;
	*out = h;
	return 0;
}

static bool is_one(uint64_t size, uint64_t base, uint64_t bound)
{
	return base == 0 || size == 0 || size + base <= bound;
}

uint64_t bl_delta_slices(uint64_t size_bytes, uint64_t base_bytes, uint64_t bound_bytes)
{
	assert(bound_bytes >= 3 && size_bytes <= BL_DELTA_SIZE_MAX &&
	       base_bytes <= BL_DELTA_SIZE_MAX);
	uint64_t slice = bound_bytes / 3;
	return is_one(size_bytes, base_bytes, bound_bytes) ? 1 : (size_bytes - 1) / slice + 1;
}

void bl_delta_slice(uint64_t size_bytes, uint64_t base_bytes, uint64_t bound_bytes, uint64_t i,
		    struct bl_delta_head *out)
{
	*out = (struct bl_delta_head){ BL_DELTA_ZSTD, size_bytes, 0, 0 };
	if (base_bytes == 0 || size_bytes == 0)
		return;
	out->kind = BL_DELTA_PATCH;
	out->base_bytes = base_bytes;
	if (is_one(size_bytes, base_bytes, bound_bytes))
		return;
	uint64_t slice = bound_bytes / 3;
	uint64_t from = i * slice;
	assert(from < size_bytes);
	out->size_bytes = size_bytes - from < slice ? size_bytes - from : slice;
	uint64_t window = bound_bytes - slice;
	if (base_bytes <= window)
		return;
	/* not exact, and need not be: the head says what came out */
	double middle = (double)from + (double)out->size_bytes / 2;
	uint64_t there = (uint64_t)(middle / (double)size_bytes * (double)base_bytes);
	uint64_t at = there > window / 2 ? there - window / 2 : 0;
	out->base_at = at < base_bytes - window ? at : base_bytes - window;
	out->base_bytes = window;
}

size_t bl_delta_solid_fit(const uint64_t *sizes_bytes, size_t n)
{
	size_t i = 0;
	for (uint64_t room = BL_DELTA_SOLID_SIZE; i < n && sizes_bytes[i] <= room; i++)
		room -= sizes_bytes[i];
	return i == 0 && n > 0 ? 1 : i;
}

/* Ends every NAR that is complete. */
static int step_over(struct bl_delta_split *s, const uint8_t *data, size_t *len,
		     struct bl_err *err)
{
	while (s->at < s->n) {
		uint64_t left = s->sizes_bytes[s->at] - s->done_bytes;
		size_t part = left < *len ? (size_t)left : *len;
		bool last = part == left;
		if (part == 0 && !last)
			break;
		if (s->put(s->arg, s->at, data, part, last, err) < 0)
			return -1;
		data += part;
		*len -= part;
		s->done_bytes = last ? 0 : s->done_bytes + part;
		s->at += last;
	}
	return 0;
}

static int split(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct bl_delta_split *s = arg;
	if (step_over(s, data, &len, err) < 0)
		return -1;
	if (len > 0)
		return bl_err_set(err, BL_E_INPUT,
				  "a solid frame has bytes behind its %zu parts", s->n);
	return 0;
}

struct bl_sink bl_delta_split_sink(struct bl_delta_split *s)
{
	return (struct bl_sink){ split, s };
}

int bl_delta_split_end(struct bl_delta_split *s, struct bl_err *err)
{
	static const uint8_t nothing[1];
	size_t len = 0;
	if (step_over(s, nothing, &len, err) < 0)
		return -1;
	if (s->at < s->n)
		return bl_err_set(err, BL_E_INPUT, "a solid frame has %zu of its %zu parts",
				  s->at, s->n);
	return 0;
}
