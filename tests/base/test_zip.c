/* Inflate and deflate; zip archives of others, our own, and broken ones. */
#include "base/deflate.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/zip.h"
#include "tests/lib/check.h"
#include "tests/lib/zip_maker.h"

typedef struct {
    const uint8_t *expected;
    size_t seen, size;
} Sink;

static bool compare(void *context, const uint8_t *bytes, size_t size) {
    Sink *sink = context;
    assert_true(size <= sink->size - sink->seen);
    assert_memory_equal(bytes, sink->expected + sink->seen, size);
    sink->seen += size;
    return true;
}

/* Unpacks into a comparison with data[0..n): what comes out must be its beginning. */
static InflateEnd unpack(const uint8_t *packed, size_t size, const uint8_t *data, size_t n, size_t *made,
                         InflateReport *report) {
    Sink sink = {data, 0, n};
    InflateEnd end = inflate_zlib(packed, size, compare, &sink, report);
    *made = sink.seen;
    return end;
}

static bool stop_at_once(void *context, const uint8_t *bytes, size_t size) {
    (void)bytes;
    *(size_t *)context += size;
    return false;
}

static bool count(void *context, const uint8_t *bytes, size_t size) {
    (void)bytes;
    *(size_t *)context += size;
    return true;
}

static void packing_is_undone(void **state) {
    (void)state;
    enum { N = 200000 };
    uint8_t *data = mem_alloc(N), *back = mem_alloc(N);
    for (int kind = 0; kind < 6; kind++) {
        for (size_t i = 0; i < N; i++) {
            uint64_t r = rng_u64(1, i);
            data[i] = kind == 0   ? 0
                      : kind == 1 ? (uint8_t)r
                      : kind == 2 ? (uint8_t)(i * i >> 7)
                      : kind == 3 ? (uint8_t) "abcd"[r & 3]
                      : kind == 4 ? (uint8_t)(__builtin_ctzll(r | 1ull << 40)) /* codes of very different length */
                                  : (uint8_t)(i % 300 ? r % 5 : i / 300);
        }
        static const size_t sizes[] = {0, 1, 2, 3, 4, 257, 258, 259, 32767, 32768, 32769, 65535, 65536, N};
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t n = sizes[k], packed_size, raw_size;
            uint8_t *packed = deflate_zlib(data, n, &packed_size), *raw = deflate_raw(data, n, &raw_size);
            assert_non_null(packed);
            assert_int_equal(raw_size + 6, packed_size);
            assert_true(packed_size <= n + n / 32768 * 16 + 16);
            size_t made;
            InflateReport report;
            assert_int_equal(unpack(packed, packed_size, data, n, &made, &report), INFLATE_WHOLE);
            assert_int_equal(made, n);
            assert_int_equal(report.used, packed_size);
            assert_false(report.checksum_wrong);
            memset(back, 0xa5, N);
            assert_true(inflate_raw(raw, raw_size, back, n));
            assert_memory_equal(back, data, n);
            mem_free(packed);
            mem_free(raw);
        }
    }
    size_t packed_size;
    memset(data, 7, N);
    uint8_t *packed = deflate_zlib(data, N, &packed_size);
    assert_true(packed_size < 300);
    size_t seen = 0;
    InflateReport report;
    assert_int_equal(inflate_zlib(packed, packed_size, stop_at_once, &seen, &report), INFLATE_STOPPED);
    assert_in_range(seen, 1, 96 << 10); /* no more is unpacked than one piece */
    mem_free(packed);
    mem_free(data);
    mem_free(back);
}

