/* SPDX-License-Identifier: MIT */
#include "agent/hook.h"

#include "agent/cgroup.h"

#include <stdlib.h>

#define OUTPUT_MAX (64LL * 1024 * 1024)

int bl_hook_run(struct bl_job *job, const char *command, const char *name)
{
	if (!*command)
		return 0;
	const struct bl_record *r = &job->txn.rec;
	bl_autofree char *sh = bl_tool_path(r->system_old, "sh");
	const char *argv[] = { sh, "-c", command, NULL };
	BL_AUTO(bl_strv) env = { 0 };
	bl_job_env(job, false, &env);
	bl_job_say(job, "running %s", name);
	int status = bl_cgroup_run(&(struct bl_cgroup_run){
		.argv = argv,
		.env = (const char *const *)env.items,
		.name = "hook",
		.alone = true,
		.log_fd = job->log_fd,
		.output_max = OUTPUT_MAX,
		.limit_ms = r->activate_ms,
		/* on the way back nothing stops it but its limit */
		.stop = r->state == BL_TXN_ARMED ? &job->abort : NULL,
	});
	bl_job_say(job, "%s: status %d", name, status);
	return status;
}

char *bl_hook_why(const char *name, int status)
{
	switch (status) {
	case BL_RUN_LIMIT:
		return bl_xprintf("%s did not end in time and was killed", name);
	case BL_RUN_STOPPED:
		return bl_xprintf("%s was stopped on request", name);
	case BL_RUN_NOEXEC:
		return bl_xprintf("%s failed: the old system's sh cannot be started", name);
	case BL_RUN_FLOOD:
		return bl_xprintf("%s printed more than 64 MiB and was killed", name);
	default:
		return bl_xprintf("%s failed: status %d", name, status);
	}
}
