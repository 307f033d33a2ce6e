/* Every word of the vocabulary against the manuals: CUDA C++ Programming Guide (warp shuffle and vote functions,
 * mathematical functions), PTX ISA (mma.m16n8k16, ldmatrix, cp.async, cvt). On the emulated device, in three orders of
 * threads. */
#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "tests/cuda/cases.h"
#include "tests/cuda/simt/device_case.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <ctype.h>
#include <math.h>

enum { ORDERS = 3 };
static DeviceCase begin(unsigned order, const char *define) {
    Gpu *gpu;
    assert_int_equal(test_device_open((Emulated){.order = order == 2 ? 77 : order}, &gpu), 0);
    return device_case(gpu, "tests/cuda/words.cu", define);
}

static void test_places(void **state) {
    (void)state;
    for (unsigned order = 0; order < ORDERS; order++) {
        DeviceCase d = begin(order, NULL);
        u32 c[12 * 64];
        WordArgs a = {.c = case_room(&d, sizeof c)};
        case_run(&d, "word_places", (GpuLaunch){{3, 2, 2}, 64, 0}, &a, sizeof a);
        case_down(&d, c, a.c, sizeof c);
        for (int b = 0; b < 12; b++)
            for (int t = 0; t < 64; t++)
                assert_int_equal(c[b * 64 + t], t + 100 * (b % 3) + 1000 * (b / 3 % 2) + 10000 * (b / 6) +
                                                    100000 * (t % 32) + 10000000 * (t / 32));
        device_case_drop(&d);
    }
}

static void test_warp(void **state) {
    (void)state;
    for (unsigned order = 0; order < ORDERS; order++) {
        DeviceCase d = begin(order, NULL);
        float x[64], y[448];
        u32 c[128];
        for (int t = 0; t < 64; t++) x[t] = (float)(t * 37 % 64);
        WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .c = case_room(&d, sizeof c)};
        case_run(&d, "word_warp", (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a);
        case_down(&d, y, a.y, sizeof y);
        case_down(&d, c, a.c, sizeof c);
        for (int t = 0; t < 64; t++) {
            int lane = t % 32, first = t - lane;
            float largest = 0, sum = 0;
            u32 thirds = 0;
            for (int i = 0; i < 32; i++) {
                largest = fmaxf(largest, x[first + i]);
                sum += x[first + i];
                thirds |= (u32)((first + i) % 3 == 0) << i;
            }
            assert_true(y[t] == x[first + (lane ^ 1)] && y[64 + t] == x[first + (lane ^ 21)]);
            assert_true(y[128 + t] == x[lane + 5 < 32 ? t + 5 : t]);
            assert_true(y[192 + t] == x[first + 3] && y[256 + t] == x[first + ((35 - t) & 31)]);
            assert_true(y[320 + t] == largest && y[384 + t] == sum);
            assert_int_equal(c[t], thirds);
            assert_int_equal(c[64 + t], t >= 32);
        }
        device_case_drop(&d);
    }
}

static void check_bits(const char *define, float (*rounded)(float)) {
    enum { N = 512 };
    DeviceCase d = begin(0, define);
    static float x[N], y[2 * N];
    static u32 c[N];
    for (int i = 0; i < N; i++) x[i] = (float)ldexp(1 + i / 512.0, i % 60 - 30) * (i % 2 ? -1 : 1);
    x[0] = 0, x[1] = -0.f, x[2] = INFINITY, x[3] = -INFINITY, x[4] = 1e-45f;
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .c = case_room(&d, sizeof c), .n = N};
    case_run(&d, "word_bits", (GpuLaunch){{N / 128, 1, 1}, 128, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    case_down(&d, c, a.c, sizeof c);
    for (int i = 0; i < N; i++) {
        u32 bits;
        memcpy(&bits, &x[i], 4);
        assert_int_equal(c[i], bits);
        assert_true(y[i] == -x[i] && signbit(y[i]) != signbit(x[i]));
        assert_true(y[N + i] == rounded(x[i]));
    }
    device_case_drop(&d);
}

static float through_f16(float v) {
    return f16_to_f32(f32_to_f16(v));
}
static float through_bf16(float v) {
    return bf16_to_f32(f32_to_bf16(v));
}

static void test_bits(void **state) {
    (void)state;
    check_bits(NULL, through_f16);
    check_bits("-DHALF_IS_F16", through_f16);
    check_bits("-DHALF_IS_BF16", through_bf16);
}

static void test_unroll(void **state) {
    (void)state;
    DeviceCase d = begin(1, NULL);
    float x[8], y[64];
    for (int i = 0; i < 8; i++) x[i] = (float)(1 << i);
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y)};
    case_run(&d, "word_unroll", (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    for (int t = 0; t < 64; t++) assert_true(y[t] == (float)(510 * t));
    device_case_drop(&d);
}

static void test_block_sum(void **state) {
    (void)state;
    for (unsigned order = 0; order < ORDERS; order++) {
        DeviceCase d = begin(order, NULL);
        float x[256], y[512];
        for (int i = 0; i < 256; i++) x[i] = (float)(i * i);
        WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y)};
        case_run(&d, "word_block_sum", (GpuLaunch){{1, 1, 1}, 256, 0}, &a, sizeof a);
        case_down(&d, y, a.y, sizeof y);
        double sum[2] = {0};
        for (int i = 0; i < 256; i++) sum[i & 1] += (double)x[i];
        for (int i = 0; i < 256; i++) assert_true(y[i] == (float)sum[0] && y[256 + i] == (float)sum[1]);
        device_case_drop(&d);
    }
}

