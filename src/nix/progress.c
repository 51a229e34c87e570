/* SPDX-License-Identifier: MIT */
#include "nix/progress.h"

#include "base/str.h"
#include "nix/nix.h"
#include "store/path.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX      "@nix "
#define LINE_MAX_   (256UL * 1024)
#define LOG_LINE    512 /* bytes that are kept of a build's line */
#define PATH_MAX_   512
#define NAMES_SHOWN 3
#define MIB         (1024ULL * 1024)

/* Nix's numbers */
enum {
	ACT_COPY_PATH = 100,
	ACT_REALISE = 102,
	ACT_COPY_PATHS = 103,
	ACT_BUILDS = 104,
	ACT_BUILD = 105
};
enum { RES_LOG_LINE = 101, RES_PROGRESS = 105, RES_SET_EXPECTED = 106 };
enum { LEVEL_ERROR = 0, LEVEL_WARN = 1 };

/* What is summed up over activities. */
enum count { BUILDS, COPIES, BYTES, NCOUNTS };

struct bl_activity {
	uint64_t id;
	int type;
	uint64_t done, of, failed;
	uint64_t failed_before; /* of all, when this build began */
	uint64_t expects[NCOUNTS];
	struct bl_build *build; /* of an ACT_BUILD */
};

static bool count_of(json_int_t type, enum count *out)
{
	*out = type == ACT_BUILDS ? BUILDS : type == ACT_COPY_PATHS ? COPIES : BYTES;
	return type == ACT_BUILDS || type == ACT_COPY_PATHS || type == ACT_COPY_PATH;
}

static uint64_t number(const json_t *value)
{
	json_int_t n = json_integer_value(value);
	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t field_number(const json_t *line, size_t i)
{
	return number(json_array_get(json_object_get(line, "fields"), i));
}

static const char *field_text(const json_t *line, size_t i)
{
	const char *s = json_string_value(json_array_get(json_object_get(line, "fields"), i));
	return s ? s : "";
}

/* ---- builds */

static struct bl_build *build_new(const char *drv, const char *machine)
{
	struct bl_build *b = bl_xcalloc(1, sizeof(*b));
	b->drv = bl_xstrndup(drv, strnlen(drv, PATH_MAX_));
	b->machine = bl_xstrndup(machine, strnlen(machine, PATH_MAX_));
	return b;
}

static void build_free(struct bl_build *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n_log; i++)
		free(b->log[i]);
	free(b->drv);
	free(b->machine);
	free(b->reason);
	free(b);
}

static void add_log(struct bl_build *b, const char *line)
{
	if (b->n_log == BL_PROGRESS_LOG_LINES) {
		free(b->log[0]);
		b->n_log--;
		memmove(b->log, b->log + 1, b->n_log * sizeof(b->log[0]));
	}
	b->log[b->n_log++] = bl_xstrndup(line, strnlen(line, LOG_LINE));
}

static void keep_ended(struct bl_progress *p, struct bl_build *b)
{
	if (p->n_ended == BL_PROGRESS_ENDED) {
		build_free(p->ended[0]);
		p->n_ended--;
		memmove(p->ended, p->ended + 1, p->n_ended * sizeof(struct bl_build *));
	}
	p->ended[p->n_ended++] = b;
}

/* ---- activities */

static struct bl_activity *find(const struct bl_progress *p, uint64_t id)
{
	for (size_t i = 0; i < p->n_active; i++)
		if (p->active[i].id == id)
			return &p->active[i];
	return NULL;
}

/* How many builds have failed so far, as Nix counts them. */
static uint64_t failures(const struct bl_progress *p)
{
	uint64_t n = 0;
	for (size_t i = 0; i < p->n_active; i++)
		if (p->active[i].type == ACT_BUILDS)
			n += p->active[i].failed;
	return n;
}

