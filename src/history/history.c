/* SPDX-License-Identifier: MIT */
/*
 * The journal of runs in SQLite. Several belays write to it at once: every transaction is
 * short, and log lines wait in memory until the next one.
 */
#include "history/history.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define SCHEMA_VERSION 2
#define BUSY_MS        5000
#define BATCH_LINES    1000
#define BATCH_BYTES    (1U << 20)
#define KEEP_BYTES     (32U << 20) /* lines kept in memory while the file cannot be written */
#define KEY_MAX        4096
#define NAME_LIMIT     200

/* From the schema of that number to the next one. */
static const char *const migrations[SCHEMA_VERSION] = {
	"CREATE TABLE run("
	" id TEXT PRIMARY KEY,"
	" command TEXT NOT NULL,"
	" source TEXT NOT NULL,"
	" started_ms INTEGER NOT NULL,"
	" ended_ms INTEGER NOT NULL DEFAULT 0,"
	" exit_code INTEGER NOT NULL DEFAULT -1);"
	"CREATE TABLE host("
	" id INTEGER PRIMARY KEY,"
	" run TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,"
	" host TEXT NOT NULL,"
	" target TEXT NOT NULL,"
	" system_old TEXT,"
	" system_new TEXT,"
	" epoch INTEGER NOT NULL DEFAULT 0,"
	" outcome TEXT,"
	" reason TEXT,"
	" started_ms INTEGER NOT NULL,"
	" ended_ms INTEGER NOT NULL DEFAULT 0,"
	" UNIQUE(run, host));"
	"CREATE INDEX host_by_name ON host(host, started_ms);"
	"CREATE TABLE line("
	" id INTEGER PRIMARY KEY,"
	" host_id INTEGER NOT NULL REFERENCES host(id) ON DELETE CASCADE,"
	" wall_ms INTEGER NOT NULL,"
	" stream TEXT NOT NULL,"
	" text TEXT NOT NULL);"
	"CREATE INDEX line_by_host ON line(host_id, id);"
	"PRAGMA user_version=1;",
	/* together: 1 its wave is confirmed as a whole, 2 that had begun */
	"ALTER TABLE host ADD COLUMN wave INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE host ADD COLUMN together INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version=2;"
};

struct line {
	int64_t host_id;
	int64_t wall_ms;
	char *stream;
	char *text;
};

struct bl_history {
	char *dir;
	char *path; /* of history.db, for messages */
	sqlite3 *db;
	sqlite3_stmt *find_host; /* these two run for every line */
	sqlite3_stmt *add_line;
	struct line *lines;
	size_t n, cap;
	size_t bytes;    /* of text that waits */
	size_t flush_at; /* lines; moves up while the file cannot be written */
};

/* One bound parameter: a text (NULL is SQL's NULL) or a number. */
struct val {
	const char *text;
	int64_t num;
	bool is_num;
};
#define TEXT(s)    ((struct val){ .text = (s) })
#define NUM(v)     ((struct val){ .num = (v), .is_num = true })
#define VALS(...)  ((const struct val[]){ __VA_ARGS__ })
#define NVALS(...) (sizeof(VALS(__VA_ARGS__)) / sizeof(struct val))

static const char *remedy(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return "another belay is writing to it; try again when that one is done";
	case SQLITE_FULL:
		return "make room on its disk";
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return "move it away and belay starts a new one";
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
	case SQLITE_AUTH:
		return "it and its folder must belong to you and be writable";
	case SQLITE_IOERR:
		return "check the disk and its free space";
	default:
		return NULL;
	}
}

static enum bl_errc errc_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return BL_E_TIMEOUT;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return BL_E_INPUT;
	default:
		return BL_E_FAILED;
	}
}

static int db_err(const struct bl_history *h, struct bl_err *err, const char *what)
{
	int code = sqlite3_extended_errcode(h->db);
	const char *do_this = remedy(code);
	return bl_err_set(err, errc_of(code), "%s: %s: %s%s%s", h->path, what,
			  sqlite3_errmsg(h->db), do_this ? "; " : "", do_this ? do_this : "");
}

