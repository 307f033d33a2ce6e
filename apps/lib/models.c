#include "apps/lib/models.h"
#include "base/mem.h"
#include "models/s2m2.h"
#include "nn/store.h"
#include "tensor/files/compare.h"
#include "tensor/files/safetensors.h"

#include <stdio.h>
#include <string.h>

const char *model_origin(MatcherModel model) {
    return model == MODEL_S2M2_XS
               ? "a size of our own; its weights are made by panum train, Apache-2.0 (weights/README.md)"
               : "weights by the authors of S2M2, CC BY-NC 4.0: not for commercial use, not distributed here";
}

int model_by_name(const char *name, MatcherModel *model) {
    for (int i = MODEL_S2M2_XS; i <= MODEL_S2M2_XL; i++)
        if (strcmp(matcher_model_name((MatcherModel)i), name) == 0) {
            *model = (MatcherModel)i;
            return 0;
        }
    char shown[100];
    return fail(ERR_USAGE, "there is no network '%s'; panum model list shows them",
                err_printable(shown, sizeof shown, name));
}

/* The model recorded at a small size: what it asks for by name does not depend on the picture. */
static Program *record(MatcherModel model) {
    const S2m2Size *size = s2m2_size(matcher_model_name(model));
    Program *program = program_make();
    if (!program) return NULL;
    Net net = {.program = program};
    Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, 64, 64});
    s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
    return program;
}

int64_t model_parameters(MatcherModel model) {
    Program *program = record(model);
    if (!program) return -1;
    int64_t count = 0;
    for (int i = 0; i < program_tensors(program); i++)
        if (program_tensor(program, i)->kind == TENSOR_WEIGHT) count += tensor_count(program_tensor(program, i));
    program_drop(program);
    return count;
}

int model_fits(const Weights *weights, MatcherModel model, WeightsDifference *difference) {
    Program *program = record(model);
    if (!program) return ERR_MEMORY;
    int rc = weights_fit_program(weights, program, matcher_model_name(model), difference);
    program_drop(program);
    return rc;
}

/* One parameter at a time, each from a store of its own. */
static int write_parameter(const Tensor *t, Out *out) {
    ParameterStore *store;
    int rc = store_make_seeded(&store);
    if (rc) return rc;
    WeightSource source = store_source(store);
    const real *values = source.values(source.context, t);
    rc = values ? out_write(out, values, (size_t)tensor_count(t) * sizeof *values) : (int)ERR_MEMORY;
    store_close(store);
    return rc;
}

int model_write_seeded(MatcherModel model, Out *out) {
    Program *program = record(model);
    if (!program) return ERR_MEMORY;
    SafetensorsTensor *entries = mem_zero((size_t)program_tensors(program), sizeof *entries);
    int count = 0, rc = entries ? 0 : (int)ERR_MEMORY;
    for (int i = 0; !rc && i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        entries[count] = (SafetensorsTensor){.name = t->name, .dtype = WEIGHT_F32, .rank = t->rank};
        memcpy(entries[count++].size, t->size, (size_t)t->rank * sizeof *t->size);
    }
    const SafetensorsNote notes[] = {{"model", matcher_model_name(model)},
                                     {"origin", "seeded from the names by panum model seed; never trained"}};
    if (!rc) rc = safetensors_write_header(out, entries, count, notes, 2);
    for (int i = 0; !rc && i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind == TENSOR_WEIGHT && t->base == t) rc = write_parameter(t, out);
    }
    mem_free(entries);
    program_drop(program);
    return rc;
}
