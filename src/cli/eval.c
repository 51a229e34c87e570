/* SPDX-License-Identifier: MIT */
/* `belay eval`: the fleet document of the nodes that are selected. */
#include "cli/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_option options[] = {
	{ "settings", 0, BL_OPT_FLAG, NULL, "without the systems, which is fast",
	  offsetof(struct bl_args, settings), 0, 0 },
	{ "keep-going", 'k', BL_OPT_FLAG, NULL, "leave out nodes whose system fails",
	  offsetof(struct bl_args, keep_going), 0, 0 },
	BL_FLEET_OPTIONS,
	BL_EVAL_OPTIONS,
	{ "json", 0, BL_OPT_NONE, NULL, "is always so", 0, 0, 0 },
	BL_HELP_OPTION,
};

/* Canaries are named by a selection, which names nobody that the document does not have. */
static bool canaries_are_among(const struct bl_fleet *fleet, const struct bl_selection *sel)
{
	BL_AUTO(bl_strv) words = { 0 };
	BL_AUTO(bl_selection) named = { 0 };
	/* borrows everything of its nodes */
	bl_autofree struct bl_node *nodes = bl_xcalloc(sel->n + 1, sizeof(*nodes));
	const struct bl_fleet part = { .nodes = nodes, .n = sel->n };
	for (size_t i = 0; i < sel->n; i++)
		nodes[i] = *sel->nodes[i];
	bl_strv_add(&words, fleet->rollout.canary);
	return bl_select(&part, &words, &named, NULL) == 0;
}

static void leave_out_canaries(const struct bl_fleet *fleet, json_t *doc)
{
	bl_autofree char *canary = bl_visible(fleet->rollout.canary);
	json_t *rollout = json_copy(json_object_get(doc, "rollout"));
	json_object_set_new(rollout, "canary", json_null());
	json_object_set_new(doc, "rollout", rollout);
	fprintf(stderr,
		"note: rollout.canary is left out: '%s' is not all among the nodes printed\n",
		canary);
}

/* The document with the selected nodes alone, as new; NULL: out of memory. */
static json_t *document_of(const struct bl_fleet *fleet, const struct bl_selection *sel,
			   bool settings)
{
	json_t *all = json_object_get(fleet->document, "nodes");
	json_t *doc = json_copy(fleet->document);
	json_t *nodes = json_object();
	for (size_t i = 0; i < sel->n; i++) {
		const char *name = sel->nodes[i]->name;
		json_t *node = json_copy(json_object_get(all, name));
		if (settings) {
			json_object_del(node, "toplevel");
			json_object_del(node, "system");
		}
		json_object_set_new(nodes, name, node);
	}
	json_object_set_new(doc, "nodes", nodes);
	if (fleet->rollout.canary && !canaries_are_among(fleet, sel))
		leave_out_canaries(fleet, doc);
	return doc;
}

static int print(const json_t *doc, struct bl_err *err)
{
	if (json_dumpf(doc, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF ||
	    fflush(stdout) == EOF)
		return bl_err_sys(err, errno, "print the document");
	return 0;
}

static int run_eval(const struct bl_args *args)
{
	struct bl_err err = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	BL_AUTO(bl_selection) sel = { 0 };
	size_t failed = 0;
	if (bl_cmd_fleet(args, &source, &fleet, &sel, &err) < 0 ||
	    (!args->settings &&
	     bl_cmd_evaluate(args, &source, &fleet, &sel, &failed, &err) < 0))
		return bl_cmd_fail(&err);
	json_t *doc = document_of(&fleet, &sel, args->settings);
	int rc = print(doc, &err);
	json_decref(doc);
	if (rc < 0)
		return bl_cmd_fail(&err);
	return failed ? BL_EXIT_FAILED : BL_EXIT_OK;
}

const struct bl_command bl_cmd_eval = {
	.name = "eval",
	.words = "[HOST|GLOB|@TAG]...",
	.summary = "Print what Nix makes of the fleet, as JSON",
	.details =
		"\nThe document has the selected nodes with their systems, and is read again with\n"
		"--fleet-json. Nothing is built and no host is asked. With --settings it is not\n"
		"complete: the systems are missing, and it cannot be given back.\n",
	.options = options,
	.words_max = 10000,
	.run = run_eval,
};
