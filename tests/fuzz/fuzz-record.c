/* SPDX-License-Identifier: MIT */
/* The durable record: as it is, and with the checksum that would make it whole. */
#include "guard/record.h"

#include "base/crc32c.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const char *text, size_t len)
{
	BL_AUTO(bl_record) r = { 0 };
	BL_AUTO(bl_record) back = { 0 };
	BL_AUTO(bl_buf) once = { 0 };
	BL_AUTO(bl_buf) twice = { 0 };
	struct bl_err err = { 0 };
	if (bl_record_decode(text, len, &r, &err) < 0) {
		assert(err.code != BL_E_NONE && err.msg[0] && !r.run && !r.remark);
		return;
	}
	assert(r.state > BL_TXN_NONE && r.state < BL_TXN_NSTATES);
	assert(r.run && r.system_old && r.system_new && r.reason && r.remark);
	assert(r.deadline_boot_ns >= 0 && r.activated_boot_ns >= 0);
	/* what is written anew may be longer ("\x80" stays, "%41" does not), never different */
	bl_record_encode(&r, &once);
	if (once.len > BL_RECORD_MAX)
		return;
	int rc = bl_record_decode(once.data, once.len, &back, &err);
	assert(rc == 0);
	bl_record_encode(&back, &twice);
	assert(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_buf) sealed = { 0 };
	decode((const char *)data, size);
	bl_buf_append(&sealed, data, size);
	bl_buf_printf(&sealed, "crc32c=%08x\n", bl_crc32c(data, size));
	decode(sealed.data, sealed.len);
	return 0;
}
