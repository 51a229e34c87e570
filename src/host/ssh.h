/* SPDX-License-Identifier: MIT */
/*
 * Command lines for the user's own ssh. The work connection and the confirmation are made by
 * the same rules: same destination, user, options, host key policy and elevation.
 */
#ifndef BELAY_HOST_SSH_H
#define BELAY_HOST_SSH_H

#include "base/str.h"
#include "fleet/fleet.h"

/*
 * `ssh ... destination command`, or, where the node is this machine, its shell. @control NULL:
 * a fresh connection that no multiplexing reaches; else it is the master of a control socket of
 * belay's own at @control. ssh takes the first value of an option, so that the node's own
 * sshOptions win over what follows them, and ours over the user's files. Source: ssh_config(5).
 */
void bl_ssh_argv(const struct bl_node *node, const char *control, unsigned connect_timeout_s,
		 const char *command, struct bl_strv *out);

/*
 * The command that prints what ssh would do for @destination, without a connection. @node, NULL
 * for none, has the options that its connections are made with.
 */
void bl_ssh_config_argv(const struct bl_node *node, const char *destination,
			struct bl_strv *out);

/*
 * What NIX_SSHOPTS has to hold so that Nix rides on the master at @control and never makes a
 * connection of its own when that is gone.
 */
char *bl_ssh_nix_options(const char *control);

/*
 * A command for the login shell on the host that prints "belay-user UID", becomes root by the
 * node's elevation where needed, and runs the POSIX shell @script with @args as $2, $3, ... ($1
 * is the session's SSH_CONNECTION). A user who may stay one and cannot become root runs it as
 * it is, behind a line "belay-stays". Where the node has a sudo password, that has to be the
 * first line of the command's input: bl_ssh_password_line, a new string; NULL: it has none.
 */
char *bl_ssh_remote(const struct bl_node *node, const char *script, const char *const *args);
char *bl_ssh_password_line(const struct bl_node *node);

/* The first contact: runs the agent if it is there, else says so and waits for it. */
extern const char bl_ssh_boot_script[];
/* The fresh connection: $2 is the agent, $3 the epoch. */
extern const char bl_ssh_confirm_script[];

/*
 * Turns what ssh left on stderr into one line and a remedy, both new strings: an unknown or
 * wrong host key, a refused key, no route, no name, sudo that wants a password.
 */
void bl_ssh_explain(const char *err_tail, int status, char **out_what, char **out_remedy);

#endif
