#include "tests/lib/run_node.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/op.h"
#include "tests/lib/check.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRONT = 256, MARK = 0xA5 };

typedef struct {
    char *map;
    size_t mapped;
    char *bytes;
    size_t size;
} Guarded;

struct Runner {
    Program *program;
    Guarded *buffer; /* by tensor id; empty for views */
    void **bytes;
};

/* `size` bytes that end where a forbidden page begins, after FRONT marked bytes. */
static Guarded guarded_make(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    Guarded g = {.size = size, .mapped = (size + FRONT + page - 1) / page * page + page};
    g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map + g.mapped - page, page, PROT_NONE), 0);
    g.bytes = g.map + g.mapped - page - size;
    memset(g.bytes - FRONT, MARK, FRONT);
    return g;
}

static void guarded_drop(Guarded *g) {
    if (!g->map) return;
    for (size_t i = 1; i <= FRONT; i++) assert_int_equal((unsigned char)g->bytes[-(ptrdiff_t)i], MARK);
    munmap(g->map, g->mapped);
    *g = (Guarded){0};
}

Runner *runner_make(Program *program) {
    int tensors = program_tensors(program);
    Runner *runner = mem_zero(1, sizeof *runner);
    assert_non_null(runner);
    *runner = (Runner){program, mem_zero((size_t)tensors, sizeof(Guarded)), mem_zero((size_t)tensors, sizeof(void *))};
    assert_true(runner->buffer && runner->bytes);
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->base != t) continue;
        runner->buffer[t->id] = guarded_make(tensor_bytes(t));
        runner->bytes[t->id] = runner->buffer[t->id].bytes;
    }
    return runner;
}

void runner_drop(Runner *runner) {
    for (int i = 0; i < program_tensors(runner->program); i++) guarded_drop(&runner->buffer[i]);
    mem_free(runner->buffer);
    mem_free(runner->bytes);
    mem_free(runner);
}

void *runner_data(Runner *runner, const Tensor *t) {
    return (char *)runner->bytes[t->base->id] + (size_t)t->offset * dtype_size(t->dtype);
}

void runner_fill(Runner *runner, const Tensor *t, uint64_t seed, double scale) {
    assert_true(t->base == t && t->dtype == DTYPE_F32);
    real *p = runner_data(runner, t);
    for (int64_t i = 0; i < tensor_count(t); i++) p[i] = (real)(float)(scale * rng_signed(seed, (uint64_t)i));
}

void runner_fill_all(Runner *runner, uint64_t seed) {
    for (int i = 0; i < program_tensors(runner->program); i++) {
        const Tensor *t = program_tensor(runner->program, i);
        if (t->base != t || t->dtype != DTYPE_F32) continue;
        double unit = sqrt(3.0 * (double)t->size[0] / (double)tensor_count(t));
        if (t->kind == TENSOR_INPUT) runner_fill(runner, t, seed + (uint64_t)t->id, 1);
        if (t->kind == TENSOR_WEIGHT) runner_fill(runner, t, seed + (uint64_t)t->id, t->rank == 1 ? 0.5 : unit);
    }
}

static void poison(void *bytes, size_t size) {
    memset(bytes, 0xFF, size);
} /* all ones is a NaN */

typedef struct {
    Hole hole;
    float *out;
    int64_t columns;
    unsigned char *seen;
} CheckedHole;

static void store_checked(const Hole *hole, int64_t row, int64_t rows, int64_t column, int64_t columns, float *tile,
                          int64_t tile_stride, int worker) {
    const CheckedHole *to = (const CheckedHole *)hole;
    (void)worker;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t at = (row + i) * to->columns + column + j;
            to->out[at] = tile[i * tile_stride + j];
            to->seen[at]++;
            tile[i * tile_stride + j] = NAN;
        }
}

static void run_with_hole(const Node *node, Run *run, RunHole kind) {
    const Tensor *to = node->output[0];
    int64_t count = tensor_count(to),
            columns = to->rank == 4 && to->stride[1] == 1 ? to->size[1] : to->size[to->rank - 1];
    CheckedHole checked = {.hole.store = store_checked, .out = run_data(run, to), .columns = columns};
    checked.seen = mem_zero((size_t)count, 1);
    assert_non_null(checked.seen);
    Guarded wide = {0};
    int64_t stride = columns + 5;
    if (kind == HOLE_DIRECT) {
        wide = guarded_make((size_t)((count / columns - 1) * stride + columns) * 4);
        poison(wide.bytes, wide.size);
        checked.hole.direct = (float *)(void *)wide.bytes;
        checked.hole.direct_stride = stride;
    }
    run->hole = &checked.hole;
    node->op->run(node, run);
    run->hole = NULL;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i / columns, column = i % columns;
        if (kind == HOLE_DIRECT && !checked.seen[i])
            checked.out[i] = checked.hole.direct[row * stride + column];
        else if (checked.seen[i] != 1)
            fail_msg("%s: element %lld stored %d times", node->op->name, (long long)i, checked.seen[i]);
    }
    if (kind == HOLE_DIRECT) { /* nothing between the rows was touched */
        for (int64_t row = 0; row + 1 < count / columns; row++)
            for (int64_t j = columns; j < stride; j++) assert_true(isnan(checked.hole.direct[row * stride + j]));
        guarded_drop(&wide);
    }
    mem_free(checked.seen);
}

