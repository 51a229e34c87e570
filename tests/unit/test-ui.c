/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __APPLE__
#include <util.h>
#else
#include <pty.h>
#endif

#include "base/clock.h"
#include "base/compat.h"
#include "base/file.h"
#include "ui/terminal.h"
#include "ui/ui.h"

static const char *const three[] = { "web1", "web2", "db1" };

static const struct bl_ui_result committed = {
	.outcome = "committed",
	.headline = "Successfully activated new system!",
	.system = "/nix/store/new",
	.epoch = 7,
};
static const struct bl_ui_result rolled_back = {
	.outcome = "rolled_back",
	.headline = "Failed to activate new system! Rolled back to previous one",
	.reason = "no confirmation within 20 s",
	.state = "runs /nix/store/old",
	.next = "belay log web2",
};

/* ---- a ui that writes to a file */

static int file_fd = -1;

static struct bl_ui *ui_to_file(enum bl_ui_mode mode)
{
	file_fd = memfd_create("ui", MFD_CLOEXEC);
	assert_true(file_fd >= 0);
	return bl_ui_new(mode, mode == BL_UI_JSON ? file_fd : -1,
			 mode == BL_UI_JSON ? -1 : file_fd);
}

/* Ends @ui and gives all that it wrote. */
static char *all_of(struct bl_ui *ui)
{
	struct bl_err err = { 0 };
	char *text = NULL;
	bl_ui_free(ui);
	lseek(file_fd, 0, SEEK_SET);
	assert_works(bl_read_all(file_fd, 64U << 20, &text, NULL, &err), &err);
	close(file_fd);
	return text;
}

static void a_good_deployment_reads_as_users_know_it(void **state)
{
	(void)state;
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "20261122-074357-3f9a", three, 1);
	bl_ui_phase(ui, "web1", "connect", NULL);
	bl_ui_phase(ui, "web1", "copy", "Copying closure to host..");
	bl_ui_output(ui, "web1", "copy", "copying 6 paths...\n");
	bl_ui_output(ui, "web1", "copy", "");
	bl_ui_phase(ui, "web1", "switch", "Triggering system switcher..");
	bl_ui_phase(ui, "web1", "confirm", "Trying to confirm success..");
	bl_ui_tick(ui);
	bl_ui_result(ui, "web1", &committed);
	bl_ui_end(ui, 0);
	bl_autofree char *text = all_of(ui);
	assert_string_equal(text, "[web1] Copying closure to host..\n"
				  "[web1] copying 6 paths...\n"
				  "[web1]\n"
				  "[web1] Triggering system switcher..\n"
				  "[web1] Trying to confirm success..\n"
				  "[web1] Successfully activated new system!\n");
}

static void a_failure_is_told_with_reason_state_next_and_a_summary(void **state)
{
	(void)state;
	struct bl_ui_result r = rolled_back;
	r.reason = "unit nginx.service failed\nbind: address in use\n";
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "id", three, 1);
	bl_ui_note(ui, "web1", "boot loader is not readable");
	bl_ui_result(ui, "web1", &r);
	bl_ui_end(ui, 3);
	bl_autofree char *text = all_of(ui);
	assert_string_equal(
		text, "[web1] note: boot loader is not readable\n"
		      "[web1] Failed to activate new system! Rolled back to previous one\n"
		      "[web1]   reason: unit nginx.service failed\n"
		      "[web1]           bind: address in use\n"
		      "[web1]   state: runs /nix/store/old\n"
		      "[web1]   next: belay log web2\n"
		      "1 host: 1 rolled back\n");
}

static void what_was_looked_at_is_told_with_its_level_and_remedy(void **state)
{
	(void)state;
	static const struct bl_ui_result ready = { .outcome = "ready",
						   .headline = "Ready for a deployment" };
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "doctor", three, 1);
	bl_ui_item(ui, "web1", "ok", "journal", "durable", "");
	bl_ui_item(ui, "web1", "warning", "panic\033[2J", "stays\ndown", "panic=30");
	bl_ui_result(ui, "web1", &ready);
	bl_ui_end(ui, 0);
	bl_autofree char *text = all_of(ui);
	assert_string_equal(text, "[web1] ok       journal: durable\n"
				  "[web1] warning  panic\\x1b[2J: stays\n"
				  "[web1]                        down\n"
				  "[web1]   remedy: panic=30\n"
				  "[web1] Ready for a deployment\n");
}

#define DRV "/nix/store/amhchmd1dxzqgzdbs0a03i58h047d9kz-linux-6.6.drv"

static const struct bl_ui_build builds[] = {
	{ "running", "linux-6.6", DRV, NULL, 3, 10, NULL, NULL, NULL },
	{ "done", "linux-6.6", DRV, "web1", 1, 10, NULL, NULL, NULL },
	{ "failed", "linux-6.6", DRV, "web1", 1, 10, "exit code 2", "CC a.o\n\033[2Jno\n",
	  "nix log " DRV },
	{ "failed", "linux-6.6", DRV, NULL, 1, 0, "killed", NULL, NULL },
	{ "running", "x\033[2J\ny", DRV, NULL, 1, 0, NULL, NULL, NULL },
};

static void builds_are_told_one_line_each_and_failures_in_full(void **state)
{
	(void)state;
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	for (size_t i = 0; i < BL_COUNT(builds); i++)
		bl_ui_build(ui, &builds[i]);
	bl_ui_status(ui, "not for those who read lines");
	bl_autofree char *text = all_of(ui);
	assert_string_equal(text, "build: building linux-6.6 (3 of 10)\n"
				  "build on web1: built linux-6.6 (1 of 10)\n"
				  "build on web1: linux-6.6 failed: exit code 2\n"
				  "  log: CC a.o\n"
				  "       \\x1b[2Jno\n"
				  "  next: nix log " DRV "\n"
				  "build: linux-6.6 failed: killed\n"
				  "build: building x\\x1b[2J\\x0ay\n");
}

