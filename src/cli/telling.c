/* SPDX-License-Identifier: MIT */
#include "cli/deploy.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct bl_telling {
	enum bl_ui_mode mode;
	struct bl_ui *ui;
	struct bl_history *history;
	const char *run;
	const struct bl_node *const *nodes;
	size_t counts[BL_OUT_NOUTCOMES];
};

static const char *name_of(const struct bl_telling *t, size_t i)
{
	return t->nodes[i]->name;
}

/* A history that cannot be written is no reason to leave hosts alone in the middle. */
static void complain(int rc, const struct bl_err *err)
{
	if (rc < 0)
		bl_log(BL_LOG_WARN, "history: %s", err->msg);
}

static void record(const struct bl_telling *t, size_t i, const char *stream, const char *line)
{
	struct bl_err err = { 0 };
	if (line)
		complain(bl_history_line(t->history, t->run, name_of(t, i), stream, line, &err),
			 &err);
}

static void on_phase(void *ctx, size_t i, const char *phase, const char *line)
{
	struct bl_telling *t = ctx;
	bl_ui_phase(t->ui, name_of(t, i), phase, line);
	record(t, i, "belay", line);
}

static void on_output(void *ctx, size_t i, const char *stream, const char *line)
{
	struct bl_telling *t = ctx;
	/* what activation and agent print goes to the log and to programs; people see phases,
	 * and copying, as they know it */
	if (t->mode != BL_UI_PLAIN || strcmp(stream, "copy") == 0)
		bl_ui_output(t->ui, name_of(t, i), stream, line);
	record(t, i, stream, line);
}

static void on_note(void *ctx, size_t i, const char *text)
{
	struct bl_telling *t = ctx;
	bl_ui_note(t->ui, name_of(t, i), text);
	record(t, i, "belay", text);
}

static int on_starting(void *ctx, size_t i, const char *system_old, uint64_t epoch,
		       const uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	struct bl_telling *t = ctx;
	if (bl_history_host_started(t->history, t->run, name_of(t, i), system_old, epoch, err) <
	    0)
		return -1;
	return bl_history_key_save(t->history, t->run, name_of(t, i), key, BL_KEY_LEN, err);
}

static void on_started(void *ctx, size_t i, const char *system_old, uint64_t epoch)
{
	struct bl_telling *t = ctx;
	struct bl_err err = { 0 };
	complain(bl_history_host_started(t->history, t->run, name_of(t, i), system_old, epoch,
					 &err),
		 &err);
}

static void on_result(void *ctx, size_t i, const struct bl_drive_result *r)
{
	struct bl_telling *t = ctx;
	struct bl_err err = { 0 };
	const struct bl_ui_result out = {
		.outcome = bl_outcome_name(r->outcome),
		.headline = r->headline,
		.reason = r->reason,
		.state = r->state,
		.next = r->next,
		.system = r->system,
		.epoch = r->epoch,
	};
	t->counts[r->outcome]++;
	bl_ui_result(t->ui, name_of(t, i), &out);
	record(t, i, "belay", r->headline);
	record(t, i, "belay", r->reason);
	record(t, i, "belay", r->state);
	/* an unknown end stays open: `resume` needs its key */
	if (r->outcome != BL_OUT_UNKNOWN)
		complain(bl_history_host_end(t->history, t->run, name_of(t, i), out.outcome,
					     r->reason, &err),
			 &err);
}

static void on_tick(void *ctx)
{
	struct bl_telling *t = ctx;
	bl_ui_tick(t->ui);
}

static const struct bl_drive_observer observer = {
	.phase = on_phase,
	.output = on_output,
	.note = on_note,
	.starting = on_starting,
	.started = on_started,
	.result = on_result,
	.tick = on_tick,
};

static int exit_code(const struct bl_telling *t, bool interrupted)
{
	size_t bad = 0;
	for (size_t i = 0; i < BL_OUT_NOUTCOMES; i++)
		if (!bl_outcome_is_good((enum bl_outcome)i))
			bad += t->counts[i];
	if (t->counts[BL_OUT_STUCK])
		return BL_EXIT_STUCK;
	if (interrupted && bad)
		return BL_EXIT_INTERRUPTED;
	if (t->counts[BL_OUT_ROLLED_BACK])
		return BL_EXIT_ROLLED_BACK;
	return bad ? BL_EXIT_FAILED : BL_EXIT_OK;
}

int bl_telling_drive(const struct bl_args *args, struct bl_history *history, const char *run,
		     const struct bl_drive_spec *hosts, struct bl_err *err)
{
	struct bl_drive_spec spec = *hosts;
	bl_autofree char *owner = bl_cmd_owner();
	bl_autofree const char **names = bl_xcalloc(hosts->n, sizeof(char *));
	struct bl_telling t = {
		.mode = bl_cmd_ui_mode(args),
		.history = history,
		.run = run,
		.nodes = spec.nodes,
	};
	bool interrupted = false;
	for (size_t i = 0; i < spec.n; i++)
		names[i] = spec.nodes[i]->name;
	spec.owner = owner;
	spec.run = run;
	spec.observer = &observer;
	spec.ctx = &t;
	t.ui = bl_ui_new(t.mode, STDOUT_FILENO, STDERR_FILENO);
	bl_ui_begin(t.ui, run, names, spec.n);
	int rc = bl_drive(&spec, &interrupted, err);
	int code = rc < 0 ? BL_EXIT_FAILED : exit_code(&t, interrupted);
	bl_ui_end(t.ui, code);
	bl_ui_free(t.ui);
	return rc < 0 ? -1 : code;
}
