/* tests/cuda/simt/simt.h - runs one kernel's blocks on the CPU, one fibre per thread, and watches what it does.
 * Every memory access of a kernel compiled with -fsanitize=thread (and linked with simt.c instead of the sanitizer's
 * library) is checked: inside a known region, ordered after the conflicting accesses, initialised, not under way. */
#ifndef PANUM_TESTS_CUDA_SIMT_H
#define PANUM_TESTS_CUDA_SIMT_H
#include <stddef.h>
#include <stdint.h>
typedef void (*SimtKernel)(const void *args);
typedef struct {
    const char *name;
    unsigned grid[3];
    unsigned threads;
    size_t shared, shared_limit; /* bytes of SHARED_REST; what a block may have in all, 0: 256 KB */
    unsigned order;              /* of threads: 0 forwards, 1 backwards, else the seed of a shuffle */
    int unwatched;               /* the kernel's own loads and stores are not seen, only those of words */
} SimtLaunch;
typedef struct {
    long long accesses, switches, meets, barriers, mma, conflicts, shared_bytes;
    double seconds;
} SimtCount;
int simt_run(SimtKernel kernel, const void *args, size_t bytes, SimtLaunch how); /* 0, or 1 with simt_error filled */
void simt_region(void *base, size_t bytes, const char *name); /* "device memory" kernels may touch; 0 bytes forgets */
int simt_known(const void *at, size_t bytes);                 /* do these bytes lie in one region? */
/* Epochs number launches and what happens in them. Those from simt_unordered_from on may belong to work of another
 * stream that nothing orders before what runs now; simt_unordered says whose such an epoch is, NULL when it is ordered.
 * UINT32_MAX: everything is. */
extern uint32_t simt_unordered_from;
extern const char *(*simt_unordered)(uint32_t epoch);
uint32_t simt_next_epoch(void); /* with which the next launch, or access by the host, begins */
/* A copy or fill reads or writes device memory: 0, or 1 with simt_error filled. */
enum { SIMT_READ = 0, SIMT_WRITE = 1 };
int simt_host_access(const void *at, size_t bytes, int kind);
extern char simt_error[2048];
extern SimtCount simt_count;

/* what device.h expands to */
unsigned simt_thread_x(void), simt_block_at(int axis); /* calls, so that they are not themselves watched */
void *simt_shared(const char *file, int line, size_t bytes);
void *simt_shared_rest(const char *file, int line);
void simt_block_sync(const char *file, int line);
void simt_warp_sync(const char *file, int line);
float simt_xor(float v, int m, const char *file, int line);
float simt_from(float v, int lane, const char *file, int line);
float simt_down(float v, int d, const char *file, int line);
unsigned simt_ballot(int p, const char *file, int line);
void simt_atomic_add_f32(float *p, float v);
void simt_atomic_add_u32(unsigned *p, unsigned v);
float simt_f16_f32(unsigned short h);
unsigned short simt_f32_f16(float v);
void simt_aligned(const void *at, const char *word); /* reports unless a multiple of 16 */
void simt_copy16(void *to, const void *from, int valid);
void simt_copy_commit(void);
void simt_copy_wait(int n);
void simt_load_matrix4(unsigned r[4], const void *row, const char *file, int line);
void simt_load_matrix4_across(unsigned r[4], const void *row, const char *file, int line);
void simt_mma(float c[4], const unsigned a[4], const unsigned b[2], int f16, const char *file, int line);
#endif