static void start(struct bl_progress *p, const json_t *line, struct bl_progress_news *out)
{
	enum count unused;
	json_int_t type = json_integer_value(json_object_get(line, "type"));
	uint64_t id = number(json_object_get(line, "id"));
	/* of queries and downloads there may be thousands at once */
	if (!count_of(type, &unused) && type != ACT_BUILD && type != ACT_REALISE)
		return;
	if (p->n_active == BL_PROGRESS_ACTIVE || find(p, id))
		return;
	if (!p->active)
		p->active = bl_xcalloc(BL_PROGRESS_ACTIVE, sizeof(*p->active));
	struct bl_activity *a = &p->active[p->n_active++];
	*a = (struct bl_activity){ .id = id, .type = (int)type };
	if (type != ACT_BUILD)
		return;
	a->build = build_new(field_text(line, 0), field_text(line, 1));
	a->failed_before = failures(p);
	p->started++;
	out->kind = BL_PROGRESS_BUILDING;
	out->build = a->build;
}

/*
 * A build that failed may be told as failed before its end, after it, or, when it was the one
 * that was asked for, as the very last: then only Nix's count of failures has grown.
 */
static void end_build(struct bl_progress *p, const struct bl_activity *a,
		      struct bl_progress_news *out)
{
	struct bl_build *b = a->build;
	if (b->told) {
		build_free(b);
		return;
	}
	keep_ended(p, b);
	if (failures(p) > a->failed_before)
		return;
	b->told = true;
	out->kind = BL_PROGRESS_BUILT;
	out->build = b;
}

static void stop(struct bl_progress *p, const json_t *line, struct bl_progress_news *out)
{
	enum count c;
	struct bl_activity *found = find(p, number(json_object_get(line, "id")));
	if (!found)
		return;
	struct bl_activity a = *found;
	*found = p->active[--p->n_active];
	if (count_of(a.type, &c))
		p->gone[c] += a.done;
	for (int i = 0; i < NCOUNTS; i++)
		p->expected[i] -= a.expects[i];
	if (a.build)
		end_build(p, &a, out);
}

static void result(struct bl_progress *p, const json_t *line)
{
	enum count c;
	struct bl_activity *a = find(p, number(json_object_get(line, "id")));
	json_int_t type = json_integer_value(json_object_get(line, "type"));
	if (!a)
		return;
	if (type == RES_LOG_LINE && a->build) {
		add_log(a->build, field_text(line, 0));
	} else if (type == RES_PROGRESS) {
		a->done = field_number(line, 0);
		a->of = field_number(line, 1);
		a->failed = field_number(line, 3);
	} else if (type == RES_SET_EXPECTED &&
		   count_of((json_int_t)field_number(line, 0), &c)) {
		p->expected[c] += field_number(line, 1) - a->expects[c];
		a->expects[c] = field_number(line, 1);
	}
}

/* ---- messages */

/* The one derivation that @text is about; NULL: none, or what became of several. */
static char *drv_in(const char *text)
{
	static const char end[] = ".drv";
	const char *found = strstr(text, end);
	const char *at = found;
	while (at && at > text && !strchr("' \"\n", at[-1]))
		at--;
	if (!found || bl_starts_with(text, "build of "))
		return NULL;
	return bl_xstrndup(at, (size_t)(found - at) + sizeof(end) - 1);
}

/* What Nix may append to an error: the log, the command for it, what was to come out. */
static bool is_appended(const char *line)
{
	static const char *const begins[] = { "last ", "Last ",
					      "Output paths:", "For full logs" };
	line += strspn(line, " ");
	for (size_t i = 0; i < BL_COUNT(begins); i++)
		if (bl_starts_with(line, begins[i]))
			return true;
	return false;
}

/* What went wrong in one line, without what is told elsewhere. */
static char *reason_in(const char *text)
{
	static const char error[] = "error: ";
	size_t len = strcspn(text, "\n");
	while (text[len] && !is_appended(text + len + 1))
		len += 1 + strcspn(text + len + 1, "\n");
	while (len > 0 && strchr(";: \n", text[len - 1]))
		len--;
	bl_autofree char *first = bl_xstrndup(text, len);
	bl_autofree char *line = bl_nix_one_line(first);
	return bl_xstrdup(line + (bl_starts_with(line, error) ? sizeof(error) - 1 : 0));
}

