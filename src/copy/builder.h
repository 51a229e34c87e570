/* SPDX-License-Identifier: MIT */
/*
 * Building here or on other machines, all of them at once: Nix's derivations go to a build host
 * over one ssh connection of ours, Nix builds there, and what does not stay there comes back.
 */
#ifndef BELAY_COPY_BUILDER_H
#define BELAY_COPY_BUILDER_H

#include "fleet/fleet.h"
#include "nix/progress.h"

struct bl_builder_item {
	const char *drv; /* or, here, a store path that is to be fetched */
	const char *out; /* the store path that comes out of it */
	bool stays;      /* it is the build host's own, and need not come here */
	bool there;      /* it is where it is to be */
};

/* A machine that builds. The caller fills in the first part; the rest is how it went. */
struct bl_builder {
	const struct bl_node *host; /* how it is reached; NULL: this machine */
	struct bl_builder_item *items;
	size_t n;
	struct bl_progress progress;
	char *problem, *remedy; /* why nothing of it could be done, for people; or NULL */
	struct bl_building *run;
};

struct bl_builders_spec {
	struct bl_builder *builders;
	size_t n;
	size_t parallel;  /* so many at once */
	const char *root; /* roots of what is built here are made as ROOT, ROOT-2, ... */
	bool keep_going;  /* one failure does not stop the others */
	const struct bl_strv *flags; /* for Nix on this machine; NULL: none */
	void (*news)(void *ctx, const struct bl_builder *b,
		     const struct bl_progress_news *news);
	void (*tick)(void *ctx); /* every 100 ms */
	void *ctx;
};

/*
 * Runs them to their ends, or to an interrupt; what is there is in the items afterwards. Where
 * not all is there without @keep_going, what was still running has been stopped. A store path
 * that stays on a host is rooted there until its agent takes it over, or the next one comes; a
 * user other than root roots nothing there. Fails when nothing could be begun.
 */
int bl_builders_run(const struct bl_builders_spec *spec, bool *out_interrupted,
		    struct bl_err *err) BL_MUST_CHECK;
/* What a run has left in @b; the items are the caller's. */
void bl_builder_free(struct bl_builder *b);

#endif
