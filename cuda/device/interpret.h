/* cuda/device/interpret.h - a pointwise region read as a program instead of being compiled: the function `region` of
 * kernels that are compiled with -DREGION_INTERPRETED, before anybody knows which regions a network will have. It
 * computes what the generated text of the same region does (cuda/region.c), in the same order; all threads take the
 * same branches. Its values lie in local memory, so it is for machines that cannot compile. f32 only. */
#ifndef PANUM_CUDA_DEVICE_INTERPRET_H
#define PANUM_CUDA_DEVICE_INTERPRET_H
#include "cuda/device/pointwise.h"
#include "cuda/kernels/region.h"

/* Not inlined: kernels have several places that store a result. */
DEVICE_CALLED float region_function(int function, float x, float y, float p, float q) {
    (void)x, (void)y, (void)p, (void)q;
    switch (function) {
#define REGION_CASE(name, arguments) \
    case REGION_##name:              \
        return fn_##name arguments;
        REGION_FUNCTIONS(REGION_CASE)
    }
    return 0;
}

DEVICE float region_operand(const RegionPlaces *p, const RegionOperand *operand, int i, i64 row, i64 column,
                            float tile) {
    i64 at = 0;
    if (operand->kind == REGION_TILE) return tile;
    if (operand->kind == REGION_FULL || operand->kind == REGION_ROW) at = row * p->operand_stride[i];
    if (operand->kind == REGION_FULL || operand->kind == REGION_COLUMN) at += column;
    if (operand->bytes) return ((const u8 *)p->operand[i])[at];
    return ((const float *)p->operand[i])[at];
}

DEVICE_CALLED void region(i64 row, i64 column, float tile, const RegionPlaces *p) {
    const RegionCode *code = p->code;
    float v[REGION_OPERANDS + REGION_STEPS];
    int n = code->operands;
    for (int i = 0; i < n; i++) v[i] = region_operand(p, &code->operand[i], i, row, column, tile);
    for (int i = 0; i < code->steps; i++) {
        const RegionStep *s = &code->step[i];
        v[n + i] = region_function(s->function, v[s->a], v[s->b], s->p, s->q);
    }
    for (int i = 0; i < code->outputs; i++) p->output[i][row * p->output_stride[i] + column] = v[code->output[i]];
}
#endif
