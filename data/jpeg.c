/* Why so strict: stb_image 2.27 overruns an array when a Huffman table counts more than 256 symbols, decodes with
 * uninitialised tables when a scan names one that was never defined, and spends time on every scan of a progressive
 * file. All three are refused here, before it sees a byte. */
#include "data/jpeg.h"
#include "base/mem.h"
#include "base/stb.h"
#include "data/exif.h"

#include <limits.h>
#include <string.h>

/* What the tables have defined so far; a scan may only use what is there. */
typedef struct {
    const uint8_t *bytes;
    size_t size, at;
    JpegInfo *info;
    bool frame;
    unsigned quantisers, dc, ac;  /* bit i: table i is defined */
    const uint8_t *huffman[2][4]; /* where the newest table of each class and number lies: 16 counts, then symbols */
    int restart;
    size_t scan_data;           /* bytes of all scans */
    size_t first_scan;          /* its entropy-coded data, for jpeg_rows_there */
    int scan_dc[4], scan_ac[4]; /* of the first scan */
    bool in_order;              /* the scan names its components in the frame's order, from the first */
    bool interleaved;           /* the first scan holds all components */
} Walk;

static int be16(const uint8_t *p) {
    return p[0] << 8 | p[1];
}

static int check_quantisers(Walk *w, const uint8_t *p, size_t n, size_t at) {
    while (n > 0) {
        int precision = p[0] >> 4, index = p[0] & 15;
        size_t need = precision ? 129 : 65;
        if (precision > 1)
            return fail(ERR_INPUT, "JPEG: quantiser precision %d at byte %zu; 0 or 1 exist", precision, at);
        if (index > 3) return fail(ERR_INPUT, "JPEG: quantiser table %d at byte %zu; 0 to 3 exist", index, at);
        if (n < need) return fail(ERR_INPUT, "JPEG: the quantiser table at byte %zu is cut short", at);
        w->quantisers |= 1u << index;
        p += need;
        n -= need;
    }
    return 0;
}

static int check_huffman(Walk *w, const uint8_t *p, size_t n, size_t at) {
    while (n > 0) {
        int class = p[0] >> 4, index = p[0] & 15, total = 0, codes = 0;
        if (class > 1 || index > 3)
            return fail(ERR_INPUT, "JPEG: Huffman table %d of class %d at byte %zu; 0 to 3 of class 0 and 1 exist",
                        index, class, at);
        if (n < 17) return fail(ERR_INPUT, "JPEG: the Huffman table at byte %zu is cut short", at);
        for (int length = 1; length <= 16; length++) {
            total += p[length];
            codes = 2 * codes + p[length]; /* used codes of this length and prefixes of shorter ones */
            if (codes > 1 << length)
                return fail(ERR_INPUT,
                            "JPEG: the Huffman table at byte %zu has %d codes of up to %d bits, more than there are",
                            at, codes, length);
        }
        if (total > 256)
            return fail(ERR_INPUT, "JPEG: the Huffman table at byte %zu has %d symbols; 256 are possible", at, total);
        if (n < 17 + (size_t)total)
            return fail(ERR_INPUT, "JPEG: the Huffman table at byte %zu has %d symbols, the segment ends before", at,
                        total);
        for (int i = 0; class == 0 && i < total; i++)
            if (p[17 + i] > 15)
                return fail(ERR_INPUT, "JPEG: the Huffman table at byte %zu has a DC size of %d bits; 11 are possible",
                            at, p[17 + i]);
        *(class ? &w->ac : &w->dc) |= 1u << index;
        w->huffman[class][index] = p + 1;
        p += 17 + (size_t)total;
        n -= 17 + (size_t)total;
    }
    return 0;
}

static const char *frame_name(int marker) {
    switch (marker) {
    case 0xc3:
        return "lossless JPEG";
    case 0xc5:
    case 0xc6:
    case 0xc7:
        return "hierarchical JPEG";
    case 0xc9:
    case 0xca:
        return "arithmetic-coded JPEG";
    case 0xcb:
        return "lossless arithmetic-coded JPEG";
    case 0xcd:
    case 0xce:
    case 0xcf:
        return "hierarchical arithmetic-coded JPEG";
    default:
        return "this JPEG";
    }
}

