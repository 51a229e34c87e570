/* SPDX-License-Identifier: MIT */
/*
 * What a host says while a closure is sent to it: records of what kind, how long (two bytes),
 * and that many bytes; the kinds that are right bring the others to places where it matters.
 * This machine's store and the connection are the functions of those names below. A copy ends
 * once, well only when the host has everything or was sent it, and sends nothing out of order.
 */
#include "copy/send.h"

#include "base/file.h"
#include "copy/local.h"
#include "store/nar.h"
#include "store/query.h"
#include "wire/copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATHS = 5 };
enum { MSG, FRAME, HAVE, VALID, FAILED, OK, STALL, DRAINED, KINDS };

static char new_top[] = "/nix/store/44444444444444444444444444444444-part-4";
static char old_top[] = "/nix/store/99999999999999999999999999999999-part-4";

/* ---- this machine's store: part 3 is large, 4 refers to all others */

static bool is_of(const char *top, const char *path)
{
	char first = top == new_top ? '0' : '5';
	return strlen(path) == sizeof(new_top) - 1 && path[11] >= first &&
	       path[11] < first + PATHS;
}

static size_t text_of(const char *path)
{
	return (path[11] - '0') % PATHS == 3 ? 70000 : 500;
}

static uint64_t nar_size(const char *path)
{
	/* the archive of a file is this much around it */
	return 112 + (text_of(path) + 7) / 8 * 8;
}

struct bl_daemon {
	int nothing;
};

int bl_daemon_open(const struct bl_daemon_spec *spec BL_UNUSED, struct bl_daemon **out,
		   struct bl_err *err BL_UNUSED)
{
	*out = bl_xcalloc(1, sizeof(**out));
	return 0;
}

void bl_daemon_close(struct bl_daemon *d)
{
	free(d);
}

bool bl_daemon_works(const struct bl_daemon *d BL_UNUSED)
{
	return true;
}

int bl_query_temp_roots(struct bl_daemon *d BL_UNUSED, const struct bl_strv *paths BL_UNUSED,
			struct bl_err *err BL_UNUSED)
{
	return 0;
}

/* Of parts 0 to 4 of either build. */
static bool is_part(const char *path)
{
	static const char name[] = "-part-0";
	size_t i = (size_t)(path[11] - '0') % PATHS;
	return path[43] == '-' && (is_of(new_top, path) || is_of(old_top, path)) &&
	       strncmp(path + 43, name, sizeof(name) - 2) == 0 && path[49] == (char)('0' + i);
}

static void add_info(struct bl_path_infos *out, const char *path)
{
	struct bl_path_info *info = bl_path_infos_add(out, path);
	info->deriver = bl_xstrdup("");
	info->ca = bl_xstrdup("");
	info->nar_size = nar_size(path);
	bool top = path[49] == '0' + PATHS - 1;
	for (int k = 0; top && k < PATHS - 1; k++) {
		bl_autofree char *to = bl_xstrdup(path);
		memset(to + 11, path[11] - (PATHS - 1) + k, 32);
		to[49] = (char)('0' + k);
		bl_strv_add(&info->references, to);
	}
}

static bool has(const struct bl_path_infos *list, const char *path)
{
	size_t i = 0;
	while (i < list->n && strcmp(list->items[i].path, path) != 0)
		i++;
	return i < list->n;
}

static void add_rest(struct bl_path_infos *out, const struct bl_strv *paths,
		     const struct bl_index *known)
{
	for (size_t i = 0; i < paths->n; i++) {
		size_t at = 0;
		if (!has(out, paths->items[i]) && !bl_index_find(known, paths->items[i], &at))
			add_info(out, paths->items[i]);
	}
}

int bl_query_rest(struct bl_daemon *d BL_UNUSED, const struct bl_strv *tops,
		  const struct bl_index *known, struct bl_path_infos *out, struct bl_err *err)
{
	for (size_t i = 0; i < tops->n; i++)
		if (!is_part(tops->items[i]))
			return bl_err_set(err, BL_E_FAILED, "%s is not valid", tops->items[i]);
	add_rest(out, tops, known);
	for (size_t i = 0; i < out->n; i++) {
		const struct bl_strv references = out->items[i].references;
		add_rest(out, &references, known);
	}
	return 0;
}

