/* SPDX-License-Identifier: MIT */
#include "agent/serve.h"

#include "agent/activation.h"
#include "agent/confirm.h"
#include "agent/keeper.h"
#include "agent/point.h"
#include "agent/preflight.h"
#include "agent/snapshot.h"
#include "agent/strategy.h"
#include "agent/system.h"
#include "agent/trial.h"
#include "agent/txn.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "store/path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_MS    20
#define HEARTBEAT_MS 2000
#define RECOVER_MS   15000
#define LINE_MAX_LEN 2000
#define CLEAN_UP_MS  5000

struct serve {
	struct bl_buf in;
	struct bl_kv challenge; /* of the rehearsal */
	bool rehearsed;
};

static int reply(enum bl_msg_type type, const struct bl_kv *kv)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_msg_put(&out, type, kv);
	return bl_write_all(STDOUT_FILENO, out.data, out.len, NULL);
}

static int refuse(const char *reason, const char *remedy)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "reason", reason);
	bl_kv_set(&kv, "remedy", remedy);
	return reply(BL_MSG_REFUSED, &kv);
}

int bl_msg_read(int fd, struct bl_buf *in, int timeout_ms, struct bl_msg *out,
		struct bl_err *err)
{
	int64_t end = bl_now_boot_ns() + timeout_ms * BL_NS_PER_MS;
	for (;;) {
		size_t used = 0;
		int rc = bl_msg_take(bl_buf_str(in), in->len, out, &used, err);
		if (rc != 0) {
			bl_buf_drop(in, used);
			return rc < 0 ? -1 : 0;
		}
		int64_t left = (end - bl_now_boot_ns()) / BL_NS_PER_MS;
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (timeout_ms >= 0 && left <= 0)
			return bl_err_set(err, BL_E_TIMEOUT, "no answer within %d ms",
					  timeout_ms);
		if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)left) <= 0)
			continue;
		char chunk[4096];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bl_err_set(err, BL_E_UNREACHABLE, "the other end has gone");
		bl_buf_append(in, chunk, (size_t)n);
	}
}

/* State of transaction @epoch (0: the newest) and of the host; nothing when there is none. */
static void tell_all(uint64_t epoch, struct bl_kv *kv)
{
	BL_AUTO(bl_facts) facts = { 0 };
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	struct bl_err err = { 0 };
	if (bl_facts_read(&facts, &err) == 0)
		bl_facts_tell(&facts, kv);
	else
		bl_kv_set(kv, "problem", err.msg);
	bl_kv_set(kv, "boot_id", bl_boot_id());
	bl_kv_set_u64(kv, "last_epoch", bl_txn_last_epoch());
	if (epoch == 0)
		epoch = bl_txn_newest();
	if (epoch && bl_txn_open(epoch, &t, NULL) == 0)
		bl_txn_tell(&t, kv);
	else
		bl_kv_set(kv, "state", "NONE");
}

static int say_state(uint64_t epoch)
{
	BL_AUTO(bl_kv) kv = { 0 };
	tell_all(epoch, &kv);
	return reply(BL_MSG_STATE, &kv);
}

/* The store path that this program runs from, a new string; NULL when it does not. */
static char *own_path(void)
{
	static const char tail[] = "/bin/belay-agent";
	char *exe = bl_readlink("/proc/self/exe");
	if (exe && bl_ends_with(exe, tail)) {
		exe[strlen(exe) - strlen(tail)] = '\0';
		if (bl_store_path_ok(exe))
			return exe;
	}
	free(exe);
	return NULL;
}

/* Whoever holds the lock is at work on it: a start, a keeper, a deadman. */
static bool somebody_works(void)
{
	bl_autofd int lock = -1;
	return bl_txn_lock(false, NULL, NULL, &lock, NULL) < 0;
}