static void json_has_builds(void **state)
{
	(void)state;
	struct bl_ui *ui = ui_to_file(BL_UI_JSON);
	bl_ui_build(ui, &builds[0]);
	bl_ui_build(ui, &builds[2]);
	bl_ui_status(ui, "not for programs");
	bl_autofree char *text = all_of(ui);
	char *second = strchr(text, '\n') + 1;
	json_t *running = json_loadb(text, (size_t)(second - text), 0, NULL);
	json_t *failed = json_loads(second, 0, NULL);
	const char *state_ = NULL;
	const char *name = NULL;
	const char *host = NULL;
	const char *log = NULL;
	const char *next = NULL;
	json_int_t number = 0;
	json_int_t of = 0;
	assert_int_equal(json_unpack(running, "{s:s,s:s,s:I,s:I}", "state", &state_, "name",
				     &name, "number", &number, "of", &of),
			 0);
	assert_string_equal(state_, "running");
	assert_string_equal(name, "linux-6.6");
	assert_int_equal(number, 3);
	assert_int_equal(of, 10);
	assert_null(json_object_get(running, "host"));
	assert_null(json_object_get(running, "reason"));
	assert_int_equal(json_unpack(failed, "{s:s,s:s,s:s,s:s}", "state", &state_, "host",
				     &host, "log", &log, "next", &next),
			 0);
	assert_string_equal(state_, "failed");
	assert_string_equal(host, "web1");
	assert_string_equal(log, "CC a.o\n\\x1b[2Jno");
	assert_string_equal(next, "nix log " DRV);
	json_decref(running);
	json_decref(failed);
}

static void waves_are_told_where_there_are_several_or_canaries(void **state)
{
	(void)state;
	static const char *const many[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i" };
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "id", many, 9);
	bl_ui_wave(ui, 1, 1, false, many, 9);
	bl_ui_wave(ui, 1, 1, true, many, 2);
	bl_ui_wave(ui, 1, 3, true, many, 1);
	bl_ui_wave(ui, 2, 3, false, many, 8);
	bl_ui_wave(ui, 3, 3, false, many, 9);
	bl_autofree char *text = all_of(ui);
	assert_string_equal(text, "wave 1 of 1 (canary): a, b\n"
				  "wave 1 of 3 (canary): a\n"
				  "wave 2 of 3: a, b, c, d, e, f, g, h\n"
				  "wave 3 of 3: 9 hosts: a, b, c, d, e, f, g, h, ...\n");
}

static void a_second_run_s_results_are_what_counts(void **state)
{
	(void)state;
	static const struct bl_ui_result back = { .outcome = "taken_back",
						  .headline = "Taken back" };
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "id", three, 2);
	bl_ui_result(ui, "web1", &committed);
	bl_ui_result(ui, "web2", &rolled_back);
	bl_ui_begin(ui, "id2", three, 1);
	bl_ui_result(ui, "web1", &back);
	bl_ui_end(ui, 3);
	bl_autofree char *text = all_of(ui);
	assert_non_null(
		strstr(text, "[web1] Taken back\n2 hosts: 1 rolled back, 1 taken back\n"));
}

