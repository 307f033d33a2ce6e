/* tests/cuda/simt/simt.c - the emulator: fibres, meetings (barriers and warp words), and a shade for every two bytes of
 * memory.
 *
 * A thread of the block is a fibre. It runs until it must meet others; the last to arrive does the work of the meeting
 * and wakes the rest. A meeting that can never be complete is a report, not a hang.
 *
 * Order. `epoch` counts block barriers (and blocks, and launches) and never goes back; each warp has a clock that
 * warp_sync advances. Two accesses by different threads are ordered iff a block barrier lies between (epochs differ),
 * or they are of one warp and a warp_sync lies between. Blocks of one launch are never ordered. A shade remembers the
 * last write and the youngest reads; that is exact for this order, so a kernel without a report gives the same result
 * in every schedule (atomics on floats aside) for this input. Launches, and what the host copies and fills, are ordered
 * by streams and events: who knows those says so (simt_unordered). Of reads of one place by several launches the last
 * is remembered. Not modelled: named barriers, mbarriers, fences with
 * flags, clusters. */
#include "tests/cuda/simt/simt.h"
#include "base/half.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum {
    LANES = 32,
    THREADS = 1024,
    STACK = 256 << 10,
    SHARED = 256 << 10,
    GAP = 64,
    GRAIN = 2,
    REGIONS = 256,
    COPIES = 64,
    OWN_MOST = 48 << 10, /* bytes of SHARED arrays of a kernel: the machine gives more only at launch */
    READ = SIMT_READ,
    WRITE = SIMT_WRITE,
    ATOMIC = 2,
    SEVERAL = 255
};

typedef struct {
    const void *wpc, *rpc;
    uint32_t we, ww, re, rw,
        earlier; /* epoch and warp clock of the last write and read; epoch of an earlier block's read */
    uint16_t wt;
    uint8_t watomic, flight, rwarp, rlane, live;
} Shade;
typedef struct {
    char *base;
    size_t bytes;
    Shade *shade;
    const char *name;
} Region;
typedef struct {
    char *to;
    const char *from;
    int group;
} Copy;
typedef struct {
    void *sp;
    char *stack;
    const char *file, *what;
    const void *pc; /* of the word it speaks */
    int line, done, group, copies;
    Copy copy[COPIES];
} Fibre;
typedef struct {
    int arrived, line;
    const char *file, *what;
    const void *pc;
    uint32_t clock, in[LANES][10], out[LANES][4];
    const char *row[LANES];
} Meeting;

char simt_error[2048];
SimtCount simt_count;
static unsigned simt_thread, simt_block[3];
static SimtLaunch how;
static SimtKernel kernel;
static char kernel_args[4096]; /* where the machine keeps them: constant memory, read only */
static Fibre fibre[THREADS];
static Meeting warp[THREADS / LANES], whole;
static unsigned ready[THREADS], head, waiting, alive, seed;
static void *main_sp;
static int outside; /* no fibre is running: a report returns */
static uint32_t epoch, block_start, launch_start;
static Region region[REGIONS];
static int regions = 1; /* region 0 is shared memory */
static char *shared;
static size_t shared_used, shared_own;
static void *shared_rest;
static struct {
    const char *file;
    int line;
    void *at;
} shared_name[64];
static int shared_names;
uint32_t simt_unordered_from = UINT32_MAX;
const char *(*simt_unordered)(uint32_t epoch);

/* ---------------------------------------------------------------------------------------- fibres */

static void fibre_main(void);
#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
void simt_switch(void **save, void *to); /* push what a call must keep, change stacks, pop, return */
__asm__(".text\n.globl simt_switch\n.type simt_switch,@function\nsimt_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size simt_switch,.-simt_switch\n");
static void *fresh(char *stack) {
    void **top =
        (void **)(stack + STACK - 8); /* after the final ret, rsp is 8 below a multiple of 16, as after a call */
    *--top = (void *)fibre_main;
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    return top;
}
#else /* anywhere else, and some ten times slower */
static void simt_switch(void **save, void *to) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, to);
}
static void *fresh(char *stack) {
    ucontext_t *c = (ucontext_t *)(stack + STACK) - 1;
    getcontext(c);
    c->uc_stack.ss_sp = stack, c->uc_stack.ss_size = STACK - sizeof *c - 64, c->uc_link = 0;
    makecontext(c, fibre_main, 0);
    return c;
}
#endif