void bl_serve_recover(void)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_facts) facts = { 0 };
	struct bl_err err = { 0 };
	uint64_t epoch = bl_txn_newest();
	if (epoch == 0 || somebody_works() || bl_txn_open(epoch, &t, &err) < 0 ||
	    bl_txn_is_terminal(t.rec.state) || bl_facts_read(&facts, &err) < 0 ||
	    bl_unit_is_alive(facts.system, epoch))
		return;
	bl_autofree char *log = bl_xprintf("%s/agent.log", t.dir);
	/* the agent that began it may be gone with its root; this one speaks the same journal
	 */
	bl_autofree char *self = own_path();
	if (self)
		bl_replace_str(&t.rec.agent, self);
	if (bl_unit_start_keeper(facts.system, &t.rec, log, &err) < 0) {
		bl_log(BL_LOG_ERR, "transaction %llu cannot be taken up again: %s",
		       (unsigned long long)epoch, err.msg);
		return;
	}
	/* most ends are quick, and whoever asks wants to go on */
	for (int i = 0; i < RECOVER_MS / FOLLOW_MS; i++) {
		BL_AUTO(bl_txn) now = { .dir_fd = -1 };
		if (bl_txn_open(epoch, &now, NULL) < 0 || bl_txn_is_terminal(now.rec.state))
			return;
		bl_sleep_ms(FOLLOW_MS);
	}
}

/* Roots before anything is copied, so that no collection can take it away in between. */
static void set_roots(const char *system_new)
{
	bl_autofree char *self = own_path();
	bl_autofree char *is = bl_readlink(BL_ROOTS_DIR "/agent");
	/* the root says that the agent is whole, also after a power cut: Nix does not flush */
	if (self && (!is || strcmp(is, self) != 0) &&
	    (bl_sync_fs(self, NULL) < 0 || bl_root_set("agent", self, NULL) < 0))
		bl_log(BL_LOG_WARN, "the agent could not be rooted");
	if (bl_store_path_ok(system_new) && bl_root_set("next", system_new, NULL) < 0)
		bl_log(BL_LOG_WARN, "the new system could not be rooted");
}

static int say_hello(struct serve *s)
{
	BL_AUTO(bl_kv) kv = { 0 };
	uint8_t nonce[BL_NONCE_LEN];
	char hex[2 * BL_NONCE_LEN + 1];
	bl_random(nonce, sizeof(nonce));
	bl_hex(nonce, sizeof(nonce), hex);
	bl_kv_set(&s->challenge, "nonce", hex);
	bl_kv_set(&s->challenge, "boot_id", bl_boot_id());
	bl_kv_set_u64(&kv, "version", BL_WIRE_VERSION);
	bl_kv_set(&kv, "agent", BELAY_VERSION);
	bl_kv_set(&kv, "nonce", hex);
	tell_all(0, &kv);
	return reply(BL_MSG_HELLO, &kv);
}

static int take_key(const struct bl_kv *kv, uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	return bl_unhex(bl_kv_str(kv, "key"), key, BL_KEY_LEN, err);
}

static void say_item(void *ctx BL_UNUSED, const char *name, enum bl_item_level level,
		     const char *text, const char *remedy)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "item", name);
	bl_kv_set(&kv, "ok", level == BL_ITEM_FAILED ? "0" : "1");
	bl_kv_set(&kv, "warning", level == BL_ITEM_WARNING ? "1" : "0");
	bl_kv_set(&kv, "text", text);
	bl_kv_set(&kv, "remedy", remedy);
	/* who has gone does not need it */
	(void)!reply(BL_MSG_ITEM, &kv);
}

/* "address port" of our end of the ssh connection, from "client port server port". */
static char *own_sshd(void)
{
	BL_AUTO(bl_strv) w = { 0 };
	const char *connection = getenv("BELAY_SSH");
	bl_strv_split(&w, connection ? connection : "", ' ');
	return w.n == 4 ? bl_xprintf("%s %s", w.items[2], w.items[3]) : bl_xstrdup("");
}

