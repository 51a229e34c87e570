/* SPDX-License-Identifier: MIT */
/* `belay init`: what is in a folder, and the smallest fleet file that deploys it. */
#include "cli/cmd.h"
#include "cli/folder.h"

#include "base/file.h"
#include "host/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct bl_option options[] = {
	{ "as-flake", 0, BL_OPT_FLAG, NULL, "write flake.nix, not fleet.nix",
	  offsetof(struct bl_args, as_flake), 0, 0 },
	BL_NIX_OPTIONS,
	BL_HELP_OPTION,
};

struct init {
	const struct bl_args *args;
	const char *word; /* the folder as it was given */
	bool here;        /* it is the one that we are in */
	struct bl_folder folder;
};

/* A file of the folder, as it is called from here. */
static char *path_of(const struct init *in, const char *name)
{
	size_t len = strlen(in->word);
	while (len > 0 && in->word[len - 1] == '/')
		len--;
	return in->here ? bl_xstrdup(name) : bl_xprintf("%.*s/%s", (int)len, in->word, name);
}

static char *shown(const struct init *in, const char *name)
{
	bl_autofree char *path = path_of(in, name);
	return bl_visible(path);
}

/* ---- what comes next */

/* That the fleet is in @name has to be said where others are found first, or in another place.
 */
static void put_source(const struct init *in, const char *name, struct bl_buf *b)
{
	static const char *const found[] = { "fleet.nix", "default.nix", "flake.nix" };
	bool flake = strcmp(name, "flake.nix") == 0;
	size_t first = 0;
	while (first < BL_COUNT(found) && strcmp(found[first], name) != 0 &&
	       !bl_folder_file(&in->folder, found[first]))
		first++;
	if (in->here && first < BL_COUNT(found) && strcmp(found[first], name) == 0)
		return;
	/* a reference has to begin like a path, or it is looked up elsewhere */
	bl_autofree char *path = !flake     ? path_of(in, name)
				 : in->here ? bl_xstrdup(".")
					    : bl_xstrdup(in->folder.dir);
	bl_buf_puts(b, flake ? " --flake " : " -f ");
	bl_buf_put_shell_word(b, path);
}

static void tell_next(const struct init *in, const char *name)
{
	BL_AUTO(bl_buf) b = { 0 };
	put_source(in, name, &b);
	bl_autofree char *source = bl_visible(bl_buf_str(&b));
	printf("  belay plan%s\n  belay deploy%s\n", source, source);
}

/* ---- a fleet that is there */

static int width_of(const struct bl_fleet *fleet)
{
	size_t width = 0;
	for (size_t i = 0; i < fleet->n; i++) {
		size_t len = strlen(fleet->nodes[i].name);
		width = len > width ? len : width;
	}
	return (int)width;
}

static void tell_hosts(const struct bl_fleet *fleet)
{
	int width = width_of(fleet);
	for (size_t i = 0; i < fleet->n; i++) {
		const struct bl_node *node = &fleet->nodes[i];
		bl_autofree char *host = bl_visible(node->host);
		printf("  %-*s  %s%s\n", width, node->name, host,
		       node->enable ? "" : "  (not enabled)");
	}
}

/* What the source is, as its reader knows it. */
static const char *kind_of(const struct bl_source *source, const struct bl_nix_file *file)
{
	if (source->foreign && strcmp(source->foreign, "colmenaHive") == 0)
		return "has colmena's output colmenaHive, which belay reads as it is";
	if (source->foreign && strcmp(source->foreign, "deploy") == 0)
		return "has deploy-rs's output deploy, which belay reads as it is";
	if (source->foreign)
		return "has nixosConfigurations, which belay reads as they are";
	if (file->look == BL_LOOK_HIVE || strcmp(file->name, "hive.nix") == 0)
		return "is a hive of colmena's, which belay reads as it is";
	if (file->look == BL_LOOK_NIXUS)
		return "is a fleet of nixus's, which belay reads as it is";
	return source->kind == BL_SRC_FLAKE ? "has a fleet already, the output belay"
					    : "is a fleet already";
}

static bool reached_by_name(const struct bl_fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++)
		if (strcmp(fleet->nodes[i].name, fleet->nodes[i].host) == 0)
			return true;
	return false;
}

