/* SPDX-License-Identifier: MIT */
#include "store/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 1024 /* bytes of a key file; a key is 88 of them, the rest is its name */
#define BASE64   sodium_base64_VARIANT_ORIGINAL

static const char makes_one[] = "`nix-store --generate-binary-cache-key` makes one";

struct bl_sign_key {
	unsigned char secret[crypto_sign_SECRETKEYBYTES];
	char *name;
};

/* ---- the file */

static int check_mode(int fd, const char *file, struct bl_err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return bl_err_set(err, BL_E_USAGE, "%s: %s", file, strerror(errno));
	/* a group may share a key; what everybody has signs nothing */
	if (S_ISREG(st.st_mode) && (st.st_mode & (S_IROTH | S_IWOTH)))
		return bl_err_set(
			err, BL_E_USAGE,
			"%s: all users of this machine can read or change it; "
			"chmod 600 it, and make a new one if somebody may have read it",
			file);
	return 0;
}

/* Not bl_read_all(): what that grows leaves copies behind. */
static int read_text(const char *file, char *text, size_t *out_len, struct bl_err *err)
{
	bl_autofd int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = 0;
	ssize_t n = 0;
	if (fd < 0)
		return bl_err_set(err, BL_E_USAGE, "%s: %s; %s", file, strerror(errno),
				  errno == ENOENT ? makes_one : "let this user read it");
	if (check_mode(fd, file, err) < 0)
		return -1;
	do {
		n = read(fd, text + len, TEXT_MAX - len);
		if (n < 0 && errno != EINTR)
			return bl_err_set(err, BL_E_USAGE, "%s: %s; %s", file, strerror(errno),
					  makes_one);
		len += n > 0 ? (size_t)n : 0;
	} while (n != 0 && len < TEXT_MAX);
	*out_len = len;
	return 0;
}

/* ---- the key */

static bool is_key_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
			return false;
	return len > 0;
}

/* The public half is in the secret one: hosts would believe nothing that the two disagree on.
 */
static bool halves_agree(const unsigned char *secret)
{
	unsigned char seed[crypto_sign_SEEDBYTES];
	unsigned char public[crypto_sign_PUBLICKEYBYTES];
	unsigned char again[crypto_sign_SECRETKEYBYTES];
	crypto_sign_ed25519_sk_to_seed(seed, secret);
	crypto_sign_seed_keypair(public, again, seed);
	bool agree = sodium_memcmp(again, secret, sizeof(again)) == 0;
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(again, sizeof(again));
	return agree;
}

static int take_secret(const char *text, size_t len, struct bl_sign_key *key,
		       struct bl_err *err)
{
	/* room for one that is too long, so that it can be told from what is no base64 */
	unsigned char bytes[TEXT_MAX];
	size_t n = 0;
	const char *end = NULL;
	int rc = sodium_base642bin(bytes, sizeof(bytes), text, len, NULL, &n, &end, BASE64);
	if (rc != 0 || end != text + len)
		rc = bl_err_set(err, BL_E_USAGE, "what stands behind the name is no base64; %s",
				makes_one);
	else if (n == crypto_sign_PUBLICKEYBYTES)
		rc = bl_err_set(err, BL_E_USAGE,
				"it is a public key, for trusted-public-keys of the hosts; "
				"name the file with the secret one");
	else if (n != sizeof(key->secret))
		rc = bl_err_set(err, BL_E_USAGE, "a key of %zu bytes instead of %zu; %s", n,
				sizeof(key->secret), makes_one);
	else if (!halves_agree(bytes))
		rc = bl_err_set(err, BL_E_USAGE,
				"it was damaged: its two halves are of different keys; "
				"copy it once more from where it was made");
	else
		memcpy(key->secret, bytes, sizeof(key->secret));
	sodium_memzero(bytes, sizeof(bytes));
	return rc;
}

static int parse(const char *text, size_t len, struct bl_sign_key *key, struct bl_err *err)
{
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
		len--;
	const char *colon = memchr(text, ':', len);
	size_t name_len = colon ? (size_t)(colon - text) : 0;
	if (len == TEXT_MAX || !is_key_name(text, name_len))
		return bl_err_set(err, BL_E_USAGE,
				  "no secret key of Nix, which is one line name:base64; %s",
				  makes_one);
	if (take_secret(colon + 1, len - name_len - 1, key, err) < 0)
		return -1;
	key->name = bl_xstrndup(text, name_len);
	return 0;
}

int bl_sign_key_read(const char *file, struct bl_sign_key **out, struct bl_err *err)
{
	char text[TEXT_MAX];
	size_t len = 0;
	if (sodium_init() < 0)
		return bl_err_set(err, BL_E_FAILED, "libsodium does not start");
	bl_auto_sign_key struct bl_sign_key *key = bl_xcalloc(1, sizeof(*key));
	/* a limit that forbids it is no reason not to sign */
	(void)sodium_mlock(key->secret, sizeof(key->secret));
	int rc = read_text(file, text, &len, err);
	if (rc == 0 && parse(text, len, key, err) < 0)
		rc = bl_err_wrap(err, "%s", file);
	sodium_memzero(text, sizeof(text));
	if (rc < 0)
		return bl_err_wrap(err, "the key to sign with");
	*out = BL_STEAL(key);
	return 0;
}

void bl_sign_key_free(struct bl_sign_key *key)
{
	if (!key)
		return;
	sodium_munlock(key->secret, sizeof(key->secret)); /* which wipes it */
	free(key->name);
	free(key);
}

/* ---- signing */

static bool has_signed(const struct bl_sign_key *key, const struct bl_path_info *info)
{
	size_t len = strlen(key->name);
	for (size_t i = 0; i < info->sigs.n; i++)
		if (strncmp(info->sigs.items[i], key->name, len) == 0 &&
		    info->sigs.items[i][len] == ':')
			return true;
	return false;
}

char *bl_sign(const struct bl_sign_key *key, const struct bl_path_info *info)
{
	unsigned char sig[crypto_sign_BYTES];
	char text[sodium_base64_ENCODED_LEN(crypto_sign_BYTES, BASE64)];
	if (has_signed(key, info))
		return NULL;
	bl_autofree char *said = bl_path_info_fingerprint(info);
	crypto_sign_detached(sig, NULL, (const unsigned char *)said, strlen(said), key->secret);
	sodium_bin2base64(text, sizeof(text), sig, sizeof(sig), BASE64);
	return bl_xprintf("%s:%s", key->name, text);
}
