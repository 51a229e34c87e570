/* SPDX-License-Identifier: MIT */
/* Reads the fleet JSON: the document, its nodes, and what of a node is not its plan. */
#include "fleet/fleet.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fleet/field.h"
#include "fleet/phases.h"
#include "fleet/plan.h"
#include "store/path.h"

#define MAX_BYTES (16U << 20)
#define MAX_DEPTH 8 /* the document has 6: document, nodes, node, checks, check, text */
#define MAX_NODES 10000
#define MAX_NOTES 1000

/* What is read of a node, with what decides a default but is not kept. */
struct draft {
	struct bl_node node;
	struct bl_strv notes;
	bool fast, ignore_failing_units;
};

/* Goes into a shell's command line and into a URL as it stands. */
static bool is_plain_word(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!bl_is_alpha(*p) && !bl_is_digit(*p) && !strchr("_./=+:@-", *p))
			return false;
	return bl_is_word(s);
}

/*
 * What ssh gets as its destination. The characters are those that OpenSSH 9.6 refuses itself,
 * since they would reach a shell through %h in ProxyCommand (CVE-2023-51385); older ones do
 * not.
 */
static bool is_host(const char *s)
{
	const char *at = strrchr(s, '@');
	const char *host = at ? at + 1 : s;
	return bl_is_word(s) && !strpbrk(s, " '`\"$\\;&<>|(){}") && *s != '-' && *s != '@' &&
	       *host && *host != '-';
}

static int read_host(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct draft *d = to;
	const char *s = json_string_value(v);
	if (!s || !is_host(s))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&d->node.host, s);
	return 0;
}

static int read_system(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct draft *d = to;
	const char *s = json_string_value(v);
	if (json_is_null(v))
		return 0;
	if (!s || !bl_is_name(s))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&d->node.system, s);
	return 0;
}

static int read_drv_path(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct draft *d = to;
	const char *s = json_string_value(v);
	if (json_is_null(v))
		return 0;
	if (!s || !bl_store_path_ok(s) || !bl_ends_with(s, ".drv"))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&d->node.drv_path, s);
	return 0;
}

static int read_out_path(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct draft *d = to;
	const char *s = json_string_value(v);
	if (!s || !bl_store_path_ok(s) || bl_ends_with(s, ".drv"))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&d->node.out_path, s);
	return 0;
}

/* What stands behind ssh's HostName. */
static bool is_address(const char *s)
{
	return is_host(s) && !strchr(s, '@');
}

static int read_addresses(const struct bl_field *f, const json_t *v, void *to,
			  struct bl_err *err)
{
	struct draft *d = to;
	return bl_read_list(f, v, is_address, &d->node.addresses, err);
}

static int read_tags(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct draft *d = to;
	return bl_read_list(f, v, bl_is_name, &d->node.tags, err);
}

static int read_build_on(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct draft *d = to;
	bool target = bl_str_eq(json_string_value(v), "target");
	if (!target && !bl_str_eq(json_string_value(v), "deployer"))
		return bl_field_wrong(f, v, err);
	d->node.build_on_target = target;
	return 0;
}

static int read_node_notes(const struct bl_field *f, const json_t *v, void *to,
			   struct bl_err *err)
{
	struct draft *d = to;
	return bl_read_list(f, v, bl_is_word, &d->notes, err);
}

static int read_elevate(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct draft *d = to;
	return bl_read_list(f, v, is_plain_word, &d->node.elevate, err);
}

/*
 * "Key=Value" or "Key Value". ssh itself would also read a keyword in quotes or behind blanks;
 * only the plain form is taken, so that the list below cannot be walked around.
 */
static bool is_ssh_option(const char *s)
{
	size_t key = 0;
	while (bl_is_alpha(s[key]) || (key > 0 && bl_is_digit(s[key])))
		key++;
	const char *value = s + key + strspn(s + key, " =");
	return bl_is_word(s) && key > 0 && value > s + key && *value;
}

