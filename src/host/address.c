/* SPDX-License-Identifier: MIT */
#include "host/address.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/dial.h"
#include "host/roads.h"
#include "host/ssh.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS  5000
#define DIAL_MS 2000

/* How ssh would go there: false where it does not go straight, or does not tell. */
static bool find_port(const struct bl_node *node, char **out_port)
{
	BL_AUTO(bl_strv) argv = { 0 };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_place place = { 0 };
	bl_ssh_config_argv(node, node->host, &argv);
	const struct bl_child_spec spec = { .argv = (const char *const *)argv.items,
					    .timeout_ms = ASK_MS,
					    .out_max = 65536 };
	if (bl_child_run(&spec, &r, NULL) < 0 || r.status != 0)
		return false;
	const char *text = bl_buf_str(&r.out);
	bl_place_read(&place, text);
	bool straight =
		place.via.n == 0 && place.port &&
		(!strstr(text, "\nproxycommand ") || strstr(text, "\nproxycommand none\n"));
	*out_port = straight ? bl_xstrdup(place.port) : NULL;
	bl_place_free(&place);
	return straight;
}

static bool answers(const char *address, const char *port)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	BL_AUTO(bl_dial) dial = { 0 };
	if (getaddrinfo(address, port, &hints, &list) != 0)
		return false;
	for (const struct addrinfo *a = list; a; a = a->ai_next)
		bl_dial_add(&dial, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	int64_t end = bl_now_boot_ns() + DIAL_MS * BL_NS_PER_MS;
	enum bl_dial_state state = BL_DIAL_PENDING;
	while (state == BL_DIAL_PENDING && bl_now_boot_ns() < end)
		state = bl_dial_step(&dial, 50);
	return state == BL_DIAL_OPEN;
}

void bl_address_choose(struct bl_node *node)
{
	const struct bl_strv *list = &node->addresses;
	const char *at = strrchr(node->host, '@');
	bl_autofree char *port = NULL;
	if (list->n == 0)
		return;
	size_t i = 0;
	if (list->n > 1 && find_port(node, &port)) {
		while (i < list->n && !answers(list->items[i], port))
			i++;
		i = i < list->n ? i : 0;
	}
	bl_strv_addf(&node->ssh_options, "HostName=%s", list->items[i]);
	bl_strv_addf(&node->ssh_options, "HostKeyAlias=%s", at ? at + 1 : node->host);
}
