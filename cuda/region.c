#include "cuda/region.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cuda/texts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)REGION_OPERANDS == (int)STRIP_OPERANDS_MAX && (int)REGION_OUTPUTS == (int)STRIP_CODE_MAX + 1 &&
                   (int)REGION_STEPS == (int)STRIP_CODE_MAX && (int)REGION_FULL == (int)OPERAND_FULL &&
                   (int)REGION_ROW == (int)OPERAND_ROW && (int)REGION_COLUMN == (int)OPERAND_COLUMN &&
                   (int)REGION_SCALAR == (int)OPERAND_SCALAR && (int)REGION_TILE == (int)OPERAND_TILE,
               "both count alike");

/* ---- text ---- */

/* A float that reads back as the same: nine digits are enough. */
static const char *number(char out[32], double value) {
    float v = (float)value;
    if (isnan(v)) return "bits_f32(0x7fc00000u)";
    if (isinf(v)) return v > 0 ? "bits_f32(0x7f800000u)" : "bits_f32(0xff800000u)";
    snprintf(out, 32, "%.9g", (double)v);
    strcat(out, strpbrk(out, ".e") ? "f" : ".0f");
    return out;
}

/* How many of p and q a function has. */
static int numbers_of(PointwiseFunction function) {
    switch (function) {
    case FN_AFFINE:
    case FN_CLAMP:
    case FN_FROM_U8:
    case FN_CLAMP_GRADIENT:
        return 2;
    case FN_ABOVE:
    case FN_AT_LEAST:
    case FN_LOGIT:
    case FN_LOGIT_GRADIENT:
        return 1;
    default:
        return 0;
    }
}

static void print_name(FILE *to, const StripProgram *region, int value) {
    if (value < region->operands)
        fprintf(to, "x%d", value);
    else
        fprintf(to, "v%d", value - region->operands);
}

static void print_operand(FILE *to, const StripOperand *operand, int i) {
    if (operand->kind == OPERAND_TILE) {
        fprintf(to, "    float x%d = tile;\n", i);
        return;
    }
    fprintf(to, "    float x%d = %s((const %s *)p->operand[%d])[", i, operand->half ? "half_f32(" : "",
            operand->u8     ? "u8"
            : operand->half ? "u16"
                            : "float",
            i);
    const char *end = operand->half ? ")" : "";
    switch (operand->kind) {
    case OPERAND_FULL:
        fprintf(to, "row * p->operand_stride[%d] + column]%s;\n", i, end);
        break;
    case OPERAND_ROW:
        fprintf(to, "row * p->operand_stride[%d]]%s;\n", i, end);
        break;
    case OPERAND_COLUMN:
        fprintf(to, "column]%s;\n", end);
        break;
    case OPERAND_SCALAR:
    case OPERAND_TILE:
        fprintf(to, "0]%s;\n", end);
        break;
    }
}

/* Everything is read before anything is stored: an output may lie on the bytes of an operand (exec/plan.c). */
char *region_text(const StripProgram *region) {
    char *text = NULL, buffer[32];
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to) return NULL;
    fprintf(to, "#include \"cuda/device/pointwise.h\"\n#include \"cuda/kernels/region.h\"\n#define REGION_GENERATED\n"
                "DEVICE void region(i64 row, i64 column, float tile, const RegionPlaces *p) {\n"
                "    (void)row, (void)column, (void)tile;\n");
    for (int i = 0; i < region->operands; i++) print_operand(to, &region->operand[i], i);
    for (int i = 0; i < region->instructions; i++) {
        const StripInstruction *n = &region->code[i];
        fprintf(to, "    float v%d = fn_%s(", i, pointwise_name(n->function));
        print_name(to, region, n->a);
        if (n->b >= 0) {
            fprintf(to, ", ");
            print_name(to, region, n->b);
        }
        int numbers = numbers_of(n->function);
        if (numbers > 0) fprintf(to, ", %s", number(buffer, n->p));
        if (numbers > 1) fprintf(to, ", %s", number(buffer, n->q));
        fprintf(to, ");\n");
    }
    for (int i = 0; i < region->outputs; i++) {
        const bool half = region->output[i].half;
        fprintf(to,
                half ? "    ((u16 *)p->output[%d])[row * p->output_stride[%d] + column] = f32_half("
                     : "    p->output[%d][row * p->output_stride[%d] + column] = ",
                i, i);
        print_name(to, region, region->output[i].value);
        fprintf(to, half ? ");\n" : ";\n");
    }
    fprintf(to, "}\n");
    if (fclose(to)) {
        free(text);
        return NULL;
    }
    char *copy = mem_text(text);
    free(text);
    return copy;
}

void region_places(const StripProgram *region, void *(*data)(const void *context, const Tensor *t), const void *context,
                   RegionPlaces *places) {
    *places = (RegionPlaces){0};
    for (int i = 0; i < region->operands; i++) {
        const StripOperand *operand = &region->operand[i];
        if (operand->tensor) places->operand[i] = data(context, operand->tensor);
        places->operand_stride[i] = operand->stride;
    }
    for (int i = 0; i < region->outputs; i++) {
        places->output[i] = data(context, region->output[i].tensor);
        places->output_stride[i] = region->output[i].stride;
    }
}

static int function_number(PointwiseFunction function) {
#define REGION_NAME(name, arguments) #name,
    static const char *const names[] = {REGION_FUNCTIONS(REGION_NAME)};
    int i = 0;
    while (i < REGION_FUNCTION_COUNT && strcmp(names[i], pointwise_name(function)) != 0) i++;
    BUG_IF(i == REGION_FUNCTION_COUNT, "no kernel interprets %s", pointwise_name(function));
    return i;
}

