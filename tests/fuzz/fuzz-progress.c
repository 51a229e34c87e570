/* SPDX-License-Identifier: MIT */
/* What a running Nix says: any lines, and the model keeps its promises after each. */
#include "nix/progress.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_build(const struct bl_build *b)
{
	bl_autofree char *name = bl_progress_name(b->drv);
	assert(b->machine && b->n_log <= BL_PROGRESS_LOG_LINES);
	assert(strlen(name) <= strlen(b->drv));
	for (size_t i = 0; i < b->n_log; i++)
		assert(strlen(b->log[i]) <= 512);
}

static void check_news(const struct bl_progress_news *news)
{
	bool about = news->kind == BL_PROGRESS_BUILDING || news->kind == BL_PROGRESS_BUILT ||
		     news->kind == BL_PROGRESS_BROKEN;
	assert(about == (news->build != NULL));
	assert((news->kind == BL_PROGRESS_TEXT) == (news->text != NULL));
	if (news->build)
		check_build(news->build);
	if (news->kind == BL_PROGRESS_BROKEN)
		assert(news->build->reason && news->build->told);
}

static void check(const struct bl_progress *p)
{
	struct bl_progress_counts c = { 0 };
	BL_AUTO(bl_buf) status = { 0 };
	assert(p->n_active <= BL_PROGRESS_ACTIVE && p->n_ended <= BL_PROGRESS_ENDED &&
	       p->n_failed <= BL_PROGRESS_FAILED);
	bl_progress_count(p, &c);
	assert(c.running <= p->n_active);
	bl_progress_status(&p, 1, &status);
	/* three names, no longer than what is kept of a path */
	assert(status.len < 2048);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_progress) p = { 0 };
	const char *at = (const char *)data;
	const char *end = at + size;
	while (at < end) {
		BL_AUTO(bl_progress_news) news = { 0 };
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t len = nl ? (size_t)(nl - at) : (size_t)(end - at);
		bl_progress_line(&p, at, len, &news);
		check_news(&news);
		check(&p);
		at += len + 1;
	}
	for (size_t i = 0;; i++) {
		BL_AUTO(bl_progress_news) news = { 0 };
		bl_progress_end(&p, &news);
		check_news(&news);
		assert(i <= BL_PROGRESS_ENDED);
		if (news.kind == BL_PROGRESS_NOTHING)
			return 0;
	}
}
