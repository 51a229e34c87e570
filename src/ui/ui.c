/* SPDX-License-Identifier: MIT */
/*
 * Tells what a command does in one of three ways. Everything that came from a host is made
 * harmless here, whatever was done to it before.
 */
#include "ui/ui.h"

#include <assert.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "ui/terminal.h"

#define PLAIN_MAX 4096 /* bytes of one line that are printed; the history has all of it */
#define LIVE_MAX  1024 /* more than a screen is wide */

#define NAMES_SHOWN 8

struct bl_ui {
	enum bl_ui_mode mode;
	int fd;
	char *run;
	struct bl_row **rows; /* in the order of the picture */
	size_t n;
	void *by_name; /* tsearch(3) over the rows */
	struct bl_terminal terminal;
	struct bl_buf above; /* lines that go over the picture with the next frame */
	char *status;        /* the line under it, harmless, or NULL */
};

struct bl_ui *bl_ui_new(enum bl_ui_mode mode, int out_fd, int err_fd)
{
	struct bl_ui *ui = bl_xcalloc(1, sizeof(*ui));
	ui->mode = mode;
	ui->fd = mode == BL_UI_JSON ? out_fd : err_fd;
	bl_terminal_init(&ui->terminal, ui->fd);
	return ui;
}

static void draw(struct bl_ui *ui, bool now)
{
	if (bl_terminal_draw(&ui->terminal, ui->rows, ui->n, bl_buf_str(&ui->above),
			     ui->status ? ui->status : "", bl_now_boot_ns(), now))
		bl_buf_clear(&ui->above);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct bl_row *)a)->host, ((const struct bl_row *)b)->host);
}

static void row_free(struct bl_row *row)
{
	free(row->host);
	free(row->label);
	free(row->phase);
	free(row->line);
	free(row->outcome);
	free(row->headline);
	free(row->reason);
	free(row->now_state);
	free(row->next);
	free(row);
}

void bl_ui_free(struct bl_ui *ui)
{
	if (!ui)
		return;
	if (ui->mode == BL_UI_TERMINAL && ui->above.len > 0)
		draw(ui, true);
	for (size_t i = 0; i < ui->n; i++) {
		tdelete(ui->rows[i], &ui->by_name, by_name);
		row_free(ui->rows[i]);
	}
	free(ui->rows);
	free(ui->run);
	free(ui->status);
	bl_terminal_free(&ui->terminal);
	bl_buf_free(&ui->above);
	free(ui);
}

/* The row of @host, made when it is a new one; NULL for no host. */
static struct bl_row *row_of(struct bl_ui *ui, const char *host)
{
	if (!host)
		return NULL;
	const struct bl_row key = { .host = (char *)host };
	struct bl_row *const *found = tfind(&key, &ui->by_name, by_name);
	if (found)
		return *found;
	struct bl_row *row = bl_xcalloc(1, sizeof(*row));
	struct bl_buf label = { 0 };
	bl_text_clean(&label, host, strlen(host));
	row->host = bl_xstrdup(host);
	row->label = bl_buf_steal(&label);
	ui->rows = bl_xrealloc(ui->rows, ui->n + 1, sizeof(struct bl_row *));
	ui->rows[ui->n++] = row;
	if (!tsearch(row, &ui->by_name, by_name))
		abort();
	return row;
}

/* ---- plain lines */

static size_t without_line_end(const char *text)
{
	size_t len = strlen(text);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	return len;
}

/* Appends one line "[host] @before@text"; what is too long is cut and says so. */
static void put_line(struct bl_buf *out, const struct bl_row *row, const char *before,
		     const char *text, size_t len)
{
	if (row)
		bl_buf_printf(out, "[%s]%s", row->label, *before || len ? " " : "");
	bl_buf_puts(out, before);
	size_t take = len;
	if (len > PLAIN_MAX) {
		take = PLAIN_MAX;
		while (take > PLAIN_MAX - 4 && ((unsigned char)text[take] & 0xc0) == 0x80)
			take--;
	}
	bl_text_clean(out, text, take);
	if (take < len)
		bl_buf_printf(out, " ... (%zu bytes more)", len - take);
	bl_buf_putc(out, '\n');
}

