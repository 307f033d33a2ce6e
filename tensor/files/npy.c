#include "tensor/files/npy.h"
#include "base/err.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FIXED = 10, NAME_MAX_SHOWN = 100, HEADER_ALIGN = 64, TEXT_WIDTH_MAX = 1 << 20 };

static const struct {
    const char *name, *descr; /* descr without its byte order */
    size_t size;
} types[NPY_TYPES] = {
    [NPY_BOOL] = {"bool", "b1", 1},   [NPY_I8] = {"int8", "i1", 1},     [NPY_I16] = {"int16", "i2", 2},
    [NPY_I32] = {"int32", "i4", 4},   [NPY_I64] = {"int64", "i8", 8},   [NPY_U8] = {"uint8", "u1", 1},
    [NPY_U16] = {"uint16", "u2", 2},  [NPY_U32] = {"uint32", "u4", 4},  [NPY_U64] = {"uint64", "u8", 8},
    [NPY_F16] = {"float16", "f2", 2}, [NPY_F32] = {"float32", "f4", 4}, [NPY_F64] = {"float64", "f8", 8},
    [NPY_TEXT] = {"text", "U", 4},
};

const char *npy_type_name(NpyType type) {
    return types[type].name;
}

size_t npy_item_size(const NpyArray *array) {
    return array->type == NPY_TEXT ? 4 * (size_t)array->width : types[array->type].size;
}

void npy_free(NpyArray *array) {
    mem_free(array->data);
    *array = (NpyArray){0};
}

/* ---- the header: a Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ---- */

typedef struct {
    const char *text;
    size_t size, at;
} Header;

static int bad_header(const Header *header, const char *what) {
    return fail(ERR_INPUT, "NPY header: %s at byte %zu", what, header->at);
}

static void skip_space(Header *header) {
    while (header->at < header->size && (header->text[header->at] == ' ' || header->text[header->at] == '\n'))
        header->at++;
}

static bool take_char(Header *header, char c) {
    skip_space(header);
    if (header->at >= header->size || header->text[header->at] != c) return false;
    header->at++;
    return true;
}

static bool take_word(Header *header, const char *word) {
    size_t n = strlen(word);
    skip_space(header);
    if (header->size - header->at < n || memcmp(header->text + header->at, word, n) != 0) return false;
    header->at += n;
    return true;
}

static bool take_quoted(Header *header, char *out, size_t size) {
    skip_space(header);
    if (header->at >= header->size) return false;
    char quote = header->text[header->at];
    if (quote != '\'' && quote != '"') return false;
    const char *start = header->text + header->at + 1;
    const char *end = memchr(start, quote, header->size - header->at - 1);
    if (!end || (size_t)(end - start) >= size || memchr(start, '\\', (size_t)(end - start))) return false;
    memcpy(out, start, (size_t)(end - start));
    out[end - start] = 0;
    header->at += (size_t)(end - start) + 2;
    return true;
}

static bool take_number(Header *header, int64_t *value) {
    skip_space(header);
    size_t first = header->at;
    for (*value = 0; header->at < header->size; header->at++) {
        char c = header->text[header->at];
        if (c < '0' || c > '9') break;
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, c - '0', value)) return false;
    }
    if (header->at > first && header->at < header->size && header->text[header->at] == 'L') header->at++; /* Python 2 */
    return header->at > first;
}

static int take_descr(Header *header, NpyArray *array, bool *swapped) {
    char descr[32];
    if (!take_quoted(header, descr, sizeof descr))
        return bad_header(header, "descr is no text: arrays with fields are not read");
    const char *kind = descr;
    char order = '=';
    if (*kind && strchr("<>=|", *kind)) order = *kind++;
    if (*kind == 'O') return fail(ERR_INPUT, "refused: contains Python objects (dtype object), which are not read");
    for (int t = 0; t < NPY_TEXT; t++) {
        if (strcmp(kind, types[t].descr) != 0) continue;
        array->type = (NpyType)t;
        *swapped = order == '>' && types[t].size > 1;
        return 0;
    }
    Header width = {.text = kind + 1, .size = strlen(kind) ? strlen(kind) - 1 : 0};
    if (*kind == 'U' && take_number(&width, &array->width) && width.at == width.size &&
        array->width <= TEXT_WIDTH_MAX) {
        array->type = NPY_TEXT;
        *swapped = order == '>';
        return 0;
    }
    char shown[100];
    return fail(ERR_INPUT, "NPY header: dtype \"%s\"; bool, i1 to i8, u1 to u8, f2 to f8 and U are read",
                err_printable(shown, sizeof shown, descr));
}