/* The first input that output[0] may be written over, given this program; NULL if there is none. */
static const Tensor *overwritten(const Node *node) {
    const Tensor *out = node->output[0];
    for (int k = 0; k < node->inputs; k++) {
        const Tensor *x = node->input[k];
        if (!(node->op->in_place >> k & 1) || !x || x->offset != 0 || x->rank != out->rank ||
            tensor_count(x) != tensor_count(out) || tensor_count(x) != tensor_count(x->base))
            continue;
        bool same = true;
        for (int n = 0; n < node->inputs; n++)
            if (n != k && node->input[n] && node->input[n]->base == x->base) same = false;
        for (int axis = 0; axis < x->rank; axis++)
            same = same && (x->size[axis] == 1 || x->stride[axis] == out->stride[axis]);
        if (same) return x;
    }
    return NULL;
}

static void run_node(Runner *runner, const Node *node, RunWay way) {
    const Op *op = node->op;
    if (op->kind == OP_VIEW) return;
    for (int i = 0; i < node->outputs; i++)
        if (node->output[i]->base == node->output[i])
            poison(runner_data(runner, node->output[i]), tensor_bytes(node->output[i]));
    Run run = {.pool = way.pool, .bytes = runner->bytes, .exact = way.exact, .bf16 = way.bf16};
    if (way.kind == RUN_DEFINITION || !op->run) {
        op->define(node, &run);
        return;
    }
    run.scratch_shared = op->scratch_shared ? (op->scratch_shared(node, way.exact) + 63) & ~(size_t)63 : 0;
    run.scratch_worker = op->scratch_worker ? (op->scratch_worker(node, way.exact) + 63) & ~(size_t)63 : 0;
    Guarded scratch = guarded_make(run.scratch_shared + run.scratch_worker * (size_t)pool_threads(way.pool));
    poison(scratch.bytes, scratch.size);
    run.scratch = scratch.bytes;
    Guarded packed = {0};
    size_t pack = op->pack_size ? op->pack_size(node, way.exact, way.bf16) : 0;
    if (pack) {
        const float *weights[NODE_INPUTS_MAX] = {0};
        for (int i = 0; i < node->inputs; i++)
            if (node->input[i] && node->input[i]->kind == TENSOR_WEIGHT)
                weights[i] = runner_data(runner, node->input[i]);
        packed = guarded_make((pack + 63) & ~(size_t)63);
        poison(packed.bytes, packed.size);
        op->pack(node, way.exact, way.bf16, weights, packed.bytes);
        run.packed = packed.bytes;
    }
    const Tensor *over = way.over_input && way.hole == HOLE_NONE ? overwritten(node) : NULL;
    void *kept = over ? runner->bytes[over->base->id] : NULL;
    if (over) {
        void *shared = runner_data(runner, node->output[0]);
        memcpy(shared, kept, tensor_bytes(over->base));
        runner->bytes[over->base->id] = shared;
    }
    if (way.hole != HOLE_NONE && op->store_hole)
        run_with_hole(node, &run, way.hole);
    else
        op->run(node, &run);
    if (over) runner->bytes[over->base->id] = kept;
    guarded_drop(&scratch);
    guarded_drop(&packed);
}

void runner_run(Runner *runner, RunWay way) {
    for (int i = 0; i < program_nodes(runner->program); i++) run_node(runner, program_node(runner->program, i), way);
}

real *runner_copy(Runner *runner, const Tensor *t) {
    int64_t count = tensor_count(t);
    real *out = mem_array((size_t)count, sizeof *out);
    assert_non_null(out);
    const real *data = runner_data(runner, t);
    for (int64_t i = 0; i < count; i++) {
        int64_t left = i, offset = 0;
        for (int axis = t->rank - 1; axis >= 0; axis--) {
            offset += left % t->size[axis] * t->stride[axis];
            left /= t->size[axis];
        }
        out[i] = data[offset];
    }
    return out;
}