static void to_main(void) {
    void *lost;
    simt_switch(&lost, main_sp);
}
static void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void report(const char *format, ...) {
    va_list v;
    va_start(v, format);
    int n = outside ? 0
                    : snprintf(simt_error, sizeof simt_error, "%s block (%u,%u,%u): ", how.name, simt_block[0],
                               simt_block[1], simt_block[2]);
    vsnprintf(simt_error + n, sizeof simt_error - (size_t)n, format, v);
    va_end(v);
    if (!outside) to_main(); /* the launch is over; its fibres are simply never resumed */
}
static void wake(unsigned thread) {
    ready[(head + waiting++) % how.threads] = thread;
    if (how.order > 1) { /* a seeded shuffle: swap with someone already in the queue */
        seed = seed * 1664525u + 1013904223u;
        unsigned a = (head + waiting - 1) % how.threads, b = (head + (seed >> 8) % waiting) % how.threads, x = ready[a];
        ready[a] = ready[b], ready[b] = x;
    }
}
static void run_next(void **save) {
    if (!waiting) { /* nobody can run: everyone waits for someone who will not come, or all have returned */
        simt_switch(save, main_sp);
        return;
    }
    unsigned next = ready[head];
    head = (head + 1) % how.threads, waiting--;
    if (&fibre[next].sp == save) return;
    simt_thread = next;
    simt_count.switches++;
    simt_switch(save, fibre[next].sp);
}
static void fibre_main(void) {
    kernel(kernel_args);
    Fibre *f = &fibre[simt_thread];
    if (f->copies) report("thread %u returned with %d copies never waited for", simt_thread, f->copies);
    f->done = 1, alive--;
    run_next(&f->sp);
    abort();
}
static void fibre_make(Fibre *f) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(f->stack, STACK); /* frames of a fibre that a report ended were never left */
#endif
    f->sp = fresh(f->stack), f->done = f->copies = f->group = 0, f->what = 0;
}

/* ---------------------------------------------------------------------------------------- memory */