/* A text of several lines behind @head, blanks under it. */
static void put_lines(struct bl_buf *out, const struct bl_row *row, const char *head,
		      const char *text)
{
	BL_AUTO(bl_buf) before = { 0 };
	bl_buf_puts(&before, head);
	size_t len = without_line_end(text);
	for (const char *end = text + len;; text++) {
		const char *line = text;
		while (text < end && *text != '\n')
			text++;
		put_line(out, row, before.data, line, (size_t)(text - line));
		if (text >= end)
			return;
		memset(before.data, ' ', before.len);
	}
}

/* The same under a name; nothing when there is none. */
static void put_field(struct bl_buf *out, const struct bl_row *row, const char *name,
		      const char *text)
{
	bl_autofree char *head = bl_xprintf("  %s: ", name);
	if (text)
		put_lines(out, row, head, text);
}

static void put_result(struct bl_buf *out, const struct bl_row *row)
{
	const char *headline = row->headline ? row->headline : row->outcome;
	put_line(out, row, "", headline, without_line_end(headline));
	put_field(out, row, "reason", row->reason);
	put_field(out, row, "state", row->now_state);
	put_field(out, row, "next", row->next);
}

/* What is to be said: at once, or over the picture with its next frame. */
static void flush(struct bl_ui *ui)
{
	if (ui->mode == BL_UI_TERMINAL)
		return;
	bl_ui_put(ui->fd, ui->above.data, ui->above.len);
	bl_buf_clear(&ui->above);
}

/* One line for people. */
static void say(struct bl_ui *ui, const struct bl_row *row, const char *before,
		const char *text)
{
	put_line(&ui->above, row, before, text, without_line_end(text));
	flush(ui);
}

/* ---- summary */

static const char *const outcomes[] = { "committed",   "copied",     "unchanged",   "ready",
					"skipped",     "superseded", "rolled_back", "refused",
					"unreachable", "failed",     "taken_back",  "kept",
					"stuck",       "unknown" };

static enum bl_row_state state_of(const char *outcome)
{
	if (bl_str_eq(outcome, "committed") || bl_str_eq(outcome, "unchanged") ||
	    bl_str_eq(outcome, "ready") || bl_str_eq(outcome, "copied"))
		return BL_ROW_OK;
	return bl_str_eq(outcome, "skipped") ? BL_ROW_SKIPPED : BL_ROW_FAILED;
}

struct tally {
	const char *outcome; /* NULL: no result */
	size_t n;
};

/* Counts by outcome: the known ones in their order, then others, then hosts without a result.
 */
static size_t count(const struct bl_ui *ui, struct tally *out, size_t max)
{
	size_t known = 0;
	for (; known < BL_COUNT(outcomes); known++)
		out[known] = (struct tally){ outcomes[known], 0 };
	size_t none = 0;
	for (size_t i = 0; i < ui->n; i++) {
		const char *outcome = ui->rows[i]->outcome;
		size_t k = 0;
		while (outcome && k < known && strcmp(out[k].outcome, outcome) != 0)
			k++;
		if (!outcome || k == max - 1)
			none++;
		else if (k == known)
			out[known++] = (struct tally){ outcome, 1 };
		else
			out[k].n++;
	}
	out[known] = (struct tally){ NULL, none };
	return known + 1;
}

#define TALLIES 24

static char *words(const char *outcome)
{
	BL_AUTO(bl_buf) b = { 0 };
	bl_text_clean(&b, outcome, strlen(outcome));
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '_')
			b.data[i] = ' ';
	return bl_buf_steal(&b);
}

