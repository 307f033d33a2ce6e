/* tensor/files/describe.h - what `panum model` tells about weight files, and conversion to safetensors. */
#ifndef PANUM_TENSOR_FILES_DESCRIBE_H
#define PANUM_TENSOR_FILES_DESCRIBE_H
#include "base/file.h"
#include "tensor/files/safetensors.h"
#include "tensor/files/weights.h"

/* Which published model the names and shapes are of: "s2m2-S", "s2m2-M", "s2m2-L", "s2m2-XL", or "s2m2 (C 96, T 1)" for
 * a size that nobody published (from the width of cnn_backbone.norm1.weight and the number of
 * transformer.uformer_list), with or without a prefix such as "module.". False, and "" in out, when it is none that we
 * know. */
bool weights_guess_model(const Weights *weights, char *out, size_t size);

/* SHA-256 of the file's bytes in hex: the identity of weights. Reads all of it. */
int weights_sha256(const Weights *weights, char hex[65]);

typedef struct {
    int tensors, by_dtype[WEIGHT_DTYPES];
    int64_t parameters;    /* elements of all tensors */
    uint64_t tensor_bytes; /* as stored, shared storage counted for each tensor */
    int longest_name;      /* bytes, for columns */
    int views;             /* tensors that are not row-major in the file */
    char model[48];        /* weights_guess_model */
    const char *licence;   /* from the metadata, NULL when it says none */
} WeightsSummary;
void weights_describe(const Weights *weights, WeightsSummary *summary);

typedef struct {
    WeightDType dtype;    /* of what was float: WEIGHT_F32, WEIGHT_F16 or WEIGHT_BF16 */
    bool keep_dtype;      /* floats stay as they are; dtype is not looked at */
    bool allow_nonfinite; /* NaN and infinity are copied; otherwise they, and f32 values that overflow f16, are refused
                           */
    const char *strip_prefix; /* taken off the names that have it; NULL for none */
    /* Said in the file besides, each key once; the old metadata's value for such a key is left out, and an empty value
     * is not written at all. */
    const SafetensorsNote *notes;
    int note_count;
} WeightsConvert;
/* Writes all tensors, row-major, wider elements first and else in the order of the file, with the old metadata and
 * where they came from ("source", "source_sha256", "converted_by"). Integers stay as they are. The caller opens and
 * commits `out`. */
int weights_convert(const Weights *weights, const WeightsConvert *convert, Out *out);
#endif
