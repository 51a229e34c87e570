/* SPDX-License-Identifier: MIT */
#include "agent/doorman.h"

#include "agent/confirm.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/login.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS_MAX 8
#define GUEST_S    20 /* who takes longer is shown out */

struct guest {
	int fd; /* -1: the chair is free */
	int pid;
	int64_t since_ns;
	struct bl_buf in;
	struct bl_kv challenge; /* empty until it was sent */
	bool proved;
};

struct bl_doorman {
	struct bl_job *job;
	int listen_fd;
	int64_t visit_ns; /* the youngest ssh connection that anybody came over */
	struct guest guests[GUESTS_MAX];
};

int bl_doorman_new(struct bl_job *job, struct bl_doorman **out, struct bl_err *err)
{
	int fd = -1;
	if (bl_confirm_listen(job->txn.rec.epoch, &fd, err) < 0)
		return -1;
	struct bl_doorman *d = bl_xcalloc(1, sizeof(*d));
	d->job = job;
	d->listen_fd = fd;
	for (size_t i = 0; i < GUESTS_MAX; i++)
		d->guests[i].fd = -1;
	*out = d;
	return 0;
}

static void show_out(struct guest *g)
{
	bl_closep(&g->fd);
	bl_buf_free(&g->in);
	bl_kv_free(&g->challenge);
	g->proved = false;
}

void bl_doorman_free(struct bl_doorman *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < GUESTS_MAX; i++)
		show_out(&d->guests[i]);
	bl_closep(&d->listen_fd);
	free(d);
}

/* Small answers into an empty socket buffer: who does not take them in loses them. */
static void answer(struct guest *g, enum bl_msg_type type, const struct bl_kv *kv)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_msg_put(&out, type, kv);
	(void)!send(g->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void refuse(struct bl_doorman *d, struct guest *g, const char *reason)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "reason", reason);
	bl_kv_set(&kv, "state", bl_txn_name(d->job->txn.rec.state));
	bl_log(BL_LOG_WARN, "refused: %s", reason);
	answer(g, BL_MSG_REFUSED, &kv);
}

/* Why no confirmation can be taken now; NULL when it can. */
static const char *not_now(enum bl_txn_state state)
{
	switch (bl_txn_journal(state)) {
	case BL_JR_TRIAL:
		return "too early";
	case BL_JR_ARMED:
		if (state == BL_TXN_WAIT_CONFIRM || state == BL_TXN_TRIAL_WAIT)
			return NULL;
		return state == BL_TXN_ROLLING_BACK ? "too late, rolling back" : "too early";
	case BL_JR_CONFIRMED:
	case BL_JR_DONE:
		return "it is confirmed already";
	case BL_JR_NONE:
	case BL_JR_RB:
	case BL_JR_NJOURNALS:
		break;
	}
	return "too late, rolled back";
}

static void send_challenge(struct bl_doorman *d, struct guest *g)
{
	const struct bl_record *r = &d->job->txn.rec;
	const char *reason = not_now(r->state);
	if (reason) {
		refuse(d, g, reason);
		return;
	}
	uint8_t nonce[BL_NONCE_LEN];
	char hex[2 * BL_NONCE_LEN + 1];
	bl_random(nonce, sizeof(nonce));
	bl_hex(nonce, sizeof(nonce), hex);
	bl_kv_free(&g->challenge);
	bl_kv_set(&g->challenge, "nonce", hex);
	bl_kv_set_u64(&g->challenge, "epoch", r->epoch);
	bl_kv_set(&g->challenge, "boot_id", bl_boot_id());
	bl_kv_set(&g->challenge, "new", r->system_new);
	bl_kv_set(&g->challenge, "state", bl_txn_name(r->state));
	answer(g, BL_MSG_CHALLENGE, &g->challenge);
}

static void take_proof(struct bl_doorman *d, struct guest *g, const char *proof)
{
	const struct bl_record *r = &d->job->txn.rec;
	uint8_t key[BL_KEY_LEN];
	struct bl_err err = { 0 };
	const char *reason = not_now(r->state);
	int rc = -1;
	if (reason)
		bl_err_set_(&err, BL_E_REFUSED, 0, "%s", reason);
	else if (g->challenge.n == 0)
		bl_err_set_(&err, BL_E_REFUSED, 0, "a proof without a challenge");
	else if (bl_txn_key(&d->job->txn, key, &err) == 0)
		rc = bl_proof_check(key, &g->challenge, proof, &err);
	explicit_bzero(key, sizeof(key));
	if (rc == 0 && !d->job->plan.any_login)
		rc = bl_session_fresh(g->pid, r->activated_boot_ns, &err);
	/* one challenge, one try */
	bl_kv_free(&g->challenge);
	if (rc < 0)
		refuse(d, g, err.msg);
	else
		g->proved = true;
}

