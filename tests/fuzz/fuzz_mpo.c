/* MPO index, EXIF and JPS: every picture listed lies in the file; a pair has equal sizes or there is none. */
#include "base/mem.h"
#include "data/exif.h"
#include "data/jpeg.h"
#include "data/mpo.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Mpo mpo;
    JpegInfo info;
    ReadNotes notes = {0};
    Image left, right;
    const char *nonsense;
    double percent;
    size_t before = mem_use().live;
    err_clear();
    int orientation = exif_orientation(data, size, &nonsense);
    demand(orientation >= 1 && orientation <= 8);
    exif_fuji_parallax(data, size, &percent);
    (void)mpo_is(data, size);
    if (mpo_list(data, size, &mpo, &notes)) {
        demand(*err_sentence());
        return 0;
    }
    demand(mpo.count >= 1 && mpo.count <= MPO_PICTURES_MAX && mpo.left >= 0 && mpo.left < mpo.count &&
           mpo.right < mpo.count);
    for (int i = 0; i < mpo.count; i++) {
        demand(mpo.picture[i].offset < size && mpo.picture[i].size <= size - mpo.picture[i].offset);
        if (jpeg_check(data + mpo.picture[i].offset, mpo.picture[i].size, &info, NULL) == 0 &&
            (int64_t)info.width * info.height > 1 << 20)
            return 0;
    }
    if (mpo.right >= 0) demand(mpo.picture[mpo.left].width == mpo.picture[mpo.right].width);
    err_clear();
    if (mpo_decode_pair(data, size, NULL, &left, &right, &mpo, NULL) == 0) {
        demand(left.width == right.width && left.height == right.height);
        image_free(&left);
        image_free(&right);
    } else
        demand(*err_sentence() && !left.bytes && !right.bytes);
    demand(mem_use().live == before);
    return 0;
}
