/* SPDX-License-Identifier: MIT */
#include "wire/copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STORE     "/nix/store/"
#define STORE_LEN (sizeof(STORE) - 1)
#define HASH_LEN  32 /* characters of nix32 */
#define NAME_AT   (HASH_LEN + 1)
#define BASE_MAX  (NAME_AT + 211) /* of a path without the store's folder */
#define NAR_MAX   (1ULL << 44)    /* of a NAR, as delta/frame.h has it */
#define SIGS_MAX  1000

/* ---- paths */

static bool name_char(char c)
{
	return bl_is_digit(c) || bl_is_alpha(c) || (c && strchr("+._?=-", c));
}

/* What stands behind the store's folder; store/path.h is above this room. */
static bool is_base(const char *s, size_t len)
{
	if (len <= NAME_AT || len > BASE_MAX || s[HASH_LEN] != '-' || s[NAME_AT] == '.')
		return false;
	for (size_t i = 0; i < HASH_LEN; i++)
		if (!s[i] || !strchr("0123456789abcdfghijklmnpqrsvwxyz", s[i]))
			return false;
	for (size_t i = NAME_AT; i < len; i++)
		if (!name_char(s[i]))
			return false;
	return true;
}

static const char *base_of(const char *path)
{
	return path + STORE_LEN;
}

static int compare(const char *a, const char *b)
{
	int c = strcmp(base_of(a) + NAME_AT, base_of(b) + NAME_AT);
	return c ? c : memcmp(base_of(a), base_of(b), HASH_LEN);
}

static int by_name(const void *a, const void *b)
{
	return compare(*(char *const *)a, *(char *const *)b);
}

void bl_copy_sort(struct bl_strv *paths)
{
	if (paths->n > 1)
		qsort(paths->items, paths->n, sizeof(paths->items[0]), by_name);
}

bool bl_copy_sorted(const struct bl_strv *paths)
{
	for (size_t i = 1; i < paths->n; i++)
		if (compare(paths->items[i - 1], paths->items[i]) >= 0)
			return false;
	return true;
}

void bl_copy_digest(const struct bl_strv *paths, uint8_t out[BL_SHA256_LEN])
{
	struct bl_sha256 s;
	bl_sha256_init(&s);
	for (size_t i = 0; i < paths->n; i++) {
		const char *base = base_of(paths->items[i]);
		bl_sha256_update(&s, base, strlen(base));
		bl_sha256_update(&s, "\n", 1);
	}
	bl_sha256_final(&s, out);
}

void bl_copy_put_path(struct bl_buf *out, const char *path)
{
	bl_buf_puts(out, base_of(path));
	bl_buf_putc(out, '\n');
}

static int take_path(const char *line, size_t len, struct bl_strv *paths, struct bl_err *err)
{
	if (paths->n >= BL_COPY_PATHS_MAX)
		return bl_err_set(err, BL_E_INPUT, "a closure of more than %u paths",
				  BL_COPY_PATHS_MAX);
	if (!is_base(line, len))
		return bl_err_set(err, BL_E_INPUT, "path %zu of a closure is no store path",
				  paths->n);
	char *path = bl_xcalloc(STORE_LEN + len + 1, 1);
	memcpy(path, STORE, STORE_LEN);
	memcpy(path + STORE_LEN, line, len);
	bl_strv_add_take(paths, path);
	if (paths->n > 1 && compare(paths->items[paths->n - 2], path) >= 0)
		return bl_err_set(err, BL_E_INPUT, "path %zu of a closure is out of order",
				  paths->n - 1);
	return 0;
}

int bl_copy_take_paths(const char *data, size_t len, struct bl_strv *paths, struct bl_err *err)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		if (!end)
			return bl_err_set(err, BL_E_INPUT, "a path of a closure is cut off");
		size_t n = (size_t)(end - data);
		if (take_path(data, n, paths, err) < 0)
			return -1;
		data += n + 1;
		len -= n + 1;
	}
	return 0;
}

