/* SPDX-License-Identifier: MIT */
/* The target as NixOS: which system runs, which one the profile and the boot loader name. */
#ifndef BELAY_AGENT_SYSTEM_H
#define BELAY_AGENT_SYSTEM_H

#include "agent/loader.h"
#include "base/child.h"
#include "base/kv.h"

#define BL_PROFILE     "/nix/var/nix/profiles/system"
#define BL_PROFILE_DIR "/nix/var/nix/profiles"

struct bl_facts {
	char *system;        /* /run/current-system resolved */
	char *booted;        /* /run/booted-system resolved, "" when there is none */
	char *profile;       /* toplevel of the system profile */
	uint64_t generation; /* its number */
	enum bl_loader loader;
	char *boot_default; /* toplevel that the loader starts; "" when there is no loader to
			       read */
	char loader_problem[256]; /* "" or why boot_default cannot be told */
};

/* Fails when this is not a NixOS host: no current system or no system profile. */
int bl_facts_read(struct bl_facts *out, struct bl_err *err) BL_MUST_CHECK;
void bl_facts_free(struct bl_facts *f);
/* What a power cycle would start: the loader's default, the profile where none can be read. */
const char *bl_facts_default(const struct bl_facts *f);
/*
 * Whether this very boot proves that the boot default boots: it is what was booted, and by the
 * boot loader, not by kexec.
 */
bool bl_facts_boot_proven(const struct bl_facts *f);
void bl_facts_mark_kexec(void);
void bl_facts_tell(const struct bl_facts *f, struct bl_kv *out);

/* The number N of a profile link "system-N-link"; 0 when it is not one. */
uint64_t bl_generation_of(const char *link);

/*
 * Runs @name from @system's sw/bin, never through PATH, with @args (NULL-terminated, without
 * argv[0]), an environment of ours, and @timeout_ms. Output is kept up to 1 MiB.
 */
int bl_tool_run(const char *system, const char *name, const char *const *args,
		int64_t timeout_ms, struct bl_child_result *out,
		struct bl_err *err) BL_MUST_CHECK;
/* The same in two steps, for what is asked beside other things; its words all in the result's
 * out. */
struct bl_tool {
	struct bl_child_spec spec;
	struct bl_child child;
};
int bl_tool_start(const char *system, const char *name, const char *const *args,
		  int64_t timeout_ms, struct bl_tool *out, struct bl_err *err) BL_MUST_CHECK;
void bl_tool_finish(struct bl_tool *tool, struct bl_child_result *out);
/* Path of the tool; the caller frees. */
char *bl_tool_path(const char *system, const char *name);
/* The environment for programs of @system: its own PATH and nothing of ours. Caller frees [0].
 */
struct bl_tool_env {
	char *path;
	const char *vars[6];
};
void bl_tool_env_init(struct bl_tool_env *env, const char *system, const char *extra);
void bl_tool_env_free(struct bl_tool_env *env);

static inline void bl_facts_autop(struct bl_facts *f)
{
	bl_facts_free(f);
}

#endif
