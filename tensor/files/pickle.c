#include "tensor/files/pickle.h"
#include "base/err.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PICKLE_UNSET = 255, NAME_MAX_SHOWN = 60 };

/* The names a pickle may speak of. */
typedef enum {
    REBUILD_TENSOR,
    REBUILD_TENSOR_V3,
    REBUILD_PARAMETER,
    ORDERED_DICT,
    STORAGE_TYPE,
    UNTYPED,
    DTYPE
} Meaning;
static const struct {
    const char *module, *name;
    Meaning meaning;
    WeightDType dtype;
} globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v3", REBUILD_TENSOR_V3, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0},
    {"torch", "FloatStorage", STORAGE_TYPE, WEIGHT_F32},
    {"torch", "HalfStorage", STORAGE_TYPE, WEIGHT_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, WEIGHT_BF16},
    {"torch", "DoubleStorage", STORAGE_TYPE, WEIGHT_F64},
    {"torch", "LongStorage", STORAGE_TYPE, WEIGHT_I64},
    {"torch", "IntStorage", STORAGE_TYPE, WEIGHT_I32},
    {"torch", "ShortStorage", STORAGE_TYPE, WEIGHT_I16},
    {"torch", "CharStorage", STORAGE_TYPE, WEIGHT_I8},
    {"torch", "ByteStorage", STORAGE_TYPE, WEIGHT_U8},
    {"torch", "BoolStorage", STORAGE_TYPE, WEIGHT_BOOL},
    {"torch", "UntypedStorage", UNTYPED, WEIGHT_U8},
    {"torch.storage", "UntypedStorage", UNTYPED, WEIGHT_U8},
    {"torch", "float32", DTYPE, WEIGHT_F32},
    {"torch", "float16", DTYPE, WEIGHT_F16},
    {"torch", "bfloat16", DTYPE, WEIGHT_BF16},
    {"torch", "float64", DTYPE, WEIGHT_F64},
    {"torch", "int64", DTYPE, WEIGHT_I64},
    {"torch", "int32", DTYPE, WEIGHT_I32},
    {"torch", "int16", DTYPE, WEIGHT_I16},
    {"torch", "int8", DTYPE, WEIGHT_I8},
    {"torch", "uint8", DTYPE, WEIGHT_U8},
    {"torch", "bool", DTYPE, WEIGHT_BOOL},
};
enum { GLOBALS = sizeof globals / sizeof *globals };

static int refuse(Pickle *p, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int refuse(Pickle *p, size_t offset, const char *format, ...) {
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(p->error, sizeof p->error, "%s at %zu", text, offset);
    return (int)ERR_WEIGHTS;
}

/* Makes room for one more; doubles. */
static bool grow(void *array, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room) return true;
    uint32_t more = *room ? 2 * *room : 64;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = mem_grow(old, more * size);
    if (!grown) return false;
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return true;
}

bool pickle_is(const Pickle *p, PickleValue value, const char *text) {
    return value.kind == PICKLE_STRING && (uint64_t)value.whole == strlen(text) &&
           memcmp(p->text + value.index, text, (size_t)value.whole) == 0;
}

static int push(Pickle *p, PickleValue value) {
    if (p->stack_count == PICKLE_STACK_MAX)
        return refuse(p, p->at, "refused: the pickle's stack has more than 4096 values");
    p->stack[p->stack_count++] = value;
    return 0;
}

/* Values above the last mark; without one, all. */
static uint32_t available(const Pickle *p) {
    return p->stack_count - (p->mark_count ? p->marks[p->mark_count - 1] : 0);
}

static int need(Pickle *p, uint32_t n, size_t offset) {
    return available(p) >= n ? 0 : refuse(p, offset, "refused: the pickle takes a value that is not there");
}

static int new_container(Pickle *p, PickleKind kind, PickleValue *value) {
    if (p->container_count == PICKLE_CONTAINERS_MAX)
        return refuse(p, p->at, "refused: the pickle has too many containers");
    if (!grow(&p->containers, p->container_count, &p->container_room, sizeof *p->containers)) return (int)ERR_MEMORY;
    *value = (PickleValue){.kind = kind, .index = p->container_count};
    p->containers[p->container_count++] = (PickleContainer){0};
    return 0;
}

