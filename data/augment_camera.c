/* data/augment_camera.c - cameras that are not perfect: tone, colour, blur, noise, compression, and two of them. */
#include "base/mem.h"
#include "base/rng.h"
#include "data/augment.h"

#include <math.h>
#include <string.h>

const AugmentCamera augment_usual = {.exposure = 0.35f,
                                     .contrast = 0.25f,
                                     .gamma = 0.25f,
                                     .colour = 0.12f,
                                     .saturation = 0.5f,
                                     .unlike = 0.25f,
                                     .noise = 6,
                                     .blur = 1,
                                     .blocks = 0.15f,
                                     .misalign = 0.6f,
                                     .patch = 0.1f};

typedef struct {
    uint64_t seed, n;
} Lot;

static double draw(Lot *lot, double low, double high) {
    return low + (high - low) * rng_unit(lot->seed, lot->n++);
}
static bool draw_chance(Lot *lot, double p) {
    return draw(lot, 0, 1) < p;
}

static uint8_t to_byte(float v) {
    return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + 0.5f);
}

/* ---- blur ---- */

/* Three taps (side, 1 - 2 side, side) down and across, `times` times; edges repeated. Variance of each: 2 side. */
static void blur(uint8_t *rgb, int w, int h, float side, int times, uint8_t *scratch) {
    int part = (int)(side * 256 + 0.5f), middle = 256 - 2 * part;
    size_t row = 3 * (size_t)w;
    for (int pass = 0; pass < times; pass++) {
        for (int y = 0; y < h; y++) {
            const uint8_t *here = rgb + (size_t)y * row, *above = y ? here - row : here,
                          *below = y + 1 < h ? here + row : here;
            uint8_t *to = scratch + (size_t)y * row;
            for (size_t i = 0; i < row; i++)
                to[i] = (uint8_t)((part * (above[i] + below[i]) + middle * here[i] + 128) >> 8);
        }
        for (int y = 0; y < h; y++) {
            const uint8_t *from = scratch + (size_t)y * row;
            uint8_t *to = rgb + (size_t)y * row;
            if (w < 2) {
                memcpy(to, from, row);
                continue;
            }
            for (size_t k = 0; k < 3; k++) {
                to[k] = (uint8_t)((part * (from[k] + from[k + 3]) + middle * from[k] + 128) >> 8);
                size_t last = row - 3 + k;
                to[last] = (uint8_t)((part * (from[last] + from[last - 3]) + middle * from[last] + 128) >> 8);
            }
            for (size_t i = 3; i < row - 3; i++)
                to[i] = (uint8_t)((part * (from[i - 3] + from[i + 3]) + middle * from[i] + 128) >> 8);
        }
    }
}

/* What lies away from disparity `focus` is blurred, by `strength` pixels a pixel of disparity but at most three: mixed
 * from the picture and two blurred ones. (A sharp edge before a blurred ground runs out into it a little, which a lens
 * would not do.) `copies` has room for two pictures more. */
static void defocus(uint8_t *rgb, const float *disparity, int w, int h, float focus, float strength, uint8_t *copies,
                    uint8_t *scratch) {
    static const float deviation[3] = {0, 1.2f, 3};
    size_t pixels = (size_t)w * (size_t)h;
    uint8_t *soft[3] = {rgb, copies, copies + 3 * pixels};
    memcpy(soft[1], rgb, 3 * pixels);
    blur(soft[1], w, h, 0.24f, 3, scratch); /* three passes of variance 0.48 */
    memcpy(soft[2], soft[1], 3 * pixels);
    blur(soft[2], w, h, 0.25f, 15, scratch);
    for (size_t i = 0; i < pixels; i++) {
        float wanted = fminf(fabsf(disparity[i] - focus) * strength, deviation[2]);
        int low = wanted >= deviation[1];
        float part = (wanted - deviation[low]) / (deviation[low + 1] - deviation[low]);
        for (size_t k = 3 * i; k < 3 * i + 3; k++)
            rgb[k] = to_byte((float)soft[low][k] + part * (float)(soft[low + 1][k] - soft[low][k]));
    }
}

/* The mean along a straight line of `count` pixels, the same for both eyes. `copy` has room for a picture. */
static void smear(uint8_t *rgb, int w, int h, float dx, float dy, int count, uint8_t *copy) {
    memcpy(copy, rgb, 3 * (size_t)w * (size_t)h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int sum[3] = {count / 2, count / 2, count / 2};
            for (int i = 0; i < count; i++) {
                float t = (float)i - 0.5f * (float)(count - 1);
                int u = x + (int)floorf(t * dx + 0.5f), v = y + (int)floorf(t * dy + 0.5f);
                u = u < 0 ? 0 : u >= w ? w - 1 : u, v = v < 0 ? 0 : v >= h ? h - 1 : v;
                const uint8_t *p = copy + 3 * ((size_t)v * (size_t)w + (size_t)u);
                for (int k = 0; k < 3; k++) sum[k] += p[k];
            }
            for (int k = 0; k < 3; k++)
                rgb[3 * ((size_t)y * (size_t)w + (size_t)x) + (size_t)k] = (uint8_t)(sum[k] / count);
        }
}

