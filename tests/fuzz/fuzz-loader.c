/* SPDX-License-Identifier: MIT */
/* Boot loader files, as an administrator or another system may have left them. */
#include "agent/bootfiles.h"
#include "agent/loader.h"
#include "store/path.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_system(const char *top)
{
	assert(!top || bl_store_path_ok(top));
}

/* The first byte says which file it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *bytes = (const char *)data + 1;
	bl_autofree char *text = bl_xstrndup(bytes, size - 1);
	bl_autofree char *found = NULL;
	switch (data[0]) {
	case 'o':
		/* a line in the middle of a text: no NUL behind it */
		found = bl_loader_init_of(bytes, size - 1);
		check_system(found);
		break;
	case 'c':
		found = bl_loader_conf_default(text);
		assert(!found || (*found && !strchr(found, '\n')));
		break;
	case 'g':
		found = bl_loader_grub_default(text);
		check_system(found);
		break;
	case 'e':
		found = bl_loader_extlinux_default(text);
		check_system(found);
		break;
	case 'p': {
		bl_autofree char *place = bl_loader_grub_entry(
			text, "/nix/store/00000000000000000000000000000000-s");
		assert(!place || strspn(place, "0123456789>") == strlen(place));
		break;
	}
	case 'w': {
		bl_autofree char *kernel = NULL;
		bl_autofree char *initrd = NULL;
		if (!bl_bootfiles_words(text, "/nix/store/00000000000000000000000000000000-s",
					&kernel, &initrd))
			break;
		assert(!kernel || strstr(text, kernel));
		bl_autofree char *path =
			initrd ? bl_bootfiles_path(BL_LOADER_BLS, "/boot", initrd) : NULL;
		assert(!path || !strstr(path, "/../"));
		break;
	}
	default:
		break;
	}
	/* what is found stands in the text */
	assert(!found || strstr(text, found));
	return 0;
}
