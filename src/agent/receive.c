/* SPDX-License-Identifier: MIT */
#include "agent/receive.h"

#include "agent/talk.h"
#include "agent/unpack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS   600000        /* a garbage collection, or a large path's registration */
#define INFOS_MAX  (256UL << 20) /* bytes of all blocks */
#define MEMORY_MIN (16ULL << 20) /* pieces without a base need as much */

static const char no_match[] = "use the same version of belay on both ends";
static const char no_daemon[] = "look at Nix on the host: `systemctl status nix-daemon`";
static const char no_trust[] =
	"come as root or with sudo; or sign what is sent (--sign-key FILE) with a key whose "
	"public half is in trusted-public-keys of the host's nix.conf; or have the user in "
	"trusted-users there";
static const char no_room[] = "make room on the host's disk: `nix-collect-garbage -d` there";
static const char no_path[] = "look at Nix's words; what was copied so far stays";

/* In this order; each may be left out if there is nothing to say. */
enum stage { INFOS, PAIRS, PIECES, DONE };

struct receive {
	const struct bl_receive_spec *spec;
	struct bl_buf *in;
	size_t used; /* of that */
	enum stage stage;
	const char *remedy; /* of what fails next */
	struct bl_strv paths;
	bool *awaited; /* of paths: its info is to come */
	size_t missing;
	struct bl_daemon *daemon;
	struct bl_decoder *decoder;
	struct bl_olds olds;
	const char *old; /* the system that those are the closure of, "" without them */
	size_t info_bytes;
	struct bl_copy_pair *pairs;
	size_t n_pairs;
	struct bl_hash_pair *partners; /* of each old path */
	uint32_t *guesses;             /* as bl_copy_guesses() */
	struct bl_bases bases;
	struct bl_kept kept;
	size_t kept_number; /* of the path that is kept, if its rest may come */
	struct bl_unpack unpack;
	bool again;    /* what had failed has come once more */
	bool fetching; /* Nix there does, from its caches */
};

/* ---- frames and blocks */

static int next_frame(struct receive *r, struct bl_frame *out, struct bl_err *err)
{
	/* a connection that nobody ended, and a path that nobody else can add meanwhile */
	bool limited = r->unpack.open && r->spec->silent_ms > 0;
	r->remedy = no_match;
	return bl_frame_read(STDIN_FILENO, r->in, &r->used, limited ? r->spec->silent_ms : -1,
			     out, err);
}

static int has_gone(struct bl_err *err)
{
	return bl_err_set(err, BL_E_UNREACHABLE, "the deployer has gone");
}

static int unexpected(const struct bl_frame *f, const char *when, struct bl_err *err)
{
	return bl_err_set(err, BL_E_INPUT, "a frame of type %u %s", f->type, when);
}

static int put_block(void *arg, const uint8_t *data, size_t len, struct bl_err *err BL_UNUSED)
{
	bl_buf_append(arg, data, len);
	return 0;
}

static int open_block(struct receive *r, const struct bl_frame *f, struct bl_buf *out,
		      struct bl_err *err)
{
	struct bl_delta_head head = { BL_DELTA_ZSTD, 0, 0, 0 };
	struct bl_sink sink = { put_block, out };
	const char *data = f->payload;
	size_t len = f->len;
	if (bl_copy_take_number(&data, &len, BL_COPY_BLOCK_MAX, &head.size_bytes, err) < 0 ||
	    bl_decoder_begin(r->decoder, &head, NULL, &sink, err) < 0 ||
	    bl_decoder_feed(r->decoder, data, len, err) < 0 ||
	    bl_decoder_end(r->decoder, err) < 0)
		return bl_err_wrap(err, "block");
	return 0;
}

/* ---- what there is to begin with */

static int read_paths(struct receive *r, const struct bl_kv *kv, struct bl_err *err)
{
	uint64_t n = 0;
	r->remedy = no_match;
	if (bl_kv_u64(kv, "paths", 1, BL_COPY_PATHS_MAX, &n, err) < 0)
		return -1;
	while (r->paths.n < n) {
		struct bl_frame f;
		BL_AUTO(bl_buf) block = { 0 };
		size_t before = r->paths.n;
		if (next_frame(r, &f, err) < 0)
			return -1;
		if (f.type != BL_COPY_PATHS)
			return unexpected(&f, "among the paths", err);
		if (open_block(r, &f, &block, err) < 0 ||
		    bl_copy_take_paths(bl_buf_str(&block), block.len, &r->paths, err) < 0)
			return -1;
		if (r->paths.n == before || r->paths.n > n)
			return bl_err_set(err, BL_E_INPUT, "%zu paths of a closure of %" PRIu64,
					  r->paths.n, n);
	}
	return 0;
}

