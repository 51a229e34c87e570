/* SPDX-License-Identifier: MIT */
/*
 * What the machine would boot after a power cut, read from the boot loader's own files. Nothing
 * is written here: installing is the work of each system's switch-to-configuration.
 */
#ifndef BELAY_AGENT_LOADER_H
#define BELAY_AGENT_LOADER_H

#include "base/err.h"

enum bl_loader { BL_LOADER_NONE, BL_LOADER_BLS, BL_LOADER_GRUB, BL_LOADER_EXTLINUX };

const char *bl_loader_name(enum bl_loader loader);

/*
 * Pure parsers: the toplevel ("/nix/store/...") that @text makes the default, as a new string,
 * or NULL when it does not say so plainly. Sources: systemd loader.conf(5) and the Boot Loader
 * Specification; NixOS install-grub.pl (the default is entry 0); NixOS extlinux-conf-builder.
 */
char *bl_loader_init_of(const char *options,
			size_t len);                   /* of "... init=/nix/store/X/init ..." */
char *bl_loader_conf_default(const char *loader_conf); /* the entry's file name */
char *bl_loader_grub_default(const char *grub_cfg);
char *bl_loader_extlinux_default(const char *conf);

/* The next line of *@text without blanks around it; false at the end. */
bool bl_loader_next_line(const char **text, const char **line, size_t *len);
/* The text behind the word @key and blanks, when @line begins with them; NULL: it does not. */
const char *bl_loader_value(const char *line, size_t len, const char *key, size_t *value_len);

/*
 * Finds the loader below /boot or the EFI system partition and the toplevel of its default.
 * @out_default is a new string, "" when there is no loader we can read (containers, other
 * loaders). BL_E_INPUT when a loader is there but its default cannot be told: then nobody knows
 * what would boot.
 */
int bl_loader_default(enum bl_loader *out_loader, char **out_default,
		      struct bl_err *err) BL_MUST_CHECK;
/*
 * The entry that starts @system, in the words that a one-shot wants: systemd-boot's id
 * ("nixos-generation-3.conf"), GRUB's path of places ("1>0"). Found by content, never computed.
 * A new string; NULL with @err when there is none.
 */
char *bl_loader_entry_of(const char *system, struct bl_err *err);
/* Pure: the same in the text of a grub.cfg, NULL when there is none. */
char *bl_loader_grub_entry(const char *grub_cfg, const char *system);
/* The one-shot entry that is set, a new string; NULL: none is. */
char *bl_loader_oneshot(void);
/* Where the loader's files are ("/boot"); NULL without a loader. */
const char *bl_loader_dir(enum bl_loader *out);
/* The file that describes an entry of @system, or the one of all entries; a new string or NULL.
 */
char *bl_loader_text(enum bl_loader loader, const char *dir, const char *system);

/* Flushes the file systems that hold the loader's files. */
int bl_loader_sync(struct bl_err *err) BL_MUST_CHECK;

#endif
