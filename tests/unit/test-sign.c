/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/sign.h"

/* of `nix-store --generate-binary-cache-key belay-test-1`, and used for nothing but this */
#define SECRET \
	"nnyR2XyHRmibHYIllOvuz30SD9FPJQ9eamXuBR1Zo2HXhxf3wrHgH/Iev+gf8QL7N3vDz9j9VXSLER9o+EBq3A=="
#define PUBLIC "14cX98Kx4B/yHr/oH/EC+zd7w8/Y/VV0ixEfaPhAatw="
#define KEY    "belay-test-1:" SECRET

static char *folder, *file;
static int folder_fd = -1;

static int make_folder(void **state)
{
	(void)state;
	folder = bl_xstrdup("/tmp/belay-test-sign-XXXXXX");
	struct bl_err err = { 0 };
	if (!mkdtemp(folder) || bl_open_dir(folder, &folder_fd, &err) < 0)
		return -1;
	file = bl_xprintf("%s/key", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(file);
	bl_closep(&folder_fd);
	int rc = rmdir(folder);
	free(file);
	free(folder);
	return rc;
}

static void put(const void *text, size_t len, mode_t mode)
{
	struct bl_err err = { 0 };
	assert_works(bl_write_file_at(folder_fd, "key", 0600, text, len, &err), &err);
	assert_int_equal(chmod(file, mode), 0);
}

/* ... with the file's name and @part, and nothing of what is in it. */
static void assert_refused(const char *name, const char *part)
{
	struct bl_sign_key *key = NULL;
	struct bl_err err = { 0 };
	assert_int_equal(bl_sign_key_read(name, &key, &err), -1);
	assert_int_equal(err.code, BL_E_USAGE);
	if (!strstr(err.msg, part) || !strstr(err.msg, name) || strstr(err.msg, "nnyR2XyH"))
		fail_msg("%s: wanted '%s'", err.msg, part);
	assert_null(key);
}

static struct bl_sign_key *read_key(const char *text)
{
	struct bl_sign_key *key = NULL;
	struct bl_err err = { 0 };
	put(text, strlen(text), 0600);
	assert_works(bl_sign_key_read(file, &key, &err), &err);
	return key;
}

static struct bl_path_info belay_info(void)
{
	static const char hash[] =
		"b690b8349fe047ececb9f45e22efc05cea7982f430f14136590b21643f7b668a";
	struct bl_path_info info = {
		.path = bl_xstrdup("/nix/store/iicqkh1j80cqy9rv55iy9swlvj1aq0ik-belay"),
		.nar_size = 208
	};
	struct bl_err err = { 0 };
	bl_strv_add(&info.references, "/nix/store/6wwzxsyyv5b8p3wv7nblfcjxkb9dlgb7-a");
	bl_strv_add(&info.references, "/nix/store/5ippsbklg1554w2qid5z7ffgbpy7v5a0-b");
	assert_works(bl_unhex(hash, info.nar_hash, BL_SHA256_LEN, &err), &err);
	return info;
}

/* What `nix store sign` of Nix 2.8 made of the same path with the same key. */
static void the_signature_is_the_one_that_nix_makes(void **state)
{
	(void)state;
	static const char nixs[] = "belay-test-1:"
				   "wO1PK1Ydvb3Sk98u7f4vYesdEbatwRxABkGccqHeTgXMMOxfuMKiCcjzyZq"
				   "nTd2HNLmWZ7fcZUXGlny2tUCBCg==";
	static const char *const texts[] = { KEY, KEY "\n", KEY " \r\n\n" };
	BL_AUTO(bl_path_info) info = belay_info();
	for (size_t i = 0; i < BL_COUNT(texts); i++) {
		bl_auto_sign_key struct bl_sign_key *key = read_key(texts[i]);
		bl_autofree char *sig = bl_sign(key, &info);
		assert_string_equal(sig, nixs);
	}
}

static void another_path_has_another_signature(void **state)
{
	(void)state;
	bl_auto_sign_key struct bl_sign_key *key = read_key(KEY);
	BL_AUTO(bl_path_info) info = belay_info();
	bl_autofree char *before = bl_sign(key, &info);
	info.nar_hash[31] ^= 1;
	bl_autofree char *after = bl_sign(key, &info);
	assert_string_not_equal(before, after);
}

static void a_signature_by_that_name_stays(void **state)
{
	(void)state;
	static const struct {
		const char *sig;
		bool signs;
	} cases[] = { { "cache.nixos.org-1:abc", true },
		      { "belay-test-1:abc", false },
		      { "belay-test-1", true },
		      { "belay-test-10:abc", true },
		      { "other-belay-test-1:abc", true },
		      { "", true },
		      { "belay-test:belay-test-1:x", true } };
	bl_auto_sign_key struct bl_sign_key *key = read_key(KEY);
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_path_info) info = belay_info();
		bl_strv_add(&info.sigs, "someone-1:xyz");
		bl_strv_add(&info.sigs, cases[i].sig);
		bl_autofree char *sig = bl_sign(key, &info);
		assert_int_equal(sig != NULL, cases[i].signs);
	}
}