static bool is_container(PickleValue value) {
    return value.kind == PICKLE_TUPLE || value.kind == PICKLE_LIST || value.kind == PICKLE_DICT;
}

static int add_to(Pickle *p, PickleValue container, PickleValue value, size_t offset) {
    PickleContainer *c = &p->containers[container.index];
    if (c->closed) return refuse(p, offset, "refused: the pickle adds to a container that lies inside another");
    if (is_container(value)) {
        PickleContainer *inner = &p->containers[value.index];
        if (inner == c) return refuse(p, offset, "refused: a container of the pickle holds itself");
        inner->closed = true;
        if (inner->depth + 1 > c->depth) c->depth = (uint16_t)(inner->depth + 1);
        if (c->depth > PICKLE_DEPTH_MAX) return refuse(p, offset, "refused: the pickle is nested more than 64 deep");
    }
    if (p->cell_count == PICKLE_CELLS_MAX) return refuse(p, offset, "refused: the pickle has too many values");
    if (!grow(&p->cells, p->cell_count + 1, &p->cell_room, sizeof *p->cells)) return (int)ERR_MEMORY;
    uint32_t cell = ++p->cell_count;
    p->cells[cell] = (PickleCell){value, 0};
    if (c->last)
        p->cells[c->last].next = cell;
    else
        c->first = cell;
    c->last = cell;
    c->count++;
    return 0;
}

/* Takes the n topmost values into a new tuple, which replaces them. */
static int make_tuple(Pickle *p, uint32_t n, size_t offset) {
    PickleValue tuple;
    int rc = need(p, n, offset);
    if (rc || (rc = new_container(p, PICKLE_TUPLE, &tuple))) return rc;
    uint32_t first = p->stack_count - n;
    for (uint32_t i = 0; i < n; i++)
        if ((rc = add_to(p, tuple, p->stack[first + i], offset))) return rc;
    p->stack_count = first;
    return push(p, tuple);
}

/* Takes the last mark away; *first is the place of the first value above it. */
static int pop_mark(Pickle *p, uint32_t *first, size_t offset) {
    if (!p->mark_count) return refuse(p, offset, "refused: the pickle ends a group it did not begin");
    *first = p->marks[--p->mark_count];
    return 0;
}

/* Adds stack[first..] to the list or dict below it and drops them. */
static int add_items(Pickle *p, uint32_t first, PickleKind kind, size_t offset) {
    uint32_t lowest = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    if (first <= lowest || p->stack[first - 1].kind != kind)
        return refuse(p, offset, "refused: the pickle adds items to something that is no %s",
                      kind == PICKLE_DICT ? "dict" : "list");
    if (kind == PICKLE_DICT && (p->stack_count - first) % 2)
        return refuse(p, offset, "refused: the pickle adds a key without a value");
    for (uint32_t i = first; i < p->stack_count; i++) {
        int rc = add_to(p, p->stack[first - 1], p->stack[i], offset);
        if (rc) return rc;
    }
    p->stack_count = first;
    return 0;
}

static int memo_put(Pickle *p, uint64_t index, size_t offset) {
    int rc = need(p, 1, offset);
    if (rc) return rc;
    if (index >= PICKLE_MEMO_MAX)
        return refuse(p, offset, "refused: the pickle's memo index %" PRIu64 " is beyond %d", index, PICKLE_MEMO_MAX);
    while (index >= p->memo_room) {
        uint32_t had = p->memo_room;
        if (!grow(&p->memo, had, &p->memo_room, sizeof *p->memo)) return (int)ERR_MEMORY;
        for (uint32_t i = had; i < p->memo_room; i++) p->memo[i].kind = PICKLE_UNSET;
    }
    if (p->memo[index].kind == PICKLE_UNSET) p->memo_count++;
    p->memo[index] = p->stack[p->stack_count - 1];
    return 0;
}