static void tell_fleet(const struct init *in, const struct bl_source *source,
		       const struct bl_nix_file *file, const struct bl_fleet *fleet)
{
	bl_autofree char *name = shown(in, file->name);
	printf("%s %s; nothing needs to be written\n%zu host%s:\n", name, kind_of(source, file),
	       fleet->n, fleet->n == 1 ? "" : "s");
	tell_hosts(fleet);
	if (source->foreign && strcmp(source->foreign, "nixosConfigurations") == 0 &&
	    reached_by_name(fleet))
		puts("hosts that ssh does not reach by their names: set belay.deploy.host in their\n"
		     "configuration (with belay's NixOS module), or name them in ~/.ssh/config");
	puts("next:");
	tell_next(in, file->name);
}

/* 1: it is a fleet, and was told; 0: it is a flake with nothing that could be deployed. */
static int read_fleet(const struct init *in, const struct bl_nix_file *file, struct bl_err *err)
{
	static const struct bl_strv all = { 0 };
	BL_AUTO(bl_source) source = { 0 };
	BL_AUTO(bl_fleet) fleet = { 0 };
	bool flake = strcmp(file->name, "flake.nix") == 0;
	source.kind = flake ? BL_SRC_FLAKE : BL_SRC_FILE;
	source.where = flake ? bl_xstrdup(in->folder.dir)
			     : bl_xprintf("%s/%s", in->folder.dir, file->name);
	bl_cmd_source_flags(in->args, &source);
	if (bl_fleet_read(&source, bl_datadir(), &all, &fleet, err) == 0) {
		bl_cmd_notes(&fleet.notes);
		tell_fleet(in, &source, file, &fleet);
		return 1;
	}
	if (flake && !source.decided && err->code == BL_E_USAGE) {
		*err = (struct bl_err){ 0 };
		return 0;
	}
	return -1;
}

static bool looks_like_fleet(const struct bl_nix_file *file)
{
	return file->look == BL_LOOK_FLEET || file->look == BL_LOOK_HIVE ||
	       file->look == BL_LOOK_NIXUS;
}

/* In the order in which `belay deploy` finds them, then those that it has to be told. */
static int find_fleet(const struct init *in, struct bl_err *err)
{
	static const char *const by_name[] = { "fleet.nix", "default.nix", "flake.nix",
					       "hive.nix" };
	const struct bl_folder *f = &in->folder;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < BL_COUNT(by_name); i++) {
		const struct bl_nix_file *file = bl_folder_file(f, by_name[i]);
		/* most of them are packages */
		bool other = strcmp(by_name[i], "default.nix") == 0;
		if (file && (!other || looks_like_fleet(file)))
			rc = read_fleet(in, file, err);
	}
	for (size_t i = 0; rc == 0 && i < f->n; i++)
		if (looks_like_fleet(&f->files[i]) &&
		    strcmp(f->files[i].name, "flake.nix") != 0)
			rc = read_fleet(in, &f->files[i], err);
	return rc;
}

/* ---- a fleet that is written */

/* belay's own flake, where belay runs from its source or was installed with it. */
static char *own_flake(void)
{
	bl_autofree char *library = bl_xprintf("%s/nix/..", bl_datadir());
	bl_autofree char *dir = bl_realpath(library);
	bl_autofree char *flake = bl_xprintf("%s/flake.nix", dir ? dir : "");
	bl_autofree char *git = bl_xprintf("%s/.git", dir ? dir : "");
	if (access(flake, R_OK) < 0)
		return NULL;
	/* what was built there is not to be copied along */
	return bl_xprintf("%s%s", access(git, F_OK) == 0 ? "git+file://" : "path:", dir);
}

static void put_text(const struct bl_sketch *sketch, bool as_flake, const char *belay,
		     struct bl_buf *b)
{
	if (!as_flake) {
		bl_sketch_fleet(sketch, b);
		return;
	}
	bl_autofree char *own = bl_cmd_own_machine();
	bl_autofree char *system = bl_xprintf("%s-linux", own);
	bl_sketch_flake(sketch, belay ? belay : "path:/path/of/belay", system, b);
}

/* Never over something that is there. */
static int write_new(const struct init *in, const char *name, const struct bl_buf *text,
		     struct bl_err *err)
{
	bl_autofree char *path = bl_xprintf("%s/%s", in->folder.dir, name);
	bl_autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return bl_err_set(err, BL_E_USAGE,
				  "%s is there already and no fleet; it is left as it is",
				  path);
	if (fd < 0)
		return bl_err_sys(err, errno, "%s", path);
	if (bl_write_all(fd, text->data, text->len, err) == 0)
		return 0;
	unlink(path);
	return bl_err_wrap(err, "%s", path);
}