static void several_hosts_are_summed_up(void **state)
{
	(void)state;
	static const struct bl_ui_result odd = { .outcome = "half_done", .headline = "?" };
	static const struct {
		const struct bl_ui_result *results[3];
		const char *want;
	} cases[] = {
		{ { &committed, &committed, &committed }, "3 hosts: 3 committed\n" },
		{ { &committed, &rolled_back, &committed },
		  "3 hosts: 2 committed, 1 rolled back\n" },
		{ { &rolled_back, NULL, &committed },
		  "3 hosts: 1 committed, 1 rolled back, 1 without a result\n" },
		{ { &odd, &odd, &committed }, "3 hosts: 1 committed, 2 half done\n" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
		bl_ui_begin(ui, "id", three, 3);
		for (size_t k = 0; k < 3; k++)
			if (cases[i].results[k])
				bl_ui_result(ui, three[k], cases[i].results[k]);
		bl_ui_end(ui, 0);
		bl_autofree char *text = all_of(ui);
		const char *last = strstr(text, "3 hosts:");
		assert_non_null(last);
		assert_string_equal(last, cases[i].want);
	}
}

static void lines_about_the_whole_run_have_no_host_and_may_come_first(void **state)
{
	(void)state;
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_phase(ui, NULL, "build", "Building 3 systems..");
	bl_ui_output(ui, NULL, "nix", "these 2 derivations will be built:");
	bl_ui_note(ui, NULL, "the tree is dirty");
	bl_ui_end(ui, 1);
	bl_autofree char *text = all_of(ui);
	assert_string_equal(text, "Building 3 systems..\nthese 2 derivations will be built:\n"
				  "note: the tree is dirty\n");
}

static void each_plain_line_is_one_write(void **state)
{
	(void)state;
	int fds[2];
	char got[256];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	struct bl_ui *ui = bl_ui_new(BL_UI_PLAIN, -1, fds[0]);
	bl_ui_begin(ui, "id", three, 1);
	bl_ui_phase(ui, "web1", "copy", "Copying closure to host..");
	bl_ui_output(ui, "web1", "copy", "\033[1mone\033[0m");
	static const char *const want[] = { "[web1] Copying closure to host..\n",
					    "[web1] \\x1b[1mone\\x1b[0m\n" };
	for (size_t i = 0; i < BL_COUNT(want); i++) {
		ssize_t n = read(fds[1], got, sizeof(got) - 1);
		assert_true(n > 0);
		got[n] = '\0';
		assert_string_equal(got, want[i]);
	}
	bl_ui_free(ui);
	close(fds[0]);
	close(fds[1]);
}

static void a_reader_that_is_gone_stops_nothing(void **state)
{
	(void)state;
	static const enum bl_ui_mode modes[] = { BL_UI_PLAIN, BL_UI_TERMINAL, BL_UI_JSON };
	for (size_t i = 0; i < BL_COUNT(modes); i++) {
		struct bl_ui *ui = bl_ui_new(modes[i], -1, -1);
		bl_ui_begin(ui, "id", three, 3);
		bl_ui_phase(ui, "web1", "copy", "Copying closure to host..");
		bl_ui_result(ui, "web1", &committed);
		bl_ui_end(ui, 0);
		bl_ui_free(ui);
	}
}

static void copying_is_told_in_numbers_and_not_too_often(void **state)
{
	(void)state;
	const struct bl_copy_stats stats = { .paths = 900,
					     .sent_paths = 41,
					     .nar_bytes = 100 << 20,
					     .done_bytes = 25 << 20,
					     .wire_bytes = 2 << 20,
					     .list_bytes = 512,
					     .rate = 1 << 20,
					     .left_s = 83 };
	BL_AUTO(bl_buf) words = { 0 };
	bl_copy_stats_progress(&stats, &words);
	bl_buf_puts(&words, "\n");
	bl_copy_stats_sum(&stats, &words);
	assert_string_equal(bl_buf_str(&words),
			    "25.0 MiB of 100.0 MiB, sent as 2.0 MiB, 1.0 MiB/s, 1:23 left\n"
			    "41 of 900 paths: 2.0 MiB for 100.0 MiB");
	struct bl_ui *ui = ui_to_file(BL_UI_JSON);
	bl_ui_begin(ui, "id", three, 1);
	bl_ui_copying(ui, "web1", &stats);
	bl_ui_copying(ui, "web1", &stats);
	bl_autofree char *text = all_of(ui);
	assert_non_null(strstr(text, "\"event\":\"copying\""));
	assert_non_null(strstr(text, "\"host\":\"web1\",\"paths\":900,\"sent_paths\":41,"
				     "\"nar_bytes\":104857600,\"wire_bytes\":2097152,"
				     "\"list_bytes\":512,\"done_bytes\":26214400,"
				     "\"rate\":1048576,\"left_s\":83}"));
	assert_null(strstr(strstr(text, "copying") + 1, "copying"));
	/* who reads lines is told every ten seconds of a phase */
	ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_begin(ui, "id", three, 1);
	bl_ui_phase(ui, "web1", "copy", NULL);
	bl_ui_copying(ui, "web1", &stats);
	bl_autofree char *lines = all_of(ui);
	assert_string_equal(lines, "");
}

static void a_slow_reader_of_a_non_blocking_pipe_gets_everything(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(bl_pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char chunk[1000];
		size_t total = 0;
		ssize_t n;
		close(fds[1]);
		bl_sleep_ms(50);
		while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
			total += (size_t)n;
		_exit(total == 10000 * strlen("[web1] copying\n") ? 0 : 1);
	}
	close(fds[0]);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	struct bl_ui *ui = bl_ui_new(BL_UI_PLAIN, -1, fds[1]);
	for (int i = 0; i < 10000; i++)
		bl_ui_output(ui, "web1", "copy", "copying");
	bl_ui_free(ui);
	close(fds[1]);
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- hostile text */

static const char *const hostile[] = {
	"\033[2J\033[H\033]0;owned\007",
	"one\r\n[db1] Successfully activated new system!",
	"a\rb",
	"\x9b"
	"2J raw C1",
	"\xc2\x9b"
	"2J C1 in UTF-8",
	"\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80 cut \xe2\x82",
	"\xe2\x80\xae"
	"gnitirw \xe2\x80\xa8",
	"\b\b\b\b\x7f\v\f",
	"quote \" backslash \\ \\u001b </script>",
};

/* Whether @text is valid UTF-8 (jansson says) without a control byte but '\n'. */
static void assert_harmless(const char *text)
{
	json_t *s = json_string(text);
	if (!s)
		fail_msg("not UTF-8: %s", text);
	json_decref(s);
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if ((c < 0x20 && c != '\n') || c == 0x7f ||
		    (c == 0xc2 && (unsigned char)p[1] < 0xa0))
			fail_msg("byte %02x in: %s", c, text);
	}
	assert_null(strstr(text, "\xe2\x80\xae"));
	assert_null(strstr(text, "\xe2\x80\xa8"));
}

static void hostile_text_in_plain_lines_is_harmless(void **state)
{
	(void)state;
	for (size_t i = 0; i < BL_COUNT(hostile); i++) {
		const char *t = hostile[i];
		struct bl_ui_result r = { "failed", t, t, t, t, t, 0, 0, NULL };
		struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
		bl_ui_begin(ui, t, &t, 1);
		bl_ui_output(ui, t, "copy", t);
		bl_ui_note(ui, t, t);
		bl_ui_result(ui, t, &r);
		bl_ui_end(ui, 1);
		bl_autofree char *text = all_of(ui);
		assert_harmless(text);
		/* nobody can speak for another host */
		assert_null(strstr(text, "\n[db1]"));
	}
}

static void a_plain_line_of_100_kib_is_cut_and_says_so(void **state)
{
	(void)state;
	bl_autofree char *line = bl_xcalloc(100 * 1024 + 1, 1);
	for (size_t i = 0; i < 100 * 1024 / 3; i++)
		memcpy(line + 3 * i, "\xe2\x82\xac", 3);
	struct bl_ui *ui = ui_to_file(BL_UI_PLAIN);
	bl_ui_output(ui, "web1", "copy", line);
	bl_autofree char *text = all_of(ui);
	assert_harmless(text);
	assert_int_equal(strlen(text),
			 strlen("[web1] ") + 4095 + strlen(" ... (98304 bytes more)\n"));
	assert_non_null(strstr(text, " ... (98304 bytes more)\n"));
}

/* ---- JSON */

/* The events of @text, each one line. */
static json_t *events_of(const char *text)
{
	json_t *events = json_array();
	while (*text) {
		size_t len = strcspn(text, "\n");
		assert_int_equal(text[len], '\n');
		json_error_t error;
		json_t *event = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
		if (!event)
			fail_msg("%s: %.*s", error.text, (int)(len < 300 ? len : 300), text);
		json_array_append_new(events, event);
		text += len + 1;
	}
	return events;
}

static const char *text_at(const json_t *events, size_t i, const char *key)
{
	const char *s = json_string_value(json_object_get(json_array_get(events, i), key));
	return s ? s : "(none)";
}

static void json_tells_every_event_with_its_fields(void **state)
{
	(void)state;
	struct bl_ui *ui = ui_to_file(BL_UI_JSON);
	bl_ui_begin(ui, "r1", three, 2);
	bl_ui_phase(ui, "web1", "copy", "Copying closure to host..");
	bl_ui_phase(ui, "web1", "connect", NULL);
	bl_ui_output(ui, "web1", "copy", "copying 6 paths...");
	bl_ui_note(ui, "web2", "careful");
	bl_ui_result(ui, "web1", &committed);
	bl_ui_result(ui, "web2", &rolled_back);
	bl_ui_tick(ui);
	bl_ui_end(ui, 3);
	bl_autofree char *text = all_of(ui);
	json_t *e = events_of(text);
	static const char *const names[] = { "run",  "phase",  "phase",  "output",
					     "note", "result", "result", "summary" };
	assert_int_equal(json_array_size(e), BL_COUNT(names));
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		int n = 0;
		int y = 0;
		assert_string_equal(text_at(e, i, "event"), names[i]);
		assert_string_equal(text_at(e, i, "run"), "r1");
		assert_int_equal(sscanf(text_at(e, i, "time"),
					"%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ%n", &y, &n),
				 1);
		assert_int_equal(n, strlen("2026-11-22T07:43:57.123Z"));
	}
	assert_int_equal(json_array_size(json_object_get(json_array_get(e, 0), "hosts")), 2);
	assert_string_equal(text_at(e, 1, "host"), "web1");
	assert_string_equal(text_at(e, 1, "phase"), "copy");
	assert_string_equal(text_at(e, 1, "line"), "Copying closure to host..");
	assert_true(json_is_null(json_object_get(json_array_get(e, 2), "line")));
	assert_string_equal(text_at(e, 3, "stream"), "copy");
	assert_string_equal(text_at(e, 3, "line"), "copying 6 paths...");
	assert_string_equal(text_at(e, 4, "note"), "careful");
	assert_string_equal(text_at(e, 5, "outcome"), "committed");
	assert_string_equal(text_at(e, 5, "headline"), "Successfully activated new system!");
	assert_true(json_is_null(json_object_get(json_array_get(e, 5), "reason")));
	assert_string_equal(text_at(e, 5, "system"), "/nix/store/new");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(e, 5), "epoch")), 7);
	assert_string_equal(text_at(e, 6, "reason"), "no confirmation within 20 s");
	assert_string_equal(text_at(e, 6, "state"), "runs /nix/store/old");
	assert_string_equal(text_at(e, 6, "next"), "belay log web2");
	const json_t *summary = json_array_get(e, 7);
	const json_t *counts = json_object_get(summary, "outcomes");
	assert_int_equal(json_integer_value(json_object_get(summary, "exitCode")), 3);
	assert_int_equal(json_integer_value(json_object_get(summary, "hosts")), 2);
	assert_int_equal(json_object_size(counts), 2);
	assert_int_equal(json_integer_value(json_object_get(counts, "rolled_back")), 1);
	json_decref(e);
}

