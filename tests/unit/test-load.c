/* SPDX-License-Identifier: MIT */
/* What a host is sent, and in which pieces. */
#include "unit.h"

#include "copy/load.h"

#include <string.h>

#define MIB (1ULL << 20)

/* The path with number @n, 'a' for old and 'b' for new builds. */
static char *path_of(char build, unsigned n, const char *name)
{
	return bl_xprintf("/nix/store/%c%031u-%s", build, n, name);
}

/* One more path of @build, which refers to those with the numbers in @refs. */
static void add(struct bl_path_infos *list, char build, unsigned n, const char *name,
		uint64_t size, const char *refs)
{
	bl_autofree char *path = path_of(build, n, name);
	struct bl_path_info *info = bl_path_infos_add(list, path);
	info->nar_size = size;
	for (const char *r = refs; *r; r++)
		bl_strv_add(&info->references, list->items[*r - '0'].path);
}

/* A library, small configuration, a large program, the system. */
static void make(char build, char top, struct bl_local *out)
{
	BL_AUTO(bl_path_infos) list = { 0 };
	struct bl_err err = { 0 };
	add(&list, build, 10, "lib", MIB, "");
	add(&list, build, 11, "conf-a", 1000, "");
	add(&list, build, 12, "conf-b", 2000, "1");
	add(&list, build, 13, "program", 400 * MIB, "01");
	add(&list, top, 14, "system", 3000, "23");
	assert_works(bl_local_make(&list, out, &err), &err);
}

/* Every reference that is sent is sent before, or in the same piece in order. */
static void assert_in_order(const struct bl_local *l, const struct bl_load *load)
{
	bool there[16] = { 0 };
	for (size_t i = 0; i < load->n; i++) {
		uint32_t place = load->order[i];
		for (size_t k = 0; k < l->n_refs[place]; k++)
			assert_true(there[l->refs[place][k]]);
		there[place] = true;
	}
}

static void all_of_it_without_bases(void **state)
{
	(void)state;
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_load) load = { 0 };
	struct bl_err err = { 0 };
	const bool valid[5] = { 0 };
	make('b', 'b', &new);
	assert_works(bl_load_plan(&new, valid, NULL, NULL, 128 * MIB, &load, &err), &err);
	assert_int_equal(load.n, 5);
	assert_int_equal(load.nar_bytes, 401 * MIB + 6000);
	assert_int_equal(load.n_pairs, 0);
	assert_in_order(&new, &load);
	uint64_t sent = 0;
	for (size_t i = 0; i < load.n_pieces; i++) {
		const struct bl_load_piece *p = &load.pieces[i];
		assert_int_equal(p->head.kind, BL_DELTA_ZSTD);
		assert_true(p->head.size_bytes <= BL_LOAD_PART);
		assert_null(p->olds);
		sent += p->head.size_bytes;
	}
	assert_int_equal(sent, load.nar_bytes);
}

static void what_is_valid_is_not_sent(void **state)
{
	(void)state;
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_load) load = { 0 };
	struct bl_err err = { 0 };
	bool valid[5] = { 0 };
	make('b', 'b', &new);
	for (size_t i = 0; i < 4; i++)
		valid[new.number[i]] = true;
	assert_works(bl_load_plan(&new, valid, NULL, NULL, 128 * MIB, &load, &err), &err);
	assert_int_equal(load.n, 1);
	assert_int_equal(load.order[0], 4);
	assert_int_equal(load.n_pieces, 1);
	assert_int_equal(load.pieces[0].head.size_bytes, 3000);
}

static void new_builds_are_told_by_old_ones(void **state)
{
	(void)state;
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_local) old = { 0 };
	BL_AUTO(bl_load) load = { 0 };
	struct bl_err err = { 0 };
	const bool valid[5] = { 0 };
	make('b', 'b', &new);
	make('a', 'a', &old);
	assert_works(bl_load_plan(&new, valid, NULL, &old, 128 * MIB, &load, &err), &err);
	assert_int_equal(load.n_pairs, 5);
	assert_in_order(&new, &load);
	uint64_t program = 0;
	for (size_t i = 0; i < load.n_pieces; i++) {
		const struct bl_load_piece *p = &load.pieces[i];
		assert_int_equal(p->head.kind, BL_DELTA_PATCH);
		assert_true(p->head.size_bytes + p->head.base_bytes <= 128 * MIB);
		assert_non_null(p->olds);
		for (uint32_t k = 0; k < p->count; k++) {
			const char *name = new.infos.items[load.order[p->first + k]].path + 44;
			assert_string_equal(old.sorted.items[p->olds[k]] + 44, name);
		}
		if (strcmp(new.infos.items[load.order[p->first]].path + 44, "program") == 0) {
			assert_int_equal(p->part, program);
			program += p->head.size_bytes;
			/* its own hash, the library's and the configuration's */
			assert_int_equal(p->n_pairs, 3);
		}
	}
	assert_int_equal(program, 400 * MIB);
}