/* "3 hosts: 2 committed, 1 rolled back"; nothing for one host that is well. */
static void put_summary(const struct bl_ui *ui, struct bl_buf *out)
{
	if (ui->n == 0 || (ui->n == 1 && ui->rows[0]->state == BL_ROW_OK))
		return;
	struct tally tallies[TALLIES];
	size_t n = count(ui, tallies, TALLIES);
	const char *comma = ":";
	bl_buf_printf(out, "%zu host%s", ui->n, ui->n == 1 ? "" : "s");
	for (size_t i = 0; i < n; i++) {
		if (tallies[i].n == 0)
			continue;
		bl_autofree char *text =
			words(tallies[i].outcome ? tallies[i].outcome : "without a result");
		bl_buf_printf(out, "%s %zu %s", comma, tallies[i].n, text);
		comma = ",";
	}
	bl_buf_putc(out, '\n');
}

/* ---- JSON */

static void put_json_text(struct bl_buf *out, const char *text)
{
	if (!text) {
		bl_buf_puts(out, "null");
		return;
	}
	BL_AUTO(bl_buf) clean = { 0 };
	bl_buf_putc(out, '"');
	for (const char *end = text + without_line_end(text);; text++) {
		const char *line = text;
		while (text < end && *text != '\n')
			text++;
		bl_buf_clear(&clean);
		bl_text_clean(&clean, line, (size_t)(text - line));
		for (size_t i = 0; i < clean.len; i++) {
			if (strchr("\"\\", clean.data[i]))
				bl_buf_putc(out, '\\');
			bl_buf_putc(out, clean.data[i]);
		}
		if (text >= end)
			break;
		bl_buf_puts(out, "\\n");
	}
	bl_buf_putc(out, '"');
}

/* @key is one of ours, or an outcome: never anything to be escaped but by put_json_text. */
static void put_member(struct bl_buf *out, const char *key, const char *text)
{
	bl_buf_printf(out, ",\"%s\":", key);
	put_json_text(out, text);
}

static void begin_event(const struct bl_ui *ui, struct bl_buf *out, const char *event,
			const char *host)
{
	int64_t now_ms = bl_now_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;
	char when[32];
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	bl_buf_printf(out, "{\"event\":\"%s\",\"time\":\"%s.%03dZ\"", event, when,
		      (int)(now_ms % 1000));
	put_member(out, "run", ui->run);
	if (host)
		put_member(out, "host", host);
}

static void end_event(const struct bl_ui *ui, struct bl_buf *out)
{
	bl_buf_puts(out, "}\n");
	bl_ui_put(ui->fd, out->data, out->len);
}

/* An event with two texts; a NULL key leaves its text out. */
static void tell(const struct bl_ui *ui, const char *event, const char *host, const char *key1,
		 const char *text1, const char *key2, const char *text2)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, event, host);
	if (key1)
		put_member(&b, key1, text1);
	if (key2)
		put_member(&b, key2, text2);
	end_event(ui, &b);
}

/* The member "hosts". */
static void put_json_list(struct bl_buf *out, const char *const *hosts, size_t n)
{
	bl_buf_puts(out, ",\"hosts\":[");
	for (size_t i = 0; i < n; i++) {
		bl_buf_puts(out, i ? "," : "");
		put_json_text(out, hosts[i]);
	}
	bl_buf_putc(out, ']');
}

static void tell_run(const struct bl_ui *ui, const char *const *hosts, size_t n)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, "run", NULL);
	put_json_list(&b, hosts, n);
	end_event(ui, &b);
}

static void tell_wave(const struct bl_ui *ui, size_t wave, size_t waves, bool canary,
		      const char *const *hosts, size_t n)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, "wave", NULL);
	bl_buf_printf(&b, ",\"wave\":%zu,\"waves\":%zu,\"canary\":%s", wave, waves,
		      canary ? "true" : "false");
	put_json_list(&b, hosts, n);
	end_event(ui, &b);
}

static void put_copied(struct bl_buf *b, const struct bl_copy_stats *c)
{
	bl_buf_printf(b,
		      ",\"paths\":%" PRIu64 ",\"sent_paths\":%" PRIu64 ",\"nar_bytes\":%" PRIu64
		      ",\"wire_bytes\":%" PRIu64 ",\"list_bytes\":%" PRIu64,
		      c->paths, c->sent_paths, c->nar_bytes, c->wire_bytes, c->list_bytes);
}

