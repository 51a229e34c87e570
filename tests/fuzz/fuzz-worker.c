/* SPDX-License-Identifier: MIT */
/* What a Nix daemon answers: the first byte says to what, the rest is read as a stream. */
#include "store/path.h"
#include "store/worker.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATHS_MAX 50

static void check_line(void *ctx, const char *text)
{
	size_t *n = ctx;
	assert(strlen(text) <= BL_WORKER_TEXT_MAX && !strchr(text, 0x1b));
	(*n)++;
}

static void check_paths(const struct bl_strv *v, size_t max)
{
	assert(v->n <= max);
	for (size_t i = 0; i < v->n; i++)
		assert(bl_store_path_ok(v->items[i]));
}

static void check_answer(const struct bl_worker_reader *r, enum bl_worker_kind kind)
{
	const struct bl_worker_answer *a = &r->answer;
	if (a->problem) {
		assert(strlen(a->problem) <= BL_WORKER_TEXT_MAX && !strchr(a->problem, '\r'));
		return;
	}
	if (kind == BL_WORKER_HELLO)
		assert(a->text && a->protocol >= BL_WORKER_OLDEST &&
		       a->protocol <= BL_WORKER_OFFERED);
	if (kind == BL_WORKER_PATH)
		assert(!*a->text || bl_store_path_ok(a->text));
	check_paths(&a->paths, PATHS_MAX);
	check_paths(&a->info.references, BL_WORKER_REFERENCES_MAX);
	if (kind == BL_WORKER_INFO && a->number)
		assert(a->info.deriver && a->info.ca && a->info.sigs.n <= BL_WORKER_SIGS_MAX);
}

/* Returns how the stream ended, and after how many bytes and answers. */
static int read_all(enum bl_worker_kind kind, const uint8_t *data, size_t size, size_t piece,
		    size_t out[3])
{
	BL_AUTO(bl_worker_reader) r = { .line = check_line, .ctx = &out[2] };
	struct bl_err err = { 0 };
	int rc = 0;
	memset(out, 0, 3 * sizeof(out[0]));
	bl_worker_expect(&r, kind, PATHS_MAX);
	while (out[0] < size && rc >= 0) {
		size_t used = 0;
		size_t len = size - out[0] < piece ? size - out[0] : piece;
		rc = bl_worker_read(&r, data + out[0], len, &used, &err);
		assert(rc >= 0 ? used <= len : err.code != BL_E_NONE && err.msg[0]);
		assert(rc != 0 || used == len);
		assert(r.kept <= BL_WORKER_KEPT_MAX || rc < 0);
		out[0] += used;
		if (rc <= 0)
			continue;
		assert(used > 0);
		check_answer(&r, kind);
		out[1]++;
		bl_worker_expect(&r, kind, PATHS_MAX);
	}
	return rc < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum bl_worker_kind kind = (enum bl_worker_kind)(data[0] % (BL_WORKER_INFO + 1));
	size_t whole[3];
	size_t parts[3];
	int rc = read_all(kind, data + 1, size - 1, size, whole);
	static const size_t pieces[] = { 1, 5, 64 };
	for (size_t i = 0; i < BL_COUNT(pieces); i++) {
		int again = read_all(kind, data + 1, size - 1, pieces[i], parts);
		/* where it broke is known to a piece */
		assert(again == rc && parts[1] == whole[1] && parts[2] == whole[2]);
	}
	return 0;
}