/* What was large before does not take the bases from others that go with it. */
static void a_small_one_of_a_large_one_goes_by_itself(void **state)
{
	(void)state;
	BL_AUTO(bl_path_infos) list = { 0 };
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_local) old = { 0 };
	struct bl_err err = { 0 };
	const bool valid[5] = { 0 };
	make('b', 'b', &new);
	add(&list, 'a', 10, "lib", MIB, "");
	add(&list, 'a', 11, "conf-a", 30 * MIB, "");
	add(&list, 'a', 12, "conf-b", 2000, "1");
	add(&list, 'a', 13, "program", 400 * MIB, "01");
	add(&list, 'a', 14, "system", 3000, "23");
	assert_works(bl_local_make(&list, &old, &err), &err);
	/* the second bound is too small for the two of them together: it is cut */
	for (uint64_t bound = 128 * MIB; bound >= 8 * MIB; bound /= 16) {
		BL_AUTO(bl_load) load = { 0 };
		size_t alone = 0;
		assert_works(bl_load_plan(&new, valid, NULL, &old, bound, &load, &err), &err);
		assert_in_order(&new, &load);
		for (size_t i = 0; i < load.n_pieces; i++) {
			const struct bl_load_piece *p = &load.pieces[i];
			assert_int_equal(p->head.kind, BL_DELTA_PATCH);
			assert_true(p->head.size_bytes + p->head.base_bytes <= bound);
			alone += p->count == 1 && load.order[p->first] == 1;
		}
		assert_true(alone > 0);
	}
}

/* Of two hosts with systems of their own all but these is the same. */
static void hosts_share_what_is_the_same(void **state)
{
	(void)state;
	BL_AUTO(bl_local) new1 = { 0 };
	BL_AUTO(bl_local) new2 = { 0 };
	BL_AUTO(bl_local) old1 = { 0 };
	BL_AUTO(bl_local) old2 = { 0 };
	BL_AUTO(bl_load) load1 = { 0 };
	BL_AUTO(bl_load) load2 = { 0 };
	struct bl_err err = { 0 };
	const bool valid[5] = { 0 };
	size_t same = 0;
	make('b', 'c', &new1);
	make('b', 'd', &new2);
	make('a', 'f', &old1);
	make('a', 'g', &old2);
	assert_works(bl_load_plan(&new1, valid, NULL, &old1, 128 * MIB, &load1, &err), &err);
	assert_works(bl_load_plan(&new2, valid, NULL, &old2, 128 * MIB, &load2, &err), &err);
	assert_int_equal(load1.n_pieces, load2.n_pieces);
	for (size_t i = 0; i < load1.n_pieces; i++)
		same += memcmp(load1.pieces[i].key, load2.pieces[i].key, BL_SHA256_LEN) == 0;
	assert_int_equal(same, load1.n_pieces - 1);
	/* and another old build makes another content */
	BL_AUTO(bl_local) other = { 0 };
	BL_AUTO(bl_load) load3 = { 0 };
	make('i', 'f', &other);
	assert_works(bl_load_plan(&new1, valid, NULL, &other, 128 * MIB, &load3, &err), &err);
	for (size_t i = 0; i < load1.n_pieces; i++)
		assert_memory_not_equal(load1.pieces[i].key, load3.pieces[i].key,
					BL_SHA256_LEN);
}

static void what_failed_comes_again_in_full(void **state)
{
	(void)state;
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_local) old = { 0 };
	BL_AUTO(bl_load) load = { 0 };
	struct bl_err err = { 0 };
	const bool valid[5] = { 0 };
	bool again[5] = { 0 };
	make('b', 'b', &new);
	make('a', 'a', &old);
	assert_works(bl_load_plan(&new, valid, NULL, &old, 128 * MIB, &load, &err), &err);
	for (size_t i = 0; i < load.n; i++)
		again[i] = load.order[i] == 0 || load.order[i] == 4;
	bl_load_again(&new, again, &load);
	assert_int_equal(load.n, 5);
	assert_int_equal(load.n_pieces, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(load.pieces[i].head.kind, BL_DELTA_ZSTD);
		assert_null(load.pieces[i].olds);
		assert_true(again[load.pieces[i].first]);
	}
}

static bool is_program(const struct bl_local *l, const struct bl_load *load, size_t i)
{
	return load->order[load->pieces[i].first] == 3 && l->infos.n == 5;
}

