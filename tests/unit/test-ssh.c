/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/file.h"
#include "host/agent.h"
#include "host/ssh.h"

static char host[] = "root@web1";
static char word_sudo[] = "sudo";
static char word_n[] = "-n";
static char *sudo_n[] = { word_sudo, word_n, NULL };

static struct bl_node node_with(char **options, size_t n)
{
	return (struct bl_node){
		.host = host,
		.elevate = { sudo_n, 2 },
		.ssh_options = { options, n },
	};
}

static void assert_words(const struct bl_strv *is, const char *const *want)
{
	for (size_t i = 0; want[i]; i++) {
		assert_true(i < is->n);
		assert_string_equal(is->items[i], want[i]);
	}
}

static size_t place(const struct bl_strv *v, const char *word)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->items[i], word) == 0)
			return i;
	fail_msg("no %s", word);
	return 0;
}

static void a_fresh_connection_is_asked_for_word_by_word(void **state)
{
	(void)state;
	static const char *const want[] = {
		"ssh",
		"-Tax",
		"-o",
		"BatchMode=yes",
		"-o",
		"ConnectionAttempts=1",
		"-o",
		"ServerAliveInterval=5",
		"-o",
		"ServerAliveCountMax=3",
		"-o",
		"StrictHostKeyChecking=yes",
		"-o",
		"ClearAllForwardings=yes",
		"-o",
		"PermitLocalCommand=no",
		"-o",
		"RemoteCommand=none",
		"-o",
		"ControlPersist=no",
		"-o",
		"LogLevel=ERROR",
		"-o",
		"ConnectTimeout=8",
		"-o",
		"ControlMaster=no",
		"-o",
		"ControlPath=none",
		"--",
		"root@web1",
		"true && false",
		NULL,
	};
	struct bl_node node = node_with(NULL, 0);
	BL_AUTO(bl_strv) argv = { 0 };
	bl_ssh_argv(&node, NULL, 8, "true && false", &argv);
	assert_words(&argv, want);
	assert_int_equal(argv.n, BL_COUNT(want) - 1);
	assert_null(argv.items[argv.n]);
}

static void the_nodes_own_options_come_before_ours(void **state)
{
	(void)state;
	static const char *const want[] = { "ssh", "-Tax",
					    "-o",  "Port 2",
					    "-o",  "StrictHostKeyChecking=accept-new",
					    "-o",  NULL };
	char *options[] = { (char[]){ "Port 2" },
			    (char[]){ "StrictHostKeyChecking=accept-new" }, NULL };
	struct bl_node node = node_with(options, 2);
	BL_AUTO(bl_strv) argv = { 0 };
	bl_ssh_argv(&node, NULL, 3, "x", &argv);
	assert_words(&argv, want);
	/* ssh takes the first value of an option */
	assert_true(place(&argv, "StrictHostKeyChecking=accept-new") <
		    place(&argv, "StrictHostKeyChecking=yes"));
	assert_string_equal(argv.items[place(&argv, "ConnectTimeout=3") - 1], "-o");
}

static void only_the_work_connection_is_a_master_and_of_our_own_socket(void **state)
{
	(void)state;
	struct bl_node node = node_with(NULL, 0);
	BL_AUTO(bl_strv) work = { 0 };
	BL_AUTO(bl_strv) fresh = { 0 };
	bl_ssh_argv(&node, "/run/user/1000/belay/1", 8, "x", &work);
	bl_ssh_argv(&node, NULL, 8, "x", &fresh);
	assert_string_equal(work.items[place(&work, "ControlMaster=yes") - 1], "-o");
	assert_string_equal(work.items[place(&work, "ControlPath=/run/user/1000/belay/1") - 1],
			    "-o");
	assert_false(bl_strv_has(&work, "ControlPath=none"));
	assert_string_equal(fresh.items[place(&fresh, "ControlMaster=no") - 1], "-o");
	assert_string_equal(fresh.items[place(&fresh, "ControlPath=none") - 1], "-o");
	assert_int_equal(work.n, fresh.n);
}

