/* SPDX-License-Identifier: MIT */
#include "base/login.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int bl_parse_stat(const char *text, int *out_ppid, uint64_t *out_ticks, char comm[32],
		  struct bl_err *err)
{
	/* "pid (comm) S ppid ...": the name may hold blanks and brackets, the last ')' ends it
	 */
	const char *open = strchr(text, '(');
	const char *close = strrchr(text, ')');
	if (!open || !close || close < open || close[1] != ' ')
		return bl_err_set(err, BL_E_INPUT, "a stat file of /proc is malformed");
	snprintf(comm, 32, "%.*s", (int)(close - open - 1), open + 1);
	BL_AUTO(bl_strv) f = { 0 };
	bl_strv_split(&f, close + 2, ' ');
	uint64_t ppid = 0;
	/* behind the name: state is field 3, so ppid is f[1] and starttime f[19] */
	if (f.n < 20 || bl_parse_u64(f.items[1], 0, INT32_MAX, &ppid, err) < 0 ||
	    bl_parse_u64(f.items[19], 0, INT64_MAX, out_ticks, err) < 0)
		return bl_err_set(err, BL_E_INPUT, "a stat file of /proc is malformed");
	*out_ppid = (int)ppid;
	return 0;
}

int bl_session_start(int pid, int64_t *out_ns, struct bl_err *err)
{
	long hz = sysconf(_SC_CLK_TCK);
	for (int depth = 0; pid > 1 && depth < 64; depth++) {
		bl_autofree char *path = bl_xprintf("/proc/%d/stat", pid);
		bl_autofree char *text = bl_slurp(path, 4096);
		char comm[32];
		uint64_t ticks = 0;
		int ppid = 0;
		if (!text || bl_parse_stat(text, &ppid, &ticks, comm, err) < 0)
			break;
		/* OpenSSH since 9.8 calls the process of a connection sshd-session */
		if (bl_starts_with(comm, "sshd")) {
			*out_ns = (int64_t)(ticks * (uint64_t)(BL_NS_PER_S / hz));
			return 0;
		}
		pid = ppid;
	}
	return bl_err_set(err, BL_E_REFUSED,
			  "no sshd is above this session, so it cannot be told to be fresh");
}
