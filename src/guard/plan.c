/* SPDX-License-Identifier: MIT */
#include "guard/plan.h"

#include <stdlib.h>
#include <string.h>

#define CHECKS_MAX 128
#define DAY_MS     86400000

static const char *const strategies[BL_STRATEGY_NSTRATEGIES] = {
	"auto", "live", "boot", "live+boot", "kexec", "unguarded-boot", "test",
};
static const char *const policies[BL_UNITS_NPOLICIES] = {
	"new-failures",
	"strict",
	"listed",
	"ignore",
};
static const char *const rollback_reboots[BL_RB_REBOOT_NMODES] = { "auto", "always", "never" };
static const char *const types[BL_CHECK_NTYPES] = {
	"unit", "tcp", "http", "command", "dns", "route", "file",
};

static int parse(const char *name, const char *const *names, size_t n, const char *what,
		 size_t *out, struct bl_err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return bl_err_set(err, BL_E_INPUT, "'%.40s' is not a %s", name, what);
}

const char *bl_strategy_name(enum bl_strategy strategy)
{
	return strategy < BL_STRATEGY_NSTRATEGIES ? strategies[strategy] : "?";
}

int bl_strategy_parse(const char *name, enum bl_strategy *out, struct bl_err *err)
{
	size_t i = 0;
	int rc = parse(name, strategies, BL_STRATEGY_NSTRATEGIES, "strategy", &i, err);
	*out = (enum bl_strategy)i;
	return rc;
}

int bl_rollback_reboot_parse(const char *name, enum bl_rollback_reboot *out, struct bl_err *err)
{
	size_t i = 0;
	int rc = parse(name, rollback_reboots, BL_RB_REBOOT_NMODES, "way to reboot", &i, err);
	*out = (enum bl_rollback_reboot)i;
	return rc;
}

const char *bl_units_policy_name(enum bl_units_policy policy)
{
	return policy < BL_UNITS_NPOLICIES ? policies[policy] : "?";
}

int bl_units_policy_parse(const char *name, enum bl_units_policy *out, struct bl_err *err)
{
	size_t i = 0;
	int rc = parse(name, policies, BL_UNITS_NPOLICIES, "policy for units", &i, err);
	*out = (enum bl_units_policy)i;
	return rc;
}

const char *bl_check_type_name(enum bl_check_type type)
{
	return type < BL_CHECK_NTYPES ? types[type] : "?";
}

int bl_check_type_parse(const char *name, enum bl_check_type *out, struct bl_err *err)
{
	size_t i = 0;
	int rc = parse(name, types, BL_CHECK_NTYPES, "type of check", &i, err);
	*out = (enum bl_check_type)i;
	return rc;
}

bool bl_strategy_boots(enum bl_strategy strategy)
{
	return strategy == BL_STRATEGY_BOOT || strategy == BL_STRATEGY_LIVE_BOOT ||
	       strategy == BL_STRATEGY_KEXEC;
}

enum bl_strategy bl_strategy_choose(const struct bl_plan *plan, const char *boot,
				    const char *network, char **out_remark)
{
	*out_remark = NULL;
	if (plan->strategy != BL_STRATEGY_AUTO && plan->strategy != BL_STRATEGY_LIVE)
		return plan->strategy;
	if (boot && plan->strategy == BL_STRATEGY_AUTO && plan->reboot_allowed)
		return BL_STRATEGY_BOOT;
	if (boot)
		*out_remark = bl_xprintf("boot path not proven: %s changed", boot);
	else if (network)
		*out_remark =
			bl_xprintf("boot path of the network not proven: %s changed", network);
	return BL_STRATEGY_LIVE;
}

void bl_plan_init(struct bl_plan *plan)
{
	*plan = (struct bl_plan){
		.boot_ms = 300000,
		.pre_activate = bl_xstrdup(""),
		.post_rollback = bl_xstrdup(""),
	};
}

void bl_check_free(struct bl_check *check)
{
	free(check->name);
	free(check->what);
	free(check->contains);
	*check = (struct bl_check){ 0 };
}