static int take_shape(Header *header, NpyArray *array) {
    if (!take_char(header, '(')) return bad_header(header, "shape is no tuple");
    while (!take_char(header, ')')) {
        if (array->rank == NPY_RANK_MAX) return bad_header(header, "more than 8 dimensions");
        if (!take_number(header, &array->size[array->rank]))
            return bad_header(header, "shape holds no whole number >= 0");
        array->rank++;
        if (take_char(header, ',')) continue;
        if (take_char(header, ')')) break;
        return bad_header(header, "shape is no tuple");
    }
    return 0;
}

/* To the end of the line, cut at the room there is. */
static void take_comment(Header *header, NpyArray *array) {
    size_t n = 0;
    while (header->at < header->size && header->text[header->at] == ' ') header->at++;
    for (; header->at < header->size && header->text[header->at] != '\n'; header->at++) {
        char c = header->text[header->at];
        if (n + 1 < sizeof array->comment) array->comment[n++] = c >= ' ' && c <= '~' ? c : '?';
    }
    while (n && array->comment[n - 1] == ' ') n--;
    array->comment[n] = 0;
}

static int parse_header(Header *header, NpyArray *array, bool *swapped, bool *fortran) {
    bool descr = false, order = false, shape = false;
    char key[32];
    if (!take_char(header, '{')) return bad_header(header, "does not start with \"{\"");
    while (!take_char(header, '}')) {
        if (!take_quoted(header, key, sizeof key) || !take_char(header, ':')) return bad_header(header, "no key");
        int rc = 0;
        if (strcmp(key, "descr") == 0 && !descr) {
            descr = true;
            rc = take_descr(header, array, swapped);
        } else if (strcmp(key, "fortran_order") == 0 && !order) {
            order = true;
            *fortran = take_word(header, "True");
            if (!*fortran && !take_word(header, "False"))
                rc = bad_header(header, "fortran_order is neither True nor False");
        } else if (strcmp(key, "shape") == 0 && !shape) {
            shape = true;
            rc = take_shape(header, array);
        } else {
            rc = bad_header(header, "an unknown or repeated key");
        }
        if (rc) return rc;
        if (take_char(header, ',')) continue;
        if (take_char(header, '}')) break;
        return bad_header(header, "no \",\" or \"}\"");
    }
    if (take_char(header, '#')) take_comment(header, array);
    skip_space(header);
    if (header->at != header->size) return bad_header(header, "something follows it");
    if (!descr || !order || !shape) return bad_header(header, "descr, fortran_order or shape is missing");
    return 0;
}

/* Count and bytes from type, width and sizes; false when they overflow. */
static bool measure(NpyArray *array) {
    size_t count = 1, bytes;
    for (int i = 0; i < array->rank; i++)
        if (array->size[i] < 0 || !size_mul(count, (size_t)array->size[i], &count)) return false;
    if (!size_mul(count, npy_item_size(array), &bytes) || count > INT64_MAX || bytes > INT64_MAX) return false;
    array->count = (int64_t)count;
    array->bytes = bytes;
    return true;
}

static void swap_bytes(uint8_t *data, size_t bytes, size_t width) {
    for (size_t i = 0; i + width <= bytes; i += width)
        for (size_t k = 0; k < width / 2; k++) {
            uint8_t t = data[i + k];
            data[i + k] = data[i + width - 1 - k];
            data[i + width - 1 - k] = t;
        }
}

/* Column-major bytes into row-major order: one pass over the output, an odometer over the input. */
static void reorder(const NpyArray *array, const uint8_t *from, uint8_t *to) {
    size_t width = npy_item_size(array), stride[NPY_RANK_MAX], at = 0;
    int64_t index[NPY_RANK_MAX] = {0};
    size_t step = width;
    for (int i = 0; i < array->rank; i++) {
        stride[i] = step;
        step *= (size_t)array->size[i];
    }
    for (int64_t n = 0; n < array->count; n++, to += width) {
        memcpy(to, from + at, width);
        for (int i = array->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < array->size[i]) break;
            at -= stride[i] * (size_t)array->size[i];
            index[i] = 0;
        }
    }
}