static int check_frame(Walk *w, int marker, const uint8_t *p, size_t n, size_t at) {
    JpegInfo *info = w->info;
    if (w->frame) return fail(ERR_INPUT, "JPEG: a second frame header (SOF) at byte %zu", at);
    if (marker > 0xc2)
        return fail(ERR_INPUT, "JPEG: %s is not read; convert it to baseline JPEG or PNG (ffmpeg -i IN OUT.png)",
                    frame_name(marker));
    if (n < 6) return fail(ERR_INPUT, "JPEG: the frame header at byte %zu has %zu bytes", at, n);
    int precision = p[0];
    info->height = be16(p + 1);
    info->width = be16(p + 3);
    info->components = p[5];
    info->progressive = marker == 0xc2;
    if (precision != 8)
        return fail(ERR_INPUT, "JPEG: %d-bit JPEG is not read; convert it to 8 bits or to PNG (ffmpeg -i IN OUT.png)",
                    precision);
    if (info->width == 0 || info->height == 0)
        return fail(ERR_INPUT, "JPEG: the frame header says %d x %d pixels: %s", info->width, info->height,
                    info->height == 0 ? "a height told later (DNL) is not read" : "there is no picture");
    if (info->width > IMAGE_SIDE_MAX || info->height > IMAGE_SIDE_MAX ||
        (int64_t)info->width * info->height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "JPEG: %d x %d pixels; sides may be at most %d and %lld pixels in all are read",
                    info->width, info->height, IMAGE_SIDE_MAX, (long long)IMAGE_PIXELS_MAX);
    if (info->components != 1 && info->components != 3 && info->components != 4)
        return fail(ERR_INPUT, "JPEG: %d colour components; 1, 3 or 4 are read", info->components);
    if (n != 6 + 3 * (size_t)info->components)
        return fail(ERR_INPUT, "JPEG: the frame header at byte %zu has %zu bytes for %d components", at, n,
                    info->components);
    for (int i = 0; i < info->components; i++) {
        const uint8_t *c = p + 6 + 3 * i;
        JpegComponent *component = &info->component[i];
        *component = (JpegComponent){c[0], c[1] >> 4, c[1] & 15, c[2]};
        if (component->h < 1 || component->h > 4 || component->v < 1 || component->v > 4)
            return fail(ERR_INPUT, "JPEG: component %d is sampled %d x %d; 1 to 4 are possible", i, component->h,
                        component->v);
        if (component->quantiser > 3)
            return fail(ERR_INPUT, "JPEG: component %d uses quantiser table %d; 0 to 3 exist", i, component->quantiser);
        for (int j = 0; j < i; j++)
            if (info->component[j].id == component->id)
                return fail(ERR_INPUT, "JPEG: two components are called %d", component->id);
        if (component->h > info->h_most) info->h_most = component->h;
        if (component->v > info->v_most) info->v_most = component->v;
    }
    int blocks = 0;
    for (int i = 0; i < info->components; i++) {
        const JpegComponent *c = &info->component[i];
        if (info->h_most % c->h || info->v_most % c->v)
            return fail(ERR_INPUT,
                        "JPEG: component %d is sampled %d x %d beside one of %d x %d; only whole ratios are read", i,
                        c->h, c->v, info->h_most, info->v_most);
        blocks += c->h * c->v;
    }
    if (info->components > 1 && blocks > 10) /* ITU T.81, B.2.3; but 4 full components of 2 x 2 exist in the wild */
        if (blocks > 16) return fail(ERR_INPUT, "JPEG: %d blocks in a unit; 10 are possible", blocks);
    w->frame = true;
    return 0;
}

