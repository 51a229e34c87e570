/* SPDX-License-Identifier: MIT */
#include "cli/dry.h"

#include "copy/once.h"
#include "host/command.h"

#define LIMIT_MS 300000

int bl_dry_activate(const struct bl_node *node, int *out_status, char **out_text,
		    struct bl_err *err)
{
	static const char script[] =
		"exec \"$2/bin/switch-to-configuration\" dry-activate 2>&1";
	const char *const args[] = { node->out_path, NULL };
	if (!node->built_there && bl_copy_once(node, node->out_path, err) < 0)
		return -1;
	return bl_host_command(node, script, args, LIMIT_MS, out_status, out_text, err);
}
