/* SPDX-License-Identifier: MIT */
/* A Nix store of its own below a temporary folder, and paths to put there. */
#ifndef BELAY_TESTS_NIX_STORE_H
#define BELAY_TESTS_NIX_STORE_H

#include "../unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "store/daemon.h"
#include "store/path.h"

static char *folder;
static struct bl_strv env; /* of all of Nix here */

static int run(const char *const *argv, struct bl_buf *out)
{
	struct bl_child_spec spec = { .argv = argv,
				      .env = (const char *const *)env.items,
				      .timeout_ms = 60000,
				      .out_max = 64 << 20,
				      .err_mode = BL_CHILD_ERR_KEEP };
	BL_AUTO(bl_child_result) r = { 0 };
	struct bl_err err = { 0 };
	if (bl_child_run(&spec, &r, &err) < 0)
		return -1;
	if (r.status != 0)
		print_message("# %s: %s\n", argv[0], bl_buf_str(&r.err));
	if (out)
		bl_buf_append(out, bl_buf_str(&r.out), r.out.len);
	return r.status;
}
#define RUN(out, ...) run((const char *const[]){ __VA_ARGS__, NULL }, out)

static const char conf[] = "substituters =\nbuild-users-group =\nsandbox = false\n";

/* nix.conf, with @more behind what is always in it. */
static int write_conf(const char *more)
{
	bl_autofree char *name = bl_xprintf("%s/nix.conf", folder);
	FILE *f = fopen(name, "we");
	return f && fprintf(f, "%s%s", conf, more) > 0 && fclose(f) == 0 ? 0 : -1;
}

static int make_store(void **state)
{
	(void)state;
	folder = bl_xprintf("%s/belay-store.XXXXXX",
			    getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	if (write_conf("") < 0)
		return -1;
	bl_strv_addf(&env, "PATH=%s", getenv("PATH"));
	bl_strv_addf(&env, "HOME=%s", folder);
	bl_strv_addf(&env, "NIX_CONF_DIR=%s", folder);
	bl_strv_addf(&env, "NIX_REMOTE=%s/root", folder);
	bl_strv_addf(&env, "NIX_DAEMON_SOCKET_PATH=%s/socket", folder);
	bl_strv_add(&env, "NIX_USER_CONF_FILES=");
	return 0;
}

static int remove_store(void **state)
{
	(void)state;
	RUN(NULL, "chmod", "-R", "u+w", folder);
	int rc = RUN(NULL, "rm", "-rf", folder);
	bl_strv_free(&env);
	free(folder);
	return rc;
}

/* ---- paths with content */

static void put_text(struct bl_buf *b, const char *s, size_t len)
{
	for (size_t i = 0; i < 8; i++)
		bl_buf_putc(b, (char)(uint8_t)((uint64_t)len >> 8 * i));
	bl_buf_append(b, s, len);
	while (b->len % 8)
		bl_buf_putc(b, '\0');
}

struct thing {
	struct bl_path_info info;
	struct bl_buf nar;
};

static void thing_autop(struct thing *t)
{
	bl_path_info_free(&t->info);
	bl_buf_free(&t->nar);
}

static struct thing thing(const char *name, const char *text, size_t len)
{
	static const char *const words[] = { "nix-archive-1", "(", "type", "regular",
					     "contents" };
	struct thing t = { .info = { .registered = 1700000000 } };
	struct bl_sha256 s;
	uint8_t sum[BL_SHA256_LEN];
	char hash[33];
	for (size_t i = 0; i < BL_COUNT(words); i++)
		put_text(&t.nar, words[i], strlen(words[i]));
	put_text(&t.nar, text, len);
	put_text(&t.nar, ")", 1);
	bl_sha256_init(&s);
	bl_sha256_update(&s, t.nar.data, t.nar.len);
	bl_sha256_final(&s, t.info.nar_hash);
	t.info.nar_size = t.nar.len;
	bl_sha256_init(&s);
	bl_sha256_update(&s, name, strlen(name));
	bl_sha256_final(&s, sum);
	bl_nix32(sum, 20, hash);
	t.info.path = bl_xprintf("%s/%s-%s", BL_STORE_DIR, hash, name);
	return t;
}

static struct thing text_thing(const char *name)
{
	return thing(name, name, strlen(name));
}

/* What becomes of it is told when the daemon has said so. */
static inline void add(struct bl_daemon *d, const struct thing *t)
{
	struct bl_err err = { 0 };
	assert_works(bl_daemon_add_begin(d, &t->info, &err), &err);
	assert_works(bl_daemon_add_data(d, t->nar.data, t->nar.len, &err), &err);
	assert_works(bl_daemon_add_end(d, &err), &err);
}

#endif
