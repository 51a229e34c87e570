/* SPDX-License-Identifier: MIT */
/*
 * closure small N NAME BUILD, or closure large NAME BUILD with names of files on standard
 * input: writes a closure as `nix-store --import` reads it. Its last path refers to all others,
 * and each of these to some before it, whose hashes are in its bytes. Of the same NAME, another
 * BUILD has other hashes everywhere; where it is large, also other ELF build ids, and of every
 * hundred KiB one that is something else. Build 0 is what the rest are rebuilds of.
 *
 * closure trees: each line of standard input is a store path, the folder that it is made of,
 * and the store paths that it refers to, all of them before it. Nothing is added to the
 * folders.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "store/nar.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_LEN  32
#define HASH_STEP 32768 /* bytes from one store path to the next, behind the first eight */
#define REFS_MAX  12
#define CLUSTER   1024 /* bytes that change together */
#define FILE_MAX  (64U << 20)
#define EXPORTED  0x4558494e

struct path {
	char *text;
	size_t refs[REFS_MAX];
	size_t n_refs;
};

struct closure {
	const char *name;
	uint64_t build;
	struct path *paths;
	size_t n;
	struct bl_buf nar, before; /* of this path, and what the one before had */
	size_t changed;            /* bytes since the last cluster */
};

static uint64_t state;

static uint64_t draw(void) /* splitmix64 */
{
	uint64_t z = (state += 0x9e3779b97f4a7c15U);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static void begin_drawing(const char *name, uint64_t build, uint64_t number)
{
	state = build << 32 ^ number;
	for (; *name; name++)
		state = (state ^ (unsigned char)*name) * 0x100000001b3U;
	draw();
}

/* ---- numbers, texts, archives */

static void put_number(struct bl_buf *b, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		bl_buf_putc(b, (char)(v >> 8 * i));
}

static void put_blob(struct bl_buf *b, const void *data, size_t len)
{
	put_number(b, len);
	bl_buf_append(b, data, len);
	bl_buf_append(b, "\0\0\0\0\0\0\0", (8 - len % 8) % 8);
}

static void put_words(struct bl_buf *b, const char *words)
{
	BL_AUTO(bl_strv) list = { 0 };
	bl_strv_split(&list, words, ' ');
	for (size_t i = 0; i < list.n; i++)
		put_blob(b, list.items[i], strlen(list.items[i]));
}

static void put_out(struct bl_buf *b)
{
	fwrite(b->data, 1, b->len, stdout);
	bl_buf_clear(b);
}

/* ---- paths */

static struct path *add_path(struct closure *c, const char *what)
{
	static const char alphabet[] = "0123456789abcdfghijklmnpqrsvwxyz";
	char hash[HASH_LEN + 1] = "";
	begin_drawing(c->name, c->build + 1, c->n);
	for (size_t i = 0; i < HASH_LEN; i++)
		hash[i] = alphabet[draw() & 31];
	c->paths = bl_xrealloc(c->paths, c->n + 1, sizeof(*c->paths));
	struct path *p = &c->paths[c->n++];
	*p = (struct path){ .text = bl_xprintf("/nix/store/%s-%s-%s-1.0", hash, c->name,
					       what) };
	/* what follows is the same in every build */
	begin_drawing(c->name, 0, c->n);
	return p;
}

static const char *refer(const struct closure *c, struct path *p, size_t to)
{
	size_t i = 0;
	while (i < p->n_refs && p->refs[i] != to)
		i++;
	if (i == p->n_refs)
		p->refs[p->n_refs++] = to;
	return c->paths[to].text;
}

/* The archive is made: what Nix is to know of it. */
static void end_path(struct closure *c, const struct path *p, bool top)
{
	struct bl_buf *b = &c->nar;
	put_number(b, EXPORTED);
	put_blob(b, p->text, strlen(p->text));
	put_number(b, top ? c->n - 1 : p->n_refs);
	for (size_t i = 0; i < (top ? c->n - 1 : p->n_refs); i++) {
		const char *ref = c->paths[top ? i : p->refs[i]].text;
		put_blob(b, ref, strlen(ref));
	}
	put_blob(b, "", 0); /* no deriver */
	put_number(b, 0);
	put_out(b);
}

static void begin_path(struct closure *c)
{
	put_number(&c->nar, 1);
}

static void end_closure(struct closure *c)
{
	BL_AUTO(bl_buf) text = { 0 };
	struct path *p = add_path(c, "all");
	begin_path(c);
	for (size_t i = 0; i + 1 < c->n; i++)
		bl_buf_printf(&text, "%s\n", c->paths[i].text);
	put_words(&c->nar, "nix-archive-1 ( type regular contents");
	put_blob(&c->nar, bl_buf_str(&text), text.len);
	put_words(&c->nar, ")");
	end_path(c, p, true);
	put_number(&c->nar, 0);
	put_out(&c->nar);
}

/* ---- small ones: scripts that name others */

static void put_line(struct bl_buf *text)
{
	for (size_t i = 0, n = 3 + draw() % 8; i < n; i++) {
		for (size_t k = 0, len = 2 + draw() % 7; k < len; k++)
			bl_buf_putc(text, (char)('a' + draw() % 26));
		bl_buf_putc(text, i + 1 < n ? ' ' : '\n');
	}
}

static void small(struct closure *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		BL_AUTO(bl_buf) text = { 0 };
		bl_autofree char *what = bl_xprintf("unit%04zu", i);
		struct path *p = add_path(c, what);
		for (size_t line = 0, lines = 15 + draw() % 40; line < lines; line++) {
			put_line(&text);
			if (i > 0 && line % 4 == 0)
				bl_buf_printf(&text, "exec %s/bin/run\n",
					      refer(c, p, (i * 7 + line % 12) % i));
		}
		begin_path(c);
		put_words(&c->nar, "nix-archive-1 ( type regular contents");
		put_blob(&c->nar, bl_buf_str(&text), text.len);
		put_words(&c->nar, ")");
		end_path(c, p, false);
	}
}

