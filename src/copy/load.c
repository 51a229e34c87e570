/* SPDX-License-Identifier: MIT */
#include "copy/load.h"

#include "delta/pair.h"
#include "store/path.h"

#include <stdlib.h>
#include <string.h>

/* ---- which old path tells which new one */

static struct bl_pair_path *as_paths(const struct bl_local *l, const bool *valid)
{
	struct bl_pair_path *paths = bl_xcalloc(l->infos.n + 1, sizeof(*paths));
	for (size_t i = 0; i < l->infos.n; i++)
		paths[i] = (struct bl_pair_path){
			.path = l->infos.items[i].path,
			.size_bytes = l->infos.items[i].nar_size,
			.refs = l->refs[i],
			.n_refs = l->n_refs[i],
			.missing = valid && !valid[l->number[i]],
		};
	return paths;
}

struct hashed {
	const char *hash;
	uint32_t number;
};

static int compare_hashes(const void *a, const void *b)
{
	const struct hashed *x = a;
	const struct hashed *y = b;
	return memcmp(x->hash, y->hash, BL_STORE_HASH_LEN);
}

/* The numbers of a closure by the hashes of its paths. */
static struct hashed *by_hash(const struct bl_local *l)
{
	struct hashed *all = bl_xcalloc(l->infos.n + 1, sizeof(*all));
	for (size_t i = 0; i < l->infos.n; i++)
		all[i] = (struct hashed){ bl_store_path_hash(l->sorted.items[i]), (uint32_t)i };
	qsort(all, l->infos.n, sizeof(*all), compare_hashes);
	return all;
}

static uint32_t number_of(const struct hashed *all, size_t n, const char *hash)
{
	const struct hashed key = { hash, 0 };
	const struct hashed *found = bsearch(&key, all, n, sizeof(*all), compare_hashes);
	return found ? found->number : 0;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct bl_copy_pair *x = a;
	const struct bl_copy_pair *y = b;
	return (x->old > y->old) - (x->old < y->old);
}

static void number_pairs(const struct bl_local *new, const struct bl_local *old,
			 const struct bl_pairing *pairing, struct bl_load *out)
{
	bl_autofree struct hashed *olds = by_hash(old);
	bl_autofree struct hashed *news = by_hash(new);
	out->pairs = bl_xcalloc(pairing->n_pairs + 1, sizeof(*out->pairs));
	out->n_pairs = pairing->n_pairs;
	for (size_t i = 0; i < pairing->n_pairs; i++)
		out->pairs[i] = (struct bl_copy_pair){
			number_of(olds, old->infos.n, pairing->pairs[i].old),
			number_of(news, new->infos.n, pairing->pairs[i].new),
		};
	/* neighbours on both sides, which is what makes the list short */
	qsort(out->pairs, out->n_pairs, sizeof(*out->pairs), compare_pairs);
}

/* ---- keys */

static void add_number(struct bl_sha256 *s, uint64_t n)
{
	bl_sha256_update(s, &n, sizeof(n));
}

struct planner {
	const struct bl_local *new, *old;
	const struct bl_pairing *pairing; /* NULL: no bases */
	uint64_t bound;
	const struct bl_load_kept *kept; /* NULL: nothing is */
	struct bl_load *load;
	size_t cap;
	/* a solid frame that is being filled */
	uint32_t *group;
	size_t n_group;
	uint64_t group_size, group_base; /* bytes of the NARs, and of their bases */
};

static const struct bl_path_info *info_at(const struct planner *p, uint32_t at)
{
	return &p->new->infos.items[p->load->order[at]];
}

static uint32_t base_of(const struct planner *p, uint32_t at)
{
	return p->pairing ? p->pairing->bases[p->load->order[at]] : BL_NO_BASE;
}