/* Column minus disparity, whole part and rest, in f64: the rest is rounded once. */
static void test_position(void **state) {
    (void)state;
    enum { N = 20 };
    DeviceCase d = begin(0, NULL);
    float x[N] = {0,      1,      -1,          0.25f,       -0.25f, 6.75f,    7,         7.5f, -480.125f,   1e-7f,
                  -1e-7f, 1e-30f, 536870911.f, 536870912.f, -6e8f,  INFINITY, -INFINITY, NAN,  0.99999994f, 16777215.f};
    float y[128];
    u32 c[128];
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .c = case_room(&d, sizeof c), .n = N};
    case_run(&d, "word_position", (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    case_down(&d, c, a.c, sizeof c);
    for (int i = 0; i < N; i++) {
        const bool near = fabsf(x[i]) < 536870912.f;
        assert_int_equal(c[i], near);
        if (!near) continue;
        const double at = 7 - (double)x[i];
        const double whole = (double)(int)c[64 + i], part = (double)y[i];
        assert_true(part >= 0 && part <= 1 && y[64 + i] == floorf(x[i]));
        if (!(fabs(whole + part - at) <= 6e-8)) fail_msg("%.9g: %.9g and %.9g", (double)x[i], whole, part);
    }
    device_case_drop(&d);
}

/* No word without a kernel above: what machine.h and device.h define is spoken in words.cu, and words.h knows it too.
 */
static bool is_spoken(const char *text, const char *word, size_t n) {
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        const char before = at > text ? at[-1] : ' ', after = at[n];
        if (!isalnum((unsigned char)before) && before != '_' && !isalnum((unsigned char)after) && after != '_')
            return true;
    }
    return false;
}

static char *file_text(const char *path) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &size), 0);
    char *text = mem_zero(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    mem_free(bytes);
    return text;
}

static void test_every_word(void **state) {
    (void)state;
    /* made of others, and in them; or of the machine's own alphabet */
    static const char *const no_words[] = {"PRAGMA", "ALL_LANES", "MMA_DEPTH_8", "MMA_TYPES", "DEVICE"};
    static const char *const files[] = {"cuda/device/machine.h", "cuda/device/device.h", "cuda/device/sums.h",
                                        "cuda/device/position.h"};
    char *spoken = file_text("tests/cuda/words.cu"), *known = file_text("tests/cuda/simt/words.h");
    int words = 0;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char *text = file_text(files[f]), word[64], type[32];
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            bool found = sscanf(line, "DEVICE %31s %63[a-z0-9_](", type, word) == 2 ||
                         sscanf(line, "#define %63[A-Za-z0-9_]", word) == 1;
            if (!found || strstr(word, "PANUM_CUDA") || strstr(word, "POSITION_LIMIT")) continue;
            for (size_t k = 0; k < sizeof no_words / sizeof *no_words; k++) found = found && strcmp(word, no_words[k]);
            if (!found) continue;
            if (!is_spoken(spoken, word, strlen(word))) fail_msg("%s has no kernel in words.cu", word);
            if (!f && !is_spoken(known, word, strlen(word))) fail_msg("words.h does not have %s", word);
            words++;
        }
        mem_free(text);
    }
    printf("  %d words\n", words);
    assert_true(words > 45);
    mem_free(spoken), mem_free(known);
}

