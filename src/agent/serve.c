/* SPDX-License-Identifier: MIT */
#include "agent/serve.h"

#include "agent/confirm.h"
#include "agent/follow.h"
#include "agent/keeper.h"
#include "agent/kept.h"
#include "agent/point.h"
#include "agent/preflight.h"
#include "agent/receive.h"
#include "agent/start.h"
#include "agent/system.h"
#include "agent/talk.h"
#include "agent/unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "store/path.h"

#include <string.h>
#include <unistd.h>

struct serve {
	struct bl_buf in;
	struct bl_kv challenge; /* of the rehearsal */
	bool rehearsed;
	bool root; /* else it copies, as Nix lets the user, and does nothing besides */
};

/* Roots before anything is copied, so that no collection can take it away in between. */
static void set_roots(const char *system_new)
{
	bl_autofree char *self = bl_start_own_path();
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
	if (s->root)
		bl_follow_tell(0, &kv);
	return bl_talk_reply(BL_MSG_HELLO, &kv);
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
	(void)!bl_talk_reply(BL_MSG_ITEM, &kv);
}

static int do_preflight(struct serve *s, const struct bl_kv *kv)
{
	BL_AUTO(bl_facts) facts = { 0 };
	struct bl_err err = { 0 };
	uint8_t key[BL_KEY_LEN];
	bl_autofree char *sshd = bl_start_own_sshd();
	const char *new = bl_kv_str(kv, "new");
	/* the rehearsal: the same proof by the same way as the confirmation will be */
	if (bl_start_take_key(kv, key, &err) < 0 ||
	    bl_proof_check(key, &s->challenge, bl_kv_str(kv, "proof"), &err) < 0)
		return bl_talk_refuse(err.msg, "use the same version of belay on both ends");
	/* whoever only looks need not have a system, nor need it be here already */
	bool only = bl_kv_bool(kv, "preflight_only");
	if ((!only || *new) && bl_store_path_check(new, "system", &err) < 0)
		return bl_talk_refuse(err.msg, "deploy a NixOS toplevel");
	if (bl_facts_read(&facts, &err) < 0)
		return bl_talk_refuse(err.msg, "belay deploys to NixOS hosts only");
	bl_start_past_test(&facts, new);
	BL_AUTO(bl_plan) plan = { 0 };
	if (bl_plan_read(kv, &plan, &err) < 0)
		return bl_talk_refuse(err.msg, "use the same version of belay on both ends");
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
		return bl_talk_refuse("the preflight failed", "");
	s->rehearsed = !only;
	return bl_talk_reply(BL_MSG_OK, NULL);
}

static int do_start(struct serve *s, const struct bl_kv *kv)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_kv) ok = { 0 };
	struct bl_err err = { 0 };
	if (!s->rehearsed)
		return bl_talk_refuse("the confirmation was not rehearsed",
				      "use the same version of belay on both ends");
	bl_point("before-start");
	if (bl_start(kv, &t, &err) < 0)
		return bl_talk_refuse(err.msg,
				      "nothing was changed; `belay status` shows the host");
	const struct bl_record *r = &t.rec;
	BL_AUTO(bl_plan) plan = { 0 };
	if (bl_txn_plan_load(&t, &plan, &err) < 0)
		return bl_talk_refuse(err.msg, "`belay status` shows the host");
	bl_kv_set_u64(&ok, "epoch", r->epoch);
	bl_kv_set(&ok, "old", r->system_old);
	bl_kv_set_u64(&ok, "bound_ms", bl_start_bound_ms(r, &plan));
	if (bl_talk_reply(BL_MSG_OK, &ok) < 0)
		return -1;
	return bl_follow(r->epoch);
}

/* Somebody mended the host: what runs must be what boots before it is deployed to again. */
static int settle(struct bl_txn *t)
{
	BL_AUTO(bl_facts) f = { 0 };
	struct bl_err err = { 0 };
	bl_autofd int lock = -1;
	if (bl_facts_read(&f, &err) < 0 || bl_txn_lock(0, &lock, &err) < 0)
		return bl_talk_refuse(err.msg, "");
	if (f.loader_problem[0] || bl_preflight_drifted(&f)) {
		bl_autofree char *text = bl_xprintf(
			"it is STUCK: it runs %s and would boot %s", f.system,
			f.loader_problem[0] ? f.loader_problem : bl_facts_default(&f));
		return bl_talk_refuse(text, "make the running system the boot default first");
	}
	bl_txn_remark(t, "settled by a person");
	t->rec.state = BL_TXN_SUPERSEDED;
	if (bl_txn_save(t, true, &err) < 0)
		return bl_talk_refuse(err.msg, "make room on the host's disk");
	bl_autofree char *tools = bl_txn_tools(t);
	bl_keeper_clean(t);
	/* a boot while it was STUCK said so by a unit that failed */
	bl_unit_reload(tools);
	bl_unit_forget_guard(tools);
	return bl_talk_reply(BL_MSG_OK, NULL);
}

