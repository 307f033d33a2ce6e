#include "base/half.h"
#include "base/mem.h"
#include "data/map.h"
#include "data/png.h"
#include "data/pnm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool host_is_little(void) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
}

static bool is_geometry(MapKind kind) {
    return kind == MAP_DISPARITY || kind == MAP_PARALLAX;
}

static int check_sides(const char *format, int64_t width, int64_t height) {
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "%s: %lld x %lld pixels; sides must be 1 to %d", format, (long long)width,
                    (long long)height, IMAGE_SIDE_MAX);
    if (width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "%s: %lld x %lld pixels; at most %lld in all are read", format, (long long)width,
                    (long long)height, (long long)IMAGE_PIXELS_MAX);
    return 0;
}

/* Values that are not finite become NaN, "no value"; returns how many. */
static int64_t clear_nonfinite(Map *map, float beyond) {
    int64_t n = (int64_t)map->width * map->height, missing = 0;
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(map->values[i]) < beyond)) { /* false for NaN too */
            map->values[i] = NAN;
            missing++;
        }
    return missing;
}

static void note_missing(ReadNotes *notes, const Map *map, int64_t missing) {
    if (missing)
        read_note(notes, "%lld of %lld pixels have no value", (long long)missing, (long long)map->width * map->height);
}

/* Decides what the numbers are: what the file says (stated, NULL if nothing) against what the caller says. */
static int settle_kind(const MapReadOptions *options, const char *stated, MapKind *kind, ReadNotes *notes) {
    *kind = options->kind_given ? options->kind : MAP_DISPARITY;
    if (!stated) {
        if (!options->kind_given)
            read_note(notes, "the file does not say what it holds; taken as disparity, positive in front");
        return 0;
    }
    for (int k = MAP_DISPARITY; k <= MAP_OTHER; k++) {
        if (strcmp(stated, map_kind_name((MapKind)k)) != 0) continue;
        if (options->kind_given && options->kind != (MapKind)k)
            return fail(ERR_INPUT, "says that it holds %s, not %s", stated, map_kind_name(options->kind));
        *kind = (MapKind)k;
        return 0;
    }
    char shown[100];
    return fail(ERR_INPUT, "says that it holds '%s', which is not known here",
                err_printable(shown, sizeof shown, stated));
}

static int whole_number(const char *word, int64_t *out) {
    char shown[80];
    size_t digits = strspn(word, "0123456789");
    if (word[digits] != 0 || digits == 0 || digits > 9)
        return fail(ERR_INPUT, "PFM: a side is '%s', not a whole number in range",
                    err_printable(shown, sizeof shown, word));
    *out = atoi(word);
    return 0;
}

