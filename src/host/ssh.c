/* SPDX-License-Identifier: MIT */
#include "host/ssh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* $a is the agent: $2, or the one in it for this machine (host/agent.h), "" without one. */
#define CHOOSE                                                                                 \
	"a=$2; case $a in *=*) a=; m=$(PATH=\"$PATH:/run/current-system/sw/bin\"; uname -m); " \
	"for w in $2; do [ \"${w%%=*}\" != \"$m\" ] || a=${w#*=}; done;; esac; "

/* $1 SSH_CONNECTION, $2 agent, $3 new system. The root "agent" is set by an agent that ran, so
 * a path it names is whole. Everything comes from PATH, as NixOS gives it, or the running
 * system. */
const char bl_ssh_boot_script[] = CHOOSE
	"export BELAY_SSH=\"$1\" PATH=\"$PATH:/run/current-system/sw/bin\"; r=/nix/var/nix/gcroots/belay; "
	"if [ \"$(readlink $r/agent)\" = \"$a\" ] && [ -x \"$a/bin/belay-agent\" ]; "
	"then exec \"$a/bin/belay-agent\" serve \"$3\"; fi; "
	"[ -e /run/current-system ] || { echo belay-not-nixos; exit 1; }; "
	"[ -z \"$a\" ] || [ -z \"$3\" ] || { mkdir -p $r && ln -sfn \"$a\" $r/next-agent && ln -sfn \"$3\" $r/next; } || exit 1; "
	"echo \"belay-need-agent $(uname -m)\"; read -r x || exit 0; "
	"nix-store --check-validity \"$a\" || exit 1; "
	"exec \"$a/bin/belay-agent\" serve \"$3\"";

const char bl_ssh_confirm_script[] =
	CHOOSE "[ -n \"$a\" ] || { echo \"belay has no agent for $m\" >&2; exit 1; }; "
	       "exec \"$a/bin/belay-agent\" confirm \"$3\"";

void bl_ssh_argv(const struct bl_node *node, const char *control, unsigned connect_timeout_s,
		 const char *command, struct bl_strv *out)
{
	static const char *const fixed[] = {
		"BatchMode=yes",         "ConnectionAttempts=1",      "ServerAliveInterval=5",
		"ServerAliveCountMax=3", "StrictHostKeyChecking=yes", "ClearAllForwardings=yes",
		"PermitLocalCommand=no", "RemoteCommand=none",        "ControlPersist=no",
		"LogLevel=ERROR",
	};
	if (node->plan.local) {
		bl_strv_add(out, "/bin/sh");
		bl_strv_add(out, "-c");
		bl_strv_add(out, command);
		return;
	}
	bl_strv_add(out, "ssh");
	bl_strv_add(out, "-Tax");
	for (size_t i = 0; i < node->ssh_options.n; i++) {
		bl_strv_add(out, "-o");
		bl_strv_add(out, node->ssh_options.items[i]);
	}
	for (size_t i = 0; i < BL_COUNT(fixed); i++) {
		bl_strv_add(out, "-o");
		bl_strv_add(out, fixed[i]);
	}
	bl_strv_add(out, "-o");
	bl_strv_addf(out, "ConnectTimeout=%u", connect_timeout_s);
	bl_strv_add(out, "-o");
	bl_strv_addf(out, "ControlMaster=%s", control ? "yes" : "no");
	bl_strv_add(out, "-o");
	bl_strv_addf(out, "ControlPath=%s", control ? control : "none");
	bl_strv_add(out, "--");
	bl_strv_add(out, node->host);
	bl_strv_add(out, command);
}

void bl_ssh_config_argv(const struct bl_node *node, const char *destination,
			struct bl_strv *out)
{
	bl_strv_add(out, "ssh");
	bl_strv_add(out, "-G");
	for (size_t i = 0; node && i < node->ssh_options.n; i++) {
		bl_strv_add(out, "-o");
		bl_strv_add(out, node->ssh_options.items[i]);
	}
	bl_strv_add(out, "--");
	bl_strv_add(out, destination);
}

char *bl_ssh_nix_options(const char *control)
{
	return bl_xprintf(
		"-o ControlMaster=no -o ControlPath=%s -o ControlPersist=no -o ProxyCommand=false "
		"-o BatchMode=yes -o LogLevel=ERROR",
		control);
}

/*
 * With a password: it is the first line of the input. sudo remembers it for the shell that it
 * was started from, where there is no terminal, so that the second one asks no more, and the
 * rest of the input is the script's.
 */
static const char outer_asking[] =
	"u=$(id -u); echo \"belay-user $u\"; IFS= read -r p; if [ \"$u\" = 0 ]; then p=; exec /bin/sh -c \"$@\"; fi; "
	"sudo -n true 2> /dev/null || printf '%s\\n' \"$p\" | sudo -S -p '' -v || exit 1; p=; "
	/* not as the last command, which a shell may become: sudo has to be its child again */
	"s=$1; shift; sudo -n /bin/sh -c \"$s\" \"$@\"; exit $?";