static int memo_get(Pickle *p, uint64_t index, size_t offset) {
    if (index >= p->memo_room || p->memo[index].kind == PICKLE_UNSET)
        return refuse(p, offset, "refused: the pickle's memo index %" PRIu64 " was never set", index);
    return push(p, p->memo[index]);
}

/* ---- names ---- */

static int push_global(Pickle *p, const uint8_t *module, size_t module_bytes, const uint8_t *name, size_t name_bytes,
                       size_t offset) {
    for (uint32_t i = 0; i < GLOBALS; i++)
        if (strlen(globals[i].module) == module_bytes && memcmp(globals[i].module, module, module_bytes) == 0 &&
            strlen(globals[i].name) == name_bytes && memcmp(globals[i].name, name, name_bytes) == 0)
            return push(p, (PickleValue){.kind = PICKLE_GLOBAL, .index = i});
    char text[2 * NAME_MAX_SHOWN + 2], shown[2 * NAME_MAX_SHOWN + 8];
    snprintf(text, sizeof text, "%.*s.%.*s", (int)(module_bytes < NAME_MAX_SHOWN ? module_bytes : NAME_MAX_SHOWN),
             (const char *)module, (int)(name_bytes < NAME_MAX_SHOWN ? name_bytes : NAME_MAX_SHOWN),
             (const char *)name);
    return refuse(p, offset, "refused: pickle asks for %s", err_printable(shown, sizeof shown, text));
}

static bool is_meaning(PickleValue value, Meaning meaning) {
    return value.kind == PICKLE_GLOBAL && globals[value.index].meaning == meaning;
}

/* Up to `most` items of a tuple or list. */
static uint32_t items_of(const Pickle *p, PickleValue container, PickleValue *items, uint32_t most) {
    const PickleContainer *c = &p->containers[container.index];
    uint32_t n = 0;
    for (uint32_t cell = c->first; cell && n < most; cell = p->cells[cell].next) items[n++] = p->cells[cell].value;
    return c->count;
}

/* (sizes or strides) as a tuple of whole numbers; -1 when it is not that. */
static int read_dims(const Pickle *p, PickleValue value, int64_t dims[WEIGHT_RANK_MAX]) {
    PickleValue items[WEIGHT_RANK_MAX];
    if (value.kind != PICKLE_TUPLE) return -1;
    uint32_t n = items_of(p, value, items, WEIGHT_RANK_MAX);
    if (n > WEIGHT_RANK_MAX) return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (items[i].kind != PICKLE_INT) return -1;
        dims[i] = items[i].whole;
    }
    return (int)n;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]);
 * _rebuild_tensor_v3 has a dtype before the metadata and an untyped storage. */
static int rebuild_tensor(Pickle *p, PickleValue arguments, bool v3, size_t offset, PickleValue *result) {
    PickleValue a[8] = {{0}};
    PickleTensor tensor = {0};
    uint32_t n = items_of(p, arguments, a, 8);
    bool good = v3 ? n == 7 || n == 8 : n == 6 || n == 7;
    good = good && a[0].kind == PICKLE_STORAGE && a[1].kind == PICKLE_INT && a[1].whole >= 0 &&
           a[4].kind == PICKLE_BOOL && (a[5].kind == PICKLE_DICT || a[5].kind == PICKLE_NONE);
    if (good && v3) good = is_meaning(a[6], DTYPE);
    if (good) {
        int sizes = read_dims(p, a[2], tensor.size), strides = read_dims(p, a[3], tensor.stride);
        good = sizes >= 0 && sizes == strides;
        tensor.rank = sizes;
    }
    if (!good)
        return refuse(p, offset,
                      "refused: pickle calls torch._utils._rebuild_tensor_v%d with other arguments than torch writes",
                      v3 ? 3 : 2);
    const PickleStorage *storage = &p->storages[a[0].index];
    if (storage->untyped != v3)
        return refuse(p, offset, "refused: a tensor of the pickle has a storage of the other kind (typed, untyped)");
    tensor.storage = a[0].index;
    tensor.offset = a[1].whole;
    tensor.dtype = v3 ? globals[a[6].index].dtype : storage->dtype;
    if (p->tensor_count == WEIGHTS_TENSORS_MAX) return refuse(p, offset, "refused: more than 65536 tensors");
    if (!grow(&p->tensors, p->tensor_count, &p->tensor_room, sizeof *p->tensors)) return (int)ERR_MEMORY;
    *result = (PickleValue){.kind = PICKLE_TENSOR, .index = p->tensor_count};
    p->tensors[p->tensor_count++] = tensor;
    return 0;
}

