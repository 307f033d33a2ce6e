/* tensor/ops/ncc_half.h - what ncc.c and ncc_reference.c share: checks and the halved grey pictures. */
#ifndef PANUM_TENSOR_OPS_NCC_HALF_H
#define PANUM_TENSOR_OPS_NCC_HALF_H
#include "tensor/ops/ncc.h"

/* A grey level is the sum of a pixel's four by three bytes: an integer 0..NCC_GREY_MAX, less `centre`. */
enum { NCC_GREY_MAX = 12 * 255 };

typedef struct {
    int width, height; /* of the half-size pictures; may be 0 */
    int64_t pitch;
    int16_t *grey[2]; /* left, right: at pixel (0, 0); zeros all around, `pad` columns and `rows` rows */
    int16_t *block;   /* what to free */
    size_t bytes;
} NccHalf;

int ncc_check(int width, int height, int channels);
int ncc_half_make(NccHalf *half, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
                  int pad, int rows, int centre);
#endif
