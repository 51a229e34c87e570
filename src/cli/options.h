/* SPDX-License-Identifier: MIT */
/* One table a command: it feeds parsing, --help, the completions and the manual's check. */
#ifndef BELAY_CLI_OPTIONS_H
#define BELAY_CLI_OPTIONS_H

#include "base/err.h"
#include "base/str.h"

struct bl_sign_key;

#define BL_NOT_GIVEN UINT64_MAX

/* What all commands' options and words are parsed into. */
struct bl_args {
	char *file; /* -f */
	char *flake;
	char *fleet_json;
	struct bl_strv on; /* --on and the plain words */
	char *build_host;
	char *canary;
	char *batch;
	uint64_t soak; /* BL_NOT_GIVEN: not given */
	uint64_t max_failures;
	char *on_failure;
	char *strategy;
	uint64_t parallel;
	char *run;
	char *target_host;
	char *with_system;
	uint64_t max;
	struct bl_strv nix;       /* options for Nix when it evaluates, each with its values */
	struct bl_strv nix_build; /* when it builds */
	struct bl_strv nix_both;
	uint64_t eval_workers; /* 0: not given */
	uint64_t eval_memory;  /* MiB; 0: not given */
	char *attr;
	struct bl_strv to;    /* copy: hosts */
	uint64_t compression; /* BL_NOT_GIVEN: adapts */
	uint64_t memory;      /* MiB; 0: not given */
	char *sign_key;       /* a file */
	/* what is in it, for commands that have read it; borrowed */
	const struct bl_sign_key *sign;

	bool json;
	bool help;
	bool keep_going;
	bool keep_result;
	bool atomic;
	bool force_drift;
	bool reboot;
	bool rollback;
	bool upgrade;
	bool no_confirm;
	bool no_flake;
	bool ask_sudo_password;
	bool settings; /* eval: no systems */
	bool systems;  /* show: with them */
	bool as_flake;
	bool units;
};

enum bl_option_kind {
	BL_OPT_FLAG,
	BL_OPT_STRING,
	BL_OPT_LIST,
	BL_OPT_NUMBER,
	BL_OPT_NIX,  /* is handed on to Nix as it is, with as many values as @arg has words */
	BL_OPT_NONE, /* another tool's word for what belay does anyway */
};

struct bl_option {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum bl_option_kind kind;
	const char *arg; /* what its argument is called, NULL for a flag */
	const char *help;
	size_t offset; /* in struct bl_args */
	uint64_t min, max;
};

struct bl_command {
	const char *name;
	const char *words;               /* "[HOST|GLOB|@TAG]..." */
	const char *summary;             /* one line */
	const char *details;             /* further lines of --help, or "" */
	const struct bl_option *options; /* ends with a NULL name */
	size_t words_max;
	int (*run)(const struct bl_args *args);
};

/* Parses what stands behind the command's name. BL_E_USAGE names the option and what it wants.
 */
int bl_options_parse(const struct bl_command *cmd, int argc, char **argv, struct bl_args *out,
		     struct bl_err *err) BL_MUST_CHECK;
void bl_args_free(struct bl_args *args);
/* --help of one command, at most 80 columns wide. */
void bl_options_help(const struct bl_command *cmd, struct bl_buf *out);

static inline void bl_args_autop(struct bl_args *args)
{
	bl_args_free(args);
}

#endif
