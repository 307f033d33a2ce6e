/* NPY and NPZ: what NumPy wrote is read, what we write NumPy reads, and rows I16 and I17 of the list of bad inputs. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/npy.h"
#include "tests/lib/check.h"
#include "tests/lib/zip_maker.h"

#include <math.h>

#define FIXTURES "tests/fixtures/files/"

/* The rule of tools/ref/make_file_fixtures.py. */
static float value(int64_t i, int seed) {
    return (float)((i * 37 + seed * 11) % 101 - 50) / 16.0f;
}

static void check_npz(const char *path) {
    Npz *npz;
    NpyArray array;
    float values[24];
    if (npz_open(path, &npz)) fail_msg("%s", err_sentence());
    assert_int_equal(npz_count(npz), 20);
    assert_string_equal(npz_name(npz, 0), "bool");
    static const struct {
        const char *name;
        NpyType type;
    } kinds[] = {{"bool", NPY_BOOL}, {"i1", NPY_I8},  {"i2", NPY_I16}, {"i4", NPY_I32},
                 {"i8", NPY_I64},    {"u1", NPY_U8},  {"u2", NPY_U16}, {"u4", NPY_U32},
                 {"u8", NPY_U64},    {"f2", NPY_F16}, {"f4", NPY_F32}, {"f8", NPY_F64}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (npz_read(npz, kinds[k].name, &array)) fail_msg("%s", err_sentence());
        assert_string_equal(npy_type_name(array.type), npy_type_name(kinds[k].type));
        assert_true(array.rank == 2 && array.size[0] == 2 && array.size[1] == 3 && array.count == 6);
        assert_int_equal(npy_to_f32(&array, values), 0);
        for (int i = 0; i < 6; i++) {
            float want = value(i, 1) * 16;
            if (kinds[k].type == NPY_BOOL) want = (int)want % 2 ? 1 : 0;
            if (kinds[k].name[0] == 'u') want = fabsf(want);
            assert_true(values[i] == want);
        }
        npy_free(&array);
    }
    assert_int_equal(npz_read(npz, "big_f4", &array), 0);
    assert_int_equal(npy_to_f32(&array, values), 0);
    for (int i = 0; i < 6; i++) assert_true(values[i] == value(i, 2));
    npy_free(&array);
    assert_int_equal(npz_read(npz, "big_i2", &array), 0);
    assert_int_equal(npy_to_f32(&array, values), 0);
    for (int i = 0; i < 6; i++) assert_true(values[i] == (float)i);
    npy_free(&array);
    assert_int_equal(npz_read(npz, "fortran", &array), 0); /* row-major once read */
    assert_int_equal(npy_to_f32(&array, values), 0);
    for (int i = 0; i < 24; i++) assert_true(values[i] == value(i, 3));
    npy_free(&array);
    assert_int_equal(npz_read(npz, "scalar.npy", &array), 0);
    assert_true(array.rank == 0 && array.count == 1);
    assert_int_equal(npy_to_f32(&array, values), 0);
    assert_true(values[0] == 2.5f);
    npy_free(&array);
    assert_int_equal(npz_read(npz, "empty", &array), 0);
    assert_true(array.count == 0 && array.size[1] == 4);
    npy_free(&array);
    char text[32];
    assert_int_equal(npz_read(npz, "kind", &array), 0);
    assert_string_equal(npy_text(&array, 0, text, sizeof text), "disparity");
    assert_int_equal(npy_to_f32(&array, values), ERR_INPUT);
    npy_free(&array);
    assert_int_equal(npz_read(npz, "words", &array), 0);
    assert_string_equal(npy_text(&array, 0, text, sizeof text), "a");
    assert_string_equal(npy_text(&array, 1, text, sizeof text), "\xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80");
    assert_string_equal(npy_text(&array, 1, text, 9), "\xc3\xa9\xe4\xb8\x96"); /* cut at a character */
    assert_string_equal(npy_text(&array, 2, text, sizeof text), "");
    npy_free(&array);
    assert_int_equal(npz_read(npz, "big_text", &array), 0);
    assert_string_equal(npy_text(&array, 0, text, sizeof text), "xy");
    npy_free(&array);
    assert_true(npz_has(npz, "kind") && !npz_has(npz, "kin"));
    assert_int_equal(npz_read(npz, "absent", &array), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "has no array \"absent\"; there is bool, i1, i2"));
    assert_null(array.data);
    npz_close(npz);
}

