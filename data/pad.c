#include "data/pad.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

Padding padding_of(int width, int height, int factor) {
    Padding p = {(width + factor - 1) / factor * factor, (height + factor - 1) / factor * factor, 0, 0};
    p.left = (p.width - width) / 2;
    p.top = (p.height - height) / 2;
    return p;
}

/* Cells of PyTorch's adaptive average pooling: cell i of n covers floor(i*size/n) .. ceil((i+1)*size/n) - 1. */
static void average_cells(const float *canvas, int width, int height, float *cells, int columns, int rows) {
    for (int r = 0; r < rows; r++) {
        int y0 = (int)((int64_t)r * height / rows), y1 = (int)(((int64_t)(r + 1) * height + rows - 1) / rows);
        for (int c = 0; c < columns; c++) {
            int x0 = (int)((int64_t)c * width / columns),
                x1 = (int)(((int64_t)(c + 1) * width + columns - 1) / columns);
            double sum[3] = {0};
            for (int y = y0; y < y1; y++)
                for (int x = x0; x < x1; x++)
                    for (int k = 0; k < 3; k++)
                        sum[k] += canvas[((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)k];
            for (int k = 0; k < 3; k++)
                cells[((size_t)r * (size_t)columns + (size_t)c) * 3 + (size_t)k] =
                    (float)(sum[k] / ((double)(y1 - y0) * (x1 - x0)));
        }
    }
}

/* Where output `i` of `size` reads among n samples: two neighbours and the weight of the second. Half-pixel centres. */
static void bilinear_place(int i, int size, int n, int *first, int *second, float *weight) {
    float at = ((float)i + 0.5f) * ((float)n / (float)size) - 0.5f;
    if (at < 0) at = 0;
    *first = (int)at;
    if (*first > n - 1) *first = n - 1;
    *second = *first + 1 < n ? *first + 1 : n - 1;
    *weight = at - (float)*first;
}

static void enlarge_cells(const float *cells, int columns, int rows, float *canvas, int width, int height) {
    for (int y = 0; y < height; y++) {
        int r0, r1;
        float v;
        bilinear_place(y, height, rows, &r0, &r1, &v);
        for (int x = 0; x < width; x++) {
            int c0, c1;
            float u;
            bilinear_place(x, width, columns, &c0, &c1, &u);
            for (size_t k = 0; k < 3; k++) {
                float a = cells[((size_t)r0 * (size_t)columns + (size_t)c0) * 3 + k],
                      b = cells[((size_t)r0 * (size_t)columns + (size_t)c1) * 3 + k];
                float c = cells[((size_t)r1 * (size_t)columns + (size_t)c0) * 3 + k],
                      d = cells[((size_t)r1 * (size_t)columns + (size_t)c1) * 3 + k];
                canvas[((size_t)y * (size_t)width + (size_t)x) * 3 + k] =
                    (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d);
            }
        }
    }
}

static int clamp(int v, int high) {
    return v < 0 ? 0 : v > high ? high : v;
}

/* The picture into the middle of the canvas; `grow_x` and `grow_y` repeat its edges to the canvas's border. */
static void place(const Image *image, Padding p, bool grow_x, bool grow_y, float *out) {
    for (int y = 0; y < p.height; y++) {
        int from_y = y - p.top;
        if (!grow_y && (from_y < 0 || from_y >= image->height)) continue;
        from_y = clamp(from_y, image->height - 1);
        for (int x = 0; x < p.width; x++) {
            int from_x = x - p.left;
            if (!grow_x && (from_x < 0 || from_x >= image->width)) continue;
            from_x = clamp(from_x, image->width - 1);
            const uint8_t *s =
                image->bytes + ((size_t)from_y * (size_t)image->width + (size_t)from_x) * (size_t)image->channels;
            float *to = out + ((size_t)y * (size_t)p.width + (size_t)x) * 3;
            for (int k = 0; k < 3; k++) to[k] = s[image->channels == 3 ? k : 0];
        }
    }
}

int pad_picture(const Image *image, Padding p, int factor, float *out) {
    size_t values = (size_t)p.width * (size_t)p.height * 3;
    bool grow_x = image->width < factor, grow_y = image->height < factor;
    memset(out, 0, values * sizeof *out);
    place(image, p, grow_x, grow_y, out);
    bool blur = (!grow_x && p.width != image->width) || (!grow_y && p.height != image->height);
    if (!blur) return 0;
    int columns = grow_x ? 1 : image->width / factor, rows = grow_y ? 1 : image->height / factor;
    float *cells = mem_array((size_t)columns * (size_t)rows * 3, sizeof *cells);
    if (!cells) return ERR_MEMORY;
    average_cells(out, p.width, p.height, cells, columns, rows);
    enlarge_cells(cells, columns, rows, out, p.width, p.height);
    place(image, p, grow_x, grow_y, out);
    mem_free(cells);
    return 0;
}

void unpad_plane(const float *plane, Padding p, int scale, Map *map) {
    for (int y = 0; y < map->height; y++)
        memcpy(map->values + (size_t)y * (size_t)map->width,
               plane + (size_t)(y + p.top * scale) * (size_t)(p.width * scale) + (size_t)(p.left * scale),
               (size_t)map->width * sizeof *map->values);
}
