/* SPDX-License-Identifier: MIT */
/*
 * The kernel and initrd that the boot loader keeps beside its configuration, compared with
 * those of the system that they belong to. NixOS's installers take a file that is there already
 * for a good one, so that one that a power cut left short stays until it is needed.
 */
#ifndef BELAY_AGENT_BOOTFILES_H
#define BELAY_AGENT_BOOTFILES_H

#include "agent/loader.h"

/*
 * Fails (BL_E_FAILED, naming the file) when one of them is missing, shorter than @system's, or
 * as long and not the same. A longer one is fine: secrets are appended to an initrd, a
 * signature to a kernel. Passes where they cannot be told: other loaders, files in the store
 * itself. Contents are read only with @deep; @tick (NULL: none) is called while that takes its
 * time.
 */
int bl_bootfiles_check(const char *system, bool deep, void (*tick)(void *ctx), void *ctx,
		       struct bl_err *err) BL_MUST_CHECK;

/*
 * Pure: the words behind `linux` and the first `initrd` of the entry in @text that starts
 * @system, as new strings; NULL: it has none. Whether there is such an entry. For entries of
 * the Boot Loader Specification, grub.cfg and extlinux.conf alike.
 */
bool bl_bootfiles_words(const char *text, const char *system, char **out_kernel,
			char **out_initrd);
/* Pure: where that word's file is, below the loader's folder @dir; NULL: not there. */
char *bl_bootfiles_path(enum bl_loader loader, const char *dir, const char *word);

#endif