static const char why_shared[] =
	"belay decides itself which connections are shared, since a confirmation must be a fresh one";
static const char why_batch[] = "nobody can type a password while a host waits for its "
				"confirmation, so belay always asks for none";
static const char why_pipe[] =
	"belay talks to its agent through the input and output of this very connection";
static const char why_local[] = "it would run a program here with every connection";
static const char why_keys[] =
	"it would deploy to whoever answers; add the host's key to a known_hosts file instead";

static const struct {
	const char *key;
	const char *value; /* NULL: any value is refused */
	const char *why;
} refused_options[] = {
	{ "ControlMaster", NULL, why_shared },
	{ "ControlPath", NULL, why_shared },
	{ "ControlPersist", NULL, why_shared },
	{ "BatchMode", NULL, why_batch },
	{ "StrictHostKeyChecking", "no", why_keys },
	{ "StrictHostKeyChecking", "off", why_keys },
	{ "RequestTTY", NULL, why_pipe },
	{ "RemoteCommand", NULL, why_pipe },
	{ "ForkAfterAuthentication", NULL, why_pipe },
	{ "SessionType", NULL, why_pipe },
	{ "StdinNull", NULL, why_pipe },
	{ "LocalCommand", NULL, why_local },
	{ "PermitLocalCommand", NULL, why_local },
};

/* The value as ssh takes it: quotes and backslashes are gone, and so is what follows a blank.
 */
static char *option_value(const char *s)
{
	struct bl_buf b = { 0 };
	for (; *s && *s != ' '; s++)
		if (!strchr("\"'\\", *s))
			bl_buf_putc(&b, *s);
	return bl_buf_steal(&b);
}

static const char *why_refused(const char *option)
{
	size_t len = strcspn(option, " =");
	bl_autofree char *value = option_value(option + len + strspn(option + len, " =\"'"));
	for (size_t i = 0; i < BL_COUNT(refused_options); i++) {
		const char *key = refused_options[i].key;
		const char *bad = refused_options[i].value;
		if (strlen(key) == len && strncasecmp(key, option, len) == 0 &&
		    (!bad || strcasecmp(bad, value) == 0))
			return refused_options[i].why;
	}
	return NULL;
}

static int read_ssh_options(const struct bl_field *f, const json_t *v, void *to,
			    struct bl_err *err)
{
	struct draft *d = to;
	struct bl_strv *options = &d->node.ssh_options;
	if (bl_read_list(f, v, is_ssh_option, options, err) < 0)
		return -1;
	for (size_t i = 0; i < options->n; i++) {
		const char *why = why_refused(options->items[i]);
		if (why)
			return bl_err_set(err, BL_E_INPUT, "'%s' has \"%.60s\"; remove it: %s",
					  f->key, options->items[i], why);
	}
	return 0;
}

static bool is_output(const char *s)
{
	const char *output = strchr(s, '!');
	if (!output || !bl_is_name(output + 1))
		return false;
	bl_autofree char *drv = bl_xstrndup(s, (size_t)(output - s));
	return bl_store_path_ok(drv) && bl_ends_with(drv, ".drv");
}

static int read_script_needs(const struct bl_field *f, const json_t *v, void *to,
			     struct bl_err *err)
{
	struct draft *d = to;
	return bl_read_list(f, v, is_output, &d->node.script_needs, err);
}

static int read_toplevel(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct draft *d = to;
	static const struct bl_field fields[] = {
		{ "drvPath", read_drv_path, 0,
		  "null or a path " BL_STORE_DIR "/<hash>-<name>.drv" },
		{ "path", read_out_path, 0,
		  "the path " BL_STORE_DIR "/<hash>-<name> of a built system" },
	};
	if (!json_is_object(v))
		return bl_field_wrong(f, v, err);
	if (bl_fields_read(v, fields, BL_COUNT(fields), d, err) < 0)
		return bl_err_wrap(err, "'%s'", f->key);
	return 0;
}

