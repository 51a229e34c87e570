/* SPDX-License-Identifier: MIT */
#include "cli/deployed.h"

#include "base/file.h"
#include "history/history.h"
#include "store/query.h"

#include <unistd.h>

#define QUIET_MS 30000

/* Those of systems that are here, by the names of their links. */
static int make_links(const char *dir, const struct bl_node *const *nodes, size_t n,
		      struct bl_strv *out, struct bl_err *err)
{
	for (size_t i = 0; i < n; i++) {
		bl_autofree char *link = bl_xprintf("%s/%s", dir, nodes[i]->name);
		if (access(nodes[i]->out_path, F_OK) < 0)
			continue;
		if (bl_symlink_replace(nodes[i]->out_path, link, err) < 0)
			return -1;
		bl_strv_add(out, link);
	}
	return 0;
}

int bl_keep_deployed(const struct bl_node *const *nodes, size_t n, struct bl_err *err)
{
	const struct bl_daemon_spec spec = { .quiet_ms = QUIET_MS };
	bl_autodaemon struct bl_daemon *d = NULL;
	bl_autofree char *state = NULL;
	BL_AUTO(bl_strv) links = { 0 };
	if (n == 0)
		return 0;
	if (bl_history_dir(&state, err) < 0)
		return -1;
	bl_autofree char *dir = bl_xprintf("%s/deployed", state);
	if (bl_mkdirs(dir, 0700, err) < 0 || make_links(dir, nodes, n, &links, err) < 0)
		return -1;
	if (links.n == 0)
		return 0;
	if (bl_daemon_open(&spec, &d, err) < 0)
		return -1;
	return bl_query_indirect_roots(d, &links, err);
}
