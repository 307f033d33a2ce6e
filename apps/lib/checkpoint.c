#include "apps/lib/checkpoint.h"
#include "apps/lib/run.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char format_note[] = "panum checkpoint 1";
static const char name_format[] = "checkpoint_%09" PRId64 ".safetensors";

struct Checkpoint {
    Weights *file;
};

/* ---- what the digest is of ---- */

static void hash_text(Sha256 *hash, const char *text) {
    sha256_add(hash, text, strlen(text) + 1);
}

static void hash_tensor(Sha256 *hash, const char *name, int rank, const int64_t *size, const void *data, size_t bytes) {
    hash_text(hash, name);
    for (int i = 0; i < rank; i++) {
        uint8_t digit[8];
        for (int k = 0; k < 8; k++) digit[k] = (uint8_t)((uint64_t)size[i] >> 8 * k);
        sha256_add(hash, digit, sizeof digit);
    }
    sha256_add(hash, data, bytes);
}

static int order_notes(const void *a, const void *b) {
    return strcmp(((const SafetensorsNote *)a)->key, ((const SafetensorsNote *)b)->key);
}

/* Notes in the order of their names, the digest itself left out. */
static void hash_notes(Sha256 *hash, SafetensorsNote *notes, int count) {
    qsort(notes, (size_t)count, sizeof *notes, order_notes);
    for (int i = 0; i < count; i++) {
        if (strcmp(notes[i].key, "sha256") == 0) continue;
        hash_text(hash, notes[i].key);
        hash_text(hash, notes[i].value);
    }
}

/* ---- writing ---- */

typedef struct {
    Arena *arena;
    SafetensorsTensor *tensors;
    int count;
    char *crcs; /* eight hexadecimal digits a tensor */
    SafetensorsNote notes[CHECKPOINT_NOTES_MAX + 3];
    int note_count;
    char digest[65];
} Draft;

static int draft_tensors(Draft *d, const ParameterList *list, const CheckpointBlock *blocks, int block_count) {
    int most = list->count * block_count;
    d->tensors = arena_alloc(d->arena, ((size_t)most + 1) * sizeof *d->tensors);
    d->crcs = arena_alloc(d->arena, 8 * (size_t)most + 1);
    if (arena_failed(d->arena)) return ERR_MEMORY;
    for (int b = 0; b < block_count; b++)
        for (int i = 0; i < list->count; i++) {
            const Parameter *p = &list->at[i];
            SafetensorsTensor *t = &d->tensors[d->count++];
            t->name = arena_format(d->arena, "%s.%s", blocks[b].name, p->name);
            t->dtype = WEIGHT_F32;
            t->rank = p->rank;
            memcpy(t->size, p->size, (size_t)p->rank * sizeof *t->size);
            t->data = blocks[b].values + p->offset;
            uint32_t crc = crc32_update(0, t->data, (size_t)p->count * sizeof(float));
            snprintf(d->crcs + 8 * (d->count - 1), 9, "%08" PRIx32, crc);
        }
    return arena_failed(d->arena) ? (int)ERR_MEMORY : 0;
}

static int write_draft(Draft *d, const char *path) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    hash_notes(&hash, d->notes, d->note_count);
    for (int i = 0; i < d->count; i++) {
        size_t bytes = sizeof(float);
        for (int k = 0; k < d->tensors[i].rank; k++) bytes *= (size_t)d->tensors[i].size[k];
        hash_tensor(&hash, d->tensors[i].name, d->tensors[i].rank, d->tensors[i].size, d->tensors[i].data, bytes);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, d->digest);
    d->notes[d->note_count++] = (SafetensorsNote){"sha256", d->digest};
    Out *out;
    int code = out_open(path, OUT_OVERWRITE, &out);
    if (code) return code;
    code = safetensors_write(out, d->tensors, d->count, d->notes, d->note_count);
    int end = code ? 0 : out_commit(&out);
    out_abort(&out);
    return code ? code : end;
}

