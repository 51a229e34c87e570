/* SPDX-License-Identifier: MIT */
#include "agent/preflight.h"

#include "agent/bootfiles.h"
#include "agent/coverage.h"
#include "agent/rollback.h"
#include "agent/snapshot.h"
#include "agent/space.h"
#include "agent/strategy.h"
#include "agent/trial.h"
#include "agent/txn.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/login.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         (1024ULL * 1024)
#define STARTING_MS 60000
#define CHECK_MS    60000
#define ANSWER_MS   30000

static bool say(const struct bl_preflight *p, const char *name, bool ok, const char *remedy,
		const char *text)
{
	p->items.put(p->items.ctx, name, ok ? BL_ITEM_OK : BL_ITEM_FAILED, text,
		     ok ? "" : remedy);
	return ok;
}

/* A program of the running system that answers while other items are looked at. */
struct asked {
	bool begun;
	struct bl_tool tool;
};

static void ask(const struct bl_preflight *p, const char *tool, const char *const *args,
		struct asked *a)
{
	a->begun = bl_tool_start(p->facts->system, tool, args, ANSWER_MS, &a->tool, NULL) == 0;
}

/* Its status; 127 when it could not be run, -1 when it is over the limit. @out: its words. */
static int answer(struct asked *a, struct bl_buf *out)
{
	BL_AUTO(bl_child_result) r = { .status = 127 };
	if (a->begun)
		bl_tool_finish(&a->tool, &r);
	while (r.out.len > 0 && r.out.data[r.out.len - 1] == '\n')
		r.out.len--;
	bl_buf_append(out, bl_buf_str(&r.out), r.out.len);
	return r.status;
}

/* Systemd is what guards the switch: without it a transaction would have no keeper. */
static bool works(const struct bl_preflight *p, const char *name, struct asked *a,
		  const char *good, const char *remedy)
{
	BL_AUTO(bl_buf) said = { 0 };
	int status = answer(a, &said);
	bl_autofree char *text = status < 0
					 ? bl_xprintf("no answer within %d s", ANSWER_MS / 1000)
					 : bl_xprintf("status %d%s%s", status,
						      said.len ? ": " : "", bl_buf_str(&said));
	return say(p, name, status == 0, remedy, status == 0 ? good : text);
}

static bool nothing_open(const struct bl_preflight *p)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_kv) kv = { 0 };
	uint64_t epoch = bl_txn_newest();
	if (epoch == 0 || bl_txn_open(epoch, &t, NULL) < 0 || bl_txn_is_terminal(t.rec.state))
		return say(p, "transaction", true, "", "none is open");
	bl_txn_tell(&t, &kv);
	bl_autofree char *text =
		bl_xprintf("transaction %llu of %s is open (%s)", (unsigned long long)epoch,
			   t.rec.owner ? t.rec.owner : "?", bl_txn_name(t.rec.state));
	bl_autofree char *remedy = bl_xprintf(
		"it ends by itself within %llu s, confirmed or rolled back; then deploy again",
		(unsigned long long)bl_kv_u64_or(&kv, "left_ms", 60000) / 1000 + 1);
	return say(p, "transaction", false, remedy, text);
}

/* A few bytes written, pushed out of the cache and read again. */
static int write_and_read(struct bl_err *err)
{
	static const char text[] = "what is written here is read again\n";
	/* two deployments may look at the same time */
	bl_autofree char *name = bl_xprintf("probe-%d", (int)getpid());
	bl_autofree char *back = NULL;
	bl_autofd int dir = -1;
	if (bl_open_dir(BL_AGENT_DIR, &dir, err) < 0 ||
	    bl_write_file_at(dir, name, 0600, text, sizeof(text) - 1, err) < 0)
		return -1;
	bl_autofd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	int rc = fd < 0 ? bl_err_sys(err, errno, "open %s/%s", BL_AGENT_DIR, name)
			: bl_read_all(fd, sizeof(text), &back, NULL, err);
	unlinkat(dir, name, 0);
	if (rc == 0 && strcmp(back, text) != 0)
		return bl_err_set(err, BL_E_FAILED, "what is written to %s is read otherwise",
				  BL_AGENT_DIR);
	return rc;
}

