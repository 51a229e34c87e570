/* SPDX-License-Identifier: MIT */
/* `belay-agent serve`: one request after another on stdin, answers on stdout. */
#ifndef BELAY_AGENT_SERVE_H
#define BELAY_AGENT_SERVE_H

/*
 * Serves until stdin ends; exit status of the program. @system_new, the system that is going to
 * be copied ("" for none), gets its garbage root before anything else is said.
 */
int bl_serve_main(const char *system_new);

#endif
