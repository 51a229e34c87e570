/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/sha256.h"
#include "base/str.h"

static void digest(const void *data, size_t len, char out[2 * BL_SHA256_LEN + 1])
{
	struct bl_sha256 s;
	uint8_t sum[BL_SHA256_LEN];
	bl_sha256_init(&s);
	bl_sha256_update(&s, data, len);
	bl_sha256_final(&s, sum);
	bl_hex(sum, sizeof(sum), out);
}

/* Source: NIST, FIPS 180-4 examples (SHA256.pdf) and the SHAVS short messages. */
static void fips_180_4_examples_hold(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};
	char got[2 * BL_SHA256_LEN + 1];
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		digest(cases[i].text, strlen(cases[i].text), got);
		assert_string_equal(got, cases[i].want);
	}
}

static void a_million_times_a_in_uneven_pieces(void **state)
{
	(void)state;
	struct bl_sha256 s;
	uint8_t sum[BL_SHA256_LEN];
	char piece[1000];
	char got[2 * BL_SHA256_LEN + 1];
	memset(piece, 'a', sizeof(piece));
	bl_sha256_init(&s);
	size_t left = 1000000;
	for (size_t len = 1; left > 0; len = len % 997 + 1) {
		size_t take = len < left ? len : left;
		bl_sha256_update(&s, piece, take);
		left -= take;
	}
	bl_sha256_final(&s, sum);
	bl_hex(sum, sizeof(sum), got);
	assert_string_equal(got,
			    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void every_length_around_a_block_is_the_same_in_pieces(void **state)
{
	(void)state;
	uint8_t data[200];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(data); len++) {
		char whole[2 * BL_SHA256_LEN + 1];
		char parts[2 * BL_SHA256_LEN + 1];
		uint8_t sum[BL_SHA256_LEN];
		struct bl_sha256 s;
		digest(data, len, whole);
		bl_sha256_init(&s);
		for (size_t i = 0; i < len; i++)
			bl_sha256_update(&s, data + i, 1);
		bl_sha256_final(&s, sum);
		bl_hex(sum, sizeof(sum), parts);
		assert_string_equal(whole, parts);
	}
}

/* Source: RFC 4231, test cases 1 to 4, 6 and 7 (5 is about truncation). */
static void rfc_4231_vectors_hold(void **state)
{
	(void)state;
	uint8_t k0b[20], kaa[131], k25[25], dd[50], cd[50];
	memset(k0b, 0x0b, sizeof(k0b));
	memset(kaa, 0xaa, sizeof(kaa));
	memset(dd, 0xdd, sizeof(dd));
	memset(cd, 0xcd, sizeof(cd));
	for (size_t i = 0; i < sizeof(k25); i++)
		k25[i] = (uint8_t)(i + 1);
	static const char large_key[] =
		"Test Using Larger Than Block-Size Key - Hash Key First";
	static const char large_both[] =
		"This is a test using a larger than block-size key and a larger than block-size data. "
		"The key needs to be hashed before being used by the HMAC algorithm.";
	const struct {
		const void *key;
		size_t key_len;
		const void *data;
		size_t len;
		const char *want;
	} cases[] = {
		{ k0b, 20, "Hi There", 8,
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ "Jefe", 4, "what do ya want for nothing?", 28,
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ kaa, 20, dd, 50,
		  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
		{ k25, 25, cd, 50,
		  "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
		{ kaa, 131, large_key, sizeof(large_key) - 1,
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
		{ kaa, 131, large_both, sizeof(large_both) - 1,
		  "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		uint8_t mac[BL_SHA256_LEN];
		char got[2 * BL_SHA256_LEN + 1];
		bl_hmac_sha256(cases[i].key, cases[i].key_len, cases[i].data, cases[i].len,
			       mac);
		bl_hex(mac, sizeof(mac), got);
		assert_string_equal(got, cases[i].want);
	}
}

static void secrets_are_equal_only_when_every_byte_is(void **state)
{
	(void)state;
	uint8_t a[32] = { 0 };
	uint8_t b[32] = { 0 };
	assert_true(bl_secret_eq(a, b, sizeof(a)));
	assert_true(bl_secret_eq(a, b, 0));
	for (size_t i = 0; i < 8 * sizeof(a); i++) {
		b[i / 8] ^= (uint8_t)(1U << i % 8);
		assert_false(bl_secret_eq(a, b, sizeof(a)));
		b[i / 8] ^= (uint8_t)(1U << i % 8);
	}
}

/* Source: RFC 3720, appendix B.4, and the check value of CRC-32C. */
static void crc32c_vectors_hold(void **state)
{
	(void)state;
	uint8_t zero[32] = { 0 };
	uint8_t ones[32];
	uint8_t up[32];
	memset(ones, 0xff, sizeof(ones));
	for (size_t i = 0; i < sizeof(up); i++)
		up[i] = (uint8_t)i;
	assert_int_equal(bl_crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(bl_crc32c("", 0), 0);
	assert_int_equal(bl_crc32c(zero, 32), 0x8a9136aa);
	assert_int_equal(bl_crc32c(ones, 32), 0x62a8ab43);
	assert_int_equal(bl_crc32c(up, 32), 0x46dd794e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fips_180_4_examples_hold),
		cmocka_unit_test(a_million_times_a_in_uneven_pieces),
		cmocka_unit_test(every_length_around_a_block_is_the_same_in_pieces),
		cmocka_unit_test(rfc_4231_vectors_hold),
		cmocka_unit_test(secrets_are_equal_only_when_every_byte_is),
		cmocka_unit_test(crc32c_vectors_hold),
	};
	return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
