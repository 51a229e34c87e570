/* SPDX-License-Identifier: MIT */
#include "copy/send.h"

#include "base/clock.h"
#include "copy/closures.h"
#include "copy/pace.h"
#include "copy/spool.h"
#include "store/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_BYTES  (1UL << 20)   /* that wait in a session's pipe */
#define DATA_BYTES   (128UL << 10) /* of a frame */
#define SPOOL_BYTES  (2ULL << 30)
#define PIECE_BYTES  (128ULL << 20) /* of a piece and its base, unless told otherwise */
#define AHEAD        4              /* pieces that are asked for before their turn */
#define UNREAD_BYTES (4UL << 20)    /* that ssh and the kernels hold at the most, about */
#define GUESS_BYTES  (16UL << 20)   /* that are sent at a level which is a guess */
#define PROGRESS_MS  200
#define STUCK_S      900               /* longer than the agent itself waits for Nix there */
#define RATE_NS      (2 * BL_NS_PER_S) /* the rate that is told is that of so long */
#define NAMED_MAX    20                /* so many paths are told by name */
#define BOUND_MIN    (4ULL << 20)      /* a host that has less is told nothing by older paths */
#define PAIRS_MAX    16384             /* in a frame */

struct bl_engine {
	uv_loop_t *loop;
	struct bl_closures *closures;
	struct bl_spool *spool;
	uint64_t memory_bytes;
	int level; /* as the spec's */
	const struct bl_sign_key *sign;
	struct bl_send *sends;
	struct bl_send *walk; /* the next one of a walk through them */
	unsigned planning;    /* threads */
	uv_timer_t *alive;
};

enum stage {
	READING,  /* the closure, here */
	ASKED,    /* what the host has */
	OLD,      /* reading what it can be told by */
	PLANNING, /* in a thread */
	SENDING,
	SENT, /* all of it; the host says what became of it */
	OVER,
};

struct bl_send {
	struct bl_send *next;
	struct bl_engine *engine;
	struct bl_send_spec spec;
	struct bl_copy_stats stats;
	enum stage stage;
	struct bl_closure *new, *old;
	bool *valid; /* by number */
	size_t n_bits;
	uint8_t old_digest[BL_SHA256_LEN];
	uint64_t bound;
	struct bl_load_kept kept;
	struct bl_load load;
	struct bl_err plan_err;
	uv_work_t work;
	bool planning, dropped;
	bool *again;
	size_t n_again;
	bool had, all_valid, second;
	/* the piece that is being sent, and those that were asked for: a ring */
	size_t piece, asked;
	struct bl_spooled *ahead[AHEAD];
	bool head_sent;
	uint64_t at;            /* in its content */
	struct bl_pace pace;    /* of this connection: another one is faster or slower */
	uint64_t measured_from; /* bytes of the wire that have left */
	int64_t told_ns;
	/* of the rate that is told */
	int64_t began_ns, mark_ns;
	uint64_t began_done; /* bytes of done_bytes that were then */
	uint64_t mark_bytes;
	uint64_t alive_bytes; /* the wire's, when that was looked at last */
	/* when something last went or came, and how much had gone */
	int64_t moved_ns;
	uint64_t moved_bytes;
};

/* ---- the end */

static void unlink_send(struct bl_send *s)
{
	struct bl_send **at = &s->engine->sends;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	if (s->engine->walk == s)
		s->engine->walk = s->next;
}

static void give_back(struct bl_send *s)
{
	for (; s->piece < s->asked; s->piece++)
		bl_spool_drop(s->engine->spool, s->ahead[s->piece % AHEAD]);
}

static void free_send(struct bl_send *s)
{
	give_back(s);
	bl_load_free(&s->load);
	bl_closure_let_go(s->new);
	bl_closure_let_go(s->old);
	free(s->valid);
	free(s->again);
	free(s);
}

static void end(struct bl_send *s, const char *what, const char *remedy)
{
	s->stage = OVER;
	unlink_send(s);
	give_back(s);
	s->spec.done(s->spec.ctx, &s->stats, what, remedy);
	if (!s->planning)
		free_send(s);
	else
		s->dropped = true;
}