static int check_scan(Walk *w, const uint8_t *p, size_t n, size_t at) {
    const JpegInfo *info = w->info;
    if (!w->frame) return fail(ERR_INPUT, "JPEG: a scan at byte %zu before the frame header", at);
    if (w->info->scans == JPEG_SCANS_MAX) return fail(ERR_INPUT, "JPEG: more than %d scans", JPEG_SCANS_MAX);
    int count = n ? p[0] : 0;
    if (count < 1 || count > info->components || n != 4 + 2 * (size_t)count)
        return fail(ERR_INPUT, "JPEG: the scan header at byte %zu has %zu bytes for %d of %d components", at, n, count,
                    info->components);
    int first = p[1 + 2 * count], last = p[2 + 2 * count], high = p[3 + 2 * count] >> 4, low = p[3 + 2 * count] & 15;
    if (info->progressive) {
        bool legal = first <= last && last <= 63 && high <= 13 && low <= 13 && (first > 0 || last == 0) &&
                     (first == 0 || count == 1) && (high == 0 || high == low + 1);
        if (!legal)
            return fail(ERR_INPUT, "JPEG: the scan at byte %zu has impossible bounds (%d-%d, bits %d-%d)", at, first,
                        last, high, low);
    } else if (first != 0 || (last != 63 && last != 0) || high != 0 || low != 0) {
        return fail(ERR_INPUT, "JPEG: the scan at byte %zu has progressive bounds in a baseline picture", at);
    }
    unsigned seen = 0;
    for (int i = 0; i < count; i++) {
        int id = p[1 + 2 * i], dc = p[2 + 2 * i] >> 4, ac = p[2 + 2 * i] & 15, which = 0;
        while (which < info->components && info->component[which].id != id) which++;
        if (which == info->components)
            return fail(ERR_INPUT, "JPEG: the scan at byte %zu names component %d, which does not exist", at, id);
        if (seen & 1u << which) return fail(ERR_INPUT, "JPEG: the scan at byte %zu names component %d twice", at, id);
        seen |= 1u << which;
        if (dc > 3 || ac > 3)
            return fail(ERR_INPUT, "JPEG: the scan at byte %zu uses Huffman tables %d and %d; 0 to 3 exist", at, dc,
                        ac);
        bool needs_dc = first == 0 && high == 0, needs_ac = !info->progressive || first > 0;
        if ((needs_dc && !(w->dc & 1u << dc)) || (needs_ac && !(w->ac & 1u << ac)))
            return fail(ERR_INPUT, "JPEG: the scan at byte %zu uses a Huffman table that was not defined", at);
        if (!(w->quantisers & 1u << info->component[which].quantiser))
            return fail(ERR_INPUT, "JPEG: the scan at byte %zu uses quantiser table %d, which was not defined", at,
                        info->component[which].quantiser);
        w->in_order = (i == 0 || w->in_order) && which == i;
        if (w->info->scans == 0) {
            w->scan_dc[which] = dc;
            w->scan_ac[which] = ac;
        }
    }
    if (w->info->scans == 0) w->interleaved = count == info->components && w->in_order && !info->progressive;
    w->info->scans++;
    return 0;
}

static void look_at_segment(JpegInfo *info, int marker, const uint8_t *p, size_t n, ReadNotes *notes) {
    if (marker == 0xe0 && n >= 5 && memcmp(p, "JFIF", 5) == 0) info->jfif = true;
    if (marker == 0xee && n >= 12 && memcmp(p, "Adobe", 5) == 0) info->adobe = p[11];
    if (marker == 0xe1 && n >= 6 && memcmp(p, "Exif\0", 6) == 0 && !info->exif) {
        const char *nonsense;
        info->exif = p + 6;
        info->exif_size = n - 6;
        info->orientation = exif_orientation(p + 6, n - 6, &nonsense);
        if (nonsense) read_note(notes, "EXIF is ignored: %s", nonsense);
    }
    if (marker == 0xe2 && n >= 4 && memcmp(p, "MPF", 4) == 0 && !info->mpf) {
        info->mpf = p + 4;
        info->mpf_size = n - 4;
    }
    if (marker == 0xe3 && n >= 14 && memcmp(p, "_JPSJPS_", 8) == 0) {
        info->has_jps = true;
        info->jps = (uint32_t)p[10] << 24 | (uint32_t)p[11] << 16 | (uint32_t)p[12] << 8 | p[13];
    }
}

/* Past the entropy-coded data of a scan, to its next marker: FF00 is a stuffed FF, FFD0-FFD7 are restarts. */
static void skip_scan(Walk *w) {
    size_t start = w->at;
    while (w->at < w->size) {
        const uint8_t *ff = memchr(w->bytes + w->at, 0xff, w->size - w->at);
        if (!ff || ff + 1 == w->bytes + w->size) {
            w->at = w->size;
            break;
        }
        w->at = (size_t)(ff - w->bytes);
        if (ff[1] == 0xff)
            w->at++;
        else if (ff[1] == 0 || (ff[1] >= 0xd0 && ff[1] <= 0xd7))
            w->at += 2;
        else
            break;
    }
    w->scan_data += w->at - start;
}

