#include "nn/net.h"

#include <stdio.h>

Tensor *nn_parameter(Net *net, const char *name, int rank, const int64_t *size) {
    char full[640];
    const char *scope = program_scope(net->program);
    snprintf(full, sizeof full, "%s%s%s", scope, *scope ? "." : "", name);
    return program_weight(net->program, full, rank, size);
}

static Tensor *named(Net *net, const char *layer, const char *part, int rank, const int64_t *size) {
    char name[256];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return nn_parameter(net, name, rank, size);
}

static int or_one(int value) {
    return value ? value : 1;
}

Tensor *nn_conv2d_at(Net *net, const char *name, Tensor *x, int64_t channels, ConvLayer layer, T_AT) {
    int64_t size[] = {channels, x->size[1], or_one(layer.kernel_h), or_one(layer.kernel_w)};
    Tensor *weight = named(net, name, "weight", 4, size);
    Tensor *bias = layer.no_bias ? NULL : named(net, name, "bias", 1, &channels);
    return t_conv2d_at(x, weight, bias, (ConvOptions){layer.stride, layer.pad_h, layer.pad_w}, file, line);
}

Tensor *nn_conv_transpose2d_at(Net *net, const char *name, Tensor *x, int64_t channels, ConvLayer layer, T_AT) {
    int64_t size[] = {x->size[1], channels, or_one(layer.kernel_h), or_one(layer.kernel_w)};
    Tensor *weight = named(net, name, "weight", 4, size);
    Tensor *bias = layer.no_bias ? NULL : named(net, name, "bias", 1, &channels);
    return t_conv_transpose2d_at(x, weight, bias, (ConvOptions){layer.stride, layer.pad_h, layer.pad_w}, file, line);
}

Tensor *nn_linear_at(Net *net, const char *name, Tensor *x, int64_t features, BiasChoice bias, T_AT) {
    Tensor *weight = named(net, name, "weight", 2, (int64_t[]){features, x->size[x->rank - 1]});
    return t_linear_at(x, weight, bias == WITH_BIAS ? named(net, name, "bias", 1, &features) : NULL, file, line);
}

/* "Channels" as norm.c counts them: C of maps, the last axis otherwise. */
static int64_t channels_of(const Tensor *x) {
    return x->rank == 4 ? x->size[1] : x->size[x->rank - 1];
}

Tensor *nn_layer_norm_at(Net *net, const char *name, Tensor *x, T_AT) {
    int64_t c = channels_of(x);
    Tensor *weight = named(net, name, "weight", 1, &c);
    return t_layer_norm_at(x, weight, named(net, name, "bias", 1, &c), 1e-5, file, line);
}

Tensor *nn_group_norm_at(Net *net, const char *name, Tensor *x, int groups, T_AT) {
    int64_t c = channels_of(x);
    Tensor *weight = named(net, name, "weight", 1, &c);
    return t_group_norm_at(x, groups, weight, named(net, name, "bias", 1, &c), 1e-5, file, line);
}