void bl_plan_free(struct bl_plan *plan)
{
	bl_strv_free(&plan->ignore_units);
	bl_strv_free(&plan->listed_units);
	free(plan->pre_activate);
	free(plan->post_rollback);
	for (size_t i = 0; i < plan->n_checks; i++)
		bl_check_free(&plan->checks[i]);
	free(plan->checks);
	*plan = (struct bl_plan){ 0 };
}

void bl_plan_add_check(struct bl_plan *plan, struct bl_check *check)
{
	plan->checks = bl_xrealloc(plan->checks, plan->n_checks + 1, sizeof(plan->checks[0]));
	plan->checks[plan->n_checks++] = *check;
	*check = (struct bl_check){ 0 };
}

static uint64_t check_ms(const struct bl_check *c)
{
	uint64_t ms = ((uint64_t)c->retries + 1) * ((uint64_t)c->timeout_ms + 1000);
	return c->hold_ms ? ms + c->hold_ms + c->timeout_ms : ms;
}

static uint64_t longest(const struct bl_plan *plan, bool on_deployer)
{
	uint64_t max = 0;
	for (size_t i = 0; i < plan->n_checks; i++)
		if (plan->checks[i].on_deployer == on_deployer &&
		    check_ms(&plan->checks[i]) > max)
			max = check_ms(&plan->checks[i]);
	return max;
}

uint64_t bl_plan_checks_ms(const struct bl_plan *plan)
{
	return longest(plan, false);
}

uint64_t bl_plan_deployer_checks_ms(const struct bl_plan *plan)
{
	return longest(plan, true);
}

/* A check is one value: the lines of a list of its own. */
static char *tell_check(const struct bl_check *c)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	bl_kv_set(&kv, "name", c->name);
	bl_kv_set(&kv, "type", bl_check_type_name(c->type));
	bl_kv_set(&kv, "advisory", c->advisory ? "1" : "0");
	bl_kv_set_u64(&kv, "timeout_ms", c->timeout_ms);
	bl_kv_set_u64(&kv, "retries", c->retries);
	bl_kv_set_u64(&kv, "hold_ms", c->hold_ms);
	bl_kv_set(&kv, "what", c->what ? c->what : "");
	bl_kv_set_u64(&kv, "port", c->port);
	bl_kv_set_u64(&kv, "status", c->status);
	bl_kv_set(&kv, "contains", c->contains ? c->contains : "");
	bl_kv_encode(&kv, &text);
	return bl_xstrdup(bl_buf_str(&text));
}

void bl_plan_tell(const struct bl_plan *plan, struct bl_kv *out)
{
	bl_kv_set(out, "strategy", bl_strategy_name(plan->strategy));
	bl_kv_set(out, "reboot_allowed", plan->reboot_allowed ? "1" : "0");
	bl_kv_set(out, "local", plan->local ? "1" : "0");
	bl_kv_set(out, "any_login", plan->any_login ? "1" : "0");
	bl_kv_set_u64(out, "boot_ms", plan->boot_ms);
	bl_kv_set(out, "rollback_reboot", rollback_reboots[plan->rollback_reboot]);
	bl_kv_set(out, "units", bl_units_policy_name(plan->units));
	for (size_t i = 0; i < plan->ignore_units.n; i++)
		bl_kv_add(out, "ignore_unit", plan->ignore_units.items[i]);
	for (size_t i = 0; i < plan->listed_units.n; i++)
		bl_kv_add(out, "listed_unit", plan->listed_units.items[i]);
	bl_kv_set(out, "pre_activate", plan->pre_activate ? plan->pre_activate : "");
	bl_kv_set(out, "post_rollback", plan->post_rollback ? plan->post_rollback : "");
	for (size_t i = 0; i < plan->n_checks; i++) {
		if (plan->checks[i].on_deployer)
			continue;
		bl_autofree char *text = tell_check(&plan->checks[i]);
		bl_kv_add(out, "check", text);
	}
}

