/* models/s2m2.c - S2M2 (arXiv 2507.13229; reference junhong-3dv/s2m2 at 8f3bd78, whose parameter names are kept).
 *
 *   pictures (2B,3,H,W) --cnn_backbone--> 1/2 (2B,C) and 1/4 (2B,C)
 *     1/4 --feat_pyramid--> 1/4 C, 1/8 C, 1/16 2C, 1/32 2C   --transformer--> 1/4 (2B,C)
 *     left and right rows --disp_init--> correlation volume (B,h,w,w), disparity, confidence, occlusion at 1/4
 *     --global_refiner--> where confidence is low      --refiner x n--> better
 *     --upsample_mask_4x_refine, upsample_mask_1x--> full size
 *
 * Deliberate differences from the reference, none of which changes a result beyond rounding: the backbone sees one eye
 * at a time (half the memory at the finest resolution); the relative position table is never written out; Sinkhorn's
 * plan is not kept. Sizes: XS is our own, C = 32: the widths of its products are whole panels of 32 columns (40 or 48
 * would leave part of the second panel empty), attention heads are 32, 16, 8 and 4 wide, and a forward pass counts
 * about a seventh of S's operations (panum trace). */
#include "models/s2m2.h"
#include "tensor/op.h"

#include <stdio.h>
#include <string.h>

enum {
    ENTRY = 16,     /* channels of the full-resolution entry */
    HALF = 64,      /* after the first stride */
    GROUPS = 8,     /* of the only group norm */
    TRANSPORT = 3,  /* Sinkhorn iterations */
    GRID_HEADS = 8, /* heads of attention over the whole map at 1/32 */
    DISPARITY_FEATURES = 96,
    CORRELATION_FEATURES = 64,
    CERTAINTY_FEATURES = 32,
    NEIGHBOURS = 9,
};

const S2m2Size s2m2_sizes[5] = {
    {"s2m2-XS", 32, 1}, {"s2m2-S", 128, 1}, {"s2m2-M", 192, 2}, {"s2m2-L", 256, 3}, {"s2m2-XL", 384, 3},
};

const S2m2Size *s2m2_size(const char *name) {
    for (int i = 0; i < 5; i++)
        if (strcmp(name, s2m2_sizes[i].name) == 0 || strcmp(name, s2m2_sizes[i].name + strlen("s2m2-")) == 0)
            return &s2m2_sizes[i];
    return NULL;
}

/* ---- blocks ---- */

/* f + g a + (1-g) b, with a gate g in [0.01, 0.99] and a fusion f, both of the two side by side. */
static Tensor *gated_fusion(Net *net, const char *name, Tensor *a, Tensor *b, int64_t d, int k) {
    Tensor *result = NULL;
    NN_SCOPE(net, "%s", name) {
        ConvLayer first = {.kernel_h = k, .kernel_w = k, .pad_h = k / 2, .pad_w = k / 2};
        Tensor *z = t_cat(1, a, b);
        Tensor *g = nn_conv2d_at(net, "feature_gate.0", z, d, first, T_HERE);
        g = t_clamp(t_sigmoid(nn_conv1(net, "feature_gate.2", t_gelu(g), d)), 0.01, 0.99);
        Tensor *f = nn_conv2d_at(net, "feature_fusion.0", z, 2 * d, first, T_HERE);
        f = nn_conv1(net, "feature_fusion.2", t_gelu(f), d);
        result = t_add(t_add(f, t_mul(g, a)), t_mul(t_affine(g, -1, 1), b));
    }
    return result;
}

/* Two 3x3 convolutions beside two 1x1 ones: GELU in one branch, ReLU in the other, no residual. */
static Tensor *conv_block(Net *net, const char *name, Tensor *z) {
    Tensor *result = NULL;
    int64_t d = z->size[1];
    NN_SCOPE(net, "%s", name) {
        Tensor *wide = nn_conv3(net, "convs.2", t_gelu(nn_conv3(net, "convs.0", z, d)), d);
        Tensor *narrow = nn_conv1(net, "convs_1x.2", t_relu(nn_conv1(net, "convs_1x.0", z, d)), d);
        result = t_add(wide, narrow);
    }
    return result;
}

