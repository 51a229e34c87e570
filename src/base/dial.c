/* SPDX-License-Identifier: MIT */
#include "base/dial.h"

#include "base/compat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void bl_dial_add(struct bl_dial *d, const struct sockaddr *to, socklen_t len)
{
	if (d->n == BL_DIAL_MAX)
		return;
	int fd = bl_stream_socket(to->sa_family);
	if (fd >= 0 && (connect(fd, to, len) == 0 || errno == EINPROGRESS)) {
		d->fds[d->n++] = fd;
		return;
	}
	snprintf(d->why, sizeof(d->why), "%s", strerror(errno));
	bl_closep(&fd);
}

enum bl_dial_state bl_dial_step(struct bl_dial *d, int wait_ms)
{
	struct pollfd p[BL_DIAL_MAX] = { 0 };
	for (size_t i = 0; i < d->n; i++)
		p[i] = (struct pollfd){ .fd = d->fds[i], .events = POLLOUT };
	if (d->n > 0 && poll(p, (nfds_t)d->n, wait_ms) <= 0)
		return BL_DIAL_PENDING;
	for (size_t i = d->n; i-- > 0;) {
		int error = 0;
		socklen_t len = sizeof(error);
		if (!p[i].revents)
			continue;
		if (getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
			return BL_DIAL_OPEN;
		snprintf(d->why, sizeof(d->why), "%s", strerror(error));
		close(p[i].fd);
		d->fds[i] = d->fds[--d->n];
	}
	return d->n > 0 ? BL_DIAL_PENDING : BL_DIAL_FAILED;
}

void bl_dial_close(struct bl_dial *d)
{
	while (d->n > 0)
		close(d->fds[--d->n]);
}

socklen_t bl_dial_address(const char *text, uint32_t port, struct sockaddr_storage *to)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		return sizeof(*in6);
	}
	return 0;
}
