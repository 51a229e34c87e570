/* SPDX-License-Identifier: MIT */
#include "agent/txn.h"

#include "agent/point.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_SIZE (64UL * 1024)
#define KEEP_FOLDERS 20
#define REMARK_MAX   8192
#define PLAN_MAX     (1024UL * 1024)

int bl_agent_dirs(struct bl_err *err)
{
	if (bl_mkdirs(BL_AGENT_DIR "/txn", 0700, err) < 0 ||
	    bl_mkdirs(BL_RUN_DIR, 0700, err) < 0 || bl_mkdirs(BL_ROOTS_DIR, 0755, err) < 0)
		return -1;
	if (access(BL_AGENT_DIR "/reserve", F_OK) == 0)
		return 0;
	bl_autofd int dir = -1;
	bl_autofree char *ballast = bl_xcalloc(1, RESERVE_SIZE);
	if (bl_open_dir(BL_AGENT_DIR, &dir, err) < 0)
		return -1;
	return bl_write_file_at(dir, "reserve", 0600, ballast, RESERVE_SIZE, err);
}

int bl_txn_lock(int64_t wait_ms, int *out_fd, struct bl_err *err)
{
	int64_t end = bl_now_boot_ns() + wait_ms * BL_NS_PER_MS;
	/* the folder itself: a disk that went read-only can still be locked, to go back */
	bl_autofd int fd = -1;
	if (bl_mkdirs(BL_AGENT_DIR, 0700, err) < 0 || bl_open_dir(BL_AGENT_DIR, &fd, err) < 0)
		return -1;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return bl_err_sys(err, errno, "lock " BL_AGENT_DIR);
		if (bl_now_boot_ns() >= end)
			return bl_err_set(err, BL_E_REFUSED,
					  "another deployment is at work on this host");
		bl_idle();
		bl_sleep_ms(20);
	}
	*out_fd = BL_STEAL_FD(fd);
	return 0;
}

/* Calls @each for every number in txn/. */
static void each_epoch(void (*each)(uint64_t epoch, void *ctx), void *ctx)
{
	DIR *d = opendir(BL_AGENT_DIR "/txn");
	if (!d)
		return;
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		uint64_t n = 0;
		if (bl_parse_u64(e->d_name, 1, UINT64_MAX, &n, NULL) == 0)
			each(n, ctx);
	}
	closedir(d);
}

static void keep_highest(uint64_t epoch, void *ctx)
{
	uint64_t *highest = ctx;
	if (epoch > *highest)
		*highest = epoch;
}

uint64_t bl_txn_newest(void)
{
	uint64_t newest = 0;
	each_epoch(keep_highest, &newest);
	return newest;
}

uint64_t bl_txn_newest_known(void)
{
	uint64_t newest = bl_txn_newest();
	DIR *d = newest ? NULL : opendir(BL_ROOTS_DIR);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		uint64_t n = 0;
		if (bl_starts_with(e->d_name, "new-") &&
		    bl_parse_u64(e->d_name + 4, 1, UINT64_MAX, &n, NULL) == 0)
			keep_highest(n, &newest);
	}
	if (d)
		closedir(d);
	return newest;
}

uint64_t bl_txn_last_epoch(void)
{
	bl_autofree char *text = bl_slurp(BL_AGENT_DIR "/epoch", 32);
	uint64_t last = 0;
	if (text) {
		text[strcspn(text, "\n")] = '\0';
		if (bl_parse_u64(text, 0, UINT64_MAX - 1, &last, NULL) < 0)
			last = 0;
	}
	uint64_t newest = bl_txn_newest();
	return newest > last ? newest : last;
}

static char *root_name(const char *what, uint64_t epoch)
{
	return bl_xprintf(BL_ROOTS_DIR "/%s-%llu", what, (unsigned long long)epoch);
}

int bl_root_set(const char *name, const char *path, struct bl_err *err)
{
	bl_autofree char *link = bl_xprintf(BL_ROOTS_DIR "/%s", name);
	return bl_symlink_replace(path, link, err);
}

