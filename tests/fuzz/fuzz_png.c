/* PNG: refused with a reason, or read, written and read again as the same. A structure-aware mutator would spend its
 * time on checksums; instead each input is tried as it is, and again with every checksum put right. */
#include "base/hash.h"
#include "base/mem.h"
#include "data/png.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void write_again(const Image *image) {
    Out *out = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    Image again;
    demand(out_memory(&out) == 0 && png_write(out, image, NULL, 0) == 0 && out_memory_take(&out, &bytes, &size) == 0);
    demand(png_decode(bytes, size, NULL, &again, NULL, NULL) == 0);
    demand(again.width == image->width && again.height == image->height && again.channels == image->channels &&
           again.bits == image->bits);
    demand(memcmp(again.bytes, image->bytes,
                  (size_t)image_pixels(image) * (size_t)image->channels * (size_t)(image->bits / 8)) == 0);
    image_free(&again);
    mem_free(bytes);
}

static void try_one(const uint8_t *data, size_t size, const ReadOptions *options) {
    Image image;
    PngInfo info;
    ReadNotes notes = {0};
    err_clear();
    size_t before = mem_use().live;
    mem_reset_peak();
    int error = png_decode(data, size, options, &image, &info, &notes);
    size_t decoded = error ? 0 : (size_t)image_pixels(&image) * (size_t)image.channels * (size_t)(image.bits / 8);
    demand(mem_use().peak - before <= 16 * size + ((size_t)64 << 20) + decoded);
    demand(notes.count >= 0 && notes.count <= READ_NOTES_MAX);
    if (error) {
        demand(*err_sentence() && !image.bytes);
    } else {
        demand(image.bytes && image.width == info.width && image.height == info.height);
        if (image_pixels(&image) < 1 << 16) write_again(&image);
        image_free(&image);
    }
    demand(mem_use().live == before);
}

static void put_right(uint8_t *copy, size_t size) {
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = (size_t)copy[at] << 24 | (size_t)copy[at + 1] << 16 | (size_t)copy[at + 2] << 8 | copy[at + 3];
        if (length > size - at - 12) break;
        uint32_t sum = crc32_update(0, copy + at + 4, length + 4);
        for (int i = 0; i < 4; i++) copy[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ReadOptions careless = {.ignore_crc = true, .as_stored = true};
    try_one(data, size, NULL);
    uint8_t *copy = malloc(size + 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    put_right(copy, size);
    try_one(copy, size, NULL);
    try_one(copy, size, &careless);
    free(copy);
    return 0;
}
