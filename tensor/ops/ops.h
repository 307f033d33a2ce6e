/* tensor/ops/ops.h - every operator as a model writes it: t_ + PyTorch's name. Shapes in the comments are spoken
 * shapes. Optional arguments are named fields of an options struct; all zero is PyTorch's default. Each is a macro over
 * t_..._at, so that a wrong shape names the line of the model. */
#ifndef PANUM_TENSOR_OPS_H
#define PANUM_TENSOR_OPS_H
#include "tensor/program.h"

#define T_HERE __FILE__, __LINE__
#define T_AT const char *file, int line

/* ---- pointwise (pointwise.c): operands have the same shape, or one has size 1 along C (a map times features), or is a
 * [C] vector along the channel axis, or is [1]; known scalars are arguments ---- */
typedef enum {
    FN_RELU,
    FN_GELU,
    FN_SIGMOID,
    FN_TANH,
    FN_EXP,
    FN_LOG,
    FN_SQUARE,
    FN_SQRT,
    FN_ABS,
    FN_AFFINE,   /* p x + q */
    FN_CLAMP,    /* min(max(x, p), q); NaN passes */
    FN_ABOVE,    /* x > p ? 1 : 0 */
    FN_AT_LEAST, /* x >= p ? 1 : 0 */
    FN_LOGIT,    /* ln(c/(1-c)), c = x clamped to [p, 1-p] */
    FN_FROM_U8,  /* u8 to real: p x + q */
    FN_ADD,
    FN_SUB,
    FN_MUL,
    FN_DIV,
    FN_MAX,
    FN_MIN,
    /* Gradients of the above: x times the derivative of f, which is a function of y: of f's argument or of its value.
     */
    FN_RELU_GRADIENT,    /* y > 0 ? x : 0; y may be either */
    FN_GELU_GRADIENT,    /* argument */
    FN_SIGMOID_GRADIENT, /* x y (1 - y); value */
    FN_TANH_GRADIENT,    /* x (1 - y^2); value */
    FN_SQRT_GRADIENT,    /* x / 2y; value */
    FN_ABS_GRADIENT,     /* y > 0 ? x : y < 0 ? -x : 0; argument */
    FN_CLAMP_GRADIENT,   /* p <= y <= q ? x : 0; argument */
    FN_LOGIT_GRADIENT,   /* p <= y <= 1-p ? x / (y (1 - y)) : 0; argument */
    FN_LARGER_GRADIENT,  /* y > 0 ? x : y = 0 ? x/2 : 0; y is by how much this operand of max is the larger */
    FN_COUNT,
} PointwiseFunction;
Tensor *t_unary_at(PointwiseFunction function, Tensor *x, double p, double q, T_AT);
Tensor *t_binary_at(PointwiseFunction function, Tensor *x, Tensor *y, T_AT);
#define t_relu(x) t_unary_at(FN_RELU, x, 0, 0, T_HERE)
#define t_gelu(x) t_unary_at(FN_GELU, x, 0, 0, T_HERE) /* exact: x/2 (1 + erf(x/sqrt 2)) */
#define t_sigmoid(x) t_unary_at(FN_SIGMOID, x, 0, 0, T_HERE)
#define t_tanh(x) t_unary_at(FN_TANH, x, 0, 0, T_HERE)
#define t_exp(x) t_unary_at(FN_EXP, x, 0, 0, T_HERE)
#define t_log(x) t_unary_at(FN_LOG, x, 0, 0, T_HERE)
#define t_square(x) t_unary_at(FN_SQUARE, x, 0, 0, T_HERE)
#define t_sqrt(x) t_unary_at(FN_SQRT, x, 0, 0, T_HERE)
#define t_abs(x) t_unary_at(FN_ABS, x, 0, 0, T_HERE)
#define t_affine(x, scale, shift) t_unary_at(FN_AFFINE, x, scale, shift, T_HERE)
#define t_clamp(x, low, high) t_unary_at(FN_CLAMP, x, low, high, T_HERE)
#define t_above(x, p) t_unary_at(FN_ABOVE, x, p, 0, T_HERE)
#define t_at_least(x, p) t_unary_at(FN_AT_LEAST, x, p, 0, T_HERE)
#define t_logit(x, eps) t_unary_at(FN_LOGIT, x, eps, 0, T_HERE)
#define t_from_u8(x, scale, shift) t_unary_at(FN_FROM_U8, x, scale, shift, T_HERE)
#define t_add(x, y) t_binary_at(FN_ADD, x, y, T_HERE)
#define t_sub(x, y) t_binary_at(FN_SUB, x, y, T_HERE)
#define t_mul(x, y) t_binary_at(FN_MUL, x, y, T_HERE)
#define t_div(x, y) t_binary_at(FN_DIV, x, y, T_HERE)
#define t_max(x, y) t_binary_at(FN_MAX, x, y, T_HERE)
#define t_min(x, y) t_binary_at(FN_MIN, x, y, T_HERE)

