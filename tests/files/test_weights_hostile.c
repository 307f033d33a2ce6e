/* Rows W1 to W15 of the list of bad inputs: each file is made here, and each refusal has its code and its words. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/pickle.h"
#include "tensor/files/weights.h"
#include "tests/lib/check.h"
#include "tests/lib/zip_maker.h"

/* Opens bytes that lie in a block of exactly their size, so that the sanitizers see a byte too many. */
static void refused(const char *row, const void *bytes, size_t size, const char *pattern) {
    uint8_t *copy = malloc(size ? size : 1);
    size_t live = mem_use().live;
    Weights *weights;
    if (size) memcpy(copy, bytes, size);
    mem_reset_peak();
    int rc = weights_open_memory(copy, size, "file", &weights);
    if (rc != ERR_WEIGHTS || weights || strncmp(err_sentence(), "file: ", 6) != 0 || !strstr(err_sentence(), pattern))
        fail_msg("%s: code %d: %s (wanted: %s)", row, rc, rc ? err_sentence() : "was read", pattern);
    assert_int_equal(mem_use().live, live);
    assert_true(mem_use().peak - live <= 16 * size + ((size_t)64 << 20));
    free(copy);
}

/* ---- safetensors ---- */

/* Length, header, `data` zeros. The length can be forged. */
static uint8_t *make_safetensors(const char *header, size_t header_size, uint64_t length, size_t data, size_t *size) {
    *size = 8 + header_size + data;
    uint8_t *bytes = mem_zero(1, *size);
    set_u64(bytes, length);
    memcpy(bytes + 8, header, header_size);
    return bytes;
}

static void refused_header(const char *row, const char *header, size_t data, const char *pattern) {
    size_t size;
    uint8_t *bytes = make_safetensors(header, strlen(header), strlen(header), data, &size);
    refused(row, bytes, size, pattern);
    mem_free(bytes);
}

