#include "apps/lib/dots.h"
#include "base/rng.h"

int dots_make(Image *left, Image *right, int width, int height, int front, int behind, uint64_t seed) {
    int rc = image_make(left, width, height, 1, 8);
    if (!rc) rc = image_make(right, width, height, 1, 8);
    if (rc) {
        image_free(left);
        return rc;
    }
    int64_t n = (int64_t)width * height;
    for (int64_t i = 0; i < n; i++) {
        left->bytes[i] = (uint8_t)(rng_u64(seed, (uint64_t)i) >> 56);
        right->bytes[i] =
            (uint8_t)(rng_u64(seed ^ 0xD075, (uint64_t)i) >> 56); /* stays where only the right eye sees */
    }
    for (int square = 0; square < 2; square++) /* what is in front is painted last */
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                int other = x - (square ? front : behind);
                if (dots_in_square(x, y, width, height) == square && other >= 0 && other < width)
                    right->bytes[(int64_t)y * width + other] = left->bytes[(int64_t)y * width + x];
            }
    return 0;
}
