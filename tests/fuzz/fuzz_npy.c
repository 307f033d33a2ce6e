/* NPY and NPZ: refused with a reason, or read, written and read again as the same. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/npy.h"

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
        return;
    }
    float *values = mem_array((size_t)array->count, sizeof *values);
    demand(values && npy_to_f32(array, values) == 0);
    mem_free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    NpyArray array;
    Npz *npz;
    err_clear();
    if (npy_read_memory(data, size, &array) == 0) {
        check_array(&array, size);
        npy_free(&array);
    } else {
        demand(*err_sentence() && !array.data);
    }
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
    npz_close(npz);
    return 0;
}