static void path_added(void *ctx, const char *path BL_UNUSED, const char *problem)
{
	bl_unpack_added(&((struct receive *)ctx)->unpack, problem);
}

/* What is fetched from a cache may take its time. */
static void on_line(void *ctx, const char *text)
{
	BL_AUTO(bl_kv) kv = { 0 };
	if (!((struct receive *)ctx)->fetching)
		return;
	bl_kv_set(&kv, "stream", "copy");
	bl_kv_set(&kv, "line", text);
	(void)!bl_talk_reply(BL_MSG_LINE, &kv);
}

static int open_daemon(struct receive *r, struct bl_err *err)
{
	struct bl_daemon_spec spec = { .socket = r->spec->socket,
				       .program = r->spec->program,
				       .env = r->spec->env,
				       .quiet_ms = QUIET_MS,
				       .added = path_added,
				       .line = on_line,
				       .ctx = r };
	r->remedy = no_daemon;
	return bl_daemon_open(&spec, &r->daemon, err);
}

static int ask_valid(struct receive *r, bool *valid, struct bl_err *err)
{
	if (bl_query_valid(r->daemon, &r->paths, valid, err) < 0)
		return -1;
	r->missing = 0;
	for (size_t i = 0; i < r->paths.n; i++)
		r->missing += !valid[i];
	return 0;
}

/* Roots first: what is valid behind that stays so, though a collection may be running. */
static int look_at_store(struct receive *r, bool substitute, bool *valid, struct bl_err *err)
{
	BL_AUTO(bl_strv) wanted = { 0 };
	if (bl_query_temp_roots(r->daemon, &r->paths, err) < 0 || ask_valid(r, valid, err) < 0)
		return -1;
	if (!substitute || r->missing == 0)
		return 0;
	bl_autofree bool *had = bl_xcalloc(r->missing, sizeof(had[0]));
	for (size_t i = 0; i < r->paths.n; i++)
		if (!valid[i])
			bl_strv_add(&wanted, r->paths.items[i]);
	/* what it says of each does not tell of what came with another */
	r->fetching = true;
	int rc = bl_query_substitute(r->daemon, &wanted, had, err);
	r->fetching = false;
	if (rc < 0)
		return -1;
	return ask_valid(r, valid, err);
}

/* -1: the daemon is of no use. Without the old paths everything is sent, which is no failure.
 */
static int look_at_olds(struct receive *r, struct bl_err *err)
{
	r->old = "";
	if (r->missing == 0 || !r->spec->system)
		return 0;
	if (bl_olds_read(r->daemon, r->spec->system, &r->olds, err) == 0)
		r->old = r->spec->system;
	return bl_daemon_works(r->daemon) ? 0 : -1;
}

/* What is kept of a path that comes no more goes. */
static bool has_kept(struct receive *r, const bool *valid)
{
	bl_kept_look(&r->kept);
	if (r->kept.fd < 0)
		return false;
	for (size_t i = 0; i < r->paths.n; i++) {
		r->kept_number = i;
		if (!valid[i] && strcmp(r->paths.items[i], r->kept.head.path) == 0)
			return true;
	}
	bl_kept_drop(&r->kept);
	return false;
}

static void say_kept(const struct receive *r, struct bl_kv *kv)
{
	char hex[2 * BL_SHA256_LEN + 1];
	bl_hex(r->kept.head.nar_hash, BL_SHA256_LEN, hex);
	bl_kv_set_u64(kv, "kept", r->kept_number);
	bl_kv_set_u64(kv, "kept_bytes", r->kept.bytes);
	bl_kv_set(kv, "kept_hash", hex);
}

