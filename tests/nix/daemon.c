/* SPDX-License-Identifier: MIT */
/*
 * src/store's client against a real nix-daemon, with a store of its own below a temporary
 * folder: what the daemon takes, refuses and keeps.
 */
#include "store.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/narcheck.h"
#include "store/path.h"
#include "store/query.h"

/* ---- the connection */

struct outcomes {
	struct bl_strv bad; /* "name: what Nix said" */
	struct bl_strv good;
	struct bl_strv lines;
};

static void note(void *ctx, const char *path, const char *problem)
{
	struct outcomes *o = ctx;
	if (problem)
		bl_strv_addf(&o->bad, "%s: %s", bl_store_path_name(path), problem);
	else
		bl_strv_add(&o->good, path);
}

static void note_line(void *ctx, const char *text)
{
	bl_strv_add(&((struct outcomes *)ctx)->lines, text);
}

static void outcomes_autop(struct outcomes *o)
{
	bl_strv_free(&o->bad);
	bl_strv_free(&o->good);
	bl_strv_free(&o->lines);
}

static struct bl_daemon *open_daemon(struct outcomes *o, const char *socket)
{
	struct bl_daemon_spec spec = { .socket = socket,
				       .env = (const char *const *)env.items,
				       .quiet_ms = 60000,
				       .added = note,
				       .line = note_line,
				       .ctx = o };
	struct bl_daemon *d = NULL;
	struct bl_err err = { 0 };
	if (bl_daemon_open(&spec, &d, &err) < 0) {
		if (strstr(err.msg, "start nix-daemon"))
			skip();
		fail_msg("%s", err.msg);
	}
	return d;
}

static void finish(struct bl_daemon *d)
{
	struct bl_err err = { 0 };
	assert_works(bl_daemon_finish(d, &err), &err);
}

static bool is_valid(struct bl_daemon *d, const char *path)
{
	BL_AUTO(bl_strv) paths = { 0 };
	bool valid = false;
	struct bl_err err = { 0 };
	bl_strv_add(&paths, path);
	assert_works(bl_query_valid(d, &paths, &valid, &err), &err);
	return valid;
}

/* ---- tests */

enum { MANY = 2000 };

/* Each refers to itself, to the one before and to a third of its number. */
static void put_many(struct bl_daemon *d, struct bl_strv *paths)
{
	for (size_t i = 0; i < MANY; i++) {
		bl_autofree char *name = bl_xprintf("many-%zu", i);
		BL_AUTO(thing) t = text_thing(name);
		if (i > 0)
			bl_strv_add(&t.info.references, paths->items[i - 1]);
		if (i > 3)
			bl_strv_add(&t.info.references, paths->items[i / 3]);
		bl_strv_add(&t.info.references, t.info.path);
		add(d, &t);
		bl_strv_add(paths, t.info.path);
	}
	finish(d);
}

static void check_order(const struct bl_path_infos *list)
{
	BL_AUTO(bl_index) index = { 0 };
	for (size_t i = 0; i < list->n; i++)
		assert_int_equal(bl_index_put(&index, list->items[i].path, i), i);
	for (size_t i = 0; i < list->n; i++) {
		const struct bl_strv *refs = &list->items[i].references;
		for (size_t k = 0; k < refs->n; k++) {
			size_t at = 0;
			assert_true(bl_index_find(&index, refs->items[k], &at));
			assert_true(at <= i);
		}
	}
}

