/* tensor/files/safetensors.c - reads with all checks of the format's own library and a few more: no duplicate names,
 * offsets cover the buffer exactly, every product is overflow-checked, limits on header, names, rank and count. */
#include "tensor/files/safetensors.h"
#include "base/err.h"
#include "base/json.h"
#include "tensor/files/weights_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((uint64_t)64 << 20)
enum { HEAD = 8, DEPTH_MAX = 8, DATA_ALIGN = 64 };

static const char *const names[WEIGHT_DTYPES] = {
    [WEIGHT_F32] = "F32", [WEIGHT_F16] = "F16", [WEIGHT_BF16] = "BF16", [WEIGHT_F64] = "F64", [WEIGHT_I64] = "I64",
    [WEIGHT_I32] = "I32", [WEIGHT_I16] = "I16", [WEIGHT_I8] = "I8",     [WEIGHT_U8] = "U8",   [WEIGHT_BOOL] = "BOOL",
};

static uint64_t read_u64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* Anything could be a length, so the header's first byte decides; a wrong length is then named as that. */
bool safetensors_looks_like(const uint8_t *bytes, size_t size) {
    if (size > HEAD && bytes[HEAD] == '{') return true;
    return size >= HEAD && (read_u64(bytes) <= size || size == HEAD);
}

typedef struct {
    Weights *weights;
    Json json;
    uint64_t data, data_bytes; /* where the buffer starts in the file, and how long it is */
    bool metadata_seen;
} Reader;

static int bad_json(Reader *reader) {
    return weights_fail(reader->weights, "header: %s at byte %zu",
                        reader->json.error ? reader->json.error : "not what safetensors has here",
                        HEAD + reader->json.at);
}

static int unexpected(Reader *reader, const char *what) {
    if (reader->json.error) return bad_json(reader);
    return weights_fail(reader->weights, "header: %s at byte %zu", what, HEAD + reader->json.at);
}

/* The last key or string, copied. NULL: error is set. */
static char *take_string(Reader *reader, size_t most, const char *what) {
    if (reader->json.string_size > 6 * most) { /* an escape takes up to six bytes for one */
        unexpected(reader, what);
        return NULL;
    }
    char *text = arena_alloc(reader->weights->arena, reader->json.string_size + 1);
    if (!text) {
        fail(ERR_MEMORY, "out of memory while reading %s", reader->weights->shown);
        return NULL;
    }
    if (!json_string(&reader->json, text, reader->json.string_size + 1) || strlen(text) > most) {
        unexpected(reader, what);
        return NULL;
    }
    return text;
}

static int read_metadata(Reader *reader) {
    if (reader->metadata_seen) return unexpected(reader, "a second __metadata__");
    reader->metadata_seen = true;
    if (json_next(&reader->json) != JSON_OBJECT) return unexpected(reader, "__metadata__ is not an object");
    for (;;) {
        JsonKind kind = json_next(&reader->json);
        if (kind == JSON_OBJECT_END) return 0;
        if (kind != JSON_KEY) return bad_json(reader);
        char *key = take_string(reader, HEADER_MAX, "a key of __metadata__ holds a NUL");
        if (!key) return (int)err_code();
        if (json_next(&reader->json) != JSON_STRING)
            return unexpected(reader, "a value of __metadata__ is not a string");
        char *value = take_string(reader, HEADER_MAX, "a value of __metadata__ holds a NUL");
        if (!value) return (int)err_code();
        int rc = weights_add_note(reader->weights, key, value);
        if (rc) return rc;
    }
}

static int read_dtype(Reader *reader, WeightEntry *entry) {
    if (json_next(&reader->json) != JSON_STRING) return unexpected(reader, "a dtype is not a string");
    for (int d = 0; d < WEIGHT_DTYPES; d++) {
        if (!json_is(&reader->json, names[d])) continue;
        entry->dtype = (WeightDType)d;
        return 0;
    }
    char raw[32] = "", shown[80];
    json_string(&reader->json, raw, sizeof raw);
    return weights_fail(reader->weights,
                        "tensor \"%s\" has dtype \"%s\"; F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL are read",
                        entry->name, err_printable(shown, sizeof shown, raw));
}