typedef enum { ALONG_ROWS, OVER_GRID } Reach; /* which tokens see each other */
typedef enum { SELF, CROSS } Partner;         /* the same picture, or the other eye */
typedef enum { NO_POSITION, RELATIVE_POSITION } Position;

/* z + Attention(LayerNorm(z)); the norm has no parameters. Crossing uses one normalised copy for both directions. */
static Tensor *attention_step(Net *net, const char *name, Tensor *z, int heads, Reach reach, Partner partner,
                              Position position) {
    Tensor *result = NULL;
    int64_t n = z->size[0], d = z->size[1], h = z->size[2], w = z->size[3];
    NN_SCOPE(net, "%s.attn", name) {
        Tensor *x = t_layer_norm(reach == ALONG_ROWS ? t_row_tokens(z) : t_tokens(z), NULL, NULL, 1e-5);
        Tensor *q = nn_linear(net, "q", x, d, WITHOUT_BIAS);
        Tensor *k = nn_linear(net, "k", x, d, WITHOUT_BIAS);
        Tensor *v = nn_linear(net, "v", x, d, WITH_BIAS);
        Tensor *o;
        if (position == RELATIVE_POSITION) {
            int64_t e = d / heads;
            Tensor *weight = nn_parameter(net, "pe_proj.weight", 2, (int64_t[]){e, 32});
            Tensor *bias = nn_parameter(net, "pe_proj.bias", 1, &e);
            o = t_attention_relative(q, k, v, weight, bias, heads, h, w);
        } else {
            o = t_attention(q, k, v, .heads = heads, .swap_halves = partner == CROSS);
        }
        result = t_add(z, t_map(nn_linear(net, "proj", o, d, WITHOUT_BIAS), n, h, w));
    }
    return result;
}

/* z + W2 GELU(W1 LayerNorm(z) + b1) + b2 */
static Tensor *feed_forward(Net *net, const char *name, Tensor *z) {
    Tensor *result = NULL;
    int64_t d = z->size[1];
    NN_SCOPE(net, "%s.ffn", name) {
        Tensor *x = t_layer_norm(t_tokens(z), NULL, NULL, 1e-5);
        x = nn_linear(net, "2", t_gelu(nn_linear(net, "0", x, d, WITH_BIAS)), d, WITH_BIAS);
        result = t_add(z, t_map(x, z->size[0], z->size[2], z->size[3]));
    }
    return result;
}

/* Strides 4, 8, 16: rows only. */
static Tensor *row_block(Net *net, const char *name, Tensor *z, int heads) {
    NN_SCOPE(net, "%s", name) {
        z = attention_step(net, "cross_attn", z, heads, ALONG_ROWS, CROSS, NO_POSITION);
        z = feed_forward(net, "ffn_c", z);
        z = attention_step(net, "self_attn", z, heads, ALONG_ROWS, SELF, NO_POSITION);
        z = feed_forward(net, "ffn", z);
    }
    return z;
}

/* Stride 32: the whole map; with the other eye first when `partner` is CROSS. */
static Tensor *grid_block(Net *net, const char *name, int index, Tensor *z, Partner partner, Position position) {
    NN_SCOPE(net, "%s.%d", name, index) {
        if (partner == CROSS) {
            z = attention_step(net, "cross_attn", z, GRID_HEADS, OVER_GRID, CROSS, NO_POSITION);
            z = feed_forward(net, "ffn_c", z);
        }
        z = attention_step(net, "self_attn", z, GRID_HEADS, OVER_GRID, SELF, position);
        z = feed_forward(net, "ffn", z);
    }
    return z;
}

typedef struct {
    Tensor *z[4]; /* strides 4, 8, 16, 32 */
} Pyramid;