/* |got - want| in units of the last place of want */
static double places(float got, double want) {
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (isinf((float)want) || got == (float)want) return got == (float)want ? 0 : INFINITY;
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1, e < -125 ? -149 : e - 24);
}

static void test_numbers(void **state) {
    (void)state;
    enum { N = 1000 };
    DeviceCase d = begin(0, NULL);
    static float x[N], y[10 * N];
    for (int i = 0; i < N; i++) x[i] = (float)(i - 500) * 0.0173f;
    x[0] = 0, x[1] = -0.f, x[2] = INFINITY, x[3] = -INFINITY, x[4] = NAN, x[5] = 88.7f, x[6] = 1e-30f;
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .n = N};
    case_run(&d, "word_numbers", (GpuLaunch){{(N + 127) / 128, 1, 1}, 128, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    double worst[10] = {0};
    static const double allowed[] = {2,   110, 1,   2,   2,
                                     0.5, 0.5, 0.5, 0.5, 2}; /* machine.h; exp_fast 2 + |1.16 x|, x < 90 */
    for (int i = 0; i < N; i++) {
        double v = (double)x[i];
        const double want[10] = {exp(v),
                                 exp(v),
                                 log(fabs(v)),
                                 erf(v),
                                 tanh(v),
                                 sqrt(fabs(v)),
                                 fma(v, v, -v),
                                 (double)(fmaxf(x[i], 0.5f) + fminf(x[i], -0.5f)),
                                 sqrt(fabs(v)) * 1e6,
                                 exp2(v)};
        for (int k = 0; k < 10; k++) worst[k] = fmax(worst[k], places(y[k * N + i], want[k]));
    }
    for (int k = 0; k < 10; k++)
        if (!(worst[k] <= allowed[k])) fail_msg("function %d: %g units in the last place", k, worst[k]);
    device_case_drop(&d);
}

static void test_halves(void **state) {
    (void)state;
    enum { N = 4096 };
    DeviceCase d = begin(0, NULL);
    static float y[2 * 65536], x[N];
    static u32 c[65536 + N];
    for (int i = 0; i < N; i++) x[i] = (float)ldexp((i * 7919 % 4096 - 2048) / 2048.0 + 1e-4 * i, i % 48 - 28);
    x[0] = 65519.99f, x[1] = 65520, x[2] = NAN, x[3] = -INFINITY, x[4] = 2.9802322e-8f, x[5] = 3.4e38f;
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .c = case_room(&d, sizeof c), .n = N};
    case_run(&d, "word_halves", (GpuLaunch){{512, 1, 1}, 128, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    case_down(&d, c, a.c, sizeof c);
    for (int i = 0; i < 65536; i++) {
        bool nan16 = (i & 0x7c00) == 0x7c00 && (i & 0x3ff), nanb = (i & 0x7f80) == 0x7f80 && (i & 0x7f);
        if (nan16)
            assert_true(isnan(y[i]) && (c[i] & 0x7c00) == 0x7c00 && (c[i] & 0x3ff));
        else
            assert_true(y[i] == f16_to_f32((uint16_t)i) && (c[i] & 0xffff) == (u32)i);
        if (nanb)
            assert_true(isnan(y[65536 + i]));
        else
            assert_true(y[65536 + i] == bf16_to_f32((uint16_t)i) && c[i] >> 16 == (u32)i);
    }
    for (int i = 0; i < N; i++) {
        if (isnan(x[i])) continue;
        assert_int_equal(c[65536 + i] & 0xffff, f32_to_f16(x[i]));
        assert_int_equal(c[65536 + i] >> 16, f32_to_bf16(x[i]));
    }
    device_case_drop(&d);
}

static void test_memory(void **state) {
    (void)state;
    for (unsigned order = 0; order < ORDERS; order++) {
        DeviceCase d = begin(order, NULL);
        float x[256], y[257] = {0};
        u32 c[65];
        for (int i = 0; i < 256; i++) x[i] = (float)i;
        WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_up(&d, y, sizeof y), .c = case_room(&d, sizeof c)};
        case_run(&d, "word_memory", (GpuLaunch){{1, 1, 1}, 64, 65 * 4}, &a, sizeof a);
        case_down(&d, y, a.y, sizeof y);
        case_down(&d, c, a.c, sizeof c);
        for (int i = 0; i < 256; i++) assert_true(y[i] == x[4 * (63 - i / 4) + i % 4]);
        assert_true(y[256] == 16);
        for (int t = 0; t < 65; t++) assert_int_equal(c[t], t < 4 ? 16 : t == 64 ? 63 * 32 : 0);
        device_case_drop(&d);
    }
}

static void test_copy(void **state) {
    (void)state;
    for (unsigned order = 0; order < ORDERS; order++) {
        DeviceCase d = begin(order, NULL);
        float x[512], y[512];
        for (int i = 0; i < 512; i++) x[i] = (float)(i + 1);
        WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y)};
        case_run(&d, "word_copy", (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a);
        case_down(&d, y, a.y, sizeof y);
        for (int i = 0; i < 256; i++) {
            assert_true(y[i] == ((255 - i) / 4 % 3 != 0 ? x[255 - i] : 0));
            assert_true(y[256 + i] == ((255 - i) / 4 % 3 != 1 ? x[511 - i] : 0));
        }
        device_case_drop(&d);
    }
}