/* What is known of a transaction without its record. */
static void from_roots(struct bl_record *rec, uint64_t epoch)
{
	static const struct {
		const char *what;
		size_t offset;
	} roots[] = {
		{ "old", offsetof(struct bl_record, system_old) },
		{ "new", offsetof(struct bl_record, system_new) },
		{ "agent", offsetof(struct bl_record, agent) },
	};
	for (size_t i = 0; i < BL_COUNT(roots); i++) {
		bl_autofree char *link = root_name(roots[i].what, epoch);
		bl_autofree char *path = bl_readlink(link);
		bl_replace_str((char **)((char *)rec + roots[i].offset), path ? path : "");
	}
	rec->epoch = epoch;
	rec->state = BL_TXN_NONE;
	rec->rollback_ms = 300000;
	rec->commit_ms = 180000;
	bl_replace_str(&rec->boot_id, "");
	bl_replace_str(&rec->reason, "");
	bl_replace_str(&rec->remark, "");
	bl_replace_str(&rec->sshd, "");
}

/* The folder was made, and whoever made it died before the first record: nothing was done. */
static bool never_began(const struct bl_txn *t)
{
	return faccessat(t->dir_fd, "state", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT &&
	       faccessat(t->dir_fd, "state.broken", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT;
}

void bl_txn_keep_broken(struct bl_txn *t)
{
	if (t->broken)
		bl_log(BL_LOG_ERR, "journal of transaction %llu cannot be read",
		       (unsigned long long)t->rec.epoch);
	/* the name is taken only once */
	if (t->broken && faccessat(t->dir_fd, "state.broken", F_OK, 0) < 0)
		(void)!renameat(t->dir_fd, "state", t->dir_fd, "state.broken");
}

int bl_txn_open(uint64_t epoch, struct bl_txn *out, struct bl_err *err)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	t.dir = bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)epoch);
	if (bl_open_dir(t.dir, &t.dir_fd, err) < 0)
		return -1;
	bl_autofree char *text = NULL;
	size_t len = 0;
	if (bl_read_file_at(t.dir_fd, "state", BL_RECORD_MAX, &text, &len, NULL) < 0 ||
	    bl_record_decode(text, len, &t.rec, NULL) < 0 || t.rec.epoch != epoch) {
		bl_record_free(&t.rec);
		from_roots(&t.rec, epoch);
		t.never_began = never_began(&t);
		t.broken = !t.never_began;
		if (t.never_began)
			t.rec.state = BL_TXN_REFUSED;
	}
	*out = t;
	t = (struct bl_txn){ .dir_fd = -1 };
	return 0;
}

int bl_txn_open_lost(uint64_t epoch, struct bl_txn *out, struct bl_err *err)
{
	bl_autofree char *dir = bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)epoch);
	if (bl_mkdirs(dir, 0700, err) < 0)
		return -1;
	return bl_txn_open(epoch, out, err);
}

char *bl_txn_tools(const struct bl_txn *t)
{
	if (t->rec.system_old && t->rec.system_old[0])
		return bl_xstrdup(t->rec.system_old);
	char *running = bl_realpath("/run/current-system");
	return running ? running : bl_xstrdup("");
}

void bl_txn_close(struct bl_txn *t)
{
	bl_closep(&t->dir_fd);
	free(t->dir);
	bl_record_free(&t->rec);
	*t = (struct bl_txn){ .dir_fd = -1 };
}

static int write_record(struct bl_txn *t, struct bl_err *err)
{
	BL_AUTO(bl_buf) text = { 0 };
	int injected = bl_point_take_errno();
	if (injected)
		return bl_err_sys(err, injected, "write state");
	bl_record_encode(&t->rec, &text);
	if (bl_write_file_at(t->dir_fd, "state", 0600, text.data, text.len, err) < 0)
		return -1;
	/* read back: a disk that lies is found before anything relies on it */
	bl_autofree char *again = NULL;
	size_t len = 0;
	if (bl_read_file_at(t->dir_fd, "state", BL_RECORD_MAX, &again, &len, err) < 0)
		return -1;
	if (len != text.len || memcmp(again, text.data, len) != 0)
		return bl_err_set(err, BL_E_SYS, "state reads back differently");
	return 0;
}

int bl_txn_save(struct bl_txn *t, bool backward, struct bl_err *err)
{
	struct bl_err why = { 0 };
	t->rec.seq++;
	int rc = write_record(t, &why);
	if (rc < 0 && backward && why.sys_errno == ENOSPC) {
		unlink(BL_AGENT_DIR "/reserve");
		rc = write_record(t, &why);
	}
	if (rc < 0 && err)
		*err = why;
	return rc < 0 ? bl_err_wrap(err, "journal of transaction %llu",
				    (unsigned long long)t->rec.epoch)
		      : 0;
}