static int say_have(struct receive *r, const bool *valid, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) bits = { 0 };
	uint8_t digest[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	bl_copy_digest(&r->olds.paths, digest);
	bl_hex(digest, sizeof(digest), hex);
	bl_kv_set(&kv, "old", r->old);
	bl_kv_set_u64(&kv, "old_paths", r->olds.paths.n);
	bl_kv_set(&kv, "old_digest", hex);
	bl_kv_set_u64(&kv, "memory", r->spec->memory_bytes);
	if (r->unpack.kept_waits)
		say_kept(r, &kv);
	bl_copy_put_bits(&bits, valid, r->paths.n);
	_Static_assert(BL_COPY_BITS_MAX <= BL_FRAME_MAX, "one frame is enough");
	if (bl_talk_reply(BL_MSG_HAVE, &kv) < 0 ||
	    bl_talk_frame(BL_COPY_VALID, bits.data, bits.len) < 0)
		return has_gone(err);
	return 0;
}

/*
 * What refers to all of them is valid: so are they. That is known before the list of them has
 * come over a slow line.
 */
static int look_at_top(struct receive *r, const char *top, struct bl_err *err)
{
	BL_AUTO(bl_strv) one = { 0 };
	bool valid = false;
	if (!bl_store_path_ok(top))
		return 0;
	bl_strv_add(&one, top);
	r->remedy = no_daemon;
	if (bl_query_temp_roots(r->daemon, &one, err) < 0 ||
	    bl_query_valid(r->daemon, &one, &valid, err) < 0)
		return -1;
	if (valid)
		r->stage = DONE;
	return 0;
}

static int begin(struct receive *r, const struct bl_kv *kv, struct bl_err *err)
{
	if (open_daemon(r, err) < 0 || look_at_top(r, bl_kv_str(kv, "top"), err) < 0)
		return -1;
	if (r->stage == DONE)
		return 0;
	if (read_paths(r, kv, err) < 0)
		return -1;
	bl_autofree bool *valid = bl_xcalloc(r->paths.n, sizeof(valid[0]));
	r->remedy = no_daemon;
	if (look_at_store(r, bl_kv_bool(kv, "substitute"), valid, err) < 0 ||
	    look_at_olds(r, err) < 0)
		return -1;
	if (r->missing == 0)
		r->stage = DONE;
	r->awaited = bl_xcalloc(r->paths.n, sizeof(r->awaited[0]));
	for (size_t i = 0; i < r->paths.n; i++)
		r->awaited[i] = !valid[i];
	r->unpack = (struct bl_unpack){ .daemon = r->daemon,
					.paths = &r->paths,
					.decoder = r->decoder,
					.bases = &r->bases,
					.kept = &r->kept,
					.kept_waits = has_kept(r, valid) };
	bl_unpack_begin(&r->unpack, r->missing);
	return say_have(r, valid, err);
}

/* ---- what Nix is to know, and what old hashes become */

static int take_info(struct receive *r, const char **data, size_t *len, struct bl_err *err)
{
	BL_AUTO(bl_copy_info) info = { 0 };
	if (bl_copy_take_info(data, len, r->paths.n, &info, err) < 0)
		return -1;
	if (!r->awaited[info.path])
		return bl_err_set(err, BL_E_INPUT, "%s is valid, or comes twice",
				  r->paths.items[info.path]);
	r->awaited[info.path] = false;
	r->unpack.infos[r->unpack.n_infos++] = info;
	info = (struct bl_copy_info){ 0 };
	return 0;
}

static int take_infos(struct receive *r, const struct bl_frame *f, struct bl_err *err)
{
	BL_AUTO(bl_buf) block = { 0 };
	if (r->stage > INFOS)
		return unexpected(f, "behind the list of paths", err);
	if (open_block(r, f, &block, err) < 0)
		return -1;
	r->info_bytes += block.len;
	if (r->info_bytes > INFOS_MAX)
		return bl_err_set(err, BL_E_INPUT, "more than %lu bytes of infos", INFOS_MAX);
	const char *data = bl_buf_str(&block);
	size_t len = block.len;
	while (len > 0)
		if (take_info(r, &data, &len, err) < 0)
			return -1;
	return 0;
}

static int end_infos(struct receive *r, struct bl_err *err)
{
	if (r->unpack.n_infos < r->missing)
		return bl_err_set(err, BL_E_INPUT, "only %zu of %zu paths have infos",
				  r->unpack.n_infos, r->missing);
	return 0;
}

