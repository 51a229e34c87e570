/* SPDX-License-Identifier: MIT */
/*
 * What a rebuild costs on the wire and in time. Standard input names files; several at a time
 * become a NAR that has store hashes in it, and the same once more as a rebuild makes it: every
 * hash and every ELF build id is another one, and every hundredth byte in clusters of 1 KiB,
 * which hold what another program has there. Then 2,000 small paths of which the hashes alone
 * change. Each encoded frame is decoded and compared. Prints one line for each way.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "delta/decode.h"
#include "delta/encode.h"
#include "delta/rewrite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HASHES    2000
#define HASH_STEP 32768 /* bytes from one store path to the next */
#define CLUSTER   1024  /* bytes that change together */
#define FILE_MAX  (64U << 20)

static struct bl_hash_pair pairs[HASHES];
static struct bl_rewrites *rewrites;
static uint64_t seed = 20261126;

static uint64_t draw(void) /* splitmix64 */
{
	uint64_t z = (seed += 0x9e3779b97f4a7c15U);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static void die(const struct bl_err *err)
{
	fprintf(stderr, "delta: %s\n", err->msg);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_pairs(void)
{
	static const char alphabet[] = "0123456789abcdfghijklmnpqrsvwxyz";
	struct bl_err err = { 0 };
	for (size_t i = 0; i < HASHES; i++)
		for (size_t k = 0; k < BL_STORE_HASH_LEN; k++) {
			pairs[i].old[k] = alphabet[draw() & 31];
			pairs[i].new[k] = alphabet[draw() & 31];
		}
	if (bl_rewrites_new(pairs, HASHES, &rewrites, &err) < 0)
		die(&err);
}

/* One way of sending, summed up. */
struct way {
	const char *name;
	uint64_t in, out, frames;
	double encode_s, decode_s;
};

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static int encode(struct bl_encoder *e, const struct bl_delta_head *h, int level,
		  const uint8_t *base, const uint8_t *new, struct bl_buf *out,
		  struct bl_err *err)
{
	struct bl_sink sink = { append, out };
	if (bl_encoder_begin(e, h, level, base, &sink, err) < 0)
		return -1;
	for (size_t at = 0, n = 0; at < h->size_bytes; at += n) {
		n = h->size_bytes - at < 65536 ? (size_t)h->size_bytes - at : 65536;
		if (bl_encoder_feed(e, new + at, n, err) < 0)
			return -1;
	}
	return bl_encoder_end(e, err);
}

struct comparison {
	const uint8_t *want;
	uint64_t len;
};

static int compare(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	struct comparison *c = arg;
	if (len > c->len || memcmp(c->want, data, len) != 0)
		return bl_err_set(err, BL_E_FAILED, "something else came out");
	c->want += len;
	c->len -= len;
	return 0;
}

static int decode(const struct bl_delta_head *h, const uint8_t *base,
		  const struct bl_buf *content, const uint8_t *want, struct bl_err *err)
{
	struct comparison c = { want, h->size_bytes };
	struct bl_sink sink = { compare, &c };
	bl_auto_decoder struct bl_decoder *d = bl_decoder_new(BL_DELTA_BOUND);
	if (bl_decoder_begin(d, h, base, &sink, err) < 0 ||
	    bl_decoder_feed(d, content->data, content->len, err) < 0)
		return -1;
	return bl_decoder_end(d, err);
}

static void frame(struct way *w, struct bl_encoder *e, const struct bl_delta_head *h, int level,
		  const uint8_t *base, const uint8_t *new)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_buf) content = { 0 };
	double start = seconds();
	if (encode(e, h, level, base, new, &content, &err) < 0)
		die(&err);
	double middle = seconds();
	if (decode(h, base, &content, new, &err) < 0)
		die(&err);
	w->encode_s += middle - start;
	w->decode_s += seconds() - middle;
	w->in += h->size_bytes;
	w->out += content.len + BL_DELTA_HEAD_LEN;
	w->frames++;
}

static void print(const struct way *w, const struct way *plain)
{
	double mb = (double)w->in / 1e6;
	printf("| %s | %llu | %.3f %% | %.4f | %.0f | %.0f |\n", w->name,
	       (unsigned long long)w->out, 100 * (double)w->out / (double)w->in,
	       (double)w->out / (double)plain->out, mb / (w->encode_s + 1e-9),
	       mb / (w->decode_s + 1e-9));
}

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

/* Store paths in @file, as in a run path: some together, then one now and then. */
static void put_hashes(char *file, size_t len)
{
	size_t from = draw() % HASHES;
	for (size_t at = 2048, i = 0; at + 64 < len; at += i < 8 ? 64 : HASH_STEP, i++) {
		size_t k = (from + i % 12 * 37) % HASHES;
		memcpy(file + at, "/nix/store/", 11);
		memcpy(file + at + 11, pairs[k].old, BL_STORE_HASH_LEN);
		memcpy(file + at + 43, "-package-1.2.3/lib:", 19);
	}
}