int bl_nar_dump_from(const char *path, uint64_t from, bl_nar_put *put, void *ctx,
		     struct bl_err *err)
{
	uint64_t size = nar_size(path);
	assert(is_of(new_top, path) || is_of(old_top, path));
	/* part 2 is not the same in both builds */
	bl_autofree char *bytes = bl_xcalloc(size, 1);
	memcpy(bytes, path, strlen(path));
	bytes[strlen(path)] = path[11] == '2' ? '2' : 'x';
	for (uint64_t at = from; at < size; at += 4096) {
		size_t n = size - at < 4096 ? (size_t)(size - at) : 4096;
		if (put(ctx, bytes + at, n, err) < 0)
			return -1;
	}
	return 0;
}

int bl_nar_dump(const char *path, bl_nar_put *put, void *ctx, struct bl_err *err)
{
	return bl_nar_dump_from(path, 0, put, ctx, err);
}

/* ---- the connection */

static struct {
	size_t queued;
	bool asked, listed, ended, over;
	unsigned rounds; /* how often all was sent */
	uint64_t content_bytes;
} sent;

void bl_session_send(struct bl_session *s BL_UNUSED, enum bl_msg_type type,
		     const struct bl_kv *kv BL_UNUSED)
{
	assert(!sent.over);
	assert(type == BL_MSG_COPY ? !sent.asked : type == BL_MSG_COPY_END && sent.listed);
	sent.asked = true;
	if (type != BL_MSG_COPY_END)
		return;
	sent.ended = true;
	sent.rounds++;
	assert(sent.rounds <= 2);
}

void bl_session_send_frame(struct bl_session *s BL_UNUSED, uint16_t type,
			   const void *payload BL_UNUSED, size_t len)
{
	assert(!sent.over && sent.asked && len <= BL_FRAME_MAX);
	assert(type == BL_COPY_PATHS || type == BL_COPY_INFOS || type == BL_COPY_PAIRS ||
	       type == BL_COPY_PIECE || type == BL_COPY_DATA);
	if (type == BL_COPY_PATHS)
		assert(!sent.listed);
	else if (type == BL_COPY_INFOS)
		sent.listed = true;
	else
		assert(sent.listed);
	if (type == BL_COPY_DATA)
		sent.content_bytes += len;
	assert(sent.content_bytes < 1U << 20);
	if (type == BL_COPY_PIECE)
		sent.ended = false;
}

size_t bl_session_queued(const struct bl_session *s BL_UNUSED)
{
	return sent.queued;
}

/* ---- the copy */

struct copy {
	uv_loop_t loop;
	struct bl_engine *engine;
	struct bl_send *send; /* NULL: it is over */
	uint8_t old_digest[BL_SHA256_LEN];
	bool had, all_valid; /* as the host has said */
};

static void on_line(void *ctx BL_UNUSED, const char *text)
{
	assert(text);
}

static void on_progress(void *ctx BL_UNUSED, const struct bl_copy_stats *stats)
{
	assert(stats->paths == PATHS && stats->sent_paths <= PATHS);
}

static void on_done(void *ctx, const struct bl_copy_stats *stats, const char *what,
		    const char *remedy)
{
	struct copy *c = ctx;
	assert(c->send || !what);
	assert(!sent.over);
	sent.over = true;
	assert(stats->done_bytes <= stats->nar_bytes);
	if (what)
		assert(remedy);
	else
		assert(sent.ended || c->all_valid || !c->had);
	c->send = NULL;
}