static int read_into(const uint8_t *bytes, size_t size, NpyArray *array) {
    if (size == 0) return fail(ERR_INPUT, "is empty");
    if (size < FIXED || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return fail(ERR_INPUT, "is no NPY file: it does not start with \\x93NUMPY");
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return fail(ERR_INPUT, "NPY version %u.%u, 1.0 to 3.0 are read", bytes[6], bytes[7]);
    size_t start = bytes[6] == 1 ? FIXED : FIXED + 2;
    if (size < start) return fail(ERR_INPUT, "the file ends inside the NPY header");
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > NPY_HEADER_MAX)
        return fail(ERR_INPUT, "NPY header says %zu bytes, up to %d are read", length, NPY_HEADER_MAX);
    if (length > size - start)
        return fail(ERR_INPUT, "NPY header says %zu bytes, the file has %zu", length, size - start);
    Header header = {.text = (const char *)bytes + start, .size = length};
    bool swapped = false, fortran = false;
    int rc = parse_header(&header, array, &swapped, &fortran);
    if (rc) return rc;
    const uint8_t *data = bytes + start + length;
    size_t left = size - start - length;
    if (!measure(array)) return fail(ERR_INPUT, "NPY header: the shape overflows");
    if (array->bytes == 0 && array->count > 0 && (size_t)array->count > size)
        return fail(ERR_INPUT, "NPY header: %" PRId64 " texts of no characters", array->count);
    if (array->bytes > left)
        return fail(ERR_INPUT, "the NPY array needs %zu bytes, the file has %zu: it is cut short", array->bytes, left);
    if (array->bytes < left)
        return fail(ERR_INPUT, "%zu bytes after the NPY array at %zu", left - array->bytes,
                    start + length + array->bytes);
    if (!(array->data = mem_alloc(array->bytes))) return (int)ERR_MEMORY;
    if (fortran && array->rank > 1 && array->bytes)
        reorder(array, data, array->data);
    else if (array->bytes)
        memcpy(array->data, data, array->bytes);
    if (swapped) swap_bytes(array->data, array->bytes, array->type == NPY_TEXT ? 4 : types[array->type].size);
    return 0;
}

int npy_read_memory(const uint8_t *bytes, size_t size, NpyArray *array) {
    *array = (NpyArray){0};
    int rc = read_into(bytes, size, array);
    if (rc) npy_free(array);
    return rc;
}

static int named(const char *path, int rc) {
    char shown[300];
    return rc && rc != ERR_MEMORY ? fail_prefix("%s", err_printable(shown, sizeof shown, path)) : rc;
}

int npy_read(const char *path, NpyArray *array) {
    *array = (NpyArray){0};
    FileMap *map;
    int rc = file_map(path, &map);
    if (rc) return rc;
    rc = named(path, npy_read_memory(file_map_bytes(map), file_map_size(map), array));
    if (!rc && (rc = file_map_check(map))) npy_free(array);
    file_unmap(map);
    return rc;
}

int npy_to_f32(const NpyArray *array, float *out) {
    const uint8_t *p = array->data;
    switch (array->type) {
#define CASE(N, T, VALUE)                                   \
    case N:                                                 \
        for (int64_t i = 0; i < array->count; i++) {        \
            T v;                                            \
            memcpy(&v, p + (size_t)i * sizeof v, sizeof v); \
            out[i] = VALUE;                                 \
        }                                                   \
        return 0;
        CASE(NPY_BOOL, uint8_t, v ? 1.0f : 0.0f)
        CASE(NPY_I8, int8_t, (float)v)
        CASE(NPY_I16, int16_t, (float)v)
        CASE(NPY_I32, int32_t, (float)v)
        CASE(NPY_I64, int64_t, (float)v)
        CASE(NPY_U8, uint8_t, (float)v)
        CASE(NPY_U16, uint16_t, (float)v)
        CASE(NPY_U32, uint32_t, (float)v)
        CASE(NPY_U64, uint64_t, (float)v)
        CASE(NPY_F16, uint16_t, f16_to_f32(v))
        CASE(NPY_F32, float, v)
        CASE(NPY_F64, double, (float)v)
#undef CASE
    default:
        return fail(ERR_INPUT, "the NPY array holds text, not numbers");
    }
}

/* ---- text ---- */

static size_t encode_utf8(uint32_t c, char out[4]) {
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* The character at *text, which moves on; broken UTF-8 becomes U+FFFD, one byte at a time. */
static uint32_t decode_utf8(const char **text) {
    const uint8_t *s = (const uint8_t *)*text;
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    uint32_t c = n == 1 ? s[0] : n > 0 ? s[0] & (0x7fu >> n) : 0;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            n = 0;
        else
            c = c << 6 | (s[i] & 63);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] >= 0xf5 || n == 0 || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        *text += 1;
        return 0xfffd;
    }
    *text += n;
    return c;
}