/* Not on tmpfs or ramfs: a journal that a reboot forgets is none. */
static bool state_dir(const struct bl_preflight *p)
{
	struct bl_err err = { 0 };
	struct statfs fs;
	if (bl_agent_dirs(&err) < 0 || write_and_read(&err) < 0)
		return say(p, "journal", false, "make " BL_AGENT_DIR " writable", err.msg);
	if (statfs(BL_AGENT_DIR, &fs) < 0)
		return say(p, "journal", false, "look at " BL_AGENT_DIR, strerror(errno));
	bool volatile_fs = fs.f_type == 0x01021994 || (unsigned long)fs.f_type == 0x858458f6UL;
	return say(p, "journal", !volatile_fs,
		   "keep " BL_AGENT_DIR " on a disk (with impermanence: list it as persistent)",
		   volatile_fs ? BL_AGENT_DIR " would not survive a reboot" : "durable");
}

static bool has_file(const char *system, const char *name, int mode)
{
	bl_autofree char *path = bl_xprintf("%s/%s", system, name);
	return access(path, mode) == 0;
}

static bool space_at(const struct bl_preflight *p, const char *path, uint64_t need)
{
	struct statfs fs;
	if (statfs(path, &fs) < 0)
		return true; /* no /boot, say: nothing to run out of */
	uint64_t free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	bl_autofree char *text = bl_xprintf("%s has %llu MiB free, %llu MiB wanted", path,
					    (unsigned long long)(free_bytes / MIB),
					    (unsigned long long)(need / MIB));
	return say(p, "space", free_bytes >= need || fs.f_blocks == 0,
		   "make room (nix-collect-garbage -d, fewer generations in the boot loader)",
		   text);
}

/* Installers remove old kernels only after they have copied the new one. */
static bool boot_space(const struct bl_preflight *p)
{
	const struct bl_facts *f = p->facts;
	enum bl_loader loader = BL_LOADER_NONE;
	const char *dir = bl_loader_dir(&loader);
	if (!dir)
		dir = "/boot";
	uint64_t need = p->system_new && f->loader != BL_LOADER_NONE
				? bl_boot_need(dir, p->system_new, f->boot_default)
				: 0;
	return space_at(p, dir, 16 * MIB + need);
}

static bool complete(const struct bl_preflight *p)
{
	static const struct {
		const char *name;
		int mode;
	} parts[] = {
		{ "activate", X_OK },      { "bin/switch-to-configuration", X_OK },
		{ "init", F_OK },          { "etc", F_OK },
		{ "nixos-version", F_OK }, { "sw/bin", F_OK },
	};
	static const char remedy[] = "deploy a NixOS toplevel (config.system.build.toplevel)";
	/* a collection that had begun before the copy sees none of its roots */
	if (access(p->system_new, F_OK) < 0)
		return say(p, "system", false, "deploy again",
			   "it is not in the store any more: was garbage collected meanwhile?");
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		if (has_file(p->system_new, parts[i].name, parts[i].mode))
			continue;
		bl_autofree char *text = bl_xprintf("%s is not a NixOS system: it has no %s",
						    p->system_new, parts[i].name);
		return say(p, "system", false, remedy, text);
	}
	return true;
}