static int walk_markers(Walk *w, ReadNotes *notes) {
    JpegInfo *info = w->info;
    if (w->size < 4 || w->bytes[0] != 0xff || w->bytes[1] != 0xd8)
        return fail(ERR_INPUT, "JPEG: it does not begin with ff d8");
    w->at = 2;
    for (;;) {
        size_t at = w->at;
        info->end = at; /* a decoder shall not see a segment that was cut, and so not checked */
        if (w->size - at < 2) break;
        if (w->bytes[at] != 0xff)
            return fail(ERR_INPUT, "JPEG: at byte %zu a marker should begin, there is %02x %02x", at, w->bytes[at],
                        w->bytes[at + 1]);
        while (w->size - at >= 3 && w->bytes[at + 1] == 0xff) at++; /* fill bytes */
        int marker = w->bytes[at + 1];
        if (marker == 0xd9) {
            if (info->scans == 0)
                return fail(ERR_INPUT, "JPEG: the end marker at byte %zu comes before any picture data", at);
            info->whole = true;
            info->end = at + 2;
            return 0;
        }
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) { /* without length; stray ones do no harm */
            w->at = at + 2;
            continue;
        }
        if (marker < 0xc0 || marker == 0xd8)
            return fail(ERR_INPUT, "JPEG: marker ff%02x at byte %zu has no business there", marker, at);
        if (w->size - at < 4) break;
        size_t length = (size_t)be16(w->bytes + at + 2), left = w->size - at - 2;
        if (length < 2)
            return fail(ERR_INPUT, "JPEG: segment ff%02x at byte %zu has a length of %zu", marker, at, length);
        if (length > left) {
            if (info->scans) break;
            return fail(
                ERR_INPUT,
                "JPEG: segment ff%02x at byte %zu has %zu bytes, %zu are left; the file is truncated in its header",
                marker, at, length, left);
        }
        const uint8_t *p = w->bytes + at + 4;
        size_t n = length - 2;
        int error = 0;
        w->at = at + 2 + length;
        if (marker == 0xc4)
            error = check_huffman(w, p, n, at);
        else if (marker == 0xdb)
            error = check_quantisers(w, p, n, at);
        else if (marker == 0xdd && n != 2)
            error = fail(ERR_INPUT, "JPEG: the restart interval at byte %zu has %zu bytes", at, n);
        else if (marker == 0xdd)
            w->restart = be16(p);
        else if (marker == 0xdc && (n != 2 || !w->frame || be16(p) != info->height))
            error = fail(ERR_INPUT, "JPEG: a height told later (DNL at byte %zu) is not read", at);
        else if (marker == 0xcc)
            error =
                fail(ERR_INPUT, "JPEG: arithmetic-coded JPEG is not read; convert it to PNG (ffmpeg -i IN OUT.png)");
        else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc8)
            error = check_frame(w, marker, p, n, at);
        else if (marker == 0xda)
            error = check_scan(w, p, n, at);
        else
            look_at_segment(info, marker, p, n, notes);
        if (error) return error;
        if (marker == 0xda) {
            if (info->scans == 1) w->first_scan = w->at;
            skip_scan(w);
        }
    }
    if (info->scans == 0)
        return fail(ERR_INPUT, "JPEG: the file ends at byte %zu %s: it is truncated", w->size,
                    w->frame ? "before any picture data" : "in its header");
    return 0;
}

/* A unit (MCU) is one block where there is one component, whatever its sampling says. */
static int unit_width(const JpegInfo *info) {
    return info->components == 1 ? 8 : 8 * info->h_most;
}
static int unit_height(const JpegInfo *info) {
    return info->components == 1 ? 8 : 8 * info->v_most;
}
static int64_t unit_columns(const JpegInfo *info) {
    return (info->width + unit_width(info) - 1) / unit_width(info);
}
static int64_t unit_rows(const JpegInfo *info) {
    return (info->height + unit_height(info) - 1) / unit_height(info);
}

static int unit_blocks(const JpegInfo *info, int component) {
    return info->components == 1 ? 1 : info->component[component].h * info->component[component].v;
}

static int walk_and_check(Walk *w, ReadNotes *notes) {
    JpegInfo *info = w->info;
    *info = (JpegInfo){.adobe = -1, .orientation = 1};
    int error = walk_markers(w, notes);
    if (error) return error;
    if (info->components == 4 && info->adobe != 0 && info->adobe != 2)
        return fail(ERR_INPUT,
                    "JPEG: 4 colour components and no Adobe segment that says what they are; convert it to RGB");
    /* Every block takes at least one bit (a progressive DC scan), in a file that is not cut. */
    uint64_t blocks = 0;
    for (int i = 0; i < info->components; i++)
        blocks += (uint64_t)unit_columns(info) * (uint64_t)unit_rows(info) * (uint64_t)unit_blocks(info, i);
    if (info->whole && blocks > 8 * (uint64_t)w->scan_data)
        return fail(ERR_INPUT,
                    "JPEG: %d x %d pixels are %llu blocks; the %zu bytes of picture data cannot hold so many",
                    info->width, info->height, (unsigned long long)blocks, w->scan_data);
    return 0;
}

