/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/plan.h"

static struct bl_check a_check(const char *name, enum bl_check_type type, const char *what)
{
	return (struct bl_check){ .name = bl_xstrdup(name),
				  .type = type,
				  .timeout_ms = 5000,
				  .retries = 2,
				  .what = bl_xstrdup(what),
				  .contains = bl_xstrdup("") };
}

static void names_are_read_as_they_are_written(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	for (int i = 0; i < BL_STRATEGY_NSTRATEGIES; i++) {
		enum bl_strategy out = BL_STRATEGY_NSTRATEGIES;
		assert_works(
			bl_strategy_parse(bl_strategy_name((enum bl_strategy)i), &out, &err),
			&err);
		assert_int_equal(out, i);
	}
	for (int i = 0; i < BL_UNITS_NPOLICIES; i++) {
		enum bl_units_policy out = BL_UNITS_NPOLICIES;
		assert_works(bl_units_policy_parse(
				     bl_units_policy_name((enum bl_units_policy)i), &out, &err),
			     &err);
		assert_int_equal(out, i);
	}
	for (int i = 0; i < BL_CHECK_NTYPES; i++) {
		enum bl_check_type out = BL_CHECK_NTYPES;
		assert_works(bl_check_type_parse(bl_check_type_name((enum bl_check_type)i),
						 &out, &err),
			     &err);
		assert_int_equal(out, i);
	}
	assert_string_equal(bl_strategy_name(BL_STRATEGY_NSTRATEGIES), "?");
}

static void an_unknown_name_is_told(void **state)
{
	(void)state;
	struct bl_err err = { 0 };
	enum bl_strategy s;
	enum bl_units_policy u;
	enum bl_check_type t;
	assert_fails(bl_strategy_parse("Live", &s, &err), &err, BL_E_INPUT,
		     "'Live' is not a strategy");
	assert_fails(bl_units_policy_parse("", &u, &err), &err, BL_E_INPUT,
		     "'' is not a policy for units");
	assert_fails(bl_check_type_parse("udp", &t, &err), &err, BL_E_INPUT,
		     "'udp' is not a type of check");
}

static void nothing_said_is_the_default_plan(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_plan) p = { 0 };
	struct bl_err err = { 0 };
	bl_kv_set(&kv, "new", "a key of somebody else");
	assert_works(bl_plan_read(&kv, &p, &err), &err);
	assert_int_equal(p.strategy, BL_STRATEGY_AUTO);
	assert_int_equal(p.units, BL_UNITS_NEW_FAILURES);
	assert_int_equal(p.boot_ms, 300000);
	assert_false(p.reboot_allowed || p.local || p.any_login);
	assert_int_equal(p.rollback_reboot, BL_RB_REBOOT_AUTO);
	assert_string_equal(p.pre_activate, "");
	assert_string_equal(p.post_rollback, "");
	assert_int_equal(p.n_checks, 0);
}

static void fill(struct bl_plan *p)
{
	bl_plan_init(p);
	p->strategy = BL_STRATEGY_LIVE_BOOT;
	p->reboot_allowed = true;
	p->local = true;
	p->any_login = true;
	p->rollback_reboot = BL_RB_REBOOT_NEVER;
	p->boot_ms = 1234;
	p->units = BL_UNITS_LISTED;
	bl_strv_add(&p->ignore_units, "a.service");
	bl_strv_add(&p->ignore_units, "b@*.service");
	bl_strv_add(&p->listed_units, "c.service");
	bl_replace_str(&p->pre_activate, "echo 100%\nexit 0");
	bl_replace_str(&p->post_rollback, "true");
	struct bl_check web = a_check("the web's face", BL_CHECK_HTTP, "http://[::1]:80/?a=b");
	web.advisory = true;
	web.hold_ms = 3000;
	web.status = 204;
	bl_replace_str(&web.contains, "two\nlines=%");
	bl_plan_add_check(p, &web);
	struct bl_check ssh = a_check("ssh", BL_CHECK_TCP, "127.0.0.1");
	ssh.port = 22;
	bl_plan_add_check(p, &ssh);
}

static void a_plan_comes_back_from_its_keys(void **state)
{
	(void)state;
	BL_AUTO(bl_plan) p = { 0 };
	BL_AUTO(bl_plan) q = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_kv) back = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	struct bl_err err = { 0 };
	fill(&p);
	bl_plan_tell(&p, &kv);
	/* by the wire or a file */
	bl_kv_encode(&kv, &text);
	assert_works(bl_kv_decode(bl_buf_str(&text), text.len, &back, &err), &err);
	assert_works(bl_plan_read(&back, &q, &err), &err);
	assert_int_equal(q.strategy, BL_STRATEGY_LIVE_BOOT);
	assert_true(q.reboot_allowed && q.local && q.any_login);
	assert_int_equal(q.rollback_reboot, BL_RB_REBOOT_NEVER);
	assert_int_equal(q.boot_ms, 1234);
	assert_int_equal(q.units, BL_UNITS_LISTED);
	assert_int_equal(q.ignore_units.n, 2);
	assert_string_equal(q.ignore_units.items[1], "b@*.service");
	assert_string_equal(q.listed_units.items[0], "c.service");
	assert_string_equal(q.pre_activate, "echo 100%\nexit 0");
	assert_string_equal(q.post_rollback, "true");
	assert_int_equal(q.n_checks, 2);
	const struct bl_check *web = &q.checks[0];
	assert_string_equal(web->name, "the web's face");
	assert_int_equal(web->type, BL_CHECK_HTTP);
	assert_true(web->advisory);
	assert_int_equal(web->timeout_ms, 5000);
	assert_int_equal(web->retries, 2);
	assert_int_equal(web->hold_ms, 3000);
	assert_int_equal(web->status, 204);
	assert_string_equal(web->what, "http://[::1]:80/?a=b");
	assert_string_equal(web->contains, "two\nlines=%");
	assert_int_equal(q.checks[1].port, 22);
	assert_false(q.checks[1].advisory);
}