static void many_paths_are_added_and_their_closure_is_found(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_strv) top = { 0 };
	BL_AUTO(bl_path_infos) list = { 0 };
	struct bl_err err = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	put_many(d, &paths);
	assert_int_equal(o.good.n, MANY);
	assert_int_equal(o.bad.n, 0);
	/* the same again: all are valid already */
	BL_AUTO(bl_strv) again = { 0 };
	put_many(d, &again);
	assert_int_equal(o.good.n, 2 * MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_string_equal(o.good.items[i], paths.items[i]);
	bl_strv_add(&top, paths.items[MANY - 1]);
	bl_strv_add(&top, paths.items[7]);
	assert_works(bl_query_closure(d, &top, &list, &err), &err);
	assert_int_equal(list.n, MANY);
	check_order(&list);
	assert_string_equal(list.items[MANY - 1].path, paths.items[MANY - 1]);
	BL_AUTO(thing) t = text_thing("many-5");
	BL_AUTO(bl_path_infos) one = { 0 };
	bl_strv_free(&top);
	bl_strv_add(&top, t.info.path);
	/* of what is known nothing is asked, nor of what it refers to */
	BL_AUTO(bl_index) known = { 0 };
	for (size_t i = 0; i < list.n; i++)
		if (strcmp(list.items[i].path, t.info.path) != 0)
			bl_index_put(&known, list.items[i].path, i);
	assert_works(bl_query_rest(d, &top, &known, &one, &err), &err);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.items[0].nar_size, t.nar.len);
	assert_memory_equal(one.items[0].nar_hash, t.info.nar_hash, BL_SHA256_LEN);
	assert_int_equal(one.items[0].registered, 1700000000);
	assert_int_equal(one.items[0].references.n, 3);
	assert_false(one.items[0].ultimate);
}

static void large_paths_arrive_whole(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	size_t len = 30 << 20;
	bl_autofree char *data = bl_xcalloc(len, 1);
	uint64_t seed = 3;
	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = unit_random(&seed);
		memcpy(data + i, &v, 8);
	}
	BL_AUTO(thing) big = thing("big", data, len - 5);
	BL_AUTO(thing) small = text_thing("behind-big");
	bl_strv_add(&small.info.references, big.info.path);
	bl_strv_add(&small.info.sigs, "key:c2lnbmF0dXJl");
	add(d, &big);
	add(d, &small);
	finish(d);
	assert_int_equal(o.good.n, 2);
	BL_AUTO(bl_buf) dumped = { 0 };
	bl_autofree char *at = bl_xprintf("%s/root%s", folder, big.info.path);
	assert_int_equal(RUN(&dumped, "nix-store", "--dump", at), 0);
	assert_int_equal(dumped.len, big.nar.len);
	assert_memory_equal(dumped.data, big.nar.data, big.nar.len);
	assert_int_equal(RUN(NULL, "nix-store", "--verify-path", big.info.path), 0);
}

static void one_that_is_wrong_does_not_harm_the_others(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	BL_AUTO(thing) before = text_thing("before");
	BL_AUTO(thing) wrong = text_thing("wrong");
	BL_AUTO(thing) user = text_thing("user-of-wrong");
	BL_AUTO(thing) other = text_thing("other");
	BL_AUTO(thing) lost = text_thing("lost");
	wrong.nar.data[100] ^= 1;
	bl_strv_add(&user.info.references, wrong.info.path);
	bl_strv_add(&other.info.references, before.info.path);
	bl_strv_add(&lost.info.references, BL_STORE_DIR "/00000000000000000000000000000000-no");
	add(d, &before);
	add(d, &wrong);
	add(d, &user);
	add(d, &other);
	add(d, &lost);
	finish(d);
	assert_int_equal(o.good.n, 2);
	assert_string_equal(o.good.items[0], before.info.path);
	assert_string_equal(o.good.items[1], other.info.path);
	assert_int_equal(o.bad.n, 3);
	assert_true(strstr(o.bad.items[0], "wrong: hash mismatch"));
	assert_true(strstr(o.bad.items[1], "user-of-wrong: ") &&
		    strstr(o.bad.items[1], "is not valid"));
	assert_true(strstr(o.bad.items[2], "lost: ") &&
		    strstr(o.bad.items[2], "-no' is not valid"));
	for (size_t i = 0; i < o.bad.n; i++)
		assert_null(strchr(o.bad.items[i], 0x1b));
	assert_false(is_valid(d, wrong.info.path));
	assert_true(is_valid(d, other.info.path));
	/* and once more, right */
	wrong.nar.data[100] ^= 1;
	add(d, &wrong);
	add(d, &user);
	finish(d);
	assert_int_equal(o.good.n, 4);
}

