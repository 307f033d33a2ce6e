/* nn/parameters.h - the parameters of a program side by side in one block of numbers: where each one lies, and files of
 * them. Weights, their gradients, an optimiser's moments and an average all have this one layout, so that what is done
 * to every parameter is one pass over a block.
 *
 * Parameters stand in the order in which the program first asked for them, row-major, each beginning at a multiple of
 * PARAMETER_ALIGN; the numbers between them are zero and stay zero. */
#ifndef PANUM_NN_PARAMETERS_H
#define PANUM_NN_PARAMETERS_H
#include "base/file.h"
#include "base/mem.h"
#include "base/names.h"
#include "tensor/files/safetensors.h"
#include "tensor/program.h"

enum { PARAMETER_ALIGN = 16 };

typedef struct {
    const char *name;
    int rank;
    int64_t size[RANK_MAX];
    int64_t offset, count; /* in numbers, of its first one in a block; without what fills up to the next */
} Parameter;

typedef struct {
    Parameter *at;
    int count;
    int64_t block;   /* numbers in a block */
    int64_t numbers; /* of all parameters together */
    Arena *names;
    IndexedName *sorted;
} ParameterList;

/* Owns its names: it may outlive the program. NULL with ERR_MEMORY. */
ParameterList *parameters_of(const Program *program);
void parameters_drop(ParameterList *list);                        /* NULL is fine */
int parameters_find(const ParameterList *list, const char *name); /* -1: not there */

/* Fills `to` with the parameters of the same names in `from`; all must be there, in the same shapes. */
void parameters_copy(const ParameterList *list, real *to, const ParameterList *from_list, const real *from);

/* Is a name of one of the forms in `patterns` ("*.bias,disp_init.*")? Commas part them; each is as text_matches has it.
 */
bool name_matches(const char *patterns, const char *name);

/* Reads all parameters from a weights file: exactly these, in these shapes, or ERR_WEIGHTS with every difference
 * counted; values must be finite. `model` is what messages call the network. */
int parameters_load(const ParameterList *list, const char *path, const char *model, real *block);
/* Writes a whole safetensors file of f32 or f16 numbers; the caller opens and commits `out`. A value that f16 cannot
 * hold is refused by name. */
int parameters_write(const ParameterList *list, const real *block, WeightDType dtype, const SafetensorsNote *notes,
                     int note_count, Out *out);
#endif
