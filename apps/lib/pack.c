#include "apps/lib/pack.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/png.h"

#include <string.h>

static int check_sizes(const Image *left, const Image *right) {
    if (left->width == right->width && left->height == right->height) return 0;
    return fail(ERR_INPUT, "the left picture is %dx%d and the right one %dx%d pixels; they must have one size",
                left->width, left->height, right->width, right->height);
}

/* Copies of both with equal bits and channels. */
static int equal_copies(Image *l, Image *r, const Image *left, const Image *right) {
    memset(l, 0, sizeof *l);
    memset(r, 0, sizeof *r);
    int rc = check_sizes(left, right);
    if (!rc) rc = image_copy(l, left);
    if (!rc) rc = image_copy(r, right);
    if (!rc && left->bits != right->bits) {
        rc = image_to_8bit(l);
        if (!rc) rc = image_to_8bit(r);
    }
    if (!rc && left->channels != right->channels) {
        rc = image_to_rgb(l);
        if (!rc) rc = image_to_rgb(r);
    }
    if (rc) {
        image_free(l);
        image_free(r);
    }
    return rc;
}

static size_t row_bytes(const Image *image) {
    return (size_t)image->width * (size_t)image->channels * (size_t)(image->bits / 8);
}

static void paste(Image *out, const Image *in, int x, int y) {
    size_t pixel = (size_t)out->channels * (size_t)(out->bits / 8);
    for (int row = 0; row < in->height; row++)
        memcpy(out->bytes + (size_t)(y + row) * row_bytes(out) + (size_t)x * pixel,
               in->bytes + (size_t)row * row_bytes(in), row_bytes(in));
}

static int resize_in_place(Image *image, int width, int height) {
    Image small;
    int rc = image_resize(&small, image, width, height);
    if (rc) return rc;
    image_free(image);
    *image = small;
    return 0;
}

int pack_images(Image *out, const Image *left, const Image *right, PackLayout layout, AnaglyphKind kind) {
    if (layout == PACK_ANAGLYPH) return anaglyph_make(out, left, right, kind);
    Image l, r;
    int rc = equal_copies(&l, &r, left, right);
    if (rc) return rc;
    if (layout == PACK_CROSS) {
        Image exchange = l;
        l = r;
        r = exchange;
    }
    bool beside = layout == PACK_SBS || layout == PACK_HSBS || layout == PACK_CROSS;
    int width = l.width, height = l.height;
    if (layout == PACK_HSBS) width = width > 1 ? width / 2 : 1;
    if (layout == PACK_HTB) height = height > 1 ? height / 2 : 1;
    if (layout == PACK_HSBS || layout == PACK_HTB) {
        rc = resize_in_place(&l, width, height);
        if (!rc) rc = resize_in_place(&r, width, height);
    }
    if (layout == PACK_ROWS) {
        for (int y = 1; y < height && !rc; y += 2)
            memcpy(l.bytes + (size_t)y * row_bytes(&l), r.bytes + (size_t)y * row_bytes(&r), row_bytes(&l));
        *out = l;
        image_free(&r);
        return 0;
    }
    if (!rc) rc = image_make(out, beside ? 2 * width : width, beside ? height : 2 * height, l.channels, l.bits);
    if (!rc) {
        paste(out, &l, 0, 0);
        paste(out, &r, beside ? width : 0, beside ? 0 : height);
    }
    image_free(&l);
    image_free(&r);
    return rc;
}

static int crop_in_place(Image *image, int from, int width) {
    Image part;
    int rc = image_crop(&part, image, from, 0, width, image->height);
    if (rc) return rc;
    image_free(image);
    *image = part;
    return 0;
}

int pack_shift(Image *left, Image *right, int shift) {
    int rc = check_sizes(left, right), columns = shift < 0 ? -shift : shift;
    if (rc || !shift) return rc;
    if (columns >= left->width)
        return fail(ERR_USAGE, "a shift of %d px leaves nothing of pictures %d px wide", shift, left->width);
    int width = left->width - columns;
    rc = crop_in_place(left, shift > 0 ? columns : 0, width);
    return rc ? rc : crop_in_place(right, shift < 0 ? columns : 0, width);
}

