/* SPDX-License-Identifier: MIT */
#include "fleet/plan.h"

#include <string.h>

#include "wire/frame.h"

#define MAX_SCRIPT  16384
#define MAX_CHECKS  128
#define MAX_RETRIES 1000
#define MAX_UNIT    255 /* systemd's */
/* A start carries the plan and little else; a quarter is left for it. */
#define MAX_PLAN  (BL_FRAME_MAX / 4 * 3)
#define MAX_ITEMS 384UL /* of BL_KV_MAX_ITEMS */

int bl_read_strategy(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_plan *plan = bl_field_at(f, to);
	const char *s = json_string_value(v);
	/* a test is something to be asked for, not what a host is like */
	if (!s || bl_strategy_parse(s, &plan->strategy, NULL) < 0 ||
	    plan->strategy == BL_STRATEGY_TEST)
		return bl_field_wrong(f, v, err);
	return 0;
}

int bl_read_reboot(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_plan *plan = bl_field_at(f, to);
	const char *s = json_string_value(v);
	if (!s || (strcmp(s, "never") != 0 && strcmp(s, "allowed") != 0))
		return bl_field_wrong(f, v, err);
	plan->reboot_allowed = strcmp(s, "allowed") == 0;
	return 0;
}

int bl_read_rollback_reboot(const struct bl_field *f, const json_t *v, void *to,
			    struct bl_err *err)
{
	struct bl_plan *plan = bl_field_at(f, to);
	const char *s = json_string_value(v);
	if (!s || bl_rollback_reboot_parse(s, &plan->rollback_reboot, NULL) < 0)
		return bl_field_wrong(f, v, err);
	return 0;
}

int bl_read_script(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	const char *s = json_is_null(v) ? "" : json_string_value(v);
	if (!s || strlen(s) > MAX_SCRIPT)
		return bl_field_wrong(f, v, err);
	bl_replace_str(bl_field_at(f, to), s);
	return 0;
}

/* ---- units */

/* With its suffix: systemctl would add one, but a list of failed units has none without. */
static bool is_unit(const char *s)
{
	static const char *const suffixes[] = { ".service", ".socket",    ".target", ".device",
						".mount",   ".automount", ".swap",   ".timer",
						".path",    ".slice",     ".scope" };
	for (const char *p = s; *p; p++)
		if (!bl_is_alpha(*p) && !bl_is_digit(*p) && !strchr(":_.\\@-", *p))
			return false;
	for (size_t i = 0; i < BL_COUNT(suffixes); i++)
		if (bl_ends_with(s, suffixes[i]))
			return strlen(s) > strlen(suffixes[i]) && strlen(s) <= MAX_UNIT;
	return false;
}

static int read_policy(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_plan *plan = to;
	const char *s = json_string_value(v);
	/* "ignore" is said by ignoreFailingSystemdUnits, and not twice */
	if (!s || bl_units_policy_parse(s, &plan->units, NULL) < 0 ||
	    plan->units == BL_UNITS_IGNORE)
		return bl_field_wrong(f, v, err);
	return 0;
}

static int read_unit_names(const struct bl_field *f, const json_t *v, void *to,
			   struct bl_err *err)
{
	return bl_read_list(f, v, is_unit, bl_field_at(f, to), err);
}

#define WANT_UNITS "a list of units like \"nginx.service\""

int bl_read_units(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	static const struct bl_field fields[] = {
		{ "policy", read_policy, 0, "\"new-failures\", \"strict\" or \"listed\"" },
		{ "ignore", read_unit_names, offsetof(struct bl_plan, ignore_units),
		  WANT_UNITS },
		{ "listed", read_unit_names, offsetof(struct bl_plan, listed_units),
		  WANT_UNITS },
	};
	if (!json_is_object(v))
		return bl_field_wrong(f, v, err);
	if (bl_fields_read(v, fields, BL_COUNT(fields), bl_field_at(f, to), err) < 0)
		return bl_err_wrap(err, "'%s'", f->key);
	return 0;
}

/* ---- checks */

static int read_check_name(const struct bl_field *f, const json_t *v, void *to,
			   struct bl_err *err)
{
	struct bl_check *c = to;
	const char *s = json_string_value(v);
	if (!s || !bl_is_name(s))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&c->name, s);
	return 0;
}

static int read_type(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	const char *s = json_string_value(v);
	if (!s || bl_check_type_parse(s, &c->type, NULL) < 0)
		return bl_field_wrong(f, v, err);
	return 0;
}

