/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "delta/pair.h"

#define MOST 16

struct list {
	struct bl_pair_path paths[MOST];
	char text[MOST][256];
	uint32_t refs[MOST][MOST];
	size_t n;
};

/* The hash is @first and the place. */
static void add(struct list *l, unsigned first, const char *name, uint64_t size, bool missing)
{
	size_t i = l->n++;
	snprintf(l->text[i], sizeof(l->text[i]), "/nix/store/%032u-%s", first + (unsigned)i,
		 name);
	l->paths[i] = (struct bl_pair_path){
		.path = l->text[i], .size_bytes = size, .refs = l->refs[i], .missing = missing
	};
}

static void refer(struct list *l, size_t from, uint32_t to)
{
	l->refs[from][l->paths[from].n_refs++] = to;
}

#define NEW 200U
#define OLD 100U

/* "0>1 2>" the bases of the new paths, then ";" and the pairs as "100=201". */
static void check(const struct list *new, const struct list *old, const char *want)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_pairing) p = { 0 };
	BL_AUTO(bl_buf) b = { 0 };
	assert_works(bl_pair(new->paths, new->n, old->paths, old->n, &p, &err), &err);
	for (size_t i = 0; i < new->n; i++)
		if (p.bases[i] != BL_NO_BASE)
			bl_buf_printf(&b, "%zu>%u ", i, p.bases[i]);
	bl_buf_puts(&b, ";");
	for (size_t i = 0; i < p.n_pairs; i++)
		bl_buf_printf(&b, " %.3s=%.3s", p.pairs[i].old + 29, p.pairs[i].new + 29);
	assert_string_equal(bl_buf_str(&b), want);
}

static void an_equal_name_wins_then_the_same_package_and_output(void **state)
{
	(void)state;
	struct list new = { 0 };
	struct list old = { 0 };
	add(&old, OLD, "gcc-12.2.0-lib", 0, false);
	add(&old, OLD, "gcc-12.2.0", 0, false);
	add(&old, OLD, "gcc-13.1.0", 0, false);
	add(&old, OLD, "gcc-wrapper-12.2.0", 0, false);
	add(&old, OLD, "unit-sshd.service", 0, false);
	add(&new, NEW, "gcc-13.1.0", 0, true);
	add(&new, NEW, "gcc-13.2.0", 0, true);
	add(&new, NEW, "gcc-13.2.0-lib", 0, true);
	add(&new, NEW, "gcc-13.2.0-man", 0, true);
	add(&new, NEW, "unit-sshd.service", 0, true);
	add(&new, NEW, "unit-ssh.service", 0, true);
	add(&new, NEW, "gcc-wrapper-13.1.0", 0, false);
	check(&new, &old, "0>2 1>1 2>0 4>4 ; 100=202 101=201 102=200 104=204");
}

static void of_several_the_most_similar_size_wins_then_the_newest(void **state)
{
	(void)state;
	struct list new = { 0 };
	struct list old = { 0 };
	static const uint64_t sizes[] = { 100, 300, 500, 100, 500, 300 };
	for (size_t i = 0; i < BL_COUNT(sizes); i++)
		add(&old, OLD, i < 3 ? "a-1" : "a-2", sizes[i], false);
	add(&new, NEW, "a-3", 90, true);
	add(&new, NEW, "a-3", 399, true);
	add(&new, NEW, "a-3", 400, true); /* as far from 300 as from 500 */
	add(&new, NEW, "a-3", 1000, true);
	add(&new, NEW, "a-2", 290, true);
	add(&new, NEW, "a-2", 450, true);
	add(&new, NEW, "b-2", 450, true);
	check(&new, &old, "0>0 1>1 2>1 3>2 4>5 5>4 ; 100=200 101=201 102=203 104=205 105=204");
	/* one size that is not known: the newest */
	old.paths[5].size_bytes = 0;
	check(&new, &old, "0>0 1>0 2>0 3>0 4>3 5>3 ; 100=200 103=204");
}

static void a_hash_that_stays_is_not_rewritten_though_its_path_is_a_base(void **state)
{
	(void)state;
	struct list new = { 0 };
	struct list old = { 0 };
	add(&old, OLD, "a-1", 0, false);
	add(&new, OLD, "a-1", 0, false);
	add(&new, NEW, "a-2", 0, true);
	check(&new, &old, "1>0 ;");
}