static void put_file(struct bl_buf *nar, char *data, size_t len, size_t number)
{
	bl_autofree char *name = bl_xprintf("file%03zu", number);
	put_hashes(data, len);
	put_words(nar, "entry ( name");
	put_blob(nar, name, strlen(name));
	put_words(nar, "node ( type regular contents");
	put_blob(nar, data, len);
	put_words(nar, ") )");
}

/* The next NAR of at least @want bytes; false when there are no files left. */
static bool next_nar(struct bl_buf *nar, size_t want)
{
	char path[4096];
	size_t n = 0;
	bl_buf_clear(nar);
	put_words(nar, "nix-archive-1 ( type directory");
	while (nar->len < want && fgets(path, sizeof(path), stdin)) {
		struct bl_err err = { 0 };
		bl_autofree char *text = NULL;
		size_t len = 0;
		path[strcspn(path, "\n")] = '\0';
		if (bl_read_file_at(AT_FDCWD, path, FILE_MAX, &text, &len, &err) < 0)
			fprintf(stderr, "delta: %s: %s\n", path, err.msg);
		else
			put_file(nar, text, len, n++);
	}
	put_words(nar, ")");
	return n > 0;
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

static void rebuild(const struct bl_buf *old, const struct bl_buf *other, struct bl_buf *new)
{
	bl_buf_clear(new);
	bl_buf_append(new, old->data, old->len);
	change_build_ids(new->data, new->len);
	for (size_t at = 30000; other->len > CLUSTER && at + CLUSTER < new->len;
	     at += (size_t)100 * CLUSTER)
		memcpy(new->data + at, other->data + draw() % (other->len - CLUSTER), CLUSTER);
	bl_rewrite_all(rewrites, (uint8_t *)new->data, new->len);
}

static int drop(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)data;
	(void)err;
	*(uint64_t *)arg += len;
	return 0;
}

/* Rewrites @base as the two ends do: in chunks as they are read. */
static void rewrite(struct way *w, struct bl_buf *base)
{
	struct bl_err err = { 0 };
	struct bl_rewrite r = { .list = rewrites };
	BL_AUTO(bl_buf) copy = { 0 };
	struct bl_sink sink = { drop, &w->out };
	bl_buf_append(&copy, base->data, base->len);
	double start = seconds();
	for (size_t at = 0, n = 0; at < copy.len; at += n) {
		n = copy.len - at < 65536 ? copy.len - at : 65536;
		if (bl_rewrite_feed(&r, (uint8_t *)copy.data + at, n, &sink, &err) < 0)
			die(&err);
	}
	double middle = seconds();
	bl_rewrite_all(rewrites, (uint8_t *)base->data, base->len);
	w->encode_s += middle - start;
	w->decode_s += seconds() - middle;
	w->in += base->len;
}

enum { RAW, PLAIN1, PLAIN, PLAIN10, OLD, PATCH, SLICED, COPY, NWAYS };

static void slices(struct way *w, struct bl_encoder *e, const struct bl_buf *base,
		   const struct bl_buf *new, uint64_t bound)
{
	uint64_t n = bl_delta_slices(new->len, base->len, bound);
	const uint8_t *at = (uint8_t *)new->data;
	for (uint64_t i = 0; i < n; i++) {
		struct bl_delta_head h;
		bl_delta_slice(new->len, base->len, bound, i, &h);
		frame(w, e, &h, 3, (uint8_t *)base->data + h.base_at, at);
		at += h.size_bytes;
	}
}

static void one_nar(struct way *ways, struct way *rewriting, struct bl_encoder *e,
		    struct bl_buf *base, const struct bl_buf *new, bool all)
{
	const uint8_t *b = (uint8_t *)base->data;
	const uint8_t *n = (uint8_t *)new->data;
	struct bl_delta_head raw = { BL_DELTA_RAW, new->len, 0, 0 };
	struct bl_delta_head plain = { BL_DELTA_ZSTD, new->len, 0, 0 };
	struct bl_delta_head patch = { BL_DELTA_PATCH, new->len, 0, base->len };
	struct bl_delta_head copy = { BL_DELTA_COPY, base->len, 0, base->len };
	frame(&ways[RAW], e, &raw, 0, NULL, n);
	frame(&ways[PLAIN1], e, &plain, 1, NULL, n);
	frame(&ways[PLAIN], e, &plain, 3, NULL, n);
	frame(&ways[OLD], e, &patch, 3, b, n);
	rewrite(rewriting, base);
	frame(&ways[PATCH], e, &patch, 3, b, n);
	slices(&ways[SLICED], e, base, new, 2U << 20);
	frame(&ways[COPY], e, &copy, 0, b, b);
	if (!all)
		return;
	frame(&ways[PLAIN10], e, &plain, 10, NULL, n);
}

static void head(const char *what, size_t n, uint64_t bytes)
{
	printf("\n%zu %s, %llu bytes of NAR:\n\n", n, what, (unsigned long long)bytes);
	printf("| way | bytes | of the NAR | to zstd -3 | encode, MB/s | decode, MB/s |\n");
	printf("| --- | ---: | ---: | ---: | ---: | ---: |\n");
}