/* x repeated to the shape of `like`, by the same rule. */
Tensor *t_expand_at(Tensor *x, const Tensor *like, T_AT);
#define t_expand(x, like) t_expand_at(x, like, T_HERE)

/* ---- sums (reduce.c), in double, in an order that depends on the shape only ---- */
Tensor *t_sum_at(Tensor *x, T_AT); /* of everything: [1] */
#define t_sum(x) t_sum_at(x, T_HERE)
Tensor *t_mean_at(Tensor *x, T_AT);
#define t_mean(x) t_mean_at(x, T_HERE)
Tensor *t_sum_channels_at(Tensor *x, T_AT); /* (N,C,H,W) -> (N,1,H,W); (..., C) -> (..., 1) */
#define t_sum_channels(x) t_sum_channels_at(x, T_HERE)
Tensor *t_sum_positions_at(Tensor *x, T_AT); /* over everything but the channels: [C] */
#define t_sum_positions(x) t_sum_positions_at(x, T_HERE)

/* ---- views and copies (move.c) ---- */
Tensor *t_slice_at(Tensor *x, int axis, int64_t start, int64_t count, T_AT); /* a view */
#define t_slice(x, axis, start, count) t_slice_at(x, axis, start, count, T_HERE)
/* A copy, unless the plan lets its reader take the parts as segments. */
Tensor *t_cat_at(int axis, int count, Tensor *const *x, T_AT);
#define t_cat(axis, ...) \
    t_cat_at(axis, (int)(sizeof((Tensor *[]){__VA_ARGS__}) / sizeof(Tensor *)), (Tensor *[]){__VA_ARGS__}, T_HERE)
/* Maps to tokens and back, as views: (N,C,H,W) -> (N, H*W, C); by rows -> (N*H, W, C); (B,T,C) -> (n,C,h,w). */
Tensor *t_tokens_at(Tensor *x, T_AT);
#define t_tokens(x) t_tokens_at(x, T_HERE)
Tensor *t_row_tokens_at(Tensor *x, T_AT);
#define t_row_tokens(x) t_row_tokens_at(x, T_HERE)
Tensor *t_map_at(Tensor *tokens, int64_t n, int64_t h, int64_t w, T_AT);
#define t_map(tokens, n, h, w) t_map_at(tokens, n, h, w, T_HERE)
Tensor *t_reshape_at(Tensor *x, int rank, const int64_t *size, T_AT); /* of a row-major tensor: a row-major view */
#define t_reshape(x, rank, ...) t_reshape_at(x, rank, __VA_ARGS__, T_HERE)
Tensor *t_transpose_at(Tensor *x, T_AT); /* (B,M,N) -> (B,N,M): a view */
#define t_transpose(x) t_transpose_at(x, T_HERE)
/* The same numbers, but no gradient flows back through it: a view. */
Tensor *t_detach_at(Tensor *x, T_AT);
#define t_detach(x) t_detach_at(x, T_HERE)
/* x with zeros before and after it along an axis, `size` long then. */
Tensor *t_pad_zeros_at(Tensor *x, int axis, int64_t before, int64_t size, T_AT);
#define t_pad_zeros(x, axis, before, size) t_pad_zeros_at(x, axis, before, size, T_HERE)
/* x itself when it is dense and its axes lie in memory in the order of `like`'s; otherwise a copy that is. */
Tensor *t_dense_at(Tensor *x, const Tensor *like, T_AT);
#define t_dense(x, like) t_dense_at(x, like, T_HERE)
/* Filled with one number, in the layout of `like`. */
Tensor *t_fill_at(const Tensor *like, double value, T_AT);
#define t_fill(like, value) t_fill_at(like, value, T_HERE)
/* (N,1,h,w) holding the column number of each pixel. */
Tensor *t_column_index_at(Tensor *like, T_AT);
#define t_column_index(like) t_column_index_at(like, T_HERE)