static void arrays_of_numpy_are_read(void **state) {
    (void)state;
    check_npz(FIXTURES "stored.npz");
    check_npz(FIXTURES "packed.npz");
    static const char *const paths[] = {FIXTURES "f4.npy", FIXTURES "version2.npy", FIXTURES "version3.npy"};
    for (int k = 0; k < 3; k++) {
        NpyArray array;
        float values[12];
        assert_int_equal(npy_read(paths[k], &array), 0);
        assert_int_equal(npy_to_f32(&array, values), 0);
        for (int64_t i = 0; i < array.count; i++) assert_true(values[i] == value(i, k ? 0 : 1));
        npy_free(&array);
    }
}

static void write_npz(const char *path, NpzMode mode) {
    Out *out = NULL;
    NpzOut *npz = NULL;
    float values[12];
    int64_t size[3] = {2, 1, 6};
    uint16_t halves[2] = {0x3c00, 0xc000};
    uint8_t flags[3] = {1, 0, 1};
    for (int i = 0; i < 12; i++) values[i] = value(i, 5);
    values[3] = NAN;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(npz_out_begin(out, mode, &npz), 0);
    assert_int_equal(npz_out_f32(npz, "disparity", values, 3, size), 0);
    assert_int_equal(npz_out_f32(npz, "none", values, 1, (int64_t[]){0}), 0);
    assert_int_equal(npz_out_text(npz, "kind", "disparity"), 0);
    assert_int_equal(npz_out_text(npz, "source", "\xc3\xa9\xf0\x9f\x98\x80\xff.mkv"), 0);
    assert_int_equal(npz_out_text(npz, "nothing", ""), 0);
    assert_int_equal(
        npz_out_add(npz, "half", &(NpyArray){.type = NPY_F16, .rank = 1, .size = {2}, .data = (uint8_t *)halves}), 0);
    assert_int_equal(npz_out_add(npz, "mask", &(NpyArray){.type = NPY_BOOL, .rank = 1, .size = {3}, .data = flags}), 0);
    assert_int_equal(npz_out_end(&npz), 0);
    assert_int_equal(out_commit(&out), 0);
}

static void ours_are_read(void **state) {
    (void)state;
    char path[600], again[600];
    uint8_t *first, *second;
    size_t first_size, second_size;
    for (int mode = NPZ_STORED; mode <= NPZ_PACKED; mode++) {
        const char *folder = scratch_folder("npz");
        snprintf(path, sizeof path, "%s/a.npz", folder);
        snprintf(again, sizeof again, "%s/b.npz", folder);
        write_npz(path, (NpzMode)mode);
        write_npz(again, (NpzMode)mode);
        assert_int_equal(file_read(path, 1 << 20, &first, &first_size), 0);
        assert_int_equal(file_read(again, 1 << 20, &second, &second_size), 0);
        assert_true(first_size == second_size && memcmp(first, second, first_size) == 0); /* no time stamps */
        mem_free(first);
        mem_free(second);
        Npz *npz;
        NpyArray array;
        char text[40];
        assert_int_equal(npz_open(path, &npz), 0);
        assert_int_equal(npz_read(npz, "disparity", &array), 0);
        assert_true(array.type == NPY_F32 && array.rank == 3 && array.size[2] == 6);
        float *values = (float *)(void *)array.data;
        for (int i = 0; i < 12; i++) assert_true(i == 3 ? isnan(values[i]) : values[i] == value(i, 5));
        npy_free(&array);
        assert_int_equal(npz_read(npz, "source", &array), 0);
        assert_string_equal(npy_text(&array, 0, text, sizeof text), "\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd.mkv");
        npy_free(&array);
        assert_int_equal(npz_read(npz, "nothing", &array), 0);
        assert_string_equal(npy_text(&array, 0, text, sizeof text), "");
        npy_free(&array);
        npz_close(npz);
    }
}