int jpeg_check(const uint8_t *bytes, size_t size, JpegInfo *info, ReadNotes *notes) {
    Walk w = {.bytes = bytes, .size = size, .info = info};
    return walk_and_check(&w, notes);
}

/* ------------------------------------------------------------------------ how far a cut baseline picture goes
 *
 * Walks the Huffman codes of an interleaved baseline scan without decoding a sample. */

typedef struct {
    uint16_t limit[17]; /* first code of a length beyond those in use */
    int offset[17];     /* index of a length's first symbol, less its first code */
    const uint8_t *symbol;
} Huffman;

typedef struct {
    const uint8_t *bytes;
    size_t size, at;
    uint32_t bits;
    int have;
} BitWalk;

static void make_huffman(Huffman *h, const uint8_t *table) {
    int code = 0, index = 0;
    for (int length = 1; length <= 16; length++) {
        h->offset[length] = index - code;
        code += table[length - 1];
        index += table[length - 1];
        h->limit[length] =
            (uint16_t)code; /* 65,536 only for 16-bit codes that JPEG forbids; then 0, and the walk stops early */
        code <<= 1;
    }
    h->symbol = table + 16;
}

static int next_bit(BitWalk *b) {
    if (b->have == 0) {
        if (b->at >= b->size) return -1;
        uint8_t byte = b->bytes[b->at];
        if (byte == 0xff) {
            if (b->size - b->at < 2 || b->bytes[b->at + 1] != 0) return -1; /* a marker */
            b->at++;
        }
        b->at++;
        b->bits = byte;
        b->have = 8;
    }
    b->have--;
    return (int)(b->bits >> b->have & 1);
}

static int next_symbol(BitWalk *b, const Huffman *h) {
    int code = 0;
    for (int length = 1; length <= 16; length++) {
        int bit = next_bit(b);
        if (bit < 0) return -1;
        code = code << 1 | bit;
        if (code < h->limit[length]) return h->symbol[code + h->offset[length]];
    }
    return -1;
}

static bool skip_bits(BitWalk *b, int n) {
    while (n-- > 0)
        if (next_bit(b) < 0) return false;
    return true;
}

static bool skip_block(BitWalk *b, const Huffman *dc, const Huffman *ac) {
    int size = next_symbol(b, dc);
    if (size < 0 || !skip_bits(b, size)) return false;
    for (int k = 1; k < 64; k++) {
        int symbol = next_symbol(b, ac);
        if (symbol < 0) return false;
        if (symbol == 0) break;
        k += symbol >> 4;
        if (!skip_bits(b, symbol & 15)) return false;
    }
    return true;
}

/* Units (MCUs) that are all there, in the order of the scan. */
static int64_t units_there(const Walk *w) {
    const JpegInfo *info = w->info;
    Huffman dc[4], ac[4];
    for (int i = 0; i < info->components; i++) {
        make_huffman(&dc[i], w->huffman[0][w->scan_dc[i]]);
        make_huffman(&ac[i], w->huffman[1][w->scan_ac[i]]);
    }
    BitWalk b = {.bytes = w->bytes, .size = w->size, .at = w->first_scan};
    int64_t units = unit_columns(info) * unit_rows(info), done = 0;
    for (; done < units; done++) {
        if (w->restart && done && done % w->restart == 0) {
            b.have = 0;
            if (b.size - b.at < 2 || b.bytes[b.at] != 0xff || (b.bytes[b.at + 1] & 0xf8) != 0xd0) return done;
            b.at += 2;
        }
        for (int i = 0; i < info->components; i++)
            for (int k = unit_blocks(info, i); k > 0; k--)
                if (!skip_block(&b, &dc[i], &ac[i])) return done;
    }
    return done;
}

/* Rows below and columns after the last whole unit become middle grey, so that nobody takes them for picture. */
static void grey_rest(const JpegInfo *info, Image *image, int64_t units) {
    int64_t columns = unit_columns(info);
    int tall = unit_height(info), wide = unit_width(info);
    int64_t row = units / columns;
    for (int y = (int)(row * tall); y < image->height; y++) {
        int64_t x = y < (row + 1) * tall ? units % columns * wide : 0;
        if (x < image->width)
            memset(image->bytes + ((int64_t)y * image->width + x) * image->channels, 128,
                   (size_t)((image->width - x) * image->channels));
    }
}

