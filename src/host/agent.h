/* SPDX-License-Identifier: MIT */
/* Which agent a host gets: there is one for each kind of machine, in belay's data folder. */
#ifndef BELAY_HOST_AGENT_H
#define BELAY_HOST_AGENT_H

#include "base/err.h"

/* The folder with the Nix library and the agents: $BELAY_DATADIR, or where it was installed. */
const char *bl_datadir(void);
/* Where the agent for @system ("aarch64-linux") has to be; the caller frees it. */
char *bl_agent_file(const char *system);
/* What is wrong where it is not, and what helps, both new strings. */
void bl_agent_missing(const char *system, char **out_what, char **out_remedy);

/*
 * A node's `agent` is the store path of one, or, while nobody knows what machine the host is, a
 * word MACHINE=PATH for each kind that there is; MACHINE as `uname -m` says it there. The
 * scripts of host/ssh.c choose in the same way as this: the path for @machine, a new string, or
 * NULL.
 */
char *bl_agent_for(const char *agent, const char *machine);
/* The same; where it is NULL, what is wrong and what helps, both new strings. */
char *bl_agent_pick(const char *agent, const char *machine, char **out_what, char **out_remedy);

#endif
