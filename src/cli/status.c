/* SPDX-License-Identifier: MIT */
/* `belay status` and `belay abort`: one question to each host. */
#include "cli/ask.h"

#include "store/path.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_option options[] = {
	BL_FLEET_OPTIONS,
	BL_COMMON_OPTIONS,
};

static void print_json(const struct bl_node *node, const struct bl_answer *a)
{
	static const char *const keys[] = { "system",  "booted",       "profile",
					    "loader",  "boot_default", "loader_problem",
					    "boot_id", "state",        "old",
					    "new",     "owner",        "run",
					    "reason",  "remark" };
	json_t *o = json_object();
	json_object_set_new(o, "event", json_string("status"));
	json_object_set_new(o, "host", json_string(node->name));
	json_object_set_new(o, "reachable", json_boolean(a->reached));
	if (a->what) {
		json_t *what = json_string(a->what);
		json_object_set_new(o, "reason", what ? what : json_string("?"));
	}
	for (size_t i = 0; !a->what && i < BL_COUNT(keys); i++) {
		const char *v = bl_kv_get(&a->hello.kv, keys[i]);
		/* NULL: not UTF-8; better no key than no line */
		json_t *s = v ? json_string(v) : NULL;
		if (s)
			json_object_set_new(o, keys[i], s);
	}
	if (a->hello.kv.n) {
		json_int_t generation = (json_int_t)bl_kv_u64_or(&a->hello.kv, "generation", 0);
		json_int_t epoch = (json_int_t)bl_kv_u64_or(&a->hello.kv, "epoch", 0);
		json_object_set_new(o, "generation", json_integer(generation));
		json_object_set_new(o, "epoch", json_integer(epoch));
		json_object_set_new(o, "bootProven",
				    json_boolean(bl_kv_bool(&a->hello.kv, "boot_proven")));
	}
	bl_autofree char *text = json_dumps(o, JSON_COMPACT);
	if (text)
		puts(text);
	json_decref(o);
}

static void print_txn(const struct bl_kv *kv)
{
	const char *state = bl_kv_str(kv, "state");
	bl_autofree char *reason = bl_visible(bl_kv_str(kv, "reason"));
	bl_autofree char *remark = bl_visible(bl_kv_str(kv, "remark"));
	bl_autofree char *owner = bl_visible(bl_kv_str(kv, "owner"));
	if (strcmp(state, "NONE") == 0) {
		puts("  transaction: none yet");
		return;
	}
	printf("  transaction: %s %s, by %s%s%s\n", bl_kv_str(kv, "epoch"), state, owner,
	       *reason ? ": " : "", reason);
	if (*remark)
		printf("  remark:      %s\n", remark);
	if (bl_kv_bool(kv, "open"))
		printf("  next:        it ends by itself%s%llu s\n",
		       bl_kv_get(kv, "left_ms") ? " within " : "; its limit was ",
		       (unsigned long long)bl_kv_u64_or(kv, "left_ms", 0) / 1000 + 1);
}

static void print_plain(const struct bl_node *node, const struct bl_answer *a)
{
	const struct bl_kv *kv = &a->hello.kv;
	if (a->what) {
		bl_autofree char *what = bl_visible(a->what);
		bl_autofree char *remedy = bl_visible(a->remedy ? a->remedy : "");
		printf("%s: %s: %s\n  next:        %s\n", node->name,
		       a->reached ? "reachable" : "unreachable", what, remedy);
		return;
	}
	if (a->no_agent) {
		printf("%s: reachable; no agent of this version of belay is there yet\n"
		       "  next:        belay deploy %s\n",
		       node->name, node->name);
		return;
	}
	const char *system = bl_kv_str(kv, "system");
	const char *boots = bl_kv_str(kv, "boot_default");
	const char *profile = bl_kv_str(kv, "profile");
	bl_autofree char *problem = bl_visible(bl_kv_str(kv, "loader_problem"));
	bool same = strcmp(system, profile) == 0 && (!*boots || strcmp(system, boots) == 0) &&
		    !*problem;
	bl_autofree char *name = bl_visible(bl_store_path_name(system));
	printf("%s: runs %s, generation %s%s\n", node->name, name, bl_kv_str(kv, "generation"),
	       same ? ", and would boot it" : "");
	if (!same && *problem)
		printf("  would boot:  cannot be told: %s\n", problem);
	else if (!same)
		printf("  would boot:  %s; profile: %s\n",
		       bl_store_path_name(*boots ? boots : profile),
		       bl_store_path_name(profile));
	if (bl_kv_get(kv, "boot_proven") && !bl_kv_bool(kv, "boot_proven"))
		printf("  boot not proven: it booted %s, and what would boot never has yet\n",
		       bl_store_path_name(bl_kv_str(kv, "booted")));
	print_txn(kv);
}

