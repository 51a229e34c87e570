/* SPDX-License-Identifier: MIT */
/*
 * How the fleet document's objects are read: a table says for every key who reads it and what
 * it must be, so that a key that is not in the table is refused and none is forgotten.
 */
#ifndef BELAY_FLEET_FIELD_H
#define BELAY_FLEET_FIELD_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

#define BL_MAX_NAME 128 /* also the name of a file: <node>.key */

#define BL_WANT_BOOL    "true or false"
#define BL_WANT_SECONDS "a whole number of seconds from 1 to 86400"

struct bl_field {
	const char *key;
	/* Stores @v in what @to is; a refusal (BL_E_INPUT) names key and wish. */
	int (*read)(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
	size_t offset; /* of the value in @to, where one reader serves several keys */
	const char *want;
};

/* Where several belays and their Nix libraries are about, this is what it looks like. */
extern const char bl_other_version[];

/* Reads every key of @object; one that no field has is refused. */
int bl_fields_read(const json_t *object, const struct bl_field *fields, size_t n, void *to,
		   struct bl_err *err) BL_MUST_CHECK;

static inline void *bl_field_at(const struct bl_field *f, void *to)
{
	return (char *)to + f->offset;
}

/* How a value is told: never more than a line, nothing that could move a cursor. */
char *bl_describe(const json_t *v);
/* "'tags' is 7; it must be a list of texts" */
int bl_field_wrong(const struct bl_field *f, const json_t *v, struct bl_err *err);

/* Readers of a bool, of seconds (1 to 86400), and of the same kept as milliseconds. */
int bl_read_bool(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
int bl_read_seconds(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
int bl_read_ms(const struct bl_field *f, const json_t *v, void *to, struct bl_err *err);
/* A list of texts that @ok accepts, into @out. */
int bl_read_list(const struct bl_field *f, const json_t *v, bool (*ok)(const char *),
		 struct bl_strv *out, struct bl_err *err) BL_MUST_CHECK;

/* The form of the names of nodes and checks, and of tags: [A-Za-z0-9_][A-Za-z0-9_.-]{0,127} */
bool bl_is_name(const char *s);
/* A word for a command line: something, and nothing that a terminal would obey. */
bool bl_is_word(const char *s);

#endif
