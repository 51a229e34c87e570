/* SPDX-License-Identifier: MIT */
#include "agent/activation.h"

#include "agent/system.h"
#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAILED_MAX   64
#define SIGNS_MAX    65536
#define LINE_MAX_LEN 512

int bl_stc_run(const struct bl_stc *stc)
{
	bl_autofree char *program = bl_xprintf("%s/bin/switch-to-configuration", stc->system);
	const char *argv[] = { program, stc->action, NULL };
	struct bl_tool_env env;
	bl_tool_env_init(&env, stc->tools_system, stc->no_check ? "NIXOS_NO_CHECK=1" : NULL);
	int status = bl_cgroup_run(&(struct bl_cgroup_run){
		.argv = argv,
		.env = env.vars,
		.name = "activation",
		/* it could starve this one; a commit leaves alone what the new system started
		 */
		.alone = strcmp(stc->action, "test") == 0,
		.log_fd = stc->log_fd,
		.output_max = stc->output_max,
		.limit_ms = stc->limit_ms,
		.stop = stc->stop,
	});
	bl_tool_env_free(&env);
	return status;
}

static const char job_failed[] = "Failed to ";
static const char script_failed[] = "Failed to run activate script";
static const char user_failed[] = "warning: user activation for ";
static const char snippet_failed[] = "Activation script snippet '";
static const char locked[] = "Could not acquire lock";

/* Keeps the line if it says something; of a long one what it says. */
static void keep_sign(struct bl_buf *found, const char *line, size_t len)
{
	static const char *const signs[] = { job_failed, snippet_failed, locked, user_failed };
	const char *at = NULL;
	for (size_t i = 0; i < BL_COUNT(signs) && !at; i++)
		at = bl_find(line, len, signs[i]);
	if (!at || found->len > SIGNS_MAX)
		return;
	if (len > LINE_MAX_LEN) {
		len -= (size_t)(at - line);
		len = len < LINE_MAX_LEN ? len : LINE_MAX_LEN;
		line = at;
	}
	bl_buf_append(found, line, len);
	bl_buf_append(found, "\n", 1);
}

char *bl_activation_signs(int fd)
{
	BL_AUTO(bl_buf) found = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	char chunk[4096];
	ssize_t n = 0;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		bl_buf_append(&text, chunk, (size_t)n);
		for (char *end; (end = memchr(bl_buf_str(&text), '\n', text.len));) {
			keep_sign(&found, text.data, (size_t)(end - text.data));
			bl_buf_drop(&text, (size_t)(end - text.data) + 1);
		}
		if (text.len > SIGNS_MAX) {
			keep_sign(&found, text.data, text.len);
			bl_buf_clear(&text);
		}
	}
	keep_sign(&found, bl_buf_str(&text), text.len);
	return bl_xstrdup(bl_buf_str(&found));
}

static enum bl_verdict judge_status(int status, const char *output, char *reason, size_t size)
{
	/* both implementations say this when the script fails; 4 would hide it */
	bool script = strstr(output, script_failed) || strstr(output, snippet_failed);
	if (script || status == 2) {
		snprintf(reason, size, "the activation script failed (status %d)", status);
		return BL_ACT_FAILED;
	}
	if (status == 4) {
		snprintf(reason, size, "units failed");
		return BL_ACT_UNITS;
	}
	if (status == 100) {
		snprintf(reason, size,
			 "the init interface changed: it can only be booted into");
		return BL_ACT_UNTOUCHED;
	}
	if (status == 126 || status == 127) {
		snprintf(reason, size, "switch-to-configuration cannot be run (status %d)",
			 status);
		return BL_ACT_UNTOUCHED;
	}
	/* only the program's own word, and only where it ends at once: a failed unit may say it
	 * too */
	if ((status == 1 || status == 11) && strstr(output, locked)) {
		snprintf(reason, size, "another switch-to-configuration is running");
		return BL_ACT_LOCKED;
	}
	if (status > 128 && status < 128 + 65)
		snprintf(reason, size, "the activation was killed by signal %d", status - 128);
	else if (status == 3)
		snprintf(reason, size, "systemd could not be reloaded (status 3)");
	else if (status == 101)
		snprintf(reason, size, "switch-to-configuration crashed (status 101)");
	else
		snprintf(reason, size, "the activation failed (status %d)", status);
	return BL_ACT_FAILED;
}