static bool is_backward(enum bl_txn_state state)
{
	return bl_txn_journal(state) == BL_JR_RB || state == BL_TXN_ROLLING_BACK ||
	       state == BL_TXN_SUPERSEDED || state == BL_TXN_STUCK;
}

int bl_txn_move(struct bl_txn *t, enum bl_txn_event event, struct bl_err *err)
{
	enum bl_txn_state from = t->rec.state;
	enum bl_txn_state to = bl_txn_next(from, event);
	if (to == BL_TXN_NONE)
		return bl_err_set(err, BL_E_USAGE, "%s is refused in state %s",
				  bl_txn_event_name(event), bl_txn_name(from));
	bool backward = is_backward(to);
	t->rec.state = to;
	bl_autofree char *before = bl_xprintf("before-%s", bl_txn_name(to));
	bl_autofree char *after = bl_xprintf("after-%s", bl_txn_name(to));
	bl_point(before);
	int rc = bl_txn_save(t, backward, err);
	if (rc < 0 && !backward)
		t->rec.state = from;
	if (rc < 0 && backward) {
		bl_log(BL_LOG_ERR, "%s could not be recorded, going on: %s", bl_txn_name(to),
		       err ? err->msg : "");
		rc = 0;
	}
	if (rc == 0) {
		bl_log(BL_LOG_INFO, "%s%s%s", bl_txn_name(to), t->rec.reason[0] ? ": " : "",
		       t->rec.reason);
		bl_point(after);
	}
	return rc;
}

void bl_txn_reason(struct bl_txn *t, const char *fmt, ...)
{
	if (t->rec.reason && t->rec.reason[0])
		return;
	va_list ap;
	char text[512];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bl_replace_str(&t->rec.reason, text);
}

void bl_txn_remark(struct bl_txn *t, const char *fmt, ...)
{
	va_list ap;
	char text[512];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* the record has its limit */
	if (t->rec.remark && strlen(t->rec.remark) > REMARK_MAX)
		return;
	bl_autofree char *all = t->rec.remark && t->rec.remark[0]
					? bl_xprintf("%s; %s", t->rec.remark, text)
					: bl_xstrdup(text);
	bl_replace_str(&t->rec.remark, all);
}

int bl_txn_use_up(uint64_t epoch, struct bl_err *err)
{
	bl_autofd int dir = -1;
	if (bl_open_dir(BL_AGENT_DIR, &dir, err) < 0)
		return -1;
	bl_autofree char *text = bl_xprintf("%llu\n", (unsigned long long)epoch);
	return bl_write_file_at(dir, "epoch", 0600, text, strlen(text), err);
}

void bl_txn_live(uint64_t epoch, bool live)
{
	bl_autofree char *path = bl_xprintf(BL_RUN_DIR "/%llu.live", (unsigned long long)epoch);
	if (!live) {
		unlink(path);
		return;
	}
	bl_autofd int fd BL_UNUSED = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

bool bl_txn_is_live(uint64_t epoch)
{
	bl_autofree char *path = bl_xprintf(BL_RUN_DIR "/%llu.live", (unsigned long long)epoch);
	return access(path, F_OK) == 0;
}

static void remove_folder(uint64_t epoch)
{
	bl_autofree char *dir = bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)epoch);
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(dir);
}

static void remove_old(uint64_t epoch, void *ctx)
{
	const uint64_t *newest = ctx;
	if (epoch + KEEP_FOLDERS <= *newest)
		remove_folder(epoch);
}

static int write_key(const struct bl_txn *t, const uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	char hex[2 * BL_KEY_LEN + 1];
	bl_hex(key, BL_KEY_LEN, hex);
	int rc = bl_write_file_at(t->dir_fd, "key", 0600, hex, sizeof(hex) - 1, err);
	explicit_bzero(hex, sizeof(hex));
	return rc;
}

static int set_roots(const struct bl_record *rec, struct bl_err *err)
{
	const char *const what[] = { "old", "new", "agent" };
	const char *const path[] = { rec->system_old, rec->system_new, rec->agent };
	for (size_t i = 0; i < BL_COUNT(what); i++) {
		bl_autofree char *name =
			bl_xprintf("%s-%llu", what[i], (unsigned long long)rec->epoch);
		if (bl_root_set(name, path[i], err) < 0)
			return -1;
	}
	return bl_sync_dir(BL_ROOTS_DIR, err);
}

