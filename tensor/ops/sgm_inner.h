/* tensor/ops/sgm_inner.h - what the parts of semi-global matching share; nobody else includes it.
 *
 * Layout. Everything that runs over disparities lies innermost: cost[x][k] with k = d - lo, padded to `stride`, a
 * multiple of 32; padding costs 255 and can therefore never win. Costs and path values are bytes, sums 16 bits.
 *
 * A path value is kept relative to its pixel's smallest, L'(k) = L(k) - min L, so that the recursion is
 *     L(k) = C(k) + min(L'prev(k), L'prev(k-1) + P1, L'prev(k+1) + P1, P2)
 * in saturating bytes: C <= SGM_COST_MAX and P2 <= 255 - SGM_COST_MAX keep every real value below 255. */
#ifndef PANUM_TENSOR_OPS_SGM_INNER_H
#define PANUM_TENSOR_OPS_SGM_INNER_H
#include "tensor/ops/sgm.h"

enum {
    SGM_GREY_MAX = 24,     /* grey difference beyond which a match is simply wrong */
    SGM_COST_OUTSIDE = 40, /* a match outside the other picture */
    SGM_COST_MAX = 62 + SGM_GREY_MAX,
    SGM_PAD = 32, /* bytes of 255 before and after each path vector, so that k-1 and k+1 can be read */
};

/* One row's features: what the cost compares. Right rows lie mirrored, so that growing d reads forward. */
typedef struct {
    const uint64_t *census; /* 62 comparisons of a 9x7 window */
    const uint8_t *grey;
} SgmFeatures;

/* The four paths of one pass (towards the pixel: along the row, and the three of the row before). The backward pass is
 * the forward pass of the picture turned by 180 degrees: x and y below count in that turned picture. */
typedef struct {
    int stride;             /* disparities, padded */
    int first, count;       /* pixels first .. first+count-1 along the pass */
    const uint8_t *cost;    /* of pixel 0 along the pass; next pixel is cost_step bytes further */
    ptrdiff_t cost_step;    /* +stride or -stride */
    const uint16_t *before; /* sums of the other pass at pixel 0 (same step), or NULL: start from zero */
    uint16_t *sum;          /* sums written, of pixel 0 (same step) */
    uint8_t *along;         /* path state of the row itself, SGM_PAD + stride + SGM_PAD bytes */
    uint8_t *slots[3];      /* rings of path states: from the left above, above, right above */
    int slot[3];            /* ring position of pixel `first` */
    int ring;               /* positions in each ring; positions grow with x */
    const uint8_t *p2[4];   /* P2 of pixel 0.. for each path, in the order along, left above, above, right above */
    uint8_t p1;
} SgmSpan;

typedef struct {
    void (*cost)(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *cost);
    void (*paths)(const SgmSpan *span);
    /* Winner of each pixel of a row of sums: k of the smallest sum (first of equals), and of the smallest outside
     * k-1..k+1 its value. right_best[x_right]: the same k seen from the right picture (-1 where no pixel points). */
    void (*choose)(const uint16_t *sum, int width, int lo, int count, int stride, int16_t *best, uint16_t *second,
                   int16_t *right_best, uint16_t *scratch);
} SgmKernels;

extern const SgmKernels sgm_kernels_plain;
const SgmKernels *sgm_kernels(void); /* the fastest this processor may use */
#endif