/* ---- convolution (conv.c, conv_transpose.c) and matrix products (linear.c, matmul.c) ---- */
typedef struct {
    int stride;       /* 0 means 1 */
    int pad_h, pad_w; /* zeros on each side */
} ConvOptions;
/* x (N,Ci,H,W), weight [Co,Ci,kh,kw], bias [Co] or NULL -> (N,Co,H',W'), H' = floor((H + 2 pad_h - kh)/stride) + 1;
 * cross-correlation. */
Tensor *t_conv2d_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, T_AT);
#define t_conv2d(x, weight, bias, ...) t_conv2d_at(x, weight, bias, (ConvOptions){__VA_ARGS__}, T_HERE)
/* weight [Ci,Co,kh,kw] -> H' = (H-1) stride + kh - 2 pad. */
Tensor *t_conv_transpose2d_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, T_AT);
#define t_conv_transpose2d(x, weight, bias, ...) \
    t_conv_transpose2d_at(x, weight, bias, (ConvOptions){__VA_ARGS__}, T_HERE)
/* x (..., Ci), weight [Co,Ci], bias [Co] or NULL -> (..., Co). */
Tensor *t_linear_at(Tensor *x, Tensor *weight, Tensor *bias, T_AT);
#define t_linear(x, weight, bias) t_linear_at(x, weight, bias, T_HERE)
/* a (B,M,K), b (B,N,K) -> (B,M,N), a times b transposed: scores and correlation volumes. */
Tensor *t_matmul_nt_at(Tensor *a, Tensor *b, T_AT);
#define t_matmul_nt(a, b) t_matmul_nt_at(a, b, T_HERE)
/* a (B,M,K), b (B,K,N) -> (B,M,N). */
Tensor *t_matmul_at(Tensor *a, Tensor *b, T_AT);
#define t_matmul(a, b) t_matmul_at(a, b, T_HERE)

/* ---- normalisation (norm.c, softmax.c); "channels" is the last axis of tokens, C of maps ---- */
Tensor *t_layer_norm_at(Tensor *x, Tensor *weight, Tensor *bias, double eps, T_AT); /* over channels; [C] or NULL */
#define t_layer_norm(x, weight, bias, eps) t_layer_norm_at(x, weight, bias, eps, T_HERE)
Tensor *t_group_norm_at(Tensor *x, int groups, Tensor *weight, Tensor *bias, double eps, T_AT);
#define t_group_norm(x, groups, weight, bias, eps) t_group_norm_at(x, groups, weight, bias, eps, T_HERE)
Tensor *t_softmax_at(Tensor *x, T_AT); /* over channels */
#define t_softmax(x) t_softmax_at(x, T_HERE)

/* ---- attention (attention.c): softmax(q k^T / sqrt e) v by heads, e = C/heads; q (B,T,C), k and v (B,S,C) -> (B,T,C).
 * Never writes the score table on the fast path. ---- */
