#include "base/err.h"
#include "base/half.h"
#include "tensor/files/weights_build.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[WEIGHT_DTYPES] = {
    [WEIGHT_F32] = {"f32", 4, true},    [WEIGHT_F16] = {"f16", 2, true},  [WEIGHT_BF16] = {"bf16", 2, true},
    [WEIGHT_F64] = {"f64", 8, true},    [WEIGHT_I64] = {"i64", 8, false}, [WEIGHT_I32] = {"i32", 4, false},
    [WEIGHT_I16] = {"i16", 2, false},   [WEIGHT_I8] = {"i8", 1, false},   [WEIGHT_U8] = {"u8", 1, false},
    [WEIGHT_BOOL] = {"bool", 1, false},
};

size_t weight_dtype_size(WeightDType dtype) {
    return dtypes[dtype].size;
}
const char *weight_dtype_name(WeightDType dtype) {
    return dtypes[dtype].name;
}
bool weight_dtype_is_float(WeightDType dtype) {
    return dtypes[dtype].is_float;
}

int weights_fail(const Weights *weights, const char *format, ...) {
    char text[900];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(ERR_WEIGHTS, "%s: %s", weights->shown, text);
}

char *weight_shape_text(int rank, const int64_t *size, char *out, size_t out_size) {
    size_t used = 0;
    snprintf(out, out_size, "scalar");
    for (int i = 0; i < rank && used < out_size; i++)
        used += (size_t)snprintf(out + used, out_size - used, "%s%" PRId64, i ? "x" : "", size[i]);
    return out;
}

const char *weight_bad_name(const char *name, size_t bytes) {
    if (bytes == 0) return "has no name";
    if (bytes > WEIGHT_NAME_MAX) return "has a name of more than 512 bytes";
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return "has a control character in its name";
    if (name[0] == '/') return "has a name like an absolute path";
    for (size_t i = 0; i + 1 < bytes; i++)
        if (name[i] == '.' && name[i + 1] == '.' && (i == 0 || name[i - 1] == '/') &&
            (i + 2 == bytes || name[i + 2] == '/'))
            return "has a name like a path upwards";
    return NULL;
}

bool weight_dense_strides(WeightEntry *entry) {
    int64_t stride = 1;
    for (int i = entry->rank - 1; i >= 0; i--) {
        entry->stride[i] = stride;
        if (__builtin_mul_overflow(stride, entry->size[i] ? entry->size[i] : 1, &stride)) return false;
    }
    return true;
}