static bool is_of(const struct bl_build *b, const char *drv)
{
	return b && strcmp(b->drv, drv) == 0;
}

/* The build of @drv whose failure was not told yet, wherever it is kept; ours from then on. */
static struct bl_build *take_build(struct bl_progress *p, const char *drv)
{
	for (size_t i = 0; i < p->n_active; i++) {
		struct bl_build *b = p->active[i].build;
		if (!is_of(b, drv) || b->told)
			continue;
		/* its activity goes on, with a build that nobody asks for */
		p->active[i].build = build_new("", "");
		p->active[i].build->told = true;
		return b;
	}
	for (size_t i = 0; i < p->n_ended; i++) {
		struct bl_build *b = p->ended[i];
		if (!is_of(b, drv))
			continue;
		p->n_ended--;
		memmove(p->ended + i, p->ended + i + 1,
			(p->n_ended - i) * sizeof(struct bl_build *));
		return b;
	}
	return NULL;
}

static void fail_build(struct bl_progress *p, struct bl_build *b, const char *reason,
		       struct bl_progress_news *out)
{
	b->told = true;
	bl_replace_str(&b->reason, reason);
	if (p->n_failed == BL_PROGRESS_FAILED)
		build_free(p->failed[--p->n_failed]);
	p->failed[p->n_failed++] = b;
	out->kind = BL_PROGRESS_BROKEN;
	out->build = b;
}

static void message(struct bl_progress *p, const json_t *line, struct bl_progress_news *out)
{
	const json_t *level = json_object_get(line, "level");
	const char *raw = json_string_value(json_object_get(line, "raw_msg"));
	const char *msg = json_string_value(json_object_get(line, "msg"));
	if (!json_is_integer(level) || json_integer_value(level) > LEVEL_WARN || !msg)
		return;
	bl_autofree char *text = reason_in(raw ? raw : msg);
	if (json_integer_value(level) == LEVEL_ERROR) {
		bl_autofree char *drv = drv_in(text);
		struct bl_build *b = drv ? take_build(p, drv) : NULL;
		if (b) {
			fail_build(p, b, text, out);
			return;
		}
		/* the same again, or what follows from it */
		if (p->n_failed > 0 && strstr(text, ".drv"))
			return;
	}
	/* an option of ours that makes no difference to people */
	if (strstr(text, "you did not specify '--add-root'"))
		return;
	out->kind = BL_PROGRESS_TEXT;
	out->text = BL_STEAL(text);
}

/* ---- lines */

static void json_line(struct bl_progress *p, const json_t *line, struct bl_progress_news *out)
{
	const char *action = json_string_value(json_object_get(line, "action"));
	if (bl_str_eq(action, "start"))
		start(p, line, out);
	else if (bl_str_eq(action, "stop"))
		stop(p, line, out);
	else if (bl_str_eq(action, "result"))
		result(p, line);
	else if (bl_str_eq(action, "msg"))
		message(p, line, out);
}

void bl_progress_line(struct bl_progress *p, const char *line, size_t len,
		      struct bl_progress_news *out)
{
	static const size_t prefix = sizeof(PREFIX) - 1;
	*out = (struct bl_progress_news){ 0 };
	while (len > 0 && line[len - 1] == '\r')
		len--;
	if (len == 0)
		return;
	if (len < prefix || memcmp(line, PREFIX, prefix) != 0) {
		out->kind = BL_PROGRESS_TEXT;
		out->text = bl_xstrndup(line, len < LINE_MAX_ ? len : LINE_MAX_);
		return;
	}
	if (len > LINE_MAX_)
		return;
	json_t *object = json_loadb(line + prefix, len - prefix, 0, NULL);
	if (object)
		json_line(p, object, out);
	json_decref(object);
}

void bl_progress_end(struct bl_progress *p, struct bl_progress_news *out)
{
	*out = (struct bl_progress_news){ 0 };
	for (size_t i = 0; i < p->n_ended; i++) {
		struct bl_build *b = p->ended[i];
		if (b->told)
			continue;
		b->told = true;
		out->kind = BL_PROGRESS_BUILT;
		out->build = b;
		return;
	}
}

