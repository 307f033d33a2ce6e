/* base/pool.h - our own threads.
 *
 * A job is a number of tiles; tiles are claimed in any order by any worker, so a job's result must not depend on who
 * runs which: every tile writes its own place, and sums stay inside a tile or are added in a fixed order afterwards.
 * Then results are equal, bit for bit, for any number of threads. Tiles of 100 to 500 microseconds are best.
 * Workers spin for about 50 microseconds after a job, then sleep. A job started from inside a tile runs in place, under
 * that tile's worker number. A pool serves one thread at a time: whoever made it starts its jobs. */
#ifndef PANUM_BASE_POOL_H
#define PANUM_BASE_POOL_H
#include <stdint.h>

typedef struct Pool Pool;
typedef void (*PoolTile)(void *context, int64_t tile, int worker); /* worker is in 0..pool_threads-1 */

/* threads 0 asks for as many as this process may run on (its affinity). Fewer are used when some cannot be created;
 * NULL only when there is no memory. */
Pool *pool_make(int threads);
void pool_drop(Pool *pool);
int pool_threads(const Pool *pool);
/* Runs all tiles and returns when the last is done. pool NULL runs them here, as worker 0; so does another pool than
 * the one whose tile this is. */
void pool_run(Pool *pool, int64_t tiles, PoolTile run, void *context);
int pool_cpus(void); /* processors this process may use */
#endif
