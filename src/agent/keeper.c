/* SPDX-License-Identifier: MIT */
#include "agent/keeper.h"

#include "agent/commit.h"
#include "agent/confirm.h"
#include "agent/point.h"
#include "agent/reboot.h"
#include "agent/step.h"
#include "agent/unit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_MS 86400000 /* systemd does not wait as long for a unit to begin */
#define TAKE_MS 1500

bool bl_job_runs(const char *path)
{
	bl_autofree char *now = bl_realpath("/run/current-system");
	return now && strcmp(now, path) == 0;
}

bool bl_job_runs_other(const struct bl_job *job)
{
	bl_autofree char *now = bl_realpath("/run/current-system");
	return now && strcmp(now, job->txn.rec.system_old) != 0 &&
	       strcmp(now, job->txn.rec.system_new) != 0;
}

void bl_job_say(const struct bl_job *job, const char *fmt, ...)
{
	BL_AUTO(bl_buf) line = { 0 };
	va_list ap;
	char text[1024];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bl_buf_printf(&line, "belay: %s\n", text);
	(void)!write(job->log_fd, line.data, line.len);
}

static void ping(struct bl_keeper *k)
{
	int64_t now = bl_now_boot_ns();
	if (now - k->pinged_ns < 5 * BL_NS_PER_S)
		return;
	k->pinged_ns = now;
	bl_unit_notify("WATCHDOG=1");
	if (!k->job.starve)
		bl_watchdog_ping(&k->watchdog);
}

/* Goes on while a step takes its time: answers who asks, keeps the watchdogs calm. */
static void tick(void *ctx)
{
	struct bl_keeper *k = ctx;
	ping(k);
	bl_doorman_serve(k->doorman, 10);
}

/* Forwards only what the table allows; an unwritable journal on the way forward is a failure.
 */
