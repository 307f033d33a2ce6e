/* base/clock.h - how long something takes, in seconds: of the wall, and of processor time. */
#ifndef PANUM_BASE_CLOCK_H
#define PANUM_BASE_CLOCK_H
#include <time.h>

static inline double clock_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Since some moment in the past; never goes back. */
static inline double clock_seconds(void) {
    return clock_of(CLOCK_MONOTONIC);
}

/* Of all threads of this process together: on a machine that others use too, the steadier clock for one thread. */
static inline double clock_processor_seconds(void) {
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}
#endif