static Tensor *down(Net *net, const char *name, Tensor *z, int64_t d) {
    return nn_conv1(net, name, t_avg_pool2(z), d);
}

/* The reference enlarges first. A 1x1 convolution acts on channels and enlarging on positions with weights that sum to
 * 1, so they commute, bias included, and this order does a quarter of the work. */
static Tensor *up(Net *net, const char *name, Tensor *z, int64_t d) {
    return t_resize_bilinear(nn_conv1(net, name, z, d), 2 * z->size[2], 2 * z->size[3]);
}

static Pyramid unet(Net *net, const char *name, Tensor *z, int64_t d0, int64_t d1, int64_t d2, int n,
                    Position position) {
    Pyramid p = {{NULL}};
    NN_SCOPE(net, "%s", name) {
        Tensor *z0 = conv_block(net, "enc0", z);
        Tensor *z1 = conv_block(net, "enc1", down(net, "down_conv0.1", z0, d1));
        Tensor *z2 = conv_block(net, "enc2", down(net, "down_conv1.1", z1, d2));
        Tensor *z3 = down(net, "down_conv2.1", z2, d2);
        for (int i = 0; i < n; i++) z3 = grid_block(net, "enc3s", i, z3, SELF, position);
        for (int i = 0; i < n; i++) z3 = grid_block(net, "dec3s", i, z3, SELF, NO_POSITION);
        z2 = conv_block(net, "dec2", gated_fusion(net, "concat_conv2", z2, up(net, "up_conv2.1", z3, d2), d2, 1));
        z1 = conv_block(net, "dec1", gated_fusion(net, "concat_conv1", z1, up(net, "up_conv1.1", z2, d1), d1, 1));
        z0 = conv_block(net, "dec0", gated_fusion(net, "concat_conv0", z0, up(net, "up_conv0.1", z1, d0), d0, 1));
        p = (Pyramid){{z0, z1, z2, z3}};
    }
    return p;
}

/* One multi-resolution transformer block. */
static Pyramid multi_resolution_transformer(Net *net, int index, Pyramid p, int64_t c) {
    Tensor *z0 = p.z[0], *z1 = p.z[1], *z2 = p.z[2], *z3 = p.z[3];
    NN_SCOPE(net, "transformer.uformer_list.%d", index) {
        z0 = row_block(net, "enc_attn0", z0, 1);
        z1 = row_block(net, "enc_attn1", gated_fusion(net, "down_concat1", z1, down(net, "down_conv0.1", z0, c), c, 1),
                       2);
        z2 = row_block(net, "enc_attn2",
                       gated_fusion(net, "down_concat2", z2, down(net, "down_conv1.1", z1, 2 * c), 2 * c, 1), 4);
        z3 = gated_fusion(net, "down_concat3", z3, down(net, "down_conv2.1", z2, 2 * c), 2 * c, 1);
        for (int i = 0; i < 2; i++) z3 = grid_block(net, "enc_attn3s", i, z3, CROSS, NO_POSITION);
        for (int i = 0; i < 2; i++) z3 = grid_block(net, "dec_attn3s", i, z3, CROSS, NO_POSITION);
        z2 = row_block(net, "dec_attn2",
                       gated_fusion(net, "up_concat2", z2, up(net, "up_conv2.1", z3, 2 * c), 2 * c, 1), 4);
        z1 = row_block(net, "dec_attn1", gated_fusion(net, "up_concat1", z1, up(net, "up_conv1.1", z2, c), c, 1), 2);
        z0 = row_block(net, "dec_attn0", gated_fusion(net, "up_concat0", z0, up(net, "up_conv0.1", z1, c), c, 1), 1);
    }
    return (Pyramid){{z0, z1, z2, z3}};
}

/* ---- stages ---- */

typedef struct {
    Tensor *half, *quarter;
} Features;