static void cut_and_changed_streams_are_refused(void **state) {
    (void)state;
    uint8_t data[3000], back[3000];
    InflateReport report;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(rng_u64(2, i / 3) % 50);
    size_t size, made;
    uint8_t *packed = deflate_zlib(data, sizeof data, &size);
    for (size_t n = 0; n < size; n++) { /* a block of exactly n bytes, so that reading on is seen */
        uint8_t *cut = mem_alloc(n);
        memcpy(cut, packed, n);
        assert_int_equal(unpack(cut, n, data, sizeof data, &made, &report), INFLATE_SHORT);
        if (n > 2) assert_false(inflate_raw(cut + 2, n - 2 < size - 6 ? n - 2 : size - 7, back, sizeof data));
        mem_free(cut);
    }
    assert_false(inflate_raw(packed + 2, size - 6, back, sizeof data - 1));
    for (size_t bit = 16; bit < 8 * size; bit++) { /* the sum finds every one, but for those that mean nothing */
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        size_t seen = 0;
        InflateEnd end = inflate_zlib(packed, size, count, &seen, &report);
        if (end == INFLATE_WHOLE && !report.checksum_wrong && report.used == size)
            assert_int_equal(unpack(packed, size, data, sizeof data, &made, &report), INFLATE_WHOLE);
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    mem_free(packed);
}

static void hostile_streams_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t size;
    } cases[] = {
        {"block type 3", {0x07}, 1},
        {"stored length and its complement differ", {0x01, 1, 0, 1, 0, 'x'}, 6},
        {"fixed block, distance before the start", {0x03, 0x02, 0x00}, 3},
        {"dynamic block with 287 literals", {0xf5, 0xff, 0xff, 0xff}, 4},
        {"dynamic block, all lengths zero", {0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
    };
    uint8_t out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (inflate_raw(cases[i].bytes, cases[i].size, out, sizeof out)) fail_msg("%s was taken", cases[i].what);
}

static void check_member(const Zip *zip, const char *name, const char *text) {
    const ZipEntry *entry = zip_find(zip, name);
    uint8_t *bytes;
    assert_non_null(entry);
    assert_int_equal(entry->size, strlen(text));
    assert_int_equal(zip_read(zip, entry, 1 << 20, &bytes), 0);
    assert_memory_equal(bytes, text, strlen(text));
    mem_free(bytes);
}

static void archives_of_others_are_read(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t size;
    Zip *zip;
    char hello[601] = "";
    for (int i = 0; i < 100; i++) memcpy(hello + 6 * i, "hello ", 7);
    assert_int_equal(file_read("tests/fixtures/files/piped.zip", 1 << 20, &bytes, &size), 0);
    assert_int_equal(zip_open(bytes, size, ERR_INPUT, &zip), 0);
    assert_int_equal(zip_count(zip), 2);
    check_member(zip, "a.txt", hello); /* written into a pipe: its sizes follow the data */
    check_member(zip, "b/c.txt", "");
    assert_null(zip_find(zip, "a"));
    zip_close(zip);
    mem_free(bytes);
    assert_int_equal(file_read("tests/fixtures/files/zip64.zip", 1 << 20, &bytes, &size), 0);
    assert_int_equal(zip_open(bytes, size, ERR_INPUT, &zip), 0);
    check_member(zip, "big.txt", "zip64 although it is small");
    zip_close(zip);
    mem_free(bytes);
}

static void our_archives_are_read(void **state) {
    (void)state;
    enum { MANY = 300 };
    static char names[MANY][24];
    ZipMember members[MANY];
    size_t size;
    Zip *zip;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "folder/%d.txt", (i * 7) % MANY);
        members[i] = (ZipMember){names[i], names[i], strlen(names[i]), i % 2};
    }
    uint8_t *bytes = make_archive(members, MANY, &size);
    assert_int_equal(zip_open(bytes, size, ERR_WEIGHTS, &zip), 0);
    assert_int_equal(zip_count(zip), MANY);
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(zip_entry(zip, i)->name, names[i]);
        check_member(zip, names[i], names[i]);
    }
    zip_close(zip);
    mem_free(bytes);
    bytes = make_archive(NULL, 0, &size);
    assert_int_equal(zip_open(bytes, size, ERR_WEIGHTS, &zip), 0);
    assert_int_equal(zip_count(zip), 0);
    zip_close(zip);
    mem_free(bytes);
}

/* The tools that people have read what we write. */
static void unzip_reads_ours(void **state) {
    (void)state;
    char out[4096], path[600];
    if (run_command(out, sizeof out, "command -v python3") != 0) {
        printf("skip: %s: no python3 to read a zip with\n", __func__);
        skip();
    }
    static const char text[] = "the same the same the same the same the same";
    ZipMember members[2] = {{"a.txt", text, sizeof text - 1, 1}, {"b/\xc3\xa9.txt", text, 4, 0}};
    Out *file = NULL;
    size_t size;
    uint8_t *bytes = make_archive(members, 2, &size);
    snprintf(path, sizeof path, "%s/ours.zip", scratch_folder("zip"));
    assert_int_equal(out_open(path, OUT_NEW, &file), 0);
    assert_int_equal(out_write(file, bytes, size), 0);
    assert_int_equal(out_commit(&file), 0);
    mem_free(bytes);
    int rc = run_command(out, sizeof out,
                         "python3 -c \"import zipfile; z=zipfile.ZipFile('%s'); print(z.testzip(), "
                         "ascii(z.namelist()), z.read('a.txt')==b'the same '*4+b'the same')\"",
                         path);
    assert_int_equal(rc, 0);
    assert_string_equal(out, "None ['a.txt', 'b/\\xe9.txt'] True\n");
}

