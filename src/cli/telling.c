/* SPDX-License-Identifier: MIT */
#include "cli/telling.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is known of a host from all runs. */
struct told {
	char *name;
	enum bl_outcome outcome;
	char *system_old;
};

struct bl_telling {
	enum bl_ui_mode mode;
	struct bl_ui *ui;
	struct bl_history *history;
	struct told *told;
	size_t n_told;
	bool interrupted;
	/* of the run that is being driven */
	const char *run;
	const struct bl_drive_spec *spec;
	size_t *place; /* of each of its hosts in @told */
};

static const char *name_of(const struct bl_telling *t, size_t i)
{
	return t->spec->nodes[i]->name;
}

static struct told *told_of(const struct bl_telling *t, size_t i)
{
	return &t->told[t->place[i]];
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

static void on_copying(void *ctx, size_t i, const struct bl_copy_stats *stats)
{
	struct bl_telling *t = ctx;
	bl_ui_copying(t->ui, name_of(t, i), stats);
}

static int on_starting(void *ctx, size_t i, const char *system_old, uint64_t epoch,
		       const uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	struct bl_telling *t = ctx;
	bl_replace_str(&told_of(t, i)->system_old, system_old);
	if (bl_history_host_started(t->history, t->run, name_of(t, i), system_old, epoch, err) <
	    0)
		return -1;
	return bl_history_key_save(t->history, t->run, name_of(t, i), key, BL_KEY_LEN, err);
}

static void on_started(void *ctx, size_t i, const char *system_old, uint64_t epoch)
{
	struct bl_telling *t = ctx;
	struct bl_err err = { 0 };
	bl_replace_str(&told_of(t, i)->system_old, system_old);
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
		.wave = t->spec->waves ? t->spec->waves->of[i] + 1 : 0,
	};
	told_of(t, i)->outcome = r->outcome;
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

static void on_wave(void *ctx, size_t wave)
{
	struct bl_telling *t = ctx;
	const struct bl_drive_spec *spec = t->spec;
	const struct bl_waves *w = spec->waves;
	bl_autofree const char **names = bl_xcalloc(spec->n + 1, sizeof(char *));
	size_t n = 0;
	if (!w)
		return;
	bool canary = w->waves[wave].canary;
	bl_autofree char *text =
		bl_xprintf("wave %zu of %zu%s", wave + 1, w->n, canary ? " (canary)" : "");
	for (size_t i = 0; i < spec->n; i++) {
		if (w->of[i] != wave)
			continue;
		names[n++] = name_of(t, i);
		if (w->n > 1)
			record(t, i, "belay", text);
	}
	bl_ui_wave(t->ui, wave + 1, w->n, canary, names, n);
}

static void on_remark(void *ctx, const char *text)
{
	bl_telling_remark(ctx, text);
}

static int on_deciding(void *ctx, size_t wave, struct bl_err *err)
{
	const struct bl_telling *t = ctx;
	return bl_history_wave_decided(t->history, t->run, (uint32_t)wave + 1, err);
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
	.copying = on_copying,
	.starting = on_starting,
	.started = on_started,
	.result = on_result,
	.wave = on_wave,
	.remark = on_remark,
	.deciding = on_deciding,
	.tick = on_tick,
};

struct bl_telling *bl_telling_new(const struct bl_args *args, struct bl_history *history)
{
	struct bl_telling *t = bl_xcalloc(1, sizeof(*t));
	t->mode = bl_cmd_ui_mode(args);
	t->history = history;
	t->ui = bl_ui_new(t->mode, STDOUT_FILENO, STDERR_FILENO);
	return t;
}

static size_t find(const struct bl_telling *t, const char *name)
{
	size_t i = 0;
	while (i < t->n_told && strcmp(t->told[i].name, name) != 0)
		i++;
	return i;
}

/* Where each host of the run is in what is told of all. */
static void place_hosts(struct bl_telling *t)
{
	const struct bl_drive_spec *spec = t->spec;
	/* the first run has every host, in this order */
	bool first = t->n_told == 0;
	if (first)
		t->told = bl_xcalloc(spec->n + 1, sizeof(*t->told));
	for (size_t i = 0; i < spec->n; i++) {
		if (first)
			t->told[i] = (struct told){ .name = bl_xstrdup(name_of(t, i)),
						    .outcome = BL_OUT_NOUTCOMES };
		t->place[i] = first ? i : find(t, name_of(t, i));
	}
	if (first)
		t->n_told = spec->n;
}

int bl_telling_drive(struct bl_telling *t, const char *run, const struct bl_drive_spec *hosts,
		     struct bl_drive_report *out, struct bl_err *err)
{
	struct bl_drive_spec spec = *hosts;
	bl_autofree char *owner = bl_cmd_owner();
	bl_autofree const char **names = bl_xcalloc(hosts->n + 1, sizeof(char *));
	bl_autofree size_t *place = bl_xcalloc(hosts->n + 1, sizeof(*place));
	for (size_t i = 0; i < spec.n; i++)
		names[i] = spec.nodes[i]->name;
	spec.owner = owner;
	spec.run = run;
	spec.observer = &observer;
	spec.ctx = t;
	t->run = run;
	t->spec = &spec;
	t->place = place;
	place_hosts(t);
	bl_ui_begin(t->ui, run, names, spec.n);
	int rc = bl_drive(&spec, out, err);
	t->interrupted |= rc == 0 && out->interrupted;
	t->spec = NULL;
	t->place = NULL;
	return rc;
}

void bl_telling_not_built(struct bl_telling *t, const char *run, const struct bl_not_built *m)
{
	struct bl_err err = { 0 };
	const struct bl_ui_result out = {
		.outcome = bl_outcome_name(BL_OUT_FAILED),
		.headline = m->unprepared ? "Not prepared! Nothing was changed"
					  : "Not built! Nothing was changed",
		.reason = m->reason,
		.next = m->next,
	};
	t->told = bl_xrealloc(t->told, t->n_told + 1, sizeof(*t->told));
	t->told[t->n_told++] =
		(struct told){ .name = bl_xstrdup(m->node->name), .outcome = BL_OUT_FAILED };
	bl_ui_result(t->ui, m->node->name, &out);
	complain(bl_history_host_begin(t->history, run, m->node->name, m->node->host,
				       m->node->out_path, &err),
		 &err);
	complain(bl_history_host_end(t->history, run, m->node->name, out.outcome, m->reason,
				     &err),
		 &err);
}

static void keep(const struct bl_telling *t, const char *run, const char *name,
		 const char *stream, const char *line)
{
	struct bl_err err = { 0 };
	complain(bl_history_line(t->history, run, name, stream, line, &err), &err);
}

void bl_telling_said(struct bl_telling *t, const char *run, const char *name,
		     const char *stream, const char *line)
{
	/* every line is for people, above the live picture too: nobody else keeps them */
	bl_autofree char *text = bl_xprintf("[%s] %s", name, line);
	bool json = t->mode == BL_UI_JSON;
	bl_ui_output(t->ui, json ? name : NULL, stream, json ? line : text);
	if (run)
		keep(t, run, name, stream, line);
}

void bl_telling_note(struct bl_telling *t, const char *run, const char *name, const char *text)
{
	bl_ui_note(t->ui, name, text);
	keep(t, run, name, "belay", text);
}

bool bl_telling_interrupted(const struct bl_telling *t)
{
	return t->interrupted;
}

void bl_telling_remark(struct bl_telling *t, const char *text)
{
	bl_ui_note(t->ui, NULL, text);
}

enum bl_outcome bl_telling_outcome(const struct bl_telling *t, const char *name,
				   const char **out_system_old)
{
	size_t i = find(t, name);
	*out_system_old = i < t->n_told ? t->told[i].system_old : NULL;
	return i < t->n_told ? t->told[i].outcome : BL_OUT_NOUTCOMES;
}

int bl_telling_exit_code(const struct bl_telling *t)
{
	size_t counts[BL_OUT_NOUTCOMES + 1] = { 0 };
	size_t bad = 0;
	for (size_t i = 0; i < t->n_told; i++) {
		counts[t->told[i].outcome]++;
		bad += !bl_outcome_is_good(t->told[i].outcome);
	}
	if (counts[BL_OUT_STUCK])
		return BL_EXIT_STUCK;
	if (t->interrupted && bad)
		return BL_EXIT_INTERRUPTED;
	if (counts[BL_OUT_ROLLED_BACK] || counts[BL_OUT_TAKEN_BACK])
		return BL_EXIT_ROLLED_BACK;
	return bad ? BL_EXIT_FAILED : BL_EXIT_OK;
}

void bl_telling_end(struct bl_telling *t, int exit_code)
{
	if (!t)
		return;
	bl_ui_end(t->ui, exit_code);
	bl_ui_free(t->ui);
	for (size_t i = 0; i < t->n_told; i++) {
		free(t->told[i].name);
		free(t->told[i].system_old);
	}
	free(t->told);
	free(t);
}