/* ---- numbers, bytes, texts */

void bl_copy_put_number(struct bl_buf *out, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		bl_buf_putc(out, (char)(uint8_t)(n | 0x80));
	bl_buf_putc(out, (char)n);
}

int bl_copy_take_number(const char **data, size_t *len, uint64_t max, uint64_t *out,
			struct bl_err *err)
{
	uint64_t n = 0;
	size_t i = 0;
	uint8_t byte = 0x80;
	for (; byte & 0x80; i++) {
		if (i == *len)
			return bl_err_set(err, BL_E_INPUT, "a number is cut off");
		byte = (uint8_t)(*data)[i];
		uint64_t seven = byte & 0x7f;
		if (i > 9 || (i == 9 && seven > 1))
			return bl_err_set(err, BL_E_INPUT, "a number of more than 64 bits");
		n |= seven << 7 * i;
	}
	if (i > 1 && byte == 0)
		return bl_err_set(err, BL_E_INPUT, "a number is longer than it need be");
	if (n > max)
		return bl_err_set(err, BL_E_INPUT,
				  "a number is %" PRIu64 ", at most %" PRIu64 " may be", n,
				  max);
	*data += i;
	*len -= i;
	*out = n;
	return 0;
}

static int take_u32(const char **data, size_t *len, uint64_t max, uint32_t *out,
		    struct bl_err *err)
{
	uint64_t n = 0;
	if (bl_copy_take_number(data, len, max < UINT32_MAX ? max : UINT32_MAX, &n, err) < 0)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

/* A place among @n. */
static int take_place(const char **data, size_t *len, size_t n, uint32_t *out,
		      struct bl_err *err)
{
	if (n == 0)
		return bl_err_set(err, BL_E_INPUT, "a number of something in an empty list");
	return take_u32(data, len, n - 1, out, err);
}

static int take_bytes(const char **data, size_t *len, void *out, size_t n, struct bl_err *err)
{
	if (*len < n)
		return bl_err_set(err, BL_E_INPUT, "%zu bytes are cut off", n);
	memcpy(out, *data, n);
	*data += n;
	*len -= n;
	return 0;
}

static void put_text(struct bl_buf *out, const char *s)
{
	bl_copy_put_number(out, strlen(s));
	bl_buf_puts(out, s);
}

/* @out is written on success only. */
static int take_text(const char **data, size_t *len, char **out, struct bl_err *err)
{
	uint64_t n = 0;
	if (bl_copy_take_number(data, len, BL_COPY_TEXT_MAX, &n, err) < 0)
		return bl_err_wrap(err, "text");
	if (n > *len)
		return bl_err_set(err, BL_E_INPUT, "a text is cut off");
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)(*data)[i] < 0x20 || (*data)[i] == 0x7f)
			return bl_err_set(err, BL_E_INPUT, "a text with control characters");
	*out = bl_xstrndup(*data, n);
	*data += n;
	*len -= n;
	return 0;
}

/* ---- infos */

void bl_copy_put_info(struct bl_buf *out, const struct bl_copy_info *info)
{
	bl_copy_put_number(out, info->path);
	bl_buf_append(out, info->nar_hash, BL_SHA256_LEN);
	bl_copy_put_number(out, info->nar_size);
	put_text(out, *info->deriver ? base_of(info->deriver) : "");
	put_text(out, info->ca);
	bl_copy_put_number(out, info->n_refs);
	for (size_t i = 0; i < info->n_refs; i++)
		bl_copy_put_number(out, info->refs[i]);
	bl_copy_put_number(out, info->sigs.n);
	for (size_t i = 0; i < info->sigs.n; i++)
		put_text(out, info->sigs.items[i]);
}

