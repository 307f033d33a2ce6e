/* data/augment.c - geometry of pairs with truth. Photometry is in augment_camera.c. */
#include "data/augment.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

/* ---- windows ---- */

static void crop_eye(SampleEye *to, const SampleEye *from, int from_width, int x0, int y0, int w, int h, float shift,
                     int direction) {
    for (int y = 0; y < h; y++) {
        size_t source = (size_t)(y + y0) * (size_t)from_width + (size_t)x0, target = (size_t)y * (size_t)w;
        memcpy(to->rgb + 3 * target, from->rgb + 3 * source, 3 * (size_t)w);
        memcpy(to->valid + target, from->valid + source, 4 * (size_t)w);
        for (int x = 0; x < w; x++) {
            size_t i = target + (size_t)x, j = source + (size_t)x;
            float d = from->valid[j] > 0 ? from->disparity[j] - shift : 0;
            float match = (float)x - (float)direction * d;
            to->disparity[i] = d;
            to->occlusion[i] = match >= 0 && match <= (float)(w - 1) ? from->occlusion[j] : 0;
        }
    }
}

int augment_crop(Sample *to, const Sample *from, int x_left, int x_right, int y, int width, int height) {
    if (x_left < 0 || x_right < 0 || y < 0 || width < 1 || height < 1 || x_left > from->width - width ||
        x_right > from->width - width || y > from->height - height)
        return fail(ERR_INPUT, "a window of %dx%d at columns %d and %d, row %d, does not lie in pictures of %dx%d",
                    width, height, x_left, x_right, y, from->width, from->height);
    if (sample_reserve(to, width, height)) return err_code();
    float shift = (float)(x_left - x_right);
    crop_eye(&to->left, &from->left, from->width, x_left, y, width, height, shift, 1);
    crop_eye(&to->right, &from->right, from->width, x_right, y, width, height, shift, -1);
    to->occlusion_known = from->occlusion_known, to->right_known = from->right_known, to->index = from->index;
    return 0;
}

float augment_quantile(const Sample *sample, double share) {
    size_t pixels = (size_t)sample->width * (size_t)sample->height, count = 0;
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < pixels; i++) {
        if (!(sample->left.valid[i] > 0)) continue;
        low = fminf(low, sample->left.disparity[i]), high = fmaxf(high, sample->left.disparity[i]);
        count++;
    }
    if (!count) return 0;
    /* halving what it lies in 30 times is below a float's rounding */
    double wanted = share * (double)count;
    for (int step = 0; step < 30 && low < high; step++) {
        float middle = low + (high - low) * 0.5f;
        size_t below = 0;
        for (size_t i = 0; i < pixels; i++) below += sample->left.valid[i] > 0 && sample->left.disparity[i] <= middle;
        if ((double)below >= wanted)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* ---- size ---- */

static int resize_picture(uint8_t *to, int width, int height, const uint8_t *from, int from_width, int from_height) {
    Image source = {from_width, from_height, 3, 8, NULL}, target;
    size_t bytes = 3 * (size_t)from_width * (size_t)from_height;
    source.bytes = mem_alloc(bytes);
    if (!source.bytes) return err_code();
    memcpy(source.bytes, from, bytes);
    int code = image_resize(&target, &source, width, height);
    if (!code) {
        memcpy(to, target.bytes, 3 * (size_t)width * (size_t)height);
        image_free(&target);
    }
    image_free(&source);
    return code;
}

static void resize_truth(SampleEye *to, int width, int height, const SampleEye *from, int from_width, int from_height,
                         int direction) {
    float scale = (float)width / (float)from_width;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            float u = ((float)x + 0.5f) * (float)from_width / (float)width - 0.5f;
            float v = ((float)y + 0.5f) * (float)from_height / (float)height - 0.5f;
            u = u < 0 ? 0 : u > (float)(from_width - 1) ? (float)(from_width - 1) : u;
            v = v < 0 ? 0 : v > (float)(from_height - 1) ? (float)(from_height - 1) : v;
            int x0 = (int)u, y0 = (int)v, x1 = x0 + 1 < from_width ? x0 + 1 : x0,
                y1 = y0 + 1 < from_height ? y0 + 1 : y0;
            size_t corner[4] = {
                (size_t)y0 * (size_t)from_width + (size_t)x0, (size_t)y0 * (size_t)from_width + (size_t)x1,
                (size_t)y1 * (size_t)from_width + (size_t)x0, (size_t)y1 * (size_t)from_width + (size_t)x1};
            float fx = u - (float)x0, fy = v - (float)y0, low = INFINITY, high = -INFINITY, all = 1;
            for (int k = 0; k < 4; k++) {
                float d = from->disparity[corner[k]];
                low = fminf(low, d), high = fmaxf(high, d), all = fminf(all, from->valid[corner[k]]);
            }
            size_t nearest = corner[(fx >= 0.5f) + 2 * (fy >= 0.5f)], i = (size_t)y * (size_t)width + (size_t)x;
            float d = from->disparity[nearest];
            if (all > 0 && high - low <= 1) {
                const float *p = from->disparity;
                float top = p[corner[0]] + (p[corner[1]] - p[corner[0]]) * fx;
                float bottom = p[corner[2]] + (p[corner[3]] - p[corner[2]]) * fx;
                d = top + (bottom - top) * fy;
            }
            float match = (float)x - (float)direction * d * scale;
            to->disparity[i] = d * scale;
            to->valid[i] = from->valid[nearest];
            to->occlusion[i] = match >= 0 && match <= (float)(width - 1) ? from->occlusion[nearest] : 0;
        }
}

