/* Weight files that PyTorch and safetensors wrote, read value by value; ours, written and read; conversion. */
#include "base/err.h"
#include "base/half.h"
#include "base/mem.h"
#include "tensor/files/describe.h"
#include "tensor/files/safetensors.h"
#include "tests/lib/check.h"
#include "tests/lib/zip_maker.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#define FIXTURES "tests/fixtures/files/"

/* The rule of tools/ref/make_file_fixtures.py. */
static float value(int64_t i, int seed) {
    return (float)((i * 37 + seed * 11) % 101 - 50) / 16.0f;
}

static Weights *opened(const char *path) {
    Weights *weights;
    if (weights_open(path, &weights)) fail_msg("%s", err_sentence());
    return weights;
}

static const WeightEntry *found(const Weights *weights, const char *name, WeightDType dtype, const char *shape) {
    const WeightEntry *entry = weights_find(weights, name);
    char text[WEIGHT_SHAPE_TEXT];
    if (!entry) fail_msg("%s is not there", name);
    assert_string_equal(weight_dtype_name(entry->dtype), weight_dtype_name(dtype));
    assert_string_equal(weight_shape_text(entry->rank, entry->size, text, sizeof text), shape);
    return entry;
}

static void check_values(const Weights *weights, const char *name, WeightDType dtype, const char *shape,
                         const float *want) {
    const WeightEntry *entry = found(weights, name, dtype, shape);
    float got[64];
    assert_true(entry->count <= 64);
    assert_int_equal(weights_read_f32(weights, entry, got), 0);
    for (int64_t i = 0; i < entry->count; i++)
        if (got[i] != want[i]) fail_msg("%s[%d] is %g, not %g", name, (int)i, (double)got[i], (double)want[i]);
    for (int64_t i = 0; i < entry->count; i++) { /* by parts too */
        float part[64];
        assert_int_equal(weights_read_part_f32(weights, entry, i, entry->count - i, part), 0);
        assert_memory_equal(part, want + i, (size_t)(entry->count - i) * sizeof *part);
    }
}

static void check_formula(const Weights *weights, const char *name, WeightDType dtype, const char *shape, int seed) {
    float want[64];
    for (int i = 0; i < 64; i++) want[i] = value(i, seed);
    check_values(weights, name, dtype, shape, want);
}

static void check_fixture(const Weights *weights) {
    check_formula(weights, "conv.weight", WEIGHT_F32, "4x3x2x2", 1);
    check_formula(weights, "conv.bias", WEIGHT_F32, "4", 2);
    check_formula(weights, "shared", WEIGHT_F32, "6x8", 3);
    check_formula(weights, "half", WEIGHT_F16, "5", 5);
    check_formula(weights, "brain", WEIGHT_BF16, "5", 6);
    check_formula(weights, "double", WEIGHT_F64, "3", 7);
    check_formula(weights, "parameter", WEIGHT_F32, "2x2", 8);
    float view[16], transposed[48], expanded[6];
    for (int i = 0; i < 16; i++) view[i] = value((i / 4 + 1) * 8 + i % 4 + 2, 3);
    for (int i = 0; i < 48; i++) transposed[i] = value(i % 6 * 8 + i / 6, 3);
    for (int i = 0; i < 6; i++) expanded[i] = value(i % 3, 4);
    check_values(weights, "view", WEIGHT_F32, "4x4", view);
    check_values(weights, "transposed", WEIGHT_F32, "8x6", transposed);
    check_values(weights, "expanded", WEIGHT_F32, "2x3", expanded);
    const float three[] = {-1, 0, 1}, bytes[] = {253, 254, 255}, flags[] = {1, 0, 1}, scalar[] = {2.5f};
    check_values(weights, "i64", WEIGHT_I64, "3", three);
    check_values(weights, "i32", WEIGHT_I32, "3", three);
    check_values(weights, "i16", WEIGHT_I16, "3", three);
    check_values(weights, "i8", WEIGHT_I8, "3", three);
    check_values(weights, "u8", WEIGHT_U8, "3", bytes);
    check_values(weights, "flag", WEIGHT_BOOL, "3", flags);
    check_values(weights, "scalar", WEIGHT_F32, "scalar", scalar);
    assert_int_equal(found(weights, "empty", WEIGHT_F32, "0x4")->count, 0);
    assert_int_equal(weights_count(weights), 18);
    assert_null(weights_find(weights, "conv"));
    assert_null(weights_find(weights, ""));
    assert_int_equal(weights_check_all(weights), 0);
}

