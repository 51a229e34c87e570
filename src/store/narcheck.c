/* SPDX-License-Identifier: MIT */
#include "store/narcheck.h"

#include <string.h>

enum state {
	MAGIC,
	OPEN,
	TYPE_TAG,
	TYPE,
	CONTENTS_OR_EXECUTABLE,
	EXECUTABLE, /* the empty string behind it */
	CONTENTS_TAG,
	CONTENTS,
	TARGET_TAG,
	TARGET,
	CLOSE,
	ENTRY_OR_CLOSE,
	ENTRY_OPEN,
	NAME_TAG,
	NAME,
	NODE_TAG,
	ENTRY_CLOSE,
	END,
	FAILED,
	NSTATES
};

/* What may stand there, and what comes then; states with text of all kinds are left out. */
static const struct word {
	uint8_t state, next;
	const char *text;
} words[] = {
	{ MAGIC, OPEN, "nix-archive-1" },
	{ OPEN, TYPE_TAG, "(" },
	{ TYPE_TAG, TYPE, "type" },
	{ TYPE, CONTENTS_OR_EXECUTABLE, "regular" },
	{ TYPE, TARGET_TAG, "symlink" },
	{ TYPE, ENTRY_OR_CLOSE, "directory" },
	{ CONTENTS_OR_EXECUTABLE, EXECUTABLE, "executable" },
	{ CONTENTS_OR_EXECUTABLE, CONTENTS, "contents" },
	{ EXECUTABLE, CONTENTS_TAG, "" },
	{ CONTENTS_TAG, CONTENTS, "contents" },
	{ TARGET_TAG, TARGET, "target" },
	{ CLOSE, ENTRY_CLOSE, ")" },
	{ ENTRY_OR_CLOSE, ENTRY_OPEN, "entry" },
	{ ENTRY_OR_CLOSE, ENTRY_CLOSE, ")" },
	{ ENTRY_OPEN, NAME_TAG, "(" },
	{ NAME_TAG, NAME, "name" },
	{ NODE_TAG, OPEN, "node" },
	{ ENTRY_CLOSE, ENTRY_OR_CLOSE, ")" },
};

static int refuse(struct bl_nar_check *c, struct bl_err *err, const char *why)
{
	c->state = FAILED;
	return bl_err_set(err, BL_E_INPUT, "no NAR: byte %llu: %s", (unsigned long long)c->size,
			  why);
}

static int name_read(struct bl_nar_check *c, struct bl_err *err)
{
	const char *s = c->text;
	char *last = c->last[c->depth];
	if (c->len == 0 || strlen(s) != c->len || strchr(s, '/') || strcmp(s, ".") == 0 ||
	    strcmp(s, "..") == 0)
		return refuse(c, err, "a name that no file has");
	if (strcmp(last, s) >= 0)
		return refuse(c, err, "names are not in order");
	memcpy(last, s, c->len + 1);
	c->state = NODE_TAG;
	return 0;
}

static int word_read(struct bl_nar_check *c, struct bl_err *err)
{
	const struct word *w = words;
	const struct word *end = words + BL_COUNT(words);
	while (w < end && (w->state != c->state || strlen(w->text) != c->len ||
			   memcmp(w->text, c->text, c->len) != 0))
		w++;
	if (w == end)
		return refuse(c, err, "another word has to stand here");
	bool closed = w->next == ENTRY_CLOSE; /* a node, which the root and entries have */
	if (w->state == NODE_TAG && ++c->depth == BL_NAR_DEPTH)
		return refuse(c, err, "folders too deep in each other");
	if (w->next == ENTRY_OR_CLOSE && w->state == TYPE)
		c->last[c->depth][0] = '\0';
	c->state = closed && c->depth == 0 ? END : w->next;
	if (closed && c->depth > 0)
		c->depth--;
	return 0;
}

/* The string is there, its padding too. */
static int text_read(struct bl_nar_check *c, struct bl_err *err)
{
	c->got = 0;
	c->in_text = false;
	if (c->state == CONTENTS) {
		c->state = CLOSE;
		return 0;
	}
	c->text[c->len] = '\0';
	if (c->state == NAME)
		return name_read(c, err);
	if (c->state != TARGET)
		return word_read(c, err);
	if (c->len == 0 || strlen(c->text) != c->len)
		return refuse(c, err, "a target that no link has");
	c->state = CLOSE;
	return 0;
}

static int length_read(struct bl_nar_check *c, struct bl_err *err)
{
	uint64_t max = c->state == CONTENTS ? INT64_MAX
		       : c->state == TARGET ? BL_NAR_TARGET_MAX
		       : c->state == NAME   ? BL_NAR_NAME_MAX
					    : 32;
	if (c->len > max)
		return refuse(c, err, "too long");
	c->in_text = true;
	c->left = c->len;
	c->pad = (8 - c->len % 8) % 8;
	return c->left + c->pad == 0 ? text_read(c, err) : 0;
}

/* Takes what belongs to the string; returns how many bytes that were. */
static size_t take_text(struct bl_nar_check *c, const uint8_t *p, size_t len)
{
	size_t take = c->left < len ? (size_t)c->left : len;
	if (c->state != CONTENTS)
		memcpy(c->text + (c->len - c->left), p, take);
	c->left -= take;
	return take;
}

static int take_byte(struct bl_nar_check *c, uint8_t byte, struct bl_err *err)
{
	c->size++;
	if (!c->in_text) {
		c->len = (c->got == 0 ? 0 : c->len) | (uint64_t)byte << 8 * c->got;
		return ++c->got == 8 ? length_read(c, err) : 0;
	}
	if (byte != 0)
		return refuse(c, err, "padding that is not zero");
	return --c->pad == 0 ? text_read(c, err) : 0;
}

int bl_nar_check_feed(struct bl_nar_check *c, const void *data, size_t len, struct bl_err *err)
{
	const uint8_t *p = data;
	const uint8_t *end = p + len;
	while (p < end) {
		if (c->state >= END)
			return refuse(c, err,
				      c->state == END ? "more behind its end"
						      : "broken before");
		if (c->in_text && c->left > 0) {
			size_t n = take_text(c, p, (size_t)(end - p));
			c->size += n;
			p += n;
			if (c->left + c->pad == 0 && text_read(c, err) < 0)
				return -1;
			continue;
		}
		if (take_byte(c, *p++, err) < 0)
			return -1;
	}
	return 0;
}

int bl_nar_check_end(const struct bl_nar_check *c, struct bl_err *err)
{
	if (c->state == END && !c->in_text && c->got == 0)
		return 0;
	return bl_err_set(err, BL_E_INPUT, "no NAR: it ends too early, after %llu bytes",
			  (unsigned long long)c->size);
}
