/* nn/net.h - what a model function records into: a program, and parameters asked for by name.
 *
 * A parameter's full name is the scope, a dot, and the name: exactly the name in the official checkpoint. The same name
 * asked for twice is the same tensor (siamese encoders, loops with shared weights). There is no struct of weights: the
 * program knows what it needs, the parameter store (nn/store.h) binds names to numbers. */
#ifndef PANUM_NN_NET_H
#define PANUM_NN_NET_H
#include "tensor/ops/ops.h"
#include "tensor/program.h"

typedef struct {
    Program *program;
} Net;

/* Opens a scope for the rest of the enclosing block's NN_SCOPE pair: NN_SCOPE(net, "enc%d", i) { ... } */
#define NN_SCOPE(net, ...)                                                      \
    for (int nn_once_ = (scope_push((net)->program, __VA_ARGS__), 1); nn_once_; \
         nn_once_ = (scope_pop((net)->program), 0))

Tensor *nn_parameter(Net *net, const char *name, int rank, const int64_t *size);

/* Layers that own parameters `name`.weight and `name`.bias in the current scope. */
typedef struct {
    int kernel_h, kernel_w; /* 0 means 1 */
    int stride;             /* 0 means 1 */
    int pad_h, pad_w;
    bool no_bias;
} ConvLayer;
Tensor *nn_conv2d_at(Net *net, const char *name, Tensor *x, int64_t channels, ConvLayer layer, T_AT);
#define nn_conv2d(net, name, x, channels, ...) nn_conv2d_at(net, name, x, channels, (ConvLayer){__VA_ARGS__}, T_HERE)
/* What most networks are made of: 1x1 and 3x3, stride 1, padded to keep the size. */
#define nn_conv1(net, name, x, channels) nn_conv2d_at(net, name, x, channels, (ConvLayer){.stride = 1}, T_HERE)
#define nn_conv3(net, name, x, channels) \
    nn_conv2d_at(net, name, x, channels, (ConvLayer){.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}, T_HERE)
Tensor *nn_conv_transpose2d_at(Net *net, const char *name, Tensor *x, int64_t channels, ConvLayer layer, T_AT);
#define nn_conv_transpose2d(net, name, x, channels, ...) \
    nn_conv_transpose2d_at(net, name, x, channels, (ConvLayer){__VA_ARGS__}, T_HERE)
typedef enum { WITH_BIAS, WITHOUT_BIAS } BiasChoice;
Tensor *nn_linear_at(Net *net, const char *name, Tensor *x, int64_t features, BiasChoice bias, T_AT);
#define nn_linear(net, name, x, features, bias) nn_linear_at(net, name, x, features, bias, T_HERE)
Tensor *nn_layer_norm_at(Net *net, const char *name, Tensor *x, T_AT); /* affine, eps 1e-5 */
#define nn_layer_norm(net, name, x) nn_layer_norm_at(net, name, x, T_HERE)
Tensor *nn_group_norm_at(Net *net, const char *name, Tensor *x, int groups, T_AT); /* affine, eps 1e-5 */
#define nn_group_norm(net, name, x, groups) nn_group_norm_at(net, name, x, groups, T_HERE)
#endif