static int do_preflight(struct serve *s, const struct bl_kv *kv)
{
	BL_AUTO(bl_facts) facts = { 0 };
	struct bl_err err = { 0 };
	uint8_t key[BL_KEY_LEN];
	bl_autofree char *sshd = own_sshd();
	const char *new = bl_kv_str(kv, "new");
	/* the rehearsal: the same proof by the same way as the confirmation will be */
	if (take_key(kv, key, &err) < 0 ||
	    bl_proof_check(key, &s->challenge, bl_kv_str(kv, "proof"), &err) < 0)
		return refuse(err.msg, "use the same version of belay on both ends");
	/* whoever only looks need not have a system, nor need it be here already */
	bool only = bl_kv_bool(kv, "preflight_only");
	if ((!only || *new) && bl_store_path_check(new, "system", &err) < 0)
		return refuse(err.msg, "deploy a NixOS toplevel");
	if (bl_facts_read(&facts, &err) < 0)
		return refuse(err.msg, "belay deploys to NixOS hosts only");
	BL_AUTO(bl_plan) plan = { 0 };
	if (bl_plan_read(kv, &plan, &err) < 0)
		return refuse(err.msg, "use the same version of belay on both ends");
	bool with_new = !only || (*new &&bl_preflight_is_valid(facts.system, new));
	say_item(NULL, "rehearsal", BL_ITEM_OK,
		 "the way of the confirmation is open, as root and without a terminal", "");
	struct bl_preflight p = {
		.system_new = with_new ? new : NULL,
		.plan = &plan,
		.facts = &facts,
		.sshd = sshd,
		.force_drift = bl_kv_bool(kv, "force_drift"),
		.items = { .put = say_item },
	};
	if (bl_preflight_run(&p) > 0)
		return refuse("the preflight failed", "");
	s->rehearsed = !only;
	return reply(BL_MSG_OK, NULL);
}

/* Compare before start: what the deployer believes is what is. */
static int compare(const struct bl_kv *kv, const struct bl_facts *f, struct bl_err *err)
{
	static const char remedy[] = "somebody else works on this host; look and deploy again";
	uint64_t last = bl_txn_last_epoch();
	if (strcmp(bl_kv_str(kv, "system"), f->system) != 0)
		return bl_err_set(err, BL_E_REFUSED, "it runs %s now: %s", f->system, remedy);
	if (bl_kv_u64_or(kv, "generation", 0) != f->generation)
		return bl_err_set(err, BL_E_REFUSED,
				  "its profile is at generation %llu now: %s",
				  (unsigned long long)f->generation, remedy);
	if (strcmp(bl_kv_str(kv, "boot_default"), f->boot_default) != 0)
		return bl_err_set(err, BL_E_REFUSED, "it would boot %s now: %s",
				  f->boot_default, remedy);
	if (bl_kv_u64_or(kv, "last_epoch", 0) != last)
		return bl_err_set(err, BL_E_REFUSED,
				  "transaction %llu was started meanwhile: %s",
				  (unsigned long long)last, remedy);
	return 0;
}

static int nothing_open(struct bl_err *err)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	uint64_t epoch = bl_txn_newest();
	if (epoch == 0 || bl_txn_open(epoch, &t, NULL) < 0)
		return 0;
	if (t.rec.state == BL_TXN_STUCK)
		return bl_err_set(err, BL_E_REFUSED, "transaction %llu is STUCK: %s",
				  (unsigned long long)epoch, t.rec.reason);
	if (bl_txn_is_terminal(t.rec.state))
		return 0;
	return bl_err_set(err, BL_E_REFUSED, "transaction %llu of %s is open (%s)",
			  (unsigned long long)epoch, t.rec.owner ? t.rec.owner : "?",
			  bl_txn_name(t.rec.state));
}

static uint32_t limit_of(const struct bl_kv *kv, const char *key, uint32_t fallback)
{
	uint64_t v = 0;
	return bl_kv_u64(kv, key, 1000, 86400000, &v, NULL) < 0 ? fallback : (uint32_t)v;
}

static void fill_record(const struct bl_kv *kv, const struct bl_facts *f, const char *agent,
			struct bl_record *r)
{
	bl_autofree char *sshd = own_sshd();
	bl_replace_str(&r->run, bl_kv_str(kv, "run"));
	bl_replace_str(&r->owner, bl_kv_str(kv, "owner"));
	bl_replace_str(&r->agent, agent);
	bl_replace_str(&r->boot_id, bl_boot_id());
	bl_replace_str(&r->system_old, f->system);
	bl_replace_str(&r->system_new, bl_kv_str(kv, "new"));
	bl_replace_str(&r->sshd, sshd);
	bl_replace_str(&r->reason, "");
	bl_replace_str(&r->remark, "");
	r->generation_old = f->generation;
	r->activate_ms = limit_of(kv, "activate_ms", 60000);
	r->confirm_ms = limit_of(kv, "confirm_ms", 20000);
	r->commit_ms = bl_point_ms("commit_ms", limit_of(kv, "commit_ms", 180000));
	r->rollback_ms = r->activate_ms * 2 > 60000 ? r->activate_ms * 2 : 60000;
	r->rollback_ms = bl_point_ms("rollback_ms", r->rollback_ms);
	/* whoever takes it up later than this does not begin it any more */
	r->deadline_boot_ns = bl_now_boot_ns() + 60 * BL_NS_PER_S;
}

