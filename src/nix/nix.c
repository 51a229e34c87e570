/* SPDX-License-Identifier: MIT */
#include "nix/nix.h"

#include "base/child.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (64UL * 1024 * 1024)

static const char *last_of(const char *text, const char *what)
{
	const char *found = NULL;
	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		found = at;
	return found;
}

char *bl_nix_one_line(const char *at)
{
	BL_AUTO(bl_buf) b = { 0 };
	bool blank = false;
	for (; *at && b.len < 400; at++) {
		if (*at == '\033') {
			at += strcspn(at, "m");
			if (!*at)
				break;
			continue;
		}
		if (*at == ' ' || *at == '\n' || *at == '\t') {
			blank = b.len > 0;
			continue;
		}
		if (blank)
			bl_buf_putc(&b, ' ');
		blank = false;
		bl_buf_putc(&b, *at);
	}
	return bl_buf_steal(&b);
}

char *bl_nix_complaint(const char *stderr_text)
{
	static const char ours[] = "error: belay: ";
	const char *at = last_of(stderr_text, ours);
	if (at) {
		at += sizeof(ours) - 1;
		return bl_xstrndup(at, strcspn(at, "\n"));
	}
	at = last_of(stderr_text, "error: ");
	/* without a blank where the message begins with a line end, as that of failed
	 * assertions */
	const char *bare = last_of(at ? at : stderr_text, "error:\n");
	at = bare ? bare + strlen("error:") : at ? at + strlen("error: ") : stderr_text;
	/* several lines with an excerpt of the file: in one line it still names file and place
	 */
	return bl_nix_one_line(at);
}

int bl_nix_output(const char *const *argv, char **out_text, size_t *out_len, struct bl_err *err)
{
	const struct bl_child_spec spec = { .argv = argv,
					    .out_max = OUTPUT_MAX,
					    .err_mode = BL_CHILD_ERR_KEEP };
	BL_AUTO(bl_child_result) r = { 0 };
	if (bl_child_run(&spec, &r, err) < 0)
		return bl_err_wrap(err, "Nix is needed on this machine");
	if (r.status != 0) {
		bl_autofree char *said = bl_nix_complaint(bl_buf_str(&r.err));
		return bl_err_set(err, BL_E_FAILED, "%s", said);
	}
	if (out_len)
		*out_len = r.out.len;
	*out_text = bl_buf_steal(&r.out);
	return 0;
}

int bl_nix_add(const char *dir, char **out_path, struct bl_err *err)
{
	const char *const argv[] = { "nix-store", "--add", dir, NULL };
	if (bl_nix_output(argv, out_path, NULL, err) < 0)
		return bl_err_wrap(err, "add %s to the store", dir);
	(*out_path)[strcspn(*out_path, "\n")] = '\0';
	return 0;
}