static void end_err(struct bl_send *s, const struct bl_err *err)
{
	const char *remedy =
		"look at this machine's store: nix-store --verify --check-contents";
	if (err->sys_errno == ENOSPC || err->sys_errno == EDQUOT)
		remedy = "make room there, or set TMPDIR to a folder with more";
	else if (err->sys_errno == ENOMEM)
		remedy = "give --memory a smaller number";
	end(s, err->msg, remedy);
}

static void pump(struct bl_send *s);

static void pump_all(void *ctx)
{
	struct bl_engine *e = ctx;
	e->walk = e->sends;
	for (struct bl_send *s = NULL; (s = e->walk);) {
		e->walk = s->next;
		pump(s);
	}
}

/* ---- frames */

static void send_frame(struct bl_send *s, enum bl_copy_frame type, const void *data, size_t len)
{
	bl_session_send_frame(s->spec.session, (uint16_t)type, data, len);
	s->stats.wire_bytes += len + BL_FRAME_HEAD;
	if (type != BL_COPY_PIECE && type != BL_COPY_DATA)
		s->stats.list_bytes += len + BL_FRAME_HEAD;
}

/* Sends what was gathered as a block. */
static int send_block(struct bl_send *s, enum bl_copy_frame type, struct bl_buf *block,
		      struct bl_err *err)
{
	BL_AUTO(bl_buf) out = { 0 };
	if (bl_make_block(bl_buf_str(block), block->len, &out, err) < 0)
		return -1;
	if (out.len > BL_FRAME_MAX)
		return bl_err_set(err, BL_E_INPUT,
				  "a path has more references than can be told");
	send_frame(s, type, out.data, out.len);
	bl_buf_clear(block);
	return 0;
}

/* A frame holds that much even where nothing of it can be compressed. */
#define BLOCK_FULL (BL_FRAME_MAX / 2)

static void ask(struct bl_send *s)
{
	const struct bl_strv *paths = &s->new->local.sorted;
	BL_AUTO(bl_buf) block = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_err err = { 0 };
	bl_kv_set_u64(&kv, "paths", paths->n);
	if (s->new->tops.n == 1)
		bl_kv_set(&kv, "top", s->new->tops.items[0]);
	bl_kv_set(&kv, "substitute", s->spec.substitute ? "1" : "0");
	bl_session_send(s->spec.session, BL_MSG_COPY, &kv);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < paths->n; i++) {
		bl_copy_put_path(&block, paths->items[i]);
		if (block.len > BLOCK_FULL || i + 1 == paths->n)
			rc = send_block(s, BL_COPY_PATHS, &block, &err);
	}
	if (paths->n > BL_COPY_PATHS_MAX)
		rc = bl_err_set(&err, BL_E_INPUT, "a closure of %zu paths; at most %u are sent",
				paths->n, BL_COPY_PATHS_MAX);
	s->stats.paths = paths->n;
	s->stage = ASKED;
	if (rc < 0)
		end_err(s, &err);
}

/* The lists are the caller's; what is in them, and everything else, is borrowed. */
static void take_info(const struct bl_send *s, uint32_t place, struct bl_copy_info *out)
{
	const struct bl_local *l = &s->new->local;
	const struct bl_path_info *info = &l->infos.items[place];
	*out = (struct bl_copy_info){
		.path = l->number[place],
		.nar_size = info->nar_size,
		.deriver = info->deriver,
		.ca = info->ca,
		.n_refs = l->n_refs[place],
	};
	memcpy(out->nar_hash, info->nar_hash, sizeof(out->nar_hash));
	out->refs = bl_xcalloc(out->n_refs + 1, sizeof(*out->refs));
	for (size_t i = 0; i < out->n_refs; i++)
		out->refs[i] = l->number[l->refs[place][i]];
	out->sigs.items = bl_xcalloc(info->sigs.n + 1, sizeof(*out->sigs.items));
	for (; out->sigs.n < info->sigs.n; out->sigs.n++)
		out->sigs.items[out->sigs.n] = info->sigs.items[out->sigs.n];
	char *sig = bl_closure_sig(s->new, place);
	if (sig)
		out->sigs.items[out->sigs.n++] = sig;
}

