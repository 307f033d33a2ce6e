#include "data/png.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    PNG_CHUNKS_MAX = 1 << 20, /* zero-length IDATs are legal and useless; a million of them are 12 MB of nothing */
    DEFLATE_RATIO = 1032,     /* no deflate stream unpacks to more than this times its size */
};

static const uint8_t SIGNATURE[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool png_is(const uint8_t *bytes, size_t size) {
    return size >= 8 && memcmp(bytes, SIGNATURE, 8) == 0;
}

bool png_is_damaged(const uint8_t *bytes, size_t size) {
    if (png_is(bytes, size) || size < 16) return false;
    for (size_t at = 8; at <= 20 && at + 4 <= size; at++)
        if (memcmp(bytes + at, "IHDR", 4) == 0) return true;
    return memcmp(bytes + 1, "PNG", 3) == 0;
}

int png_fail_signature(const uint8_t *bytes, size_t size) {
    char hex[32] = "";
    for (size_t i = 0; i < 8 && i < size; i++) snprintf(hex + 3 * i, sizeof hex - 3 * i, "%02x ", bytes[i]);
    if (hex[0]) hex[strlen(hex) - 1] = 0;
    /* Transfer as text turns CR LF into LF, LF into CR LF or CR, and may clear bit 7: the signature is made to show it.
     */
    bool ends_kept = size >= 8 && bytes[4] == '\r' && bytes[5] == '\n' && bytes[7] == '\n';
    bool text = size >= 8 && memcmp(bytes + 1, "PNG", 3) == 0 &&
                (bytes[0] == 0x09 || (bytes[0] == 0x89 && !ends_kept && (bytes[4] == '\r' || bytes[4] == '\n')));
    return fail(ERR_INPUT, "not PNG: bytes 0-7 are %s, not 89 50 4e 47 0d 0a 1a 0a%s", hex,
                text ? "; transferred as text? copy it again in binary mode" : "; the file is damaged");
}

/* ----------------------------------------------------------------------------------------- checking the chunks */

typedef struct {
    PngInfo info;
    const uint8_t *bytes;
    size_t size;
    size_t first_idat;
    size_t data_bytes; /* of all IDAT together */
    int idats;
    bool cut; /* the last IDAT is longer than the file */
    int palette_size;
    const uint8_t *palette;
} Png;

static int channels_of(int colour) {
    return colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
}

static size_t row_bytes(const PngInfo *info, int width) {
    return ((size_t)width * (size_t)channels_of(info->colour) * (size_t)info->depth + 7) / 8;
}

/* Adam7: first column, first row, step across, step down. */
static const uint8_t PASSES[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                     {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

static int pass_width(const PngInfo *info, int pass) {
    if (!info->interlaced) return info->width;
    return (info->width - PASSES[pass][0] + PASSES[pass][2] - 1) / PASSES[pass][2];
}

static int pass_height(const PngInfo *info, int pass) {
    if (!info->interlaced) return info->height;
    return (info->height - PASSES[pass][1] + PASSES[pass][3] - 1) / PASSES[pass][3];
}

/* Bytes of unpacked picture data: every row with its filter byte. */
static uint64_t raw_size(const PngInfo *info) {
    uint64_t total = 0;
    for (int pass = 0; pass < (info->interlaced ? 7 : 1); pass++) {
        int w = pass_width(info, pass), h = pass_height(info, pass);
        if (w > 0 && h > 0) total += (uint64_t)h * (1 + row_bytes(info, w));
    }
    return total;
}

static int read_header(Png *png, const uint8_t *data, uint32_t length) {
    PngInfo *info = &png->info;
    if (length != 13) return fail(ERR_INPUT, "PNG: IHDR has %u bytes instead of 13", length);
    uint32_t width = be32(data), height = be32(data + 4);
    int depth = data[8], colour = data[9];
    if (width == 0 || height == 0)
        return fail(ERR_INPUT, "PNG: IHDR says %u x %u pixels: there is no picture", width, height);
    if (width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "PNG: IHDR says %u x %u pixels; sides may be at most %d", width, height, IMAGE_SIDE_MAX);
    if ((int64_t)width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "PNG: IHDR says %u x %u pixels; at most %lld in all are read", width, height,
                    (long long)IMAGE_PIXELS_MAX);
    if (colour != 0 && colour != 2 && colour != 3 && colour != 4 && colour != 6)
        return fail(ERR_INPUT, "PNG: colour type %d in IHDR; it must be 0, 2, 3, 4 or 6", colour);
    bool legal = depth == 8 || (depth == 16 && colour != 3) ||
                 ((depth == 1 || depth == 2 || depth == 4) && (colour == 0 || colour == 3));
    if (!legal) return fail(ERR_INPUT, "PNG: bit depth %d in IHDR is not allowed with colour type %d", depth, colour);
    if (data[10] != 0) return fail(ERR_INPUT, "PNG: compression method %d in IHDR; only 0 exists", data[10]);
    if (data[11] != 0) return fail(ERR_INPUT, "PNG: filter method %d in IHDR; only 0 exists", data[11]);
    if (data[12] > 1) return fail(ERR_INPUT, "PNG: interlace method %d in IHDR; only 0 and 1 exist", data[12]);
    info->width = (int)width;
    info->height = (int)height;
    info->depth = depth;
    info->colour = colour;
    info->interlaced = data[12] == 1;
    return 0;
}

static void keep_text(PngInfo *info, const uint8_t *data, size_t length) {
    const uint8_t *nul = memchr(data, 0, length);
    if (!nul || info->texts == PNG_TEXTS_MAX) return;
    size_t key = (size_t)(nul - data), value = length - key - 1;
    if (key == 0 || key >= PNG_KEY_LENGTH || value >= PNG_TEXT_LENGTH) return;
    PngText *text = &info->text[info->texts++];
    memcpy(text->key, data, key);
    text->key[key] = 0;
    memcpy(text->value, nul + 1, value);
    text->value[value] = 0;
}

const char *png_find_text(const PngInfo *info, const char *key) {
    for (int i = 0; i < info->texts; i++)
        if (strcmp(info->text[i].key, key) == 0) return info->text[i].value;
    return NULL;
}

static int check_palette(Png *png, const uint8_t *data, uint32_t length) {
    const PngInfo *info = &png->info;
    if (info->colour == 0 || info->colour == 4) return fail(ERR_INPUT, "PNG: a palette in a grey picture");
    if (png->palette) return fail(ERR_INPUT, "PNG: two palettes");
    if (length == 0 || length % 3 != 0 || length > 768) return fail(ERR_INPUT, "PNG: a palette of %u bytes", length);
    if (info->colour == 3 && length / 3 > 1u << info->depth)
        return fail(ERR_INPUT, "PNG: a palette of %u colours for %d bits a pixel", length / 3, info->depth);
    png->palette = data;
    png->palette_size = (int)(length / 3);
    return 0;
}

static int check_transparency(Png *png, uint32_t length) {
    static const int expected[7] = {2, -1, 6, -1, -1, -1, -1};
    int colour = png->info.colour;
    if (colour == 3 && (!png->palette || length == 0 || length > (uint32_t)png->palette_size))
        return fail(ERR_INPUT, "PNG: tRNS has %u entries for a palette of %d", length, png->palette_size);
    if (colour != 3 && (int64_t)length != expected[colour])
        return fail(ERR_INPUT, "PNG: tRNS has %u bytes, which does not fit colour type %d", length, colour);
    return 0;
}

/* One walk over all chunks: order, lengths, checksums. */
static int check_chunks(Png *png, const ReadOptions *options, ReadNotes *notes) {
    size_t at = 8;
    int wrong_sums = 0;
    bool end = false, data_over = false;
    for (int n = 0; !end; n++) {
        size_t left = png->size - at;
        if (n == PNG_CHUNKS_MAX) return fail(ERR_INPUT, "PNG: more than %d chunks", PNG_CHUNKS_MAX);
        if (left < 8) {
            if (png->idats == 0)
                return fail(ERR_INPUT, "PNG: the file ends at byte %zu before any picture data (IDAT)", png->size);
            png->cut = true;
            break;
        }
        uint32_t length = be32(png->bytes + at);
        const uint8_t *type = png->bytes + at + 4, *data = type + 4;
        char name[24];
        err_printable(name, sizeof name,
                      (const char[5]){(char)type[0], (char)type[1], (char)type[2], (char)type[3], 0});
        for (int i = 0; i < 4; i++)
            if (!((type[i] >= 'A' && type[i] <= 'Z') || (type[i] >= 'a' && type[i] <= 'z')))
                return fail(ERR_INPUT, "PNG: at byte %zu a chunk should begin, its type %02x %02x %02x %02x is none",
                            at, type[0], type[1], type[2], type[3]);
        bool is_data = memcmp(type, "IDAT", 4) == 0;
        if (length > 0x7fffffff || length > left - 8 || left - 8 - length < 4) {
            if (n == 0 || !is_data || length > 0x7fffffff)
                return fail(ERR_INPUT, "PNG: chunk %s at byte %zu claims %u bytes, %zu are left; the file is truncated",
                            name, at, length, left - 8);
            if (png->idats == 0) png->first_idat = at;
            png->idats++;
            size_t there = left - 8 < length ? left - 8 : length;
            png->data_bytes += there;
            png->cut = true;
            break;
        }
        uint32_t told = be32(data + length), sum = crc32_update(0, type, length + 4);
        if (told != sum) {
            if (!options->ignore_crc)
                return fail(ERR_INPUT,
                            "PNG: the checksum of %s at byte %zu is wrong (%08x, should be %08x): the file is damaged; "
                            "--ignore-crc reads it all the same",
                            name, at, told, sum);
            if (wrong_sums++ == 0) read_note(notes, "the checksum of %s at byte %zu is wrong", name, at);
        }
        int error = 0;
        if (n == 0) {
            if (memcmp(type, "IHDR", 4) != 0)
                return fail(ERR_INPUT, "PNG: the first chunk is %s instead of IHDR", name);
            error = read_header(png, data, length);
        } else if (is_data) {
            if (data_over) return fail(ERR_INPUT, "PNG: IDAT at byte %zu does not follow the other IDATs", at);
            if (png->idats++ == 0) png->first_idat = at;
            png->data_bytes += length;
        } else {
            data_over = png->idats > 0;
            if (memcmp(type, "IEND", 4) == 0)
                end = true;
            else if (memcmp(type, "PLTE", 4) == 0) {
                if (data_over) return fail(ERR_INPUT, "PNG: the palette comes after the picture data");
                error = check_palette(png, data, length);
            } else if (memcmp(type, "tRNS", 4) == 0)
                error = check_transparency(png, length);
            else if (memcmp(type, "tEXt", 4) == 0)
                keep_text(&png->info, data, length);
            else if (memcmp(type, "acTL", 4) == 0)
                read_note(notes, "animated PNG: only its first picture is read");
            else if (memcmp(type, "IHDR", 4) == 0)
                error = fail(ERR_INPUT, "PNG: a second IHDR at byte %zu", at);
            else if (!(type[0] & 0x20))
                error = fail(ERR_INPUT, "PNG: chunk %s at byte %zu is needed to understand the picture, and not known",
                             name, at);
        }
        if (error) return error;
        at += 12 + (size_t)length;
    }
    if (png->idats == 0) return fail(ERR_INPUT, "PNG: there is no picture data (IDAT)");
    if (png->info.colour == 3 && !png->palette) return fail(ERR_INPUT, "PNG: a palette picture without palette (PLTE)");
    if (end && at < png->size) read_note(notes, "%zu bytes after the end of the PNG are ignored", png->size - at);
    if (wrong_sums > 1) read_note(notes, "%d checksums in all are wrong", wrong_sums);
    uint64_t raw = raw_size(&png->info);
    /* A cut file is reported with its row instead, and unpacks into no more than a row's memory. */
    if (!png->cut && raw > (uint64_t)png->data_bytes * DEFLATE_RATIO)
        return fail(
            ERR_INPUT,
            "PNG: %d x %d pixels need %llu bytes of picture data; the %zu bytes of IDAT cannot hold more than %llu",
            png->info.width, png->info.height, (unsigned long long)raw, png->data_bytes,
            (unsigned long long)png->data_bytes * DEFLATE_RATIO);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- the rows */

typedef struct {
    const Png *png;
    Image *image; /* bytes NULL: rows are only counted */
    bool as_stored;
    int pass, passes, row, width, height; /* of the pass */
    size_t row_size;                      /* without filter byte */
    uint8_t *row_now, *row_before;        /* filter byte, then samples */
    size_t have;
    uint64_t extra; /* bytes after the last row */
    bool done;
    char reason[100]; /* of a stop */
} Rows;

static void begin_pass(Rows *r) {
    const PngInfo *info = &r->png->info;
    r->row = 0;
    r->have = 0;
    for (;; r->pass++) {
        if (r->pass == r->passes) {
            r->done = true;
            return;
        }
        r->width = pass_width(info, r->pass);
        r->height = pass_height(info, r->pass);
        if (r->width > 0 && r->height > 0) break;
    }
    r->row_size = row_bytes(info, r->width);
    memset(r->row_before, 0, r->row_size + 1);
}

static bool unfilter(Rows *r) {
    uint8_t *now = r->row_now + 1;
    const uint8_t *up = r->row_before + 1;
    size_t n = r->row_size, pixel = (size_t)channels_of(r->png->info.colour) * (size_t)r->png->info.depth / 8;
    if (pixel == 0) pixel = 1;
    switch (r->row_now[0]) {
    case 0:
        return true;
    case 1:
        for (size_t i = pixel; i < n; i++) now[i] = (uint8_t)(now[i] + now[i - pixel]);
        return true;
    case 2:
        for (size_t i = 0; i < n; i++) now[i] = (uint8_t)(now[i] + up[i]);
        return true;
    case 3:
        for (size_t i = 0; i < n && i < pixel; i++) now[i] = (uint8_t)(now[i] + up[i] / 2);
        for (size_t i = pixel; i < n; i++) now[i] = (uint8_t)(now[i] + (now[i - pixel] + up[i]) / 2);
        return true;
    case 4:
        for (size_t i = 0; i < n && i < pixel; i++) now[i] = (uint8_t)(now[i] + up[i]);
        for (size_t i = pixel; i < n;
             i++) { /* Paeth: whichever of left, up, upper left is nearest to left + up - upper left */
            int a = now[i - pixel], b = up[i], c = up[i - pixel], pa = b - c, pb = a - c, pc = pa + pb;
            pa = pa < 0 ? -pa : pa;
            pb = pb < 0 ? -pb : pb;
            pc = pc < 0 ? -pc : pc;
            now[i] = (uint8_t)(now[i] + (pa <= pb && pa <= pc ? a : pb <= pc ? b : c));
        }
        return true;
    default:
        snprintf(r->reason, sizeof r->reason, "filter type %d", r->row_now[0]);
        return false;
    }
}

/* One row of a pass into the picture. */
static bool place_row(Rows *r) {
    const PngInfo *info = &r->png->info;
    const uint8_t *in = r->row_now + 1;
    Image *image = r->image;
    bool inter = info->interlaced;
    int x0 = inter ? PASSES[r->pass][0] : 0, dx = inter ? PASSES[r->pass][2] : 1;
    int y = inter ? PASSES[r->pass][1] + r->row * PASSES[r->pass][3] : r->row;
    int stored = channels_of(info->colour), kept = image->channels;
    size_t start = ((size_t)y * (size_t)image->width + (size_t)x0) * (size_t)kept;
    if (info->depth == 8 && info->colour != 3) {
        uint8_t *out = image->bytes + start;
        if (stored == kept && dx == 1)
            memcpy(out, in, (size_t)r->width * (size_t)kept);
        else
            for (int x = 0; x < r->width; x++, in += stored, out += dx * kept)
                for (int c = 0; c < kept; c++) out[c] = in[c];
    } else if (info->depth == 16) {
        uint16_t *out = image_16(image) + start;
        for (int x = 0; x < r->width; x++, in += 2 * stored, out += dx * kept)
            for (int c = 0; c < kept; c++) out[c] = (uint16_t)(in[2 * c] << 8 | in[2 * c + 1]);
    } else {
        int depth = info->depth, mask = (1 << depth) - 1, full = r->as_stored ? 1 : 255 / mask;
        uint8_t *out = image->bytes + start;
        for (int x = 0; x < r->width; x++, out += dx * kept) {
            int bit = x * depth, value = in[bit >> 3] >> (8 - depth - (bit & 7)) & mask;
            if (info->colour == 0) {
                *out = (uint8_t)(value * full);
            } else if (value >= r->png->palette_size) {
                snprintf(r->reason, sizeof r->reason, "colour %d of a palette of %d", value, r->png->palette_size);
                return false;
            } else {
                memcpy(out, r->png->palette + 3 * value, 3);
            }
        }
    }
    return true;
}

static bool take_rows(void *context, const uint8_t *bytes, size_t size) {
    Rows *r = context;
    while (size > 0) {
        if (r->done) {
            r->extra += size;
            return r->extra < 1 << 20; /* enough seen: it is only noted */
        }
        size_t n = r->row_size + 1 - r->have;
        if (n > size) n = size;
        memcpy(r->row_now + r->have, bytes, n);
        r->have += n;
        bytes += n;
        size -= n;
        if (r->have <= r->row_size) break;
        if (!unfilter(r) || (r->image->bytes && !place_row(r))) return false;
        uint8_t *swap = r->row_now;
        r->row_now = r->row_before;
        r->row_before = swap;
        r->have = 0;
        if (++r->row == r->height) {
            r->pass++;
            begin_pass(r);
        }
    }
    return true;
}

/* All IDATs in one piece: the only one, or a copy. */
static const uint8_t *gather(const Png *png, uint8_t **copy) {
    *copy = NULL;
    if (png->idats == 1) return png->bytes + png->first_idat + 8;
    uint8_t *all = mem_alloc(png->data_bytes);
    if (!all) return NULL;
    size_t at = png->first_idat, used = 0;
    for (int i = 0; i < png->idats; i++) {
        size_t length = be32(png->bytes + at), there = png->size - at - 8;
        if (there < length) length = there;
        memcpy(all + used, png->bytes + at + 8, length);
        used += length;
        at += length + 12;
    }
    *copy = all;
    return all;
}

static int report_rows(const Rows *r, InflateEnd end, const InflateReport *report, const ReadOptions *options,
                       ReadNotes *notes) {
    char where[64];
    if (r->png->info.interlaced)
        snprintf(where, sizeof where, "row %d of %d of interlace pass %d", r->row, r->height, r->pass + 1);
    else
        snprintf(where, sizeof where, "row %d of %d", r->row, r->height);
    if (end == INFLATE_MEMORY) return (int)err_code();
    if (r->reason[0]) return fail(ERR_INPUT, "PNG: %s in %s: the file is damaged", r->reason, where);
    if (!r->done && end == INFLATE_DAMAGED)
        return fail(ERR_INPUT, "PNG: the picture data is damaged at %s: %s", where, report->reason);
    if (!r->done && end == INFLATE_SHORT)
        return fail(ERR_INPUT, "PNG: the picture ends at %s: the file is truncated", where);
    if (!r->done)
        return fail(ERR_INPUT, "PNG: the picture data is complete at %s already: too little for the size in IHDR",
                    where);
    if (r->png->cut)
        return fail(ERR_INPUT, "PNG: the file ends at byte %zu without its end chunk (IEND): it is truncated",
                    r->png->size);
    const char *doubt = end == INFLATE_DAMAGED   ? "damaged after the last row"
                        : end == INFLATE_SHORT   ? "without its end"
                        : report->checksum_wrong ? "with a wrong checksum (Adler-32)"
                                                 : NULL;
    if (doubt && !options->ignore_crc)
        return fail(ERR_INPUT, "PNG: the compressed data is %s; --ignore-crc reads it all the same", doubt);
    if (doubt) read_note(notes, "the compressed data is %s", doubt);
    if (r->extra) read_note(notes, "there is more picture data than the size in IHDR needs");
    return 0;
}

static int decode_rows(const Png *png, const ReadOptions *options, Image *image, ReadNotes *notes) {
    const PngInfo *info = &png->info;
    int error = png->cut ? 0
                         : image_make(image, info->width, info->height, info->colour == 0 || info->colour == 4 ? 1 : 3,
                                      info->depth == 16 ? 16 : 8);
    if (error) return error;
    Rows r = {.png = png, .image = image, .as_stored = options->as_stored, .passes = info->interlaced ? 7 : 1};
    uint8_t *copy = NULL;
    const uint8_t *data = gather(png, &copy);
    size_t longest = row_bytes(info, info->width) + 1;
    r.row_now = mem_alloc(longest);
    r.row_before = mem_alloc(longest);
    uint8_t *rows[2] = {r.row_now, r.row_before};
    if (!data || !r.row_now || !r.row_before) {
        error = (int)err_code();
    } else {
        begin_pass(&r);
        InflateReport report;
        InflateEnd end = inflate_zlib(data, png->data_bytes, take_rows, &r, &report);
        error = report_rows(&r, end, &report, options, notes);
    }
    mem_free(rows[0]);
    mem_free(rows[1]);
    mem_free(copy);
    return error;
}

int png_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, PngInfo *info,
               ReadNotes *notes) {
    static const ReadOptions strict;
    if (!options) options = &strict;
    if (image) memset(image, 0, sizeof *image);
    Png *png = mem_zero(1, sizeof *png);
    if (!png) return (int)err_code();
    png->bytes = bytes;
    png->size = size;
    int error = png_is(bytes, size) ? check_chunks(png, options, notes) : png_fail_signature(bytes, size);
    if (!error && image) error = decode_rows(png, options, image, notes);
    if (error && image) image_free(image);
    if (info) *info = png->info;
    mem_free(png);
    return error;
}

/* --------------------------------------------------------------------------------------------------- writing */

static void put32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static int write_chunk(Out *out, const char *type, const void *data, size_t size) {
    uint8_t head[8], tail[4];
    if (size > 0x7fffffff) return fail(ERR_MEMORY, "a PNG chunk of %zu bytes cannot be written", size);
    put32(head, (uint32_t)size);
    memcpy(head + 4, type, 4);
    put32(tail, crc32_update(crc32_update(0, type, 4), data, size));
    int error = out_write(out, head, 8);
    if (!error) error = out_write(out, data, size);
    return error ? error : out_write(out, tail, 4);
}

static int write_text(Out *out, const PngText *text) {
    uint8_t data[PNG_KEY_LENGTH + PNG_TEXT_LENGTH];
    size_t key = strnlen(text->key, PNG_KEY_LENGTH - 1), value = strnlen(text->value, PNG_TEXT_LENGTH - 1);
    memcpy(data, text->key, key);
    data[key] = 0;
    for (size_t i = 0; i < value; i++) {
        unsigned char c = (unsigned char)text->value[i];
        data[key + 1 + i] = c == '\n' || (c >= 32 && c < 127) ? c : '?';
    }
    return write_chunk(out, "tEXt", data, key + 1 + value);
}

/* One filter over a row behind its first pixel; returns the sum of absolute values (as signed bytes), which a row of
 * 2^15 pixels keeps below 2^32. Inlined once for each type, so that the loop holds no choice and is vectorised. */
static inline __attribute__((always_inline)) uint32_t filter_bytes(int type, const uint8_t *restrict now,
                                                                   const uint8_t *restrict up, size_t n, size_t pixel,
                                                                   uint8_t *restrict out) {
    uint32_t sum = 0;
    for (size_t i = pixel; i < n; i++) {
        int a = now[i - pixel], b = up[i], c = up[i - pixel], guess = 0;
        if (type == 1) guess = a;
        if (type == 2) guess = b;
        if (type == 3) guess = (a + b) / 2;
        if (type == 4) {
            int pa = b - c, pb = a - c, pc = pa + pb;
            pa = pa < 0 ? -pa : pa;
            pb = pb < 0 ? -pb : pb;
            pc = pc < 0 ? -pc : pc;
            guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        }
        uint8_t v = (uint8_t)(now[i] - guess);
        out[i] = v;
        sum += v < 128 ? v : 256u - v;
    }
    return sum;
}

/* The filter whose result has the smallest sum: libpng's rule of thumb. */
static void filter_row(const uint8_t *now, const uint8_t *up, size_t n, size_t pixel, uint8_t *trial, uint8_t *best) {
    uint32_t least = UINT32_MAX;
    for (int type = 0; type < 5; type++) {
        uint32_t sum = 0;
        trial[0] = (uint8_t)type;
        for (size_t i = 0; i < pixel; i++) { /* nothing to their left */
            uint8_t v = (uint8_t)(now[i] - (type == 2 || type == 4 ? up[i] : type == 3 ? up[i] / 2 : 0));
            trial[1 + i] = v;
            sum += v < 128 ? v : 256u - v;
        }
        uint8_t *out = trial + 1;
        if (type == 0) sum += filter_bytes(0, now, up, n, pixel, out);
        if (type == 1) sum += filter_bytes(1, now, up, n, pixel, out);
        if (type == 2) sum += filter_bytes(2, now, up, n, pixel, out);
        if (type == 3) sum += filter_bytes(3, now, up, n, pixel, out);
        if (type == 4) sum += filter_bytes(4, now, up, n, pixel, out);
        if (sum < least) {
            least = sum;
            memcpy(best, trial, n + 1);
        }
    }
}

int png_write(Out *out, const Image *image, const PngText *texts, int count) {
    size_t pixel = (size_t)image->channels * (size_t)(image->bits / 8), n = (size_t)image->width * pixel, all;
    uint8_t header[13];
    put32(header, (uint32_t)image->width);
    put32(header + 4, (uint32_t)image->height);
    header[8] = (uint8_t)image->bits;
    header[9] = image->channels == 1 ? 0 : 2;
    header[10] = header[11] = header[12] = 0;
    if (!size_mul(n + 1, (size_t)image->height, &all))
        return fail(ERR_MEMORY, "a PNG of %d x %d is too large", image->width, image->height);
    uint8_t *rows = mem_alloc(all), *work = mem_zero(3, n + 1);
    size_t packed_size = 0;
    uint8_t *packed = NULL;
    int error = rows && work ? 0 : (int)err_code();
    if (!error) {
        uint8_t *now = work, *up = work + n + 1, *trial = work + 2 * (n + 1);
        for (int y = 0; y < image->height; y++) {
            const uint8_t *in = image->bytes + (size_t)y * n;
            if (image->bits == 8)
                memcpy(now, in, n);
            else
                for (size_t i = 0; i < n / 2; i++) {
                    uint16_t v = image_16(image)[(size_t)y * (n / 2) + i];
                    now[2 * i] = (uint8_t)(v >> 8);
                    now[2 * i + 1] = (uint8_t)v;
                }
            filter_row(now, up, n, pixel, trial, rows + (size_t)y * (n + 1));
            uint8_t *swap = now;
            now = up;
            up = swap;
        }
        packed = deflate_zlib(rows, all, &packed_size);
        if (!packed) error = (int)err_code();
    }
    mem_free(rows);
    mem_free(work);
    if (!error) error = out_write(out, SIGNATURE, 8);
    if (!error) error = write_chunk(out, "IHDR", header, 13);
    for (int i = 0; !error && i < count; i++) error = write_text(out, &texts[i]);
    for (size_t at = 0; !error && at < packed_size; at += 1 << 20) /* pieces that every reader's limits allow */
        error = write_chunk(out, "IDAT", packed + at, packed_size - at < 1 << 20 ? packed_size - at : 1 << 20);
    if (!error) error = write_chunk(out, "IEND", NULL, 0);
    mem_free(packed);
    return error;
}
