/* SPDX-License-Identifier: MIT */
/* How hard it compresses at the rates that it sees. */
#include "unit.h"

#include "copy/pace.h"

#include "base/clock.h"

/* As if @bytes had left in @ms while some waited. */
static struct bl_pace after(uint64_t bytes, int64_t ms)
{
	struct bl_pace p;
	bl_pace_begin(&p, -1);
	p.threads = 2;
	p.left_bytes = bytes;
	p.busy_ns = ms * BL_NS_PER_MS;
	return p;
}

static void a_fixed_level_stays(void **state)
{
	(void)state;
	struct bl_pace p;
	bl_pace_begin(&p, 0);
	assert_int_equal(bl_pace_level(&p, false), 0);
	bl_pace_begin(&p, 19);
	p.left_bytes = 1;
	p.busy_ns = BL_NS_PER_S;
	assert_int_equal(bl_pace_level(&p, true), 19);
	bl_pace_begin(&p, 1);
	assert_true(bl_pace_known(&p));
}

static void before_it_knows_it_is_quick(void **state)
{
	(void)state;
	struct bl_pace p = after(1000, 499);
	assert_int_equal(bl_pace_level(&p, false), 1);
	assert_int_equal(bl_pace_level(&p, true), 3);
	assert_false(bl_pace_known(&p));
	p = after(1000, 500);
	assert_true(bl_pace_known(&p));
	/* much that is gone says enough */
	p = after(24 << 20, 50);
	assert_true(bl_pace_known(&p));
	assert_int_equal(bl_pace_level(&p, false), 0);
}

static void the_slower_the_link_the_harder(void **state)
{
	(void)state;
	const struct {
		uint64_t bytes_per_s;
		int level;
	} cases[] = { { 0, 10 },       { 1000, 10 },     { 2000000, 10 },  { 12500000, 3 },
		      { 60000000, 1 }, { 120000000, 0 }, { 1000000000, 0 } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_pace p = after(cases[i].bytes_per_s, 1000);
		assert_int_equal(bl_pace_level(&p, false), cases[i].level);
	}
}

static void a_patch_is_made_in_one_way(void **state)
{
	(void)state;
	struct bl_pace slow = after(1000, 1000);
	struct bl_pace quick = after(120000000, 1000);
	assert_int_equal(bl_pace_level(&slow, true), 3);
	assert_int_equal(bl_pace_level(&quick, true), 3);
}

static void only_waiting_for_the_connection_counts(void **state)
{
	(void)state;
	struct bl_pace p;
	bl_pace_begin(&p, -1);
	bl_pace_tick(&p, 1000, false);
	bl_pace_tick(&p, 5000, true);
	assert_int_equal(p.left_bytes, 0);
	bl_pace_tick(&p, 6000, true);
	bl_pace_tick(&p, 6500, false);
	assert_int_equal(p.left_bytes, 1500);
	int64_t busy = p.busy_ns;
	bl_pace_tick(&p, 9000, false);
	assert_int_equal(p.left_bytes, 1500);
	assert_int_equal(p.busy_ns, busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_level_stays),
		cmocka_unit_test(before_it_knows_it_is_quick),
		cmocka_unit_test(the_slower_the_link_the_harder),
		cmocka_unit_test(a_patch_is_made_in_one_way),
		cmocka_unit_test(only_waiting_for_the_connection_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
