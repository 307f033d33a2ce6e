/* data/y4m.c - the header is a line of fields, one letter and a value each; a frame is the line "FRAME..." and its
 * planes.
 *
 * YCbCr to RGB with Kr, Kb of the matrix, Kg = 1 - Kr - Kb, and y, cb, cr scaled so that y runs over 0..1 and the
 * chroma over -1/2..1/2:
 *     R = y + 2 (1-Kr) cr      B = y + 2 (1-Kb) cb      G = y - 2 Kb (1-Kb)/Kg cb - 2 Kr (1-Kr)/Kg cr
 * in integers of 1/65536, rounded to nearest: the same bytes on every machine. */
#include "data/y4m.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- header -------------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int chroma_x, chroma_y, site_x, site_y;
} colours[] = {
    /* 420paldv places Cb and Cr on alternate lines; half a line off at most, taken as mpeg2's */
    {"420jpeg", 2, 2, 1, 1}, {"420mpeg2", 2, 2, 0, 1}, {"420paldv", 2, 2, 0, 1}, {"420", 2, 2, 1, 1},
    {"411", 4, 1, 0, 0},     {"422", 2, 1, 0, 0},      {"444", 1, 1, 0, 0},      {"mono", 0, 0, 0, 0},
};

static int bad_field(const char *field, size_t length, const char *why) {
    char text[64], shown[200];
    snprintf(text, sizeof text, "%.*s", (int)(length < 60 ? length : 60), field);
    return fail(ERR_INPUT, "y4m header: field %s %s", err_printable(shown, sizeof shown, text), why);
}

/* Digits only, at most ten of them; false for anything else. */
static bool whole(const char **at, const char *end, int64_t *out) {
    int64_t v = 0;
    int digits = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && digits <= 10; (*at)++, digits++) v = 10 * v + (**at - '0');
    *out = v;
    return digits > 0 && digits <= 10;
}

static bool ratio(const char *at, const char *end, int64_t *over, int64_t *under) {
    return whole(&at, end, over) && at < end && *at++ == ':' && whole(&at, end, under) && at == end;
}

static int parse_colour(const char *value, size_t length, Y4mHeader *h) {
    snprintf(h->colour, sizeof h->colour, "%.*s", (int)length, value);
    h->bits = 8;
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
        size_t n = strlen(colours[i].name);
        if (length < n || memcmp(value, colours[i].name, n) != 0) continue;
        const char *rest = value + n, *end = value + length;
        int64_t bits = 8;
        /* C420p10, C444p16, Cmono12 */
        if (rest < end) {
            bool grey = colours[i].chroma_x == 0;
            if (!grey && *rest++ != 'p') continue;
            if (!whole(&rest, end, &bits) || rest != end || bits < 9 || bits > (colours[i].chroma_x > 1 ? 14 : 16))
                continue;
        }
        h->chroma_x = colours[i].chroma_x;
        h->chroma_y = colours[i].chroma_y;
        h->site_x = colours[i].site_x;
        h->site_y = colours[i].site_y;
        h->bits = (int)bits;
        if (bits > 8 && h->chroma_x == 2) h->site_x = 0; /* high-depth streams are MPEG's children */
        return 0;
    }
    return bad_field(value - 1, length + 1,
                     "is a colour space that is not read; there are 420jpeg 420mpeg2 420paldv 411 422 444 mono, and "
                     "420p9 to 420p14, 444p16");
}

static int parse_side(const char *field, size_t length, int *side) {
    const char *at = field + 1, *end = field + length;
    int64_t v;
    if (!whole(&at, end, &v) || at != end || v < 1) return bad_field(field, length, "is not a size");
    if (v > IMAGE_SIDE_MAX) return bad_field(field, length, "is over the limit of 32,768 pixels");
    *side = (int)v;
    return 0;
}

