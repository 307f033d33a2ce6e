#include "tests/lib/check.h"

#include "base/mem.h"
#include "base/rng.h"
#include "data/loader.h"
#include "data/synthetic.h"

#include <time.h>
#include <unistd.h>

/* A source whose samples take unequal time, and some of which cannot be made. */
static int uneven(void *context, uint64_t index, Sample *sample) {
    (void)context;
    if (index % 11 == 7) return fail(ERR_INPUT, "sample %d is missing", (int)index);
    if (sample_reserve(sample, 4, 3)) return err_code();
    struct timespec nap = {0, (long)(rng_u64(3, index) % 300000)};
    nanosleep(&nap, NULL);
    memset(sample->left.rgb, (int)(index & 255), 4 * 3 * 3);
    sample->left.disparity[5] = (float)index;
    return 0;
}

static const SampleSource uneven_source = {uneven, NULL};

static void expect(Loader *loader, Sample *sample, uint64_t index) {
    assert_int_equal(loader_position(loader), index);
    int code = loader_next(loader, sample);
    if (index % 11 == 7) {
        assert_int_equal(code, ERR_INPUT);
        assert_non_null(strstr(err_sentence(), "is missing"));
    } else {
        assert_int_equal(code, 0);
        assert_int_equal(sample->index, index);
        assert_true(sample->left.disparity[5] == (float)index);
    }
}

/* Any number of threads and any look-ahead: the same samples in the same order, from any position on. */
static void test_order(void **state) {
    (void)state;
    for (int threads = 0; threads <= 5; threads++)
        for (int ahead = 0; ahead < 4; ahead += 1 + threads % 2) {
            Loader *loader;
            Sample sample = {0};
            LoaderOptions options = {.threads = threads, .ahead = ahead, .position = (uint64_t)threads * 1000};
            assert_int_equal(loader_make(&loader, &uneven_source, &options), 0);
            for (uint64_t i = 0; i < 60; i++) expect(loader, &sample, options.position + i);
            loader_drop(loader); /* with samples ahead, some being made */
            sample_free(&sample);
        }
}

static void test_end(void **state) {
    (void)state;
    for (int threads = 0; threads <= 3; threads++) {
        Loader *loader;
        Sample sample = {0};
        LoaderOptions options = {.threads = threads, .position = 20, .end = 25};
        assert_int_equal(loader_make(&loader, &uneven_source, &options), 0);
        for (uint64_t i = 20; i < 25; i++) {
            assert_false(loader_ended(loader));
            expect(loader, &sample, i);
        }
        assert_true(loader_ended(loader));
        assert_int_equal(loader_next(loader, &sample), ERR_INPUT);
        loader_drop(loader);
        sample_free(&sample);
    }
}

/* A loader that nobody reads from makes no more than it may keep. */
static int counted(void *context, uint64_t index, Sample *sample) {
    __atomic_add_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
    return uneven(NULL, index % 11 == 7 ? index + 1 : index, sample);
}

static void test_bounded(void **state) {
    (void)state;
    int made = 0;
    SampleSource source = {counted, &made};
    Loader *loader;
    assert_int_equal(loader_make(&loader, &source, &(LoaderOptions){.threads = 3, .ahead = 5}), 0);
    for (int i = 0; i < 2000 && __atomic_load_n(&made, __ATOMIC_SEQ_CST) < 5; i++) usleep(1000);
    usleep(5000);
    assert_int_equal(__atomic_load_n(&made, __ATOMIC_SEQ_CST), 5);
    loader_drop(loader);
    assert_int_equal(loader_make(&loader, &source, &(LoaderOptions){.threads = 100}), ERR_INPUT);
    assert_int_equal(loader_make(&loader, &source, &(LoaderOptions){.ahead = -1}), ERR_INPUT);
}

/* The synthetic stream through loaders of several widths, and resumed in the middle: the same bytes. */
static void test_synthetic_bytes(void **state) {
    (void)state;
    enum { COUNT = 6, W = 96, H = 64 };
    Synthetic *synthetic;
    assert_int_equal(synthetic_open(&synthetic, &(SyntheticOptions){.seed = 5, .width = W, .height = H}), 0);
    SampleSource source = synthetic_source(synthetic);
    Sample first[COUNT] = {{0}}, sample = {0};
    for (int i = 0; i < COUNT; i++) assert_int_equal(synthetic_make(synthetic, (uint64_t)i, &first[i]), 0);
    for (int threads = 0; threads <= 3; threads++) {
        Loader *loader;
        LoaderOptions options = {.threads = threads, .position = (uint64_t)threads};
        assert_int_equal(loader_make(&loader, &source, &options), 0);
        for (int i = threads; i < COUNT; i++) {
            assert_int_equal(loader_next(loader, &sample), 0);
            const SampleEye *got[2] = {&sample.left, &sample.right}, *want[2] = {&first[i].left, &first[i].right};
            for (int eye = 0; eye < 2; eye++) {
                assert_memory_equal(got[eye]->rgb, want[eye]->rgb, W * H * 3);
                assert_memory_equal(got[eye]->disparity, want[eye]->disparity, W * H * 4);
                assert_memory_equal(got[eye]->valid, want[eye]->valid, W * H * 4);
                assert_memory_equal(got[eye]->occlusion, want[eye]->occlusion, W * H * 4);
            }
        }
        loader_drop(loader);
    }
    for (int i = 0; i < COUNT; i++) sample_free(&first[i]);
    sample_free(&sample);
    synthetic_close(synthetic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_synthetic_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
