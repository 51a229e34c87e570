/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli), as RFC 3720 uses it: tells a torn journal from a whole one. */
#ifndef BELAY_BASE_CRC32C_H
#define BELAY_BASE_CRC32C_H

#include "base/base.h"

uint32_t bl_crc32c(const void *data, size_t len);

#endif