static bool bind(sqlite3_stmt *st, const struct val *vals, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int at = (int)i + 1;
		int r = vals[i].is_num
				? sqlite3_bind_int64(st, at, vals[i].num)
				: sqlite3_bind_text(st, at, vals[i].text, -1, SQLITE_TRANSIENT);
		if (r != SQLITE_OK)
			return false;
	}
	return true;
}

static int prepare(struct bl_history *h, const char *sql, unsigned flags,
		   const struct val *vals, size_t n, sqlite3_stmt **out, struct bl_err *err)
{
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v3(h->db, sql, -1, flags, &st, NULL) != SQLITE_OK ||
	    !bind(st, vals, n)) {
		int r = db_err(h, err, "prepare");
		sqlite3_finalize(st);
		return r;
	}
	*out = st;
	return 0;
}

/* A statement without rows. */
static int run_vals(struct bl_history *h, const char *what, const char *sql,
		    const struct val *vals, size_t n, struct bl_err *err)
{
	sqlite3_stmt *st = NULL;
	if (prepare(h, sql, 0, vals, n, &st, err) < 0)
		return -1;
	int r = sqlite3_step(st) == SQLITE_DONE ? 0 : db_err(h, err, what);
	sqlite3_finalize(st);
	return r;
}
#define RUN(h, what, sql, err, ...) \
	run_vals(h, what, sql, VALS(__VA_ARGS__), NVALS(__VA_ARGS__), err)

static int exec(struct bl_history *h, const char *what, const char *sql, struct bl_err *err)
{
	return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
								       : db_err(h, err, what);
}

static void rollback(struct bl_history *h)
{
	if (!sqlite3_get_autocommit(h->db))
		sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- opening */

int bl_history_dir(char **out_dir, struct bl_err *err)
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");
	bl_autofree char *dir = NULL;
	if (state && *state == '/') /* the XDG standard has relative ones ignored */
		dir = bl_xprintf("%s/belay", state);
	else if (home && *home == '/')
		dir = bl_xprintf("%s/.local/state/belay", home);
	else
		return bl_err_set(
			err, BL_E_USAGE,
			"neither XDG_STATE_HOME nor HOME is an absolute path; set one, "
			"belay keeps its history there");
	if (bl_mkdirs(dir, 0700, err) < 0)
		return bl_err_wrap(err, "folder for the history");
	*out_dir = BL_STEAL(dir);
	return 0;
}

/*
 * SQLite would make the file with the umask's permissions. It must not be opened here when it
 * is there already: closing it would drop the locks of another handle in this process.
 */
static int make_file(const char *path, struct bl_err *err)
{
	bl_autofd int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		return 0;
	struct stat st;
	if (errno != EEXIST || lstat(path, &st) < 0)
		return bl_err_sys(err, errno, "make %s", path);
	if (!S_ISREG(st.st_mode))
		return bl_err_set(err, BL_E_INPUT, "%s is not a plain file; move it away",
				  path);
	if ((st.st_mode & 077) && chmod(path, 0600) < 0)
		return bl_err_sys(err, errno, "make %s readable for you alone", path);
	return 0;
}

static int read_version(struct bl_history *h, int *out, struct bl_err *err)
{
	sqlite3_stmt *st = NULL;
	if (prepare(h, "PRAGMA user_version", 0, NULL, 0, &st, err) < 0)
		return -1;
	int r = 0;
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = sqlite3_column_int(st, 0);
	else
		r = db_err(h, err, "read its version");
	sqlite3_finalize(st);
	return r;
}

