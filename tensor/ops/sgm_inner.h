/* tensor/ops/sgm_inner.h - what the parts of semi-global matching share; nobody else includes it.
 *
 * Layout. Everything that runs over disparities lies innermost: cost[x][k] with k = d - lo, padded to `stride`, a
 * multiple of 32; padding costs 255 and can therefore never win. Costs and path values are bytes, sums 16 bits.
 * The right picture's rows lie mirrored (place W-1-x), so that a growing disparity reads forward.
 *
 * A path value is kept relative to its pixel's smallest, L'(k) = L(k) - min L, so that the recursion is
 *     L(k) = C(k) + min(L'prev(k), L'prev(k-1) + P1, L'prev(k+1) + P1, P2)
 * in saturating bytes. C <= SGM_COST_MAX and P2 <= SGM_P2_MAX = 255 - SGM_COST_MAX keep every real value from
 * saturating, and min L <= SGM_COST_MAX since some L'prev is 0; so what lies beyond the range (255, or 255 - min L once
 * it has been through a step) never undercuts P2, and no kernel needs to treat the ends of the range specially. */
#ifndef PANUM_TENSOR_OPS_SGM_INNER_H
#define PANUM_TENSOR_OPS_SGM_INNER_H
#include "tensor/ops/sgm.h"

enum {
    SGM_CENSUS_BITS = 31, /* every other neighbour of a 9 x 7 window */
    SGM_LEVEL_MAX = 24,   /* grey difference beyond which a match is simply wrong */
    SGM_COST_MAX = SGM_CENSUS_BITS + SGM_LEVEL_MAX / 2,
    SGM_COST_OUTSIDE = 20, /* a match outside the other picture */
    SGM_P2_MAX = 255 - SGM_COST_MAX,
    SGM_PAD = 64, /* bytes before and after vectors and rows, so that a kernel may read a vector's width beyond */
};

/* One row of what the cost compares; readable SGM_PAD bytes beyond both ends. */
typedef struct {
    const uint8_t *census[4]; /* bits 0-7, 8-15, 16-23, 24-30 */
    const uint8_t *level;     /* grey, the right eye's brought to the left one's tone */
} SgmFeatures;

/* A piece of a row for the four paths of one pass: along the row, and from the row before: left above, above, right
 * above. The backward pass is the forward pass of the picture turned by 180 degrees: pixels count in that picture. */
typedef struct {
    int stride;             /* disparities, padded */
    int first, count;       /* pixels first .. first+count-1 along the pass */
    const uint8_t *cost;    /* of pixel 0 along the pass; next pixel is `step` values further */
    ptrdiff_t step;         /* +stride or -stride, of cost, before and sum */
    const uint16_t *before; /* sums of the other pass at pixel 0, or NULL: start from zero */
    uint16_t *sum;          /* sums written, at pixel 0; may be `before` */
    uint8_t *along;         /* state of the path along the row */
    uint8_t *slots[3];      /* first state of each ring of path states */
    int slot[3];            /* ring place of pixel `first`; places grow with x */
    int ring;               /* places in each ring, `state` bytes apart, SGM_PAD bytes of 255 before and after each */
    size_t state;
    const uint8_t *p2[4]; /* P2 of pixel 0.. for each path */
    uint8_t p1;
} SgmSpan;

/* A row's winners. The right arrays lie mirrored and are written SGM_RANGE_MAX + SGM_PAD places beyond both ends. */
typedef struct {
    uint16_t *best;       /* k of the smallest sum, the first of equals */
    uint16_t *margin;     /* smallest sum outside best-1..best+1 less the smallest; 65535 where there is none */
    uint16_t *right_sum;  /* smallest sum of each right pixel, 65535 where no pixel points */
    uint16_t *right_best; /* its k; meaningless where right_sum is 65535 */
} SgmWinners;

typedef struct {
    /* cost[x * stride + k] = Hamming distance of the censuses + half the level difference (capped, rounded up). */
    void (*cost)(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *cost);
    void (*paths)(const SgmSpan *span);
    /* right_sum comes filled with 65535. */
    void (*choose)(const uint16_t *sum, int width, int lo, int count, int stride, const SgmWinners *winners);
} SgmKernels;

/* Both eyes as grey pictures for the search: level[eye] points at pixel (0, 0), rows `pitch` bytes apart, each repeated
 * SGM_PAD pixels beyond its ends. The right one lies mirrored and in the left one's tone. */
typedef struct {
    int width, height;
    size_t pitch;
    uint8_t *level[2];
    uint8_t *block; /* what to free */
} SgmEyes;

/* What the search finds, width x height each; d = lo + found / SGM_UNIT. */
enum { SGM_UNIT = 16 }; /* SGM_UNIT * SGM_RANGE_MAX fits 15 bits */
typedef struct {
    int lo, hi;
    uint16_t *found;  /* winner with sub-pixel part */
    uint16_t *margin; /* as SgmWinners */
    uint16_t *right;  /* k of the right pixel's winner, mirrored rows; SGM_NONE where no pixel points */
    uint16_t *block;
} SgmFound;
enum { SGM_NONE = UINT16_MAX };

int sgm_eyes_make(SgmEyes *eyes, int width, int height);
void sgm_eyes_pad(SgmEyes *eyes); /* repeats the border pixels */
void sgm_eyes_drop(SgmEyes *eyes);
int sgm_found_make(SgmFound *found, int width, int height, int lo, int hi);
void sgm_found_drop(SgmFound *found);

/* Searches lo..hi of `found` (made) with the given kernels; the volumes take at most about `memory` bytes. */
int sgm_search(Pool *pool, const SgmKernels *kernels, const SgmEyes *eyes, size_t memory, SgmFound *found);
size_t sgm_search_memory(int width, int height, int lo, int hi, size_t memory, int threads);

/* Checks, fills and smooths what was found. confidence and occlusion may be NULL. */
int sgm_finish(Pool *pool, const SgmEyes *eyes, const SgmFound *found, float *disparity, float *confidence,
               float *occlusion);
size_t sgm_finish_memory(int width, int height);

extern const SgmKernels sgm_kernels_plain, sgm_kernels_avx2, sgm_kernels_avx512; /* the latter two on x86_64 only */
const SgmKernels *sgm_kernels(void); /* the fastest this processor may use */
/* sgm_match on chosen kernels, for tests. */
int sgm_match_with(const SgmKernels *kernels, Pool *pool, const uint8_t *left, const uint8_t *right, int width,
                   int height, int channels, const SgmOptions *options, float *disparity, float *confidence,
                   float *occlusion, SgmReport *report);
#endif