static void json_has_waves_and_a_second_run(void **state)
{
	(void)state;
	struct bl_ui_result r = committed;
	struct bl_ui *ui = ui_to_file(BL_UI_JSON);
	r.wave = 2;
	bl_ui_begin(ui, "r1", three, 2);
	bl_ui_wave(ui, 1, 2, true, three, 1);
	bl_ui_wave(ui, 2, 2, false, three + 1, 1);
	bl_ui_result(ui, "web2", &r);
	bl_ui_result(ui, "web1", &committed);
	bl_ui_begin(ui, "r2", three, 1);
	bl_autofree char *text = all_of(ui);
	json_t *e = events_of(text);
	assert_int_equal(json_array_size(e), 6);
	for (size_t i = 1; i < 3; i++) {
		const json_t *w = json_array_get(e, i);
		assert_string_equal(text_at(e, i, "event"), "wave");
		assert_int_equal(json_integer_value(json_object_get(w, "wave")), i);
		assert_int_equal(json_integer_value(json_object_get(w, "waves")), 2);
		assert_int_equal(json_is_true(json_object_get(w, "canary")), i == 1);
		assert_string_equal(
			json_string_value(json_array_get(json_object_get(w, "hosts"), 0)),
			three[i - 1]);
	}
	assert_int_equal(json_integer_value(json_object_get(json_array_get(e, 3), "wave")), 2);
	assert_null(json_object_get(json_array_get(e, 4), "wave"));
	assert_string_equal(text_at(e, 5, "run"), "r2");
	assert_int_equal(json_array_size(json_object_get(json_array_get(e, 5), "hosts")), 1);
	json_decref(e);
}

static void json_stays_valid_whatever_a_host_prints(void **state)
{
	(void)state;
	bl_autofree char *longest = bl_xcalloc(100 * 1024 + 1, 1);
	memset(longest, '\x80', 100 * 1024);
	for (size_t i = 0; i <= BL_COUNT(hostile); i++) {
		const char *t = i < BL_COUNT(hostile) ? hostile[i] : longest;
		struct bl_ui_result r = { t, t, t, t, t, t, UINT64_MAX, 0, NULL };
		struct bl_ui *ui = ui_to_file(BL_UI_JSON);
		bl_ui_begin(ui, t, &t, 1);
		bl_ui_phase(ui, t, t, t);
		bl_ui_output(ui, t, t, t);
		bl_ui_note(ui, t, t);
		bl_ui_result(ui, t, &r);
		bl_ui_end(ui, 1);
		bl_autofree char *text = all_of(ui);
		assert_harmless(text);
		char *at = strstr(text, "18446744073709551615"); /* too large for jansson */
		assert_non_null(at);
		memset(at, '1', 1);
		memset(at + 1, ' ', 19);
		json_decref(events_of(text));
	}
}