static void tell_copying(const struct bl_ui *ui, const char *host,
			 const struct bl_copy_stats *c)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, "copying", host);
	put_copied(&b, c);
	bl_buf_printf(&b,
		      ",\"done_bytes\":%" PRIu64 ",\"rate\":%" PRIu64 ",\"left_s\":%" PRIu64,
		      c->done_bytes, c->rate, c->left_s);
	end_event(ui, &b);
}

static void tell_result(const struct bl_ui *ui, const char *host, const struct bl_ui_result *r)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, "result", host);
	put_member(&b, "outcome", r->outcome);
	put_member(&b, "headline", r->headline);
	put_member(&b, "reason", r->reason);
	put_member(&b, "state", r->state);
	put_member(&b, "next", r->next);
	put_member(&b, "system", r->system);
	bl_buf_printf(&b, ",\"epoch\":%" PRIu64, r->epoch);
	if (r->wave > 0)
		bl_buf_printf(&b, ",\"wave\":%zu", r->wave);
	if (r->copied)
		put_copied(&b, r->copied);
	end_event(ui, &b);
}

static void tell_build(const struct bl_ui *ui, const struct bl_ui_build *build)
{
	BL_AUTO(bl_buf) b = { 0 };
	begin_event(ui, &b, "build", build->host);
	put_member(&b, "state", build->state);
	put_member(&b, "name", build->name);
	put_member(&b, "derivation", build->derivation);
	bl_buf_printf(&b, ",\"number\":%" PRIu64 ",\"of\":%" PRIu64, build->number, build->of);
	if (build->reason) {
		put_member(&b, "reason", build->reason);
		put_member(&b, "log", build->log);
		put_member(&b, "next", build->next);
	}
	end_event(ui, &b);
}

static void tell_summary(const struct bl_ui *ui, int exit_code)
{
	BL_AUTO(bl_buf) b = { 0 };
	struct tally tallies[TALLIES];
	size_t n = count(ui, tallies, TALLIES);
	const char *comma = "";
	begin_event(ui, &b, "summary", NULL);
	bl_buf_printf(&b, ",\"hosts\":%zu,\"outcomes\":{", ui->n);
	for (size_t i = 0; i < n; i++) {
		if (tallies[i].n == 0)
			continue;
		bl_buf_puts(&b, comma);
		put_json_text(&b, tallies[i].outcome ? tallies[i].outcome : "none");
		bl_buf_printf(&b, ":%zu", tallies[i].n);
		comma = ",";
	}
	bl_buf_printf(&b, "},\"exitCode\":%d", exit_code);
	end_event(ui, &b);
}

/* ---- terminal */

static void set_clean(char **slot, const char *text)
{
	struct bl_buf b = { 0 };
	size_t len = without_line_end(text);
	bl_text_clean(&b, text, len < LIVE_MAX ? len : LIVE_MAX);
	free(*slot);
	*slot = bl_buf_steal(&b);
}

/* A host that has ended keeps its last line. */
static bool is_running(const struct bl_row *row)
{
	return row->state == BL_ROW_WAITING || row->state == BL_ROW_ACTIVE;
}

static void enter_phase(struct bl_row *row, const char *phase, const char *line)
{
	if (!is_running(row))
		return;
	row->state = BL_ROW_ACTIVE;
	row->phase_ns = bl_now_boot_ns();
	if (row->began_ns == 0)
		row->began_ns = row->phase_ns;
	set_clean(&row->phase, phase);
	set_clean(&row->line, line ? line : "");
}

static void keep_result(struct bl_row *row, const struct bl_ui_result *r)
{
	bl_replace_str(&row->outcome, r->outcome);
	bl_replace_str(&row->headline, r->headline);
	bl_replace_str(&row->reason, r->reason);
	bl_replace_str(&row->now_state, r->state);
	bl_replace_str(&row->next, r->next);
	row->state = state_of(r->outcome);
	row->ended_ns = bl_now_boot_ns();
	free(row->phase);
	row->phase = words(r->outcome);
	set_clean(&row->line, r->headline ? r->headline : "");
}

