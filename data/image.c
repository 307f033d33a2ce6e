#include "data/image.h"
#include "base/mem.h"

#include <string.h>

static int check_size(int width, int height) {
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "a picture of %d x %d: sides must be 1 to %d pixels", width, height, IMAGE_SIDE_MAX);
    if ((int64_t)width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "a picture of %d x %d has more than %lld pixels", width, height,
                    (long long)IMAGE_PIXELS_MAX);
    return 0;
}

static size_t image_size(const Image *image) {
    return (size_t)image_pixels(image) * (size_t)image->channels * (size_t)(image->bits / 8);
}

int image_make(Image *image, int width, int height, int channels, int bits) {
    memset(image, 0, sizeof *image);
    int error = check_size(width, height);
    if (error) return error;
    BUG_IF((channels != 1 && channels != 3) || (bits != 8 && bits != 16), "image_make: %d channels, %d bits", channels,
           bits);
    Image made = {width, height, channels, bits, NULL};
    made.bytes = mem_alloc(image_size(&made)); /* at most 2^28 * 3 * 2: fits */
    if (!made.bytes) return (int)err_code();
    *image = made;
    return 0;
}

void image_free(Image *image) {
    mem_free(image->bytes);
    memset(image, 0, sizeof *image);
}

int image_copy(Image *to, const Image *from) {
    int error = image_make(to, from->width, from->height, from->channels, from->bits);
    if (!error) memcpy(to->bytes, from->bytes, image_size(from));
    return error;
}

int image_crop(Image *to, const Image *from, int x, int y, int width, int height) {
    BUG_IF(x < 0 || y < 0 || width < 1 || height < 1 || x > from->width - width || y > from->height - height,
           "image_crop: %d,%d %dx%d of %dx%d", x, y, width, height, from->width, from->height);
    int error = image_make(to, width, height, from->channels, from->bits);
    if (error) return error;
    size_t pixel = (size_t)from->channels * (size_t)(from->bits / 8);
    for (int row = 0; row < height; row++)
        memcpy(to->bytes + (size_t)row * (size_t)width * pixel,
               from->bytes + ((size_t)(y + row) * (size_t)from->width + (size_t)x) * pixel, (size_t)width * pixel);
    return 0;
}

int image_to_8bit(Image *image) {
    if (image->bits == 8) return 0;
    Image narrow;
    int error = image_make(&narrow, image->width, image->height, image->channels, 8);
    if (error) return error;
    const uint16_t *in = image_16(image);
    int64_t n = image_pixels(image) * image->channels;
    for (int64_t i = 0; i < n; i++) narrow.bytes[i] = (uint8_t)((in[i] * 255u + 32767u) / 65535u);
    image_free(image);
    *image = narrow;
    return 0;
}