static void the_deployers_own_checks_stay_there(void **state)
{
	(void)state;
	BL_AUTO(bl_plan) p = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	bl_plan_init(&p);
	struct bl_check c = a_check("from outside", BL_CHECK_TCP, "web1");
	c.on_deployer = true;
	bl_plan_add_check(&p, &c);
	assert_null(c.name);
	bl_plan_tell(&p, &kv);
	assert_null(bl_kv_get(&kv, "check"));
}

/* What is wrong with a plan's check, by one line that replaces another. */
static const struct {
	const char *text;
	const char *msg;
} bad_checks[] = {
	{ "name=x\n", "check: '' is not a type of check" },
	{ "name=x\ntype=udp\n", "check: 'udp' is not a type of check" },
	{ "name=x\ntype=tcp\n", "check: timeout_ms is missing" },
	{ "name=x\ntype=tcp\ntimeout_ms=0\n",
	  "check: timeout_ms: '0' is not a number from 1 to "
	  "86400000" },
	{ "name=\ntype=tcp\ntimeout_ms=1\nretries=0\nhold_ms=0\nport=1\nstatus=0\n",
	  "a check has no name" },
	{ "no line", "check: the last line is cut off" },
};

static void a_malformed_check_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(bad_checks); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		struct bl_plan p = { 0 };
		struct bl_err err = { 0 };
		bl_kv_add(&kv, "check", bad_checks[i].text);
		assert_int_equal(bl_plan_read(&kv, &p, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
		assert_string_equal(err.msg, bad_checks[i].msg);
		assert_null(p.checks);
	}
}

static void malformed_words_and_too_many_checks_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *key, *value;
	} bad[] = { { "strategy", "hope" },
		    { "units", "some" },
		    { "boot_ms", "-1" },
		    { "boot_ms", "86400001" } };
	for (size_t i = 0; i < BL_COUNT(bad); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		struct bl_plan p = { 0 };
		struct bl_err err = { 0 };
		bl_kv_set(&kv, bad[i].key, bad[i].value);
		assert_int_equal(bl_plan_read(&kv, &p, &err), -1);
		assert_int_equal(err.code, BL_E_INPUT);
	}
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_plan p = { 0 };
	struct bl_err err = { 0 };
	for (int i = 0; i < 129; i++)
		bl_kv_add(&kv, "check",
			  "name=x\ntype=route\ntimeout_ms=1\nretries=0\nhold_ms=0\nport=0\n"
			  "status=0\n");
	assert_fails(bl_plan_read(&kv, &p, &err), &err, BL_E_INPUT, "more than 128 checks");
}

static void only_strategies_that_reboot_boot(void **state)
{
	(void)state;
	assert_true(bl_strategy_boots(BL_STRATEGY_BOOT));
	assert_true(bl_strategy_boots(BL_STRATEGY_LIVE_BOOT));
	assert_true(bl_strategy_boots(BL_STRATEGY_KEXEC));
	assert_false(bl_strategy_boots(BL_STRATEGY_AUTO));
	assert_false(bl_strategy_boots(BL_STRATEGY_LIVE));
	assert_false(bl_strategy_boots(BL_STRATEGY_UNGUARDED));
}

static void checks_take_as_long_as_the_longest_of_their_side(void **state)
{
	(void)state;
	BL_AUTO(bl_plan) p = { 0 };
	bl_plan_init(&p);
	assert_int_equal(bl_plan_checks_ms(&p), 0);
	/* three tries of 5 s, each with a second's pause */
	struct bl_check a = a_check("a", BL_CHECK_ROUTE, "");
	bl_plan_add_check(&p, &a);
	assert_int_equal(bl_plan_checks_ms(&p), 18000);
	assert_int_equal(bl_plan_deployer_checks_ms(&p), 0);
	/* a hold, and the asking at its end */
	struct bl_check b = a_check("b", BL_CHECK_ROUTE, "");
	b.retries = 0;
	b.hold_ms = 10000;
	b.advisory = true;
	bl_plan_add_check(&p, &b);
	assert_int_equal(bl_plan_checks_ms(&p), 21000);
	struct bl_check c = a_check("c", BL_CHECK_TCP, "x");
	c.on_deployer = true;
	c.retries = 1000;
	c.timeout_ms = 86400000;
	bl_plan_add_check(&p, &c);
	assert_int_equal(bl_plan_checks_ms(&p), 21000);
	assert_int_equal(bl_plan_deployer_checks_ms(&p), 1001ULL * 86401000ULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_as_they_are_written),
		cmocka_unit_test(an_unknown_name_is_told),
		cmocka_unit_test(nothing_said_is_the_default_plan),
		cmocka_unit_test(a_plan_comes_back_from_its_keys),
		cmocka_unit_test(the_deployers_own_checks_stay_there),
		cmocka_unit_test(a_malformed_check_is_refused),
		cmocka_unit_test(malformed_words_and_too_many_checks_are_refused),
		cmocka_unit_test(only_strategies_that_reboot_boot),
		cmocka_unit_test(checks_take_as_long_as_the_longest_of_their_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
