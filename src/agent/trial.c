/* SPDX-License-Identifier: MIT */
#include "agent/trial.h"

#include "agent/bootfiles.h"
#include "agent/commit.h"
#include "agent/point.h"
#include "agent/profile.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define UNSAFE   BL_AGENT_DIR "/not-trial-safe"
#define EFI_VARS "/sys/firmware/efi/efivars"
#define FEATURES EFI_VARS "/LoaderFeatures-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define TOOL_MS  30000

/* Bit 3 of LoaderFeatures: it takes a one-shot entry (systemd's loader interface). */
static bool takes_oneshot(void)
{
	bl_autofd int fd = open(FEATURES, O_RDONLY | O_CLOEXEC);
	unsigned char raw[12] = { 0 };
	return fd >= 0 && read(fd, raw, sizeof(raw)) == (ssize_t)sizeof(raw) && raw[4] & 0x08;
}

/*
 * GRUB clears a one-shot by writing into grubenv's own blocks: it cannot where they are behind
 * btrfs, ZFS, f2fs, LVM, md or LUKS, and the entry would be booted for ever.
 */
static const char *grubenv_problem(const char *dir)
{
	struct stat st;
	struct statfs fs;
	bl_autofree char *grub = bl_xprintf("%s/grub", dir);
	if (stat(grub, &st) < 0 || statfs(grub, &fs) < 0)
		return "grub's folder cannot be read";
	/* ext2-4, FAT, XFS */
	if (fs.f_type != 0xEF53 && fs.f_type != 0x4d44 && fs.f_type != 0x58465342)
		return "grubenv is on a file system that GRUB cannot write to";
	static const char *const layers[] = { "dm", "md", "bcache" };
	for (size_t i = 0; i < BL_COUNT(layers); i++) {
		bl_autofree char *path = bl_xprintf("/sys/dev/block/%u:%u/%s", major(st.st_dev),
						    minor(st.st_dev), layers[i]);
		if (access(path, F_OK) == 0)
			return "grubenv is on LVM, LUKS or RAID, where GRUB cannot write to it";
	}
	return NULL;
}

static bool has_tool(const char *system, const char *name)
{
	bl_autofree char *path = bl_tool_path(system, name);
	return access(path, X_OK) == 0;
}

static int check_kexec(const struct bl_facts *f, const char **out_remedy, struct bl_err *err)
{
	bl_autofree char *disabled = bl_slurp("/proc/sys/kernel/kexec_load_disabled", 16);
	bl_autofree char *lockdown = bl_slurp("/sys/kernel/security/lockdown", 256);
	*out_remedy = "use the strategy boot, or live";
	if (!disabled || disabled[0] != '0')
		return bl_err_set(err, BL_E_REFUSED, "kexec is disabled on this host");
	if (lockdown && !strstr(lockdown, "[none]"))
		return bl_err_set(err, BL_E_REFUSED, "the kernel is locked down: no kexec");
	if (!has_tool(f->system, "kexec"))
		return bl_err_set(err, BL_E_REFUSED, "the running system has no kexec");
	return 0;
}

static int check_loader(const struct bl_facts *f, const char **out_remedy, struct bl_err *err)
{
	enum bl_loader loader = BL_LOADER_NONE;
	const char *dir = bl_loader_dir(&loader);
	const char *problem = NULL;
	*out_remedy = "use the strategy live, or kexec";
	switch (loader) {
	case BL_LOADER_NONE:
	case BL_LOADER_EXTLINUX:
		return bl_err_set(err, BL_E_REFUSED,
				  "the boot loader (%s) has no one-shot entry",
				  bl_loader_name(loader));
	case BL_LOADER_BLS:
		if (access(EFI_VARS, W_OK) < 0)
			return bl_err_set(err, BL_E_REFUSED, "EFI variables: %s",
					  strerror(errno));
		if (!takes_oneshot())
			return bl_err_set(err, BL_E_REFUSED,
					  "this host was not booted by a systemd-boot that "
					  "takes a one-shot entry");
		if (!has_tool(f->system, "bootctl"))
			return bl_err_set(err, BL_E_REFUSED,
					  "the running system has no bootctl");
		return 0;
	case BL_LOADER_GRUB:
		problem = grubenv_problem(dir);
		if (problem)
			return bl_err_set(err, BL_E_REFUSED, "%s", problem);
		if (!has_tool(f->system, "grub-editenv"))
			return bl_err_set(err, BL_E_REFUSED,
					  "the running system has no grub-editenv");
		return 0;
	}
	return 0;
}