static int read_pfm(const uint8_t *bytes, size_t size, const MapReadOptions *options, Map *map, ReadNotes *notes) {
    TextHeader header = {bytes, size, 2};
    char words[3][32], shown[80];
    int64_t width = 0, height = 0;
    if (bytes[1] != 'f')
        return fail(ERR_INPUT, "PFM: 'PF' holds three colours; a map of one number a pixel ('Pf') is needed");
    for (int i = 0; i < 3; i++)
        if (!header_word(&header, words[i], sizeof words[i]))
            return fail(ERR_INPUT, "PFM: the header ends or has a word too long at byte %zu", header.at);
    int error = whole_number(words[0], &width);
    if (!error) error = whole_number(words[1], &height);
    if (!error) error = check_sides("PFM", width, height);
    if (error) return error;
    char *end;
    double scale = strtod(words[2], &end);
    if (*end || strspn(words[2], "+-0123456789.eE") != strlen(words[2]) || !isfinite(scale) || scale == 0)
        return fail(ERR_INPUT, "PFM: the scale is '%s'; it must be a number, not 0 (negative: little-endian)",
                    err_printable(shown, sizeof shown, words[2]));
    if (header.at >= size) return fail(ERR_INPUT, "PFM: the file ends after its header");
    header.at++;
    size_t row = (size_t)width * 4, need = row * (size_t)height, there = size - header.at;
    if (there < need)
        return fail(ERR_INPUT, "PFM: the numbers end in row %zu of %lld (from below): %zu bytes of %zu are missing",
                    there / row, (long long)height, need - there, need);
    if (there > need)
        return fail(ERR_INPUT, "PFM: %zu bytes after the last number; the size in the header is wrong", there - need);
    MapKind kind;
    error = settle_kind(options, strcmp(words[2], "-1e0") == 0 || strcmp(words[2], "1e0") == 0 ? "parallax" : NULL,
                        &kind, notes);
    if (!error) error = map_make(map, (int)width, (int)height, kind);
    if (error) return error;
    if (fabs(scale) != 1)
        read_note(notes, "the PFM's scale %s is not applied (as Middlebury's own programs)", words[2]);
    bool swap = (scale < 0) != host_is_little();
    for (int64_t y = 0; y < height; y++) {
        float *out = map->values + (height - 1 - y) * width;
        memcpy(out, bytes + header.at + (size_t)y * row, row);
        for (int64_t x = 0; swap && x < width; x++) out[x] = bits_f32(__builtin_bswap32(f32_bits(out[x])));
    }
    note_missing(notes, map, clear_nonfinite(map, INFINITY));
    return 0;
}

/* Grey from a picture whose colours are all grey. */
static int need_grey(Image *image, ReadNotes *notes) {
    if (image->channels == 1) return 0;
    Image grey;
    int64_t n = image_pixels(image);
    for (int64_t i = 0; i < n; i++) {
        bool same = image->bits == 8 ? image->bytes[3 * i] == image->bytes[3 * i + 1] &&
                                           image->bytes[3 * i] == image->bytes[3 * i + 2]
                                     : image_16(image)[3 * i] == image_16(image)[3 * i + 1] &&
                                           image_16(image)[3 * i] == image_16(image)[3 * i + 2];
        if (!same)
            return fail(ERR_INPUT, "is a colour picture, not a map: pixel %lld, %lld has unequal channels",
                        (long long)(i % image->width), (long long)(i / image->width));
    }
    int error = image_make(&grey, image->width, image->height, 1, image->bits);
    if (error) return error;
    for (int64_t i = 0; i < n; i++)
        if (image->bits == 8)
            grey.bytes[i] = image->bytes[3 * i];
        else
            image_16(&grey)[i] = image_16(image)[3 * i];
    image_free(image);
    *image = grey;
    read_note(notes, "an RGB file with equal channels is taken as grey");
    return 0;
}

static int from_integers(const Image *image, const MapReadOptions *options, const char *stated, bool d16, Map *map,
                         ReadNotes *notes) {
    MapKind kind;
    int error = settle_kind(options, stated, &kind, notes);
    if (error) return error;
    double scale = d16 ? D16_STEPS : options->scale;
    bool geometry = is_geometry(kind);
    if (geometry && !(scale > 0 && isfinite(scale)))
        return fail(
            ERR_USAGE,
            "whole numbers of %d bits and no word about their scale: say how many steps make a pixel (--scale or "
            "--truth-scale: 256 for KITTI, 4 for Middlebury 2003, 16 for Tsukuba)",
            image->bits);
    error = map_make(map, image->width, image->height, kind);
    if (error) return error;
    int64_t n = image_pixels(image), missing = 0;
    for (int64_t i = 0; i < n; i++) {
        unsigned value = image->bits == 8 ? image->bytes[i] : image_16(image)[i];
        if (!geometry)
            map->values[i] = (float)(options->scale > 0 ? value / options->scale : value);
        else if (value == 0) {
            map->values[i] = NAN;
            missing++;
        } else
            map->values[i] = (float)(d16 ? ((double)value - D16_ZERO) / scale : value / scale);
    }
    note_missing(notes, map, missing);
    return 0;
}

