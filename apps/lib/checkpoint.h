/* apps/lib/checkpoint.h - everything a training needs to go on, in one file that is whole or not there.
 *
 * A checkpoint is a safetensors file: blocks of parameters (weights, moments, average) as "BLOCK.PARAMETER" tensors of
 * f32, and notes (step, rates, options, ...) as metadata. Two of the notes are its own: a CRC-32 of every tensor, which
 * says which one is damaged, and a SHA-256 over everything else in the file, which says that none is. It appears under
 * its name only when all of it is on the disk (base/file.h).
 *
 * Like any file it may be hostile: opening one checks everything before a number of it is used. */
#ifndef PANUM_APPS_LIB_CHECKPOINT_H
#define PANUM_APPS_LIB_CHECKPOINT_H
#include "nn/parameters.h"

typedef struct {
    const char *name; /* "weights" */
    const float *values;
} CheckpointBlock;

enum { CHECKPOINT_BLOCKS_MAX = 8, CHECKPOINT_NOTES_MAX = 120 };

int checkpoint_write(const char *path, const ParameterList *list, const CheckpointBlock *blocks, int block_count,
                     const SafetensorsNote *notes, int note_count);

typedef struct Checkpoint Checkpoint;
/* 0 only when every byte is as it was written. ERR_WEIGHTS otherwise. */
int checkpoint_open(const char *path, Checkpoint **checkpoint);
void checkpoint_close(Checkpoint *checkpoint); /* NULL is fine */
const char *checkpoint_path(const Checkpoint *checkpoint);
int checkpoint_notes(const Checkpoint *checkpoint);
void checkpoint_note_at(const Checkpoint *checkpoint, int index, const char **name, const char **value);
const char *checkpoint_note(const Checkpoint *checkpoint, const char *name); /* NULL: it has no such note */
/* ERR_WEIGHTS naming the note when it is missing or no number in least..most. */
int checkpoint_whole(const Checkpoint *checkpoint, const char *name, int64_t least, int64_t most, int64_t *value);
int checkpoint_real(const Checkpoint *checkpoint, const char *name, double *value); /* exact, infinity included */
/* Reads a block; ERR_WEIGHTS when it lacks a parameter of the list or has it in another shape. */
int checkpoint_block(const Checkpoint *checkpoint, const char *name, const ParameterList *list, float *values);

/* ---- a folder of them: checkpoint_000012000.safetensors is the one after step 12,000 ---- */
enum { CHECKPOINT_NAME = 48 };
void checkpoint_name(char name[CHECKPOINT_NAME], int64_t step);
/* Opens the newest that is whole; `told` hears one sentence about each damaged one that was passed over. No checkpoint
 * at all: 0 and NULL. Only damaged ones: ERR_WEIGHTS, since starting anew is not for a program to decide. */
int checkpoint_newest(const char *folder, void (*told)(const char *sentence), Checkpoint **checkpoint);
/* Removes all but the newest `keep`; call after a new one has been written. */
void checkpoint_prune(const char *folder, int keep);
#endif
