/* tensor/files/pickle.h - a recogniser for the pickles that torch.save writes. It is not an unpickler: it looks nothing
 * up, calls nothing and builds no object; it only follows which of a handful of names the pickle speaks of and which
 * sizes, strides and storage keys it puts beside them. Any other name or opcode is refused with its offset. Opcodes of
 * protocols 2 to 5. No recursion; stack, memo, steps, containers and nesting are bounded, and a container that lies
 * inside another can no longer be added to, so no value contains itself. */
#ifndef PANUM_TENSOR_FILES_PICKLE_H
#define PANUM_TENSOR_FILES_PICKLE_H
#include "tensor/files/weights.h"

enum {
    PICKLE_STACK_MAX = 4096,
    PICKLE_MEMO_MAX = 65536,
    PICKLE_DEPTH_MAX = 64,
    PICKLE_STEPS_MAX = 1 << 24,
    PICKLE_CONTAINERS_MAX = 1 << 19,
    PICKLE_CELLS_MAX = 1 << 21,
};
#define PICKLE_BYTES_MAX ((size_t)64 << 20)

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,   /* whole is 0 or 1 */
    PICKLE_INT,    /* whole */
    PICKLE_OTHER,  /* a number of another kind, or bytes: passed over */
    PICKLE_STRING, /* `whole` bytes at text[index] */
    PICKLE_TUPLE,  /* containers[index] */
    PICKLE_LIST,
    PICKLE_DICT,    /* cells are key, value, key, value, ... */
    PICKLE_GLOBAL,  /* one of the names known to pickle.c */
    PICKLE_STORAGE, /* storages[index] */
    PICKLE_TENSOR,  /* tensors[index] */
} PickleKind;

typedef struct {
    uint32_t kind, index;
    int64_t whole;
} PickleValue;

/* Cells are numbered from 1; 0 ends a chain. */
typedef struct {
    PickleValue value;
    uint32_t next;
} PickleCell;

typedef struct {
    uint32_t first, last, count;
    uint16_t depth;
    bool closed;
} PickleContainer;

typedef struct {
    uint32_t key, key_bytes; /* in the text */
    WeightDType dtype;
    bool untyped;        /* counted in bytes; dtype means nothing */
    int64_t count;       /* elements */
    int64_t view_offset; /* legacy: elements into the storage named by key; -1 when it is no view */
    int64_t whole_count; /* legacy: elements of the storage that is viewed (not known: -1) */
} PickleStorage;

typedef struct {
    uint32_t storage;
    WeightDType dtype;
    int rank;
    int64_t offset; /* elements */
    int64_t size[WEIGHT_RANK_MAX], stride[WEIGHT_RANK_MAX];
} PickleTensor;

typedef struct {
    const uint8_t *text;
    size_t size; /* of the text; the pickle may end before */
    size_t at;   /* after success: behind STOP */
    bool legacy; /* persistent ids have a sixth field */
    PickleValue stack[PICKLE_STACK_MAX];
    uint32_t stack_count;
    uint32_t marks[PICKLE_STACK_MAX];
    uint32_t mark_count;
    PickleValue *memo; /* kind PICKLE_UNSET where nothing was put */
    uint32_t memo_room, memo_count;
    PickleCell *cells;
    PickleContainer *containers;
    PickleStorage *storages;
    PickleTensor *tensors;
    uint32_t cell_count, cell_room, container_count, container_room, storage_count, storage_room, tensor_count,
        tensor_room;
    PickleValue root;
    char error[200]; /* why it was refused, "" when there was no memory */
} Pickle;

/* 0, ERR_WEIGHTS with pickle->error, or ERR_MEMORY. `pickle` is large: not for the stack. */
int pickle_read(Pickle *pickle, const uint8_t *text, size_t size, bool legacy);
void pickle_free(Pickle *pickle); /* what pickle_read made, not the struct */
bool pickle_is(const Pickle *pickle, PickleValue value, const char *text);
#endif
