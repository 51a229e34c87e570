/* SPDX-License-Identifier: MIT */
#include "store/worker.h"

#include "store/path.h"

#include <stdlib.h>
#include <string.h>

#define HELLO_SERVER 0x6478696fU

/*
 * What stands there is a row of parts, a letter each:
 *
 *   f a frame's kind                M, V the daemon's hello and version
 *   i a number of no interest       v, k Nix's version, whether we are trusted
 *   z 0                             n a number        p a path or nothing    P paths
 *   s a text of no interest         b whether an info follows, which is:
 *   l a line of the log               d deriver  h hash  R references  e time
 *   F fields of an activity           S size  u ultimate  G signatures  c content address
 *   m, T an error's message, traces
 */

enum stage { GREETING, FRAMES, BODY, PROBLEM, COMPLETE };

static const char *body_of(enum bl_worker_kind kind)
{
	static const char *const bodies[] = {
		[BL_WORKER_HELLO] = "",   [BL_WORKER_NOTHING] = "",
		[BL_WORKER_NUMBER] = "n", [BL_WORKER_PATH] = "p",
		[BL_WORKER_PATHS] = "P",  [BL_WORKER_INFO] = "bdhReSuGc",
	};
	return bodies[kind];
}

void bl_worker_answer_free(struct bl_worker_answer *a)
{
	free(a->problem);
	free(a->text);
	bl_strv_free(&a->paths);
	bl_path_info_free(&a->info);
	*a = (struct bl_worker_answer){ 0 };
}

void bl_worker_reader_free(struct bl_worker_reader *r)
{
	bl_worker_answer_free(&r->answer);
	bl_buf_free(&r->text);
	bl_buf_free(&r->problem);
}

void bl_worker_expect(struct bl_worker_reader *r, enum bl_worker_kind kind, size_t paths_max)
{
	bl_worker_answer_free(&r->answer);
	bl_buf_clear(&r->problem);
	r->kind = kind;
	r->paths_max = paths_max;
	r->stage = kind == BL_WORKER_HELLO ? GREETING : FRAMES;
	r->at = kind == BL_WORKER_HELLO ? "MV" : "f";
	r->phase = 0;
	r->got = 0;
	r->in_text = false;
}

/* Skips one of the sequences that begin with ESC; returns how long it is. */
static size_t escape_len(const char *s, size_t len)
{
	size_t i = 2;
	if (len < 2 || s[1] != '[')
		return len < 2 ? len : 2;
	while (i < len && (s[i] < 0x40 || s[i] > 0x7e))
		i++;
	return i < len ? i + 1 : len;
}

char *bl_worker_clean(const char *text, size_t len)
{
	struct bl_buf b = { 0 };
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		if (c == 0x1b) {
			i += escape_len(text + i, len - i);
			continue;
		}
		if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
			bl_buf_putc(&b, (char)c);
		i++;
	}
	while (b.len > 0 && b.data[b.len - 1] == '\n')
		b.data[--b.len] = '\0';
	return bl_buf_steal(&b);
}

/* The parts of a row are read, or what an error says, or all there is to read. */
static void row_ended(struct bl_worker_reader *r)
{
	if (r->stage == PROBLEM)
		r->answer.problem = bl_worker_clean(bl_buf_str(&r->problem), r->problem.len);
	if (r->stage == PROBLEM || r->stage == BODY) {
		r->stage = COMPLETE;
		return;
	}
	r->stage = FRAMES;
	r->at = "f";
}

static void next_row(struct bl_worker_reader *r, const char *row)
{
	r->at = row;
	r->phase = 0;
	if (!*row)
		row_ended(r);
}

static void next_part(struct bl_worker_reader *r)
{
	next_row(r, r->at + 1);
}

static void next_item(struct bl_worker_reader *r)
{
	r->phase = 1;
	if (r->left == 0 || --r->left == 0)
		next_part(r);
}

static int begin_list(struct bl_worker_reader *r, uint64_t max, struct bl_err *err)
{
	if (r->number > max)
		return bl_err_set(err, BL_E_INPUT, "%llu items, where %llu are the limit",
				  (unsigned long long)r->number, (unsigned long long)max);
	r->left = r->number;
	r->phase = 1;
	if (r->left == 0)
		next_part(r);
	return 0;
}

