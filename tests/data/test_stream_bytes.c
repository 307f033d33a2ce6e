/* Training data must never change unseen: the first samples of the synthetic stream beside what they were on
 * 2026-11-20. Who changes the stream on purpose takes the new figures from what this test prints, and says so where
 * weights are described (weights/README.md).
 *
 * Two guards. Everything in the stream is made by IEEE arithmetic, square roots and integers, which give the same bits
 * on every machine, and by exp, log, pow, sin, cos, expf, powf and sinf of the C library. Those are not correctly
 * rounded: the last bit depends on the library, its version, and (glibc chooses at run time) on whether the processor
 * has fused multiply-add. So the bytes are held to their hash where these functions give the bits that they gave when
 * it was taken (glibc 2.36, x86-64 with FMA); and everywhere to averages, which a last bit moves by far less than what
 * is allowed. */
#include "tests/lib/check.h"

#include "base/hash.h"
#include "base/rng.h"
#include "data/synthetic.h"

#include <math.h>

enum { WIDTH = 96, HEIGHT = 64, PIXELS = WIDTH * HEIGHT, SAMPLES = 4, EYES = 2 };

/* Of one eye: mean grey level, the same weighted by the column (-1 to 1), mean disparity in pixels, share seen by both.
 */
enum { GREY, TILT, DISPARITY, SEEN, FIGURES };

typedef struct {
    const char *name, *sha256;
    double figure[SAMPLES][EYES][FIGURES];
} Stream;

static const char libm_then[] = "969fad4e0530e2c9df5db3d7aed456e7deb06e28375c6e4b8af3f6480d1a4fbb";

static const Stream streams[2] = {
    {"without a camera",
     "aeac8fcc9ee58b128edee2e625c6829293acc1abc8de060a32076f261908479f",
     {{{73.0742, 3.8109, -0.2030, 0.9386}, {73.6228, 4.1110, -0.2003, 0.9585}},
      {{78.3320, -8.1689, -1.2746, 0.9207}, {78.5783, -8.3294, -1.2654, 0.9240}},
      {{107.6221, -8.2110, -0.6544, 0.9569}, {107.3899, -7.8806, -0.6701, 0.9508}},
      {{148.3416, 3.4638, -1.4037, 0.9276}, {148.0084, 3.4520, -1.3971, 0.9292}}}},
    {"photographed",
     "25352a2755d58befddf3687ffd993b9cc202afad3e191173bbd113c9e620ee58",
     {{{75.7847, 4.5640, -0.2030, 0.9386}, {88.4273, 5.3303, -0.2003, 0.9585}},
      {{41.6273, -6.8470, -1.2746, 0.9207}, {42.0430, -6.9489, -1.2654, 0.9240}},
      {{124.4429, -10.6437, -0.6544, 0.9569}, {122.6576, -10.1591, -0.6701, 0.9508}},
      {{183.0024, 3.0744, -1.4037, 0.9276}, {182.1567, 3.0592, -1.2688, 0.8351}}}},
};

/* The library's functions in the ranges in which the stream calls them. */
static void hash_libm(char hex[65]) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    for (uint64_t i = 0; i < 20000; i++) {
        double u = rng_unit(1, 2 * i), v = rng_unit(1, 2 * i + 1);
        const volatile double angle = 6.2832 * u, exponent = 8 * u - 2, base = 0.01 + 60 * u, power = 5 * v - 2.5;
        const volatile float narrow = (float)u, narrow_power = 0.4f + 2 * (float)v;
        const double wide[] = {sin(angle), cos(angle), exp(exponent), log(base), pow(base, power)};
        const float small[] = {sinf((float)angle), expf(narrow - 0.5f), powf(narrow, narrow_power)};
        sha256_add(&hash, wide, sizeof wide);
        sha256_add(&hash, small, sizeof small);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, hex);
}

static void add_eye(Sha256 *hash, const SampleEye *eye) {
    sha256_add(hash, eye->rgb, 3 * PIXELS);
    sha256_add(hash, eye->disparity, PIXELS * sizeof(float));
    sha256_add(hash, eye->valid, PIXELS * sizeof(float));
    sha256_add(hash, eye->occlusion, PIXELS * sizeof(float));
}

static void figures_of(const SampleEye *eye, double figure[FIGURES]) {
    memset(figure, 0, FIGURES * sizeof *figure);
    for (int i = 0; i < PIXELS; i++) {
        double grey = (eye->rgb[3 * i] + eye->rgb[3 * i + 1] + eye->rgb[3 * i + 2]) / 3.0;
        figure[GREY] += grey / PIXELS;
        figure[TILT] += grey * (2 * (i % WIDTH) / (WIDTH - 1.0) - 1) / PIXELS;
        figure[DISPARITY] += (double)eye->disparity[i] / PIXELS;
        figure[SEEN] += (double)eye->occlusion[i] / PIXELS;
    }
}

static void the_stream_is_what_it_was(void **state) {
    (void)state;
    /* An edge that moves by a last bit turns a pixel or two; noise and rounding to bytes hardly show in a mean. */
    static const double allowed[FIGURES] = {0.1, 0.1, 0.05, 0.002};
    char libm_now[65], hex[65];
    hash_libm(libm_now);
    const bool same_libm = strcmp(libm_now, libm_then) == 0;
    if (!same_libm) printf("libm gives other bits here (%s): averages only\n", libm_now);
    Sample sample = {0};
    int apart = 0;
    for (int k = 0; k < 2; k++) {
        const Stream *want = &streams[k];
        Synthetic *synthetic;
        Sha256 hash;
        uint8_t digest[32];
        SyntheticOptions options = {.seed = 1, .width = WIDTH, .height = HEIGHT, .clean = k == 0};
        assert_int_equal(synthetic_open(&synthetic, &options), 0);
        sha256_begin(&hash);
        for (uint64_t index = 0; index < SAMPLES; index++) {
            assert_int_equal(synthetic_make(synthetic, index, &sample), 0);
            for (int eye = 0; eye < EYES; eye++) {
                const SampleEye *seen = eye ? &sample.right : &sample.left;
                double figure[FIGURES];
                add_eye(&hash, seen);
                figures_of(seen, figure);
                printf("%s %d:", want->name, (int)index);
                for (int f = 0; f < FIGURES; f++) {
                    printf(" %.4f,", figure[f]);
                    apart += !(fabs(figure[f] - want->figure[index][eye][f]) <= allowed[f]);
                }
                printf("\n");
            }
        }
        sha256_end(&hash, digest);
        sha256_hex(digest, hex);
        printf("%s: %s\n", want->name, hex);
        if (same_libm) assert_string_equal(hex, want->sha256);
        synthetic_close(synthetic);
    }
    assert_int_equal(apart, 0);
    sample_free(&sample);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_stream_is_what_it_was)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
