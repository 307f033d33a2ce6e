#include "nn/parameters.h"
#include "base/err.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/names.h"
#include "base/text.h"
#include "tensor/files/compare.h"
#include "tensor/files/weights.h"

#include <math.h>
#include <string.h>

static bool is_parameter(const Tensor *t) {
    return t->kind == TENSOR_WEIGHT && t->base == t;
}

static int64_t aligned(int64_t n) {
    return (n + PARAMETER_ALIGN - 1) / PARAMETER_ALIGN * PARAMETER_ALIGN;
}

ParameterList *parameters_of(const Program *program) {
    ParameterList *list = mem_zero(1, sizeof *list);
    if (!list) return NULL;
    list->names = arena_make();
    int tensors = program_tensors(program);
    for (int i = 0; i < tensors; i++) list->count += is_parameter(program_tensor(program, i));
    list->at = mem_zero((size_t)list->count + 1, sizeof *list->at);
    list->sorted = mem_zero((size_t)list->count + 1, sizeof *list->sorted);
    if (!list->names || !list->at || !list->sorted) {
        parameters_drop(list);
        return NULL;
    }
    for (int i = 0, n = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(program, i);
        if (!is_parameter(t)) continue;
        Parameter *p = &list->at[n];
        *p = (Parameter){arena_text(list->names, t->name), t->rank, {0}, list->block, tensor_count(t)};
        memcpy(p->size, t->size, sizeof p->size);
        list->sorted[n] = (IndexedName){p->name, n};
        list->block = aligned(list->block + p->count);
        list->numbers += p->count;
        n++;
    }
    if (arena_failed(list->names)) {
        parameters_drop(list);
        return NULL;
    }
    names_sort(list->sorted, list->count);
    return list;
}

void parameters_drop(ParameterList *list) {
    if (!list) return;
    arena_drop(list->names);
    mem_free(list->sorted);
    mem_free(list->at);
    mem_free(list);
}

int parameters_find(const ParameterList *list, const char *name) {
    return names_find(list->sorted, list->count, name);
}

void parameters_copy(const ParameterList *list, real *to, const ParameterList *from_list, const real *from) {
    for (int i = 0; i < list->count; i++) {
        const Parameter *p = &list->at[i];
        int k = parameters_find(from_list, p->name);
        BUG_IF(k < 0 || from_list->at[k].count != p->count, "parameter %s is not there, or of another shape", p->name);
        memcpy(to + p->offset, from + from_list->at[k].offset, (size_t)p->count * sizeof *to);
    }
}

bool name_matches(const char *patterns, const char *name) {
    char pattern[2 * WEIGHT_NAME_MAX];
    for (;;) {
        size_t length = strcspn(patterns, ",");
        if (length && length < sizeof pattern) { /* longer ones could only match by their stars */
            memcpy(pattern, patterns, length);
            pattern[length] = 0;
            if (text_matches(pattern, name)) return true;
        }
        if (!patterns[length]) return false;
        patterns += length + 1;
    }
}

/* ---- files ---- */

static int read_parameter(const Weights *file, const Parameter *p, real *out) {
    const WeightEntry *entry = weights_find(file, p->name);
    float *values = mem_array((size_t)p->count, sizeof *values);
    int code = values ? weights_read_f32(file, entry, values) : ERR_MEMORY;
    for (int64_t i = 0; !code && i < p->count; i++) {
        if (!isfinite(values[i]))
            code = fail(ERR_WEIGHTS, "%s: parameter %s has a value that is not finite (number %lld); use other weights",
                        weights_path(file), p->name, (long long)i);
        out[i] = values[i];
    }
    mem_free(values);
    return code;
}

int parameters_load(const ParameterList *list, const char *path, const char *model, real *block) {
    Weights *file;
    int code = weights_open(path, &file);
    if (code) return code;
    WeightWanted *wanted = mem_zero((size_t)list->count + 1, sizeof *wanted);
    if (!wanted) code = ERR_MEMORY;
    for (int i = 0; wanted && i < list->count; i++) {
        wanted[i].name = list->at[i].name;
        wanted[i].rank = list->at[i].rank;
        memcpy(wanted[i].size, list->at[i].size, (size_t)wanted[i].rank * sizeof *wanted[i].size);
    }
    if (!code) code = weights_compare(file, model, wanted, list->count, NULL);
    for (int i = 0; !code && i < list->count; i++)
        code = read_parameter(file, &list->at[i], block + list->at[i].offset);
    mem_free(wanted);
    weights_close(file);
    return code;
}

static int write_f16(const Parameter *p, const real *values, Out *out) {
    uint16_t part[1024];
    for (int64_t done = 0; done < p->count;) {
        int n = 0;
        for (; n < 1024 && done < p->count; n++, done++) {
            part[n] = f32_to_f16((float)values[done]);
            if ((part[n] & 0x7c00) == 0x7c00)
                return fail(ERR_WEIGHTS, "parameter %s holds %g, which f16 cannot; write f32", p->name,
                            (double)values[done]);
        }
        int code = out_write(out, part, (size_t)n * sizeof *part);
        if (code) return code;
    }
    return 0;
}

static int write_f32(const Parameter *p, const real *values, Out *out) {
    float part[1024];
    for (int64_t done = 0; done < p->count;) {
        int n = 0;
        for (; n < 1024 && done < p->count; n++, done++) part[n] = (float)values[done];
        int code = out_write(out, part, (size_t)n * sizeof *part);
        if (code) return code;
    }
    return 0;
}

int parameters_write(const ParameterList *list, const real *block, WeightDType dtype, const SafetensorsNote *notes,
                     int note_count, Out *out) {
    BUG_IF(dtype != WEIGHT_F32 && dtype != WEIGHT_F16, "parameters are written as f32 or f16");
    SafetensorsTensor *tensors = mem_zero((size_t)list->count + 1, sizeof *tensors);
    if (!tensors) return ERR_MEMORY;
    for (int i = 0; i < list->count; i++) {
        tensors[i] = (SafetensorsTensor){.name = list->at[i].name, .dtype = dtype, .rank = list->at[i].rank};
        memcpy(tensors[i].size, list->at[i].size, (size_t)tensors[i].rank * sizeof *tensors[i].size);
    }
    int code = safetensors_write_header(out, tensors, list->count, notes, note_count);
    mem_free(tensors);
    for (int i = 0; !code && i < list->count; i++) {
        const Parameter *p = &list->at[i];
        code = (dtype == WEIGHT_F16 ? write_f16 : write_f32)(p, block + p->offset, out);
    }
    return code;
}
