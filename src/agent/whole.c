/* SPDX-License-Identifier: MIT */
#include "agent/whole.h"

#include "agent/system.h"
#include "agent/txn.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK      BL_AGENT_DIR "/copying"
#define VERIFY_MS 3600000
#define AT_ONCE   25

static void mark(void)
{
	bl_autofd int dir = -1;
	if (bl_open_dir(BL_AGENT_DIR, &dir, NULL) < 0 ||
	    bl_write_file_at(dir, "copying", 0600, bl_boot_id(), strlen(bl_boot_id()), NULL) <
		    0)
		bl_log(BL_LOG_WARN, MARK " cannot be written");
}

void bl_whole_begin(void)
{
	if (access(MARK, F_OK) < 0)
		mark();
}

void bl_whole_end(void)
{
	unlink(MARK);
}

/* The first line of what Nix says: "path '...' was modified! expected hash ..." */
static int verify(const char *system, const char *const *paths, struct bl_err *err)
{
	const char *args[AT_ONCE + 2] = { "--verify-path" };
	BL_AUTO(bl_child_result) r = { 0 };
	for (size_t i = 0; i < AT_ONCE && paths[i]; i++)
		args[i + 1] = paths[i];
	if (bl_tool_run(system, "nix-store", args, VERIFY_MS, &r, err) < 0)
		return -1;
	const char *said = bl_buf_str(&r.err);
	if (r.status != 0)
		return bl_err_set(err, BL_E_FAILED, "damaged by an unclean end: %.*s",
				  (int)strcspn(said, "\n"), said);
	return 0;
}

int bl_whole_check(const char *system, const char *system_new, struct bl_err *err)
{
	bl_autofree char *boot = bl_slurp(MARK, 64);
	BL_AUTO(bl_child_result) r = { 0 };
	const char *const query[] = { "--query", "--requisites", system_new, NULL };
	if (!boot || strcmp(boot, bl_boot_id()) == 0)
		return 0;
	if (bl_tool_run(system, "nix-store", query, VERIFY_MS, &r, err) < 0)
		return -1;
	BL_AUTO(bl_strv) paths = { 0 };
	bl_strv_split(&paths, bl_buf_str(&r.out), '\n');
	for (size_t i = 0; i < paths.n; i += AT_ONCE)
		if (verify(system, (const char *const *)paths.items + i, err) < 0)
			return -1;
	/* what was there is whole; what comes is of this boot */
	mark();
	return 0;
}
