/* The table operator x direction x storage x where it was proved: docs/gpu_operators.tsv. Rows are the operators of
 * tensor/ops (views have no kernel and no row), `kernel` is whether a launcher knows it (and then make nvrtc compiles
 * its kernels for every architecture); the other columns come from what the tests of this folder have held against the
 * CPU (tests/cuda/simt/seen.h): e on the emulated device, g on a GPU.
 *
 * `make operators` runs those tests and writes the table. The test itself demands that rows and kernels are those of
 * the tree, and that nothing has been seen that the table does not say. */
#include "base/file.h"
#include "base/mem.h"
#include "exec/gpu_steps.h"
#include "tests/cuda/simt/seen.h"
#include "tests/lib/check.h"

#include <dirent.h>

enum { OPERATORS_MAX = 200, NAME = 64 };
static const char table[] = "docs/gpu_operators.tsv";
static const char *const storage[] = {"f32", "f16", "bf16"};

static char name[OPERATORS_MAX][NAME];
static int names;

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

static char *read_text(const char *path) { /* NULL: not there */
    uint8_t *bytes;
    size_t size;
    if (file_read(path, 1 << 22, &bytes, &size)) return NULL;
    char *text = mem_zero(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    mem_free(bytes);
    return text;
}

/* Every `.name = "..."` of a descriptor whose kind is not a view. */
static void names_of(const char *path) {
    static const char mark[] = ".name = \"";
    char *text = read_text(path);
    assert_non_null(text);
    for (const char *at = text; (at = strstr(at, mark)) != NULL;) {
        at += strlen(mark);
        const size_t n = strcspn(at, "\"");
        const char *kind = strstr(at, ".kind = ");
        assert_true(kind && n < NAME && names < OPERATORS_MAX);
        if (strncmp(kind, ".kind = OP_VIEW", 15) == 0) continue;
        snprintf(name[names++], NAME, "%.*s", (int)n, at);
    }
    mem_free(text);
}

static void find_names(void) {
    DIR *folder = opendir("tensor/ops");
    assert_non_null(folder);
    names = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const size_t n = strlen(entry->d_name);
        char path[400];
        if (n < 3 || strcmp(entry->d_name + n - 2, ".c")) continue;
        snprintf(path, sizeof path, "tensor/ops/%s", entry->d_name);
        names_of(path);
    }
    closedir(folder);
    qsort(name, (size_t)names, NAME, by_name);
}

static bool has_kernel(const char *op) {
#define LISTED(family) gpu_##family##_operators,
    static const GpuOperator *const families[] = {GPU_FAMILIES(LISTED)};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const GpuOperator *row = families[f]; row->op; row++)
            if (strcmp(row->op, op) == 0) return true;
    return false;
}

static bool says(const char *seen, const char *op, const char *dtype, const char *where) {
    char line[100];
    const int n = snprintf(line, sizeof line, "\n%s %s %s\n", op, dtype, where);
    return strncmp(seen, line + 1, (size_t)n - 1) == 0 || strstr(seen, line);
}

/* Positions, lookup with the tables of correlation that it reads, and transport: f32 whatever a plan stores
 * (exec/gpu_storage.c). */
static bool f32_by_rule(const char *op) {
    static const char *const of[] = {"column_index", "even_pairs", "lookup", "pool_pairs", "transport"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (strncmp(op, of[i], strlen(of[i])) == 0) return true;
    return false;
}

/* "e", "g", "eg", "-", or "f32" where there is nothing to prove; what the old table says a GPU has shown stays, for
 * GPUs are seldom at hand. */
static void cell(const char *seen, const char *op, const char *dtype, bool gpu_before, char to[4]) {
    if (strcmp(dtype, "f32") != 0 && f32_by_rule(op)) {
        strcpy(to, "f32");
        return;
    }
    const bool emulated = says(seen, op, dtype, "emulated"), gpu = gpu_before || says(seen, op, dtype, "gpu");
    snprintf(to, 4, "%s%s", emulated ? "e" : gpu ? "" : "-", gpu ? "g" : "");
}

/* The row of `op` in the committed table; false: none. */
static bool row_of(const char *committed, const char *op, char kernel[8], char proved[3][8]) {
    char start[NAME + 2];
    snprintf(start, sizeof start, "\n%s\t", op);
    const char *at = strstr(committed, start);
    return at && sscanf(at + strlen(start), "%*s %7s %7s %7s %7s", kernel, proved[0], proved[1], proved[2]) == 4;
}

static bool is_backward(const char *op) {
    return strstr(op, "_backward") || strstr(op, "_gradient");
}

static void write_table(void) {
    char path[400], kernel[8], proved[3][8];
    find_names();
    operators_seen_path(path, sizeof path);
    char *seen = read_text(path), *old = read_text(table);
    FILE *to = fopen(table, "w");
    assert_non_null(to);
    fprintf(to, "# Operators on a GPU (tests/cuda/test_operators.c; make operators). kernel: there is one, and "
                "make nvrtc compiles it\n"
                "# for every architecture from sm_75 on. f32, f16, bf16 storage: e held against the CPU on the "
                "emulated device, g on\n"
                "# a GPU. A value in 16 bits is one of the operator's own tensors; positions and sums are f32 always. "
                "f32 in a\n"
                "# column of 16 bits: this operator reads and writes f32 there too, by rule: positions, lookup and the "
                "tables of\n"
                "# correlation that it reads, transport.\n"
                "operator\tdirection\tkernel\tf32\tf16\tbf16\n");
    for (int i = 0; i < names; i++) {
        const bool before = old && row_of(old, name[i], kernel, proved);
        fprintf(to, "%s\t%s\t%s", name[i], is_backward(name[i]) ? "backward" : "forward",
                has_kernel(name[i]) ? "yes" : "no");
        for (int k = 0; k < 3; k++) {
            char text[4];
            cell(seen ? seen : "", name[i], storage[k], before && strchr(proved[k], 'g'), text);
            fprintf(to, "\t%s", text);
        }
        fputc('\n', to);
    }
    fclose(to);
    mem_free(seen), mem_free(old);
}

static void test_table(void **state) {
    (void)state;
    char path[400], kernel[8], proved[3][8];
    find_names();
    assert_true(names > 40);
    operators_seen_path(path, sizeof path);
    char *committed = read_text(table), *seen = read_text(path);
    assert_non_null(committed);
    int rows = 0, old = 0;
    for (const char *at = committed; (at = strchr(at, '\n')) != NULL; at++) rows++;
    for (int i = 0; i < names; i++) {
        if (!row_of(committed, name[i], kernel, proved)) {
            print_message("%s is not in %s\n", name[i], table);
            old++;
            continue;
        }
        if (has_kernel(name[i]) != (strcmp(kernel, "yes") == 0)) {
            print_message("%s: the table says kernel %s\n", name[i], kernel);
            old++;
        }
        for (int k = 0; seen && k < 3; k++) {
            char text[4];
            cell(seen, name[i], storage[k], false, text);
            if (text[0] == '-' || (strspn(text, proved[k]) == strlen(text))) continue;
            print_message("%s in %s has been seen (%s), the table says %s\n", name[i], storage[k], text, proved[k]);
            old++;
        }
    }
    if (old || rows != names + 6) fail_msg("%s is not up to date: make operators", table);
    mem_free(committed), mem_free(seen);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        write_table();
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