static void references_of_a_base_become_those_of_what_it_becomes(void **state)
{
	(void)state;
	struct list new = { 0 };
	struct list old = { 0 };
	add(&old, OLD, "a-1", 0, false);
	add(&old, OLD, "glibc-2.35", 0, false);
	add(&old, OLD, "gone-1", 0, false);
	add(&old, OLD, "openssl-3.0", 0, false); /* nobody's reference */
	add(&old, OLD, "zlib-1", 0, false);
	for (uint32_t i = 0; i < 5; i++)
		if (i != 3)
			refer(&old, 0, i);
	add(&new, NEW, "a-2", 0, true);
	add(&new, NEW, "glibc-2.36", 0, false); /* there already, in another generation */
	add(&new, NEW, "openssl-3.1", 0, false);
	add(&new, NEW, "zlib-2", 0, false); /* but not of a-2 */
	for (uint32_t i = 0; i < 3; i++)
		refer(&new, 0, i);
	check(&new, &old, "0>0 ; 100=200 101=201");
}

static void of_two_new_paths_with_one_base_the_one_of_its_name_gives_the_hash(void **state)
{
	(void)state;
	struct list new = { 0 };
	struct list old = { 0 };
	add(&old, OLD, "python3-3.11", 0, false);
	add(&new, NEW, "python3-3.10", 0, true);
	add(&new, NEW, "python3-3.11", 0, true);
	check(&new, &old, "0>0 1>0 ; 100=201");
}

static void what_is_no_closure_is_refused(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	struct bl_pairing p = { 0 };
	struct list l = { 0 };
	add(&l, NEW, "a-1", 0, true);
	add(&l, NEW - 1, "a-2", 0, true);
	assert_fails(bl_pair(l.paths, 2, NULL, 0, &p, &err), &err, BL_E_INPUT,
		     "hash 00000000000000000000000000000200 is of two new paths");
	refer(&l, 0, 1);
	assert_fails(bl_pair(NULL, 0, l.paths, 1, &p, &err), &err, BL_E_INPUT,
		     "old paths: a-1 refers to path 1 of 1");
	l.paths[0].path = "/nix/store/a";
	assert_fails(bl_pair(l.paths, 1, NULL, 0, &p, &err), &err, BL_E_INPUT,
		     "new closure: '/nix/store/a' is not a path of the Nix store");
	assert_null(p.bases);
}

/* Twenty thousand paths of one package, each with ten references, in the blink of an eye. */
static void many_paths_of_one_package_take_no_time(void **state)
{
	(void)state;
	enum { N = 20000, REFS = 10 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_pairing) p = { 0 };
	bl_autofree char *text = bl_xcalloc(2 * (size_t)N, 64);
	bl_autofree struct bl_pair_path *paths = bl_xcalloc(2 * (size_t)N, sizeof(*paths));
	bl_autofree uint32_t *refs = bl_xcalloc((size_t)N * REFS, sizeof(*refs));
	for (uint32_t i = 0; i < N * REFS; i++)
		refs[i] = i * 7919U % N;
	for (uint32_t i = 0; i < 2 * N; i++) {
		char *path = text + (size_t)i * 64;
		snprintf(path, 64, "/nix/store/%032u-a-%u", i, i);
		paths[i] = (struct bl_pair_path){ path, 1000 + i % 50,
						  refs + (size_t)(i % N) * REFS, REFS, i < N };
	}
	assert_works(bl_pair(paths, N, paths + N, N, &p, &err), &err);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(p.bases[i], i % 50);
	assert_true(p.n_pairs >= 50 && p.n_pairs <= 50 + 50 * REFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_equal_name_wins_then_the_same_package_and_output),
		cmocka_unit_test(of_several_the_most_similar_size_wins_then_the_newest),
		cmocka_unit_test(a_hash_that_stays_is_not_rewritten_though_its_path_is_a_base),
		cmocka_unit_test(references_of_a_base_become_those_of_what_it_becomes),
		cmocka_unit_test(
			of_two_new_paths_with_one_base_the_one_of_its_name_gives_the_hash),
		cmocka_unit_test(what_is_no_closure_is_refused),
		cmocka_unit_test(many_paths_of_one_package_take_no_time),
	};
	return cmocka_run_group_tests_name("pair", tests, NULL, NULL);
}
