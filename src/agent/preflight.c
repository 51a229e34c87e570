/* SPDX-License-Identifier: MIT */
#include "agent/preflight.h"

#include "agent/confirm.h"
#include "agent/rollback.h"
#include "agent/strategy.h"
#include "agent/trial.h"
#include "agent/txn.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         (1024ULL * 1024)
#define STARTING_MS 60000
#define CHECK_MS    60000

static bool say(const struct bl_preflight *p, const char *name, bool ok, const char *remedy,
		const char *text)
{
	p->item(p->ctx, name, ok, text, ok ? "" : remedy);
	return ok;
}

/* Not on tmpfs or ramfs: a journal that a reboot forgets is none. */
static bool state_dir(const struct bl_preflight *p)
{
	struct bl_err err = { 0 };
	struct statfs fs;
	if (bl_agent_dirs(&err) < 0)
		return say(p, "journal", false, "make " BL_AGENT_DIR " writable", err.msg);
	if (statfs(BL_AGENT_DIR, &fs) < 0)
		return say(p, "journal", false, "look at " BL_AGENT_DIR, strerror(errno));
	bool volatile_fs = fs.f_type == 0x01021994 || (unsigned long)fs.f_type == 0x858458f6UL;
	return say(p, "journal", !volatile_fs,
		   "keep " BL_AGENT_DIR " on a disk (with impermanence: list it as persistent)",
		   volatile_fs ? BL_AGENT_DIR " would not survive a reboot" : "durable");
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

static bool has_file(const char *system, const char *name, int mode)
{
	bl_autofree char *path = bl_xprintf("%s/%s", system, name);
	return access(path, mode) == 0;
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
	for (size_t i = 0; i < BL_COUNT(parts); i++) {
		if (has_file(p->system_new, parts[i].name, parts[i].mode))
			continue;
		bl_autofree char *text = bl_xprintf("%s is not a NixOS system: it has no %s",
						    p->system_new, parts[i].name);
		return say(p, "system", false, remedy, text);
	}
	return true;
}

/* Asked beside the other items, since Nix takes its time to start; -1: it could not be asked.
 */
static pid_t ask_validity(const struct bl_preflight *p)
{
	bl_autofree char *path = bl_tool_path(p->facts->system, "nix-store");
	const char *argv[] = { path, "--check-validity", p->system_new, NULL };
	struct bl_tool_env env;
	pid_t pid = -1;
	bl_tool_env_init(&env, p->facts->system, NULL);
	int rc = bl_child_spawn(argv, env.vars, -1, -1, -1, NULL, NULL, &pid, NULL);
	bl_tool_env_free(&env);
	return rc < 0 ? -1 : pid;
}

static bool valid(const struct bl_preflight *p, pid_t asked)
{
	int status = 0;
	if (asked < 0 || waitpid(asked, &status, 0) != asked)
		return say(p, "system", false, "look at Nix on the host",
			   "nix-store cannot be run");
	bool ok = bl_child_status(status) == 0;
	return say(p, "system", ok, "deploy again: the copy is not complete",
		   ok ? "complete" : "Nix does not know it as valid");
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
	if (f->loader_problem[0])
		return say(p, "boot default", false, "take that away, then deploy again",
			   f->loader_problem);
	if (!bl_preflight_drifted(f) || p->force_drift)
		return say(p, "boot default", true, "",
			   f->boot_default[0]
				   ? f->boot_default
				   : "no boot loader is there to be read: the profile counts");
	bl_autofree char *text = bl_xprintf(
		"this host runs %s but would boot %s", f->system,
		strcmp(f->system, bl_facts_default(f)) != 0 ? bl_facts_default(f) : f->profile);
	bl_autofree char *remedy = bl_xprintf(
		"reboot it to keep what would boot, or deploy with --force-drift to keep what runs");
	return say(p, "boot default", false, remedy, text);
}

static bool way_back(const struct bl_preflight *p)
{
	const char *old = p->facts->system;
	bool ok = has_file(old, "bin/switch-to-configuration", X_OK) &&
		  has_file(old, "sw/bin/systemctl", X_OK) &&
		  has_file(old, "sw/bin/systemd-run", X_OK) &&
		  has_file(old, "sw/bin/nix-env", X_OK);
	return say(p, "way back", ok,
		   "the running system must have switch-to-configuration, systemd and Nix",
		   ok ? "the running system can be switched to"
		      : "the running system lacks what a rollback needs");
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
	if (bl_session_start(getpid(), &start, &err) < 0)
		return say(p, "session", false, "reach the host through OpenSSH's sshd",
			   err.msg);
	bool ok = bl_sshd_answers(p->sshd);
	return say(p, "session", ok, "look at sshd on the host",
		   !*p->sshd ? "a session shows when it began; sshd's own address is not known"
		   : ok      ? "sshd greets, and a session shows when it began"
			     : "sshd does not greet at its own address");
}

/* What will be done to this host, and whether it can be. */
static bool strategy(const struct bl_preflight *p)
{
	bl_autofree char *remark = NULL;
	const char *remedy = "";
	struct bl_err err = { 0 };
	enum bl_strategy s = bl_strategy_resolve(p->plan, p->facts->booted, p->facts->system,
						 p->system_new, &remark);
	if (bl_strategy_boots(s) &&
	    bl_trial_check(p->facts, p->system_new, s, &remedy, &err) < 0) {
		bl_autofree char *text = bl_xprintf("%s: %s", bl_strategy_name(s), err.msg);
		return say(p, "strategy", false, remedy, text);
	}
	bl_autofree char *text = bl_xprintf("%s%s%s", bl_strategy_name(s), remark ? "; " : "",
					    remark ? remark : "");
	return say(p, "strategy", true, "", text);
}

size_t bl_preflight_run(const struct bl_preflight *p)
{
	size_t failed = 0;
	pid_t asked = ask_validity(p);
	bool whole = complete(p);
	failed += !state_dir(p);
	failed += !space_at(p, BL_AGENT_DIR, 16 * MIB);
	failed += !space_at(p, "/nix/store", 16 * MIB);
	failed += !space_at(p, "/boot", 8 * MIB);
	failed += !whole;
	failed += !drift(p);
	failed += !way_back(p);
	failed += !nobody_switches(p);
	failed += !has_booted(p);
	failed += !session(p);
	if (whole) {
		failed += !architecture(p);
		failed += !pre_switch(p);
		failed += !strategy(p);
	}
	failed += !valid(p, asked);
	return failed;
}