static int do_abort(uint64_t epoch, const struct bl_kv *kv)
{
	const char *run = bl_kv_str(kv, "run");
	struct bl_err err = { 0 };
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (epoch == 0 || bl_txn_open(epoch, &t, NULL) < 0)
		return bl_talk_refuse("there is no transaction to stop", "");
	if (*run && strcmp(run, t.rec.run ? t.rec.run : "") != 0) {
		bl_autofree char *text =
			bl_xprintf("its transaction %llu is of run %s",
				   (unsigned long long)epoch, t.rec.run ? t.rec.run : "?");
		return bl_talk_refuse(text, "");
	}
	if (t.rec.state == BL_TXN_STUCK)
		return settle(&t);
	if (bl_txn_is_terminal(t.rec.state)) {
		bl_autofree char *text =
			bl_xprintf("transaction %llu has ended: %s", (unsigned long long)epoch,
				   bl_txn_name(t.rec.state));
		return bl_talk_refuse(text, "to go back to an older system, deploy it");
	}
	if (bl_confirm_abort(epoch, bl_kv_str(kv, "reason"), &err) < 0)
		return bl_talk_refuse(err.msg, "`belay status` shows what the host does");
	return bl_talk_reply(BL_MSG_OK, NULL);
}

#define CURRENT   "/run/current-system"
#define SILENT_MS 30000 /* several times what a deployer is silent: BL_COPY_ALIVE_MS */

static int do_copy(struct serve *s, const struct bl_kv *kv)
{
	/* what has no such link is no NixOS, and can be copied to all the same */
	bl_autofree char *system = bl_realpath(CURRENT);
	bl_autofree char *program = bl_tool_path(CURRENT, "nix-daemon");
	const char *const argv[] = { program, "--stdio", NULL };
	bl_autofree char *meminfo = bl_slurp("/proc/meminfo", 65536);
	struct bl_tool_env env;
	bl_tool_env_init(&env, CURRENT, NULL);
	struct bl_receive_spec spec = { .system = system,
					.root = "",
					.program = argv,
					.env = env.vars,
					.memory_bytes = bl_receive_memory(meminfo),
					.silent_ms = SILENT_MS,
					.keep_dir = s->root ? BL_AGENT_DIR : NULL,
					.keep_reserve_bytes = BL_KEPT_RESERVE };
	int rc = bl_receive(&spec, kv, &s->in);
	bl_tool_env_free(&env);
	return rc;
}

static int handle(struct serve *s, const struct bl_msg *m)
{
	uint64_t epoch = bl_kv_u64_or(&m->kv, "epoch", 0);
	if (!s->root && m->type != BL_MSG_COPY)
		return bl_talk_refuse("only root may do this",
				      "come as root, or allow the user sudo");
	switch (m->type) {
	case BL_MSG_PREFLIGHT:
		return do_preflight(s, &m->kv);
	case BL_MSG_START:
		return do_start(s, &m->kv);
	case BL_MSG_STATUS:
		return bl_follow_say_state(epoch);
	case BL_MSG_ABORT:
		return do_abort(epoch, &m->kv);
	case BL_MSG_LOG:
		return bl_follow_log(epoch);
	case BL_MSG_COPY:
		return do_copy(s, &m->kv);
	case BL_MSG_HELLO:
	case BL_MSG_CHALLENGE:
	case BL_MSG_PROOF:
	case BL_MSG_OK:
	case BL_MSG_REFUSED:
	case BL_MSG_STATE:
	case BL_MSG_LINE:
	case BL_MSG_ITEM:
	case BL_MSG_COPY_END:
	case BL_MSG_HAVE:
		break;
	}
	return bl_talk_refuse("not a request", "use the same version of belay on both ends");
}

/* A keeper that went back may wait for somebody to reach the host: whoever looks at it has. */
static void say_that_we_came(void)
{
	bl_autofd int fd = -1;
	uint64_t epoch = bl_txn_newest();
	if (epoch)
		(void)!bl_confirm_connect(epoch, &fd, NULL);
}

static void arrive(const char *system_new)
{
	struct bl_err err = { 0 };
	/* a full disk is no reason not to look at a host, or to send it back */
	if (bl_agent_dirs(&err) < 0)
		bl_log(BL_LOG_WARN, "%s", err.msg);
	set_roots(system_new);
	bl_start_recover();
	say_that_we_came();
}

int bl_serve_main(const char *system_new)
{
	struct serve s = { .root = geteuid() == 0 };
	struct bl_err err = { 0 };
	if (bl_write_all(STDOUT_FILENO, BL_WIRE_BANNER, sizeof(BL_WIRE_BANNER) - 1, &err) < 0)
		return 1;
	if (s.root)
		arrive(system_new);
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
