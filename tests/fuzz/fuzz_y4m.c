/* y4m: refused with a reason, or read; the same whether bytes come together or one at a time. */
#include "base/err.h"
#include "base/mem.h"
#include "data/y4m.h"
#include "tests/lib/memory_stream.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

typedef struct {
    int code, frames;
    uint64_t sum;
} Result;

static Result read_all(const uint8_t *data, size_t size, size_t piece) {
    MemoryStream memory = {data, size, 0, piece};
    Result result = {0};
    Y4mReader *reader;
    Image image = {0};
    bool end = false;
    err_clear();
    result.code = y4m_open("fuzz", memory_stream_read, &memory, &reader);
    demand((result.code == 0) == (reader != NULL));
    while (!result.code && !end && result.frames < 64) {
        result.code = y4m_read(reader, &image, &end);
        if (result.code || end) continue;
        const Y4mHeader *h = y4m_header(reader);
        demand(image.width == h->width && image.height == h->height && image.bits == 8);
        demand(y4m_frame_bytes(h) <= size); /* a frame that was given was there */
        int64_t n = image_pixels(&image) * image.channels;
        for (int64_t i = 0; i < n; i++) result.sum = result.sum * 31 + image.bytes[i];
        result.frames++;
    }
    if (result.code) demand(*err_sentence());
    image_free(&image);
    y4m_close(&reader);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Result whole = read_all(data, size, size + 1), pieces = read_all(data, size, 1);
    demand(whole.code == pieces.code && whole.frames == pieces.frames && whole.sum == pieces.sum);
    return 0;
}
