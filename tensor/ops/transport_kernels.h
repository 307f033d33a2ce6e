/* tensor/ops/transport_kernels.h - the vector part of transport.c: one image row at a time, resident in the L2 cache.
 *
 * The iterations are those of transport.c without logarithms. With c_j = max(0, max_i S_ij) the largest score of column
 * j (the dustbin's 0 among them) and E_ij = exp(S_ij - c_j) in (0, 1], everything scaled by 2w, they read b_j = 1 /
 * sum_i a_i E_ij, dustbin column b_w = w / sum_i a_i;   a_i = 1 / (sum_j E_ij b_j + b_w), dustbin row w / (...) with a
 * = 1 at the start: b_j stands for exp(v_j + c_j) and a_i for exp(u_i). The plan is p_ij = a_i E_ij b_j. So there is
 * one exponential for each element, and each iteration is one pass over the rows in which a row's sum and its share of
 * the column sums are taken while it is in L1. The last pass takes arg max, confidence, disparity and occlusion from
 * the row; the plan is never written.
 *
 * No sum can come near underflow, however sharp the scores are, so nothing has to be done again with true maxima: the
 * dustbin column is all ones, so a_i <= 1/b_w, and b_w is at worst halved by an iteration; every column of E holds a
 * one, in a row i with a_i >= 1/(sum of all b), so no b_j grows by more than w + 1 in an iteration. At three iterations
 * and 8,192 columns an E_ij that underflows belongs to a p_ij below 1e-25, which no result can show.
 *
 * Should compute: one exponential and 7 multiply-adds or maxima for each element at three iterations. Should move: the
 * scores twice (the second time from L2), E written once and read once for each iteration, in L2: w^2 floats a worker.
 */
#ifndef PANUM_TENSOR_OPS_TRANSPORT_KERNELS_H
#define PANUM_TENSOR_OPS_TRANSPORT_KERNELS_H
#include "base/cpu.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t w, stride; /* of the scores, in floats */
    bool positive;
    int iterations;
} TransportRow;

/* Where a loss comes from: either the three results of transport (any of them NULL), or masses near candidates: w times
 * `candidates` centre columns (TRANSPORT_NONE: no candidate) of windows of 2 radius + 1 columns. All by left column. */
typedef struct {
    const float *d_disparity, *d_confidence, *d_occlusion;
    const int32_t *candidate;
    int candidates, radius;
    const float *d_mass;
} TransportLoss;
#define TRANSPORT_NONE INT32_MIN

/* One image row at a time; scores [w][w] row by row. */
typedef struct {
    /* To three times w results. `work` is transport_work_floats(w) floats. */
    void (*row)(const TransportRow *row, const float *scores, float *work, float *disparity, float *confidence,
                float *occlusion);
    /* To w masses: sums of the plan over the union of the windows round the candidates; same work. */
    void (*mass)(const TransportRow *row, const float *scores, const TransportLoss *near, float *work, float *mass);
    /* To w*w scores' gradients, dense. `work` is transport_back_floats(w, iterations) floats. See
     * transport_gradient.c. */
    void (*backward)(const TransportRow *row, const float *scores, const TransportLoss *loss, float *work,
                     float *d_scores);
} TransportKernels;
const TransportKernels *transport_kernels(CpuLevel level);
extern const TransportKernels transport_kernels_base, transport_kernels_avx2, transport_kernels_avx512;

/* Floats from one row of E to the next: whole vectors of any level, an odd number of cache lines. */
static inline int64_t transport_line(int64_t w) {
    return (w + 31) / 32 * 32 + 16;
}
static inline int64_t transport_work_floats(int64_t w) {
    return (w + 5) * transport_line(w);
}
static inline int64_t transport_back_floats(int64_t w, int iterations) {
    return (w + 3 + 4 * iterations + 1 + 4) * transport_line(w);
}
#endif
