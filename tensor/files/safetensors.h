/* tensor/files/safetensors.h - writing safetensors. Reading is weights_open.
 * Layout: u64 length of the header, a JSON header padded with spaces so that the data starts at a multiple of 64, then
 * the tensors one after another, little endian, row-major, in the order given. Give wider elements first, so that all
 * are aligned: other readers map them. */
#ifndef PANUM_TENSOR_FILES_SAFETENSORS_H
#define PANUM_TENSOR_FILES_SAFETENSORS_H
#include "base/file.h"
#include "tensor/files/weights.h"

typedef struct {
    const char *name;
    WeightDType dtype;
    int rank;
    int64_t size[WEIGHT_RANK_MAX];
    const void *data; /* row-major, in dtype; not looked at by safetensors_write_header */
} SafetensorsTensor;

typedef struct {
    const char *key, *value;
} SafetensorsNote;

/* Writes all of it. ERR_WEIGHTS for a list that no reader would take (two equal names, sizes that overflow). */
int safetensors_write(Out *out, const SafetensorsTensor *tensors, int count, const SafetensorsNote *notes,
                      int note_count);
/* Writes the header only; then the caller hands over every tensor's bytes with out_write, in the same order, exactly.
 */
int safetensors_write_header(Out *out, const SafetensorsTensor *tensors, int count, const SafetensorsNote *notes,
                             int note_count);
#endif
