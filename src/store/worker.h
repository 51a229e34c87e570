/* SPDX-License-Identifier: MIT */
/*
 * The protocol of the Nix daemon as bytes: reading what it answers, piece by piece. What it is
 * asked stands in store/request.h; nothing is sent or awaited here, store/daemon.h does that.
 * Source: Nix, libstore/{worker-protocol.hh,daemon.cc,remote-store.cc} and libutil/serialise.cc
 * of 2.4 to 2.36, and Lix. Integers are 64 bits, little-endian; strings have a length before
 * them and zeros behind them, up to a multiple of 8; lists have a count before them.
 */
#ifndef BELAY_STORE_WORKER_H
#define BELAY_STORE_WORKER_H

#include "store/info.h"

/* Major and minor version in a byte each. From 1.38 on features would have to be told first. */
#define BL_WORKER_OFFERED 0x125U
/* 1.32, Nix 2.4: before it, NARs are not framed and errors have another form. */
#define BL_WORKER_OLDEST 0x120U

/* Whatever the daemon says, there is no more of it than this. */
#define BL_WORKER_PATH_MAX       4096 /* bytes of a path, signature or content address */
#define BL_WORKER_REFERENCES_MAX 100000
#define BL_WORKER_SIGS_MAX       1000
#define BL_WORKER_TEXT_MAX       (64 << 10)  /* of a message; the rest is read and dropped */
#define BL_WORKER_SKIP_MAX       (64 << 20)  /* a longer message is an error */
#define BL_WORKER_ITEMS_MAX      (1 << 20)   /* traces of an error, fields of an activity */
#define BL_WORKER_KEPT_MAX       (128 << 20) /* memory for answers, see `kept` */

enum bl_worker_kind {
	BL_WORKER_HELLO,
	BL_WORKER_NOTHING,
	BL_WORKER_NUMBER,
	BL_WORKER_PATH,
	BL_WORKER_PATHS,
	BL_WORKER_INFO,
};

struct bl_worker_answer {
	char *problem;            /* NULL, or the daemon's error; then nothing else is there */
	uint64_t number;          /* of INFO: whether the path is valid; of HELLO: 1 trusted,
				     2 not, 0 unknown */
	unsigned protocol;        /* of HELLO: the version that both speak */
	char *text;               /* of HELLO: Nix's version, "" before 2.7; of PATH: the path
				     or "" */
	struct bl_strv paths;     /* of PATHS */
	struct bl_path_info info; /* of INFO: all but the path */
};

/* Begin with { 0 }, line and ctx set if lines are wanted. The rest is the reader's own. */
struct bl_worker_reader {
	void (*line)(void *ctx,
		     const char *text); /* what Nix logs; made clean as problems are */
	void *ctx;
	struct bl_worker_answer answer;
	/* bytes of answers since this was set to 0, which the caller does for each operation */
	size_t kept;

	enum bl_worker_kind kind;
	size_t paths_max;
	int stage;
	const char *at;    /* the part that is read, in a row of parts; see worker.c */
	int phase;         /* within it */
	uint64_t left;     /* items of its list */
	uint64_t number;   /* the primitive being read: a number or a length */
	unsigned got, pad; /* bytes of it that are there; bytes of padding still to come */
	bool in_text;
	uint64_t text_left;
	struct bl_buf text, problem;
};

/*
 * Begins to read one answer; @paths_max is how many PATHS there may be. The answer before is
 * freed.
 */
void bl_worker_expect(struct bl_worker_reader *r, enum bl_worker_kind kind, size_t paths_max);
/*
 * Reads on. 1: the answer is there, in r->answer, until the next is expected, and @out_used
 * says how many bytes it took; 0: all bytes are taken and more have to come. BL_E_INPUT: the
 * daemon breaks the protocol or a limit; BL_E_REFUSED: it is too old. Then the reader is of no
 * use any more.
 */
int bl_worker_read(struct bl_worker_reader *r, const void *data, size_t len, size_t *out_used,
		   struct bl_err *err) BL_MUST_CHECK;
void bl_worker_answer_free(struct bl_worker_answer *a);
void bl_worker_reader_free(struct bl_worker_reader *r);

/*
 * Text of Nix without colours and other control characters (line ends and tabs stay), and
 * without line ends at its end. A new string.
 */
char *bl_worker_clean(const char *text, size_t len);

static inline void bl_worker_reader_autop(struct bl_worker_reader *r)
{
	bl_worker_reader_free(r);
}

#endif