int augment_resize(Sample *to, const Sample *from, int width, int height) {
    if (sample_reserve(to, width, height)) return err_code();
    if (resize_picture(to->left.rgb, width, height, from->left.rgb, from->width, from->height) ||
        resize_picture(to->right.rgb, width, height, from->right.rgb, from->width, from->height))
        return err_code();
    resize_truth(&to->left, width, height, &from->left, from->width, from->height, 1);
    resize_truth(&to->right, width, height, &from->right, from->width, from->height, -1);
    to->occlusion_known = from->occlusion_known, to->right_known = from->right_known, to->index = from->index;
    return 0;
}

/* ---- mirrors ---- */

static void swap_floats(float *a, float *b) {
    float c = *a;
    *a = *b, *b = c;
}

static void swap_pixels(SampleEye *eye, size_t i, size_t j) {
    for (size_t k = 0; k < 3; k++) {
        uint8_t c = eye->rgb[3 * i + k];
        eye->rgb[3 * i + k] = eye->rgb[3 * j + k], eye->rgb[3 * j + k] = c;
    }
    swap_floats(&eye->disparity[i], &eye->disparity[j]);
    swap_floats(&eye->valid[i], &eye->valid[j]);
    swap_floats(&eye->occlusion[i], &eye->occlusion[j]);
}

void augment_mirror(Sample *sample) {
    size_t w = (size_t)sample->width, h = (size_t)sample->height;
    SampleEye *eyes[2] = {&sample->left, &sample->right};
    for (int eye = 0; eye < 2; eye++)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w / 2; x++) swap_pixels(eyes[eye], y * w + x, y * w + w - 1 - x);
    SampleEye left = sample->left;
    sample->left = sample->right, sample->right = left;
    if (!sample->right_known) memset(sample->left.valid, 0, 4 * w * h); /* what is now the right eye's truth stays */
}

void augment_flip_rows(Sample *sample) {
    size_t w = (size_t)sample->width, h = (size_t)sample->height;
    SampleEye *eyes[2] = {&sample->left, &sample->right};
    for (int eye = 0; eye < 2; eye++)
        for (size_t y = 0; y < h / 2; y++)
            for (size_t x = 0; x < w; x++) swap_pixels(eyes[eye], y * w + x, (h - 1 - y) * w + x);
}