/* ---- large ones: this machine's own programs and libraries */

/* Store paths in @file, as in a run path: some together, then one now and then. */
static void put_hashes(const struct closure *c, struct path *p, char *file, size_t len)
{
	if (c->n < 2)
		return;
	size_t from = c->n * 7;
	for (size_t at = 2048, i = 0; at + 128 < len; at += i < 8 ? 128 : HASH_STEP, i++) {
		const char *ref = refer(c, p, (from + i % REFS_MAX * 37) % (c->n - 1));
		memcpy(file + at, ref, strlen(ref));
	}
}

/* The notes of ELF that hold a build id: 20 bytes behind this. */
static void change_build_ids(char *p, size_t len)
{
	static const char note[] = "\4\0\0\0\x14\0\0\0\3\0\0\0GNU";
	char *end = p + len;
	while ((p = memmem(p, (size_t)(end - p), note, sizeof(note))) != NULL) {
		p += sizeof(note);
		for (size_t i = 0; i < 20 && p < end; i++)
			*p++ = (char)draw();
	}
}

/* One KiB of a hundred becomes what another program has there. */
static void change_clusters(struct closure *c, char *file, size_t len)
{
	size_t at = (size_t)100 * CLUSTER - c->changed;
	for (; at + CLUSTER < len; at += (size_t)100 * CLUSTER)
		if (c->before.len > CLUSTER)
			memcpy(file + at, c->before.data + draw() % (c->before.len - CLUSTER),
			       CLUSTER);
	c->changed = (c->changed + len) % ((size_t)100 * CLUSTER);
}