/* OrderedDict(), or the older OrderedDict([[key, value], ...]). */
static int make_dict(Pickle *p, PickleValue arguments, size_t offset, PickleValue *dict) {
    PickleValue a[1] = {{0}}, pair[2] = {{0}};
    int rc = new_container(p, PICKLE_DICT, dict);
    if (rc) return rc;
    uint32_t n = items_of(p, arguments, a, 1);
    if (n == 0) return 0;
    if (n != 1 || a[0].kind != PICKLE_LIST)
        return refuse(p, offset,
                      "refused: pickle calls collections.OrderedDict with other arguments than torch writes");
    for (uint32_t cell = p->containers[a[0].index].first; cell; cell = p->cells[cell].next) {
        PickleValue item = p->cells[cell].value;
        if ((item.kind != PICKLE_LIST && item.kind != PICKLE_TUPLE) || items_of(p, item, pair, 2) != 2)
            return refuse(p, offset,
                          "refused: pickle calls collections.OrderedDict with other arguments than torch writes");
        if ((rc = add_to(p, *dict, pair[0], offset)) || (rc = add_to(p, *dict, pair[1], offset))) return rc;
    }
    return 0;
}

static int reduce(Pickle *p, size_t offset) {
    int rc = need(p, 2, offset);
    if (rc) return rc;
    PickleValue arguments = p->stack[p->stack_count - 1], called = p->stack[p->stack_count - 2], result;
    if (called.kind != PICKLE_GLOBAL || arguments.kind != PICKLE_TUPLE)
        return refuse(p, offset, "refused: the pickle calls something that is no function, or without arguments");
    switch (globals[called.index].meaning) {
    case ORDERED_DICT:
        rc = make_dict(p, arguments, offset, &result);
        break;
    case REBUILD_TENSOR:
        rc = rebuild_tensor(p, arguments, false, offset, &result);
        break;
    case REBUILD_TENSOR_V3:
        rc = rebuild_tensor(p, arguments, true, offset, &result);
        break;
    case REBUILD_PARAMETER: { /* (tensor, requires_grad, hooks) */
        PickleValue a[3] = {{0}};
        if (items_of(p, arguments, a, 3) != 3 || a[0].kind != PICKLE_TENSOR || a[1].kind != PICKLE_BOOL)
            return refuse(
                p, offset,
                "refused: pickle calls torch._utils._rebuild_parameter with other arguments than torch writes");
        result = a[0];
        break;
    }
    default:
        return refuse(p, offset, "refused: pickle calls %s.%s", globals[called.index].module,
                      globals[called.index].name);
    }
    if (rc) return rc;
    p->stack_count -= 2;
    return push(p, result);
}

