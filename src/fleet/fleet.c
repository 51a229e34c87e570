/* SPDX-License-Identifier: MIT */
/*
 * Reads the fleet JSON. One table says for every key how it is read, so that a key that is not
 * in the table is refused and none is forgotten.
 */
#include "fleet/fleet.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/path.h"

#define MAX_BYTES   (16U << 20)
#define MAX_DEPTH   8 /* the document has 5: document, nodes, node, toplevel or list, text */
#define MAX_NODES   10000
#define MAX_NAME    128 /* also the name of a file: <node>.key */
#define MAX_ITEMS   256
#define MAX_WORD    4096
#define MAX_SECONDS 86400

/* What is read of a node, with what decides a default but is not kept. */
struct draft {
	struct bl_node node;
	bool fast;
};

struct field {
	const char *key;
	int (*read)(const struct field *f, const json_t *v, struct draft *d,
		    struct bl_err *err);
	size_t offset; /* of the value in the draft, where one reader serves several keys */
	const char *want;
};

/* How a value is told: never more than a line, nothing that could move a cursor. */
static char *describe(const json_t *v)
{
	if (json_is_object(v))
		return bl_xstrdup("an object");
	if (json_is_array(v))
		return bl_xstrdup("a list");
	bl_autofree char *json = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	char *text = bl_visible(json ? json : "unreadable");
	if (strlen(text) > 60)
		memcpy(text + 57, "...", 4);
	return text;
}

static int wrong(const struct field *f, const json_t *v, struct bl_err *err)
{
	bl_autofree char *text = describe(v);
	return bl_err_set(err, BL_E_INPUT, "'%s' is %s; it must be %s", f->key, text, f->want);
}

static bool is_name_char(char c)
{
	return bl_is_alpha(c) || bl_is_digit(c) || c == '_';
}

/* The form of node names and tags: [A-Za-z0-9_][A-Za-z0-9_.-]* */
static bool is_name(const char *s)
{
	if (!is_name_char(*s) || strlen(s) > MAX_NAME)
		return false;
	for (; *s; s++)
		if (!is_name_char(*s) && *s != '.' && *s != '-')
			return false;
	return true;
}

/* A word for a command line: something, and nothing that a terminal would obey. */
static bool is_word(const char *s)
{
	size_t len = strlen(s);
	if (len == 0 || len > MAX_WORD)
		return false;
	bl_autofree char *visible = bl_visible(s);
	return strcmp(s, visible) == 0;
}

/* Goes into a shell's command line and into a URL as it stands. */
static bool is_plain_word(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!bl_is_alpha(*p) && !bl_is_digit(*p) && !strchr("_./=+:@-", *p))
			return false;
	return *s && strlen(s) <= MAX_WORD;
}

static void *slot(const struct field *f, struct draft *d)
{
	return (char *)d + f->offset;
}

static int read_bool(const struct field *f, const json_t *v, struct draft *d,
		     struct bl_err *err)
{
	if (!json_is_boolean(v))
		return wrong(f, v, err);
	*(bool *)slot(f, d) = json_is_true(v);
	return 0;
}

static int read_seconds(const struct field *f, const json_t *v, struct draft *d,
			struct bl_err *err)
{
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < 1 || n > MAX_SECONDS)
		return wrong(f, v, err);
	*(uint32_t *)slot(f, d) = (uint32_t)n;
	return 0;
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
	return is_word(s) && !strpbrk(s, " '`\"$\\;&<>|(){}") && *s != '-' && *s != '@' &&
	       *host && *host != '-';
}

static int read_host(const struct field *f, const json_t *v, struct draft *d,
		     struct bl_err *err)
{
	const char *s = json_string_value(v);
	if (!s || !is_host(s))
		return wrong(f, v, err);
	bl_replace_str(&d->node.host, s);
	return 0;
}

static int read_system(const struct field *f, const json_t *v, struct draft *d,
		       struct bl_err *err)
{
	const char *s = json_string_value(v);
	if (json_is_null(v))
		return 0;
	if (!s || !is_name(s))
		return wrong(f, v, err);
	bl_replace_str(&d->node.system, s);
	return 0;
}

/* Not kept: one way of switching is all there is, and both names mean it. */
static int read_strategy(const struct field *f, const json_t *v, struct draft *d BL_UNUSED,
			 struct bl_err *err)
{
	const char *s = json_string_value(v);
	if (!s || (strcmp(s, "live") != 0 && strcmp(s, "auto") != 0))
		return wrong(f, v, err);
	return 0;
}

static int read_drv_path(const struct field *f, const json_t *v, struct draft *d,
			 struct bl_err *err)
{
	const char *s = json_string_value(v);
	if (json_is_null(v))
		return 0;
	if (!s || !bl_store_path_ok(s) || !bl_ends_with(s, ".drv"))
		return wrong(f, v, err);
	bl_replace_str(&d->node.drv_path, s);
	return 0;
}