static const struct bl_hash_pair *pair_of(const struct bl_pairing *pairing, const char *hash)
{
	size_t lo = 0;
	size_t hi = pairing->n_pairs;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (memcmp(pairing->pairs[mid].old, hash, BL_STORE_HASH_LEN) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < pairing->n_pairs &&
			       memcmp(pairing->pairs[lo].old, hash, BL_STORE_HASH_LEN) == 0
		       ? &pairing->pairs[lo]
		       : NULL;
}

static int compare_old_hashes(const void *a, const void *b)
{
	const struct bl_hash_pair *x = a;
	const struct bl_hash_pair *y = b;
	return memcmp(x->old, y->old, BL_STORE_HASH_LEN);
}

static void add_pairs_of(const struct planner *p, uint32_t base, struct bl_load_piece *piece,
			 size_t *cap)
{
	size_t n = p->old->n_refs[base];
	if (piece->n_pairs + n + 1 > *cap) {
		*cap = 2 * *cap + n + 1;
		piece->pairs = bl_xrealloc(piece->pairs, *cap, sizeof(*piece->pairs));
	}
	for (size_t i = 0; i <= n; i++) {
		uint32_t ref = i < n ? p->old->refs[base][i] : base;
		const struct bl_hash_pair *pair =
			pair_of(p->pairing, bl_store_path_hash(p->old->infos.items[ref].path));
		if (pair)
			piece->pairs[piece->n_pairs++] = *pair;
	}
}

static void set_pairs(const struct planner *p, struct bl_load_piece *piece)
{
	size_t cap = 0;
	size_t n = 0;
	for (uint32_t i = 0; i < piece->count; i++)
		if (base_of(p, piece->first + i) != BL_NO_BASE)
			add_pairs_of(p, base_of(p, piece->first + i), piece, &cap);
	if (piece->n_pairs == 0)
		return;
	qsort(piece->pairs, piece->n_pairs, sizeof(*piece->pairs), compare_old_hashes);
	for (size_t i = 0; i < piece->n_pairs; i++)
		if (n == 0 || compare_old_hashes(&piece->pairs[n - 1], &piece->pairs[i]) != 0)
			piece->pairs[n++] = piece->pairs[i];
	piece->n_pairs = n;
}

/* All that the content depends on, and nothing that differs between hosts that need it. */
static void make_key(const struct planner *p, struct bl_load_piece *piece)
{
	struct bl_sha256 s;
	bl_sha256_init(&s);
	add_number(&s, piece->part);
	add_number(&s, piece->head.size_bytes);
	add_number(&s, piece->head.base_at);
	add_number(&s, piece->head.base_bytes);
	for (uint32_t i = 0; i < piece->count; i++) {
		uint32_t base = piece->olds ? base_of(p, piece->first + i) : BL_NO_BASE;
		const char *old = base == BL_NO_BASE ? "" : p->old->infos.items[base].path;
		const char *new = info_at(p, piece->first + i)->path;
		bl_sha256_update(&s, new, strlen(new) + 1);
		bl_sha256_update(&s, old, strlen(old) + 1);
	}
	if (piece->n_pairs > 0)
		bl_sha256_update(&s, piece->pairs, piece->n_pairs * sizeof(*piece->pairs));
	bl_sha256_final(&s, piece->key);
}

/* ---- pieces */

static struct bl_load_piece *add_piece(struct planner *p, uint32_t first, uint32_t count)
{
	struct bl_load *l = p->load;
	if (l->n_pieces == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		l->pieces = bl_xrealloc(l->pieces, p->cap, sizeof(*l->pieces));
	}
	struct bl_load_piece *piece = &l->pieces[l->n_pieces++];
	*piece = (struct bl_load_piece){ .first = first, .count = count };
	piece->head.kind = BL_DELTA_ZSTD;
	return piece;
}

static void set_olds(const struct planner *p, struct bl_load_piece *piece)
{
	piece->olds = bl_xcalloc(piece->count, sizeof(*piece->olds));
	for (uint32_t i = 0; i < piece->count; i++) {
		uint32_t base = base_of(p, piece->first + i);
		piece->olds[i] = base == BL_NO_BASE ? BL_COPY_NO_OLD : p->old->number[base];
	}
	set_pairs(p, piece);
}

/* How much of it the host has. The last byte comes anew, for there has to be a piece. */
static uint64_t kept_of(const struct planner *p, uint32_t at)
{
	const struct bl_path_info *info = info_at(p, at);
	if (!p->kept || p->kept->number != p->new->number[p->load->order[at]] ||
	    memcmp(p->kept->nar_hash, info->nar_hash, BL_SHA256_LEN) != 0)
		return 0;
	return p->kept->bytes < info->nar_size ? p->kept->bytes : info->nar_size - 1;
}

/* Bytes @from to @from + head's of NAR @at, without those before @kept. */
static void plan_part(struct planner *p, uint32_t at, uint64_t from, uint64_t kept,
		      const struct bl_delta_head *head)
{
	if (from + head->size_bytes <= kept)
		return;
	struct bl_load_piece *piece = add_piece(p, at, 1);
	piece->head = *head;
	piece->part = from > kept ? from : kept;
	piece->head.size_bytes -= piece->part - from;
	if (head->kind == BL_DELTA_PATCH)
		set_olds(p, piece);
	make_key(p, piece);
}

static void plan_one(struct planner *p, uint32_t at)
{
	uint64_t size = info_at(p, at)->nar_size;
	uint64_t kept = kept_of(p, at);
	uint32_t base = base_of(p, at);
	uint64_t base_size = base == BL_NO_BASE ? 0 : p->old->infos.items[base].nar_size;
	uint64_t n = base_size ? bl_delta_slices(size, base_size, p->bound)
			       : (size + BL_LOAD_PART - 1) / BL_LOAD_PART;
	uint64_t done = 0;
	p->load->kept_bytes += kept;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t left = size - done;
		struct bl_delta_head head = {
			.kind = BL_DELTA_ZSTD,
			.size_bytes = left < BL_LOAD_PART ? left : BL_LOAD_PART,
		};
		if (base_size)
			bl_delta_slice(size, base_size, p->bound, i, &head);
		plan_part(p, at, done, kept, &head);
		done += head.size_bytes;
	}
}

