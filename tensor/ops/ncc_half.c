#include "tensor/ops/ncc_half.h"
#include "base/err.h"
#include "base/mem.h"

int ncc_check(int width, int height, int channels) {
    if (width < 1 || height < 1 || width > NCC_SIDE_MAX || height > NCC_SIDE_MAX)
        return fail(ERR_INPUT, "block matching takes pictures of 1 to %d pixels a side, not %d x %d", NCC_SIDE_MAX,
                    width, height);
    if (channels != 1 && channels != 3)
        return fail(ERR_INPUT, "block matching takes pictures of 1 or 3 channels, not %d", channels);
    return 0;
}

static void halve_row(const uint8_t *above, const uint8_t *below, int width, int channels, int centre, int16_t *out) {
    if (channels == 1)
        for (int x = 0; x < width; x++, above += 2, below += 2)
            out[x] = (int16_t)(3 * (above[0] + above[1] + below[0] + below[1]) - centre);
    else
        for (int x = 0; x < width; x++, above += 6, below += 6) {
            int sum = 0;
            for (int k = 0; k < 6; k++) sum += above[k] + below[k];
            out[x] = (int16_t)(sum - centre);
        }
}

int ncc_half_make(NccHalf *half, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
                  int pad, int rows, int centre) {
    *half = (NccHalf){.width = width / 2, .height = height / 2};
    half->pitch = half->width + 2 * (int64_t)pad;
    const int64_t lines = half->height + 2 * (int64_t)rows;
    size_t count;
    if (!size_mul((size_t)half->pitch, 2 * (size_t)lines, &count)) return fail(ERR_MEMORY, "the picture is too large");
    half->block = mem_zero(count, sizeof *half->block);
    if (!half->block) return err_code();
    half->bytes = count * sizeof *half->block;
    const size_t line = (size_t)width * (size_t)channels;
    for (int eye = 0; eye < 2; eye++) {
        const uint8_t *picture = eye ? right : left;
        half->grey[eye] = half->block + (eye * lines + rows) * half->pitch + pad;
        for (int y = 0; y < half->height; y++)
            halve_row(picture + 2 * (size_t)y * line, picture + (2 * (size_t)y + 1) * line, half->width, channels,
                      centre, half->grey[eye] + y * half->pitch);
    }
    return 0;
}
