/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/snapshot.h"
#include "base/file.h"

typedef void reader(const char *text, struct bl_strv *out);

/* The routes that @read finds, as "a, b". */
static void assert_routes(reader *read, const char *text, const char *want)
{
	static const struct bl_strv none = { 0 };
	BL_AUTO(bl_strv) routes = { 0 };
	read(text, &routes);
	bl_autofree char *is = bl_strv_missing(&routes, &none);
	assert_string_equal(is ? is : "", want);
}

#define V4_HEAD                                                                               \
	"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT" \
	"                                                       \n"
/* the kernel pads its lines to 127 characters */
#define PAD "                                                                             \n"

static void default_routes_of_ipv4_are_found(void **state)
{
	(void)state;
	assert_routes(bl_routes_v4, V4_HEAD, "");
	assert_routes(bl_routes_v4, "", "");
	assert_routes(bl_routes_v4,
		      V4_HEAD
		      "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0" PAD
		      "eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0" PAD,
		      "eth0 0100000A");
	assert_routes(bl_routes_v4,
		      V4_HEAD
		      "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0" PAD
		      "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0" PAD
		      "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0" PAD,
		      "eth0 0100000A, wlan0 0101A8C0, wg0 00000000");
	/* 0.0.0.0/1 of a VPN is no default route */
	assert_routes(bl_routes_v4,
		      V4_HEAD "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0" PAD,
		      "");
}

static void malformed_lines_of_ipv4_are_passed_over(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"eth0\t00000000\t0100000A\t0003\t0\t0\t100",
		"eth0\t00000000",
		"eth0\n00000000\n0100000A\n",
		"eth0\t0\t0100000A\t0003\t0\t0\t100\t0\n",
		"\t\t\t\t\t\t\t\t\n",
		"\n\n\n",
	};
	for (size_t i = 0; i < BL_COUNT(texts); i++)
		assert_routes(bl_routes_v4, texts[i], "");
	/* the last line may lack its end */
	assert_routes(bl_routes_v4, "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000",
		      "eth0 0100000A");
}

#define Z32 "00000000000000000000000000000000"
#define GW  "fe800000000000000000000000000001"

static void default_routes_of_ipv6_are_found(void **state)
{
	(void)state;
	assert_routes(bl_routes_v6, "", "");
	assert_routes(bl_routes_v6,
		      "20010db8000000000000000000000000 40 " Z32 " 00 " Z32
		      " 00000100 00000001 00000000 00000001     eth0\n"
		      "fe800000000000000000000000000000 40 " Z32 " 00 " Z32
		      " 00000100 00000001 00000000 00000001     eth0\n" Z32 " 00 " Z32 " 00 " GW
		      " 00000400 00000002 00000000 00450003     eth0\n" Z32 " 00 " Z32
		      " 00 " Z32 " ffffffff 00000001 00000000 00200200       lo\n"
		      "00000000000000000000000000000001 80 " Z32 " 00 " Z32
		      " 00000000 00000003 00000000 80200001       lo\n"
		      "ff000000000000000000000000000000 08 " Z32 " 00 " Z32
		      " 00000100 00000002 00000000 00000001     eth0\n" Z32 " 00 " Z32
		      " 00 " Z32 " ffffffff 00000001 00000000 00200200       lo\n",
		      "eth0 " GW);
	/* 2000::/3 and ::/1 are no default routes */
	assert_routes(bl_routes_v6,
		      "20000000000000000000000000000000 03 " Z32 " 00 " GW
		      " 00000400 00000001 00000000 00000003     eth0\n" Z32 " 01 " Z32 " 00 " GW
		      " 00000400 00000001 00000000 00000003     eth0\n",
		      "");
	assert_routes(bl_routes_v6,
		      Z32 " 00 " Z32 " 00 " GW " 00000400 00000002 00000000 00450003 eth0\n" Z32
			  " 00 " Z32 " 00 " Z32 " 00000400 00000002 00000000 00000001 wg0",
		      "eth0 " GW ", wg0 " Z32);
}

