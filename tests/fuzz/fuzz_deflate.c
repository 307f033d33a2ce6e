/* Packing and unpacking gives the same bytes; unpacking anything else stays inside its buffers. */
#include "base/deflate.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

typedef struct {
    const uint8_t *expected; /* NULL: anything */
    size_t seen, most;       /* wants no more after `most` */
} Sink;

static bool take(void *context, const uint8_t *bytes, size_t size) {
    Sink *sink = context;
    if (sink->expected)
        demand(sink->seen + size <= sink->most && memcmp(sink->expected + sink->seen, bytes, size) == 0);
    sink->seen += size;
    return sink->seen <= sink->most;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t packed_size;
    InflateReport report;
    uint8_t *packed = deflate_zlib(data, size, &packed_size), *out = mem_alloc(size);
    demand(packed && out && packed_size <= size + size / 1024 + 64);
    Sink sink = {.expected = data, .most = size};
    demand(inflate_zlib(packed, packed_size, take, &sink, &report) == INFLATE_WHOLE && sink.seen == size);
    demand(report.used == packed_size && !report.checksum_wrong);
    sink.seen = 0;
    demand(inflate_zlib(packed, packed_size - 1, take, &sink, &report) == INFLATE_SHORT && sink.seen == size);
    demand(inflate_raw(packed + 2, packed_size - 6, out, size) && memcmp(out, data, size) == 0);
    demand(!inflate_raw(packed + 2, packed_size - 7, out, size));
    if (size) demand(!inflate_raw(packed + 2, packed_size - 6, out, size - 1));
    mem_free(packed);
    mem_free(out);
    if (size < 2) return 0;
    /* unpacked as they are: the first two bytes are the size that is promised */
    size_t promised = data[0] | (size_t)data[1] << 8;
    out = malloc(promised ? promised : 1);
    demand(out);
    inflate_raw(data + 2, size - 2, out, promised);
    sink = (Sink){.most = promised};
    InflateEnd end = inflate_zlib(data + 2, size - 2, take, &sink, &report);
    demand(report.used <= size - 2 && (end != INFLATE_WHOLE || sink.seen <= promised));
    demand((end == INFLATE_DAMAGED) == (report.reason != NULL));
    free(out);
    return 0;
}
