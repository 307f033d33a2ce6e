/* tests/lib/memory_stream.h - a y4m stream that lies in memory and gives at most `piece` bytes at a time. Without
 * cmocka: fuzz targets use it too. */
#ifndef PANUM_TESTS_MEMORY_STREAM_H
#define PANUM_TESTS_MEMORY_STREAM_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *bytes; /* NULL is fine when there are none */
    size_t size, at, piece;
} MemoryStream;

/* A Y4mSource; context: a MemoryStream. */
static inline int memory_stream_read(void *context, void *bytes, size_t want, size_t *got) {
    MemoryStream *m = context;
    size_t n = m->size - m->at;
    if (n > want) n = want;
    if (n > m->piece) n = m->piece;
    if (n) memcpy(bytes, m->bytes + m->at, n);
    m->at += n;
    *got = n;
    return 0;
}
#endif