static void numpy_reads_ours(void **state) {
    (void)state;
    char out[2000], path[600];
    const char *python =
        run_command(out, sizeof out, "python3 -c 'import numpy'") == 0 ? "python3" : getenv("PANUM_TEST_PYTHON");
    if (!python) {
        printf("skip: %s: no python3 with numpy (or name one in PANUM_TEST_PYTHON)\n", __func__);
        skip();
    }
    snprintf(path, sizeof path, "%s/a.npz", scratch_folder("numpy"));
    write_npz(path, NPZ_PACKED);
    int rc = run_command(
        out, sizeof out,
        "%s -c \"import numpy as np; z=np.load('%s'); d=z['disparity']; print(sorted(z.files), d.shape, d.dtype, "
        "np.isnan(d).sum(), str(z['kind'])=='disparity', z['kind'].dtype.kind, ascii(str(z['source'])), "
        "str(z['nothing'])=='', z['half'].tolist(), z['mask'].tolist(), z['none'].shape)\"",
        python, path);
    assert_int_equal(rc, 0);
    assert_string_equal(out,
                        "['disparity', 'half', 'kind', 'mask', 'none', 'nothing', 'source'] (2, 1, 6) float32 1 True U "
                        "'\\xe9\\U0001f600\\ufffd.mkv' True [1.0, -2.0] [True, False, True] (0,)\n");
}

static void refused(const void *bytes, size_t size, const char *pattern) {
    uint8_t *copy = malloc(size ? size : 1);
    NpyArray array;
    size_t live = mem_use().live;
    if (size) memcpy(copy, bytes, size);
    mem_reset_peak();
    int rc = npy_read_memory(copy, size, &array);
    if (rc != ERR_INPUT || !strstr(err_sentence(), pattern))
        fail_msg("code %d: %s (wanted: %s)", rc, rc ? err_sentence() : "was read", pattern);
    assert_null(array.data);
    assert_true(mem_use().peak - live < 1024); /* nothing was asked for */
    free(copy);
}

static void refused_header(const char *header, const char *pattern) {
    uint8_t bytes[1024] = "\x93NUMPY\1\0";
    size_t n = strlen(header);
    set_u16(bytes + 8, (unsigned)n);
    memcpy(bytes + 10, header, n);
    refused(bytes, 10 + n + 16, pattern);
}

