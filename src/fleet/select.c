/* SPDX-License-Identifier: MIT */
/* Which nodes: first everything that the words add, then everything that they take away. */
#include "fleet/select.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COMPARED 128 /* longer words are not compared letter by letter */
#define MAX_LISTED   8

/* One part of the words: what is behind '!' and '@', and which of them were there. */
struct term {
	const char *word; /* as written, for messages */
	const char *pattern;
	bool away;
	bool tag;
};

static struct term parse_term(const char *word)
{
	struct term t = { .word = word, .pattern = word };
	t.away = *t.pattern == '!';
	t.pattern += t.away;
	t.tag = *t.pattern == '@';
	t.pattern += t.tag;
	return t;
}

static bool has_tag(const struct bl_node *node, const char *pattern)
{
	for (size_t i = 0; i < node->tags.n; i++)
		if (bl_glob(pattern, node->tags.items[i]))
			return true;
	return false;
}

static bool matches(const struct term *t, const struct bl_node *node)
{
	return t->tag ? has_tag(node, t->pattern) : bl_glob(t->pattern, node->name);
}

/* A node that is not enabled is only taken by its very name. */
static bool takes(const struct term *t, const struct bl_node *node)
{
	if (!matches(t, node))
		return false;
	return t->away || node->enable || (!t->tag && strcmp(t->pattern, node->name) == 0);
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;
	return m < c ? m : c;
}

static char lower(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c;
}

/* Levenshtein's distance, upper and lower case the same; SIZE_MAX when either is too long. */
static size_t distance(const char *a, const char *b)
{
	size_t row[MAX_COMPARED + 1];
	size_t len = strlen(b);
	if (len > MAX_COMPARED || strlen(a) > MAX_COMPARED)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			size_t cost = lower(a[i - 1]) != lower(b[j - 1]);
			size_t next = min3(row[j] + 1, row[j - 1] + 1, diagonal + cost);
			diagonal = row[j];
			row[j] = next;
		}
	}
	return row[len];
}

struct nearest {
	const char *name;
	size_t score;
};

static void consider(struct nearest *best, const char *pattern, const char *name)
{
	size_t len = strlen(name);
	size_t want = strlen(pattern);
	size_t limit = 1 + len / 4;
	/* Lengths that differ by more say it already; tables are only filled for what is near.
	 */
	if (len > want + limit || want > len + limit)
		return;
	size_t score = distance(pattern, name);
	if (score < best->score && score <= limit)
		*best = (struct nearest){ name, score };
}

static const char *find_nearest(const struct bl_fleet *fleet, const struct term *t)
{
	struct nearest best = { NULL, SIZE_MAX };
	for (size_t i = 0; i < fleet->n; i++) {
		const struct bl_node *node = &fleet->nodes[i];
		for (size_t k = 0; t->tag && k < node->tags.n; k++)
			consider(&best, t->pattern, node->tags.items[k]);
		if (!t->tag)
			consider(&best, t->pattern, node->name);
	}
	return best.name;
}

/* The first few names or tags there are, each once. */
static void list_known(const struct bl_fleet *fleet, bool tags, struct bl_buf *out)
{
	BL_AUTO(bl_strv) known = { 0 };
	for (size_t i = 0; i < fleet->n && known.n <= MAX_LISTED; i++) {
		const struct bl_node *node = &fleet->nodes[i];
		if (!tags)
			bl_strv_add(&known, node->name);
		for (size_t k = 0; tags && k < node->tags.n && known.n <= MAX_LISTED; k++)
			if (!bl_strv_has(&known, node->tags.items[k]))
				bl_strv_add(&known, node->tags.items[k]);
	}
	for (size_t i = 0; i < known.n; i++) {
		if (i == MAX_LISTED)
			bl_buf_puts(out, ", ...");
		else
			bl_buf_printf(out, "%s%s%.40s", i ? ", " : "", tags ? "@" : "",
				      known.items[i]);
	}
}