static void json_keeps_quotes_and_line_ends_of_a_reason(void **state)
{
	(void)state;
	struct bl_ui_result r = rolled_back;
	r.reason = "say \"no\" \\ to\nlines\n";
	struct bl_ui *ui = ui_to_file(BL_UI_JSON);
	bl_ui_result(ui, "web1", &r);
	bl_autofree char *text = all_of(ui);
	json_t *e = events_of(text);
	assert_string_equal(text_at(e, 0, "reason"), "say \"no\" \\ to\nlines");
	json_decref(e);
}

/* ---- the picture */

#define S(n) ((n)*BL_NS_PER_S)

/* Hosts in every state; now is 100 s. */
static void make_rows(struct bl_row rows[5], struct bl_row *list[5])
{
	static char copy[] =
		"copying path '/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nginx-1.24'"
		" to 'ssh://root@web2' and more text so that every width is exceeded by it"
		" with much to spare, well over two hundred columns";
	static char name[] = "a-host-with-a-very-long-name.internal.example.org";
	static char names[][8] = { "web1", "web2", "web3", "db1" };
	static char copying[] = "copy", ok[] = "committed", bad[] = "rolled back",
		    wait[] = "confirm";
	static char good[] = "Successfully activated new system!";
	static char failed[] = "Failed to activate new system! Rolled back to previous one";
	static char trying[] = "Trying to confirm success..";
	rows[0] = (struct bl_row){ .label = names[0],
				   .state = BL_ROW_OK,
				   .phase = ok,
				   .line = good,
				   .began_ns = S(10),
				   .phase_ns = S(20),
				   .ended_ns = S(22) };
	rows[1] = (struct bl_row){ .label = names[1],
				   .state = BL_ROW_ACTIVE,
				   .phase = copying,
				   .line = copy,
				   .began_ns = S(5),
				   .phase_ns = S(35) };
	rows[2] = (struct bl_row){ .label = names[2],
				   .state = BL_ROW_FAILED,
				   .phase = bad,
				   .line = failed,
				   .began_ns = S(1),
				   .ended_ns = S(92) };
	rows[3] = (struct bl_row){ .label = names[3], .state = BL_ROW_WAITING };
	rows[4] = (struct bl_row){ .label = name,
				   .state = BL_ROW_ACTIVE,
				   .phase = wait,
				   .line = trying,
				   .began_ns = S(90),
				   .phase_ns = S(99) };
	for (size_t i = 0; i < 5; i++)
		list[i] = &rows[i];
}

static char *picture(unsigned width, unsigned height, bool utf8, bool colour)
{
	struct bl_row rows[5];
	struct bl_row *list[5];
	struct bl_look look = {
		.utf8 = utf8, .colour = colour, .width = width, .height = height
	};
	struct bl_buf b = { 0 };
	make_rows(rows, list);
	bl_picture_render(list, 5, &look, S(100), &b);
	return bl_buf_steal(&b);
}

static void the_picture_at_80_columns_shows_each_host_on_a_line(void **state)
{
	(void)state;
	bl_autofree char *text = picture(80, 24, true, false);
	assert_string_equal(
		text,
		"✓ web1                  committed      12s  Successfully activated new system!\n"
		"• web2                  copy         1m05s  copying path '/nix/store/012345678…\n"
		"✗ web3                  rolled back  1m31s  Failed to activate new system! Rol…\n"
		"· db1                   waiting\n"
		"• a-host-with-a-very-…  confirm         1s  Trying to confirm success..\n");
}

static void the_picture_at_60_columns_in_ascii_is_shortened(void **state)
{
	(void)state;
	bl_autofree char *text = picture(60, 24, false, false);
	assert_string_equal(text,
			    "+ web1             committed      12s  Successfully acti...\n"
			    "* web2             copy         1m05s  copying path '/ni...\n"
			    "x web3             rolled back  1m31s  Failed to activat...\n"
			    ". db1              waiting\n"
			    "* a-host-with-...  confirm         1s  Trying to confirm...\n");
}

static void the_picture_at_200_columns_uses_them(void **state)
{
	(void)state;
	bl_autofree char *text = picture(200, 24, true, false);
	assert_non_null(
		strstr(text, "• a-host-with-a-very-long-name.internal.example.org  confirm  "));
	assert_non_null(
		strstr(text, "  Failed to activate new system! Rolled back to previous one\n"));
	assert_non_null(strstr(text, "…\n"));
}

static void only_the_mark_is_coloured(void **state)
{
	(void)state;
	bl_autofree char *text = picture(80, 24, true, true);
	assert_non_null(strstr(text, "\033[32m✓\033[0m web1 "));
	assert_non_null(strstr(text, "\n• web2 "));
	assert_non_null(strstr(text, "\033[31m✗\033[0m web3 "));
	assert_non_null(strstr(text, "\033[2m·\033[0m db1 "));
}

