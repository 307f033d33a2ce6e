/* tests/bad/weights_made.h - weight files by hand, good and bad, written into the folder of the case that is running.
 */
#ifndef PANUM_TESTS_BAD_WEIGHTS_MADE_H
#define PANUM_TESTS_BAD_WEIGHTS_MADE_H
#include "base/mem.h"
#include "base/zip.h"
#include "tests/lib/bad.h"
#include "tests/lib/zip_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const float numbers[6] = {1, 2, 3, 4, 5, 6};
static void header(const char *text) {
    put_safetensors(strlen(text), text, strlen(text), numbers, sizeof numbers);
}

static void weights_0(void) {
    put_bytes("w.safetensors", "", 0);
}
static void weights_7(void) {
    put_bytes("w.safetensors", "\1\0\0\0\0\0\0", 7);
}
static void weights_length_0(void) {
    put_safetensors(0, GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, 24);
}
static void weights_length_63(void) {
    put_safetensors((uint64_t)1 << 63, GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, 24);
}
static void weights_length_more(void) {
    put_safetensors(strlen(GOOD_WEIGHTS) + 25, GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, 24);
}
static void weights_not_object(void) {
    header("[1,2,3]");
}
static void weights_bad_utf8(void) {
    header("{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}");
}
static void weights_deep(void) {
    char text[20100];
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', 20000);
    put_safetensors(20005, text, 20005, numbers, 24);
}
static void weights_twice(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},\"a\":{\"dtype\":\"F32\",\"shape\":[3],"
           "\"data_offsets\":[12,24]}}");
}
static void weights_metadata_number(void) {
    header("{\"__metadata__\":{\"x\":3},\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}");
}
static void weights_backwards(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[24,0]}}");
}
static void weights_beyond(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}");
}
static void weights_overlap(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F32\",\"shape\":[4],"
           "\"data_offsets\":[8,24]}}");
}
static void weights_hole(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
           "\"data_offsets\":[16,24]}}");
}
static void weights_fraction(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24.0]}}");
}
static void weights_wrong_shape(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,24]}}");
}
static void weights_wraps(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,6],\"data_offsets\":[0,24]}}");
}
static void weights_dtype(void) {
    header("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[24],\"data_offsets\":[0,24]}}");
}
static void weights_long_name(void) {
    char text[1200], name[800];
    memset(name, 'n', 799);
    name[799] = 0;
    snprintf(text, sizeof text, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", name);
    header(text);
}
static void weights_many(void) {
    enum { COUNT = 70000 };
    char *text = malloc(COUNT * 70 + 10), *to = text;
    *to++ = '{';
    for (int i = 0; i < COUNT; i++)
        to += sprintf(to, "%s\"%d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
    *to++ = '}';
    put_safetensors((uint64_t)(to - text), text, (size_t)(to - text), numbers, 0);
    free(text);
}
static void weights_tail(void) {
    uint8_t data[56] = {0};
    put_safetensors(strlen(GOOD_WEIGHTS), GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), data, 56);
}
static void weights_nan(void) {
    uint8_t data[24] = {0};
    data[6] = 0xc0, data[7] = 0x7f;
    put_safetensors(strlen(GOOD_WEIGHTS), GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), data, 24);
}
static void weights_partial(void) {
    put_safetensors(strlen(GOOD_WEIGHTS), GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, 17);
}
static void weights_lfs(void) {
    static const char text[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 2100000000\n";
    put_bytes("w.safetensors", text, strlen(text));
}
static void weights_html(void) {
    static const char text[] = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";
    put_bytes("w.pth", text, strlen(text));
}
static void weights_gzip(void) {
    put_bytes("w.pth", "\x1f\x8b\x08\0\0\0\0\0\0\3abcdefgh", 18);
}

/* w.pth: a zip as PyTorch writes it, around this pickle. */
static void put_pth(const void *pickle, size_t size, bool deflate) {
    Out *out = NULL;
    ZipOut *zip = NULL;
    uint8_t *bytes = NULL;
    size_t whole = 0;
    if (out_memory(&out) || zip_out_begin(out, &zip) || zip_out_add(zip, "m/data.pkl", pickle, size, deflate) ||
        zip_out_add(zip, "m/version", "3\n", 2, false) || zip_out_end(&zip) || out_memory_take(&out, &bytes, &whole))
        abort();
    put_bytes("w.pth", bytes, whole);
    mem_free(bytes);
}
#define PICKLE(text) put_pth(text, sizeof text - 1, false)
static void weights_system(void) {
    PICKLE("\x80\x02"
           "cos\nsystem\nX\2\0\0\0lsR.");
}
static void weights_eval(void) {
    PICKLE("\x80\x02"
           "cbuiltins\neval\nX\2\0\0\0lsR.");
}
static void weights_underflow(void) {
    PICKLE("\x80\x02R.");
}
static void weights_memo(void) {
    PICKLE("\x80\x02j\xff\xff\xff\xff.");
}
static void weights_no_stop(void) {
    PICKLE("\x80\x02}");
}
static void weights_zip_deflated(void) {
    char pickle[2000];
    memset(pickle, '}', sizeof pickle);
    put_pth(pickle, sizeof pickle, true);
}
static void weights_zip_cut(void) {
    put_bytes("w.pth", "PK\3\4\24\0\0\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50);
}
static void weights_pickle_inst(void) {
    PICKLE("\x80\x02"
           "(S'ls'\nios\nsystem\n.");
}
static void weights_pickle_extension(void) {
    PICKLE("\x80\x02\x82\x01.");
}
static void weights_pickle_persistent_text(void) {
    PICKLE("\x80\x02Pstorage\n.");
}
static void weights_pickle_torch_load(void) {
    PICKLE("\x80\x02"
           "ctorch\nload\nX\1\0\0\0x\x85R.");
}
/* REDUCE of the tensor's maker, with a number for arguments. */
static void weights_pickle_arguments(void) {
    PICKLE("\x80\x02"
           "ctorch._utils\n_rebuild_tensor_v2\nK\1\x85R.");
}
/* A text that says it has 4 GB. */
static void weights_pickle_long_text(void) {
    PICKLE("\x80\x02X\xff\xff\xff\xffx.");
}
static void weights_pickle_in_itself(void) {
    PICKLE("\x80\x02]q\0h\0a.");
}

/* One tensor of two floats: where its storage is said to lie, the storage's elements, first element, size and stride
 * (each below 256; a stride of -1 as 255), and the archive's members around it. */
typedef struct {
    const char *key;
    uint8_t elements, first, size;
    const char *stride; /* pickled */
} MadeStorage;
static void weights_storage(MadeStorage s, const char *member, size_t bytes) {
    char pickle[512];
    size_t n = 0;
#define PUT(...) n += (size_t)snprintf(pickle + n, sizeof pickle - n, __VA_ARGS__)
#define PUT_BYTES(text) memcpy(pickle + n, text, sizeof text - 1), n += sizeof text - 1
    PUT_BYTES("\x80\x02}X\1\0\0\0w"
              "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"
              "ctorch\nFloatStorage\nX");
    pickle[n++] = (char)strlen(s.key), pickle[n++] = 0, pickle[n++] = 0, pickle[n++] = 0;
    PUT("%s", s.key);
    PUT_BYTES("X\3\0\0\0cpuK");
    pickle[n++] = (char)s.elements;
    PUT_BYTES("tQK");
    pickle[n++] = (char)s.first, pickle[n++] = 'K', pickle[n++] = (char)s.size;
    PUT("\x85%s\x85\x89", s.stride);
    PUT_BYTES("ccollections\nOrderedDict\n)RtRs.");
    static const uint8_t zeros[64];
    Out *out = NULL;
    ZipOut *zip = NULL;
    uint8_t *whole_bytes = NULL;
    size_t whole = 0;
    if (out_memory(&out) || zip_out_begin(out, &zip) || zip_out_add(zip, "m/data.pkl", pickle, n, false) ||
        zip_out_add(zip, member, zeros, bytes, false) || zip_out_end(&zip) ||
        out_memory_take(&out, &whole_bytes, &whole))
        abort();
    put_bytes("w.pth", whole_bytes, whole);
    mem_free(whole_bytes);
}
static void weights_storage_good(void) {
    weights_storage((MadeStorage){"0", 2, 0, 2, "K\1"}, "m/data/0", 8);
}
static void weights_storage_upwards(void) {
    weights_storage((MadeStorage){"../../etc/passwd", 2, 0, 2, "K\1"}, "m/data/0", 8);
}
static void weights_storage_absent(void) {
    weights_storage((MadeStorage){"7", 2, 0, 2, "K\1"}, "m/data/0", 8);
}
static void weights_storage_short(void) {
    weights_storage((MadeStorage){"0", 2, 0, 2, "K\1"}, "m/data/0", 4);
}
static void weights_storage_beyond(void) {
    weights_storage((MadeStorage){"0", 2, 1, 2, "K\1"}, "m/data/0", 8);
}
static void weights_stride_negative(void) {
    weights_storage((MadeStorage){"0", 2, 1, 2, "J\xff\xff\xff\xff"}, "m/data/0", 8);
}
static void weights_stride_huge(void) {
    weights_storage((MadeStorage){"0", 2, 0, 2, "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"}, "m/data/0", 8);
}

static void weights_edit_zip(const char *signature, size_t at, uint8_t flip) {
    size_t size;
    weights_storage_good();
    FILE *file = fopen(made_path("w.pth"), "rb");
    static uint8_t bytes[4096];
    if (!file) abort();
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    bytes[find_signature(bytes, size, signature, 0) + at] ^= flip;
    put_bytes("w.pth", bytes, size);
}
static void weights_zip_encrypted(void) {
    weights_edit_zip("PK\1\2", 8, 1);
}
static void weights_zip_names(void) {
    weights_edit_zip("PK\3\4", 30, 1); /* another name in the local header than in the directory */
}
static void weights_zip_longer(void) {
    weights_edit_zip("PK\1\2", 22, 1); /* 65,536 bytes more than the file has */
}
static void weights_length_1(void) {
    put_safetensors(1, GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, 24);
}
static void weights_zero_byte(void) {
    static const char text[] = "{\"a\0\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}";
    put_safetensors(sizeof text - 1, text, sizeof text - 1, numbers, 24);
}
static void weights_lone_surrogate(void) {
    header("{\"a\\ud800\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}");
}
static void weights_long_number(void) {
    enum { DIGITS = 10 << 20 };
    char *text = malloc(DIGITS + 100);
    int n = sprintf(text, "{\"a\":{\"dtype\":\"F32\",\"shape\":[");
    memset(text + n, '1', DIGITS);
    n += DIGITS;
    n += sprintf(text + n, "],\"data_offsets\":[0,24]}}");
    put_safetensors((uint64_t)n, text, (size_t)n, numbers, 24);
    free(text);
}
static void weights_metadata_twice(void) {
    header("{\"__metadata__\":{\"x\":\"1\"},\"__metadata__\":{\"x\":\"2\"},\"a\":{\"dtype\":\"F32\",\"shape\":[6],"
           "\"data_offsets\":[0,24]}}");
}
static void weights_offset_negative(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[-24,0]}}");
}
static void weights_offset_2_64(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,18446744073709551615]}}");
}
static void weights_offset_exponent(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24e0]}}");
}
static void weights_unsorted(void) {
    header("{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]},\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],"
           "\"data_offsets\":[0,16]}}");
}
static void weights_size_2_63(void) {
    header("{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,24]}}");
}
static void weights_int4(void) {
    header("{\"a\":{\"dtype\":\"I4\",\"shape\":[48],\"data_offsets\":[0,24]}}");
}
static void weights_bool_7(void) {
    static const char text[] = "{\"a\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    put_safetensors(strlen(text), text, strlen(text), "\1\7", 2);
}
static void weights_name_zero(void) {
    header("{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}");
}
static void weights_infinite(void) {
    uint8_t data[24] = {0};
    data[6] = 0x80, data[7] = 0x7f;
    put_safetensors(strlen(GOOD_WEIGHTS), GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), data, 24);
}
/* 30 GB of zeros that take no room on the disk. */
static void weights_30_gb(void) {
    static const char text[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[8000000000],\"data_offsets\":[0,32000000000]}}   ";
    put_safetensors(sizeof text - 1, text, sizeof text - 1, "", 0);
    if (truncate(made_path("w.safetensors"), 32000000000 + 8 + (off_t)sizeof text - 1) != 0) abort();
}
#endif
