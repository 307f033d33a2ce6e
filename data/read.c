#include "data/read.h"
#include "base/mem.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/pnm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void read_note(ReadNotes *notes, const char *format, ...) {
    if (!notes || notes->count >= READ_NOTES_MAX) return;
    va_list args;
    va_start(args, format);
    vsnprintf(notes->text[notes->count++], READ_NOTE_LENGTH, format, args);
    va_end(args);
}

static bool starts(const uint8_t *bytes, size_t size, const char *with, size_t n) {
    return size >= n && memcmp(bytes, with, n) == 0;
}

ContentKind content_kind(const uint8_t *bytes, size_t size) {
    if (png_is(bytes, size)) return CONTENT_PNG;
    if (starts(bytes, size, "\xff\xd8\xff", 3)) return CONTENT_JPEG;
    if (size >= 3 && bytes[0] == 'P' &&
        (bytes[2] == '\n' || bytes[2] == '\r' || bytes[2] == ' ' || bytes[2] == '\t' || bytes[2] == '#')) {
        if (bytes[1] >= '1' && bytes[1] <= '6') return CONTENT_PNM;
        if (bytes[1] == 'F' || bytes[1] == 'f') return CONTENT_PFM;
    }
    if (starts(bytes, size, "PIEH", 4)) return CONTENT_FLO;
    if (starts(bytes, size, "\x93NUMPY", 6)) return CONTENT_NPY;
    if (starts(bytes, size, "PK\3\4", 4) || starts(bytes, size, "PK\5\6", 4)) return CONTENT_ZIP;
    return CONTENT_UNKNOWN;
}

/* Finds `word` (small letters) near the start, whatever its case. */
static bool mentions(const uint8_t *bytes, size_t size, const char *word) {
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= size && at < 512; at++) {
        size_t i = 0;
        while (i < n && (bytes[at + i] | 0x20) == (uint8_t)word[i]) i++;
        if (i == n) return true;
    }
    return false;
}

int fail_unknown_content(const uint8_t *bytes, size_t size, const char *wanted) {
    static const struct {
        const char *start;
        int offset, length;
        const char *what;
    } known[] = {
        {"\x1f\x8b", 0, 2, "is gzip; unpack it first (gunzip)"},
        {"BZh", 0, 3, "is bzip2; unpack it first (bunzip2)"},
        {"\xfd"
         "7zXZ",
         0, 5, "is xz; unpack it first (unxz)"},
        {"\x28\xb5\x2f\xfd", 0, 4, "is zstd; unpack it first (zstd -d)"},
        {"version https://git-lfs", 0, 23, "is a git-LFS pointer, not the file itself; run: git lfs pull"},
        {"GIF8", 0, 4, "is GIF; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"BM", 0, 2, "is BMP; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"II*\0", 0, 4, "is TIFF; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"MM\0*", 0, 4, "is TIFF; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"WEBP", 8, 4, "is WebP; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"ftypheic", 4, 8, "is HEIC; convert it to PNG (heif-convert)"},
        {"ftypmif1", 4, 8, "is HEIF; convert it to PNG (heif-convert)"},
        {"ftypavif", 4, 8, "is AVIF; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"\x76\x2f\x31\x01", 0, 4, "is OpenEXR; convert it to 16-bit PNG or PFM"},
        {"\xff\x4f\xff\x51", 0, 4, "is JPEG 2000; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"\0\0\0\x0cjP  ", 0, 8, "is JPEG 2000; convert it to PNG (ffmpeg -i IN OUT.png)"},
        {"8BPS", 0, 4, "is a Photoshop file; export it as PNG"},
        {"%PDF", 0, 4, "is PDF"},
        {"\x7f"
         "ELF",
         0, 4, "is a program"},
        {"ftyp", 4, 4, "is a film (MP4 or MOV), not a still"},
        {"\x1a\x45\xdf\xa3", 0, 4, "is a film (Matroska or WebM), not a still"},
        {"YUV4MPEG2", 0, 9, "is a y4m film, not a still"},
    };
    if (size == 0) return fail(ERR_INPUT, "is empty (0 bytes)");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t offset = (size_t)known[i].offset, length = (size_t)known[i].length;
        if (size >= offset + length && memcmp(bytes + offset, known[i].start, length) == 0)
            return fail(ERR_INPUT, "is not %s: it %s", wanted, known[i].what);
    }
    if (png_is_damaged(bytes, size)) return png_fail_signature(bytes, size);
    if (mentions(bytes, size, "<!doctype html") || mentions(bytes, size, "<html"))
        return fail(ERR_INPUT, "is not %s: it is an HTML page; the download gave a web page instead of the file",
                    wanted);
    switch (content_kind(bytes, size)) {
    case CONTENT_PFM:
        return fail(ERR_INPUT, "is not %s: it is a PFM map of numbers", wanted);
    case CONTENT_FLO:
        return fail(ERR_INPUT, "is not %s: it is a map of optical flow (.flo)", wanted);
    case CONTENT_NPY:
        return fail(ERR_INPUT, "is not %s: it is a NumPy array (.npy)", wanted);
    case CONTENT_ZIP:
        return fail(ERR_INPUT, "is not %s: it is a zip archive (.npz?)", wanted);
    case CONTENT_PNG:
        return fail(ERR_INPUT, "is not %s: it is a PNG picture", wanted);
    case CONTENT_JPEG:
        return fail(ERR_INPUT, "is not %s: it is a JPEG picture", wanted);
    case CONTENT_PNM:
        return fail(ERR_INPUT, "is not %s: it is a PNM picture", wanted);
    case CONTENT_UNKNOWN:
        break;
    }
    bool zeros = true;
    char hex[32] = "";
    for (size_t i = 0; i < size && zeros; i++) zeros = bytes[i] == 0;
    if (zeros) return fail(ERR_INPUT, "is not %s: all its %zu bytes are zero", wanted, size);
    for (size_t i = 0; i < 8 && i < size; i++) snprintf(hex + 3 * i, sizeof hex - 3 * i, "%02x ", bytes[i]);
    hex[strlen(hex) - 1] = 0;
    return fail(ERR_INPUT, "is not %s that is known here: it begins with %s (PNG, JPEG, MPO and PNM are read)", wanted,
                hex);
}

int image_read_memory(const char *name, const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image,
                      ReadNotes *notes) {
    static const ReadOptions strict;
    char shown[300];
    int error;
    if (!options) options = &strict;
    memset(image, 0, sizeof *image);
    switch (content_kind(bytes, size)) {
    case CONTENT_PNG:
        if (notes) notes->format = "PNG";
        error = png_decode(bytes, size, options, image, NULL, notes);
        break;
    case CONTENT_JPEG:
        if (notes) notes->format = "JPEG";
        error = jpeg_decode(bytes, size, options, image, notes);
        break;
    case CONTENT_PNM:
        if (notes) notes->format = "PNM";
        error = pnm_decode(bytes, size, options, image, notes);
        break;
    default:
        error = fail_unknown_content(bytes, size, "a picture");
    }
    return error ? fail_prefix("%s", err_printable(shown, sizeof shown, name)) : 0;
}

int image_read(const char *path, const ReadOptions *options, Image *image, ReadNotes *notes) {
    uint8_t *bytes;
    size_t size;
    memset(image, 0, sizeof *image);
    int error = file_read(path, IMAGE_FILE_MAX, &bytes, &size);
    if (error) return error;
    error = image_read_memory(path, bytes, size, options, image, notes);
    mem_free(bytes);
    return error;
}
