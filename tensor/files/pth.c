/* tensor/files/pth.c - PyTorch's .pth files: what lies where. What the pickle in them says is pickle.c's business.
 *
 * Zip (PyTorch 1.6 and later): "<stem>/data.pkl" is the pickle, "<stem>/data/<key>" the storages, all of them stored.
 * Legacy: five pickles one after another (a magic number, 1001, facts of the machine, the object, the list of storage
 * keys), then for each key an i64 count and the elements.
 * The tensors are those of the dict under a well-known key ("state_dict", ...), or of the top level; nested dicts give
 * names with dots. Values that are no tensors are counted and passed over. */
#include "base/err.h"
#include "base/zip.h"
#include "tensor/files/pickle.h"
#include "tensor/files/weights_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARED_MOST = 16 }; /* how often a dict's keys may be met on different ways, on the average */

/* Where each storage of the pickle lies in the file. */
typedef struct {
    uint64_t offset, bytes;
} Place;

static int refused(const Weights *weights, const Pickle *pickle, int rc) {
    if (rc != ERR_WEIGHTS) return rc;
    const char *advice = strncmp(pickle->error, "refused", 7) == 0
                             ? "; only tensors in dicts are read: save the state dict alone, as safetensors"
                             : "; the file is damaged, download it again";
    return weights_fail(weights, "%s%s", pickle->error, advice);
}

/* ---- from the pickle's values to entries ---- */

/* The name of what is being looked at: keys joined by dots. */
typedef struct {
    char text[WEIGHT_NAME_MAX + 2];
    size_t used;
} Name;

static int append_key(Weights *weights, const Pickle *pickle, Name *name, size_t prefix, PickleValue key) {
    if ((uint64_t)key.whole > WEIGHT_NAME_MAX || prefix + (size_t)key.whole > WEIGHT_NAME_MAX)
        return weights_fail(weights, "a tensor's name is longer than %d bytes", WEIGHT_NAME_MAX);
    memcpy(name->text + prefix, pickle->text + key.index, (size_t)key.whole);
    name->used = prefix + (size_t)key.whole;
    name->text[name->used] = 0;
    return 0;
}

static int add_tensor(Weights *weights, const Place *places, const Name *from, const PickleTensor *tensor) {
    char shown[4 * WEIGHT_NAME_MAX + 8];
    const char *name = from->text, *bad = weight_bad_name(name, from->used);
    err_printable(shown, sizeof shown, name);
    if (!bad && strlen(name) != from->used) bad = "has a NUL in its name";
    if (!bad && strcmp(shown, name) != 0) bad = "has a name that is not valid UTF-8";
    if (bad) return weights_fail(weights, "tensor \"%.200s\" %s", shown, bad);
    WeightEntry entry = {.name = arena_text(weights->arena, name), .dtype = tensor->dtype, .rank = tensor->rank};
    if (!entry.name) return (int)ERR_MEMORY;
    memcpy(entry.size, tensor->size, sizeof entry.size);
    memcpy(entry.stride, tensor->stride, sizeof entry.stride);
    Place place = places[tensor->storage];
    uint64_t skip;
    if (__builtin_mul_overflow((uint64_t)tensor->offset, weight_dtype_size(tensor->dtype), &skip) || skip > place.bytes)
        return weights_fail(weights,
                            "tensor \"%s\" starts at element %" PRId64 ", beyond its storage of %" PRIu64 " bytes",
                            name, tensor->offset, place.bytes);
    entry.offset = place.offset + skip;
    return weights_add(weights, &entry, place.offset, place.bytes);
}

/* One dict that is being walked. */
typedef struct {
    uint32_t cell;
    uint32_t prefix; /* bytes of the name that all in it begin with */
} Level;

static bool holds_tensor(const Pickle *pickle, PickleValue dict) {
    for (uint32_t cell = pickle->containers[dict.index].first; cell;) {
        uint32_t value = pickle->cells[cell].next;
        uint32_t kind = pickle->cells[value].value.kind;
        if (kind == PICKLE_TENSOR) return true;
        cell = pickle->cells[value].next;
    }
    return false;
}

