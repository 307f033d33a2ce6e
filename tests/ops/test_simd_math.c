/* The vector functions against long double, at every instruction level of this machine. */
#include "tensor/ops/math_kernels.h"
#include "tests/lib/check.h"

#include <float.h>
#include <math.h>

static const char *const NAMES[] = {"exp", "exp2", "exp2_small", "log", "sigmoid", "tanh", "gelu", "logit"};

static long double truth(MathFunction function, long double x) {
    switch (function) {
    case MATH_EXP:
        return expl(x);
    case MATH_EXP2:
    case MATH_EXP2_SMALL:
        return exp2l(x);
    case MATH_LOG:
        return logl(x);
    case MATH_SIGMOID:
        return 1 / (1 + expl(-x));
    case MATH_TANH:
        return tanhl(x);
    case MATH_GELU:
        return x * erfcl(-x / sqrtl(2)) / 2;
    case MATH_LOGIT: {
        long double c = fmaxl(0.01f, fminl(1.0f - 0.01f, x));
        return logl(c / (1 - c));
    }
    case MATH_COUNT:
        break;
    }
    return 0;
}

/* Where each is compared, and what it promises: in units in the last place, or as a multiple of 1e-7 max(1, |x|). */
static const struct {
    float low, high, ulp, absolute;
} RANGE[] = {
    [MATH_EXP] = {-104, 88.7f, 1.5f, 0},
    [MATH_EXP2] = {-150, 127.9f, 1.5f, 0},
    [MATH_EXP2_SMALL] = {-125.4f, 1, 1.5f, 0},
    [MATH_LOG] = {1e-41f, 3e38f, 1.5f, 0},
    [MATH_SIGMOID] = {-87, 30, 3, 0},
    [MATH_TANH] = {-12, 12, 3, 0},
    [MATH_GELU] = {-9, 9, 0, 1.2f},
    [MATH_LOGIT] = {-0.5f, 1.5f, 0, 5},
};

enum { SAMPLES = 200000 };
static float in[SAMPLES], out[SAMPLES];

static void against_long_double(void **state) {
    (void)state;
    for (int function = 0; function < MATH_COUNT; function++)
        for (int level = CPU_BASE; level <= (int)cpu_level(); level++) {
            float low = RANGE[function].low, high = RANGE[function].high;
            for (int i = 0; i < SAMPLES; i++) {
                double part = (double)i / (SAMPLES - 1);
                in[i] = function == MATH_LOG ? (float)exp(log(low) + part * (log(high) - log(low)))
                                             : (float)(low + part * ((double)high - low));
            }
            if (function == MATH_LOG)
                for (int i = 0; i < SAMPLES / 2; i++) in[i] = 0.5f + 1.5f * (float)i / (SAMPLES / 2);
            math_apply((CpuLevel)level)((MathFunction)function, SAMPLES, in, out);
            double worst_ulp = 0, worst_absolute = 0, at = 0;
            for (int i = 0; i < SAMPLES; i++) {
                long double want = truth((MathFunction)function, in[i]), error = fabsl(out[i] - want);
                double ulp = (double)(error / ldexpl(1, (int)fmax(-149, ilogbl(want) - 23)));
                if (want == 0) ulp = error == 0 ? 0 : INFINITY;
                if (!(ulp <= worst_ulp)) worst_ulp = ulp, at = in[i];
                double absolute = (double)error / fmax(1, fabs(in[i])) * 1e7;
                if (!(absolute <= worst_absolute)) worst_absolute = absolute;
            }
            bool relative = RANGE[function].ulp > 0;
            printf("%-10s %-6s %5.2f %s (%.9g)\n", NAMES[function], cpu_level_name((CpuLevel)level),
                   relative ? worst_ulp : worst_absolute, relative ? "ulp" : "e-7", at);
            assert_true(relative ? worst_ulp <= RANGE[function].ulp : worst_absolute <= RANGE[function].absolute);
        }
}

static void special_values(void **state) {
    (void)state;
    static const struct {
        MathFunction function;
        float x, y;
    } CASES[] = {
        {MATH_EXP, -INFINITY, 0},
        {MATH_EXP, INFINITY, INFINITY},
        {MATH_EXP, 0, 1},
        {MATH_EXP, -200, 0},
        {MATH_EXP, 89, INFINITY},
        {MATH_EXP2, -INFINITY, 0},
        {MATH_EXP2, INFINITY, INFINITY},
        {MATH_EXP2, 0, 1},
        {MATH_EXP2, -149, 0x1p-149f},
        {MATH_EXP2, 7, 128},
        {MATH_EXP2_SMALL, 0, 1},
        {MATH_EXP2_SMALL, -3, 0.125f},
        {MATH_LOG, 1, 0},
        {MATH_LOG, 0, -INFINITY},
        {MATH_LOG, INFINITY, INFINITY},
        {MATH_LOG, -1, NAN},
        {MATH_SIGMOID, -INFINITY, 0},
        {MATH_SIGMOID, INFINITY, 1},
        {MATH_SIGMOID, 0, 0.5f},
        {MATH_TANH, INFINITY, 1},
        {MATH_TANH, -INFINITY, -1},
        {MATH_TANH, 0, 0},
        {MATH_TANH, 1e-30f, 1e-30f},
        {MATH_GELU, 0, 0},
        {MATH_GELU, 40, 40},
        {MATH_GELU, INFINITY, INFINITY},
        {MATH_LOGIT, 0.5f, 0},
    };
    for (int level = CPU_BASE; level <= (int)cpu_level(); level++) {
        for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
            for (int n = 1; n <= 33; n += 16) { /* whole vectors and the rest of one */
                float x[33], y[34];
                for (int k = 0; k < n; k++) x[k] = CASES[i].x;
                y[n] = 77;
                math_apply((CpuLevel)level)(CASES[i].function, n, x, y);
                assert_true(y[n] == 77);
                for (int k = 0; k < n; k++)
                    if (!(y[k] == CASES[i].y || (isnan(y[k]) && isnan(CASES[i].y))))
                        fail_msg("%s(%g) = %g at %s, not %g", NAMES[CASES[i].function], CASES[i].x, y[k],
                                 cpu_level_name((CpuLevel)level), CASES[i].y);
            }
        for (int function = 0; function < MATH_COUNT; function++) {
            float x = NAN, y = 0;
            math_apply((CpuLevel)level)((MathFunction)function, 1, &x, &y);
            if (!isnan(y)) fail_msg("%s(NaN) = %g", NAMES[function], y);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_long_double), cmocka_unit_test(special_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