/* ------------------------------------------------------------------------------------------------- decoding */

/* EXIF: 2 mirrored, 3 half a turn, 4 upside down, 5 transposed, 6 turn right, 7 transverse, 8 turn left. */
static int orient(Image *image, int orientation) {
    if (orientation == 1) return 0;
    bool turned = orientation > 4;
    Image out;
    int error = image_make(&out, turned ? image->height : image->width, turned ? image->width : image->height,
                           image->channels, image->bits);
    if (error) return error;
    int w = image->width, h = image->height, c = image->channels;
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++) {
            int sx = turned ? y : x, sy = turned ? x : y;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = w - 1 - sx;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = h - 1 - sy;
            memcpy(out.bytes + ((size_t)y * (size_t)out.width + (size_t)x) * (size_t)c,
                   image->bytes + ((size_t)sy * (size_t)w + (size_t)sx) * (size_t)c, (size_t)c);
        }
    image_free(image);
    *image = out;
    return 0;
}

static int decode_checked(const uint8_t *bytes, const JpegInfo *info, size_t file_size, Image *image) {
    if (info->end > INT_MAX) return fail(ERR_INPUT, "JPEG: %zu bytes are more than can be decoded", info->end);
    int width, height, channels, wanted = info->components == 1 ? 1 : 3;
    size_t decoded = (size_t)info->width * (size_t)info->height * (size_t)wanted;
    uint8_t *ended = NULL;
    if (!info->whole) { /* the decoder refuses a file without its end marker, so a copy gets one */
        if (info->end > INT_MAX - 2) return fail(ERR_INPUT, "JPEG: %zu bytes are more than can be decoded", info->end);
        ended = mem_alloc(info->end + 2);
        if (!ended) return ERR_MEMORY;
        memcpy(ended, bytes, info->end);
        memcpy(ended + info->end, "\xff\xd9", 2);
    }
    err_clear();
    mem_cap_begin(16 * file_size + ((size_t)64 << 20) + decoded);
    uint8_t *samples = stbi_load_from_memory(ended ? ended : bytes, (int)info->end + (ended ? 2 : 0), &width, &height,
                                             &channels, wanted);
    mem_cap_end();
    mem_free(ended);
    if (!samples) {
        if (err_code() != ERR_NONE) return fail_prefix("JPEG: %d x %d pixels", info->width, info->height);
        return fail(ERR_INPUT, "JPEG: the picture data cannot be decoded (%s): the file is damaged",
                    stbi_failure_reason());
    }
    if (width != info->width || height != info->height) {
        mem_free(samples);
        return fail(ERR_INPUT, "JPEG: decoded to %d x %d instead of %d x %d", width, height, info->width, info->height);
    }
    *image = (Image){width, height, wanted, 8, samples};
    return 0;
}

int jpeg_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes) {
    static const ReadOptions strict;
    JpegInfo info;
    Walk w = {.bytes = bytes, .size = size, .info = &info};
    if (!options) options = &strict;
    memset(image, 0, sizeof *image);
    int error = walk_and_check(&w, notes);
    if (error) return error;
    int64_t units = -1, all = unit_columns(&info) * unit_rows(&info);
    if (!info.whole && w.interleaved) units = units_there(&w);
    if (!info.whole && units != all && !options->lenient) {
        if (units >= 0)
            return fail(
                ERR_INPUT,
                "JPEG: the picture ends at row %lld of %d: the file is truncated; --lenient decodes what is there",
                (long long)(units / unit_columns(&info)) * unit_height(&info), info.height);
        return fail(ERR_INPUT,
                    "JPEG: the file ends at byte %zu in scan %d without its end marker: it is truncated; --lenient "
                    "decodes what is there",
                    size, info.scans);
    }
    error = decode_checked(bytes, &info, size, image);
    if (error) return error;
    if (!info.whole && units == all)
        read_note(notes, "the end marker is missing; the picture is complete");
    else if (!info.whole && units >= 0) {
        grey_rest(&info, image, units);
        read_note(notes, "decoded %lld %%: the file is truncated, the rest is grey", (long long)(100 * units / all));
    } else if (!info.whole)
        read_note(notes, "the file breaks off in scan %d: detail is missing", info.scans);
    else if (info.end < size && !info.mpf)
        read_note(notes, "%zu bytes after the end of the JPEG are ignored", size - info.end);
    error = options->as_stored ? 0 : orient(image, info.orientation);
    if (error) image_free(image);
    return error;
}