static int take_deriver(const char **data, size_t *len, char **out, struct bl_err *err)
{
	bl_autofree char *base = NULL;
	if (take_text(data, len, &base, err) < 0)
		return -1;
	if (*base && !is_base(base, strlen(base)))
		return bl_err_set(err, BL_E_INPUT, "a deriver is no store path");
	*out = bl_xprintf("%s%s", *base ? STORE : "", base);
	return 0;
}

static int take_refs(const char **data, size_t *len, size_t n_paths, struct bl_copy_info *info,
		     struct bl_err *err)
{
	uint64_t n = 0;
	/* each takes a byte at least */
	if (bl_copy_take_number(data, len, n_paths < *len ? n_paths : *len, &n, err) < 0)
		return bl_err_wrap(err, "references");
	info->refs = bl_xcalloc(n, sizeof(info->refs[0]));
	info->n_refs = n;
	for (size_t i = 0; i < n; i++)
		if (take_place(data, len, n_paths, &info->refs[i], err) < 0)
			return bl_err_wrap(err, "reference");
	return 0;
}

static int take_sigs(const char **data, size_t *len, struct bl_strv *sigs, struct bl_err *err)
{
	uint64_t n = 0;
	if (bl_copy_take_number(data, len, SIGS_MAX, &n, err) < 0)
		return bl_err_wrap(err, "signatures");
	for (size_t i = 0; i < n; i++) {
		char *sig = NULL;
		if (take_text(data, len, &sig, err) < 0)
			return bl_err_wrap(err, "signature");
		bl_strv_add_take(sigs, sig);
	}
	return 0;
}

int bl_copy_take_info(const char **data, size_t *len, size_t n_paths, struct bl_copy_info *out,
		      struct bl_err *err)
{
	BL_AUTO(bl_copy_info) info = { 0 };
	if (take_place(data, len, n_paths, &info.path, err) < 0 ||
	    take_bytes(data, len, info.nar_hash, BL_SHA256_LEN, err) < 0 ||
	    bl_copy_take_number(data, len, NAR_MAX, &info.nar_size, err) < 0 ||
	    take_deriver(data, len, &info.deriver, err) < 0 ||
	    take_text(data, len, &info.ca, err) < 0 ||
	    take_refs(data, len, n_paths, &info, err) < 0 ||
	    take_sigs(data, len, &info.sigs, err) < 0)
		return bl_err_wrap(err, "what is to be known of a path");
	if (info.nar_size == 0)
		return bl_err_set(err, BL_E_INPUT, "a NAR of no size");
	*out = info;
	info = (struct bl_copy_info){ 0 };
	return 0;
}

void bl_copy_info_free(struct bl_copy_info *info)
{
	free(info->deriver);
	free(info->ca);
	free(info->refs);
	bl_strv_free(&info->sigs);
	*info = (struct bl_copy_info){ 0 };
}

/* ---- pairs */

static void put_step(struct bl_buf *out, uint32_t from, uint32_t to)
{
	bl_copy_put_number(out, to >= from ? 2 * (uint64_t)(to - from)
					   : 2 * (uint64_t)(from - to) - 1);
}

static int take_step(const char **data, size_t *len, size_t n, uint32_t *at, struct bl_err *err)
{
	uint64_t step = 0;
	if (bl_copy_take_number(data, len, 2ULL * UINT32_MAX, &step, err) < 0)
		return -1;
	int64_t to = (int64_t)*at + (step % 2 ? -(int64_t)(step / 2) - 1 : (int64_t)(step / 2));
	if (to < 0 || (uint64_t)to >= n || to > UINT32_MAX)
		return bl_err_set(err, BL_E_INPUT, "number %" PRId64 " of %zu", to, n);
	*at = (uint32_t)to;
	return 0;
}

void bl_copy_put_pairs(struct bl_buf *out, const struct bl_copy_pair *pairs, size_t n)
{
	struct bl_copy_pair last = { 0 };
	bl_copy_put_number(out, n);
	for (size_t i = 0; i < n; i++) {
		put_step(out, last.old, pairs[i].old);
		put_step(out, last.new, pairs[i].new);
		last = pairs[i];
	}
}

