#include "tensor/tensor.h"
#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>

size_t dtype_size(DType dtype) {
    switch (dtype) {
    case DTYPE_F32:
        return sizeof(real);
    case DTYPE_U8:
        return 1;
    case DTYPE_I32:
        return 4;
    }
    panum_bug(__FILE__, __LINE__, "dtype %d", dtype);
}

const char *dtype_name(DType dtype) {
    static const char *const names[] = {"f32", "u8", "i32"};
    return names[dtype];
}

int64_t tensor_count(const Tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->size[i];
    return n;
}

size_t tensor_bytes(const Tensor *base) {
    return (size_t)tensor_count(base) * dtype_size(base->dtype);
}

bool tensor_is_row_major(const Tensor *t) {
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->size[i] != 1 && t->stride[i] != stride) return false;
        stride *= t->size[i];
    }
    return true;
}

bool tensor_same_shape(const Tensor *a, const Tensor *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->size[i] != b->size[i]) return false;
    return true;
}

char *tensor_shape_text(const Tensor *t, char *out, size_t size) {
    size_t used = 0;
    if (size) out[0] = 0;
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? "x" : "", t->size[i]);
    return out;
}