static void a_path_is_given_up_at_any_point(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	struct bl_err err = { 0 };
	BL_AUTO(thing) t = text_thing("given-up");
	BL_AUTO(thing) next = text_thing("next");
	size_t n = 0;
	for (size_t len = 0; len < t.nar.len; len += 8) {
		assert_works(bl_daemon_add_begin(d, &t.info, &err), &err);
		assert_works(bl_daemon_add_data(d, t.nar.data, len, &err), &err);
		assert_works(bl_daemon_add_cancel(d, &err), &err);
		n++;
	}
	add(d, &next);
	finish(d);
	assert_int_equal(o.bad.n, n);
	assert_int_equal(o.good.n, 1);
	assert_false(is_valid(d, t.info.path));
	/* one that is valid stays so */
	assert_works(bl_daemon_add_begin(d, &next.info, &err), &err);
	assert_works(bl_daemon_add_cancel(d, &err), &err);
	finish(d);
	assert_int_equal(o.good.n, 2);
	print_message("# given up: %s\n", o.bad.items[n / 2]);
}

static void what_is_valid_is_told_for_each_path(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	struct bl_err err = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	bool valid[3 * MANY];
	for (size_t i = 0; i < (size_t)3 * MANY; i++) {
		bl_autofree char *name = bl_xprintf("%s-%zu", i % 3 ? "many" : "no", i / 3);
		BL_AUTO(thing) t = text_thing(name);
		bl_strv_add(&paths, t.info.path);
	}
	assert_works(bl_query_valid(d, &paths, valid, &err), &err);
	for (size_t i = 0; i < (size_t)3 * MANY; i++)
		assert_int_equal(valid[i], i % 3 > 0);
}

static void what_no_cache_has_is_no_failure(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	struct bl_err err = { 0 };
	BL_AUTO(thing) there = text_thing("many-9");
	BL_AUTO(thing) not_there = text_thing("nobody-has-it");
	BL_AUTO(bl_strv) paths = { 0 };
	bool valid[3];
	bl_strv_add(&paths, not_there.info.path);
	bl_strv_add(&paths, there.info.path);
	bl_strv_add(&paths, not_there.info.path);
	assert_works(bl_query_substitute(d, &paths, valid, &err), &err);
	assert_false(valid[0]);
	assert_true(valid[1]);
	assert_false(valid[2]);
	assert_true(is_valid(d, there.info.path));
}

static void missing_paths_are_named(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	struct bl_err err = { 0 };
	BL_AUTO(thing) there = text_thing("many-9");
	BL_AUTO(thing) not_there = text_thing("nobody-has-it");
	BL_AUTO(bl_strv) paths = { 0 };
	BL_AUTO(bl_path_infos) list = { 0 };
	bl_strv_add(&paths, there.info.path);
	bl_strv_add(&paths, not_there.info.path);
	assert_int_equal(bl_query_closure(d, &paths, &list, &err), -1);
	assert_int_equal(err.code, BL_E_FAILED);
	assert_true(strstr(err.msg, not_there.info.path));
	assert_int_equal(list.n, 0);
	assert_true(is_valid(d, there.info.path));
}

static void temporary_roots_hold_as_long_as_the_connection(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	BL_AUTO(outcomes) o2 = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	bl_autodaemon struct bl_daemon *keeper = open_daemon(&o2, "");
	struct bl_err err = { 0 };
	BL_AUTO(thing) later = text_thing("comes-later");
	BL_AUTO(thing) kept = text_thing("many-50");
	BL_AUTO(thing) below = text_thing("many-49");
	BL_AUTO(thing) dropped = text_thing("many-51");
	BL_AUTO(bl_strv) paths = { 0 };
	bl_strv_add(&paths, kept.info.path);
	bl_strv_add(&paths, later.info.path); /* need not be valid yet */
	assert_works(bl_query_temp_roots(keeper, &paths, &err), &err);
	bl_daemon_close(BL_STEAL(d)); /* what it added may go */
	assert_int_equal(RUN(NULL, "nix-store", "--gc"), 0);
	assert_true(is_valid(keeper, kept.info.path));
	assert_true(is_valid(keeper, below.info.path));
	assert_false(is_valid(keeper, dropped.info.path));
	add(keeper, &later);
	finish(keeper);
	assert_int_equal(RUN(NULL, "nix-store", "--gc"), 0);
	assert_true(is_valid(keeper, later.info.path));
	bl_daemon_close(BL_STEAL(keeper));
	assert_int_equal(RUN(NULL, "nix-store", "--gc"), 0);
	d = open_daemon(&o, "");
	assert_false(is_valid(d, later.info.path));
	assert_false(is_valid(d, kept.info.path));
}