/* The program's pieces are there from @kept on; returns how many have a key of @whole's. */
static size_t assert_goes_on(const struct bl_local *l, const struct bl_load *load,
			     const struct bl_load *whole, uint64_t kept)
{
	uint64_t at = kept;
	size_t same = 0;
	for (size_t i = 0; i < load->n_pieces; i++) {
		const struct bl_load_piece *p = &load->pieces[i];
		if (!is_program(l, load, i))
			continue;
		assert_int_equal(p->part, at);
		assert_true(p->head.size_bytes > 0);
		at += p->head.size_bytes;
		for (size_t k = 0; k < whole->n_pieces; k++)
			same += memcmp(p->key, whole->pieces[k].key, BL_SHA256_LEN) == 0;
	}
	assert_int_equal(at, 400 * MIB);
	return same;
}

static void what_had_come_of_a_path_is_not_sent(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes, from;
		size_t same[2]; /* pieces that other hosts get too, without bases and with */
	} cases[] = {
		{ 1, 1, { 12, 9 } },
		{ 32 * MIB, 32 * MIB, { 12, 9 } },
		{ 32 * MIB + 5, 32 * MIB + 5, { 11, 9 } },
		{ 399 * MIB, 399 * MIB, { 0, 0 } },
		{ 400 * MIB, 400 * MIB - 1, { 0, 0 } },
		{ 1ULL << 60, 400 * MIB - 1, { 0, 0 } },
	};
	const bool valid[5] = { 0 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_local) old = { 0 };
	make('b', 'b', &new);
	make('a', 'a', &old);
	for (size_t i = 0; i < 2 * BL_COUNT(cases); i++) {
		const struct bl_local *base = i % 2 ? &old : NULL;
		struct bl_load_kept kept = { new.number[3], cases[i / 2].bytes, { 0 } };
		BL_AUTO(bl_load) whole = { 0 };
		BL_AUTO(bl_load) load = { 0 };
		memcpy(kept.nar_hash, new.infos.items[3].nar_hash, BL_SHA256_LEN);
		assert_works(bl_load_plan(&new, valid, NULL, base, 128 * MIB, &whole, &err),
			     &err);
		assert_works(bl_load_plan(&new, valid, &kept, base, 128 * MIB, &load, &err),
			     &err);
		assert_int_equal(load.nar_bytes, whole.nar_bytes);
		assert_int_equal(load.kept_bytes, cases[i / 2].from);
		assert_in_order(&new, &load);
		assert_int_equal(assert_goes_on(&new, &load, &whole, cases[i / 2].from),
				 cases[i / 2].same[i % 2]);
	}
}

static void what_had_come_of_another_nar_does_not_count(void **state)
{
	(void)state;
	const bool valid[5] = { 0 };
	struct bl_err err = { 0 };
	BL_AUTO(bl_local) new = { 0 };
	BL_AUTO(bl_load) whole = { 0 };
	make('b', 'b', &new);
	assert_works(bl_load_plan(&new, valid, NULL, NULL, 128 * MIB, &whole, &err), &err);
	for (size_t i = 0; i < 3; i++) {
		/* another hash; another path; a path that there is not */
		struct bl_load_kept kept = { i == 2 ? 77 : new.number[i == 1],
					     100 * MIB,
					     { 1 } };
		BL_AUTO(bl_load) load = { 0 };
		if (i > 0)
			memset(kept.nar_hash, 0, sizeof(kept.nar_hash));
		kept.number = i == 0 ? new.number[3] : kept.number;
		assert_works(bl_load_plan(&new, valid, &kept, NULL, 128 * MIB, &load, &err),
			     &err);
		assert_int_equal(assert_goes_on(&new, &load, &whole, 0), 13);
	}
}

static void a_nar_has_a_size(void **state)
{
	(void)state;
	BL_AUTO(bl_path_infos) list = { 0 };
	BL_AUTO(bl_local) l = { 0 };
	struct bl_err err = { 0 };
	add(&list, 'b', 10, "lib", 0, "");
	assert_fails(bl_local_make(&list, &l, &err), &err, BL_E_FAILED,
		     "/nix/store/b0000000000000000000000000000010-lib: Nix does not know its "
		     "size");
	assert_int_equal(list.n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_without_bases),
		cmocka_unit_test(what_is_valid_is_not_sent),
		cmocka_unit_test(new_builds_are_told_by_old_ones),
		cmocka_unit_test(a_small_one_of_a_large_one_goes_by_itself),
		cmocka_unit_test(hosts_share_what_is_the_same),
		cmocka_unit_test(what_failed_comes_again_in_full),
		cmocka_unit_test(what_had_come_of_a_path_is_not_sent),
		cmocka_unit_test(what_had_come_of_another_nar_does_not_count),
		cmocka_unit_test(a_nar_has_a_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