/* With --force-drift: what runs becomes what boots, before anything else. */
static int mend_drift(struct bl_facts *f, struct bl_err *err)
{
	const char *const args[] = { "--profile", BL_PROFILE, "--set", f->system, NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_tool_run(f->system, "nix-env", args, 180000, &r, err) < 0)
		return -1;
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED, "set the system profile: %.300s",
				  bl_buf_str(&r.err));
	bl_autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct bl_stc stc = { .system = f->system,
			      .action = "boot",
			      .tools_system = f->system,
			      .no_check = true,
			      .log_fd = null,
			      .limit_ms = 180000 };
	if (bl_stc_run(&stc) != 0)
		return bl_err_set(err, BL_E_FAILED,
				  "the boot loader of the running system cannot be installed");
	bl_facts_free(f);
	if (bl_facts_read(f, err) < 0)
		return -1;
	if (f->loader_problem[0] || bl_preflight_drifted(f))
		return bl_err_set(err, BL_E_FAILED,
				  "the running system cannot be made the boot default");
	return 0;
}

static int take_snapshot(const struct bl_txn *t, const char *system, struct bl_err *err)
{
	struct bl_snapshot before = { 0 };
	int rc = bl_snapshot_take(system, t->rec.sshd, &before, err);
	bl_snapshot_take_means(system, &before);
	if (rc == 0)
		rc = bl_snapshot_save(&before, t->dir_fd, err);
	bl_snapshot_free(&before);
	return rc;
}

/* The windows in which it goes forward: hook, activation, checks, confirmation. */
static uint64_t forward_ms(const struct bl_record *r, const struct bl_plan *plan)
{
	uint64_t hook = *plan->pre_activate ? (uint64_t)r->activate_ms + 10000 : 0;
	return hook + r->activate_ms + 10000 + bl_plan_checks_ms(plan) + r->confirm_ms;
}

/* Keeper and deadman, side by side: whichever is there first can end what the other is to end.
 */
static int launch(struct bl_txn *t, const struct bl_plan *plan, const char *system,
		  struct bl_err *err)
{
	struct bl_record *r = &t->rec;
	bl_autofree char *log = bl_xprintf("%s/agent.log", t->dir);
	/* the windows, their kills, and what the machine needs besides */
	int64_t dead_ms = (int64_t)forward_ms(r, plan) + 20000;
	if (bl_strategy_boots(plan->strategy))
		dead_ms += 2 * (int64_t)r->commit_ms;
	pid_t deadman = -1;
	if (take_snapshot(t, system, err) < 0)
		return -1;
	bl_point("before-deadman");
	if (bl_unit_begin_deadman(system, r, log, dead_ms, &deadman, err) < 0)
		return -1;
	bl_point("before-keeper");
	int rc = bl_unit_start_keeper(system, r, log, err);
	struct bl_err no_deadman = { 0 };
	if (bl_unit_wait_deadman(deadman, &no_deadman) == 0 || rc < 0)
		return rc;
	/* a keeper that nobody watches is not to go on */
	*err = no_deadman;
	if (bl_confirm_abort(r->epoch, err->msg, NULL) < 0)
		bl_log(BL_LOG_ERR, "%s; and it cannot be stopped", err->msg);
	return -1;
}

/* A keeper holds the lock for a moment behind its transaction's end: that one is waited for. */
static int lock_soon(int *out_lock, struct bl_err *err)
{
	for (int ms = 0; ms < CLEAN_UP_MS; ms += FOLLOW_MS) {
		struct bl_err held = { 0 };
		if (bl_txn_lock(false, NULL, NULL, out_lock, &held) == 0)
			return 0;
		if (nothing_open(err) < 0)
			return -1;
		bl_sleep_ms(FOLLOW_MS);
	}
	return bl_txn_lock(false, NULL, NULL, out_lock, err);
}