static void the_destination_stands_behind_two_dashes_and_before_the_command(void **state)
{
	(void)state;
	static const char *const hosts[] = { "web1", "root@2001:db8::1", "-oProxyCommand=id" };
	for (size_t i = 0; i < BL_COUNT(hosts); i++) {
		struct bl_node node = node_with(NULL, 0);
		BL_AUTO(bl_strv) argv = { 0 };
		bl_autofree char *other = bl_xstrdup(hosts[i]);
		node.host = other;
		bl_ssh_argv(&node, NULL, 8, "the command", &argv);
		assert_string_equal(argv.items[argv.n - 3], "--");
		assert_string_equal(argv.items[argv.n - 2], hosts[i]);
		assert_string_equal(argv.items[argv.n - 1], "the command");
	}
}

static void nix_rides_on_the_master_or_not_at_all(void **state)
{
	(void)state;
	bl_autofree char *options = bl_ssh_nix_options("/run/b/1");
	assert_string_equal(options,
			    "-o ControlMaster=no -o ControlPath=/run/b/1 -o ControlPersist=no "
			    "-o ProxyCommand=false -o BatchMode=yes -o LogLevel=ERROR");
}

/* --- the command for the login shell --- */

static char *folder; /* with a fake id and sudo */

static int write_tool(const char *name, const char *text)
{
	bl_autofree char *path = bl_xprintf("%s/%s", folder, name);
	bl_autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	return fd < 0 ? -1 : bl_write_all(fd, text, strlen(text), NULL);
}

static const char good_sudo[] = "#!/bin/sh\n"
				"[ \"$1\" = -n ] || exit 9\n"
				"shift\n"
				"echo by-sudo\n"
				"exec \"$@\"\n";

