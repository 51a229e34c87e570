/* SPDX-License-Identifier: MIT */
/* Evaluations side by side, as many as processors and memory allow. */
#ifndef BELAY_NIX_POOL_H
#define BELAY_NIX_POOL_H

#include "base/err.h"
#include "base/str.h"

/* What became of one command. */
struct bl_nix_result {
	int status; /* exit status; 128 + signal when killed */
	char *out;  /* its stdout, NUL-terminated */
	size_t len;
	char *err; /* its stderr, the last 64 KiB */
	int64_t ms;
	uint64_t memory; /* the most it had resident, in bytes */
};

struct bl_nix_pool {
	size_t workers;  /* at most so many side by side, and at least one */
	uint64_t memory; /* bytes that they may take together; one runs whatever it takes */
	/* The next command's argv into the empty @argv and a number of the caller's for it;
	 * false: none at the moment. It is asked again after each end. */
	bool (*next)(void *ctx, struct bl_strv *argv, size_t *out_task);
	/* @result is the pool's. */
	void (*done)(void *ctx, size_t task, const struct bl_nix_result *result);
	void *ctx;
};

/*
 * Runs commands until there are no more. What one will take is told by the largest before it,
 * and by a usual toplevel's figure for the first ones. BL_E_SYS when one could not be started;
 * those that run are waited for first. It reaps the caller's other children too.
 */
int bl_nix_pool_run(const struct bl_nix_pool *pool, struct bl_err *err) BL_MUST_CHECK;

/* The processors, and half of the memory that is free now. */
size_t bl_nix_workers(void);
uint64_t bl_nix_memory(void);

#endif