/* "matmul.cu:12", by binutils, only when reporting: the innermost place that is not inside a word. */
static const char *where(const void *pc, char *out, size_t n) {
    Dl_info d;
    char command[600], line[300];
    snprintf(out, n, "%p", pc);
    if (!dladdr(pc, &d)) return out;
    int dyn = ((const unsigned short *)d.dli_fbase)[8] == 3; /* ET_DYN: addresses are relative */
    snprintf(command, sizeof command, "addr2line -i -s -e '%s' %#zx", d.dli_fname,
             (size_t)((const char *)pc - 1 - (dyn ? (char *)d.dli_fbase : 0)));
    FILE *p = popen(command, "r");
    while (p && fgets(line, sizeof line, p)) {
        line[strcspn(line, " \n")] = 0;
        snprintf(out, n, "%s", line);
        if (strncmp(line, "words.h:", 8) && strncmp(line, "device.h:", 9)) break;
    }
    if (p) pclose(p);
    return out;
}
static Region *find(const char *at, size_t n) {
    static int last;
    if (last < regions && at >= region[last].base && at + n <= region[last].base + region[last].bytes)
        return &region[last];
    for (int i = 0; i < regions; i++)
        if (at >= region[i].base && at + n <= region[i].base + region[i].bytes) return &region[last = i];
    return 0;
}
int simt_known(const void *at, size_t bytes) {
    return find(at, bytes) != 0;
}
/* What a host copies or fills has no place in a kernel. */
static const char *place_of(const void *pc, char *out, size_t n) {
    if (pc) return where(pc, out, n);
    snprintf(out, n, "a copy or fill by the host");
    return out;
}
/* Nothing orders the work `then` of another stream before what is done now. */
static void race_of_streams(const Region *r, const char *at, const char *now, const void *pc, const char *then,
                            const void *then_pc, const char *whose) {
    char a[200], b[200];
    report("race between streams on %s+%zu: %s at %s and %s at %s (%s), no event between", r->name,
           (size_t)(at - r->base), now, place_of(pc, a, sizeof a), then, place_of(then_pc, b, sizeof b), whose);
}
/* Of a shade that is touched by something that began at epoch `start`. */
static void order_streams(const Shade *s, uint32_t start, const Region *r, const char *at, int kind, const void *pc) {
    static const char *const verb[] = {"read", "write", "atomic"};
    const char *whose;
    if (s->we < start && s->we >= simt_unordered_from && !(kind == ATOMIC && s->watomic) &&
        (whose = simt_unordered(s->we)) != NULL)
        race_of_streams(r, at, verb[kind], pc, s->watomic ? "atomic" : "write", s->wpc, whose);
    if (kind != READ && s->re < start && s->re >= simt_unordered_from && (whose = simt_unordered(s->re)) != NULL)
        race_of_streams(r, at, verb[kind], pc, "read", s->rpc, whose);
}
static void race(const Region *r, const char *at, const char *now, const void *pc, unsigned lane, const char *then,
                 unsigned thread, const void *then_pc) {
    char a[200], b[200], other[24] = "several threads";
    if (thread != SEVERAL) snprintf(other, sizeof other, "thread %u", thread);
    report("race on %s+%zu: %s by %s %u at %s and %s by %s at %s, no barrier between", r->name, (size_t)(at - r->base),
           now, lane == LANES ? "the warp of thread" : "thread", simt_thread, where(pc, a, sizeof a), then, other,
           where(then_pc, b, sizeof b));
}
/* lane LANES stands for "the warp as one", as in a matrix load */
static void touch_as(const char *at, size_t n, int kind, const void *pc, unsigned lane) {
    static const char *const verb[] = {"read", "write", "atomic"};
    simt_count.accesses++;
    if (how.unwatched) return;
    Fibre *f = &fibre[simt_thread];
    if (at >= f->stack && at < f->stack + STACK) return;
    if (kind == READ && at >= kernel_args && at + n <= kernel_args + sizeof kernel_args) return;
    Region *r = find(at, n);
    Dl_info d;
    char a[200];
    if (!r) {
        if (kind == READ && dladdr(at, &d)) return; /* a constant table */
        report("thread %u: %s of %zu bytes at %p, outside every region, at %s", simt_thread, verb[kind], n,
               (const void *)at, where(pc, a, sizeof a));
    }
    int is_shared = r == region;
    uint32_t from = is_shared ? block_start : launch_start;
    unsigned my_warp = simt_thread / LANES;
    uint32_t clock = warp[my_warp].clock;
    for (size_t i = (size_t)(at - r->base) / GRAIN; i <= (size_t)(at - r->base + (ptrdiff_t)n - 1) / GRAIN; i++) {
        Shade *s = &r->shade[i];
        if (is_shared && !s->live)
            report("thread %u: %s between shared arrays at %s", simt_thread, verb[kind], where(pc, a, sizeof a));
        if (s->flight)
            report("thread %u: %s of bytes whose asynchronous copy is under way, at %s", simt_thread, verb[kind],
                   where(pc, a, sizeof a));
        if (kind == READ && is_shared && s->we < block_start)
            report("thread %u reads shared memory never written, at %s", simt_thread, where(pc, a, sizeof a));
        if (simt_unordered_from != UINT32_MAX && !is_shared) order_streams(s, launch_start, r, at, kind, pc);
        if (s->we >= from && !(kind == ATOMIC && s->watomic) &&
            (s->we < block_start ||
             (s->we == epoch && (s->wt / LANES != my_warp || (s->wt % LANES != lane && s->ww >= clock)))))
            race(r, at, verb[kind], pc, lane, s->watomic ? "atomic" : "write", s->wt, s->wpc);
        if (kind != READ) {
            if ((s->earlier >= launch_start && !is_shared) ||
                (s->re >= from && (s->re < block_start ||
                                   (s->re == epoch && (s->rwarp != my_warp || (s->rlane != lane && s->rw >= clock))))))
                race(r, at, verb[kind], pc, lane, "read",
                     s->rlane == SEVERAL || s->rwarp == SEVERAL ? SEVERAL : s->rwarp * LANES + s->rlane, s->rpc);
            s->we = epoch, s->ww = clock, s->wt = (uint16_t)(simt_thread), s->watomic = kind == ATOMIC, s->wpc = pc;
        } else {
            if (s->re >= launch_start && s->re < block_start) s->earlier = s->re;
            if (s->re == epoch && s->rwarp != my_warp)
                s->rwarp = SEVERAL;
            else if (s->re == epoch && s->rw == clock && s->rlane != lane)
                s->rlane = SEVERAL;
            else
                s->rwarp = (uint8_t)my_warp, s->rlane = lane < LANES ? (uint8_t)lane : SEVERAL;
            s->re = epoch, s->rw = clock, s->rpc = pc;
        }
    }
}
static void touch(const void *at, size_t n, int kind, const void *pc) {
    touch_as(at, n, kind, pc, simt_thread % LANES);
}