static int matches_nothing(const struct bl_fleet *fleet, const struct term *t,
			   struct bl_err *err)
{
	bl_autofree char *word = bl_visible(t->word);
	const char *near = find_nearest(fleet, t);
	if (near)
		return bl_err_set(err, BL_E_USAGE,
				  "no node matches '%.80s'; did you mean '%s%s%s'?", word,
				  t->away ? "!" : "", t->tag ? "@" : "", near);
	BL_AUTO(bl_buf) known = { 0 };
	list_known(fleet, t->tag, &known);
	if (known.len == 0)
		return bl_err_set(err, BL_E_USAGE, "no node matches '%.80s'; no node has a tag",
				  word);
	return bl_err_set(err, BL_E_USAGE, "no node matches '%.80s'; there are: %s", word,
			  bl_buf_str(&known));
}

/* Marks in @on what @t adds or takes away. */
static int apply(const struct bl_fleet *fleet, const struct term *t, bool *on,
		 struct bl_err *err)
{
	size_t seen = 0;
	size_t taken = 0;
	for (size_t i = 0; i < fleet->n; i++) {
		seen += matches(t, &fleet->nodes[i]);
		if (takes(t, &fleet->nodes[i])) {
			on[i] = !t->away;
			taken++;
		}
	}
	if (seen == 0)
		return matches_nothing(fleet, t, err);
	if (taken > 0)
		return 0;
	bl_autofree char *word = bl_visible(t->word);
	return bl_err_set(err, BL_E_USAGE,
			  "'%.80s' matches only nodes that are not enabled; "
			  "set enable = true or give a node's full name",
			  word);
}

/* @away says which half of the words is looked at. */
static int apply_all(const struct bl_fleet *fleet, const struct bl_strv *parts, bool away,
		     bool *on, struct bl_err *err)
{
	for (size_t i = 0; i < parts->n; i++) {
		struct term t = parse_term(parts->items[i]);
		if (!*t.pattern)
			return bl_err_set(err, BL_E_USAGE,
					  "a name is missing behind '%s'; write %sNAME", t.word,
					  t.word);
		if (t.away == away && apply(fleet, &t, on, err) < 0)
			return -1;
	}
	return 0;
}

static bool adds_none(const struct bl_strv *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		if (parts->items[i][0] != '!')
			return false;
	return true;
}

static int nothing_left(const struct bl_strv *parts, struct bl_err *err)
{
	if (parts->n == 0)
		return bl_err_set(err, BL_E_USAGE,
				  "no node of the fleet is enabled; "
				  "set enable = true or give a node's full name");
	BL_AUTO(bl_buf) words = { 0 };
	for (size_t i = 0; i < parts->n && words.len < 80; i++)
		bl_buf_printf(&words, "%s%s", i ? "," : "", parts->items[i]);
	bl_autofree char *visible = bl_visible(bl_buf_str(&words));
	return bl_err_set(err, BL_E_USAGE, "'%.80s' leaves no node; take less away with '!'",
			  visible);
}

int bl_select(const struct bl_fleet *fleet, const struct bl_strv *words,
	      struct bl_selection *out, struct bl_err *err)
{
	BL_AUTO(bl_strv) parts = { 0 };
	for (size_t i = 0; i < words->n; i++)
		bl_strv_split(&parts, words->items[i], ',');
	/* An empty word (--on "$UNSET") must not mean the whole fleet. */
	if (words->n > 0 && parts.n == 0)
		return bl_err_set(err, BL_E_USAGE,
				  "the selection is empty; leave it out to select "
				  "every enabled node");
	bl_autofree bool *on = bl_xcalloc(fleet->n + 1, sizeof(*on));
	for (size_t i = 0; i < fleet->n; i++)
		on[i] = adds_none(&parts) && fleet->nodes[i].enable;
	if (apply_all(fleet, &parts, false, on, err) < 0 ||
	    apply_all(fleet, &parts, true, on, err) < 0)
		return -1;
	bl_autofree const struct bl_node **nodes = bl_xcalloc(fleet->n + 1, sizeof(void *));
	size_t n = 0;
	for (size_t i = 0; i < fleet->n; i++)
		if (on[i])
			nodes[n++] = &fleet->nodes[i];
	if (n == 0)
		return nothing_left(&parts, err);
	*out = (struct bl_selection){ .nodes = BL_STEAL(nodes), .n = n };
	return 0;
}

void bl_selection_free(struct bl_selection *s)
{
	free(s->nodes);
	*s = (struct bl_selection){ 0 };
}
