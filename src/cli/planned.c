/* SPDX-License-Identifier: MIT */
#include "cli/planned.h"

#include "store/parts.h"
#include "store/path.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- working out */

static int by_path(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What of @c the host lacks. */
static void count_copies(const struct bl_closure *c, const struct bl_strv *missing,
			 struct bl_planned *out)
{
	bl_autofree const char **sorted = bl_xcalloc(missing->n + 1, sizeof(*sorted));
	for (size_t i = 0; i < missing->n; i++)
		sorted[i] = missing->items[i];
	qsort(sorted, missing->n, sizeof(*sorted), by_path);
	for (size_t i = 0; i < c->n; i++) {
		const char *path = c->paths[i].path;
		if (!bsearch(&path, sorted, missing->n, sizeof(*sorted), by_path))
			continue;
		out->copy_paths++;
		out->copy_bytes += c->paths[i].size_bytes;
	}
}

static char *join(const struct bl_strv *list)
{
	BL_AUTO(bl_buf) b = { 0 };
	for (size_t i = 0; i < list->n; i++)
		bl_buf_printf(&b, "%s%s", i ? ", " : "", list->items[i]);
	bl_autofree char *text = bl_buf_steal(&b);
	return bl_visible(text);
}

void bl_planned_make(const struct bl_node *node, const struct bl_survey *host,
		     const struct bl_closure *closure, const struct bl_kv *parts,
		     struct bl_planned *out)
{
	*out = (struct bl_planned){ .node = node, .host = host, .closure = closure };
	if (host->err.code != BL_E_NONE)
		return;
	if (node->built_there) {
		out->closure = &host->new;
		parts = &host->new_parts;
	}
	out->same = strcmp(host->system, node->out_path) == 0 &&
		    strcmp(host->profile, node->out_path) == 0;
	bl_closure_compare(&host->old, out->closure, &out->diff);
	count_copies(out->closure, &host->missing, out);
	bl_boot_parts_changed(&host->booted_parts, parts, &out->boot);
	bl_network_parts_changed(&host->old_parts, parts, &out->network);
	bl_autofree char *boot = join(&out->boot);
	bl_autofree char *network = join(&out->network);
	out->strategy = bl_strategy_choose(&node->plan, *boot ? boot : NULL,
					   *network ? network : NULL, &out->unproven);
}

void bl_planned_free(struct bl_planned *p)
{
	bl_closure_diff_free(&p->diff);
	bl_strv_free(&p->boot);
	bl_strv_free(&p->network);
	free(p->unproven);
	free(p->units);
	free(p->units_problem);
	*p = (struct bl_planned){ 0 };
}

/* ---- for people */

static void print_unreachable(const struct bl_planned *p)
{
	/* "what; what helps" */
	bl_autofree char *text = bl_visible(p->host->err.msg);
	char *remedy = strstr(text, "; ");
	if (remedy)
		*remedy = '\0';
	bool reached = p->host->err.code == BL_E_FAILED || p->host->err.code == BL_E_INPUT;
	printf("%s: %s: %s\n", p->node->name, reached ? "cannot tell" : "unreachable", text);
	if (remedy)
		printf("  next:     %s\n", remedy + 2);
}

static void print_copy(const struct bl_planned *p)
{
	BL_AUTO(bl_buf) b = { 0 };
	bl_buf_put_bytes(&b, p->copy_bytes);
	if (p->node->built_there)
		puts("  copy:     nothing, it was built there");
	else if (p->copy_paths == 0)
		puts("  copy:     nothing, all of it is there");
	else
		printf("  copy:     %zu of %zu paths, %s%s\n", p->copy_paths, p->closure->n,
		       bl_buf_str(&b),
		       p->node->substitute_on_target
			       ? ", less what the host fetches from its own substituters"
			       : "");
}

static void print_boot(const struct bl_planned *p)
{
	bl_autofree char *parts = join(&p->boot);
	bool boots = bl_strategy_boots(p->strategy);
	if (p->boot.n == 0) {
		puts("  boot:     nothing changes");
		return;
	}
	printf("  boot:     %s: %s\n", parts,
	       boots ? "the new ones run when it boots to try the system"
		     : "the new ones run after the next reboot");
}

static void print_strategy(const struct bl_planned *p)
{
	static const char *const what[BL_STRATEGY_NSTRATEGIES] = {
		[BL_STRATEGY_AUTO] = "",
		[BL_STRATEGY_LIVE] = "beside the running kernel, no reboot",
		[BL_STRATEGY_BOOT] = "one reboot to try it, confirmed there",
		[BL_STRATEGY_LIVE_BOOT] =
			"beside the running kernel, then one reboot to try it",
		[BL_STRATEGY_KEXEC] = "one kexec to try it, confirmed there",
		[BL_STRATEGY_UNGUARDED] =
			"becomes the boot default without a proof, nothing is activated",
		[BL_STRATEGY_TEST] = "beside the running kernel, what boots stays as it is",
	};
	bool could_boot = p->node->plan.strategy == BL_STRATEGY_AUTO &&
			  p->strategy == BL_STRATEGY_LIVE && p->boot.n > 0;
	printf("  strategy: %s: %s\n", bl_strategy_name(p->strategy), what[p->strategy]);
	if (p->unproven)
		printf("            %s\n", p->unproven);
	if (could_boot)
		puts("            with `reboot` allowed it would be one reboot to try it");
}

static void print_packages(const struct bl_planned *p)
{
	BL_AUTO(bl_buf) size = { 0 };
	uint64_t old = p->host->old.size_bytes;
	uint64_t new = p->closure->size_bytes;
	size_t added = 0;
	size_t removed = 0;
	for (size_t i = 0; i < p->diff.n; i++) {
		added += p->diff.packages[i].old.n == 0;
		removed += p->diff.packages[i].new.n == 0;
	}
	bl_buf_put_bytes(&size, old);
	bl_buf_puts(&size, " -> ");
	bl_buf_put_bytes(&size, new);
	bl_buf_puts(&size, new < old ? " (-" : " (+");
	bl_buf_put_bytes(&size, new < old ? old - new : new - old);
	printf("  closure:  %s)\n", bl_buf_str(&size));
	printf("  packages: %zu added, %zu removed, %zu with other versions, %zu only rebuilt\n",
	       added, removed, p->diff.n - added - removed, p->diff.rebuilt);
	for (size_t i = 0; i < p->diff.n; i++) {
		const struct bl_package *k = &p->diff.packages[i];
		bl_autofree char *was = bl_package_versions(&k->old);
		bl_autofree char *is = bl_package_versions(&k->new);
		if (k->old.n == 0 || k->new.n == 0)
			printf("    %c %s%s%s\n", k->old.n == 0 ? '+' : '-', k->name,
			       *was || *is ? " " : "", k->old.n == 0 ? is : was);
		else
			printf("    * %s: %s -> %s\n", k->name, *was ? was : "no version",
			       *is ? is : "no version");
	}
}

static void print_units(const struct bl_planned *p)
{
	BL_AUTO(bl_strv) lines = { 0 };
	if (p->units_problem) {
		bl_autofree char *text = bl_visible(p->units_problem);
		printf("  units:    not known: %s\n", text);
	}
	if (!p->units)
		return;
	printf("  units:    what its dry-activate says%s\n",
	       p->node->built_there || p->node->plan.local ? ""
							   : " (the closure was copied there)");
	bl_strv_split(&lines, p->units, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		bl_autofree char *line = bl_visible(lines.items[i]);
		printf("    %s\n", line);
	}
}

/* What runs, what would, and what keeps a deployment from beginning. */
static void print_systems(const struct bl_planned *p)
{
	const struct bl_survey *h = p->host;
	const char *name = p->node->name;
	const char *old = bl_store_path_name(h->system);
	const char *new = bl_store_path_name(p->node->out_path);
	bool drifted = strcmp(h->system, h->profile) != 0;
	if (strcmp(h->system, p->node->out_path) == 0)
		printf("%s: %s runs already, but generation %llu is %s: it would become what boots\n",
		       name, new, (unsigned long long)h->generation,
		       bl_store_path_name(h->profile));
	else
		printf("%s: %s (generation %llu) -> %s%s\n", name, old,
		       (unsigned long long)h->generation, new,
		       strcmp(old, new) == 0 ? " (of another build)" : "");
	if (drifted && strcmp(h->system, p->node->out_path) != 0)
		printf("  drift:    it runs %s, but its profile names %s: deploy needs --force-drift\n",
		       old, bl_store_path_name(h->profile));
}

void bl_planned_print(const struct bl_planned *p)
{
	bl_autofree char *network = join(&p->network);
	if (p->host->err.code != BL_E_NONE) {
		print_unreachable(p);
		return;
	}
	if (p->same) {
		printf("%s: runs %s, generation %llu: nothing to do\n", p->node->name,
		       bl_store_path_name(p->host->system),
		       (unsigned long long)p->host->generation);
		return;
	}
	print_systems(p);
	printf("  network:  %s\n", p->network.n ? network : "nothing changes");
	print_boot(p);
	print_strategy(p);
	print_copy(p);
	print_packages(p);
	print_units(p);
}

/* ---- for programs */

/* NULL is null; what is not UTF-8 is better lost than the line. */
static json_t *string(const char *text)
{
	json_t *s = text ? json_string(text) : json_null();
	return s ? s : json_string("?");
}

static json_t *strings(const struct bl_strv *list)
{
	json_t *a = json_array();
	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(a, string(list->items[i]));
	return a;
}

static json_t *lines_of(const char *text)
{
	BL_AUTO(bl_strv) lines = { 0 };
	if (!text)
		return json_null();
	bl_strv_split(&lines, text, '\n');
	return strings(&lines);
}

static void put_packages(json_t *o, const struct bl_planned *p)
{
	json_t *added = json_array();
	json_t *removed = json_array();
	json_t *changed = json_array();
	for (size_t i = 0; i < p->diff.n; i++) {
		const struct bl_package *k = &p->diff.packages[i];
		bl_autofree char *was = bl_package_versions(&k->old);
		bl_autofree char *is = bl_package_versions(&k->new);
		if (k->old.n && k->new.n)
			json_array_append_new(changed,
					      json_pack("{s:s,s:s,s:s}", "name", k->name, "old",
							was, "new", is));
		else
			json_array_append_new(k->old.n ? removed : added,
					      json_pack("{s:s,s:s}", "name", k->name, "version",
							k->old.n ? was : is));
	}
	json_object_set_new(o, "added", added);
	json_object_set_new(o, "removed", removed);
	json_object_set_new(o, "changed", changed);
	json_object_set_new(o, "rebuilt", json_integer((json_int_t)p->diff.rebuilt));
}

static json_t *boot_of(const struct bl_planned *p)
{
	static const struct {
		const char *part, *key;
	} named[] = { { "kernel", "kernel" },
		      { "initrd", "initrd" },
		      { "kernel-modules", "modules" },
		      { "kernel-params", "params" } };
	json_t *o = json_object();
	for (size_t i = 0; i < BL_COUNT(named); i++)
		json_object_set_new(o, named[i].key,
				    json_boolean(bl_strv_has(&p->boot, named[i].part)));
	json_object_set_new(o, "changed", strings(&p->boot));
	return o;
}

static void put_plan(json_t *o, const struct bl_planned *p)
{
	const struct bl_survey *h = p->host;
	json_object_set_new(o, "system_old", string(h->system));
	json_object_set_new(o, "profile", string(h->profile));
	json_object_set_new(o, "generation", json_integer((json_int_t)h->generation));
	json_object_set_new(o, "same", json_boolean(p->same));
	put_packages(o, p);
	json_object_set_new(o, "copy",
			    json_pack("{s:I,s:I}", "paths", (json_int_t)p->copy_paths, "bytes",
				      (json_int_t)p->copy_bytes));
	json_object_set_new(o, "closure",
			    json_pack("{s:I,s:I}", "old_bytes", (json_int_t)h->old.size_bytes,
				      "new_bytes", (json_int_t)p->closure->size_bytes));
	json_object_set_new(o, "boot", boot_of(p));
	json_object_set_new(o, "network", strings(&p->network));
	json_object_set_new(o, "strategy", string(bl_strategy_name(p->strategy)));
	json_object_set_new(o, "unproven", string(p->unproven));
	json_object_set_new(o, "units", lines_of(p->units));
	if (p->units_problem)
		json_object_set_new(o, "reason", string(p->units_problem));
}

void bl_planned_print_json(const struct bl_planned *p)
{
	enum bl_errc code = p->host->err.code;
	bool reached = code == BL_E_NONE || code == BL_E_FAILED || code == BL_E_INPUT;
	json_t *o = json_object();
	json_object_set_new(o, "event", json_string("plan"));
	json_object_set_new(o, "host", string(p->node->name));
	json_object_set_new(o, "reachable", json_boolean(reached));
	json_object_set_new(o, "system_new", string(p->node->out_path));
	if (code == BL_E_NONE)
		put_plan(o, p);
	else
		json_object_set_new(o, "reason", string(p->host->err.msg));
	bl_autofree char *text = json_dumps(o, JSON_COMPACT);
	if (text)
		puts(text);
	json_decref(o);
}
