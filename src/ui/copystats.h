/* SPDX-License-Identifier: MIT */
/* What copying to one host has come to, in numbers and in words. */
#ifndef BELAY_UI_COPYSTATS_H
#define BELAY_UI_COPYSTATS_H

#include "base/str.h"

struct bl_copy_stats {
	uint64_t paths;      /* of the closure; 0 where the host had all of it at once */
	uint64_t sent_paths; /* of which the host lacked */
	uint64_t nar_bytes;  /* of these */
	uint64_t done_bytes; /* of these, what was sent in whatever form, or had come before */
	uint64_t wire_bytes; /* in frames */
	uint64_t list_bytes; /* of these, in frames that no piece is in */
	uint64_t rate;       /* bytes of the wire a second, lately */
	uint64_t left_s;     /* until the rest is sent, by how it went so far; 0: unknown */
};

/* "210.0 MB of 473.0 MB, sent as 40.1 MB, 11.2 MB/s, 0:23 left"; appended to @out. */
void bl_copy_stats_progress(const struct bl_copy_stats *s, struct bl_buf *out);
/* "41 of 900 paths: 1.8 MB for 473 MB" of what was sent; appended to @out. */
void bl_copy_stats_sum(const struct bl_copy_stats *s, struct bl_buf *out);

#endif
