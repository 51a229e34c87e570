/* SPDX-License-Identifier: MIT */
#include "agent/talk.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int bl_talk_reply(enum bl_msg_type type, const struct bl_kv *kv)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_msg_put(&out, type, kv);
	return bl_write_all(STDOUT_FILENO, out.data, out.len, NULL);
}

int bl_talk_refuse(const char *reason, const char *remedy)
{
	BL_AUTO(bl_kv) kv = { 0 };
	bl_kv_set(&kv, "reason", reason);
	bl_kv_set(&kv, "remedy", remedy);
	return bl_talk_reply(BL_MSG_REFUSED, &kv);
}

int bl_talk_frame(uint16_t type, const void *payload, size_t len)
{
	BL_AUTO(bl_buf) out = { 0 };
	bl_frame_put(&out, type, payload, len);
	return bl_write_all(STDOUT_FILENO, out.data, out.len, NULL);
}

static int read_more(int fd, struct bl_buf *in, struct bl_err *err)
{
	char chunk[65536];
	ssize_t n;
	do {
		n = read(fd, chunk, sizeof(chunk));
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return bl_err_set(err, BL_E_UNREACHABLE, "the other end has gone");
	bl_buf_append(in, chunk, (size_t)n);
	return 0;
}

static bool stays_silent(int fd, int silent_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return silent_ms >= 0 && poll(&p, 1, silent_ms) == 0;
}

int bl_frame_read(int fd, struct bl_buf *in, size_t *used, int silent_ms, struct bl_frame *out,
		  struct bl_err *err)
{
	for (;;) {
		int rc = bl_frame_take(bl_buf_str(in) + *used, in->len - *used, out, err);
		if (rc != 0) {
			*used += rc > 0 ? out->used : 0;
			return rc < 0 ? -1 : 0;
		}
		/* less than a frame is moved, once for each that did not come as a whole */
		bl_buf_drop(in, *used);
		*used = 0;
		if (stays_silent(fd, silent_ms))
			return bl_err_set(err, BL_E_UNREACHABLE,
					  "nothing comes from the other end any more");
		if (read_more(fd, in, err) < 0)
			return -1;
	}
}

int bl_msg_read(int fd, struct bl_buf *in, int timeout_ms, struct bl_msg *out,
		struct bl_err *err)
{
	int64_t end = bl_now_boot_ns() + timeout_ms * BL_NS_PER_MS;
	for (;;) {
		size_t used = 0;
		int rc = bl_msg_take(bl_buf_str(in), in->len, out, &used, err);
		if (rc != 0) {
			bl_buf_drop(in, used);
			return rc < 0 ? -1 : 0;
		}
		int64_t left = (end - bl_now_boot_ns()) / BL_NS_PER_MS;
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (timeout_ms >= 0 && left <= 0)
			return bl_err_set(err, BL_E_TIMEOUT, "no answer within %d ms",
					  timeout_ms);
		if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)left) <= 0)
			continue;
		if (read_more(fd, in, err) < 0)
			return -1;
	}
}
