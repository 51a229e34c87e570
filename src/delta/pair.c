/* SPDX-License-Identifier: MIT */
#include "delta/pair.h"

#include "store/closure.h"

#include <stdlib.h>
#include <string.h>

/* What a path is called; the text is the path's. */
struct name {
	const char *hash, *text, *output;
	size_t len, stem_len, output_len;
	uint64_t size;
	uint32_t place;
};

/* Some names, for searching. */
struct index {
	struct name *by_name; /* package, output, whole name, size, place */
	struct name *by_size; /* package, output, size, place */
	size_t n;
};

/* Everything that is known while pairs are made. */
struct pairing {
	const struct bl_pair_path *new, *old;
	struct name *new_names, *old_names;
	size_t n_new, n_old;
	uint32_t *bases;
	uint32_t *partners; /* of each old path the new one whose hash its own becomes */
};

static int order(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return c ? c : order(a_len, b_len);
}

static int by_package(const struct name *x, const struct name *y)
{
	int c = compare_text(x->text, x->stem_len, y->text, y->stem_len);
	return c ? c : compare_text(x->output, x->output_len, y->output, y->output_len);
}

static int by_whole(const struct name *x, const struct name *y)
{
	int c = by_package(x, y);
	return c ? c : compare_text(x->text, x->len, y->text, y->len);
}

static int by_size(const struct name *x, const struct name *y)
{
	int c = (x->size > y->size) - (x->size < y->size);
	return c ? c : order(x->place, y->place);
}

static int whole_then_size(const void *a, const void *b)
{
	int c = by_whole(a, b);
	return c ? c : by_size(a, b);
}

static int package_then_size(const void *a, const void *b)
{
	int c = by_package(a, b);
	return c ? c : by_size(a, b);
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(((const struct name *)a)->hash, ((const struct name *)b)->hash,
		      BL_STORE_HASH_LEN);
}

static int by_old_hash(const void *a, const void *b)
{
	return memcmp(((const struct bl_hash_pair *)a)->old,
		      ((const struct bl_hash_pair *)b)->old, BL_STORE_HASH_LEN);
}

static struct name name_of(const struct bl_pair_path *p, size_t place, bool sizes)
{
	struct name n = { .hash = bl_store_path_hash(p->path),
			  .text = bl_store_path_name(p->path),
			  .size = sizes ? p->size_bytes : 0,
			  .place = (uint32_t)place };
	n.len = strlen(n.text);
	n.stem_len = bl_package_name_len(n.text);
	const char *version = n.text + n.stem_len + (n.text[n.stem_len] == '-');
	n.output = version + bl_package_version_len(version);
	n.output_len = strlen(n.output);
	return n;
}

static int check_paths(const struct bl_pair_path *paths, size_t n, const char *what,
		       struct bl_err *err)
{
	if (n > BL_PAIR_PATHS)
		return bl_err_set(err, BL_E_INPUT, "%s: %zu paths, at most %u are taken", what,
				  n, BL_PAIR_PATHS);
	for (size_t i = 0; i < n; i++) {
		if (bl_store_path_check(paths[i].path, what, err) < 0)
			return -1;
		for (size_t k = 0; k < paths[i].n_refs; k++)
			if (paths[i].refs[k] >= n)
				return bl_err_set(err, BL_E_INPUT,
						  "%s: %s refers to path %u of %zu", what,
						  bl_store_path_name(paths[i].path),
						  paths[i].refs[k], n);
	}
	return 0;
}

static bool sizes_known(const struct bl_pair_path *paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (paths[i].size_bytes == 0)
			return false;
	return true;
}

static struct name *names_of(const struct bl_pair_path *paths, size_t n, bool sizes)
{
	struct name *names = bl_xcalloc(n + 1, sizeof(*names));
	for (size_t i = 0; i < n; i++)
		names[i] = name_of(&paths[i], i, sizes);
	return names;
}

