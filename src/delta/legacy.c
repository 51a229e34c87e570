/* SPDX-License-Identifier: MIT */
/*
 * The decoders of zstd before 0.8, for the agent: not there. Debian's libzstd.a refers to them
 * from its decoder, so that the linker would take 89 KiB of code that never runs: decode.c lets
 * no frame through whose magic is not that of today's format. Being weak, these give way where
 * an archive's own are taken all the same; one without them (nixpkgs') does not ask for any.
 */
#include "base/base.h"

#include <stdlib.h>

void bl_zstd_legacy_absent(void);

BL_NORETURN void bl_zstd_legacy_absent(void)
{
	abort();
}

#define ABSENT(name) \
	void name(void) __attribute__((weak, alias("bl_zstd_legacy_absent"))) BL_NORETURN;

#define ABSENT_VERSION(v)                           \
	ABSENT(ZBUFF##v##_createDCtx)               \
	ABSENT(ZBUFF##v##_decompressContinue)       \
	ABSENT(ZBUFF##v##_decompressInitDictionary) \
	ABSENT(ZBUFF##v##_freeDCtx)                 \
	ABSENT(ZSTD##v##_createDCtx)                \
	ABSENT(ZSTD##v##_decompress_usingDict)      \
	ABSENT(ZSTD##v##_findFrameSizeInfoLegacy)   \
	ABSENT(ZSTD##v##_freeDCtx)                  \
	ABSENT(ZSTD##v##_getFrameParams)

ABSENT_VERSION(v05)
ABSENT_VERSION(v06)
ABSENT_VERSION(v07)
