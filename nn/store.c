#include "nn/store.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/files/compare.h"
#include "tensor/files/weights.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *key; /* a parameter's name, or the key of a packed copy */
    void *bytes;
    size_t size;
    bool borrowed; /* lies in the mapped file */
} Kept;

typedef struct {
    Kept *kept; /* open addressing by hash of the key; empty slots have no key */
    size_t room, count;
} Table;

struct ParameterStore {
    Weights *file;       /* NULL for seeded values */
    ParameterList *list; /* of a trainable store, with its block; else NULL */
    real *block;
    Arena *names;
    Table values, packed;
    struct {
        const char *name;
        double gain;
    } gain[8];
    int gains;
    size_t packed_bytes;
};

static Kept *look_up(const Table *table, const char *key) {
    if (!table->room) return NULL;
    for (size_t i = fnv1a64(key, strlen(key));; i++) {
        Kept *k = &table->kept[i & (table->room - 1)];
        if (!k->key || strcmp(k->key, key) == 0) return k;
    }
}

/* A slot for a key that is not there yet; the key is copied. */
static Kept *insert(ParameterStore *store, Table *table, const char *key) {
    if (2 * table->count >= table->room) {
        Table larger = {.room = table->room ? 2 * table->room : 256};
        larger.kept = mem_zero(larger.room, sizeof *larger.kept);
        if (!larger.kept) return NULL;
        for (size_t i = 0; i < table->room; i++)
            if (table->kept[i].key) *look_up(&larger, table->kept[i].key) = table->kept[i];
        larger.count = table->count;
        mem_free(table->kept);
        *table = larger;
    }
    char *copy = arena_text(store->names, key);
    if (!copy) return NULL;
    Kept *slot = look_up(table, key);
    slot->key = copy;
    table->count++;
    return slot;
}

static void free_table(Table *table) {
    for (size_t i = 0; i < table->room; i++)
        if (table->kept[i].key && !table->kept[i].borrowed) mem_free(table->kept[i].bytes);
    mem_free(table->kept);
}

static int make(ParameterStore **out) {
    ParameterStore *store = mem_zero(1, sizeof *store);
    if (store) store->names = arena_make();
    if (!store || !store->names) {
        mem_free(store);
        return ERR_MEMORY;
    }
    *out = store;
    return 0;
}

int store_open(const char *path, ParameterStore **out) {
    int code = make(out);
    if (code) return code;
    code = weights_open(path, &(*out)->file);
    if (code) {
        store_close(*out);
        *out = NULL;
    }
    return code;
}

int store_make_seeded(ParameterStore **out) {
    return make(out);
}

int store_make_trainable(const Program *program, ParameterStore **out) {
    int code = make(out);
    if (code) return code;
    ParameterStore *store = *out;
    store->list = parameters_of(program);
    store->block = store->list ? mem_zero((size_t)store->list->block + 1, sizeof *store->block) : NULL;
    if (store->block) return 0;
    store_close(store);
    *out = NULL;
    return ERR_MEMORY;
}

const ParameterList *store_parameters(const ParameterStore *store) {
    return store->list;
}

real *store_block(ParameterStore *store) {
    return store->block;
}

void store_close(ParameterStore *store) {
    if (!store) return;
    parameters_drop(store->list);
    mem_free(store->block);
    free_table(&store->values);
    free_table(&store->packed);
    weights_close(store->file);
    arena_drop(store->names);
    mem_free(store);
}

size_t store_packed_bytes(const ParameterStore *store) {
    return store->packed_bytes;
}

int store_set_gain(ParameterStore *store, const char *name, double gain) {
    const char *copy = arena_text(store->names, name);
    if (!copy) return ERR_MEMORY;
    BUG_IF(store->gains == 8, "more than 8 gains");
    store->gain[store->gains].name = copy;
    store->gain[store->gains++].gain = gain;
    return 0;
}