bool region_code(const StripProgram *region, RegionCode *code) {
    *code = (RegionCode){region->operands, region->instructions, region->outputs, {{0}}, {{0}}, {0}};
    bool f32 = true;
    for (int i = 0; i < region->operands; i++) {
        const StripOperand *operand = &region->operand[i];
        code->operand[i] = (RegionOperand){(int)operand->kind, operand->u8};
        f32 = f32 && !operand->half;
    }
    for (int i = 0; i < region->instructions; i++) {
        const StripInstruction *n = &region->code[i];
        code->step[i] =
            (RegionStep){function_number(n->function), n->a, n->b < 0 ? n->a : n->b, (float)n->p, (float)n->q};
    }
    for (int i = 0; i < region->outputs; i++) {
        code->output[i] = region->output[i].value;
        f32 = f32 && !region->output[i].half;
    }
    return f32;
}

/* ---- what has been compiled ---- */

typedef struct {
    uint8_t digest[32];
    GpuModule *module;
    const char *file;
    char *text, *define; /* until it is built; text NULL: the file's own; define NULL: none */
} Entry;

struct KernelStore {
    Gpu *gpu;
    Entry *entry;
    int entries, room;
};

KernelStore *kernel_store_make(Gpu *gpu) {
    KernelStore *store = mem_zero(1, sizeof *store);
    if (store) store->gpu = gpu;
    return store;
}

static void forget_text(Entry *entry) {
    mem_free(entry->text);
    mem_free(entry->define);
    entry->text = entry->define = NULL;
}

void kernel_store_drop(KernelStore *store) {
    if (!store) return;
    for (int i = 0; i < store->entries; i++) {
        store->gpu->call->module_drop(store->entry[i].module);
        forget_text(&store->entry[i]);
    }
    mem_free(store->entry);
    mem_free(store);
}

int kernel_store_modules(const KernelStore *store) {
    return store->entries;
}

/* The generated function, then the kernel's own text with its own line numbers. */
static char *whole_text(const char *file, const char *text, const StripProgram *region) {
    static const char line[] = "#line 1 \"%s\"\n";
    char *generated = region_text(region);
    size_t size = strlen(text) + strlen(file) + sizeof line + (generated ? strlen(generated) : 0);
    char *whole = generated ? mem_alloc(size) : NULL;
    if (whole) {
        int n = snprintf(whole, size, "%s", generated);
        n += snprintf(whole + n, size - (size_t)n, line, file);
        snprintf(whole + n, size - (size_t)n, "%s", text);
    }
    mem_free(generated);
    return whole;
}

static GpuSource source_of(const Entry *entry) {
    GpuSource source = cuda_kernel_source(entry->file, entry->define);
    if (entry->text) source.text = entry->text;
    return source;
}

static int add_entry(KernelStore *store, Entry entry) {
    if (store->entries == store->room) {
        Entry *grown = mem_grow(store->entry, (size_t)(store->room + 32) * sizeof *grown);
        if (!grown) return ERR_MEMORY;
        store->entry = grown;
        store->room += 32;
    }
    store->entry[store->entries++] = entry;
    return 0;
}

int kernel_store_want(KernelStore *store, const char *file, const StripProgram *region, const char *define, int *at) {
    GpuSource source = cuda_kernel_source(file, define);
    Entry entry = {.file = source.name}; /* which outlives the caller's */
    entry.text = region ? whole_text(file, source.text, region) : NULL;
    if (region && !entry.text) return fail(ERR_MEMORY, "no memory for the text of a kernel");
    const char *text = entry.text ? entry.text : source.text;
    Sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, file, strlen(file) + 1);
    if (define) sha256_add(&hash, define, strlen(define) + 1);
    sha256_add(&hash, text, strlen(text));
    sha256_end(&hash, entry.digest);
    for (*at = 0; *at < store->entries; ++*at)
        if (!memcmp(store->entry[*at].digest, entry.digest, sizeof entry.digest)) break;
    int code = 0;
    if (*at == store->entries) {
        if (define && !(entry.define = mem_text(define))) code = ERR_MEMORY;
        if (!code) code = add_entry(store, entry);
        if (!code) return 0;
    }
    forget_text(&entry);
    return code;
}

int kernel_store_build(KernelStore *store) {
    GpuSource *source = mem_array((size_t)store->entries + 1, sizeof *source);
    if (!source) return ERR_MEMORY;
    int count = 0, code = 0;
    for (int i = 0; i < store->entries; i++)
        if (!store->entry[i].module) source[count++] = source_of(&store->entry[i]);
    if (count && store->gpu->call->prepare) code = store->gpu->call->prepare(store->gpu, source, count);
    for (int i = 0, k = 0; !code && i < store->entries; i++) {
        Entry *entry = &store->entry[i];
        if (entry->module) continue;
        code = store->gpu->call->module(store->gpu, &source[k++], &entry->module);
        if (!code) forget_text(entry);
    }
    mem_free(source);
    return code;
}

int kernel_store_kernel(KernelStore *store, int entry, const char *name, const GpuKernel **kernel) {
    return store->gpu->call->kernel(store->entry[entry].module, name, kernel);
}

int kernel_store_get(KernelStore *store, const char *file, const StripProgram *region, const char *define,
                     const char *name, const GpuKernel **kernel) {
    int entry, code = kernel_store_want(store, file, region, define, &entry);
    if (!code) code = kernel_store_build(store);
    return code ? code : kernel_store_kernel(store, entry, name, kernel);
}
