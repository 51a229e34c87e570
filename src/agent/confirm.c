/* SPDX-License-Identifier: MIT */
#include "agent/confirm.h"

#include "agent/follow.h"
#include "agent/start.h"
#include "agent/talk.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/login.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KEEPER_MS 10000
#define PROOF_MS  15000
#define LOCK_MS   20000 /* a start takes its time */

static void socket_address(uint64_t epoch, struct sockaddr_un *to)
{
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(to->sun_path, sizeof(to->sun_path), BL_RUN_DIR "/%llu.sock",
		 (unsigned long long)epoch);
}

int bl_confirm_connect(uint64_t epoch, int *out_fd, struct bl_err *err)
{
	struct sockaddr_un to;
	socket_address(epoch, &to);
	bl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return bl_err_sys(err, errno, "socket");
	/* where a stopped keeper's guests queue up, this one does not wait with them */
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return bl_err_set(err, BL_E_UNREACHABLE, "no keeper of transaction %llu: %s",
				  (unsigned long long)epoch, strerror(errno));
	*out_fd = BL_STEAL_FD(fd);
	return 0;
}

int bl_confirm_listen(uint64_t epoch, int *out_fd, struct bl_err *err)
{
	struct sockaddr_un to;
	socket_address(epoch, &to);
	unlink(to.sun_path);
	bl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return bl_err_sys(err, errno, "socket");
	mode_t mask = umask(0177);
	int rc = bind(fd, (struct sockaddr *)&to, sizeof(to));
	umask(mask);
	if (rc < 0 || listen(fd, 16) < 0)
		return bl_err_sys(err, errno, "listen on %s", to.sun_path);
	*out_fd = BL_STEAL_FD(fd);
	return 0;
}

void bl_confirm_unlink(uint64_t epoch)
{
	struct sockaddr_un to;
	socket_address(epoch, &to);
	unlink(to.sun_path);
}

int bl_session_fresh(int pid, int64_t activated_ns, struct bl_err *err)
{
	int64_t start = 0;
	int64_t tick = BL_NS_PER_S / sysconf(_SC_CLK_TCK);
	if (bl_session_start(pid, &start, err) < 0)
		return -1;
	/* start times are counted in ticks, rounded down */
	if (start + tick <= activated_ns)
		return bl_err_set(err, BL_E_REFUSED,
				  "stale connection: it began before the activation ended");
	return 0;
}

static int send_msg(int fd, enum bl_msg_type type, const struct bl_kv *kv, struct bl_err *err)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_msg_put(&out, type, kv);
	return bl_write_all(fd, out.data, out.len, err);
}

int bl_confirm_abort(uint64_t epoch, const char *reason, struct bl_err *err)
{
	bl_autofd int fd = -1;
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "reason", reason);
	BL_AUTO(bl_msg) answer = { 0 };
	if (bl_confirm_connect(epoch, &fd, err) < 0 || send_msg(fd, BL_MSG_ABORT, &kv, err) < 0)
		return -1;
	BL_AUTO(bl_buf) in = { 0 };
	if (bl_msg_read(fd, &in, KEEPER_MS, &answer, err) < 0)
		return -1;
	if (answer.type != BL_MSG_OK)
		return bl_err_set(err, BL_E_REFUSED, "%s", bl_kv_str(&answer.kv, "reason"));
	return 0;
}

/* Challenge out, proof in, answer out. */
static int handshake(int keeper, struct bl_err *err)
{
	BL_AUTO(bl_buf) from_keeper = { 0 };
	BL_AUTO(bl_buf) from_deployer = { 0 };
	BL_AUTO(bl_msg) challenge = { 0 };
	BL_AUTO(bl_msg) proof = { 0 };
	BL_AUTO(bl_msg) answer = { 0 };
	if (send_msg(keeper, BL_MSG_STATUS, NULL, err) < 0 ||
	    bl_msg_read(keeper, &from_keeper, KEEPER_MS, &challenge, err) < 0 ||
	    send_msg(STDOUT_FILENO, challenge.type, &challenge.kv, err) < 0)
		return -1;
	if (challenge.type != BL_MSG_CHALLENGE)
		return 0;
	if (bl_msg_read(STDIN_FILENO, &from_deployer, PROOF_MS, &proof, err) < 0 ||
	    send_msg(keeper, proof.type, &proof.kv, err) < 0 ||
	    bl_msg_read(keeper, &from_keeper, KEEPER_MS, &answer, err) < 0)
		return -1;
	return send_msg(STDOUT_FILENO, answer.type, &answer.kv, err);
}

/* Garbage roots without a journal are somebody's only in the boot that they are from. */
static bool is_known(uint64_t epoch)
{
	return epoch <= (bl_txn_is_live(epoch) ? bl_txn_newest_known() : bl_txn_newest());
}

/*
 * The start did not arrive, or is still under way: then its lock is waited for. Without it the
 * number is used up, so that a start that comes later is refused: nothing was changed, and
 * nothing will be. False: there is such a transaction by now.
 */
static bool never_started(uint64_t epoch, struct bl_err *err)
{
	bl_autofd int lock = -1;
	/* the folder may have gone with a disk that was no disk */
	if (is_known(epoch) || bl_agent_dirs(err) < 0 || bl_txn_lock(LOCK_MS, &lock, err) < 0)
		return false;
	return !is_known(epoch) && bl_txn_use_up(epoch, err) == 0;
}

static int say_none(uint64_t epoch)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set_u64(&kv, "epoch", epoch);
	bl_kv_set(&kv, "state", "NONE");
	return send_msg(STDOUT_FILENO, BL_MSG_STATE, &kv, NULL) < 0 ? 1 : 0;
}

int bl_confirm_main(uint64_t epoch)
{
	struct bl_err err = { 0 };
	bl_autofd int keeper = -1;
	if (bl_write_all(STDOUT_FILENO, BL_WIRE_BANNER, sizeof(BL_WIRE_BANNER) - 1, &err) < 0)
		return 1;
	/* the keeper may be on its way up again: PID 1 needs a second for that */
	for (int i = 0; keeper < 0 && i < 30; i++) {
		BL_AUTO(bl_txn) t = { .dir_fd = -1 };
		if (bl_confirm_connect(epoch, &keeper, &err) == 0)
			break;
		if (never_started(epoch, &err))
			return say_none(epoch);
		if (bl_txn_open(epoch, &t, &err) < 0 || bl_txn_is_terminal(t.rec.state))
			break;
		if (i == 10)
			bl_start_recover();
		bl_sleep_ms(100);
	}
	if (keeper >= 0 && handshake(keeper, &err) < 0) {
		BL_AUTO(bl_kv) kv = { 0 };
		bl_kv_set(&kv, "reason", err.msg);
		if (send_msg(STDOUT_FILENO, BL_MSG_REFUSED, &kv, &err) < 0)
			return 1;
	}
	return bl_follow(epoch) < 0 ? 1 : 0;
}