/* A collection at the same time deletes nothing of what is sent. */
static void a_collection_that_runs_meanwhile_spares_new_paths(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, "");
	struct bl_err err = { 0 };
	static const char *const argv[] = {
		"/bin/sh", "-c", "for i in 1 2 3 4 5; do nix-store --gc || exit 1; done", NULL
	};
	struct bl_child_spec spec = { .argv = argv,
				      .env = (const char *const *)env.items,
				      .timeout_ms = 60000 };
	struct bl_child child;
	BL_AUTO(bl_child_result) r = { 0 };
	/* roots first, as the agent takes them: Nix alone loses a path now and then */
	BL_AUTO(bl_strv) roots = { 0 };
	for (size_t i = 0; i < MANY; i++) {
		bl_autofree char *name = bl_xprintf("many-%zu", i);
		BL_AUTO(thing) t = text_thing(name);
		bl_strv_add(&roots, t.info.path);
	}
	assert_works(bl_query_temp_roots(d, &roots, &err), &err);
	assert_works(bl_child_start(&spec, &child, &err), &err);
	put_many(d, &paths);
	bl_child_finish(&spec, &child, &r);
	assert_int_equal(r.status, 0);
	if (o.bad.n > 0)
		fail_msg("%s", o.bad.items[0]);
	assert_true(is_valid(d, paths.items[0]));
	assert_true(is_valid(d, paths.items[MANY - 1]));
}

static void the_daemon_is_reached_by_its_socket(void **state)
{
	(void)state;
	BL_AUTO(outcomes) o = { 0 };
	struct bl_err err = { 0 };
	bl_autofree char *socket = bl_xprintf("%s/socket", folder);
	static const char *const argv[] = { "nix-daemon", NULL };
	pid_t pid = 0;
	struct stat st;
	if (bl_child_spawn(argv, (const char *const *)env.items, -1, -1, -1, NULL, NULL, &pid,
			   &err) < 0)
		skip();
	for (int i = 0; i < 500 && stat(socket, &st) < 0; i++)
		bl_sleep_ms(10);
	bl_autodaemon struct bl_daemon *d = open_daemon(&o, socket);
	BL_AUTO(thing) t = text_thing("by-socket");
	BL_AUTO(bl_strv) top = { 0 };
	BL_AUTO(bl_path_infos) list = { 0 };
	BL_AUTO(bl_strv) paths = { 0 };
	put_many(d, &paths);
	add(d, &t);
	finish(d);
	assert_int_equal(o.good.n, MANY + 1);
	bl_strv_add(&top, t.info.path);
	assert_works(bl_query_closure(d, &top, &list, &err), &err);
	assert_int_equal(list.n, 1);
	/* its end in the middle is noticed */
	assert_works(bl_daemon_add_begin(d, &t.info, &err), &err);
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
	bl_daemon_close(BL_STEAL(d));
	unlink(socket);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_paths_are_added_and_their_closure_is_found),
		cmocka_unit_test(large_paths_arrive_whole),
		cmocka_unit_test(one_that_is_wrong_does_not_harm_the_others),
		cmocka_unit_test(a_path_is_given_up_at_any_point),
		cmocka_unit_test(what_is_valid_is_told_for_each_path),
		cmocka_unit_test(what_no_cache_has_is_no_failure),
		cmocka_unit_test(missing_paths_are_named),
		cmocka_unit_test(temporary_roots_hold_as_long_as_the_connection),
		cmocka_unit_test(a_collection_that_runs_meanwhile_spares_new_paths),
		cmocka_unit_test(the_daemon_is_reached_by_its_socket),
	};
	return cmocka_run_group_tests_name("nix-daemon", tests, make_store, remove_store);
}