static int read_out_path(const struct field *f, const json_t *v, struct draft *d,
			 struct bl_err *err)
{
	const char *s = json_string_value(v);
	if (!s || !bl_store_path_ok(s) || bl_ends_with(s, ".drv"))
		return wrong(f, v, err);
	bl_replace_str(&d->node.out_path, s);
	return 0;
}

/* A list of texts that @ok accepts, into @out. */
static int read_list(const struct field *f, const json_t *v, bool (*ok)(const char *),
		     struct bl_strv *out, struct bl_err *err)
{
	if (!json_is_array(v))
		return wrong(f, v, err);
	if (json_array_size(v) > MAX_ITEMS)
		return bl_err_set(err, BL_E_INPUT, "'%s' has %zu entries; at most %d are read",
				  f->key, json_array_size(v), MAX_ITEMS);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		if (!s || !ok(s)) {
			bl_autofree char *text = describe(json_array_get(v, i));
			return bl_err_set(err, BL_E_INPUT,
					  "'%s' has %s as entry %zu; it must be %s", f->key,
					  text, i + 1, f->want);
		}
		bl_strv_add(out, s);
	}
	return 0;
}

static int read_tags(const struct field *f, const json_t *v, struct draft *d,
		     struct bl_err *err)
{
	return read_list(f, v, is_name, &d->node.tags, err);
}

static int read_elevate(const struct field *f, const json_t *v, struct draft *d,
			struct bl_err *err)
{
	return read_list(f, v, is_plain_word, &d->node.elevate, err);
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
	return is_word(s) && key > 0 && value > s + key && *value;
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

static int read_ssh_options(const struct field *f, const json_t *v, struct draft *d,
			    struct bl_err *err)
{
	struct bl_strv *options = &d->node.ssh_options;
	if (read_list(f, v, is_ssh_option, options, err) < 0)
		return -1;
	for (size_t i = 0; i < options->n; i++) {
		const char *why = why_refused(options->items[i]);
		if (why)
			return bl_err_set(err, BL_E_INPUT, "'%s' has \"%.60s\"; remove it: %s",
					  f->key, options->items[i], why);
	}
	return 0;
}

/* Where several belays and their Nix libraries are about, this is what it looks like. */
static const char other_version[] =
	"this belay and the Nix library that wrote the file are of different versions";

static int read_fields(const json_t *object, const struct field *fields, size_t n,
		       struct draft *d, struct bl_err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)object, key, v)
	{
		const struct field *f = NULL;
		for (size_t i = 0; i < n && !f; i++)
			if (strcmp(fields[i].key, key) == 0)
				f = &fields[i];
		if (!f) {
			bl_autofree char *text = bl_visible(key);
			return bl_err_set(err, BL_E_INPUT, "unknown key '%.60s'; %s", text,
					  other_version);
		}
		if (f->read(f, v, d, err) < 0)
			return -1;
	}
	return 0;
}

static int read_toplevel(const struct field *f, const json_t *v, struct draft *d,
			 struct bl_err *err)
{
	static const struct field fields[] = {
		{ "drvPath", read_drv_path, 0,
		  "null or a path " BL_STORE_DIR "/<hash>-<name>.drv" },
		{ "path", read_out_path, 0,
		  "the path " BL_STORE_DIR "/<hash>-<name> of a built system" },
	};
	if (!json_is_object(v))
		return wrong(f, v, err);
	if (read_fields(v, fields, BL_COUNT(fields), d, err) < 0)
		return bl_err_wrap(err, "'%s'", f->key);
	return 0;
}

#define WANT_BOOL    "true or false"
#define WANT_SECONDS "a whole number of seconds from 1 to 86400"

static const struct field node_fields[] = {
	{ "enable", read_bool, offsetof(struct draft, node.enable), WANT_BOOL },
	{ "host", read_host, 0,
	  "what to give to ssh: \"user@host\", \"host\" or a name from ~/.ssh/config, "
	  "not beginning with '-' and without blanks, quotes and shell characters" },
	{ "toplevel", read_toplevel, 0, "an object with drvPath and path" },
	{ "system", read_system, 0, "null or a system like \"x86_64-linux\"" },
	{ "successTimeout", read_seconds, offsetof(struct draft, node.success_timeout_s),
	  WANT_SECONDS },
	{ "switchTimeout", read_seconds, offsetof(struct draft, node.switch_timeout_s),
	  WANT_SECONDS },
	{ "ignoreFailingSystemdUnits", read_bool,
	  offsetof(struct draft, node.ignore_failing_units), WANT_BOOL },
	{ "privilegeEscalationCommand", read_elevate, 0,
	  "a list of words like [\"sudo\",\"-n\"]" },
	{ "hasFastConnection", read_bool, offsetof(struct draft, fast), WANT_BOOL },
	{ "substituteOnTarget", read_bool, offsetof(struct draft, node.substitute_on_target),
	  WANT_BOOL },
	{ "tags", read_tags, 0,
	  "a list of texts of letters, digits, '_', '.' and '-', at most 128 long" },
	{ "sshOptions", read_ssh_options, 0,
	  "a list of options as `ssh -o` takes them, like \"Port=2222\", each on one line" },
	{ "strategy", read_strategy, 0,
	  "\"live\" or \"auto\"; this version knows no other way to switch" },
};

