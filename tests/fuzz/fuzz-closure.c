/* SPDX-License-Identifier: MIT */
/* What a host says of its system and closure, and the difference to another one. */
#include "copy/survey.h"
#include "store/parts.h"
#include "store/path.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_closure(const struct bl_closure *c)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < c->n; i++) {
		const char *name = bl_store_path_name(c->paths[i].path);
		size_t len = bl_package_name_len(name);
		assert(bl_store_path_ok(c->paths[i].path));
		assert(len <= strlen(name) && (!name[len] || name[len] == '-'));
		sum += c->paths[i].size_bytes;
	}
	assert(sum == c->size_bytes);
}

static void check_versions(const struct bl_strv *v)
{
	for (size_t i = 1; i < v->n; i++)
		assert(strcmp(v->items[i - 1], v->items[i]) < 0);
	bl_autofree char *text = bl_package_versions(v);
	assert(v->n > 0 || !*text);
}

static void check_difference(const struct bl_closure *a, const struct bl_closure *b)
{
	BL_AUTO(bl_closure_diff) d = { 0 };
	BL_AUTO(bl_closure_diff) back = { 0 };
	bl_closure_compare(a, b, &d);
	bl_closure_compare(b, a, &back);
	assert(d.n == back.n && d.rebuilt == back.rebuilt);
	assert(d.n + d.rebuilt <= a->n + b->n);
	for (size_t i = 0; i < d.n; i++) {
		const struct bl_package *p = &d.packages[i];
		assert(p->old.n + p->new.n > 0);
		assert(i == 0 || strcmp(d.packages[i - 1].name, p->name) < 0);
		assert(p->old.n == back.packages[i].new.n &&
		       p->new.n == back.packages[i].old.n);
		check_versions(&p->old);
		check_versions(&p->new);
	}
}

static void check_same(const struct bl_closure *c)
{
	BL_AUTO(bl_closure_diff) d = { 0 };
	bl_closure_compare(c, c, &d);
	assert(d.n == 0 && d.rebuilt == 0);
}

static void check_parts(const struct bl_survey *s)
{
	BL_AUTO(bl_strv) boot = { 0 };
	BL_AUTO(bl_strv) network = { 0 };
	BL_AUTO(bl_strv) back = { 0 };
	bl_boot_parts_changed(&s->booted_parts, &s->new_parts, &boot);
	bl_network_parts_changed(&s->old_parts, &s->new_parts, &network);
	bl_network_parts_changed(&s->new_parts, &s->old_parts, &back);
	assert(network.n == back.n);
	for (size_t i = 0; i < network.n; i++)
		assert(bl_strv_has(&back, network.items[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_survey) s = { 0 };
	struct bl_err err = { 0 };
	bl_autofree char *text = bl_xstrndup((const char *)data, size);
	if (bl_survey_parse(text, &s, &err) < 0) {
		assert(err.code == BL_E_INPUT && *err.msg && !s.system);
		return 0;
	}
	assert(bl_store_path_ok(s.system) && bl_store_path_ok(s.profile));
	for (size_t i = 0; i < s.missing.n; i++)
		assert(bl_store_path_ok(s.missing.items[i]));
	check_closure(&s.old);
	check_closure(&s.new);
	check_difference(&s.old, &s.new);
	check_same(&s.old);
	check_parts(&s);
	return 0;
}
