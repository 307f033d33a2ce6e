/* tests/lib/zip_maker.h - archives in memory, whole and broken, for tests. */
#ifndef PANUM_TESTS_ZIP_MAKER_H
#define PANUM_TESTS_ZIP_MAKER_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    const void *data;
    size_t bytes;
    int deflate; /* 1: packed when that is smaller */
} ZipMember;

/* An archive as base/zip.h writes it; mem_free. Fails the test when it cannot be made. */
uint8_t *make_archive(const ZipMember *members, int count, size_t *size);
/* Offset of the n-th (0, 1, ...) place where the four bytes of `signature` ("PK\1\2") stand; fails the test if absent.
 */
size_t find_signature(const uint8_t *bytes, size_t size, const char *signature, int n);
void set_u16(uint8_t *at, unsigned value);
void set_u32(uint8_t *at, uint32_t value);
void set_u64(uint8_t *at, uint64_t value);
#endif
