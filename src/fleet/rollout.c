/* SPDX-License-Identifier: MIT */
#include "fleet/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "fleet/field.h"

#define HOSTS_MAX 10000
#define SOAK_MAX  86400

static const char *const on_failures[BL_ON_FAILURE_NKINDS] = { "stop", "rollback-batch",
							       "rollback-all" };

void bl_rollout_settings_free(struct bl_rollout_settings *s)
{
	free(s->canary);
	*s = (struct bl_rollout_settings){ 0 };
}

static void set_canary(struct bl_rollout_settings *s, uint32_t n, const char *selection)
{
	s->canary_n = n;
	bl_replace_str(&s->canary, selection);
}

static void set_batch(struct bl_rollout_settings *s, uint32_t n, uint32_t percent)
{
	s->batch_n = n;
	s->batch_percent = percent;
}

/* "25%": 1 to 100, 0 when it is none. */
static uint32_t percent_of(const char *text)
{
	uint64_t v = 0;
	bl_autofree char *number = bl_xstrdup(text);
	size_t len = strlen(number);
	if (len < 2 || number[len - 1] != '%')
		return 0;
	number[len - 1] = '\0';
	return bl_parse_u64(number, 1, 100, &v, NULL) < 0 ? 0 : (uint32_t)v;
}

static bool find_on_failure(const char *text, enum bl_on_failure *out)
{
	for (size_t i = 0; i < BL_ON_FAILURE_NKINDS; i++) {
		if (strcmp(text, on_failures[i]) == 0) {
			*out = (enum bl_on_failure)i;
			return true;
		}
	}
	return false;
}

/* A whole number of at most @max; false when it is none. */
static bool is_number(const json_t *v, json_int_t max)
{
	return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max;
}

static int read_canary(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	const char *text = json_string_value(v);
	if (json_is_null(v))
		set_canary(to, 0, NULL);
	else if (is_number(v, HOSTS_MAX))
		set_canary(to, (uint32_t)json_integer_value(v), NULL);
	else if (text && bl_is_word(text))
		set_canary(to, 0, text);
	else
		return bl_field_wrong(f, v, err);
	return 0;
}

static int read_batch(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	const char *text = json_string_value(v);
	if (json_is_null(v))
		set_batch(to, 0, 0);
	else if (is_number(v, HOSTS_MAX) && json_integer_value(v) > 0)
		set_batch(to, (uint32_t)json_integer_value(v), 0);
	else if (text && percent_of(text) > 0)
		set_batch(to, 0, percent_of(text));
	else
		return bl_field_wrong(f, v, err);
	return 0;
}

static int read_soak(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_rollout_settings *s = to;
	if (!is_number(v, SOAK_MAX))
		return bl_field_wrong(f, v, err);
	s->soak_s = (uint32_t)json_integer_value(v);
	return 0;
}

static int read_max_failures(const struct bl_field *f, const json_t *v, void *to,
			     struct bl_err *err)
{
	struct bl_rollout_settings *s = to;
	if (!is_number(v, HOSTS_MAX))
		return bl_field_wrong(f, v, err);
	s->max_failures = (uint32_t)json_integer_value(v);
	return 0;
}

static int read_on_failure(const struct bl_field *f, const json_t *v, void *to,
			   struct bl_err *err)
{
	struct bl_rollout_settings *s = to;
	const char *text = json_string_value(v);
	if (!text || !find_on_failure(text, &s->on_failure))
		return bl_field_wrong(f, v, err);
	return 0;
}

int bl_rollout_settings_read(const json_t *v, struct bl_rollout_settings *s, struct bl_err *err)
{
	static const struct bl_field fields[] = {
		{ "canary", read_canary, 0,
		  "null, a number of hosts up to 10000, or a selection like \"web1\", \"web-*\" or \"@tag\"" },
		{ "soak", read_soak, 0, "a whole number of seconds from 0 to 86400" },
		{ "batch", read_batch, 0,
		  "null, a number of hosts from 1 to 10000, or a part of them like \"25%\"" },
		{ "maxFailures", read_max_failures, 0, "a number of hosts from 0 to 10000" },
		{ "onFailure", read_on_failure, 0,
		  "\"stop\", \"rollback-batch\" or \"rollback-all\"" },
		{ "atomic", bl_read_bool, offsetof(struct bl_rollout_settings, atomic),
		  BL_WANT_BOOL },
	};
	if (!json_is_object(v)) {
		bl_autofree char *text = bl_describe(v);
		return bl_err_set(err, BL_E_INPUT,
				  "'rollout' is %s; it must be an object with its settings",
				  text);
	}
	if (bl_fields_read(v, fields, BL_COUNT(fields), s, err) < 0)
		return bl_err_wrap(err, "rollout");
	return 0;
}

int bl_canary_parse(const char *text, struct bl_rollout_settings *s, struct bl_err *err)
{
	uint64_t n = 0;
	bool number = *text && strspn(text, "0123456789") == strlen(text);
	if (number && bl_parse_u64(text, 0, HOSTS_MAX, &n, err) < 0)
		return -1;
	if (!number && !bl_is_word(text)) {
		bl_autofree char *shown = bl_visible(text);
		return bl_err_set(
			err, BL_E_USAGE,
			"'%.60s' is neither a number of hosts nor a selection of them", shown);
	}
	set_canary(s, (uint32_t)n, number ? NULL : text);
	return 0;
}

int bl_batch_parse(const char *text, struct bl_rollout_settings *s, struct bl_err *err)
{
	uint64_t n = 0;
	uint32_t percent = percent_of(text);
	if (percent == 0 && bl_parse_u64(text, 1, HOSTS_MAX, &n, NULL) < 0) {
		bl_autofree char *shown = bl_visible(text);
		return bl_err_set(
			err, BL_E_USAGE,
			"'%.60s' is neither a number of hosts from 1 to %d nor a part like 25%%",
			shown, HOSTS_MAX);
	}
	set_batch(s, (uint32_t)n, percent);
	return 0;
}

int bl_on_failure_parse(const char *text, enum bl_on_failure *out, struct bl_err *err)
{
	if (find_on_failure(text, out))
		return 0;
	bl_autofree char *shown = bl_visible(text);
	return bl_err_set(err, BL_E_USAGE, "'%.60s' is none of %s, %s, %s", shown,
			  on_failures[0], on_failures[1], on_failures[2]);
}
