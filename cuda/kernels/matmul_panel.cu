/* cuda/kernels/matmul_panel.cu - the fast rung of the matrix products: matmul.cu says what is computed. Here k is the
 * innermost axis of both operands (s.step = b_step = 1), rows are aligned to 16 bytes and depths are whole pieces of 16
 * bytes (panel.h). f32 without -DLOAD_HALF, tensor cores with. */
#include "cuda/device/panel.h"
#include "cuda/device/pointwise.h"
#include "cuda/kernels/matmul.h"

/* What is fetched next: depth k of a segment. */
typedef struct {
    const Value *left[PANEL_LEFT], *right[PANEL_RIGHT];
    int k, depth, segment;
} Cursor;

DEVICE void enter(Cursor *at, const MatmulArgs *a, i64 batch, i64 row0) {
    const MatmulSegment *s = &a->segment[at->segment];
    at->k = 0;
    at->depth = (int)s->depth;
    UNROLL
    for (int i = 0; i < PANEL_LEFT; i++) {
        i64 row = row0 + panel_copy_row(i);
        if (row >= a->m) row = a->m - 1; /* a row that is there; what becomes of it is not stored */
        i64 outer = row / a->rows[1], inner = row - outer * a->rows[1], first = outer / a->rows[0];
        at->left[i] = (const Value *)s->at + batch * a->a_batch + first * s->row[0] +
                      (outer - first * a->rows[0]) * s->row[1] + inner * s->row[2];
    }
}

/* To the next panel; into the next segment once this one is through. */
DEVICE void advance(Cursor *at, const MatmulArgs *a, i64 batch, i64 row0) {
    at->k += PANEL_DEPTH;
    if (at->k < at->depth) return;
    UNROLL
    for (int i = 0; i < PANEL_RIGHT; i++) at->right[i] += at->depth;
    if (++at->segment < a->segments) enter(at, a, batch, row0);
}

DEVICE void fetch(const Cursor *at, Value *left, Value *right) {
    UNROLL
    for (int i = 0; i < PANEL_LEFT; i++) panel_copy(left, i, at->left[i], at->k, at->depth, 1);
    UNROLL
    for (int i = 0; i < PANEL_RIGHT; i++) panel_copy(right, i, at->right[i], at->k, at->depth, 1);
    copy_commit();
}

/* In f32 two blocks on a multiprocessor: the compiler alone takes 194 registers a thread on sm_86 and 89, which leaves
 * one. In 16 bits it takes 128 by itself from sm_80 on; asked for two there it spills on sm_75. */
#ifdef LOAD_HALF
#define KERNEL_PANEL KERNEL
#else
#define KERNEL_PANEL(name, threads, Args, a) KERNEL_BLOCKS(name, threads, 2, Args, a)
#endif

/* grid: row panels, column panels, batches */
KERNEL_PANEL(matmul_panel, PANEL_THREADS, MatmulArgs, a) {
    SHARED(Value, left, 2 * PANEL_ROWS * PANEL_PITCH);
    SHARED(Value, right, 2 * PANEL_COLUMNS * PANEL_PITCH);
    i64 batch = block_z(), row0 = (i64)block_x() * PANEL_ROWS, column0 = (i64)block_y() * PANEL_COLUMNS;
    float sum[PANEL_SUMS];
    panel_clear(sum);
    Cursor at = {{0}, {0}, 0, 0, 0};
    UNROLL
    for (int i = 0; i < PANEL_RIGHT; i++) {
        i64 column = column0 + panel_copy_row(i);
        at.right[i] = (const Value *)a.b + batch * a.b_batch + (column < a.n ? column : a.n - 1) * a.b_column;
    }
    enter(&at, &a, batch, row0);
    fetch(&at, left, right);
    for (int stage = 0; at.segment < a.segments; stage ^= 1) {
        advance(&at, &a, batch, row0);
        if (at.segment < a.segments) {
            fetch(&at, left + (stage ^ 1) * PANEL_ROWS * PANEL_PITCH,
                  right + (stage ^ 1) * PANEL_COLUMNS * PANEL_PITCH);
            copy_wait(1);
        } else {
            copy_wait(0);
        }
        block_sync(); /* everybody's pieces are there */
        panel_product(sum, left + stage * PANEL_ROWS * PANEL_PITCH, right + stage * PANEL_COLUMNS * PANEL_PITCH);
        block_sync(); /* and have been used */
    }
    UNROLL
    for (int s = 0; s < PANEL_SUMS; s++) {
        i64 row = row0 + panel_row(s), column = column0 + panel_column(s);
        if (row >= a.m || column >= a.n) continue;
        float v = sum[s] + (a.bias ? a.bias[column] : 0);
#ifdef REGION_GENERATED
        region(batch * a.m + row, column, v, &a.places);
#else
        ((Result *)a.c)[batch * a.c_batch + row * a.c_row + column] = f32_result(v);
#endif
    }
}
