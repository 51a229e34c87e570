/* SPDX-License-Identifier: MIT */
#include "fleet/cache.h"

#include "base/file.h"
#include "base/sha256.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (16UL << 20)
#define SOURCES    32 /* that are remembered */
#define NAME_LEN   32

/* The folder for all sources. */
static char *top_dir(void)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	if (cache && *cache == '/')
		return bl_xprintf("%s/belay/eval", cache);
	if (home && *home == '/')
		return bl_xprintf("%s/.cache/belay/eval", home);
	return NULL;
}

/* A name for what was hashed. */
static void name_of(struct bl_sha256 *s, char out[NAME_LEN + 1])
{
	uint8_t sum[BL_SHA256_LEN];
	bl_sha256_final(s, sum);
	bl_hex(sum, NAME_LEN / 2, out);
}

static void name_of_question(const struct bl_strv *argv, char out[NAME_LEN + 1])
{
	struct bl_sha256 s;
	bl_sha256_init(&s);
	for (size_t i = 0; i < argv->n; i++)
		bl_sha256_update(&s, argv->items[i], strlen(argv->items[i]) + 1);
	name_of(&s, out);
}

static void remove_source(const char *dir)
{
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		bl_autofree char *path = bl_xprintf("%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

/* Removes the oldest one, when there are too many. */
static void forget(const char *top)
{
	DIR *d = opendir(top);
	bl_autofree char *oldest = NULL;
	struct stat of_oldest = { 0 };
	size_t n = 0;
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		bl_autofree char *path = bl_xprintf("%s/%s", top, e->d_name);
		if (e->d_name[0] == '.' || stat(path, &st) < 0)
			continue;
		n++;
		if (oldest && st.st_mtime >= of_oldest.st_mtime)
			continue;
		bl_replace_str(&oldest, path);
		of_oldest = st;
	}
	if (d)
		closedir(d);
	if (n > SOURCES)
		remove_source(oldest);
}

char *bl_cache_open(const char *key)
{
	struct bl_sha256 s;
	char name[NAME_LEN + 1];
	bl_autofree char *top = top_dir();
	if (!top)
		return NULL;
	bl_sha256_init(&s);
	bl_sha256_update(&s, key, strlen(key));
	name_of(&s, name);
	bl_autofree char *dir = bl_xprintf("%s/%s", top, name);
	if (bl_mkdirs(dir, 0700, NULL) < 0)
		return NULL;
	utimensat(AT_FDCWD, dir, NULL, 0);
	forget(top);
	return BL_STEAL(dir);
}

/* A file begins with the sum of what follows: half an answer is none. */
static void sum_of(const char *answer, char out[NAME_LEN + 1])
{
	struct bl_sha256 s;
	bl_sha256_init(&s);
	bl_sha256_update(&s, answer, strlen(answer));
	name_of(&s, out);
}

char *bl_cache_get(const char *dir, const struct bl_strv *argv)
{
	char name[NAME_LEN + 1];
	char sum[NAME_LEN + 1];
	if (!dir)
		return NULL;
	name_of_question(argv, name);
	bl_autofree char *path = bl_xprintf("%s/%s", dir, name);
	bl_autofree char *text = bl_slurp(path, ANSWER_MAX);
	if (!text || strlen(text) < NAME_LEN)
		return NULL;
	sum_of(text + NAME_LEN, sum);
	return strncmp(text, sum, NAME_LEN) == 0 ? bl_xstrdup(text + NAME_LEN) : NULL;
}

void bl_cache_put(const char *dir, const struct bl_strv *argv, const char *answer)
{
	char name[NAME_LEN + 1];
	char sum[NAME_LEN + 1];
	int fd = -1;
	if (!dir || bl_open_dir(dir, &fd, NULL) < 0)
		return;
	name_of_question(argv, name);
	sum_of(answer, sum);
	bl_autofree char *text = bl_xprintf("%s%s", sum, answer);
	/* one that cannot be written is asked for again */
	int rc = bl_write_file_at(fd, name, 0600, text, strlen(text), NULL);
	(void)rc;
	close(fd);
}
