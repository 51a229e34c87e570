/* SPDX-License-Identifier: MIT */
#include "copy/copy.h"

#include "host/ssh.h"

#include <stdlib.h>
#include <string.h>

struct bl_copy {
	struct bl_proc *proc;
	struct bl_copy_spec spec;
};

void bl_copy_explain(const char *said, int status, char **out_what, char **out_remedy)
{
	bl_ssh_explain(said, status, out_what, out_remedy);
	if (strstr(said, "lacks a"))
		bl_replace_str(
			out_remedy,
			"deploy as root or with sudo, sign the paths, or list the user in "
			"trusted-users on the host");
}

static void on_exit_(void *ctx, int status, const char *err_tail)
{
	struct bl_copy *c = ctx;
	bl_autofree char *what = NULL;
	bl_autofree char *remedy = NULL;
	if (status != 0)
		bl_copy_explain(err_tail, status, &what, &remedy);
	c->spec.done(c->spec.ctx, what, remedy);
	free(c);
}

char *bl_copy_url(const struct bl_node *node, bool elevated)
{
	BL_AUTO(bl_buf) url = { 0 };
	bl_buf_printf(&url, "ssh://root@%s", node->name);
	if (!elevated)
		return bl_buf_steal(&url);
	bl_buf_puts(&url, "?remote-program=");
	for (size_t i = 0; i < node->elevate.n; i++)
		bl_buf_printf(&url, "%s%%20", node->elevate.items[i]);
	bl_buf_puts(&url, "nix-store");
	return bl_buf_steal(&url);
}

int bl_copy_start(uv_loop_t *loop, const struct bl_copy_spec *spec, struct bl_copy **out,
		  struct bl_err *err)
{
	BL_AUTO(bl_strv) argv = { 0 };
	/* with a password there is nobody to give it to another sudo */
	bool elevated = bl_session_elevated(spec->session) && !spec->node->sudo_password;
	bl_autofree char *url = bl_copy_url(spec->node, elevated);
	bl_autofree char *options = bl_ssh_nix_options(spec->control);
	bl_autofree char *env = bl_xprintf("NIX_SSHOPTS=%s", options);
	const char *const env_add[] = { env, NULL };
	static const char *const head[] = { "nix", "--extra-experimental-features",
					    "nix-command", "copy", "--no-check-sigs" };
	for (size_t i = 0; i < BL_COUNT(head); i++)
		bl_strv_add(&argv, head[i]);
	if (spec->node->substitute_on_target)
		bl_strv_add(&argv, "--substitute-on-destination");
	bl_strv_add(&argv, "--to");
	bl_strv_add(&argv, url);
	bl_strv_add(&argv, spec->path);
	struct bl_copy *c = bl_xcalloc(1, sizeof(*c));
	c->spec = *spec;
	c->spec.path = NULL;
	struct bl_proc_spec proc = {
		.argv = (const char *const *)argv.items,
		.env_add = env_add,
		.on_exit = on_exit_,
		.ctx = c,
	};
	if (bl_proc_start(loop, &proc, &c->proc, err) < 0) {
		free(c);
		return bl_err_wrap(err, "copy the agent");
	}
	*out = c;
	return 0;
}

void bl_copy_drop(struct bl_copy *c)
{
	if (!c)
		return;
	bl_proc_drop(c->proc);
	free(c);
}
