/* SPDX-License-Identifier: MIT */
/*
 * What the deployer wants beyond "this system": how NEW is tried and what has to hold before it
 * is confirmed. It goes over the wire with the start and stays in the transaction's folder,
 * where it is never changed.
 */
#ifndef BELAY_GUARD_PLAN_H
#define BELAY_GUARD_PLAN_H

#include "base/kv.h"
#include "base/str.h"

enum bl_strategy {
	BL_STRATEGY_AUTO, /* live, or boot where NEW boots otherwise and a reboot is allowed */
	BL_STRATEGY_LIVE,
	BL_STRATEGY_BOOT,      /* one reboot into NEW, which is confirmed there */
	BL_STRATEGY_LIVE_BOOT, /* live with a provisional confirmation, then as boot */
	BL_STRATEGY_KEXEC,     /* as boot, without firmware and loader */
	BL_STRATEGY_UNGUARDED, /* NEW becomes the boot default unproven; nothing is activated */
	BL_STRATEGY_TEST,      /* as live, but what boots stays as it is */
	BL_STRATEGY_NSTRATEGIES,
};

/* Whether a host that went back live, and that nobody reached then either, reboots into OLD. */
enum bl_rollback_reboot {
	BL_RB_REBOOT_AUTO, /* where NEW changed how it is reached: something of it may be left
			    */
	BL_RB_REBOOT_ALWAYS,
	BL_RB_REBOOT_NEVER,
	BL_RB_REBOOT_NMODES,
};

enum bl_units_policy {
	BL_UNITS_NEW_FAILURES, /* a unit that is failed and was not failed before */
	BL_UNITS_STRICT,       /* any failed unit */
	BL_UNITS_LISTED,       /* only a failed unit of the list */
	BL_UNITS_IGNORE,       /* none */
	BL_UNITS_NPOLICIES,
};

enum bl_check_type {
	BL_CHECK_UNIT,
	BL_CHECK_TCP,
	BL_CHECK_HTTP,
	BL_CHECK_COMMAND,
	BL_CHECK_DNS,
	BL_CHECK_ROUTE,
	BL_CHECK_FILE,
	BL_CHECK_NTYPES,
};

struct bl_check {
	char *name; /* for people; never empty */
	enum bl_check_type type;
	bool on_deployer; /* else on the target */
	bool advisory;    /* a failure is told and decides nothing */
	uint32_t timeout_ms, retries, hold_ms;
	/* unit: its name; tcp: host; http: url; command: a line for sh; dns: name; file: path;
	 * route: "" (the default route) */
	char *what;
	uint32_t port;   /* tcp */
	uint32_t status; /* http: 0 is any of 2xx */
	char *contains;  /* http, file: "" is anything */
};

struct bl_plan {
	enum bl_strategy strategy;
	bool reboot_allowed; /* for auto */
	bool local;     /* the deployer works on the host itself: no sshd need be above it */
	bool any_login; /* no new login need confirm: whoever asked vouches for the way there */
	uint32_t boot_ms; /* from the reboot until NEW answers */
	enum bl_rollback_reboot rollback_reboot;
	enum bl_units_policy units;
	struct bl_strv ignore_units, listed_units;
	char *pre_activate, *post_rollback; /* lines for sh on the target; "" is none */
	struct bl_check *checks;
	size_t n_checks;
};

const char *bl_strategy_name(enum bl_strategy strategy); /* "live+boot" */
int bl_strategy_parse(const char *name, enum bl_strategy *out,
		      struct bl_err *err) BL_MUST_CHECK;
int bl_rollback_reboot_parse(const char *name, enum bl_rollback_reboot *out,
			     struct bl_err *err) BL_MUST_CHECK;
const char *bl_units_policy_name(enum bl_units_policy policy); /* "new-failures" */
int bl_units_policy_parse(const char *name, enum bl_units_policy *out,
			  struct bl_err *err) BL_MUST_CHECK;
const char *bl_check_type_name(enum bl_check_type type); /* "http" */
int bl_check_type_parse(const char *name, enum bl_check_type *out,
			struct bl_err *err) BL_MUST_CHECK;

/* What nobody said: auto, no reboot, 300 s, new failures, no checks, no hooks. */
void bl_plan_init(struct bl_plan *plan);
void bl_plan_free(struct bl_plan *plan);
void bl_check_free(struct bl_check *check);
/* Takes over what @check owns. */
void bl_plan_add_check(struct bl_plan *plan, struct bl_check *check);
/* Whether NEW may boot in this transaction before it is committed. */
bool bl_strategy_boots(enum bl_strategy strategy);
/*
 * What @plan's strategy comes to where these parts of how the host boots and of how it is
 * reached change ("kernel, initrd"; NULL: none): `auto` is boot where it boots otherwise and a
 * reboot is allowed, else live. @out_remark says what stays unproven; a new string, NULL:
 * nothing does.
 */
enum bl_strategy bl_strategy_choose(const struct bl_plan *plan, const char *boot,
				    const char *network, char **out_remark);

/*
 * How long the checks of one side take at the most, milliseconds: they run side by side, so the
 * longest counts, with a second between tries and one asking at the end of its hold.
 */
uint64_t bl_plan_checks_ms(const struct bl_plan *plan);          /* on the target */
uint64_t bl_plan_deployer_checks_ms(const struct bl_plan *plan); /* on the deployer */

/* Sets the plan's keys in @out; the deployer's own checks are left out. */
void bl_plan_tell(const struct bl_plan *plan, struct bl_kv *out);
/*
 * Reads them back; other keys are passed over, a missing key has its default of bl_plan_init.
 * Refuses (BL_E_INPUT) what is malformed, and names it. On success the caller owns @out.
 */
int bl_plan_read(const struct bl_kv *kv, struct bl_plan *out, struct bl_err *err) BL_MUST_CHECK;

static inline void bl_plan_autop(struct bl_plan *plan)
{
	bl_plan_free(plan);
}

static inline void bl_check_autop(struct bl_check *check)
{
	bl_check_free(check);
}

#endif