/* The dict whose tensors are meant: under a well-known key of the top level, or the top level itself. */
static PickleValue choose_dict(Weights *weights, const Pickle *pickle) {
    static const char *const keys[] = {"state_dict", "model", "model_state_dict", "params_ema", "params", "module"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (uint32_t cell = pickle->containers[pickle->root.index].first; cell;) {
            uint32_t value = pickle->cells[cell].next;
            PickleValue dict = pickle->cells[value].value;
            if (pickle_is(pickle, pickle->cells[cell].value, keys[k]) && dict.kind == PICKLE_DICT &&
                holds_tensor(pickle, dict)) {
                weights->key = keys[k];
                return dict;
            }
            cell = pickle->cells[value].next;
        }
    }
    return pickle->root;
}

static int add_tensors(Weights *weights, const Pickle *pickle, const Place *places) {
    if (pickle->root.kind != PICKLE_DICT)
        return weights_fail(weights,
                            "holds no dict of tensors at its top level; save the state dict alone, as safetensors");
    PickleValue dict = choose_dict(weights, pickle);
    if (dict.index != pickle->root.index) weights->skipped += pickle->containers[pickle->root.index].count / 2 - 1;
    Level levels[PICKLE_DEPTH_MAX + 2] = {{pickle->containers[dict.index].first, 0}};
    Name name;
    int depth = 1, rc = 0;
    /* One dict may be the value of many keys; without a bound, sixty such levels are 2^60 names. */
    uint64_t steps = 0, most = SHARED_MOST * ((uint64_t)pickle->cell_count + SHARED_MOST);
    while (depth > 0 && !rc) {
        Level *level = &levels[depth - 1];
        if (!level->cell) {
            depth--;
            continue;
        }
        if (steps++ == most) return weights_fail(weights, "has dicts in dicts without end");
        PickleValue key = pickle->cells[level->cell].value;
        uint32_t cell = pickle->cells[level->cell].next;
        PickleValue value = pickle->cells[cell].value;
        level->cell = pickle->cells[cell].next;
        bool dives = value.kind == PICKLE_DICT && pickle->containers[value.index].count;
        if (key.kind != PICKLE_STRING || !(value.kind == PICKLE_TENSOR || dives)) {
            weights->skipped++;
            continue;
        }
        if ((rc = append_key(weights, pickle, &name, level->prefix, key))) break;
        if (!dives) {
            rc = add_tensor(weights, places, &name, &pickle->tensors[value.index]);
            continue;
        }
        BUG_IF(depth >= PICKLE_DEPTH_MAX + 2, "nesting is bounded by pickle.c");
        name.text[name.used] = '.';
        levels[depth++] = (Level){pickle->containers[value.index].first, (uint32_t)name.used + 1};
    }
    if (rc) return rc;
    if (weights->count == 0) return weights_fail(weights, "holds no tensors");
    return 0;
}

/* ---- zip ---- */

static const ZipEntry *find_pickle(const Zip *zip, size_t *stem_bytes, bool *script) {
    const ZipEntry *found = NULL;
    for (int i = 0; i < zip_count(zip); i++) {
        const ZipEntry *entry = zip_entry(zip, i);
        const char *slash = strchr(entry->name, '/');
        if (!slash) continue;
        if (strcmp(slash, "/constants.pkl") == 0) *script = true;
        if (strcmp(slash, "/data.pkl") != 0) continue;
        if (found) return NULL;
        found = entry;
        *stem_bytes = (size_t)(slash - entry->name);
    }
    return found;
}

