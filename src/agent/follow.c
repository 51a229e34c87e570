/* SPDX-License-Identifier: MIT */
#include "agent/follow.h"

#include "agent/confirm.h"
#include "agent/system.h"
#include "agent/talk.h"
#include "agent/txn.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_MS    20
#define HEARTBEAT_MS 2000
#define LINE_MAX_LEN 2000

/* State of transaction @epoch (0: the newest) and of the host; nothing when there is none. */
void bl_follow_tell(uint64_t epoch, struct bl_kv *kv)
{
	BL_AUTO(bl_facts) facts = { 0 };
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	struct bl_err err = { 0 };
	if (bl_facts_read(&facts, &err) == 0)
		bl_facts_tell(&facts, kv);
	else
		bl_kv_set(kv, "problem", err.msg);
	bl_kv_set(kv, "boot_id", bl_boot_id());
	bl_kv_set_u64(kv, "last_epoch", bl_txn_last_epoch());
	if (epoch == 0)
		epoch = bl_txn_newest();
	if (epoch && bl_txn_open(epoch, &t, NULL) == 0)
		bl_txn_tell(&t, kv);
	else
		bl_kv_set(kv, "state", "NONE");
}

int bl_follow_say_state(uint64_t epoch)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_follow_tell(epoch, &kv);
	return bl_talk_reply(BL_MSG_STATE, &kv);
}

/* One log that grows, sent line by line. */
struct tail {
	const char *file;
	const char *stream;
	int fd;
	struct bl_buf part;
};

static int send_line(const char *stream, const char *text, size_t len)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_autofree char *line = bl_xstrndup(text, len < LINE_MAX_LEN ? len : LINE_MAX_LEN);
	bl_kv_set(&kv, "stream", stream);
	bl_kv_set(&kv, "line", line);
	return bl_talk_reply(BL_MSG_LINE, &kv);
}

static int tail_more(struct tail *t, int dir_fd)
{
	char chunk[16384];
	if (t->fd < 0)
		t->fd = openat(dir_fd, t->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (t->fd < 0)
		return 0;
	/* a flood is told in portions, so that states still get through */
	for (int i = 0; i < 16; i++) {
		ssize_t n = read(t->fd, chunk, sizeof(chunk));
		if (n <= 0)
			return 0;
		bl_buf_append(&t->part, chunk, (size_t)n);
		for (char *end = NULL;
		     (end = memchr(bl_buf_str(&t->part), '\n', t->part.len));) {
			size_t len = (size_t)(end - t->part.data);
			if (send_line(t->stream, t->part.data, len) < 0)
				return -1;
			bl_buf_drop(&t->part, len + 1);
		}
		if (t->part.len > LINE_MAX_LEN) {
			if (send_line(t->stream, t->part.data, t->part.len) < 0)
				return -1;
			bl_buf_clear(&t->part);
		}
	}
	return 0;
}

/* What the deployer says while we tell: only an abort. false: it has gone. */
static bool listen_once(uint64_t epoch, struct bl_buf *in)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	if (poll(&p, 1, FOLLOW_MS) <= 0)
		return true;
	char chunk[1024];
	ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
	if (n <= 0)
		return n < 0 && errno == EINTR;
	bl_buf_append(in, chunk, (size_t)n);
	for (;;) {
		BL_AUTO(bl_msg) m = { 0 };
		size_t used = 0;
		struct bl_err err = { 0 };
		int rc = bl_msg_take(bl_buf_str(in), in->len, &m, &used, &err);
		if (rc <= 0)
			return rc == 0;
		bl_buf_drop(in, used);
		if (m.type == BL_MSG_ABORT &&
		    bl_confirm_abort(epoch, bl_kv_str(&m.kv, "reason"), &err) < 0 &&
		    bl_talk_refuse(err.msg, "") < 0)
			return false;
	}
}

/* The record as it is now; false when it has ended. */
static bool follow_state(uint64_t epoch, uint64_t *seq, int64_t *told_ns)
{
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	if (bl_txn_open(epoch, &t, NULL) < 0)
		return false;
	int64_t now = bl_now_boot_ns();
	bool end = bl_txn_is_terminal(t.rec.state);
	if (t.rec.seq != *seq || end || now - *told_ns > HEARTBEAT_MS * BL_NS_PER_MS) {
		*seq = t.rec.seq;
		*told_ns = now;
		if (bl_follow_say_state(epoch) < 0)
			return false;
	}
	return !end;
}

int bl_follow(uint64_t epoch)
{
	BL_AUTO(bl_buf) in = { 0 };
	bl_autofd int dir = -1;
	bl_autofree char *path =
		bl_xprintf(BL_AGENT_DIR "/txn/%llu", (unsigned long long)epoch);
	struct bl_err err = { 0 };
	if (bl_open_dir(path, &dir, &err) < 0)
		return bl_talk_refuse(
			err.msg, "`belay status` shows the newest transaction of this host");
	struct tail tails[] = { { .file = "stc.log", .stream = "activation", .fd = -1 },
				{ .file = "agent.log", .stream = "agent", .fd = -1 } };
	uint64_t seq = UINT64_MAX;
	int64_t told = 0;
	bool more = true;
	while (more) {
		/* the lines before the state that they led to */
		for (size_t i = 0; i < BL_COUNT(tails) && more; i++)
			more = tail_more(&tails[i], dir) == 0;
		more = more && follow_state(epoch, &seq, &told) && listen_once(epoch, &in);
	}
	for (size_t i = 0; i < BL_COUNT(tails); i++) {
		bl_closep(&tails[i].fd);
		bl_buf_free(&tails[i].part);
	}
	return 0;
}

int bl_follow_log(uint64_t epoch)
{
	bl_autofd int dir = -1;
	bl_autofree char *path =
		bl_xprintf(BL_AGENT_DIR "/txn/%llu",
			   (unsigned long long)(epoch ? epoch : bl_txn_newest()));
	if (bl_open_dir(path, &dir, NULL) < 0)
		return bl_talk_refuse("no such transaction on this host",
				      "`belay status` shows the newest");
	struct tail tails[] = { { .file = "stc.log", .stream = "activation", .fd = -1 },
				{ .file = "agent.log", .stream = "agent", .fd = -1 } };
	int rc = 0;
	for (size_t i = 0; i < BL_COUNT(tails); i++) {
		if (rc == 0)
			rc = tail_more(&tails[i], dir);
		bl_closep(&tails[i].fd);
		bl_buf_free(&tails[i].part);
	}
	return rc < 0 ? rc : bl_talk_reply(BL_MSG_OK, NULL);
}