enum bl_verdict bl_activation_judge(int status, const char *output, char *reason, size_t size)
{
	switch (status) {
	case 0:
		reason[0] = '\0';
		return BL_ACT_OK;
	case BL_STC_NOEXEC:
		snprintf(reason, size, "switch-to-configuration cannot be started");
		return BL_ACT_UNTOUCHED;
	case BL_STC_LIMIT:
		snprintf(reason, size, "the activation did not end in time and was killed");
		return BL_ACT_FAILED;
	case BL_STC_STOPPED:
		snprintf(reason, size, "the activation was stopped on request");
		return BL_ACT_FAILED;
	case BL_STC_FLOOD:
		snprintf(reason, size,
			 "the activation printed more than 64 MiB and was killed");
		return BL_ACT_FAILED;
	default:
		return judge_status(status, output, reason, size);
	}
}

/* The unit of "Failed to JOB UNIT" or "Failed to JOB UNIT: why"; NULL: another line. */
static char *unit_of_job(const char *line)
{
	static const char *const jobs[] = { "start ", "stop ", "restart ", "reload " };
	if (!bl_starts_with(line, job_failed))
		return NULL;
	line += sizeof(job_failed) - 1;
	for (size_t i = 0; i < BL_COUNT(jobs); i++) {
		if (!bl_starts_with(line, jobs[i]))
			continue;
		const char *unit = line + strlen(jobs[i]);
		size_t len = strcspn(unit, " ");
		/* names have colons too, but do not end with one */
		if (len > 0 && unit[len - 1] == ':')
			len--;
		else if (unit[len])
			return NULL;
		bool named = memchr(unit, '.', len) != NULL;
		return named ? bl_xprintf("%.*s", (int)len, unit) : NULL;
	}
	return NULL;
}

/* "user@NAME.service" of "warning: user activation for NAME failed"; NULL: another line. */
static char *user_of_warning(const char *line)
{
	if (!bl_starts_with(line, user_failed))
		return NULL;
	const char *name = line + sizeof(user_failed) - 1;
	size_t len = strcspn(name, " ");
	if (len == 0 || strcmp(name + len, " failed") != 0)
		return NULL;
	return bl_xprintf("user@%.*s.service", (int)len, name);
}

void bl_activation_failed(const char *output, struct bl_strv *out)
{
	BL_AUTO(bl_strv) lines = { 0 };
	bl_strv_split(&lines, output, '\n');
	for (size_t i = 0; i < lines.n && out->n < FAILED_MAX; i++) {
		bl_autofree char *name = unit_of_job(lines.items[i]);
		if (!name)
			name = user_of_warning(lines.items[i]);
		if (name && strlen(name) < 256 && !bl_strv_has(out, name))
			bl_strv_add(out, name);
	}
}

static bool has_unit(const char *system, const char *unit)
{
	/* an instance comes from its template */
	const char *at = strchr(unit, '@');
	const char *dot = strrchr(unit, '.');
	bl_autofree char *path = bl_xprintf("%s/etc/systemd/system/%s", system, unit);
	if (access(path, F_OK) == 0)
		return true;
	if (!at || !dot || dot < at)
		return false;
	bl_autofree char *template = bl_xprintf("%s/etc/systemd/system/%.*s@%s", system,
						(int)(at - unit), unit, dot);
	return access(template, F_OK) == 0;
}

void bl_activation_clean_lists(const char *system)
{
	static const char *const lists[] = { "start-list", "restart-list", "reload-list" };
	bl_autofd int dir = -1;
	if (bl_open_dir("/run/nixos", &dir, NULL) < 0)
		return;
	for (size_t i = 0; i < BL_COUNT(lists); i++) {
		bl_autofree char *text = NULL;
		BL_AUTO(bl_strv) units = { 0 };
		BL_AUTO(bl_buf) keep = { 0 };
		if (bl_read_file_at(dir, lists[i], 1024UL * 1024, &text, NULL, NULL) < 0)
			continue;
		bl_strv_split(&units, text, '\n');
		for (size_t k = 0; k < units.n; k++)
			if (!strchr(units.items[k], '/') && has_unit(system, units.items[k]))
				bl_buf_printf(&keep, "%s\n", units.items[k]);
		if (keep.len == strlen(text))
			continue;
		/* best effort: a unit that cannot be started fails the rollback's own check */
		if (bl_write_file_at(dir, lists[i], 0644, bl_buf_str(&keep), keep.len, NULL) <
		    0)
			unlinkat(dir, lists[i], 0);
	}
}