static void no_secret_key_of_nix_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "", "no secret key of Nix, which is one line name:base64" },
		{ "\n", "no secret key of Nix" },
		{ SECRET, "no secret key of Nix" },
		{ ":" SECRET, "no secret key of Nix" },
		{ "my key:" SECRET, "no secret key of Nix" },
		{ "\x1b[31m:" SECRET, "no secret key of Nix" },
		{ KEY "\n" KEY "\n", "what stands behind the name is no base64" },
		{ "a:", "a key of 0 bytes instead of 64" },
		{ "a:b:" SECRET, "what stands behind the name is no base64" },
		{ "a:not base64", "what stands behind the name is no base64" },
		{ "a:bm90IDY0IGJ5dGVz", "a key of 12 bytes instead of 64" },
		{ "a:" SECRET SECRET, "what stands behind the name is no base64" },
		{ "belay-test-1:" PUBLIC, "it is a public key, for trusted-public-keys" },
		/* its last byte: another public half */
		{ "a:nnyR2XyHRmibHYIllOvuz30SD9FPJQ9eamXuBR1Zo2HXhxf3wrHgH/Iev+gf8QL7N3vDz9j9VXS"
		  "LER9o+EBq3Q==",
		  "it was damaged" },
		{ "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n",
		  "no secret key of Nix" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		put(cases[i].text, strlen(cases[i].text), 0600);
		assert_refused(file, cases[i].msg);
	}
}

static void what_is_long_or_not_text_is_no_key(void **state)
{
	(void)state;
	uint64_t seed = 5;
	for (size_t len = 0; len < 3000; len += 97) {
		BL_AUTO(bl_buf) b = { 0 };
		struct bl_sign_key *key = NULL;
		struct bl_err err = { 0 };
		for (size_t i = 0; i < len; i++)
			bl_buf_putc(&b, (char)(uint8_t)unit_random(&seed));
		put(bl_buf_str(&b), len, 0600);
		assert_int_equal(bl_sign_key_read(file, &key, &err), -1);
		bl_buf_clear(&b);
		for (size_t i = 0; i < len; i++)
			bl_buf_putc(&b, i == 3 ? ':' : 'A');
		put(bl_buf_str(&b), len, 0600);
		assert_int_equal(bl_sign_key_read(file, &key, &err), -1);
	}
}

static void a_key_that_everybody_has_is_refused(void **state)
{
	(void)state;
	static const struct {
		mode_t mode;
		bool fine;
	} cases[] = {
		{ 0600, true },  { 0400, true },  { 0640, true },
		{ 0644, false }, { 0604, false }, { 0602, false },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		put(KEY, strlen(KEY), cases[i].mode);
		if (!cases[i].fine) {
			assert_refused(file, "chmod 600 it");
			continue;
		}
		bl_auto_sign_key struct bl_sign_key *key = NULL;
		struct bl_err err = { 0 };
		assert_works(bl_sign_key_read(file, &key, &err), &err);
	}
}

static void a_key_that_cannot_be_read_is_told_of(void **state)
{
	(void)state;
	unlink(file);
	assert_refused(file,
		       "No such file or directory; `nix-store --generate-binary-cache-key`");
	assert_refused(folder, "Is a directory");
	if (geteuid() == 0)
		return;
	put(KEY, strlen(KEY), 0200);
	assert_refused(file, "Permission denied; let this user read it");
}

/* As a shell's <(...) gives it. */
static void a_key_may_come_by_a_pipe(void **state)
{
	(void)state;
	int ends[2];
	struct bl_err err = { 0 };
	bl_auto_sign_key struct bl_sign_key *key = NULL;
	assert_int_equal(pipe(ends), 0);
	assert_works(bl_write_all(ends[1], KEY "\n", strlen(KEY) + 1, &err), &err);
	close(ends[1]);
	bl_autofree char *name = bl_xprintf("/dev/fd/%d", ends[0]);
	assert_works(bl_sign_key_read(name, &key, &err), &err);
	close(ends[0]);
	BL_AUTO(bl_path_info) info = belay_info();
	bl_autofree char *sig = bl_sign(key, &info);
	assert_true(bl_starts_with(sig, "belay-test-1:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_signature_is_the_one_that_nix_makes),
		cmocka_unit_test(another_path_has_another_signature),
		cmocka_unit_test(a_signature_by_that_name_stays),
		cmocka_unit_test(no_secret_key_of_nix_is_refused),
		cmocka_unit_test(what_is_long_or_not_text_is_no_key),
		cmocka_unit_test(a_key_that_everybody_has_is_refused),
		cmocka_unit_test(a_key_that_cannot_be_read_is_told_of),
		cmocka_unit_test(a_key_may_come_by_a_pipe),
	};
	return cmocka_run_group_tests_name("sign", tests, make_folder, remove_folder);
}
