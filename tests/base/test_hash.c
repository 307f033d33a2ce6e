/* Checksums and SHA-256 against published values, in pieces of every size, with and without the processor's help. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/check.h"

static void digest_of(const void *data, size_t bytes, size_t piece, char hex[65]) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    for (size_t at = 0; at < bytes; at += piece)
        sha256_add(&hash, (const uint8_t *)data + at, bytes - at < piece ? bytes - at : piece);
    sha256_end(&hash, digest);
    sha256_hex(digest, hex);
}

/* FIPS 180-2, appendix B, and the empty message. */
static void sha256_gives_the_published_values(void **state) {
    (void)state;
    char hex[65];
    digest_of("", 0, 1, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_of("abc", 3, 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 56, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    digest_of(million, 1000000, 1000000, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void pieces_do_not_matter(void **state) {
    (void)state;
    uint8_t data[1000];
    char whole[65], pieces[65];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)rng_u64(1, i);
    digest_of(data, sizeof data, sizeof data, whole);
    for (size_t piece = 1; piece < 200; piece++) {
        digest_of(data, sizeof data, piece, pieces);
        assert_string_equal(pieces, whole);
    }
}

static void crc32_is_that_of_zip(void **state) {
    (void)state;
    assert_int_equal(crc32_update(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_update(0, "", 0), 0);
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)rng_u64(2, i);
    for (size_t n = 0; n < sizeof data; n++) { /* bit by bit, by the definition */
        uint32_t crc = ~0u;
        for (size_t i = 0; i < n; i++) {
            crc ^= data[i];
            for (int k = 0; k < 8; k++) crc = crc & 1 ? 0xedb88320u ^ (crc >> 1) : crc >> 1;
        }
        assert_int_equal(crc32_update(0, data, n), ~crc);
        assert_int_equal(crc32_update(crc32_update(0, data, n / 3), data + n / 3, n - n / 3), ~crc);
    }
}

/* The same program, told to use the base level only, has to pass as well. */
static void the_plain_way_agrees(void **state) {
    (void)state;
    char out[4096];
    if (getenv("PANUM_CPU")) return;
    const char *build = getenv("PANUM_BUILD");
    assert_int_equal(run_command(out, sizeof out, "PANUM_CPU=base %s/tests/base/test_hash", build ? build : "build"),
                     0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_values),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(crc32_is_that_of_zip),
        cmocka_unit_test(the_plain_way_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