static bool in_git(const char *dir)
{
	bl_autofree char *at = bl_xstrdup(dir);
	for (;;) {
		bl_autofree char *git = bl_xprintf("%s/.git", at);
		char *slash = strrchr(at, '/');
		if (access(git, F_OK) == 0)
			return true;
		if (!slash)
			return false;
		*slash = '\0';
	}
}

static void tell_written(const struct init *in, const char *name,
			 const struct bl_sketch *sketch)
{
	bl_autofree char *file = shown(in, name);
	printf("%s is written, a fleet of %zu host%s:\n", file, sketch->n,
	       sketch->n == 1 ? "" : "s");
	for (size_t i = 0; i < sketch->n; i++) {
		bl_autofree char *path = shown(in, sketch->hosts[i].path);
		printf("  %s  %s\n", sketch->hosts[i].name, path);
	}
	printf("next: change each `host` in it to what ssh is given for it, then\n");
}

static void tell_flake(const struct init *in, bool belay_known)
{
	BL_AUTO(bl_buf) git = { 0 };
	if (!belay_known)
		puts("  (and inputs.belay.url to the folder of belay's source)");
	if (!in_git(in->folder.dir))
		return;
	bl_buf_puts(&git, "git ");
	if (!in->here) {
		bl_buf_puts(&git, "-C ");
		bl_buf_put_shell_word(&git, in->word);
		bl_buf_putc(&git, ' ');
	}
	bl_autofree char *text = bl_visible(bl_buf_str(&git));
	printf("  %sadd flake.nix    # and all configurations: the flake sees what git knows\n",
	       text);
}

static int write_fleet(const struct init *in, const struct bl_sketch *sketch,
		       struct bl_err *err)
{
	bool as_flake = in->args->as_flake;
	const char *name = as_flake ? "flake.nix" : "fleet.nix";
	BL_AUTO(bl_buf) text = { 0 };
	bl_autofree char *belay = own_flake();
	put_text(sketch, as_flake, belay, &text);
	if (write_new(in, name, &text, err) < 0)
		return -1;
	tell_written(in, name, sketch);
	if (as_flake)
		tell_flake(in, belay);
	tell_next(in, name);
	return 0;
}

/* ---- the command */

static int nothing_there(const struct init *in)
{
	bl_autofree char *dir = bl_visible(in->folder.dir);
	fprintf(stderr,
		"belay: %s has neither a fleet nor a NixOS configuration; nothing is written\n"
		"looked for: fleet.nix, default.nix, flake.nix, hive.nix, configuration.nix,\n"
		"            NAME/configuration.nix, hosts/NAME/configuration.nix, hosts/NAME.nix\n"
		"to begin: copy a host's /etc/nixos here (nixos-generate-config makes one there),\n"
		"          then run belay init again; belay's README begins with a fleet file\n",
		dir);
	return BL_EXIT_FAILED;
}

/* What cannot be looked at is the user's to mend, as a wrong word is. 1: a fleet is there, and
 * was told; 0: @sketch has the hosts whose configurations are. */
static int look(struct init *in, struct bl_sketch *sketch, struct bl_err *err)
{
	bl_autofree char *here = bl_realpath(".");
	int rc = bl_folder_look(in->word, &in->folder, err);
	in->here = bl_str_eq(here, in->folder.dir);
	if (rc == 0)
		rc = find_fleet(in, err);
	if (rc == 0)
		rc = bl_folder_hosts(&in->folder, sketch, err);
	if (rc < 0)
		err->code = BL_E_USAGE;
	return rc;
}

static int run_init(const struct bl_args *args)
{
	struct init in = { .args = args, .word = args->on.n ? args->on.items[0] : "." };
	struct bl_err err = { 0 };
	BL_AUTO(bl_sketch) sketch = { 0 };
	int code = BL_EXIT_OK;
	int rc = look(&in, &sketch, &err);
	if (rc == 0 && sketch.n == 0)
		code = nothing_there(&in);
	else if (rc == 0)
		rc = write_fleet(&in, &sketch, &err);
	bl_folder_free(&in.folder);
	return rc < 0 ? bl_cmd_fail(&err) : code;
}

const struct bl_command bl_cmd_init = {
	.name = "init",
	.words = "[FOLDER]",
	.summary = "Find what a folder has to deploy, and write its fleet file",
	.details =
		"\nWhere a fleet is there, belay's own or another tool's that it reads, nothing is\n"
		"written. For NixOS configurations a fleet.nix is, with a node each. No file is\n"
		"ever overwritten.\n",
	.options = options,
	.words_max = 1,
	.run = run_init,
};
