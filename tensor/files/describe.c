#include "tensor/files/describe.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tensor/files/safetensors.h"
#include "tensor/files/weights_build.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 }; /* elements converted at a time: L1 and a bit */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool weights_guess_model(const Weights *weights, char *out, size_t size) {
    static const char width_name[] = "cnn_backbone.norm1.weight", list_name[] = "transformer.uformer_list.";
    out[0] = 0;
    const WeightEntry *width = NULL;
    for (int i = 0; i < weights_count(weights) && !width; i++) {
        const WeightEntry *entry = weights_entry(weights, i);
        if (entry->rank == 1 && ends_with(entry->name, width_name)) width = entry;
    }
    if (!width) return false;
    size_t prefix = strlen(width->name) - strlen(width_name);
    long blocks = 0;
    for (int i = 0; i < weights_count(weights); i++) {
        const char *name = weights_entry(weights, i)->name;
        if (strncmp(name, width->name, prefix) != 0 || strncmp(name + prefix, list_name, strlen(list_name)) != 0)
            continue;
        long block = strtol(name + prefix + strlen(list_name), NULL, 10); /* any number: names are the file's */
        if (block >= blocks && block < 1000) blocks = block + 1;
    }
    static const struct {
        int64_t width;
        long blocks;
        const char *name;
    } published[] = {
        {32, 1, "s2m2-XS"}, {128, 1, "s2m2-S"}, {192, 2, "s2m2-M"}, {256, 3, "s2m2-L"}, {384, 3, "s2m2-XL"}};
    for (size_t k = 0; k < sizeof published / sizeof *published; k++) {
        if (width->size[0] != published[k].width || blocks != published[k].blocks) continue;
        snprintf(out, size, "%s", published[k].name);
        return true;
    }
    snprintf(out, size, "s2m2 (C %" PRId64 ", T %ld)", width->size[0], blocks);
    return true;
}

int weights_sha256(const Weights *weights, char hex[65]) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    sha256_add(&hash, weights->bytes, weights->size);
    sha256_end(&hash, digest);
    sha256_hex(digest, hex);
    if (weights->map && file_map_check(weights->map)) return fail(ERR_WEIGHTS, "%s", err_sentence());
    return 0;
}

static bool is_row_major(const WeightEntry *entry) {
    WeightEntry dense = *entry;
    if (!weight_dense_strides(&dense)) return false;
    for (int i = 0; i < entry->rank; i++)
        if (entry->size[i] > 1 && entry->stride[i] != dense.stride[i]) return false;
    return true;
}

void weights_describe(const Weights *weights, WeightsSummary *summary) {
    *summary = (WeightsSummary){.tensors = weights_count(weights), .parameters = weights_parameters(weights)};
    for (int i = 0; i < weights_count(weights); i++) {
        const WeightEntry *entry = weights_entry(weights, i);
        summary->by_dtype[entry->dtype]++;
        summary->tensor_bytes += (uint64_t)entry->count * weight_dtype_size(entry->dtype);
        int n = (int)strlen(entry->name);
        if (n > summary->longest_name) summary->longest_name = n;
        if (entry->count && !is_row_major(entry)) summary->views++;
    }
    weights_guess_model(weights, summary->model, sizeof summary->model);
    summary->licence = weights_metadata(weights, "license");
    if (!summary->licence) summary->licence = weights_metadata(weights, "licence");
}

static WeightDType target_dtype(const WeightsConvert *convert, WeightDType from) {
    return convert->keep_dtype || !weight_dtype_is_float(from) ? from : convert->dtype;
}

static int refuse_number(const Weights *weights, const WeightEntry *entry, int64_t index, float value, WeightDType to) {
    const char *advice = isfinite(value) ? "it does not fit; convert to bf16 or f32"
                                         : "NaN and infinity are only copied with --allow-nonfinite";
    return weights_fail(weights, "tensor \"%s\" has %g at element %" PRId64 ", as %s: %s", entry->name, (double)value,
                        index, weight_dtype_name(to), advice);
}

/* From this size on f16 rounds to infinity. */
#define F16_OVERFLOW 65520.0f

