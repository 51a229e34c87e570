/* SPDX-License-Identifier: MIT */
/* One question to each of several hosts, over a connection of its own: status, abort. */
#ifndef BELAY_CLI_ASK_H
#define BELAY_CLI_ASK_H

#include "cli/cmd.h"
#include "wire/msg.h"

struct bl_answer {
	bool reached;
	bool no_agent;       /* reached, but this belay's agent is not there */
	struct bl_msg hello; /* empty unless reached with an agent */
	struct bl_msg reply; /* to the question; empty when none was asked */
	char *what,
		*remedy; /* why it was not reached, or why belay has no agent for it; or NULL */
};

/*
 * Connects to every selected node, at most 32 at once, each with its agent. With @question (0:
 * none) it is sent as {epoch = the newest, run = @run or ""}, and one OK or REFUSED is waited
 * for. @out has sel->n entries, owned by the caller: bl_answers_free().
 */
int bl_ask(const struct bl_selection *sel, int question, const char *run,
	   struct bl_answer **out, struct bl_err *err) BL_MUST_CHECK;
void bl_answers_free(struct bl_answer *answers, size_t n);

#endif
