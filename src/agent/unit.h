/* SPDX-License-Identifier: MIT */
/* The agent as systemd sees it: its transient unit, its deadman timer, its unit for the next
 * boot. */
#ifndef BELAY_AGENT_UNIT_H
#define BELAY_AGENT_UNIT_H

#include "agent/system.h"
#include "guard/record.h"

/*
 * Starts `<agent> keeper --epoch N` as belay-N.service and waits until it is ready. The unit
 * lives in /run/systemd/transient, so switch-to-configuration never looks at it, and outside of
 * every session. Its output is the keeper's own business: a file named here that is gone would
 * keep it from being started again.
 */
int bl_unit_start_keeper(const char *system, const struct bl_record *rec,
			 struct bl_err *err) BL_MUST_CHECK;
/*
 * belay-deadman-N.timer: fires @after_ms from now and runs `<agent> deadman N`. Both units take
 * systemd a moment: this one is only begun here, and bl_unit_wait_deadman says how it went.
 */
int bl_unit_begin_deadman(const char *system, const struct bl_record *rec, int64_t after_ms,
			  struct bl_tool *out, struct bl_err *err) BL_MUST_CHECK;
int bl_unit_wait_deadman(struct bl_tool *begun, struct bl_err *err) BL_MUST_CHECK;
void bl_unit_stop_deadman(const char *system, uint64_t epoch);
/* Whether belay-N.service is active or about to be. */
bool bl_unit_is_alive(const char *system, uint64_t epoch);
/* How often PID 1 had to start it, or the guard of this boot, again. */
uint64_t bl_unit_restarts(const char *system, uint64_t epoch);
/* SIGKILL to everything in belay-N.service. */
void bl_unit_kill_keeper(const char *system, uint64_t epoch);

/*
 * belay-force-N.service: reboots the host by force after @after_ms. No shutdown stops it; a
 * reboot that works takes it along.
 */
int bl_unit_start_forcer(const char *system, const struct bl_record *rec, int64_t after_ms,
			 struct bl_err *err) BL_MUST_CHECK;

/* Whether @system brings the boot guard as a unit of its own (the NixOS module). */
bool bl_unit_guard_in(const char *system);
/*
 * A unit below /etc/systemd/system.attached that runs the guard at the next boot, so that a
 * crashed transaction ends without anybody asking. Not every host lets us (immutable /etc):
 * then the next contact does it.
 */
int bl_unit_guard_install(const struct bl_record *rec, struct bl_err *err) BL_MUST_CHECK;
void bl_unit_guard_remove(void);
/* Has systemd read its unit files again. */
void bl_unit_reload(const char *system);

/* A guard that was killed by the deadman is no failed unit of the host's. */
void bl_unit_forget_guard(const char *system);

/* sd_notify(3) without its library; nothing happens outside of a unit. */
void bl_unit_notify(const char *state);

#endif
