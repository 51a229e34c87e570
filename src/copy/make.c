/* SPDX-License-Identifier: MIT */
#include "copy/make.h"

#include "delta/encode.h"
#include "store/nar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LEVEL 9
/*
 * So much of an old path before a window is read with it, for a hash that the window begins
 * within. That gives the same as reading it from its beginning, unless old hashes overlap one
 * another all along; then Nix refuses the path, and it is sent again.
 */
#define LEAD 4096U

/* Of a row of NARs the bytes from @skip on, @left of them. */
struct window {
	uint64_t skip, left;
	bool over; /* that was all, and the rest is not read */
	int (*put)(struct window *w, const uint8_t *data, size_t len, struct bl_err *err);
};

static int pass(struct window *w, const uint8_t *data, size_t len, struct bl_err *err)
{
	uint64_t gone = len < w->skip ? len : w->skip;
	w->skip -= gone;
	data += gone;
	len -= (size_t)gone;
	size_t n = len < w->left ? len : (size_t)w->left;
	w->left -= n;
	if (n > 0 && w->put(w, data, n, err) < 0)
		return -1;
	w->over = w->left == 0 && len > n;
	return w->over ? -1 : 0;
}

static int on_nar(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	return pass(ctx, data, len, err);
}

static int dump(const char *path, uint64_t from, struct window *w, struct bl_err *err)
{
	if (bl_nar_dump_from(path, from, on_nar, w, err) < 0 && !w->over)
		return bl_err_wrap(err, "%s", path);
	return 0;
}

/* ---- the base */

struct base {
	struct window w;
	struct bl_rewrite rewrite;
	uint8_t *bytes;
	size_t len;
	uint8_t scratch[65536]; /* rewriting is done in place, and a dump's bytes are its own */
};

static int keep(struct window *w, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct base *b = (struct base *)w;
	(void)err;
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
	return 0;
}

static int on_rewritten(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct base *b = arg;
	return pass(&b->w, data, len, err);
}

static int on_old(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	struct base *b = ctx;
	const struct bl_sink sink = { on_rewritten, b };
	const uint8_t *from = data;
	while (len > 0) {
		size_t n = len < sizeof(b->scratch) ? len : sizeof(b->scratch);
		memcpy(b->scratch, from, n);
		if (bl_rewrite_feed(&b->rewrite, b->scratch, n, &sink, err) < 0)
			return -1;
		from += n;
		len -= n;
	}
	return 0;
}

static int read_base(const struct bl_make *m, const struct bl_delta_head *head, struct base *b,
		     struct bl_err *err)
{
	const struct bl_sink sink = { on_rewritten, b };
	b->bytes = malloc(head->base_bytes);
	if (!b->bytes)
		return bl_err_sys(err, ENOMEM, "hold %llu bytes of a base",
				  (unsigned long long)head->base_bytes);
	/* of several in a row, which one the window begins in would have to be known */
	uint64_t from = m->count == 1 && head->base_at > LEAD ? head->base_at - LEAD : 0;
	b->w = (struct window){ .skip = head->base_at - from,
				.left = head->base_bytes,
				.put = keep };
	bl_auto_rewrites struct bl_rewrites *list = NULL;
	if (bl_rewrites_new(m->pairs, m->n_pairs, &list, err) < 0)
		return -1;
	b->rewrite = (struct bl_rewrite){ .list = list };
	for (size_t i = 0; i < m->count && !b->w.over; i++)
		if (m->olds[i] && bl_nar_dump_from(m->olds[i], from, on_old, b, err) < 0 &&
		    !b->w.over)
			return bl_err_wrap(err, "%s", m->olds[i]);
	if (!b->w.over && bl_rewrite_end(&b->rewrite, &sink, err) < 0)
		return -1;
	if (b->len != head->base_bytes)
		return bl_err_set(err, BL_E_INPUT, "%s is not as large as Nix says",
				  m->olds[0]);
	return 0;
}

/* ---- what is told */

struct compare {
	struct window w;
	const uint8_t *at;
	bool differs;
};

static int compare(struct window *w, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct compare *c = (struct compare *)w;
	(void)err;
	c->differs = c->differs || memcmp(c->at, data, len) != 0;
	c->at += len;
	w->over = c->differs;
	return c->differs ? -1 : 0;
}

struct feed {
	struct window w;
	struct bl_encoder *encoder;
};

static int feed(struct window *w, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct feed *f = (struct feed *)w;
	return bl_encoder_feed(f->encoder, data, len, err);
}

/* @w from the piece's part on, which is one NAR's alone. */
static int read_news(const struct bl_make *m, struct window *w, struct bl_err *err)
{
	for (size_t i = 0; i < m->count && !w->over; i++)
		if (dump(m->news[i], m->part, w, err) < 0)
			return -1;
	return 0;
}

static int is_copy(const struct bl_make *m, const struct bl_delta_head *head,
		   const struct base *b, bool *out, struct bl_err *err)
{
	struct compare c = {
		.w = { .left = head->size_bytes, .put = compare },
		.at = b->bytes,
	};
	*out = false;
	if (head->base_bytes != head->size_bytes)
		return 0;
	if (read_news(m, &c.w, err) < 0)
		return -1;
	*out = !c.differs && c.w.left == 0;
	return 0;
}

static int encode(const struct bl_make *m, const struct bl_delta_head *head,
		  const struct base *b, const struct bl_sink *sink, struct bl_err *err)
{
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	struct feed f = {
		.w = { .left = head->size_bytes, .put = feed },
		.encoder = e,
	};
	if (bl_encoder_begin(e, head, m->level ? m->level : 1, b->bytes, sink, err) < 0 ||
	    read_news(m, &f.w, err) < 0)
		return -1;
	if (f.w.left > 0)
		return bl_err_set(err, BL_E_INPUT, "%s is not as large as Nix says",
				  m->news[0]);
	return bl_encoder_end(e, err);
}

/* One that has gone, or is damaged, is done without. */
static bool has_base(const struct bl_make *m, struct bl_delta_head *head, struct base *b)
{
	struct bl_err why = { 0 };
	if (head->kind != BL_DELTA_PATCH)
		return false;
	if (read_base(m, head, b, &why) == 0)
		return true;
	free(b->bytes);
	b->bytes = NULL;
	*head = (struct bl_delta_head){ .kind = BL_DELTA_ZSTD, .size_bytes = head->size_bytes };
	return false;
}

int bl_make_piece(const struct bl_make *m, struct bl_delta_head *head,
		  const struct bl_sink *sink, struct bl_err *err)
{
	bl_autofree struct base *b = bl_xcalloc(1, sizeof(*b));
	bool copy = false;
	int rc = 0;
	if (has_base(m, head, b))
		rc = is_copy(m, head, b, &copy, err);
	if (copy)
		head->kind = BL_DELTA_COPY;
	else if (head->kind == BL_DELTA_ZSTD && m->level == 0)
		head->kind = BL_DELTA_RAW;
	if (rc == 0 && !copy)
		rc = encode(m, head, b, sink, err);
	free(b->bytes);
	return rc;
}

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

int bl_make_block(const void *data, size_t len, struct bl_buf *out, struct bl_err *err)
{
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	const struct bl_delta_head head = { .kind = BL_DELTA_ZSTD, .size_bytes = len };
	const struct bl_sink sink = { append, out };
	bl_copy_put_number(out, len);
	if (bl_encoder_begin(e, &head, BLOCK_LEVEL, NULL, &sink, err) < 0 ||
	    bl_encoder_feed(e, data, len, err) < 0)
		return -1;
	return bl_encoder_end(e, err);
}
