/* SPDX-License-Identifier: MIT */
/*
 * The system profile, whose generations are exact numbers to us, and profiles of ours beside
 * it, which put further systems into the boot menu.
 */
#ifndef BELAY_AGENT_PROFILE_H
#define BELAY_AGENT_PROFILE_H

#include "agent/job.h"

/* Compare before swap: the profile holds what the record says, or what we set already. */
bool bl_profile_is_ours(const struct bl_record *r);
/*
 * Sets it to NEW, durably. Which generation that is, and whether it was made for it, is in the
 * record before it happens, since a crash may come in between. May be repeated.
 */
int bl_profile_set_new(struct bl_job *job, struct bl_err *err) BL_MUST_CHECK;
/*
 * Back to the exact generation of OLD, durably; its link is made again when somebody collected
 * it. The links are set by hand as nix-env would: steps towards OLD wait for no lock.
 */
int bl_profile_restore_old(const struct bl_record *r, struct bl_err *err) BL_MUST_CHECK;
/* Removes the generation that we made, only while it still is NEW. */
void bl_profile_drop_new(const struct bl_record *r);

/*
 * Profiles beside the system's: installers of NixOS list their generations too. Only word
 * characters in the names: GRUB's generator passes over others.
 */
#define BL_PROFILE_CANDIDATE "belaytrial" /* NEW, for its trial boot */
#define BL_PROFILE_PREVIOUS  "belayprev"  /* OLD, where the menu's limit would drop it */

int bl_profile_set_beside(struct bl_job *job, const char *name, const char *system,
			  struct bl_err *err) BL_MUST_CHECK;
/* Whether there was one. */
bool bl_profile_drop_beside(const char *name);

#endif
