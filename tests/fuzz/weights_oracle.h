/* tests/fuzz/weights_oracle.h - what must hold for any bytes that are opened as weights: refused with a reason, or the
 * last byte of each tensor lies in the file, all of it can be read, and written as safetensors it reads as the same. */
#ifndef PANUM_TESTS_FUZZ_WEIGHTS_ORACLE_H
#define PANUM_TESTS_FUZZ_WEIGHTS_ORACLE_H
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/compare.h"
#include "tensor/files/describe.h"
#include "tensor/files/weights.h"
#include "tests/fuzz/memory_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void demand(bool holds) {
    if (!holds) abort();
}

static void check_entry(const Weights *weights, const WeightEntry *entry, size_t size) {
    int64_t last = 0;
    demand(entry->rank >= 0 && entry->rank <= WEIGHT_RANK_MAX && entry->count >= 0 && *entry->name);
    demand(entry->offset <= size && entry->bytes <= size - entry->offset);
    if (entry->count == 0) return;
    for (int i = 0; i < entry->rank; i++) last += (entry->size[i] - 1) * entry->stride[i];
    demand(((uint64_t)last + 1) * weight_dtype_size(entry->dtype) <= entry->bytes);
    demand(weights_find(weights, entry->name) == entry);
}

static void compare_with_copy(const Weights *weights, const Weights *copy) {
    demand(weights_count(copy) == weights_count(weights));
    for (int i = 0; i < weights_count(weights); i++) {
        const WeightEntry *a = weights_entry(weights, i), *b = weights_find(copy, a->name);
        demand(b && a->rank == b->rank && a->dtype == b->dtype && a->count == b->count);
        demand(memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size) == 0);
        uint8_t x[512], y[512];
        for (int64_t done = 0; done < a->count; done += 64) {
            int64_t n = a->count - done < 64 ? a->count - done : 64;
            demand(weights_read_part(weights, a, done, n, x) == 0 && weights_read_part(copy, b, done, n, y) == 0);
            demand(memcmp(x, y, (size_t)n * weight_dtype_size(a->dtype)) == 0);
        }
    }
}

/* Values as f32: in parts and whole the same, and the check finds what is not finite. Large views of a few bytes are
 * honest work and left out. */
static void check_values(const Weights *weights, const WeightEntry *entry) {
    enum { MOST = 1 << 14 };
    WeightCheck check;
    demand(weight_dtype_name(entry->dtype) && weight_dtype_size(entry->dtype));
    if (entry->count > MOST) return;
    float *values = mem_array((size_t)entry->count + 1, sizeof *values), last;
    demand(values);
    int rc = weights_read_f32(weights, entry, values);
    demand(rc == weights_check(weights, entry, &check));
    if (!rc && entry->count) {
        int64_t odd = 0;
        for (int64_t i = 0; i < entry->count; i++) odd += !isfinite(values[i]);
        demand(odd == check.nan + check.inf && (odd == 0) == (check.first_bad < 0));
        demand(weights_read_part_f32(weights, entry, entry->count - 1, 1, &last) == 0);
        demand(memcmp(&last, &values[entry->count - 1], sizeof last) == 0);
        const float *direct = weights_direct_f32(weights, entry);
        if (direct) demand(memcmp(direct, values, (size_t)entry->count * sizeof *values) == 0);
    }
    mem_free(values);
}

/* Converted, floats are of that type, and everything else is as it was. */
static void check_converted(const Weights *weights, const WeightsConvert *convert) {
    Out *out;
    uint8_t *bytes;
    size_t size;
    Weights *copy;
    demand(out_memory(&out) == 0);
    if (weights_convert(weights, convert, out)) {
        demand(*err_sentence());
        out_abort(&out);
        return;
    }
    demand(out_memory_take(&out, &bytes, &size) == 0 && weights_open_memory(bytes, size, "copy", &copy) == 0);
    demand(weights_count(copy) == weights_count(weights) && weights_parameters(copy) == weights_parameters(weights));
    for (int i = 0; i < weights_count(copy); i++) {
        const WeightEntry *entry = weights_entry(copy, i);
        demand(!weight_dtype_is_float(entry->dtype) || convert->keep_dtype || entry->dtype == convert->dtype);
    }
    if (!convert->allow_nonfinite && weights_parameters(copy) < 1 << 16) demand(weights_check_all(copy) == 0);
    weights_close(copy);
    mem_free(bytes);
}

static void check_named(const uint8_t *data, size_t size, int from_memory) {
    Weights *weights;
    const char *path = memory_file(data, size);
    int rc = weights_open(path, &weights);
    demand(rc == from_memory && !rc == !!weights);
    if (rc) demand(strncmp(err_sentence(), path, strlen(path)) == 0);
    weights_close(weights);
}

static void check_weights(const uint8_t *data, size_t size) {
    Weights *weights, *copy;
    err_clear();
    if (weights_open_memory(data, size, "input", &weights)) {
        demand(!weights && err_code() == ERR_WEIGHTS && strncmp(err_sentence(), "input: ", 7) == 0);
        check_named(data, size, ERR_WEIGHTS);
        return;
    }
    check_named(data, size, 0);
    demand(*weights_format(weights) && weights_key(weights) && weights_skipped(weights) >= 0);
    demand(weights_file_bytes(weights) == size);
    for (int i = 0; i < weights_count(weights); i++) check_entry(weights, weights_entry(weights, i), size);
    for (int i = 0; i < weights_count(weights) && i < 16; i++) check_values(weights, weights_entry(weights, i));
    WeightsSummary summary;
    weights_describe(weights, &summary);
    WeightWanted wanted = {.name = "a", .rank = 1, .size = {2}};
    WeightsDifference difference;
    if (weights_compare(weights, "m", &wanted, 1, &difference)) demand(*err_sentence() && *difference.report);
    weights_difference_free(&difference);
    Out *out;
    uint8_t *bytes;
    size_t bytes_size;
    demand(out_memory(&out) == 0);
    WeightsConvert convert = {.keep_dtype = true, .allow_nonfinite = true};
    if (weights_convert(weights, &convert, out) == 0) {
        demand(out_memory_take(&out, &bytes, &bytes_size) == 0);
        demand(weights_open_memory(bytes, bytes_size, "copy", &copy) == 0);
        compare_with_copy(weights, copy);
        weights_close(copy);
        mem_free(bytes);
    } else {
        demand(*err_sentence());
        out_abort(&out);
    }
    if (weights_parameters(weights) < 1 << 16) {
        static const WeightDType to[] = {WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16};
        for (int i = 0; i < 3; i++)
            check_converted(weights, &(WeightsConvert){.dtype = to[i], .allow_nonfinite = i == 2, .strip_prefix = "a"});
    }
    weights_close(weights);
}
#endif