/* An array of whole numbers >= 0, at most `most` of them. */
static int read_numbers(Reader *reader, const WeightEntry *entry, const char *what, int most, int64_t *values,
                        int *count) {
    if (json_next(&reader->json) != JSON_ARRAY) return unexpected(reader, "shape or data_offsets is not an array");
    for (*count = 0;;) {
        JsonKind kind = json_next(&reader->json);
        if (kind == JSON_ARRAY_END) return 0;
        if (kind == JSON_ERROR) return bad_json(reader);
        if (kind != JSON_NUMBER || !reader->json.number_is_whole || reader->json.whole < 0)
            return weights_fail(reader->weights,
                                "tensor \"%s\": %s holds something that is no whole number >= 0, before byte %zu",
                                entry->name, what, HEAD + reader->json.at);
        if (*count == most)
            return weights_fail(reader->weights, "tensor \"%s\": %s has more than %d numbers", entry->name, what, most);
        values[(*count)++] = reader->json.whole;
    }
}

static int read_tensor(Reader *reader) {
    Weights *weights = reader->weights;
    if (json_is(&reader->json, "__metadata__")) return read_metadata(reader);
    WeightEntry entry = {
        .name = take_string(reader, WEIGHT_NAME_MAX, "a tensor's name is longer than 512 bytes or holds a NUL")};
    if (!entry.name) return (int)err_code();
    const char *bad = weight_bad_name(entry.name, strlen(entry.name));
    char shown[200];
    if (bad) return weights_fail(weights, "tensor \"%s\" %s", err_printable(shown, sizeof shown, entry.name), bad);
    if (json_next(&reader->json) != JSON_OBJECT) return unexpected(reader, "a tensor is not an object");
    bool dtype = false, shape = false, offsets = false;
    int64_t range[2] = {0, 0};
    for (;;) {
        JsonKind kind = json_next(&reader->json);
        if (kind == JSON_OBJECT_END) break;
        if (kind != JSON_KEY) return bad_json(reader);
        int rc, n;
        if (json_is(&reader->json, "dtype") && !dtype) {
            dtype = true;
            rc = read_dtype(reader, &entry);
        } else if (json_is(&reader->json, "shape") && !shape) {
            shape = true;
            rc = read_numbers(reader, &entry, "shape", WEIGHT_RANK_MAX, entry.size, &entry.rank);
        } else if (json_is(&reader->json, "data_offsets") && !offsets) {
            offsets = true;
            rc = read_numbers(reader, &entry, "data_offsets", 2, range, &n);
            if (!rc && n != 2) rc = weights_fail(weights, "tensor \"%s\": data_offsets has %d numbers", entry.name, n);
        } else {
            rc = weights_fail(weights, "tensor \"%s\" has an unknown or repeated key before byte %zu", entry.name,
                              HEAD + reader->json.at);
        }
        if (rc) return rc;
    }
    if (!dtype || !shape || !offsets)
        return weights_fail(weights, "tensor \"%s\" has no %s", entry.name,
                            !dtype   ? "dtype"
                            : !shape ? "shape"
                                     : "data_offsets");
    if (range[0] > range[1])
        return weights_fail(weights, "tensor \"%s\" begins at %" PRId64 " and ends before, at %" PRId64, entry.name,
                            range[0], range[1]);
    if ((uint64_t)range[1] > reader->data_bytes)
        return weights_fail(weights,
                            "tensor \"%s\" ends at %" PRId64 ", but the file has %" PRIu64
                            " bytes of data: it is cut short, download it again",
                            entry.name, range[1], reader->data_bytes);
    int64_t count = 1, bytes;
    for (int i = 0; i < entry.rank; i++)
        if (__builtin_mul_overflow(count, entry.size[i], &count))
            return weights_fail(weights, "tensor \"%s\" has sizes that overflow", entry.name);
    if (!weight_dense_strides(&entry) || __builtin_mul_overflow(count, (int64_t)weight_dtype_size(entry.dtype), &bytes))
        return weights_fail(weights, "tensor \"%s\" has sizes that overflow", entry.name);
    char text[WEIGHT_SHAPE_TEXT];
    if (bytes != range[1] - range[0])
        return weights_fail(weights, "tensor \"%s\" (%s, %s) needs %" PRId64 " bytes, its offsets give %" PRId64,
                            entry.name, weight_dtype_name(entry.dtype),
                            weight_shape_text(entry.rank, entry.size, text, sizeof text), bytes, range[1] - range[0]);
    entry.offset = reader->data + (uint64_t)range[0];
    return weights_add(weights, &entry, entry.offset, (uint64_t)bytes);
}

typedef struct {
    uint64_t begin, end;
    const char *name;
} Span;