static int make_schema(struct bl_history *h, struct bl_err *err)
{
	int version = 0;
	if (read_version(h, &version, err) < 0)
		return -1;
	if (version > SCHEMA_VERSION)
		return bl_err_set(
			err, BL_E_USAGE,
			"%s: was written by a newer belay (schema %d, this one knows %d); "
			"use that belay, or move the file away",
			h->path, version, SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return 0;
	/* Another belay may have been quicker: with the write lock, look again. */
	if (exec(h, "begin", "BEGIN IMMEDIATE", err) < 0 || read_version(h, &version, err) < 0)
		return -1;
	for (; version < SCHEMA_VERSION; version++)
		if (exec(h, "make tables", migrations[version], err) < 0)
			return -1;
	return exec(h, "make tables", "COMMIT", err);
}

/*
 * For a change of the journal mode SQLite does not always wait for others by itself (no busy
 * handler while it would deadlock), hence the loop.
 */
static int use_wal(struct bl_history *h, struct bl_err *err)
{
	int64_t end = bl_now_boot_ns() + BUSY_MS * BL_NS_PER_MS;
	for (;;) {
		int r = sqlite3_exec(h->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
		if (r == SQLITE_OK)
			return 0;
		if (r != SQLITE_BUSY || bl_now_boot_ns() > end)
			return db_err(h, err, "open");
		bl_sleep_ms(20);
	}
}

static int open_db(struct bl_history *h, struct bl_err *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	if (sqlite3_open_v2(h->path, &h->db, flags, NULL) != SQLITE_OK)
		return db_err(h, err, "open");
	sqlite3_busy_timeout(h->db, BUSY_MS);
	if (use_wal(h, err) < 0 ||
	    exec(h, "open", "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON", err) < 0)
		return -1;
	if (make_schema(h, err) < 0) {
		rollback(h);
		return -1;
	}
	if (prepare(h, "SELECT id FROM host WHERE run=? AND host=?", SQLITE_PREPARE_PERSISTENT,
		    NULL, 0, &h->find_host, err) < 0)
		return -1;
	return prepare(h, "INSERT INTO line(host_id,wall_ms,stream,text) VALUES(?,?,?,?)",
		       SQLITE_PREPARE_PERSISTENT, NULL, 0, &h->add_line, err);
}

static void drop_lines(struct bl_history *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->lines[i].stream);
		free(h->lines[i].text);
	}
	h->n = 0;
	h->bytes = 0;
	h->flush_at = BATCH_LINES;
}

static void history_free(struct bl_history *h)
{
	drop_lines(h);
	sqlite3_finalize(h->find_host);
	sqlite3_finalize(h->add_line);
	sqlite3_close(h->db);
	free(h->lines);
	free(h->path);
	free(h->dir);
	free(h);
}

int bl_history_open(const char *dir, struct bl_history **out, struct bl_err *err)
{
	bl_autofree char *runs = bl_xprintf("%s/runs", dir);
	if (bl_mkdirs(runs, 0700, err) < 0)
		return -1;
	struct bl_history *h = bl_xcalloc(1, sizeof(*h));
	h->dir = bl_xstrdup(dir);
	h->path = bl_xprintf("%s/history.db", dir);
	h->flush_at = BATCH_LINES;
	if (make_file(h->path, err) < 0 || open_db(h, err) < 0) {
		history_free(h);
		return -1;
	}
	*out = h;
	return 0;
}

void bl_history_close(struct bl_history *h)
{
	if (!h)
		return;
	struct bl_err err = { 0 };
	if (bl_history_flush(h, &err) < 0)
		bl_log(BL_LOG_DEBUG, "log lines are lost: %s", err.msg);
	history_free(h);
}

/* ---- writing */

static int write_lines(struct bl_history *h, struct bl_err *err)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct line *l = &h->lines[i];
		sqlite3_reset(h->add_line);
		int step = SQLITE_ERROR;
		if (bind(h->add_line,
			 VALS(NUM(l->host_id), NUM(l->wall_ms), TEXT(l->stream), TEXT(l->text)),
			 4))
			step = sqlite3_step(h->add_line);
		/* A constraint: somebody has removed that run meanwhile. No reason to fail. */
		if (step != SQLITE_DONE && step != SQLITE_CONSTRAINT) {
			int r = db_err(h, err, "write log lines");
			sqlite3_reset(h->add_line);
			return r;
		}
	}
	sqlite3_reset(h->add_line);
	return 0;
}

