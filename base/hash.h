/* base/hash.h - checksums and hashes: crc32 (zip, PNG), FNV-1a 64 (names), SHA-256 (identity of weights and options).
 */
#ifndef PANUM_BASE_HASH_H
#define PANUM_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint32_t crc32_update(uint32_t crc, const void *data, size_t bytes); /* start with 0 */
uint64_t fnv1a64(const void *data, size_t bytes);

typedef struct {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t buffer[64];
} Sha256;
void sha256_begin(Sha256 *hash);
void sha256_add(Sha256 *hash, const void *data, size_t bytes);
void sha256_end(Sha256 *hash, uint8_t digest[32]);
void sha256_hex(const uint8_t digest[32], char hex[65]);
#endif
