/* SPDX-License-Identifier: MIT */
#include "agent/commit.h"

#include "agent/activation.h"
#include "agent/loader.h"
#include "agent/point.h"
#include "agent/trial.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The toplevel and number that the system profile names now. */
static int read_profile(char **out_top, uint64_t *out_generation, struct bl_err *err)
{
	bl_autofree char *link = bl_readlink(BL_PROFILE);
	char *top = bl_realpath(BL_PROFILE);
	if (!link || !top) {
		free(top);
		return bl_err_set(err, BL_E_FAILED, BL_PROFILE " cannot be read");
	}
	*out_generation = bl_generation_of(link);
	*out_top = top;
	return 0;
}

/* Compare before swap: the profile holds what we recorded, or what we set already. */
static bool profile_is_ours(const struct bl_record *r)
{
	bl_autofree char *top = NULL;
	uint64_t generation = 0;
	if (read_profile(&top, &generation, NULL) < 0)
		return false;
	return (generation == r->generation_old && strcmp(top, r->system_old) == 0) ||
	       strcmp(top, r->system_new) == 0;
}

/* The highest generation and its toplevel: Nix takes it again when it is what is to be set. */
static uint64_t highest_generation(char **out_top)
{
	uint64_t highest = 0;
	DIR *d = opendir(BL_PROFILE_DIR);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		uint64_t n = bl_generation_of(e->d_name);
		highest = n > highest ? n : highest;
	}
	if (d)
		closedir(d);
	bl_autofree char *link =
		bl_xprintf(BL_PROFILE_DIR "/system-%llu-link", (unsigned long long)highest);
	*out_top = bl_realpath(link);
	return highest;
}

static int set_profile(struct bl_job *job, struct bl_err *err)
{
	struct bl_record *r = &job->txn.rec;
	const char *const args[] = { "--profile", BL_PROFILE, "--set", r->system_new, NULL };
	BL_AUTO(bl_child_result) res = { 0 };
	bl_autofree char *top_of_highest = NULL;
	uint64_t highest = highest_generation(&top_of_highest);
	/* whose the generation is has to be known before it is made: a crash may come in
	 * between */
	if (!r->generation_new) {
		r->generation_created =
			!top_of_highest || strcmp(top_of_highest, r->system_new) != 0;
		r->generation_new = highest + (r->generation_created ? 1 : 0);
		if (bl_txn_save(&job->txn, false, err) < 0)
			return -1;
	}
	if (bl_tool_run_ticking(r->system_old, "nix-env", args, r->commit_ms, job->tick,
				job->ctx, &res, err) < 0)
		return -1;
	if (res.status != 0)
		return bl_err_set(err, BL_E_FAILED, "set the system profile: %s%.300s",
				  res.status < 0 ? "no end in time " : "",
				  bl_buf_str(&res.err));
	bl_autofree char *top = NULL;
	if (read_profile(&top, &r->generation_new, err) < 0)
		return -1;
	if (strcmp(top, r->system_new) != 0)
		return bl_err_set(err, BL_E_FAILED, "the system profile names %s", top);
	if (bl_sync_dir(BL_PROFILE_DIR, err) < 0)
		return -1;
	return bl_txn_save(&job->txn, false, err);
}

