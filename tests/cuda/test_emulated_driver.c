/* The real back end (cuda/driver.c and what it uses) run whole, on a libcuda and an NVRTC behind which stands the
 * emulated device (emulated_driver.c): the words of the vocabulary, and runs of a network that overlap on three
 * streams, by the same programs that `make test-gpu` runs on a GPU. */
#include "tests/lib/check.h"

#include <limits.h>
#include <unistd.h>

static void runs(const char *test, const char *told) {
    char out[1 << 16], folder[512], tree[PATH_MAX];
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    assert_non_null(getcwd(tree, sizeof tree));
    snprintf(folder, sizeof folder, "%s", scratch_folder("emulated_driver"));
    const char *root = build[0] == '/' ? "" : tree, *slash = build[0] == '/' ? "" : "/";
    assert_int_equal(run_command(out, sizeof out,
                                 "for f in libcuda.so.1 libnvrtc.so.13; do "
                                 "ln -sf '%s%s%s/tests/cuda/libcuda_emulated.so' '%s/'$f; done",
                                 root, slash, build, folder),
                     0);
    int code = run_command(out, sizeof out,
                           "EMULATED_CUDA='%s' PANUM_TEST_GPU=cuda PANUM_BUILD='%s' LD_LIBRARY_PATH='%s' "
                           "'%s/tests/cuda/%s'",
                           told, build, folder, build, test);
    if (code) fail_msg("%s:\n%s", test, out);
    assert_null(strstr(out, "skip:"));
    assert_non_null(strstr(out, "PASSED"));
}

static void test_words(void **state) {
    (void)state;
    runs("test_words", "arch=80");
}

static void test_player(void **state) {
    (void)state;
    runs("test_player", "arch=80 shared=99");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_player)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