static void files_of_pytorch_are_read(void **state) {
    (void)state;
    static const struct {
        const char *path, *format, *key;
        int skipped;
    } files[] = {
        {FIXTURES "plain_p2.pth", "PyTorch zip", "", 0},
        {FIXTURES "plain_p4.pth", "PyTorch zip", "", 0},
        {FIXTURES "nested_p2.pth", "PyTorch zip", "state_dict", 4},
        {FIXTURES "nested_p4.pth", "PyTorch zip", "state_dict", 4},
        {FIXTURES "legacy_p2.pth", "PyTorch legacy", "", 0},
        {FIXTURES "legacy_p4.pth", "PyTorch legacy", "", 0},
        {FIXTURES "plain.safetensors", "safetensors", "", 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        Weights *weights = opened(files[i].path);
        assert_string_equal(weights_format(weights), files[i].format);
        assert_string_equal(weights_key(weights), files[i].key);
        assert_int_equal(weights_skipped(weights), files[i].skipped);
        check_fixture(weights);
        weights_close(weights);
    }
}

static void training_files_give_their_model(void **state) {
    (void)state;
    Weights *weights = opened(FIXTURES "training.pth");
    assert_string_equal(weights_key(weights), "model");
    assert_int_equal(weights_count(weights), 7);
    found(weights, "0.weight", WEIGHT_F32, "3x2x3x3");
    found(weights, "1.num_batches_tracked", WEIGHT_I64, "scalar");
    assert_int_equal(weights_skipped(weights), 4);
    weights_close(weights);
    weights = opened(FIXTURES "dicts.pth");
    assert_int_equal(weights_count(weights), 2);
    check_formula(weights, "outer.inner.w", WEIGHT_F32, "2", 1);
    check_formula(weights, "outer.b", WEIGHT_F32, "1", 2);
    weights_close(weights);
    assert_int_equal(weights_open(FIXTURES "whole_module.pth", &weights), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(),
                           "whole_module.pth: refused: pickle asks for torch.nn.modules.container.Sequential at 2"));
}

static void metadata_is_read(void **state) {
    (void)state;
    Weights *weights = opened(FIXTURES "plain.safetensors");
    WeightsSummary summary;
    weights_describe(weights, &summary);
    assert_string_equal(summary.licence, "Apache-2.0");
    assert_string_equal(weights_metadata(weights, "strange"), "\xc3\xa9\xe4\xb8\x96\"\\\n");
    assert_null(weights_metadata(weights, "absent"));
    assert_int_equal(summary.tensors, 18);
    assert_int_equal(summary.by_dtype[WEIGHT_F32], 9);
    assert_string_equal(summary.model, "");
    char hex[65], out[400];
    assert_int_equal(weights_sha256(weights, hex), 0);
    run_command(out, sizeof out, "sha256sum " FIXTURES "plain.safetensors");
    assert_memory_equal(out, hex, 64);
    weights_close(weights);
}

static void lpips_is_read(void **state) {
    (void)state;
    NEEDS_DATA("weights_tiny/lpips_v0.1_alex.pth");
    static const struct {
        const char *path;
        int tensors;
        int64_t parameters;
        double first; /* seen with PyTorch */
    } files[] = {{"weights_tiny/lpips_v0.1_alex.pth", 5, 1152, 3.78798e-06},
                 {"weights_tiny/lpips_v0.1_squeeze.pth", 7, 2240, 0.204709},
                 {"weights_tiny/lpips_v0.1_vgg.pth", 5, 1472, 0.0501117}};
    for (size_t i = 0; i < 3; i++) {
        Weights *weights = opened(shared_data(files[i].path));
        assert_string_equal(weights_format(weights), "PyTorch legacy");
        assert_int_equal(weights_count(weights), files[i].tensors);
        assert_int_equal(weights_parameters(weights), files[i].parameters);
        float lin0[64];
        assert_int_equal(weights_read_f32(weights, found(weights, "lin0.model.1.weight", WEIGHT_F32, "1x64x1x1"), lin0),
                         0);
        assert_true(fabs(lin0[0] / files[i].first - 1) < 1e-4);
        assert_int_equal(weights_check_all(weights), 0);
        weights_close(weights);
    }
}

