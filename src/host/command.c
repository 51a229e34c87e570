/* SPDX-License-Identifier: MIT */
#include "host/command.h"

#include "base/child.h"
#include "host/ssh.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX   (8UL * 1024 * 1024)
#define CONNECT_S 8

/* Behind the line that tells the user; what the login shell printed before it is passed over.
 */
static char *after_user(const char *text)
{
	const char *at = strstr(text, "belay-user ");
	const char *end = at ? strchr(at, '\n') : NULL;
	return bl_xstrdup(end ? end + 1 : "");
}

int bl_host_command(const struct bl_node *node, const char *script, const char *const *args,
		    int64_t limit_ms, int *out_status, char **out_text, struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	bl_autofree char *command = bl_ssh_remote(node, script, args);
	bl_ssh_argv(node, NULL, CONNECT_S, command, &argv);
	const struct bl_child_spec spec = {
		.argv = (const char *const *)argv.items,
		.timeout_ms = limit_ms,
		.out_max = OUT_MAX,
		.err_mode = out_status ? BL_CHILD_ERR_MERGE : BL_CHILD_ERR_KEEP,
	};
	if (bl_child_run(&spec, &r, err) < 0)
		return bl_err_wrap(err, "%s: install OpenSSH's client on this machine",
				   node->name);
	bool ran = strstr(bl_buf_str(&r.out), "belay-user ");
	if (r.status < 0)
		return bl_err_set(err, BL_E_TIMEOUT, "%s: no answer within %lld s", node->name,
				  (long long)limit_ms / 1000);
	if (r.status != 0 && !(ran && out_status)) {
		bl_autofree char *what = NULL;
		bl_autofree char *remedy = NULL;
		bl_ssh_explain(bl_buf_str(out_status ? &r.out : &r.err), r.status, &what,
			       &remedy);
		return bl_err_set(err, BL_E_UNREACHABLE, "%s: %s; %s", node->name, what,
				  remedy);
	}
	if (out_status)
		*out_status = r.status;
	*out_text = after_user(bl_buf_str(&r.out));
	return 0;
}