/* ('storage', type, key, device, count); legacy files add a view: None, or (key, offset, count). */
static int persistent(Pickle *p, size_t offset) {
    int rc = need(p, 1, offset);
    if (rc) return rc;
    PickleValue id = p->stack[p->stack_count - 1], a[6] = {{0}}, view[3] = {{0}};
    uint32_t n = id.kind == PICKLE_TUPLE ? items_of(p, id, a, 6) : 0;
    bool good = (n == 5 || (p->legacy && n == 6)) && pickle_is(p, a[0], "storage") && a[2].kind == PICKLE_STRING &&
                a[2].whole > 0 && a[2].whole <= WEIGHT_NAME_MAX && a[4].kind == PICKLE_INT && a[4].whole >= 0 &&
                (is_meaning(a[1], STORAGE_TYPE) || is_meaning(a[1], UNTYPED));
    if (!good) return refuse(p, offset, "refused: the pickle names a storage in another way than torch does");
    PickleStorage storage = {
        .key = a[2].index,
        .key_bytes = (uint32_t)a[2].whole,
        .dtype = globals[a[1].index].dtype,
        .untyped = is_meaning(a[1], UNTYPED),
        .count = a[4].whole,
        .view_offset = -1,
        .whole_count = a[4].whole,
    };
    if (n == 6 && a[5].kind != PICKLE_NONE) {
        if (a[5].kind != PICKLE_TUPLE || items_of(p, a[5], view, 3) != 3 || view[0].kind != PICKLE_STRING ||
            view[1].kind != PICKLE_INT || view[1].whole < 0 || view[2].kind != PICKLE_INT || view[2].whole < 0)
            return refuse(p, offset, "refused: the pickle names a view of a storage in another way than torch does");
        storage.view_offset = view[1].whole;
        storage.count = view[2].whole;
    }
    if (!grow(&p->storages, p->storage_count, &p->storage_room, sizeof *p->storages)) return (int)ERR_MEMORY;
    p->stack[p->stack_count - 1] = (PickleValue){.kind = PICKLE_STORAGE, .index = p->storage_count};
    p->storages[p->storage_count++] = storage;
    return 0;
}

/* ---- opcodes ---- */