int bl_copy_take_pairs(const char *data, size_t len, size_t n_old, size_t n_new,
		       struct bl_copy_pair **pairs, size_t *n, struct bl_err *err)
{
	struct bl_copy_pair at = { 0 };
	uint64_t count = 0;
	/* an old hash has one partner; each pair takes two bytes at least */
	size_t room = *n < n_old ? n_old - *n : 0;
	if (bl_copy_take_number(&data, &len, room, &count, err) < 0)
		return bl_err_wrap(err, "pairs");
	if (count > len / 2)
		return bl_err_set(err, BL_E_INPUT, "pairs are cut off");
	*pairs = bl_xrealloc(*pairs, *n + count, sizeof(**pairs));
	for (size_t i = 0; i < count; i++) {
		if (take_step(&data, &len, n_old, &at.old, err) < 0 ||
		    take_step(&data, &len, n_new, &at.new, err) < 0)
			return bl_err_wrap(err, "pair %zu", i);
		(*pairs)[*n + i] = at;
	}
	if (len > 0)
		return bl_err_set(err, BL_E_INPUT, "there is something behind the pairs");
	*n += count;
	return 0;
}

/* ---- pieces */

#define KINDS 4 /* of delta/frame.h, where those from the third on have a base */

static bool has_base(unsigned kind)
{
	return kind >= 2;
}

uint32_t *bl_copy_guesses(const struct bl_copy_pair *pairs, size_t n_pairs,
			  const uint32_t *paths, size_t n, size_t n_paths)
{
	bl_autofree uint32_t *olds = bl_xcalloc(n_paths + 1, sizeof(*olds)); /* plus one */
	uint32_t *guesses = bl_xcalloc(n + 1, sizeof(*guesses));
	for (size_t i = n_pairs; i > 0; i--)
		olds[pairs[i - 1].new] = pairs[i - 1].old + 1;
	for (size_t i = 0; i < n; i++)
		guesses[i] = olds[paths[i]] ? olds[paths[i]] - 1 : BL_COPY_NO_OLD;
	return guesses;
}

static uint32_t guess(const uint32_t *guesses, const struct bl_copy_piece *p, uint32_t i)
{
	return guesses ? guesses[p->first + i] : BL_COPY_NO_OLD;
}

static void put_olds(struct bl_buf *out, const struct bl_copy_piece *p, const uint32_t *guesses)
{
	for (uint32_t i = 0, row = 0; i < p->count; i += row + 1) {
		for (row = 0; i + row < p->count; row++)
			if (p->olds[i + row] != guess(guesses, p, i + row))
				break;
		bl_copy_put_number(out, row);
		if (i + row == p->count)
			return;
		uint32_t old = p->olds[i + row];
		bl_copy_put_number(out, old == BL_COPY_NO_OLD ? 0 : old + 1ULL);
	}
}

static int take_old(const char **data, size_t *len, size_t n_old, uint32_t guessed,
		    uint32_t *out, struct bl_err *err)
{
	if (take_u32(data, len, n_old, out, err) < 0)
		return bl_err_wrap(err, "base");
	*out = *out == 0 ? BL_COPY_NO_OLD : *out - 1;
	if (*out == guessed)
		return bl_err_set(err, BL_E_INPUT, "a base is told that was guessed");
	return 0;
}

static int take_olds(const char **data, size_t *len, size_t n_old, const uint32_t *guesses,
		     struct bl_copy_piece *p, struct bl_err *err)
{
	p->olds = bl_xcalloc(p->count, sizeof(p->olds[0]));
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t row = 0;
		if (take_u32(data, len, p->count - i, &row, err) < 0)
			return bl_err_wrap(err, "bases as guessed");
		for (; row > 0; row--, i++)
			p->olds[i] = guess(guesses, p, i);
		if (i < p->count &&
		    take_old(data, len, n_old, guess(guesses, p, i), &p->olds[i], err) < 0)
			return -1;
	}
	return 0;
}