static int start(const struct bl_kv *kv, struct bl_txn *out, struct bl_err *err)
{
	BL_AUTO(bl_facts) facts = { 0 };
	BL_AUTO(bl_record) rec = { 0 };
	BL_AUTO(bl_plan) plan = { 0 };
	bl_autofd int lock = -1;
	uint8_t key[BL_KEY_LEN];
	bl_autofree char *self = own_path();
	bl_autofree char *unproven = NULL;
	if (bl_plan_read(kv, &plan, err) < 0)
		return -1;
	if (!self)
		return bl_err_set(err, BL_E_REFUSED, "the agent does not run from the store");
	if (take_key(kv, key, err) < 0 || bl_agent_dirs(err) < 0 || lock_soon(&lock, err) < 0 ||
	    nothing_open(err) < 0 || bl_facts_read(&facts, err) < 0 ||
	    compare(kv, &facts, err) < 0)
		return -1;
	if (bl_preflight_drifted(&facts)) {
		if (!bl_kv_bool(kv, "force_drift"))
			return bl_err_set(err, BL_E_REFUSED,
					  "what runs is not what would boot");
		if (mend_drift(&facts, err) < 0)
			return -1;
	}
	fill_record(kv, &facts, self, &rec);
	plan.strategy = bl_strategy_resolve(&plan, facts.booted, facts.system,
					    bl_kv_str(kv, "new"), &unproven);
	if (unproven)
		bl_replace_str(&rec.remark, unproven);
	/* the store on disk before anything refers to it: Nix does not flush what it writes,
	 * and nobody watches the clock yet */
	if (bl_sync_fs("/nix/store", err) < 0)
		return -1;
	int rc = bl_txn_create(&rec, &plan, key, out, err);
	explicit_bzero(key, sizeof(key));
	if (rc < 0)
		return -1;
	/* the open record keeps others out from here on; the keeper takes the lock */
	bl_closep(&lock);
	rc = launch(out, &plan, facts.system, err);
	/* too slow to answer, or somebody's look took it up first: it runs, and that is what
	 * counts */
	if (rc < 0 && bl_unit_is_alive(facts.system, out->rec.epoch))
		return 0;
	if (rc < 0) {
		bl_txn_reason(out, "%s", err->msg);
		if (bl_txn_move(out, BL_EV_UNTOUCHED, NULL) < 0)
			bl_log(BL_LOG_ERR, "the refusal could not be recorded");
		bl_unit_stop_deadman(facts.system, out->rec.epoch);
		bl_keeper_clean(out);
	}
	return rc;
}

static int do_start(struct serve *s, const struct bl_kv *kv)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_kv) ok = { 0 };
	struct bl_err err = { 0 };
	if (!s->rehearsed)
		return refuse("the confirmation was not rehearsed",
			      "use the same version of belay on both ends");
	bl_point("before-start");
	if (start(kv, &t, &err) < 0)
		return refuse(err.msg, "nothing was changed; `belay status` shows the host");
	const struct bl_record *r = &t.rec;
	BL_AUTO(bl_plan) plan = { 0 };
	if (bl_txn_plan_load(&t, &plan, &err) < 0)
		return refuse(err.msg, "`belay status` shows the host");
	/* all windows, a commit and its undoing, two rollbacks with their checks and the hook
	 * behind them, a shutdown and a boot */
	uint64_t bound = forward_ms(r, &plan) + 2 * (uint64_t)r->commit_ms +
			 2 * ((uint64_t)r->rollback_ms + 60000) +
			 (*plan.post_rollback ? (uint64_t)r->activate_ms + 10000 : 0) + 90000 +
			 180000;
	/* the trial's preparation, its shutdown, the boot with its own checks, and another one
	 * to leave it */
	if (bl_strategy_boots(plan.strategy))
		bound += (uint64_t)r->commit_ms + 180000 + plan.boot_ms +
			 bl_plan_checks_ms(&plan) + 180000;
	bl_kv_set_u64(&ok, "epoch", r->epoch);
	bl_kv_set_u64(&ok, "bound_ms", bound);
	if (reply(BL_MSG_OK, &ok) < 0)
		return -1;
	return bl_serve_follow(r->epoch);
}

/* One log that grows, sent line by line. */
struct tail {
	const char *file;
	const char *stream;
	int fd;
	struct bl_buf part;
};

static int send_line(const char *stream, const char *text, size_t len)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_autofree char *line = bl_xstrndup(text, len < LINE_MAX_LEN ? len : LINE_MAX_LEN);
	bl_kv_set(&kv, "stream", stream);
	bl_kv_set(&kv, "line", line);
	return reply(BL_MSG_LINE, &kv);
}

