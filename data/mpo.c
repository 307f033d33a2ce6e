#include "data/mpo.h"
#include "base/mem.h"
#include "data/exif.h"
#include "data/jpeg.h"

#include <string.h>

enum { TAG_COUNT = 0xb001, TAG_ENTRIES = 0xb002, TAG_CONVERGENCE = 0xb205, TAG_BASELINE = 0xb206 };

static bool begins_jpeg(const uint8_t *bytes, size_t size, size_t at) {
    return at < size && size - at >= 4 && bytes[at] == 0xff && bytes[at + 1] == 0xd8 && bytes[at + 2] == 0xff;
}

static void read_tag(const Tiff *tiff, uint32_t directory, uint32_t tag, bool *has, double *value) {
    TiffField field;
    if (tiff_find(tiff, directory, tag, &field) && tiff_number(tiff, &field, value)) *has = true;
}

/* Fills the list from the index; returns why it cannot be used, or NULL. */
static const char *use_index(const uint8_t *bytes, size_t size, const JpegInfo *first, Mpo *mpo) {
    Tiff tiff;
    TiffField field;
    uint32_t directory;
    double count;
    if (!tiff_open(&tiff, first->mpf, first->mpf_size, &directory)) return "it has no byte order";
    if (!tiff_find(&tiff, directory, TAG_COUNT, &field) || !tiff_number(&tiff, &field, &count))
        return "it does not say how many pictures there are";
    if (!tiff_find(&tiff, directory, TAG_ENTRIES, &field)) return "its list of pictures lies outside";
    if (count < 1 || count > MPO_PICTURES_MAX) return "its number of pictures is not 1 to 16";
    if (field.type != 7 || field.size < 16 * (size_t)count) return "its list of pictures is too short";
    size_t base = (size_t)(first->mpf - bytes);
    for (int i = 0; i < (int)count; i++) {
        uint32_t attribute = 0, length = 0, offset = 0;
        size_t at = field.at + 16 * (size_t)i;
        tiff_u32(&tiff, at, &attribute);
        tiff_u32(&tiff, at + 4, &length);
        tiff_u32(&tiff, at + 8, &offset);
        MpoPicture *p = &mpo->picture[i];
        *p = (MpoPicture){.offset = offset ? base + offset : 0, .size = length, .type = attribute & 0xffffff};
        if (i == 0 && offset != 0) return "its first picture is not at the start";
        if (i > 0 && offset == 0) return "two of its pictures are at the start";
        if (p->offset >= size || p->size > size - p->offset) return "it points outside the file";
        if (!begins_jpeg(bytes, p->offset + p->size, p->offset)) return "it points to where no JPEG begins";
        for (int j = 0; j < i; j++)
            if (p->offset < mpo->picture[j].offset + mpo->picture[j].size &&
                mpo->picture[j].offset < p->offset + p->size)
                return "its pictures overlap";
    }
    uint32_t entries, attributes;
    if (tiff_u16(&tiff, directory, &entries) &&
        tiff_u32(&tiff, (size_t)directory + 2 + 12 * (size_t)entries, &attributes) && attributes) {
        read_tag(&tiff, attributes, TAG_CONVERGENCE, &mpo->has_convergence, &mpo->convergence);
        read_tag(&tiff, attributes, TAG_BASELINE, &mpo->has_baseline, &mpo->baseline);
    }
    mpo->count = (int)count;
    return NULL;
}

/* From the end of one picture to the next: zeros or up to 64 KiB of anything may lie between (cameras align pictures).
 */
static size_t next_picture(const uint8_t *bytes, size_t size, size_t at) {
    enum { GAP_MAX = 64 << 10 };
    for (size_t end = at; end < size; end++) {
        if (begins_jpeg(bytes, size, end)) return end;
        if (bytes[end] != 0 && end - at >= GAP_MAX) break;
    }
    return size;
}

static int walk_pictures(const uint8_t *bytes, size_t size, const JpegInfo *first, Mpo *mpo) {
    mpo->count = 1;
    mpo->picture[0] = (MpoPicture){.size = first->end};
    for (size_t at = next_picture(bytes, size, first->end); at < size;) {
        JpegInfo info;
        if (mpo->count == MPO_PICTURES_MAX) return fail(ERR_INPUT, "MPO: more than %d pictures", MPO_PICTURES_MAX);
        MpoPicture *p = &mpo->picture[mpo->count++];
        *p = (MpoPicture){.offset = at, .size = size - at};
        if (jpeg_check(bytes + at, size - at, &info, NULL)) break; /* a broken one is the last that can be found */
        p->size = info.end;
        at = next_picture(bytes, size, at + info.end);
    }
    return 0;
}