static void large(struct bl_encoder *e, bool all)
{
	struct way ways[NWAYS] = { { .name = "raw" },
				   { .name = "zstd -1" },
				   { .name = "zstd -3" },
				   { .name = "zstd -10" },
				   { .name = "patch, hashes as they were" },
				   { .name = "patch" },
				   { .name = "patch, in slices within 2 MiB" },
				   { .name = "copy (of the base)" } };
	struct way rewriting = { .name = "" };
	BL_AUTO(bl_buf) other = { 0 };
	BL_AUTO(bl_buf) old = { 0 };
	BL_AUTO(bl_buf) new = { 0 };
	size_t n = 0;
	while (next_nar(&old, 100000 + draw() % 1500000)) {
		BL_AUTO(bl_buf) keep = { 0 };
		bl_buf_append(&keep, old.data, old.len);
		rebuild(&old, &other, &new);
		one_nar(ways, &rewriting, e, &old, &new, all);
		bl_buf_free(&other);
		other = keep;
		keep = (struct bl_buf){ 0 };
		n++;
	}
	head("rebuilt programs", n, ways[RAW].in);
	for (size_t i = 0; i < NWAYS; i++)
		if (ways[i].frames > 0)
			print(&ways[i], &ways[PLAIN]);
	printf("\nRewriting: %.0f MB/s in chunks of 64 KiB, %.0f MB/s at once.\n",
	       (double)rewriting.in / 1e6 / (rewriting.encode_s + 1e-9),
	       (double)rewriting.in / 1e6 / (rewriting.decode_s + 1e-9));
}

/* A small path: a script or a unit that names others. */
static void small_nar(struct bl_buf *nar)
{
	static const char *const words[] = {
		"export",    "PATH=",  "ExecStart=", "Environment=", "exec",
		"[Service]", "After=", "if",         "then",         "fi"
	};
	BL_AUTO(bl_buf) text = { 0 };
	size_t lines = 15 + draw() % 40;
	for (size_t i = 0; i < lines; i++) {
		uint64_t r = draw();
		bl_buf_printf(&text, "%s %llx ", words[r % BL_COUNT(words)],
			      (unsigned long long)(r >> 40));
		if (i % 2 == 0)
			bl_buf_printf(&text, "/nix/store/%.32s-package-%llu/bin",
				      pairs[draw() % HASHES].old,
				      (unsigned long long)(r >> 10 & 63));
		bl_buf_putc(&text, '\n');
	}
	put_words(nar, "nix-archive-1 ( type regular contents");
	put_blob(nar, text.data, text.len);
	put_words(nar, ")");
}

static void small(struct bl_encoder *e)
{
	struct way ways[] = { { .name = "zstd -3, each" },
			      { .name = "zstd -3, solid" },
			      { .name = "patch, each" },
			      { .name = "patch, solid" } };
	BL_AUTO(bl_buf) all = { 0 };
	uint64_t sizes[2000];
	for (size_t i = 0; i < BL_COUNT(sizes); i++) {
		size_t before = all.len;
		small_nar(&all);
		sizes[i] = all.len - before;
	}
	/* the base rewritten is the new one: nothing else has changed */
	bl_rewrite_all(rewrites, (uint8_t *)all.data, all.len);
	const uint8_t *p = (uint8_t *)all.data;
	for (size_t i = 0; i < BL_COUNT(sizes); p += sizes[i++]) {
		struct bl_delta_head plain = { BL_DELTA_ZSTD, sizes[i], 0, 0 };
		struct bl_delta_head patch = { BL_DELTA_PATCH, sizes[i], 0, sizes[i] };
		frame(&ways[0], e, &plain, 3, NULL, p);
		frame(&ways[2], e, &patch, 3, p, p);
	}
	p = (uint8_t *)all.data;
	for (size_t i = 0, n = 0; i < BL_COUNT(sizes); i += n) {
		uint64_t len = 0;
		n = bl_delta_solid_fit(sizes + i, BL_COUNT(sizes) - i);
		for (size_t k = i; k < i + n; k++)
			len += sizes[k];
		struct bl_delta_head plain = { BL_DELTA_ZSTD, len, 0, 0 };
		struct bl_delta_head patch = { BL_DELTA_PATCH, len, 0, len };
		frame(&ways[1], e, &plain, 3, NULL, p);
		frame(&ways[3], e, &patch, 3, p, p);
		p += len;
	}
	head("small paths, new hashes alone", BL_COUNT(sizes), all.len);
	for (size_t i = 0; i < BL_COUNT(ways); i++)
		print(&ways[i], &ways[0]);
}

int main(int argc, char **argv)
{
	bl_auto_encoder struct bl_encoder *e = bl_encoder_new();
	make_pairs();
	large(e, argc > 1 && strcmp(argv[1], "--level-10") == 0);
	small(e);
	bl_rewrites_free(rewrites);
	return 0;
}