bool bl_preflight_is_valid(const char *tools, const char *path)
{
	const char *const args[] = { "--check-validity", path, NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	return bl_tool_run(tools, "nix-store", args, ANSWER_MS, &r, NULL) == 0 && r.status == 0;
}

static bool valid(const struct bl_preflight *p, struct asked *a)
{
	BL_AUTO(bl_buf) said = { 0 };
	int status = answer(a, &said);
	if (status < 0 || status == 127)
		return say(p, "system", false, "look at Nix on the host",
			   "nix-store cannot be run");
	return say(p, "system", status == 0, "deploy again: the copy is not complete",
		   status == 0 ? "complete" : "Nix does not know it as valid");
}

/*
 * Nix calls a path valid that a power cut or a bad disk has emptied: it looked when it came.
 * What NEW has beyond OLD, which runs, is read and compared with its hash.
 */
static const char verify_script[] =
	"p=$({ nix-store -qR \"$1\"; nix-store -qR \"$1\"; nix-store -qR \"$2\"; } | sort | uniq -u); "
	"[ -z \"$p\" ] || exec nix-store --verify-path $p";

static bool intact(const struct bl_preflight *p, struct asked *a)
{
	BL_AUTO(bl_buf) said = { 0 };
	int status = answer(a, &said);
	bool ok = status <= 0;
	bl_autofree char *text =
		bl_xprintf("files were changed or lost: %s", bl_buf_str(&said));
	if (status < 0) {
		p->items.put(p->items.ctx, "files", BL_ITEM_WARNING,
			     "what came is too large to be read through in time",
			     "nix-store --verify-path shows whether it is whole");
		return true;
	}
	if (ok)
		bl_replace_str(&text, "its files are as they were built");
	return say(
		p, "files", ok,
		"repair them on the host: nix-store --repair-path, or nix-store --delete and deploy again",
		text);
}

static bool architecture(const struct bl_preflight *p)
{
	bl_autofree char *old_file = bl_xprintf("%s/system", p->facts->system);
	bl_autofree char *new_file = bl_xprintf("%s/system", p->system_new);
	bl_autofree char *old = bl_slurp(old_file, 256);
	bl_autofree char *new = bl_slurp(new_file, 256);
	bool ok = !old || !new || strcmp(old, new) == 0;
	bl_autofree char *text =
		bl_xprintf("host is %s, system is %s", old ? old : "?", new ? new : "?");
	return say(p, "architecture", ok, "deploy a system that was built for this host", text);
}

bool bl_preflight_drifted(const struct bl_facts *f)
{
	return strcmp(f->system, f->profile) != 0 ||
	       strcmp(f->system, bl_facts_default(f)) != 0;
}

static bool drift(const struct bl_preflight *p)
{
	const struct bl_facts *f = p->facts;
	struct bl_err err = { 0 };
	if (f->loader_problem[0])
		return say(p, "boot default", false, "take that away, then deploy again",
			   f->loader_problem);
	/* what a rollback by reboot would start */
	if (bl_bootfiles_check(bl_facts_default(f), false, &err) < 0)
		return say(p, "boot default", false, "do that, then deploy again", err.msg);
	if (!bl_preflight_drifted(f) || p->force_drift) {
		bl_autofree char *starts =
			bl_xprintf("%s starts %s", bl_loader_name(f->loader), f->boot_default);
		return say(p, "boot default", true, "",
			   f->boot_default[0]
				   ? starts
				   : "no boot loader is there to be read: the profile counts");
	}
	bl_autofree char *text = bl_xprintf(
		"this host runs %s but would boot %s", f->system,
		strcmp(f->system, bl_facts_default(f)) != 0 ? bl_facts_default(f) : f->profile);
	bl_autofree char *remedy = bl_xprintf(
		"reboot it to keep what would boot, or deploy with --force-drift to keep what runs");
	return say(p, "boot default", false, remedy, text);
}

/* A script, as NixOS had it in Perl, or a program, as it has it in Rust. */
static bool is_program(const char *system, const char *name)
{
	char head[4] = "";
	bl_autofree char *path = bl_xprintf("%s/%s", system, name);
	bl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && access(path, X_OK) == 0 && read(fd, head, 4) == 4 &&
	       (memcmp(head, "#!", 2) == 0 || memcmp(head, "\177ELF", 4) == 0);
}

static bool way_back(const struct bl_preflight *p)
{
	static const char *const tools[] = { "systemctl", "systemd-run", "nix-env" };
	static const char remedy[] =
		"the running system must have switch-to-configuration, systemd and Nix";
	const char *old = p->facts->system;
	if (!is_program(old, "bin/switch-to-configuration"))
		return say(p, "way back", false, remedy,
			   "the running system lacks what a rollback needs: "
			   "bin/switch-to-configuration");
	for (size_t i = 0; i < BL_COUNT(tools); i++) {
		bl_autofree char *name = bl_xprintf("sw/bin/%s", tools[i]);
		bl_autofree char *text =
			bl_xprintf("the running system lacks what a rollback needs: %s", name);
		if (!has_file(old, name, X_OK))
			return say(p, "way back", false, remedy, text);
	}
	return say(p, "way back", true, "", "the running system can be switched to");
}

/* What a rollback is compared with; what is failed already is nobody's fault. */
static bool baseline(const struct bl_preflight *p)
{
	static const struct bl_strv none = { 0 };
	BL_AUTO(bl_snapshot) now = { 0 };
	struct bl_err err = { 0 };
	if (bl_snapshot_take(p->facts->system, p->sshd, &now, &err) < 0)
		return say(p, "baseline", false, "look at systemd on the host", err.msg);
	bl_autofree char *failed = bl_strv_missing(&now.failed, &none);
	bl_autofree char *text = bl_xprintf("failed already, and no reason to go back: %s",
					    failed ? failed : "");
	return say(p, "baseline", true, "", failed ? text : "no unit is failed");
}

/* Who holds NixOS's lock is a deployment of ours mostly: then it is named. */
static bool somebody_switches(const struct bl_preflight *p)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	uint64_t epoch = bl_txn_newest();
	bl_autofree char *text = NULL;
	if (epoch && bl_txn_open(epoch, &t, NULL) == 0 && !bl_txn_is_terminal(t.rec.state))
		text = bl_xprintf("transaction %llu of %s is open (%s)",
				  (unsigned long long)epoch, t.rec.owner ? t.rec.owner : "?",
				  bl_txn_name(t.rec.state));
	return say(p, "nobody else switches", false, "wait until it has ended",
		   text ? text : "another switch-to-configuration is running");
}

