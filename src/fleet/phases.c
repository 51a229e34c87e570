/* SPDX-License-Identifier: MIT */
#include "fleet/phases.h"

#include "fleet/plan.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PHASES 128

static int read_name(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_preparation *phase = to;
	const char *s = json_string_value(v);
	if (!s || !bl_is_name(s))
		return bl_field_wrong(f, v, err);
	bl_replace_str(&phase->name, s);
	return 0;
}

static int read_script(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	/* a phase without lines is left out of the document */
	return json_is_null(v) ? bl_field_wrong(f, v, err) : bl_read_script(f, v, to, err);
}

static const struct bl_field fields[] = {
	{ "name", read_name, 0, "a text of letters, digits, '_', '.' and '-'" },
	{ "script", read_script, offsetof(struct bl_preparation, script),
	  "at most 16384 bytes of lines for sh" },
};

/* On failure @out is still to be freed. */
static int read_phase(const json_t *v, struct bl_preparation *out, struct bl_err *err)
{
	if (!json_is_object(v)) {
		bl_autofree char *text = bl_describe(v);
		return bl_err_set(err, BL_E_INPUT, "is %s; it must be an object", text);
	}
	if (bl_fields_read(v, fields, BL_COUNT(fields), out, err) < 0)
		return -1;
	for (size_t i = 0; i < BL_COUNT(fields); i++)
		if (!json_object_get(v, fields[i].key))
			return bl_err_set(err, BL_E_INPUT, "has no '%s'; %s", fields[i].key,
					  bl_other_version);
	return 0;
}

static void free_phase(struct bl_preparation *phase)
{
	free(phase->name);
	free(phase->script);
}

int bl_read_phases(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err)
{
	struct bl_node *node = bl_field_at(f, to);
	size_t n = json_array_size(v);
	if (!json_is_array(v) || n > MAX_PHASES)
		return bl_field_wrong(f, v, err);
	node->phases = bl_xcalloc(n + 1, sizeof(*node->phases));
	for (size_t i = 0; i < n; i++) {
		struct bl_preparation phase = { 0 };
		const json_t *item = json_array_get(v, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		if (read_phase(item, &phase, err) < 0) {
			free_phase(&phase);
			return name && bl_is_name(name)
				       ? bl_err_wrap(err, "preparation phase '%s'", name)
				       : bl_err_wrap(err, "preparation phase %zu", i + 1);
		}
		node->phases[node->n_phases++] = phase;
	}
	return 0;
}

void bl_phases_free(struct bl_node *node)
{
	for (size_t i = 0; i < node->n_phases; i++)
		free_phase(&node->phases[i]);
	free(node->phases);
	node->phases = NULL;
	node->n_phases = 0;
}
