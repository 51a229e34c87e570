/* SPDX-License-Identifier: MIT */
#include "agent/unpack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* SENT: its NAR was whole, and what became of it is not known yet. */
enum { AWAITED, SENT, VALID, FAILED };

void bl_unpack_begin(struct bl_unpack *u, size_t n)
{
	u->infos_max = n;
	u->infos = bl_xcalloc(n, sizeof(u->infos[0]));
	u->states = bl_xcalloc(n, sizeof(u->states[0]));
	u->begun = bl_xcalloc(n, sizeof(u->begun[0]));
}

void bl_unpack_free(struct bl_unpack *u)
{
	for (size_t i = 0; i < u->n_infos; i++)
		bl_copy_info_free(&u->infos[i]);
	free(u->infos);
	free(u->states);
	free(u->begun);
	free(u->sizes_bytes);
	free(u->why);
	bl_copy_piece_free(&u->piece);
	*u = (struct bl_unpack){ 0 };
}

/* ---- what became of paths */

static bool says(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strstr(text, *words))
			return true;
	return false;
}

static const char *const full_words[] = { "No space left on device", "disk is full",
					  "Disk quota exceeded", NULL };
/* of Nix 2.8, and of newer ones. Whether it trusts us old ones do not tell, and where it
 * does not, unsigned paths may be allowed all the same: what counts is that it refuses one */
static const char *const unsigned_words[] = { "lacks a valid signature",
					      "lacks a signature by a trusted key", NULL };

static void fails(struct bl_unpack *u, size_t at, const char *why)
{
	u->states[at] = FAILED;
	u->full = u->full || says(why, full_words);
	if (!u->unsigned_path && says(why, unsigned_words))
		u->unsigned_path = u->paths->items[u->infos[at].path];
	if (!u->why)
		u->why = bl_xprintf("%s: %.1000s", u->paths->items[u->infos[at].path], why);
}

static void drop_kept(struct bl_unpack *u)
{
	bl_kept_drop(u->kept);
	u->kept_at = 0;
}

void bl_unpack_added(struct bl_unpack *u, const char *problem)
{
	if (u->told == u->n_begun)
		return;
	size_t at = u->begun[u->told++];
	/* it is there, or what came is not what it has to be */
	if (u->kept_at == at + 1)
		drop_kept(u);
	if (problem)
		fails(u, at, problem);
	else
		u->states[at] = VALID;
}

/* ---- NARs */

/* Gives up the one that is open. */
static int cancel(struct bl_unpack *u, struct bl_err *err)
{
	if (u->open && u->open == u->kept_at)
		drop_kept(u);
	u->open = 0;
	return bl_daemon_add_cancel(u->daemon, err);
}

static int begin_nar(struct bl_unpack *u, size_t at, struct bl_err *err)
{
	const struct bl_copy_info *info = &u->infos[at];
	bl_autofree char **refs = bl_xcalloc(info->n_refs + 1, sizeof(refs[0]));
	struct bl_path_info path = { .path = u->paths->items[info->path],
				     .deriver = info->deriver,
				     .ca = info->ca,
				     .nar_size = info->nar_size,
				     .references = { refs, info->n_refs },
				     .sigs = info->sigs };
	memcpy(path.nar_hash, info->nar_hash, BL_SHA256_LEN);
	for (size_t i = 0; i < info->n_refs; i++)
		refs[i] = u->paths->items[info->refs[i]];
	if (bl_daemon_add_begin(u->daemon, &path, err) < 0)
		return -1;
	u->begun[u->n_begun++] = (uint32_t)at;
	u->open = at + 1;
	u->open_at = 0;
	return 0;
}

/* Its NAR comes from the beginning. One that may still be gone on with is not given up. */
static void keep(struct bl_unpack *u, size_t at)
{
	const struct bl_copy_info *info = &u->infos[at];
	const char *path = u->paths->items[info->path];
	bool known = u->piece.kind == BL_DELTA_COPY && u->piece.size_bytes == info->nar_size;
	if (info->nar_size < BL_KEPT_MIN || known ||
	    (u->kept_waits && strcmp(u->kept->head.path, path) != 0))
		return;
	u->kept_waits = false;
	u->kept_at = at + 1;
	bl_kept_begin(u->kept, path, info->nar_hash, info->nar_size);
}