static bool nobody_switches(const struct bl_preflight *p)
{
	bl_autofd int fd = open("/run/nixos/switch-to-configuration.lock", O_RDWR | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return somebody_switches(p);
	return say(p, "nobody else switches", true, "", "no other switch is running");
}

/* While it boots, units that are new are not started and broken ones go unnoticed. */
static bool has_booted(const struct bl_preflight *p)
{
	const char *const args[] = { "is-system-running", NULL };
	int64_t end = bl_now_boot_ns() + STARTING_MS * BL_NS_PER_MS;
	for (;;) {
		BL_AUTO(bl_child_result) r = { 0 };
		struct bl_err err = { 0 };
		if (bl_tool_run(p->facts->system, "systemctl", args, 15000, &r, &err) < 0)
			return say(p, "systemd", false, "look at systemd on the host", err.msg);
		bl_autofree char *state =
			bl_xstrndup(bl_buf_str(&r.out), strcspn(bl_buf_str(&r.out), "\n"));
		bool starting =
			strcmp(state, "starting") == 0 || strcmp(state, "initializing") == 0;
		if (starting && bl_now_boot_ns() < end) {
			bl_sleep_ms(250);
			continue;
		}
		bool ok = strcmp(state, "running") == 0 || strcmp(state, "degraded") == 0;
		bl_autofree char *text =
			bl_xprintf("the system is %s", state[0] ? state : "not answering");
		return say(p, "systemd", ok,
			   starting ? "wait until it has booted (systemctl list-jobs)"
				    : "look at `systemctl is-system-running` on the host",
			   text);
	}
}

/* The newer programs run their pre-switch checks alone; the older do not know the word. */
static bool pre_switch(const struct bl_preflight *p)
{
	bl_autofree char *program = bl_xprintf("%s/bin/switch-to-configuration", p->system_new);
	const char *argv[] = { program, "check", NULL };
	struct bl_tool_env env;
	struct bl_err err = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	bl_tool_env_init(&env, p->facts->system, NULL);
	struct bl_child_spec spec = { .argv = argv,
				      .env = env.vars,
				      .timeout_ms = CHECK_MS,
				      .out_max = 64UL * 1024,
				      .err_mode = BL_CHILD_ERR_MERGE };
	int rc = bl_child_run(&spec, &r, &err);
	bl_tool_env_free(&env);
	if (rc < 0)
		return say(p, "pre-switch check", false,
			   "deploy a system that was built for this host", err.msg);
	bool unknown = r.status != 0 && strcasestr(bl_buf_str(&r.out), "usage");
	if (r.status == 0 || unknown)
		return say(p, "pre-switch check", true, "",
			   unknown ? "this system has none" : "passed");
	if (strcasestr(bl_buf_str(&r.out), "could not acquire lock"))
		return somebody_switches(p);
	return say(p, "pre-switch check", false,
		   "fix what the check names, or deploy with a reboot", bl_buf_str(&r.out));
}

static bool session(const struct bl_preflight *p)
{
	struct bl_err err = { 0 };
	int64_t start = 0;
	if (!p->plan->local && bl_session_start(getpid(), &start, &err) < 0)
		return say(p, "session", false, "reach the host through OpenSSH's sshd",
			   err.msg);
	bool ok = bl_sshd_answers(p->sshd);
	return say(p, "session", ok, "look at sshd on the host",
		   !*p->sshd ? "a session shows when it began; sshd's own address is not known"
		   : ok      ? "sshd greets, and a session shows when it began"
			     : "sshd does not greet at its own address");
}

/* What the next boot starts with: the new system's parameters when there is one. */
static void coverage(const struct bl_preflight *p, struct asked *a)
{
	const char *next = p->system_new ? p->system_new : bl_facts_default(p->facts);
	bl_autofree char *file = bl_xprintf("%s/kernel-params", next);
	bl_autofree char *params = bl_slurp(file, 65536);
	BL_AUTO(bl_buf) show = { 0 };
	struct bl_coverage c;
	if (answer(a, &show) != 0)
		bl_buf_clear(&show);
	bl_coverage_read("", bl_buf_str(&show), params ? params : "", &c);
	bl_coverage_judge(&c, &p->items);
}

/* What will be done to this host, and whether it can be. */
static bool strategy(const struct bl_preflight *p)
{
	bl_autofree char *remark = NULL;
	const char *remedy = "";
	struct bl_err err = { 0 };
	enum bl_strategy s = bl_strategy_resolve(p->plan, p->facts->booted, p->facts->system,
						 p->system_new, &remark);
	if (bl_strategy_boots(s) && strcmp(p->facts->system, p->system_new) == 0)
		return say(p, "strategy", false, "deploy it with the strategy live",
			   "it runs already: no boot of it could be told from a way back");
	if (bl_strategy_boots(s) &&
	    bl_trial_check(p->facts, p->system_new, s, &remedy, &err) < 0) {
		bl_autofree char *text = bl_xprintf("%s: %s", bl_strategy_name(s), err.msg);
		return say(p, "strategy", false, remedy, text);
	}
	bl_autofree char *text = bl_xprintf("%s%s%s", bl_strategy_name(s), remark ? "; " : "",
					    remark ? remark : "");
	return say(p, "strategy", true, "", text);
}

/* What is to be known of NEW before it may run here. */
static size_t look_at_new(const struct bl_preflight *p, struct asked *validity,
			  struct asked *files)
{
	size_t failed = 0;
	bool whole = complete(p);
	failed += !whole;
	if (whole) {
		failed += !architecture(p);
		failed += !pre_switch(p);
		failed += !strategy(p);
	}
	failed += !valid(p, validity);
	return failed + !intact(p, files);
}

size_t bl_preflight_run(const struct bl_preflight *p)
{
	static const char *const show[] = { BL_COVERAGE_SHOW, NULL };
	static const char *const run[] = { "--quiet", "--wait", "--collect", "true", NULL };
	static const char *const ping[] = { "--timeout=10",
					    "call",
					    "org.freedesktop.systemd1",
					    "/org/freedesktop/systemd1",
					    "org.freedesktop.DBus.Peer",
					    "Ping",
					    NULL };
	const char *const check[] = { "--check-validity", p->system_new, NULL };
	const char *const verify[] = { "-c",          verify_script, "sh", p->facts->system,
				       p->system_new, NULL };
	size_t failed = 0;
	/* these take their time to start */
	struct asked runs;
	struct asked bus;
	struct asked watchdogs;
	struct asked validity = { 0 };
	struct asked files = { 0 };
	ask(p, "systemd-run", run, &runs);
	ask(p, "busctl", ping, &bus);
	ask(p, "systemctl", show, &watchdogs);
	if (p->system_new) {
		ask(p, "nix-store", check, &validity);
		ask(p, "sh", verify, &files);
	}
	failed += !nothing_open(p);
	failed += !state_dir(p);
	failed += !space_at(p, BL_AGENT_DIR, 16 * MIB);
	failed += !space_at(p, "/nix/store", 16 * MIB);
	failed += !boot_space(p);
	failed += !drift(p);
	failed += !way_back(p);
	failed += !nobody_switches(p);
	failed += !has_booted(p);
	failed +=
		!works(p, "bus", &bus, "systemd answers over D-Bus",
		       "look at dbus.service on the host: nothing can be switched without it");
	failed +=
		!works(p, "systemd-run", &runs, "starts units",
		       "look why systemd starts no transient units: nothing else can guard the "
		       "switch");
	failed += !session(p);
	failed += !baseline(p);
	if (p->system_new)
		failed += look_at_new(p, &validity, &files);
	coverage(p, &watchdogs);
	return failed;
}
