/* SPDX-License-Identifier: MIT */
/*
 * The parts of a closure as they are sent: the first byte says which. What is taken and put
 * again is the same bytes, since all of it has one form only.
 */
#include "wire/copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATHS 300
#define OLD   200

static void same(const struct bl_buf *b, const char *data, size_t len)
{
	assert(b->len == len && (len == 0 || memcmp(b->data, data, len) == 0));
}

static int paths(const char *data, size_t len, struct bl_err *err)
{
	BL_AUTO(bl_strv) v = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	if (bl_copy_take_paths(data, len, &v, err) < 0)
		return -1;
	assert(bl_copy_sorted(&v));
	for (size_t i = 0; i < v.n; i++)
		bl_copy_put_path(&b, v.items[i]);
	same(&b, data, len);
	return 0;
}

static int infos(const char *data, size_t len, struct bl_err *err)
{
	while (len > 0) {
		BL_AUTO(bl_copy_info) info = { 0 };
		BL_AUTO(bl_buf) b = { 0 };
		const char *from = data;
		if (bl_copy_take_info(&data, &len, PATHS, &info, err) < 0)
			return -1;
		assert(info.path < PATHS && info.nar_size > 0 && info.n_refs <= PATHS);
		for (size_t i = 0; i < info.n_refs; i++)
			assert(info.refs[i] < PATHS);
		bl_copy_put_info(&b, &info);
		same(&b, from, (size_t)(data - from));
	}
	return 0;
}

static int pairs(const char *data, size_t len, struct bl_err *err)
{
	bl_autofree struct bl_copy_pair *list = NULL;
	BL_AUTO(bl_buf) b = { 0 };
	size_t n = 0;
	if (bl_copy_take_pairs(data, len, OLD, PATHS, &list, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		assert(list[i].old < OLD && list[i].new < PATHS);
	bl_copy_put_pairs(&b, list, n);
	same(&b, data, len);
	return 0;
}

static int piece(const char *data, size_t len, struct bl_err *err)
{
	BL_AUTO(bl_copy_piece) p = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	static const struct bl_copy_pair known[] = { { 1, 2 }, { 2, 0 }, { 3, 2 } };
	static const uint32_t numbers[PATHS] = { 2, 0, 1 };
	bl_autofree uint32_t *guesses = bl_copy_guesses(known, 3, numbers, PATHS, PATHS);
	if (bl_copy_take_piece(data, len, PATHS, OLD, guesses, &p, err) < 0)
		return -1;
	assert(p.count > 0 && p.first < PATHS && p.count <= PATHS - p.first);
	assert(p.part == 0 || p.count == 1);
	for (size_t i = 0; p.olds && i < p.count; i++)
		assert(p.olds[i] < OLD || p.olds[i] == BL_COPY_NO_OLD);
	bl_copy_put_piece(&b, &p, guesses);
	same(&b, data, len);
	return 0;
}

static int bits(const char *data, size_t len, struct bl_err *err)
{
	bool list[PATHS];
	BL_AUTO(bl_buf) b = { 0 };
	if (bl_copy_take_bits(data, len, list, PATHS, err) < 0)
		return -1;
	bl_copy_put_bits(&b, list, PATHS);
	same(&b, data, len);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const parts[])(const char *data, size_t len,
				    struct bl_err *err) = { paths, infos, pairs, piece, bits };
	struct bl_err err = { 0 };
	if (size == 0)
		return 0;
	int rc = parts[data[0] % BL_COUNT(parts)]((const char *)data + 1, size - 1, &err);
	assert(rc == 0 || (err.code == BL_E_INPUT && *err.msg));
	return 0;
}
