/* SPDX-License-Identifier: MIT */
/*
 * What a Nix file seems to be, by a look at its words, and the text of a fleet made of such
 * files. Nothing is evaluated and no file is touched.
 */
#ifndef BELAY_CLI_SKETCH_H
#define BELAY_CLI_SKETCH_H

#include "base/buf.h"

enum bl_look {
	BL_LOOK_OTHER,
	BL_LOOK_SYSTEM, /* a NixOS configuration, or a part of one */
	BL_LOOK_FLEET,  /* has `nodes` */
	BL_LOOK_HIVE,   /* colmena's */
	BL_LOOK_NIXUS,  /* has `nodes` and speaks of nixus */
};

struct bl_sketched {
	char *name;    /* the node's */
	char *path;    /* of its configuration, from the fleet's folder: "hosts/web1.nix" */
	bool platform; /* its configuration says what it runs on */
};
struct bl_sketch {
	struct bl_sketched *hosts; /* in the order in which they came */
	size_t n;
};

/* @text is a Nix file's. Comments do not count, nor does what stands in strings. */
enum bl_look bl_look_at(const char *text);
/* @text without its comments; the caller frees it. */
char *bl_look_uncommented(const char *text);
/* Whether a path in @code, which is without comments, ends with @name. */
bool bl_look_mentions(const char *code, const char *name);
bool bl_look_says_platform(const char *text);
/* The host name that a NixOS configuration sets, where it is a plain string; else NULL. The
 * caller frees it. */
char *bl_look_host_name(const char *text);

/* Adds a host, whose name is as near to @name as a node's may be and nobody else's is. */
void bl_sketch_add(struct bl_sketch *s, const char *name, const char *path, bool platform);
void bl_sketch_free(struct bl_sketch *s);
/* The text of a fleet file of them, put behind what is in @out. */
void bl_sketch_fleet(const struct bl_sketch *s, struct bl_buf *out);
/* The text of a flake with such a fleet. @belay is belay's own flake; hosts that do not say
 * what they run on get @system. */
void bl_sketch_flake(const struct bl_sketch *s, const char *belay, const char *system,
		     struct bl_buf *out);

static inline void bl_sketch_autop(struct bl_sketch *s)
{
	bl_sketch_free(s);
}

#endif