/* Reads and selects, then puts @question (0: none) to each host. */
static int ask_fleet(const struct bl_args *args, int question, struct bl_fleet *fleet,
		     struct bl_selection *sel, struct bl_answer **out, struct bl_err *err)
{
	BL_AUTO(bl_source) source = { 0 };
	if (bl_cmd_fleet(args, &source, fleet, sel, err) < 0 ||
	    bl_cmd_agents(fleet, sel, err) < 0)
		return -1;
	bl_cmd_addresses(fleet, sel);
	return bl_ask(sel, question, args->run, out, err);
}

static int run_status(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	struct bl_answer *answers = NULL;
	int code = BL_EXIT_OK;
	if (ask_fleet(args, 0, &fleet, &sel, &answers, &err) < 0)
		return bl_cmd_fail(&err);
	for (size_t i = 0; i < sel.n; i++) {
		if (args->json)
			print_json(sel.nodes[i], &answers[i]);
		else
			print_plain(sel.nodes[i], &answers[i]);
		if (answers[i].what)
			code = code == BL_EXIT_OK ? BL_EXIT_FAILED : code;
		if (strcmp(bl_kv_str(&answers[i].hello.kv, "state"), "STUCK") == 0)
			code = BL_EXIT_STUCK;
	}
	bl_answers_free(answers, sel.n);
	return code;
}

static void print_abort_json(const char *host, bool ok, const char *reason)
{
	json_t *o = json_pack("{s:s,s:s,s:b,s:s}", "event", "abort", "host", host, "aborted",
			      ok, "reason", ok ? "" : reason);
	bl_autofree char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (text)
		puts(text);
	json_decref(o);
}

static const struct bl_option abort_options[] = {
	{ "run", 0, BL_OPT_STRING, "ID", "only transactions of this run",
	  offsetof(struct bl_args, run), 0, 0 },
	BL_FLEET_OPTIONS,
	BL_COMMON_OPTIONS,
};

static int run_abort(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	struct bl_answer *answers = NULL;
	int code = BL_EXIT_OK;
	if (args->on.n == 0 && !args->run) {
		err.code = BL_E_USAGE;
		snprintf(
			err.msg, sizeof(err.msg),
			"abort wants hosts ('*' stands for all) or --run; see belay abort --help");
		return bl_cmd_fail(&err);
	}
	if (ask_fleet(args, BL_MSG_ABORT, &fleet, &sel, &answers, &err) < 0)
		return bl_cmd_fail(&err);
	for (size_t i = 0; i < sel.n; i++) {
		const struct bl_answer *a = &answers[i];
		bool ok = a->reached && a->reply.kv.n == 0 && a->reply.type == BL_MSG_OK;
		const char *said = a->what ? a->what : bl_kv_str(&a->reply.kv, "reason");
		bl_autofree char *reason =
			bl_visible(*said ? said : "no agent of this version of belay is there");
		if (args->json)
			print_abort_json(sel.nodes[i]->name, ok, reason);
		else
			printf("%s: %s%s\n", sel.nodes[i]->name,
			       ok && strcmp(bl_kv_str(&a->hello.kv, "state"), "STUCK") == 0
				       ? "is taken for mended, and can be deployed to again"
			       : ok ? "goes back to its old system; `belay status` shows when it has"
				    : "not aborted: ",
			       ok ? "" : reason);
		if (!ok)
			code = BL_EXIT_FAILED;
	}
	bl_answers_free(answers, sel.n);
	return code;
}

const struct bl_command bl_cmd_status = {
	.name = "status",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Show what hosts run, would boot, and their last transaction",
	.details = "\nAsks each host over a fresh connection; changes nothing.\n",
	.options = options,
	.words_max = 10000,
	.run = run_status,
};

const struct bl_command bl_cmd_abort = {
	.name = "abort",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Send hosts back whose deployment is not confirmed yet",
	.details =
		"\nThe host rolls back at once instead of at its deadline. A deployment that is\n"
		"confirmed cannot be aborted: deploy the older system. Of a host that is STUCK it\n"
		"says that a person has mended it: then it is deployed to again.\n",
	.options = abort_options,
	.words_max = 10000,
	.run = run_abort,
};