static int install_loader(struct bl_job *job, const char *system, struct bl_err *err)
{
	struct bl_stc stc = {
		.system = system,
		.action = "boot",
		.tools_system = job->txn.rec.system_old,
		/* the way back is never to be blocked; the way forward was checked before */
		.no_check = true,
		.log_fd = job->log_fd,
		.limit_ms = job->txn.rec.commit_ms,
		.tick = job->tick,
		.ctx = job->ctx,
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

/* What would boot is @system: profile and loader agree. */
static int verify_default(const char *system, struct bl_err *err)
{
	BL_AUTO(bl_facts) f = { 0 };
	if (bl_facts_read(&f, err) < 0)
		return -1;
	if (f.loader_problem[0])
		return bl_err_set(err, BL_E_FAILED, "what would boot cannot be told: %s",
				  f.loader_problem);
	if (strcmp(f.profile, system) != 0 || strcmp(bl_facts_default(&f), system) != 0)
		return bl_err_set(err, BL_E_FAILED, "read back, %s would boot and not %s",
				  bl_facts_default(&f), system);
	return 0;
}

static int go_forward(struct bl_job *job, struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	bl_point("before-profile");
	if (set_profile(job, err) < 0)
		return -1;
	bl_point("after-profile");
	/* from here on NEW is an ordinary generation */
	bl_trial_drop_candidate();
	if (install_loader(job, r->system_new, err) < 0)
		return -1;
	bl_point("after-loader");
	return verify_default(r->system_new, err);
}

enum bl_txn_event bl_commit(struct bl_job *job)
{
	struct bl_err err = { 0 };
	struct bl_record *r = &job->txn.rec;
	const char *runs =
		job->plan.strategy == BL_STRATEGY_UNGUARDED ? r->system_old : r->system_new;
	if (!profile_is_ours(r) || !bl_job_runs(runs)) {
		bl_txn_reason(&job->txn,
			      "somebody else changed the system or its profile meanwhile");
		return BL_EV_THIRD_PARTY;
	}
	if (go_forward(job, &err) == 0)
		return BL_EV_COMMIT_OK;
	bl_txn_reason(&job->txn, "%s", err.msg);
	bl_job_say(job, "commit failed: %s", err.msg);
	return bl_commit_undo(job);
}

/*
 * The profile's link set by hand, as nix-env would: steps towards OLD wait for no lock. The
 * generation's own link is made again when somebody collected it.
 */
static int restore_profile(struct bl_job *job, struct bl_err *err)
{
	struct bl_record *r = &job->txn.rec;
	bl_autofree char *name =
		bl_xprintf("system-%llu-link", (unsigned long long)r->generation_old);
	bl_autofree char *link = bl_xprintf(BL_PROFILE_DIR "/%s", name);
	bl_autofree char *at = bl_readlink(link);
	if ((!at || strcmp(at, r->system_old) != 0) &&
	    bl_symlink_replace(r->system_old, link, err) < 0)
		return -1;
	if (bl_symlink_replace(name, BL_PROFILE, err) < 0)
		return -1;
	return bl_sync_dir(BL_PROFILE_DIR, err);
}

/* Only the generation that we made, only while it still is NEW, and only once OLD would boot.
 */
static void drop_generation(const struct bl_record *r)
{
	if (!r->generation_created || !r->generation_new ||
	    r->generation_new == r->generation_old)
		return;
	bl_autofree char *made = bl_xprintf(BL_PROFILE_DIR "/system-%llu-link",
					    (unsigned long long)r->generation_new);
	bl_autofree char *is = bl_readlink(made);
	if (is && strcmp(is, r->system_new) == 0)
		unlink(made);
}

enum bl_txn_event bl_commit_undo(struct bl_job *job)
{
	struct bl_err err = { 0 };
	struct bl_record *r = &job->txn.rec;
	if (!profile_is_ours(r))
		return BL_EV_THIRD_PARTY;
	bl_job_say(job, "putting the boot default back to %s", r->system_old);
	bl_point("before-undo");
	/* a crash may have come before the commit took it away; the installer below tidies up
	 */
	bl_trial_drop_candidate();
	if (restore_profile(job, &err) < 0 || install_loader(job, r->system_old, &err) < 0 ||
	    verify_default(r->system_old, &err) < 0) {
		/* the loader may be fine all the same: an installer can fail before it writes
		 */
		struct bl_err again = { 0 };
		if (verify_default(r->system_old, &again) < 0) {
			bl_txn_remark(
				&job->txn,
				"the boot default cannot be put back: %s; do not reboot this host",
				err.msg);
			return BL_EV_GIVE_UP;
		}
	}
	drop_generation(r);
	bl_point("after-undo");
	return BL_EV_COMMIT_UNDONE;
}
