/* SPDX-License-Identifier: MIT */
/* The deployer's checks against a small server of our own. */
#include "unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "rollout/check.h"

static int server = -1;
static uint32_t port;
static pthread_t thread;
static char url[64];

/* Answers "GET /STATUS" with that status, and with a redirect for 302. */
static void *serve(void *arg)
{
	(void)arg;
	for (;;) {
		char in[2048] = "";
		char out[256];
		int fd = accept(server, NULL, NULL);
		if (fd < 0)
			return NULL;
		ssize_t n = recv(fd, in, sizeof(in) - 1, 0);
		int status = n > 5 ? (int)strtol(in + 5, NULL, 10) : 0;
		/* who only connects is not answered */
		snprintf(out, sizeof(out),
			 "HTTP/1.1 %d X\r\nLocation: /200\r\nConnection: close\r\n"
			 "Content-Length: 7\r\n\r\nwelcome",
			 status);
		if (status == 1)
			sleep(2);
		else if (n > 0)
			(void)!send(fd, out, strlen(out), MSG_NOSIGNAL);
		close(fd);
	}
}

static int set_up(void **state)
{
	(void)state;
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	signal(SIGPIPE, SIG_IGN);
	server = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(server, 8) < 0)
		return -1;
	getsockname(server, (struct sockaddr *)&in, &len);
	port = ntohs(in.sin_port);
	return pthread_create(&thread, NULL, serve, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	shutdown(server, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(server);
	return 0;
}

static struct bl_node node = { .name = (char *)"web1", .host = (char *)"root@web1" };

static const char *at(const char *path)
{
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/%s", port, path);
	return url;
}

/* The reason, or "" when it is good. */
static const char *ask(struct bl_check c)
{
	static char why[256];
	atomic_bool stop = false;
	why[0] = '\0';
	if (!c.timeout_ms)
		c.timeout_ms = 5000;
	if (!c.contains)
		c.contains = (char *)"";
	bool good = bl_check_ask(&c, &node, &stop, why, sizeof(why));
	assert_int_equal(good, why[0] == '\0');
	return why;
}

#define HTTP(path, ...) \
	ask((struct bl_check){ .type = BL_CHECK_HTTP, .what = (char *)at(path), __VA_ARGS__ })
#define ASK(kind, arg, ...) \
	ask((struct bl_check){ .type = BL_CHECK_##kind, .what = (char *)(arg), __VA_ARGS__ })

static void pages_are_judged_by_status_and_text(void **state)
{
	(void)state;
	assert_string_equal(HTTP("200"), "");
	assert_string_equal(HTTP("204"), "");
	assert_string_equal(HTTP("503"), "status 503");
	assert_string_equal(HTTP("503", .status = 503), "");
	assert_string_equal(HTTP("200", .status = 503), "status 200");
	assert_string_equal(HTTP("200", .contains = (char *)"come"), "");
	assert_string_equal(HTTP("200", .contains = (char *)"gone"),
			    "the page does not contain 'gone'");
	/* where it leads to is not what was asked for */
	assert_string_equal(HTTP("302"), "status 302");
	assert_non_null(strstr(HTTP("1", .timeout_ms = 300), "timed out"));
	assert_string_not_equal(ASK(HTTP, "file:///etc/hosts"), "");
	assert_string_not_equal(ASK(HTTP, "http://nowhere.invalid/"), "");
}

static void ports_are_open_or_say_why(void **state)
{
	(void)state;
	assert_string_equal(ASK(TCP, "127.0.0.1", .port = port), "");
	assert_string_equal(ASK(TCP, "localhost", .port = port), "");
	assert_string_equal(ASK(TCP, "127.0.0.1", .port = 1), "Connection refused");
	assert_non_null(strstr(ASK(TCP, "nowhere.invalid", .port = 1),
			       "nowhere.invalid cannot be resolved: "));
}

static void names_are_known_or_not(void **state)
{
	(void)state;
	assert_string_equal(ASK(DNS, "localhost"), "");
	assert_non_null(
		strstr(ASK(DNS, "nowhere.invalid"), "nowhere.invalid cannot be resolved: "));
}

static void commands_know_their_host(void **state)
{
	(void)state;
	assert_string_equal(ASK(COMMAND, "[ $BELAY_HOST,$BELAY_NODE = root@web1,web1 ]"), "");
	assert_string_equal(ASK(COMMAND, "exit 3"), "status 3");
	assert_string_equal(ASK(COMMAND, "echo no; echo never >&2; exit 3"), "status 3: never");
	assert_string_equal(ASK(COMMAND, "sleep 60", .timeout_ms = 200),
			    "no answer within 200 ms");
}

static void checks_of_the_host_are_refused(void **state)
{
	(void)state;
	assert_string_equal(ASK(UNIT, "x.service"),
			    "a check of type unit is for the host itself");
}

static void what_is_stopped_ends_soon(void **state)
{
	(void)state;
	static const struct {
		enum bl_check_type type;
		const char *what;
	} cases[] = { { BL_CHECK_COMMAND, "sleep 60" }, { BL_CHECK_HTTP, NULL } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		char why[256] = "";
		atomic_bool stop = true;
		const struct bl_check c = {
			.type = cases[i].type,
			.what = (char *)(cases[i].what ? cases[i].what : at("1")),
			.contains = (char *)"",
			.timeout_ms = 60000,
		};
		int64_t began = bl_now_boot_ns();
		assert_false(bl_check_ask(&c, &node, &stop, why, sizeof(why)));
		assert_true(bl_now_boot_ns() - began < 5 * BL_NS_PER_S);
	}
}

struct seen {
	int dones, advisories;
	char reason[256], advisory[256];
	struct bl_outside *drop;
};

static void on_advisory(void *ctx, const char *text)
{
	struct seen *s = ctx;
	s->advisories++;
	snprintf(s->advisory, sizeof(s->advisory), "%s", text);
}

static void on_done(void *ctx, const char *reason)
{
	struct seen *s = ctx;
	s->dones++;
	snprintf(s->reason, sizeof(s->reason), "%s", reason ? reason : "");
	bl_outside_drop(BL_STEAL(s->drop));
}

static const struct bl_outside_events events = { .advisory = on_advisory, .done = on_done };

static void add(struct bl_plan *p, const char *name, const char *command, bool advisory)
{
	struct bl_check c = { .name = bl_xstrdup(name),
			      .type = BL_CHECK_COMMAND,
			      .on_deployer = true,
			      .advisory = advisory,
			      .timeout_ms = 5000,
			      .what = bl_xstrdup(command),
			      .contains = bl_xstrdup("") };
	bl_plan_add_check(p, &c);
}

static void look(const char *third, struct seen *s)
{
	uv_loop_t loop;
	struct bl_node n = node;
	uv_loop_init(&loop);
	bl_plan_init(&n.plan);
	add(&n.plan, "good", "true", false);
	add(&n.plan, "wish", "exit 2", true);
	add(&n.plan, "third", third, false);
	assert_true(bl_outside_needed(&n));
	s->drop = bl_outside_start(&loop, &n, &events, s);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(s->dones, 1);
	bl_plan_free(&n.plan);
}

static void all_good_is_told_once(void **state)
{
	(void)state;
	struct seen s = { 0 };
	look("true", &s);
	assert_string_equal(s.reason, "");
	assert_int_equal(s.advisories, 1);
	assert_string_equal(s.advisory, "check wish: status 2");
}

static void the_first_bad_one_is_told_and_ends_the_others(void **state)
{
	(void)state;
	struct seen s = { 0 };
	look("sleep 0.3; exit 4", &s);
	assert_string_equal(s.reason, "check third: status 4");
}

static void what_was_dropped_tells_nothing(void **state)
{
	(void)state;
	struct seen s = { 0 };
	uv_loop_t loop;
	struct bl_node n = node;
	uv_loop_init(&loop);
	bl_plan_init(&n.plan);
	assert_false(bl_outside_needed(&n));
	add(&n.plan, "slow", "sleep 60", false);
	bl_outside_drop(bl_outside_start(&loop, &n, &events, &s));
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(s.dones, 0);
	bl_plan_free(&n.plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_judged_by_status_and_text),
		cmocka_unit_test(ports_are_open_or_say_why),
		cmocka_unit_test(names_are_known_or_not),
		cmocka_unit_test(commands_know_their_host),
		cmocka_unit_test(checks_of_the_host_are_refused),
		cmocka_unit_test(what_is_stopped_ends_soon),
		cmocka_unit_test(all_good_is_told_once),
		cmocka_unit_test(the_first_bad_one_is_told_and_ends_the_others),
		cmocka_unit_test(what_was_dropped_tells_nothing),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