typedef struct {
    int heads;
    bool swap_halves; /* batch b of q meets batch (b + B/2) mod B of k and v: left looks at right and right at left */
} AttentionOptions;
Tensor *t_attention_at(Tensor *q, Tensor *k, Tensor *v, AttentionOptions options, T_AT);
#define t_attention(q, k, v, ...) t_attention_at(q, k, v, (AttentionOptions){__VA_ARGS__}, T_HERE)
/* The same over a grid of h x w tokens plus S2M2's relative position term (attention.c): per head it adds
 * Wpe (sum_j A_ij P(i,j)) + bpe; pe_weight [C/heads, 32], pe_bias [C/heads]; the tables are constants of h and w. */
Tensor *t_attention_relative_at(Tensor *q, Tensor *k, Tensor *v, Tensor *pe_weight, Tensor *pe_bias, int heads,
                                int64_t h, int64_t w, T_AT);
#define t_attention_relative(q, k, v, pe_weight, pe_bias, heads, h, w) \
    t_attention_relative_at(q, k, v, pe_weight, pe_bias, heads, h, w, T_HERE)

/* ---- resampling (resample.c) ---- */
Tensor *t_avg_pool2_at(Tensor *x, T_AT); /* mean of 2x2, stride 2; an odd last row or column is dropped */
#define t_avg_pool2(x) t_avg_pool2_at(x, T_HERE)
Tensor *t_adaptive_avg_pool_at(Tensor *x, int64_t h, int64_t w,
                               T_AT); /* PyTorch's cells: floor(iH/h) .. ceil((i+1)H/h) */
#define t_adaptive_avg_pool(x, h, w) t_adaptive_avg_pool_at(x, h, w, T_HERE)
Tensor *t_resize_bilinear_at(Tensor *x, int64_t h, int64_t w, T_AT); /* half-pixel centres, edges replicated */
#define t_resize_bilinear(x, h, w) t_resize_bilinear_at(x, h, w, T_HERE)
Tensor *t_upsample2_nearest_at(Tensor *x, T_AT);
#define t_upsample2_nearest(x) t_upsample2_nearest_at(x, T_HERE)
/* Means over kernel x kernel windows (box.c), zeros around: H' = floor((H + 2 pad - kernel)/stride) + 1. */
typedef struct {
    int kernel;
    int stride;       /* 0 means kernel */
    int pad;          /* on each side, at most kernel/2 */
    bool exclude_pad; /* divide by the places of the window that lie in the map, not by kernel^2 */
} AvgPoolOptions;
Tensor *t_avg_pool2d_at(Tensor *x, AvgPoolOptions options, T_AT);
#define t_avg_pool2d(x, ...) t_avg_pool2d_at(x, (AvgPoolOptions){__VA_ARGS__}, T_HERE)
/* x (N,C,H,W) read bilinearly at grid (N,2,H',W'): x and y, -1..1 across the picture -> (N,C,H',W') (sample.c). */
typedef struct {
    bool border;        /* positions outside are held at the border; otherwise it is zero there */
    bool align_corners; /* -1 and 1 are the centres of the outermost pixels; otherwise their outer edges */
} GridSampleOptions;
Tensor *t_grid_sample_at(Tensor *x, Tensor *grid, GridSampleOptions options, T_AT);
#define t_grid_sample(x, grid, ...) t_grid_sample_at(x, grid, (GridSampleOptions){__VA_ARGS__}, T_HERE)
/* x (N,C,H,W) read along its own rows at column - disparity (N,1,H,W), linearly: the right picture as the left eye
 * would see it. */
typedef struct {
    bool border; /* as above */
} WarpOptions;
typedef struct {
    Tensor *picture; /* (N,C,H,W) */
    Tensor *inside;  /* (N,1,H,W): 1 where 0 < column - disparity < W - 1, else 0; no gradient */
} WarpedRows;
WarpedRows t_warp_rows_at(Tensor *x, Tensor *disparity, WarpOptions options, T_AT);
#define t_warp_rows(x, disparity, ...) t_warp_rows_at(x, disparity, (WarpOptions){__VA_ARGS__}, T_HERE)

