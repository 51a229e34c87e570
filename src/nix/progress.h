/* SPDX-License-Identifier: MIT */
/*
 * What a running Nix says of itself with `--log-format internal-json`: lines "@nix {...}" on
 * stderr become a small model. Pure: a line in, at most one piece of news out. Whatever comes
 * in, the model stays small and the next line is read like the first; a line that is none of
 * Nix's is news as text.
 *
 * Source: libutil/logging.{hh,cc} (ActivityType, ResultType, JSONLogger) of Nix 2.8 to 2.31 and
 * of Lix; libmain/progress-bar.cc, whose way of counting is the one here.
 */
#ifndef BELAY_NIX_PROGRESS_H
#define BELAY_NIX_PROGRESS_H

#include "base/buf.h"

#define BL_PROGRESS_LOG_LINES 10
#define BL_PROGRESS_ACTIVE    256 /* activities at once that are counted */
#define BL_PROGRESS_ENDED     16  /* builds that have ended, and may turn out to have failed */
#define BL_PROGRESS_FAILED    64  /* failed builds that are remembered */

/* A derivation that is or was built. */
struct bl_build {
	char *drv;                        /* its store path */
	char *machine;                    /* that Nix gave it to; "": where Nix itself runs */
	char *log[BL_PROGRESS_LOG_LINES]; /* the last lines, the oldest first */
	size_t n_log;
	char *reason; /* why it failed, in one line; NULL: it did not */
	bool told;    /* its end was news */
};

struct bl_activity;

struct bl_progress {
	struct bl_activity *active;
	size_t n_active;
	struct bl_build *ended[BL_PROGRESS_ENDED];
	size_t n_ended;
	struct bl_build *failed[BL_PROGRESS_FAILED]; /* in the order in which they failed */
	size_t n_failed;
	uint64_t started; /* builds */
	/* of activities that have ended, and what others expect; see progress.c */
	uint64_t gone[3], expected[3];
};

enum bl_progress_kind {
	BL_PROGRESS_NOTHING,
	BL_PROGRESS_BUILDING,
	BL_PROGRESS_BUILT,
	BL_PROGRESS_BROKEN,
	BL_PROGRESS_TEXT, /* for people: a warning or error that is about no build, or no JSON
			   */
};

struct bl_progress_news {
	enum bl_progress_kind kind;
	const struct bl_build *build; /* borrowed from the model until the next line */
	char *text;                   /* owned: bl_progress_news_free() */
};

struct bl_progress_counts {
	uint64_t built, builds; /* so many of so many */
	uint64_t running;
	uint64_t copied, copies; /* store paths that come, or go */
	uint64_t copied_bytes, copies_bytes;
};

/* One line without its end. */
void bl_progress_line(struct bl_progress *p, const char *line, size_t len,
		      struct bl_progress_news *out);
/*
 * After the last line of a Nix that did not stop at a failure: one build a call of whose end
 * it gave no account, as built; then nothing.
 */
void bl_progress_end(struct bl_progress *p, struct bl_progress_news *out);
void bl_progress_free(struct bl_progress *p);
void bl_progress_news_free(struct bl_progress_news *news);

/* Adds what @p counts to @out. */
void bl_progress_count(const struct bl_progress *p, struct bl_progress_counts *out);
/*
 * "3/10 built, 2 running (linux-6.6, nixos-system-web1), 12/40 copied, 31/90 MiB" of all @n
 * models together; "" where there is nothing to count.
 */
void bl_progress_status(const struct bl_progress *const *all, size_t n, struct bl_buf *out);
/* The part of it that is about copies. */
void bl_progress_put_copies(const struct bl_progress_counts *c, struct bl_buf *out);
/* "linux-6.6" of a derivation's path. */
char *bl_progress_name(const char *drv);

static inline void bl_progress_autop(struct bl_progress *p)
{
	bl_progress_free(p);
}

static inline void bl_progress_news_autop(struct bl_progress_news *news)
{
	bl_progress_news_free(news);
}

#endif