static void ours_are_read(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/ours.safetensors", scratch_folder("weights"));
    float a[6];
    uint16_t b[3];
    for (int i = 0; i < 6; i++) a[i] = value(i, 1);
    for (int i = 0; i < 3; i++) b[i] = f32_to_bf16(value(i, 2));
    SafetensorsTensor tensors[] = {{"a \"quoted\"\xc3\xa9", WEIGHT_F32, 2, {2, 3}, a},
                                   {"b", WEIGHT_BF16, 1, {3}, b},
                                   {"none", WEIGHT_F16, 2, {0, 7}, NULL},
                                   {"scalar", WEIGHT_F32, 0, {0}, a}};
    SafetensorsNote notes[] = {{"license", "MIT"}, {"a\nb", "\"\\"}};
    Out *out = NULL;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(safetensors_write(out, tensors, 4, notes, 2), 0);
    assert_int_equal(out_commit(&out), 0);
    Weights *weights = opened(path);
    check_formula(weights, "a \"quoted\"\xc3\xa9", WEIGHT_F32, "2x3", 1);
    check_formula(weights, "b", WEIGHT_BF16, "3", 2);
    check_formula(weights, "scalar", WEIGHT_F32, "scalar", 1);
    assert_string_equal(weights_metadata(weights, "a\nb"), "\"\\");
    assert_int_equal(weights_entry(weights, 0)->offset % 64, 0);
    weights_close(weights);

    tensors[1].name = "scalar";
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(safetensors_write(out, tensors, 4, NULL, 0), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(), "two tensors are named \"scalar\""));
    tensors[1].name = "__metadata__";
    assert_int_equal(safetensors_write(out, tensors, 4, NULL, 0), ERR_WEIGHTS);
    tensors[1] = (SafetensorsTensor){"huge", WEIGHT_F32, 2, {INT64_MAX, 2}, NULL};
    assert_int_equal(safetensors_write(out, tensors, 4, NULL, 0), ERR_WEIGHTS);
    out_abort(&out);
}

static void conversion_keeps_values(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/converted.safetensors", scratch_folder("convert"));
    Weights *from = opened(FIXTURES "nested_p2.pth"), *to;
    Out *out = NULL;
    WeightsConvert keep = {.keep_dtype = true};
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(weights_convert(from, &keep, out), 0);
    assert_int_equal(out_commit(&out), 0);
    to = opened(path);
    check_fixture(to);
    for (int i = 0; i < weights_count(to); i++) /* other readers map them */
        assert_int_equal(weights_entry(to, i)->offset % weight_dtype_size(weights_entry(to, i)->dtype), 0);
    assert_string_equal(weights_metadata(to, "source"), "nested_p2.pth");
    assert_int_equal(strlen(weights_metadata(to, "source_sha256")), 64);
    weights_close(to);
    for (int d = 0; d < 3; d++) {
        static const WeightDType dtypes[] = {WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16};
        WeightsConvert convert = {.dtype = dtypes[d], .strip_prefix = "conv."};
        assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
        assert_int_equal(weights_convert(from, &convert, out), 0);
        assert_int_equal(out_commit(&out), 0);
        to = opened(path);
        check_formula(to, "weight", dtypes[d], "4x3x2x2", 1); /* the values fit into every one of them */
        check_formula(to, "double", dtypes[d], "3", 7);
        found(to, "i64", WEIGHT_I64, "3");
        weights_close(to);
    }
    weights_close(from);
}