char *npy_text(const NpyArray *array, int64_t index, char *out, size_t size) {
    BUG_IF(array->type != NPY_TEXT || index < 0 || index >= array->count || size == 0, "npy_text of element %" PRId64,
           index);
    size_t used = 0;
    for (int64_t i = 0; i < array->width; i++) {
        uint32_t c;
        char piece[4];
        memcpy(&c, array->data + 4 * (size_t)(index * array->width + i), 4);
        if (c == 0) break;
        size_t n = encode_utf8(c, piece);
        if (size - used <= n) break;
        memcpy(out + used, piece, n);
        used += n;
    }
    out[used] = 0;
    return out;
}

/* ---- writing ---- */

/* The header of version 1, padded so that the data starts at a multiple of 64. Returns its bytes. */
static size_t make_header(const NpyArray *array, char out[512]) {
    char shape[NPY_RANK_MAX * 22 + 4] = "(", descr[32];
    size_t used = 1;
    for (int i = 0; i < array->rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%" PRId64 "%s", array->size[i],
                                 i + 1 < array->rank ? ", "
                                 : array->rank == 1  ? ","
                                                     : "");
    if (array->type == NPY_TEXT)
        snprintf(descr, sizeof descr, "<U%" PRId64, array->width);
    else
        snprintf(descr, sizeof descr, "%s%s", types[array->type].size > 1 ? "<" : "|", types[array->type].descr);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    size_t n = FIXED + (size_t)snprintf(out + FIXED, 512 - FIXED,
                                        "{'descr': '%s', 'fortran_order': False, 'shape': %s), }%s%.79s", descr, shape,
                                        *array->comment ? " # " : "", array->comment);
    while ((n + 1) % HEADER_ALIGN) out[n++] = ' ';
    out[n++] = '\n';
    out[8] = (char)((n - FIXED) & 255);
    out[9] = (char)((n - FIXED) >> 8);
    return n;
}

static NpyArray measured(const NpyArray *array) {
    NpyArray whole = *array;
    BUG_IF(array->rank < 0 || array->rank > NPY_RANK_MAX || !measure(&whole), "an NPY array that overflows");
    return whole;
}

int npy_write(Out *out, const NpyArray *array) {
    char header[512];
    NpyArray whole = measured(array);
    int rc = out_write(out, header, make_header(&whole, header));
    return rc || !whole.bytes ? rc : out_write(out, whole.data, whole.bytes);
}

/* ---- npz ---- */

struct Npz {
    FileMap *map;
    Zip *zip;
    char shown[300];
};

static int open_zip(Npz *npz, const uint8_t *bytes, size_t size) {
    if (size == 0) return fail(ERR_INPUT, "is empty");
    if (size < 4 || memcmp(bytes, "PK", 2) != 0) return fail(ERR_INPUT, "is no NPZ file: it is no zip archive");
    return zip_open(bytes, size, ERR_INPUT, &npz->zip);
}

int npz_open_memory(const uint8_t *bytes, size_t size, Npz **npz) {
    *npz = mem_zero(1, sizeof **npz);
    if (!*npz) return (int)ERR_MEMORY;
    int rc = open_zip(*npz, bytes, size);
    if (rc) {
        npz_close(*npz);
        *npz = NULL;
    }
    return rc;
}

int npz_open(const char *path, Npz **npz) {
    *npz = mem_zero(1, sizeof **npz);
    if (!*npz) return (int)ERR_MEMORY;
    err_printable((*npz)->shown, sizeof(*npz)->shown, path);
    int rc = file_map(path, &(*npz)->map);
    if (!rc) rc = named(path, open_zip(*npz, file_map_bytes((*npz)->map), file_map_size((*npz)->map)));
    if (rc) {
        npz_close(*npz);
        *npz = NULL;
    }
    return rc;
}

void npz_close(Npz *npz) {
    if (!npz) return;
    zip_close(npz->zip);
    file_unmap(npz->map);
    mem_free(npz);
}

int npz_count(const Npz *npz) {
    return zip_count(npz->zip);
}

const char *npz_name(const Npz *npz, int index) {
    static _Thread_local char name[ZIP_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", zip_entry(npz->zip, index)->name);
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".npy") == 0) name[n - 4] = 0;
    return name;
}

static const ZipEntry *find_member(const Npz *npz, const char *name) {
    char path[ZIP_NAME_MAX + 1];
    if (strlen(name) + 4 > ZIP_NAME_MAX) return NULL;
    snprintf(path, sizeof path, "%s.npy", name);
    const ZipEntry *entry = zip_find(npz->zip, path);
    return entry ? entry : zip_find(npz->zip, name);
}