static void test_matrix(void **state) {
    (void)state;
    DeviceCase d = begin(0, NULL);
    u32 s[128], c[256];
    for (int i = 0; i < 128; i++) s[i] = (u32)(2 * i) | (u32)(2 * i + 1) << 16; /* 16-bit element e holds e */
    WordArgs a = {.a = case_up(&d, s, sizeof s), .c = case_room(&d, sizeof c)};
    case_run(&d, "word_matrix", (GpuLaunch){{1, 1, 1}, 32, 0}, &a, sizeof a);
    case_down(&d, c, a.c, sizeof c);
    for (int lane = 0; lane < 32; lane++)
        for (int m = 0; m < 4; m++) {
            int element = m * 64 + lane / 4 * 8 + lane % 4 * 2; /* of matrix m: row lane/4, column 2 (lane%4) */
            assert_int_equal(c[4 * lane + m], (u32)element | (u32)(element + 1) << 16);
            element = m * 64 + lane % 4 * 16 + lane / 4; /* across: row 2 (lane%4), column lane/4 */
            assert_int_equal(c[128 + 4 * lane + m], (u32)element | (u32)(element + 8) << 16);
        }
    device_case_drop(&d);
}

/* The manual's tables for mma.m16n8k16: which element of A (16x16), B (16x8) and C (16x8) register i of a lane holds, A
 * and B two 16-bit elements a register. */
static int a_row(int lane, int i) {
    return lane / 4 + ((i < 2 || (i >= 4 && i < 6)) ? 0 : 8);
}
static int a_column(int lane, int i) {
    return lane % 4 * 2 + (i & 1) + (i >= 4 ? 8 : 0);
}
static int b_row(int lane, int i) {
    return lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0);
}
static int b_column(int lane, int i) {
    (void)i;
    return lane / 4;
}
static int c_row(int lane, int i) {
    return lane / 4 + (i >= 2 ? 8 : 0);
}
static int c_column(int lane, int i) {
    return lane % 4 * 2 + (i & 1);
}

/* One product for each element of A set to one, against a B whose elements are all different, and the other way round:
 * C is the one row or column that the element picks out. */