static int take_pairs(struct receive *r, const struct bl_frame *f, struct bl_err *err)
{
	BL_AUTO(bl_buf) block = { 0 };
	if (r->stage > PAIRS)
		return unexpected(f, "behind the pairs", err);
	r->stage = PAIRS;
	if (end_infos(r, err) < 0 || open_block(r, f, &block, err) < 0)
		return -1;
	return bl_copy_take_pairs(bl_buf_str(&block), block.len, r->olds.paths.n, r->paths.n,
				  &r->pairs, &r->n_pairs, err);
}

static void guess(struct receive *r)
{
	size_t n = r->unpack.n_infos;
	bl_autofree uint32_t *numbers = bl_xcalloc(n + 1, sizeof(*numbers));
	for (size_t i = 0; i < n; i++)
		numbers[i] = r->unpack.infos[i].path;
	r->guesses = bl_copy_guesses(r->pairs, r->n_pairs, numbers, n, r->paths.n);
}

static int end_pairs(struct receive *r, struct bl_err *err)
{
	if (r->stage == PIECES)
		return 0;
	if (end_infos(r, err) < 0)
		return -1;
	r->partners = bl_xcalloc(r->olds.paths.n + 1, sizeof(r->partners[0]));
	for (size_t i = 0; i < r->n_pairs; i++) {
		struct bl_hash_pair *pair = &r->partners[r->pairs[i].old];
		memcpy(pair->old, bl_store_path_hash(r->olds.paths.items[r->pairs[i].old]),
		       BL_STORE_HASH_LEN);
		memcpy(pair->new, bl_store_path_hash(r->paths.items[r->pairs[i].new]),
		       BL_STORE_HASH_LEN);
	}
	guess(r);
	bl_freep(&r->pairs);
	r->bases = (struct bl_bases){ .olds = &r->olds,
				      .pairs = r->partners,
				      .root = r->spec->root,
				      .memory_bytes = r->spec->memory_bytes };
	r->stage = PIECES;
	return 0;
}

/* ---- pieces */

static int fail_paths(struct receive *r, struct bl_err *err)
{
	if (r->unpack.unsigned_path) {
		const char *user = getenv("USER");
		r->remedy = no_trust;
		return bl_err_set(err, BL_E_REFUSED,
				  "%s is not signed by a key that the host's Nix trusts, and "
				  "it does not trust the user %.64s (uid %u) without",
				  r->unpack.unsigned_path, user ? user : "?",
				  (unsigned)geteuid());
	}
	r->remedy = r->unpack.full ? no_room : no_path;
	/* on the same disk, maybe */
	if (r->unpack.full)
		bl_kept_drop(&r->kept);
	return bl_err_set(err, BL_E_FAILED, "%s", r->unpack.why ? r->unpack.why : "?");
}

/* Where what is sent again would end as it did before. */
static int check_hope(struct receive *r, struct bl_err *err)
{
	return r->unpack.full || r->unpack.unsigned_path ? fail_paths(r, err) : 0;
}

static int take_piece(struct receive *r, const struct bl_frame *f, struct bl_err *err)
{
	BL_AUTO(bl_copy_piece) piece = { 0 };
	if (end_pairs(r, err) < 0 ||
	    bl_copy_take_piece(f->payload, f->len, r->unpack.n_infos, r->olds.paths.n,
			       r->guesses, &piece, err) < 0)
		return -1;
	r->remedy = no_daemon;
	if (bl_unpack_piece(&r->unpack, &piece, err) < 0)
		return -1;
	return check_hope(r, err);
}

static int take_data(struct receive *r, const struct bl_frame *f, struct bl_err *err)
{
	if (r->stage != PIECES)
		return unexpected(f, "before any piece", err);
	r->remedy = no_daemon;
	if (bl_unpack_data(&r->unpack, f->payload, f->len, err) < 0)
		return -1;
	return check_hope(r, err);
}

static int say_failed(struct receive *r, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) bytes = { 0 };
	bl_autofree bool *bits = bl_xcalloc(r->unpack.n_infos, sizeof(bits[0]));
	bl_kv_set(&kv, "stream", "copy");
	bl_kv_set(&kv, "line", r->unpack.why);
	bl_unpack_again(&r->unpack, bits);
	bl_copy_put_bits(&bytes, bits, r->unpack.n_infos);
	if (bl_talk_reply(BL_MSG_LINE, &kv) < 0 ||
	    bl_talk_frame(BL_COPY_FAILED, bytes.data, bytes.len) < 0)
		return has_gone(err);
	return 0;
}