/* ---- what others call */

void bl_ui_begin(struct bl_ui *ui, const char *run_id, const char *const *hosts, size_t n)
{
	bl_replace_str(&ui->run, run_id);
	for (size_t i = 0; i < n; i++) {
		struct bl_row *row = row_of(ui, hosts[i]);
		row->state = BL_ROW_WAITING;
		row->began_ns = row->ended_ns = 0;
	}
	if (ui->mode == BL_UI_JSON)
		tell_run(ui, hosts, n);
	else if (ui->mode == BL_UI_TERMINAL)
		draw(ui, true);
}

/* "wave 2 of 5: 50 hosts: web2, web3, ..." */
void bl_ui_wave(struct bl_ui *ui, size_t wave, size_t waves, bool canary,
		const char *const *hosts, size_t n)
{
	BL_AUTO(bl_buf) b = { 0 };
	if (ui->mode == BL_UI_JSON) {
		tell_wave(ui, wave, waves, canary, hosts, n);
		return;
	}
	if (waves < 2 && !canary)
		return;
	bl_buf_printf(&b, "wave %zu of %zu%s: ", wave, waves, canary ? " (canary)" : "");
	if (n > NAMES_SHOWN)
		bl_buf_printf(&b, "%zu hosts: ", n);
	for (size_t i = 0; i < n && i < NAMES_SHOWN; i++)
		bl_buf_printf(&b, "%s%s", i ? ", " : "", hosts[i]);
	if (n > NAMES_SHOWN)
		bl_buf_puts(&b, ", ...");
	say(ui, NULL, "", bl_buf_str(&b));
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, true);
}

void bl_ui_phase(struct bl_ui *ui, const char *host, const char *phase, const char *line)
{
	struct bl_row *row = row_of(ui, host);
	if (row)
		enter_phase(row, phase, line);
	if (ui->mode == BL_UI_JSON)
		tell(ui, "phase", host, "phase", phase, "line", line);
	else if (line && (ui->mode == BL_UI_PLAIN || !row))
		say(ui, row, "", line);
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, !row);
}

void bl_ui_copying(struct bl_ui *ui, const char *host, const struct bl_copy_stats *stats)
{
	static const int every_s[] = {
		[BL_UI_PLAIN] = 10, [BL_UI_TERMINAL] = 0, [BL_UI_JSON] = 1
	};
	struct bl_row *row = row_of(ui, host);
	int64_t now = bl_now_boot_ns();
	if (!row || !is_running(row))
		return;
	int64_t since = row->copy_told_ns > row->phase_ns ? row->copy_told_ns : row->phase_ns;
	if (now - since < every_s[ui->mode] * BL_NS_PER_S)
		return;
	row->copy_told_ns = now;
	if (ui->mode == BL_UI_JSON) {
		tell_copying(ui, host, stats);
		return;
	}
	BL_AUTO(bl_buf) line = { 0 };
	bl_copy_stats_progress(stats, &line);
	if (ui->mode == BL_UI_PLAIN) {
		say(ui, row, "", bl_buf_str(&line));
		return;
	}
	set_clean(&row->line, bl_buf_str(&line));
	draw(ui, false);
}

void bl_ui_output(struct bl_ui *ui, const char *host, const char *stream, const char *line)
{
	struct bl_row *row = row_of(ui, host);
	if (ui->mode == BL_UI_JSON)
		tell(ui, "output", host, "stream", stream, "line", line);
	else if (ui->mode == BL_UI_PLAIN || !row)
		say(ui, row, "", line);
	else if (is_running(row) && without_line_end(line) > 0)
		set_clean(&row->line, line);
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, !row);
}