int image_to_rgb(Image *image) {
    if (image->channels == 3) return 0;
    Image wide;
    int error = image_make(&wide, image->width, image->height, 3, image->bits);
    if (error) return error;
    int64_t n = image_pixels(image);
    if (image->bits == 8) {
        for (int64_t i = 0; i < n; i++)
            wide.bytes[3 * i] = wide.bytes[3 * i + 1] = wide.bytes[3 * i + 2] = image->bytes[i];
    } else {
        uint16_t *out = image_16(&wide);
        const uint16_t *in = image_16(image);
        for (int64_t i = 0; i < n; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
    }
    image_free(image);
    *image = wide;
    return 0;
}

void image_mirror(Image *image) {
    size_t pixel = (size_t)image->channels * (size_t)(image->bits / 8);
    uint8_t swap[6];
    for (int y = 0; y < image->height; y++) {
        uint8_t *a = image->bytes + (size_t)y * (size_t)image->width * pixel,
                *b = a + (size_t)(image->width - 1) * pixel;
        for (; a < b; a += pixel, b -= pixel) {
            memcpy(swap, a, pixel);
            memcpy(a, b, pixel);
            memcpy(b, swap, pixel);
        }
    }
}

/* One axis of a separable resize: output i is the sum of weight[k] * input[first + k]. Weights are in 1/65536 and add
 * up to exactly that, so flat areas stay flat to the bit. */
typedef struct {
    int *first, *count;
    uint32_t *weight; /* `most` for each output */
    int most;
} Axis;

static void axis_free(Axis *axis) {
    mem_free(axis->first);
    mem_free(axis->count);
    mem_free(axis->weight);
    *axis = (Axis){0}; /* a failed axis_make has freed it already */
}

static int axis_make(Axis *axis, int from, int to) {
    int most = to < from ? from / to + 2 : 2;
    *axis = (Axis){.most = most};
    axis->first = mem_array((size_t)to, sizeof(int));
    axis->count = mem_array((size_t)to, sizeof(int));
    axis->weight = mem_array((size_t)to * (size_t)most, sizeof(uint32_t));
    if (!axis->first || !axis->count || !axis->weight) {
        axis_free(axis);
        return (int)err_code();
    }
    for (int i = 0; i < to; i++) {
        uint32_t *weight = axis->weight + (size_t)i * (size_t)most;
        if (to <
            from) { /* area: the part of every input pixel under [i, i+1) * from/to, in units of 1/to input pixels */
            int64_t begin = (int64_t)i * from, end = begin + from;
            int first = (int)(begin / to), last = (int)((end - 1) / to), n = last - first + 1;
            int64_t given = 0;
            for (int k = 0; k < n; k++) {
                int64_t low = (int64_t)(first + k) * to, high = low + to;
                if (low < begin) low = begin;
                if (high > end) high = end;
                /* cumulative rounding keeps the sum exact */
                int64_t upto = ((high - begin) * 65536 + from / 2) / from;
                weight[k] = (uint32_t)(upto - given);
                given = upto;
            }
            axis->first[i] = first;
            axis->count[i] = n;
        } else { /* bilinear with pixel centres at +0.5, as OpenCV and PyTorch (align_corners false) do */
            int64_t at2 = (int64_t)(2 * i + 1) * from - to; /* twice the position, in 1/to pixels */
            if (at2 < 0) at2 = 0;
            int first = (int)(at2 / (2 * (int64_t)to));
            int64_t rest = at2 - (int64_t)first * 2 * to;
            uint32_t second = (uint32_t)((rest * 65536 + to) / (2 * (int64_t)to));
            if (first >= from - 1) {
                first = from - 1;
                second = 0;
            }
            weight[0] = 65536 - second;
            weight[1] = second;
            axis->first[i] = first;
            axis->count[i] = second ? 2 : 1;
        }
    }
    return 0;
}

int image_resize(Image *to, const Image *from, int width, int height) {
    memset(to, 0, sizeof *to);
    if (width == from->width && height == from->height) return image_copy(to, from);
    Axis across = {0}, down = {0};
    int error = image_make(to, width, height, from->channels, from->bits);
    if (!error) error = axis_make(&across, from->width, width);
    if (!error) error = axis_make(&down, from->height, height);
    int channels = from->channels;
    size_t row = (size_t)width * (size_t)channels;
    /* Rows are first resized across into 16 bits of fraction over the sample, then added down in 64 bits. */
    uint64_t *sum = error ? NULL : mem_array(row, sizeof(uint64_t));
    if (!error && !sum) error = (int)err_code();
    for (int y = 0; !error && y < height; y++) {
        memset(sum, 0, row * sizeof *sum);
        for (int k = 0; k < down.count[y]; k++) {
            uint64_t share = down.weight[(size_t)y * (size_t)down.most + (size_t)k];
            size_t start = (size_t)(down.first[y] + k) * (size_t)from->width * (size_t)channels;
            for (int x = 0; x < width; x++) {
                const uint32_t *weight = across.weight + (size_t)x * (size_t)across.most;
                for (int c = 0; c < channels; c++) {
                    size_t at = start + (size_t)across.first[x] * (size_t)channels + (size_t)c;
                    uint64_t part = 0;
                    if (from->bits == 8) {
                        for (int j = 0; j < across.count[x]; j++)
                            part += (uint64_t)weight[j] * from->bytes[at + (size_t)(j * channels)];
                    } else {
                        const uint16_t *in = image_16(from);
                        for (int j = 0; j < across.count[x]; j++)
                            part += (uint64_t)weight[j] * in[at + (size_t)(j * channels)];
                    }
                    sum[(size_t)x * (size_t)channels + (size_t)c] += part * share;
                }
            }
        }
        for (size_t i = 0; i < row; i++) {
            uint64_t value = (sum[i] + ((uint64_t)1 << 31)) >> 32;
            if (from->bits == 8)
                to->bytes[(size_t)y * row + i] = (uint8_t)value;
            else
                image_16(to)[(size_t)y * row + i] = (uint16_t)value;
        }
    }
    mem_free(sum);
    axis_free(&across);
    axis_free(&down);
    if (error) image_free(to);
    return error;
}

/* ------------------------------------------------------------------------------------------------------- maps */

const char *map_kind_name(MapKind kind) {
    static const char *const names[] = {"disparity", "parallax", "confidence", "occlusion", "mask", "other"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "other";
}

int map_make(Map *map, int width, int height, MapKind kind) {
    memset(map, 0, sizeof *map);
    int error = check_size(width, height);
    if (error) return error;
    float *values = mem_array((size_t)width * (size_t)height, sizeof(float));
    if (!values) return (int)err_code();
    *map = (Map){.width = width, .height = height, .values = values, .kind = kind};
    return 0;
}

void map_free(Map *map) {
    mem_free(map->values);
    memset(map, 0, sizeof *map);
}

int map_copy(Map *to, const Map *from) {
    int error = map_make(to, from->width, from->height, from->kind);
    if (error) return error;
    to->reference_right = from->reference_right;
    memcpy(to->values, from->values, (size_t)from->width * (size_t)from->height * sizeof(float));
    return 0;
}

void map_mirror(Map *map) {
    for (int y = 0; y < map->height; y++) {
        float *a = map->values + (size_t)y * (size_t)map->width, *b = a + map->width - 1;
        for (; a < b; a++, b--) {
            float swap = *a;
            *a = *b;
            *b = swap;
        }
    }
}

void map_set_quantity(Map *map, MapKind kind) {
    BUG_IF(kind != MAP_DISPARITY && kind != MAP_PARALLAX, "map_set_quantity to %s", map_kind_name(kind));
    BUG_IF(map->kind != MAP_DISPARITY && map->kind != MAP_PARALLAX, "map_set_quantity of %s", map_kind_name(map->kind));
    if (map->kind == kind) return;
    size_t n = (size_t)map->width * (size_t)map->height;
    for (size_t i = 0; i < n; i++) map->values[i] = 0 - map->values[i]; /* not -v: zero shall stay +0 in files */
    map->kind = kind;
}

void stereo_maps_free(StereoMaps *maps) {
    map_free(&maps->disparity);
    map_free(&maps->confidence);
    map_free(&maps->occlusion);
}