/* To Nix what is kept, up to byte @end. */
static int replay(struct bl_unpack *u, size_t at, uint64_t end, struct bl_err *err)
{
	char data[65536];
	while (u->open_at < end) {
		uint64_t left = end - u->open_at;
		size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);
		if (u->states[at] == FAILED)
			return bl_err_set(err, BL_E_FAILED, "Nix gave it up");
		if (bl_kept_read(u->kept, u->open_at, data, n, err) < 0 ||
		    bl_daemon_add_data(u->daemon, data, n, err) < 0)
			return -1;
		u->open_at += n;
	}
	return 0;
}

static int go_on(struct bl_unpack *u, const struct bl_copy_piece *p, struct bl_err *err)
{
	const struct bl_copy_info *info = &u->infos[p->first];
	if (!u->kept_waits ||
	    !bl_kept_is(u->kept, u->paths->items[info->path], info->nar_hash, info->nar_size) ||
	    p->part > u->kept->bytes)
		return bl_err_set(err, BL_E_INPUT,
				  "a part of its NAR comes without those before");
	if (begin_nar(u, p->first, err) < 0)
		return -1;
	u->kept_waits = false;
	u->kept_at = u->open;
	bl_kept_go_on(u->kept);
	return replay(u, p->first, p->part, err);
}

static int end_nar(struct bl_unpack *u, struct bl_err *err)
{
	size_t at = u->open - 1;
	u->open = 0;
	if (u->states[at] == AWAITED)
		u->states[at] = SENT;
	return bl_daemon_add_end(u->daemon, err);
}

/* Bytes of the piece's part @i: bl_delta_split's. */
static int put(void *arg, size_t i, const uint8_t *data, size_t len, bool last BL_UNUSED,
	       struct bl_err *err)
{
	struct bl_unpack *u = arg;
	size_t at = u->piece.first + i;
	if (u->open != at + 1) {
		/* it came before, and is wanted no more */
		if (u->states[at] != AWAITED)
			return 0;
		if (begin_nar(u, at, err) < 0)
			return -1;
		keep(u, at);
	}
	if (u->states[at] == FAILED) /* Nix gave it up early */
		return cancel(u, err);
	if (bl_daemon_add_data(u->daemon, data, len, err) < 0)
		return -1;
	if (u->open == u->kept_at)
		bl_kept_put(u->kept, u->open_at, data, len);
	u->open_at += len;
	return u->open_at < u->infos[at].nar_size ? 0 : end_nar(u, err);
}

/* ---- pieces */

/* Of the piece whatever has not come whole. */
static int fail_piece(struct bl_unpack *u, const struct bl_err *why, struct bl_err *err)
{
	u->going = false;
	if (!bl_daemon_works(u->daemon)) {
		*err = *why;
		return -1;
	}
	for (size_t at = u->piece.first; at < (size_t)u->piece.first + u->piece.count; at++)
		if (u->states[at] == AWAITED)
			fails(u, at, why->msg);
	return u->open ? cancel(u, err) : 0;
}

static int end_piece(struct bl_unpack *u, struct bl_err *err)
{
	struct bl_err why = { 0 };
	int rc = 0;
	if (u->going &&
	    (bl_decoder_end(u->decoder, &why) < 0 || bl_delta_split_end(&u->split, &why) < 0))
		rc = fail_piece(u, &why, err);
	u->going = false;
	if (!u->open)
		bl_bases_drop(u->bases);
	return rc;
}

/* A path of which only a part came. */
static int end_open(struct bl_unpack *u, struct bl_err *err)
{
	if (!u->open)
		return 0;
	bl_autofree char *why =
		bl_xprintf("its NAR ends after %" PRIu64 " of %" PRIu64 " bytes", u->open_at,
			   u->infos[u->open - 1].nar_size);
	fails(u, u->open - 1, why);
	bl_bases_drop(u->bases);
	return cancel(u, err);
}