int checkpoint_write(const char *path, const ParameterList *list, const CheckpointBlock *blocks, int block_count,
                     const SafetensorsNote *notes, int note_count) {
    BUG_IF(note_count > CHECKPOINT_NOTES_MAX || block_count > CHECKPOINT_BLOCKS_MAX,
           "a checkpoint of %d blocks, %d notes", block_count, note_count);
    Draft d = {.arena = arena_make()};
    int code = d.arena ? draft_tensors(&d, list, blocks, block_count) : (int)ERR_MEMORY;
    if (!code) {
        memcpy(d.notes, notes, (size_t)note_count * sizeof *notes);
        d.note_count = note_count;
        d.notes[d.note_count++] = (SafetensorsNote){"format", format_note};
        d.notes[d.note_count++] = (SafetensorsNote){"crc32", d.crcs};
        code = write_draft(&d, path);
    }
    arena_drop(d.arena);
    return code;
}

/* ---- reading ---- */

static int damaged(const Weights *file, const char *what) {
    return fail(ERR_WEIGHTS, "%s: is damaged (%s)", show_path(weights_path(file)), what);
}

/* The first tensor whose CRC is not the one written, for people; NULL: it is not in the tensors. */
static const char *find_damage(const Weights *file, char *out, size_t size) {
    const char *crcs = weights_metadata(file, "crc32");
    for (int i = 0; crcs && strlen(crcs) == 8 * (size_t)weights_count(file) && i < weights_count(file); i++) {
        const WeightEntry *entry = weights_entry(file, i);
        const float *values = weights_direct_f32(file, entry);
        char crc[9];
        if (!values) continue;
        snprintf(crc, sizeof crc, "%08" PRIx32, crc32_update(0, values, (size_t)entry->bytes));
        if (memcmp(crc, crcs + 8 * i, 8) == 0) continue;
        char name[2 * WEIGHT_NAME_MAX];
        snprintf(out, size, "tensor %d, %s", i, err_printable(name, sizeof name, entry->name));
        return out;
    }
    return NULL;
}

static int verify(const Weights *file) {
    const char *format = weights_metadata(file, "format"), *digest = weights_metadata(file, "sha256");
    int count = weights_metadata_count(file);
    if (!format || strcmp(format, format_note) != 0 || !digest || count > CHECKPOINT_NOTES_MAX + 3)
        return fail(ERR_WEIGHTS, "%s: is no checkpoint of a training", show_path(weights_path(file)));
    SafetensorsNote notes[CHECKPOINT_NOTES_MAX + 3];
    for (int i = 0; i < count; i++) weights_metadata_at(file, i, &notes[i].key, &notes[i].value);
    Sha256 hash;
    uint8_t found[32];
    char hex[65], what[1200];
    sha256_begin(&hash);
    hash_notes(&hash, notes, count);
    for (int i = 0; i < weights_count(file); i++) {
        const WeightEntry *entry = weights_entry(file, i);
        const float *values = entry->count ? weights_direct_f32(file, entry) : (const float *)what;
        if (!values) return damaged(file, "a tensor that is not f32");
        hash_tensor(&hash, entry->name, entry->rank, entry->size, values, (size_t)entry->bytes);
    }
    sha256_end(&hash, found);
    sha256_hex(found, hex);
    if (strcmp(hex, digest) == 0) return 0;
    const char *where = find_damage(file, what, sizeof what);
    return damaged(file, where ? where : "its header");
}

int checkpoint_open(const char *path, Checkpoint **out) {
    *out = NULL;
    Checkpoint *c = mem_zero(1, sizeof *c);
    if (!c) return ERR_MEMORY;
    int code = weights_open(path, &c->file);
    if (!code) code = verify(c->file);
    if (code) {
        checkpoint_close(c);
        return code;
    }
    *out = c;
    return 0;
}

void checkpoint_close(Checkpoint *c) {
    if (!c) return;
    weights_close(c->file);
    mem_free(c);
}

const char *checkpoint_path(const Checkpoint *c) {
    return weights_path(c->file);
}

int checkpoint_notes(const Checkpoint *c) {
    return weights_metadata_count(c->file);
}

void checkpoint_note_at(const Checkpoint *c, int index, const char **name, const char **value) {
    weights_metadata_at(c->file, index, name, value);
}

