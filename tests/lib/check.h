/* tests/lib/check.h - cmocka with its prerequisites, and what our tests share on top. */
#ifndef PANUM_TESTS_CHECK_H
#define PANUM_TESTS_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* base/err.h has a function of that name; tests say fail_msg */
#undef fail_msg
#define fail_msg(...)              \
    do {                           \
        print_error(__VA_ARGS__);  \
        print_error("\n");         \
        _fail(__FILE__, __LINE__); \
    } while (0)

/* Path of a file under shared data (../shared/data, or $PANUM_TEST_DATA), or NULL when it is not there. The returned
 * text is static, eight calls deep. */
const char *shared_data(const char *relative);
/* Skips the running test visibly unless the file is there. */
#define NEEDS_DATA(relative)                                                         \
    do {                                                                             \
        if (!shared_data(relative)) {                                                \
            printf("skip: %s: ../shared/data/%s is not here\n", __func__, relative); \
            skip();                                                                  \
        }                                                                            \
    } while (0)

/* A fresh folder under the build folder, removed and made anew by each call with the same name. Static text. */
const char *scratch_folder(const char *name);

/* Runs a shell command; output (stdout and stderr together) into out. Returns the exit status, 128+signal if killed. */
int run_command(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Path of the program under test. */
const char *panum_program(void);

/* One comparison for all: normalised squared error, largest absolute difference and where. */
typedef struct {
    double max_abs, nmse, mean_abs;
    int64_t worst, nonfinite;
} Difference;
Difference difference_f32(const float *got, const float *want, int64_t n);
/* Fails the test when nmse > bound or a value is not finite where the other is; prints the figures either way. */
void assert_close_f32(const char *what, const float *got, const float *want, int64_t n, double nmse_bound);
#endif