static bool is_awaited(const struct bl_unpack *u, const struct bl_copy_piece *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (u->states[p->first + i] == AWAITED)
			return true;
	return false;
}

/* How it is cut into parts, and whether it is as large as they are. */
static int measure(struct bl_unpack *u, const struct bl_copy_piece *p, struct bl_err *err)
{
	uint64_t size = 0;
	u->sizes_bytes = bl_xrealloc(u->sizes_bytes, p->count, sizeof(u->sizes_bytes[0]));
	for (size_t i = 0; i < p->count; i++)
		size += u->sizes_bytes[i] = u->infos[p->first + i].nar_size;
	bool whole = p->count > 1;
	if (whole ? p->size_bytes != size : p->size_bytes > size - p->part)
		return bl_err_set(err, BL_E_INPUT,
				  "a piece of %" PRIu64 " bytes where %" PRIu64 " are to come",
				  p->size_bytes, whole ? size : size - p->part);
	if (!whole)
		u->sizes_bytes[0] = p->size_bytes;
	u->split = (struct bl_delta_split){
		.sizes_bytes = u->sizes_bytes, .n = p->count, .put = put, .arg = u
	};
	return 0;
}

static int begin(struct bl_unpack *u, const struct bl_copy_piece *p, struct bl_err *err)
{
	struct bl_delta_head head = { (enum bl_delta_kind)p->kind, p->size_bytes, p->base_at,
				      p->base_bytes };
	struct bl_sink sink = bl_delta_split_sink(&u->split);
	const uint8_t *base = NULL;
	if (p->part > 0 && !u->open && go_on(u, p, err) < 0)
		return -1;
	if (measure(u, p, err) < 0 || bl_delta_head_check(&head, err) < 0)
		return -1;
	if (p->olds && bl_bases_window(u->bases, p, &base, err) < 0)
		return -1;
	return bl_decoder_begin(u->decoder, &head, base, &sink, err);
}

int bl_unpack_piece(struct bl_unpack *u, struct bl_copy_piece *piece, struct bl_err *err)
{
	struct bl_err why = { 0 };
	if (end_piece(u, err) < 0)
		return -1;
	bl_copy_piece_free(&u->piece);
	u->piece = *piece;
	*piece = (struct bl_copy_piece){ 0 };
	const struct bl_copy_piece *p = &u->piece;
	bool goes_on = u->open == (size_t)p->first + 1 && p->count == 1 && p->part > 0 &&
		       p->part == u->open_at;
	if (!goes_on && end_open(u, err) < 0)
		return -1;
	if (!is_awaited(u, p))
		return 0;
	u->going = begin(u, p, &why) == 0;
	return u->going ? 0 : fail_piece(u, &why, err);
}

int bl_unpack_data(struct bl_unpack *u, const void *data, size_t len, struct bl_err *err)
{
	struct bl_err why = { 0 };
	if (!u->going || bl_decoder_feed(u->decoder, data, len, &why) == 0)
		return 0;
	return fail_piece(u, &why, err);
}

int bl_unpack_end(struct bl_unpack *u, size_t *out_failed, struct bl_err *err)
{
	size_t failed = 0;
	if (end_piece(u, err) < 0 || end_open(u, err) < 0 ||
	    bl_daemon_finish(u->daemon, err) < 0)
		return -1;
	for (size_t i = 0; i < u->n_infos; i++) {
		if (u->states[i] == AWAITED)
			fails(u, i, "it was not sent");
		failed += u->states[i] == FAILED;
	}
	*out_failed = failed;
	return 0;
}

void bl_unpack_again(struct bl_unpack *u, bool *bits)
{
	for (size_t i = 0; i < u->n_infos; i++) {
		bits[i] = u->states[i] == FAILED;
		if (bits[i])
			u->states[i] = AWAITED;
	}
	u->n_begun = u->told = 0;
	bl_replace_str(&u->why, NULL);
}