int bl_txn_create(struct bl_record *rec, const struct bl_plan *plan,
		  const uint8_t key[BL_KEY_LEN], struct bl_txn *out, struct bl_err *err)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	rec->epoch = bl_txn_last_epoch() + 1;
	if (bl_txn_use_up(rec->epoch, err) < 0)
		return -1;
	/* from its first trace on it shows which boot it belongs to */
	bl_txn_live(rec->epoch, true);
	uint64_t newest = rec->epoch;
	each_epoch(remove_old, &newest);
	t.dir = bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)rec->epoch);
	if (mkdir(t.dir, 0700) < 0)
		return bl_err_sys(err, errno, "make folder %s", t.dir);
	rec->state = BL_TXN_PREPARED;
	t.rec = *rec;
	*rec = (struct bl_record){ 0 };
	if (set_roots(&t.rec, err) < 0 || bl_open_dir(t.dir, &t.dir_fd, err) < 0 ||
	    write_key(&t, key, err) < 0 || bl_txn_plan_save(&t, plan, err) < 0 ||
	    bl_txn_save(&t, false, err) < 0 || bl_sync_dir(BL_AGENT_DIR "/txn", err) < 0) {
		/* it has not begun: nobody is to find it */
		bl_txn_drop_roots(&t);
		remove_folder(t.rec.epoch);
		bl_txn_live(t.rec.epoch, false);
		return -1;
	}
	*out = t;
	t = (struct bl_txn){ .dir_fd = -1 };
	return 0;
}

int bl_txn_plan_save(const struct bl_txn *t, const struct bl_plan *plan, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	bl_plan_tell(plan, &kv);
	bl_kv_encode(&kv, &text);
	return bl_write_file_at(t->dir_fd, "plan", 0600, bl_buf_str(&text), text.len, err);
}

int bl_txn_plan_load(const struct bl_txn *t, struct bl_plan *out, struct bl_err *err)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_autofree char *text = NULL;
	size_t len = 0;
	if (bl_read_file_at(t->dir_fd, "plan", PLAN_MAX, &text, &len, err) < 0 ||
	    bl_kv_decode(text, len, &kv, err) < 0 || bl_plan_read(&kv, out, err) < 0)
		return bl_err_wrap(err, "plan");
	return 0;
}

int bl_txn_key(const struct bl_txn *t, uint8_t key[BL_KEY_LEN], struct bl_err *err)
{
	bl_autofree char *hex = NULL;
	size_t len = 0;
	if (bl_read_file_at(t->dir_fd, "key", 256, &hex, &len, err) < 0)
		return -1;
	int rc = bl_unhex(hex, key, BL_KEY_LEN, err);
	explicit_bzero(hex, len);
	return rc;
}

void bl_txn_drop_roots(const struct bl_txn *t)
{
	const char *const what[] = { "old", "new", "agent" };
	/* whoever mends it may need either */
	if (t->rec.state == BL_TXN_STUCK)
		return;
	if (t->rec.state == BL_TXN_COMMITTED &&
	    bl_root_set("previous", t->rec.system_old, NULL) < 0)
		return; /* old-N stays instead: OLD is rooted until the next commit */
	for (size_t i = 0; i < BL_COUNT(what); i++) {
		bl_autofree char *link = root_name(what[i], t->rec.epoch);
		unlink(link);
	}
}

void bl_txn_tell(const struct bl_txn *t, struct bl_kv *out)
{
	const struct bl_record *r = &t->rec;
	bl_kv_set_u64(out, "epoch", r->epoch);
	bl_kv_set(out, "state", t->broken ? "BROKEN" : bl_txn_name(r->state));
	bl_kv_set(out, "new", r->system_new);
	bl_kv_set(out, "old", r->system_old);
	bl_kv_set(out, "run", r->run ? r->run : "");
	bl_kv_set(out, "owner", r->owner ? r->owner : "");
	bl_kv_set(out, "reason", r->reason);
	bl_kv_set(out, "remark", r->remark);
	bool open = !bl_txn_is_terminal(r->state);
	bl_kv_set(out, "open", open ? "1" : "0");
	if ((r->state == BL_TXN_WAIT_CONFIRM || r->state == BL_TXN_TRIAL_WAIT) &&
	    strcmp(r->boot_id, bl_boot_id()) == 0) {
		int64_t left = (r->deadline_boot_ns - bl_now_boot_ns()) / BL_NS_PER_MS;
		bl_kv_set_u64(out, "left_ms", (uint64_t)(left > 0 ? left : 0));
	}
}
