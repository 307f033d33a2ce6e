/* data/png.h - PNG read strictly and row by row, and written with what it holds in its text.
 *
 * The whole chunk table, all checksums and the announced sizes are checked before a picture is allocated. Rows are
 * unpacked and unfiltered as they come, so a file that breaks off is reported with the row where it does. */
#ifndef PANUM_DATA_PNG_H
#define PANUM_DATA_PNG_H
#include "data/read.h"

enum { PNG_TEXTS_MAX = 16, PNG_KEY_LENGTH = 80, PNG_TEXT_LENGTH = 1024 };
typedef struct {
    char key[PNG_KEY_LENGTH], value[PNG_TEXT_LENGTH];
} PngText;

typedef struct {
    int width, height, depth, colour; /* colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha */
    bool interlaced;
    int texts;
    PngText text[PNG_TEXTS_MAX]; /* tEXt chunks, longer ones left out; bytes as stored (Latin-1) */
} PngInfo;

bool png_is(const uint8_t *bytes, size_t size);            /* has the signature */
bool png_is_damaged(const uint8_t *bytes, size_t size);    /* was one before its first bytes were changed */
int png_fail_signature(const uint8_t *bytes, size_t size); /* the sentence about it */
/* image may be NULL: everything is checked but the picture data. info may be NULL. Sentences come without the name. */
int png_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, PngInfo *info,
               ReadNotes *notes);
const char *png_find_text(const PngInfo *info, const char *key); /* NULL when absent */

/* Writes 8- or 16-bit grey or RGB. Texts: characters above 126 and controls become "?". */
int png_write(Out *out, const Image *image, const PngText *texts, int count);
#endif