static int tail_more(struct tail *t, int dir_fd)
{
	char chunk[16384];
	if (t->fd < 0)
		t->fd = openat(dir_fd, t->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (t->fd < 0)
		return 0;
	/* a flood is told in portions, so that states still get through */
	for (int i = 0; i < 16; i++) {
		ssize_t n = read(t->fd, chunk, sizeof(chunk));
		if (n <= 0)
			return 0;
		bl_buf_append(&t->part, chunk, (size_t)n);
		for (char *end = NULL;
		     (end = memchr(bl_buf_str(&t->part), '\n', t->part.len));) {
			size_t len = (size_t)(end - t->part.data);
			if (send_line(t->stream, t->part.data, len) < 0)
				return -1;
			bl_buf_drop(&t->part, len + 1);
		}
		if (t->part.len > LINE_MAX_LEN) {
			if (send_line(t->stream, t->part.data, t->part.len) < 0)
				return -1;
			bl_buf_clear(&t->part);
		}
	}
	return 0;
}

/* What the deployer says while we tell: only an abort. false: it has gone. */
static bool listen_once(uint64_t epoch, struct bl_buf *in)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	if (poll(&p, 1, FOLLOW_MS) <= 0)
		return true;
	char chunk[1024];
	ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
	if (n <= 0)
		return n < 0 && errno == EINTR;
	bl_buf_append(in, chunk, (size_t)n);
	for (;;) {
		BL_AUTO(bl_msg) m = { 0 };
		size_t used = 0;
		struct bl_err err = { 0 };
		int rc = bl_msg_take(bl_buf_str(in), in->len, &m, &used, &err);
		if (rc <= 0)
			return rc == 0;
		bl_buf_drop(in, used);
		if (m.type == BL_MSG_ABORT &&
		    bl_confirm_abort(epoch, bl_kv_str(&m.kv, "reason"), &err) < 0 &&
		    refuse(err.msg, "") < 0)
			return false;
	}
}

/* The record as it is now; false when it has ended. */
static bool follow_state(uint64_t epoch, uint64_t *seq, int64_t *told_ns)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open(epoch, &t, NULL) < 0)
		return false;
	int64_t now = bl_now_boot_ns();
	bool end = bl_txn_is_terminal(t.rec.state);
	if (t.rec.seq != *seq || end || now - *told_ns > HEARTBEAT_MS * BL_NS_PER_MS) {
		*seq = t.rec.seq;
		*told_ns = now;
		if (say_state(epoch) < 0)
			return false;
	}
	return !end;
}

int bl_serve_follow(uint64_t epoch)
{
	BL_AUTO(bl_buf) in = { 0 };
	bl_autofd int dir = -1;
	bl_autofree char *path =
		bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)epoch);
	struct bl_err err = { 0 };
	if (bl_open_dir(path, &dir, &err) < 0)
		return refuse(err.msg,
			      "`belay status` shows the newest transaction of this host");
	struct tail tails[] = { { .file = "stc.log", .stream = "activation", .fd = -1 },
				{ .file = "agent.log", .stream = "agent", .fd = -1 } };
	uint64_t seq = UINT64_MAX;
	int64_t told = 0;
	bool more = true;
	while (more) {
		/* the lines before the state that they led to */
		for (size_t i = 0; i < BL_COUNT(tails) && more; i++)
			more = tail_more(&tails[i], dir) == 0;
		more = more && follow_state(epoch, &seq, &told) && listen_once(epoch, &in);
	}
	for (size_t i = 0; i < BL_COUNT(tails); i++) {
		bl_closep(&tails[i].fd);
		bl_buf_free(&tails[i].part);
	}
	return 0;
}

static int do_log(uint64_t epoch)
{
	bl_autofd int dir = -1;
	bl_autofree char *path =
		bl_xprintf(BL_AGENT_DIR "/txn/%llu",
			   (unsigned long long)(epoch ? epoch : bl_txn_newest()));
	if (bl_open_dir(path, &dir, NULL) < 0)
		return refuse("no such transaction on this host",
			      "`belay status` shows the newest");
	struct tail tails[] = { { .file = "stc.log", .stream = "activation", .fd = -1 },
				{ .file = "agent.log", .stream = "agent", .fd = -1 } };
	int rc = 0;
	for (size_t i = 0; i < BL_COUNT(tails); i++) {
		if (rc == 0)
			rc = tail_more(&tails[i], dir);
		bl_closep(&tails[i].fd);
		bl_buf_free(&tails[i].part);
	}
	return rc < 0 ? rc : reply(BL_MSG_OK, NULL);
}

