/* tensor/files/weights_build.h - the inside of Weights, shared by weights.c and the readers of the formats only. */
#ifndef PANUM_TENSOR_FILES_WEIGHTS_BUILD_H
#define PANUM_TENSOR_FILES_WEIGHTS_BUILD_H
#include "base/file.h"
#include "base/mem.h"
#include "base/names.h"
#include "tensor/files/weights.h"

typedef struct {
    const char *key, *value;
} WeightsNote;

struct Weights {
    FileMap *map; /* NULL for bytes in memory */
    const uint8_t *bytes;
    size_t size;
    const char *path, *format, *key;
    char shown[300]; /* path, printable */
    Arena *arena;
    WeightEntry *entries;
    int count, room;
    IndexedName *names;
    WeightsNote *notes;
    int note_count, note_room;
    int64_t skipped;
};

/* Appends an entry whose name, dtype, rank, size, stride and offset are set; computes count and bytes and checks that
 * all of it lies in the `storage_bytes` bytes from file offset `storage` on. */
int weights_add(Weights *weights, const WeightEntry *entry, uint64_t storage, uint64_t storage_bytes);
int weights_add_note(Weights *weights, const char *key, const char *value);
/* Row-major strides for the sizes of an entry; false when the number of elements overflows. */
bool weight_dense_strides(WeightEntry *entry);
/* What a name may not be, as the end of a sentence, or NULL: empty, too long, control characters, a path upwards. */
const char *weight_bad_name(const char *name, size_t bytes);
/* fail(ERR_WEIGHTS, ...) with the file's name in front. */
int weights_fail(const Weights *weights, const char *format, ...) __attribute__((format(printf, 2, 3)));

int safetensors_parse(Weights *weights);
bool safetensors_looks_like(const uint8_t *bytes, size_t size);
int pth_parse_zip(Weights *weights);
int pth_parse_legacy(Weights *weights);
bool pth_looks_legacy(const uint8_t *bytes, size_t size);
#endif