static int parse_field(const char *field, size_t length, Y4mHeader *h) {
    const char *value = field + 1, *end = field + length;
    int64_t over, under;
    switch (*field) {
    case 'W':
        return parse_side(field, length, &h->width);
    case 'H':
        return parse_side(field, length, &h->height);
    case 'F':
        if (!ratio(value, end, &over, &under)) return bad_field(field, length, "is not a rate like F24000:1001");
        if (over == 0 || under == 0 || over > 1000000000 || under > 1000000000)
            return bad_field(field, length, "is no rate of frames");
        h->rate = (Rate){over, under};
        return 0;
    case 'A':
        if (!ratio(value, end, &over, &under)) return bad_field(field, length, "is not a pixel shape like A1:1");
        if ((over == 0) != (under == 0)) return bad_field(field, length, "is no shape of a pixel");
        h->aspect_over = over;
        h->aspect_under = under;
        return 0;
    case 'I':
        if (length != 2 || !strchr("ptbm?", *value)) return bad_field(field, length, "is not one of Ip It Ib Im I?");
        h->interlaced = *value;
        return 0;
    case 'C':
        return parse_colour(value, length - 1, h);
    case 'X':
        if (length == 16 && memcmp(field, "XCOLORRANGE=FULL", 16) == 0) h->full_range = h->range_given = true;
        if (length == 19 && memcmp(field, "XCOLORRANGE=LIMITED", 19) == 0) h->range_given = true;
        return 0;
    default:
        return bad_field(field, length, "is not known to the format");
    }
}

int y4m_parse(const char *line, size_t length, Y4mHeader *header) {
    static const char magic[] = "YUV4MPEG2";
    memset(header, 0, sizeof *header);
    Y4mHeader h = {.interlaced = '?'};
    if (length < 9 || memcmp(line, magic, 9) != 0)
        return fail(ERR_INPUT, "is not a y4m stream: it does not begin with YUV4MPEG2");
    if (length > 9 && line[9] != ' ') return fail(ERR_INPUT, "y4m header: YUV4MPEG2 is not followed by a blank");
    uint32_t seen = 0;
    for (const char *at = line + 9, *end = line + length; at < end;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        size_t n = (size_t)((blank ? blank : end) - at);
        if (*at >= 'A' && *at <= 'Z' && *at != 'X') {
            uint32_t bit = 1u << (*at - 'A');
            if (seen & bit) return bad_field(at, n, "is there twice");
            seen |= bit;
        }
        int rc = parse_field(at, n, &h);
        if (rc) return rc;
        at += n;
    }
    if (!h.width) return fail(ERR_INPUT, "y4m header: the width (W) is missing");
    if (!h.height) return fail(ERR_INPUT, "y4m header: the height (H) is missing");
    if (!*h.colour) parse_colour("420jpeg", 7, &h);
    if ((int64_t)h.width * h.height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "y4m header: %d x %d pixels are over the limit of 2^28", h.width, h.height);
    *header = h;
    return 0;
}

static void chroma_size(const Y4mHeader *h, int *width, int *height) {
    *width = h->chroma_x ? (h->width + h->chroma_x - 1) / h->chroma_x : 0;
    *height = h->chroma_y ? (h->height + h->chroma_y - 1) / h->chroma_y : 0;
}

size_t y4m_frame_bytes(const Y4mHeader *h) {
    int w, h2;
    chroma_size(h, &w, &h2);
    return ((size_t)h->width * (size_t)h->height + 2 * (size_t)w * (size_t)h2) * (h->bits > 8 ? 2 : 1);
}

/* ---- colours ------------------------------------------------------------------------------------------------------
 */

typedef struct {
    double kr, kb;
} Matrix;

static Matrix matrix_for(int width, int height) {
    return width > 1024 || height > 576 ? (Matrix){0.2126, 0.0722} : (Matrix){0.299, 0.114};
}

