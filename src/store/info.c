/* SPDX-License-Identifier: MIT */
#include "store/info.h"

#include <stdlib.h>
#include <string.h>

static const char nix32_digits[] = "0123456789abcdfghijklmnpqrsvwxyz";

void bl_path_info_free(struct bl_path_info *info)
{
	free(info->path);
	free(info->deriver);
	free(info->ca);
	bl_strv_free(&info->references);
	bl_strv_free(&info->sigs);
	*info = (struct bl_path_info){ 0 };
}

size_t bl_path_infos_take(struct bl_path_infos *list, struct bl_path_info *info)
{
	if (list->n == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 16;
		list->items = bl_xrealloc(list->items, list->cap, sizeof(list->items[0]));
	}
	list->items[list->n] = *info;
	*info = (struct bl_path_info){ 0 };
	return list->n++;
}

struct bl_path_info *bl_path_infos_add(struct bl_path_infos *list, const char *path)
{
	struct bl_path_info info = { .path = bl_xstrdup(path) };
	size_t at = bl_path_infos_take(list, &info);
	return &list->items[at];
}

void bl_path_infos_free(struct bl_path_infos *list)
{
	for (size_t i = 0; i < list->n; i++)
		bl_path_info_free(&list->items[i]);
	free(list->items);
	*list = (struct bl_path_infos){ 0 };
}

/* ---- the order */

struct step {
	size_t at;   /* which path */
	size_t next; /* its reference that is looked at next */
};

struct sorting {
	const struct bl_path_infos *list;
	const struct bl_index *index;
	uint8_t *seen; /* 1: on the way down, 2: in the order */
	struct step *way;
	size_t depth;
	size_t *order;
	size_t n;
};

/* One step with the path at the end of the way: down to a reference, or into the order. */
static int sort_step(struct sorting *s, struct bl_err *err)
{
	struct step *top = &s->way[s->depth - 1];
	const struct bl_path_info *info = &s->list->items[top->at];
	if (top->next == info->references.n) {
		s->seen[top->at] = 2;
		s->order[s->n++] = top->at;
		s->depth--;
		return 0;
	}
	const char *reference = info->references.items[top->next++];
	size_t at = 0;
	if (!bl_index_find(s->index, reference, &at))
		return bl_err_set(err, BL_E_INPUT, "%s refers to %s, which is not in the list",
				  info->path, reference);
	if (at == top->at || s->seen[at] == 2)
		return 0;
	if (s->seen[at] == 1)
		return bl_err_set(err, BL_E_INPUT, "%s and %s refer to each other in a circle",
				  info->path, reference);
	s->seen[at] = 1;
	s->way[s->depth++] = (struct step){ .at = at };
	return 0;
}

int bl_path_infos_sort(struct bl_path_infos *list, struct bl_err *err)
{
	BL_AUTO(bl_index) index = { 0 };
	for (size_t i = 0; i < list->n; i++)
		if (bl_index_put(&index, list->items[i].path, i) != i)
			return bl_err_set(err, BL_E_INPUT, "%s is twice in the list",
					  list->items[i].path);
	bl_autofree uint8_t *seen = bl_xcalloc(list->n, 1);
	bl_autofree struct step *way = bl_xcalloc(list->n, sizeof(way[0]));
	bl_autofree size_t *order = bl_xcalloc(list->n, sizeof(order[0]));
	struct sorting s = {
		.list = list, .index = &index, .seen = seen, .way = way, .order = order
	};
	for (size_t i = 0; i < list->n; i++) {
		if (seen[i])
			continue;
		seen[i] = 1;
		way[s.depth++] = (struct step){ .at = i };
		while (s.depth > 0)
			if (sort_step(&s, err) < 0)
				return -1;
	}
	struct bl_path_info *sorted = bl_xcalloc(list->n, sizeof(sorted[0]));
	for (size_t i = 0; i < list->n; i++)
		sorted[i] = list->items[order[i]];
	free(list->items);
	list->items = sorted;
	list->cap = list->n;
	return 0;
}