/* Somebody mended the host: what runs must be what boots before it is deployed to again. */
static int settle(struct bl_txn *t)
{
	BL_AUTO(bl_facts) f = { 0 };
	struct bl_err err = { 0 };
	bl_autofd int lock = -1;
	if (bl_facts_read(&f, &err) < 0 || bl_txn_lock(false, NULL, NULL, &lock, &err) < 0)
		return refuse(err.msg, "");
	if (f.loader_problem[0] || bl_preflight_drifted(&f)) {
		bl_autofree char *text = bl_xprintf(
			"it is STUCK: it runs %s and would boot %s", f.system,
			f.loader_problem[0] ? f.loader_problem : bl_facts_default(&f));
		return refuse(text, "make the running system the boot default first");
	}
	bl_txn_remark(t, "settled by a person");
	t->rec.state = BL_TXN_SUPERSEDED;
	if (bl_txn_save(t, true, &err) < 0)
		return refuse(err.msg, "make room on the host's disk");
	bl_keeper_clean(t);
	return reply(BL_MSG_OK, NULL);
}

static int do_abort(uint64_t epoch, const struct bl_kv *kv)
{
	const char *run = bl_kv_str(kv, "run");
	struct bl_err err = { 0 };
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (epoch == 0 || bl_txn_open(epoch, &t, NULL) < 0)
		return refuse("there is no transaction to stop", "");
	if (*run && strcmp(run, t.rec.run ? t.rec.run : "") != 0) {
		bl_autofree char *text =
			bl_xprintf("its transaction %llu is of run %s",
				   (unsigned long long)epoch, t.rec.run ? t.rec.run : "?");
		return refuse(text, "");
	}
	if (t.rec.state == BL_TXN_STUCK)
		return settle(&t);
	if (bl_txn_is_terminal(t.rec.state)) {
		bl_autofree char *text =
			bl_xprintf("transaction %llu has ended: %s", (unsigned long long)epoch,
				   bl_txn_name(t.rec.state));
		return refuse(text, "to go back to an older system, deploy it");
	}
	if (bl_confirm_abort(epoch, bl_kv_str(kv, "reason"), &err) < 0)
		return refuse(err.msg, "`belay status` shows what the host does");
	return reply(BL_MSG_OK, NULL);
}

static int handle(struct serve *s, const struct bl_msg *m)
{
	uint64_t epoch = bl_kv_u64_or(&m->kv, "epoch", 0);
	switch (m->type) {
	case BL_MSG_PREFLIGHT:
		return do_preflight(s, &m->kv);
	case BL_MSG_START:
		return do_start(s, &m->kv);
	case BL_MSG_STATUS:
		return say_state(epoch);
	case BL_MSG_ABORT:
		return do_abort(epoch, &m->kv);
	case BL_MSG_LOG:
		return do_log(epoch);
	case BL_MSG_HELLO:
	case BL_MSG_CHALLENGE:
	case BL_MSG_PROOF:
	case BL_MSG_OK:
	case BL_MSG_REFUSED:
	case BL_MSG_STATE:
	case BL_MSG_LINE:
	case BL_MSG_ITEM:
		break;
	}
	return refuse("not a request", "use the same version of belay on both ends");
}

int bl_serve_main(const char *system_new)
{
	struct serve s = { 0 };
	struct bl_err err = { 0 };
	if (bl_write_all(STDOUT_FILENO, BL_WIRE_BANNER, sizeof(BL_WIRE_BANNER) - 1, &err) < 0)
		return 1;
	if (bl_agent_dirs(&err) < 0) {
		refuse(err.msg, "make room on the host's disk, or make it writable");
		return 1;
	}
	set_roots(system_new);
	bl_serve_recover();
	int rc = say_hello(&s);
	while (rc == 0) {
		BL_AUTO(bl_msg) m = { 0 };
		if (bl_msg_read(STDIN_FILENO, &s.in, -1, &m, &err) < 0)
			break;
		rc = handle(&s, &m);
	}
	bl_buf_free(&s.in);
	bl_kv_free(&s.challenge);
	return rc < 0 ? 1 : 0;
}
