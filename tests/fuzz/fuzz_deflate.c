/* Packing and unpacking gives the same bytes; unpacking anything else stays inside its buffers. */
#include "base/mem.h"
#include "base/zip.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t packed_size, made;
    uint8_t *packed = deflate_zlib(data, size, &packed_size), *out = mem_alloc(size);
    demand(packed && out && packed_size <= size + size / 1024 + 64);
    demand(inflate_zlib(packed, packed_size, out, size) && memcmp(out, data, size) == 0);
    demand(!inflate_zlib(packed, packed_size - 1, out, size));
    if (size) demand(!inflate_zlib(packed, packed_size, out, size - 1));
    mem_free(packed);
    mem_free(out);
    if (size < 2) return 0;
    /* as a stream: the first two bytes are the size that is promised */
    size_t promised = data[0] | (size_t)data[1] << 8;
    out = malloc(promised ? promised : 1);
    demand(out);
    inflate_raw(data + 2, size - 2, out, promised);
    inflate_zlib_counted(data + 2, size - 2, out, promised, &made);
    demand(made <= promised);
    free(out);
    return 0;
}