static void node_free(struct bl_node *node)
{
	free(node->name);
	free(node->host);
	free(node->drv_path);
	free(node->out_path);
	free(node->system);
	bl_strv_free(&node->elevate);
	bl_strv_free(&node->tags);
	bl_strv_free(&node->ssh_options);
	*node = (struct bl_node){ 0 };
}

/* The defaults of docs/fleet-schema.md, as far as they are not made from other settings. */
static const struct bl_node new_node = { .enable = true,
					 .success_timeout_s = 20,
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
static int read_node(const json_t *v, struct draft *d, struct bl_err *err)
{
	if (!json_is_object(v)) {
		bl_autofree char *text = describe(v);
		return bl_err_set(err, BL_E_INPUT,
				  "is %s; it must be an object with its settings", text);
	}
	if (read_fields(v, node_fields, BL_COUNT(node_fields), d, err) < 0)
		return -1;
	if (!d->node.host)
		return bl_err_set(err, BL_E_INPUT, "has no 'host'; %s", other_version);
	if (!d->node.out_path)
		return bl_err_set(err, BL_E_INPUT, "has no 'toplevel' with an 'path'; %s",
				  other_version);
	fill_defaults(v, d);
	return 0;
}

static int add_node(const char *name, const json_t *v, struct bl_fleet *fleet,
		    struct bl_err *err)
{
	if (!is_name(name)) {
		bl_autofree char *text = bl_visible(name);
		return bl_err_set(
			err, BL_E_INPUT,
			"node '%.60s': its name must be of letters, digits, '_', '.' and "
			"'-', begin with a letter, digit or '_' and have at most %d "
			"characters",
			text, MAX_NAME);
	}
	struct draft d = { .node = new_node };
	d.node.name = bl_xstrdup(name);
	if (read_node(v, &d, err) < 0) {
		node_free(&d.node);
		return bl_err_wrap(err, "node %s", name);
	}
	fleet->nodes[fleet->n++] = d.node;
	return 0;
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

static int check_version(const json_t *doc, struct bl_err *err)
{
	const json_t *v = json_object_get(doc, "belayFleet");
	if (!v)
		return bl_err_set(err, BL_E_INPUT,
				  "has no 'belayFleet'; it is not the fleet "
				  "that belay's Nix library makes");
	if (!json_is_integer(v) || json_integer_value(v) != 1) {
		bl_autofree char *text = describe(v);
		return bl_err_set(err, BL_E_INPUT, "'belayFleet' is %s; it must be 1: %s", text,
				  other_version);
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
		bl_autofree char *text = bl_visible(key);
		return bl_err_set(err, BL_E_INPUT, "unknown key '%.60s'; %s", text,
				  other_version);
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

static int parse(const char *text, size_t len, struct bl_fleet *fleet, struct bl_err *err)
{
	if (len > MAX_BYTES)
		return bl_err_set(err, BL_E_INPUT, "is larger than %u bytes", MAX_BYTES);
	if (is_too_deep(text, len))
		return bl_err_set(err, BL_E_INPUT, "is nested deeper than %d levels",
				  MAX_DEPTH);
	json_error_t where;
	json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!doc) {
		bl_autofree char *what = bl_visible(where.text);
		return bl_err_set(err, BL_E_INPUT,
				  "line %d, column %d: not the JSON wanted: %s", where.line,
				  where.column, what);
	}
	int r = read_document(doc, fleet, err);
	json_decref(doc);
	return r;
}

int bl_fleet_parse(const char *text, size_t len, const char *origin, struct bl_fleet *out,
		   struct bl_err *err)
{
	BL_AUTO(bl_fleet) fleet = { 0 };
	if (parse(text, len, &fleet, err) < 0)
		return bl_err_wrap(err, "%s", origin);
	*out = fleet;
	fleet = (struct bl_fleet){ 0 };
	return 0;
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
	node->name = bl_xprintf("%.*s", MAX_NAME, at ? at + 1 : host);
	for (char *c = node->name; *c; c++)
		if (!is_name_char(*c) && *c != '.' && (*c != '-' || c == node->name))
			*c = '_';
	elevate_by_sudo(node);
	*out = (struct bl_fleet){ .nodes = node, .n = 1 };
	return 0;
}

void bl_fleet_free(struct bl_fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++)
		node_free(&fleet->nodes[i]);
	free(fleet->nodes);
	*fleet = (struct bl_fleet){ 0 };
}