static void take_abort(struct bl_doorman *d, struct guest *g, const char *reason)
{
	enum bl_txn_state state = d->job->txn.rec.state;
	if (bl_txn_journal(state) != BL_JR_ARMED && bl_txn_journal(state) != BL_JR_TRIAL) {
		refuse(d, g, "too late: it is confirmed already");
		return;
	}
	if (d->job->leaving) {
		refuse(d, g, "it is rebooting into the new system; ask again when that is up");
		return;
	}
	d->job->abort = true;
	if (*reason)
		bl_txn_reason(&d->job->txn, "%s", reason);
	answer(g, BL_MSG_OK, NULL);
}

static void handle(struct bl_doorman *d, struct guest *g, const struct bl_msg *m)
{
	if (m->type == BL_MSG_STATUS)
		send_challenge(d, g);
	else if (m->type == BL_MSG_PROOF)
		take_proof(d, g, bl_kv_str(&m->kv, "proof"));
	else if (m->type == BL_MSG_ABORT)
		take_abort(d, g, bl_kv_str(&m->kv, "reason"));
	else
		refuse(d, g, "not understood");
}

static void hear(struct bl_doorman *d, struct guest *g)
{
	char chunk[4096];
	ssize_t n = recv(g->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || g->in.len > sizeof(chunk)) {
		show_out(g);
		return;
	}
	bl_buf_append(&g->in, chunk, (size_t)n);
	for (;;) {
		BL_AUTO(bl_msg) m = { 0 };
		size_t used = 0;
		struct bl_err err = { 0 };
		int rc = bl_msg_take(bl_buf_str(&g->in), g->in.len, &m, &used, &err);
		if (rc < 0) {
			refuse(d, g, err.msg);
			show_out(g);
		}
		if (rc <= 0)
			return;
		bl_buf_drop(&g->in, used);
		handle(d, g, &m);
	}
}

static void let_in(struct bl_doorman *d)
{
	bl_autofd int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return;
	/* the socket's mode keeps others out; this is for a mode that somebody changed */
	if (who.uid != 0) {
		bl_log(BL_LOG_WARN, "refused: user %u at the socket", (unsigned)who.uid);
		return;
	}
	int64_t began = 0;
	if (bl_session_start(who.pid, &began, NULL) == 0 && began > d->visit_ns)
		d->visit_ns = began;
	struct guest *oldest = &d->guests[0];
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = &d->guests[i];
		if (g->fd < 0) {
			oldest = g;
			break;
		}
		if (g->since_ns < oldest->since_ns)
			oldest = g;
	}
	show_out(oldest);
	oldest->fd = BL_STEAL_FD(fd);
	oldest->pid = who.pid;
	oldest->since_ns = bl_now_boot_ns();
}

void bl_doorman_serve(struct bl_doorman *d, int wait_ms)
{
	struct pollfd p[GUESTS_MAX + 1];
	if (!d) {
		bl_sleep_ms(wait_ms);
		return;
	}
	p[GUESTS_MAX] = (struct pollfd){ .fd = d->listen_fd, .events = POLLIN };
	for (size_t i = 0; i < GUESTS_MAX; i++)
		p[i] = (struct pollfd){ .fd = d->guests[i].fd, .events = POLLIN };
	if (poll(p, GUESTS_MAX + 1, wait_ms) <= 0)
		return;
	int64_t now = bl_now_boot_ns();
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = &d->guests[i];
		if (g->fd >= 0 && p[i].revents)
			hear(d, g);
		if (g->fd >= 0 && now - g->since_ns > GUEST_S * BL_NS_PER_S)
			show_out(g);
	}
	if (p[GUESTS_MAX].revents)
		let_in(d);
}

bool bl_doorman_visited(const struct bl_doorman *d, int64_t since_ns)
{
	return d && d->visit_ns > since_ns;
}

bool bl_doorman_proof(const struct bl_doorman *d)
{
	for (size_t i = 0; d && i < GUESTS_MAX; i++)
		if (d->guests[i].proved)
			return true;
	return false;
}

void bl_doorman_answer(struct bl_doorman *d, bool accepted, bool provisional,
		       const char *reason)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "provisional", provisional ? "1" : "0");
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = &d->guests[i];
		if (!g->proved)
			continue;
		g->proved = false;
		if (accepted)
			answer(g, BL_MSG_OK, &kv);
		else
			refuse(d, g, reason);
	}
}
