/* data/inflate.h - deflate data (RFC 1951) unpacked as a stream, so that a picture is decoded row by row.
 *
 * base/zip.h unpacks into a block of known size; here the output goes piece by piece to a sink, memory stays at 96 KiB
 * whatever the data claims, and when the data breaks off the sink has seen everything before the break. */
#ifndef PANUM_DATA_INFLATE_H
#define PANUM_DATA_INFLATE_H
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

/* A zlib stream (RFC 1950): header, deflate data, Adler-32. */
InflateEnd inflate_stream(const uint8_t *in, size_t size, InflateSink sink, void *context, InflateReport *report);
#endif