/* The small ones that were put aside, as one piece. */
static void end_group(struct planner *p)
{
	if (p->n_group == 0)
		return;
	struct bl_load *l = p->load;
	uint32_t first = (uint32_t)l->n;
	for (size_t i = 0; i < p->n_group; i++)
		l->order[l->n++] = p->group[i];
	struct bl_load_piece *piece = add_piece(p, first, (uint32_t)p->n_group);
	piece->head.size_bytes = p->group_size;
	if (p->group_base > 0) {
		piece->head.kind = BL_DELTA_PATCH;
		piece->head.base_bytes = p->group_base;
		set_olds(p, piece);
	}
	make_key(p, piece);
	p->n_group = 0;
	p->group_size = p->group_base = 0;
}

/* Puts aside a small one; false: it is told by something large, and goes by itself. */
static bool join_group(struct planner *p, uint32_t place)
{
	uint64_t size = p->new->infos.items[place].nar_size;
	uint32_t base = p->pairing ? p->pairing->bases[place] : BL_NO_BASE;
	uint64_t base_size = base == BL_NO_BASE ? 0 : p->old->infos.items[base].nar_size;
	if (size >= BL_DELTA_SOLID_NAR || base_size > BL_DELTA_SOLID_SIZE ||
	    size + base_size > p->bound)
		return false;
	if (p->group_size + size > BL_DELTA_SOLID_SIZE ||
	    p->group_size + size + p->group_base + base_size > p->bound)
		end_group(p);
	p->group[p->n_group++] = place;
	p->group_size += size;
	p->group_base += base_size;
	return true;
}

static bool refers_to_group(const struct planner *p, uint32_t place)
{
	for (size_t i = 0; i < p->new->n_refs[place]; i++)
		for (size_t k = 0; k < p->n_group; k++)
			if (p->group[k] == p->new->refs[place][i])
				return true;
	return false;
}

/*
 * In the order of the closure, but small ones wait for each other until they fill a piece or
 * one that does not wait refers to them.
 */
static void plan_all(struct planner *p, const bool *wanted)
{
	const struct bl_local *new = p->new;
	p->group = bl_xcalloc(new->infos.n + 1, sizeof(*p->group));
	for (uint32_t i = 0; i < new->infos.n; i++) {
		if (!wanted[i])
			continue;
		p->load->nar_bytes += new->infos.items[i].nar_size;
		if (join_group(p, i))
			continue;
		if (refers_to_group(p, i))
			end_group(p);
		p->load->order[p->load->n++] = i;
		plan_one(p, (uint32_t)p->load->n - 1);
	}
	end_group(p);
	free(p->group);
}

int bl_load_plan(const struct bl_local *new, const bool *valid, const struct bl_load_kept *kept,
		 const struct bl_local *old, uint64_t bound_bytes, struct bl_load *out,
		 struct bl_err *err)
{
	BL_AUTO(bl_pairing) pairing = { 0 };
	struct bl_load load = { 0 };
	bl_autofree bool *wanted = bl_xcalloc(new->infos.n + 1, sizeof(*wanted));
	struct planner p = {
		.new = new, .old = old, .bound = bound_bytes, .kept = kept, .load = &load
	};
	if (old) {
		bl_autofree struct bl_pair_path *news = as_paths(new, valid);
		bl_autofree struct bl_pair_path *olds = as_paths(old, NULL);
		if (bl_pair(news, new->infos.n, olds, old->infos.n, &pairing, err) < 0)
			return -1;
		number_pairs(new, old, &pairing, &load);
		p.pairing = &pairing;
	}
	for (size_t i = 0; i < new->infos.n; i++)
		wanted[i] = !valid[new->number[i]];
	load.order = bl_xcalloc(new->infos.n + 1, sizeof(*load.order));
	plan_all(&p, wanted);
	bl_autofree uint32_t *numbers = bl_xcalloc(load.n + 1, sizeof(*numbers));
	for (size_t i = 0; i < load.n; i++)
		numbers[i] = new->number[load.order[i]];
	load.guesses = bl_copy_guesses(load.pairs, load.n_pairs, numbers, load.n, new->infos.n);
	*out = load;
	return 0;
}

static void free_pieces(struct bl_load *load)
{
	for (size_t i = 0; i < load->n_pieces; i++) {
		free(load->pieces[i].olds);
		free(load->pieces[i].pairs);
	}
	free(load->pieces);
	load->pieces = NULL;
	load->n_pieces = 0;
}

void bl_load_again(const struct bl_local *new, const bool *again, struct bl_load *load)
{
	struct planner p = { .new = new, .load = load };
	free_pieces(load);
	load->kept_bytes = 0;
	for (uint32_t i = 0; i < load->n; i++)
		if (again[i])
			plan_one(&p, i);
}

void bl_load_free(struct bl_load *load)
{
	free_pieces(load);
	free(load->order);
	free(load->pairs);
	free(load->guesses);
	*load = (struct bl_load){ 0 };
}
