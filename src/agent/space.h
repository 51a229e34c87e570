/* SPDX-License-Identifier: MIT */
/* How much the boot loader's installer is going to need before it removes anything. */
#ifndef BELAY_AGENT_SPACE_H
#define BELAY_AGENT_SPACE_H

#include "base/base.h"

/*
 * Bytes that kernel and initrd of @system take on the boot file system mounted at @boot: 0 for
 * what lies there already, or when @boot is on the store's own file system. @installed, a
 * system whose kernel and initrd are known to be there, may be NULL. Sources: nixpkgs
 * systemd-boot-builder.py, install-grub.pl, extlinux-conf-builder.sh, which name the copies
 * after the store path, with '-' for '/'.
 */
uint64_t bl_boot_need(const char *boot, const char *system, const char *installed);

#endif
