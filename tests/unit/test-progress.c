/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nix/progress.h"

#define DEP    "/nix/store/amhchmd1dxzqgzdbs0a03i58h047d9kz-dep2.drv"
#define SYSTEM "/nix/store/sr0wmwcsk8fd2ljc989b926lm17pzh62-nixos-system-web2.drv"

/* As Nix 2.8 says them. */
#define BUILDS "@nix {\"action\":\"start\",\"id\":2,\"level\":0,\"text\":\"\",\"type\":104}"
#define COPIES "@nix {\"action\":\"start\",\"id\":3,\"level\":0,\"text\":\"\",\"type\":103}"
#define BUILDING(id, drv)                                                         \
	"@nix {\"action\":\"start\",\"fields\":[\"" drv "\",\"\",1,1],\"id\":" id \
	",\"level\":3,\"text\":\"building '" drv "'\",\"type\":105}"
#define LINE(id, text) \
	"@nix {\"action\":\"result\",\"fields\":[\"" text "\"],\"id\":" id ",\"type\":101}"
#define COUNTS(id, four) \
	"@nix {\"action\":\"result\",\"fields\":[" four "],\"id\":" id ",\"type\":105}"
#define STOP(id) "@nix {\"action\":\"stop\",\"id\":" id "}"
#define FAILED(drv)                                                                          \
	"@nix {\"action\":\"msg\",\"column\":null,\"file\":null,\"level\":0,\"line\":null,"  \
	"\"msg\":\"\\u001b[31;1merror:\\u001b[0m builder for '\\u001b[35;1m" drv             \
	"\\u001b[0m' failed with exit code 3\",\"raw_msg\":\"builder for '\\u001b[35;1m" drv \
	"\\u001b[0m' failed with exit code 3\"}"
#define FOLLOWS(drv)                                                                        \
	"@nix {\"action\":\"msg\",\"column\":null,\"file\":null,\"level\":0,\"line\":null," \
	"\"msg\":\"\\u001b[31;1merror:\\u001b[0m \\u001b[35;1m1\\u001b[0m dependencies of " \
	"derivation '\\u001b[35;1m" drv "\\u001b[0m' failed to build\",\"raw_msg\":\""      \
	"\\u001b[35;1m1\\u001b[0m dependencies of derivation '\\u001b[35;1m" drv            \
	"\\u001b[0m' failed to build\"}"

/* What each line is news of, one letter a line: "." nothing, "b"egun, "d"one, "x" failed, "t".
 */
static char *hear(struct bl_progress *p, const char *const *lines, size_t n)
{
	static const char letters[] = { [BL_PROGRESS_NOTHING] = '.',
					[BL_PROGRESS_BUILDING] = 'b',
					[BL_PROGRESS_BUILT] = 'd',
					[BL_PROGRESS_BROKEN] = 'x',
					[BL_PROGRESS_TEXT] = 't' };
	BL_AUTO(bl_buf) heard = { 0 };
	for (size_t i = 0; i < n; i++) {
		BL_AUTO(bl_progress_news) news = { 0 };
		bl_progress_line(p, lines[i], strlen(lines[i]), &news);
		bl_buf_putc(&heard, letters[news.kind]);
	}
	return bl_buf_steal(&heard);
}

#define assert_heard(p, lines, want)                                        \
	do {                                                                \
		bl_autofree char *heard_ = hear(p, lines, BL_COUNT(lines)); \
		assert_string_equal(heard_, want);                          \
	} while (0)

static void assert_status(const struct bl_progress *p, const char *want)
{
	BL_AUTO(bl_buf) is = { 0 };
	bl_progress_status(&p, 1, &is);
	assert_string_equal(bl_buf_str(&is), want);
}

static void a_build_begins_and_ends(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const begin[] = { BUILDS,
					     COPIES,
					     COUNTS("2", "0,3,0,0"),
					     BUILDING("4", DEP),
					     COUNTS("2", "0,3,1,0"),
					     LINE("4", "hello") };
	static const char *const end[] = { COUNTS("2", "1,3,0,0"), STOP("4") };
	assert_status(&p, "");
	assert_heard(&p, begin, "...b..");
	assert_status(&p, "0/3 built, 1 running (dep2)");
	assert_int_equal(p.started, 1);
	assert_heard(&p, end, ".d");
	assert_status(&p, "1/3 built");
}

