#include "tests/lib/check.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A test run that was started in the background ignores SIGINT, and so would every program it starts: then nothing that
 * tests stopping could pass. */
__attribute__((constructor)) static void default_signals(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

const char *shared_data(const char *relative) {
    static char paths[8][512];
    static int turn;
    char *path = paths[turn++ % 8];
    const char *root = getenv("PANUM_TEST_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", root ? root : "../shared/data", relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

const char *scratch_folder(const char *name) {
    static char path[512];
    const char *build = getenv("PANUM_BUILD");
    char command[1200];
    snprintf(path, sizeof path, "%s/scratch/%s", build ? build : "build", name);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", path, path);
    if (system(command) != 0) fail_msg("cannot make %s", path);
    return path;
}

int run_command(char *out, size_t size, const char *format, ...) {
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    char whole[4200];
    snprintf(whole, sizeof whole, "{ %s ; } 2>&1", command);
    FILE *pipe = popen(whole, "r");
    if (!pipe) fail_msg("popen failed");
    size_t used = 0;
    char rest[4096];
    for (;;) {
        char *to = used + 1 < size ? out + used : rest;
        size_t n = fread(to, 1, used + 1 < size ? size - 1 - used : sizeof rest, pipe);
        if (n == 0) break;
        if (to != rest) used += n;
    }
    if (size) out[used < size ? used : size - 1] = 0;
    int status = pclose(pipe);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

const char *panum_program(void) {
    static char path[512];
    const char *build = getenv("PANUM_BUILD");
    snprintf(path, sizeof path, "%s/panum", build ? build : "build");
    return path;
}

Difference difference_f32(const float *got, const float *want, int64_t n) {
    Difference d = {0};
    double error = 0, power = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i])) {
            if (!(isnan(got[i]) && isnan(want[i])) && got[i] != want[i]) {
                if (!d.nonfinite++) d.worst = i;
            }
            continue;
        }
        double e = fabs((double)got[i] - want[i]);
        if (e > d.max_abs) {
            d.max_abs = e;
            if (!d.nonfinite) d.worst = i;
        }
        d.mean_abs += e / (double)n;
        error += e * e;
        power += (double)want[i] * want[i];
    }
    d.nmse = power > 0 ? error / power : error;
    return d;
}

void assert_close_f32(const char *what, const float *got, const float *want, int64_t n, double bound) {
    Difference d = difference_f32(got, want, n);
    printf("%s: nmse %.2e (bound %.0e), max %.2e at %lld of %lld\n", what, d.nmse, bound, d.max_abs, (long long)d.worst,
           (long long)n);
    if (d.nonfinite || !(d.nmse <= bound))
        fail_msg("%s: nmse %.3e over %.1e, or %lld values not finite; at %lld got %g want %g", what, d.nmse, bound,
                 (long long)d.nonfinite, (long long)d.worst, (double)got[d.worst], (double)want[d.worst]);
}
