/* tensor/files/weights.h - one interface for the files that weights come in: safetensors, and PyTorch's .pth as zip
 * (1.6 and later, zip64 too) and legacy (before). The file is mapped, not copied; nothing in it is executed and no path
 * in it is opened. All failures are ERR_WEIGHTS (or ERR_MEMORY), and name the file.
 *
 * Everything that an entry says has been checked when weights_open returns: every element of every tensor lies in the
 * file, and counts and byte sizes do not overflow. Numbers themselves are looked at by weights_check. */
#ifndef PANUM_TENSOR_FILES_WEIGHTS_H
#define PANUM_TENSOR_FILES_WEIGHTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    WEIGHT_F32,
    WEIGHT_F16,
    WEIGHT_BF16,
    WEIGHT_F64,
    WEIGHT_I64,
    WEIGHT_I32,
    WEIGHT_I16,
    WEIGHT_I8,
    WEIGHT_U8,
    WEIGHT_BOOL,
    WEIGHT_DTYPES
} WeightDType;
size_t weight_dtype_size(WeightDType dtype);      /* bytes of one element */
const char *weight_dtype_name(WeightDType dtype); /* "f32", "bf16", ... */
bool weight_dtype_is_float(WeightDType dtype);

/* Limits of what is read; a file beyond them is refused with a sentence. */
enum { WEIGHT_RANK_MAX = 8, WEIGHT_NAME_MAX = 512, WEIGHTS_TENSORS_MAX = 65536 };

typedef struct {
    const char *name; /* lives as long as the Weights */
    WeightDType dtype;
    int rank;
    int64_t size[WEIGHT_RANK_MAX];   /* PyTorch's order, outermost first */
    int64_t stride[WEIGHT_RANK_MAX]; /* elements, never negative; 0 repeats */
    int64_t count;                   /* elements: product of the sizes, 1 for rank 0 */
    uint64_t offset;                 /* bytes from the start of the file to the first element */
    uint64_t bytes;                  /* from there to the end of the last element; 0 when count is 0 */
} WeightEntry;

typedef struct Weights Weights;
int weights_open(const char *path, Weights **weights);
/* The same for bytes in memory, which have to outlive the Weights; `path` is what messages call them. */
int weights_open_memory(const void *bytes, size_t size, const char *path, Weights **weights);
void weights_close(Weights *weights); /* NULL is fine */

const char *weights_path(const Weights *weights);
const char *weights_format(const Weights *weights); /* "safetensors", "PyTorch zip", "PyTorch legacy" */
/* The key under which the tensors were found ("state_dict"), "" when they are the file's top level. */
const char *weights_key(const Weights *weights);
int64_t weights_skipped(const Weights *weights); /* values beside the tensors that were passed over */
uint64_t weights_file_bytes(const Weights *weights);

int weights_count(const Weights *weights);
const WeightEntry *weights_entry(const Weights *weights, int index); /* in the order of the file */
const WeightEntry *weights_find(const Weights *weights, const char *name);
int64_t weights_parameters(const Weights *weights); /* elements of all tensors together */

int weights_metadata_count(const Weights *weights); /* safetensors only */
void weights_metadata_at(const Weights *weights, int index, const char **key, const char **value);
const char *weights_metadata(const Weights *weights, const char *key); /* NULL when absent */

/* Elements first .. first+count-1 in row-major order, whatever the strides are, in the file's dtype. */
int weights_read_part(const Weights *weights, const WeightEntry *entry, int64_t first, int64_t count, void *out);
int weights_read_part_f32(const Weights *weights, const WeightEntry *entry, int64_t first, int64_t count, float *out);
/* The values where they lie in the mapped file, when they are f32, row-major and aligned; else NULL: read a copy. */
const float *weights_direct_f32(const Weights *weights, const WeightEntry *entry);
/* The whole tensor, entry->count values. */
int weights_read_f32(const Weights *weights, const WeightEntry *entry, float *out);

typedef struct {
    int64_t nan, inf, zero; /* how many elements are that */
    int64_t first_bad;      /* row-major index of the first that is not finite, -1 if none */
    double max_abs;         /* over the finite ones */
} WeightCheck;
int weights_check(const Weights *weights, const WeightEntry *entry, WeightCheck *check);
/* Every tensor read; ERR_WEIGHTS at the first with a value that is not finite ("feat.3.conv.weight has 12 NaN"). */
int weights_check_all(const Weights *weights);

/* Between f32 and a dtype, n elements; integers are converted by value, bool to 0 and 1. */
void weight_to_f32(WeightDType dtype, const void *from, int64_t n, float *to);
void weight_from_f32(WeightDType dtype, const float *from, int64_t n, void *to); /* f32, f16, bf16, f64 only */
/* "128x64x3x3", "scalar" for rank 0. Returns out. */
char *weight_shape_text(int rank, const int64_t *size, char *out, size_t out_size);
enum { WEIGHT_SHAPE_TEXT = 8 * 21 };
#endif
