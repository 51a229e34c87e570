/* SPDX-License-Identifier: MIT */
#include "agent/job.h"

#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LOG_ROOM (1024UL * 1024)

void bl_job_spare_log(const struct bl_job *job)
{
	struct statfs fs;
	if (fstatfs(job->log_fd, &fs) < 0 ||
	    (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize >= LOG_ROOM)
		return;
	bl_autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		(void)!dup3(null, job->log_fd, O_CLOEXEC);
}

void bl_job_env(const struct bl_job *job, bool new_first, struct bl_strv *out)
{
	const struct bl_record *r = &job->txn.rec;
	const char *first = new_first ? r->system_new : r->system_old;
	const char *second = new_first ? r->system_old : NULL;
	if (second)
		bl_strv_addf(out, "PATH=%s/sw/bin:%s/sw/bin", first, second);
	else
		bl_strv_addf(out, "PATH=%s/sw/bin", first);
	bl_strv_add(out, "HOME=/root");
	bl_strv_add(out, "LC_ALL=C.UTF-8");
	bl_strv_addf(out, "BELAY_OLD=%s", r->system_old);
	bl_strv_addf(out, "BELAY_NEW=%s", r->system_new);
	bl_strv_addf(out, "BELAY_TRANSACTION=%llu", (unsigned long long)r->epoch);
}

char *bl_job_tool(const struct bl_job *job, const char *name)
{
	const char *const systems[] = { job->txn.rec.system_old, job->txn.rec.system_new };
	for (size_t i = 0; i < BL_COUNT(systems); i++) {
		bl_autofree char *path = bl_tool_path(systems[i], name);
		if (access(path, X_OK) == 0)
			return BL_STEAL(path);
	}
	return NULL;
}