static int read_where(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	const char *s = json_string_value(v);
	if (!s || (strcmp(s, "target") != 0 && strcmp(s, "deployer") != 0))
		return bl_field_wrong(f, v, err);
	c->on_deployer = strcmp(s, "deployer") == 0;
	return 0;
}

static int read_required(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct bl_check *c = to;
	if (!json_is_boolean(v))
		return bl_field_wrong(f, v, err);
	c->advisory = !json_is_true(v);
	return 0;
}

static int read_range(const struct bl_field *f, const json_t *v, json_int_t min, json_int_t max,
		      uint32_t *out, struct bl_err *err)
{
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < min || n > max)
		return bl_field_wrong(f, v, err);
	*out = (uint32_t)n;
	return 0;
}

static int read_retries(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	return read_range(f, v, 0, MAX_RETRIES, &c->retries, err);
}

static int read_hold(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	if (json_is_integer(v) && json_integer_value(v) == 0) {
		c->hold_ms = 0;
		return 0;
	}
	return bl_read_ms(f, v, to, err);
}

static int read_port(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	return read_range(f, v, 1, 65535, &c->port, err);
}

static int read_status(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	if (json_is_null(v))
		return 0;
	return read_range(f, v, 100, 599, &c->status, err);
}

static int read_contains(const struct bl_field *f, const json_t *v, void *to,
			 struct bl_err *err)
{
	struct bl_check *c = to;
	const char *s = json_is_null(v) ? "" : json_string_value(v);
	if (!s || strlen(s) > MAX_SCRIPT)
		return bl_field_wrong(f, v, err);
	bl_replace_str(&c->contains, s);
	return 0;
}

static int read_what(const struct bl_field *f, const json_t *v, bool (*ok)(const char *),
		     void *to, struct bl_err *err)
{
	struct bl_check *c = to;
	const char *s = json_string_value(v);
	if (!s || !ok(s))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&c->what, s);
	return 0;
}

static int read_unit(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	return read_what(f, v, is_unit, to, err);
}

/* A name or an address. */
static bool is_peer(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!bl_is_alpha(*p) && !bl_is_digit(*p) && !strchr("_.:%-", *p))
			return false;
	return *s && *s != '-' && strlen(s) <= 255;
}

static int read_peer(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	return read_what(f, v, is_peer, to, err);
}

static bool is_url(const char *s)
{
	return bl_is_word(s) && !strchr(s, ' ') &&
	       ((bl_starts_with(s, "http://") && s[7]) ||
		(bl_starts_with(s, "https://") && s[8]));
}

static int read_url(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	return read_what(f, v, is_url, to, err);
}

static bool is_line(const char *s)
{
	return *s && strlen(s) <= MAX_SCRIPT;
}

static int read_command(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	return read_what(f, v, is_line, to, err);
}

static bool is_file(const char *s)
{
	return *s == '/' && bl_is_word(s);
}

static int read_path(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	return read_what(f, v, is_file, to, err);
}

static const struct bl_field check_fields[] = {
	{ "name", read_check_name, 0, "a text of letters, digits, '_', '.' and '-'" },
	{ "type", read_type, 0,
	  "\"unit\", \"tcp\", \"http\", \"command\", \"dns\", \"route\" or \"file\"" },
	{ "where", read_where, 0, "\"target\" or \"deployer\"" },
	{ "required", read_required, 0, BL_WANT_BOOL },
	{ "timeout", bl_read_ms, offsetof(struct bl_check, timeout_ms), BL_WANT_SECONDS },
	{ "retries", read_retries, 0, "a whole number from 0 to 1000" },
	{ "hold", read_hold, offsetof(struct bl_check, hold_ms),
	  "a whole number of seconds from 0 to 86400" },
};

/* What a check of each type has besides; the first one is `what`, and must be there. */
#define TYPE_FIELDS 3
#define CONTAINS    "null or a text that has to be in it"
static const struct bl_field type_fields[BL_CHECK_NTYPES][TYPE_FIELDS] = {
	[BL_CHECK_UNIT] = { { "unit", read_unit, 0, "a unit like \"nginx.service\"" } },
	[BL_CHECK_TCP] = { { "host", read_peer, 0, "a name or an address" },
			   { "port", read_port, 0, "a whole number from 1 to 65535" } },
	[BL_CHECK_HTTP] = { { "url", read_url, 0, "a URL like \"http://127.0.0.1/health\"" },
			    { "status", read_status, 0, "null or a number from 100 to 599" },
			    { "contains", read_contains, 0, CONTAINS } },
	[BL_CHECK_COMMAND] = { { "command", read_command, 0, "a line for sh" } },
	[BL_CHECK_DNS] = { { "lookup", read_peer, 0, "a name to look up" } },
	[BL_CHECK_FILE] = { { "path", read_path, 0, "an absolute path" },
			    { "contains", read_contains, 0, CONTAINS } },
};

