/* SPDX-License-Identifier: MIT */
#include "ui/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define FRAME_NS      (100 * BL_NS_PER_MS)
#define PHASE_COLUMNS 11 /* "rolled back", "unreachable" */
#define TIME_COLUMNS  6
#define NAME_MIN      8

/* ---- text */

/* Length of the character at @s and its number; 0 when it is not UTF-8 as RFC 3629 has it. */
static size_t decode(const char *s, size_t len, uint32_t *out)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || n > len)
		return 0;
	uint32_t cp = n == 1 ? c : c & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char next = (unsigned char)s[i];
		if ((next & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (next & 0x3fU);
	}
	if (cp < smallest[n] || (cp >= 0xd800 && cp < 0xe000) || cp > 0x10ffff)
		return 0;
	*out = cp;
	return n;
}

struct range {
	uint32_t from, to;
};

static bool is_in(const struct range *ranges, size_t n, uint32_t cp)
{
	for (size_t i = 0; i < n; i++)
		if (cp >= ranges[i].from && cp <= ranges[i].to)
			return true;
	return false;
}

/* C1 controls; line separators; marks and overrides of direction; byte order mark; tags. */
static const struct range harmful[] = {
	{ 0x80, 0x9f },     { 0x61c, 0x61c },   { 0x200e, 0x200f }, { 0x2028, 0x202e },
	{ 0x2066, 0x2069 }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
};

void bl_text_clean(struct bl_buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint32_t cp = 0;
		size_t n = decode(text + i, len - i, &cp);
		if (n > 0 && !is_in(harmful, BL_COUNT(harmful), cp)) {
			bl_buf_put_visible(out, text + i, n);
			i += n;
			continue;
		}
		for (size_t end = i + (n ? n : 1); i < end; i++)
			bl_buf_printf(out, "\\x%02x", (unsigned char)text[i]);
	}
}

/*
 * Columns of a character, too many rather than too few: a line that is too short does no harm,
 * one that wraps does. Hence everything is wide that is not known to be narrow.
 */
static unsigned columns_of(uint32_t cp)
{
	static const struct range zero[] = {
		{ 0x300, 0x36f }, { 0x200b, 0x200d }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }
	};
	static const struct range narrow[] = {
		{ 0, 0x10ff },      { 0x1e00, 0x2319 }, { 0x231c, 0x23e8 }, { 0x23f4, 0x25fc },
		{ 0x2701, 0x2704 }, { 0x270e, 0x2727 }, { 0x2729, 0x274b }, { 0x2756, 0x2756 },
		{ 0x2758, 0x2794 }, { 0x2798, 0x27af }, { 0x27c0, 0x2b1a }, { 0xfffd, 0xfffd }
	};
	if (is_in(zero, BL_COUNT(zero), cp))
		return 0;
	return is_in(narrow, BL_COUNT(narrow), cp) ? 1 : 2;
}

/* Without @utf8 a '?' stands for it. */
static size_t next_char(const char *s, size_t len, bool utf8, unsigned *out_columns)
{
	uint32_t cp = 0;
	size_t n = decode(s, len, &cp);
	*out_columns = n == 0 || !utf8 ? 1 : columns_of(cp);
	return n ? n : 1;
}

static unsigned text_columns(const char *text, bool utf8)
{
	unsigned total = 0;
	unsigned columns = 0;
	size_t len = strlen(text);
	for (size_t i = 0; i < len; total += columns)
		i += next_char(text + i, len - i, utf8, &columns);
	return total;
}

unsigned bl_text_fit(struct bl_buf *out, const char *text, unsigned columns, bool utf8)
{
	const char *dots = utf8 ? "…" : "...";
	unsigned dots_columns = utf8 ? 1 : 3;
	unsigned room = columns;
	unsigned used = 0;
	bool cut = text_columns(text, utf8) > columns;
	if (cut)
		room = columns > dots_columns ? columns - dots_columns : 0;
	size_t len = strlen(text);
	for (size_t i = 0; i < len;) {
		unsigned c = 0;
		size_t n = next_char(text + i, len - i, utf8, &c);
		if (used + c > room)
			break;
		if (utf8 || n == 1)
			bl_buf_append(out, text + i, n);
		else
			bl_buf_putc(out, '?');
		used += c;
		i += n;
	}
	if (!cut || columns < dots_columns)
		return used;
	bl_buf_puts(out, dots);
	return used + dots_columns;
}

bool bl_look_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false;
}