#define PLAN offsetof(struct draft, node.plan)
#define TOPLEVEL_FIELD                                                          \
	{                                                                       \
		"toplevel", read_toplevel, 0, "an object with drvPath and path" \
	}
#define SYSTEM_FIELD                                                               \
	{                                                                          \
		"system", read_system, 0, "null or a system like \"x86_64-linux\"" \
	}

static const struct bl_field node_fields[] = {
	{ "enable", bl_read_bool, offsetof(struct draft, node.enable), BL_WANT_BOOL },
	{ "host", read_host, 0,
	  "what to give to ssh: \"user@host\", \"host\" or a name from ~/.ssh/config, "
	  "not beginning with '-' and without blanks, quotes and shell characters" },
	TOPLEVEL_FIELD,
	SYSTEM_FIELD,
	{ "successTimeout", bl_read_seconds, offsetof(struct draft, node.success_timeout_s),
	  BL_WANT_SECONDS },
	{ "switchTimeout", bl_read_seconds, offsetof(struct draft, node.switch_timeout_s),
	  BL_WANT_SECONDS },
	{ "ignoreFailingSystemdUnits", bl_read_bool,
	  offsetof(struct draft, ignore_failing_units), BL_WANT_BOOL },
	{ "privilegeEscalationCommand", read_elevate, 0,
	  "a list of words like [\"sudo\",\"-n\"]" },
	{ "hasFastConnection", bl_read_bool, offsetof(struct draft, fast), BL_WANT_BOOL },
	{ "substituteOnTarget", bl_read_bool, offsetof(struct draft, node.substitute_on_target),
	  BL_WANT_BOOL },
	{ "notes", read_node_notes, 0, "a list of texts, each of one line" },
	{ "buildOn", read_build_on, 0, "\"deployer\" or \"target\"" },
	{ "addresses", read_addresses, 0, "a list of names and addresses, without a user" },
	{ "tags", read_tags, 0,
	  "a list of texts of letters, digits, '_', '.' and '-', at most 128 long" },
	{ "sshOptions", read_ssh_options, 0,
	  "a list of options as `ssh -o` takes them, like \"Port=2222\", each on one line" },
	{ "strategy", bl_read_strategy, PLAN,
	  "\"auto\", \"live\", \"boot\", \"live+boot\", \"kexec\" or \"unguarded-boot\"" },
	{ "reboot", bl_read_reboot, PLAN, "\"never\" or \"allowed\"" },
	{ "rollbackReboot", bl_read_rollback_reboot, PLAN,
	  "\"auto\", \"always\" or \"never\"" },
	{ "bootTimeout", bl_read_ms, offsetof(struct draft, node.plan.boot_ms),
	  BL_WANT_SECONDS },
	{ "units", bl_read_units, PLAN, "an object with policy, ignore and listed" },
	{ "preparationPhases", bl_read_phases, offsetof(struct draft, node), BL_WANT_PHASES },
	{ "postDeployScript", bl_read_script, offsetof(struct draft, node.post_deploy),
	  BL_WANT_SCRIPT },
	{ "scriptNeeds", read_script_needs, 0,
	  "a list of outputs " BL_STORE_DIR "/<hash>-<name>.drv!<output>" },
	{ "preActivate", bl_read_script, offsetof(struct draft, node.plan.pre_activate),
	  BL_WANT_SCRIPT },
	{ "postRollback", bl_read_script, offsetof(struct draft, node.plan.post_rollback),
	  BL_WANT_SCRIPT },
	{ "checks", bl_read_checks, PLAN, "a list of at most 128 checks, each an object" },
};

static void node_free(struct bl_node *node)
{
	if (node->sudo_password)
		explicit_bzero(node->sudo_password, strlen(node->sudo_password));
	free(node->sudo_password);
	free(node->name);
	free(node->host);
	free(node->drv_path);
	free(node->out_path);
	free(node->system);
	free(node->agent);
	bl_strv_free(&node->elevate);
	bl_strv_free(&node->addresses);
	bl_strv_free(&node->tags);
	bl_strv_free(&node->ssh_options);
	bl_phases_free(node);
	bl_strv_free(&node->script_needs);
	free(node->post_deploy);
	bl_plan_free(&node->plan);
	*node = (struct bl_node){ 0 };
}