static int take_end(struct receive *r, struct bl_err *err)
{
	size_t failed = 0;
	if (end_pairs(r, err) < 0)
		return -1;
	r->remedy = no_daemon;
	if (bl_unpack_end(&r->unpack, &failed, err) < 0)
		return -1;
	if (failed == 0) {
		r->stage = DONE;
		return 0;
	}
	if (check_hope(r, err) < 0)
		return -1;
	if (r->again)
		return fail_paths(r, err);
	r->again = true;
	return say_failed(r, err);
}

static int take_frame(struct receive *r, const struct bl_frame *f, struct bl_err *err)
{
	switch (f->type) {
	case BL_COPY_INFOS:
		return take_infos(r, f, err);
	case BL_COPY_PAIRS:
		return take_pairs(r, f, err);
	case BL_COPY_PIECE:
		return take_piece(r, f, err);
	case BL_COPY_DATA:
		return take_data(r, f, err);
	case BL_MSG_COPY_END:
		return take_end(r, err);
	default:
		return unexpected(f, "while a closure is sent", err);
	}
}

/* ---- all of it */

static int receive(struct receive *r, const struct bl_kv *kv, struct bl_err *err)
{
	if (begin(r, kv, err) < 0)
		return -1;
	while (r->stage != DONE) {
		struct bl_frame f;
		if (next_frame(r, &f, err) < 0 || take_frame(r, &f, err) < 0)
			return -1;
	}
	return bl_talk_reply(BL_MSG_OK, NULL) < 0 ? has_gone(err) : 0;
}

/* What was on its way when it was refused, or not needed. */
static int skip_rest(struct receive *r)
{
	struct bl_err err = { 0 };
	for (;;) {
		struct bl_frame f;
		if (bl_frame_read(STDIN_FILENO, r->in, &r->used, -1, &f, &err) < 0)
			return -1;
		bool ours = f.type >= BL_COPY_PATHS && f.type <= BL_COPY_FAILED;
		if (ours || f.type == BL_MSG_COPY_END)
			continue;
		r->used -= f.used;
		return 0;
	}
}

static void end(struct receive *r)
{
	bl_bases_drop(&r->bases);
	bl_kept_close(&r->kept);
	bl_unpack_free(&r->unpack);
	free(r->partners);
	free(r->guesses);
	bl_olds_free(&r->olds);
	bl_decoder_free(r->decoder);
	bl_daemon_close(r->daemon);
	bl_strv_free(&r->paths);
	free(r->awaited);
	free(r->pairs);
}

uint64_t bl_receive_memory(const char *meminfo)
{
	static const char key[] = "\nMemAvailable:";
	const char *at = meminfo ? strstr(meminfo, key) : NULL;
	uint64_t kib = 0;
	if (!at)
		return BL_DELTA_BOUND;
	for (at += sizeof(key) - 1; *at == ' ' || *at == '\t'; at++)
		;
	/* no more than counts */
	for (; bl_is_digit(*at) && kib < BL_DELTA_BOUND; at++)
		kib = 10 * kib + (uint64_t)(*at - '0');
	uint64_t half = kib * 512;
	return half < MEMORY_MIN ? MEMORY_MIN : half < BL_DELTA_BOUND ? half : BL_DELTA_BOUND;
}

int bl_receive(const struct bl_receive_spec *spec, const struct bl_kv *kv, struct bl_buf *in)
{
	struct receive r = { .spec = spec, .in = in };
	r.kept = (struct bl_kept){ .dir = spec->keep_dir,
				   .reserve_bytes = spec->keep_reserve_bytes,
				   .fd = -1 };
	struct bl_err err = { 0 };
	r.decoder = bl_decoder_new(spec->memory_bytes);
	int rc = receive(&r, kv, &err);
	bool refused = rc < 0 && err.code != BL_E_UNREACHABLE;
	bool more = refused || r.paths.n == 0;
	end(&r);
	if (refused)
		rc = bl_talk_refuse(err.msg, r.remedy);
	if (rc == 0 && more)
		rc = skip_rest(&r);
	bl_buf_drop(in, r.used);
	return rc;
}
