#include "base/pool.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Why nobody sleeps for ever. All operations on the atomics below are sequentially consistent but one: the spin's loads
 * acquire, and whoever leaves the spin reads the word once more.
 *   A job begins: the caller adds to `job`, then reads `sleepers`; a worker adds to `sleepers`, then reads `job`. In
 * whatever order these come, the caller sees the sleeper and wakes, or the worker sees the new job and does not sleep;
 * and the kernel compares the word once more, under its lock, before it lets anyone sleep. A worker that oversleeps
 * delays nothing: the caller claims tiles too.
 *   A job ends: the caller closes, says `waiting`, then reads `active`, and sleeps only on a value other than 0.
 * Whoever takes `active` to 0 afterwards reads `waiting` after that, so it wakes the caller. Workers that wake late may
 * lift `active` again meanwhile, even to the very number the caller sleeps on; each of them enters at most once for
 * this job and leaves at once (the job is closed), and the last one takes `active` to 0 for good and wakes: if the
 * caller is not yet asleep, the kernel finds 0 where another number was expected. A job's fields are plain: written
 * before `open` is set, read by those who saw it set and are counted in `active`, written again only after `active` was
 * read as 0. */
enum { THREADS_MAX = 1024 };
#define SPIN_SECONDS 50e-6

struct Pool {
    int threads;
    pthread_t *handles; /* threads - 1 of them: the caller is worker 0 */
    PoolTile run;
    void *context;
    int64_t tiles;
    _Alignas(64) _Atomic int64_t next;    /* next tile to claim */
    _Alignas(64) _Atomic uint32_t job;    /* futex word: grows with every job */
    _Alignas(64) _Atomic uint32_t active; /* futex word: workers that have entered the open job and not left it */
    _Atomic bool open;                    /* tiles may be claimed; a worker that wakes too late is not waited for */
    _Atomic bool waiting;                 /* the caller may sleep on `active` */
    _Atomic uint32_t sleepers;            /* workers waiting in the kernel for a job */
    _Atomic bool stop;
};

typedef struct {
    Pool *pool;
    int worker;
} Start;

static _Thread_local const Pool *inside; /* the pool whose tile this thread runs */
static _Thread_local int this_worker;    /* its number there */

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Waits until *word differs from `old`: spinning first, since a sleep and a wake cost as much as a small tile. */
static void wait_change(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers) {
    double deadline = 0;
    for (int i = 0; atomic_load_explicit(word, memory_order_acquire) == old; i++) {
        relax();
        if (i % 64 != 63) continue;
        double now = clock_seconds();
        if (!deadline) deadline = now + SPIN_SECONDS;
        if (now < deadline) continue;
        if (sleepers) atomic_fetch_add(sleepers, 1);
        while (atomic_load(word) == old) futex_wait(word, old);
        if (sleepers) atomic_fetch_sub(sleepers, 1);
        return;
    }
}

static void work(Pool *pool, int worker) {
    inside = pool;
    this_worker = worker;
    for (int64_t tile; (tile = atomic_fetch_add(&pool->next, 1)) < pool->tiles;) pool->run(pool->context, tile, worker);
    inside = NULL;
}

static void *worker_main(void *argument) {
    Start start = *(Start *)argument;
    mem_free(argument);
    Pool *pool = start.pool;
    for (uint32_t seen = 0;;) {
        wait_change(&pool->job, seen, &pool->sleepers);
        seen = atomic_load(&pool->job);
        if (atomic_load(&pool->stop)) return NULL;
        /* Entering comes before looking whether the job is open, closing (below) before counting who is inside: so
         * either this worker sees the job closed, or the caller sees it inside and waits. */
        atomic_fetch_add(&pool->active, 1);
        if (atomic_load(&pool->open)) work(pool, start.worker);
        if (atomic_fetch_sub(&pool->active, 1) == 1 && atomic_load(&pool->waiting)) futex_wake(&pool->active, 1);
    }
}

int pool_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        if (n > 0) return n;
    }
    return 1;
}

Pool *pool_make(int threads) {
    if (threads <= 0) threads = pool_cpus();
    if (threads > THREADS_MAX) threads = THREADS_MAX;
    Pool *pool = mem_zero(1, sizeof *pool);
    if (!pool) return NULL;
    pool->handles = mem_zero((size_t)threads, sizeof *pool->handles);
    if (!pool->handles) {
        mem_free(pool);
        return NULL;
    }
    pool->threads = 1;
    for (int i = 1; i < threads; i++) {
        Start *start = mem_alloc(sizeof *start);
        if (!start) break; /* fewer threads are not an error: results do not depend on them */
        *start = (Start){pool, i};
        if (pthread_create(&pool->handles[i - 1], NULL, worker_main, start) != 0) {
            mem_free(start);
            break;
        }
        pool->threads++;
    }
    return pool;
}

void pool_drop(Pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->job, 1);
    futex_wake(&pool->job, THREADS_MAX);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->handles[i - 1], NULL);
    mem_free(pool->handles);
    mem_free(pool);
}

int pool_threads(const Pool *pool) {
    return pool ? pool->threads : 1;
}

void pool_run(Pool *pool, int64_t tiles, PoolTile run, void *context) {
    if (!pool || pool->threads == 1 || tiles <= 1 || inside) {
        int worker = pool && inside == pool ? this_worker : 0;
        for (int64_t i = 0; i < tiles; i++) run(context, i, worker);
        return;
    }
    pool->run = run;
    pool->context = context;
    pool->tiles = tiles;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->open, true);
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleepers)) futex_wake(&pool->job, THREADS_MAX);
    work(pool, 0);
    atomic_store(&pool->open, false);
    atomic_store(&pool->waiting, true);
    for (uint32_t left; (left = atomic_load(&pool->active)) != 0;) wait_change(&pool->active, left, NULL);
    atomic_store(&pool->waiting, false);
}
