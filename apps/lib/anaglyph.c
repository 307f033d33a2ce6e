#include "apps/lib/anaglyph.h"
#include "data/srgb.h"

#include <string.h>

/* Rows red, green, blue of the result; columns red, green, blue of the left eye, then of the right. Linear light. */
static const float dubois[3][6] = {
    {0.437f, 0.449f, 0.164f, -0.011f, -0.032f, -0.007f},
    {-0.062f, -0.062f, -0.024f, 0.377f, 0.761f, 0.009f},
    {-0.048f, -0.050f, -0.017f, -0.026f, -0.093f, 1.234f},
};
static const float luminance[3] = {0.2126f, 0.7152f, 0.0722f}; /* Rec. 709 */

enum { FINE = 1 << 14 }; /* steps of linear light: a quarter of an 8-bit step at most, in the dark */
typedef struct {
    float linear[256];
    uint8_t stored[FINE + 1];
    uint8_t brightened[256]; /* gamma 1.5 */
} Curves;

static void fill_curves(Curves *c) {
    for (int i = 0; i < 256; i++) {
        c->linear[i] = (float)srgb_to_linear(i / 255.0);
        c->brightened[i] = (uint8_t)(255 * pow(i / 255.0, 1 / 1.5) + 0.5);
    }
    for (int i = 0; i <= FINE; i++) c->stored[i] = (uint8_t)(255 * srgb_from_linear((double)i / FINE) + 0.5);
}

static uint8_t store(const Curves *c, float linear) {
    return c->stored[linear <= 0 ? 0 : linear >= 1 ? FINE : (int)(linear * FINE + 0.5f)];
}

static uint8_t luma(const Curves *c, const uint8_t rgb[3]) {
    float sum = 0;
    for (int k = 0; k < 3; k++) sum += luminance[k] * c->linear[rgb[k]];
    return store(c, sum);
}

static void blend(const Curves *c, AnaglyphKind kind, const uint8_t l[3], const uint8_t r[3], uint8_t out[3]) {
    switch (kind) {
    case ANAGLYPH_GRAY:
        out[0] = luma(c, l), out[1] = out[2] = luma(c, r);
        return;
    case ANAGLYPH_COLOUR:
        out[0] = l[0], out[1] = r[1], out[2] = r[2];
        return;
    case ANAGLYPH_HALF_COLOUR:
        out[0] = luma(c, l), out[1] = r[1], out[2] = r[2];
        return;
    case ANAGLYPH_OPTIMISED:
        out[0] = c->brightened[(7 * l[1] + 3 * l[2] + 5) / 10], out[1] = r[1], out[2] = r[2];
        return;
    default:
        for (int k = 0; k < 3; k++) {
            float sum = 0;
            for (int i = 0; i < 3; i++) sum += dubois[k][i] * c->linear[l[i]] + dubois[k][3 + i] * c->linear[r[i]];
            out[k] = store(c, sum);
        }
    }
}

/* Any picture as 8-bit RGB, copied. */
static int plain_copy(Image *to, const Image *from) {
    if (image_copy(to, from)) return err_code();
    if (image_to_8bit(to) || image_to_rgb(to)) {
        image_free(to);
        return err_code();
    }
    return 0;
}

int anaglyph_make(Image *out, const Image *left, const Image *right, AnaglyphKind kind) {
    if (left->width != right->width || left->height != right->height)
        return fail(ERR_INPUT, "the left picture is %dx%d and the right one %dx%d pixels; they must have one size",
                    left->width, left->height, right->width, right->height);
    Image l, r;
    if (plain_copy(&l, left)) return err_code();
    if (plain_copy(&r, right)) {
        image_free(&l);
        return err_code();
    }
    Curves curves;
    fill_curves(&curves);
    for (int64_t i = 0; i < image_pixels(&l); i++) {
        uint8_t mixed[3];
        blend(&curves, kind, l.bytes + 3 * i, r.bytes + 3 * i, mixed);
        memcpy(l.bytes + 3 * i, mixed, 3);
    }
    image_free(&r);
    *out = l; /* the left copy became the result */
    return 0;
}
