/* SPDX-License-Identifier: MIT */
#include "store/path.h"

#include "base/str.h"

#include <string.h>

static bool name_char(char c)
{
	return bl_is_digit(c) || bl_is_alpha(c) || (c && strchr("+._?=-", c));
}

bool bl_store_path_ok(const char *s)
{
	if (!bl_starts_with(s, BL_STORE_DIR "/"))
		return false;
	s += sizeof(BL_STORE_DIR);
	for (size_t i = 0; i < BL_STORE_HASH_LEN; i++)
		if (!s[i] || !strchr("0123456789abcdfghijklmnpqrsvwxyz", s[i]))
			return false;
	if (s[BL_STORE_HASH_LEN] != '-')
		return false;
	const char *name = s + BL_STORE_HASH_LEN + 1;
	size_t len = strlen(name);
	if (len == 0 || len > 211 || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!name_char(name[i]))
			return false;
	return true;
}

int bl_store_path_check(const char *s, const char *what, struct bl_err *err)
{
	if (bl_store_path_ok(s))
		return 0;
	return bl_err_set(err, BL_E_INPUT, "%s: '%.200s' is not a path of the Nix store", what,
			  s);
}

const char *bl_store_path_hash(const char *path)
{
	return path + sizeof(BL_STORE_DIR);
}

const char *bl_store_path_name(const char *path)
{
	return bl_store_path_ok(path) ? path + sizeof(BL_STORE_DIR) + BL_STORE_HASH_LEN + 1
				      : path;
}