static void a_failure_is_told_once_with_the_end_of_its_log(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		BUILDS,
		BUILDING("4", DEP),
		LINE("4", "one"),
		LINE("4", "two"),
		LINE("4", "3"),
		LINE("4", "4"),
		LINE("4", "5"),
		LINE("4", "6"),
		LINE("4", "7"),
		LINE("4", "8"),
		LINE("4", "9"),
		LINE("4", "10"),
		LINE("4", "11"),
		LINE("4", "last"),
		COUNTS("2", "0,1,0,1"),
		FAILED(DEP),
		STOP("4"),
		STOP("2"),
		FAILED(DEP),
		FOLLOWS(SYSTEM),
		BUILDING("5", SYSTEM),
		/* of several it is about none */
		"@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"error: build of '" SYSTEM
		"', '" DEP "' failed\"}",
	};
	assert_heard(&p, lines, ".b.............x....b.");
	assert_int_equal(p.n_failed, 1);
	const struct bl_build *b = p.failed[0];
	assert_string_equal(b->drv, DEP);
	assert_string_equal(b->reason, "builder for '" DEP "' failed with exit code 3");
	assert_int_equal(b->n_log, BL_PROGRESS_LOG_LINES);
	assert_string_equal(b->log[0], "3");
	assert_string_equal(b->log[9], "last");
}

/* Of the one that was asked for, Nix 2.8 tells at the very end. */
static void a_failure_that_is_told_after_its_end_is_no_success_before(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		BUILDS,           BUILDING("4", SYSTEM),
		LINE("4", "bad"), COUNTS("2", "0,0,0,1"),
		STOP("4"),        STOP("2"),
		FAILED(SYSTEM),
	};
	assert_heard(&p, lines, ".b....x");
	assert_string_equal(p.failed[0]->log[0], "bad");
	BL_AUTO(bl_progress_news) news = { 0 };
	bl_progress_end(&p, &news);
	assert_int_equal(news.kind, BL_PROGRESS_NOTHING);
}

/* Another one failed meanwhile: its own end is told late, but it is. */
static void a_good_build_beside_a_failing_one_is_built_in_the_end(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		BUILDS,
		BUILDING("4", DEP),
		BUILDING("5", SYSTEM),
		COUNTS("2", "0,2,1,1"),
		FAILED(DEP),
		STOP("4"),
		STOP("5"),
	};
	assert_heard(&p, lines, ".bb.x..");
	BL_AUTO(bl_progress_news) news = { 0 };
	bl_progress_end(&p, &news);
	assert_int_equal(news.kind, BL_PROGRESS_BUILT);
	assert_string_equal(news.build->drv, SYSTEM);
	bl_progress_end(&p, &news);
	assert_int_equal(news.kind, BL_PROGRESS_NOTHING);
}

static void copies_are_counted_with_their_bytes(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const begin[] = {
		"@nix {\"action\":\"start\",\"id\":1,\"level\":0,\"text\":\"\",\"type\":102}",
		COPIES,
		COUNTS("3", "0,2,1,0"),
		"@nix {\"action\":\"result\",\"fields\":[101,3248],\"id\":1,\"type\":106}",
		"@nix {\"action\":\"result\",\"fields\":[100,20971632],\"id\":1,\"type\":106}",
		"@nix {\"action\":\"start\",\"fields\":[\"/nix/store/jd4bfdxq72p4d0pvapdyy2x8nn7vmkpy-"
		"big\",\"https://cache.nixos.org\",\"local\"],\"id\":4,\"level\":3,\"text\":\"copying "
		"path\",\"type\":100}",
		COUNTS("4", "3145728,20971632,0,0"),
	};
	static const char *const end[] = { COUNTS("4", "20971632,20971632,0,0"), STOP("4"),
					   COUNTS("3", "1,2,0,0") };
	static const char *const over[] = { STOP("3"), STOP("1") };
	assert_heard(&p, begin, ".......");
	assert_status(&p, "0/2 copied, 3/20 MiB");
	assert_heard(&p, end, "...");
	assert_status(&p, "1/2 copied, 20/20 MiB");
	assert_heard(&p, over, "..");
	assert_status(&p, "1/1 copied, 20/20 MiB");
}

static void several_models_are_told_as_one(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) a = { 0 };
	BL_AUTO(bl_progress) b = { 0 };
	static const char *const one[] = { BUILDS, COUNTS("2", "1,4,0,0"), BUILDING("4", DEP),
					   BUILDING("5", DEP) };
	static const char *const two[] = { BUILDS, COUNTS("2", "0,2,0,0"),
					   BUILDING("4", SYSTEM), BUILDING("5", DEP) };
	const struct bl_progress *both[] = { &a, &b };
	BL_AUTO(bl_buf) is = { 0 };
	assert_heard(&a, one, "..bb");
	assert_heard(&b, two, "..bb");
	bl_progress_status(both, 2, &is);
	assert_string_equal(bl_buf_str(&is),
			    "1/6 built, 4 running (dep2, dep2, nixos-system-web2, ...)");
}