static uint64_t little(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* The argument of n bytes behind the opcode. */
static int take(Pickle *p, size_t n, const uint8_t **bytes) {
    if (p->size - p->at < n) return refuse(p, p->at, "the pickle ends too early");
    *bytes = p->text + p->at;
    p->at += n;
    return 0;
}

/* A string or bytes whose length is given in `width` bytes. */
static int take_text(Pickle *p, int width, PickleKind kind) {
    const uint8_t *bytes = NULL;
    size_t offset = p->at;
    int rc = take(p, (size_t)width, &bytes);
    if (rc) return rc;
    uint64_t n = little(bytes, width);
    if (n > p->size - p->at)
        return refuse(p, offset, "refused: a string of %" PRIu64 " bytes, more than the pickle has left,", n);
    PickleValue value = {.kind = kind, .index = (uint32_t)p->at, .whole = (int64_t)n};
    p->at += (size_t)n;
    return push(p, value);
}

static int push_int(Pickle *p, int64_t whole) {
    return push(p, (PickleValue){.kind = PICKLE_INT, .whole = whole});
}

/* Two's complement of n bytes; longer than an int64 is nothing that we look at. */
static int take_long(Pickle *p) {
    const uint8_t *bytes = NULL;
    int rc = take(p, 1, &bytes);
    if (rc) return rc;
    size_t n = bytes[0];
    if ((rc = take(p, n, &bytes))) return rc;
    if (n > 8) return push(p, (PickleValue){.kind = PICKLE_OTHER});
    uint64_t v = little(bytes, (int)n);
    if (n && n < 8 && bytes[n - 1] & 0x80) v |= ~(uint64_t)0 << 8 * n;
    return push_int(p, (int64_t)v);
}

static int take_line(Pickle *p, const uint8_t **line, size_t *bytes) {
    const uint8_t *end = memchr(p->text + p->at, '\n', p->size - p->at);
    if (!end) return refuse(p, p->at, "the pickle ends too early");
    *line = p->text + p->at;
    *bytes = (size_t)(end - *line);
    p->at += *bytes + 1;
    return 0;
}

static int take_global(Pickle *p, size_t offset) {
    const uint8_t *module = NULL, *name = NULL;
    size_t module_bytes = 0, name_bytes = 0;
    int rc = take_line(p, &module, &module_bytes);
    if (rc || (rc = take_line(p, &name, &name_bytes))) return rc;
    return push_global(p, module, module_bytes, name, name_bytes, offset);
}

static int stack_global(Pickle *p, size_t offset) {
    int rc = need(p, 2, offset);
    if (rc) return rc;
    PickleValue module = p->stack[p->stack_count - 2], name = p->stack[p->stack_count - 1];
    if (module.kind != PICKLE_STRING || name.kind != PICKLE_STRING)
        return refuse(p, offset, "refused: the pickle asks for a name that is no text");
    p->stack_count -= 2;
    return push_global(p, p->text + module.index, (size_t)module.whole, p->text + name.index, (size_t)name.whole,
                       offset);
}

static const char *refused_opcode(uint8_t opcode) {
    switch (opcode) {
    case 'i':
        return "INST";
    case 'o':
        return "OBJ";
    case 0x81:
        return "NEWOBJ";
    case 0x92:
        return "NEWOBJ_EX";
    case 0x82:
        return "EXT1";
    case 0x83:
        return "EXT2";
    case 0x84:
        return "EXT4";
    case 'P':
        return "PERSID";
    case '0':
        return "POP";
    case '1':
        return "POP_MARK";
    case '2':
        return "DUP";
    case 'F':
        return "FLOAT";
    case 'I':
        return "INT";
    case 'L':
        return "LONG";
    case 'S':
        return "STRING";
    case 'V':
        return "UNICODE";
    case 'g':
        return "GET";
    case 'p':
        return "PUT";
    case 0x97:
        return "NEXT_BUFFER";
    case 0x98:
        return "READONLY_BUFFER";
    case 0x96:
        return "BYTEARRAY8";
    case 0x8b:
        return "LONG4";
    default:
        return NULL;
    }
}

/* Carries out one opcode; *stop at STOP. Names and codes as in Python's pickletools. */
static int step(Pickle *p, bool *stop) {
    const uint8_t *b = NULL;
    size_t offset = p->at;
    uint32_t first = 0;
    PickleValue value = {0};
    int rc = take(p, 1, &b);
    if (rc) return rc;
    uint8_t opcode = b[0];
    switch (opcode) {
    case 0x80: /* PROTO */
        if ((rc = take(p, 1, &b))) return rc;
        return b[0] >= 2 && b[0] <= 5 ? 0 : refuse(p, offset, "refused: pickle protocol %u, 2 to 5 are read,", b[0]);
    case 0x95: /* FRAME */
        if ((rc = take(p, 8, &b))) return rc;
        return little(b, 8) <= p->size - p->at ? 0 : refuse(p, offset, "the pickle has a frame longer than itself");
    case '.': /* STOP */
        *stop = true;
        if (p->stack_count != 1 || p->mark_count)
            return refuse(p, offset, "the pickle stops with a stack that is not one value");
        p->root = p->stack[0];
        return 0;
    case '(': /* MARK */
        if (p->mark_count == PICKLE_STACK_MAX) return refuse(p, offset, "refused: the pickle has more than 4096 marks");
        p->marks[p->mark_count++] = p->stack_count;
        return 0;
    case 'N':
        return push(p, (PickleValue){.kind = PICKLE_NONE});
    case 0x88: /* NEWTRUE, NEWFALSE */
    case 0x89:
        return push(p, (PickleValue){.kind = PICKLE_BOOL, .whole = opcode == 0x88});
    case 'J': /* BININT */
        return (rc = take(p, 4, &b)) ? rc : push_int(p, (int32_t)little(b, 4));
    case 'K': /* BININT1 */
        return (rc = take(p, 1, &b)) ? rc : push_int(p, b[0]);
    case 'M': /* BININT2 */
        return (rc = take(p, 2, &b)) ? rc : push_int(p, (int64_t)little(b, 2));
    case 0x8a: /* LONG1 */
        return take_long(p);
    case 'G': /* BINFLOAT */
        return (rc = take(p, 8, &b)) ? rc : push(p, (PickleValue){.kind = PICKLE_OTHER});
    case 'X': /* BINUNICODE; then its short and long forms, and Python 2's strings */
        return take_text(p, 4, PICKLE_STRING);
    case 0x8c:
        return take_text(p, 1, PICKLE_STRING);
    case 0x8d:
        return take_text(p, 8, PICKLE_STRING);
    case 'T':
        return take_text(p, 4, PICKLE_STRING);
    case 'U':
        return take_text(p, 1, PICKLE_STRING);
    case 'B': /* BINBYTES and its short and long forms */
        return take_text(p, 4, PICKLE_OTHER);
    case 'C':
        return take_text(p, 1, PICKLE_OTHER);
    case 0x8e:
        return take_text(p, 8, PICKLE_OTHER);
    case ')': /* EMPTY_TUPLE */
        return make_tuple(p, 0, offset);
    case 0x85: /* TUPLE1 to TUPLE3 */
        return make_tuple(p, 1, offset);
    case 0x86:
        return make_tuple(p, 2, offset);
    case 0x87:
        return make_tuple(p, 3, offset);
    case 't': /* TUPLE */
        return (rc = pop_mark(p, &first, offset)) ? rc : make_tuple(p, p->stack_count - first, offset);
    case ']': /* EMPTY_LIST */
        return (rc = new_container(p, PICKLE_LIST, &value)) ? rc : push(p, value);
    case '}': /* EMPTY_DICT */
        return (rc = new_container(p, PICKLE_DICT, &value)) ? rc : push(p, value);
    case 'a': /* APPEND */
        return (rc = need(p, 2, offset)) ? rc : add_items(p, p->stack_count - 1, PICKLE_LIST, offset);
    case 'e': /* APPENDS */
        return (rc = pop_mark(p, &first, offset)) ? rc : add_items(p, first, PICKLE_LIST, offset);
    case 's': /* SETITEM */
        return (rc = need(p, 3, offset)) ? rc : add_items(p, p->stack_count - 2, PICKLE_DICT, offset);
    case 'u': /* SETITEMS */
        return (rc = pop_mark(p, &first, offset)) ? rc : add_items(p, first, PICKLE_DICT, offset);
    case 'q': /* BINPUT */
        return (rc = take(p, 1, &b)) ? rc : memo_put(p, b[0], offset);
    case 'r': /* LONG_BINPUT */
        return (rc = take(p, 4, &b)) ? rc : memo_put(p, little(b, 4), offset);
    case 0x94: /* MEMOIZE */
        return memo_put(p, p->memo_count, offset);
    case 'h': /* BINGET */
        return (rc = take(p, 1, &b)) ? rc : memo_get(p, b[0], offset);
    case 'j': /* LONG_BINGET */
        return (rc = take(p, 4, &b)) ? rc : memo_get(p, little(b, 4), offset);
    case 'c': /* GLOBAL */
        return take_global(p, offset);
    case 0x93: /* STACK_GLOBAL */
        return stack_global(p, offset);
    case 'R': /* REDUCE */
        return reduce(p, offset);
    case 'Q': /* BINPERSID */
        return persistent(p, offset);
    case 'b': /* BUILD: attributes of the dict below; state dicts carry their version numbers so */
        if ((rc = need(p, 2, offset))) return rc;
        if (p->stack[p->stack_count - 2].kind != PICKLE_DICT)
            return refuse(p, offset, "refused: the pickle sets attributes of something that is no dict");
        p->stack_count--;
        return 0;
    default: {
        const char *name = refused_opcode(opcode);
        if (name) return refuse(p, offset, "refused: pickle opcode %s", name);
        return refuse(p, offset, "refused: unknown pickle opcode 0x%02x", opcode);
    }
    }
}

int pickle_read(Pickle *p, const uint8_t *text, size_t size, bool legacy) {
    memset(p, 0, sizeof *p);
    p->text = text;
    p->size = size < PICKLE_BYTES_MAX ? size : PICKLE_BYTES_MAX;
    p->legacy = legacy;
    if (size == 0 || text[0] != 0x80) return refuse(p, 0, "the pickle does not start with its protocol");
    bool stop = false;
    for (int steps = 0; !stop; steps++) {
        int rc =
            steps < PICKLE_STEPS_MAX ? step(p, &stop) : refuse(p, p->at, "refused: the pickle has too many opcodes");
        if (rc) return rc;
    }
    return 0;
}

void pickle_free(Pickle *p) {
    mem_free(p->memo);
    mem_free(p->cells);
    mem_free(p->containers);
    mem_free(p->storages);
    mem_free(p->tensors);
}