/* ---- animated PNG: the chunks of two PNGs, put together ---- */

static void put32(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* A chunk whose data are `head` followed by `body`. */
static int write_chunk(Out *out, const char *type, const uint8_t *head, size_t head_size, const uint8_t *body,
                       size_t body_size) {
    uint8_t length[4], name[4], sum[4];
    put32(length, (uint32_t)(head_size + body_size));
    memcpy(name, type, 4);
    uint32_t crc = crc32_update(0, name, 4);
    if (head_size) crc = crc32_update(crc, head, head_size);
    if (body_size) crc = crc32_update(crc, body, body_size);
    put32(sum, crc);
    int rc = out_write(out, length, 4);
    if (!rc) rc = out_write(out, name, 4);
    if (!rc && head_size) rc = out_write(out, head, head_size);
    if (!rc && body_size) rc = out_write(out, body, body_size);
    return rc ? rc : out_write(out, sum, 4);
}

static int png_in_memory(const Image *image, uint8_t **bytes, size_t *size) {
    Out *out;
    int rc = out_memory(&out);
    if (rc) return rc;
    rc = png_write(out, image, NULL, 0);
    if (!rc) return out_memory_take(&out, bytes, size);
    out_abort(&out);
    return rc;
}

/* The picture data of our own PNG again: IDAT as it is for the first frame, fdAT with a running number for the second.
 */
static int copy_frame(Out *out, const uint8_t *png, size_t size, bool first, uint32_t *number) {
    int rc = 0;
    for (size_t at = 8; at + 12 <= size && !rc; at += 12 + get32(png + at)) {
        uint32_t length = get32(png + at);
        if (memcmp(png + at + 4, "IDAT", 4) != 0) continue;
        uint8_t head[4];
        put32(head, *number);
        if (!first) ++*number;
        rc = write_chunk(out, first ? "IDAT" : "fdAT", head, first ? 0 : 4, png + at + 8, length);
    }
    return rc;
}

static int write_control(Out *out, const Image *image, int milliseconds, uint32_t *number) {
    uint8_t control[26] = {0}; /* number, width, height, x, y, delay numerator and denominator, dispose, blend */
    put32(control, (*number)++);
    put32(control + 4, (uint32_t)image->width);
    put32(control + 8, (uint32_t)image->height);
    control[20] = (uint8_t)(milliseconds >> 8), control[21] = (uint8_t)milliseconds;
    control[22] = 1000 >> 8, control[23] = 1000 & 255;
    return write_chunk(out, "fcTL", control, sizeof control, NULL, 0);
}

int wiggle_write(Out *out, const Image *left, const Image *right, int milliseconds) {
    if (milliseconds < 1 || milliseconds > 65535)
        return fail(ERR_USAGE, "a frame lasts 1 to 65535 ms, not %d", milliseconds);
    Image eye[2];
    uint8_t *png[2] = {NULL, NULL};
    size_t size[2];
    int rc = equal_copies(&eye[0], &eye[1], left, right);
    if (rc) return rc;
    for (int i = 0; i < 2 && !rc; i++) rc = png_in_memory(&eye[i], &png[i], &size[i]);
    const uint8_t animation[8] = {0, 0, 0, 2}; /* two frames, repeated without end */
    uint32_t number = 0;
    if (!rc) rc = out_write(out, png[0], 8 + 25); /* the signature and IHDR */
    if (!rc) rc = write_chunk(out, "acTL", animation, sizeof animation, NULL, 0);
    for (int i = 0; i < 2 && !rc; i++) {
        rc = write_control(out, &eye[i], milliseconds, &number);
        if (!rc) rc = copy_frame(out, png[i], size[i], i == 0, &number);
    }
    if (!rc) rc = write_chunk(out, "IEND", NULL, 0, NULL, 0);
    for (int i = 0; i < 2; i++) {
        mem_free(png[i]);
        image_free(&eye[i]);
    }
    return rc;
}
