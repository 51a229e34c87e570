/* SPDX-License-Identifier: MIT */
#include "agent/rollback.h"

#include "agent/activation.h"
#include "agent/commit.h"
#include "agent/point.h"
#include "agent/reboot.h"
#include "agent/trial.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/dial.h"
#include "base/file.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SETTLE_MS   30000 /* until R2, which harms nothing */
#define VERIFY_MS   60000
#define LOCK_MS     20000
#define DEAF_MS     15000
#define GREETING_MS 10000 /* a busy host needs a while to start a process for us */
#define STARVE_MS   90000 /* longer than our watchdog's minute */
#define REBOOTS_MAX 3
#define SYSTEMD_BUS "/run/dbus/system_bus_socket"

bool bl_sshd_answers(const char *where)
{
	struct sockaddr_storage to;
	uint64_t port = 0;
	BL_AUTO(bl_strv) w = { 0 };
	bl_strv_split(&w, where, ' ');
	if (w.n != 2 || bl_parse_u64(w.items[1], 1, 65535, &port, NULL) < 0)
		return true;
	socklen_t len = bl_dial_address(w.items[0], (uint32_t)port, &to);
	if (len == 0)
		return true;
	bl_autofd int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	(void)!connect(fd, (struct sockaddr *)&to, len);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char banner[4];
	return poll(&p, 1, GREETING_MS) == 1 && read(fd, banner, sizeof(banner)) == 4 &&
	       memcmp(banner, "SSH-", 4) == 0;
}

/* Without its bus, switch-to-configuration can do nothing. */
static bool bus_is_dead(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SYSTEMD_BUS };
	bl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0;
}

/* What is not as before, as a sentence; NULL when the host can be reached as before. */
static char *what_is_missing(struct bl_job *job)
{
	struct bl_record *r = &job->txn.rec;
	BL_AUTO(bl_snapshot) now = { 0 };
	if (!bl_job_runs(r->system_old))
		return bl_xstrdup("the old system is not the running one");
	bl_snapshot_network(r->sshd, &now);
	bl_autofree char *addresses = bl_strv_missing(&job->before.own, &now.addresses);
	if (addresses)
		return bl_xprintf("address missing: %s", addresses);
	bl_autofree char *routes = bl_strv_missing(&job->before.routes, &now.routes);
	if (routes)
		return bl_xprintf("default route missing: %s", routes);
	return bl_sshd_answers(r->sshd) ? NULL : bl_xstrdup("sshd does not answer");
}

/* RB_VERIFY: networks need a moment to settle, so it looks until the limit. */
static bool verify(struct bl_job *job, int64_t limit_ms)
{
	int64_t end = bl_now_boot_ns() + limit_ms * BL_NS_PER_MS;
	for (;;) {
		bl_autofree char *missing = what_is_missing(job);
		if (!missing)
			return true;
		if (bl_now_boot_ns() > end || !bl_job_runs(job->txn.rec.system_old)) {
			bl_job_say(job, "after the rollback: %s", missing);
			return false;
		}
		for (int i = 0; i < 10; i++) {
			bl_idle();
			bl_sleep_ms(10);
		}
	}
}

/*
 * Units, the resolver, and addresses that others may have taken over meanwhile are no reason to
 * reboot a machine that is back and reachable; they are told.
 */
static void tell_units(struct bl_job *job)
{
	const struct bl_record *r = &job->txn.rec;
	BL_AUTO(bl_snapshot) now = { 0 };
	if (!job->have_before || bl_snapshot_take(r->system_old, r->sshd, &now, NULL) < 0)
		return;
	bl_autofree char *gone = bl_strv_missing(&job->before.addresses, &now.addresses);
	bl_autofree char *more = bl_strv_missing(&now.failed, &job->before.failed);
	bl_autofree char *resolver = bl_strv_missing(&job->before.resolver, &now.resolver);
	if (gone)
		bl_txn_remark(&job->txn, "addresses missing that were there before: %s", gone);
	if (resolver)
		bl_txn_remark(&job->txn, "/etc/resolv.conf is not as it was before");
	if (more)
		bl_txn_remark(&job->txn, "failed units that were not failed before: %s", more);
}

#define OLD_BUS_DEAD (-100) /* beside the statuses of bl_stc_run */

/* R1: the status of OLD's switch-to-configuration. */
static int activate_old(struct bl_job *job)
{
	struct bl_record *r = &job->txn.rec;
	struct bl_stc stc = {
		.system = r->system_old,
		.action = "test",
		.tools_system = r->system_old,
		.no_check = true,
		.log_fd = job->log_fd,
		.limit_ms = r->rollback_ms,
	};
	if (bus_is_dead()) {
		bl_job_say(job, "the system bus is dead: only a reboot leads back");
		return OLD_BUS_DEAD;
	}
	bl_activation_clean_lists(r->system_old);
	bl_job_say(job, "rolling back to %s", r->system_old);
	int status = bl_stc_run(&stc);
	bl_job_say(job, "switch-to-configuration of the old system: status %d", status);
	return status;
}

/* Another switch-to-configuration at work is waited for, up to 20 s: then it is in our way. */
static int activate_old_patiently(struct bl_job *job)
{
	int64_t end = bl_now_boot_ns() + LOCK_MS * BL_NS_PER_MS;
	for (;;) {
		int status = activate_old(job);
		if (status != 11 || bl_now_boot_ns() > end)
			return status;
		for (int i = 0; i < 100; i++)
			bl_idle();
	}
}