void bl_ui_note(struct bl_ui *ui, const char *host, const char *text)
{
	struct bl_row *row = row_of(ui, host);
	if (ui->mode == BL_UI_JSON) {
		tell(ui, "note", host, "note", text, NULL, NULL);
		return;
	}
	say(ui, row, "note: ", text);
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, !row);
}

void bl_ui_item(struct bl_ui *ui, const char *host, const char *level, const char *name,
		const char *text, const char *remedy)
{
	struct bl_row *row = row_of(ui, host);
	BL_AUTO(bl_buf) b = { 0 };
	if (ui->mode == BL_UI_JSON) {
		begin_event(ui, &b, "item", host);
		put_member(&b, "item", name);
		put_member(&b, "level", level);
		put_member(&b, "text", text);
		put_member(&b, "remedy", *remedy ? remedy : NULL);
		end_event(ui, &b);
		return;
	}
	bl_autofree char *clean = bl_visible(name);
	bl_autofree char *head = bl_xprintf("%-8s %s: ", level, clean);
	put_lines(&ui->above, row, head, text);
	put_field(&ui->above, row, "remedy", *remedy ? remedy : NULL);
	flush(ui);
}

void bl_ui_result(struct bl_ui *ui, const char *host, const struct bl_ui_result *r)
{
	struct bl_row *row = row_of(ui, host);
	assert(row && r->outcome);
	keep_result(row, r);
	if (ui->mode == BL_UI_JSON) {
		tell_result(ui, host, r);
	} else if (ui->mode == BL_UI_PLAIN) {
		BL_AUTO(bl_buf) b = { 0 };
		put_result(&b, row);
		bl_ui_put(ui->fd, b.data, b.len);
	} else {
		draw(ui, false);
	}
}

/* "build on web1: building linux-6.6 (3 of 10)"; what failed stands over its log. */
static void put_build(struct bl_buf *out, const struct bl_ui_build *build)
{
	BL_AUTO(bl_buf) line = { 0 };
	bl_buf_printf(&line, "build%s%s: ", build->host ? " on " : "",
		      build->host ? build->host : "");
	if (build->reason) {
		bl_buf_printf(&line, "%s failed: %s", build->name, build->reason);
	} else {
		bl_buf_printf(&line, "%s %s",
			      strcmp(build->state, "running") == 0 ? "building" : "built",
			      build->name);
		if (build->of > 0)
			bl_buf_printf(&line, " (%" PRIu64 " of %" PRIu64 ")", build->number,
				      build->of);
	}
	put_line(out, NULL, "", bl_buf_str(&line), line.len);
	put_field(out, NULL, "log", build->log);
	put_field(out, NULL, "next", build->next);
}

void bl_ui_build(struct bl_ui *ui, const struct bl_ui_build *build)
{
	if (ui->mode == BL_UI_JSON) {
		tell_build(ui, build);
		return;
	}
	/* what goes well is in the status */
	if (ui->mode == BL_UI_TERMINAL && !build->reason)
		return;
	put_build(&ui->above, build);
	flush(ui);
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, true);
}

void bl_ui_status(struct bl_ui *ui, const char *text)
{
	if (ui->mode != BL_UI_TERMINAL || (!ui->status && !*text))
		return;
	set_clean(&ui->status, text);
	draw(ui, !*text);
}

void bl_ui_tick(struct bl_ui *ui)
{
	if (ui->mode == BL_UI_TERMINAL)
		draw(ui, false);
}

void bl_ui_end(struct bl_ui *ui, int exit_code)
{
	if (ui->mode == BL_UI_JSON) {
		tell_summary(ui, exit_code);
		return;
	}
	BL_AUTO(bl_buf) b = { 0 };
	if (ui->mode == BL_UI_TERMINAL) {
		draw(ui, true);
		for (size_t i = 0; i < ui->n; i++)
			if (ui->rows[i]->state == BL_ROW_FAILED)
				put_result(&b, ui->rows[i]);
	}
	put_summary(ui, &b);
	if (b.len > 0)
		bl_ui_put(ui->fd, b.data, b.len);
}
