/* SPDX-License-Identifier: MIT */
/* Reading whole files and replacing them so that a crash leaves the old or the new one. */
#ifndef BELAY_BASE_FILE_H
#define BELAY_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

/* Reads @fd to its end; more than @max bytes is BL_E_INPUT. @out_text is NUL-terminated. */
int bl_read_all(int fd, size_t max, char **out_text, size_t *out_len,
		struct bl_err *err) BL_MUST_CHECK;
/* The same by name, relative to @dir_fd (AT_FDCWD for none); never through a link at the end.
 */
int bl_read_file_at(int dir_fd, const char *name, size_t max, char **out_text, size_t *out_len,
		    struct bl_err *err) BL_MUST_CHECK;
/* For /proc, /sys and the store, where links are expected. NULL when it cannot be read. */
char *bl_slurp(const char *path, size_t max);

/* $TMPDIR, or @otherwise where that is no absolute path; borrowed. */
const char *bl_tmp_dir(const char *otherwise);
/* A file without a name in @dir, empty, closed in programs that are started; -1 and errno when
 * it cannot be made. */
int bl_nameless_file(const char *dir);
int bl_write_all(int fd, const void *data, size_t len, struct bl_err *err) BL_MUST_CHECK;
/*
 * Replaces @name in @dir_fd by @data: temporary file, fsync, rename, fsync of the folder. When
 * it fails, the old content is still there.
 */
int bl_write_file_at(int dir_fd, const char *name, mode_t mode, const void *data, size_t len,
		     struct bl_err *err) BL_MUST_CHECK;
/* Makes @path and its parents with @mode, each durably; a folder that is there is fine. */
int bl_mkdirs(const char *path, mode_t mode, struct bl_err *err) BL_MUST_CHECK;
/* Opens a folder for openat(). */
int bl_open_dir(const char *path, int *out_fd, struct bl_err *err) BL_MUST_CHECK;
/* The text of a symbolic link, or NULL. */
char *bl_readlink(const char *path);
/* What @path is in the end, all links followed, or NULL. */
char *bl_realpath(const char *path);
/*
 * Whether both files can be read and hold the same. Meanwhile bl_idle() goes on.
 */
bool bl_same_content(const char *a, const char *b);
/* Puts a symbolic link at @path in one step, replacing what was there. */
int bl_symlink_replace(const char *target, const char *path, struct bl_err *err) BL_MUST_CHECK;
/* fsync of the folder that holds the file. */
int bl_sync_dir(const char *dir, struct bl_err *err) BL_MUST_CHECK;
/* Flushes the file system that holds @path. */
int bl_sync_fs(const char *path, struct bl_err *err) BL_MUST_CHECK;

#endif