static int write_tensor(const Weights *weights, const WeightEntry *entry, const WeightsConvert *convert, float *values,
                        void *converted, Out *out) {
    WeightDType to = target_dtype(convert, entry->dtype);
    bool floats = weight_dtype_is_float(entry->dtype);
    for (int64_t done = 0; done < entry->count; done += CHUNK) {
        int64_t n = entry->count - done < CHUNK ? entry->count - done : CHUNK;
        int rc = weights_read_part(weights, entry, done, n, converted);
        if (!rc && floats && (to != entry->dtype || !convert->allow_nonfinite)) {
            weight_to_f32(entry->dtype, converted, n, values);
            for (int64_t i = 0; i < n && !convert->allow_nonfinite; i++)
                if (!isfinite(values[i]) || (to == WEIGHT_F16 && fabsf(values[i]) >= F16_OVERFLOW))
                    return refuse_number(weights, entry, done + i, values[i], to);
            if (to != entry->dtype) weight_from_f32(to, values, n, converted);
        }
        if (rc || (rc = out_write(out, converted, (size_t)n * weight_dtype_size(to)))) return rc;
    }
    return 0;
}

/* Wider elements come first, as the format's own library writes them: so each tensor lies aligned. */
static int write_all(const Weights *weights, const WeightsConvert *convert, SafetensorsTensor *tensors,
                     SafetensorsNote *notes, int *order, Out *out) {
    static const char *const ours[] = {"source", "source_sha256", "converted_by"};
    char sha256[65];
    int note_count = 0, count = weights_count(weights);
    int rc = weights_sha256(weights, sha256);
    if (rc) return rc;
    for (int i = 0; i < weights_metadata_count(weights); i++) {
        SafetensorsNote note;
        weights_metadata_at(weights, i, &note.key, &note.value);
        bool replaced = false;
        for (int k = 0; k < 3; k++) replaced = replaced || strcmp(note.key, ours[k]) == 0;
        for (int k = 0; k < convert->note_count; k++) replaced |= strcmp(note.key, convert->notes[k].key) == 0;
        if (!replaced) notes[note_count++] = note;
    }
    const char *slash = strrchr(weights_path(weights), '/');
    const char *texts[] = {slash ? slash + 1 : weights_path(weights), sha256, "panum " PANUM_VERSION};
    for (int k = 0; k < 3; k++) {
        bool replaced = false;
        for (int i = 0; i < convert->note_count; i++) replaced |= strcmp(ours[k], convert->notes[i].key) == 0;
        if (!replaced) notes[note_count++] = (SafetensorsNote){ours[k], texts[k]};
    }
    for (int i = 0; i < convert->note_count; i++)
        if (*convert->notes[i].value) notes[note_count++] = convert->notes[i];
    size_t prefix = convert->strip_prefix ? strlen(convert->strip_prefix) : 0;
    int placed = 0;
    for (size_t width = 8; width > 0; width /= 2) {
        for (int i = 0; i < count; i++) {
            const WeightEntry *entry = weights_entry(weights, i);
            WeightDType to = target_dtype(convert, entry->dtype);
            if (weight_dtype_size(to) != width) continue;
            bool strip = prefix && strncmp(entry->name, convert->strip_prefix, prefix) == 0 && entry->name[prefix];
            tensors[placed] =
                (SafetensorsTensor){.name = entry->name + (strip ? prefix : 0), .dtype = to, .rank = entry->rank};
            memcpy(tensors[placed].size, entry->size, sizeof entry->size);
            order[placed++] = i;
        }
    }
    if ((rc = safetensors_write_header(out, tensors, count, notes, note_count))) return rc;
    float *values = mem_array(CHUNK, sizeof *values);
    void *converted = mem_array(CHUNK, 8);
    rc = values && converted ? 0 : (int)ERR_MEMORY;
    for (int i = 0; i < count && !rc; i++)
        rc = write_tensor(weights, weights_entry(weights, order[i]), convert, values, converted, out);
    mem_free(values);
    mem_free(converted);
    return rc;
}

int weights_convert(const Weights *weights, const WeightsConvert *convert, Out *out) {
    BUG_IF(!convert->keep_dtype && convert->dtype != WEIGHT_F32 && convert->dtype != WEIGHT_F16 &&
               convert->dtype != WEIGHT_BF16,
           "weights_convert to %s", weight_dtype_name(convert->dtype));
    SafetensorsTensor *tensors = mem_zero((size_t)weights_count(weights), sizeof *tensors);
    SafetensorsNote *notes =
        mem_zero((size_t)weights_metadata_count(weights) + (size_t)convert->note_count + 3, sizeof *notes);
    int *order = mem_array((size_t)weights_count(weights), sizeof *order);
    int rc = tensors && notes && order ? write_all(weights, convert, tensors, notes, order, out) : (int)ERR_MEMORY;
    mem_free(tensors);
    mem_free(notes);
    mem_free(order);
    return rc;
}