static void a_low_screen_shows_active_hosts_first_and_counts_the_rest(void **state)
{
	(void)state;
	static const struct {
		unsigned height;
		const char *order; /* first letters behind the mark */
		const char *last;
	} cases[] = {
		{ 6, "wwwda", NULL },
		{ 5, "waw", "... and 2 more\n" },
		{ 4, "wa", "... and 3 more\n" },
		{ 3, "w", "... and 4 more\n" },
		{ 2, "", "... and 5 more\n" },
		{ 1, "", "... and 5 more\n" },
		{ 0, "", "... and 5 more\n" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *text = picture(80, cases[i].height, false, false);
		char order[8] = "";
		const char *p = text;
		for (size_t k = 0; *p && strncmp(p, "... ", 4) != 0; k++) {
			order[k] = p[2];
			order[k + 1] = '\0';
			p += strcspn(p, "\n") + 1;
		}
		assert_string_equal(order, cases[i].order);
		assert_string_equal(p, cases[i].last ? cases[i].last : "");
	}
}

static void no_line_of_the_picture_is_as_wide_as_the_screen(void **state)
{
	(void)state;
	static char wide[] =
		"日本語のとても長い行 🙂🙂🙂 e\xcc\x81\xcc\x81 ½ → ✓ 日本語のとても長い行です";
	for (unsigned width = 1; width <= 120; width++) {
		struct bl_row rows[5];
		struct bl_row *list[5];
		struct bl_look look = { .utf8 = true, .width = width, .height = 24 };
		make_rows(rows, list);
		rows[1].line = wide;
		rows[4].label = wide;
		BL_AUTO(bl_buf) b = { 0 };
		bl_picture_render(list, 5, &look, S(100), &b);
		assert_harmless(bl_buf_str(&b));
		for (const char *p = bl_buf_str(&b); *p; p += strcspn(p, "\n") + 1) {
			bl_autofree char *line = bl_xstrndup(p, strcspn(p, "\n"));
			BL_AUTO(bl_buf) ignored = { 0 };
			unsigned columns = bl_text_fit(&ignored, line, 10000, true);
			if (columns > (width > 1 ? width - 1 : 1))
				fail_msg("%u columns of %u: %s", columns, width, line);
		}
	}
}

static void text_is_shortened_between_characters(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned columns;
		bool utf8;
		const char *want;
	} cases[] = {
		{ "abc", 3, true, "abc" },
		{ "abcd", 3, true, "ab…" },
		{ "abcd", 3, false, "..." },
		{ "abcd", 2, false, "" },
		{ "äöü", 3, true, "äöü" },
		{ "äöüß", 3, true, "äö…" },
		{ "äöü", 3, false, "???" },
		{ "日本語", 6, true, "日本語" },
		{ "日本語", 5, true, "日本…" },
		{ "日本語", 4, true, "日…" },
		{ "e\xcc\x81x", 2, true, "e\xcc\x81x" },
		{ "abc", 0, true, "" },
		{ "", 5, true, "" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_buf) b = { 0 };
		bl_text_fit(&b, cases[i].text, cases[i].columns, cases[i].utf8);
		assert_string_equal(bl_buf_str(&b), cases[i].want);
	}
}

static void the_locale_is_read_from_the_environment(void **state)
{
	(void)state;
	static const struct {
		const char *all, *ctype, *lang;
		bool want;
	} cases[] = {
		{ "", "", "de_DE.UTF-8", true }, { "C", "", "de_DE.UTF-8", false },
		{ "", "C.utf8", "C", true },     { "", "POSIX", "C.UTF-8", false },
		{ "", "", "", false },           { "en_US.Utf-8", "C", "C", true },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		setenv("LC_ALL", cases[i].all, 1);
		setenv("LC_CTYPE", cases[i].ctype, 1);
		setenv("LANG", cases[i].lang, 1);
		assert_int_equal(bl_look_utf8(), cases[i].want);
	}
	setenv("TERM", "xterm", 1);
	setenv("NO_COLOR", "1", 1);
	assert_false(bl_look_colour());
	setenv("NO_COLOR", "", 1);
	assert_true(bl_look_colour());
	unsetenv("NO_COLOR");
	setenv("TERM", "dumb", 1);
	assert_false(bl_look_colour());
}

/* ---- frames, seen by a terminal that knows just what they use */

#define ROWS    30
#define COLUMNS 200

struct screen {
	char cell[ROWS][COLUMNS + 1]; /* ASCII */
	unsigned width, row, col;
	bool wrap, cursor;
	unsigned wrapped;
};

static void screen_init(struct screen *s, unsigned width)
{
	memset(s, 0, sizeof(*s));
	s->width = width;
	s->wrap = s->cursor = true;
	for (size_t i = 0; i < ROWS; i++)
		memset(s->cell[i], ' ', COLUMNS);
}

static void screen_clear(struct screen *s, bool below)
{
	memset(s->cell[s->row] + s->col, ' ', COLUMNS - s->col);
	for (size_t i = s->row + 1; below && i < ROWS; i++)
		memset(s->cell[i], ' ', COLUMNS);
}

static const char *screen_escape(struct screen *s, const char *p)
{
	unsigned n = 0;
	assert_int_equal(*p++, '[');
	bool dec = *p == '?';
	p += dec;
	while (*p >= '0' && *p <= '9')
		n = n * 10 + (unsigned)(*p++ - '0');
	if (dec && n == 25)
		s->cursor = *p == 'h';
	else if (dec && n == 7)
		s->wrap = *p == 'h';
	else if (*p == 'A')
		s->row = s->row > n ? s->row - n : 0;
	else if (*p == 'J' || *p == 'K')
		screen_clear(s, *p == 'J');
	else if (*p != 'm')
		fail_msg("escape sequence with %c", *p);
	return p + 1;
}

static void screen_char(struct screen *s, char c)
{
	if (s->col >= s->width) {
		s->wrapped++;
		s->col = s->wrap ? 0 : s->width - 1;
		s->row += s->wrap;
	}
	assert_true(s->row < ROWS);
	s->cell[s->row][s->col++] = c;
}

static void screen_feed(struct screen *s, const char *p)
{
	while (*p) {
		char c = *p++;
		if (c == '\033')
			p = screen_escape(s, p);
		else if (c == '\r')
			s->col = 0;
		else if (c == '\n')
			s->row++;
		else
			screen_char(s, c);
	}
}

static const char *screen_line(struct screen *s, size_t row)
{
	static char line[COLUMNS + 1];
	memcpy(line, s->cell[row], COLUMNS);
	size_t len = COLUMNS;
	while (len > 0 && line[len - 1] == ' ')
		len--;
	line[len] = '\0';
	return line;
}

static void a_frame_replaces_the_picture_in_place(void **state)
{
	(void)state;
	struct screen s;
	screen_init(&s, 80);
	screen_feed(&s, "$ belay deploy\r\n");
	static const char *const pictures[] = { "", "* one\n* two\n* three\n",
						"* one longer\n* two\n* three\n",
						"+ one\n+ two\n" };
	for (size_t i = 1; i < BL_COUNT(pictures); i++) {
		BL_AUTO(bl_buf) frame = { 0 };
		bl_picture_frame(pictures[i - 1], i == 2 ? "[two] note: x\n" : "", pictures[i],
				 80, &frame);
		screen_feed(&s, frame.data);
		assert_true(s.cursor && s.wrap && s.col == 0);
	}
	assert_string_equal(screen_line(&s, 0), "$ belay deploy");
	assert_string_equal(screen_line(&s, 1), "[two] note: x");
	assert_string_equal(screen_line(&s, 2), "+ one");
	assert_string_equal(screen_line(&s, 3), "+ two");
	assert_string_equal(screen_line(&s, 4), "");
	assert_int_equal(s.row, 4);
}