uint32_t simt_next_epoch(void) {
    return epoch + 1;
}

int simt_host_access(const void *at, size_t bytes, int kind) {
    Region *r = find(at, bytes);
    uint32_t start = ++epoch;
    simt_error[0] = 0;
    if (!r) return snprintf(simt_error, sizeof simt_error, "memory that is not the device's, or not any more"), 1;
    outside = 1;
    for (size_t i = (size_t)((const char *)at - r->base) / GRAIN, end = i + (bytes + GRAIN - 1) / GRAIN;
         i < end && !simt_error[0]; i++) {
        Shade *s = &r->shade[i];
        order_streams(s, start, r, r->base + i * GRAIN, kind, NULL);
        if (kind == WRITE)
            s->we = start, s->wpc = NULL, s->watomic = 0;
        else
            s->re = start, s->rpc = NULL;
    }
    outside = 0;
    return simt_error[0] != 0;
}

void simt_region(void *base, size_t bytes, const char *name) {
    for (int i = 1; i < regions; i++)
        if (region[i].base == base) {
            free(region[i].shade);
            region[i] = region[--regions];
        }
    if (!bytes || regions == REGIONS) return;
    region[regions++] = (Region){base, bytes, calloc(bytes / GRAIN + 1, sizeof(Shade)), name};
}
static void *shared_take(size_t bytes, const char *file, int line, int own) {
    char *at = shared + ((shared_used + 127) & ~(size_t)127);
    shared_used = (size_t)(at - shared) + bytes + GAP;
    if (shared_used > SHARED) report("more than %d bytes of shared memory", SHARED);
    const char *slash = strrchr(file, '/');
    if (slash) file = slash + 1;
    if (own && (shared_own += bytes) > OWN_MOST)
        report("%zu bytes of shared arrays at %s:%d, where a kernel has %d: more goes through SHARED_REST", shared_own,
               file, line, OWN_MOST);
    if (simt_count.shared_bytes + (long long)bytes > (long long)how.shared_limit)
        report("%lld bytes of shared memory, this device has %zu for a block (%s:%d)",
               simt_count.shared_bytes + (long long)bytes, how.shared_limit, file, line);
    for (size_t i = 0; i < (bytes + GRAIN - 1) / GRAIN; i++)
        region[0].shade[(size_t)(at - shared) / GRAIN + i].live = 1;
    simt_count.shared_bytes += (long long)bytes;
    return at;
}
void *simt_shared(const char *file, int line, size_t bytes) /* the first thread to come makes it, the others find it */
{
    for (int i = 0; i < shared_names; i++)
        if (shared_name[i].line == line && shared_name[i].file == file) return shared_name[i].at;
    if (shared_names == 64) report("more than 64 shared arrays");
    shared_name[shared_names].file = file, shared_name[shared_names].line = line;
    return shared_name[shared_names++].at = shared_take(bytes, file, line, 1);
}
void *simt_shared_rest(const char *file, int line) { /* one, however often it is named */
    if (!shared_rest) shared_rest = shared_take(how.shared, file, line, 0);
    return shared_rest;
}

/* what the compiler calls for every load and store of a kernel */
#define HOOK(n)                                          \
    void __tsan_read##n(void *p);                        \
    void __tsan_read##n(void *p) {                       \
        touch(p, n, READ, __builtin_return_address(0));  \
    }                                                    \
    void __tsan_write##n(void *p);                       \
    void __tsan_write##n(void *p) {                      \
        touch(p, n, WRITE, __builtin_return_address(0)); \
    }                                                    \
    void __tsan_unaligned_read##n(void *p);              \
    void __tsan_unaligned_read##n(void *p) {             \
        touch(p, n, READ, __builtin_return_address(0));  \
    }                                                    \
    void __tsan_unaligned_write##n(void *p);             \
    void __tsan_unaligned_write##n(void *p) {            \
        touch(p, n, WRITE, __builtin_return_address(0)); \
    }
HOOK(1) HOOK(2) HOOK(4) HOOK(8) HOOK(16) void __tsan_read_range(void *p, long n);
void __tsan_read_range(void *p, long n) {
    touch(p, (size_t)n, READ, __builtin_return_address(0));
}
void __tsan_write_range(void *p, long n);
void __tsan_write_range(void *p, long n) {
    touch(p, (size_t)n, WRITE, __builtin_return_address(0));
}
void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc) {
    (void)pc;
}
void __tsan_func_exit(void *unused);
void __tsan_func_exit(void *unused) {
    (void)unused;
}

