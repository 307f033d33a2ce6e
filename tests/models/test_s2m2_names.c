/* The parameters that models/s2m2.c asks for are those of the public code: names and shapes of S, M, L and XL, by the
 * SHA-256 of their sorted list (tests/fixtures/s2m2/names.tsv, made by tools/ref/make_s2m2_names.py). XS is our own: it
 * has the same names, and at most 3.5 million parameters. */
#include "base/hash.h"
#include "base/mem.h"
#include "models/s2m2.h"
#include "tests/lib/check.h"

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct {
    int tensors;
    int64_t parameters;
    char hex[65];
} List;

static List list_of(const S2m2Size *size) {
    List list = {0};
    Program *program = program_make();
    assert_non_null(program);
    Net net = {program};
    Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, 64, 64});
    s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
    char **line = mem_zero((size_t)program_tensors(program), sizeof *line);
    assert_non_null(line);
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        char shape[96], text[768];
        snprintf(text, sizeof text, "%s\t%s\n", t->name, tensor_shape_text(t, shape, sizeof shape));
        line[list.tensors++] = mem_text(text);
        list.parameters += tensor_count(t);
    }
    qsort(line, (size_t)list.tensors, sizeof *line, compare_lines);
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    for (int i = 0; i < list.tensors; i++) {
        sha256_add(&hash, line[i], strlen(line[i]));
        mem_free(line[i]);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, list.hex);
    mem_free(line);
    program_drop(program);
    return list;
}

static void names_and_shapes_are_the_references(void **state) {
    (void)state;
    FILE *file = fopen("tests/fixtures/s2m2/names.tsv", "r");
    assert_non_null(file);
    char row[512], size[8], in_order[65], sorted[65];
    int tensors, checked = 0;
    long long parameters;
    assert_non_null(fgets(row, sizeof row, file)); /* the heading */
    while (fgets(row, sizeof row, file)) {
        assert_int_equal(sscanf(row, "%7s %d %lld %64s %64s", size, &tensors, &parameters, in_order, sorted), 5);
        List list = list_of(s2m2_size(size));
        assert_int_equal(list.tensors, tensors);
        assert_int_equal(list.parameters, parameters);
        assert_string_equal(list.hex, sorted);
        checked++;
    }
    fclose(file);
    assert_int_equal(checked, 4);
}

static void our_own_size_is_small(void **state) {
    (void)state;
    List list = list_of(s2m2_size("XS"));
    print_message("XS: %lld parameters in %d tensors\n", (long long)list.parameters, list.tensors);
    assert_int_equal(list.tensors, 660);
    assert_true(list.parameters <= 3500000);
    assert_null(s2m2_size("XXL"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_and_shapes_are_the_references),
                                       cmocka_unit_test(our_own_size_is_small)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
