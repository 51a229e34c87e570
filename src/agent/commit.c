/* SPDX-License-Identifier: MIT */
#include "agent/commit.h"

#include "agent/activation.h"
#include "agent/bootfiles.h"
#include "agent/loader.h"
#include "agent/point.h"
#include "agent/profile.h"
#include "base/file.h"
#include "base/log.h"

#include <string.h>

int bl_commit_install_loader(struct bl_job *job, const char *system, struct bl_err *err)
{
	struct bl_stc stc = {
		.system = system,
		.action = "boot",
		.tools_system = job->txn.rec.system_old,
		/* the way back is never to be blocked; the way forward was checked before */
		.no_check = true,
		.log_fd = job->log_fd,
		.limit_ms = job->txn.rec.commit_ms,
	};
	bl_job_say(job, "installing the boot loader of %s", system);
	int status = bl_stc_run(&stc);
	if (status == BL_STC_LIMIT)
		return bl_err_set(err, BL_E_TIMEOUT,
				  "installing the boot loader did not end in time");
	if (status != 0)
		return bl_err_set(err, BL_E_FAILED,
				  "installing the boot loader failed (status %d)", status);
	if (bl_loader_sync(err) < 0)
		return -1;
	bl_point("loader-installed");
	return 0;
}

int bl_commit_would_boot(const char *system, struct bl_err *err)
{
	bl_autofree char *profile = bl_realpath(BL_PROFILE);
	bl_autofree char *loader_default = NULL;
	enum bl_loader loader = BL_LOADER_NONE;
	if (!profile)
		return bl_err_set(err, BL_E_FAILED, BL_PROFILE " cannot be read");
	if (bl_loader_default(&loader, &loader_default, err) < 0)
		return bl_err_wrap(err, "what would boot cannot be told");
	const char *boots = *loader_default ? loader_default : profile;
	if (strcmp(profile, system) != 0 || strcmp(boots, system) != 0)
		return bl_err_set(err, BL_E_FAILED, "read back, %s would boot and not %s",
				  strcmp(boots, system) != 0 ? boots : profile, system);
	return 0;
}

/* Read back: @system is the default, and its kernel and initrd are whole. */
static int verify(const char *system, struct bl_err *err)
{
	if (bl_commit_would_boot(system, err) < 0)
		return -1;
	return bl_bootfiles_check(system, true, err);
}

/* A menu that holds few entries drops OLD's: then a profile of ours keeps it, up to the next
 * commit. */
static int keep_entry_of_old(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	enum bl_loader loader = BL_LOADER_NONE;
	bl_loader_dir(&loader);
	bl_autofree char *entry = bl_loader_entry_of(r->system_old, NULL);
	if (entry || (loader != BL_LOADER_BLS && loader != BL_LOADER_GRUB))
		return 0;
	if (bl_profile_set_beside(job, BL_PROFILE_PREVIOUS, r->system_old, err) < 0)
		return -1;
	bl_point("previous-kept");
	if (bl_commit_install_loader(job, r->system_new, err) < 0)
		return -1;
	bl_autofree char *now = bl_loader_entry_of(r->system_old, NULL);
	if (!now)
		bl_txn_remark(&job->txn, "the boot menu has no entry of the old system");
	return 0;
}

static int go_forward(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	bl_point("before-profile");
	if (bl_profile_set_new(job, err) < 0)
		return -1;
	bl_point("after-profile");
	/* from here on NEW is an ordinary generation */
	bl_profile_drop_beside(BL_PROFILE_CANDIDATE);
	bl_profile_drop_beside(BL_PROFILE_PREVIOUS);
	if (bl_commit_install_loader(job, r->system_new, err) < 0 ||
	    keep_entry_of_old(job, err) < 0)
		return -1;
	bl_point("after-loader");
	return verify(r->system_new, err);
}

enum bl_txn_event bl_commit(struct bl_job *job)
{
	struct bl_err err = { 0 };
	struct bl_record *r = &job->txn.rec;
	/* unguarded, OLD runs on; NEW does when a boot came in between */
	bool runs = bl_job_runs(r->system_new) ||
		    (job->plan.strategy == BL_STRATEGY_UNGUARDED && bl_job_runs(r->system_old));
	if (bl_profile_is_others(r) || bl_job_runs_other(job)) {
		bl_txn_reason(&job->txn,
			      "somebody else changed the system or its profile meanwhile");
		return BL_EV_THIRD_PARTY;
	}
	if (!runs)
		bl_err_set_(&err, BL_E_FAILED, 0, "the new system does not run any more");
	else if (job->plan.strategy == BL_STRATEGY_TEST || go_forward(job, &err) == 0)
		return BL_EV_COMMIT_OK;
	bl_txn_reason(&job->txn, "%s", err.msg);
	bl_job_say(job, "commit failed: %s", err.msg);
	return bl_commit_undo(job);
}

/*
 * OLD's installer, and its work read back. A menu that holds few entries shows NEW's generation
 * in OLD's place: then that one goes first. Coming back from a crash does not need it: NEW's
 * entry and root stay.
 */
static int put_loader_back(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	if (bl_commit_install_loader(job, r->system_old, err) < 0)
		return -1;
	if (verify(r->system_old, err) == 0)
		return 0;
	bl_autofree char *entry = bl_loader_entry_of(r->system_old, NULL);
	if (entry)
		return -1;
	bl_profile_drop_new(r);
	if (bl_commit_install_loader(job, r->system_old, err) < 0)
		return -1;
	return verify(r->system_old, err);
}

enum bl_txn_event bl_commit_undo(struct bl_job *job)
{
	struct bl_err err = { 0 };
	struct bl_record *r = &job->txn.rec;
	if (bl_profile_is_others(r))
		return BL_EV_THIRD_PARTY;
	bl_job_spare_log(job);
	bl_job_say(job, "putting the boot default back to %s", r->system_old);
	bl_point("before-undo");
	/* a crash may have come before the commit took it away; the installer below tidies up
	 */
	bl_profile_drop_beside(BL_PROFILE_CANDIDATE);
	bl_profile_drop_beside(BL_PROFILE_PREVIOUS);
	if (bl_profile_restore_old(r, &err) < 0 || put_loader_back(job, &err) < 0) {
		/* the loader may be fine all the same: an installer can fail before it writes
		 */
		struct bl_err again = { 0 };
		if (verify(r->system_old, &again) < 0) {
			bl_txn_remark(
				&job->txn,
				"the boot default cannot be put back: %s; do not reboot this host",
				err.msg);
			return BL_EV_GIVE_UP;
		}
	}
	bl_profile_drop_new(r);
	bl_point("after-undo");
	return BL_EV_COMMIT_UNDONE;
}
