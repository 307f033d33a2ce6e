#include "nn/init.h"
#include "base/hash.h"
#include "base/rng.h"
#include "tensor/op.h"

#include <math.h>
#include <string.h>

/* fan_in as PyTorch counts it: the numbers of one slice along the first axis. */
static int64_t fan_in(const Tensor *weight) {
    return tensor_count(weight) / weight->size[0];
}

static const Node *first_reader(const Program *program, const Tensor *weight, int *input) {
    for (int i = 0; i < program_nodes(program); i++) {
        const Node *node = program_node(program, i);
        for (int k = 0; k < node->inputs; k++)
            if (node->input[k] && node->input[k]->base == weight) {
                *input = k;
                return node;
            }
    }
    return NULL;
}

static void fill(real *out, int64_t count, double value) {
    for (int64_t i = 0; i < count; i++) out[i] = (real)value;
}

void init_parameters(const Program *program, const ParameterList *list, uint64_t seed, real *block) {
    memset(block, 0, (size_t)list->block * sizeof *block);
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        const Parameter *p = &list->at[parameters_find(list, t->name)];
        int input = 0;
        const Node *node = first_reader(program, t, &input);
        real *out = block + p->offset;
        if (node && strstr(node->op->name, "norm")) { /* (x, weight, bias) */
            fill(out, p->count, input == 1);
            continue;
        }
        if (node && !strcmp(node->op->name, "conv2d") && input == 1 && (node->inputs < 3 || !node->input[2])) {
            fill(out, p->count, 0);
            continue;
        }
        /* (x, weight, bias); relative attention reads (q, k, v, weight, bias): a bias has the bound of its weight,
           which stands before it */
        const Tensor *weight = t->rank > 1 || !node || input == 0 ? t : node->input[input - 1];
        double bound = 1 / sqrt((double)fan_in(weight));
        uint64_t stream = rng_u64(seed, fnv1a64(t->name, strlen(t->name)));
        for (int64_t n = 0; n < p->count; n++) /* rounded to f32 in every build, as a file would hold it */
            out[n] = (real)(float)(bound * (2 * rng_unit(stream, (uint64_t)n) - 1));
    }
}
