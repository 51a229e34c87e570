/* SPDX-License-Identifier: MIT */
/* What the commands share: their table, exit codes, and finding fleet, agent and history. */
#ifndef BELAY_CLI_CMD_H
#define BELAY_CLI_CMD_H

#include "cli/options.h"
#include "copy/send.h"
#include "fleet/evaluate.h"
#include "history/history.h"
#include "ui/ui.h"

/* The manual's EXIT STATUS is held against this. */
enum bl_exit {
	BL_EXIT_OK = 0,
	BL_EXIT_FAILED = 1,      /* some hosts failed, or nothing could be begun */
	BL_EXIT_USAGE = 2,       /* command line or configuration */
	BL_EXIT_ROLLED_BACK = 3, /* at least one host went back to its old system */
	BL_EXIT_STUCK = 4,       /* at least one host needs a person */
	BL_EXIT_INTERRUPTED = 130,
};

extern const struct bl_command bl_cmd_init, bl_cmd_plan, bl_cmd_deploy, bl_cmd_doctor,
	bl_cmd_eval, bl_cmd_show, bl_cmd_status, bl_cmd_log, bl_cmd_history_, bl_cmd_resume,
	bl_cmd_abort, bl_cmd_confirm, bl_cmd_switch_, bl_cmd_boot, bl_cmd_test, bl_cmd_build_,
	bl_cmd_dry_activate, bl_cmd_list_generations, bl_cmd_push, bl_cmd_copy;
/* All of them, NULL-terminated, in the order of --help. */
extern const struct bl_command *const bl_commands[];

/* Nix's own, which it gets when it evaluates. */
#define BL_NIX_OPTIONS                                                                  \
	{ "show-trace",                                                                 \
	  0,                                                                            \
	  BL_OPT_NIX,                                                                   \
	  NULL,                                                                         \
	  "Nix: tell all of an evaluation error",                                       \
	  offsetof(struct bl_args, nix),                                                \
	  0,                                                                            \
	  0 },                                                                          \
		{ "impure",                                                             \
		  0,                                                                    \
		  BL_OPT_NIX,                                                           \
		  NULL,                                                                 \
		  "Nix: let a flake see more than itself",                              \
		  offsetof(struct bl_args, nix),                                        \
		  0,                                                                    \
		  0 },                                                                  \
		{ "option",                                                             \
		  0,                                                                    \
		  BL_OPT_NIX,                                                           \
		  "NAME VALUE",                                                         \
		  "Nix: one of its settings",                                           \
		  offsetof(struct bl_args, nix_both),                                   \
		  0,                                                                    \
		  0 },                                                                  \
		{ "override-input",                                                     \
		  0,                                                                    \
		  BL_OPT_NIX,                                                           \
		  "INPUT REF",                                                          \
		  "Nix: another flake for an input",                                    \
		  offsetof(struct bl_args, nix),                                        \
		  0,                                                                    \
		  0 },                                                                  \
	{                                                                               \
		"include", 'I', BL_OPT_NIX, "PATH", "Nix: where <names> are looked up", \
			offsetof(struct bl_args, nix), 0, 0                             \
	}
/* The same when it builds here. */
#define BL_BUILD_OPTIONS                                                                    \
	{ "max-jobs",                                                                       \
	  'j',                                                                              \
	  BL_OPT_NIX,                                                                       \
	  "N",                                                                              \
	  "Nix: builds side by side",                                                       \
	  offsetof(struct bl_args, nix_build),                                              \
	  0,                                                                                \
	  0 },                                                                              \
		{ "cores",                                                                  \
		  0,                                                                        \
		  BL_OPT_NIX,                                                               \
		  "N",                                                                      \
		  "Nix: processors for a build",                                            \
		  offsetof(struct bl_args, nix_build),                                      \
		  0,                                                                        \
		  0 },                                                                      \
	{                                                                                   \
		"builders", 0, BL_OPT_NIX, "LIST", "Nix: machines that build for this one", \
			offsetof(struct bl_args, nix_build), 0, 0                           \
	}
/* How systems are evaluated. */
#define BL_EVAL_OPTIONS                                                     \
	{ "eval-workers",                                                   \
	  0,                                                                \
	  BL_OPT_NUMBER,                                                    \
	  "N",                                                              \
	  "evaluations side by side (default: processors)",                 \
	  offsetof(struct bl_args, eval_workers),                           \
	  1,                                                                \
	  1000 },                                                           \
	{                                                                   \
		"eval-memory", 0, BL_OPT_NUMBER, "MIB",                     \
			"memory that they may take (default: half of it)",  \
			offsetof(struct bl_args, eval_memory), 1, 1UL << 30 \
	}

/* How systems are sent; see bl_cmd_engine(). */
#define BL_COPY_OPTIONS                                                                        \
	{ "compression",                                                                       \
	  0,                                                                                   \
	  BL_OPT_NUMBER,                                                                       \
	  "N",                                                                                 \
	  "zstd's level, 0: none (default: what is fastest)",                                  \
	  offsetof(struct bl_args, compression),                                               \
	  0,                                                                                   \
	  19 },                                                                                \
		{ "sign-key",                                                                  \
		  0,                                                                           \
		  BL_OPT_STRING,                                                               \
		  "FILE",                                                                      \
		  "sign what is sent with this secret key of Nix",                             \
		  offsetof(struct bl_args, sign_key),                                          \
		  0,                                                                           \
		  0 },                                                                         \
	{                                                                                      \
		"memory", 0, BL_OPT_NUMBER, "MIB", "for a piece and what it is told by (128)", \
			offsetof(struct bl_args, memory), 4, 256                               \
	}
