#include "base/mem.h"
#include "base/err.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Under the address sanitizer what lies between head and block and between block and rounded end is out of bounds. */
#if defined __SANITIZE_ADDRESS__
#define ADDRESS_SANITIZER
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#endif
#ifdef ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

/* Each block carries its sizes in front, so that live bytes are exact. 64 bytes keep the alignment. */
enum { HEAD = 64 };
typedef struct {
    size_t total; /* head and rounding included */
    size_t asked;
} Head;

static Head *head_of(void *block) {
    return (Head *)((char *)block - HEAD);
}

static void set_asked(void *block, size_t bytes) {
    Head *head = head_of(block);
    head->asked = bytes;
    ASAN_POISON_MEMORY_REGION(head + 1, HEAD - sizeof(Head));
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
    ASAN_POISON_MEMORY_REGION((char *)block + bytes, head->total - HEAD - bytes);
}

static _Atomic size_t live_bytes, peak_bytes;
static _Atomic uint64_t request_count;
static _Atomic int fail_mode = -1; /* -1 not read yet, 0 never, 1 the n-th, 2 the n-th and later */
static uint64_t fail_at;
static _Thread_local size_t cap_left;
static _Thread_local bool capped;

static void read_fail_mode(void) {
    const char *text = getenv("PANUM_FAIL_ALLOC");
    int mode = 0;
    if (text && *text) {
        char *end;
        fail_at = strtoull(text, &end, 10);
        mode = fail_at == 0 ? 0 : *end == '+' ? 2 : 1;
    }
    atomic_store(&fail_mode, mode);
}

/* Counts a request; true when the test hook says that it fails. */
static bool injected_failure(void) {
    if (atomic_load_explicit(&fail_mode, memory_order_relaxed) < 0) read_fail_mode();
    uint64_t n = atomic_fetch_add(&request_count, 1) + 1;
    int mode = atomic_load_explicit(&fail_mode, memory_order_relaxed);
    return (mode == 1 && n == fail_at) || (mode == 2 && n >= fail_at);
}

static void account(size_t bytes) {
    size_t now = atomic_fetch_add(&live_bytes, bytes) + bytes;
    size_t peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {}
}

static const char *amount(char out[32], size_t bytes) {
    if (bytes < 10u << 10)
        snprintf(out, 32, "%zu bytes", bytes);
    else if (bytes < 10u << 20)
        snprintf(out, 32, "%.1f KiB", (double)bytes / 1024);
    else if (bytes < (size_t)10 << 30)
        snprintf(out, 32, "%.1f MiB", (double)bytes / (1 << 20));
    else
        snprintf(out, 32, "%.1f GiB", (double)bytes / (1 << 30));
    return out;
}

static void out_of_memory(size_t bytes) {
    char text[32];
    fail(ERR_MEMORY, "out of memory: %s more were needed; close other programs, or use a smaller picture (--scale)",
         amount(text, bytes));
}

void *mem_alloc(size_t bytes) {
    size_t total;
    if (injected_failure() || !size_align(bytes, 64, &total) || !size_add(total, HEAD, &total)) {
        out_of_memory(bytes);
        return NULL;
    }
    if (capped) {
        if (total > cap_left) {
            char text[32];
            fail(ERR_INPUT, "would need %s more than the limit for a file of this size",
                 amount(text, total - cap_left));
            return NULL;
        }
        cap_left -= total;
    }
    char *raw = aligned_alloc(64, total);
    if (!raw) {
        out_of_memory(bytes);
        return NULL;
    }
    void *block = raw + HEAD;
    head_of(block)->total = total;
    set_asked(block, bytes);
    account(total);
    return block;
}

void *mem_array(size_t count, size_t size) {
    size_t bytes;
    if (!size_mul(count, size, &bytes)) {
        out_of_memory(SIZE_MAX);
        return NULL;
    }
    return mem_alloc(bytes);
}

void *mem_zero(size_t count, size_t size) {
    void *block = mem_array(count, size);
    if (block) memset(block, 0, count * size);
    return block;
}