/* ---- as text */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *bl_path_info_fingerprint(const struct bl_path_info *info)
{
	char hash[BL_NIX32_LEN(BL_SHA256_LEN) + 1];
	bl_nix32(info->nar_hash, sizeof(info->nar_hash), hash);
	BL_AUTO(bl_strv) refs = { 0 };
	bl_strv_append(&refs, &info->references);
	if (refs.n > 1)
		qsort(refs.items, refs.n, sizeof(refs.items[0]), by_text);
	struct bl_buf b = { 0 };
	bl_buf_printf(&b, "1;%s;sha256:%s;%llu;", info->path, hash,
		      (unsigned long long)info->nar_size);
	for (size_t i = 0; i < refs.n; i++)
		bl_buf_printf(&b, "%s%s", i > 0 ? "," : "", refs.items[i]);
	return bl_buf_steal(&b);
}

void bl_nix32(const uint8_t *data, size_t len, char *out)
{
	size_t chars = BL_NIX32_LEN(len);
	for (size_t i = 0; i < chars; i++) {
		size_t bit = (chars - 1 - i) * 5;
		unsigned two = data[bit / 8];
		if (bit / 8 + 1 < len)
			two |= (unsigned)data[bit / 8 + 1] << 8;
		out[i] = nix32_digits[two >> bit % 8 & 31];
	}
	out[chars] = '\0';
}

int bl_unnix32(const char *s, uint8_t *out, size_t len, struct bl_err *err)
{
	size_t chars = BL_NIX32_LEN(len);
	if (strlen(s) != chars)
		return bl_err_set(err, BL_E_INPUT, "%zu characters of nix32 wanted, got %zu",
				  chars, strlen(s));
	bl_autofree uint8_t *bytes = bl_xcalloc(len + 1, 1);
	for (size_t i = 0; i < chars; i++) {
		const char *digit = strchr(nix32_digits, s[i]);
		if (!digit)
			return bl_err_set(err, BL_E_INPUT, "not a character of nix32 at %zu",
					  i);
		size_t bit = (chars - 1 - i) * 5;
		unsigned two = (unsigned)(digit - nix32_digits) << bit % 8;
		bytes[bit / 8] = (uint8_t)(bytes[bit / 8] | two);
		bytes[bit / 8 + 1] = (uint8_t)(bytes[bit / 8 + 1] | two >> 8);
	}
	if (bytes[len] != 0) /* the first character has bits that no byte has */
		return bl_err_set(err, BL_E_INPUT, "'%.64s' is no nix32 of %zu bytes", s, len);
	memcpy(out, bytes, len);
	return 0;
}

/* ---- the index: open addressing, at most half full */

static struct bl_index_slot *slot_of(const struct bl_index *x, const char *text)
{
	uint32_t h = 2166136261U; /* FNV-1a */
	for (const char *p = text; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619U;
	size_t i = h & (x->size - 1);
	while (x->slots[i].text && strcmp(x->slots[i].text, text) != 0)
		i = (i + 1) & (x->size - 1);
	return &x->slots[i];
}

size_t bl_index_put(struct bl_index *x, const char *text, size_t at)
{
	if (2 * x->used >= x->size) {
		struct bl_index bigger = { .size = x->size ? 2 * x->size : 64,
					   .used = x->used };
		bigger.slots = bl_xcalloc(bigger.size, sizeof(bigger.slots[0]));
		for (size_t i = 0; i < x->size; i++)
			if (x->slots[i].text)
				*slot_of(&bigger, x->slots[i].text) = x->slots[i];
		free(x->slots);
		*x = bigger;
	}
	struct bl_index_slot *slot = slot_of(x, text);
	if (!slot->text) {
		*slot = (struct bl_index_slot){ .text = text, .at = at };
		x->used++;
	}
	return slot->at;
}

bool bl_index_find(const struct bl_index *x, const char *text, size_t *out_at)
{
	if (x->size == 0)
		return false;
	const struct bl_index_slot *slot = slot_of(x, text);
	if (slot->text)
		*out_at = slot->at;
	return slot->text != NULL;
}

void bl_index_free(struct bl_index *x)
{
	free(x->slots);
	*x = (struct bl_index){ 0 };
}
