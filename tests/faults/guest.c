/* SPDX-License-Identifier: MIT */
/*
 * fault-guest: a guest at the keeper's door who does not behave. For rows C2 to C7 of the fault
 * matrix.
 *
 *   fault-guest confirm KEY-FILE PROOF NOT-BEFORE-NS COMMAND...
 *     runs COMMAND (belay-agent confirm N, by ssh) and answers its challenge: with PROOF, or
 *     with the right one when that is "-", not before that moment of CLOCK_BOOTTIME. Prints
 *     "proof HEX", then "ok" or "refused: REASON". Status 0 only for "ok".
 *   fault-guest door SOCKET KIND
 *     speaks to the keeper's socket itself: garbage, truncated, oversized, unknown, loris;
 *     twice: two wrong proofs for one challenge. Prints what came of it.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "guard/proof.h"
#include "wire/msg.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 30000
#define LORIS_N   20
#define LORIS_S   6

static int die(const char *text)
{
	printf("failed: %s\n", text);
	return 2;
}

/* One more piece of @fd's output; false at its end or when it takes too long. */
static bool hear(int fd, struct bl_buf *in)
{
	char chunk[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, ANSWER_MS) <= 0)
		return false;
	ssize_t n = read(fd, chunk, sizeof(chunk));
	if (n > 0)
		bl_buf_append(in, chunk, (size_t)n);
	return n > 0;
}

/* Passes over everything up to the banner. */
static bool find_banner(int fd, struct bl_buf *in)
{
	for (;;) {
		const char *at = strstr(bl_buf_str(in), BL_WIRE_BANNER);
		if (at) {
			bl_buf_drop(in, (size_t)(at - in->data) + sizeof(BL_WIRE_BANNER) - 1);
			return true;
		}
		if (!hear(fd, in))
			return false;
	}
}

static bool next_msg(int fd, struct bl_buf *in, struct bl_msg *out)
{
	struct bl_err err = { 0 };
	size_t used = 0;
	int rc = 0;
	while ((rc = bl_msg_take(bl_buf_str(in), in->len, out, &used, &err)) == 0)
		if (!hear(fd, in))
			return false;
	bl_buf_drop(in, used);
	return rc > 0;
}

static int send_proof(int fd, const char *key_file, const char *proof, int64_t not_before,
		      const struct bl_kv *challenge)
{
	uint8_t key[BL_KEY_LEN];
	char hex[BL_PROOF_HEX];
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	bl_autofree char *text = bl_slurp(key_file, 256);
	if (!text || bl_unhex(text, key, sizeof(key), NULL) < 0)
		return -1;
	bl_proof_make(key, challenge, hex);
	bl_kv_set(&kv, "proof", strcmp(proof, "-") == 0 ? hex : proof);
	printf("proof %s\n", bl_kv_str(&kv, "proof"));
	bl_msg_put(&out, BL_MSG_PROOF, &kv);
	while (bl_now_boot_ns() < not_before)
		;
	return bl_write_all(fd, out.data, out.len, NULL);
}

static int talk(int in_fd, int out_fd, const char *key_file, const char *proof,
		int64_t not_before)
{
	BL_AUTO(bl_buf) in = { 0 };
	if (!find_banner(in_fd, &in))
		return die("no agent answers");
	for (;;) {
		BL_AUTO(bl_msg) m = { 0 };
		if (!next_msg(in_fd, &in, &m))
			return die("no answer");
		if (m.type == BL_MSG_CHALLENGE &&
		    send_proof(out_fd, key_file, proof, not_before, &m.kv) < 0)
			return die("no proof");
		if (m.type == BL_MSG_OK) {
			puts("ok");
			return 0;
		}
		if (m.type == BL_MSG_REFUSED) {
			printf("refused: %s\n", bl_kv_str(&m.kv, "reason"));
			return 1;
		}
		/* nobody at the door any more: only the state is told */
		if (m.type == BL_MSG_STATE) {
			printf("state %s\n", bl_kv_str(&m.kv, "state"));
			return 1;
		}
	}
}

static int confirm(char **argv)
{
	int to[2];
	int from[2];
	uint64_t not_before = 0;
	if (pipe(to) < 0 || pipe(from) < 0 ||
	    bl_parse_u64(argv[2], 0, INT64_MAX, &not_before, NULL) < 0)
		return die("bad arguments");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		for (size_t i = 0; i < 2; i++) {
			close(to[i]);
			close(from[i]);
		}
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	int rc = talk(from[0], to[1], argv[0], argv[1], (int64_t)not_before);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return rc;
}

static int knock(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	return -1;
}

/* The bytes of one KIND of bad manners. */
static void misbehave(const char *kind, struct bl_buf *out)
{
	BL_AUTO(bl_kv) kv = { 0 };
	uint8_t noise[3000];
	if (strcmp(kind, "garbage") == 0) {
		bl_random(noise, sizeof(noise));
		bl_buf_append(out, (const char *)noise, sizeof(noise));
		return;
	}
	bl_kv_set(&kv, "proof", "00");
	bl_msg_put(out, BL_MSG_PROOF, &kv);
	if (strcmp(kind, "truncated") == 0)
		out->len -= 2;
	else if (strcmp(kind, "oversized") == 0)
		memset(out->data, 0xff, 4);
	else if (strcmp(kind, "unknown") == 0)
		out->data[4] = 0x7f;
}

/* One challenge, and two tries. */
static int try_twice(int fd)
{
	BL_AUTO(bl_kv) wrong = { 0 };
	BL_AUTO(bl_buf) out = { 0 };
	BL_AUTO(bl_buf) in = { 0 };
	bl_msg_put(&out, BL_MSG_STATUS, NULL);
	bl_kv_set(&wrong, "proof", "00");
	for (int i = 0; i < 2; i++)
		bl_msg_put(&out, BL_MSG_PROOF, &wrong);
	if (bl_write_all(fd, out.data, out.len, NULL) < 0)
		return die("the door was closed");
	for (int i = 0; i < 3; i++) {
		BL_AUTO(bl_msg) m = { 0 };
		if (!next_msg(fd, &in, &m))
			return die("no answer");
		printf("%s\n",
		       m.type == BL_MSG_CHALLENGE ? "challenge" : bl_kv_str(&m.kv, "reason"));
	}
	return 0;
}

static int door(const char *path, const char *kind)
{
	if (strcmp(kind, "loris") == 0) {
		for (int i = 0; i < LORIS_N; i++)
			printf("%s\n", knock(path) < 0 ? "shut out" : "sits there");
		sleep(LORIS_S);
		return 0;
	}
	BL_AUTO(bl_buf) out = { 0 };
	BL_AUTO(bl_buf) in = { 0 };
	misbehave(kind, &out);
	bl_autofd int fd = knock(path);
	if (fd < 0)
		return die("the door is shut");
	if (strcmp(kind, "twice") == 0)
		return try_twice(fd);
	if (bl_write_all(fd, out.data, out.len, NULL) < 0)
		return die("the door was closed");
	shutdown(fd, SHUT_WR);
	while (hear(fd, &in))
		continue;
	printf("%zu bytes of answer\n", in.len);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 5 && strcmp(argv[1], "confirm") == 0)
		return confirm(argv + 2);
	if (argc == 4 && strcmp(argv[1], "door") == 0)
		return door(argv[2], argv[3]);
	fputs("usage: fault-guest confirm KEY-FILE PROOF NOT-BEFORE-NS COMMAND...\n"
	      "       fault-guest door SOCKET KIND\n",
	      stderr);
	return 2;
}