static int read_integers(const uint8_t *bytes, size_t size, ContentKind content, const MapReadOptions *options,
                         Map *map, ReadNotes *notes) {
    /* Masks of 1 to 4 bits are widened to 0..255 as for pictures; numbers stay what they are. */
    ReadOptions raw = {.as_stored = !options->kind_given || is_geometry(options->kind)};
    Image image;
    PngInfo *info = mem_zero(1, sizeof *info);
    if (!info) return (int)err_code();
    int error = content == CONTENT_PNG ? png_decode(bytes, size, &raw, &image, info, notes)
                                       : pnm_decode(bytes, size, &raw, &image, notes);
    if (error) {
        mem_free(info);
        return error;
    }
    const char *encoding = png_find_text(info, "panum:encoding"), *stated = png_find_text(info, "panum:kind");
    bool d16 = encoding && strcmp(encoding, "d16") == 0;
    if (encoding && !d16) error = fail(ERR_INPUT, "its text says an encoding that is not known here");
    if (!error && d16 && (image.bits != 16 || image.channels != 1))
        error =
            fail(ERR_INPUT, "its text says signed 16-bit disparity, but it has %d x %d bits a pixel; was it converted?",
                 image.channels, image.bits);
    if (!error) error = need_grey(&image, notes);
    if (!error) error = from_integers(&image, options, d16 ? stated : NULL, d16, map, notes);
    const char *reference = png_find_text(info, "panum:reference");
    if (!error && d16 && reference && strcmp(reference, "right") == 0) map->reference_right = true;
    if (!error && notes) notes->format = d16 ? "d16 PNG" : content == CONTENT_PNG ? "PNG" : "PNM";
    image_free(&image);
    mem_free(info);
    return error;
}

static int read_flo(const uint8_t *bytes, size_t size, Map *u, Map *v, ReadNotes *notes) {
    if (size < 12) return fail(ERR_INPUT, ".flo: the header of 12 bytes is cut short (%zu bytes)", size);
    uint32_t w = bytes[4] | (uint32_t)bytes[5] << 8 | (uint32_t)bytes[6] << 16 | (uint32_t)bytes[7] << 24;
    uint32_t h = bytes[8] | (uint32_t)bytes[9] << 8 | (uint32_t)bytes[10] << 16 | (uint32_t)bytes[11] << 24;
    int error = check_sides(".flo", (int64_t)(int32_t)w, (int64_t)(int32_t)h);
    if (error) return error;
    uint64_t need = (uint64_t)w * h * 8;
    if (size - 12 != need)
        return fail(ERR_INPUT, ".flo: %u x %u pixels need %llu bytes after the header, the file has %zu", w, h,
                    (unsigned long long)need, size - 12);
    error = map_make(u, (int)w, (int)h, MAP_PARALLAX);
    if (!error) error = map_make(v, (int)w, (int)h, MAP_OTHER);
    if (error) return error;
    for (size_t i = 0; i < (size_t)w * h; i++) {
        uint32_t pair[2];
        memcpy(pair, bytes + 12 + 8 * i, 8);
        for (int c = 0; c < 2; c++)
            if (!host_is_little()) pair[c] = __builtin_bswap32(pair[c]);
        u->values[i] = bits_f32(pair[0]);
        v->values[i] = bits_f32(pair[1]);
        /* Middlebury: a component above 1e9 says "unknown" for the pixel. */
        if (!(fabsf(u->values[i]) < 1e9f) || !(fabsf(v->values[i]) < 1e9f)) u->values[i] = v->values[i] = NAN;
    }
    note_missing(notes, u, clear_nonfinite(u, INFINITY));
    return 0;
}