#define BL_PARALLEL_OPTION                                                                 \
	{                                                                                  \
		"parallel", 0, BL_OPT_NUMBER, "N", "hosts worked on at once (default 10)", \
			offsetof(struct bl_args, parallel), 1, 1000                        \
	}

/* Options that find a fleet and read it: -f, --flake, --fleet-json, --on, and Nix's own. */
#define BL_FLEET_OPTIONS                                                               \
	{ "file",                                                                      \
	  'f',                                                                         \
	  BL_OPT_STRING,                                                               \
	  "FILE",                                                                      \
	  "read the fleet from this Nix file",                                         \
	  offsetof(struct bl_args, file),                                              \
	  0,                                                                           \
	  0 },                                                                         \
		{ "flake",                                                             \
		  0,                                                                   \
		  BL_OPT_STRING,                                                       \
		  "REF",                                                               \
		  "read this flake: `belay`, or what other tools read",                \
		  offsetof(struct bl_args, flake),                                     \
		  0,                                                                   \
		  0 },                                                                 \
		{ "fleet-json",                                                        \
		  0,                                                                   \
		  BL_OPT_STRING,                                                       \
		  "FILE",                                                              \
		  "read a fleet that was evaluated already",                           \
		  offsetof(struct bl_args, fleet_json),                                \
		  0,                                                                   \
		  0 },                                                                 \
		BL_NIX_OPTIONS,                                                        \
	{                                                                              \
		"on", 0, BL_OPT_LIST, "LIST", "only these: names, globs, @tags, !not", \
			offsetof(struct bl_args, on), 0, 0                             \
	}
/* Of every command, behind its own; ends the table. */
#define BL_HELP_OPTION                                                                        \
	{                                                                                     \
		"help", 'h', BL_OPT_FLAG, NULL, "print this", offsetof(struct bl_args, help), \
		0,      0                                                                     \
	},                                                                                    \
	{                                                                                     \
		NULL, 0, BL_OPT_FLAG, NULL, NULL, 0, 0, 0                                     \
	}
#define BL_COMMON_OPTIONS                    \
	{ "json",                            \
	  0,                                 \
	  BL_OPT_FLAG,                       \
	  NULL,                              \
	  "one JSON event a line on stdout", \
	  offsetof(struct bl_args, json),    \
	  0,                                 \
	  0 },                               \
		BL_HELP_OPTION

/* Prints "belay: MESSAGE" on stderr; gives the exit code that fits. */
int bl_cmd_fail(const struct bl_err *err);

/* What Nix gets when it evaluates @source. */
void bl_cmd_source_flags(const struct bl_args *args, struct bl_source *source);
/* Reads the fleet that @args name, or the one in this folder, and selects from it; its nodes
 * have no systems yet. */
int bl_cmd_fleet(const struct bl_args *args, struct bl_source *source, struct bl_fleet *fleet,
		 struct bl_selection *selection, struct bl_err *err) BL_MUST_CHECK;
/* The same of @source, as @words select; @read, NULL for @words, are the nodes that are needed.
 */
int bl_cmd_read(const struct bl_strv *words, const struct bl_strv *read,
		struct bl_source *source, struct bl_fleet *fleet,
		struct bl_selection *selection, struct bl_err *err) BL_MUST_CHECK;
/*
 * Evaluates the systems of @sel's nodes, and tells how far it is. With --keep-going those that
 * fail are told and taken out of @sel, and @out_failed says how many.
 */
int bl_cmd_evaluate(const struct bl_args *args, struct bl_source *source,
		    struct bl_fleet *fleet, struct bl_selection *sel, size_t *out_failed,
		    struct bl_err *err) BL_MUST_CHECK;
/* Notes for the user, on stderr. */
void bl_cmd_notes(const struct bl_strv *notes);
/* Finds out where @sel's nodes, @fleet's, are reached, before any is. */
void bl_cmd_addresses(struct bl_fleet *fleet, const struct bl_selection *sel);
/* Gives @sel's nodes, @fleet's, their agents: that of its system, or of each kind that there is
 * where it is not known (host/agent.h); this machine's where it is the host. */
int bl_cmd_agents(struct bl_fleet *fleet, const struct bl_selection *sel,
		  struct bl_err *err) BL_MUST_CHECK;
/*
 * Runs @cmd. The key that it signs with is read before anything that takes its time: one that
 * is none is told of at once. An exit code.
 */
int bl_cmd_run(const struct bl_command *cmd, const struct bl_args *args);
/* What systems are sent by, as @args say. */
struct bl_engine_spec bl_cmd_engine(const struct bl_args *args);
int bl_cmd_history(struct bl_history **out, struct bl_err *err) BL_MUST_CHECK;
/* "alice@laptop", for the people who find an open transaction. */
char *bl_cmd_owner(void);
/* What machine this one is, as Nix and `uname -m` on Linux name it: x86_64, aarch64. */
char *bl_cmd_own_machine(void);
/* A host that is this machine has to be one that can run its system: anything else is refused
 * before something of it is started here. */
int bl_cmd_local_check(const struct bl_node *node, struct bl_err *err) BL_MUST_CHECK;
/* This machine's name, as the history knows a deployment to the host that it was run on. */
char *bl_cmd_own_name(void);
/* "2026-11-22 07:43:57", local time, for people. */
void bl_cmd_time(int64_t wall_ms, char out[32]);
/* JSON when asked for, the live picture on a terminal, else lines. */
enum bl_ui_mode bl_cmd_ui_mode(const struct bl_args *args);

#endif
