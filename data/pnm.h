/* data/pnm.h - PNM pictures (P1 to P6; maximum 1 to 65,535), read and written. Sentences come without the file's name.
 */
#ifndef PANUM_DATA_PNM_H
#define PANUM_DATA_PNM_H
#include "data/read.h"

int pnm_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes);
int pnm_write(Out *out, const Image *image); /* P5 or P6, maximum 255 or 65,535 */

/* A reader for the text headers of PNM and PFM: words between white space, "#" starts a comment up to the line's end.
 */
typedef struct {
    const uint8_t *bytes;
    size_t size, at;
} TextHeader;
/* The next word into out, at most size-1 bytes; false at the end of the data or when it is longer. `at` is then behind
 * it, before the white space that ends it. */
bool header_word(TextHeader *header, char *out, size_t size);
#endif
