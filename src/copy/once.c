/* SPDX-License-Identifier: MIT */
#include "copy/once.h"

#include "base/file.h"
#include "copy/deliver.h"

struct once {
	const char *name;
	struct bl_err *err;
	int rc;
};

static void on_phase(BL_UNUSED void *ctx, BL_UNUSED size_t i, BL_UNUSED const char *phase)
{
}

static void on_line(BL_UNUSED void *ctx, BL_UNUSED size_t i, BL_UNUSED const char *line)
{
}

static void on_progress(BL_UNUSED void *ctx, BL_UNUSED size_t i,
			BL_UNUSED const struct bl_copy_stats *stats)
{
}

static void on_done(void *ctx, BL_UNUSED size_t i, BL_UNUSED const struct bl_copy_stats *stats,
		    const char *what, const char *remedy)
{
	struct once *o = ctx;
	if (what)
		o->rc = bl_err_set(o->err, BL_E_FAILED, "%s: %s; %s", o->name, what, remedy);
}

static void on_tick(BL_UNUSED void *ctx)
{
}

int bl_copy_once(const struct bl_node *node, const char *path, struct bl_err *err)
{
	BL_AUTO(bl_strv) tops = { 0 };
	struct once o = { .name = node->name, .err = err };
	const struct bl_delivery item = { node, &tops, "" };
	const struct bl_deliver_spec spec = {
		.items = &item,
		.n = 1,
		.engine = { .dir = bl_tmp_dir("/var/tmp"), .level = BL_ENGINE_ADAPTS },
		.leave_signals = true,
		.phase = on_phase,
		.line = on_line,
		.progress = on_progress,
		.done = on_done,
		.tick = on_tick,
		.ctx = &o,
	};
	bool interrupted = false;
	if (node->plan.local)
		return 0;
	bl_strv_add(&tops, path);
	if (bl_deliver(&spec, &interrupted, err) < 0)
		return -1;
	return o.rc;
}