static size_t put_file(struct closure *c, struct path *p, const char *from, struct bl_buf *now)
{
	struct bl_err err = { 0 };
	bl_autofree char *data = NULL;
	size_t len = 0;
	if (bl_read_file_at(AT_FDCWD, from, FILE_MAX, &data, &len, &err) < 0) {
		fprintf(stderr, "closure: %s: %s\n", from, err.msg);
		exit(1);
	}
	bl_buf_append(now, data, len);
	put_hashes(c, p, data, len);
	if (c->build > 0) {
		uint64_t kept = state;
		state ^= c->build << 48;
		change_build_ids(data, len);
		change_clusters(c, data, len);
		state = kept;
	}
	put_blob(&c->nar, data, len);
	return len;
}

static void large(struct closure *c)
{
	char from[4096];
	bool more = fgets(from, sizeof(from), stdin) != NULL;
	while (more) {
		BL_AUTO(bl_buf) now = { 0 };
		bl_autofree char *what = bl_xprintf("program%03zu", c->n);
		struct path *p = add_path(c, what);
		begin_path(c);
		put_words(&c->nar, "nix-archive-1 ( type directory");
		size_t want = 40000 + draw() % 600000;
		for (size_t i = 0, done = 0; more && done < want; i++) {
			bl_autofree char *name = bl_xprintf("file%03zu", i);
			from[strcspn(from, "\n")] = '\0';
			put_words(&c->nar, "entry ( name");
			put_blob(&c->nar, name, strlen(name));
			put_words(&c->nar, "node ( type regular contents");
			done += put_file(c, p, from, &now);
			put_words(&c->nar, ") )");
			more = fgets(from, sizeof(from), stdin) != NULL;
		}
		put_words(&c->nar, ")");
		end_path(c, p, false);
		bl_buf_free(&c->before);
		c->before = now;
		now = (struct bl_buf){ 0 };
	}
}

/* ---- folders as they are */

static int put_part(void *ctx, const void *data, size_t len, struct bl_err *err)
{
	(void)err;
	fwrite(data, 1, len, ctx);
	return 0;
}

static void tree(const struct bl_strv *words)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	if (words->n < 2) {
		fputs("closure: a line has no folder\n", stderr);
		exit(1);
	}
	put_number(&b, 1);
	put_out(&b);
	if (bl_nar_dump(words->items[1], put_part, stdout, &err) < 0) {
		fprintf(stderr, "closure: %s: %s\n", words->items[1], err.msg);
		exit(1);
	}
	put_number(&b, EXPORTED);
	put_blob(&b, words->items[0], strlen(words->items[0]));
	put_number(&b, words->n - 2);
	for (size_t i = 2; i < words->n; i++)
		put_blob(&b, words->items[i], strlen(words->items[i]));
	put_blob(&b, "", 0); /* no deriver */
	put_number(&b, 0);
	put_out(&b);
}

static int trees(void)
{
	bl_autofree char *line = NULL;
	BL_AUTO(bl_buf) b = { 0 };
	size_t cap = 0;
	while (getline(&line, &cap, stdin) > 0) {
		BL_AUTO(bl_strv) words = { 0 };
		line[strcspn(line, "\n")] = '\0';
		bl_strv_split(&words, line, ' ');
		tree(&words);
	}
	put_number(&b, 0);
	put_out(&b);
	return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct closure c = { 0 };
	if (argc == 2 && strcmp(argv[1], "trees") == 0)
		return trees();
	if (argc == 5 && strcmp(argv[1], "small") == 0) {
		c.name = argv[3];
		c.build = strtoull(argv[4], NULL, 10);
		small(&c, strtoull(argv[2], NULL, 10));
	} else if (argc == 4 && strcmp(argv[1], "large") == 0) {
		c.name = argv[2];
		c.build = strtoull(argv[3], NULL, 10);
		large(&c);
	} else {
		fputs("usage: closure small N NAME BUILD | closure large NAME BUILD | closure trees\n",
		      stderr);
		return 1;
	}
	end_closure(&c);
	for (size_t i = 0; i < c.n; i++)
		free(c.paths[i].text);
	free(c.paths);
	bl_buf_free(&c.nar);
	bl_buf_free(&c.before);
	return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}
