/* SPDX-License-Identifier: MIT */
#include "agent/system.h"

#include "base/file.h"
#include "base/str.h"
#include "store/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_system(const char *link, char **out, struct bl_err *err)
{
	char *path = bl_realpath(link);
	if (!path || !bl_store_path_ok(path)) {
		free(path);
		return bl_err_set(err, BL_E_REFUSED,
				  "%s names no system: is this a NixOS host?", link);
	}
	*out = path;
	return 0;
}

uint64_t bl_generation_of(const char *link)
{
	uint64_t n = 0;
	if (!bl_starts_with(link, "system-") || !bl_ends_with(link, "-link"))
		return 0;
	bl_autofree char *number = bl_xstrndup(link + 7, strlen(link) - 7 - 5);
	return bl_parse_u64(number, 1, UINT64_MAX, &n, NULL) < 0 ? 0 : n;
}

int bl_facts_read(struct bl_facts *out, struct bl_err *err)
{
	BL_AUTO(bl_facts) f = { 0 };
	if (read_system("/run/current-system", &f.system, err) < 0 ||
	    read_system(BL_PROFILE, &f.profile, err) < 0)
		return -1;
	f.booted = bl_realpath("/run/booted-system");
	if (!f.booted)
		f.booted = bl_xstrdup("");
	bl_autofree char *link = bl_readlink(BL_PROFILE);
	f.generation = link ? bl_generation_of(link) : 0;
	if (f.generation == 0)
		return bl_err_set(err, BL_E_REFUSED,
				  BL_PROFILE " does not point to a generation");
	struct bl_err why = { 0 };
	if (bl_loader_default(&f.loader, &f.boot_default, &why) < 0) {
		f.boot_default = bl_xstrdup("");
		snprintf(f.loader_problem, sizeof(f.loader_problem), "%.255s", why.msg);
	}
	*out = f;
	f = (struct bl_facts){ 0 };
	return 0;
}

void bl_facts_free(struct bl_facts *f)
{
	free(f->system);
	free(f->booted);
	free(f->profile);
	free(f->boot_default);
	*f = (struct bl_facts){ 0 };
}

const char *bl_facts_default(const struct bl_facts *f)
{
	return f->boot_default[0] ? f->boot_default : f->profile;
}

/* In /run, so it lasts as long as the boot that it is about. */
#define KEXEC_MARK "/run/belay/kexec"

bool bl_facts_boot_proven(const struct bl_facts *f)
{
	return strcmp(f->booted, bl_facts_default(f)) == 0 && !f->loader_problem[0] &&
	       access(KEXEC_MARK, F_OK) < 0;
}

void bl_facts_mark_kexec(void)
{
	bl_autofd int fd BL_UNUSED = open(KEXEC_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

void bl_facts_tell(const struct bl_facts *f, struct bl_kv *out)
{
	bl_kv_set(out, "boot_proven", bl_facts_boot_proven(f) ? "1" : "0");
	bl_kv_set(out, "system", f->system);
	bl_kv_set(out, "booted", f->booted);
	bl_kv_set(out, "profile", f->profile);
	bl_kv_set_u64(out, "generation", f->generation);
	bl_kv_set(out, "loader", bl_loader_name(f->loader));
	bl_kv_set(out, "boot_default", f->boot_default);
	bl_kv_set(out, "loader_problem", f->loader_problem);
}

char *bl_tool_path(const char *system, const char *name)
{
	return bl_xprintf("%s/sw/bin/%s", system, name);
}

void bl_tool_env_init(struct bl_tool_env *env, const char *system, const char *extra)
{
	*env = (struct bl_tool_env){ .path = bl_xprintf("PATH=%s/sw/bin", system) };
	size_t n = 0;
	env->vars[n++] = env->path;
	env->vars[n++] = "HOME=/root";
	env->vars[n++] = "LC_ALL=C.UTF-8";
	if (extra)
		env->vars[n++] = extra;
}

void bl_tool_env_free(struct bl_tool_env *env)
{
	free(env->path);
}

static int start(const char *system, const char *name, const char *const *args,
		 struct bl_tool *t, struct bl_err *err)
{
	bl_autofree char *path = bl_tool_path(system, name);
	const char *argv[32] = { path };
	struct bl_tool_env env;
	for (size_t i = 0; args[i] && i + 2 < BL_COUNT(argv); i++)
		argv[i + 1] = args[i];
	bl_tool_env_init(&env, system, NULL);
	t->spec.argv = argv;
	t->spec.env = env.vars;
	t->spec.out_max = 1024UL * 1024;
	int rc = bl_child_start(&t->spec, &t->child, err);
	/* it has them now */
	t->spec.argv = t->spec.env = NULL;
	bl_tool_env_free(&env);
	return rc;
}

int bl_tool_start(const char *system, const char *name, const char *const *args,
		  int64_t timeout_ms, struct bl_tool *out, struct bl_err *err)
{
	out->spec = (struct bl_child_spec){ .timeout_ms = timeout_ms,
					    .err_mode = BL_CHILD_ERR_MERGE };
	return start(system, name, args, out, err);
}

void bl_tool_finish(struct bl_tool *tool, struct bl_child_result *out)
{
	bl_child_finish(&tool->spec, &tool->child, out);
}

int bl_tool_run(const char *system, const char *name, const char *const *args,
		int64_t timeout_ms, struct bl_child_result *out, struct bl_err *err)
{
	struct bl_tool t = { .spec = { .timeout_ms = timeout_ms,
				       .err_mode = BL_CHILD_ERR_KEEP } };
	if (start(system, name, args, &t, err) < 0)
		return -1;
	bl_tool_finish(&t, out);
	return 0;
}