static int place_storages(Weights *weights, const Zip *zip, const char *stem, size_t stem_bytes, const Pickle *pickle,
                          Place *places) {
    for (uint32_t i = 0; i < pickle->storage_count; i++) {
        const PickleStorage *storage = &pickle->storages[i];
        char path[ZIP_NAME_MAX + WEIGHT_NAME_MAX + 16], key[WEIGHT_NAME_MAX + 1], shown[200];
        memcpy(key, pickle->text + storage->key, storage->key_bytes);
        key[storage->key_bytes] = 0;
        snprintf(path, sizeof path, "%.*s/data/%s", (int)stem_bytes, stem, key);
        err_printable(shown, sizeof shown, key);
        const ZipEntry *entry = strlen(key) == storage->key_bytes ? zip_find(zip, path) : NULL;
        if (!entry) return weights_fail(weights, "storage \"%s\" is not in the archive", shown);
        if (entry->method != 0)
            return weights_fail(weights, "storage \"%s\" is packed; only stored ones are read, as torch writes them",
                                shown);
        uint64_t bytes, width = storage->untyped ? 1 : weight_dtype_size(storage->dtype);
        if (__builtin_mul_overflow((uint64_t)storage->count, width, &bytes) || bytes != entry->size)
            return weights_fail(weights,
                                "storage \"%s\" should have %" PRId64 " elements, the archive has %" PRIu64 " bytes",
                                shown, storage->count, entry->size);
        places[i] = (Place){entry->offset, entry->size};
    }
    return 0;
}

static int check_byte_order(Weights *weights, const Zip *zip, const char *stem, size_t stem_bytes) {
    char path[ZIP_NAME_MAX + 16];
    snprintf(path, sizeof path, "%.*s/byteorder", (int)stem_bytes, stem);
    const ZipEntry *entry = zip_find(zip, path);
    if (!entry) return 0;
    uint8_t *text;
    int rc = zip_read(zip, entry, 64, &text);
    if (rc) return rc;
    bool little = entry->size == 6 && memcmp(text, "little", 6) == 0;
    mem_free(text);
    return little ? 0 : weights_fail(weights, "was written on a big-endian machine, which is not read");
}

static int read_archive(Weights *weights, const Zip *zip, Pickle *pickle, uint8_t **text) {
    size_t stem_bytes = 0;
    bool script = false;
    const ZipEntry *entry = find_pickle(zip, &stem_bytes, &script);
    if (script) return weights_fail(weights, "is a TorchScript archive, which holds code; save the state dict alone");
    if (!entry) return weights_fail(weights, "is a zip archive without one data.pkl: no PyTorch file");
    int rc = check_byte_order(weights, zip, entry->name, stem_bytes);
    if (!rc && entry->method != 0)
        rc = weights_fail(weights, "data.pkl is packed; only stored ones are read, as torch writes them");
    if (!rc) rc = zip_read(zip, entry, PICKLE_BYTES_MAX, text);
    if (rc) return rc;
    if ((rc = pickle_read(pickle, *text, (size_t)entry->size, false))) return refused(weights, pickle, rc);
    if (pickle->at != entry->size)
        return weights_fail(weights, "data.pkl goes on for %" PRIu64 " bytes after its end at %zu",
                            entry->size - pickle->at, pickle->at);
    Place *places = mem_array(pickle->storage_count, sizeof *places);
    if (!places) return (int)ERR_MEMORY;
    rc = place_storages(weights, zip, entry->name, stem_bytes, pickle, places);
    if (!rc) rc = add_tensors(weights, pickle, places);
    mem_free(places);
    return rc;
}

int pth_parse_zip(Weights *weights) {
    Zip *zip;
    int rc = zip_open(weights->bytes, weights->size, ERR_WEIGHTS, &zip);
    if (rc) return fail_prefix("%s", weights->shown);
    Pickle *pickle = mem_zero(1, sizeof *pickle);
    uint8_t *text = NULL;
    rc = pickle ? read_archive(weights, zip, pickle, &text) : (int)ERR_MEMORY;
    if (rc && strncmp(err_sentence(), "zip entry", 9) == 0) rc = fail_prefix("%s", weights->shown);
    mem_free(text);
    if (pickle) pickle_free(pickle);
    mem_free(pickle);
    zip_close(zip);
    return rc;
}