static void malformed_lines_of_ipv6_are_passed_over(void **state)
{
	(void)state;
	static const char *const texts[] = {
		Z32 " 00 " Z32 " 00 " GW " 00000400 00000002 00000000 00450003\n",
		Z32 "0 00 " Z32 " 00 " GW " 00000400 00000002 00000000 00450003 eth0\n",
		"0 00 " Z32 " 00 " GW " 00000400 00000002 00000000 00450003 eth0\n",
		":: 00 :: 00 :: 0 0 0 0 eth0\n",
		"\n \n",
	};
	for (size_t i = 0; i < BL_COUNT(texts); i++)
		assert_routes(bl_routes_v6, texts[i], "");
}

static void list(struct bl_strv *v, const char *text)
{
	bl_strv_split(v, text, ' ');
}

static void what_is_missing_is_named_in_order(void **state)
{
	(void)state;
	static const struct {
		const char *want, *have, *missing;
	} cases[] = {
		{ "", "", NULL },       { "", "a", NULL },     { "a", "a", NULL },
		{ "a b", "b a", NULL }, { "a", "", "a" },      { "c a b", "a", "c, b" },
		{ "a", "ab A", "a" },   { "a a", "", "a, a" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_strv) want = { 0 };
		BL_AUTO(bl_strv) have = { 0 };
		list(&want, cases[i].want);
		list(&have, cases[i].have);
		bl_autofree char *is = bl_strv_missing(&want, &have);
		assert_true(bl_str_eq(is, cases[i].missing));
	}
}

static void a_snapshot_comes_back_from_its_file(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	bl_autofree char *dir = bl_xprintf("%s/belay-snapshot-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	bl_autofd int fd = -1;
	struct bl_err err = { 0 };
	assert_works(bl_open_dir(dir, &fd, &err), &err);
	BL_AUTO(bl_snapshot) s = { 0 };
	BL_AUTO(bl_snapshot) back = { 0 };
	BL_AUTO(bl_snapshot) none = { 0 };
	assert_int_equal(bl_snapshot_load(fd, &none, &err), -1);
	assert_int_equal(err.code, BL_E_SYS);
	list(&s.failed, "a.service b\\x2dc.mount");
	bl_strv_add(&s.addresses, "eth0 10.0.0.2");
	bl_strv_add(&s.addresses, "eth0 2001:db8::/64");
	bl_strv_add(&s.routes, "eth0 0100000A");
	/* a large host */
	for (int i = 0; i < 5000; i++)
		bl_strv_addf(&s.active, "container@a-name-that-goes-on-%d.service", i);
	bl_strv_add(&s.restore, "-4 route replace default via 10.0.0.1 dev eth0");
	assert_works(bl_snapshot_save(&s, fd, &err), &err);
	assert_works(bl_snapshot_load(fd, &back, &err), &err);
	const struct bl_strv *pairs[][2] = { { &s.failed, &back.failed },
					     { &s.addresses, &back.addresses },
					     { &s.routes, &back.routes },
					     { &s.active, &back.active },
					     { &s.restore, &back.restore } };
	for (size_t i = 0; i < BL_COUNT(pairs); i++) {
		assert_int_equal(pairs[i][0]->n, pairs[i][1]->n);
		assert_null(bl_strv_missing(pairs[i][0], pairs[i][1]));
	}
	assert_works(bl_write_file_at(fd, "snapshot", 0600, "failed=a\nrou", 12, &err), &err);
	assert_fails(bl_snapshot_load(fd, &none, &err), &err, BL_E_INPUT,
		     "snapshot: the last line is cut off");
	assert_null(none.failed.items);
	unlinkat(fd, "snapshot", 0);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_routes_of_ipv4_are_found),
		cmocka_unit_test(malformed_lines_of_ipv4_are_passed_over),
		cmocka_unit_test(default_routes_of_ipv6_are_found),
		cmocka_unit_test(malformed_lines_of_ipv6_are_passed_over),
		cmocka_unit_test(what_is_missing_is_named_in_order),
		cmocka_unit_test(a_snapshot_comes_back_from_its_file),
	};
	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
