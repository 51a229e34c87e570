/* SPDX-License-Identifier: MIT */
/*
 * The live picture: one row a host, drawn in place. Rendering is pure (rows, size and time in,
 * text out); only bl_terminal_draw() writes. Used by ui.c alone, and by the tests.
 */
#ifndef BELAY_UI_TERMINAL_H
#define BELAY_UI_TERMINAL_H

#include "base/buf.h"

enum bl_row_state { BL_ROW_WAITING, BL_ROW_ACTIVE, BL_ROW_OK, BL_ROW_FAILED, BL_ROW_SKIPPED };

/* A host: what the picture shows of it and what the summary says at the end. */
struct bl_row {
	char *host;
	char *label; /* the host's name, harmless */
	enum bl_row_state state;
	char *phase;      /* harmless; NULL before the first */
	char *line;       /* what was said last, harmless */
	int64_t began_ns; /* 0: not yet */
	int64_t phase_ns; /* the phase began */
	int64_t ended_ns;
	int64_t copy_told_ns; /* 0: copying was not told of yet */
	char *outcome; /* NULL while there is no result; the next four likewise, as they came */
	char *headline;
	char *reason;
	char *now_state;
	char *next;
};

struct bl_look {
	bool utf8;
	bool colour;
	unsigned width;
	unsigned height;
};

/*
 * Appends @text so that it can be shown anywhere: control bytes, bytes that are not UTF-8, and
 * characters that turn the direction of writing or break lines become \xNN. The result is one
 * line of valid UTF-8.
 */
void bl_text_clean(struct bl_buf *out, const char *text, size_t len);

/*
 * Appends clean @text shortened to @columns at most and says how many it takes. Without @utf8
 * every other character than ASCII becomes '?'.
 */
unsigned bl_text_fit(struct bl_buf *out, const char *text, unsigned columns, bool utf8);

/* What the environment says about characters and colours; no setlocale(). */
bool bl_look_utf8(void);
bool bl_look_colour(void);

/*
 * The picture: lines that end with '\n', each at most width - 1 columns wide, at most height -
 * 1 of them. When not all rows fit: active ones first, then failed, ended, waiting, and "...
 * and N more".
 */
void bl_picture_render(struct bl_row *const *rows, size_t n, const struct bl_look *look,
		       int64_t now_ns, struct bl_buf *out);

/*
 * The bytes that replace the picture @before (on a screen that is @width columns wide now) by
 * @picture, with the lines of @above over it for good. Cursor and line wrapping are as they
 * were after every frame, so that a program killed between two leaves a sane terminal.
 */
void bl_picture_frame(const char *before, const char *above, const char *picture,
		      unsigned width, struct bl_buf *out);

struct bl_terminal {
	int fd;
	struct bl_look look;
	struct bl_buf shown; /* the picture on the screen */
	int64_t drawn_ns;
};

void bl_terminal_init(struct bl_terminal *t, int fd);
void bl_terminal_free(struct bl_terminal *t);
/*
 * Draws at most ten times a second unless @now is set; @above (lines, may be "") is printed
 * over the picture, @status (clean, may be "") is its last line. False: it was too early,
 * nothing was written.
 */
bool bl_terminal_draw(struct bl_terminal *t, struct bl_row *const *rows, size_t n,
		      const char *above, const char *status, int64_t now_ns, bool now);

/*
 * Writes all of @text. A reader that is gone is no failure: a deployment goes on without
 * anybody who looks on.
 */
void bl_ui_put(int fd, const char *text, size_t len);

#endif