static Features cnn_backbone(Net *net, Tensor *picture, int64_t c) {
    Features f = {NULL, NULL};
    NN_SCOPE(net, "cnn_backbone") {
        Tensor *x = nn_conv1(net, "conv0.2", t_gelu(nn_conv1(net, "conv0.0", picture, ENTRY)), ENTRY);
        x = nn_conv2d(net, "conv1_down.0", x, HALF, .kernel_h = 5, .kernel_w = 5, .stride = 2, .pad_h = 2, .pad_w = 2);
        x = nn_conv3(net, "conv1_down.2", t_gelu(x), c);
        Tensor *r = nn_group_norm(net, "norm1", x, GROUPS);
        f.half = t_add(nn_conv3(net, "conv2.2", t_gelu(nn_conv3(net, "conv2.0", r, c)), c), r);
        f.quarter = nn_conv2d(net, "conv2_down.0", f.half, c, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_h = 1,
                              .pad_w = 1);
    }
    return f;
}

/* Where the first estimate is not confident, a disparity from context. */
static Tensor *global_refiner(Net *net, Tensor *left, Tensor *disparity, Tensor *confidence) {
    Tensor *result = NULL;
    int64_t c = left->size[1];
    NN_SCOPE(net, "global_refiner") {
        Tensor *sure = t_above(confidence, 0.2);
        Tensor *x =
            t_cat(1, t_mul(t_affine(disparity, 1.0 / 100, 0), sure), t_logit(t_mul(sure, confidence), 0.1), left);
        x = nn_conv1(net, "init_feat.2", t_gelu(nn_conv3(net, "init_feat.0", x, c)), c);
        x = unet(net, "refine_unet", x, c, c, c, 1, NO_POSITION).z[0];
        Tensor *filled = t_affine(nn_conv3(net, "out_feat.0", x, 1), 100, 0);
        program_tap(net->program, "dstar", filled);
        result = t_add(t_mul(sure, disparity), t_mul(t_affine(sure, -1, 1), filled));
    }
    return result;
}

/* Separable ConvGRU: first down the columns, then along the rows. */
static Tensor *gru(Net *net, Tensor *hidden, Tensor *x) {
    int64_t c = hidden->size[1];
    NN_SCOPE(net, "gru") {
        for (int pass = 1; pass <= 2; pass++) {
            ConvLayer along =
                pass == 1 ? (ConvLayer){.kernel_h = 3, .pad_h = 1} : (ConvLayer){.kernel_w = 3, .pad_w = 1};
            char name[8] = "convz0";
            name[5] = (char)('0' + pass);
            Tensor *hx = t_cat(1, hidden, x);
            Tensor *z = t_sigmoid(nn_conv2d_at(net, name, hx, c, along, T_HERE));
            name[4] = 'r';
            Tensor *r = t_sigmoid(nn_conv2d_at(net, name, hx, c, along, T_HERE));
            name[4] = 'q';
            Tensor *q = t_tanh(nn_conv2d_at(net, name, t_cat(1, t_mul(r, hidden), x), c, along, T_HERE));
            hidden = t_add(t_mul(t_affine(z, -1, 1), hidden), t_mul(z, q));
        }
    }
    return hidden;
}

typedef struct {
    Tensor *hidden, *disparity, *confidence, *occlusion;
} State;