/* ---- blocks, as JPEG has them ---- */

/* One plane of a block: to the cosine transform, rounded to whole steps, and back. `t` is the transform's matrix; steps
 * grow with frequency as JPEG's tables do. */
static void squeeze_block(float b[8][8], const float t[8][8], float first_step, float growth) {
    float half[8][8], f[8][8];
    for (int k = 0; k < 8; k++) /* down */
        for (int x = 0; x < 8; x++) {
            float sum = 0;
            for (int y = 0; y < 8; y++) sum += t[k][y] * b[y][x];
            half[k][x] = sum;
        }
    for (int k = 0; k < 8; k++)
        for (int l = 0; l < 8; l++) {
            float sum = 0, step = first_step + growth * (float)(k + l);
            for (int x = 0; x < 8; x++) sum += t[l][x] * half[k][x];
            f[k][l] = roundf(sum / step) * step;
        }
    for (int k = 0; k < 8; k++)
        for (int x = 0; x < 8; x++) {
            float sum = 0;
            for (int l = 0; l < 8; l++) sum += t[l][x] * f[k][l];
            half[k][x] = sum;
        }
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++) {
            float sum = 0;
            for (int k = 0; k < 8; k++) sum += t[k][y] * half[k][x];
            b[y][x] = sum;
        }
}

/* Luma and the two colour differences, the latter twice as coarsely. Borders of pictures that are no multiple of 8 are
 * filled with their last pixel. */
static void squeeze(uint8_t *rgb, int w, int h, float step) {
    float t[8][8], plane[3][8][8];
    for (int k = 0; k < 8; k++)
        for (int x = 0; x < 8; x++)
            t[k][x] = (float)((k ? 0.5 : 0.35355339059327376) * cos((2 * x + 1) * k * 0.19634954084936207));
    for (int by = 0; by < h; by += 8)
        for (int bx = 0; bx < w; bx += 8) {
            for (int y = 0; y < 8; y++)
                for (int x = 0; x < 8; x++) {
                    int i = by + y < h ? by + y : h - 1, j = bx + x < w ? bx + x : w - 1;
                    const uint8_t *p = rgb + 3 * ((size_t)i * (size_t)w + (size_t)j);
                    float r = p[0], g = p[1], b = p[2], luma = 0.299f * r + 0.587f * g + 0.114f * b;
                    plane[0][y][x] = luma, plane[1][y][x] = b - luma, plane[2][y][x] = r - luma;
                }
            for (int k = 0; k < 3; k++) squeeze_block(plane[k], t, k ? 2 * step : step, k ? 0.7f * step : 0.35f * step);
            for (int y = 0; y < 8 && by + y < h; y++)
                for (int x = 0; x < 8 && bx + x < w; x++) {
                    uint8_t *p = rgb + 3 * ((size_t)(by + y) * (size_t)w + (size_t)(bx + x));
                    float luma = plane[0][y][x], b = plane[1][y][x] + luma, r = plane[2][y][x] + luma;
                    p[0] = to_byte(r), p[1] = to_byte((luma - 0.299f * r - 0.114f * b) * (1 / 0.587f)),
                    p[2] = to_byte(b);
                }
        }
}

/* ---- one camera ---- */

typedef struct {
    float exposure, contrast, gamma, colour[3], saturation; /* natural logarithms */
    float noise, blur, dark;                                /* dark: share of the noise that dark pixels have too */
    float fine;                                             /* blur after the noise: grain coarser than pixels */
    float step;                                             /* of blocks; 0 none */
} Camera;

static void develop(uint8_t *rgb, int w, int h, const Camera *camera, uint64_t seed, uint8_t *scratch) {
    uint8_t tone[3][256];
    float spread[256];
    for (int k = 0; k < 3; k++)
        for (int v = 0; v < 256; v++) {
            float x = powf((float)v / 255, expf(camera->gamma)) * expf(camera->exposure + camera->colour[k]);
            tone[k][v] = to_byte(255 * (0.5f + (x - 0.5f) * expf(camera->contrast)));
        }
    /* two even numbers' sum has a variance of a sixth */
    for (int v = 0; v < 256; v++)
        spread[v] = 2.449f * camera->noise * (camera->dark + (1 - camera->dark) * sqrtf((float)v / 255)) / 1024;
    float saturation = expf(camera->saturation);
    size_t pixels = (size_t)w * (size_t)h;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *p = rgb + 3 * i;
        float grey = 0.3f * p[0] + 0.59f * p[1] + 0.11f * p[2];
        for (int k = 0; k < 3; k++) p[k] = tone[k][to_byte(grey + saturation * ((float)p[k] - grey))];
    }
    /* each pass of the three taps has variance 2 side, at most 0.5 */
    float variance = camera->blur * camera->blur;
    int times = (int)(variance / 0.5f) + 1;
    if (variance > 0.02f) blur(rgb, w, h, variance / (float)times / 2, times, scratch);
    if (camera->noise > 0)
        for (size_t i = 0; i < pixels; i++) {
            uint64_t bits = rng_u64(seed, i);
            for (int k = 0; k < 3; k++, bits >>= 20) {
                int two = (int)(bits & 1023) + (int)(bits >> 10 & 1023) - 1023;
                uint8_t *p = rgb + 3 * i + k;
                *p = to_byte((float)*p + spread[*p] * (float)two);
            }
        }
    if (camera->fine > 0) blur(rgb, w, h, camera->fine, 1, scratch);
    if (camera->step > 0) squeeze(rgb, w, h, camera->step);
}