/* The defaults of docs/fleet-schema.md, as far as they are not made from other settings. */
static const struct bl_node new_node = { .enable = true,
					 .success_timeout_s = BL_SUCCESS_TIMEOUT_S,
					 .switch_timeout_s = 60 };

static void elevate_by_sudo(struct bl_node *node)
{
	bl_strv_add(&node->elevate, "sudo");
	bl_strv_add(&node->elevate, "-n");
}

/* And those that are, for what the document leaves out. */
static void fill_defaults(const json_t *object, struct draft *d)
{
	struct bl_node *node = &d->node;
	if (!json_object_get(object, "substituteOnTarget"))
		node->substitute_on_target = !d->fast;
	if (!json_object_get(object, "privilegeEscalationCommand"))
		elevate_by_sudo(node);
}

/* On failure @d is still to be freed. */
static int read_node(const json_t *v, void *to, struct bl_err *err)
{
	struct draft *d = to;
	if (!json_is_object(v)) {
		bl_autofree char *text = bl_describe(v);
		return bl_err_set(err, BL_E_INPUT,
				  "is %s; it must be an object with its settings", text);
	}
	if (bl_fields_read(v, node_fields, BL_COUNT(node_fields), d, err) < 0)
		return -1;
	if (!d->node.host)
		return bl_err_set(err, BL_E_INPUT, "has no 'host'; %s", bl_other_version);
	fill_defaults(v, d);
	return bl_plan_settle(&d->node.plan, d->ignore_failing_units, err);
}

static int add_node(const char *name, const json_t *v, struct bl_fleet *fleet,
		    struct bl_err *err)
{
	if (!bl_is_name(name)) {
		bl_autofree char *text = bl_visible(name);
		return bl_err_set(
			err, BL_E_INPUT,
			"node '%.60s': its name must be of letters, digits, '_', '.' and "
			"'-', begin with a letter, digit or '_' and have at most %d "
			"characters",
			text, BL_MAX_NAME);
	}
	struct draft d = { .node = new_node };
	d.node.name = bl_xstrdup(name);
	bl_plan_init(&d.node.plan);
	int rc = read_node(v, &d, err);
	if (rc < 0) {
		node_free(&d.node);
		bl_err_wrap(err, "node %s", name);
	} else {
		fleet->nodes[fleet->n++] = d.node;
		for (size_t i = 0; i < d.notes.n; i++)
			bl_strv_addf(&fleet->notes, "node %s: %s", name, d.notes.items[i]);
	}
	bl_strv_free(&d.notes);
	return rc;
}

static int read_nodes(const json_t *nodes, struct bl_fleet *fleet, struct bl_err *err)
{
	size_t n = json_object_size(nodes);
	if (!json_is_object(nodes))
		return bl_err_set(err, BL_E_INPUT,
				  "'nodes' must be an object with a node for each name");
	if (n == 0)
		return bl_err_set(err, BL_E_INPUT,
				  "the fleet has no nodes; write at least one, like "
				  "nodes.web1 = { host = ...; toplevel = ...; }");
	if (n > MAX_NODES)
		return bl_err_set(err, BL_E_INPUT,
				  "the fleet has %zu nodes; at most %d are read", n, MAX_NODES);
	fleet->nodes = bl_xcalloc(n, sizeof(*fleet->nodes));
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)nodes, name, v)
	{
		if (add_node(name, v, fleet, err) < 0)
			return -1;
	}
	return 0;
}

static int read_notes(const json_t *v, struct bl_fleet *fleet, struct bl_err *err)
{
	static const struct bl_field notes = {
		.key = "notes",
		.want = "a list of at most 1000 texts, each of one line",
	};
	if (!json_is_array(v) || json_array_size(v) > MAX_NOTES)
		return bl_field_wrong(&notes, v, err);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		if (!s || !bl_is_word(s))
			return bl_field_wrong(&notes, v, err);
		bl_strv_add(&fleet->notes, s);
	}
	return 0;
}

