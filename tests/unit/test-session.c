/* SPDX-License-Identifier: MIT */
/* Sessions with an `ssh` on PATH that does what each test writes into a script. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "host/session.h"

static char *folder;
static int folder_fd = -1;

static char word_host[] = "root@web1";
static char word_sudo[] = "sudo";
static char *elevate[] = { word_sudo, NULL };

/* What a session told us. */
struct heard {
	uv_loop_t loop;
	struct bl_session *session;
	struct bl_buf log;
	char *what, *remedy;
	bool elevated, heard;
	bool drop_at_msg, go_when_asked;
};

static void on_need(void *ctx, const char *machine)
{
	struct heard *h = ctx;
	bl_buf_printf(&h->log, "need %s\n", machine);
	if (h->go_when_asked)
		bl_session_go(h->session);
}

static void on_msg(void *ctx, const struct bl_msg *msg)
{
	struct heard *h = ctx;
	bl_buf_printf(&h->log, "%s", bl_msg_name(msg->type));
	BL_KV_FOREACH (&msg->kv, it)
		bl_buf_printf(&h->log, " %s=%s", it->key, it->value);
	bl_buf_putc(&h->log, '\n');
	h->elevated = bl_session_elevated(h->session);
	h->heard = bl_session_heard(h->session);
	if (h->drop_at_msg)
		bl_session_drop(BL_STEAL(h->session));
}

static void on_gone(void *ctx, const char *what, const char *remedy)
{
	struct heard *h = ctx;
	bl_buf_puts(&h->log, "gone\n");
	h->elevated = bl_session_elevated(h->session);
	h->what = bl_xstrdup(what);
	h->remedy = bl_xstrdup(remedy);
	h->session = NULL;
}

static const struct bl_session_events events = { .need_agent = on_need,
						 .msg = on_msg,
						 .gone = on_gone };

static struct bl_node a_node(void)
{
	return (struct bl_node){ .host = word_host, .elevate = { elevate, 1 } };
}

static void put_file(const char *name, mode_t mode, const void *data, size_t len)
{
	struct bl_err err = { 0 };
	assert_works(bl_write_file_at(folder_fd, name, mode, data, len, &err), &err);
}

/* Starts a work connection to an ssh that runs @script in the folder. */
static void begin(struct heard *h, const char *script)
{
	struct bl_node node = a_node();
	struct bl_err err = { 0 };
	bl_autofree char *text =
		bl_xprintf("#!/bin/sh\ncd '%s' || exit 99\n%s\n", folder, script);
	put_file("ssh", 0755, text, strlen(text));
	assert_int_equal(uv_loop_init(&h->loop), 0);
	assert_works(bl_session_work(&h->loop, &node, "/run/control", "/nix/store/agent",
				     "/nix/store/new", &events, h, &h->session, &err),
		     &err);
}

static void run(struct heard *h)
{
	uv_run(&h->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&h->loop), 0);
}

static void end(struct heard *h)
{
	bl_buf_free(&h->log);
	free(h->what);
	free(h->remedy);
}

/* The banner and two messages, in a file that the script can print. */
static void put_frames(void)
{
	BL_AUTO(bl_buf) b = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	bl_buf_puts(&b, BL_WIRE_BANNER);
	bl_kv_set(&kv, "epoch", "7");
	bl_msg_put(&b, BL_MSG_STATE, &kv);
	bl_msg_put(&b, BL_MSG_OK, NULL);
	put_file("frames", 0644, b.data, b.len);
}

#define BOTH "state epoch=7\nok\n"

static void what_a_login_shell_prints_first_is_passed_over(void **state)
{
	(void)state;
	static const char *const noise[] = {
		"",
		"echo 'Welcome to web1'; echo; printf 'a\\r\\n\\tb\\n'",
		"echo belay-agent-frames-2; echo 'belay-agent-frames-1 '; echo belay-agent-frame",
		"echo ' belay-need-agent x86_64'; echo belay-need-agent",
		"head -c 30000 /dev/zero | tr '\\0' x; echo",
		"printf '\\377\\000\\001\\n'",
	};
	for (size_t i = 0; i < BL_COUNT(noise); i++) {
		struct heard h = { 0 };
		bl_autofree char *script =
			bl_xprintf("%s\necho belay-user 0\ncat frames\nexit 3", noise[i]);
		put_frames();
		begin(&h, script);
		run(&h);
		assert_string_equal(bl_buf_str(&h.log), BOTH "gone\n");
		assert_true(h.heard);
		assert_false(h.elevated);
		assert_string_equal(h.what, "ssh ended with status 3 and said nothing");
		end(&h);
	}
}

