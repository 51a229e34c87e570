/* SPDX-License-Identifier: MIT */
#include "rollout/outcome.h"

#include "store/path.h"

#include <string.h>

const char *bl_outcome_name(enum bl_outcome outcome)
{
	static const char *const names[BL_OUT_NOUTCOMES] = {
		"committed", "unchanged",  "rolled_back", "refused", "unreachable",
		"failed",    "stuck",      "superseded",  "unknown", "skipped",
		"ready",     "taken_back", "kept",
	};
	return outcome < BL_OUT_NOUTCOMES ? names[outcome] : "?";
}

bool bl_outcome_is_good(enum bl_outcome outcome)
{
	return outcome == BL_OUT_COMMITTED || outcome == BL_OUT_UNCHANGED ||
	       outcome == BL_OUT_READY;
}

const char *bl_outcome_headline(enum bl_outcome outcome)
{
	static const char *const lines[BL_OUT_NOUTCOMES] = {
		[BL_OUT_COMMITTED] = "Successfully activated new system!",
		[BL_OUT_UNCHANGED] = "Nothing to do: this system runs and boots already",
		[BL_OUT_ROLLED_BACK] =
			"Failed to activate new system! Rolled back to previous one",
		[BL_OUT_REFUSED] = "Refused! Nothing was changed",
		[BL_OUT_UNREACHABLE] = "Failed to reach the host! Nothing was changed",
		[BL_OUT_FAILED] = "Failed to prepare the host! Nothing was changed",
		[BL_OUT_STUCK] = "STUCK! This host needs a person",
		[BL_OUT_SUPERSEDED] =
			"Somebody else changed this host meanwhile! It was left alone",
		[BL_OUT_UNKNOWN] = "UNKNOWN! The host did not answer within its own limit",
		[BL_OUT_SKIPPED] = "Not switched, since the run was stopped",
		[BL_OUT_READY] = "Ready for a deployment",
		[BL_OUT_TAKEN_BACK] = "Taken back to the system that it ran before",
		[BL_OUT_KEPT] = "Could not be taken back! It keeps the new system",
	};
	return lines[outcome];
}

enum bl_outcome bl_outcome_of_taking_back(enum bl_outcome outcome)
{
	switch (outcome) {
	case BL_OUT_COMMITTED:
	case BL_OUT_UNCHANGED:
		return BL_OUT_TAKEN_BACK;
	case BL_OUT_ROLLED_BACK:
	case BL_OUT_REFUSED:
	case BL_OUT_UNREACHABLE:
	case BL_OUT_FAILED:
	case BL_OUT_SKIPPED:
		return BL_OUT_KEPT;
	case BL_OUT_STUCK:
	case BL_OUT_SUPERSEDED:
	case BL_OUT_UNKNOWN:
	case BL_OUT_READY:
	case BL_OUT_TAKEN_BACK:
	case BL_OUT_KEPT:
	case BL_OUT_NOUTCOMES:
		break;
	}
	return outcome;
}

enum bl_outcome bl_outcome_of(const struct bl_kv *last)
{
	static const struct {
		const char *state;
		enum bl_outcome outcome;
	} ends[] = {
		{ "COMMITTED", BL_OUT_COMMITTED }, { "ROLLED_BACK", BL_OUT_ROLLED_BACK },
		{ "REFUSED", BL_OUT_REFUSED },     { "SUPERSEDED", BL_OUT_SUPERSEDED },
		{ "STUCK", BL_OUT_STUCK },         { "NONE", BL_OUT_REFUSED },
	};
	const char *state = bl_kv_str(last, "state");
	for (size_t i = 0; i < BL_COUNT(ends); i++)
		if (strcmp(state, ends[i].state) == 0)
			return ends[i].outcome;
	return BL_OUT_UNKNOWN;
}

char *bl_outcome_state(enum bl_outcome outcome, const struct bl_outcome_host *host)
{
	const char *system = bl_kv_get(host->last, "system");
	const char *remark = bl_kv_str(host->last, "remark");
	BL_AUTO(bl_buf) b = { 0 };
	if (outcome == BL_OUT_UNKNOWN) {
		bl_buf_puts(
			&b,
			host->confirmed
				? "it may be confirmed, and commits or goes back by itself"
			: host->rebooting
				? "it was rebooting into the new system, and has not answered since: if it hangs "
				  "there, a power cycle starts the old one"
				: "it was not confirmed, and goes back to the old system by itself");
		return bl_buf_steal(&b);
	}
	if (!system)
		system = bl_kv_get(host->facts, "system");
	if (!system)
		return bl_xstrdup("as before");
	bl_buf_printf(&b, "runs %s", bl_store_path_name(system));
	const char *boots = bl_kv_get(host->last, "boot_default");
	if (boots && *boots && strcmp(boots, system) != 0)
		bl_buf_printf(&b, ", but would boot %s", bl_store_path_name(boots));
	else if (boots && *boots)
		bl_buf_puts(&b, " and would boot it");
	if (host->seen)
		bl_buf_puts(&b, "; reachable");
	if (*remark)
		bl_buf_printf(&b, "; %s", remark);
	return bl_buf_steal(&b);
}