/* NEW brings the guard's unit itself, or /etc keeps the one that we put there. */
static int check_guard(const char *system_new, const char **out_remedy, struct bl_err *err)
{
	struct statfs fs;
	if (bl_unit_guard_in(system_new))
		return 0;
	*out_remedy = "import belay's NixOS module (services.belay.enable) in the new system";
	if (access("/etc/systemd", W_OK) < 0)
		return bl_err_set(err, BL_E_REFUSED,
				  "the new system has no boot guard, and /etc cannot take one");
	if (statfs("/etc", &fs) < 0 || fs.f_type == 0x01021994 ||
	    (unsigned long)fs.f_type == 0x858458f6UL)
		return bl_err_set(
			err, BL_E_REFUSED,
			"the new system has no boot guard, and /etc would not keep one");
	return 0;
}

int bl_trial_check(const struct bl_facts *facts, const char *system_new,
		   enum bl_strategy strategy, const char **out_remedy, struct bl_err *err)
{
	bl_autofree char *unsafe = bl_slurp(UNSAFE, 512);
	if (strategy == BL_STRATEGY_KEXEC) {
		if (check_kexec(facts, out_remedy, err) < 0)
			return -1;
	} else {
		*out_remedy =
			"mend the boot loader and remove " UNSAFE ", or use another strategy";
		if (unsafe)
			return bl_err_set(err, BL_E_REFUSED, "%.*s", (int)strcspn(unsafe, "\n"),
					  unsafe);
		if (check_loader(facts, out_remedy, err) < 0)
			return -1;
	}
	return check_guard(system_new, out_remedy, err);
}

/* --- the candidate --- */

static int run_tool(struct bl_job *job, const char *name, const char *const *args,
		    int64_t timeout_ms, struct bl_err *err)
{
	BL_AUTO(bl_child_result) res = { 0 };
	if (bl_tool_run_ticking(job->txn.rec.system_old, name, args, timeout_ms, job->tick,
				job->ctx, &res, err) < 0)
		return -1;
	if (res.status != 0)
		return bl_err_set(err, BL_E_FAILED, "%s: status %d: %.300s", name, res.status,
				  bl_buf_str(&res.err));
	return 0;
}

/* OLD's own installer lists all profiles and makes OLD the default. */
static int install_candidate(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	if (bl_profile_set_beside(job, BL_PROFILE_CANDIDATE, r->system_new, err) < 0)
		return -1;
	bl_point("trial-candidate");
	if (bl_commit_install_loader(job, r->system_old, err) < 0)
		return -1;
	bl_autofree char *entry = bl_loader_entry_of(r->system_new, err);
	return entry ? bl_bootfiles_check(r->system_new, true, job->tick, job->ctx, err) : -1;
}

int bl_trial_install(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	bl_job_say(job, "preparing a trial boot of %s", r->system_new);
	if (!bl_unit_guard_in(r->system_new) && bl_unit_guard_install(r, err) < 0)
		return -1;
	if (job->plan.strategy != BL_STRATEGY_KEXEC && install_candidate(job, err) < 0)
		return -1;
	bl_point("trial-installed");
	return bl_commit_would_boot(r->system_old, err);
}

/* --- the one-shot --- */

