/* SPDX-License-Identifier: MIT */
#include "agent/profile.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BESIDE_DIR BL_PROFILE_DIR "/system-profiles"

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

bool bl_profile_is_ours(const struct bl_record *r)
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

static int nix_env_set(struct bl_job *job, const char *profile, const char *system,
		       struct bl_err *err)
{
	const struct bl_record *r = &job->txn.rec;
	const char *const args[] = { "--profile", profile, "--set", system, NULL };
	BL_AUTO(bl_child_result) res = { 0 };
	if (bl_tool_run_ticking(r->system_old, "nix-env", args, r->commit_ms, job->tick,
				job->ctx, &res, err) < 0)
		return -1;
	if (res.status != 0)
		return bl_err_set(err, BL_E_FAILED, "set the profile %s: %s%.300s", profile,
				  res.status < 0 ? "no end in time " : "",
				  bl_buf_str(&res.err));
	return 0;
}

int bl_profile_set_new(struct bl_job *job, struct bl_err *err)
{
	struct bl_record *r = &job->txn.rec;
	bl_autofree char *top_of_highest = NULL;
	uint64_t highest = highest_generation(&top_of_highest);
	if (!r->generation_new) {
		r->generation_created =
			!top_of_highest || strcmp(top_of_highest, r->system_new) != 0;
		r->generation_new = highest + (r->generation_created ? 1 : 0);
		if (bl_txn_save(&job->txn, false, err) < 0)
			return -1;
	}
	if (nix_env_set(job, BL_PROFILE, r->system_new, err) < 0)
		return -1;
	bl_autofree char *top = NULL;
	if (read_profile(&top, &r->generation_new, err) < 0)
		return -1;
	if (strcmp(top, r->system_new) != 0)
		return bl_err_set(err, BL_E_FAILED, "the system profile names %s", top);
	if (bl_sync_dir(BL_PROFILE_DIR, err) < 0)
		return -1;
	return bl_txn_save(&job->txn, false, err);
}

int bl_profile_restore_old(const struct bl_record *r, struct bl_err *err)
{
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

void bl_profile_drop_new(const struct bl_record *r)
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

int bl_profile_set_beside(struct bl_job *job, const char *name, const char *system,
			  struct bl_err *err)
{
	bl_autofree char *profile = bl_xprintf(BESIDE_DIR "/%s", name);
	if (bl_mkdirs(BESIDE_DIR, 0755, err) < 0)
		return -1;
	return nix_env_set(job, profile, system, err);
}

bool bl_profile_drop_beside(const char *name)
{
	DIR *d = opendir(BESIDE_DIR);
	bool any = false;
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		/* "belaytrial" and its generations "belaytrial-1-link" */
		if (!bl_starts_with(e->d_name, name) || !strchr("-", e->d_name[strlen(name)]))
			continue;
		any = true;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			bl_log(BL_LOG_WARN, "%s: %s", e->d_name, strerror(errno));
	}
	if (d)
		closedir(d);
	return any;
}