static State refine(Net *net, State s, Tensor *context, Tensor *cv, Tensor *cv_half, Tensor *column, S2m2Options o,
                    int iteration) {
    int64_t c = context->size[1], w = column->size[3];
    bool half_pixel = o.behaviour != S2M2_R3;
    NN_SCOPE(net, "refiner") {
        Tensor *lc = t_logit(s.confidence, 0.01), *lo = t_logit(s.occlusion, 0.01);
        Tensor *level1 = t_lookup(cv, s.disparity, .step = 1, .half_pixel = half_pixel);
        Tensor *level2 = t_lookup(cv_half, s.disparity, .step = 2, .half_pixel = half_pixel);
        if (iteration == 1) {
            program_tap(net->program, "lookup1", level1);
            program_tap(net->program, "lookup2", level2);
        }
        Tensor *c1 = nn_conv1(net, "corr_feat1.0", t_affine(level1, 1.0 / 16, 0), DISPARITY_FEATURES);
        c1 = nn_conv1(net, "corr_feat1.2", t_gelu(c1), CORRELATION_FEATURES);
        Tensor *c2 = nn_conv1(net, "corr_feat2.0", t_affine(level2, 1.0 / 16, 0), DISPARITY_FEATURES);
        c2 = nn_conv1(net, "corr_feat2.2", t_gelu(c2), CORRELATION_FEATURES);
        Tensor *fd = nn_conv3(net, "disp_feat.0", t_affine(s.disparity, 1.0 / 100, 0), DISPARITY_FEATURES);
        fd = nn_conv3(net, "disp_feat.2", t_gelu(fd), DISPARITY_FEATURES);
        Tensor *fc = nn_conv3(net, "conf_occ_feat.0", t_cat(1, lc, lo), CORRELATION_FEATURES);
        fc = nn_conv1(net, "conf_occ_feat.2", t_gelu(fc), CERTAINTY_FEATURES);
        Tensor *g = nn_conv1(net, "disp_corr_ctx_cat.0", t_cat(1, fd, c1, c2, context, fc), 2 * c);
        g = nn_conv3(net, "disp_corr_ctx_cat.2", t_gelu(g), c);
        Tensor *x = unet(net, "refine_unet", g, c, c, 2 * c, 1, NO_POSITION).z[0];
        s.hidden = gru(net, s.hidden, x);

        Tensor *step = t_gelu(nn_conv3(net, "disp_update.0", s.hidden, c));
        step = nn_conv2d(net, "disp_update.2", step, 1, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1,
                         .no_bias = true);
        Tensor *certainty = t_gelu(nn_conv3(net, "conf_occ_update.0", s.hidden, c));
        certainty = nn_conv2d(net, "conf_occ_update.2", certainty, 2, .kernel_h = 3, .kernel_w = 3, .pad_h = 1,
                              .pad_w = 1, .no_bias = true);
        s.confidence = t_sigmoid(t_add(t_slice(certainty, 1, 0, 1), lc));
        s.occlusion = t_sigmoid(t_add(t_slice(certainty, 1, 1, 1), lo));
        s.disparity = t_add(s.disparity, step);
        if (o.positive) s.disparity = t_clamp(s.disparity, 0, 1e30);
        /* what would match outside the right picture is hidden there */
        Tensor *match = t_sub(column, s.disparity);
        s.occlusion = t_mul(s.occlusion, t_at_least(match, 0));
        if (o.cinematic_occlusion) s.occlusion = t_mul(s.occlusion, t_affine(t_at_least(match, (double)w), -1, 1));
    }
    return s;
}

static void tap_iteration(Program *program, State s, int iteration) {
    const struct {
        const char *name;
        Tensor *t;
    } taps[] = {{"d", s.disparity}, {"conf", s.confidence}, {"occ", s.occlusion}, {"hidden", s.hidden}};
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_iter%d", taps[i].name, iteration);
        program_tap(program, name, taps[i].t);
    }
}

/* Logits of the 3x3 weights that take 1/4 resolution to full. */
static Tensor *upsample_mask_4x(Net *net, Tensor *hidden, Tensor *half) {
    Tensor *logits = NULL;
    NN_SCOPE(net, "upsample_mask_4x_refine") {
        Tensor *a = nn_conv_transpose2d(net, "conv_x", hidden, HALF, .kernel_h = 2, .kernel_w = 2, .stride = 2);
        Tensor *b = nn_conv3(net, "conv_y", half, HALF);
        Tensor *x = t_relu(nn_conv3(net, "conv_concat.0", t_cat(1, a, b), 2 * HALF));
        logits = nn_conv_transpose2d(net, "conv_concat.2", x, NEIGHBOURS, .kernel_h = 2, .kernel_w = 2, .stride = 2);
    }
    return logits;
}