int augment_photograph(Sample *sample, const AugmentCamera *camera, uint64_t seed) {
    Lot lot = {rng_u64(0x63616d657261, seed), 0};
    int w = sample->width, h = sample->height;
    size_t bytes = 3 * (size_t)w * (size_t)h;
    uint8_t *scratch = mem_array(bytes, 3), *copies = scratch ? scratch + bytes : NULL;
    if (!scratch) return err_code();
    Camera both = {0}; /* a statement for each draw: C leaves the order within an initialiser open */
    both.exposure = (float)draw(&lot, -1, 0.7) * camera->exposure;
    both.contrast = (float)draw(&lot, -1, 1) * camera->contrast;
    both.gamma = (float)draw(&lot, -1, 1) * camera->gamma;
    both.saturation = (float)draw(&lot, -1, 0.6) * camera->saturation;
    for (int k = 0; k < 3; k++) both.colour[k] = (float)draw(&lot, -1, 1) * camera->colour;
    if (camera->saturation > 0 && draw_chance(&lot, 0.08)) both.saturation = -20; /* black and white */
    /* most cameras are quiet and sharp, some neither */
    double quiet = draw(&lot, 0, 1);
    both.noise = (float)(quiet * quiet) * camera->noise, both.dark = (float)draw(&lot, 0.2, 1);
    if (draw_chance(&lot, 0.4) && camera->noise > 0) both.fine = (float)draw(&lot, 0, 0.22);
    double sharp = draw(&lot, 0, 1);
    both.blur = (float)(0.25 + 0.75 * sharp * sharp * sharp) * camera->blur;
    if (draw_chance(&lot, (double)camera->blocks)) both.step = (float)exp(draw(&lot, 0.7, 3.2));
    /* two eyes of one rig differ little, of two cameras more */
    float unlike = camera->unlike * (float)(draw_chance(&lot, 0.3) ? draw(&lot, 0.3, 1.2) : draw(&lot, 0, 0.2));
    uint8_t *rgb[2] = {sample->left.rgb, sample->right.rgb};
    if (draw_chance(&lot, (double)camera->defocus) && sample->right_known) {
        float focus = augment_quantile(sample, draw(&lot, 0, 1));
        float range = augment_quantile(sample, 1) - augment_quantile(sample, 0) + 1;
        float strength = (float)draw(&lot, 0.5, 5) / range;
        defocus(rgb[0], sample->left.disparity, w, h, focus, strength, copies, scratch);
        defocus(rgb[1], sample->right.disparity, w, h, focus, strength, copies, scratch);
    }
    if (draw_chance(&lot, (double)camera->motion)) {
        double angle = draw(&lot, 0, 6.2832);
        int count = 2 + (int)draw(&lot, 0, 6);
        for (int eye = 0; eye < 2; eye++) smear(rgb[eye], w, h, (float)cos(angle), (float)sin(angle), count, copies);
    }
    for (int eye = 0; eye < 2; eye++) {
        Camera one = both;
        one.exposure += (float)draw(&lot, -1, 1) * unlike * camera->exposure;
        one.contrast += (float)draw(&lot, -1, 1) * unlike * camera->contrast;
        one.gamma += (float)draw(&lot, -1, 1) * unlike * camera->gamma;
        for (int k = 0; k < 3; k++) one.colour[k] += (float)draw(&lot, -1, 1) * unlike * camera->colour;
        one.blur *= expf((float)draw(&lot, -1, 1) * unlike);
        develop(rgb[eye], w, h, &one, rng_u64(seed, (uint64_t)eye), scratch);
    }
    mem_free(scratch);
    double slip = draw_chance(&lot, 0.35) ? draw(&lot, -1, 1) * (double)camera->misalign : 0;
    double turn = slip != 0 && draw_chance(&lot, 0.3) ? draw(&lot, -1, 1) * (double)camera->misalign / w : 0;
    if (slip != 0 && augment_misalign(sample, slip, turn)) return err_code();
    if (draw_chance(&lot, (double)camera->patch))
        for (int i = 0, n = 1 + (int)draw(&lot, 0, 2); i < n; i++) {
            int pw = (int)(w * draw(&lot, 0.04, 0.2)), ph = (int)(h * draw(&lot, 0.05, 0.3));
            int y = (int)draw(&lot, -ph, h), x = (int)draw(&lot, -pw, w);
            augment_patch(sample, x, y, pw, ph, rng_u64(seed, 77 + (uint64_t)i));
        }
    return 0;
}
