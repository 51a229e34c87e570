/* SPDX-License-Identifier: MIT */
/* Closures of the local store. */
#ifndef BELAY_NIX_CLOSURE_H
#define BELAY_NIX_CLOSURE_H

#include "store/closure.h"

/* The closure of @path, which is in the store. The caller owns @out: bl_closure_free(). */
int bl_nix_closure(const char *path, struct bl_closure *out, struct bl_err *err) BL_MUST_CHECK;

#endif
