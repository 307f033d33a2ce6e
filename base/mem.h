/* base/mem.h - the one door to memory.
 *
 * Every allocation of the program goes through here (stb's too), so that it can be counted, capped and, in tests, made
 * to fail: PANUM_FAIL_ALLOC=n fails the n-th request of the process, PANUM_FAIL_ALLOC=n+ that and all later ones.
 * A failed request returns NULL with ERR_MEMORY set, naming the amount. Sizes are checked, never wrapped. */
#ifndef PANUM_BASE_MEM_H
#define PANUM_BASE_MEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Checked arithmetic: false when the result does not fit; *out is then untouched. */
static inline bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
/* Rounds up to a multiple of `unit`, a power of two. */
static inline bool size_align(size_t a, size_t unit, size_t *out) {
    if (!size_add(a, unit - 1, &a)) return false;
    *out = a & ~(unit - 1);
    return true;
}

void *mem_alloc(size_t bytes);              /* uninitialised, aligned to 64 bytes; 0 bytes gives a valid pointer */
void *mem_zero(size_t count, size_t size);  /* count * size bytes of zeros */
void *mem_array(size_t count, size_t size); /* as mem_zero, uninitialised */
void *mem_grow(void *old, size_t bytes);    /* like realloc; `old` stays valid on failure */
char *mem_text(const char *text);           /* a copy of a string */
void mem_free(void *block);                 /* NULL is fine */

/* A cap on what mem_alloc hands out in this thread between begin and end; used round third-party decoders. */
void mem_cap_begin(size_t bytes);
void mem_cap_end(void);

typedef struct {
    size_t live, peak; /* bytes, of mem_* and mem_block_* together */
    uint64_t requests; /* how many were made, the numbering of PANUM_FAIL_ALLOC */
} MemUse;
MemUse mem_use(void);
void mem_reset_peak(void);

/* One large block straight from the system, 2 MiB aligned, in huge pages where the system gives them, zeroed.
 * For plans: fresh 4 KiB pages cost several times what reused memory does. */
void *mem_block_map(size_t bytes);
void mem_block_unmap(void *block, size_t bytes);

/* Address space without memory: pages are taken, zeroed, as they are touched. For things that grow and must not move.
 */
void *mem_reserve(size_t bytes);
void mem_unreserve(void *block, size_t bytes);

/* Arena: many small things that live and die together. Failure is sticky: check arena_failed() once at the end. */
typedef struct Arena Arena;
Arena *arena_make(void);
void arena_drop(Arena *arena);
void *arena_alloc(Arena *arena, size_t bytes); /* zeroed, 16-aligned */
char *arena_text(Arena *arena, const char *text);
char *arena_format(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool arena_failed(const Arena *arena);
#endif
