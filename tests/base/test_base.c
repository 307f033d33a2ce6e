/* Errors, memory, half floats, hashes. */
#include "base/cpu.h"
#include "base/err.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/names.h"
#include "base/rng.h"
#include "base/text.h"
#include "tests/lib/check.h"

#include <math.h>
#include <stdatomic.h>

static void error_keeps_sentence_and_prefix(void **state) {
    (void)state;
    assert_int_equal(fail(ERR_INPUT, "%s: is a folder", "x"), 3);
    assert_int_equal(fail_prefix("match"), 3);
    assert_string_equal(err_sentence(), "match: x: is a folder");
    char out[64];
    assert_string_equal(err_printable(out, sizeof out, "a\nb\x1b\xff\xc3\xa9"), "a\\x0ab\\x1b\\xff\xc3\xa9");
}

static void memory_counts_and_caps(void **state) {
    (void)state;
    size_t before = mem_use().live;
    char *p = mem_alloc(1000);
    assert_true(mem_use().live >= before + 1000);
    assert_int_equal((uintptr_t)p % 64, 0);
    p = mem_grow(p, 5000);
    mem_free(p);
    assert_int_equal(mem_use().live, before);
    assert_null(mem_array(SIZE_MAX / 2, 4));
    assert_int_equal(err_code(), ERR_MEMORY);
    mem_cap_begin(4096);
    assert_null(mem_alloc(8192));
    assert_int_equal(err_code(), ERR_INPUT);
    p = mem_alloc(2000);
    assert_non_null(p);
    mem_free(p);
    mem_cap_end();
    size_t sum;
    assert_false(size_add(SIZE_MAX, 1, &sum));
    assert_false(size_align(SIZE_MAX - 3, 64, &sum));
}

static void arena_is_sticky(void **state) {
    (void)state;
    Arena *a = arena_make();
    for (int i = 0; i < 10000; i++) *(int *)arena_alloc(a, sizeof(int)) = i;
    assert_string_equal(arena_format(a, "%d-%s", 7, "x"), "7-x");
    assert_false(arena_failed(a));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_true(arena_failed(a));
    assert_null(arena_alloc(a, 1));
    arena_drop(a);
}

static void half_is_exact(void **state) {
    (void)state;
    for (unsigned h = 0; h < 65536; h++) { /* every f16 survives the way through f32 */
        float v = f16_to_f32((uint16_t)h);
        if (isnan(v))
            assert_true((f32_to_f16(v) & 0x7c00) == 0x7c00 && (f32_to_f16(v) & 0x3ff));
        else
            assert_int_equal(f32_to_f16(v), h);
    }
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00); /* half way to 65536 rounds to infinity */
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(1.0f + 0x1p-11f), 0x3c00); /* ties to even */
    assert_int_equal(f32_to_f16(1.0f + 0x3p-11f), 0x3c02);
    assert_int_equal(f32_to_f16(0x1p-25f), 0);
    assert_int_equal(f32_to_f16(0x1.8p-25f), 1);
    assert_int_equal(f32_to_bf16(1.00390625f), 0x3f80); /* tie */
    assert_int_equal(f32_to_bf16(1.01171875f), 0x3f82);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

static void hashes_match_their_standards(void **state) {
    (void)state;
    assert_int_equal(crc32_update(0, "123456789", 9), 0xcbf43926u);
    assert_true(fnv1a64("a", 1) == 0xaf63dc4c8601ec8cu);
    Sha256 h;
    uint8_t digest[32];
    char hex[65];
    sha256_begin(&h);
    sha256_add(&h, "abc", 3);
    sha256_end(&h, digest);
    sha256_hex(digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* the rule of tools/ref/seeded.py */
    const char *name = "cnn_backbone.conv0.0.weight";
    uint64_t seed = fnv1a64(name, strlen(name));
    assert_true(fabs(rng_signed(seed, 0) * sqrt(3.0 * 16 / 48) - 0.722020268) < 1e-8);
}

static void names_are_found(void **state) {
    (void)state;
    IndexedName names[] = {{"b", 7}, {"", 1}, {"bb", 0}, {"a", 3}, {"zz", 9}};
    names_sort(names, 5);
    assert_null(names_double(names, 5));
    assert_int_equal(names_find(names, 5, "b"), 7);
    assert_int_equal(names_find(names, 5, ""), 1);
    assert_int_equal(names_find(names, 5, "zz"), 9);
    assert_int_equal(names_find(names, 5, "c"), -1);
    assert_int_equal(names_find(names, 0, "a"), -1);
    names[4].name = "bb";
    names_sort(names, 5);
    assert_string_equal(names_double(names, 5), "bb");
}

static void patterns_match_whole_names(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"a.b", "a.b", true},
        {"a.b", "a.bc", false},
        {"a.*", "a.", true},
        {"a.*", "a", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"*.bias", "x.y.bias", true},
        {"*.bias", "bias", false},
        {"a*c*e", "abcde", true},
        {"a*c*e", "acbce", true},
        {"a*c*e", "abcdf", false},
        {"**a", "bba", true},
        {"*ab", "aab", true},
        {"a*a", "a", false},
        {"*conv?*", "conv1", false},
        {"*.enc?.*", "x.enc?.w", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (text_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].name);
}

static void numbers_are_grouped(void **state) {
    (void)state;
    char text[GROUPED_SIZE];
    assert_string_equal(text_grouped(text, 0), "0");
    assert_string_equal(text_grouped(text, 999), "999");
    assert_string_equal(text_grouped(text, 1234567), "1,234,567");
    assert_string_equal(text_grouped(text, -123456), "-123,456");
    assert_string_equal(text_grouped(text, INT64_MIN), "-9,223,372,036,854,775,808");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),        cmocka_unit_test(patterns_match_whole_names),
        cmocka_unit_test(numbers_are_grouped),    cmocka_unit_test(error_keeps_sentence_and_prefix),
        cmocka_unit_test(memory_counts_and_caps), cmocka_unit_test(arena_is_sticky),
        cmocka_unit_test(half_is_exact),          cmocka_unit_test(hashes_match_their_standards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
