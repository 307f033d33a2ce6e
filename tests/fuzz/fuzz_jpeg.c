/* JPEG: refused with a reason, or decoded, strictly and leniently; what our checks let through must not hurt stb. */
#include "base/mem.h"
#include "data/jpeg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void try_one(const uint8_t *data, size_t size, const ReadOptions *options) {
    Image image;
    ReadNotes notes = {0};
    err_clear();
    size_t before = mem_use().live;
    mem_reset_peak();
    int error = jpeg_decode(data, size, options, &image, &notes);
    /* turning a picture by its EXIF orientation holds it twice for a moment */
    size_t decoded = error ? 0 : 2 * (size_t)image_pixels(&image) * (size_t)image.channels;
    demand(error || mem_use().peak - before <= 16 * size + ((size_t)64 << 20) + decoded);
    if (error)
        demand(*err_sentence() && !image.bytes);
    else
        demand(image.bytes && image.bits == 8 && image.width > 0 && image.height > 0);
    image_free(&image);
    demand(mem_use().live == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ReadOptions lenient = {.lenient = true};
    JpegInfo info;
    if (jpeg_check(data, size, &info, NULL) == 0) {
        demand(info.end <= size && info.width > 0 && info.height > 0);
        /* Large ones are honest work (16 million pixels at most here), not findings. */
        if ((int64_t)info.width * info.height > 1 << 22) return 0;
    } else
        demand(*err_sentence());
    try_one(data, size, NULL);
    try_one(data, size, &lenient);
    return 0;
}