void bl_progress_free(struct bl_progress *p)
{
	for (size_t i = 0; i < p->n_active; i++)
		build_free(p->active[i].build);
	for (size_t i = 0; i < p->n_ended; i++)
		build_free(p->ended[i]);
	for (size_t i = 0; i < p->n_failed; i++)
		build_free(p->failed[i]);
	free(p->active);
	*p = (struct bl_progress){ 0 };
}

void bl_progress_news_free(struct bl_progress_news *news)
{
	free(news->text);
	news->text = NULL;
}

/* ---- counting and telling */

void bl_progress_count(const struct bl_progress *p, struct bl_progress_counts *out)
{
	uint64_t done[NCOUNTS];
	uint64_t of[NCOUNTS];
	enum count c;
	for (int i = 0; i < NCOUNTS; i++)
		done[i] = of[i] = p->gone[i];
	for (size_t i = 0; i < p->n_active; i++) {
		const struct bl_activity *a = &p->active[i];
		out->running += a->build && !a->build->told;
		if (!count_of(a->type, &c))
			continue;
		done[c] += a->done;
		of[c] += a->of;
	}
	for (int i = 0; i < NCOUNTS; i++)
		of[i] = of[i] < p->expected[i] ? p->expected[i] : of[i];
	out->built += done[BUILDS];
	out->builds += of[BUILDS];
	out->copied += done[COPIES];
	out->copies += of[COPIES];
	out->copied_bytes += done[BYTES];
	out->copies_bytes += of[BYTES];
}

char *bl_progress_name(const char *drv)
{
	const char *slash = strrchr(drv, '/');
	const char *base = slash ? slash + 1 : drv;
	size_t len = strlen(base);
	if (len > BL_STORE_HASH_LEN + 1 && base[BL_STORE_HASH_LEN] == '-') {
		base += BL_STORE_HASH_LEN + 1;
		len -= BL_STORE_HASH_LEN + 1;
	}
	return bl_xstrndup(base, bl_ends_with(base, ".drv") ? len - 4 : len);
}

/* " (linux-6.6, nixos-system-web1, ...)" */
static void put_names(const struct bl_progress *const *all, size_t n, struct bl_buf *out)
{
	size_t shown = 0;
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < all[k]->n_active && shown <= NAMES_SHOWN; i++) {
			const struct bl_build *b = all[k]->active[i].build;
			if (!b || b->told)
				continue;
			bl_autofree char *name = bl_progress_name(b->drv);
			bl_buf_printf(out, "%s%s", shown ? ", " : " (",
				      shown < NAMES_SHOWN ? name : "...");
			shown++;
		}
	bl_buf_puts(out, shown ? ")" : "");
}

void bl_progress_put_copies(const struct bl_progress_counts *c, struct bl_buf *out)
{
	bl_buf_printf(out, "%llu/%llu copied", (unsigned long long)c->copied,
		      (unsigned long long)c->copies);
	if (c->copies_bytes >= MIB)
		bl_buf_printf(out, ", %llu/%llu MiB",
			      (unsigned long long)(c->copied_bytes / MIB),
			      (unsigned long long)(c->copies_bytes / MIB));
}

void bl_progress_status(const struct bl_progress *const *all, size_t n, struct bl_buf *out)
{
	struct bl_progress_counts c = { 0 };
	for (size_t i = 0; i < n; i++)
		bl_progress_count(all[i], &c);
	if (c.builds > 0)
		bl_buf_printf(out, "%llu/%llu built", (unsigned long long)c.built,
			      (unsigned long long)c.builds);
	if (c.running > 0) {
		bl_buf_printf(out, "%s%llu running", c.builds ? ", " : "",
			      (unsigned long long)c.running);
		put_names(all, n, out);
	}
	if (c.copies == 0)
		return;
	bl_buf_puts(out, c.builds || c.running ? ", " : "");
	bl_progress_put_copies(&c, out);
}
