/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/rollback.h"
#include "base/clock.h"

/* A server at an address of its own, in @where, that says @text to the first who comes. */
static pid_t serve(char where[32], int64_t after_ms, const char *text)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(where, 32, "127.0.0.1 %u", ntohs(at.sin_port));
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		int client = accept(fd, NULL, NULL);
		bl_sleep_ms(after_ms);
		(void)!write(client, text, strlen(text));
		_exit(0);
	}
	close(fd);
	return pid;
}

static bool greets(int64_t after_ms, const char *text)
{
	char where[32];
	pid_t pid = serve(where, after_ms, text);
	bool answer = bl_sshd_answers(where);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return answer;
}

static void an_sshd_greets_with_its_name(void **state)
{
	(void)state;
	assert_true(greets(0, "SSH-2.0-OpenSSH_9.2p1\r\n"));
	assert_false(greets(0, "220 mail\r\n"));
	assert_false(greets(0, ""));
}

/* Seen on a host whose processors had much to do. */
static void an_sshd_that_takes_its_time_is_waited_for(void **state)
{
	(void)state;
	assert_true(greets(5000, "SSH-2.0-OpenSSH_9.2p1\r\n"));
}

static void where_nobody_listens_there_is_none(void **state)
{
	(void)state;
	char where[32];
	pid_t pid = serve(where, 0, "");
	assert_false(bl_sshd_answers(where));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(bl_sshd_answers(where));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_sshd_greets_with_its_name),
		cmocka_unit_test(an_sshd_that_takes_its_time_is_waited_for),
		cmocka_unit_test(where_nobody_listens_there_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
