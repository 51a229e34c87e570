/* SPDX-License-Identifier: MIT */
/*
 * The parts of a system (a toplevel) that say how it boots and how the host is reached: which
 * they are, reading them from the store, and what differs between two systems.
 */
#ifndef BELAY_STORE_PARTS_H
#define BELAY_STORE_PARTS_H

#include "base/kv.h"
#include "base/str.h"

/* What stage 1 and the kernel are made of; a toplevel has each as a link or a small file. */
extern const char *const bl_boot_parts[]; /* ends with NULL */
/* Files and folders that say how the host is reached. */
extern const char *const bl_network_parts[];
/* Units whose names begin so do as well. */
extern const char *const bl_network_units[];
bool bl_is_network_unit(const char *name);

#define BL_UNITS_DIR     "etc/systemd/system"
#define BL_NETWORK_DEPTH 3 /* folders are compared so many levels down, below that by path */

/*
 * Adds to @out what is at each part of @system, by its name there: the SHA-256 of a file, the
 * text of a link that leads out of the store, "folder", or the path of a folder that is not
 * looked into. A part that there is not is left out.
 */
void bl_parts_read(const char *system, struct bl_kv *out);

/* The parts that are not the same in both, as "kernel", "etc/systemd/network", "sshd.service".
 */
void bl_boot_parts_changed(const struct bl_kv *booted, const struct bl_kv *new,
			   struct bl_strv *out);
void bl_network_parts_changed(const struct bl_kv *old, const struct bl_kv *new,
			      struct bl_strv *out);

#endif
