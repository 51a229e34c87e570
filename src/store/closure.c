/* SPDX-License-Identifier: MIT */
#include "store/closure.h"

#include "store/path.h"

#include <stdlib.h>
#include <string.h>

/* No NAR is larger, and the sum of as many as fit into memory is a number. */
#define SIZE_MAX_BYTES (1ULL << 44)

static int add(struct bl_closure *c, const char *path, const char *size, struct bl_err *err)
{
	uint64_t bytes = 0;
	if (bl_store_path_check(path, "a closure", err) < 0)
		return -1;
	if (bl_parse_u64(size, 0, SIZE_MAX_BYTES, &bytes, err) < 0) {
		err->code = BL_E_INPUT;
		return bl_err_wrap(err, "size of %s", bl_store_path_name(path));
	}
	c->paths[c->n++] = (struct bl_closure_path){ bl_xstrdup(path), bytes };
	c->size_bytes += bytes;
	return 0;
}

int bl_closure_join(const struct bl_strv *paths, const struct bl_strv *sizes,
		    struct bl_closure *out, struct bl_err *err)
{
	BL_AUTO(bl_closure) c = { 0 };
	struct bl_err why = { 0 };
	if (paths->n != sizes->n)
		return bl_err_set(err, BL_E_INPUT, "a closure of %zu paths has %zu sizes",
				  paths->n, sizes->n);
	c.paths = bl_xcalloc(paths->n + 1, sizeof(*c.paths));
	for (size_t i = 0; i < paths->n; i++)
		if (add(&c, paths->items[i], sizes->items[i], &why) < 0)
			return bl_err_set(err, BL_E_INPUT, "%s", why.msg);
	*out = c;
	c = (struct bl_closure){ 0 };
	return 0;
}

int bl_closure_read(const char *paths, const char *sizes, struct bl_closure *out,
		    struct bl_err *err)
{
	BL_AUTO(bl_strv) p = { 0 };
	BL_AUTO(bl_strv) s = { 0 };
	bl_strv_split(&p, paths, '\n');
	bl_strv_split(&s, sizes, '\n');
	return bl_closure_join(&p, &s, out, err);
}

void bl_closure_free(struct bl_closure *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->paths[i].path);
	free(c->paths);
	*c = (struct bl_closure){ 0 };
}

size_t bl_package_name_len(const char *name)
{
	for (size_t i = 0; name[i]; i++)
		if (name[i] == '-' && name[i + 1] && !bl_is_alpha(name[i + 1]))
			return i;
	return strlen(name);
}

size_t bl_package_version_len(const char *version)
{
	static const char *const outputs[] = { "-bin",  "-debug", "-dev", "-devdoc", "-doc",
					       "-info", "-lib",   "-man", "-static" };
	for (size_t i = 0; i < BL_COUNT(outputs); i++)
		if (bl_ends_with(version, outputs[i]))
			return strlen(version) - strlen(outputs[i]);
	return strlen(version);
}

/* One path of one of the closures; the text is the closure's. */
struct entry {
	const char *path, *name, *version;
	size_t name_len, version_len;
	bool new;
};

static size_t put_entries(const struct bl_closure *c, bool new, struct entry *out)
{
	for (size_t i = 0; i < c->n; i++) {
		struct entry *e = &out[i];
		*e = (struct entry){ .path = c->paths[i].path, .new = new };
		e->name = bl_store_path_name(e->path);
		e->name_len = bl_package_name_len(e->name);
		e->version = e->name + e->name_len + (e->name[e->name_len] == '-');
		e->version_len = bl_package_version_len(e->version);
	}
	return c->n;
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return c ? c : (a_len > b_len) - (a_len < b_len);
}

/* By package, within it the old ones first, by version. */
static int by_package(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	int c = compare_text(x->name, x->name_len, y->name, y->name_len);
	if (c == 0)
		c = (int)x->new - (int)y->new;
	if (c == 0)
		c = compare_text(x->version, x->version_len, y->version, y->version_len);
	return c ? c : strcmp(x->path, y->path);
}

/* Each once; what has versions has them alone. */
static void put_versions(const struct entry *e, size_t n, struct bl_strv *out)
{
	for (size_t i = 0; i < n; i++) {
		bl_autofree char *version = bl_xstrndup(e[i].version, e[i].version_len);
		if (*version && !(out->n && strcmp(out->items[out->n - 1], version) == 0))
			bl_strv_add(out, version);
	}
	if (n > 0 && out->n == 0)
		bl_strv_add(out, "");
}

static bool same_versions(const struct bl_strv *a, const struct bl_strv *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(a->items[i], b->items[i]) == 0;
	return same;
}

static bool same_paths(const struct entry *e, size_t n_old, size_t n)
{
	bool same = n == 2 * n_old;
	for (size_t i = 0; same && i < n_old; i++)
		same = strcmp(e[i].path, e[n_old + i].path) == 0;
	return same;
}

static void package_free(struct bl_package *p)
{
	free(p->name);
	bl_strv_free(&p->old);
	bl_strv_free(&p->new);
}

/* All entries of one package. */
static void compare_package(const struct entry *e, size_t n, struct bl_closure_diff *out)
{
	struct bl_package p = { .name = bl_xstrndup(e->name, e->name_len) };
	size_t n_old = 0;
	while (n_old < n && !e[n_old].new)
		n_old++;
	put_versions(e, n_old, &p.old);
	put_versions(e + n_old, n - n_old, &p.new);
	if (same_versions(&p.old, &p.new)) {
		out->rebuilt += !same_paths(e, n_old, n);
		package_free(&p);
		return;
	}
	out->packages = bl_xrealloc(out->packages, out->n + 1, sizeof(*out->packages));
	out->packages[out->n++] = p;
}

void bl_closure_compare(const struct bl_closure *old, const struct bl_closure *new,
			struct bl_closure_diff *out)
{
	bl_autofree struct entry *e = bl_xcalloc(old->n + new->n + 1, sizeof(*e));
	size_t n = put_entries(old, false, e);
	n += put_entries(new, true, e + n);
	*out = (struct bl_closure_diff){ 0 };
	qsort(e, n, sizeof(*e), by_package);
	for (size_t i = 0, k = 0; i < n; i = k) {
		while (k < n &&
		       compare_text(e[i].name, e[i].name_len, e[k].name, e[k].name_len) == 0)
			k++;
		compare_package(e + i, k - i, out);
	}
}

void bl_closure_diff_free(struct bl_closure_diff *d)
{
	for (size_t i = 0; i < d->n; i++)
		package_free(&d->packages[i]);
	free(d->packages);
	*d = (struct bl_closure_diff){ 0 };
}

char *bl_package_versions(const struct bl_strv *versions)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; i < versions->n; i++)
		bl_buf_printf(&b, "%s%s", i ? ", " : "", versions->items[i]);
	return bl_buf_steal(&b);
}
