/* NPY and NPZ: refused with a reason, or read, written and read again as the same. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/npy.h"
#include "tests/fuzz/memory_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void check_array(const NpyArray *array, size_t most) {
    demand(array->bytes == (size_t)array->count * npy_item_size(array) && array->bytes <= most);
    demand(array->rank >= 0 && array->rank <= NPY_RANK_MAX);
    Out *out = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    NpyArray again;
    demand(out_memory(&out) == 0 && npy_write(out, array) == 0 && out_memory_take(&out, &bytes, &size) == 0);
    if (array->bytes || array->count == 0) {
        demand(npy_read_memory(bytes, size, &again) == 0);
        demand(again.type == array->type && again.rank == array->rank && again.bytes == array->bytes);
        demand(memcmp(again.size, array->size, sizeof again.size) == 0);
        demand(again.bytes == 0 || memcmp(again.data, array->data, again.bytes) == 0);
        npy_free(&again);
    }
    mem_free(bytes);
    if (array->type == NPY_TEXT) {
        char text[64];
        for (int64_t i = 0; i < array->count && i < 4; i++)
            demand(strlen(npy_text(array, i, text, sizeof text)) < sizeof text);
        demand(npy_to_f32(array, NULL) == ERR_INPUT);
        return;
    }
    float *values = mem_array((size_t)array->count, sizeof *values);
    demand(values && npy_to_f32(array, values) == 0);
    mem_free(values);
}

/* All members, those that can be read, into another archive and back; texts once more as text scalars. */
static void check_archive(Npz *npz, NpzMode mode) {
    Out *out = NULL;
    NpzOut *to = NULL;
    Npz *copy = NULL;
    NpyArray array, again;
    uint8_t *bytes = NULL;
    size_t size = 0;
    int written = 0;
    char name[16], text[256];
    const int64_t one = 1;
    demand(out_memory(&out) == 0 && npz_out_begin(out, mode, &to) == 0);
    for (int i = 0; i < npz_count(npz) && i < 8; i++) {
        if (npz_read(npz, npz_name(npz, i), &array)) continue;
        snprintf(name, sizeof name, "a%d", written++);
        demand(npz_out_add(to, name, &array) == 0);
        if (array.type == NPY_TEXT && array.count) {
            snprintf(name, sizeof name, "a%d", written++);
            demand(npz_out_text(to, name, npy_text(&array, 0, text, sizeof text)) == 0);
        }
        npy_free(&array);
    }
    demand(npz_out_text(to, "name", npz_count(npz) ? npz_name(npz, 0) : "") == 0);
    demand(npz_out_f32(to, "one", &(float){1}, 1, &one) == 0);
    demand(npz_out_end(&to) == 0 && out_memory_take(&out, &bytes, &size) == 0);
    demand(npz_open_memory(bytes, size, &copy) == 0 && npz_count(copy) == written + 2);
    demand(npz_has(copy, "one") && !npz_has(copy, "none"));
    demand(npz_read(copy, "none", &array) == ERR_INPUT && strstr(err_sentence(), "has no array"));
    demand(npz_read(copy, "name", &array) == 0 && array.type == NPY_TEXT && array.rank == 0 && array.count == 1);
    npy_free(&array);
    for (int i = 0, k = 0; i < npz_count(npz) && i < 8; i++) {
        if (npz_read(npz, npz_name(npz, i), &array)) continue;
        snprintf(name, sizeof name, "a%d", k++);
        demand(npz_read(copy, name, &again) == 0 && again.type == array.type && again.bytes == array.bytes);
        demand(again.bytes == 0 || memcmp(again.data, array.data, again.bytes) == 0);
        npy_free(&again);
        k += array.type == NPY_TEXT && array.count;
        npy_free(&array);
    }
    npz_close(copy);
    mem_free(bytes);
}

/* The same bytes with a name give the same answer, and the name is said. */
static void check_named(const uint8_t *data, size_t size, int from_memory) {
    NpyArray array;
    Npz *npz;
    const char *path = memory_file(data, size);
    int rc = npy_read(path, &array);
    demand(rc == from_memory && (rc || npy_type_name(array.type)));
    if (rc) demand(strncmp(err_sentence(), path, strlen(path)) == 0);
    npy_free(&array);
    rc = npz_open(path, &npz);
    demand(!rc == !!npz);
    if (rc) demand(strncmp(err_sentence(), path, strlen(path)) == 0);
    npz_close(npz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    NpyArray array;
    Npz *npz;
    err_clear();
    int rc = npy_read_memory(data, size, &array);
    if (rc == 0) {
        check_array(&array, size);
        npy_free(&array);
    } else {
        demand(*err_sentence() && !array.data);
    }
    check_named(data, size, rc);
    err_clear();
    if (npz_open_memory(data, size, &npz)) {
        demand(*err_sentence() && !npz);
        return 0;
    }
    for (int i = 0; i < npz_count(npz) && i < 16; i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s", npz_name(npz, i));
        if (npz_read(npz, name, &array)) continue;
        check_array(&array, (size_t)64 << 20);
        npy_free(&array);
    }
    check_archive(npz, NPZ_STORED);
    check_archive(npz, NPZ_PACKED);
    npz_close(npz);
    return 0;
}
