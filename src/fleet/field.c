/* SPDX-License-Identifier: MIT */
#include "fleet/field.h"

#include <string.h>

#define MAX_ITEMS   256
#define MAX_WORD    4096
#define MAX_SECONDS 86400

const char bl_other_version[] =
	"this belay and the Nix library that wrote the file are of different versions";

int bl_fields_read(const json_t *object, const struct bl_field *fields, size_t n, void *to,
		   struct bl_err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)object, key, v)
	{
		const struct bl_field *f = NULL;
		for (size_t i = 0; i < n && !f; i++)
			if (strcmp(fields[i].key, key) == 0)
				f = &fields[i];
		if (!f) {
			bl_autofree char *text = bl_visible(key);
			return bl_err_set(err, BL_E_INPUT, "unknown key '%.60s'; %s", text,
					  bl_other_version);
		}
		if (f->read(f, v, to, err) < 0)
			return -1;
	}
	return 0;
}

char *bl_describe(const json_t *v)
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

int bl_field_wrong(const struct bl_field *f, const json_t *v, struct bl_err *err)
{
	bl_autofree char *text = bl_describe(v);
	return bl_err_set(err, BL_E_INPUT, "'%s' is %s; it must be %s", f->key, text, f->want);
}

int bl_read_bool(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	if (!json_is_boolean(v))
		return bl_field_wrong(f, v, err);
	*(bool *)bl_field_at(f, to) = json_is_true(v);
	return 0;
}

int bl_read_seconds(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < 1 || n > MAX_SECONDS)
		return bl_field_wrong(f, v, err);
	*(uint32_t *)bl_field_at(f, to) = (uint32_t)n;
	return 0;
}

int bl_read_ms(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	if (bl_read_seconds(f, v, to, err) < 0)
		return -1;
	*(uint32_t *)bl_field_at(f, to) *= 1000;
	return 0;
}

int bl_read_list(const struct bl_field *f, const json_t *v, bool (*ok)(const char *),
		 struct bl_strv *out, struct bl_err *err)
{
	if (!json_is_array(v))
		return bl_field_wrong(f, v, err);
	if (json_array_size(v) > MAX_ITEMS)
		return bl_err_set(err, BL_E_INPUT, "'%s' has %zu entries; at most %d are read",
				  f->key, json_array_size(v), MAX_ITEMS);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		if (!s || !ok(s)) {
			bl_autofree char *text = bl_describe(json_array_get(v, i));
			return bl_err_set(err, BL_E_INPUT,
					  "'%s' has %s as entry %zu; it must be %s", f->key,
					  text, i + 1, f->want);
		}
		bl_strv_add(out, s);
	}
	return 0;
}

static bool is_name_char(char c)
{
	return bl_is_alpha(c) || bl_is_digit(c) || c == '_';
}

bool bl_is_name(const char *s)
{
	if (!is_name_char(*s) || strlen(s) > BL_MAX_NAME)
		return false;
	for (; *s; s++)
		if (!is_name_char(*s) && *s != '.' && *s != '-')
			return false;
	return true;
}

bool bl_is_word(const char *s)
{
	size_t len = strlen(s);
	if (len == 0 || len > MAX_WORD)
		return false;
	bl_autofree char *visible = bl_visible(s);
	return strcmp(s, visible) == 0;
}