/* ---- legacy ---- */

/* LONG1 of ten bytes: 0x1950a86a20f9469cfc6c, STOP. */
static const uint8_t legacy_magic[] = {0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

/* Where the magic number starts: behind PROTO, and from protocol 4 on behind FRAME. 0 when it is not there. */
static size_t find_magic(const uint8_t *bytes, size_t size) {
    enum { PROTO_SIZE = 2, FRAME_SIZE = 9, FRAME = 0x95 };
    if (size < PROTO_SIZE + FRAME_SIZE + sizeof legacy_magic || bytes[0] != 0x80 || bytes[1] < 2 || bytes[1] > 5)
        return 0;
    size_t at = bytes[2] == FRAME ? PROTO_SIZE + FRAME_SIZE : PROTO_SIZE;
    return memcmp(bytes + at, legacy_magic, sizeof legacy_magic) == 0 ? at : 0;
}

bool pth_looks_legacy(const uint8_t *bytes, size_t size) {
    return find_magic(bytes, size) > 0;
}

/* Pickles follow one another; `at` moves behind the one just read, which replaces the one before. */
static int next_pickle(Weights *weights, Pickle *pickle, size_t *at) {
    pickle_free(pickle);
    int rc = pickle_read(pickle, weights->bytes + *at, weights->size - *at, true);
    if (rc && *pickle->error) return weights_fail(weights, "%s of the pickle that starts at %zu", pickle->error, *at);
    *at += pickle->at;
    return rc;
}

static int check_facts(Weights *weights, const Pickle *facts) {
    if (facts->root.kind != PICKLE_DICT) return weights_fail(weights, "the facts of the machine are no dict");
    for (uint32_t cell = facts->containers[facts->root.index].first; cell;) {
        uint32_t value = facts->cells[cell].next;
        PickleValue is = facts->cells[value].value;
        if (pickle_is(facts, facts->cells[cell].value, "little_endian") && !(is.kind == PICKLE_BOOL && is.whole == 1))
            return weights_fail(weights, "was written on a big-endian machine, which is not read");
        cell = facts->cells[value].next;
    }
    return 0;
}

static _Thread_local const Pickle *sorting; /* qsort has no context */

static int compare_keys(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes) {
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int order_by_key(const void *a, const void *b) {
    const PickleStorage *x = &sorting->storages[*(const uint32_t *)a], *y = &sorting->storages[*(const uint32_t *)b];
    return compare_keys(sorting->text + x->key, x->key_bytes, sorting->text + y->key, y->key_bytes);
}

static uint64_t read_u64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* All storages in order[first..last) have one key; their bytes start at `at` with their count. */
static int place_group(Weights *weights, const Pickle *pickle, const uint32_t *order, uint32_t first, uint32_t last,
                       size_t *at, Place *places, bool *placed) {
    const PickleStorage *lead = &pickle->storages[order[first]];
    uint64_t width = lead->untyped ? 1 : weight_dtype_size(lead->dtype), bytes;
    if (placed[order[first]])
        return weights_fail(weights, "a storage is listed twice, the second time before %zu", *at);
    if (weights->size - *at < 8)
        return weights_fail(weights, "ends inside its storages at %zu; download it again", *at);
    uint64_t count = read_u64(weights->bytes + *at);
    *at += 8;
    if (__builtin_mul_overflow(count, width, &bytes) || bytes > weights->size - *at)
        return weights_fail(weights,
                            "a storage at %zu should have %" PRIu64
                            " elements, the file has %zu bytes left; download it again",
                            *at - 8, count, weights->size - *at);
    for (uint32_t i = first; i < last; i++) {
        const PickleStorage *storage = &pickle->storages[order[i]];
        if (storage->untyped != lead->untyped || storage->dtype != lead->dtype ||
            (uint64_t)storage->whole_count != count)
            return weights_fail(weights,
                                "a storage at %zu has %" PRIu64 " elements or a type that contradicts its tensors",
                                *at - 8, count);
        Place place = {*at, bytes};
        if (storage->view_offset >= 0) {
            if ((uint64_t)storage->view_offset > count ||
                (uint64_t)storage->count > count - (uint64_t)storage->view_offset)
                return weights_fail(weights, "a view of the storage at %zu reaches beyond it", *at - 8);
            place = (Place){*at + (uint64_t)storage->view_offset * width, (uint64_t)storage->count * width};
        }
        places[order[i]] = place;
        placed[order[i]] = true;
    }
    *at += (size_t)bytes;
    return 0;
}

static int place_legacy(Weights *weights, const Pickle *pickle, const Pickle *keys, size_t at, uint32_t *order,
                        Place *places, bool *placed) {
    uint32_t n = pickle->storage_count;
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    sorting = pickle;
    if (n) qsort(order, n, sizeof *order, order_by_key);
    for (uint32_t cell = keys->containers[keys->root.index].first; cell; cell = keys->cells[cell].next) {
        PickleValue key = keys->cells[cell].value;
        if (key.kind != PICKLE_STRING)
            return weights_fail(weights, "the list of storages holds something else than names");
        uint32_t low = 0, high = n;
        while (low < high) { /* the first that is not before the key */
            uint32_t middle = low + (high - low) / 2;
            const PickleStorage *s = &pickle->storages[order[middle]];
            if (compare_keys(pickle->text + s->key, s->key_bytes, keys->text + key.index, (size_t)key.whole) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        uint32_t last = low;
        while (last < n) {
            const PickleStorage *s = &pickle->storages[order[last]];
            if (compare_keys(pickle->text + s->key, s->key_bytes, keys->text + key.index, (size_t)key.whole) != 0)
                break;
            last++;
        }
        if (low == last) return weights_fail(weights, "lists a storage that no tensor uses, before %zu", at);
        int rc = place_group(weights, pickle, order, low, last, &at, places, placed);
        if (rc) return rc;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!placed[i]) return weights_fail(weights, "a storage of its tensors is not in the file");
    if (at != weights->size)
        return weights_fail(weights, "%zu bytes after the last storage at %zu belong to none", weights->size - at, at);
    return 0;
}

static int read_legacy(Weights *weights, Pickle *pickle, Pickle *side) {
    size_t at = find_magic(weights->bytes, weights->size) + sizeof legacy_magic;
    int rc = next_pickle(weights, side, &at);
    if (rc) return rc;
    if (side->root.kind != PICKLE_INT || side->root.whole != 1001)
        return weights_fail(weights, "legacy .pth of version %" PRId64 ", 1001 is read", side->root.whole);
    if ((rc = next_pickle(weights, side, &at)) || (rc = check_facts(weights, side))) return rc;
    if ((rc = pickle_read(pickle, weights->bytes + at, weights->size - at, true))) return refused(weights, pickle, rc);
    at += pickle->at;
    if ((rc = next_pickle(weights, side, &at))) return rc;
    if (side->root.kind != PICKLE_LIST) return weights_fail(weights, "has no list of storages");
    uint32_t n = pickle->storage_count;
    uint32_t *order = mem_array(n, sizeof *order);
    Place *places = mem_array(n, sizeof *places);
    bool *placed = mem_zero(n, sizeof *placed);
    rc = order && places && placed ? place_legacy(weights, pickle, side, at, order, places, placed) : (int)ERR_MEMORY;
    if (!rc) rc = add_tensors(weights, pickle, places);
    mem_free(order);
    mem_free(places);
    mem_free(placed);
    return rc;
}

int pth_parse_legacy(Weights *weights) {
    Pickle *pickle = mem_zero(1, sizeof *pickle), *side = mem_zero(1, sizeof *side);
    int rc = pickle && side ? read_legacy(weights, pickle, side) : (int)ERR_MEMORY;
    if (pickle) pickle_free(pickle);
    if (side) pickle_free(side);
    mem_free(pickle);
    mem_free(side);
    return rc;
}