static bool third_party(struct bl_job *job)
{
	if (!bl_job_runs_other(job))
		return false;
	bl_txn_remark(&job->txn, "somebody else activated another system: it is left alone");
	return true;
}

/*
 * Whether it went through to its end: 2, 3 and 4 say that a script or units of OLD failed,
 * which OLD may do on every day; others left it half done.
 */
static bool went_through(int status)
{
	return status == 0 || status == 2 || status == 3 || status == 4;
}

static bool booted_new(const struct bl_job *job)
{
	bl_autofree char *booted = bl_realpath("/run/booted-system");
	return booted && strcmp(booted, job->txn.rec.system_new) == 0 &&
	       strcmp(job->txn.rec.system_new, job->txn.rec.system_old) != 0;
}

/* With these strategies OLD is left by a boot alone: where it runs, nothing was activated. */
static bool never_left(const struct bl_job *job)
{
	return (job->plan.strategy == BL_STRATEGY_BOOT ||
		job->plan.strategy == BL_STRATEGY_KEXEC ||
		job->plan.strategy == BL_STRATEGY_UNGUARDED) &&
	       bl_job_runs(job->txn.rec.system_old);
}

/* A PID 1 that crashed stands still, and everything that asks it with it. */
static bool systemd_answers(const struct bl_job *job)
{
	const char *const args[] = { "show", "-p", "Version", "--value", NULL };
	BL_AUTO(bl_child_result) r = { 0 };
	return bl_tool_run(job->txn.rec.system_old, "systemctl", args, DEAF_MS, &r, NULL) < 0 ||
	       r.status == 0;
}

enum bl_txn_event bl_rollback(struct bl_job *job)
{
	bl_job_spare_log(job);
	bl_trial_leave(job);
	bl_point("trial-left");
	if (never_left(job))
		return BL_EV_OLD_RUNS;
	if (!systemd_answers(job)) {
		bl_txn_remark(&job->txn, "systemd did not answer");
		return bl_rollback_reboot(job, BL_REBOOT_FORCED);
	}
	/* what OLD's kernel and stage 1 set up cannot be had by switching */
	if (booted_new(job))
		return bl_rollback_reboot(job, BL_REBOOT_NORMAL);
	/* this way reloads systemd, which is not to take the next boot's unit into this one */
	bl_unit_guard_remove();
	for (int attempt = 0; attempt < 2; attempt++) {
		if (attempt == 1 && job->have_before) {
			bl_job_say(job, "putting units, addresses and routes back by hand");
			bl_snapshot_restore(job->txn.rec.system_old, &job->before);
			bl_point("restored");
		}
		if (third_party(job))
			return BL_EV_THIRD_PARTY;
		int status = activate_old_patiently(job);
		bl_point("rolled-back");
		if (status == OLD_BUS_DEAD || status == 100)
			break;
		if (!went_through(status) || !verify(job, attempt == 0 ? SETTLE_MS : VERIFY_MS))
			continue;
		if (status == 2 || status == 3)
			bl_txn_remark(&job->txn,
				      "the old system's own activation ended with status %d",
				      status);
		tell_units(job);
		/* while NEW ran, its candidate stayed */
		bl_trial_leave(job);
		return BL_EV_OLD_RUNS;
	}
	return bl_rollback_reboot(job, BL_REBOOT_NORMAL);
}

static bool default_is_old(struct bl_job *job)
{
	const struct bl_record *r = &job->txn.rec;
	if (bl_commit_would_boot(r->system_old, NULL) == 0)
		return true;
	/* NEW took away what tells, and no commit of ours has begun: it is as it was (I1) */
	if (!job->txn.broken && !r->generation_new && access(BL_PROFILE, F_OK) < 0)
		return true;
	/* without a journal nobody knows whose the default is: it is not ours to move */
	return !job->txn.broken && bl_commit_undo(job) == BL_EV_COMMIT_UNDONE;
}

enum bl_txn_event bl_rollback_reboot(struct bl_job *job, enum bl_reboot how)
{
	struct bl_record *r = &job->txn.rec;
	if (r->reboots >= REBOOTS_MAX) {
		bl_txn_remark(&job->txn, "%d reboots did not help", REBOOTS_MAX);
		return BL_EV_GIVE_UP;
	}
	if (!default_is_old(job)) {
		bl_txn_remark(&job->txn, "the boot default is not the old system: no reboot");
		return BL_EV_GIVE_UP;
	}
	r->reboots++;
	bl_txn_remark(&job->txn, "rebooted into the old system");
	if (bl_txn_save(&job->txn, true, NULL) < 0)
		bl_log(BL_LOG_ERR, "the reboot could not be recorded");
	bl_job_say(job, "rebooting into %s", r->system_old);
	/* there it ends without anybody asking; a deployer's own look does it too */
	struct bl_err err = { 0 };
	if (!bl_unit_guard_in(r->system_old) && bl_unit_guard_install(r, &err) < 0)
		bl_log(BL_LOG_WARN, "%s", err.msg);
	bl_reboot(job, how);
	/* R6, the last rung: where it leads nowhere either, the host needs a person */
	job->starve = true;
	for (int64_t end = bl_now_boot_ns() + STARVE_MS * BL_NS_PER_MS; bl_now_boot_ns() < end;)
		bl_idle();
	return BL_EV_GIVE_UP;
}
