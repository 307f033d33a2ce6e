/* tensor/files/npy.h - NumPy's arrays: .npy (versions 1 to 3) and .npz (a zip of them), read and written.
 * Read: bool, integers and floats of 1 to 8 bytes, either byte order, C or Fortran order; text (U). Arrays of Python
 * objects are refused: they are pickles. In memory everything is in host order and row-major.
 * Written: version 1, little endian, C order; members of .npz stored unless asked otherwise, without time stamps, so
 * that equal content makes equal files. Failures are ERR_INPUT (or ERR_MEMORY); a path given is named. */
#ifndef PANUM_TENSOR_FILES_NPY_H
#define PANUM_TENSOR_FILES_NPY_H
#include "base/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    NPY_BOOL,
    NPY_I8,
    NPY_I16,
    NPY_I32,
    NPY_I64,
    NPY_U8,
    NPY_U16,
    NPY_U32,
    NPY_U64,
    NPY_F16,
    NPY_F32,
    NPY_F64,
    NPY_TEXT, /* each element `width` UTF-32 characters, padded with zeros */
    NPY_TYPES
} NpyType;

enum { NPY_RANK_MAX = 8, NPY_HEADER_MAX = 65536 };

typedef struct {
    NpyType type;
    int rank;                   /* 0 for a scalar */
    int64_t size[NPY_RANK_MAX]; /* outermost first */
    int64_t width;              /* characters of an element of NPY_TEXT, else 0 */
    int64_t count;              /* elements */
    size_t bytes;               /* of data */
    uint8_t *data;              /* row-major, host order; from readers owned by the array */
    char comment[80]; /* printable ASCII behind the header's dictionary, as a Python comment: NumPy passes over
                         it, ours says there what the numbers are; "" for none */
} NpyArray;

const char *npy_type_name(NpyType type); /* "float32", "int64", "text", as NumPy calls them */
size_t npy_item_size(const NpyArray *array);
void npy_free(NpyArray *array); /* leaves it zeroed */

int npy_read(const char *path, NpyArray *array);
int npy_read_memory(const uint8_t *bytes, size_t size, NpyArray *array);
/* Values as f32, `count` of them; integers by value. ERR_INPUT for text. */
int npy_to_f32(const NpyArray *array, float *out);
/* Element `index` of a text array as UTF-8, cut at a character if need be; returns out. */
char *npy_text(const NpyArray *array, int64_t index, char *out, size_t size);

/* Writes header and data; type, rank, size, width and data have to be set. */
int npy_write(Out *out, const NpyArray *array);

typedef struct Npz Npz;
int npz_open(const char *path, Npz **npz);
int npz_open_memory(const uint8_t *bytes, size_t size, Npz **npz); /* bytes have to outlive it */
void npz_close(Npz *npz);
int npz_count(const Npz *npz);
const char *npz_name(const Npz *npz, int index); /* without ".npy" */
bool npz_has(const Npz *npz, const char *name);
int npz_read(const Npz *npz, const char *name, NpyArray *array); /* ERR_INPUT with the names there are when absent */

typedef enum { NPZ_STORED, NPZ_PACKED } NpzMode;
typedef struct NpzOut NpzOut;
int npz_out_begin(Out *out, NpzMode mode, NpzOut **npz);
int npz_out_add(NpzOut *npz, const char *name, const NpyArray *array);
/* A row-major array of f32, and a text scalar (a str for NumPy: str(z["kind"])). `text` is UTF-8. */
int npz_out_f32(NpzOut *npz, const char *name, const float *values, int rank, const int64_t *size);
int npz_out_text(NpzOut *npz, const char *name, const char *text);
int npz_out_end(NpzOut **npz); /* writes the directory; frees in any case; the Out stays the caller's */
#endif