static void i16_npy(void **state) {
    (void)state;
#define HEADER(DESCR, ORDER, SHAPE) "{'descr': " DESCR ", 'fortran_order': " ORDER ", 'shape': " SHAPE ", }\n"
    refused("", 0, "is empty");
    refused("\x93NUMP", 5, "is no NPY file");
    refused("\x93NUMPY\1\0\0\0", 10, "does not start with \"{\" at byte 0");
    refused("\x93NUMPY\1\0\xff\xff{}", 12, "NPY header says 65535 bytes, the file has 2");
    refused("\x93NUMPY\2\0\xff\xff\xff\xff{}", 14, "NPY header says 4294967295 bytes, up to 65536 are read");
    refused("\x93NUMPY\2\0\0", 9, "is no NPY file");
    refused("\x93NUMPY\2\0\0\0", 10, "ends inside the NPY header");
    refused("\x93NUMPY\x9\0\0\0", 10, "NPY version 9.0, 1.0 to 3.0 are read");
    refused_header("\xff\xfe", "does not start with \"{\"");
    refused_header(HEADER("'|O'", "False", "(2,)"), "refused: contains Python objects");
    refused_header(HEADER("'O8'", "False", "(2,)"), "refused: contains Python objects");
    refused_header(HEADER("'<c8'", "False", "(2,)"), "dtype \"<c8\"; bool, i1 to i8");
    refused_header(HEADER("'|S4'", "False", "(2,)"), "dtype \"|S4\"");
    refused_header(HEADER("'<f3'", "False", "(2,)"), "dtype \"<f3\"");
    refused_header(HEADER("'<U99999999'", "False", "(2,)"), "dtype \"<U99999999\"");
    refused_header(HEADER("[('a', '<f4')]", "False", "(2,)"), "arrays with fields are not read");
    refused_header(HEADER("'<f4'", "False", "(-1,)"), "shape holds no whole number");
    refused_header(HEADER("'<f4'", "False", "(4611686018427387904, 4)"), "the shape overflows");
    refused_header(HEADER("'<f4'", "False", "(99999999999999999999,)"), "shape holds no whole number");
    refused_header(HEADER("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), "more than 8 dimensions");
    refused_header(HEADER("'<f4'", "False", "(5,)"), "needs 20 bytes, the file has 16: it is cut short");
    refused_header(HEADER("'<f4'", "False", "(3,)"), "4 bytes after the NPY array at");
    refused_header(HEADER("'<f4'", "False", "(4611686018427387903,)"), "the shape overflows");
    refused_header(HEADER("'<f4'", "False", "(1073741824,)"), "needs 4294967296 bytes");
    refused_header(HEADER("'<U0'", "False", "(9223372036854775807,)"), "texts of no characters");
    refused_header(HEADER("'<f4'", "1", "(4,)"), "fortran_order is neither True nor False");
    refused_header(HEADER("'<f4'", "False", "4"), "shape is no tuple");
    refused_header(HEADER("'<f4'", "False", "(4"), "shape holds no whole number");
    refused_header("{'descr': '<f4', 'descr': '<f4'}", "unknown or repeated key");
    refused_header("{'descr': '<f4', 'shape': (4,)}", "is missing");
    refused_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)} x", "something follows it");
    refused_header("{'descr': '<f4'", "no \",\" or \"}\"");
    NpyArray array;
    assert_int_equal(npy_read(FIXTURES "objects.npy", &array), ERR_INPUT);
    assert_string_equal(err_sentence(),
                        FIXTURES "objects.npy: refused: contains Python objects (dtype object), which are not read");
    assert_int_equal(npy_read(FIXTURES "fields.npy", &array), ERR_INPUT);
    assert_int_equal(npy_read("no/such.npy", &array), ERR_INPUT);
}

static void i17_npz(void **state) {
    (void)state;
    Npz *npz;
    NpyArray array;
    size_t size;
    assert_int_equal(npz_open_memory((const uint8_t *)"", 0, &npz), ERR_INPUT);
    assert_int_equal(npz_open(FIXTURES "f4.npy", &npz), ERR_INPUT);
    assert_string_equal(err_sentence(), FIXTURES "f4.npy: is no NPZ file: it is no zip archive");
    ZipMember members[2] = {{"a.npy", "junk", 4, 0}, {"b.npy", "junk", 4, 1}};
    uint8_t *bytes = make_archive(members, 2, &size);
    assert_int_equal(npz_open_memory(bytes, size, &npz), 0);
    assert_int_equal(npz_read(npz, "a", &array), ERR_INPUT);
    assert_string_equal(err_sentence(), "a.npy: is no NPY file: it does not start with \\x93NUMPY");
    npz_close(npz);
    bytes[find_signature(bytes, size, "PK\1\2", 0) + 8] |= 1;
    assert_int_equal(npz_open_memory(bytes, size, &npz), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "is encrypted"));
    mem_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_numpy_are_read),
        cmocka_unit_test(ours_are_read),
        cmocka_unit_test(numpy_reads_ours),
        cmocka_unit_test(i16_npy),
        cmocka_unit_test(i17_npz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
