/* SPDX-License-Identifier: MIT */
/* A plan as its file or the start message holds it; a plan that was read comes back the same.
 */
#include "guard/plan.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_kv) once = { 0 };
	BL_AUTO(bl_kv) twice = { 0 };
	BL_AUTO(bl_plan) p = { 0 };
	BL_AUTO(bl_plan) back = { 0 };
	struct bl_err err = { 0 };
	if (bl_kv_decode((const char *)data, size, &kv, &err) < 0)
		return 0;
	if (bl_plan_read(&kv, &p, &err) < 0) {
		assert(err.code == BL_E_INPUT && err.msg[0] && !p.checks && !p.pre_activate);
		return 0;
	}
	assert(p.strategy < BL_STRATEGY_NSTRATEGIES && p.units < BL_UNITS_NPOLICIES);
	for (size_t i = 0; i < p.n_checks; i++)
		assert(p.checks[i].name[0] && p.checks[i].what && p.checks[i].contains &&
		       p.checks[i].timeout_ms > 0 && !p.checks[i].on_deployer);
	assert(bl_plan_deployer_checks_ms(&p) == 0);
	assert((bl_plan_checks_ms(&p) > 0) == (p.n_checks > 0));
	bl_plan_tell(&p, &once);
	int rc = bl_plan_read(&once, &back, &err);
	assert(rc == 0 && back.n_checks == p.n_checks);
	bl_plan_tell(&back, &twice);
	assert(once.n == twice.n);
	for (size_t i = 0; i < once.n; i++)
		assert(strcmp(once.items[i].value, twice.items[i].value) == 0);
	return 0;
}
