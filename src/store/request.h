/* SPDX-License-Identifier: MIT */
/*
 * The protocol of the Nix daemon as bytes: what it is asked. Each appends one request to @b and
 * says which answer (enum bl_worker_kind) belongs to it. What they name is not checked here.
 * Source: that of store/worker.h.
 */
#ifndef BELAY_STORE_REQUEST_H
#define BELAY_STORE_REQUEST_H

#include "store/info.h"

void bl_request_hello(struct bl_buf *b);                           /* HELLO */
void bl_request_temp_root(struct bl_buf *b, const char *path);     /* NUMBER: 1 */
void bl_request_indirect_root(struct bl_buf *b, const char *link); /* NUMBER: 1 */
void bl_request_substitute(struct bl_buf *b, const char *path);    /* NUMBER: 1 */
void bl_request_path_info(struct bl_buf *b, const char *path);     /* INFO */
/* Which of the @n are valid: PATHS. Nothing is substituted. */
void bl_request_valid(struct bl_buf *b, char *const *paths, size_t n);
/*
 * Adding a path, without a check of signatures if the daemon trusts us. Its NAR follows in
 * frames; then the answer is NOTHING.
 */
void bl_request_add(struct bl_buf *b, const struct bl_path_info *info);
/* A piece of the NAR; without bytes: its end. */
void bl_request_frame(struct bl_buf *b, const void *data, size_t len);

#endif