/* Logits of the edge filter at full resolution: disparity in pixels, picture in [-1,1], features. */
static Tensor *upsample_mask_1x(Net *net, Tensor *disparity, Tensor *picture, Tensor *half) {
    Tensor *logits = NULL;
    NN_SCOPE(net, "upsample_mask_1x") {
        ConvLayer three = {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1};
        Tensor *d = t_relu(nn_conv_transpose2d_at(net, "conv_disp.0", disparity, ENTRY, three, T_HERE));
        Tensor *v = t_relu(nn_conv_transpose2d_at(net, "conv_rgb.0", picture, ENTRY, three, T_HERE));
        Tensor *f = nn_conv_transpose2d(net, "conv_ctx", half, ENTRY, .kernel_h = 2, .kernel_w = 2, .stride = 2);
        Tensor *x = t_relu(nn_conv3(net, "conv_concat.0", t_cat(1, d, v, f), 3 * ENTRY));
        logits = nn_conv_transpose2d(net, "conv_concat.2", x, NEIGHBOURS, .stride = 1);
    }
    return logits;
}

static Tensor *first_half(Tensor *x) {
    return t_slice(x, 0, 0, x->size[0] / 2);
}
static Tensor *second_half(Tensor *x) {
    return t_slice(x, 0, x->size[0] / 2, x->size[0] / 2);
}

/* 0..255 to -1..1. Made anew where it is needed: keeping it would cost more memory than it saves time. */
static Tensor *normalised(Tensor *pictures) {
    return pictures->dtype == DTYPE_U8 ? t_from_u8(pictures, 2.0 / 255, -1) : t_affine(pictures, 2.0 / 255, -1);
}

