#include "base/half.h"
#include "base/mem.h"
#include "base/stb.h"
#include "data/map.h"
#include "data/png.h"
#include "data/pnm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_le32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

int map_write_pfm(Out *out, const Map *map, MapWritten *written) {
    MapWritten count = {0};
    int error = out_print(out, "Pf\n%d %d\n%s\n", map->width, map->height, map->kind == MAP_PARALLAX ? "-1e0" : "-1.0");
    for (int y = map->height - 1; !error && y >= 0; y--)
        for (int x = 0; !error && x < map->width; x++) {
            float value = map->values[(size_t)y * (size_t)map->width + (size_t)x];
            uint8_t four[4];
            if (!isfinite(value)) {
                count.missing++;
                value = INFINITY;
            }
            put_le32(four, f32_bits(value));
            error = out_write(out, four, 4);
        }
    if (written) *written = count;
    return error;
}

static void set_text(PngText *text, const char *key, const char *value) {
    snprintf(text->key, sizeof text->key, "%s", key);
    snprintf(text->value, sizeof text->value, "%s", value);
}

static int add_meta(PngText *texts, int count, const FileMeta *meta) {
    if (meta && meta->version) set_text(&texts[count++], "Software", meta->version);
    if (meta && meta->command) set_text(&texts[count++], "panum:command", meta->command);
    return count;
}

int map_write_d16(Out *out, const Map *map, const FileMeta *meta, MapWritten *written) {
    if (map->kind != MAP_DISPARITY && map->kind != MAP_PARALLAX)
        return fail(ERR_USAGE, "signed 16-bit PNG holds disparity or parallax, not %s", map_kind_name(map->kind));
    MapWritten count = {0};
    Image image;
    int error = image_make(&image, map->width, map->height, 1, 16);
    if (error) return error;
    int64_t n = image_pixels(&image);
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = (double)map->values[i];
        if (!isfinite(value)) {
            count.missing++;
            image_16(&image)[i] = 0;
            continue;
        }
        if (fabs(value) > D16_RANGE) {
            count.clipped++;
            if (fabs(value) > fabs(largest)) largest = value;
            value = value < 0 ? -D16_RANGE : D16_RANGE;
        }
        image_16(&image)[i] = (uint16_t)(D16_ZERO + lrint(value * D16_STEPS));
    }
    if (written) *written = count;
    if (count.clipped * 100 > n)
        error =
            fail(ERR_INPUT,
                 "%lld of %lld pixels lie beyond the +-%d pixels of signed 16-bit PNG (up to %.1f); write .pfm instead",
                 (long long)count.clipped, (long long)n, D16_RANGE, largest);
    PngText *texts = error ? NULL : mem_zero(8, sizeof *texts);
    if (!error && !texts) error = (int)err_code();
    if (!error) {
        set_text(&texts[0], "panum:encoding", "d16");
        set_text(&texts[1], "panum:kind", map_kind_name(map->kind));
        set_text(&texts[2], "panum:unit", "pixel");
        set_text(&texts[3], "panum:scale", "stored = 32768 + 64 * value; 0 = no value");
        set_text(&texts[4], "panum:reference", map->reference_right ? "right" : "left");
        error = png_write(out, &image, texts, add_meta(texts, 5, meta));
    }
    mem_free(texts);
    image_free(&image);
    return error;
}

int flow_write(Out *out, const Map *u, const Map *v) {
    uint8_t eight[8];
    int error = out_write(out, "PIEH", 4);
    put_le32(eight, (uint32_t)u->width);
    put_le32(eight + 4, (uint32_t)u->height);
    if (!error) error = out_write(out, eight, 8);
    size_t n = (size_t)u->width * (size_t)u->height;
    for (size_t i = 0; !error && i < n; i++) {
        bool known = isfinite(u->values[i]) && isfinite(v->values[i]);
        put_le32(eight, f32_bits(known ? u->values[i] : 1e10f));
        put_le32(eight + 4, f32_bits(known ? v->values[i] : 1e10f));
        error = out_write(out, eight, 8);
    }
    return error;
}

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path), m = strlen(end);
    if (n < m) return false;
    for (size_t i = 0; i < m; i++) {
        char c = path[n - m + i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != end[i]) return false;
    }
    return true;
}

int map_write(const char *path, OutMode mode, const Map *map, const FileMeta *meta, MapWritten *written) {
    char shown[300];
    bool pfm = ends_with(path, ".pfm"), d16 = ends_with(path, ".d16.png");
    if (!pfm && !d16)
        return fail(ERR_USAGE, "%s: maps are written as .pfm or .d16.png", err_printable(shown, sizeof shown, path));
    Out *out;
    int error = out_open(path, mode, &out);
    if (error) return error;
    error = pfm ? map_write_pfm(out, map, written) : map_write_d16(out, map, meta, written);
    if (!error) return out_commit(&out);
    out_abort(&out);
    return error;
}

typedef struct {
    Out *out;
    int error;
} JpegSink;

static void take_jpeg(void *context, void *data, int size) {
    JpegSink *sink = context;
    if (!sink->error) sink->error = out_write(sink->out, data, (size_t)size);
}

int jpeg_write(Out *out, const Image *image, int quality) {
    Image narrow;
    int error = image_copy(&narrow, image);
    if (!error) error = image_to_8bit(&narrow);
    JpegSink sink = {.out = out};
    if (!error &&
        !stbi_write_jpg_to_func(take_jpeg, &sink, narrow.width, narrow.height, narrow.channels, narrow.bytes, quality))
        error = fail(ERR_FAILED, "the JPEG encoder refused a picture of %d x %d", narrow.width, narrow.height);
    image_free(&narrow);
    return error ? error : sink.error;
}

int image_write(const char *path, OutMode mode, const Image *image, const char *kind, const FileMeta *meta) {
    char shown[300];
    bool png = ends_with(path, ".png"), jpeg = ends_with(path, ".jpg") || ends_with(path, ".jpeg");
    bool pnm = ends_with(path, ".ppm") || ends_with(path, ".pgm") || ends_with(path, ".pnm");
    if (!png && !jpeg && !pnm)
        return fail(ERR_USAGE, "%s: pictures are written as .png, .jpg, .ppm or .pgm",
                    err_printable(shown, sizeof shown, path));
    Out *out;
    int error = out_open(path, mode, &out);
    if (error) return error;
    if (png) {
        PngText *texts = mem_zero(3, sizeof *texts);
        if (texts) {
            int count = 0;
            if (kind) set_text(&texts[count++], "panum:kind", kind);
            error = png_write(out, image, texts, add_meta(texts, count, meta));
        } else
            error = (int)err_code();
        mem_free(texts);
    } else
        error = jpeg ? jpeg_write(out, image, JPEG_QUALITY) : pnm_write(out, image);
    if (!error) return out_commit(&out);
    out_abort(&out);
    return error;
}