typedef struct {
    const char *what, *pattern;
    void (*damage)(uint8_t *bytes, size_t *size);
} BadZip;

static uint8_t *central(uint8_t *bytes, size_t size, int n) {
    return bytes + find_signature(bytes, size, "PK\1\2", n);
}
static uint8_t *local(uint8_t *bytes, size_t size, int n) {
    return bytes + find_signature(bytes, size, "PK\3\4", n);
}
static uint8_t *end_record(uint8_t *bytes, size_t size) {
    return bytes + find_signature(bytes, size, "PK\5\6", 0);
}

static void cut_end(uint8_t *b, size_t *n) {
    (void)b, *n -= 1;
}
static void cut_half(uint8_t *b, size_t *n) {
    (void)b, *n /= 2;
}
static void add_tail(uint8_t *b, size_t *n) {
    b[(*n)++] = 0;
}
static void add_comment(uint8_t *b, size_t *n) {
    set_u16(end_record(b, *n) + 20, 3);
    *n += 3;
}
static void encrypt(uint8_t *b, size_t *n) {
    central(b, *n, 0)[8] |= 1;
}
static void encrypt_local(uint8_t *b, size_t *n) {
    local(b, *n, 0)[6] |= 1;
}
static void bad_method(uint8_t *b, size_t *n) {
    set_u16(central(b, *n, 0) + 10, 14);
}
static void other_method(uint8_t *b, size_t *n) {
    set_u16(local(b, *n, 1) + 8, 8);
}
static void rename_local(uint8_t *b, size_t *n) {
    local(b, *n, 0)[30] = 'x';
}
static void rename_up(uint8_t *b, size_t *n) {
    memcpy(central(b, *n, 0) + 46, "../", 3);
}
static void rename_absolute(uint8_t *b, size_t *n) {
    central(b, *n, 0)[46] = '/';
}
static void rename_nul(uint8_t *b, size_t *n) {
    central(b, *n, 0)[47] = 0;
}
static void rename_backslash(uint8_t *b, size_t *n) {
    central(b, *n, 0)[47] = '\\';
}
static void same_names(uint8_t *b, size_t *n) {
    memcpy(central(b, *n, 1) + 46, "abcdef", 6);
    memcpy(local(b, *n, 1) + 30, "abcdef", 6);
}
static void long_member(uint8_t *b, size_t *n) {
    set_u32(central(b, *n, 1) + 20, 1000000);
    set_u32(central(b, *n, 1) + 24, 1000000);
}
static void overlap(uint8_t *b, size_t *n) { /* the first member swallows the second */
    set_u32(central(b, *n, 0) + 20, 60);
    set_u32(central(b, *n, 0) + 24, 60);
    set_u32(local(b, *n, 0) + 18, 60);
    set_u32(local(b, *n, 0) + 22, 60);
}
static void both_at_one(uint8_t *b, size_t *n) {
    memcpy(central(b, *n, 1) + 42, central(b, *n, 0) + 42, 4);
    memcpy(central(b, *n, 1) + 46, "abcdef", 6);
}
static void two_sizes(uint8_t *b, size_t *n) {
    set_u32(central(b, *n, 0) + 24, 5);
}
static void local_size(uint8_t *b, size_t *n) {
    set_u32(local(b, *n, 0) + 22, 19);
}
static void local_crc(uint8_t *b, size_t *n) {
    local(b, *n, 0)[14] ^= 1;
}
static void far_local(uint8_t *b, size_t *n) {
    set_u32(central(b, *n, 0) + 42, 0x7fffffff);
}
static void wrong_local(uint8_t *b, size_t *n) {
    set_u32(central(b, *n, 0) + 42, 1);
}
static void count_lies(uint8_t *b, size_t *n) {
    set_u16(end_record(b, *n) + 8, 60000);
    set_u16(end_record(b, *n) + 10, 60000);
}
static void count_short(uint8_t *b, size_t *n) {
    set_u16(end_record(b, *n) + 10, 1);
}
static void directory_moved(uint8_t *b, size_t *n) {
    end_record(b, *n)[16] ^= 1;
}
static void long_name(uint8_t *b, size_t *n) {
    set_u16(central(b, *n, 0) + 28, 5000);
}
static void no_name(uint8_t *b, size_t *n) {
    set_u16(central(b, *n, 1) + 28, 0);
}
static void other_disk(uint8_t *b, size_t *n) {
    end_record(b, *n)[4] = 1;
}
static void wants_zip64(uint8_t *b, size_t *n) {
    set_u32(central(b, *n, 0) + 24, UINT32_MAX);
}

