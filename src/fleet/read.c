/* SPDX-License-Identifier: MIT */
#include "fleet/read.h"

#include "base/file.h"
#include "nix/nix.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_MAX (16UL * 1024 * 1024)

int bl_source_find(const char *dir, struct bl_source *out, struct bl_err *err)
{
	static const char *const names[] = { "fleet.nix", "default.nix", "flake.nix" };
	bl_autofree char *abs = bl_realpath(dir);
	for (size_t i = 0; abs && i < BL_COUNT(names); i++) {
		bl_autofree char *path = bl_xprintf("%s/%s", abs, names[i]);
		if (access(path, F_OK) < 0)
			continue;
		bool flake = strcmp(names[i], "flake.nix") == 0;
		out->kind = flake ? BL_SRC_FLAKE : BL_SRC_FILE;
		out->where = flake ? BL_STEAL(abs) : BL_STEAL(path);
		return 0;
	}
	return bl_err_set(
		err, BL_E_USAGE,
		"no fleet in %s: write fleet.nix, or name one with -f FILE or --flake REF",
		dir);
}

void bl_source_free(struct bl_source *s)
{
	free(s->where);
	s->where = NULL;
}

static int eval_file(const char *file, const char *datadir, char **text, size_t *len,
		     struct bl_err *err)
{
	bl_autofree char *reader = bl_xprintf("%s/nix/read.nix", datadir);
	const char *const argv[] = {
		"nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", reader,
		"--argstr",        "file",   file,       NULL
	};
	if (access(reader, R_OK) < 0)
		return bl_err_set(
			err, BL_E_USAGE,
			"belay's Nix library is not in %s: install belay, or set BELAY_DATADIR",
			datadir);
	if (access(file, R_OK) < 0)
		return bl_err_sys(err, 2, "%s", file);
	return bl_nix_output(argv, text, len, err);
}

static int flake_eval(const char *installable, const char *apply, char **text, size_t *len,
		      struct bl_err *err)
{
	const char *argv[16] = {
		"nix",    "--extra-experimental-features", "nix-command flakes", "eval",
		"--json", "--no-write-lock-file",          "--no-eval-cache",    installable
	};
	size_t n = 8;
	if (apply) {
		argv[n++] = "--apply";
		argv[n++] = apply;
	}
	return bl_nix_output(argv, text, len, err);
}

static char *read_library(const char *datadir, const char *name)
{
	bl_autofree char *path = bl_xprintf("%s/nix/%s", datadir, name);
	char *text = bl_slurp(path, 1024UL * 1024);
	return text ? text : bl_xstrdup("");
}

/* What of a flake can be a fleet, first found, first taken; a reader makes our own form of it.
 */
static const struct {
	const char *output, *reader;
} outputs[] = {
	{ "belay", NULL },
	{ "nixosConfigurations", "readers/nixos.nix" },
};

/*
 * The library goes along as text, since pure evaluation reads no path outside of the flake.
 * 1 where the flake has no such output.
 */
static int eval_output(const char *ref, size_t i, const char *datadir, char **text, size_t *len,
		       struct bl_err *err)
{
	bl_autofree char *read_value = read_library(datadir, "read-value.nix");
	bl_autofree char *fleet = read_library(datadir, "fleet.nix");
	bl_autofree char *reader = outputs[i].reader ? read_library(datadir, outputs[i].reader)
						     : bl_xstrdup("value: value");
	bl_autofree char *apply =
		bl_xprintf("value: (%s\n) (%s\n) \"the flake's output '%s'\" ((%s\n) value)",
			   read_value, fleet, outputs[i].output, reader);
	bl_autofree char *value = bl_xprintf("%s#%s", ref, outputs[i].output);
	struct bl_err why = { 0 };
	if (flake_eval(value, apply, text, len, &why) == 0)
		return 0;
	if (strstr(why.msg, "does not provide attribute"))
		return 1;
	if (err)
		*err = why;
	return -1;
}

static int eval_flake(struct bl_source *source, const char *datadir, char **text, size_t *len,
		      struct bl_err *err)
{
	/* REF#belay alone would find a package of that name first */
	bl_autofree char *whole = bl_xprintf("%s#belay.belayFleet", source->where);
	struct bl_err first = { 0 };
	if (flake_eval(whole, NULL, text, len, &first) == 0)
		return 0;
	if (!strstr(first.msg, "does not provide attribute")) {
		if (err)
			*err = first;
		return -1;
	}
	for (size_t i = 0; i < BL_COUNT(outputs); i++) {
		int rc = eval_output(source->where, i, datadir, text, len, err);
		if (rc <= 0) {
			source->foreign = outputs[i].reader ? outputs[i].output : NULL;
			return rc;
		}
	}
	return bl_err_set(err, BL_E_USAGE,
			  "the flake has neither an output 'belay' nor 'nixosConfigurations'");
}

static int read_json(const char *file, char **text, size_t *len, struct bl_err *err)
{
	bl_autofd int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bl_err_sys(err, 2, "open");
	return bl_read_all(fd, JSON_MAX, text, len, err);
}

int bl_fleet_read(struct bl_source *source, const char *datadir, struct bl_fleet *out,
		  struct bl_err *err)
{
	bl_autofree char *text = NULL;
	size_t len = 0;
	int rc = -1;
	switch (source->kind) {
	case BL_SRC_JSON:
		rc = read_json(source->where, &text, &len, err);
		break;
	case BL_SRC_FILE:
		rc = eval_file(source->where, datadir, &text, &len, err);
		break;
	case BL_SRC_FLAKE:
		rc = eval_flake(source, datadir, &text, &len, err);
		break;
	}
	if (rc < 0)
		return bl_err_wrap(err, "%s", source->where);
	return bl_fleet_parse(text, len, source->where, out, err);
}