static int read_kitti_flow(const uint8_t *bytes, size_t size, Map *u, Map *v, ReadNotes *notes) {
    Image image;
    int error = png_decode(bytes, size, NULL, &image, NULL, notes);
    if (error) return error;
    if (image.bits != 16 || image.channels != 3)
        error = fail(ERR_INPUT, "is not flow: KITTI's flow PNG has 3 x 16 bits a pixel, this has %d x %d",
                     image.channels, image.bits);
    if (!error) error = map_make(u, image.width, image.height, MAP_PARALLAX);
    if (!error) error = map_make(v, image.width, image.height, MAP_OTHER);
    for (int64_t i = 0; !error && i < image_pixels(&image); i++) {
        const uint16_t *p = image_16(&image) + 3 * i;
        u->values[i] = p[2] ? (float)((p[0] - 32768) / 64.0) : NAN;
        v->values[i] = p[2] ? (float)((p[1] - 32768) / 64.0) : NAN;
    }
    image_free(&image);
    return error;
}

int flow_read_memory(const char *name, const uint8_t *bytes, size_t size, Map *u, Map *v, ReadNotes *notes) {
    char shown[300];
    memset(u, 0, sizeof *u);
    memset(v, 0, sizeof *v);
    ContentKind content = content_kind(bytes, size);
    int error = content == CONTENT_FLO   ? read_flo(bytes, size, u, v, notes)
                : content == CONTENT_PNG ? read_kitti_flow(bytes, size, u, v, notes)
                                         : fail_unknown_content(bytes, size, "optical flow");
    if (!error) return 0;
    map_free(u);
    map_free(v);
    return fail_prefix("%s", err_printable(shown, sizeof shown, name));
}

static int flow_as_parallax(const uint8_t *bytes, size_t size, const MapReadOptions *options, Map *map,
                            ReadNotes *notes) {
    Map vertical = {0};
    int error = read_flo(bytes, size, map, &vertical, notes);
    map_free(&vertical);
    if (error) return error;
    read_note(notes, "the horizontal part of the flow is taken as parallax (x_right - x_left)");
    if (!options->kind_given || options->kind == MAP_PARALLAX) return 0;
    if (options->kind != MAP_DISPARITY)
        return fail(ERR_INPUT, "holds optical flow, not %s", map_kind_name(options->kind));
    map_set_quantity(map, MAP_DISPARITY);
    return 0;
}

int map_read_memory(const char *name, const uint8_t *bytes, size_t size, const MapReadOptions *options, Map *map,
                    ReadNotes *notes) {
    static const MapReadOptions nothing_said;
    char shown[300];
    int error;
    if (!options) options = &nothing_said;
    memset(map, 0, sizeof *map);
    ContentKind content = content_kind(bytes, size);
    switch (content) {
    case CONTENT_PFM:
        if (notes) notes->format = "PFM";
        error = read_pfm(bytes, size, options, map, notes);
        break;
    case CONTENT_FLO:
        if (notes) notes->format = ".flo";
        error = flow_as_parallax(bytes, size, options, map, notes);
        break;
    case CONTENT_PNG:
    case CONTENT_PNM:
        error = read_integers(bytes, size, content, options, map, notes);
        break;
    default:
        error = fail_unknown_content(bytes, size, "a map");
    }
    if (!error) return 0;
    map_free(map);
    return fail_prefix("%s", err_printable(shown, sizeof shown, name));
}

int map_read(const char *path, const MapReadOptions *options, Map *map, ReadNotes *notes) {
    uint8_t *bytes;
    size_t size;
    memset(map, 0, sizeof *map);
    int error = file_read(path, IMAGE_FILE_MAX, &bytes, &size);
    if (error) return error;
    error = map_read_memory(path, bytes, size, options, map, notes);
    mem_free(bytes);
    return error;
}

int flow_read(const char *path, Map *u, Map *v, ReadNotes *notes) {
    uint8_t *bytes;
    size_t size;
    memset(u, 0, sizeof *u);
    memset(v, 0, sizeof *v);
    int error = file_read(path, IMAGE_FILE_MAX, &bytes, &size);
    if (error) return error;
    error = flow_read_memory(path, bytes, size, u, v, notes);
    mem_free(bytes);
    return error;
}
