/* SPDX-License-Identifier: MIT */
/* Files of /proc and the output of an activation, which users of the host have a hand in. */
#include "agent/activation.h"
#include "agent/ask.h"
#include "agent/coverage.h"
#include "agent/snapshot.h"
#include "base/login.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stat_file(const char *text)
{
	struct bl_err err = { 0 };
	char comm[32] = "";
	uint64_t ticks = 0;
	int ppid = 0;
	int rc = bl_parse_stat(text, &ppid, &ticks, comm, &err);
	assert(memchr(comm, '\0', sizeof(comm)));
	assert(rc == 0 ? ppid >= 0 && ticks <= INT64_MAX : err.code == BL_E_INPUT);
}

static void routes(void (*read)(const char *, struct bl_strv *), const char *text)
{
	BL_AUTO(bl_strv) found = { 0 };
	static const struct bl_strv none = { 0 };
	read(text, &found);
	for (size_t i = 0; i < found.n; i++) {
		const char *blank = strchr(found.items[i], ' ');
		assert(blank && blank != found.items[i] && blank[1] && !strchr(blank + 1, ' '));
		assert(!strpbrk(found.items[i], "\t\n"));
		bl_autofree char *gateway = bl_gateway_of(found.items[i]);
		assert(!gateway || (*gateway && !strchr(gateway, ' ')));
	}
	bl_autofree char *all = bl_strv_missing(&found, &none);
	bl_autofree char *nothing = bl_strv_missing(&found, &found);
	assert(!nothing && (all != NULL) == (found.n > 0));
}

static void activation(int status, const char *output)
{
	char reason[64];
	enum bl_verdict v = bl_activation_judge(status, output, reason, sizeof(reason));
	assert(memchr(reason, '\0', sizeof(reason)));
	assert((v == BL_ACT_OK) == (status == 0));
	assert((v == BL_ACT_OK) == (reason[0] == '\0'));
	BL_AUTO(bl_strv) failed = { 0 };
	bl_activation_failed(output, &failed);
	for (size_t i = 0; i < failed.n; i++)
		assert(failed.items[i][0] && !strpbrk(failed.items[i], " \n"));
}

static void drop(void *ctx, const char *name, enum bl_item_level level, const char *text,
		 const char *remedy)
{
	size_t *n = ctx;
	assert(*name && *text && (level == BL_ITEM_OK) == !*remedy);
	(*n)++;
}

/* What systemctl shows ends at a bar; all of it is the kernel's command line. */
static void coverage(const char *text)
{
	struct bl_coverage c;
	size_t n = 0;
	const struct bl_items items = { drop, &n };
	bl_autofree char *show = bl_xstrndup(text, strcspn(text, "|"));
	bl_coverage_read("/dev/null", show, text, &c);
	assert(memchr(c.runtime, '\0', sizeof(c.runtime)));
	bl_coverage_judge(&c, &items);
	assert(n == 5);
}

/* The first byte says what it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	bl_autofree char *text = bl_xstrndup((const char *)data + 1, size - 1);
	switch (data[0]) {
	case 's':
		stat_file(text);
		break;
	case '4':
		routes(bl_routes_v4, text);
		break;
	case '6':
		routes(bl_routes_v6, text);
		break;
	case 'n':
		assert(!bl_arp_knows(text, "") && !bl_arp_knows(text, "10.0.0.300 "));
		break;
	case 'c':
		coverage(text);
		break;
	case 'a':
		activation(data[1], *text ? text + 1 : text);
		break;
	default:
		break;
	}
	return 0;
}
