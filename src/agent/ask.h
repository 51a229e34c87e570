/* SPDX-License-Identifier: MIT */
/* One asking of one check on the target, without ever waiting: begun, then stepped. */
#ifndef BELAY_AGENT_ASK_H
#define BELAY_AGENT_ASK_H

#include "agent/job.h"
#include "guard/plan.h"

struct bl_ask;

enum bl_ask_answer { BL_ASK_PENDING, BL_ASK_GOOD, BL_ASK_BAD };

/*
 * Begins to ask @check. @number names its control group among those of the same job; nothing
 * else may use it before bl_ask_free. Programs come from OLD, or from NEW where OLD lacks them;
 * what a command check starts finds NEW's programs first. Never fails: what cannot be asked is
 * answered with BL_ASK_BAD. @job and @check are borrowed.
 */
struct bl_ask *bl_ask_begin(const struct bl_job *job, const struct bl_check *check,
			    size_t number);
/*
 * Goes on with it and returns at once; BL_ASK_BAD at the check's time limit. Once it is no
 * longer pending, bl_ask_why says why it is bad.
 */
enum bl_ask_answer bl_ask_step(struct bl_ask *a);
const char *bl_ask_why(const struct bl_ask *a);
/* Kills what still runs. NULL is fine. */
void bl_ask_free(struct bl_ask *a);

/*
 * Whether the neighbour @address ("10.0.0.1") is known in the text of /proc/net/arp: a complete
 * entry with a hardware address. Source: proc(5), if_arp.h (ATF_COM).
 */
bool bl_arp_knows(const char *arp, const char *address);
/* A route's gateway as bl_routes_v4 and _v6 give it, as an address; NULL when it has none. */
char *bl_gateway_of(const char *route);

#endif