/* ---- stereo (transport.c, lookup.c, convex.c) ---- */
/* Optimal transport over each row of a correlation volume cv (N,h,w,w) [left column i, right column j], row-major, then
 * the soft arg-max on its plan (transport.c). Each result is (N,1,h,w). */
typedef struct {
    bool positive;  /* j > i is masked: only d >= 0 */
    int iterations; /* of Sinkhorn; 0 means 3 */
} TransportOptions;
typedef struct {
    Tensor *disparity, *confidence, *occlusion;
} Transport;
Transport t_transport_at(Tensor *cv, TransportOptions options, T_AT);
#define t_transport(cv, ...) t_transport_at(cv, (TransportOptions){__VA_ARGS__}, T_HERE)
/* How much of the plan of the same cv lies near known disparities: the sum of each row over the union of the columns
 * within `radius` of i - round(D/factor), D the disparities of the factor x factor pixels under it that are valid (> 0)
 * and finite; disparity and valid (N,1,h factor,w factor), in pixels of that size, -> (N,1,h,w) in 0..1, 0 where none
 * is valid. Its gradient reaches cv only. Runs the iterations again (transport_gradient.c); makes no table. */
typedef struct {
    TransportOptions transport; /* as those of t_transport */
    int radius;                 /* columns on each side of a match */
    int factor;                 /* 0 means 1; at most 8 */
} TransportMassOptions;
Tensor *t_transport_mass_at(Tensor *cv, Tensor *disparity, Tensor *valid, TransportMassOptions options, T_AT);
#define t_transport_mass(cv, disparity, valid, ...) \
    t_transport_mass_at(cv, disparity, valid, (TransportMassOptions){__VA_ARGS__}, T_HERE)
/* Nine values of each row of cv (N,h,w,m), at (i - d)/step + e, e = -4..4, linear, zero outside -> (N,9,h,w). d is
 * (N,1,h,w). cv may be (N*h,w,m), as matmul_nt makes it; and have a row for every second row and column only,
 * (N,h/2,w/2,m): R1's. */
typedef struct {
    int step;        /* 1 for the full volume, 2 for the coarse one (m = w/2) */
    bool half_pixel; /* R1 and R2: a position x in a row of n is read at x n/(n-1) - 0.5 */
} LookupOptions;
Tensor *t_lookup_at(Tensor *cv, Tensor *disparity, LookupOptions options, T_AT);
#define t_lookup(cv, disparity, ...) t_lookup_at(cv, disparity, (LookupOptions){__VA_ARGS__}, T_HERE)
Tensor *t_pool_pairs_at(Tensor *cv, T_AT); /* (N,h,w,m) -> (N,h,w,m/2): means of neighbours along the last axis */
#define t_pool_pairs(cv) t_pool_pairs_at(cv, T_HERE)
/* (N,h,w,m) -> (N,h,w,m/2): out[y,i,k] = cv[2 floor(y/2), 2 floor(i/2), 2k], the coarse volume of behaviour R1. */
Tensor *t_even_pairs_at(Tensor *cv, T_AT);
#define t_even_pairs(cv) t_even_pairs_at(cv, T_HERE)
/* Each pixel of x (N,1,h,w) becomes factor x factor pixels, each a weighted mean of its 3x3 neighbours (borders
 * replicated); logits (N,9,h*factor,w*factor) go through a softmax over the 9. */
typedef struct {
    int factor;
    bool clipped; /* R1: softmax, minus 0.1, clamp at 0, renormalise */
} ConvexOptions;
Tensor *t_convex_upsample_at(Tensor *x, Tensor *logits, ConvexOptions options, T_AT);
#define t_convex_upsample(x, logits, ...) t_convex_upsample_at(x, logits, (ConvexOptions){__VA_ARGS__}, T_HERE)
#endif
