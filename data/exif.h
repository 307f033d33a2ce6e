/* data/exif.h - the few facts we take from the TIFF-like directories inside JPEG segments (EXIF, MPF, maker notes).
 * Reads nothing outside the bytes given, follows no chain of directories, allocates nothing. */
#ifndef PANUM_DATA_EXIF_H
#define PANUM_DATA_EXIF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block with TIFF byte order; all offsets count from its start. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    bool big;
} Tiff;

/* "II*\0" or "MM\0*" and the offset of the first directory; false when that is not there. */
bool tiff_open(Tiff *tiff, const uint8_t *bytes, size_t size, uint32_t *directory);
bool tiff_u16(const Tiff *tiff, size_t at, uint32_t *value);
bool tiff_u32(const Tiff *tiff, size_t at, uint32_t *value);

typedef struct {
    uint32_t type, count; /* TIFF's types: 3 short, 4 long, 5 rational, 7 bytes, 9 signed long, 10 signed rational */
    size_t at;            /* of the value itself, all of it inside the block */
    size_t size;
} TiffField;
bool tiff_find(const Tiff *tiff, uint32_t directory, uint32_t tag, TiffField *field);
bool tiff_number(const Tiff *tiff, const TiffField *field, double *value); /* the first of its numbers */

/* Orientation 1 to 8 from an APP1 segment's content after "Exif\0\0"; 1 when absent. *nonsense is set to a reason when
 * something there cannot be believed, else to NULL. */
int exif_orientation(const uint8_t *bytes, size_t size, const char **nonsense);
/* Fuji's stereo cameras: tag 0xB211 in the maker note, a shift in percent of the width that makes the pair comfortable.
 */
bool exif_fuji_parallax(const uint8_t *bytes, size_t size, double *percent);
#endif
