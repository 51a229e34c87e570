/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "guard/proof.h"

#define NONCE   "00112233445566778899aabbccddeeff"
#define BOOT_ID "5f9f1b9c-8f0e-4d5b-9d0a-3c1d2e3f4a5b"
#define NEW     "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1-24.05"

static void challenge(struct bl_kv *kv)
{
	bl_kv_set(kv, "nonce", NONCE);
	bl_kv_set(kv, "epoch", "7");
	bl_kv_set(kv, "boot_id", BOOT_ID);
	bl_kv_set(kv, "new", NEW);
	bl_kv_set(kv, "state", "WAIT_CONFIRM");
}

static void key_of(uint8_t key[BL_KEY_LEN])
{
	for (size_t i = 0; i < BL_KEY_LEN; i++)
		key[i] = (uint8_t)i;
}

/* Made with Python's hmac over "purpose=belay-confirm-1\nnonce=...\n...state=WAIT_CONFIRM\n".
 */
static const char known[] = "269af673e9e54737b3de4c5302b2c45ae7332ea791fd42384da260ee853de9c3";

static void a_proof_is_the_one_that_others_reckon_too(void **state)
{
	(void)state;
	static const uint8_t zeros[BL_KEY_LEN] = { 0 };
	static const struct bl_kv nothing = { 0 };
	BL_AUTO(bl_kv) kv = { 0 };
	uint8_t key[BL_KEY_LEN];
	char hex[BL_PROOF_HEX];
	struct bl_err err = { 0 };
	challenge(&kv);
	key_of(key);
	bl_proof_make(key, &kv, hex);
	assert_string_equal(hex, known);
	assert_works(bl_proof_check(key, &kv, known, &err), &err);
	bl_proof_make(zeros, &nothing, hex);
	assert_string_equal(hex,
			    "08467b11c9bad9c02505218401426f383a76293d62e5ee8e9c28072ba1635ea9");
}

static void a_proof_is_for_its_challenge_alone(void **state)
{
	(void)state;
	static const struct {
		const char *field, *value;
	} cases[] = {
		{ "nonce", "00112233445566778899aabbccddeefe" },
		{ "nonce", "" },
		{ "epoch", "8" },
		{ "epoch", "07" },
		{ "boot_id", "5f9f1b9c-8f0e-4d5b-9d0a-3c1d2e3f4a5c" },
		{ "new", NEW "x" },
		{ "state", "ACTIVATING" },
		{ "state", "" },
		/* no value passes for two fields */
		{ "nonce", NONCE "\nepoch=7" },
		{ "state", "WAIT_CONFIRM\n" },
	};
	for (size_t i = 0; i < BL_COUNT(cases); i++) {
		BL_AUTO(bl_kv) kv = { 0 };
		uint8_t key[BL_KEY_LEN];
		char before[BL_PROOF_HEX];
		char hex[BL_PROOF_HEX];
		struct bl_err err = { 0 };
		challenge(&kv);
		key_of(key);
		/* not the known one: that would differ for any other reason too */
		bl_proof_make(key, &kv, before);
		bl_kv_set(&kv, cases[i].field, cases[i].value);
		assert_fails(bl_proof_check(key, &kv, before, &err), &err, BL_E_REFUSED,
			     "bad proof");
		bl_proof_make(key, &kv, hex);
		assert_string_not_equal(hex, before);
		assert_works(bl_proof_check(key, &kv, hex, &err), &err);
	}
}

static void two_fields_cannot_be_read_as_one(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) a = { 0 };
	BL_AUTO(bl_kv) b = { 0 };
	uint8_t key[BL_KEY_LEN];
	char of_a[BL_PROOF_HEX];
	char of_b[BL_PROOF_HEX];
	key_of(key);
	bl_kv_set(&a, "nonce", "x\nepoch=1");
	bl_kv_set(&b, "nonce", "x");
	bl_kv_set(&b, "epoch", "1");
	bl_proof_make(key, &a, of_a);
	bl_proof_make(key, &b, of_b);
	assert_string_not_equal(of_a, of_b);
}

static void a_proof_is_of_its_key_alone(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	struct bl_err err = { 0 };
	challenge(&kv);
	for (size_t bit = 0; bit < (size_t)8 * BL_KEY_LEN; bit++) {
		uint8_t key[BL_KEY_LEN];
		key_of(key);
		key[bit / 8] = (uint8_t)(key[bit / 8] ^ (1U << bit % 8));
		assert_fails(bl_proof_check(key, &kv, known, &err), &err, BL_E_REFUSED,
			     "bad proof");
	}
}

static void fields_that_are_no_part_of_it_do_not_count_nor_does_the_order(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	uint8_t key[BL_KEY_LEN];
	struct bl_err err = { 0 };
	key_of(key);
	bl_kv_set(&kv, "later", "field");
	bl_kv_set(&kv, "state", "WAIT_CONFIRM");
	bl_kv_set(&kv, "purpose", "another");
	bl_kv_set(&kv, "new", NEW);
	bl_kv_set(&kv, "epoch", "7");
	bl_kv_set(&kv, "boot_id", BOOT_ID);
	bl_kv_set(&kv, "nonce", NONCE);
	assert_works(bl_proof_check(key, &kv, known, &err), &err);
}

static void what_is_no_whole_proof_is_refused(void **state)
{
	(void)state;
	BL_AUTO(bl_kv) kv = { 0 };
	uint8_t key[BL_KEY_LEN];
	struct bl_err err = { 0 };
	challenge(&kv);
	key_of(key);
	char copy[BL_PROOF_HEX + 1];
	for (size_t len = 0; len < BL_PROOF_HEX - 1; len++) {
		memcpy(copy, known, len);
		copy[len] = '\0';
		assert_fails(bl_proof_check(key, &kv, copy, &err), &err, BL_E_REFUSED,
			     "bad proof");
	}
	for (size_t i = 0; i < BL_PROOF_HEX - 1; i++) {
		memcpy(copy, known, sizeof(known));
		copy[i] = copy[i] == '0' ? '1' : '0';
		assert_fails(bl_proof_check(key, &kv, copy, &err), &err, BL_E_REFUSED,
			     "bad proof");
	}
	memcpy(copy, known, sizeof(known) - 1);
	memcpy(copy + sizeof(known) - 1, "0", 2);
	assert_fails(bl_proof_check(key, &kv, copy, &err), &err, BL_E_REFUSED, "bad proof");
	assert_fails(bl_proof_check(key, &kv,
				    "269AF673E9E54737B3DE4C5302B2C45AE7332EA791FD42384DA260EE"
				    "853DE9C3",
				    &err),
		     &err, BL_E_REFUSED, "bad proof");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_proof_is_the_one_that_others_reckon_too),
		cmocka_unit_test(a_proof_is_for_its_challenge_alone),
		cmocka_unit_test(two_fields_cannot_be_read_as_one),
		cmocka_unit_test(a_proof_is_of_its_key_alone),
		cmocka_unit_test(fields_that_are_no_part_of_it_do_not_count_nor_does_the_order),
		cmocka_unit_test(what_is_no_whole_proof_is_refused),
	};
	return cmocka_run_group_tests_name("proof", tests, NULL, NULL);
}