static int missing(const char *key, struct bl_err *err)
{
	return bl_err_set(err, BL_E_INPUT, "has no '%s'; %s", key, bl_other_version);
}

/* What was left out gets its default, unless it has none. */
static int settle_check(struct bl_check *c, struct bl_err *err)
{
	bool of_target = c->type == BL_CHECK_UNIT || c->type == BL_CHECK_ROUTE ||
			 c->type == BL_CHECK_FILE;
	if (!c->name)
		return missing("name", err);
	if (c->on_deployer && of_target)
		return bl_err_set(err, BL_E_INPUT,
				  "looks at a %s of the deployer's machine, which says nothing "
				  "about the host; leave 'where' out",
				  bl_check_type_name(c->type));
	if (!c->what && c->type == BL_CHECK_ROUTE)
		c->what = bl_xstrdup("");
	if (!c->what && c->type == BL_CHECK_TCP && !c->on_deployer)
		c->what = bl_xstrdup("127.0.0.1");
	if (!c->what)
		return missing(type_fields[c->type][0].key, err);
	if (c->type == BL_CHECK_TCP && c->port == 0)
		return missing("port", err);
	if (!c->contains)
		c->contains = bl_xstrdup("");
	return 0;
}

/* The type first, since it decides which other fields there are. */
static int read_check(const json_t *v, struct bl_check *c, struct bl_err *err)
{
	struct bl_field fields[BL_COUNT(check_fields) + TYPE_FIELDS];
	size_t n = BL_COUNT(check_fields);
	const json_t *type = json_object_get(v, "type");
	*c = (struct bl_check){ .timeout_ms = 10000, .retries = 3 };
	if (!json_is_object(v)) {
		bl_autofree char *text = bl_describe(v);
		return bl_err_set(err, BL_E_INPUT, "is %s; it must be an object", text);
	}
	if (!type)
		return missing("type", err);
	memcpy(fields, check_fields, sizeof(check_fields));
	if (read_type(&fields[1], type, c, err) < 0)
		return -1;
	for (size_t i = 0; i < TYPE_FIELDS && type_fields[c->type][i].key; i++)
		fields[n++] = type_fields[c->type][i];
	if (bl_fields_read(v, fields, n, c, err) < 0)
		return -1;
	return settle_check(c, err);
}

int bl_read_checks(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_plan *plan = bl_field_at(f, to);
	if (!json_is_array(v) || json_array_size(v) > MAX_CHECKS)
		return bl_field_wrong(f, v, err);
	for (size_t i = 0; i < json_array_size(v); i++) {
		BL_AUTO(bl_check) c = { 0 };
		const json_t *item = json_array_get(v, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		if (read_check(item, &c, err) < 0)
			return name && bl_is_name(name) ? bl_err_wrap(err, "check '%s'", name)
							: bl_err_wrap(err, "check %zu", i + 1);
		bl_plan_add_check(plan, &c);
	}
	return 0;
}

/* ---- the whole */

int bl_plan_settle(struct bl_plan *plan, bool ignore_units, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	if (ignore_units && plan->units != BL_UNITS_NEW_FAILURES)
		return bl_err_set(err, BL_E_INPUT,
				  "'ignoreFailingSystemdUnits' is true and 'units' has the "
				  "policy \"%s\"; remove one of them",
				  bl_units_policy_name(plan->units));
	if ((plan->units == BL_UNITS_LISTED) != (plan->listed_units.n > 0))
		return bl_err_set(err, BL_E_INPUT,
				  "'units': the policy \"listed\" and a list 'listed' belong "
				  "together: give both or none");
	if (ignore_units)
		plan->units = BL_UNITS_IGNORE;
	bl_plan_tell(plan, &kv);
	bl_kv_encode(&kv, &text);
	if (kv.n > MAX_ITEMS || text.len > MAX_PLAN)
		return bl_err_set(
			err, BL_E_INPUT,
			"its checks, units, 'preActivate' and 'postRollback' are too "
			"long for one message to the host: %zu entries and %zu bytes, "
			"at most %lu and %lu",
			kv.n, text.len, MAX_ITEMS, MAX_PLAN);
	return 0;
}