int weights_add(Weights *weights, const WeightEntry *from, uint64_t storage, uint64_t storage_bytes) {
    WeightEntry entry = *from;
    int64_t count = 1, last = 0;
    bool empty = false;
    for (int i = 0; i < entry.rank; i++) empty = empty || entry.size[i] == 0;
    for (int i = 0; i < entry.rank; i++) {
        int64_t step;
        if (entry.size[i] < 0 || entry.stride[i] < 0)
            return weights_fail(weights, "tensor \"%s\" has a negative size or stride", entry.name);
        if (empty) continue; /* PyTorch gives empty tensors any strides */
        if (__builtin_mul_overflow(count, entry.size[i], &count) ||
            __builtin_mul_overflow(entry.size[i] - 1, entry.stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return weights_fail(weights, "tensor \"%s\" has sizes or strides that overflow", entry.name);
    }
    uint64_t width = weight_dtype_size(entry.dtype), end, need;
    entry.count = empty ? 0 : count;
    need = empty ? 0 : (uint64_t)last + 1;
    if (__builtin_mul_overflow(need, width, &need) || entry.offset < storage ||
        __builtin_add_overflow(entry.offset - storage, need, &end) || end > storage_bytes)
        return weights_fail(weights, "tensor \"%s\" reaches beyond its storage of %" PRIu64 " bytes at %" PRIu64,
                            entry.name, storage_bytes, storage);
    BUG_IF(storage > weights->size || storage_bytes > weights->size - storage, "a storage beyond the file");
    entry.bytes = need;
    if (weights->count == weights->room) {
        if (weights->count >= WEIGHTS_TENSORS_MAX)
            return weights_fail(weights, "more than %d tensors, no more are read", WEIGHTS_TENSORS_MAX);
        int room = weights->room ? 2 * weights->room : 64;
        WeightEntry *grown = mem_grow(weights->entries, (size_t)room * sizeof *grown);
        if (!grown) return (int)ERR_MEMORY;
        weights->entries = grown;
        weights->room = room;
    }
    weights->entries[weights->count++] = entry;
    return 0;
}

int weights_add_note(Weights *weights, const char *key, const char *value) {
    if (weights->note_count == weights->note_room) {
        int room = weights->note_room ? 2 * weights->note_room : 8;
        WeightsNote *grown = mem_grow(weights->notes, (size_t)room * sizeof *grown);
        if (!grown) return (int)ERR_MEMORY;
        weights->notes = grown;
        weights->note_room = room;
    }
    weights->notes[weights->note_count++] = (WeightsNote){key, value};
    return 0;
}

/* ---- what the file is ---- */

static bool starts(const Weights *weights, const char *with, size_t bytes) {
    return weights->size >= bytes && memcmp(weights->bytes, with, bytes) == 0;
}

static bool looks_like_web_page(const Weights *weights) {
    size_t at = 0;
    while (at < weights->size && at < 512 && isspace(weights->bytes[at])) at++;
    static const char *const starts_of_pages[] = {"<!doctype", "<html", "<head", "<?xml", "<!--"};
    for (size_t k = 0; k < sizeof starts_of_pages / sizeof *starts_of_pages; k++) {
        size_t n = strlen(starts_of_pages[k]), i = 0;
        if (weights->size - at < n) continue;
        while (i < n && tolower(weights->bytes[at + i]) == starts_of_pages[k][i]) i++;
        if (i == n) return true;
    }
    return false;
}

static int refuse_lfs_pointer(const Weights *weights) {
    char text[1024];
    size_t n = weights->size < sizeof text - 1 ? weights->size : sizeof text - 1;
    memcpy(text, weights->bytes, n);
    text[n] = 0;
    const char *size = strstr(text, "\nsize ");
    double bytes = size ? strtod(size + 6, NULL) : 0;
    char amount[40] = "the weights";
    if (bytes >= 1e9 && bytes < 1e15)
        snprintf(amount, sizeof amount, "%.1f GB", bytes / 1e9);
    else if (bytes > 0 && bytes < 1e9)
        snprintf(amount, sizeof amount, "%.1f MB", bytes / 1e6);
    return weights_fail(weights, "this is a git-LFS pointer, %s are elsewhere; run \"git lfs pull\" where it came from",
                        amount);
}

/* Names what is no weights file, by its first bytes. */
static int refuse_unknown(const Weights *weights) {
    if (weights->size == 0) return weights_fail(weights, "is empty; download it again");
    if (starts(weights, "version https://git-lfs", 23)) return refuse_lfs_pointer(weights);
    if (looks_like_web_page(weights))
        return weights_fail(weights, "is a web page saved under this name; download the file itself");
    if (starts(weights, "\x1f\x8b", 2))
        return weights_fail(weights, "is compressed with gzip; unpack it first (gunzip)");
    if (starts(weights, "BZh", 3)) return weights_fail(weights, "is compressed with bzip2; unpack it first (bunzip2)");
    if (starts(weights,
               "\xfd"
               "7zXZ",
               5))
        return weights_fail(weights, "is compressed with xz; unpack it first (unxz)");
    if (starts(weights, "\x28\xb5\x2f\xfd", 4))
        return weights_fail(weights, "is compressed with zstd; unpack it first (unzstd)");
    if (starts(weights, "GGUF", 4)) return weights_fail(weights, "is a GGUF file, which is not read; use safetensors");
    if (starts(weights, "\x93NUMPY", 6)) return weights_fail(weights, "is a NumPy array, not a file of weights");
    if (starts(weights, "\x89HDF", 4))
        return weights_fail(weights, "is an HDF5 file, which is not read; use safetensors");
    if (weights->size > 262 && memcmp(weights->bytes + 257, "ustar", 5) == 0)
        return weights_fail(weights,
                            "is a tar archive, which is not read; unpack it, or save the weights as safetensors");
    if (starts(weights, "\x80", 1) && weights->size > 1 && weights->bytes[1] <= 5)
        return weights_fail(weights, "is a pickle, but not one that torch.save wrote; save the weights as safetensors");
    if (weights->size < 8)
        return weights_fail(weights, "has only %zu bytes; weights are safetensors or .pth files", weights->size);
    return weights_fail(weights,
                        "is neither safetensors nor .pth: it starts with %02x %02x %02x %02x %02x %02x %02x %02x",
                        weights->bytes[0], weights->bytes[1], weights->bytes[2], weights->bytes[3], weights->bytes[4],
                        weights->bytes[5], weights->bytes[6], weights->bytes[7]);
}

static int index_names(Weights *weights) {
    weights->names = mem_array((size_t)weights->count, sizeof *weights->names);
    if (!weights->names) return (int)ERR_MEMORY;
    for (int i = 0; i < weights->count; i++) weights->names[i] = (IndexedName){weights->entries[i].name, i};
    names_sort(weights->names, weights->count);
    const char *twice = names_double(weights->names, weights->count);
    if (twice) return weights_fail(weights, "two tensors are named \"%s\"", twice);
    return 0;
}

/* Strides of 0 and shared storages let a small file describe very many elements; reading them all must stay in
 * proportion to the file. */
static int check_proportion(const Weights *weights) {
    int64_t total = 0, most = (int64_t)(weights->size < (size_t)INT64_MAX / 128 ? weights->size * 64 : INT64_MAX / 2);
    for (int i = 0; i < weights->count; i++)
        if (__builtin_add_overflow(total, weights->entries[i].count, &total) || total > most)
            return weights_fail(
                weights, "tensor \"%s\" and those before it have more elements than a file of %zu bytes can mean",
                weights->entries[i].name, weights->size);
    return 0;
}

static int parse(Weights *weights) {
    int rc;
    if (starts(weights, "PK", 2)) {
        weights->format = "PyTorch zip";
        rc = pth_parse_zip(weights);
    } else if (pth_looks_legacy(weights->bytes, weights->size)) {
        weights->format = "PyTorch legacy";
        rc = pth_parse_legacy(weights);
    } else if (safetensors_looks_like(weights->bytes, weights->size)) {
        weights->format = "safetensors";
        rc = safetensors_parse(weights);
    } else {
        rc = refuse_unknown(weights);
    }
    if (!rc) rc = index_names(weights);
    if (!rc) rc = check_proportion(weights);
    if (!rc && weights->map && file_map_check(weights->map)) rc = fail(ERR_WEIGHTS, "%s", err_sentence());
    if (!rc && arena_failed(weights->arena)) rc = (int)ERR_MEMORY;
    return rc;
}

static Weights *make(const char *path) {
    Weights *weights = mem_zero(1, sizeof *weights);
    if (!weights) return NULL;
    weights->arena = arena_make();
    weights->path = weights->arena ? arena_text(weights->arena, path) : NULL;
    if (!weights->path) {
        weights_close(weights);
        return NULL;
    }
    err_printable(weights->shown, sizeof weights->shown, path);
    weights->key = "";
    return weights;
}

int weights_open_memory(const void *bytes, size_t size, const char *path, Weights **out) {
    *out = NULL;
    Weights *weights = make(path);
    if (!weights) return (int)ERR_MEMORY;
    weights->bytes = bytes;
    weights->size = size;
    int rc = parse(weights);
    if (rc)
        weights_close(weights);
    else
        *out = weights;
    return rc;
}

int weights_open(const char *path, Weights **out) {
    *out = NULL;
    Weights *weights = make(path);
    if (!weights) return (int)ERR_MEMORY;
    int rc = file_map(path, &weights->map);
    if (rc == ERR_INPUT) rc = fail(ERR_WEIGHTS, "%s", err_sentence());
    if (!rc) {
        weights->bytes = file_map_bytes(weights->map);
        weights->size = file_map_size(weights->map);
        rc = parse(weights);
    }
    if (rc)
        weights_close(weights);
    else
        *out = weights;
    return rc;
}

void weights_close(Weights *weights) {
    if (!weights) return;
    file_unmap(weights->map);
    mem_free(weights->entries);
    mem_free(weights->names);
    mem_free(weights->notes);
    arena_drop(weights->arena);
    mem_free(weights);
}

/* ---- looking things up ---- */

const char *weights_path(const Weights *weights) {
    return weights->path;
}
const char *weights_format(const Weights *weights) {
    return weights->format;
}
const char *weights_key(const Weights *weights) {
    return weights->key;
}
int64_t weights_skipped(const Weights *weights) {
    return weights->skipped;
}
uint64_t weights_file_bytes(const Weights *weights) {
    return weights->size;
}
int weights_count(const Weights *weights) {
    return weights->count;
}
int weights_metadata_count(const Weights *weights) {
    return weights->note_count;
}

const WeightEntry *weights_entry(const Weights *weights, int index) {
    BUG_IF(index < 0 || index >= weights->count, "weights_entry %d of %d", index, weights->count);
    return &weights->entries[index];
}

const WeightEntry *weights_find(const Weights *weights, const char *name) {
    int index = names_find(weights->names, weights->count, name);
    return index < 0 ? NULL : &weights->entries[index];
}

int64_t weights_parameters(const Weights *weights) {
    int64_t total = 0;
    for (int i = 0; i < weights->count; i++) total += weights->entries[i].count;
    return total;
}

void weights_metadata_at(const Weights *weights, int index, const char **key, const char **value) {
    BUG_IF(index < 0 || index >= weights->note_count, "weights_metadata_at %d of %d", index, weights->note_count);
    *key = weights->notes[index].key;
    *value = weights->notes[index].value;
}

const char *weights_metadata(const Weights *weights, const char *key) {
    for (int i = 0; i < weights->note_count; i++)
        if (strcmp(weights->notes[i].key, key) == 0) return weights->notes[i].value;
    return NULL;
}

/* ---- reading numbers ---- */

void weight_to_f32(WeightDType dtype, const void *from, int64_t n, float *to) {
    const uint8_t *p = from;
    switch (dtype) {
#define CASE(D, T, VALUE)                                   \
    case D:                                                 \
        for (int64_t i = 0; i < n; i++) {                   \
            T v;                                            \
            memcpy(&v, p + (size_t)i * sizeof v, sizeof v); \
            to[i] = VALUE;                                  \
        }                                                   \
        break;
        CASE(WEIGHT_F32, float, v)
        CASE(WEIGHT_F16, uint16_t, f16_to_f32(v))
        CASE(WEIGHT_BF16, uint16_t, bf16_to_f32(v))
        CASE(WEIGHT_F64, double, (float)v)
        CASE(WEIGHT_I64, int64_t, (float)v)
        CASE(WEIGHT_I32, int32_t, (float)v)
        CASE(WEIGHT_I16, int16_t, (float)v)
        CASE(WEIGHT_I8, int8_t, (float)v)
        CASE(WEIGHT_U8, uint8_t, (float)v)
        CASE(WEIGHT_BOOL, uint8_t, v ? 1.0f : 0.0f)
#undef CASE
    case WEIGHT_DTYPES:
        break;
    }
}

void weight_from_f32(WeightDType dtype, const float *from, int64_t n, void *to) {
    uint8_t *p = to;
    switch (dtype) {
    case WEIGHT_F32:
        memcpy(to, from, (size_t)n * sizeof *from);
        break;
    case WEIGHT_F64:
        for (int64_t i = 0; i < n; i++) memcpy(p + 8 * i, &(double){from[i]}, 8);
        break;
    case WEIGHT_F16:
        for (int64_t i = 0; i < n; i++) memcpy(p + 2 * i, &(uint16_t){f32_to_f16(from[i])}, 2);
        break;
    case WEIGHT_BF16:
        for (int64_t i = 0; i < n; i++) memcpy(p + 2 * i, &(uint16_t){f32_to_bf16(from[i])}, 2);
        break;
    default:
        BUG_IF(true, "weight_from_f32 to %s", weight_dtype_name(dtype));
    }
}

static bool is_dense(const WeightEntry *entry) {
    int64_t stride = 1;
    for (int i = entry->rank - 1; i >= 0; i--) {
        if (entry->size[i] != 1 && entry->stride[i] != stride) return false;
        stride *= entry->size[i];
    }
    return true;
}

/* Copies n elements of `width` bytes that lie `step` bytes apart. */
static void gather(uint8_t *to, const uint8_t *from, int64_t n, size_t step, size_t width) {
    switch (width) {
    case 1:
        for (int64_t i = 0; i < n; i++) to[i] = from[(size_t)i * step];
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) memcpy(to + 2 * i, from + (size_t)i * step, 2);
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) memcpy(to + 4 * i, from + (size_t)i * step, 4);
        break;
    default:
        for (int64_t i = 0; i < n; i++) memcpy(to + 8 * i, from + (size_t)i * step, 8);
        break;
    }
}