static void conversion_refuses_what_does_not_fit(void **state) {
    (void)state;
    float values[4] = {1, 2, 65520, 4};
    SafetensorsTensor tensor = {"w", WEIGHT_F32, 1, {4}, values};
    for (int nan = 0; nan < 2; nan++) {
        if (nan) values[2] = NAN;
        Out *out = NULL;
        uint8_t *bytes = NULL;
        size_t size = 0;
        Weights *weights;
        assert_int_equal(out_memory(&out), 0);
        assert_int_equal(safetensors_write(out, &tensor, 1, NULL, 0), 0);
        assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
        assert_int_equal(weights_open_memory(bytes, size, "w", &weights), 0);
        WeightsConvert convert = {.dtype = WEIGHT_F16};
        assert_int_equal(out_memory(&out), 0);
        assert_int_equal(weights_convert(weights, &convert, out), ERR_WEIGHTS);
        assert_non_null(
            strstr(err_sentence(), nan ? "tensor \"w\" has nan at element 2" : "tensor \"w\" has 65520 at element 2"));
        out_abort(&out);
        convert.dtype = WEIGHT_BF16;
        convert.allow_nonfinite = true;
        assert_int_equal(out_memory(&out), 0);
        assert_int_equal(weights_convert(weights, &convert, out), 0);
        out_abort(&out);
        assert_int_equal(weights_check_all(weights), nan ? ERR_WEIGHTS : 0);
        if (nan)
            assert_non_null(
                strstr(err_sentence(), "tensor \"w\" has 1 NaN and 0 infinite values, the first at element 2"));
        weights_close(weights);
        mem_free(bytes);
    }
}

/* W16: mapped, not read. The files are sparse: 30 GB of zeros that take no room. */
static void huge_files_are_mapped(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/huge.safetensors", scratch_folder("huge"));
    int64_t n = 7500000000;
    SafetensorsTensor tensors[2] = {{"big", WEIGHT_F32, 1, {n}, NULL}, {"last", WEIGHT_F32, 1, {1}, NULL}};
    Out *out = NULL;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(safetensors_write_header(out, tensors, 2, NULL, 0), 0);
    assert_int_equal(out_commit(&out), 0);
    int fd = open(path, O_WRONLY);
    off_t head = lseek(fd, 0, SEEK_END);
    float seven = 7;
    bool made = ftruncate(fd, head + n * 4 + 4) == 0 && pwrite(fd, &seven, 4, head + n * 4) == 4;
    close(fd);
    if (!made) {
        unlink(path);
        printf("skip: %s: no sparse file of 30 GB can be made here\n", __func__);
        skip();
    }
    size_t live = mem_use().live;
    mem_reset_peak();
    Weights *weights = opened(path);
    float got = 0;
    assert_int_equal(weights_parameters(weights), n + 1);
    assert_int_equal(weights_read_f32(weights, weights_find(weights, "last"), &got), 0);
    assert_true(got == 7);
    assert_true(mem_use().peak - live < 1 << 20);
    weights_close(weights);
    unlink(path);
}