static void seeded_values(const ParameterStore *store, const Tensor *t, real *out) {
    uint64_t seed = fnv1a64(t->name, strlen(t->name));
    int64_t n = tensor_count(t);
    bool norm = strstr(t->name, "norm") != NULL, scale = norm && strstr(t->name, "weight") != NULL;
    double gain = t->rank == 1 ? 0.1 : sqrt(3.0 * (double)t->size[0] / (double)n);
    double factor = 1;
    for (int i = 0; i < store->gains; i++)
        if (strcmp(store->gain[i].name, t->name) == 0) factor = store->gain[i].gain;
    /* rounded to f32 in every build: the reference's weights are f32 */
    for (int64_t i = 0; i < n; i++) {
        float value = (float)((scale ? 1 : 0) + gain * rng_signed(seed, (uint64_t)i));
        out[i] = (real)(factor == 1 ? value : (float)(factor * value));
    }
}

static const real *parameter_values(void *context, const Tensor *t) {
    ParameterStore *store = context;
    if (store->list) {
        int i = parameters_find(store->list, t->name);
        if (i >= 0 && store->list->at[i].count == tensor_count(t)) return store->block + store->list->at[i].offset;
        fail(ERR_WEIGHTS, "parameter %s is not among those that are trained, or of another shape", t->name);
        return NULL;
    }
    Kept *known = look_up(&store->values, t->name);
    if (known && known->key && known->bytes) return known->bytes;
    const WeightEntry *entry = NULL;
    if (store->file) {
        entry = weights_find(store->file, t->name);
        if (!entry || entry->count != tensor_count(t)) {
            fail(ERR_WEIGHTS, "%s: parameter %s is missing or of another shape", weights_path(store->file), t->name);
            return NULL;
        }
    }
    Kept *slot = known && known->key ? known : insert(store, &store->values, t->name);
    if (!slot) return NULL;
#ifndef PANUM_F64
    const void *mapped = entry ? weights_direct_f32(store->file, entry) : NULL;
    if (mapped) {
        union {
            const void *from;
            void *bytes;
        } borrow = {mapped};
        slot->bytes = borrow.bytes; /* never written: parameters are inputs of programs */
        slot->borrowed = true;
        return slot->bytes;
    }
#endif
    size_t count = (size_t)tensor_count(t);
    real *values = mem_array(count, sizeof *values);
    if (values && entry) {
#ifdef PANUM_F64
        float *narrow = mem_array(count, sizeof *narrow);
        if (!narrow || weights_read_f32(store->file, entry, narrow)) mem_free(values), values = NULL;
        for (size_t i = 0; values && i < count; i++) values[i] = narrow[i];
        mem_free(narrow);
#else
        if (weights_read_f32(store->file, entry, values)) mem_free(values), values = NULL;
#endif
    } else if (values) {
        seeded_values(store, t, values);
    }
    slot->bytes = values;
    slot->size = count * sizeof *values;
    return values;
}

static void *packed_copy(void *context, const char *key, size_t bytes, void (*fill)(void *, void *),
                         void *fill_context) {
    ParameterStore *store = context;
    Kept *known = look_up(&store->packed, key);
    if (known && known->key && known->bytes) {
        BUG_IF(known->size != bytes, "packed copy '%s' asked for with two sizes", key);
        return known->bytes;
    }
    Kept *slot = known && known->key ? known : insert(store, &store->packed, key);
    void *packed = slot ? mem_alloc(bytes) : NULL;
    if (!packed) return NULL;
    fill(fill_context, packed);
    slot->bytes = packed;
    slot->size = bytes;
    store->packed_bytes += bytes;
    return packed;
}

WeightSource store_source(ParameterStore *store) {
    return (WeightSource){store, parameter_values, packed_copy};
}

int weights_fit_program(const Weights *file, const Program *program, const char *model, WeightsDifference *difference) {
    int tensors = program_tensors(program), count = 0;
    WeightWanted *wanted = mem_array((size_t)tensors + 1, sizeof *wanted);
    if (!wanted) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        WeightWanted *w = &wanted[count++];
        w->name = t->name;
        w->rank = t->rank;
        for (int k = 0; k < t->rank; k++) w->size[k] = t->size[k];
    }
    int code = weights_compare(file, model, wanted, count, difference);
    mem_free(wanted);
    return code;
}

int store_check(const ParameterStore *store, const Program *program, const char *model) {
    return store->file ? weights_fit_program(store->file, program, model, NULL) : 0;
}