/* @entry "": none. */
static int set_oneshot(struct bl_job *job, const char *entry, struct bl_err *err)
{
	enum bl_loader loader = BL_LOADER_NONE;
	const char *dir = bl_loader_dir(&loader);
	if (loader == BL_LOADER_BLS) {
		const char *const args[] = { "set-oneshot", entry, NULL };
		return run_tool(job, "bootctl", args, TOOL_MS, err);
	}
	if (loader != BL_LOADER_GRUB)
		return bl_err_set(err, BL_E_FAILED, "this boot loader has no one-shot entry");
	bl_autofree char *env = bl_xprintf("%s/grub/grubenv", dir);
	bl_autofree char *value = bl_xprintf("next_entry=%s", entry);
	const char *const create[] = { env, "create", NULL };
	const char *const set[] = { env, "set", value, NULL };
	const char *const unset[] = { env, "unset", "next_entry", NULL };
	if (access(env, F_OK) < 0 && run_tool(job, "grub-editenv", create, TOOL_MS, err) < 0)
		return -1;
	if (run_tool(job, "grub-editenv", *entry ? set : unset, TOOL_MS, err) < 0)
		return -1;
	return bl_loader_sync(err);
}

/* NEW's kernel as its boot entry would start it. */
static int load_kernel(struct bl_job *job, struct bl_err *err)
{
	const char *new = job->txn.rec.system_new;
	bl_autofree char *file = bl_xprintf("%s/kernel-params", new);
	bl_autofree char *params = bl_slurp(file, 16384);
	bl_autofree char *kernel = bl_xprintf("%s/kernel", new);
	bl_autofree char *initrd = bl_xprintf("--initrd=%s/initrd", new);
	if (params)
		params[strcspn(params, "\n")] = '\0';
	bl_autofree char *line =
		bl_xprintf("--command-line=init=%s/init %s", new, params ? params : "");
	const char *const args[] = { "--load", kernel, initrd, line, NULL };
	return run_tool(job, "kexec", args, TOOL_MS, err);
}

int bl_trial_arm(struct bl_job *job, struct bl_err *err)
{
	if (job->plan.strategy == BL_STRATEGY_KEXEC)
		return load_kernel(job, err);
	bl_autofree char *entry = bl_loader_entry_of(job->txn.rec.system_new, err);
	if (!entry || set_oneshot(job, entry, err) < 0)
		return -1;
	bl_autofree char *is = bl_loader_oneshot();
	if (!is || strcmp(is, entry) != 0)
		return bl_err_set(err, BL_E_FAILED,
				  "the one-shot entry reads back as '%s' and not '%s'",
				  is ? is : "", entry);
	return 0;
}

static void mark_unsafe(void)
{
	static const char text[] = "the boot loader did not clear a one-shot entry: it would "
				   "boot an unconfirmed system again and again\n";
	bl_autofd int dir = -1;
	if (bl_open_dir(BL_AGENT_DIR, &dir, NULL) < 0 ||
	    bl_write_file_at(dir, "not-trial-safe", 0600, text, sizeof(text) - 1, NULL) < 0)
		bl_log(BL_LOG_WARN, UNSAFE " cannot be written");
}

static bool clear_oneshot(struct bl_job *job)
{
	struct bl_err err = { 0 };
	bl_autofree char *is = bl_loader_oneshot();
	if (!is)
		return false;
	if (set_oneshot(job, "", &err) < 0)
		bl_txn_remark(&job->txn, "the one-shot entry %s cannot be cleared: %s", is,
			      err.msg);
	return true;
}

bool bl_trial_cleared(const struct bl_job *job)
{
	bl_autofree char *is = bl_loader_oneshot();
	if (!is || job->plan.strategy == BL_STRATEGY_KEXEC)
		return true;
	mark_unsafe();
	return false;
}

void bl_trial_leave(struct bl_job *job)
{
	struct bl_err err = { 0 };
	if (job->plan.strategy == BL_STRATEGY_KEXEC && job->txn.rec.state != BL_TXN_NONE) {
		const char *const args[] = { "--unload", NULL };
		if (run_tool(job, "kexec", args, TOOL_MS, &err) < 0)
			bl_log(BL_LOG_INFO, "%s", err.msg);
	}
	clear_oneshot(job);
	/* in NEW its entry stays until OLD runs again: OLD's installer is OLD's business */
	if (bl_job_runs(job->txn.rec.system_old) &&
	    bl_profile_drop_beside(BL_PROFILE_CANDIDATE) &&
	    bl_commit_install_loader(job, job->txn.rec.system_old, &err) < 0)
		bl_txn_remark(&job->txn,
			      "the entry of the trial boot is left in the boot menu: %s",
			      err.msg);
}