/* Begins the one short transaction of a call, and brings along the lines that wait. */
static int begin(struct bl_history *h, struct bl_err *err)
{
	if (exec(h, "begin", "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (write_lines(h, err) == 0)
		return 0;
	rollback(h);
	return -1;
}

/* Ends it: @r is what became of the statements. Lines stay in memory unless they are written.
 */
static int finish(struct bl_history *h, int r, struct bl_err *err)
{
	if (r == 0)
		r = exec(h, "commit", "COMMIT", err);
	if (r < 0)
		rollback(h);
	else
		drop_lines(h);
	return r;
}

int bl_history_flush(struct bl_history *h, struct bl_err *err)
{
	if (h->n == 0)
		return 0;
	if (begin(h, err) < 0)
		return -1;
	return finish(h, 0, err);
}

static int run_dir(const struct bl_history *h, const char *run, char **out, struct bl_err *err)
{
	if (!*run || strspn(run, "0123456789abcdef-") != strlen(run) || strlen(run) > 31)
		return bl_err_set(err, BL_E_USAGE, "'%.40s' is not the id of a run", run);
	*out = bl_xprintf("%s/runs/%s", h->dir, run);
	return 0;
}

/* Makes a folder that no other belay has; its name is the run's id. */
static int make_run_dir(const struct bl_history *h, int64_t now_ms, char out_id[32],
			struct bl_err *err)
{
	struct tm tm;
	time_t now = (time_t)(now_ms / 1000);
	gmtime_r(&now, &tm);
	for (int tries = 0; tries < 100; tries++) {
		uint8_t salt[2];
		bl_random(salt, sizeof(salt));
		size_t len = strftime(out_id, 32, "%Y%m%d-%H%M%S-", &tm);
		bl_hex(salt, sizeof(salt), out_id + len);
		bl_autofree char *dir = bl_xprintf("%s/runs/%s", h->dir, out_id);
		if (mkdir(dir, 0700) == 0)
			return bl_sync_dir(h->dir, err);
		if (errno != EEXIST)
			return bl_err_sys(err, errno, "make folder %s", dir);
	}
	return bl_err_set(err, BL_E_FAILED, "%s/runs: no free name for this second", h->dir);
}

int bl_history_run_begin(struct bl_history *h, const char *command, const char *source,
			 char out_id[32], struct bl_err *err)
{
	char id[32];
	int64_t now = bl_now_wall_ms();
	if (make_run_dir(h, now, id, err) < 0)
		return -1;
	bl_autofree char *runs = bl_xprintf("%s/runs", h->dir);
	int r = bl_sync_dir(runs, err);
	if (r == 0)
		r = begin(h, err);
	if (r == 0)
		r = finish(h,
			   RUN(h, "begin a run",
			       "INSERT INTO run(id,command,source,started_ms) VALUES(?,?,?,?)",
			       err, TEXT(id), TEXT(command), TEXT(source), NUM(now)),
			   err);
	if (r < 0) {
		bl_autofree char *dir = bl_xprintf("%s/%s", runs, id);
		rmdir(dir);
		return -1;
	}
	memcpy(out_id, id, sizeof(id));
	return 0;
}

/* After an UPDATE that must have found its row. */
static int expect_row(struct bl_history *h, int r, const char *run, const char *host,
		      struct bl_err *err)
{
	if (r < 0 || sqlite3_changes(h->db) > 0)
		return r;
	return bl_err_set(err, BL_E_USAGE, "%s: there is no run '%.40s'%s%.80s", h->path, run,
			  host ? " with host " : "", host ? host : "");
}

int bl_history_run_end(struct bl_history *h, const char *run, int exit_code, struct bl_err *err)
{
	if (begin(h, err) < 0)
		return -1;
	int r = RUN(h, "end a run", "UPDATE run SET ended_ms=?, exit_code=? WHERE id=?", err,
		    NUM(bl_now_wall_ms()), NUM(exit_code), TEXT(run));
	return finish(h, expect_row(h, r, run, NULL, err), err);
}

int bl_history_host_begin(struct bl_history *h, const char *run, const char *host,
			  const char *target, const char *system_new, struct bl_err *err)
{
	if (begin(h, err) < 0)
		return -1;
	int r = RUN(h, "begin a host",
		    "INSERT INTO host(run,host,target,system_new,started_ms) VALUES(?,?,?,?,?)",
		    err, TEXT(run), TEXT(host), TEXT(target), TEXT(system_new),
		    NUM(bl_now_wall_ms()));
	if (r < 0)
		bl_err_wrap(err, "host %s of run %s", host, run);
	return finish(h, r, err);
}

int bl_history_host_wave(struct bl_history *h, const char *run, const char *host, uint32_t wave,
			 bool atomic, struct bl_err *err)
{
	if (begin(h, err) < 0)
		return -1;
	int r = RUN(h, "write a host's wave",
		    "UPDATE host SET wave=?, together=? WHERE run=? AND host=?", err, NUM(wave),
		    NUM(atomic), TEXT(run), TEXT(host));
	return finish(h, expect_row(h, r, run, host, err), err);
}

int bl_history_wave_decided(struct bl_history *h, const char *run, uint32_t wave,
			    struct bl_err *err)
{
	/* from here on nobody is sent back for another one's sake: one fsync more */
	if (exec(h, "sync", "PRAGMA synchronous=FULL", err) < 0)
		return -1;
	int r = begin(h, err);
	if (r == 0) {
		r = RUN(h, "decide a wave", "UPDATE host SET together=2 WHERE run=? AND wave=?",
			err, TEXT(run), NUM(wave));
		r = finish(h, expect_row(h, r, run, NULL, err), err);
	}
	sqlite3_exec(h->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	return r;
}

int bl_history_host_started(struct bl_history *h, const char *run, const char *host,
			    const char *system_old, uint64_t epoch, struct bl_err *err)
{
	/* What finds an open transaction again must outlive a power cut: one fsync more. */
	if (exec(h, "sync", "PRAGMA synchronous=FULL", err) < 0)
		return -1;
	int r = begin(h, err);
	if (r == 0) {
		r = RUN(h, "start a host",
			"UPDATE host SET system_old=COALESCE(?,system_old),"
			" epoch=COALESCE(NULLIF(?,0),epoch) WHERE run=? AND host=?",
			err, TEXT(system_old), NUM((int64_t)epoch), TEXT(run), TEXT(host));
		r = finish(h, expect_row(h, r, run, host, err), err);
	}
	sqlite3_exec(h->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	return r;
}

/* Opens runs/<run> and gives the name of @host's key in it. */
static int key_place(struct bl_history *h, const char *run, const char *host, int *out_dir_fd,
		     char **out_name, struct bl_err *err)
{
	bl_autofree char *dir = NULL;
	if (run_dir(h, run, &dir, err) < 0)
		return -1;
	if (!*host || *host == '.' || strchr(host, '/') || strlen(host) > NAME_LIMIT)
		return bl_err_set(err, BL_E_USAGE, "'%.80s' cannot be the name of a key", host);
	if (bl_open_dir(dir, out_dir_fd, err) < 0)
		return -1;
	*out_name = bl_xprintf("%s.key", host);
	return 0;
}

int bl_history_key_save(struct bl_history *h, const char *run, const char *host,
			const uint8_t *key, size_t len, struct bl_err *err)
{
	bl_autofd int dir_fd = -1;
	bl_autofree char *name = NULL;
	if (key_place(h, run, host, &dir_fd, &name, err) < 0 ||
	    bl_write_file_at(dir_fd, name, 0600, key, len, err) < 0)
		return bl_err_wrap(err, "save the key of host %s in %s/runs/%s", host, h->dir,
				   run);
	return 0;
}

int bl_history_key_load(struct bl_history *h, const char *run, const char *host, uint8_t *key,
			size_t len, struct bl_err *err)
{
	bl_autofd int dir_fd = -1;
	bl_autofree char *name = NULL;
	bl_autofree char *text = NULL;
	size_t got = 0;
	if (key_place(h, run, host, &dir_fd, &name, err) < 0 ||
	    bl_read_file_at(dir_fd, name, KEY_MAX, &text, &got, err) < 0)
		return bl_err_wrap(err, "load the key of host %s in %s/runs/%s", host, h->dir,
				   run);
	int r = 0;
	if (got == len)
		memcpy(key, text, len);
	else
		r = bl_err_set(
			err, BL_E_INPUT,
			"%s/runs/%s/%s: has %zu bytes, a key has %zu; it was not written "
			"by this version of belay",
			h->dir, run, name, got, len);
	explicit_bzero(text, got);
	return r;
}

static int remove_key(struct bl_history *h, const char *run, const char *host,
		      struct bl_err *err)
{
	bl_autofd int dir_fd = -1;
	bl_autofree char *name = NULL;
	struct bl_err gone = { 0 };
	if (key_place(h, run, host, &dir_fd, &name, &gone) < 0)
		return gone.sys_errno == ENOENT ? 0
						: bl_err_set(err, gone.code, "%s", gone.msg);
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return bl_err_sys(err, errno, "remove %s/runs/%s/%s", h->dir, run, name);
	return 0;
}

int bl_history_host_end(struct bl_history *h, const char *run, const char *host,
			const char *outcome, const char *reason, struct bl_err *err)
{
	if (begin(h, err) < 0)
		return -1;
	int r = RUN(h, "end a host",
		    "UPDATE host SET outcome=?, reason=?, ended_ms=? WHERE run=? AND host=?",
		    err, TEXT(outcome), TEXT(reason), NUM(bl_now_wall_ms()), TEXT(run),
		    TEXT(host));
	if (finish(h, expect_row(h, r, run, host, err), err) < 0)
		return -1;
	/* Nobody knows yet whether that transaction has ended: `belay resume` needs its key. */
	if (bl_str_eq(outcome, "unknown"))
		return 0;
	return remove_key(h, run, host, err);
}

static int find_host(struct bl_history *h, const char *run, const char *host, int64_t *out_id,
		     struct bl_err *err)
{
	sqlite3_stmt *st = h->find_host;
	int step = bind(st, VALS(TEXT(run), TEXT(host)), 2) ? sqlite3_step(st) : SQLITE_ERROR;
	int r = 0;
	if (step == SQLITE_ROW)
		*out_id = sqlite3_column_int64(st, 0);
	else if (step == SQLITE_DONE)
		r = bl_err_set(err, BL_E_USAGE, "%s: there is no run '%.40s' with host %.80s",
			       h->path, run, host);
	else
		r = db_err(h, err, "find a host");
	sqlite3_reset(st);
	return r;
}

int bl_history_line(struct bl_history *h, const char *run, const char *host, const char *stream,
		    const char *text, struct bl_err *err)
{
	int64_t id = 0;
	if (find_host(h, run, host, &id, err) < 0)
		return -1;
	if (h->bytes > KEEP_BYTES)
		return bl_err_set(err, BL_E_FAILED,
				  "%s: cannot be written since %zu log lines; this one is lost",
				  h->path, h->n);
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : BATCH_LINES;
		h->lines = bl_xrealloc(h->lines, h->cap, sizeof(*h->lines));
	}
	struct line *l = &h->lines[h->n++];
	*l = (struct line){ id, bl_now_wall_ms(), bl_xstrdup(stream), bl_visible(text) };
	h->bytes += strlen(l->text) + sizeof(*l);
	if (h->n < h->flush_at && h->bytes < BATCH_BYTES * (h->flush_at / BATCH_LINES))
		return 0;
	if (bl_history_flush(h, err) == 0)
		return 0;
	/* Not again for every line: a busy file costs 5 s each time. */
	h->flush_at += BATCH_LINES;
	return -1;
}

/* ---- reading */

static char *column_text(sqlite3_stmt *st, int i)
{
	const char *s = (const char *)sqlite3_column_text(st, i);
	return s ? bl_xstrdup(s) : NULL;
}

/* Calls @row for every row of a SELECT. */
static int each_row(struct bl_history *h, const char *sql, const struct val *vals, size_t n,
		    void (*row)(void *ctx, sqlite3_stmt *st), void *ctx, struct bl_err *err)
{
	sqlite3_stmt *st = NULL;
	if (prepare(h, sql, 0, vals, n, &st, err) < 0)
		return -1;
	int step;
	while ((step = sqlite3_step(st)) == SQLITE_ROW)
		row(ctx, st);
	int r = step == SQLITE_DONE ? 0 : db_err(h, err, "read");
	sqlite3_finalize(st);
	return r;
}

struct run_list {
	struct bl_history_run *items;
	size_t n;
};

static void add_run(void *ctx, sqlite3_stmt *st)
{
	struct run_list *list = ctx;
	list->items = bl_xrealloc(list->items, list->n + 1, sizeof(*list->items));
	list->items[list->n++] = (struct bl_history_run){
		.id = column_text(st, 0),
		.command = column_text(st, 1),
		.source = column_text(st, 2),
		.started_ms = sqlite3_column_int64(st, 3),
		.ended_ms = sqlite3_column_int64(st, 4),
		.exit_code = sqlite3_column_int(st, 5),
	};
}

static int64_t limit_of(size_t max)
{
	return max > INT64_MAX ? INT64_MAX : (int64_t)max;
}

int bl_history_runs(struct bl_history *h, size_t max, struct bl_history_run **out,
		    size_t *out_n, struct bl_err *err)
{
	struct run_list list = { 0 };
	if (each_row(h,
		     "SELECT id,command,source,started_ms,ended_ms,exit_code FROM run"
		     " ORDER BY started_ms DESC, rowid DESC LIMIT ?",
		     VALS(NUM(limit_of(max))), 1, add_run, &list, err) < 0) {
		bl_history_runs_free(list.items, list.n);
		return -1;
	}
	*out = list.items;
	*out_n = list.n;
	return 0;
}

struct host_list {
	struct bl_history_host *items;
	size_t n;
};

static void add_host(void *ctx, sqlite3_stmt *st)
{
	struct host_list *list = ctx;
	list->items = bl_xrealloc(list->items, list->n + 1, sizeof(*list->items));
	list->items[list->n++] = (struct bl_history_host){
		.run = column_text(st, 0),
		.host = column_text(st, 1),
		.target = column_text(st, 2),
		.system_old = column_text(st, 3),
		.system_new = column_text(st, 4),
		.epoch = (uint64_t)sqlite3_column_int64(st, 5),
		.outcome = column_text(st, 6),
		.reason = column_text(st, 7),
		.started_ms = sqlite3_column_int64(st, 8),
		.ended_ms = sqlite3_column_int64(st, 9),
		.wave = (uint32_t)sqlite3_column_int64(st, 10),
		.atomic = sqlite3_column_int(st, 11) > 0,
		.decided = sqlite3_column_int(st, 11) > 1,
	};
}

#define SELECT_HOSTS(where)                                                             \
	"SELECT run,host,target,system_old,system_new,epoch,outcome,reason,started_ms," \
	"ended_ms,wave,together FROM host WHERE " where                                 \
	" ORDER BY started_ms DESC, id DESC LIMIT ?3"

int bl_history_hosts(struct bl_history *h, const char *run, const char *host, size_t max,
		     struct bl_history_host **out, size_t *out_n, struct bl_err *err)
{
	const char *sql = SELECT_HOSTS("?1 IS NULL AND ?2 IS NULL");
	if (run && host)
		sql = SELECT_HOSTS("run=?1 AND host=?2");
	else if (run)
		sql = SELECT_HOSTS("run=?1 AND ?2 IS NULL");
	else if (host)
		sql = SELECT_HOSTS("host=?2 AND ?1 IS NULL");
	struct host_list list = { 0 };
	if (each_row(h, sql, VALS(TEXT(run), TEXT(host), NUM(limit_of(max))), 3, add_host,
		     &list, err) < 0) {
		bl_history_hosts_free(list.items, list.n);
		return -1;
	}
	*out = list.items;
	*out_n = list.n;
	return 0;
}

struct line_reader {
	void (*each)(void *ctx, int64_t wall_ms, const char *stream, const char *text);
	void *ctx;
};

static void give_line(void *ctx, sqlite3_stmt *st)
{
	const struct line_reader *reader = ctx;
	reader->each(reader->ctx, sqlite3_column_int64(st, 0),
		     (const char *)sqlite3_column_text(st, 1), /* NOT NULL, both */
		     (const char *)sqlite3_column_text(st, 2));
}

int bl_history_lines(struct bl_history *h, const char *run, const char *host,
		     void (*each)(void *ctx, int64_t wall_ms, const char *stream,
				  const char *text),
		     void *ctx, struct bl_err *err)
{
	int64_t id = 0;
	struct line_reader reader = { each, ctx };
	if (find_host(h, run, host, &id, err) < 0 || bl_history_flush(h, err) < 0)
		return -1;
	return each_row(h, "SELECT wall_ms,stream,text FROM line WHERE host_id=? ORDER BY id",
			VALS(NUM(id)), 1, give_line, &reader, err);
}

void bl_history_runs_free(struct bl_history_run *runs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(runs[i].id);
		free(runs[i].command);
		free(runs[i].source);
	}
	free(runs);
}

void bl_history_hosts_free(struct bl_history_host *hosts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(hosts[i].run);
		free(hosts[i].host);
		free(hosts[i].target);
		free(hosts[i].system_old);
		free(hosts[i].system_new);
		free(hosts[i].outcome);
		free(hosts[i].reason);
	}
	free(hosts);
}
