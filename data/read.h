/* data/read.h - pictures from outside, recognised by their content, never by their name.
 *
 * PNG (all colour types, 1 to 16 bits, interlaced), JPEG (8-bit baseline and progressive; grey, YCbCr, RGB, CMYK and
 * YCCK), PNM (P1 to P6, 8 and 16 bits), and the first picture of an MPO. What is not read is named with what to do.
 *
 * Rules. Alpha is dropped. PNG and PNM below 8 bits are widened to the full range of 8 bits; samples with another
 * maximum than 255 or 65,535 are scaled to the full range. CMYK becomes RGB by r = c*k/255 in the inverted samples
 * that Adobe writes. EXIF orientation 1 to 8 is applied; any other, and EXIF that makes no sense, is ignored with a
 * note. A file is checked before it is decoded: sides and pixels (data/image.h), table and chunk sizes, checksums;
 * memory beyond the decoded picture is at most 16 times the file and 64 MiB. */
#ifndef PANUM_DATA_READ_H
#define PANUM_DATA_READ_H
#include "data/image.h"

typedef struct {
    bool ignore_crc; /* PNG with wrong checksums is decoded, with a note */
    bool lenient;    /* a JPEG that breaks off is decoded as far as it goes, with a note */
    bool as_stored;  /* EXIF orientation is left alone, samples are not scaled to the full range: for maps */
} ReadOptions;       /* all zero: strict; a null pointer means the same */

/* What a person may want to know although reading succeeded. */
enum { READ_NOTES_MAX = 12, READ_NOTE_LENGTH = 200 };
typedef struct {
    int count;
    char text[READ_NOTES_MAX][READ_NOTE_LENGTH]; /* whole sentences without a full stop */
    const char *format;                          /* "PNG", "JPEG", "PNM", "MPO": what the content was; NULL before */
} ReadNotes;

void read_note(ReadNotes *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum { IMAGE_FILE_MAX = 1 << 30 }; /* bytes; larger files are refused before they are read */

/* On failure the image is empty. notes may be NULL. `name` is only for sentences. */
int image_read(const char *path, const ReadOptions *options, Image *image, ReadNotes *notes);
int image_read_memory(const char *name, const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image,
                      ReadNotes *notes);

typedef enum {
    CONTENT_UNKNOWN,
    CONTENT_PNG,
    CONTENT_JPEG,
    CONTENT_PNM,
    CONTENT_PFM,
    CONTENT_FLO,
    CONTENT_NPY,
    CONTENT_ZIP,
} ContentKind;
/* What the first bytes say. */
ContentKind content_kind(const uint8_t *bytes, size_t size);
/* Fails with a sentence that names what the bytes are, if it is known, and why they are not what `wanted` says
 * ("a picture", "a map"). Always returns an error. */
int fail_unknown_content(const uint8_t *bytes, size_t size, const char *wanted);
#endif
