/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "guard/units.h"

/* Lists are words with blanks; failed before are always "old.service both.service". */
static const struct {
	enum bl_units_policy policy;
	const char *ignore, *listed, *now, *bad, *ignored;
} cases[] = {
	{ BL_UNITS_NEW_FAILURES, "", "", "", "", "" },
	{ BL_UNITS_NEW_FAILURES, "", "", "both.service", "", "" },
	{ BL_UNITS_NEW_FAILURES, "", "", "both.service new.service x.mount",
	  "new.service x.mount", "" },
	{ BL_UNITS_NEW_FAILURES, "new.service", "", "new.service x.mount", "x.mount",
	  "new.service" },
	{ BL_UNITS_NEW_FAILURES, "backup@*.service", "", "backup@a.service backup.service",
	  "backup.service", "backup@a.service" },
	{ BL_UNITS_NEW_FAILURES, "*", "", "new.service", "", "new.service" },
	/* the other lists have no say */
	{ BL_UNITS_NEW_FAILURES, "", "x.mount", "new.service", "new.service", "" },
	{ BL_UNITS_STRICT, "", "", "", "", "" },
	{ BL_UNITS_STRICT, "", "", "both.service", "both.service", "" },
	{ BL_UNITS_STRICT, "both.service", "", "both.service new.service", "new.service", "" },
	{ BL_UNITS_LISTED, "", "web.service", "new.service", "", "new.service" },
	{ BL_UNITS_LISTED, "", "web.service n*", "new.service web.service both.service",
	  "new.service web.service", "" },
	/* it has to work, whether it did before or not */
	{ BL_UNITS_LISTED, "", "both.service", "both.service", "both.service", "" },
	{ BL_UNITS_LISTED, "both.service", "*", "both.service", "", "" },
	{ BL_UNITS_IGNORE, "", "new.service", "new.service both.service", "", "new.service" },
};

static void words(struct bl_strv *out, const char *text)
{
	bl_strv_split(out, text, ' ');
}

static void assert_words(const struct bl_strv *got, const char *want, size_t i)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t k = 0; k < got->n; k++)
		bl_buf_printf(&b, "%s%s", k ? " " : "", got->items[k]);
	if (strcmp(bl_buf_str(&b), want) != 0)
		fail_msg("case %zu: '%s' instead of '%s'", i, bl_buf_str(&b), want);
}

static void each_policy_counts_its_own_units(void **state)
{
	(void)state;
	BL_AUTO(bl_strv) before = { 0 };
	words(&before, "old.service both.service");
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_plan) p = { 0 };
		BL_AUTO(bl_strv) now = { 0 };
		BL_AUTO(bl_strv) bad = { 0 };
		BL_AUTO(bl_strv) ignored = { 0 };
		bl_plan_init(&p);
		p.units = cases[i].policy;
		words(&p.ignore_units, cases[i].ignore);
		words(&p.listed_units, cases[i].listed);
		words(&now, cases[i].now);
		bl_units_judge(&p, &now, &before, &bad, &ignored);
		assert_words(&bad, cases[i].bad, i);
		assert_words(&ignored, cases[i].ignored, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_policy_counts_its_own_units),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