static void choose_pair(Mpo *mpo) {
    mpo->left = 0;
    mpo->right = -1;
    int64_t most = 0;
    for (int i = 0; i < mpo->count; i++)
        for (int j = i + 1; j < mpo->count; j++) {
            const MpoPicture *a = &mpo->picture[i], *b = &mpo->picture[j];
            bool thumbnail = (a->type & 0xff0000) == 0x010000 || (b->type & 0xff0000) == 0x010000;
            int64_t pixels = (int64_t)a->width * a->height;
            if (thumbnail || a->width != b->width || a->height != b->height || pixels <= most) continue;
            most = pixels;
            mpo->left = i;
            mpo->right = j;
        }
}

int mpo_list(const uint8_t *bytes, size_t size, Mpo *mpo, ReadNotes *notes) {
    JpegInfo first;
    *mpo = (Mpo){.right = -1};
    int error = jpeg_check(bytes, size, &first, NULL);
    if (error) return error;
    const char *trouble = first.mpf ? use_index(bytes, size, &first, mpo) : "there is none";
    mpo->from_index = !trouble;
    if (trouble) {
        *mpo = (Mpo){.right = -1};
        error = walk_pictures(bytes, size, &first, mpo);
        if (error) return error;
        if (first.mpf)
            read_note(notes, "the MPO's index is not used: %s; %d picture%s found by walking through the file", trouble,
                      mpo->count, mpo->count == 1 ? " was" : "s were");
    }
    for (int i = 0; i < mpo->count; i++) {
        MpoPicture *p = &mpo->picture[i];
        JpegInfo info;
        if (jpeg_check(bytes + p->offset, p->size, &info, NULL) != 0) continue;
        p->width = jpeg_shown_width(&info);
        p->height = jpeg_shown_height(&info);
        double percent;
        if (info.exif && exif_fuji_parallax(info.exif, info.exif_size, &percent) &&
            (!mpo->has_parallax || mpo->parallax == 0)) {
            mpo->has_parallax = true;
            mpo->parallax = percent;
        }
    }
    err_clear();
    choose_pair(mpo);
    if (mpo->has_parallax)
        read_note(notes, "the camera suggests a shift of %.2f %% of the width; it is not applied", mpo->parallax);
    if (mpo->count > 2) read_note(notes, "%d pictures; %d and %d are used", mpo->count, mpo->left + 1, mpo->right + 1);
    return 0;
}

static int fail_no_pair(const uint8_t *bytes, const Mpo *mpo) {
    JpegInfo info;
    if (mpo->count == 1)
        return fail(ERR_INPUT, "MPO: right eye missing: the file holds one picture; --layout mono uses it alone");
    for (int i = 1; i < mpo->count; i++) {
        const MpoPicture *p = &mpo->picture[i];
        if (p->width == 0 && jpeg_check(bytes + p->offset, p->size, &info, NULL))
            return fail_prefix("MPO: right eye missing: picture %d at byte %zu", i + 1, p->offset);
    }
    return fail(ERR_INPUT,
                "MPO: right eye missing: no two of the %d pictures have the same size (%d x %d and %d x %d); --layout "
                "mono uses the first",
                mpo->count, mpo->picture[0].width, mpo->picture[0].height, mpo->picture[1].width,
                mpo->picture[1].height);
}

int mpo_decode_pair(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *left, Image *right, Mpo *mpo,
                    ReadNotes *notes) {
    memset(left, 0, sizeof *left);
    memset(right, 0, sizeof *right);
    int error = mpo_list(bytes, size, mpo, notes);
    if (error) return error;
    if (mpo->right < 0) return fail_no_pair(bytes, mpo);
    const MpoPicture *l = &mpo->picture[mpo->left], *r = &mpo->picture[mpo->right];
    error = jpeg_decode(bytes + l->offset, l->size, options, left, notes);
    if (error)
        error = fail_prefix("MPO: left eye");
    else {
        error = jpeg_decode(bytes + r->offset, r->size, options, right, notes);
        if (error) error = fail_prefix("MPO: right eye");
    }
    if (error) {
        image_free(left);
        image_free(right);
    } else if (notes)
        notes->format = "MPO";
    return error;
}

bool mpo_is(const uint8_t *bytes, size_t size) {
    JpegInfo info;
    Mpo mpo = {0};
    if (jpeg_check(bytes, size, &info, NULL) != 0) return false;
    if (info.mpf) return use_index(bytes, size, &info, &mpo) != NULL || mpo.count > 1;
    return info.whole && next_picture(bytes, size, info.end) < size;
}
