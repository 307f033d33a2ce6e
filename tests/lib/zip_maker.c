#include "tests/lib/zip_maker.h"
#include "base/zip.h"
#include "tests/lib/check.h"

uint8_t *make_archive(const ZipMember *members, int count, size_t *size) {
    Out *out = NULL;
    ZipOut *zip = NULL;
    uint8_t *bytes = NULL;
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(zip_out_begin(out, &zip), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(zip_out_add(zip, members[i].name, members[i].data, members[i].bytes, members[i].deflate), 0);
    assert_int_equal(zip_out_end(&zip), 0);
    assert_int_equal(out_memory_take(&out, &bytes, size), 0);
    return bytes;
}

size_t find_signature(const uint8_t *bytes, size_t size, const char *signature, int n) {
    for (size_t i = 0; i + 4 <= size; i++)
        if (memcmp(bytes + i, signature, 4) == 0 && n-- == 0) return i;
    fail_msg("no signature %02x %02x in the archive", signature[2], signature[3]);
    return 0;
}

static void set(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> 8 * i);
}

void set_u16(uint8_t *at, unsigned value) {
    set(at, value, 2);
}
void set_u32(uint8_t *at, uint32_t value) {
    set(at, value, 4);
}
void set_u64(uint8_t *at, uint64_t value) {
    set(at, value, 8);
}