static uint8_t clamp8(int v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row of a plane as 8 bits. */
static void narrow_row(const uint8_t *from, int count, int bits, uint8_t *to) {
    if (bits == 8) {
        memcpy(to, from, (size_t)count);
        return;
    }
    int shift = bits - 8, half = 1 << (shift - 1);
    for (int x = 0; x < count; x++) {
        int v = (from[2 * x] | from[2 * x + 1] << 8) + half;
        to[x] = clamp8(v >> shift);
    }
}

/* A row of chroma for every pixel, in 1/64 of a step. Sample k lies at pixel k*n (site 0) or k*n + (n-1)/2 (site 1);
 * `upper` and `lower` are the two rows around, `weight` that of the lower one in 1/8. */
static void spread_row(const uint8_t *upper, const uint8_t *lower, int weight, int count, int n, int site, int width,
                       int *to) {
    for (int x = 0; x < width; x++) {
        int twice = 2 * x - (site ? n - 1 : 0); /* position in 1/(2n) of a sample */
        int k = twice < 0 ? 0 : twice / (2 * n), part = twice < 0 ? 0 : twice - 2 * n * k;
        if (k > count - 1) k = count - 1, part = 0;
        int next = k + 1 < count ? k + 1 : k;
        int a = upper[k] * (8 - weight) + lower[k] * weight, b = upper[next] * (8 - weight) + lower[next] * weight;
        to[x] = (a * (2 * n - part) + b * part) * 8 / (2 * n);
    }
}

int y4m_to_image(const Y4mHeader *h, const uint8_t *planes, Image *image) {
    int channels = h->chroma_x ? 3 : 1, width = h->width, height = h->height, cw, ch;
    if (image->width != width || image->height != height || image->channels != channels || image->bits != 8) {
        image_free(image);
        int rc = image_make(image, width, height, channels, 8);
        if (rc) return rc;
    }
    chroma_size(h, &cw, &ch);
    size_t sample = h->bits > 8 ? 2 : 1, luma = (size_t)width * (size_t)height * sample,
           chroma = (size_t)cw * (size_t)ch * sample;
    int *spread = mem_array((size_t)width, 2 * sizeof *spread);
    uint8_t *rows = mem_array((size_t)width, 5); /* luma, upper and lower of both chroma planes */
    if (!spread || !rows) {
        mem_free(spread);
        mem_free(rows);
        return ERR_MEMORY;
    }
    Matrix m = matrix_for(width, height);
    double kg = 1 - m.kr - m.kb, scale_y = h->full_range ? 1 : 255.0 / 219, scale_c = h->full_range ? 1 : 255.0 / 224;
    const int64_t one = 1 << 16, yk = llrint(scale_y * (double)one), black = h->full_range ? 0 : 16,
                  rv = llrint(2 * (1 - m.kr) * scale_c * (double)one),
                  bu = llrint(2 * (1 - m.kb) * scale_c * (double)one),
                  gu = llrint(2 * m.kb * (1 - m.kb) / kg * scale_c * (double)one),
                  gv = llrint(2 * m.kr * (1 - m.kr) / kg * scale_c * (double)one);
    for (int y = 0; y < height; y++) {
        uint8_t *to = image->bytes + (size_t)y * (size_t)width * (size_t)channels;
        narrow_row(planes + (size_t)y * (size_t)width * sample, width, h->bits, rows);
        if (channels == 1) {
            for (int x = 0; x < width; x++) to[x] = clamp8((int)(((rows[x] - black) * yk + one / 2) >> 16));
            continue;
        }
        /* the same along y, in 1/8: n is 1 or 2 */
        int n = h->chroma_y, twice = 2 * y - (h->site_y ? n - 1 : 0), k = twice < 0 ? 0 : twice / (2 * n),
            weight = twice < 0 ? 0 : (twice - 2 * n * k) * 8 / (2 * n);
        if (k > ch - 1) k = ch - 1, weight = 0;
        int next = k + 1 < ch ? k + 1 : k;
        for (int c = 0; c < 2; c++) {
            const uint8_t *plane = planes + luma + (size_t)c * chroma;
            uint8_t *upper = rows + (size_t)width * (size_t)(1 + 2 * c), *lower = upper + width;
            narrow_row(plane + (size_t)k * (size_t)cw * sample, cw, h->bits, upper);
            narrow_row(plane + (size_t)next * (size_t)cw * sample, cw, h->bits, lower);
            spread_row(upper, lower, weight, cw, h->chroma_x, h->site_x, width, spread + (size_t)c * (size_t)width);
        }
        for (int x = 0; x < width; x++) {
            /* chroma in 1/64, so the products carry 22 bits of fraction */
            int64_t l = (rows[x] - black) * yk * 64, u = spread[x] - 128 * 64, v = spread[width + x] - 128 * 64,
                    half = one * 32;
            to[3 * x + 0] = clamp8((int)((l + rv * v + half) >> 22));
            to[3 * x + 1] = clamp8((int)((l - gu * u - gv * v + half) >> 22));
            to[3 * x + 2] = clamp8((int)((l + bu * u + half) >> 22));
        }
    }
    mem_free(spread);
    mem_free(rows);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

enum { BUFFER = 64 << 10 };
struct Y4mReader {
    Y4mSource source;
    void *context;
    char shown[300];
    Y4mHeader header;
    uint8_t *planes; /* one frame; taken when the first one comes, so that a header alone costs nothing */
    size_t planes_room;
    int64_t frames; /* read so far */
    uint8_t buffer[BUFFER];
    size_t at, have;
    bool ended;
    int failure; /* of an earlier call: a stream that broke stays broken */
    char why[1024];
};

static int refill(Y4mReader *r) {
    r->at = 0;
    r->have = 0;
    int rc = r->source(r->context, r->buffer, sizeof r->buffer, &r->have);
    if (!rc && r->have == 0) r->ended = true;
    return rc;
}

/* A line of at most `limit` bytes; *length without the newline. *ended: there was not one byte more. */
static int read_line(Y4mReader *r, char *line, size_t limit, size_t *length, bool *ended) {
    *length = 0;
    *ended = false;
    for (;;) {
        if (r->at == r->have) {
            int rc = r->ended ? 0 : refill(r);
            if (rc) return rc;
            if (r->ended) {
                *ended = *length == 0;
                return *ended ? 0 : fail(ERR_INPUT, "ends inside a line");
            }
        }
        char c = (char)r->buffer[r->at++];
        if (c == '\n') return 0;
        if (*length == limit) return fail(ERR_INPUT, "has no end of line within %zu bytes", limit);
        line[(*length)++] = c;
    }
}

int y4m_open(const char *name, Y4mSource source, void *context, Y4mReader **result) {
    char line[Y4M_HEADER_MAX];
    size_t length;
    bool ended;
    *result = NULL;
    Y4mReader *r = mem_zero(1, sizeof *r);
    if (!r) return ERR_MEMORY;
    r->source = source;
    r->context = context;
    err_printable(r->shown, sizeof r->shown, name);
    int rc = read_line(r, line, sizeof line, &length, &ended);
    if (rc == ERR_INPUT) {
        bool is = length >= 9 && memcmp(line, "YUV4MPEG2", 9) == 0;
        rc = is ? fail_prefix("y4m header") : fail(ERR_INPUT, "is not a y4m stream: it does not begin with YUV4MPEG2");
    } else if (!rc && ended) {
        rc = fail(ERR_INPUT, "is empty; a y4m stream begins with YUV4MPEG2");
    } else if (!rc) {
        rc = y4m_parse(line, length, &r->header);
    }
    if (rc) {
        if (rc != ERR_STOPPED) fail_prefix("%s", r->shown);
        mem_free(r);
        return rc;
    }
    *result = r;
    return 0;
}

const Y4mHeader *y4m_header(const Y4mReader *r) {
    return &r->header;
}

/* Memory grows with what really comes, not with what a header promises. */
static int read_planes(Y4mReader *r, size_t size) {
    size_t have = 0;
    while (have < size) {
        if (r->planes_room < size && have == r->planes_room) {
            size_t room = r->planes_room ? 4 * r->planes_room : (size_t)4 << 20;
            if (room > size) room = size;
            uint8_t *more = mem_grow(r->planes, room);
            if (!more) return ERR_MEMORY;
            r->planes = more;
            r->planes_room = room;
        }
        if (r->at == r->have) {
            int rc = r->ended ? 0 : refill(r);
            if (rc) return rc;
            if (r->ended) return fail(ERR_INPUT, "frame %lld is short by %zu bytes", (long long)r->frames, size - have);
        }
        size_t most = r->planes_room < size ? r->planes_room : size, n = r->have - r->at;
        if (n > most - have) n = most - have;
        memcpy(r->planes + have, r->buffer + r->at, n);
        r->at += n;
        have += n;
    }
    return 0;
}

int y4m_read(Y4mReader *r, Image *image, bool *end) {
    char line[Y4M_FRAME_HEADER_MAX];
    size_t length;
    *end = false;
    if (r->failure) return fail(r->failure, "%s", r->why);
    int rc = read_line(r, line, sizeof line, &length, end);
    if (*end && r->frames == 0) rc = fail(ERR_INPUT, "has a header and no frame");
    if (*end && !rc) return 0;
    if (rc == ERR_INPUT && !*end) rc = fail_prefix("header of frame %lld", (long long)r->frames);
    if (!rc && (length < 5 || memcmp(line, "FRAME", 5) != 0 || (length > 5 && line[5] != ' '))) {
        char text[24], shown[100];
        snprintf(text, sizeof text, "%.*s", (int)(length < 16 ? length : 16), line);
        rc = fail(ERR_INPUT, "frame %lld begins with \"%s\" and not with FRAME", (long long)r->frames,
                  err_printable(shown, sizeof shown, text));
    }
    if (!rc) rc = read_planes(r, y4m_frame_bytes(&r->header));
    if (!rc && image) rc = y4m_to_image(&r->header, r->planes, image);
    if (!rc) {
        r->frames++;
    } else if (rc == ERR_INPUT) {
        fail_prefix("%s", r->shown);
        r->failure = rc;
        snprintf(r->why, sizeof r->why, "%s", err_sentence());
    }
    return rc;
}

bool y4m_broke_off(const Y4mReader *r) {
    return r->failure && r->ended;
}

void y4m_close(Y4mReader **reader) {
    if (!*reader) return;
    mem_free((*reader)->planes);
    mem_free(*reader);
    *reader = NULL;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

int y4m_write_header(Out *out, int width, int height, int channels, Rate rate) {
    return out_print(out, "YUV4MPEG2 W%d H%d F%lld:%lld Ip A1:1 C%s XCOLORRANGE=LIMITED\n", width, height,
                     (long long)rate.over, (long long)rate.under, channels == 3 ? "444" : "mono");
}

int y4m_write_frame(Out *out, const Image *image) {
    BUG_IF(image->bits != 8, "y4m_write_frame: %d bits", image->bits);
    int rc = out_write(out, "FRAME\n", 6);
    size_t pixels = (size_t)image->width * (size_t)image->height;
    uint8_t *plane = mem_alloc(pixels);
    if (!plane) return ERR_MEMORY;
    Matrix m = matrix_for(image->width, image->height);
    double kg = 1 - m.kr - m.kb, y = 219.0 / 255, c = 224.0 / 255;
    /* rows of the matrix for Y, Cb, Cr in 1/65536 */
    double rows[3][3] = {{m.kr * y, kg * y, m.kb * y},
                         {-m.kr / (2 * (1 - m.kb)) * c, -kg / (2 * (1 - m.kb)) * c, 0.5 * c},
                         {0.5 * c, -kg / (2 * (1 - m.kr)) * c, -m.kb / (2 * (1 - m.kr)) * c}};
    for (int p = 0; !rc && p < image->channels; p++) {
        int64_t k[3], bias = (((int64_t)(p ? 128 : 16)) << 16) + (1 << 15);
        for (int i = 0; i < 3; i++) k[i] = llrint(rows[p][i] * 65536);
        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *at = image->bytes + i * (size_t)image->channels;
            int64_t r = at[0], g = image->channels == 3 ? at[1] : r, b = image->channels == 3 ? at[2] : r;
            plane[i] = clamp8((int)((k[0] * r + k[1] * g + k[2] * b + bias) >> 16));
        }
        rc = out_write(out, plane, pixels);
    }
    mem_free(plane);
    return rc;
}