static int check_version(const json_t *doc, struct bl_err *err)
{
	const json_t *v = json_object_get(doc, "belayFleet");
	if (!v)
		return bl_err_set(err, BL_E_INPUT,
				  "has no 'belayFleet'; it is not the fleet "
				  "that belay's Nix library makes");
	if (!json_is_integer(v) || json_integer_value(v) != 1) {
		bl_autofree char *text = bl_describe(v);
		return bl_err_set(err, BL_E_INPUT, "'belayFleet' is %s; it must be 1: %s", text,
				  bl_other_version);
	}
	return 0;
}

static int read_document(const json_t *doc, struct bl_fleet *fleet, struct bl_err *err)
{
	if (!json_is_object(doc))
		return bl_err_set(err, BL_E_INPUT,
				  "is not an object with 'belayFleet' and 'nodes'");
	if (check_version(doc, err) < 0)
		return -1;
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)doc, key, v)
	{
		if (strcmp(key, "belayFleet") == 0 || strcmp(key, "nodes") == 0)
			continue;
		if (strcmp(key, "rollout") == 0) {
			if (bl_rollout_settings_read(v, &fleet->rollout, err) < 0)
				return -1;
			continue;
		}
		if (strcmp(key, "notes") == 0) {
			if (read_notes(v, fleet, err) < 0)
				return -1;
			continue;
		}
		bl_autofree char *text = bl_visible(key);
		return bl_err_set(err, BL_E_INPUT, "unknown key '%.60s'; %s", text,
				  bl_other_version);
	}
	return read_nodes(json_object_get(doc, "nodes"), fleet, err);
}

/* jansson's own limit is 2048 levels; what we read needs few, and the message can be clear. */
static bool is_too_deep(const char *text, size_t len)
{
	size_t depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '['))
			depth++;
		else if (!quoted && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > MAX_DEPTH)
			return true;
	}
	return false;
}

static int load(const char *text, size_t len, json_t **out, struct bl_err *err)
{
	if (len > MAX_BYTES)
		return bl_err_set(err, BL_E_INPUT, "is larger than %u bytes", MAX_BYTES);
	if (is_too_deep(text, len))
		return bl_err_set(err, BL_E_INPUT, "is nested deeper than %d levels",
				  MAX_DEPTH);
	json_error_t where;
	*out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!*out) {
		bl_autofree char *what = bl_visible(where.text);
		return bl_err_set(err, BL_E_INPUT,
				  "line %d, column %d: not the JSON wanted: %s", where.line,
				  where.column, what);
	}
	return 0;
}

static int without_system(struct bl_err *err)
{
	return bl_err_set(err, BL_E_INPUT, "has no 'toplevel' with a 'path'; %s",
			  bl_other_version);
}

static int parse(const char *text, size_t len, bool settings, struct bl_fleet *fleet,
		 struct bl_err *err)
{
	if (load(text, len, &fleet->document, err) < 0 ||
	    read_document(fleet->document, fleet, err) < 0)
		return -1;
	for (size_t i = 0; !settings && i < fleet->n; i++)
		if (!fleet->nodes[i].out_path && without_system(err) < 0)
			return bl_err_wrap(err, "node %s", fleet->nodes[i].name);
	return 0;
}

int bl_fleet_parse(const char *text, size_t len, const char *origin, struct bl_fleet *out,
		   struct bl_err *err)
{
	BL_AUTO(bl_fleet) fleet = { 0 };
	if (parse(text, len, false, &fleet, err) < 0)
		return bl_err_wrap(err, "%s", origin);
	*out = fleet;
	fleet = (struct bl_fleet){ 0 };
	return 0;
}