/* ---- rigs out of true ---- */

int augment_misalign(Sample *sample, double shift, double turn) {
    int w = sample->width, h = sample->height;
    size_t pixels = (size_t)w * (size_t)h;
    SampleEye *eye = &sample->right;
    uint8_t *rgb = mem_alloc(3 * pixels);
    float *truth = mem_array(pixels, 3 * sizeof *truth);
    if (!rgb || !truth) {
        mem_free(rgb), mem_free(truth);
        return err_code();
    }
    memcpy(rgb, eye->rgb, 3 * pixels);
    memcpy(truth, eye->disparity, 4 * pixels), memcpy(truth + pixels, eye->valid, 4 * pixels);
    memcpy(truth + 2 * pixels, eye->occlusion, 4 * pixels);
    for (int x = 0; x < w; x++) {
        double down = shift + turn * (x - 0.5 * (w - 1)); /* what was in row y is now in row y + down */
        for (int y = 0; y < h; y++) {
            double at = y - down, clamped = at < 0 ? 0 : at > h - 1 ? h - 1 : at;
            int y0 = (int)clamped, y1 = y0 + 1 < h ? y0 + 1 : y0, part = (int)((clamped - y0) * 256 + 0.5);
            size_t i = (size_t)y * (size_t)w + (size_t)x, a = (size_t)y0 * (size_t)w + (size_t)x,
                   b = (size_t)y1 * (size_t)w + (size_t)x, nearest = part < 128 ? a : b;
            for (size_t k = 0; k < 3; k++)
                eye->rgb[3 * i + k] = (uint8_t)((rgb[3 * a + k] * (256 - part) + rgb[3 * b + k] * part + 128) >> 8);
            bool own = at >= 0 && at <= h - 1 && fabsf(truth[a] - truth[b]) <= 1;
            eye->valid[i] = own ? truth[pixels + nearest] : 0;
            eye->disparity[i] = eye->valid[i] > 0 ? truth[nearest] : 0;
            eye->occlusion[i] = eye->valid[i] > 0 ? truth[2 * pixels + nearest] : 0;
        }
    }
    mem_free(rgb), mem_free(truth);
    return 0;
}

void augment_patch(Sample *sample, int x, int y, int width, int height, uint64_t seed) {
    int w = sample->width, h = sample->height, x0 = x < 0 ? 0 : x, y0 = y < 0 ? 0 : y;
    int x1 = x + width < w ? x + width : w, y1 = y + height < h ? y + height : h;
    if (x0 >= x1 || y0 >= y1) return;
    SampleEye *right = &sample->right, *left = &sample->left;
    uint64_t total[3] = {0}, pixels = (uint64_t)w * (uint64_t)h;
    for (uint64_t i = 0; i < pixels; i++)
        for (int k = 0; k < 3; k++) total[k] += right->rgb[3 * i + (uint64_t)k];
    bool noise = rng_unit(seed, 0) < 0.5;
    int block = 1 << (int)(4 * rng_unit(seed, 1));
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) {
            size_t at = (size_t)j * (size_t)w + (size_t)i;
            uint64_t bits = rng_u64(seed, 2 + (uint64_t)(j / block * w + i / block));
            for (int k = 0; k < 3; k++)
                right->rgb[3 * at + (size_t)k] = noise ? (uint8_t)(bits >> (8 * k)) : (uint8_t)(total[k] / pixels);
            right->valid[at] = right->disparity[at] = right->occlusion[at] = 0;
        }
    for (int j = y0; j < y1; j++)
        for (int i = 0; i < w; i++) {
            size_t at = (size_t)j * (size_t)w + (size_t)i;
            float match = (float)i - left->disparity[at];
            if (left->valid[at] > 0 && match > (float)x0 - 0.5f && match < (float)x1 - 0.5f) left->occlusion[at] = 0;
        }
}