/* ... and for arithmetic that has no meaning: what it passes begins with the place. */
typedef struct {
    const char *file;
    uint32_t line, column;
} Place;
static void undefined(const Place *place, const char *what) {
    const char *name = strrchr(place->file, '/');
    report("thread %u: %s at %s:%u", simt_thread, what, name ? name + 1 : place->file, place->line);
}
#define UNDEFINED(name, what)                     \
    void __ubsan_handle_##name(const Place *at);  \
    void __ubsan_handle_##name(const Place *at) { \
        undefined(at, what);                      \
    }
UNDEFINED(add_overflow_abort, "signed overflow of +")
UNDEFINED(sub_overflow_abort, "signed overflow of -")
UNDEFINED(mul_overflow_abort, "signed overflow of *")
UNDEFINED(negate_overflow_abort, "signed overflow of -")
UNDEFINED(divrem_overflow_abort, "division by zero")
UNDEFINED(shift_out_of_bounds_abort, "a shift out of range")
UNDEFINED(out_of_bounds_abort, "an index outside its array")
UNDEFINED(type_mismatch_v1_abort, "a null or misaligned address")
UNDEFINED(pointer_overflow_abort, "overflow of an address")
UNDEFINED(load_invalid_value_abort, "a value that its type does not have")
UNDEFINED(vla_bound_not_positive_abort, "an array without size")
UNDEFINED(nonnull_arg_abort, "a null argument")
UNDEFINED(float_cast_overflow_abort, "a float too large for its integer")
UNDEFINED(builtin_unreachable, "a place that cannot be reached")

/* ---------------------------------------------------------------------------------------- meetings */

/* Where a word is spoken. One that is made of others (device.h) is spoken where the kernel says it, which only the
 * debugger's tables know. */
static const char *spoken(const char *file, int line, const void *pc, char *out, size_t n) {
    if (strcmp(file, "device.h") == 0) return where(pc, out, n);
    snprintf(out, n, "%s:%d", file, line);
    return out;
}
static int same_place(const Meeting *m, const char *file, int line, const void *pc) {
    static struct {
        const void *pc;
        char place[120];
    } known[64]; /* asking takes a process */
    if (m->pc == pc) return 1;
    if (m->line != line || strcmp(m->file, file)) return 0;
    if (strcmp(file, "device.h")) return 1; /* compilers may write one line twice */
    const void *both[] = {m->pc, pc};
    const char *place[2];
    for (int i = 0; i < 2; i++) {
        size_t k = (uintptr_t)both[i] / 4 % 64;
        if (i && known[k].pc == both[0]) k = (k + 1) % 64;
        if (known[k].pc != both[i]) spoken(file, line, both[i], known[k].place, sizeof known[k].place);
        known[k].pc = both[i];
        place[i] = known[k].place;
    }
    return !strcmp(place[0], place[1]);
}
#define SPOKEN_HERE() (fibre[simt_thread].pc = __builtin_return_address(0))

