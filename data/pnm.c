#include "data/pnm.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(TextHeader *header) {
    while (header->at < header->size) {
        uint8_t c = header->bytes[header->at];
        if (c == '#') {
            const uint8_t *line = memchr(header->bytes + header->at, '\n', header->size - header->at);
            header->at = line ? (size_t)(line - header->bytes) : header->size;
        } else if (is_space(c)) {
            header->at++;
        } else {
            break;
        }
    }
}

bool header_word(TextHeader *header, char *out, size_t size) {
    skip_space(header);
    size_t n = 0;
    while (header->at < header->size && !is_space(header->bytes[header->at]) && header->bytes[header->at] != '#') {
        if (n + 1 >= size) return false;
        out[n++] = (char)header->bytes[header->at++];
    }
    out[n] = 0;
    return n > 0;
}

/* A whole number of the header, 0 to 999,999,999. */
static int header_number(TextHeader *header, const char *what, int *out) {
    char word[24], shown[80];
    size_t start = header->at;
    if (!header_word(header, word, sizeof word)) {
        if (header->at >= header->size) return fail(ERR_INPUT, "PNM: the file ends before its %s", what);
        return fail(ERR_INPUT, "PNM: the %s at byte %zu has too many digits", what, start);
    }
    size_t digits = strspn(word, "0123456789");
    if (word[digits] != 0 || digits > 9)
        return fail(ERR_INPUT, "PNM: the %s is '%s', not a whole number in range", what,
                    err_printable(shown, sizeof shown, word));
    *out = atoi(word);
    return 0;
}

/* The n samples of P1 and P2: numbers in text; P1's digits need no space between them. */
static int read_text_samples(TextHeader *header, bool bits, int maximum, uint16_t *row, int n) {
    for (int i = 0; i < n; i++) {
        int value = 0;
        if (bits) {
            skip_space(header);
            if (header->at == header->size) return fail(ERR_INPUT, "the file ends");
            uint8_t c = header->bytes[header->at];
            if (c != '0' && c != '1') return fail(ERR_INPUT, "there is the byte %02x where 0 or 1 should be", c);
            header->at++;
            value = c == '0';
        } else {
            char word[8];
            if (!header_word(header, word, sizeof word)) {
                if (header->at >= header->size) return fail(ERR_INPUT, "the file ends");
                return fail(ERR_INPUT, "there is a number of more than 7 digits");
            }
            if (word[strspn(word, "0123456789")] != 0) return fail(ERR_INPUT, "there is a word that is not a number");
            value = atoi(word);
            if (value > maximum) return fail(ERR_INPUT, "there is the value %d above the maximum %d", value, maximum);
        }
        row[i] = (uint16_t)value;
    }
    return 0;
}

static void read_binary_samples(const uint8_t *in, int format, int maximum, uint16_t *row, int n) {
    if (format == 4)
        for (int i = 0; i < n; i++) row[i] = !(in[i >> 3] >> (7 - (i & 7)) & 1); /* 1 is black */
    else if (maximum < 256)
        for (int i = 0; i < n; i++) row[i] = in[i];
    else
        for (int i = 0; i < n; i++) row[i] = (uint16_t)(in[2 * i] << 8 | in[2 * i + 1]);
}

int pnm_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes) {
    TextHeader header = {bytes, size, 2};
    memset(image, 0, sizeof *image);
    if (size < 3 || bytes[0] != 'P' || bytes[1] < '1' || bytes[1] > '6') return fail(ERR_INPUT, "not PNM");
    int format = bytes[1] - '0', width, height, maximum = 1;
    bool text = format <= 3, bits = format == 1 || format == 4;
    int channels = format == 3 || format == 6 ? 3 : 1;
    int error = header_number(&header, "width", &width);
    if (!error) error = header_number(&header, "height", &height);
    if (!error && !bits) error = header_number(&header, "maximum", &maximum);
    if (error) return error;
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "PNM: %d x %d pixels; sides must be 1 to %d", width, height, IMAGE_SIDE_MAX);
    if ((int64_t)width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "PNM: %d x %d pixels; at most %lld in all are read", width, height,
                    (long long)IMAGE_PIXELS_MAX);
    if (maximum < 1 || maximum > 65535)
        return fail(ERR_INPUT, "PNM: the maximum is %d; it must be 1 to 65535", maximum);
    if (header.at >= size || !is_space(bytes[header.at])) return fail(ERR_INPUT, "PNM: the file ends after its header");
    header.at++; /* exactly one white space before binary samples */
    int samples = width * channels;
    size_t row_size = text ? 0 : format == 4 ? ((size_t)width + 7) / 8 : (size_t)samples * (maximum > 255 ? 2 : 1);
    /* A sample in text takes a digit, and but for P1 a space (not after the last one). */
    uint64_t least = (uint64_t)samples * (uint64_t)height;
    if (text)
        least = bits ? least : 2 * least - 1;
    else
        least = (uint64_t)row_size * (uint64_t)height;
    if (least > size - header.at) {
        int rows = text ? -1 : (int)((size - header.at) / row_size);
        if (rows >= 0)
            return fail(ERR_INPUT, "PNM: the picture ends at row %d of %d: %llu bytes of %llu are missing", rows,
                        height, (unsigned long long)(least - (size - header.at)), (unsigned long long)least);
        return fail(ERR_INPUT, "PNM: %d x %d pixels cannot be in the %zu bytes after the header", width, height,
                    size - header.at);
    }
    int depth = maximum > 255 ? 16 : 8, full = depth == 16 ? 65535 : 255;
    bool scale = maximum != full && !options->as_stored;
    error = image_make(image, width, height, channels, depth);
    uint16_t *row = error ? NULL : mem_array((size_t)samples, sizeof(uint16_t));
    if (!error && !row) error = (int)err_code();
    int64_t above = 0;
    for (int y = 0; !error && y < height; y++) {
        if (text) {
            error = read_text_samples(&header, bits, maximum, row, samples);
            if (error) error = fail_prefix("PNM: in row %d of %d", y, height);
        } else {
            read_binary_samples(bytes + header.at, format, maximum, row, samples);
            header.at += row_size;
        }
        for (int i = 0; !error && i < samples; i++) {
            unsigned value = row[i];
            if (value > (unsigned)maximum) {
                above++;
                value = (unsigned)maximum;
            }
            if (scale) value = (value * (unsigned)full + (unsigned)maximum / 2) / (unsigned)maximum;
            size_t at = (size_t)y * (size_t)samples + (size_t)i;
            if (depth == 8)
                image->bytes[at] = (uint8_t)value;
            else
                image_16(image)[at] = (uint16_t)value;
        }
    }
    mem_free(row);
    if (error) {
        image_free(image);
        return error;
    }
    if (above) read_note(notes, "%lld samples above the maximum %d were clipped", (long long)above, maximum);
    if (text) skip_space(&header);
    if (header.at < size) read_note(notes, "%zu bytes after the picture are ignored", size - header.at);
    return 0;
}

int pnm_write(Out *out, const Image *image) {
    int error = out_print(out, "P%d\n%d %d\n%d\n", image->channels == 1 ? 5 : 6, image->width, image->height,
                          image->bits == 8 ? 255 : 65535);
    size_t n = (size_t)image_pixels(image) * (size_t)image->channels;
    if (error || image->bits == 8) return error ? error : out_write(out, image->bytes, n);
    for (size_t i = 0; !error && i < n; i++) {
        uint8_t pair[2] = {(uint8_t)(image_16(image)[i] >> 8), (uint8_t)image_16(image)[i]};
        error = out_write(out, pair, 2);
    }
    return error;
}