int bl_fleet_parse_settings(const char *text, size_t len, const char *origin,
			    struct bl_fleet *out, struct bl_err *err)
{
	BL_AUTO(bl_fleet) fleet = { 0 };
	if (parse(text, len, true, &fleet, err) < 0)
		return bl_err_wrap(err, "%s", origin);
	*out = fleet;
	fleet = (struct bl_fleet){ 0 };
	return 0;
}

static struct bl_node *find_node(struct bl_fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n; i++)
		if (strcmp(fleet->nodes[i].name, name) == 0)
			return &fleet->nodes[i];
	return NULL;
}

static int take_system(struct bl_node *node, const json_t *v, struct bl_err *err)
{
	static const struct bl_field fields[] = { TOPLEVEL_FIELD, SYSTEM_FIELD };
	struct draft d = { 0 };
	int rc = json_is_object(v) ? bl_fields_read(v, fields, BL_COUNT(fields), &d, err)
				   : bl_err_set(err, BL_E_INPUT, "is not an object");
	if (rc == 0 && d.node.out_path) {
		free(node->drv_path);
		free(node->system);
		node->drv_path = BL_STEAL(d.node.drv_path);
		node->system = BL_STEAL(d.node.system);
		bl_replace_str(&node->out_path, d.node.out_path);
	}
	if (rc == 0 && !d.node.out_path)
		rc = without_system(err);
	node_free(&d.node);
	return rc;
}

static int take_systems(const json_t *systems, struct bl_fleet *fleet, struct bl_err *err)
{
	if (!json_is_object(systems))
		return bl_err_set(err, BL_E_INPUT, "is not an object with a system for a name");
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)systems, name, v)
	{
		struct bl_node *node = find_node(fleet, name);
		bl_autofree char *text = bl_visible(name);
		if (!node)
			return bl_err_set(err, BL_E_INPUT, "there is no node '%.60s'", text);
		if (take_system(node, v, err) < 0)
			return bl_err_wrap(err, "node %s", name);
		json_object_update(
			json_object_get(json_object_get(fleet->document, "nodes"), name), v);
	}
	return 0;
}

int bl_fleet_parse_systems(const char *text, size_t len, const char *origin,
			   struct bl_fleet *fleet, struct bl_err *err)
{
	json_t *systems = NULL;
	int rc = load(text, len, &systems, err);
	if (rc == 0)
		rc = take_systems(systems, fleet, err);
	json_decref(systems);
	return rc < 0 ? bl_err_wrap(err, "%s", origin) : 0;
}

int bl_fleet_single(const char *host, const char *toplevel, struct bl_fleet *out,
		    struct bl_err *err)
{
	if (!is_host(host)) {
		bl_autofree char *text = bl_visible(host);
		return bl_err_set(err, BL_E_USAGE, "'%.100s' is no host for ssh: [user@]name",
				  text);
	}
	if (toplevel && bl_store_path_check(toplevel, "system", err) < 0) {
		err->code = BL_E_USAGE;
		return -1;
	}
	const char *at = strrchr(host, '@');
	struct bl_node *node = bl_xcalloc(1, sizeof(*node));
	*node = new_node;
	node->host = bl_xstrdup(host);
	node->out_path = bl_xstrdup(toplevel ? toplevel : "");
	bl_plan_init(&node->plan);
	node->name = bl_xprintf("%.*s", BL_MAX_NAME, at ? at + 1 : host);
	for (char *c = node->name; *c; c++)
		if (!bl_is_alpha(*c) && !bl_is_digit(*c) && !strchr("_.-", *c))
			*c = '_';
	if (!bl_is_name(node->name))
		node->name[0] = '_';
	elevate_by_sudo(node);
	node->substitute_on_target = true;
	*out = (struct bl_fleet){ .nodes = node, .n = 1 };
	return 0;
}

void bl_fleet_free(struct bl_fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++)
		node_free(&fleet->nodes[i]);
	free(fleet->nodes);
	bl_strv_free(&fleet->notes);
	bl_rollout_settings_free(&fleet->rollout);
	json_decref(fleet->document);
	*fleet = (struct bl_fleet){ 0 };
}