const char *checkpoint_note(const Checkpoint *c, const char *name) {
    return weights_metadata(c->file, name);
}

static int lacks(const Checkpoint *c, const char *what, const char *name) {
    return fail(ERR_WEIGHTS, "%s: has no usable %s \"%s\"; this training cannot go on from it",
                show_path(weights_path(c->file)), what, name);
}

int checkpoint_whole(const Checkpoint *c, const char *name, int64_t least, int64_t most, int64_t *value) {
    const char *text = checkpoint_note(c, name);
    char *end;
    errno = 0;
    *value = text ? strtoll(text, &end, 10) : 0;
    if (!text || !*text || *end || errno || *value < least || *value > most) return lacks(c, "note", name);
    return 0;
}

int checkpoint_real(const Checkpoint *c, const char *name, double *value) {
    const char *text = checkpoint_note(c, name);
    char *end;
    *value = text ? strtod(text, &end) : 0;
    if (!text || !*text || *end || isnan(*value)) return lacks(c, "note", name);
    return 0;
}

int checkpoint_block(const Checkpoint *c, const char *name, const ParameterList *list, float *values) {
    char full[2 * WEIGHT_NAME_MAX];
    for (int i = 0; i < list->count; i++) {
        const Parameter *p = &list->at[i];
        snprintf(full, sizeof full, "%s.%s", name, p->name);
        const WeightEntry *entry = weights_find(c->file, full);
        bool same = entry && entry->rank == p->rank && entry->count == p->count;
        for (int k = 0; same && k < p->rank; k++) same = entry->size[k] == p->size[k];
        if (!same) return lacks(c, "tensor", full);
        int code = weights_read_f32(c->file, entry, values + p->offset);
        if (code) return code;
    }
    return 0;
}

/* ---- the folder ---- */

void checkpoint_name(char name[CHECKPOINT_NAME], int64_t step) {
    snprintf(name, CHECKPOINT_NAME, name_format, step);
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of all checkpoints in the folder, newest first. */
static int list_steps(const char *folder, int64_t **steps, int64_t *count) {
    *steps = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    int64_t room = 0;
    int code = 0;
    for (struct dirent *entry; !code && (entry = readdir(dir));) {
        int64_t step;
        char name[CHECKPOINT_NAME];
        if (sscanf(entry->d_name, "checkpoint_%18" SCNd64, &step) != 1) continue;
        checkpoint_name(name, step);
        if (step < 0 || strcmp(name, entry->d_name) != 0) continue;
        if (*count == room) {
            room = room ? 2 * room : 16;
            int64_t *more = mem_grow(*steps, (size_t)room * sizeof *more);
            if (!more) {
                code = ERR_MEMORY;
                break;
            }
            *steps = more;
        }
        (*steps)[(*count)++] = step;
    }
    closedir(dir);
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
    return code;
}

static void path_of(char path[PATH_MAX], const char *folder, int64_t step) {
    char name[CHECKPOINT_NAME];
    checkpoint_name(name, step);
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

int checkpoint_newest(const char *folder, void (*told)(const char *sentence), Checkpoint **out) {
    *out = NULL;
    int64_t *steps, count;
    int code = list_steps(folder, &steps, &count);
    for (int64_t i = 0; !code && i < count; i++) {
        char path[PATH_MAX];
        path_of(path, folder, steps[i]);
        if (!checkpoint_open(path, out)) break;
        if (err_code() == ERR_MEMORY) code = ERR_MEMORY;
        if (!code && told) told(err_sentence());
    }
    mem_free(steps);
    if (!code && count && !*out)
        code = fail(ERR_WEIGHTS,
                    "%s: none of its %" PRId64 " checkpoints is whole; move them away to begin anew, or bring back a "
                    "copy of one",
                    show_path(folder), count);
    return code;
}

void checkpoint_prune(const char *folder, int keep) {
    int64_t *steps, count;
    if (!list_steps(folder, &steps, &count))
        for (int64_t i = keep; i < count; i++) {
            char path[PATH_MAX];
            path_of(path, folder, steps[i]);
            unlink(path);
        }
    mem_free(steps);
}