static void meet(Meeting *m, int size, const char *what, const char *file, int line, void (*work)(Meeting *)) {
    Fibre *f = &fibre[simt_thread];
    const char *slash = strrchr(file, '/'); /* the folder says nothing: it is where the test compiled */
    if (slash) file = slash + 1;
    char a[200], b[200];
    if (!m->arrived)
        m->what = what, m->file = file, m->line = line, m->pc = f->pc;
    else if (m->what != what || !same_place(m, file, line, f->pc))
        report("divergence: thread %u speaks %s at %s, others of its %s wait in %s at %s", simt_thread, what,
               spoken(file, line, f->pc, a, sizeof a), size == LANES ? "warp" : "block", m->what,
               spoken(m->file, m->line, m->pc, b, sizeof b));
    f->what = what, f->file = file, f->line = line;
    simt_count.meets++;
    if (++m->arrived < size) {
        run_next(&f->sp);
        return;
    }
    m->arrived = 0;
    work(m);
    unsigned first = size == LANES ? simt_thread & ~31u : 0;
    for (unsigned i = 0; i < (unsigned)size; i++) {
        unsigned t = first + (how.order == 1 ? (unsigned)size - 1 - i : i);
        fibre[t].what = 0;
        if (t != simt_thread) wake(t);
    }
}
#define MY_WARP (&warp[simt_thread / LANES])
#define LANE (simt_thread % LANES)
static void do_block(Meeting *m) {
    (void)m, epoch++, simt_count.barriers++;
}
static void do_sync(Meeting *m) {
    m->clock++;
}
static void do_xor(Meeting *m) {
    for (int i = 0; i < LANES; i++) m->out[i][0] = m->in[i ^ (int)m->in[i][1]][0];
}
static void do_down(Meeting *m) {
    for (unsigned i = 0; i < LANES; i++) m->out[i][0] = m->in[i + m->in[i][1] < LANES ? i + m->in[i][1] : i][0];
}
static void do_from(Meeting *m) {
    for (unsigned i = 0; i < LANES; i++) m->out[i][0] = m->in[m->in[i][1] % LANES][0];
}
static void do_ballot(Meeting *m) {
    uint32_t b = 0;
    for (int i = 0; i < LANES; i++) b |= (uint32_t)(m->in[i][0] != 0) << i;
    for (int i = 0; i < LANES; i++) m->out[i][0] = b;
}
static void count_conflicts(const Meeting *m) {
    for (int q = 0; q < 4; q++) {
        int bank[8] = {0}, worst = 1;
        for (int r = 0; r < 8; r++) {
            int b = (int)((uintptr_t)m->row[q * 8 + r] / 16 % 8);
            if (++bank[b] > worst) worst = bank[b];
        }
        simt_count.conflicts += worst - 1;
    }
}
static void do_matrix(Meeting *m) {
    count_conflicts(m);
    for (int q = 0; q < 4; q++)
        for (int i = 0; i < LANES; i++) memcpy(&m->out[i][q], m->row[q * 8 + i / 4] + i % 4 * 4, 4);
}
static void do_matrix_across(Meeting *m) {
    count_conflicts(m);
    for (int q = 0; q < 4; q++)
        for (int i = 0; i < LANES; i++)
            for (int half = 0; half < 2; half++)
                memcpy((char *)&m->out[i][q] + 2 * half, m->row[q * 8 + i % 4 * 2 + half] + i / 4 * 2, 2);
}
static float half(unsigned h, int f16) {
    return f16 ? f16_to_f32((uint16_t)h) : bf16_to_f32((uint16_t)h);
}
float simt_f16_f32(unsigned short h) {
    return f16_to_f32(h);
}
unsigned short simt_f32_f16(float v) {
    return f32_to_f16(v);
}
void simt_aligned(const void *at, const char *word) {
    char a[200];
    if ((uintptr_t)at % 16)
        report("thread %u: %s of an address that is not a multiple of 16, at %s", simt_thread, word,
               where(__builtin_return_address(0), a, sizeof a));
}
/* the fragments as PTX lays them out: g = lane/4, t = lane%4. Products are exact; sums are f32 in order of k here,
 * in an unspecified order and rounding on the machine. */
