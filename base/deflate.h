/* base/deflate.h - deflate data (RFC 1951) and zlib streams (RFC 1950), unpacked and packed. */
#ifndef PANUM_BASE_DEFLATE_H
#define PANUM_BASE_DEFLATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    INFLATE_WHOLE,   /* the stream ended as it should */
    INFLATE_SHORT,   /* the input ended before the stream did */
    INFLATE_DAMAGED, /* not deflate data */
    INFLATE_STOPPED, /* the sink wanted no more */
    INFLATE_MEMORY,  /* error set */
} InflateEnd;

/* Takes the next bytes; false stops. */
typedef bool (*InflateSink)(void *context, const uint8_t *bytes, size_t size);

typedef struct {
    size_t used;         /* bytes of input consumed */
    const char *reason;  /* for INFLATE_DAMAGED */
    bool checksum_wrong; /* the Adler-32 at the end; the data itself was whole */
} InflateReport;

/* Unpacks a zlib stream piece by piece into the sink, so that a picture is decoded row by row: memory stays at 96 KiB
 * whatever the data claims, and when the data breaks off the sink has seen everything before the break. */
InflateEnd inflate_zlib(const uint8_t *in, size_t size, InflateSink sink, void *context, InflateReport *report);

/* Unpacks deflate data of exactly `size` bytes into `out`; false when the data is not that, ends early or goes on after
 * it. Allocates nothing. */
bool inflate_raw(const uint8_t *data, size_t bytes, uint8_t *out, size_t size);

/* NULL when there is no memory; mem_free. The result depends on the data only. */
uint8_t *deflate_raw(const uint8_t *data, size_t bytes, size_t *size);
uint8_t *deflate_zlib(const uint8_t *data, size_t bytes, size_t *size);
#endif