static int check_bools(const Weights *weights, const WeightEntry *entry, const uint8_t *values, int64_t n,
                       int64_t first) {
    for (int64_t i = 0; i < n; i++)
        if (values[i] > 1)
            return weights_fail(weights, "tensor \"%s\" is bool, but element %" PRId64 " is %u", entry->name, first + i,
                                values[i]);
    return 0;
}

static int check_map(const Weights *weights) {
    if (!weights->map || !file_map_check(weights->map)) return 0;
    return fail(ERR_WEIGHTS, "%s", err_sentence());
}

int weights_read_part(const Weights *weights, const WeightEntry *entry, int64_t first, int64_t count, void *out) {
    BUG_IF(first < 0 || count < 0 || first > entry->count || count > entry->count - first,
           "weights_read_part beyond %s", entry->name);
    if (count == 0) return 0;
    size_t width = weight_dtype_size(entry->dtype);
    const uint8_t *from = weights->bytes + entry->offset;
    uint8_t *to = out;
    if (is_dense(entry)) {
        memcpy(to, from + (size_t)first * width, (size_t)count * width);
    } else {
        int inner = entry->rank - 1; /* not dense, so rank >= 1 */
        int64_t index[WEIGHT_RANK_MAX], rest = first, at = 0;
        for (int i = inner; i >= 0; i--) {
            index[i] = rest % entry->size[i];
            rest /= entry->size[i];
            at += index[i] * entry->stride[i];
        }
        for (int64_t left = count; left > 0;) {
            int64_t run = entry->size[inner] - index[inner];
            if (run > left) run = left;
            gather(to, from + (size_t)at * width, run, (size_t)entry->stride[inner] * width, width);
            to += (size_t)run * width;
            left -= run;
            at += run * entry->stride[inner];
            index[inner] += run;
            for (int i = inner; i > 0 && index[i] == entry->size[i]; i--) {
                at += entry->stride[i - 1] - entry->size[i] * entry->stride[i];
                index[i] = 0;
                index[i - 1]++;
            }
        }
    }
    if (entry->dtype == WEIGHT_BOOL) {
        int rc = check_bools(weights, entry, out, count, first);
        if (rc) return rc;
    }
    return check_map(weights);
}