void bl_keeper_move(struct bl_keeper *k, enum bl_txn_event event)
{
	struct bl_err err = { 0 };
	if (bl_txn_move(&k->job.txn, event, &err) == 0)
		return;
	bl_log(BL_LOG_ERR, "%s", err.msg);
	bl_txn_reason(&k->job.txn, "%s", err.msg);
	enum bl_txn_event back = k->job.txn.rec.state == BL_TXN_CONFIRMED ||
						 k->job.txn.rec.state == BL_TXN_COMMITTING
					 ? bl_commit_undo(&k->job)
					 : BL_EV_FAIL;
	if (bl_txn_move(&k->job.txn, back, &err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
}

/* A recovery puts the state where the facts are, past the table's single steps. */
void bl_keeper_force(struct bl_keeper *k, enum bl_txn_state state)
{
	struct bl_err err = { 0 };
	k->job.txn.rec.state = state;
	bl_replace_str(&k->job.txn.rec.boot_id, bl_boot_id());
	if (bl_txn_save(&k->job.txn, true, &err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
	bl_log(BL_LOG_INFO, "%s", bl_txn_name(state));
}

void bl_keeper_clean(const struct bl_txn *t)
{
	bl_confirm_unlink(t->rec.epoch);
	bl_txn_drop_roots(t);
	/* every boot of a host that is STUCK says so */
	if (t->rec.state != BL_TXN_STUCK)
		bl_unit_guard_remove();
	bl_txn_live(t->rec.epoch, false);
}

/*
 * A keeper that commits or goes back is given its time, as long as it is the same one: what
 * dies again and again gets nowhere.
 */
static void give_time(uint64_t epoch, const char *system)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open(epoch, &t, NULL) < 0 || t.broken ||
	    (t.rec.state != BL_TXN_ROLLING_BACK &&
	     bl_txn_journal(t.rec.state) != BL_JR_CONFIRMED))
		return;
	uint64_t before = bl_unit_restarts(system, epoch);
	int64_t end = bl_now_boot_ns() +
		      (2 * (int64_t)t.rec.commit_ms + 2 * (int64_t)t.rec.rollback_ms + 120000 +
		       BL_VISIT_MS + t.rec.activate_ms) * /* the hook behind it */
			      BL_NS_PER_MS;
	while (bl_now_boot_ns() < end && bl_unit_restarts(system, epoch) == before) {
		BL_AUTO(bl_txn) now = { .dir_fd = -1 };
		if (bl_txn_open(epoch, &now, NULL) < 0 || bl_txn_is_terminal(now.rec.state))
			return;
		bl_sleep_ms(1000);
	}
}

/* The keeper that does not end is killed; PID 1 brings up another, so the lock is raced for. */
static int take_over(uint64_t epoch, const char *system, int *out_lock, struct bl_err *err)
{
	for (int i = 0; i < 20; i++) {
		bl_unit_kill_keeper(system, epoch);
		if (bl_txn_lock(TAKE_MS, out_lock, err) == 0)
			return 0;
	}
	return -1;
}

/* What the unit prints belongs to the transaction that it works on. */
static void log_into(const struct bl_txn *t)
{
	bl_autofd int fd = openat(t->dir_fd, "agent.log",
				  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	(void)!dup2(fd, STDOUT_FILENO);
	(void)!dup2(fd, STDERR_FILENO);
}

static int open_job(struct bl_keeper *k, uint64_t epoch, struct bl_err *err)
{
	if (bl_txn_open_lost(epoch, &k->job.txn, err) < 0)
		return -1;
	/* nobody starts a keeper before the first record: then it was lost */
	if (k->job.txn.never_began && (k->role != BL_GUARD || bl_txn_is_live(epoch))) {
		k->job.txn.broken = true;
		k->job.txn.rec.state = BL_TXN_NONE;
	}
	log_into(&k->job.txn);
	k->job.log_fd = openat(k->job.txn.dir_fd, "stc.log",
			       O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (k->job.log_fd < 0)
		/* a full disk is no reason not to go back */
		k->job.log_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct bl_err lost = { 0 };
	if (bl_txn_plan_load(&k->job.txn, &k->job.plan, &lost) < 0) {
		/* what is not known is not waited for: without a plan it goes back */
		bl_log(BL_LOG_ERR, "%s", lost.msg);
		bl_plan_init(&k->job.plan);
		k->job.abort = true;
	}
	k->job.have_before = bl_snapshot_load(k->job.txn.dir_fd, &k->job.before, &lost) == 0;
	if (!k->job.have_before)
		bl_log(BL_LOG_WARN, "%s", lost.msg);
	/* with the record went where sshd answered, and without it no address looks like ours
	 */
	else if (k->job.txn.broken && k->job.before.sshd.n > 0)
		bl_replace_str(&k->job.txn.rec.sshd, k->job.before.sshd.items[0]);
	return 0;
}

static void clean_up(const struct bl_keeper *k)
{
	uint64_t epoch = k->job.txn.rec.epoch;
	bl_autofree char *system = bl_txn_tools(&k->job.txn);
	/* of an older one, the guard may be its successor's by now */
	if (epoch == bl_txn_newest())
		bl_keeper_clean(&k->job.txn);
	else
		bl_txn_drop_roots(&k->job.txn);
	bl_unit_stop_deadman(system, epoch);
	/* systemd took the unit in when it booted; now its file is gone */
	if (k->after_boot || k->role != BL_KEEPER)
		bl_unit_reload(system);
	if (k->role == BL_DEADMAN)
		bl_unit_forget_guard(system);
}

/* A host whose facts cannot be read any more still goes back to the system that is recorded. */
static int read_facts(struct bl_keeper *k, struct bl_facts *out, struct bl_err *err)
{
	if (bl_facts_read(out, err) == 0)
		return 0;
	if (!k->job.txn.rec.system_old[0] || !bl_same_boot(&k->job.txn))
		return -1;
	bl_log(BL_LOG_ERR, "%s", err->msg);
	*out = (struct bl_facts){
		.system = bl_xstrdup(k->job.txn.rec.system_old),
		.booted = bl_xstrdup(""),
		.profile = bl_xstrdup(""),
		.boot_default = bl_xstrdup(""),
	};
	return 0;
}

/* Loud where people and their monitoring look: the kernel's log, the console, a failed unit. */
static int tell_stuck(const struct bl_txn *t)
{
	bl_autofree char *text = bl_xprintf("<2>belay: transaction %llu is STUCK: %s%s%s\n",
					    (unsigned long long)t->rec.epoch, t->rec.reason,
					    t->rec.remark[0] ? "; " : "", t->rec.remark);
	static const char *const where_to[] = { "/dev/kmsg", "/dev/console" };
	for (size_t i = 0; i < BL_COUNT(where_to); i++) {
		bl_autofd int fd =
			open(where_to[i], O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		const char *line = i == 0 ? text : text + 3;
		if (fd >= 0)
			(void)!write(fd, line, strlen(line));
	}
	bl_log(BL_LOG_ERR, "%s", text + 3);
	return BL_EXIT_STUCK;
}

static int run(struct bl_keeper *k, uint64_t epoch, struct bl_err *err)
{
	BL_AUTO(bl_facts) facts = { 0 };
	if (open_job(k, epoch, err) < 0)
		return -1;
	if (read_facts(k, &facts, err) < 0)
		return -1;
	if (bl_txn_is_terminal(k->job.txn.rec.state) && !bl_booted_unasked(k, &facts)) {
		/* killed right behind its end, or the deadman of one that has ended */
		clean_up(k);
		return 0;
	}
	bl_txn_keep_broken(&k->job.txn);
	if (bl_doorman_new(&k->job, &k->doorman, err) < 0) {
		bl_log(BL_LOG_ERR, "%s", err->msg);
		/* nobody could confirm: then it must not begin */
		if (k->job.txn.rec.state == BL_TXN_PREPARED) {
			bl_txn_reason(&k->job.txn, "%s", err->msg);
			bl_keeper_force(k, BL_TXN_REFUSED);
		}
	}
	bl_recover(k, &facts);
	bl_txn_live(epoch, true);
	while (!bl_txn_is_terminal(k->job.txn.rec.state)) {
		ping(k);
		bl_step(k);
	}
	bl_checks_free(k->checks);
	/* what ticks on behind this finds nobody at the door */
	bl_doorman_free(BL_STEAL(k->doorman));
	if (k->job.txn.rec.state == BL_TXN_STUCK)
		tell_stuck(&k->job.txn);
	clean_up(k);
	return 0;
}

int bl_guard_main(void)
{
	bl_unit_notify("READY=1");
	uint64_t epoch = bl_txn_newest_known();
	bl_autofd int lock = -1;
	struct bl_err err = { 0 };
	if (epoch == 0)
		return 0;
	if (bl_agent_dirs(&err) < 0)
		bl_log(BL_LOG_ERR, "%s", err.msg);
	/* somebody has it in hand: a switch in this boot may start this unit too */
	else if (bl_txn_lock(0, &lock, &err) < 0)
		return 0;
	bl_closep(&lock);
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open_lost(epoch, &t, NULL) == 0) {
		if (t.rec.state == BL_TXN_STUCK)
			return tell_stuck(&t);
	}
	return bl_keeper_main(epoch, BL_GUARD);
}

static int take_its_place(uint64_t epoch, int *out_lock, struct bl_err *err)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	bl_autofree char *system = bl_txn_open(epoch, &t, NULL) == 0
					   ? bl_txn_tools(&t)
					   : bl_realpath("/run/current-system");
	give_time(epoch, system ? system : "");
	return take_over(epoch, system ? system : "", out_lock, err);
}

int bl_keeper_main(uint64_t epoch, enum bl_keeper_role role)
{
	struct bl_keeper k = { .job = { .log_fd = -1, .txn = { .dir_fd = -1 } },
			       .watchdog = { .fd = -1 },
			       .switch_lock = -1 };
	struct bl_err err = { 0 };
	bl_autofd int lock = -1;
	k.role = role;
	bl_idle_set(tick, &k);
	bl_log_setup(BL_LOG_INFO, false);
	bl_point_role(role == BL_DEADMAN ? "deadman" : "keeper");
	/* paged out code cannot be read back from a disk that died; not every limit allows it
	 */
	(void)!mlockall(MCL_CURRENT | MCL_FUTURE);
	int rc = role == BL_DEADMAN ? take_its_place(epoch, &lock, &err)
				    : bl_txn_lock(LOCK_MS, &lock, &err);
	/* the keeper cannot even be killed: it hangs on a dead disk. After a reset OLD boots,
	 * or what was confirmed is taken up. */
	if (rc < 0 && role == BL_DEADMAN && err.code == BL_E_REFUSED)
		bl_reboot_force(0);
	bl_unit_notify("READY=1");
	if (rc == 0) {
		if (bl_agent_dirs(&err) < 0)
			bl_log(BL_LOG_ERR, "%s", err.msg);
		/* also for one that has ended: its keeper may have been killed before it let go
		 */
		bl_watchdog_open(&k.watchdog, "");
		rc = run(&k, epoch, &err);
		if (!k.job.starve)
			bl_watchdog_close(&k.watchdog);
	}
	if (rc < 0)
		bl_log(BL_LOG_ERR, "transaction %llu: %s", (unsigned long long)epoch, err.msg);
	bl_strv_free(&k.failed_jobs);
	bl_snapshot_free(&k.job.before);
	bl_plan_free(&k.job.plan);
	bl_txn_close(&k.job.txn);
	bl_closep(&k.job.log_fd);
	return rc < 0 ? 1 : 0;
}