static int number(const struct bl_kv *kv, const char *key, uint32_t min, uint32_t max,
		  uint32_t *out, struct bl_err *err)
{
	uint64_t v = 0;
	struct bl_err why = { 0 };
	if (bl_kv_u64(kv, key, min, max, &v, &why) < 0)
		return bl_err_set(err, BL_E_INPUT, "%s", why.msg);
	*out = (uint32_t)v;
	return 0;
}

static int read_check(const char *text, struct bl_check *out, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_check) c = { 0 };
	if (bl_kv_decode(text, strlen(text), &kv, err) < 0 ||
	    bl_check_type_parse(bl_kv_str(&kv, "type"), &c.type, err) < 0 ||
	    number(&kv, "timeout_ms", 1, DAY_MS, &c.timeout_ms, err) < 0 ||
	    number(&kv, "retries", 0, 1000, &c.retries, err) < 0 ||
	    number(&kv, "hold_ms", 0, DAY_MS, &c.hold_ms, err) < 0 ||
	    number(&kv, "port", 0, 65535, &c.port, err) < 0 ||
	    number(&kv, "status", 0, 999, &c.status, err) < 0)
		return bl_err_wrap(err, "check");
	if (!*bl_kv_str(&kv, "name"))
		return bl_err_set(err, BL_E_INPUT, "a check has no name");
	c.advisory = bl_kv_bool(&kv, "advisory");
	c.name = bl_xstrdup(bl_kv_str(&kv, "name"));
	c.what = bl_xstrdup(bl_kv_str(&kv, "what"));
	c.contains = bl_xstrdup(bl_kv_str(&kv, "contains"));
	*out = c;
	c = (struct bl_check){ 0 };
	return 0;
}

static int read_item(const struct bl_kv_item *it, struct bl_plan *p, struct bl_err *err)
{
	BL_AUTO(bl_check) check = { 0 };
	if (strcmp(it->key, "ignore_unit") == 0)
		bl_strv_add(&p->ignore_units, it->value);
	else if (strcmp(it->key, "listed_unit") == 0)
		bl_strv_add(&p->listed_units, it->value);
	else if (strcmp(it->key, "check") == 0) {
		if (p->n_checks >= CHECKS_MAX)
			return bl_err_set(err, BL_E_INPUT, "more than %d checks", CHECKS_MAX);
		if (read_check(it->value, &check, err) < 0)
			return -1;
		bl_plan_add_check(p, &check);
	}
	return 0;
}

int bl_plan_read(const struct bl_kv *kv, struct bl_plan *out, struct bl_err *err)
{
	BL_AUTO(bl_plan) p = { 0 };
	bl_plan_init(&p);
	const char *strategy = bl_kv_get(kv, "strategy");
	const char *units = bl_kv_get(kv, "units");
	const char *rollback_reboot = bl_kv_get(kv, "rollback_reboot");
	if (strategy && bl_strategy_parse(strategy, &p.strategy, err) < 0)
		return -1;
	if (units && bl_units_policy_parse(units, &p.units, err) < 0)
		return -1;
	if (rollback_reboot &&
	    bl_rollback_reboot_parse(rollback_reboot, &p.rollback_reboot, err) < 0)
		return -1;
	if (bl_kv_get(kv, "boot_ms") && number(kv, "boot_ms", 0, DAY_MS, &p.boot_ms, err) < 0)
		return -1;
	p.reboot_allowed = bl_kv_bool(kv, "reboot_allowed");
	p.local = bl_kv_bool(kv, "local");
	p.any_login = bl_kv_bool(kv, "any_login");
	bl_replace_str(&p.pre_activate, bl_kv_str(kv, "pre_activate"));
	bl_replace_str(&p.post_rollback, bl_kv_str(kv, "post_rollback"));
	BL_KV_FOREACH (kv, it)
		if (read_item(it, &p, err) < 0)
			return -1;
	*out = p;
	p = (struct bl_plan){ 0 };
	return 0;
}
