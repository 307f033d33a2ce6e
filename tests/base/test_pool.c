/* Threads: every tile runs once and is finished when the job is, for any number of threads, jobs of any size, workers
 * that spin and workers that sleep; more threads than processors, so that workers wake when the job is long over. */
#include "base/pool.h"
#include "base/rng.h"
#include "tests/lib/check.h"

#include <pthread.h>
#include <time.h>

enum { TILES_MAX = 64, THREADS_MOST = 9 };

typedef struct {
    Pool *pool, *other;
    int threads;
    int64_t runs[TILES_MAX]; /* plain: what a tile wrote must be seen when the job returns */
    _Atomic int wrong;       /* cmocka's assertions are for the main thread */
} Job;

static void count_tile(void *context, int64_t tile, int worker) {
    Job *job = context;
    if (worker < 0 || worker >= job->threads) job->wrong++;
    job->runs[tile]++;
}

static void check(const Job *job, int64_t tiles, int64_t times) {
    assert_int_equal(job->wrong, 0);
    for (int64_t i = 0; i < TILES_MAX; i++) assert_int_equal(job->runs[i], i < tiles ? times : 0);
}

static void jobs_of_any_size_run_each_tile_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= THREADS_MOST; threads++) {
        Pool *pool = pool_make(threads);
        assert_non_null(pool);
        assert_int_equal(pool_threads(pool), threads);
        for (uint64_t round = 0; round < 1500; round++) {
            /* mostly about as many tiles as workers: then many come too late */
            int64_t tiles = (int64_t)(rng_u64(7, round) % (round % 8 ? 12 : TILES_MAX + 1));
            Job job = {.threads = threads};
            pool_run(pool, tiles, count_tile, &job);
            check(&job, tiles, 1);
            /* now and then longer than the spin, so that workers sleep */
            if (round % 16 == 0) nanosleep(&(struct timespec){0, (long)(rng_u64(8, round) % 120000)}, NULL);
        }
        pool_drop(pool);
    }
}

/* The next job follows at once: a worker that is late for one meets the next. */
static void jobs_follow_each_other(void **state) {
    (void)state;
    for (int threads = 2; threads <= THREADS_MOST; threads++) {
        Pool *pool = pool_make(threads);
        assert_non_null(pool);
        Job job = {.threads = threads};
        for (int i = 0; i < 4000; i++) pool_run(pool, 3, count_tile, &job);
        check(&job, 3, 4000);
        pool_drop(pool);
    }
}

static void pools_come_and_go(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        int threads = 1 + i % THREADS_MOST;
        Pool *pool = pool_make(threads);
        assert_non_null(pool);
        Job job = {.threads = threads};
        for (int k = 0; k < i % 3; k++) pool_run(pool, 5, count_tile, &job);
        check(&job, 5 * (i % 3 > 0), i % 3);
        pool_drop(pool);
    }
}

static void *own_pool(void *argument) {
    Job *job = argument;
    Pool *pool = pool_make(job->threads);
    if (!pool) return NULL;
    for (int i = 0; i < 500; i++) pool_run(pool, 4, count_tile, job);
    pool_drop(pool);
    return NULL;
}

static void each_thread_may_have_a_pool(void **state) {
    (void)state;
    Job jobs[3] = {{.threads = 3}, {.threads = 2}, {.threads = 4}};
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&thread[i], NULL, own_pool, &jobs[i]), 0);
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 3; i++) check(&jobs[i], 4, 500);
}

/* From inside a tile: the same pool's job runs in place under the tile's own number, another pool's (or none's) as
 * worker 0. */
static void inner_tile(void *context, int64_t tile, int worker) {
    (void)tile;
    *(int *)context = worker;
}

static void outer_tile(void *context, int64_t tile, int worker) {
    Job *job = context;
    int seen[3] = {-1, -1, -1};
    pool_run(job->pool, 2, inner_tile, &seen[0]);
    pool_run(job->other, 2, inner_tile, &seen[1]);
    pool_run(NULL, 2, inner_tile, &seen[2]);
    if (seen[0] != worker || seen[1] != 0 || seen[2] != 0) job->wrong++;
    job->runs[tile]++;
}

static void jobs_inside_a_tile_run_in_place(void **state) {
    (void)state;
    Job job = {.pool = pool_make(5), .other = pool_make(2)};
    assert_true(job.pool && job.other);
    for (int i = 0; i < 200; i++) pool_run(job.pool, 20, outer_tile, &job);
    check(&job, 20, 200);
    pool_drop(job.pool);
    pool_drop(job.other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_any_size_run_each_tile_once),
        cmocka_unit_test(jobs_follow_each_other),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(each_thread_may_have_a_pool),
        cmocka_unit_test(jobs_inside_a_tile_run_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