bool npz_has(const Npz *npz, const char *name) {
    return find_member(npz, name) != NULL;
}

static int refuse_absent(const Npz *npz, const char *name) {
    char list[400] = "", shown[NAME_MAX_SHOWN];
    size_t used = 0;
    int n = npz_count(npz), listed = 0;
    for (; listed < n && used + NAME_MAX_SHOWN < sizeof list; listed++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", listed ? ", " : "",
                                 err_printable(shown, sizeof shown, npz_name(npz, listed)));
    char more[40] = "";
    if (listed < n) snprintf(more, sizeof more, " and %d more", n - listed);
    return fail(ERR_INPUT, "has no array \"%s\"; there is %s%s", err_printable(shown, sizeof shown, name),
                n ? list : "none", more);
}

static int read_member(const Npz *npz, const ZipEntry *entry, NpyArray *array) {
    uint8_t *bytes;
    int rc = zip_read(npz->zip, entry, (size_t)4 << 30, &bytes);
    if (rc) return rc;
    rc = npy_read_memory(bytes, (size_t)entry->size, array);
    mem_free(bytes);
    char shown[NAME_MAX_SHOWN];
    return rc && rc != ERR_MEMORY ? fail_prefix("%s", err_printable(shown, sizeof shown, entry->name)) : rc;
}

int npz_read(const Npz *npz, const char *name, NpyArray *array) {
    *array = (NpyArray){0};
    const ZipEntry *entry = find_member(npz, name);
    int rc = entry ? read_member(npz, entry, array) : refuse_absent(npz, name);
    if (!rc && npz->map && (rc = file_map_check(npz->map)))
        npy_free(array);
    else if (rc && rc != ERR_MEMORY && *npz->shown)
        rc = fail_prefix("%s", npz->shown);
    return rc;
}

struct NpzOut {
    ZipOut *zip;
    NpzMode mode;
};

int npz_out_begin(Out *out, NpzMode mode, NpzOut **npz) {
    *npz = mem_zero(1, sizeof **npz);
    if (!*npz) return (int)ERR_MEMORY;
    (*npz)->mode = mode;
    int rc = zip_out_begin(out, &(*npz)->zip);
    if (rc) {
        mem_free(*npz);
        *npz = NULL;
    }
    return rc;
}

static int add_member(NpzOut *npz, const char *name, const NpyArray *array, const void *data) {
    char header[512], path[ZIP_NAME_MAX + 1];
    NpyArray whole = measured(array);
    BUG_IF(strlen(name) + 4 > ZIP_NAME_MAX, "an NPZ member's name is too long");
    snprintf(path, sizeof path, "%s.npy", name);
    size_t head = make_header(&whole, header), bytes;
    uint8_t *member = size_add(head, whole.bytes, &bytes) ? mem_alloc(bytes) : NULL;
    if (!member) return (int)ERR_MEMORY;
    memcpy(member, header, head);
    if (whole.bytes) memcpy(member + head, data, whole.bytes);
    int rc = zip_out_add(npz->zip, path, member, bytes, npz->mode == NPZ_PACKED);
    mem_free(member);
    return rc;
}

int npz_out_add(NpzOut *npz, const char *name, const NpyArray *array) {
    return add_member(npz, name, array, array->data);
}

int npz_out_f32(NpzOut *npz, const char *name, const float *values, int rank, const int64_t *size) {
    NpyArray array = {.type = NPY_F32, .rank = rank};
    for (int i = 0; i < rank; i++) array.size[i] = size[i];
    return add_member(npz, name, &array, values);
}

int npz_out_text(NpzOut *npz, const char *name, const char *text) {
    size_t n = strlen(text); /* at most so many characters */
    NpyArray array = {.type = NPY_TEXT};
    uint32_t *characters = mem_array(n ? n : 1, sizeof *characters);
    if (!characters) return (int)ERR_MEMORY;
    while (*text) characters[array.width++] = decode_utf8(&text);
    if (array.width == 0) characters[array.width++] = 0; /* NumPy writes the empty text as U1, too */
    int rc = add_member(npz, name, &array, characters);
    mem_free(characters);
    return rc;
}

int npz_out_end(NpzOut **npz) {
    if (!*npz) return 0;
    int rc = zip_out_end(&(*npz)->zip);
    mem_free(*npz);
    *npz = NULL;
    return rc;
}