MatchStages s2m2_stages(Net *net, Tensor *pictures, S2m2Options o) {
    Program *program = net->program;
    int64_t c = o.channels, pairs = pictures->size[0] / 2;
    char shape[128];
    SHAPE_RULE(program, __FILE__, __LINE__,
               pictures->rank == 4 && pictures->size[0] % 2 == 0 && pictures->size[1] == 3 &&
                   pictures->size[2] % 32 == 0 && pictures->size[3] % 32 == 0,
               "pictures of shape %s: (2B,3,H,W) with H and W multiples of 32",
               tensor_shape_text(pictures, shape, sizeof shape));
    SHAPE_RULE(program, __FILE__, __LINE__, o.refine_iterations >= 0 && o.refine_iterations <= MATCH_REFINEMENTS_MAX,
               "%d refinements: 0 to %d", o.refine_iterations, MATCH_REFINEMENTS_MAX);

    Tensor *left_picture = first_half(pictures);
    Features left = cnn_backbone(net, normalised(left_picture), c);
    Features right = cnn_backbone(net, normalised(second_half(pictures)), c);
    Tensor *quarter = t_cat(0, left.quarter, right.quarter);
    program_tap(program, "feature_2x", left.half);
    program_tap(program, "feature_4x", quarter);

    Pyramid p = unet(net, "feat_pyramid", quarter, c, c, 2 * c, 2 * o.blocks, RELATIVE_POSITION);
    program_tap(program, "py4", p.z[0]);
    program_tap(program, "py8", p.z[1]);
    program_tap(program, "py16", p.z[2]);
    program_tap(program, "py32", p.z[3]);
    Tensor *py4 = first_half(p.z[0]);
    for (int i = 0; i < o.blocks; i++) p = multi_resolution_transformer(net, i, p, c);
    Tensor *tr4 = p.z[0];
    program_tap(program, "tr4", tr4);

    /* every pixel of a left row against every pixel of the same right row */
    Tensor *normed = NULL;
    NN_SCOPE(net, "disp_init") normed = nn_layer_norm(net, "layer_norm", tr4);
    int64_t h = tr4->size[2], w = tr4->size[3];
    Tensor *cv = t_matmul_nt(t_row_tokens(first_half(normed)), t_row_tokens(second_half(normed)));
    cv = t_reshape(cv, 4, (int64_t[]){pairs, h, w, w});
    program_tap(program, "cv", cv);
    const TransportOptions transport = {.positive = o.positive, .iterations = TRANSPORT};
    Transport start = t_transport_at(cv, transport, T_HERE);
    program_tap(program, "d0", start.disparity);
    program_tap(program, "conf0", start.confidence);
    program_tap(program, "occ0", start.occlusion);

    Tensor *tr4_left = first_half(tr4);
    State s = {.confidence = start.confidence, .occlusion = start.occlusion};
    /* the filling-in teaches nothing to the correlation: the reference's two stop-gradients */
    s.disparity = global_refiner(net, tr4_left, t_detach(start.disparity), t_detach(start.confidence));
    program_tap(program, "d_global", s.disparity);
    if (o.positive) s.disparity = t_clamp(s.disparity, 0, 1e30);
    MatchStages stages = {.factor = 4,
                          .correlation = cv,
                          .transport = transport,
                          .initial = {start.disparity, start.confidence, start.occlusion},
                          .filled = {.disparity = s.disparity},
                          .refinements = o.refine_iterations};

    Tensor *context = gated_fusion(net, "feat_fusion_layer", tr4_left, py4, c, 3);
    program_tap(program, "fused", context);
    NN_SCOPE(net, "ctx_feat") context = nn_conv1(net, "2", t_gelu(nn_conv1(net, "0", context, c)), c);
    program_tap(program, "ctx", context);
    s.hidden = t_tanh(context);
    program_tap(program, "hidden", s.hidden);

    /* R1 correlates features taken at even rows and columns instead of averaging the volume */
    Tensor *cv_half = o.behaviour == S2M2_R1 ? t_even_pairs(cv) : t_pool_pairs(cv);
    Tensor *column = t_column_index(s.disparity);
    for (int i = 1; i <= o.refine_iterations; i++) {
        s = refine(net, s, context, cv, cv_half, column, o, i);
        tap_iteration(program, s, i);
        stages.refined[i - 1] = (MatchMaps){s.disparity, s.confidence, s.occlusion};
    }

    bool clipped = o.behaviour == S2M2_R1;
    Tensor *mask = upsample_mask_4x(net, s.hidden, left.half);
    program_tap(program, "mask4", mask);
    Tensor *d = t_convex_upsample(t_affine(s.disparity, 4, 0), mask, .factor = 4, .clipped = clipped);
    Tensor *occlusion = t_convex_upsample(s.occlusion, mask, .factor = 4, .clipped = clipped);
    Tensor *confidence = t_convex_upsample(s.confidence, mask, .factor = 4, .clipped = clipped);
    program_tap(program, "d_up", d);

    Tensor *filter = upsample_mask_1x(net, d, normalised(left_picture), left.half);
    program_tap(program, "mask1", filter);
    int factor = o.output_upsample ? 2 : 1;
    if (o.output_upsample) filter = t_resize_bilinear(filter, 2 * filter->size[2], 2 * filter->size[3]);
    d = t_convex_upsample(d, filter, .factor = factor, .clipped = clipped);
    if (o.output_upsample) d = t_affine(d, 2, 0);
    occlusion = t_convex_upsample(occlusion, filter, .factor = factor, .clipped = clipped);
    confidence = t_convex_upsample(confidence, filter, .factor = factor, .clipped = clipped);
    stages.full = (MatchMaps){d, confidence, occlusion};
    program_output(program, "disparity", d);
    program_output(program, "occlusion", occlusion);
    program_output(program, "confidence", confidence);
    return stages;
}

S2m2Output s2m2(Net *net, Tensor *pictures, S2m2Options options) {
    const MatchMaps full = s2m2_stages(net, pictures, options).full;
    return (S2m2Output){full.disparity, full.occlusion, full.confidence};
}
