#include "data/jpeg.h"

int jpeg_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes) {
    (void)bytes, (void)size, (void)options, (void)image, (void)notes;
    return fail(ERR_INPUT, "JPEG is not read yet");
}
