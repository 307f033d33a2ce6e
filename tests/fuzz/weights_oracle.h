/* tests/fuzz/weights_oracle.h - what must hold for any bytes that are opened as weights: refused with a reason, or the
 * last byte of each tensor lies in the file, all of it can be read, and written as safetensors it reads as the same. */
#ifndef PANUM_TESTS_FUZZ_WEIGHTS_ORACLE_H
#define PANUM_TESTS_FUZZ_WEIGHTS_ORACLE_H
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/compare.h"
#include "tensor/files/describe.h"
#include "tensor/files/weights.h"

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

static void check_weights(const uint8_t *data, size_t size) {
    Weights *weights, *copy;
    err_clear();
    if (weights_open_memory(data, size, "input", &weights)) {
        demand(!weights && err_code() == ERR_WEIGHTS && strncmp(err_sentence(), "input: ", 7) == 0);
        return;
    }
    for (int i = 0; i < weights_count(weights); i++) check_entry(weights, weights_entry(weights, i), size);
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
    weights_close(weights);
}
#endif