char *bl_ssh_remote(const struct bl_node *node, const char *script, const char *const *args)
{
	/* $1 script, $2 number of arguments for it, those, then the words of the elevation */
	static const char outer[] =
		"u=$(id -u); echo \"belay-user $u\"; if [ \"$u\" = 0 ]; then exec /bin/sh -c \"$@\"; fi; "
		"s=$1; shift; %sexec %s /bin/sh -c \"$s\" \"$@\"";
	/* sudo reads ahead what is for the agent, hence its own input */
	static const char or_stay[] =
		"%s true < /dev/null > /dev/null 2>&1 || { echo belay-stays; exec /bin/sh -c \"$s\" \"$@\"; }; ";
	BL_AUTO(bl_buf) elevate = { 0 };
	BL_AUTO(bl_buf) cmd = { 0 };
	for (size_t i = 0; i < node->elevate.n; i++) {
		bl_buf_puts(&elevate, i ? " " : "");
		/* plain words: fleet.c refuses others */
		bl_buf_puts(&elevate, node->elevate.items[i]);
	}
	bl_autofree char *stay = node->may_stay_user ? bl_xprintf(or_stay, bl_buf_str(&elevate))
						     : bl_xstrdup("");
	bl_autofree char *program = node->sudo_password
					    ? bl_xstrdup(outer_asking)
					    : bl_xprintf(outer, stay, bl_buf_str(&elevate));
	bl_buf_puts(&cmd, "exec /bin/sh -c ");
	bl_buf_put_shell_word(&cmd, program);
	bl_buf_puts(&cmd, " sh ");
	bl_buf_put_shell_word(&cmd, script);
	bl_buf_puts(&cmd, " sh \"$SSH_CONNECTION\"");
	for (size_t i = 0; args[i]; i++) {
		bl_buf_putc(&cmd, ' ');
		bl_buf_put_shell_word(&cmd, args[i]);
	}
	return bl_buf_steal(&cmd);
}

char *bl_ssh_password_line(const struct bl_node *node)
{
	return node->sudo_password ? bl_xprintf("%s\n", node->sudo_password) : NULL;
}

static char *last_line(const char *text)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, text, '\n');
	for (size_t i = lines.n; i-- > 0;) {
		char *line = lines.items[i];
		line[strcspn(line, "\r")] = '\0';
		if (*line)
			return bl_xstrdup(line);
	}
	return NULL;
}

void bl_ssh_explain(const char *err_tail, int status, char **out_what, char **out_remedy)
{
	static const struct {
		const char *text, *what, *remedy;
	} known[] = {
		{ "REMOTE HOST IDENTIFICATION HAS CHANGED",
		  "its host key is not the one in known_hosts",
		  "if the host was reinstalled: ssh-keygen -R NAME, then connect once by hand and compare "
		  "the fingerprint" },
		{ "Host key verification failed", "its host key is not in known_hosts",
		  "connect once by hand (ssh) and compare the fingerprint" },
		{ "No ED25519 host key is known", "its host key is not in known_hosts",
		  "connect once by hand (ssh) and compare the fingerprint" },
		{ "Permission denied", "it accepts none of our keys",
		  "load the key into ssh-agent, or name it with IdentityFile; passwords cannot be asked for" },
		{ "sudo: a password is required", "sudo wants a password",
		  "allow the user NOPASSWD in sudo, or deploy as root" },
		{ "sudo: a terminal is required", "sudo wants a password",
		  "allow the user NOPASSWD in sudo, or deploy as root" },
		{ "Sorry, try again", "sudo does not take the password", "type it again" },
		{ "incorrect password attempt", "sudo does not take the password",
		  "type it again" },
		{ "Could not resolve hostname", "its name cannot be resolved",
		  "correct the node's `host`, or put the name into ~/.ssh/config" },
		{ "Connection timed out", "it does not answer",
		  "look whether it is up and the way to it is open" },
		{ "Connection refused", "nothing listens on its ssh port",
		  "look whether sshd runs there, and the port" },
		{ "No route to host", "there is no way to it",
		  "look whether it is up and the way to it is open" },
		{ "No space left on device", "its disk is full",
		  "make room there: nix-collect-garbage, fewer generations" },
	};
	bl_autofree char *line = last_line(err_tail);
	for (size_t i = 0; i < BL_COUNT(known); i++) {
		if (!strstr(err_tail, known[i].text))
			continue;
		*out_what = line ? bl_xprintf("%s (%s)", known[i].what, line)
				 : bl_xstrdup(known[i].what);
		*out_remedy = bl_xstrdup(known[i].remedy);
		return;
	}
	*out_what = line ? bl_xstrdup(line)
			 : bl_xprintf("ssh ended with status %d and said nothing", status);
	*out_remedy = bl_xstrdup("try it by hand: ssh with the same name and user");
}