static int order_by_begin(const void *a, const void *b) {
    const Span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Holes and overlaps are how one file can be two things at once. */
static int check_cover(Reader *reader) {
    Weights *weights = reader->weights;
    Span *spans = mem_array((size_t)weights->count, sizeof *spans);
    if (!spans) return (int)ERR_MEMORY;
    for (int i = 0; i < weights->count; i++) {
        const WeightEntry *e = &weights->entries[i];
        spans[i] = (Span){e->offset, e->offset + e->bytes, e->name};
    }
    if (weights->count) qsort(spans, (size_t)weights->count, sizeof *spans, order_by_begin);
    uint64_t at = reader->data;
    int rc = 0;
    for (int i = 0; i < weights->count && !rc; i++) {
        if (spans[i].begin < at)
            rc = weights_fail(weights, "tensor \"%s\" overlaps the one before it", spans[i].name);
        else if (spans[i].begin > at)
            rc = weights_fail(weights, "a hole of %" PRIu64 " bytes lies before tensor \"%s\"", spans[i].begin - at,
                              spans[i].name);
        at = spans[i].end;
    }
    uint64_t rest = reader->data + reader->data_bytes - at;
    if (!rc && rest) rc = weights_fail(weights, "%" PRIu64 " bytes after the last tensor belong to none", rest);
    mem_free(spans);
    return rc;
}

static int order_notes(const void *a, const void *b) {
    return strcmp(((const WeightsNote *)a)->key, ((const WeightsNote *)b)->key);
}

static int check_notes(Weights *weights) {
    if (weights->note_count) qsort(weights->notes, (size_t)weights->note_count, sizeof *weights->notes, order_notes);
    char shown[200];
    for (int i = 1; i < weights->note_count; i++)
        if (strcmp(weights->notes[i].key, weights->notes[i - 1].key) == 0)
            return weights_fail(weights, "__metadata__ has \"%s\" twice",
                                err_printable(shown, sizeof shown, weights->notes[i].key));
    return 0;
}

int safetensors_parse(Weights *weights) {
    uint64_t header = read_u64(weights->bytes);
    if (header > weights->size - HEAD)
        return weights_fail(weights, "header says %" PRIu64 " bytes, file has %zu: not safetensors, or cut short",
                            header, weights->size - HEAD);
    if (header > HEADER_MAX)
        return weights_fail(weights, "header says %" PRIu64 " bytes, up to %" PRIu64 " are read", header, HEADER_MAX);
    if (header < 2)
        return weights_fail(weights, "header says %" PRIu64 " bytes, file has %zu; 2 are the least", header,
                            weights->size - HEAD);
    if (weights->bytes[HEAD] != '{')
        return weights_fail(weights, "header starts with byte %02x at 8, not with \"{\": not safetensors",
                            weights->bytes[HEAD]);
    Reader reader = {.weights = weights, .data = HEAD + header, .data_bytes = weights->size - HEAD - header};
    json_begin(&reader.json, weights->bytes + HEAD, (size_t)header, DEPTH_MAX);
    if (json_next(&reader.json) != JSON_OBJECT) return bad_json(&reader);
    for (;;) {
        JsonKind kind = json_next(&reader.json);
        if (kind == JSON_OBJECT_END) break;
        if (kind != JSON_KEY) return bad_json(&reader);
        int rc = read_tensor(&reader);
        if (rc) return rc;
    }
    if (json_next(&reader.json) != JSON_END) return bad_json(&reader);
    int rc = check_cover(&reader);
    return rc ? rc : check_notes(weights);
}

/* ---- writing ---- */

/* Text that grows; failure is sticky. */
typedef struct {
    char *text;
    size_t used, room;
    bool failed;
} Text;

static void append(Text *text, const char *piece) {
    size_t n = strlen(piece);
    if (text->failed) return;
    if (text->room - text->used <= n) {
        size_t room = 2 * text->room + n + 4096;
        char *grown = mem_grow(text->text, room);
        if (!grown) {
            text->failed = true;
            return;
        }
        text->text = grown;
        text->room = room;
    }
    memcpy(text->text + text->used, piece, n + 1);
    text->used += n;
}

static void append_quoted(Text *text, const char *piece) {
    size_t room = 6 * strlen(piece) + 3;
    char *quoted = mem_alloc(room);
    if (quoted)
        append(text, json_quote(quoted, room, piece));
    else
        text->failed = true;
    mem_free(quoted);
}

static int order_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_names(const SafetensorsTensor *tensors, int count) {
    const char **sorted = mem_array((size_t)count, sizeof *sorted);
    if (!sorted) return (int)ERR_MEMORY;
    int rc = 0;
    char shown[200];
    for (int i = 0; i < count && !rc; i++) {
        sorted[i] = tensors[i].name;
        const char *bad = weight_bad_name(sorted[i], strlen(sorted[i]));
        if (!bad && strcmp(sorted[i], "__metadata__") == 0) bad = "is named as the metadata is";
        if (bad) rc = fail(ERR_WEIGHTS, "tensor \"%s\" %s", err_printable(shown, sizeof shown, sorted[i]), bad);
    }
    if (!rc && count) qsort(sorted, (size_t)count, sizeof *sorted, order_names);
    for (int i = 1; i < count && !rc; i++)
        if (strcmp(sorted[i], sorted[i - 1]) == 0)
            rc = fail(ERR_WEIGHTS, "two tensors are named \"%s\"", err_printable(shown, sizeof shown, sorted[i]));
    mem_free(sorted);
    return rc;
}

static bool tensor_bytes_of(const SafetensorsTensor *tensor, int64_t *bytes) {
    *bytes = (int64_t)weight_dtype_size(tensor->dtype);
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->size[i] < 0 || __builtin_mul_overflow(*bytes, tensor->size[i], bytes)) return false;
    return true;
}