static int frame_begins(struct bl_worker_reader *r, struct bl_err *err)
{
	static const struct {
		uint32_t kind;
		const char *row;
	} frames[] = {
		{ 0x6f6c6d67, "l" },      /* NEXT */
		{ 0x53545254, "iiisFi" }, /* START_ACTIVITY */
		{ 0x53544f50, "i" },      /* STOP_ACTIVITY */
		{ 0x52534c54, "iiF" },    /* RESULT */
		{ 0x64617416, "s" },      /* WRITE */
		{ 0x63787470, "sismzT" }, /* ERROR */
	};
	if (r->number == 0x616c7473) { /* LAST */
		r->stage = BODY;
		next_row(r, body_of(r->kind));
		return 0;
	}
	for (size_t i = 0; i < BL_COUNT(frames); i++) {
		if (r->number != frames[i].kind)
			continue;
		if (i == BL_COUNT(frames) - 1)
			r->stage = PROBLEM;
		next_row(r, frames[i].row);
		return 0;
	}
	return bl_err_set(err, BL_E_INPUT, "0x%llx is no kind of message",
			  (unsigned long long)r->number);
}

static int version_read(struct bl_worker_reader *r, struct bl_err *err)
{
	uint64_t theirs = r->number;
	if (theirs >> 8 == BL_WORKER_OFFERED >> 8 && theirs < BL_WORKER_OLDEST)
		return bl_err_set(err, BL_E_REFUSED,
				  "it speaks protocol 1.%u, which is older than Nix 2.4: "
				  "update Nix on that machine",
				  (unsigned)(theirs & 0xff));
	if (theirs >> 8 != BL_WORKER_OFFERED >> 8)
		return bl_err_set(err, BL_E_INPUT, "it speaks protocol 0x%llx, which we do not",
				  (unsigned long long)theirs);
	r->answer.protocol = theirs < BL_WORKER_OFFERED ? (unsigned)theirs : BL_WORKER_OFFERED;
	r->answer.text = bl_xstrdup("");
	next_row(r, r->answer.protocol >= 0x123                                  ? "vk"
		    : r->answer.protocol == 0x122 || r->answer.protocol == 0x121 ? "v"
										 : "");
	return 0;
}

/* A number that is all of its part. */
static int plain_number(struct bl_worker_reader *r, struct bl_err *err)
{
	struct bl_worker_answer *a = &r->answer;
	switch (*r->at) {
	case 'M':
		if (r->number != HELLO_SERVER)
			return bl_err_set(err, BL_E_INPUT, "what answers is no Nix daemon");
		break;
	case 'z':
		if (r->number != 0)
			return bl_err_set(err, BL_E_INPUT, "a position, which no daemon sends");
		break;
	case 'k':
	case 'n':
		a->number = r->number;
		break;
	case 'b':
		a->number = r->number != 0;
		if (!a->number) {
			next_row(r, "");
			return 0;
		}
		break;
	case 'e':
		a->info.registered = r->number;
		break;
	case 'S':
		a->info.nar_size = r->number;
		break;
	case 'u':
		a->info.ultimate = r->number != 0;
		break;
	default:
		break;
	}
	next_part(r);
	return 0;
}

static int field_type(struct bl_worker_reader *r, struct bl_err *err)
{
	if (r->number > 1)
		return bl_err_set(err, BL_E_INPUT, "%llu is no type of a field",
				  (unsigned long long)r->number);
	r->phase = r->number == 1 ? 3 : 2;
	return 0;
}

static int number_read(struct bl_worker_reader *r, struct bl_err *err)
{
	switch (*r->at) {
	case 'f':
		return frame_begins(r, err);
	case 'V':
		return version_read(r, err);
	case 'P':
		return begin_list(r, r->paths_max, err);
	case 'R':
		return begin_list(r, BL_WORKER_REFERENCES_MAX, err);
	case 'G':
		return begin_list(r, BL_WORKER_SIGS_MAX, err);
	case 'F':
		if (r->phase == 0)
			return begin_list(r, BL_WORKER_ITEMS_MAX, err);
		if (r->phase == 1)
			return field_type(r, err);
		next_item(r);
		return 0;
	case 'T':
		if (r->phase == 0)
			return begin_list(r, BL_WORKER_ITEMS_MAX, err);
		r->phase = 2; /* its position is nothing to us */
		return 0;
	default:
		return plain_number(r, err);
	}
}

static int path_wanted(const struct bl_worker_reader *r, struct bl_err *err)
{
	return bl_store_path_check(bl_buf_str(&r->text), "the Nix daemon", err);
}

/* An item of a list that is kept. */
static int item_read(struct bl_worker_reader *r, struct bl_strv *to, struct bl_err *err)
{
	if (*r->at != 'G' && path_wanted(r, err) < 0)
		return -1;
	bl_strv_add(to, bl_buf_str(&r->text));
	next_item(r);
	return 0;
}

static void log_read(struct bl_worker_reader *r)
{
	if (!r->line)
		return;
	bl_autofree char *text = bl_worker_clean(bl_buf_str(&r->text), r->text.len);
	r->line(r->ctx, text);
}