static void broken_archives_are_refused(void **state) {
    (void)state;
    static const BadZip cases[] = {
        {"end record cut", "without an end record", cut_end},
        {"cut in half", "without an end record", cut_half},
        {"something appended", "without an end record", add_tail},
        {"comment", "comment of 3 bytes", add_comment},
        {"encrypted", "\"abcdef\" is encrypted", encrypt},
        {"encrypted in the local header", "another method or encryption", encrypt_local},
        {"unknown method", "method that is not read", bad_method},
        {"another method in the local header", "another method", other_method},
        {"another name in the local header", "another name in its local header", rename_local},
        {"..", "\"..\" in its name", rename_up},
        {"absolute", "absolute name", rename_absolute},
        {"NUL", "NUL in its name", rename_nul},
        {"backslash", "backslash in its name", rename_backslash},
        {"one name twice", "is there twice", same_names},
        {"longer than the file", "longer than the file", long_member},
        {"overlap", "overlaps another entry", overlap},
        {"two entries, one place", "overlaps another entry", both_at_one},
        {"stored with two sizes", "two different sizes", two_sizes},
        {"sizes differ", "other sizes or another checksum", local_size},
        {"checksums differ", "other sizes or another checksum", local_crc},
        {"local header beyond", "without a local header", far_local},
        {"local header elsewhere", "without a local header", wrong_local},
        {"too many entries", "claims 60000 entries but has room for", count_lies},
        {"too few entries", "after its last entry", count_short},
        {"directory elsewhere", "does not end where", directory_moved},
        {"name beyond the directory", "reaches beyond it", long_name},
        {"no name", "name at", no_name},
        {"several parts", "several parts", other_disk},
        {"zip64 sizes missing", "lacks its zip64 sizes", wants_zip64},
    };
    static const char text[] = "twenty bytes of text";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ZipMember members[2] = {{"abcdef", text, 20, 0}, {"ghijkl", text, 20, 0}};
        size_t size;
        uint8_t *whole = make_archive(members, 2, &size), *bytes = mem_zero(1, size + 8);
        memcpy(bytes, whole, size);
        cases[i].damage(bytes, &size);
        Zip *zip;
        int rc = zip_open(bytes, size, ERR_WEIGHTS, &zip);
        if (rc != ERR_WEIGHTS || zip || !strstr(err_sentence(), cases[i].pattern))
            fail_msg("%s: %d, %s", cases[i].what, rc, rc ? err_sentence() : "was taken");
        mem_free(whole);
        mem_free(bytes);
    }
}

static void members_are_checked(void **state) {
    (void)state;
    size_t size, n = (size_t)80 << 20;
    uint8_t *zeros = mem_zero(1, n), *bytes, *out;
    ZipMember members[2] = {{"a", zeros, 4000, 1}, {"bomb", zeros, n, 1}};
    bytes = make_archive(members, 2, &size);
    mem_free(zeros);
    assert_true(size < 100000);
    Zip *zip;
    assert_int_equal(zip_open(bytes, size, ERR_INPUT, &zip), 0);
    size_t live = mem_use().live;
    mem_reset_peak();
    assert_int_equal(zip_read(zip, zip_find(zip, "bomb"), SIZE_MAX, &out), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "more than 1000 times"));
    assert_int_equal(zip_read(zip, zip_find(zip, "a"), 3999, &out), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "the limit is 3999"));
    assert_true(mem_use().peak - live < 4096); /* refused before memory was asked for */
    assert_int_equal(zip_read(zip, zip_find(zip, "a"), 4000, &out), 0);
    mem_free(out);
    bytes[zip_find(zip, "a")->offset + 2] ^= 4;
    assert_int_equal(zip_read(zip, zip_find(zip, "a"), 4000, &out), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "damaged"));
    zip_close(zip);
    mem_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_is_undone),           cmocka_unit_test(cut_and_changed_streams_are_refused),
        cmocka_unit_test(hostile_streams_are_refused), cmocka_unit_test(archives_of_others_are_read),
        cmocka_unit_test(our_archives_are_read),       cmocka_unit_test(unzip_reads_ours),
        cmocka_unit_test(broken_archives_are_refused), cmocka_unit_test(members_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
