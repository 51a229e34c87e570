/* SPDX-License-Identifier: MIT */
#include "host/agent.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

const char *bl_datadir(void)
{
	const char *dir = getenv("BELAY_DATADIR");
	return dir && *dir ? dir : BELAY_DATADIR;
}

char *bl_agent_file(const char *system)
{
	return bl_xprintf("%s/agent/%s/bin/belay-agent", bl_datadir(), system);
}

void bl_agent_missing(const char *system, char **out_what, char **out_remedy)
{
	bl_autofree char *file = bl_agent_file(system);
	*out_what = bl_xprintf("no agent at %s", file);
	*out_remedy = bl_xprintf("install belay's agent for %s there", system);
}

char *bl_agent_for(const char *agent, const char *machine)
{
	BL_AUTO(bl_strv) words = { 0 };
	size_t len = strlen(machine);
	if (!strchr(agent, '='))
		return bl_xstrdup(agent);
	bl_strv_split(&words, agent, ' ');
	for (size_t i = 0; i < words.n; i++)
		if (bl_starts_with(words.items[i], machine) && words.items[i][len] == '=')
			return bl_xstrdup(words.items[i] + len + 1);
	return NULL;
}

char *bl_agent_pick(const char *agent, const char *machine, char **out_what, char **out_remedy)
{
	char *path = bl_agent_for(agent, machine);
	/* the host's word, which may be anything */
	bl_autofree char *system = bl_xprintf("%.40s-linux", machine);
	if (!path)
		bl_agent_missing(system, out_what, out_remedy);
	return path;
}