void bl_copy_put_piece(struct bl_buf *out, const struct bl_copy_piece *p,
		       const uint32_t *guesses)
{
	bl_buf_putc(out, (char)p->kind);
	bl_copy_put_number(out, p->first);
	bl_copy_put_number(out, p->count);
	bl_copy_put_number(out, p->part);
	bl_copy_put_number(out, p->size_bytes);
	if (!has_base(p->kind))
		return;
	bl_copy_put_number(out, p->base_at);
	bl_copy_put_number(out, p->base_bytes);
	put_olds(out, p, guesses);
}

static int take_base(const char **data, size_t *len, size_t n_old, const uint32_t *guesses,
		     struct bl_copy_piece *p, struct bl_err *err)
{
	if (bl_copy_take_number(data, len, NAR_MAX, &p->base_at, err) < 0 ||
	    bl_copy_take_number(data, len, NAR_MAX, &p->base_bytes, err) < 0)
		return bl_err_wrap(err, "base");
	return take_olds(data, len, n_old, guesses, p, err);
}

static int take_range(const char **data, size_t *len, size_t n_infos, struct bl_copy_piece *p,
		      struct bl_err *err)
{
	if (take_place(data, len, n_infos, &p->first, err) < 0 ||
	    take_u32(data, len, n_infos - p->first, &p->count, err) < 0 ||
	    bl_copy_take_number(data, len, NAR_MAX, &p->part, err) < 0 ||
	    bl_copy_take_number(data, len, NAR_MAX, &p->size_bytes, err) < 0)
		return bl_err_wrap(err, "piece");
	if (p->count == 0)
		return bl_err_set(err, BL_E_INPUT, "a piece of no NAR");
	if (p->count > 1 && p->part > 0)
		return bl_err_set(err, BL_E_INPUT, "a piece of a part of several NARs");
	return 0;
}

int bl_copy_take_piece(const char *data, size_t len, size_t n_infos, size_t n_old,
		       const uint32_t *guesses, struct bl_copy_piece *out, struct bl_err *err)
{
	BL_AUTO(bl_copy_piece) p = { 0 };
	uint8_t kind = 0;
	if (take_bytes(&data, &len, &kind, 1, err) < 0)
		return bl_err_wrap(err, "piece");
	if (kind >= KINDS)
		return bl_err_set(err, BL_E_INPUT, "a piece of kind %u", kind);
	p.kind = kind;
	if (take_range(&data, &len, n_infos, &p, err) < 0 ||
	    (has_base(kind) && take_base(&data, &len, n_old, guesses, &p, err) < 0))
		return -1;
	if (len > 0)
		return bl_err_set(err, BL_E_INPUT, "there is something behind a piece");
	*out = p;
	p = (struct bl_copy_piece){ 0 };
	return 0;
}

void bl_copy_piece_free(struct bl_copy_piece *piece)
{
	free(piece->olds);
	*piece = (struct bl_copy_piece){ 0 };
}

/* ---- bits */

void bl_copy_put_bits(struct bl_buf *out, const bool *bits, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		unsigned byte = 0;
		for (size_t k = i; k < n && k < i + 8; k++)
			byte |= (bits[k] ? 1U : 0U) << (k - i);
		bl_buf_putc(out, (char)(uint8_t)byte);
	}
}

int bl_copy_take_bits(const char *data, size_t len, bool *bits, size_t n, struct bl_err *err)
{
	if (len != (n + 7) / 8)
		return bl_err_set(err, BL_E_INPUT, "%zu bytes for %zu bits", len, n);
	if (n % 8 && (uint8_t)data[len - 1] >> n % 8)
		return bl_err_set(err, BL_E_INPUT, "more than %zu bits", n);
	for (size_t i = 0; i < n; i++)
		bits[i] = (uint8_t)data[i / 8] >> i % 8 & 1;
	return 0;
}