static int send_infos(struct bl_send *s, struct bl_err *err)
{
	BL_AUTO(bl_buf) block = { 0 };
	for (size_t i = 0; i < s->load.n; i++) {
		struct bl_copy_info info;
		take_info(s, s->load.order[i], &info);
		bl_copy_put_info(&block, &info);
		free(info.refs);
		free(info.sigs.items);
		if ((block.len > BLOCK_FULL || i + 1 == s->load.n) &&
		    send_block(s, BL_COPY_INFOS, &block, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->load.n_pairs; i += PAIRS_MAX) {
		size_t left = s->load.n_pairs - i;
		bl_copy_put_pairs(&block, s->load.pairs + i,
				  left < PAIRS_MAX ? left : PAIRS_MAX);
		if (send_block(s, BL_COPY_PAIRS, &block, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- pieces */

/* The catalog's, which stays: a thread may read it when this is over, and its closure gone. */
static const char *old_path(const struct bl_send *s, uint32_t number)
{
	const struct bl_local *old = &s->old->local;
	return old->infos.items[old->place[number]].path;
}

static void ask_for(struct bl_send *s, size_t at)
{
	const struct bl_load_piece *piece = &s->load.pieces[at];
	const struct bl_local *new = &s->new->local;
	bl_autofree const char **news = bl_xcalloc(piece->count + 1, sizeof(*news));
	bl_autofree const char **olds = bl_xcalloc(piece->count + 1, sizeof(*olds));
	for (uint32_t i = 0; i < piece->count; i++) {
		news[i] = new->infos.items[s->load.order[piece->first + i]].path;
		if (piece->olds && piece->olds[i] != BL_COPY_NO_OLD)
			olds[i] = old_path(s, piece->olds[i]);
	}
	/* as a guess too, where the line is slow enough for a copy to be cut off on it */
	bool hard = piece->head.kind == BL_DELTA_PATCH ||
		    (s->load.kept_bytes > 0 && !bl_pace_known(&s->pace));
	const struct bl_make make = {
		.news = news,
		.olds = piece->olds ? olds : NULL,
		.count = piece->count,
		.pairs = piece->pairs,
		.n_pairs = piece->n_pairs,
		.part = piece->part,
		.level = bl_pace_level(&s->pace, hard),
	};
	s->ahead[at % AHEAD] = bl_spool_get(s->engine->spool, piece, &make);
}

/* What has gone into the connection. */
static uint64_t bytes_gone(const struct bl_send *s)
{
	uint64_t queued = bl_session_queued(s->spec.session);
	/* other messages wait there too */
	return queued < s->stats.wire_bytes ? s->stats.wire_bytes - queued : 0;
}

/* Lets the host know that we are there, while what comes next is being made. */
static void say_alive(struct bl_send *s)
{
	if (s->stage == SENDING && (s->piece > 0 || s->head_sent) &&
	    s->alive_bytes == s->stats.wire_bytes)
		send_frame(s, BL_COPY_DATA, "", 0);
	s->alive_bytes = s->stats.wire_bytes;
}

/* Whether it is the host that we wait for, and nothing has come from it or gone to it. */
static bool is_stuck(struct bl_send *s)
{
	int64_t now = bl_now_boot_ns();
	uint64_t gone = bytes_gone(s);
	bool theirs = s->stage == ASKED || s->stage == SENT ||
		      (s->stage == SENDING && bl_session_queued(s->spec.session) > 0);
	if (!theirs || gone != s->moved_bytes)
		s->moved_ns = now;
	s->moved_bytes = gone;
	return now - s->moved_ns > STUCK_S * BL_NS_PER_S;
}

static void on_alive(uv_timer_t *timer)
{
	struct bl_engine *e = timer->data;
	e->walk = e->sends;
	for (struct bl_send *s = NULL; (s = e->walk);) {
		e->walk = s->next;
		if (is_stuck(s))
			end(s,
			    "nothing went to its agent or came from it for a quarter of an hour",
			    "log in by hand and look what keeps the host busy");
		else
			say_alive(s);
	}
}

static void send_head(struct bl_send *s, const struct bl_delta_head *head)
{
	const struct bl_load_piece *piece = &s->load.pieces[s->piece];
	BL_AUTO(bl_buf) out = { 0 };
	const struct bl_copy_piece told = {
		.kind = head->kind,
		.first = piece->first,
		.count = piece->count,
		.part = piece->part,
		.size_bytes = head->size_bytes,
		.base_at = head->base_at,
		.base_bytes = head->base_bytes,
		.olds = piece->olds,
	};
	bl_copy_put_piece(&out, &told, s->load.guesses);
	send_frame(s, BL_COPY_PIECE, out.data, out.len);
	s->head_sent = true;
}

/* The next frame of the piece whose turn it is. 0: nothing is there yet. */
static int send_some(struct bl_send *s, struct bl_err *err)
{
	struct bl_spooled *c = s->ahead[s->piece % AHEAD];
	struct bl_delta_head head;
	char data[DATA_BYTES];
	size_t len = 0;
	bool over = false;
	bool known = bl_spooled_head(c, &head);
	if (bl_spooled_read(c, s->at, data, sizeof(data), &len, &over, err) < 0)
		return -1;
	if (!known)
		return 0;
	if (!s->head_sent)
		send_head(s, &head);
	if (len > 0) {
		send_frame(s, BL_COPY_DATA, data, len);
		s->at += len;
		return 1;
	}
	if (!over)
		return 0;
	s->stats.done_bytes += head.size_bytes;
	bl_spool_drop(s->engine->spool, c);
	s->piece++;
	s->head_sent = false;
	s->at = 0;
	return 1;
}

static void tell(struct bl_send *s)
{
	int64_t now = bl_now_boot_ns();
	struct bl_copy_stats *st = &s->stats;
	uint64_t gone = bytes_gone(s);
	if (now - s->told_ns < PROGRESS_MS * BL_NS_PER_MS)
		return;
	s->told_ns = now;
	if (now - s->mark_ns > RATE_NS && gone >= s->mark_bytes) {
		st->rate = (gone - s->mark_bytes) * BL_NS_PER_S / (uint64_t)(now - s->mark_ns);
		s->mark_ns = now;
		s->mark_bytes = gone;
	}
	/* without what had come before, which took no time now */
	if (st->done_bytes > s->began_done)
		st->left_s = (uint64_t)((double)(st->nar_bytes - st->done_bytes) *
					(double)(now - s->began_ns) /
					(double)(st->done_bytes - s->began_done) /
					(double)BL_NS_PER_S);
	s->spec.progress(s->spec.ctx, st);
}

/* Whether it is at what had come in part: the host gives that to its Nix first. */
static bool is_kept(const struct bl_send *s)
{
	if (s->piece == s->load.n_pieces || s->load.kept_bytes == 0)
		return false;
	const struct bl_load_piece *piece = &s->load.pieces[s->piece];
	return piece->part == s->load.kept_bytes &&
	       s->new->local.number[s->load.order[piece->first]] == s->kept.number;
}

static void measure(struct bl_send *s)
{
	bool waiting = bl_session_queued(s->spec.session) > 0;
	uint64_t gone = bytes_gone(s);
	/* that waiting says nothing of the line */
	if (is_kept(s))
		s->measured_from = s->stats.wire_bytes + UNREAD_BYTES;
	bl_pace_tick(&s->pace, gone, waiting && gone >= s->measured_from);
}

/* What people know from `nix copy`, as far as it can be read. */
static void tell_paths(struct bl_send *s)
{
	bl_autofree char *text = bl_xprintf("copying %zu paths...", s->load.n);
	s->spec.line(s->spec.ctx, text);
	for (size_t i = 0; s->load.n <= NAMED_MAX && i < s->load.n; i++) {
		const char *path = s->new->local.infos.items[s->load.order[i]].path;
		bl_autofree char *one = bl_xprintf("copying path '%s'...", path);
		s->spec.line(s->spec.ctx, one);
	}
}

/*
 * How many pieces may be asked for, the one that is sent among them. Each that is asked for now
 * is made as hard as seems right by now: one at a time, until it is known how fast the line is.
 */
static size_t ahead(const struct bl_send *s)
{
	bool patch = s->load.pieces[s->piece].head.kind == BL_DELTA_PATCH;
	bool known = bl_pace_known(&s->pace) ||
		     s->stats.wire_bytes >= s->measured_from + GUESS_BYTES;
	return known || patch ? AHEAD : 1;
}

static void send_pieces(struct bl_send *s)
{
	struct bl_err err = { 0 };
	int rc = 1;
	/* what follows a queue that has run dry is no waiting for the connection */
	measure(s);
	while (rc > 0 && s->piece < s->load.n_pieces &&
	       bl_session_queued(s->spec.session) < QUEUE_BYTES) {
		for (; s->asked < s->load.n_pieces && s->asked < s->piece + ahead(s);
		     s->asked++)
			ask_for(s, s->asked);
		rc = send_some(s, &err);
	}
	measure(s);
	if (rc < 0) {
		end_err(s, &err);
		return;
	}
	if (s->piece == s->load.n_pieces) {
		s->stage = SENT;
		s->told_ns = 0;
		bl_session_send(s->spec.session, BL_MSG_COPY_END, NULL);
	}
	tell(s);
}

/* ---- what to send */

static int plan_with(struct bl_send *s, const struct bl_closure *old)
{
	return bl_load_plan(&s->new->local, s->valid, &s->kept, old ? &old->local : NULL,
			    s->bound, &s->load, &s->plan_err);
}

static void plan(uv_work_t *work)
{
	struct bl_send *s = work->data;
	int rc = plan_with(s, s->old);
	/* what cannot be paired is sent as it is */
	if (rc < 0 && s->old && s->plan_err.code == BL_E_INPUT) {
		s->plan_err = (struct bl_err){ 0 };
		rc = plan_with(s, NULL);
	}
	if (rc < 0 && s->plan_err.code == BL_E_NONE)
		bl_err_set_(&s->plan_err, BL_E_FAILED, 0, "the closure cannot be planned");
	if (s->plan_err.code == BL_E_NONE && s->engine->sign)
		bl_closure_sign(s->new, s->engine->sign, s->load.order, s->load.n);
}

static void say_kept(struct bl_send *s)
{
	BL_AUTO(bl_buf) line = { 0 };
	if (s->load.kept_bytes == 0)
		return;
	bl_buf_put_bytes(&line, s->load.kept_bytes);
	bl_buf_printf(&line, " of %s had come before",
		      s->new->local.sorted.items[s->kept.number]);
	s->spec.line(s->spec.ctx, bl_buf_str(&line));
}

/* What a connection that was cut had brought counts as well. */
static void count_load(struct bl_send *s)
{
	struct bl_copy_stats *st = &s->stats;
	if (st->sent_paths < s->load.n)
		st->sent_paths = s->load.n;
	if (st->nar_bytes < s->load.nar_bytes)
		st->nar_bytes = s->load.nar_bytes;
	s->began_done = st->nar_bytes - s->load.nar_bytes + s->load.kept_bytes;
	st->done_bytes = s->began_done;
}

static void on_planned(uv_work_t *work, int status BL_UNUSED)
{
	struct bl_send *s = work->data;
	struct bl_err err = { 0 };
	s->planning = false;
	s->engine->planning--;
	if (s->dropped) {
		free_send(s);
		return;
	}
	if (s->plan_err.code != BL_E_NONE) {
		end_err(s, &s->plan_err);
		return;
	}
	count_load(s);
	if (send_infos(s, &err) < 0) {
		end_err(s, &err);
		return;
	}
	s->stage = SENDING;
	s->began_ns = s->mark_ns = s->told_ns = bl_now_boot_ns();
	s->mark_bytes = bytes_gone(s);
	tell_paths(s);
	say_kept(s);
	pump(s);
}

static void begin_plan(struct bl_send *s)
{
	s->stage = PLANNING;
	s->planning = true;
	s->engine->planning++;
	s->work.data = s;
	uv_queue_work(s->engine->loop, &s->work, plan, on_planned);
}

/* ---- the way of it */

static void pump(struct bl_send *s)
{
	switch (s->stage) {
	case READING:
		if (s->new->ready && s->new->err.code != BL_E_NONE)
			end(s, s->new->err.msg,
			    "look whether it is in this machine's store, and Nix's daemon runs");
		else if (s->new->ready)
			ask(s);
		break;
	case OLD:
		/* without it, everything is sent as it is; the same where the host's is another
		 */
		if (s->old && s->old->ready &&
		    (s->old->err.code != BL_E_NONE ||
		     memcmp(s->old->local.digest, s->old_digest, BL_SHA256_LEN) != 0))
			bl_closure_let_go(BL_STEAL(s->old));
		if (!s->old || s->old->ready)
			begin_plan(s);
		break;
	case SENDING:
		send_pieces(s);
		break;
	case ASKED:
	case PLANNING:
	case SENT:
	case OVER:
		break;
	}
}

static const char other_version[] = "use the same version of belay on both ends";

/* A part of a large path, from a copy that was cut off. */
static void take_kept(struct bl_send *s, const struct bl_kv *kv)
{
	struct bl_load_kept kept = {
		.number = (uint32_t)bl_kv_u64_or(kv, "kept", UINT32_MAX),
		.bytes = bl_kv_u64_or(kv, "kept_bytes", 0),
	};
	if (bl_unhex(bl_kv_str(kv, "kept_hash"), kept.nar_hash, BL_SHA256_LEN, NULL) == 0)
		s->kept = kept;
}

static void on_have(struct bl_send *s, const struct bl_kv *kv)
{
	const char *old = bl_kv_str(kv, "old");
	uint64_t most = bl_kv_u64_or(kv, "memory", 0);
	s->had = true;
	take_kept(s, kv);
	s->bound = s->engine->memory_bytes;
	if (most < s->bound)
		s->bound = most;
	if (s->bound >= BOUND_MIN && bl_store_path_ok(old) &&
	    bl_unhex(bl_kv_str(kv, "old_digest"), s->old_digest, BL_SHA256_LEN, NULL) == 0) {
		BL_AUTO(bl_strv) tops = { 0 };
		bl_strv_add(&tops, old);
		s->old = bl_closures_get(s->engine->closures, &tops);
	}
}

/* OK, which is believed when the host has been sent everything, or has said that it had it: of
 * every path, or of the one that refers to them all. */
static void on_ok(struct bl_send *s)
{
	bool by_top = !s->had && s->new->tops.n == 1;
	if (s->stage == SENT || (s->stage == ASKED && (s->all_valid || by_top)))
		end(s, NULL, NULL);
	else
		end(s, "its agent says that it is done before it can be", other_version);
}

void bl_send_msg(struct bl_send *s, const struct bl_msg *m)
{
	s->moved_ns = bl_now_boot_ns();
	if (m->type == BL_MSG_LINE)
		s->spec.line(s->spec.ctx, bl_kv_str(&m->kv, "line"));
	else if (m->type == BL_MSG_REFUSED)
		end(s, bl_kv_str(&m->kv, "reason"), bl_kv_str(&m->kv, "remedy"));
	else if (m->type == BL_MSG_HAVE && s->stage == ASKED && !s->had)
		on_have(s, &m->kv);
	else if (m->type == BL_MSG_OK)
		on_ok(s);
}

/* The bits of VALID or FAILED; true: all of them are there. */
static bool take_bits(struct bl_send *s, const struct bl_frame *f, bool *bits, size_t n,
		      size_t *got)
{
	struct bl_err err = { 0 };
	size_t these = n - *got < f->len * 8 ? n - *got : f->len * 8;
	if (bl_copy_take_bits(f->payload, f->len, bits + *got, these, &err) < 0) {
		end(s, err.msg, other_version);
		return false;
	}
	*got += these;
	return *got == n;
}

static void on_valid(struct bl_send *s, const struct bl_frame *f)
{
	size_t n = s->new->local.sorted.n;
	if (!s->valid)
		s->valid = bl_xcalloc(n + 1, sizeof(*s->valid));
	if (!take_bits(s, f, s->valid, n, &s->n_bits))
		return;
	size_t there = 0;
	for (size_t i = 0; i < n; i++)
		there += s->valid[i];
	/* the host says OK by itself then */
	s->all_valid = there == n;
	if (s->all_valid)
		return;
	s->stage = OLD;
	pump(s);
}

static void on_failed(struct bl_send *s, const struct bl_frame *f)
{
	if (s->second) {
		end(s, "what was sent is not what Nix there expects",
		    "nix-store --verify --check-contents, here and on the host");
		return;
	}
	if (!s->again)
		s->again = bl_xcalloc(s->load.n + 1, sizeof(*s->again));
	if (!take_bits(s, f, s->again, s->load.n, &s->n_again))
		return;
	s->second = true;
	for (size_t i = 0; i < s->load.n; i++)
		if (s->again[i])
			s->stats.done_bytes -=
				s->new->local.infos.items[s->load.order[i]].nar_size;
	bl_load_again(&s->new->local, s->again, &s->load);
	s->stats.left_s = 0;
	s->piece = s->asked = 0;
	s->stage = SENDING;
	s->spec.line(s->spec.ctx,
		     "some paths did not come right; they are sent again, in full");
	pump(s);
}

void bl_send_frame(struct bl_send *s, const struct bl_frame *f)
{
	if (f->type == BL_COPY_VALID && s->stage == ASKED && s->had)
		on_valid(s, f);
	else if (f->type == BL_COPY_FAILED && s->stage == SENT)
		on_failed(s, f);
}

void bl_send_drained(struct bl_send *s)
{
	pump(s);
}

void bl_send_start(struct bl_engine *e, const struct bl_send_spec *spec, struct bl_send **out)
{
	struct bl_send *s = bl_xcalloc(1, sizeof(*s));
	s->engine = e;
	s->spec = *spec;
	bl_pace_begin(&s->pace, e->level);
	s->next = e->sends;
	e->sends = s;
	s->new = bl_closures_get(e->closures, spec->tops);
	s->spec.tops = NULL;
	if (spec->before)
		s->stats = *spec->before;
	s->stats.rate = s->stats.left_s = 0;
	s->spec.before = NULL;
	s->moved_ns = bl_now_boot_ns();
	*out = s;
	pump(s);
}

const struct bl_copy_stats *bl_send_stats(const struct bl_send *s)
{
	return &s->stats;
}

void bl_send_drop(struct bl_send *s)
{
	if (!s || s->stage == OVER)
		return;
	s->stage = OVER;
	unlink_send(s);
	give_back(s);
	s->dropped = true;
	if (!s->planning)
		free_send(s);
}

/* ---- the engine */

/* One for each processor, and some for what only waits. */
unsigned bl_engine_threads(void)
{
	return uv_available_parallelism() + 4;
}

int bl_engine_new(uv_loop_t *loop, const struct bl_engine_spec *spec, struct bl_engine **out,
		  struct bl_err *err)
{
	struct bl_engine *e = bl_xcalloc(1, sizeof(*e));
	e->loop = loop;
	e->memory_bytes = spec->memory_bytes ? spec->memory_bytes : PIECE_BYTES;
	e->level = spec->level;
	e->sign = spec->sign;
	const struct bl_spool_spec spool = {
		.dir = spec->dir, .limit_bytes = SPOOL_BYTES, .news = pump_all, .ctx = e
	};
	if (bl_closures_new(loop, pump_all, e, &e->closures, err) < 0) {
		free(e);
		return -1;
	}
	if (bl_spool_new(loop, &spool, &e->spool, err) < 0) {
		bl_closures_free(e->closures);
		free(e);
		return -1;
	}
	e->alive = bl_xcalloc(1, sizeof(*e->alive));
	uv_timer_init(loop, e->alive);
	e->alive->data = e;
	uv_timer_start(e->alive, on_alive, BL_COPY_ALIVE_MS, BL_COPY_ALIVE_MS);
	uv_unref((uv_handle_t *)e->alive);
	*out = e;
	return 0;
}

static void free_timer(uv_handle_t *timer)
{
	free(timer);
}

void bl_engine_expect(struct bl_engine *e, const struct bl_strv *tops)
{
	bl_closures_expect(e->closures, tops);
}

void bl_engine_free(struct bl_engine *e)
{
	if (!e)
		return;
	bl_closures_stop(e->closures);
	while (e->planning > 0)
		uv_run(e->loop, UV_RUN_ONCE);
	uv_timer_stop(e->alive);
	uv_close((uv_handle_t *)e->alive, free_timer);
	bl_spool_free(e->spool);
	bl_closures_free(e->closures);
	free(e);
}
