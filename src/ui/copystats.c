/* SPDX-License-Identifier: MIT */
#include "ui/copystats.h"

#include <inttypes.h>

void bl_copy_stats_progress(const struct bl_copy_stats *s, struct bl_buf *out)
{
	bl_buf_put_bytes(out, s->done_bytes);
	bl_buf_puts(out, " of ");
	bl_buf_put_bytes(out, s->nar_bytes);
	bl_buf_puts(out, ", sent as ");
	bl_buf_put_bytes(out, s->wire_bytes);
	if (s->rate > 0) {
		bl_buf_puts(out, ", ");
		bl_buf_put_bytes(out, s->rate);
		bl_buf_puts(out, "/s");
	}
	if (s->left_s > 0)
		bl_buf_printf(out, ", %" PRIu64 ":%02" PRIu64 " left", s->left_s / 60,
			      s->left_s % 60);
}

void bl_copy_stats_sum(const struct bl_copy_stats *s, struct bl_buf *out)
{
	bl_buf_printf(out, "%" PRIu64 " of %" PRIu64 " paths: ", s->sent_paths, s->paths);
	bl_buf_put_bytes(out, s->wire_bytes);
	bl_buf_puts(out, " for ");
	bl_buf_put_bytes(out, s->nar_bytes);
}