/* NO_COLOR counts when it is not empty: https://no-color.org */
bool bl_look_colour(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	return !(no && *no) && !bl_str_eq(term, "dumb");
}

/* ---- picture */

struct mark {
	const char *utf8;
	const char *ascii;
	const char *colour; /* SGR parameters, or NULL */
};

static const struct mark marks[] = {
	[BL_ROW_WAITING] = { "·", ".", "2" }, [BL_ROW_ACTIVE] = { "•", "*", NULL },
	[BL_ROW_OK] = { "✓", "+", "32" },     [BL_ROW_FAILED] = { "✗", "x", "31" },
	[BL_ROW_SKIPPED] = { "-", "-", "2" },
};

static void pad(struct bl_buf *out, unsigned used, unsigned columns)
{
	for (; used < columns; used++)
		bl_buf_putc(out, ' ');
}

static void put_mark(struct bl_buf *out, enum bl_row_state state, const struct bl_look *look)
{
	const struct mark *m = &marks[state];
	const char *sign = look->utf8 ? m->utf8 : m->ascii;
	if (look->colour && m->colour)
		bl_buf_printf(out, "\033[%sm%s\033[0m", m->colour, sign);
	else
		bl_buf_puts(out, sign);
}

/* "7s", "1m05s", "2h03m" */
static void put_time(struct bl_buf *out, int64_t ns)
{
	long long s = ns > 0 ? ns / BL_NS_PER_S : 0;
	struct bl_buf text = { 0 };
	if (s < 60)
		bl_buf_printf(&text, "%llds", s);
	else if (s < 3600)
		bl_buf_printf(&text, "%lldm%02llds", s / 60, s % 60);
	else
		bl_buf_printf(&text, "%lldh%02lldm", s / 3600, s / 60 % 60);
	pad(out, (unsigned)text.len, TIME_COLUMNS);
	bl_buf_puts(out, bl_buf_str(&text));
	bl_buf_free(&text);
}

static void put_row_time(struct bl_buf *out, const struct bl_row *row, int64_t now_ns)
{
	if (row->began_ns == 0)
		pad(out, 0, TIME_COLUMNS);
	else if (row->ended_ns)
		put_time(out, row->ended_ns - row->began_ns);
	else
		put_time(out, now_ns - row->phase_ns);
}

static void put_row(struct bl_buf *out, const struct bl_row *row, unsigned name_columns,
		    const struct bl_look *look, int64_t now_ns)
{
	BL_AUTO(bl_buf) rest = { 0 };
	pad(&rest, bl_text_fit(&rest, row->label, name_columns, look->utf8), name_columns + 2);
	const char *phase = row->phase ? row->phase : "waiting";
	pad(&rest, bl_text_fit(&rest, phase, PHASE_COLUMNS, look->utf8), PHASE_COLUMNS + 1);
	put_row_time(&rest, row, now_ns);
	bl_buf_puts(&rest, "  ");
	bl_buf_puts(&rest, row->line ? row->line : "");
	while (rest.len > 0 && rest.data[rest.len - 1] == ' ')
		rest.data[--rest.len] = '\0';
	put_mark(out, row->state, look);
	if (look->width > 3) {
		bl_buf_putc(out, ' ');
		bl_text_fit(out, bl_buf_str(&rest), look->width - 3, look->utf8);
	}
	bl_buf_putc(out, '\n');
}

/* What is shown first when not all of it can be shown. */
static int urgency(const struct bl_row *row)
{
	static const int order[] = { [BL_ROW_ACTIVE] = 0,
				     [BL_ROW_FAILED] = 1,
				     [BL_ROW_OK] = 2,
				     [BL_ROW_SKIPPED] = 2,
				     [BL_ROW_WAITING] = 3 };
	return order[row->state];
}

static unsigned name_columns_of(struct bl_row *const *rows, size_t n,
				const struct bl_look *look)
{
	unsigned most = look->width / 4 > NAME_MIN ? look->width / 4 : NAME_MIN;
	unsigned widest = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned c = text_columns(rows[i]->label, look->utf8);
		widest = c > widest ? c : widest;
	}
	return widest < most ? widest : most;
}