static void w1_lengths(void **state) {
    (void)state;
    static const uint8_t seven[7] = {2, 0, 0, 0, 0, 0, 0};
    refused("W1", "", 0, "is empty");
    for (size_t n = 1; n <= 7; n++) refused("W1", seven, n, "weights are safetensors or .pth files");
    static const struct {
        uint64_t length;
        const char *pattern;
    } cases[] = {{0, "header says 0 bytes, file has 10"},
                 {1, "header says 1 bytes, file has 10"},
                 {(uint64_t)1 << 63, "header says 9223372036854775808 bytes, file has 10"},
                 {11, "header says 11 bytes, file has 10"},
                 {UINT64_MAX, "header says 18446744073709551615 bytes, file has 10"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        uint8_t *bytes = make_safetensors("{}", 2, cases[i].length, 8, &size);
        refused("W1", bytes, size, cases[i].pattern);
        mem_free(bytes);
    }
    size_t size, above = ((size_t)64 << 20) + 1; /* the limit itself, one above */
    char *spaces = malloc(above);
    memset(spaces, ' ', above);
    memcpy(spaces, "{}", 2);
    uint8_t *bytes = make_safetensors(spaces, above, above, 0, &size);
    refused("W1", bytes, size, "header says 67108865 bytes, up to 67108864 are read");
    mem_free(bytes);
    Weights *weights;
    bytes = make_safetensors(spaces, above - 1, above - 1, 0, &size);
    assert_int_equal(weights_open_memory(bytes, size, "file", &weights), 0);
    assert_int_equal(weights_count(weights), 0);
    weights_close(weights);
    mem_free(bytes);
    free(spaces);
}

#define T(NAME, SHAPE, OFFSETS) "\"" NAME "\":{\"dtype\":\"F32\",\"shape\":" SHAPE ",\"data_offsets\":" OFFSETS "}"

static void w2_headers(void **state) {
    (void)state;
    char *deep = malloc(20001), *number = malloc(10 << 20);
    memset(deep, '[', 20000);
    memcpy(deep, "{\"a\":", 5);
    deep[20000] = 0;
    memset(number, '1', 10 << 20);
    memcpy(number, "{\"a\":{\"shape\":[", 15);
    number[(10 << 20) - 1] = 0;
    refused_header("W2", "[1,2,3]  ", 4, "starts with byte 5b at 8");
    refused_header("W2", "{\"a\xff\":1}", 4, "not valid UTF-8 at byte 11");
    refused_header("W2", "{\"a\":}", 4, "at byte 13");
    refused_header("W2", "{\"a\\u0000\":{}}", 4, "holds a NUL");
    refused_header("W2", "{\"a\\ud800\":{}}", 4, "lone surrogate in a string at byte 11");
    refused_header("W2", deep, 4, "not an object at byte");
    refused_header("W2", "{\"a\":{\"x\":[[[[[[[[[[[[1", 4, "unknown or repeated key");
    refused_header("W2", number, 4, "more than 19 digits at byte 23");
    refused_header("W2", "{" T("a", "[1]", "[0,4]") "," T("a", "[1]", "[4,8]") "}", 8, "two tensors are named \"a\"");
    refused_header("W2", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "a second __metadata__ at byte");
    refused_header("W2", "{\"__metadata__\":{\"a\":1}}", 0, "a value of __metadata__ is not a string");
    refused_header("W2", "{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    refused_header("W2", "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "__metadata__ has \"a\" twice");
    refused_header("W2", "{} x", 0, "something follows the value");
    refused_header("W2", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor \"a\" has no dtype");
    refused_header("W2", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor \"a\" has no shape");
    refused_header("W2", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor \"a\" has no data_offsets");
    refused_header("W2", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 4, "unknown or repeated key");
    free(deep);
    free(number);
}

static void w3_offsets(void **state) {
    (void)state;
    refused_header("W3", "{" T("a", "[1]", "[4,0]") "}", 4, "tensor \"a\" begins at 4 and ends before, at 0");
    refused_header("W3", "{" T("a", "[1]", "[0,4]") "}", 3,
                   "tensor \"a\" ends at 4, but the file has 3 bytes of data: it is cut short");
    refused_header("W3", "{" T("a", "[2]", "[0,8]") "," T("b", "[1]", "[4,8]") "}", 8, "tensor \"b\" overlaps");
    refused_header("W3", "{" T("a", "[1]", "[0,4]") "," T("b", "[1]", "[8,12]") "}", 12,
                   "a hole of 4 bytes lies before tensor \"b\"");
    refused_header("W3", "{" T("a", "[1]", "[4,8]") "}", 8, "a hole of 4 bytes lies before tensor \"a\"");
    refused_header("W3", "{" T("a", "[1]", "[-4,0]") "}", 4,
                   "tensor \"a\": data_offsets holds something that is no whole number");
    refused_header("W3", "{" T("a", "[1]", "[0,18446744073709551615]") "}", 4, "more than 19 digits");
    refused_header("W3", "{" T("a", "[1]", "[0,9223372036854775808]") "}", 4, "no whole number");
    refused_header("W3", "{" T("a", "[1]", "[0,1e3]") "}", 4, "no whole number");
    refused_header("W3", "{" T("a", "[1]", "[0,4.0]") "}", 4, "no whole number");
    refused_header("W3", "{" T("a", "[1]", "[0]") "}", 4, "data_offsets has 1 numbers");
    refused_header("W3", "{" T("a", "[1]", "[0,4,8]") "}", 4, "data_offsets has more than 2 numbers");
    refused_header("W3", "{" T("a", "[1]", "\"0,4\"") "}", 4, "not an array");
    /* any order in the header is legal */
    size_t size;
    const char *header = "{" T("b", "[1]", "[4,8]") "," T("a", "[1]", "[0,4]") "," T("c", "[0]", "[8,8]") "}";
    uint8_t *bytes = make_safetensors(header, strlen(header), strlen(header), 8, &size);
    Weights *weights;
    assert_int_equal(weights_open_memory(bytes, size, "file", &weights), 0);
    assert_string_equal(weights_entry(weights, 0)->name, "b");
    weights_close(weights);
    mem_free(bytes);
}

static void w4_shapes(void **state) {
    (void)state;
    refused_header("W4", "{" T("a", "[2]", "[0,4]") "}", 4, "tensor \"a\" (f32, 2) needs 8 bytes, its offsets give 4");
    refused_header("W4", "{" T("a", "[9223372036854775807]", "[0,4]") "}", 4, "overflow");
    refused_header("W4", "{" T("a", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflow");
    refused_header("W4", "{" T("a", "[4294967297,4294967296,1]", "[0,4]") "}", 4, "overflow");
    refused_header("W4", "{" T("a", "[0,9223372036854775807,9223372036854775807]", "[0,0]") "}", 0, "overflow");
    refused_header("W4", "{" T("a", "[0]", "[0,4]") "}", 4, "needs 0 bytes");
    refused_header("W4", "{" T("a", "[-1]", "[0,4]") "}", 4, "shape holds something");
    refused_header("W4", "{" T("a", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "shape has more than 8 numbers");
}

static void w5_dtypes(void **state) {
    (void)state;
    static const char *const dtypes[] = {"F8_E4M3", "I4", "f32", "U16", "", "C64"};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        char header[200], pattern[100];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[4],\"data_offsets\":[0,4]}}", dtypes[i]);
        snprintf(pattern, sizeof pattern, "tensor \"a\" has dtype \"%s\"; F64, F32, F16, BF16,", dtypes[i]);
        refused_header("W5", header, 4, pattern);
    }
    size_t size;
    const char *header = "{\"a\":{\"dtype\":\"BOOL\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    uint8_t *bytes = make_safetensors(header, strlen(header), strlen(header), 4, &size);
    bytes[size - 2] = 7;
    Weights *weights;
    float values[4];
    assert_int_equal(weights_open_memory(bytes, size, "file", &weights), 0);
    assert_int_equal(weights_read_f32(weights, weights_entry(weights, 0), values), ERR_WEIGHTS);
    assert_string_equal(err_sentence(), "file: tensor \"a\" is bool, but element 2 is 7");
    assert_int_equal(weights_check_all(weights), ERR_WEIGHTS);
    weights_close(weights);
    mem_free(bytes);
}

static void w6_limits(void **state) {
    (void)state;
    enum { LINE = 80 };
    for (int n = 65535; n <= 65537; n++) { /* one below the limit, at it, above */
        char *header = malloc((size_t)n * LINE + 2);
        size_t used = 0, size;
        for (int i = 0; i < n; i++)
            used += (size_t)sprintf(header + used, "%c\"%d\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                    i ? ',' : '{', i);
        header[used++] = '}';
        uint8_t *bytes = make_safetensors(header, used, used, 0, &size);
        Weights *weights;
        if (n > 65536) {
            refused("W6", bytes, size, "more than 65536 tensors");
        } else {
            assert_int_equal(weights_open_memory(bytes, size, "file", &weights), 0);
            assert_int_equal(weights_count(weights), n);
            weights_close(weights);
        }
        mem_free(bytes);
        free(header);
    }
    char *name = malloc((1 << 20) + 1), *header = malloc((1 << 20) + 200);
    memset(name, 'a', 1 << 20);
    for (int n = 513; n <= 1 << 20; n = n < 1000 ? 1 << 20 : n + 1) {
        name[n] = 0;
        sprintf(header, "{\"%s\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
        refused_header("W6", header, 0, "longer than 512 bytes");
        name[n] = 'a';
    }
    free(name);
    free(header);
    refused_header("W6", "{" T("/etc/passwd", "[1]", "[0,4]") "}", 4, "a name like an absolute path");
    refused_header("W6", "{" T("a/../b", "[1]", "[0,4]") "}", 4, "a name like a path upwards");
    refused_header("W6", "{" T("..", "[1]", "[0,4]") "}", 4, "a name like a path upwards");
    refused_header("W6", "{" T("a\\u001b[2J", "[1]", "[0,4]") "}", 4, "tensor \"a\\x1b[2J\" has a control character");
    refused_header("W6", "{" T("", "[1]", "[0,4]") "}", 4, "has no name");
}

static void w7_tails(void **state) {
    (void)state;
    refused_header("W7", "{" T("a", "[1]", "[0,4]") "}", 36, "32 bytes after the last tensor");
    refused_header("W7", "{}", 1, "1 bytes after the last tensor");
}

/* ---- .pth ---- */

/* A pickle as data.pkl of an archive with the storages "0" (16 bytes) and "1" (4 bytes). */
static uint8_t *make_pth(const void *pickle, size_t bytes, size_t *size) {
    static const uint8_t storage[16] = {0};
    ZipMember members[3] = {
        {"a/data.pkl", pickle, bytes, 0}, {"a/data/0", storage, 16, 0}, {"a/data/1", storage, 4, 0}};
    return make_archive(members, 3, size);
}

static void refused_pickle(const char *row, const void *pickle, size_t bytes, const char *pattern) {
    size_t size;
    uint8_t *archive = make_pth(pickle, bytes, &size);
    refused(row, archive, size, pattern);
    mem_free(archive);
}

/* {"w": a tensor}: the parts of its pickle, so that each can be replaced. Sizes and strides are pickled tuples. */
typedef struct {
    const char *type, *key, *rebuild, *offset, *size, *stride, *hooks;
    size_t key_bytes;
    int count;
} TensorPickle;

static const TensorPickle good_tensor = {.type = "ctorch\nFloatStorage\n",
                                         .key = "0",
                                         .key_bytes = 1,
                                         .rebuild = "ctorch._utils\n_rebuild_tensor_v2\n",
                                         .count = 4,
                                         .offset = "K\1",
                                         .size = "K\3\x85",
                                         .stride = "K\1\x85",
                                         .hooks = "ccollections\nOrderedDict\n)R"};

static size_t make_pickle(const TensorPickle *t, uint8_t *out) {
    size_t n = 0;
#define ADD(TEXT, BYTES) (memcpy(out + n, TEXT, BYTES), n += (BYTES))
    ADD("\x80\2}X\1\0\0\0w", 9);
    ADD(t->rebuild, strlen(t->rebuild));
    ADD("((X\7\0\0\0storage", 14);
    ADD(t->type, strlen(t->type));
    out[n++] = 'X';
    set_u32(out + n, (uint32_t)t->key_bytes);
    n += 4;
    ADD(t->key, t->key_bytes);
    ADD("X\3\0\0\0cpuJ", 9);
    set_u32(out + n, (uint32_t)t->count);
    n += 4;
    ADD("tQ", 2);
    ADD(t->offset, strlen(t->offset));
    ADD(t->size, strlen(t->size));
    ADD(t->stride, strlen(t->stride));
    ADD("\x89", 1);
    ADD(t->hooks, strlen(t->hooks));
    ADD("tRs.", 4);
#undef ADD
    return n;
}

static void refused_tensor(const char *row, TensorPickle t, const char *pattern) {
    uint8_t pickle[2048];
    size_t n = make_pickle(&t, pickle);
    refused_pickle(row, pickle, n, pattern);
}

static void the_good_pickle_is_read(void **state) {
    (void)state;
    uint8_t pickle[2048];
    size_t size, n = make_pickle(&good_tensor, pickle);
    uint8_t *archive = make_pth(pickle, n, &size);
    Weights *weights;
    if (weights_open_memory(archive, size, "file", &weights)) fail_msg("%s", err_sentence());
    const WeightEntry *entry = weights_find(weights, "w");
    assert_true(entry && entry->count == 3 && entry->bytes == 12);
    weights_close(weights);
    mem_free(archive);
}

/* A literal with its length, NULs and all. */
#define LIT(TEXT) TEXT, sizeof(TEXT) - 1

static void w9_calls(void **state) {
    (void)state;
    static const struct {
        const char *pickle;
        size_t bytes;
        const char *pattern;
    } cases[] = {
        {LIT("\x80\2cos\nsystem\nX\4\0\0\0true\x85R."), "refused: pickle asks for os.system at 2"},
        {LIT("\x80\2}X\1\0\0\0acos\nsystem\nX\4\0\0\0true\x85Rs."), "refused: pickle asks for os.system at 9"},
        {LIT("\x80\2cbuiltins\neval\n."), "refused: pickle asks for builtins.eval at 2"},
        {LIT("\x80\2ctorch\nload\n."), "refused: pickle asks for torch.load at 2"},
        {LIT("\x80\2cnumpy.core.multiarray\n_reconstruct\n."), "numpy.core.multiarray._reconstruct at 2"},
        {LIT("\x80\2ctorch\nFloatStorage.__reduce__\n."), "torch.FloatStorage.__reduce__ at 2"},
        {LIT("\x80\2c\x1b[2J\nx\n."), "asks for \\x1b[2J.x at 2"},
        {LIT("\x80\4\x8c\2os\x8c\6system\x93."), "refused: pickle asks for os.system at 14"},
        {LIT("\x80\4K\1K\2\x93."), "a name that is no text at 6"},
        {LIT("\x80\2(X\4\0\0\0trueios\nsystem\n."), "pickle opcode INST at 12"},
        {LIT("\x80\2(cos\nsystem\no."), "os.system at 3"},
        {LIT("\x80\2(ccollections\nOrderedDict\no."), "pickle opcode OBJ at 28"},
        {LIT("\x80\2ccollections\nOrderedDict\n)\x81."), "pickle opcode NEWOBJ at 28"},
        {LIT("\x80\4ccollections\nOrderedDict\n)}\x92."), "pickle opcode NEWOBJ_EX at 29"},
        {LIT("\x80\2\x82\1."), "pickle opcode EXT1 at 2"},
        {LIT("\x80\2\x83\1\0."), "pickle opcode EXT2 at 2"},
        {LIT("\x80\2\x84\1\0\0\0."), "pickle opcode EXT4 at 2"},
        {LIT("\x80\2Pstorage\n."), "pickle opcode PERSID at 2"},
        {LIT("\x80\2]}b."), "attributes of something that is no dict at 4"},
        {LIT("\x80\2ccollections\nOrderedDict\nK\1\x85R."), "calls collections.OrderedDict with other arguments"},
        {LIT("\x80\2ccollections\nOrderedDict\n]K\1a\x85R."), "calls collections.OrderedDict with other arguments"},
        {LIT("\x80\2ctorch\nFloatStorage\n)R."), "pickle calls torch.FloatStorage at"},
        {LIT("\x80\2ctorch._utils\n_rebuild_tensor_v2\n)R."),
         "calls torch._utils._rebuild_tensor_v2 with other arguments"},
        {LIT("\x80\2ctorch._utils\n_rebuild_parameter\nK\1K\2K\3\x87R."),
         "calls torch._utils._rebuild_parameter with other"},
        {LIT("\x80\2K\1)R."), "calls something that is no function"},
        {LIT("\x80\2K\1Q."), "names a storage in another way"},
        {LIT("\x80\2\xfe."), "unknown pickle opcode 0xfe at 2"},
        {LIT("\x80\2I1\n."), "pickle opcode INT at 2"},
        {LIT("\x80\2K\1"
             "0."),
         "pickle opcode POP at 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_pickle("W9", cases[i].pickle, cases[i].bytes, cases[i].pattern);
    TensorPickle t = good_tensor;
    t.hooks = "K\1";
    refused_tensor("W9", t, "with other arguments");
    t = good_tensor;
    t.size = "K\3K\3\x86";
    refused_tensor("W9", t, "with other arguments");
    t = good_tensor;
    t.size = "]";
    refused_tensor("W9", t, "with other arguments");
    t = good_tensor;
    t.offset = "J\xff\xff\xff\xff";
    refused_tensor("W9", t, "with other arguments");
    t = good_tensor;
    t.type = "ccollections\nOrderedDict\n";
    refused_tensor("W9", t, "names a storage in another way");
    t = good_tensor;
    t.type = "ctorch\nUntypedStorage\n";
    refused_tensor("W9", t, "a storage of the other kind");
}

static void w10_machine(void **state) {
    (void)state;
    static const struct {
        const char *pickle;
        size_t bytes;
        const char *pattern;
    } cases[] = {
        {LIT("\x80\2h\5."), "memo index 5 was never set at 2"},
        {LIT("\x80\2j\xff\xff\xff\xff."), "memo index 4294967295 was never set at 2"},
        {LIT("\x80\2Nr\xff\xff\xff\xff."), "memo index 4294967295 is beyond 65536 at 3"},
        {LIT("\x80\2q\1."), "takes a value that is not there at 2"},
        {LIT("\x80\2]q\1h\1a."), "holds itself at 7"},
        {LIT("\x80\2}q\1K\1h\1s."), "holds itself at 9"},
        {LIT("\x80\2]q\1]h\1ah\1h\1a."), "adds to a container that lies inside another at 13"},
        {LIT("\x80\2]q\1]q\2h\1ah\1h\2ae."), "adds to a container that lies inside another"},
        {LIT("\x80\2K\1t."), "ends a group it did not begin at 4"},
        {LIT("\x80\2K\1u."), "ends a group it did not begin at 4"},
        {LIT("\x80\2(K\1e."), "adds items to something that is no list at 5"},
        {LIT("\x80\2](K\1u."), "adds items to something that is no dict at 6"},
        {LIT("\x80\2}(K\1u."), "a key without a value at 6"},
        {LIT("\x80\2K\1\x86."), "takes a value that is not there at 4"},
        {LIT("\x80\2(R."), "takes a value that is not there at 3"},
        {LIT("\x80\2K\1(\x85."), "takes a value that is not there at 5"}, /* not across a mark */
        {LIT("\x80\2."), "stops with a stack that is not one value at 2"},
        {LIT("\x80\2NN."), "stops with a stack that is not one value at 4"},
        {LIT("\x80\2N(."), "stops with a stack that is not one value at 4"},
        {LIT("\x80\2}"), "the pickle ends too early at 3"},
        {LIT("\x80\2}.."), "data.pkl goes on for 1 bytes after its end at 4"},
        {LIT("\x80\5\x95\xff\0\0\0\0\0\0\0}."), "a frame longer than itself at 2"},
        {LIT("\x80\6}."), "pickle protocol 6, 2 to 5 are read, at 0"},
        {LIT("\x80\1}."), "pickle protocol 1"},
        {LIT("}."), "does not start with its protocol"},
        {LIT("\x80\2\x8a\xff"
             "12345."),
         "the pickle ends too early"},
        {LIT("\x80\2X\0\0\0\xf0"
             "abc."),
         "a string of 4026531840 bytes, more than the pickle has left, at 3"},
        {LIT("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
             "abc."),
         "a string of 18446744073709551615 bytes"},
        {LIT("\x80\2cos\nsystem"), "the pickle ends too early"},
        {LIT("\x80\2\x8b\xff\xff\xff\x7f."), "pickle opcode LONG4"},
        {LIT("\x80\2K\1."), "holds no dict of tensors"},
        {LIT("\x80\2}."), "holds no tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_pickle("W10", cases[i].pickle, cases[i].bytes, cases[i].pattern);

    enum { MANY = 66000 };
    static uint8_t pickle[MANY];
    memcpy(pickle, "\x80\2", 2);
    for (int n = PICKLE_STACK_MAX; n <= PICKLE_STACK_MAX + 1; n++) { /* stack: at the limit, one above */
        memset(pickle + 2, 'N', (size_t)n);
        pickle[2 + n] = '.';
        refused_pickle("W10", pickle, (size_t)n + 3,
                       n == PICKLE_STACK_MAX ? "stack that is not one value" : "more than 4096 values");
    }
    memset(pickle + 2, '(', PICKLE_STACK_MAX + 1);
    refused_pickle("W10", pickle, PICKLE_STACK_MAX + 4, "more than 4096 marks");
    for (int depth = PICKLE_DEPTH_MAX; depth <= PICKLE_DEPTH_MAX + 1; depth++) { /* ]]]..aaa: nesting */
        size_t n = 2;
        for (int i = 0; i <= depth; i++) pickle[n++] = ']';
        for (int i = 0; i < depth; i++) pickle[n++] = 'a';
        pickle[n++] = '.';
        refused_pickle("W10", pickle, n, depth == PICKLE_DEPTH_MAX ? "holds no dict" : "nested more than 64 deep");
    }
    size_t n = 2;
    pickle[n++] = 'N';
    for (int i = 0; i < 65536; i++) pickle[n++] = 0x94; /* MEMOIZE */
    memcpy(pickle + n, ".", 1);
    refused_pickle("W10", pickle, n + 1, "holds no dict");
    memcpy(pickle + n, "\x94.", 2);
    refused_pickle("W10", pickle, n + 2, "memo index 65536 is beyond");
}

/* 2^60 ways to one dict: many names of one value must not become endless work. */
static void w10_shared_dicts(void **state) {
    (void)state;
    uint8_t pickle[4096];
    size_t n = 0;
#define ADD(TEXT) (memcpy(pickle + n, TEXT, sizeof(TEXT) - 1), n += sizeof(TEXT) - 1)
    ADD("\x80\2}(X\1\0\0\0k}q\0X\1\0\0\0aNs");
    for (int i = 1; i < 60; i++) { /* {"a": the one before, "b": the one before} */
        ADD("X\1\0\0\0k}q\0(X\1\0\0\0ah\0X\1\0\0\0bh\0u");
        pickle[n - 19] = (uint8_t)i;
        pickle[n - 10] = pickle[n - 2] = (uint8_t)(i - 1);
    }
    ADD("u.");
#undef ADD
    refused_pickle("W10", pickle, n, "has dicts in dicts without end");
}

static void w11_storages(void **state) {
    (void)state;
    TensorPickle t = good_tensor;
    t.key = "../../etc/passwd";
    t.key_bytes = 16;
    refused_tensor("W11", t, "storage \"../../etc/passwd\" is not in the archive");
    t.key = "7";
    t.key_bytes = 1;
    refused_tensor("W11", t, "storage \"7\" is not in the archive");
    t.key = "0\0x";
    t.key_bytes = 3;
    refused_tensor("W11", t, "storage \"0\" is not in the archive");
    t = good_tensor;
    t.count = 5;
    refused_tensor("W11", t, "storage \"0\" should have 5 elements, the archive has 16 bytes");
    t.count = 3;
    refused_tensor("W11", t, "storage \"0\" should have 3 elements");
    t = good_tensor;
    t.offset = "K\2";
    refused_tensor("W11", t, "tensor \"w\" reaches beyond its storage of 16 bytes");
    t.offset = "K\5";
    refused_tensor("W11", t, "tensor \"w\" starts at element 5, beyond its storage");
    t.offset = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    refused_tensor("W11", t, "tensor \"w\" starts at element 9223372036854775807");
    t = good_tensor;
    t.stride = "K\2\x85";
    refused_tensor("W11", t, "reaches beyond its storage");
    t.stride = "J\xff\xff\xff\xff\x85";
    refused_tensor("W11", t, "negative size or stride");
    t.stride = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85";
    refused_tensor("W11", t, "sizes or strides that overflow");
    t = good_tensor;
    t.size = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85";
    refused_tensor("W11", t, "reaches beyond its storage");
    t.size = "\x8a\1\x80\x85";
    refused_tensor("W11", t, "negative size or stride");
}

/* Strides of 0: a small file may not describe work without end. */
static void w11_repeated_elements(void **state) {
    (void)state;
    uint8_t pickle[1000], *text;
    TensorPickle t = good_tensor;
    t.size = "J\xff\xff\xff\x7f\x85";
    t.stride = "\x8a\1S\x85"; /* S stands for 0, which ends C's strings */
    size_t n = make_pickle(&t, pickle);
    text = memchr(pickle, 'S', n);
    while (text[-1] != 1 || text[1] != 0x85) text = memchr(text + 1, 'S', n - (size_t)(text + 1 - pickle));
    *text = 0;
    refused_pickle("W11", pickle, n, "more elements than a file of");
}

static void w12_archives(void **state) {
    (void)state;
    uint8_t pickle[2048];
    static const uint8_t zeros[4000] = {0};
    size_t size, n = make_pickle(&good_tensor, pickle);
    uint8_t *whole = make_pth(pickle, n, &size);
    refused("W12", whole, size - 1, "file: zip archive without an end record: the file is cut short");
    refused("W12", whole, size / 2, "cut short");
    mem_free(whole);
    ZipMember packed[2] = {{"a/data.pkl", pickle, n, 0}, {"a/data/0", zeros, 16, 0}};
    TensorPickle large = good_tensor;
    large.count = 1000;
    n = make_pickle(&large, pickle);
    packed[0].bytes = n;
    packed[1].bytes = 4000;
    packed[1].deflate = 1;
    whole = make_archive(packed, 2, &size);
    refused("W12", whole, size, "storage \"0\" is packed; only stored ones are read");
    mem_free(whole);
    ZipMember none[1] = {{"a/other", zeros, 4, 0}};
    whole = make_archive(none, 1, &size);
    refused("W12", whole, size, "is a zip archive without one data.pkl: no PyTorch file");
    mem_free(whole);
    ZipMember two[2] = {{"a/data.pkl", pickle, n, 0}, {"b/data.pkl", pickle, n, 0}};
    whole = make_archive(two, 2, &size);
    refused("W12", whole, size, "without one data.pkl");
    mem_free(whole);
    ZipMember script[2] = {{"a/data.pkl", pickle, n, 0}, {"a/constants.pkl", pickle, n, 0}};
    whole = make_archive(script, 2, &size);
    refused("W12", whole, size, "is a TorchScript archive");
    mem_free(whole);
    ZipMember big[2] = {{"a/data.pkl", pickle, n, 0}, {"a/byteorder", "big", 3, 0}};
    whole = make_archive(big, 2, &size);
    refused("W12", whole, size, "big-endian machine");
    mem_free(whole);
    ZipMember good[1] = {{"a/data.pkl", pickle, n, 0}};
    whole = make_archive(good, 1, &size);
    whole[60] ^= 1;
    refused("W12", whole, size, "file: zip entry \"a/data.pkl\" at");
    mem_free(whole);
}

/* ---- legacy ---- */

static void w8_legacy_cut_anywhere(void **state) {
    (void)state;
    uint8_t *bytes, *copy;
    size_t size;
    FILE *file = fopen("tests/fixtures/files/legacy_p2.pth", "rb");
    bytes = malloc(1 << 16);
    size = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    for (size_t n = 24; n < size; n += 7) refused("W8", bytes, n, "at");
    copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    copy[size] = 0;
    refused("W8", copy, size + 1, "1 bytes after the last storage");
    copy[2] = 0x8b; /* no longer the magic number */
    refused("W8", copy, size, "is a pickle, but not one that torch.save wrote");
    free(copy);
    free(bytes);
}

static void w15_other_files(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *pattern;
    } cases[] = {
        {LIT("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 2100000000\n"),
         "this is a git-LFS pointer, 2.1 GB are elsewhere; run \"git lfs pull\""},
        {LIT("version https://git-lfs.github.com/spec/v1\n"), "this is a git-LFS pointer, the weights are elsewhere"},
        {LIT("<!DOCTYPE html><html>"), "is a web page saved under this name"},
        {LIT("\n  <HTML lang=en>"), "is a web page"},
        {LIT("\x1f\x8b\x08\0\0\0\0\0\0\0"), "is compressed with gzip"},
        {LIT("BZh91AY&SY"), "bzip2"},
        {LIT("\xfd"
             "7zXZ\0\0\0\0"),
         "with xz"},
        {LIT("\x28\xb5\x2f\xfd\0\0\0\0\0"), "with zstd"},
        {LIT("GGUF\3\0\0\0\0\0\0\0"), "GGUF"},
        {LIT("\x93NUMPY\1\0v\0"), "NumPy array"},
        {LIT("\x89HDF\r\n\x1a\n\0\0"), "HDF5"},
        {LIT("\x80\2}q\0."), "is a pickle, but not one that torch.save wrote"},
        {LIT("\x89PNG\r\n\x1a\n\0\0"), "neither safetensors nor .pth: it starts with 89 50 4e 47"},
        {LIT("PK\3\4\n\0\0\0\0\0"), "too short for a zip archive"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused("W15", cases[i].bytes, cases[i].size, cases[i].pattern);
    Weights *weights;
    assert_int_equal(weights_open(scratch_folder("folder.pth"), &weights), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(), "is a folder"));
    assert_int_equal(weights_open("no/such/file.pth", &weights), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(), "no/such/file.pth: there is no such file"));
    static const uint8_t tar[512] = {[257] = 'u', 's', 't', 'a', 'r'};
    refused("W15", tar, sizeof tar, "header says 0 bytes");
    uint8_t named[512];
    memcpy(named, tar, sizeof named);
    memcpy(named, "weights/a", 9);
    refused("W15", named, sizeof named, "is a tar archive");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w1_lengths),
        cmocka_unit_test(w2_headers),
        cmocka_unit_test(w3_offsets),
        cmocka_unit_test(w4_shapes),
        cmocka_unit_test(w5_dtypes),
        cmocka_unit_test(w6_limits),
        cmocka_unit_test(w7_tails),
        cmocka_unit_test(w8_legacy_cut_anywhere),
        cmocka_unit_test(the_good_pickle_is_read),
        cmocka_unit_test(w9_calls),
        cmocka_unit_test(w10_machine),
        cmocka_unit_test(w10_shared_dicts),
        cmocka_unit_test(w11_storages),
        cmocka_unit_test(w11_repeated_elements),
        cmocka_unit_test(w12_archives),
        cmocka_unit_test(w15_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