static int make_folder(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	folder = bl_xprintf("%s/belay-ssh-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	return write_tool("sudo", good_sudo);
}

static int remove_folder(void **state)
{
	(void)state;
	static const char *const tools[] = { "id", "sudo" };
	for (size_t i = 0; i < BL_COUNT(tools); i++) {
		bl_autofree char *path = bl_xprintf("%s/%s", folder, tools[i]);
		unlink(path);
	}
	rmdir(folder);
	free(folder);
	return 0;
}

static void run_of(const struct bl_node *node, const char *shell, const char *uid,
		   const char *script, const char *const *args, struct bl_child_result *out)
{
	struct bl_err err = { 0 };
	bl_autofree char *id =
		bl_xprintf("#!/bin/sh\n[ \"$*\" = -u ] || exit 9\necho %s\n", uid);
	assert_int_equal(write_tool("id", id), 0);
	bl_autofree char *command = bl_ssh_remote(node, script, args);
	bl_autofree char *path = bl_xprintf("PATH=%s:/usr/bin:/bin", folder);
	const char *const env[] = { path, "SSH_CONNECTION=10.0.0.1 40000 10.0.0.2 22", NULL };
	const char *const argv[] = { shell, "-c", command, NULL };
	const struct bl_child_spec spec = {
		.argv = argv,
		.env = env,
		.timeout_ms = 20000,
		.out_max = 65536,
	};
	assert_works(bl_child_run(&spec, out, &err), &err);
}

static void run_remote(const char *shell, const char *uid, const char *script,
		       const char *const *args, struct bl_child_result *out)
{
	struct bl_node node = node_with(NULL, 0);
	run_of(&node, shell, uid, script, args, out);
}

static const char *const shells[] = { "sh", "bash" };
static const struct {
	const char *uid, *said;
} users[] = { { "0", "belay-user 0\n" }, { "1000", "belay-user 1000\nby-sudo\n" } };

static void arguments_arrive_as_they_are_whoever_logs_in(void **state)
{
	(void)state;
	static const char *const args[] = {
		"plain",
		"",
		"two words",
		"it's",
		"''",
		"\"double\"",
		"$(id)`id`${PATH}",
		"a;b&c|d>e<f",
		"line\nbreak",
		"\ttab ",
		"back\\slash\\n",
		"*?[a]",
		"~root",
		"!!",
		"%s%n",
		"-n",
		"--",
		"#comment",
		"\xc3\xbc\xff",
		NULL,
	};
	for (size_t i = 0; i < BL_COUNT(shells) * BL_COUNT(users); i++) {
		const char *shell = shells[i / BL_COUNT(users)];
		size_t u = i % BL_COUNT(users);
		BL_AUTO(bl_buf) want = { 0 };
		BL_AUTO(bl_child_result) r = { 0 };
		bl_buf_puts(&want, users[u].said);
		bl_buf_puts(&want, "<10.0.0.1 40000 10.0.0.2 22>");
		for (size_t k = 0; args[k]; k++)
			bl_buf_printf(&want, "<%s>", args[k]);
		run_remote(shell, users[u].uid, "printf \"<%s>\" \"$@\"", args, &r);
		assert_string_equal(bl_buf_str(&r.err), "");
		assert_int_equal(r.status, 0);
		assert_string_equal(bl_buf_str(&r.out), bl_buf_str(&want));
	}
}

static void the_scripts_status_and_input_are_those_of_the_command(void **state)
{
	(void)state;
	static const char *const args[] = { NULL };
	for (size_t i = 0; i < BL_COUNT(shells) * BL_COUNT(users); i++) {
		BL_AUTO(bl_child_result) r = { 0 };
		run_remote(shells[i / BL_COUNT(users)], users[i % BL_COUNT(users)].uid,
			   "read -r line || echo \"nothing: $0 $#\"; exit 42", args, &r);
		assert_int_equal(r.status, 42);
		assert_non_null(strstr(bl_buf_str(&r.out), "nothing: sh 1\n"));
	}
}

static void who_may_stay_a_user_does_where_sudo_fails(void **state)
{
	(void)state;
	static const char *const args[] = { "it's", "two words", NULL };
	static const struct {
		const char *uid, *sudo, *said;
	} cases[] = {
		{ "0", "#!/bin/sh\nexit 1\n", "belay-user 0\n" },
		{ "1000", good_sudo, "belay-user 1000\nby-sudo\n" },
		{ "1000", "#!/bin/sh\necho no; echo never >&2; exit 1\n",
		  "belay-user 1000\nbelay-stays\n" },
		{ "1000", "not executable", "belay-user 1000\nbelay-stays\n" },
	};
	for (size_t i = 0; i < BL_COUNT(shells) * BL_COUNT(cases); i++) {
		size_t c = i % BL_COUNT(cases);
		struct bl_node node = node_with(NULL, 0);
		BL_AUTO(bl_child_result) r = { 0 };
		bl_autofree char *want = bl_xprintf(
			"%s<10.0.0.1 40000 10.0.0.2 22><it's><two words>", cases[c].said);
		node.may_stay_user = true;
		assert_int_equal(write_tool("sudo", cases[c].sudo), 0);
		run_of(&node, shells[i / BL_COUNT(cases)], cases[c].uid,
		       "printf \"<%s>\" \"$@\"; exit 42", args, &r);
		assert_string_equal(bl_buf_str(&r.err), "");
		assert_int_equal(r.status, 42);
		assert_string_equal(bl_buf_str(&r.out), want);
	}
	assert_int_equal(write_tool("sudo", good_sudo), 0);
}

/* What sudo reads the agent would never see. */
static void sudo_does_not_get_what_is_for_the_agent(void **state)
{
	(void)state;
	static const char *const args[] = { NULL };
	struct bl_node node = node_with(NULL, 0);
	node.may_stay_user = true;
	bl_autofree char *command = bl_ssh_remote(&node, "cat", args);
	bl_autofree char *path = bl_xprintf("PATH=%s:/usr/bin:/bin", folder);
	bl_autofree char *typed = bl_xprintf("echo for-the-agent | %s", command);
	const char *const env[] = { path, NULL };
	const char *const argv[] = { "sh", "-c", typed, NULL };
	const struct bl_child_spec spec = { .argv = argv, .env = env, .out_max = 65536 };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	assert_int_equal(write_tool("id", "#!/bin/sh\necho 1000\n"), 0);
	assert_int_equal(write_tool("sudo", "#!/bin/sh\ncat > /dev/null\nexit 1\n"), 0);
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_string_equal(bl_buf_str(&r.out),
			    "belay-user 1000\nbelay-stays\nfor-the-agent\n");
	assert_int_equal(write_tool("sudo", good_sudo), 0);
}

static void without_the_programs_it_needs_it_fails(void **state)
{
	(void)state;
	static const char *const args[] = { "a", NULL };
	char *none[] = { (char[]){ "no-such-elevation" }, NULL };
	struct bl_node node = node_with(NULL, 0);
	struct bl_err err = { 0 };
	node.elevate = (struct bl_strv){ none, 1 };
	assert_int_equal(write_tool("id", "#!/bin/sh\necho 1000\n"), 0);
	bl_autofree char *command = bl_ssh_remote(&node, "echo not reached", args);
	bl_autofree char *path = bl_xprintf("PATH=%s:/usr/bin:/bin", folder);
	const char *const env[] = { path, NULL };
	const char *const argv[] = { "sh", "-c", command, NULL };
	const struct bl_child_spec spec = { .argv = argv, .env = env, .out_max = 65536 };
	BL_AUTO(bl_child_result) r = { 0 };
	assert_works(bl_child_run(&spec, &r, &err), &err);
	assert_int_equal(r.status, 127);
	assert_string_equal(bl_buf_str(&r.out), "belay-user 1000\n");
}

static void the_agent_is_that_of_the_machine(void **state)
{
	(void)state;
	static const char one[] = "/nix/store/x-belay-agent";
	static const char two[] =
		"aarch64=/nix/store/a-belay-agent x86_64=/nix/store/b-belay-agent";
	static const struct {
		const char *agent, *machine, *want;
	} cases[] = {
		{ one, "riscv64", one },
		{ one, "", one },
		{ two, "aarch64", "/nix/store/a-belay-agent" },
		{ two, "x86_64", "/nix/store/b-belay-agent" },
		{ two, "x86", NULL },
		{ two, "riscv64", NULL },
		{ two, "", NULL },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *got = bl_agent_for(cases[i].agent, cases[i].machine);
		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
	}
}

static void our_scripts_are_posix_shell(void **state)
{
	(void)state;
	const char *const scripts[] = { bl_ssh_boot_script, bl_ssh_confirm_script };
	for (size_t i = 0; i < BL_COUNT(scripts) * BL_COUNT(shells); i++) {
		const char *const argv[] = { shells[i % 2], "-n", "-c", scripts[i / 2], NULL };
		const struct bl_child_spec spec = { .argv = argv, .out_max = 4096 };
		struct bl_err err = { 0 };
		BL_AUTO(bl_child_result) r = { 0 };
		assert_works(bl_child_run(&spec, &r, &err), &err);
		assert_int_equal(r.status, 0);
		assert_null(strchr(scripts[i / 2], '\''));
	}
}

/* --- what ssh says when it fails --- */

#define KEY_REMEDY   "connect once by hand (ssh) and compare the fingerprint"
#define ROUTE_REMEDY "look whether it is up and the way to it is open"
#define HAND_REMEDY  "try it by hand: ssh with the same name and user"
#define SUDO_REMEDY  "allow the user NOPASSWD in sudo, or deploy as root"
#define LOAD_REMEDY                                                             \
	"load the key into ssh-agent, or name it with IdentityFile; passwords " \
	"cannot be asked for"

static void what_ssh_says_becomes_one_line_and_a_remedy(void **state)
{
	(void)state;
	static const struct {
		const char *said;
		int status;
		const char *what, *remedy;
	} cases[] = {
		{ "No ED25519 host key is known for web1 and you have requested strict checking.\r\n"
		  "Host key verification failed.\r\n",
		  255, "its host key is not in known_hosts (Host key verification failed.)",
		  KEY_REMEDY },
		{ "No RSA host key is known for web1 and you have requested strict checking.\r\n"
		  "Host key verification failed.\r\n",
		  255, "its host key is not in known_hosts (Host key verification failed.)",
		  KEY_REMEDY },
		{ "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
		  "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
		  "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
		  "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
		  "Offending ED25519 key in /home/alice/.ssh/known_hosts:3\r\n"
		  "Host key for web1 has changed and you have requested strict checking.\r\n"
		  "Host key verification failed.\r\n",
		  255,
		  "its host key is not the one in known_hosts (Host key verification failed.)",
		  "if the host was reinstalled: ssh-keygen -R NAME, then connect once by hand "
		  "and compare the fingerprint" },
		{ "root@web1: Permission denied (publickey).\r\n", 255,
		  "it accepts none of our keys (root@web1: Permission denied (publickey).)",
		  LOAD_REMEDY },
		{ "root@web1: Permission denied "
		  "(publickey,password,keyboard-interactive).\r\n",
		  255,
		  "it accepts none of our keys (root@web1: Permission denied "
		  "(publickey,password,keyboard-interactive).)",
		  LOAD_REMEDY },
		{ "sudo: a password is required\n", 1,
		  "sudo wants a password (sudo: a password is required)", SUDO_REMEDY },
		{ "sudo: a terminal is required to read the password; either use the -S option "
		  "to read from standard input or configure an askpass helper\n"
		  "sudo: a password is required\n",
		  1, "sudo wants a password (sudo: a password is required)", SUDO_REMEDY },
		{ "ssh: Could not resolve hostname web1: Name or service not known\r\n", 255,
		  "its name cannot be resolved (ssh: Could not resolve hostname web1: Name or "
		  "service not known)",
		  "correct the node's `host`, or put the name into ~/.ssh/config" },
		{ "ssh: Could not resolve hostname web1: Temporary failure in name "
		  "resolution\r\n",
		  255,
		  "its name cannot be resolved (ssh: Could not resolve hostname web1: Temporary "
		  "failure in name resolution)",
		  "correct the node's `host`, or put the name into ~/.ssh/config" },
		{ "ssh: connect to host web1 port 22: Connection timed out\r\n", 255,
		  "it does not answer (ssh: connect to host web1 port 22: Connection timed out)",
		  ROUTE_REMEDY },
		{ "Connection timed out during banner exchange\r\n"
		  "Connection to 10.0.0.2 port 22 timed out\r\n",
		  255, "it does not answer (Connection to 10.0.0.2 port 22 timed out)",
		  ROUTE_REMEDY },
		{ "ssh: connect to host web1 port 22: Connection refused\r\n", 255,
		  "nothing listens on its ssh port (ssh: connect to host web1 port 22: "
		  "Connection refused)",
		  "look whether sshd runs there, and the port" },
		{ "ssh: connect to host web1 port 22: No route to host\r\n", 255,
		  "there is no way to it (ssh: connect to host web1 port 22: No route to host)",
		  ROUTE_REMEDY },
		{ "error: writing to file: No space left on device\n", 1,
		  "its disk is full (error: writing to file: No space left on device)",
		  "make room there: nix-collect-garbage, fewer generations" },
		/* others in their own words */
		{ "kex_exchange_identification: read: Connection reset by peer\r\n"
		  "Connection reset by 10.0.0.2 port 22\r\n",
		  255, "Connection reset by 10.0.0.2 port 22", HAND_REMEDY },
		{ "command-line: line 0: Bad configuration option: foo\r\n", 255,
		  "command-line: line 0: Bad configuration option: foo", HAND_REMEDY },
		{ "first\n\n\r\n  last  \r\n\r\n\n", 255, "  last  ", HAND_REMEDY },
		{ "no line end", 255, "no line end", HAND_REMEDY },
		{ "", 255, "ssh ended with status 255 and said nothing", HAND_REMEDY },
		{ "\r\n\n", 143, "ssh ended with status 143 and said nothing", HAND_REMEDY },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *what = NULL;
		bl_autofree char *remedy = NULL;
		bl_ssh_explain(cases[i].said, cases[i].status, &what, &remedy);
		assert_string_equal(what, cases[i].what);
		assert_string_equal(remedy, cases[i].remedy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fresh_connection_is_asked_for_word_by_word),
		cmocka_unit_test(the_nodes_own_options_come_before_ours),
		cmocka_unit_test(only_the_work_connection_is_a_master_and_of_our_own_socket),
		cmocka_unit_test(
			the_destination_stands_behind_two_dashes_and_before_the_command),
		cmocka_unit_test(nix_rides_on_the_master_or_not_at_all),
		cmocka_unit_test(arguments_arrive_as_they_are_whoever_logs_in),
		cmocka_unit_test(the_scripts_status_and_input_are_those_of_the_command),
		cmocka_unit_test(who_may_stay_a_user_does_where_sudo_fails),
		cmocka_unit_test(sudo_does_not_get_what_is_for_the_agent),
		cmocka_unit_test(without_the_programs_it_needs_it_fails),
		cmocka_unit_test(the_agent_is_that_of_the_machine),
		cmocka_unit_test(our_scripts_are_posix_shell),
		cmocka_unit_test(what_ssh_says_becomes_one_line_and_a_remedy),
	};
	return cmocka_run_group_tests_name("ssh", tests, make_folder, remove_folder);
}