/* Until nothing moves but by what the host says. */
static void settle(struct copy *c)
{
	do {
		uv_run(&c->loop, c->loop.active_reqs.count > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	} while (c->loop.active_reqs.count > 0);
	uv_run(&c->loop, UV_RUN_NOWAIT);
}

static void take_msg(struct copy *c, const char *data, size_t len)
{
	BL_AUTO(bl_msg) m = { 0 };
	size_t used = 0;
	if (bl_msg_take(data, len, &m, &used, NULL) != 1)
		return;
	c->had = c->had || m.type == BL_MSG_HAVE;
	bl_send_msg(c->send, &m);
}

static void take_frame(struct copy *c, uint16_t type, const uint8_t *data, size_t len)
{
	const struct bl_frame f = { type, (const char *)data, len, len + BL_FRAME_HEAD };
	/* what the copy makes of it is its own; here it only counts when all bits are set */
	if (type == BL_COPY_VALID && len > 0)
		c->all_valid = c->all_valid || (data[0] & 31) == 31;
	bl_send_frame(c->send, &f);
}

/* As it came; the store's paths have no other. */
static const uint8_t kept_hash[BL_SHA256_LEN];

static void take_have(struct copy *c, const uint8_t *data, size_t len)
{
	char hex[2 * BL_SHA256_LEN + 1];
	struct bl_msg m = { .type = BL_MSG_HAVE };
	bl_hex(c->old_digest, sizeof(c->old_digest), hex);
	unsigned how = len > 0 ? data[0] : 0;
	bl_kv_set(&m.kv, "old", how & 1 ? "" : how & 2 ? new_top : old_top);
	bl_kv_set(&m.kv, "old_digest", how & 4 ? "00" : hex);
	if (how & 32) {
		/* a part of one came before */
		bl_kv_set_u64(&m.kv, "kept", len > 1 ? data[1] : 3);
		bl_kv_set_u64(&m.kv, "kept_bytes", len > 2 ? 400U * data[2] : 40000);
		bl_hex(kept_hash, sizeof(kept_hash), hex);
		bl_kv_set(&m.kv, "kept_hash", how & 64 ? "00" : hex);
	}
	bl_kv_set(&m.kv, "memory", how & 8 ? "4194304" : how & 16 ? "x" : "268435456");
	c->had = true;
	bl_send_msg(c->send, &m);
	bl_msg_free(&m);
}

static void take_record(struct copy *c, unsigned kind, const uint8_t *data, size_t len)
{
	static const struct bl_msg ok = { .type = BL_MSG_OK };
	static const uint8_t none;
	BL_AUTO(bl_buf) b = { 0 };
	switch (kind) {
	case MSG:
		if (len > 0)
			bl_frame_put(&b, data[0] % 24, data + 1, len - 1);
		take_msg(c, bl_buf_str(&b), b.len);
		break;
	case FRAME:
		if (len > 0)
			take_frame(c, (uint16_t)(BL_COPY_PATHS + data[0] % 8), data + 1,
				   len - 1);
		break;
	case HAVE:
		take_have(c, data, len);
		break;
	case VALID:
		take_frame(c, BL_COPY_VALID, len > 0 ? data : &none, 1);
		break;
	case FAILED:
		take_frame(c, BL_COPY_FAILED, len > 0 ? data : &none, 1);
		break;
	case OK:
		bl_send_msg(c->send, &ok);
		break;
	case STALL:
		sent.queued = 64U << 20;
		break;
	default:
		sent.queued = 0;
		bl_send_drained(c->send);
		break;
	}
}

static void digest_of_old(struct copy *c)
{
	BL_AUTO(bl_strv) paths = { 0 };
	for (int i = 0; i < PATHS; i++) {
		bl_autofree char *path = bl_xstrdup(old_top);
		memset(path + 11, '5' + i, 32);
		path[49] = (char)('0' + i);
		bl_strv_add(&paths, path);
	}
	bl_copy_sort(&paths);
	bl_copy_digest(&paths, c->old_digest);
}

static void begin(struct copy *c)
{
	BL_AUTO(bl_strv) tops = { 0 };
	struct bl_err err = { 0 };
	const struct bl_engine_spec engine = { .dir = bl_tmp_dir("/tmp"), .level = 1 };
	memset(&sent, 0, sizeof(sent));
	digest_of_old(c);
	int rc = uv_loop_init(&c->loop);
	assert(rc == 0);
	rc = bl_engine_new(&c->loop, &engine, &c->engine, &err);
	assert(rc == 0);
	bl_strv_add(&tops, new_top);
	const struct bl_send_spec spec = { .tops = &tops,
					   .line = on_line,
					   .progress = on_progress,
					   .done = on_done,
					   .ctx = c };
	bl_send_start(c->engine, &spec, &c->send);
	settle(c);
	assert(sent.asked && c->send);
}

static void end(struct copy *c)
{
	bl_send_drop(c->send);
	sent.over = true;
	bl_engine_free(c->engine);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&c->loop);
	assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct copy c = { 0 };
	begin(&c);
	while (size >= 3 && c.send) {
		size_t len = (size_t)data[1] << 8 | data[2];
		size_t n = len < size - 3 ? len : size - 3;
		take_record(&c, data[0] % 128 % KINDS, data + 3, n);
		/* or the next one comes before anything is done about this one */
		if (c.send && data[0] < 128)
			settle(&c);
		data += 3 + n;
		size -= 3 + n;
	}
	end(&c);
	return 0;
}