/* A .pth beyond 4 GiB needs zip64; put together by hand, around a hole. */
static void zip64_is_read(void **state) {
    (void)state;
    static const char pickle[] =
        "\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nByteStorage\n"
        "X\1\0\0\0"
        "0X\3\0\0\0cpu\x8a\5\0\0\0\0\1tQ\x8a\5\xff\xff\xff\xff\0K\1\x85K\1\x85\x89"
        "ccollections\n"
        "OrderedDict\n)RtRs.";
    size_t size, pickle_size = sizeof pickle - 1;
    uint64_t big = (uint64_t)1 << 32; /* bytes of the storage; the tensor is its last one */
    ZipMember members[2] = {{"a/data.pkl", pickle, pickle_size, 0}, {"a/data/0", "x", 1, 0}};
    uint8_t *bytes = make_archive(members, 2, &size), tail[400] = {0};
    size_t local = find_signature(bytes, size, "PK\3\4", 1), central = find_signature(bytes, size, "PK\1\2", 0);
    size_t second = find_signature(bytes, size, "PK\1\2", 1), end = find_signature(bytes, size, "PK\5\6", 0);
    char path[600];
    snprintf(path, sizeof path, "%s/zip64.pth", scratch_folder("zip64"));
    int fd = open(path, O_RDWR | O_CREAT, 0666);
    /* local header of the storage, with 20 bytes of zip64 sizes behind its name */
    size_t name = local + 30, data = name + 8 + 20, n = 0;
    uint8_t head[1024];
    memcpy(head, bytes, name + 8);
    set_u32(head + local + 18, UINT32_MAX);
    set_u32(head + local + 22, UINT32_MAX);
    set_u16(head + local + 28, 20);
    set_u16(head + name + 8, 1);
    set_u16(head + name + 10, 16);
    set_u64(head + name + 12, big);
    set_u64(head + name + 20, big);
    /* directory, zip64 end, locator, end */
    memcpy(tail, bytes + central, second - central);
    n = second - central;
    memcpy(tail + n, bytes + second, 46 + 8);
    set_u32(tail + n + 20, UINT32_MAX);
    set_u32(tail + n + 24, UINT32_MAX);
    set_u16(tail + n + 30, 20);
    n += 46 + 8;
    memcpy(tail + n, head + name + 8, 20);
    n += 20;
    uint64_t directory = data + big;
    size_t end64 = n;
    memcpy(tail + n, "PK\6\6", 4);
    set_u64(tail + n + 4, 44);
    set_u16(tail + n + 12, 45);
    set_u16(tail + n + 14, 45);
    set_u64(tail + n + 24, 2);
    set_u64(tail + n + 32, 2);
    set_u64(tail + n + 40, end64);
    set_u64(tail + n + 48, directory);
    n += 56;
    memcpy(tail + n, "PK\6\7", 4);
    set_u64(tail + n + 8, directory + end64);
    set_u32(tail + n + 16, 1);
    n += 20;
    memcpy(tail + n, bytes + end, 22);
    set_u32(tail + n + 12, (uint32_t)end64);
    set_u32(tail + n + 16, UINT32_MAX);
    n += 22;
    mem_free(bytes);
    uint8_t last = 42;
    bool made = fd >= 0 && pwrite(fd, head, data, 0) == (ssize_t)data &&
                pwrite(fd, &last, 1, (off_t)(directory - 1)) == 1 &&
                pwrite(fd, tail, n, (off_t)directory) == (ssize_t)n;
    if (fd >= 0) close(fd);
    if (!made) {
        unlink(path);
        printf("skip: %s: no sparse file of 4 GiB can be made here\n", __func__);
        skip();
    }
    Weights *weights = opened(path);
    float got = 0;
    assert_int_equal(weights_read_f32(weights, found(weights, "w", WEIGHT_U8, "1"), &got), 0);
    assert_true(got == 42);
    weights_close(weights);
    unlink(path);
}

static void halves_are_converted(void **state) {
    (void)state;
    float values[] = {0, -0.0f, 1, -2.5f, 65504, 1e-8f, 3.4e38f, INFINITY, -INFINITY, NAN, 0.333333f}, back[11];
    for (int d = 0; d < 4; d++) {
        static const WeightDType dtypes[] = {WEIGHT_F32, WEIGHT_F64, WEIGHT_F16, WEIGHT_BF16};
        uint8_t raw[11 * 8];
        weight_from_f32(dtypes[d], values, 11, raw);
        weight_to_f32(dtypes[d], raw, 11, back);
        for (int i = 0; i < 11; i++) {
            float want = dtypes[d] == WEIGHT_F16    ? f16_to_f32(f32_to_f16(values[i]))
                         : dtypes[d] == WEIGHT_BF16 ? bf16_to_f32(f32_to_bf16(values[i]))
                                                    : values[i];
            assert_true(isnan(values[i]) ? isnan(back[i]) : memcmp(&back[i], &want, 4) == 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_pytorch_are_read),
        cmocka_unit_test(training_files_give_their_model),
        cmocka_unit_test(metadata_is_read),
        cmocka_unit_test(lpips_is_read),
        cmocka_unit_test(ours_are_read),
        cmocka_unit_test(conversion_keeps_values),
        cmocka_unit_test(conversion_refuses_what_does_not_fit),
        cmocka_unit_test(huge_files_are_mapped),
        cmocka_unit_test(zip64_is_read),
        cmocka_unit_test(halves_are_converted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