static void a_login_shell_that_prints_without_end_is_an_error(void **state)
{
	(void)state;
	struct heard h = { 0 };
	begin(&h,
	      "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
	run(&h);
	assert_string_equal(bl_buf_str(&h.log), "gone\n");
	assert_string_equal(h.what,
			    "its login shell prints without end, and the agent is not heard");
	end(&h);
}

static void messages_arrive_whole_however_the_bytes_come(void **state)
{
	(void)state;
	struct heard h = { 0 };
	put_frames();
	begin(&h, "n=$(wc -c < frames); i=0\n"
		  "while [ $i -lt $n ]; do\n"
		  "  dd if=frames bs=1 skip=$i count=5 2> /dev/null; i=$((i + 5))\n"
		  "done");
	run(&h);
	assert_string_equal(bl_buf_str(&h.log), BOTH "gone\n");
	end(&h);
}

static void whoever_is_not_root_is_told_apart(void **state)
{
	(void)state;
	struct heard h = { 0 };
	put_frames();
	begin(&h, "echo belay-user 1000; cat frames");
	run(&h);
	assert_true(h.elevated);
	end(&h);
}

static void an_agent_is_asked_for_once_and_the_host_waits(void **state)
{
	(void)state;
	struct heard h = { .go_when_asked = true };
	put_frames();
	begin(&h, "echo belay-need-agent aarch64; echo belay-need-agent aarch64\n"
		  "read -r line; [ \"$line\" = go ] && cat frames");
	run(&h);
	assert_string_equal(bl_buf_str(&h.log), "need aarch64\n" BOTH "gone\n");
	end(&h);
}

static void what_is_no_nixos_is_said_so(void **state)
{
	(void)state;
	struct heard h = { 0 };
	begin(&h, "echo belay-user 0; echo belay-not-nixos; exit 1");
	run(&h);
	assert_string_equal(bl_buf_str(&h.log), "gone\n");
	assert_string_equal(h.what, "it is no NixOS host: it has no /run/current-system");
	assert_string_equal(h.remedy, "correct the node's `host`; belay deploys to NixOS");
	assert_false(h.heard);
	end(&h);
}

static void bytes_that_are_no_messages_end_it(void **state)
{
	(void)state;
	static const struct {
		const char *print, *what;
	} cases[] = {
		{ "printf 'Segmentation fault'",
		  "the other end does not speak belay's frames (length 1835492691)" },
		{ "printf '\\0\\0\\0\\0\\11\\0\\0\\0'", "message of unknown type 9" },
		{ "printf '\\2\\0\\0\\0\\24\\0\\0\\0ab'",
		  "message state: the last line is cut off" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		struct heard h = { 0 };
		bl_autofree char *script =
			bl_xprintf("cat frames; %s; exec sleep 60", cases[i].print);
		put_frames();
		begin(&h, script);
		run(&h);
		assert_string_equal(bl_buf_str(&h.log), BOTH "gone\n");
		assert_string_equal(h.what, cases[i].what);
		assert_string_equal(h.remedy, "use the same version of belay on both ends");
		end(&h);
	}
}

static void the_reason_for_an_end_comes_from_ssh(void **state)
{
	(void)state;
	struct heard h = { 0 };
	begin(&h, "echo 'root@web1: Permission denied (publickey).' >&2; exit 255");
	run(&h);
	assert_string_equal(
		h.what,
		"it accepts none of our keys (root@web1: Permission denied (publickey).)");
	end(&h);
}

static void what_is_sent_is_what_arrives(void **state)
{
	(void)state;
	struct heard h = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) want = { 0 };
	bl_autofree char *got = NULL;
	size_t len = 0;
	struct bl_err err = { 0 };
	bl_kv_set(&kv, "proof", "00ff");
	bl_msg_put(&want, BL_MSG_PROOF, &kv);
	bl_autofree char *script = bl_xprintf("head -c %zu > got", want.len);
	begin(&h, script);
	bl_session_send(h.session, BL_MSG_PROOF, &kv);
	run(&h);
	assert_works(bl_read_file_at(folder_fd, "got", 4096, &got, &len, &err), &err);
	assert_int_equal(len, want.len);
	assert_memory_equal(got, want.data, len);
	end(&h);
}

static void a_dropped_session_says_no_more(void **state)
{
	(void)state;
	struct heard h = { .drop_at_msg = true };
	put_frames();
	begin(&h, "cat frames; exec sleep 60");
	run(&h);
	assert_string_equal(bl_buf_str(&h.log), "state epoch=7\n");
	end(&h);
	/* and before it said anything */
	struct heard early = { 0 };
	begin(&early, "cat frames; exec sleep 60");
	bl_session_drop(early.session);
	run(&early);
	assert_string_equal(bl_buf_str(&early.log), "");
	end(&early);
	bl_session_drop(NULL);
}

static void a_fresh_connection_runs_confirm_for_its_epoch(void **state)
{
	(void)state;
	static const char script[] = "printf '%s\\n' \"$@\" > \"${0%/*}/got\"\n";
	struct heard h = { 0 };
	struct bl_node node = a_node();
	struct bl_err err = { 0 };
	bl_autofree char *got = NULL;
	bl_autofree char *text = bl_xprintf("#!/bin/sh\n%s", script);
	put_file("ssh", 0755, text, strlen(text));
	assert_int_equal(uv_loop_init(&h.loop), 0);
	assert_works(bl_session_fresh_start(&h.loop, &node, "/nix/store/agent", UINT64_MAX, 4,
					    &events, &h, &h.session, &err),
		     &err);
	run(&h);
	assert_works(bl_read_file_at(folder_fd, "got", 65536, &got, NULL, &err), &err);
	static const char *const parts[] = { "\nControlMaster=no\n",
					     "\nControlPath=none\n",
					     "\nConnectTimeout=4\n",
					     "\n--\nroot@web1\n",
					     "confirm",
					     " /nix/store/agent 18446744073709551615\n" };
	for (size_t i = 0; i < BL_COUNT(parts); i++)
		if (!strstr(got, parts[i]))
			fail_msg("no '%s' in %s", parts[i], got);
	end(&h);
}

static void without_ssh_nothing_is_started(void **state)
{
	(void)state;
	struct heard h = { 0 };
	struct bl_node node = a_node();
	struct bl_err err = { 0 };
	bl_autofree char *path = bl_xstrdup(getenv("PATH"));
	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(uv_loop_init(&h.loop), 0);
	int rc = bl_session_work(&h.loop, &node, "/run/control", "a", "", &events, &h,
				 &h.session, &err);
	setenv("PATH", path, 1);
	assert_int_equal(rc, -1);
	assert_string_equal(err.msg, "start ssh: no such file or directory");
	assert_null(h.session);
	run(&h);
	end(&h);
}

static int make_folder(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	const char *path = getenv("PATH");
	folder = bl_xprintf("%s/belay-session-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder) || bl_open_dir(folder, &folder_fd, NULL) < 0)
		return -1;
	bl_autofree char *longer = bl_xprintf("%s:%s", folder, path ? path : "/usr/bin:/bin");
	return setenv("PATH", longer, 1);
}

static int remove_folder(void **state)
{
	(void)state;
	unlinkat(folder_fd, "ssh", 0);
	unlinkat(folder_fd, "frames", 0);
	unlinkat(folder_fd, "got", 0);
	bl_closep(&folder_fd);
	rmdir(folder);
	free(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_login_shell_prints_first_is_passed_over),
		cmocka_unit_test(a_login_shell_that_prints_without_end_is_an_error),
		cmocka_unit_test(messages_arrive_whole_however_the_bytes_come),
		cmocka_unit_test(whoever_is_not_root_is_told_apart),
		cmocka_unit_test(an_agent_is_asked_for_once_and_the_host_waits),
		cmocka_unit_test(what_is_no_nixos_is_said_so),
		cmocka_unit_test(bytes_that_are_no_messages_end_it),
		cmocka_unit_test(the_reason_for_an_end_comes_from_ssh),
		cmocka_unit_test(what_is_sent_is_what_arrives),
		cmocka_unit_test(a_dropped_session_says_no_more),
		cmocka_unit_test(a_fresh_connection_runs_confirm_for_its_epoch),
		cmocka_unit_test(without_ssh_nothing_is_started),
	};
	return cmocka_run_group_tests_name("session", tests, make_folder, remove_folder);
}