static int write_header_text(Text *text, const SafetensorsTensor *tensors, int count, const SafetensorsNote *notes,
                             int note_count) {
    append(text, "{");
    if (note_count) {
        append(text, "\"__metadata__\":{");
        for (int i = 0; i < note_count; i++) {
            if (i) append(text, ",");
            append_quoted(text, notes[i].key);
            append(text, ":");
            append_quoted(text, notes[i].value);
        }
        append(text, count ? "}," : "}");
    }
    int64_t at = 0, bytes, end;
    for (int i = 0; i < count; i++) {
        char piece[400];
        if (!tensor_bytes_of(&tensors[i], &bytes) || __builtin_add_overflow(at, bytes, &end))
            return fail(ERR_WEIGHTS, "tensor \"%s\" is too large to be written", tensors[i].name);
        append_quoted(text, tensors[i].name);
        snprintf(piece, sizeof piece, ":{\"dtype\":\"%s\",\"shape\":[", names[tensors[i].dtype]);
        append(text, piece);
        for (int k = 0; k < tensors[i].rank; k++) {
            snprintf(piece, sizeof piece, "%s%" PRId64, k ? "," : "", tensors[i].size[k]);
            append(text, piece);
        }
        snprintf(piece, sizeof piece, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}%s", at, end,
                 i + 1 < count ? "," : "");
        append(text, piece);
        at = end;
    }
    append(text, "}");
    while (!text->failed && (HEAD + text->used) % DATA_ALIGN) append(text, " ");
    return text->failed ? (int)ERR_MEMORY : 0;
}

int safetensors_write_header(Out *out, const SafetensorsTensor *tensors, int count, const SafetensorsNote *notes,
                             int note_count) {
    if (count > WEIGHTS_TENSORS_MAX)
        return fail(ERR_WEIGHTS, "%d tensors are too many for one file, %d are read", count, WEIGHTS_TENSORS_MAX);
    int rc = check_names(tensors, count);
    if (rc) return rc;
    Text text = {0};
    rc = write_header_text(&text, tensors, count, notes, note_count);
    if (!rc && text.used > HEADER_MAX) rc = fail(ERR_WEIGHTS, "the header would be %zu bytes long", text.used);
    if (!rc) {
        uint8_t head[HEAD];
        for (int i = 0; i < HEAD; i++) head[i] = (uint8_t)((uint64_t)text.used >> 8 * i);
        rc = out_write(out, head, sizeof head);
        if (!rc) rc = out_write(out, text.text, text.used);
    }
    mem_free(text.text);
    return rc;
}

int safetensors_write(Out *out, const SafetensorsTensor *tensors, int count, const SafetensorsNote *notes,
                      int note_count) {
    int rc = safetensors_write_header(out, tensors, count, notes, note_count);
    for (int i = 0; i < count && !rc; i++) {
        int64_t bytes = 0;
        BUG_IF(!tensor_bytes_of(&tensors[i], &bytes), "checked above");
        if (bytes) rc = out_write(out, tensors[i].data, (size_t)bytes);
    }
    return rc;
}
