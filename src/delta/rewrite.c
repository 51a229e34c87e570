/* SPDX-License-Identifier: MIT */
#include "delta/rewrite.h"

#include <stdlib.h>
#include <string.h>

#define LEN ((size_t)BL_STORE_HASH_LEN)

struct bl_rewrites {
	struct bl_hash_pair *pairs;
	size_t n;
	/* Place of a pair + 1, 0 where there is none; a power of two of them, half empty at
	 * least. */
	uint32_t *slots;
	size_t mask;
};

/* 1 for each of 0123456789abcdfghijklmnpqrsvwxyz */
static const uint8_t nix32[256] = {
	['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
	['8'] = 1, ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['f'] = 1, ['g'] = 1,
	['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['p'] = 1,
	['q'] = 1, ['r'] = 1, ['s'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

/* All 32 characters count: in a file made for it many could begin alike. */
static size_t slot_of(const struct bl_rewrites *t, const void *hash)
{
	uint64_t w[4];
	uint64_t h = 0;
	memcpy(w, hash, sizeof(w));
	for (size_t i = 0; i < BL_COUNT(w); i++) {
		h = (h ^ w[i]) * 0x9e3779b97f4a7c15U;
		h ^= h >> 29;
	}
	return (size_t)(h >> 16) & t->mask;
}

static const struct bl_hash_pair *find(const struct bl_rewrites *t, const void *hash)
{
	for (size_t s = slot_of(t, hash); t->slots[s]; s = (s + 1) & t->mask)
		if (memcmp(t->pairs[t->slots[s] - 1].old, hash, LEN) == 0)
			return &t->pairs[t->slots[s] - 1];
	return NULL;
}

static bool is_hash(const char *text)
{
	for (size_t i = 0; i < LEN; i++)
		if (!nix32[(uint8_t)text[i]])
			return false;
	return true;
}

static int insert(struct bl_rewrites *t, const struct bl_hash_pair *pair, struct bl_err *err)
{
	if (!is_hash(pair->old) || !is_hash(pair->new))
		return bl_err_set(err, BL_E_INPUT, "pair %zu of hashes is not of nix32", t->n);
	if (find(t, pair->old))
		return bl_err_set(err, BL_E_INPUT, "hash %.32s has two partners", pair->old);
	size_t s = slot_of(t, pair->old);
	while (t->slots[s])
		s = (s + 1) & t->mask;
	t->pairs[t->n] = *pair;
	t->slots[s] = (uint32_t)++t->n;
	return 0;
}

int bl_rewrites_new(const struct bl_hash_pair *pairs, size_t n, struct bl_rewrites **out,
		    struct bl_err *err)
{
	if (n > BL_REWRITES_MAX)
		return bl_err_set(err, BL_E_INPUT, "%zu pairs of hashes, at most %u are taken",
				  n, BL_REWRITES_MAX);
	bl_auto_rewrites struct bl_rewrites *t = bl_xcalloc(1, sizeof(*t));
	size_t slots = 64;
	while (slots < 4 * n)
		slots *= 2;
	t->mask = slots - 1;
	t->slots = bl_xcalloc(slots, sizeof(*t->slots));
	t->pairs = bl_xcalloc(n + 1, sizeof(*t->pairs));
	for (size_t i = 0; i < n; i++)
		if (insert(t, &pairs[i], err) < 0)
			return -1;
	*out = BL_STEAL(t);
	return 0;
}

void bl_rewrites_free(struct bl_rewrites *t)
{
	if (!t)
		return;
	free(t->pairs);
	free(t->slots);
	free(t);
}

/*
 * Rewrites every hash that is complete in @p. Gives the first place where one may have begun
 * that ends behind @n; less than a hash is from there to the end.
 *
 * As Boyer and Moore search: a hash is 32 characters of an alphabet that few bytes are of, so
 * the last one is looked at first, and one that is not of it rules out all places up to it.
 */
static size_t rewrite(const struct bl_rewrites *t, uint8_t *p, size_t n)
{
	size_t at = 0;
	size_t known = 0; /* so many from @at on are of the alphabet */
	while (n - at >= LEN) {
		size_t k = at + LEN;
		while (k > at + known && nix32[p[k - 1]])
			k--;
		if (k > at + known) {
			at = k;
			known = 0;
			continue;
		}
		const struct bl_hash_pair *pair = find(t, p + at);
		if (pair)
			memcpy(p + at, pair->new, LEN);
		at += pair ? LEN : 1;
		known = pair ? 0 : LEN - 1;
	}
	size_t open = n;
	while (open > at && nix32[p[open - 1]])
		open--;
	return open;
}

void bl_rewrite_all(const struct bl_rewrites *t, uint8_t *data, size_t len)
{
	if (t->n > 0)
		rewrite(t, data, len);
}

static void hold(struct bl_rewrite *r, const uint8_t *data, size_t len)
{
	if (len > 0)
		memcpy(r->held, data, len);
	r->n_held = len;
}

int bl_rewrite_feed(struct bl_rewrite *r, uint8_t *data, size_t len, const struct bl_sink *sink,
		    struct bl_err *err)
{
	size_t at = 0; /* no hash begins before it in @data that is not rewritten yet */
	if (len == 0 || r->list->n == 0)
		return bl_sink_put(sink, data, len, err);
	if (r->n_held > 0) {
		/* so much that every hash that begins in what was held is complete */
		uint8_t join[2 * LEN];
		size_t held = r->n_held;
		size_t take = len < LEN - 1 ? len : LEN - 1;
		memcpy(join, r->held, held);
		memcpy(join + held, data, take);
		size_t open = rewrite(r->list, join, held + take);
		if (open < held) {
			/* only a chunk that was taken as a whole can leave that undecided */
			hold(r, join + open, held + take - open);
			return bl_sink_put(sink, join, open, err);
		}
		memcpy(data, join + held, take);
		at = open - held;
		if (bl_sink_put(sink, join, held, err) < 0)
			return -1;
	}
	size_t open = at + rewrite(r->list, data + at, len - at);
	hold(r, data + open, len - open);
	return bl_sink_put(sink, data, open, err);
}

int bl_rewrite_end(struct bl_rewrite *r, const struct bl_sink *sink, struct bl_err *err)
{
	size_t held = r->n_held;
	r->n_held = 0;
	return bl_sink_put(sink, r->held, held, err);
}
