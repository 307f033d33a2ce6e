/* data/mpo.h - MPO: several JPEGs in one file (CIPA DC-007), as stereo cameras write them; read, not written.
 *
 * Rules. The index in the first picture (APP2 "MPF") is used when every entry lies in the file, begins as a JPEG and
 * overlaps no other; else the pictures are found by walking from one end marker to the next (never by searching for
 * bytes, so that thumbnails inside segments are not taken for pictures), and a note says so.
 * The pair is the first two of the largest pictures of equal size; the first of them is the left eye. Entries that the
 * index calls thumbnails are left out. A shift in percent of the width that the camera suggests is reported, not
 * applied. */
#ifndef PANUM_DATA_MPO_H
#define PANUM_DATA_MPO_H
#include "data/read.h"

enum { MPO_PICTURES_MAX = 16 };

typedef struct {
    size_t offset, size;
    uint32_t type; /* of the index: 0x030000 primary, 0x010001 and 0x010002 thumbnails, 0x020002 stereo; 0 unknown */
    int width, height; /* after its orientation; 0 when it could not be read */
} MpoPicture;

typedef struct {
    int count;
    MpoPicture picture[MPO_PICTURES_MAX];
    bool from_index;                    /* else found by walking */
    int left, right;                    /* which pictures; right is -1 when there is no second of equal size */
    bool has_parallax;                  /* Fuji's suggested shift */
    double parallax;                    /* in percent of the width, sign as the camera wrote it */
    bool has_baseline, has_convergence; /* index tags 0xB206, 0xB205 */
    double baseline, convergence;       /* metres, degrees, as written */
} Mpo;

/* Lists the pictures. ERR_INPUT only when the first one cannot be read, or when there are more than 16. */
int mpo_list(const uint8_t *bytes, size_t size, Mpo *mpo, ReadNotes *notes);
/* Both eyes; ERR_INPUT "right eye missing" with the reason when there is no pair. Sentences without the file's name. */
int mpo_decode_pair(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *left, Image *right, Mpo *mpo,
                    ReadNotes *notes);
/* Is this JPEG more than one picture? True when it has an index of two or more, or a second JPEG after its end. */
bool mpo_is(const uint8_t *bytes, size_t size);
#endif