static void check_mma(const char *define, uint16_t (*half)(float)) {
    enum { CASES = 256 + 128 };
    DeviceCase d = begin(2, define);
    static u32 fa[CASES][32][4], fb[CASES][32][2];
    static float x[CASES][32][4], y[CASES][32][4];
    for (int n = 0; n < CASES; n++)
        for (int lane = 0; lane < 32; lane++) {
            uint16_t ha[8], hb[4];
            for (int i = 0; i < 8; i++) {
                int at = a_row(lane, i) * 16 + a_column(lane, i);
                ha[i] = half(n < 256 ? at == n : (float)(at - 100));
            }
            for (int i = 0; i < 4; i++) {
                int at = b_row(lane, i) * 8 + b_column(lane, i);
                hb[i] = half(n < 256 ? (float)(at + 3) : at == n - 256);
            }
            for (int i = 0; i < 4; i++) fa[n][lane][i] = (u32)ha[2 * i] | (u32)ha[2 * i + 1] << 16;
            for (int i = 0; i < 2; i++) fb[n][lane][i] = (u32)hb[2 * i] | (u32)hb[2 * i + 1] << 16;
            for (int i = 0; i < 4; i++) x[n][lane][i] = (float)(1000 * c_row(lane, i) + c_column(lane, i));
        }
    WordArgs a = {.x = case_up(&d, x, sizeof x),
                  .y = case_room(&d, sizeof y),
                  .a = case_up(&d, fa, sizeof fa),
                  .b = case_up(&d, fb, sizeof fb)};
    case_run(&d, "word_mma", (GpuLaunch){{CASES, 1, 1}, 32, 0}, &a, sizeof a);
    case_down(&d, y, a.y, sizeof y);
    for (int n = 0; n < CASES; n++)
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++) {
                int r = c_row(lane, i), q = c_column(lane, i);
                float product = 0;
                if (n < 256 && r == n / 16) product = (float)(n % 16 * 8 + q + 3);
                if (n >= 256 && q == (n - 256) % 8) product = (float)(r * 16 + (n - 256) / 8 - 100);
                assert_true(y[n][lane][i] == (float)(1000 * r + q) + product);
            }
    device_case_drop(&d);
}

/* Ties, overflow, tiny numbers, infinities and NaN among them. */
static void check_pairs(const char *define, uint16_t (*half)(float)) {
    enum { N = 256 };
    DeviceCase d = begin(0, define);
    static float x[N];
    static u32 c[N];
    for (int i = 0; i < N; i++) x[i] = (float)ldexp(1 + i / 512.0 + (i & 3) / 4096.0, i % 40 - 26) * (i % 3 ? 1 : -1);
    x[0] = 65519.99f, x[1] = 65520, x[2] = NAN, x[3] = -INFINITY, x[4] = 2.9802322e-8f, x[5] = 3.4e38f;
    x[6] = 1 + 1 / 2048.0f, x[7] = 1 + 3 / 2048.0f, x[8] = 1 + 1 / 256.0f, x[9] = 1 + 3 / 256.0f, x[10] = -0.f;
    WordArgs a = {.x = case_up(&d, x, sizeof x), .c = case_room(&d, sizeof c), .n = N};
    case_run(&d, "word_pairs", (GpuLaunch){{N / 128, 1, 1}, 128, 0}, &a, sizeof a);
    case_down(&d, c, a.c, sizeof c);
    for (int i = 0; i < N; i++) {
        if (isnan(x[i]) || isnan(x[N - 1 - i])) continue;
        assert_int_equal(c[i], half(x[i]) | (u32)half(x[N - 1 - i]) << 16);
    }
    device_case_drop(&d);
}

static void test_mma_f16(void **state) {
    (void)state;
    check_mma("-DHALF_IS_F16", f32_to_f16);
    check_pairs("-DHALF_IS_F16", f32_to_f16);
}

static uint16_t to_bf16(float v) {
    return f32_to_bf16(v);
}
static void test_mma_bf16(void **state) {
    (void)state;
    check_mma("-DHALF_IS_BF16", to_bf16);
    check_pairs("-DHALF_IS_BF16", to_bf16);
}

/* Turing has no bf16 products: the text says so when it is compiled. */
static void test_bf16_on_turing(void **state) {
    (void)state;
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){.arch = 75}, &gpu), 0);
    GpuSource source = cuda_source("half.cu", "#include \"cuda/device/device.h\"\n", "-DHALF_IS_BF16");
    GpuModule *module;
    assert_int_equal(gpu->call->module(gpu, &source, &module), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "bf16 products need sm_80"));
    gpu_close(gpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),         cmocka_unit_test(test_warp),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_halves),         cmocka_unit_test(test_memory),     cmocka_unit_test(test_copy),
        cmocka_unit_test(test_matrix),         cmocka_unit_test(test_mma_f16),    cmocka_unit_test(test_mma_bf16),
        cmocka_unit_test(test_bf16_on_turing), cmocka_unit_test(test_every_word), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_unroll),         cmocka_unit_test(test_block_sum),  cmocka_unit_test(test_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