void bl_picture_render(struct bl_row *const *rows, size_t n, const struct bl_look *look,
		       int64_t now_ns, struct bl_buf *out)
{
	size_t room = look->height > 2 ? look->height - 1 : 1;
	unsigned name_columns = name_columns_of(rows, n, look);
	if (n <= room) {
		for (size_t i = 0; i < n; i++)
			put_row(out, rows[i], name_columns, look, now_ns);
		return;
	}
	size_t shown = 0;
	for (int turn = 0; turn <= 3; turn++)
		for (size_t i = 0; i < n && shown < room - 1; i++) {
			if (urgency(rows[i]) != turn)
				continue;
			put_row(out, rows[i], name_columns, look, now_ns);
			shown++;
		}
	BL_AUTO(bl_buf) more = { 0 };
	bl_buf_printf(&more, "... and %zu more", n - shown);
	bl_text_fit(out, bl_buf_str(&more), look->width - 1, look->utf8);
	bl_buf_putc(out, '\n');
}

/*
 * Lines of the screen that a picture takes. Terminals break lines anew when they become
 * narrower, so one line of the picture may be several now.
 */
static unsigned screen_lines(const char *picture, unsigned width)
{
	unsigned total = 0;
	while (*picture) {
		const char *end = picture + strcspn(picture, "\n");
		unsigned columns = 0;
		while (picture < end) {
			unsigned c = 0;
			if (*picture == '\033') { /* only colours: ESC [ ... m */
				picture += strcspn(picture, "m") + 1;
				continue;
			}
			picture += next_char(picture, (size_t)(end - picture), true, &c);
			columns += c;
		}
		total += columns > width ? (columns + width - 1) / width : 1;
		picture += *picture == '\n';
	}
	return total;
}

static void put_lines(struct bl_buf *out, const char *text, const char *end_of_line)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		bl_buf_append(out, text, len);
		bl_buf_puts(out, end_of_line);
		text += len + (text[len] == '\n');
	}
}

void bl_picture_frame(const char *before, const char *above, const char *picture,
		      unsigned width, struct bl_buf *out)
{
	unsigned up = screen_lines(before, width);
	bl_buf_puts(out, "\033[?25l\r");
	if (up > 0)
		bl_buf_printf(out, "\033[%uA", up);
	if (*above) {
		/* These may wrap: nobody counts their lines. */
		bl_buf_puts(out, "\033[J");
		put_lines(out, above, "\r\n");
	}
	/* A character may be wider than we think, so no wrapping here, whatever was counted. */
	bl_buf_puts(out, "\033[?7l");
	put_lines(out, picture, "\033[K\r\n");
	bl_buf_puts(out, "\033[J\033[?7h\033[?25h");
}

/* ---- writing */

void bl_ui_put(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);
		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			/* ssh may have made the terminal that it shares with us non-blocking.
			 */
			struct pollfd p = { .fd = fd, .events = POLLOUT };
			if (poll(&p, 1, 1000) == 0)
				return;
		} else if (errno != EINTR) {
			return;
		}
	}
}

void bl_terminal_init(struct bl_terminal *t, int fd)
{
	*t = (struct bl_terminal){
		.fd = fd, .look = { .utf8 = bl_look_utf8(), .colour = bl_look_colour() }
	};
}

void bl_terminal_free(struct bl_terminal *t)
{
	bl_buf_free(&t->shown);
}

static void read_size(struct bl_terminal *t)
{
	struct winsize size = { 0 };
	if (ioctl(t->fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	t->look.width = size.ws_col;
	t->look.height = size.ws_row;
}

bool bl_terminal_draw(struct bl_terminal *t, struct bl_row *const *rows, size_t n,
		      const char *above, const char *status, int64_t now_ns, bool now)
{
	if (!now && t->drawn_ns && now_ns - t->drawn_ns < FRAME_NS)
		return false;
	unsigned width_before = t->look.width;
	read_size(t);
	BL_AUTO(bl_buf) picture = { 0 };
	bl_picture_render(rows, n, &t->look, now_ns, &picture);
	if (*status) {
		bl_text_fit(&picture, status, t->look.width - 1, t->look.utf8);
		bl_buf_putc(&picture, '\n');
	}
	t->drawn_ns = now_ns;
	if (!*above && t->look.width == width_before &&
	    strcmp(bl_buf_str(&picture), bl_buf_str(&t->shown)) == 0)
		return true;
	BL_AUTO(bl_buf) frame = { 0 };
	bl_picture_frame(bl_buf_str(&t->shown), above, bl_buf_str(&picture), t->look.width,
			 &frame);
	bl_ui_put(t->fd, frame.data, frame.len);
	bl_buf_free(&t->shown);
	t->shown = picture;
	picture = (struct bl_buf){ 0 };
	return true;
}