int weights_read_part_f32(const Weights *weights, const WeightEntry *entry, int64_t first, int64_t count, float *out) {
    if (entry->dtype == WEIGHT_F32) return weights_read_part(weights, entry, first, count, out);
    uint8_t raw[8192];
    int64_t most = (int64_t)(sizeof raw / weight_dtype_size(entry->dtype));
    for (int64_t done = 0; done < count;) {
        int64_t n = count - done < most ? count - done : most;
        int rc = weights_read_part(weights, entry, first + done, n, raw);
        if (rc) return rc;
        weight_to_f32(entry->dtype, raw, n, out + done);
        done += n;
    }
    return 0;
}

int weights_read_f32(const Weights *weights, const WeightEntry *entry, float *out) {
    return weights_read_part_f32(weights, entry, 0, entry->count, out);
}

int weights_check(const Weights *weights, const WeightEntry *entry, WeightCheck *check) {
    *check = (WeightCheck){.first_bad = -1};
    float values[4096];
    for (int64_t done = 0; done < entry->count;) {
        int64_t n = entry->count - done < 4096 ? entry->count - done : 4096;
        int rc = weights_read_part_f32(weights, entry, done, n, values);
        if (rc) return rc;
        for (int64_t i = 0; i < n; i++) {
            if (isfinite(values[i])) {
                check->zero += values[i] == 0;
                if (fabs((double)values[i]) > check->max_abs) check->max_abs = fabs((double)values[i]);
                continue;
            }
            if (isnan(values[i]))
                check->nan++;
            else
                check->inf++;
            if (check->first_bad < 0) check->first_bad = done + i;
        }
        done += n;
    }
    return 0;
}

int weights_check_all(const Weights *weights) {
    for (int i = 0; i < weights->count; i++) {
        const WeightEntry *entry = &weights->entries[i];
        WeightCheck check;
        int rc = weights_check(weights, entry, &check);
        if (rc) return rc;
        if (check.nan || check.inf)
            return weights_fail(weights,
                                "tensor \"%s\" has %" PRId64 " NaN and %" PRId64
                                " infinite values, the first at element %" PRId64
                                "; the file is damaged or its training failed",
                                entry->name, check.nan, check.inf, check.first_bad);
    }
    return 0;
}

const float *weights_direct_f32(const Weights *weights, const WeightEntry *entry) {
    int64_t stride = 1;
    for (int k = entry->rank - 1; k >= 0; k--) {
        if (entry->size[k] != 1 && entry->stride[k] != stride) return NULL;
        stride *= entry->size[k];
    }
    const uint8_t *first = weights->bytes + entry->offset;
    if (entry->dtype != WEIGHT_F32 || (uintptr_t)first % sizeof(float) || entry->count == 0) return NULL;
    return (const float *)(const void *)first;
}
