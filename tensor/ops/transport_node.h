/* tensor/ops/transport_node.h - what transport.c, transport_gradient.c and launchers share: where a row of the volume
 * lies, the potentials by definition, attributes. */
#ifndef PANUM_TENSOR_OPS_TRANSPORT_NODE_H
#define PANUM_TENSOR_OPS_TRANSPORT_NODE_H
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include <math.h>

/* Wide enough for pictures of 32,768 columns; the definitions keep their potentials on the stack. */
enum { TRANSPORT_WIDTH_MAX = 8192, TRANSPORT_ITERATIONS_MAX = 10, ARGMAX_RADIUS = 2 };
#define MASKED_SCORE (-1e4)
#define ARGMAX_EPS 1e-4

/* First score of image row y of pair n. The volume is spoken (N,h,w,w), or (h,w,w) for one pair. */
static inline int64_t volume_line(const Tensor *cv, int64_t n, int64_t y) {
    return cv->rank == 4 ? n * cv->stride[0] + y * cv->stride[1] : y * cv->stride[0];
}

/* Scores of one image row as the definitions see them, dustbins (index w) and mask included. */
typedef struct {
    const real *score;
    int64_t w, stride;
    bool positive;
} TransportScores;

static inline double transport_score(const TransportScores *s, int64_t i, int64_t j) {
    if (i == s->w || j == s->w) return 0;
    return s->positive && j > i ? MASKED_SCORE : (double)s->score[i * s->stride + j];
}

static inline double transport_marginal(const TransportScores *s, int64_t k) {
    return log(k < s->w ? 0.5 / (double)s->w : 0.5);
}

/* v and u after `iterations` (at least 1), and the u that the last v was made from (`before`, or NULL); w + 1 each. */
static inline void transport_potentials(const TransportScores *s, int iterations, double *before, double *v,
                                        double *u) {
    const int64_t w = s->w;
    for (int64_t i = 0; i <= w; i++) u[i] = 0;
    for (int iteration = 0; iteration < iterations; iteration++) {
        for (int64_t i = 0; before && i <= w; i++) before[i] = u[i];
        for (int side = 0; side < 2; side++) { /* v from u, then u from v */
            const double *known = side ? v : u;
            double *wanted = side ? u : v;
            for (int64_t a = 0; a <= w; a++) {
                double largest = -INFINITY, sum = 0;
                for (int64_t b = 0; b <= w; b++)
                    largest = fmax(largest, transport_score(s, side ? a : b, side ? b : a) + known[b]);
                for (int64_t b = 0; b <= w; b++)
                    sum += exp(transport_score(s, side ? a : b, side ? b : a) + known[b] - largest);
                wanted[a] = transport_marginal(s, a) - (largest + log(sum));
            }
        }
    }
}

/* Attributes of transport_mass and transport_backward. Inputs of transport_mass: scores, disparity, valid; of the
 * gradient: the same and d(mass), or scores and what is given of d(disparity), d(confidence), d(occlusion). */
typedef struct {
    TransportOptions options;
    bool mass;                  /* the loss comes through transport_mass */
    bool given[3];              /* which of disparity, confidence, occlusion it comes from otherwise */
    int radius, factor;         /* of transport_mass */
    int64_t pairs, rows, width; /* N, h, w */
} TransportBackward;
enum { FACTOR_MAX = 8 };

/* Transport's gradient (transport_gradient.c). */
void transport_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
#endif