static void do_mma(Meeting *m) {
    float a[16][16], b[16][8], c[16][8];
    int f16 = m->what[4] == 'f'; /* the word's name says the type */
    for (int i = 0; i < LANES; i++) {
        int g = i / 4, t = i % 4 * 2;
        for (int e = 0; e < 2; e++) {
            int s = 16 * e;
            a[g][t + e] = half(m->in[i][0] >> s & 0xffff, f16), a[g + 8][t + e] = half(m->in[i][1] >> s & 0xffff, f16);
            a[g][t + 8 + e] = half(m->in[i][2] >> s & 0xffff, f16),
                         a[g + 8][t + 8 + e] = half(m->in[i][3] >> s & 0xffff, f16);
            b[t + e][g] = half(m->in[i][4] >> s & 0xffff, f16), b[t + 8 + e][g] = half(m->in[i][5] >> s & 0xffff, f16);
            memcpy(&c[g][t + e], &m->in[i][6 + e], 4), memcpy(&c[g + 8][t + e], &m->in[i][8 + e], 4);
        }
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
    for (int i = 0; i < LANES; i++)
        for (int e = 0; e < 2; e++)
            memcpy(&m->out[i][e], &c[i / 4][i % 4 * 2 + e], 4),
                memcpy(&m->out[i][2 + e], &c[i / 4 + 8][i % 4 * 2 + e], 4);
    simt_count.mma++;
}

unsigned simt_thread_x(void) {
    return simt_thread;
}
unsigned simt_block_at(int i) {
    return simt_block[i];
}
void simt_block_sync(const char *file, int line) {
    SPOKEN_HERE();
    meet(&whole, (int)how.threads, "block_sync", file, line, do_block);
}
void simt_warp_sync(const char *file, int line) {
    SPOKEN_HERE();
    meet(MY_WARP, LANES, "warp_sync", file, line, do_sync);
}
static float pass(float v, int other, const char *what, const char *file, int line, void (*work)(Meeting *)) {
    memcpy(&MY_WARP->in[LANE][0], &v, 4);
    MY_WARP->in[LANE][1] = (uint32_t)other;
    meet(MY_WARP, LANES, what, file, line, work);
    memcpy(&v, &MY_WARP->out[LANE][0], 4);
    return v;
}
float simt_xor(float v, int m, const char *file, int line) {
    SPOKEN_HERE();
    return pass(v, m, "warp_xor", file, line, do_xor);
}
float simt_down(float v, int d, const char *file, int line) {
    SPOKEN_HERE();
    return pass(v, d, "warp_down", file, line, do_down);
}
float simt_from(float v, int lane, const char *file, int line) {
    SPOKEN_HERE();
    return pass(v, lane, "warp_from", file, line, do_from);
}
unsigned simt_ballot(int p, const char *file, int line) {
    SPOKEN_HERE();
    MY_WARP->in[LANE][0] = p != 0;
    meet(MY_WARP, LANES, "warp_ballot", file, line, do_ballot);
    return MY_WARP->out[LANE][0];
}
static inline __attribute__((always_inline)) void load_matrix(unsigned r[4], const void *row, const char *word,
                                                              const char *file, int line, void (*act)(Meeting *m)) {
    if ((uintptr_t)row % 16)
        report("%s at %s:%d: row not 16-byte aligned", word, strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
    MY_WARP->row[LANE] = row;
    touch_as(row, 16, READ, __builtin_return_address(0), LANES);
    meet(MY_WARP, LANES, word, file, line, act);
    memcpy(r, MY_WARP->out[LANE], 16);
}
void simt_load_matrix4(unsigned r[4], const void *row, const char *file, int line) {
    SPOKEN_HERE();
    load_matrix(r, row, "load_matrix4", file, line, do_matrix);
}
void simt_load_matrix4_across(unsigned r[4], const void *row, const char *file, int line) {
    SPOKEN_HERE();
    load_matrix(r, row, "load_matrix4_across", file, line, do_matrix_across);
}
void simt_mma(float c[4], const unsigned a[4], const unsigned b[2], int f16, const char *file, int line) {
    SPOKEN_HERE();
    uint32_t *in = MY_WARP->in[LANE];
    memcpy(in, a, 16), memcpy(in + 4, b, 8), memcpy(in + 6, c, 16);
    meet(MY_WARP, LANES, f16 ? "mma_f16" : "mma_bf16", file, line, do_mma);
    memcpy(c, MY_WARP->out[LANE], 16);
}
void simt_atomic_add_f32(float *p, float v) {
    touch(p, 4, ATOMIC, __builtin_return_address(0)), *p += v;
}
void simt_atomic_add_u32(unsigned *p, unsigned v) {
    touch(p, 4, ATOMIC, __builtin_return_address(0)), *p += v;
}

/* A copy reads and writes only when waited for; until then its target holds NaNs and may not be touched. */
void simt_copy16(void *to, const void *from, int valid) {
    Fibre *f = &fibre[simt_thread];
    const void *pc = __builtin_return_address(0);
    char a[200];
    if ((uintptr_t)to % 16 || (valid && (uintptr_t)from % 16))
        report("thread %u: copy16 not 16-byte aligned, at %s", simt_thread, where(pc, a, sizeof a));
    if ((char *)to < shared || (char *)to >= shared + SHARED)
        report("thread %u: copy16 to memory that is not shared, at %s", simt_thread, where(pc, a, sizeof a));
    if (f->copies == COPIES)
        report("thread %u: more than %d copies under way, at %s", simt_thread, COPIES, where(pc, a, sizeof a));
    if (valid) touch(from, 16, READ, pc);
    touch(to, 16, WRITE, pc);
    memset(to, 0xff, 16);
    for (int i = 0; i < 16 / GRAIN; i++) region[0].shade[((char *)to - shared) / GRAIN + i].flight = 1;
    f->copy[f->copies++] = (Copy){to, valid ? from : 0, f->group};
}
void simt_copy_commit(void) {
    fibre[simt_thread].group++;
}
void simt_copy_wait(int n) {
    static const char zero[16];
    Fibre *f = &fibre[simt_thread];
    int kept = 0;
    for (int i = 0; i < f->copies; i++) {
        Copy *c = &f->copy[i];
        if (c->group >= f->group - n) {
            f->copy[kept++] = *c;
            continue;
        }
        for (int j = 0; j < 16 / GRAIN; j++) region[0].shade[(c->to - shared) / GRAIN + j].flight = 0;
        memcpy(c->to, c->from ? c->from : zero, 16);
        touch(c->to, 16, WRITE, __builtin_return_address(0));
    }
    f->copies = kept;
}

/* ---------------------------------------------------------------------------------------- launch */

static void stuck(void) {
    int n = 0, returned = 0;
    char line[1200] = "", at[200];
    for (unsigned i = 0; i < how.threads; i++) returned += fibre[i].done;
    for (unsigned i = 0; i < how.threads && n < 900; i++) {
        Fibre *f = &fibre[i];
        unsigned j = i;
        if (f->done || !f->what) continue;
        while (j + 1 < how.threads && !fibre[j + 1].done && fibre[j + 1].line == f->line &&
               fibre[j + 1].what == f->what)
            j++;
        n += snprintf(line + n, sizeof line - (size_t)n, " threads %u-%u wait in %s at %s;", i, j, f->what,
                      spoken(f->file, f->line, f->pc, at, sizeof at));
        i = j;
    }
    snprintf(simt_error, sizeof simt_error,
             "%s block (%u,%u,%u): a meeting nobody can complete:%s %d of %u threads have returned", how.name,
             simt_block[0], simt_block[1], simt_block[2], line, returned, how.threads);
}
int simt_run(SimtKernel k, const void *args, size_t bytes, SimtLaunch launch) {
    how = launch, kernel = k, seed = launch.order, simt_error[0] = 0;
    if (!how.threads || how.threads > THREADS || how.threads % LANES) {
        snprintf(simt_error, sizeof simt_error, "%s: %u threads; a multiple of 32 up to 1024 is needed", how.name,
                 how.threads);
        return 1;
    }
    if (bytes > sizeof kernel_args)
        return snprintf(simt_error, sizeof simt_error, "%s: more than 4096 bytes of arguments", how.name), 1;
    if (!how.shared_limit || how.shared_limit > SHARED) how.shared_limit = SHARED;
    memcpy(kernel_args, args, bytes);
    if (!shared) {
        shared = mmap(0, SHARED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        Region *r = &region[0];
        *r = (Region){shared, SHARED, calloc(SHARED / GRAIN, sizeof(Shade)), "shared"};
        char *stacks = mmap(0, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (int i = 0; i < THREADS; i++) {
            fibre[i].stack = stacks + (size_t)i * STACK;
            mprotect(fibre[i].stack, 4096, PROT_NONE);
        }
    }
    launch_start = ++epoch;
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (unsigned long long b = 0, blocks = 1ull * how.grid[0] * how.grid[1] * how.grid[2]; b < blocks; b++) {
        simt_block[0] = (unsigned)(b % how.grid[0]);
        simt_block[1] = (unsigned)(b / how.grid[0] % how.grid[1]);
        simt_block[2] = (unsigned)(b / how.grid[0] / how.grid[1]);
        block_start = ++epoch;
        memset(shared, 0xff, shared_used);
        for (size_t i = 0; i < (shared_used + GRAIN - 1) / GRAIN; i++)
            region[0].shade[i].live = region[0].shade[i].flight = 0;
        shared_used = shared_own = 0, shared_names = 0, shared_rest = NULL, simt_count.shared_bytes = 0;
        head = waiting = 0, alive = how.threads, whole.arrived = 0;
        for (unsigned i = 0; i < how.threads / LANES; i++) warp[i].arrived = 0;
        for (unsigned i = 0; i < how.threads; i++) {
            unsigned t = how.order == 1 ? how.threads - 1 - i : i;
            fibre_make(&fibre[t]);
            wake(t);
        }
        run_next(&main_sp);
        if (simt_error[0]) return 1;
        if (alive) return stuck(), 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    simt_count.seconds += (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
    return 0;
}
