#include "tensor/ops/strip.h"

#ifndef PANUM_F64
#include "base/err.h"
#include "tensor/op.h"
#include "tensor/ops/strip_simd.h"

StripApply strip_apply_level(CpuLevel level) {
#if defined(__x86_64__)
    if (level == CPU_AVX512) return strip_apply_avx512;
    if (level == CPU_AVX2) return strip_apply_avx2;
#endif
    (void)level;
    return strip_apply_base;
}

static void store_past(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                       int64_t columns) {
    void (*store)(const float *, int64_t, float *, int64_t, int64_t, int64_t) = strip_past_base;
#if defined(__x86_64__)
    if (cpu_level() == CPU_AVX512) store = strip_past_avx512;
    if (cpu_level() == CPU_AVX2) store = strip_past_avx2;
#endif
    store(from, from_stride, to, to_stride, rows, columns);
}

/* One block of at most STRIP_FLOATS values; `at` holds where every value lies. */
typedef struct {
    const float *place;
    int64_t stride;
    bool splat, u8;
} Value;

static void run_block(StripApply apply, const StripProgram *program, const StripPlaces *places, unsigned past,
                      int64_t row, int64_t rows, int64_t column, int64_t columns, const float *tile,
                      int64_t tile_stride) {
    float temporary[STRIP_CODE_MAX][STRIP_FLOATS] __attribute__((aligned(64)));
    Value value[STRIP_VALUES_MAX];
    float *stored[STRIP_CODE_MAX] = {0};
    int64_t stored_stride[STRIP_CODE_MAX] = {0};
    for (int i = 0; i < program->operands; i++) {
        const StripOperand *o = &program->operand[i];
        Value *v = &value[i];
        *v = (Value){NULL, o->stride, o->kind == OPERAND_ROW || o->kind == OPERAND_SCALAR, o->u8};
        if (o->kind == OPERAND_TILE) {
            v->place = tile;
            v->stride = tile_stride;
            continue;
        }
        bool by_row = o->kind == OPERAND_FULL || o->kind == OPERAND_ROW;
        bool by_column = o->kind == OPERAND_FULL || o->kind == OPERAND_COLUMN;
        int64_t at = (by_row ? row * o->stride : 0) + (by_column ? column : 0);
        if (!by_row) v->stride = 0;
        v->place = o->u8 ? (const float *)(const void *)((const uint8_t *)places->operand[i] + at)
                         : (const float *)places->operand[i] + at;
    }
    for (int k = 0; k < program->outputs; k++) {
        const StripOutput *o = &program->output[k];
        int made = o->value - program->operands;
        float *to = places->output[k] + row * o->stride + column;
        if (made >= 0 && !(past & 1u << k)) {
            stored[made] = to;
            stored_stride[made] = o->stride;
        } else if (made < 0) { /* the tile itself is wanted too */
            StripIn in = {.a = value[o->value].place, .a_stride = value[o->value].stride, .p = 1};
            apply(FN_AFFINE, in, to, o->stride, rows, columns);
        }
    }
    for (int i = 0; i < program->instructions; i++) {
        const StripInstruction *n = &program->code[i];
        const Value *a = &value[n->a], *b = n->b >= 0 ? &value[n->b] : a;
        StripIn in = {a->place,  b->place,    (const uint8_t *)(const void *)a->place,
                      a->stride, b->stride,   a->splat,
                      b->splat,  (float)n->p, (float)n->q};
        float *to = stored[i] ? stored[i] : temporary[i];
        int64_t stride = stored[i] ? stored_stride[i] : columns;
        apply(n->function, in, to, stride, rows, columns);
        value[program->operands + i] = (Value){to, stride, false, false};
    }
    for (int k = 0; past && k < program->outputs; k++) {
        const StripOutput *o = &program->output[k];
        if (!(past & 1u << k)) continue;
        store_past(value[o->value].place, value[o->value].stride, places->output[k] + row * o->stride + column,
                   o->stride, rows, columns);
    }
}

void strip_run(const StripProgram *program, const StripPlaces *places, unsigned past, int64_t row, int64_t rows,
               int64_t column, int64_t columns, const float *tile, int64_t tile_stride) {
    static StripApply apply;
    if (!apply) apply = strip_apply_level(cpu_level());
    /* Rows that follow each other without a gap in every value are one long row. */
    bool dense = columns == program->columns && (tile_stride == columns || !tile);
    for (int i = 0; dense && i < program->operands; i++)
        dense = program->operand[i].kind == OPERAND_TILE || program->operand[i].kind == OPERAND_SCALAR ||
                (program->operand[i].kind == OPERAND_FULL && program->operand[i].stride == columns);
    if (dense) {
        StripProgram flat = *program; /* positions instead of rows: strides become 1 */
        for (int i = 0; i < flat.operands; i++) flat.operand[i].stride = 1;
        for (int i = 0; i < flat.outputs; i++) flat.output[i].stride = 1;
        int64_t from = row * columns, count = rows * columns;
        for (int64_t done = 0; done < count; done += STRIP_FLOATS) {
            int64_t n = count - done < STRIP_FLOATS ? count - done : STRIP_FLOATS;
            run_block(apply, &flat, places, past, from + done, 1, 0, n, tile ? tile + done : NULL, n);
        }
        if (past) stored_past();
        return;
    }
    for (int64_t c = 0; c < columns; c += STRIP_FLOATS) {
        int64_t width = columns - c < STRIP_FLOATS ? columns - c : STRIP_FLOATS, height = STRIP_FLOATS / width;
        for (int64_t r = 0; r < rows; r += height) {
            int64_t n = rows - r < height ? rows - r : height;
            run_block(apply, program, places, past, row + r, n, column + c, width,
                      tile ? tile + r * tile_stride + c : NULL, tile_stride);
        }
    }
    if (past) stored_past();
}

void strip_ask(const StripProgram *program, const StripPlaces *places, unsigned past, int64_t row, int64_t rows,
               int64_t column, int64_t columns) {
    KEEP_PREFETCH;
    for (int i = 0; i < program->operands; i++) {
        const StripOperand *o = &program->operand[i];
        if (o->kind != OPERAND_FULL || o->u8) continue;
        const float *from = (const float *)places->operand[i] + row * o->stride + column;
        for (int64_t r = 0; r < rows; r++, from += o->stride)
            for (int64_t c = 0; c < columns; c += 16) __builtin_prefetch(from + c, 0, 2);
    }
    for (int k = 0; k < program->outputs; k++) {
        if (past & 1u << k) continue;
        const float *to = places->output[k] + row * program->output[k].stride + column;
        for (int64_t r = 0; r < rows; r++, to += program->output[k].stride)
            for (int64_t c = 0; c < columns; c += 16) __builtin_prefetch(to + c, 1, 2);
    }
}

typedef struct {
    const StripProgram *program;
    const StripPlaces *places;
    int64_t rows_a_tile;
} AllRows;

static void run_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const AllRows *all = context;
    int64_t row = tile * all->rows_a_tile, left = all->program->rows - row;
    strip_run(all->program, all->places, 0, row, left < all->rows_a_tile ? left : all->rows_a_tile, 0,
              all->program->columns, NULL, 0);
}

void strip_run_all(Pool *pool, const StripProgram *program, const StripPlaces *places) {
    /* about 200 microseconds a tile when the values come from memory */
    const int64_t floats = 256 << 10;
    AllRows all = {program, places, floats / (program->columns * (program->instructions + 1)) + 1};
    pool_run(pool, (program->rows + all.rows_a_tile - 1) / all.rows_a_tile, run_tile, &all);
}
#endif