void mem_free(void *block) {
    if (!block) return;
    Head *head = head_of(block);
    size_t total = head->total;
    atomic_fetch_sub(&live_bytes, total);
    if (capped) cap_left += total;
    free(head);
}

void *mem_grow(void *old, size_t bytes) {
    if (!old) return mem_alloc(bytes);
    size_t room = head_of(old)->total - HEAD, had = head_of(old)->asked;
    if (bytes <= room && bytes > room / 2) {
        set_asked(old, bytes);
        return old;
    }
    void *block = mem_alloc(bytes);
    if (!block) return NULL;
    memcpy(block, old, had < bytes ? had : bytes);
    mem_free(old);
    return block;
}

char *mem_text(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc(n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

void mem_cap_begin(size_t bytes) {
    BUG_IF(capped, "mem_cap_begin inside mem_cap_begin");
    capped = true;
    cap_left = bytes;
}

void mem_cap_end(void) {
    capped = false;
}

MemUse mem_use(void) {
    return (MemUse){atomic_load(&live_bytes), atomic_load(&peak_bytes), atomic_load(&request_count)};
}

void mem_reset_peak(void) {
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

enum { HUGE_PAGE = 2 << 20 };

void *mem_block_map(size_t bytes) {
    size_t total, reserved;
    if (injected_failure() || !size_align(bytes ? bytes : 1, HUGE_PAGE, &total) ||
        !size_add(total, HUGE_PAGE, &reserved)) {
        out_of_memory(bytes);
        return NULL;
    }
    char *raw = mmap(NULL, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        out_of_memory(bytes);
        return NULL;
    }
    char *block = (char *)(((uintptr_t)raw + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (block > raw) munmap(raw, (size_t)(block - raw));
    size_t tail = reserved - (size_t)(block - raw) - total;
    if (tail) munmap(block + total, tail);
    madvise(block, total, MADV_HUGEPAGE); /* advice: refusal only costs speed */
    account(total);
    return block;
}

void mem_block_unmap(void *block, size_t bytes) {
    if (!block) return;
    size_t total = 0;
    BUG_IF(!size_align(bytes ? bytes : 1, HUGE_PAGE, &total), "mem_block_unmap of %zu bytes", bytes);
    munmap(block, total);
    atomic_fetch_sub(&live_bytes, total);
}

void *mem_reserve(size_t bytes) {
    void *block = injected_failure()
                      ? MAP_FAILED
                      : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) {
        out_of_memory(bytes);
        return NULL;
    }
    return block;
}

void mem_unreserve(void *block, size_t bytes) {
    if (block) munmap(block, bytes);
}

typedef struct Chunk {
    struct Chunk *next;
    size_t size, used;
} Chunk;

struct Arena {
    Chunk *chunks;
    bool failed;
};

enum { CHUNK_HEAD = 64, CHUNK_SIZE = 64 << 10 };

Arena *arena_make(void) {
    return mem_zero(1, sizeof(Arena));
}

void arena_drop(Arena *arena) {
    if (!arena) return;
    for (Chunk *c = arena->chunks, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    mem_free(arena);
}

void *arena_alloc(Arena *arena, size_t bytes) {
    size_t need;
    if (arena->failed || !size_align(bytes, 16, &need)) {
        arena->failed = true;
        return NULL;
    }
    Chunk *c = arena->chunks;
    if (!c || c->size - c->used < need) {
        size_t size = need > CHUNK_SIZE ? need : CHUNK_SIZE;
        size_t total;
        c = size_add(size, CHUNK_HEAD, &total) ? mem_alloc(total) : NULL;
        if (!c) {
            arena->failed = true;
            return NULL;
        }
        *c = (Chunk){arena->chunks, size, 0};
        arena->chunks = c;
    }
    char *p = (char *)c + CHUNK_HEAD + c->used;
    c->used += need;
    memset(p, 0, need);
    return p;
}

char *arena_text(Arena *arena, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = arena_alloc(arena, n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

char *arena_format(Arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

bool arena_failed(const Arena *arena) {
    return arena->failed;
}
