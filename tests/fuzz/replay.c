/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target on every file of the folders and files that are named, without a fuzzer:
 * what was found once stays found with every compiler.
 */
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *path)
{
	struct bl_err err = { 0 };
	bl_autofree char *text = NULL;
	size_t len = 0;
	if (bl_read_file_at(AT_FDCWD, path, 16U << 20, &text, &len, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		exit(1);
	}
	/* without the NUL behind it, so that a sanitizer sees a step too far */
	uint8_t *exact = bl_xcalloc(len, 1);
	if (len)
		memcpy(exact, text, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

int main(int argc, char **argv)
{
	size_t n = 0;
	for (int i = 1; i < argc; i++) {
		struct dirent **entries = NULL;
		int count = scandir(argv[i], &entries, NULL, alphasort);
		for (int k = 0; k < count; k++) {
			bl_autofree char *path =
				bl_xprintf("%s/%s", argv[i], entries[k]->d_name);
			if (entries[k]->d_name[0] != '.') {
				run(path);
				n++;
			}
			free(entries[k]);
		}
		free(entries);
	}
	printf("%zu inputs\n", n);
	return n > 0 ? 0 : 1;
}