static void a_frame_finds_its_place_after_the_terminal_became_narrower(void **state)
{
	(void)state;
	BL_AUTO(bl_buf) frame = { 0 };
	/* 25 columns are 3 lines at 10; colours have no width */
	bl_picture_frame("\033[32m+\033[0m aaaaaaaaaaaaaaaaaaaaaaa\nbbb\n\n", "", "c\n", 10,
			 &frame);
	assert_true(strncmp(frame.data, "\033[?25l\r\033[5A", 11) == 0);
}

/* ---- the whole ui on a pseudo terminal */

struct pty {
	int master, slave;
};

static void pty_open(struct pty *p, unsigned short width, unsigned short height)
{
	struct winsize size = { .ws_row = height, .ws_col = width };
	assert_int_equal(openpty(&p->master, &p->slave, NULL, NULL, &size), 0);
	fcntl(p->master, F_SETFL, O_NONBLOCK);
}

static char *pty_read(const struct pty *p)
{
	struct bl_buf b = { 0 };
	char chunk[4096];
	ssize_t n;
	while ((n = read(p->master, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (chunk[i] != '\r' || i + 1 == n || chunk[i + 1] != '\r')
				bl_buf_putc(&b, chunk[i]); /* the line discipline's own \r */
	return bl_buf_steal(&b);
}

static void ascii_terminal(void)
{
	setenv("LC_ALL", "C", 1);
	setenv("NO_COLOR", "1", 1);
}

static void a_terminal_keeps_the_picture_then_tells_failures_and_the_summary(void **state)
{
	(void)state;
	static const unsigned short widths[] = { 60, 80, 200 };
	ascii_terminal();
	for (size_t i = 0; i < BL_COUNT(widths); i++) {
		struct pty p;
		struct screen s;
		pty_open(&p, widths[i], 24);
		screen_init(&s, widths[i]);
		struct bl_ui *ui = bl_ui_new(BL_UI_TERMINAL, -1, p.slave);
		bl_ui_phase(ui, NULL, "build", "Building 3 systems..");
		bl_ui_begin(ui, "id", three, 3);
		for (size_t k = 0; k < 3; k++)
			bl_ui_phase(ui, three[k], "copy", "Copying closure to host..");
		for (size_t k = 0; k < BL_COUNT(hostile); k++)
			bl_ui_output(ui, "db1", "copy", hostile[k]);
		bl_ui_note(ui, "db1", "careful");
		bl_sleep_ms(110);
		bl_ui_tick(ui);
		bl_ui_result(ui, "web1", &committed);
		bl_ui_result(ui, "web2", &rolled_back);
		bl_ui_output(ui, "web2", "agent", "too late to be seen");
		bl_ui_result(ui, "db1", &committed);
		bl_ui_end(ui, 3);
		bl_ui_free(ui);
		bl_autofree char *text = pty_read(&p);
		screen_feed(&s, text);
		assert_string_equal(screen_line(&s, 0), "Building 3 systems..");
		assert_string_equal(screen_line(&s, 1), "[db1] note: careful");
		assert_true(strncmp(screen_line(&s, 2), "+ web1  committed       0s  Succ",
				    32) == 0);
		assert_true(strncmp(screen_line(&s, 3), "x web2  rolled back     0s  Fail",
				    32) == 0);
		assert_true(strncmp(screen_line(&s, 4), "+ db1   committed       0s  Succ",
				    32) == 0);
		size_t row = s.row - 1;
		assert_string_equal(screen_line(&s, row),
				    "3 hosts: 2 committed, 1 rolled back");
		assert_string_equal(screen_line(&s, row - 1), "[web2]   next: belay log web2");
		assert_string_equal(screen_line(&s, row - 2),
				    "[web2]   state: runs /nix/store/old");
		assert_true(s.cursor && s.wrap);
		/* only the failure's headline may be wider than 60 */
		assert_true(s.wrapped <= (widths[i] == 60 ? 1 : 0));
		close(p.master);
		close(p.slave);
	}
}

static void a_terminal_is_drawn_ten_times_a_second_at_most_and_only_when_changed(void **state)
{
	(void)state;
	ascii_terminal();
	struct pty p;
	pty_open(&p, 80, 24);
	struct bl_ui *ui = bl_ui_new(BL_UI_TERMINAL, -1, p.slave);
	bl_ui_begin(ui, "id", three, 3);
	bl_autofree char *first = pty_read(&p);
	assert_true(strlen(first) > 0);
	for (int i = 0; i < 10000; i++)
		bl_ui_output(ui, "web1", "copy", i % 2 ? "a" : "b");
	bl_autofree char *burst = pty_read(&p);
	size_t frames = 0;
	for (const char *at = burst; (at = strstr(at, "\033[?25h")); at++)
		frames++;
	assert_true(frames <= 10);
	bl_sleep_ms(110);
	bl_ui_tick(ui);
	bl_autofree char *tick = pty_read(&p);
	assert_non_null(strstr(tick, "\033[?25h"));
	bl_sleep_ms(110);
	bl_ui_tick(ui);
	bl_autofree char *same = pty_read(&p);
	assert_string_equal(same, "");
	struct winsize size = { .ws_row = 3, .ws_col = 40 };
	assert_int_equal(ioctl(p.slave, TIOCSWINSZ, &size), 0);
	bl_sleep_ms(110);
	bl_ui_tick(ui);
	bl_autofree char *small = pty_read(&p);
	assert_non_null(strstr(small, "... and 2 more"));
	bl_ui_free(ui);
	close(p.master);
	close(p.slave);
}

static void a_status_is_one_line_that_goes_away(void **state)
{
	(void)state;
	ascii_terminal();
	struct pty p;
	struct screen s;
	pty_open(&p, 40, 24);
	screen_init(&s, 40);
	struct bl_ui *ui = bl_ui_new(BL_UI_TERMINAL, -1, p.slave);
	bl_ui_status(ui, "");
	bl_autofree char *nothing = pty_read(&p);
	assert_string_equal(nothing, "");
	bl_ui_status(ui, "build: 1/3 built, 1 running (nixos-system-web1-24.05)");
	bl_ui_build(ui, &builds[0]);
	bl_autofree char *first = pty_read(&p);
	screen_feed(&s, first);
	assert_string_equal(screen_line(&s, 0), "build: 1/3 built, 1 running (nixos-s...");
	bl_ui_build(ui, &builds[3]);
	bl_sleep_ms(110);
	bl_ui_status(ui, "build: 2/3\033[2J");
	bl_autofree char *second = pty_read(&p);
	screen_feed(&s, second);
	assert_string_equal(screen_line(&s, 0), "build: linux-6.6 failed: killed");
	assert_string_equal(screen_line(&s, 1), "build: 2/3\\x1b[2J");
	bl_ui_status(ui, "");
	bl_autofree char *third = pty_read(&p);
	screen_feed(&s, third);
	assert_string_equal(screen_line(&s, 1), "");
	assert_int_equal(s.row, 1);
	bl_ui_free(ui);
	close(p.master);
	close(p.slave);
}

static void a_note_is_not_lost_when_the_picture_ends_early(void **state)
{
	(void)state;
	ascii_terminal();
	struct pty p;
	pty_open(&p, 80, 24);
	struct bl_ui *ui = bl_ui_new(BL_UI_TERMINAL, -1, p.slave);
	bl_ui_begin(ui, "id", three, 3);
	bl_ui_note(ui, "web1", "careful");
	bl_ui_free(ui);
	bl_autofree char *text = pty_read(&p);
	assert_non_null(strstr(text, "[web1] note: careful"));
	bl_ui_free(NULL);
	close(p.master);
	close(p.slave);
}

static void a_thousand_hosts_and_a_hundred_thousand_lines_take_little_time(void **state)
{
	(void)state;
	enum { HOSTS = 1000 };
	char *names[HOSTS];
	for (size_t i = 0; i < HOSTS; i++)
		names[i] = bl_xprintf("host-%zu", i);
	static const enum bl_ui_mode modes[] = { BL_UI_PLAIN, BL_UI_TERMINAL, BL_UI_JSON };
	for (size_t m = 0; m < BL_COUNT(modes); m++) {
		struct bl_ui *ui = ui_to_file(modes[m]);
		int64_t start = bl_now_boot_ns();
		bl_ui_begin(ui, "id", (const char *const *)names, HOSTS);
		for (size_t i = 0; i < HOSTS; i++)
			bl_ui_phase(ui, names[i], "copy", "Copying closure to host..");
		for (size_t i = 0; i < 100000; i++)
			bl_ui_output(ui, names[i * 7 % HOSTS], "copy",
				     "copying path '/nix/store/x'");
		bl_ui_end(ui, 0);
		assert_true(bl_now_boot_ns() - start < 10 * BL_NS_PER_S);
		bl_autofree char *text = all_of(ui);
		assert_true(strlen(text) > 100);
	}
	for (size_t i = 0; i < HOSTS; i++)
		free(names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_deployment_reads_as_users_know_it),
		cmocka_unit_test(a_failure_is_told_with_reason_state_next_and_a_summary),
		cmocka_unit_test(what_was_looked_at_is_told_with_its_level_and_remedy),
		cmocka_unit_test(builds_are_told_one_line_each_and_failures_in_full),
		cmocka_unit_test(json_has_builds),
		cmocka_unit_test(waves_are_told_where_there_are_several_or_canaries),
		cmocka_unit_test(a_second_run_s_results_are_what_counts),
		cmocka_unit_test(json_has_waves_and_a_second_run),
		cmocka_unit_test(several_hosts_are_summed_up),
		cmocka_unit_test(lines_about_the_whole_run_have_no_host_and_may_come_first),
		cmocka_unit_test(each_plain_line_is_one_write),
		cmocka_unit_test(a_reader_that_is_gone_stops_nothing),
		cmocka_unit_test(a_slow_reader_of_a_non_blocking_pipe_gets_everything),
		cmocka_unit_test(hostile_text_in_plain_lines_is_harmless),
		cmocka_unit_test(a_plain_line_of_100_kib_is_cut_and_says_so),
		cmocka_unit_test(json_tells_every_event_with_its_fields),
		cmocka_unit_test(json_stays_valid_whatever_a_host_prints),
		cmocka_unit_test(json_keeps_quotes_and_line_ends_of_a_reason),
		cmocka_unit_test(the_picture_at_80_columns_shows_each_host_on_a_line),
		cmocka_unit_test(the_picture_at_60_columns_in_ascii_is_shortened),
		cmocka_unit_test(the_picture_at_200_columns_uses_them),
		cmocka_unit_test(only_the_mark_is_coloured),
		cmocka_unit_test(a_low_screen_shows_active_hosts_first_and_counts_the_rest),
		cmocka_unit_test(no_line_of_the_picture_is_as_wide_as_the_screen),
		cmocka_unit_test(text_is_shortened_between_characters),
		cmocka_unit_test(the_locale_is_read_from_the_environment),
		cmocka_unit_test(a_frame_replaces_the_picture_in_place),
		cmocka_unit_test(a_frame_finds_its_place_after_the_terminal_became_narrower),
		cmocka_unit_test(
			a_terminal_keeps_the_picture_then_tells_failures_and_the_summary),
		cmocka_unit_test(
			a_terminal_is_drawn_ten_times_a_second_at_most_and_only_when_changed),
		cmocka_unit_test(copying_is_told_in_numbers_and_not_too_often),
		cmocka_unit_test(a_status_is_one_line_that_goes_away),
		cmocka_unit_test(a_note_is_not_lost_when_the_picture_ends_early),
		cmocka_unit_test(
			a_thousand_hosts_and_a_hundred_thousand_lines_take_little_time),
	};
	return cmocka_run_group_tests_name("ui", tests, NULL, NULL);
}