/* @names is copied. */
static void index_make(struct index *x, const struct name *names, size_t n)
{
	*x = (struct index){ bl_xcalloc(n + 1, sizeof(*names)),
			     bl_xcalloc(n + 1, sizeof(*names)), n };
	if (n == 0)
		return;
	memcpy(x->by_name, names, n * sizeof(*names));
	memcpy(x->by_size, names, n * sizeof(*names));
	qsort(x->by_name, n, sizeof(*names), whole_then_size);
	qsort(x->by_size, n, sizeof(*names), package_then_size);
}

static void index_autop(struct index *x)
{
	free(x->by_name);
	free(x->by_size);
}

/* The first of the sorted @names that is not before @key; @n when all are. */
static size_t lower_bound(const struct name *names, size_t n, const struct name *key,
			  int (*compare)(const void *, const void *))
{
	size_t from = 0;
	while (n > 0) {
		size_t half = n / 2;
		if (compare(&names[from + half], key) < 0) {
			from += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return from;
}

/*
 * Of the names that are @same as @key the one with the most similar size, of those the first in
 * place. @names is sorted by @compare, which is @same and then size and place.
 */
static const struct name *closest(const struct name *names, size_t n, const struct name *key,
				  int (*same)(const struct name *, const struct name *),
				  int (*compare)(const void *, const void *))
{
	struct name probe = *key;
	probe.place = 0;
	size_t at = lower_bound(names, n, &probe, compare);
	const struct name *up = at < n && same(&names[at], key) == 0 ? &names[at] : NULL;
	if (at == 0 || same(&names[at - 1], key) != 0)
		return up;
	/* several may have the size below: the first of them */
	probe.size = names[at - 1].size;
	const struct name *down = &names[lower_bound(names, n, &probe, compare)];
	if (!up || key->size - down->size < up->size - key->size)
		return down;
	if (key->size - down->size > up->size - key->size)
		return up;
	return up->place < down->place ? up : down;
}

static uint32_t partner_in(const struct index *x, const struct name *key)
{
	const struct name *n = closest(x->by_name, x->n, key, by_whole, whole_then_size);
	if (!n)
		n = closest(x->by_size, x->n, key, by_package, package_then_size);
	return n ? n->place : BL_NO_BASE;
}

static void choose_bases(struct pairing *p)
{
	__attribute__((cleanup(index_autop))) struct index x = { 0 };
	index_make(&x, p->old_names, p->n_old);
	for (size_t i = 0; i < p->n_new; i++)
		p->bases[i] = p->new[i].missing ? partner_in(&x, &p->new_names[i]) : BL_NO_BASE;
}

/* Each base becomes what it is the base of, first where both are called the same. */
static void pair_bases(struct pairing *p)
{
	for (int any_name = 0; any_name < 2; any_name++)
		for (size_t i = 0; i < p->n_new; i++) {
			uint32_t b = p->bases[i];
			if (b == BL_NO_BASE || p->partners[b] != BL_NO_BASE)
				continue;
			if (any_name || by_whole(&p->new_names[i], &p->old_names[b]) == 0)
				p->partners[b] = (uint32_t)i;
		}
}

/* A mark that is no place of a path: the hash stays. */
#define STAYS (BL_NO_BASE - 1)

/* Marks the old paths that the new closure has too. */
static int mark_common(struct pairing *p, struct bl_err *err)
{
	bl_autofree struct name *sorted = names_of(p->new, p->n_new, false);
	qsort(sorted, p->n_new, sizeof(*sorted), by_hash);
	for (size_t i = 1; i < p->n_new; i++)
		if (by_hash(&sorted[i - 1], &sorted[i]) == 0)
			return bl_err_set(err, BL_E_INPUT, "hash %.32s is of two new paths",
					  sorted[i].hash);
	for (size_t i = 0; i < p->n_old; i++)
		if (bsearch(&p->old_names[i], sorted, p->n_new, sizeof(*sorted), by_hash))
			p->partners[i] = STAYS;
	return 0;
}

static bool has_open_ref(const struct pairing *p, const struct bl_pair_path *base)
{
	for (size_t k = 0; k < base->n_refs; k++)
		if (p->partners[base->refs[k]] == BL_NO_BASE)
			return true;
	return false;
}

static void pair_refs_of(struct pairing *p, const struct bl_pair_path *new,
			 const struct bl_pair_path *base)
{
	if (!has_open_ref(p, base))
		return;
	__attribute__((cleanup(index_autop))) struct index x = { 0 };
	bl_autofree struct name *refs = bl_xcalloc(new->n_refs + 1, sizeof(*refs));
	for (size_t k = 0; k < new->n_refs; k++)
		refs[k] = p->new_names[new->refs[k]];
	index_make(&x, refs, new->n_refs);
	for (size_t k = 0; k < base->n_refs; k++) {
		uint32_t *partner = &p->partners[base->refs[k]];
		if (*partner == BL_NO_BASE)
			*partner = partner_in(&x, &p->old_names[base->refs[k]]);
	}
}

/* Each base once: it may be that of many. What stays refers to what stays. */
static void pair_refs(struct pairing *p)
{
	for (size_t i = 0; i < p->n_new; i++) {
		uint32_t b = p->bases[i];
		if (b != BL_NO_BASE && p->partners[b] == i)
			pair_refs_of(p, &p->new[i], &p->old[b]);
	}
}

static int put_pairs(const struct pairing *p, struct bl_pairing *out, struct bl_err *err)
{
	size_t n = 0;
	bl_autofree struct bl_hash_pair *pairs = bl_xcalloc(p->n_old + 1, sizeof(*pairs));
	for (size_t i = 0; i < p->n_old; i++) {
		if (p->partners[i] == BL_NO_BASE || p->partners[i] == STAYS)
			continue;
		memcpy(pairs[n].old, p->old_names[i].hash, BL_STORE_HASH_LEN);
		memcpy(pairs[n++].new, p->new_names[p->partners[i]].hash, BL_STORE_HASH_LEN);
	}
	qsort(pairs, n, sizeof(*pairs), by_old_hash);
	for (size_t i = 1; i < n; i++)
		if (by_old_hash(&pairs[i - 1], &pairs[i]) == 0)
			return bl_err_set(err, BL_E_INPUT, "hash %.32s is of two old paths",
					  pairs[i].old);
	out->pairs = BL_STEAL(pairs);
	out->n_pairs = n;
	return 0;
}

int bl_pair(const struct bl_pair_path *new, size_t n_new, const struct bl_pair_path *old,
	    size_t n_old, struct bl_pairing *out, struct bl_err *err)
{
	if (check_paths(new, n_new, "new closure", err) < 0 ||
	    check_paths(old, n_old, "old paths", err) < 0)
		return -1;
	bool sizes = sizes_known(new, n_new) && sizes_known(old, n_old);
	bl_autofree struct name *new_names = names_of(new, n_new, sizes);
	bl_autofree struct name *old_names = names_of(old, n_old, sizes);
	bl_autofree uint32_t *bases = bl_xcalloc(n_new + 1, sizeof(*bases));
	bl_autofree uint32_t *partners = bl_xcalloc(n_old + 1, sizeof(*partners));
	struct pairing p = { new, old, new_names, old_names, n_new, n_old, bases, partners };
	memset(partners, 0xff, n_old * sizeof(*partners)); /* BL_NO_BASE */
	if (mark_common(&p, err) < 0)
		return -1;
	choose_bases(&p);
	pair_bases(&p);
	pair_refs(&p);
	if (put_pairs(&p, out, err) < 0)
		return -1;
	out->bases = BL_STEAL(bases);
	return 0;
}

void bl_pairing_free(struct bl_pairing *p)
{
	free(p->bases);
	free(p->pairs);
	*p = (struct bl_pairing){ 0 };
}