static void what_newer_ones_say_is_understood(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		BUILDING("4", DEP),
		/* 2.31; by a daemon there is no raw_msg */
		"@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"error: Cannot build '" DEP
		"'.\\n       Reason: builder failed with exit code 1.\\n       Output paths:\\n"
		"         /nix/store/11111111111111111111111111111111-dep2\"}",
		BUILDING("5", SYSTEM),
		/* 2.18 */
		"@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"error: builder for '" SYSTEM
		"' failed with exit code 1;\\n       last 2 log lines:\\n       > a\\n       > b\\n"
		"       For full logs, run 'nix log " SYSTEM "'.\"}",
	};
	assert_heard(&p, lines, "bxbx");
	assert_string_equal(p.failed[0]->reason,
			    "Cannot build '" DEP "'. Reason: builder failed with exit code 1.");
	assert_string_equal(p.failed[1]->reason,
			    "builder for '" SYSTEM "' failed with exit code 1");
}

static void warnings_and_errors_of_no_build_are_text(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		"@nix {\"action\":\"msg\",\"level\":3,\"msg\":\"these 5 derivations will be built:\"}",
		"@nix {\"action\":\"msg\",\"level\":1,\"msg\":\"\\u001b[35;1mwarning:\\u001b[0m slow\"}",
		"@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"\\u001b[31;1merror:\\u001b[0m no\"}",
		FOLLOWS(SYSTEM),
		"ssh: connect to host",
		"",
	};
	assert_heard(&p, lines, ".tttt.");
}

static void what_is_no_line_of_nix_breaks_nothing(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	static const char *const lines[] = {
		"@nix",
		"@nix {",
		"@nix []",
		"@nix {\"action\":[]}",
		"@nix {\"action\":\"start\",\"id\":{},\"type\":105,\"fields\":3}",
		"@nix {\"action\":\"result\",\"id\":0,\"type\":101,\"fields\":[7]}",
		"@nix {\"action\":\"result\",\"id\":99,\"type\":105,\"fields\":[1,2]}",
		"@nix {\"action\":\"result\",\"id\":0,\"type\":9999}",
		"@nix {\"action\":\"stop\",\"id\":12345}",
		"@nix {\"action\":\"msg\",\"level\":0}",
		"@nix {\"action\":\"later\",\"id\":0}",
	};
	assert_heard(&p, lines, "t...b......");
}

static void memory_is_bounded(void **state)
{
	(void)state;
	BL_AUTO(bl_progress) p = { 0 };
	for (unsigned i = 0; i < 2000; i++) {
		bl_autofree char *drv = bl_xprintf("/nix/store/%032u-x%u.drv", i, i);
		bl_autofree char *begin = bl_xprintf(
			"@nix {\"action\":\"start\",\"id\":%u,\"type\":105,\"fields\":[\"%s\",\"\"]}",
			i, drv);
		bl_autofree char *bad =
			bl_xprintf("@nix {\"action\":\"msg\",\"level\":0,\"msg\":"
				   "\"builder for '%s' failed\"}",
				   drv);
		bl_autofree char *stop = bl_xprintf("@nix {\"action\":\"stop\",\"id\":%u}", i);
		const char *const lines[] = { begin, i % 2 ? bad : "", i % 3 ? stop : "" };
		bl_autofree char *heard = hear(&p, lines, BL_COUNT(lines));
		(void)heard;
	}
	assert_true(p.n_active <= BL_PROGRESS_ACTIVE);
	assert_true(p.n_ended <= BL_PROGRESS_ENDED);
	assert_int_equal(p.n_failed, BL_PROGRESS_FAILED);
	BL_AUTO(bl_buf) status = { 0 };
	const struct bl_progress *one = &p;
	bl_progress_status(&one, 1, &status);
	assert_true(status.len < 200);
}

static void names_are_without_hash_and_ending(void **state)
{
	(void)state;
	static const struct {
		const char *drv, *name;
	} cases[] = { { DEP, "dep2" },
		      { "/nix/store/amhchmd1dxzqgzdbs0a03i58h047d9kz-out", "out" },
		      { "x.drv", "x" },
		      { "/other/store/amhchmd1dxzqgzdbs0a03i58h047d9kz-.drv", "" },
		      { "", "" } };
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		bl_autofree char *name = bl_progress_name(cases[i].drv);
		assert_string_equal(name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_build_begins_and_ends),
		cmocka_unit_test(a_failure_is_told_once_with_the_end_of_its_log),
		cmocka_unit_test(a_failure_that_is_told_after_its_end_is_no_success_before),
		cmocka_unit_test(a_good_build_beside_a_failing_one_is_built_in_the_end),
		cmocka_unit_test(copies_are_counted_with_their_bytes),
		cmocka_unit_test(several_models_are_told_as_one),
		cmocka_unit_test(what_newer_ones_say_is_understood),
		cmocka_unit_test(warnings_and_errors_of_no_build_are_text),
		cmocka_unit_test(what_is_no_line_of_nix_breaks_nothing),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(names_are_without_hash_and_ending),
	};
	return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
