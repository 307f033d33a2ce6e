/* data/sample.c - the block of a sample, cut into its planes. */
#include "data/sample.h"
#include "base/mem.h"

#include <string.h>

/* Planes start on cache lines. */
static size_t rounded(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

int sample_reserve(Sample *sample, int width, int height) {
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "a sample cannot be %dx%d pixels large; sides are 1 to %d", width, height,
                    IMAGE_SIDE_MAX);
    size_t pixels = (size_t)width * (size_t)height, rgb = rounded(3 * pixels), plane = rounded(4 * pixels);
    size_t bytes = 2 * (rgb + 3 * plane);
    if (sample->block_bytes < bytes) {
        mem_free(sample->block);
        sample->block = mem_alloc(bytes);
        sample->block_bytes = sample->block ? bytes : 0;
        if (!sample->block) {
            *sample = (Sample){0};
            return err_code();
        }
    }
    uint8_t *at = sample->block;
    SampleEye *eyes[2] = {&sample->left, &sample->right};
    for (int eye = 0; eye < 2; eye++) {
        float **planes[3] = {&eyes[eye]->disparity, &eyes[eye]->valid, &eyes[eye]->occlusion};
        eyes[eye]->rgb = at, at += rgb;
        for (int k = 0; k < 3; k++, at += plane) *planes[k] = (float *)(void *)at;
    }
    sample->width = width, sample->height = height;
    sample->occlusion_known = sample->right_known = false;
    return 0;
}

void sample_free(Sample *sample) {
    mem_free(sample->block);
    *sample = (Sample){0};
}

int sample_copy(Sample *to, const Sample *from) {
    if (sample_reserve(to, from->width, from->height)) return err_code();
    size_t pixels = (size_t)from->width * (size_t)from->height;
    const SampleEye *source[2] = {&from->left, &from->right};
    const SampleEye *target[2] = {&to->left, &to->right};
    for (int eye = 0; eye < 2; eye++) {
        memcpy(target[eye]->rgb, source[eye]->rgb, 3 * pixels);
        memcpy(target[eye]->disparity, source[eye]->disparity, 4 * pixels);
        memcpy(target[eye]->valid, source[eye]->valid, 4 * pixels);
        memcpy(target[eye]->occlusion, source[eye]->occlusion, 4 * pixels);
    }
    to->occlusion_known = from->occlusion_known, to->right_known = from->right_known, to->index = from->index;
    return 0;
}