static int plain_text(struct bl_worker_reader *r, struct bl_err *err)
{
	struct bl_worker_answer *a = &r->answer;
	const char *text = bl_buf_str(&r->text);
	bool path = *r->at == 'p' || *r->at == 'd';
	if (path && *text && path_wanted(r, err) < 0)
		return -1;
	if (*r->at == 'l')
		log_read(r);
	else if (*r->at == 'm')
		bl_buf_append(&r->problem, text, r->text.len);
	else if (*r->at == 'v' || *r->at == 'p')
		bl_replace_str(&a->text, text);
	else if (*r->at == 'd')
		bl_replace_str(&a->info.deriver, text);
	else if (*r->at == 'c')
		bl_replace_str(&a->info.ca, text);
	else if (*r->at == 'h' && bl_unhex(text, a->info.nar_hash, BL_SHA256_LEN, err) < 0)
		return bl_err_wrap(err, "a hash");
	next_part(r);
	return 0;
}

static int text_read(struct bl_worker_reader *r, struct bl_err *err)
{
	switch (*r->at) {
	case 'P':
		return item_read(r, &r->answer.paths, err);
	case 'R':
		return item_read(r, &r->answer.info.references, err);
	case 'G':
		return item_read(r, &r->answer.info.sigs, err);
	case 'F':
		next_item(r);
		return 0;
	case 'T':
		if (r->problem.len + r->text.len < BL_WORKER_TEXT_MAX) {
			bl_buf_putc(&r->problem, '\n');
			bl_buf_append(&r->problem, bl_buf_str(&r->text), r->text.len);
		}
		next_item(r);
		return 0;
	default:
		return plain_text(r, err);
	}
}

/* ---- numbers and texts from bytes */

static bool text_wanted(const struct bl_worker_reader *r)
{
	switch (*r->at) {
	case 'P':
	case 'R':
	case 'G':
		return r->phase == 1;
	case 'F':
		return r->phase == 3;
	case 'T':
		return r->phase == 2;
	default:
		return strchr("lsmvhdpc", *r->at) != NULL;
	}
}

/* Text for people, of which the first part is enough. */
static bool may_be_cut(const struct bl_worker_reader *r)
{
	return strchr("lsmFT", *r->at) != NULL;
}

static int length_read(struct bl_worker_reader *r, struct bl_err *err)
{
	uint64_t max = may_be_cut(r) ? BL_WORKER_SKIP_MAX : BL_WORKER_PATH_MAX;
	if (r->number > max)
		return bl_err_set(err, BL_E_INPUT,
				  "a text of %llu bytes, where %llu are the limit",
				  (unsigned long long)r->number, (unsigned long long)max);
	if (!may_be_cut(r))
		r->kept += r->number + 64; /* and what the allocator takes for it */
	if (r->kept > BL_WORKER_KEPT_MAX)
		return bl_err_set(err, BL_E_INPUT, "its answers take more than %d MiB",
				  BL_WORKER_KEPT_MAX >> 20);
	r->in_text = true;
	r->text_left = r->number;
	r->pad = (8 - r->number % 8) % 8;
	bl_buf_clear(&r->text);
	return 0;
}

static size_t take_text(struct bl_worker_reader *r, const char *p, size_t len)
{
	size_t take = r->text_left < len ? (size_t)r->text_left : len;
	size_t room = BL_WORKER_TEXT_MAX - r->text.len;
	if (*r->at != 's' && *r->at != 'F')
		bl_buf_append(&r->text, p, take < room ? take : room);
	r->text_left -= take;
	return take;
}

static int text_complete(struct bl_worker_reader *r, struct bl_err *err)
{
	r->in_text = false;
	r->got = 0;
	if (!may_be_cut(r) && strlen(bl_buf_str(&r->text)) != r->text.len)
		return bl_err_set(err, BL_E_INPUT, "a NUL in a text");
	return text_read(r, err);
}

static int take_byte(struct bl_worker_reader *r, uint8_t byte, struct bl_err *err)
{
	if (r->in_text) {
		r->pad--;
		return byte == 0 ? 0 : bl_err_set(err, BL_E_INPUT, "padding that is not zero");
	}
	r->number = (r->got == 0 ? 0 : r->number) | (uint64_t)byte << 8 * r->got;
	if (++r->got < 8)
		return 0;
	if (text_wanted(r))
		return length_read(r, err);
	r->got = 0;
	return number_read(r, err);
}

int bl_worker_read(struct bl_worker_reader *r, const void *data, size_t len, size_t *out_used,
		   struct bl_err *err)
{
	const char *p = data;
	const char *end = p + len;
	while (p < end && r->stage != COMPLETE) {
		if (r->in_text && r->text_left > 0)
			p += take_text(r, p, (size_t)(end - p));
		else if (take_byte(r, (uint8_t)*p++, err) < 0)
			return -1;
		if (r->in_text && r->text_left + r->pad == 0 && text_complete(r, err) < 0)
			return -1;
	}
	*out_used = (size_t)(p - (const char *)data);
	return r->stage == COMPLETE;
}
