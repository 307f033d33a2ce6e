#include "data/exif.h"

#include <string.h>

bool tiff_u16(const Tiff *tiff, size_t at, uint32_t *value) {
    if (at > tiff->size || tiff->size - at < 2) return false;
    const uint8_t *p = tiff->bytes + at;
    *value = tiff->big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
    return true;
}

bool tiff_u32(const Tiff *tiff, size_t at, uint32_t *value) {
    uint32_t first, second;
    if (!tiff_u16(tiff, at, &first) || !tiff_u16(tiff, at + 2, &second)) return false;
    *value = tiff->big ? first << 16 | second : second << 16 | first;
    return true;
}

bool tiff_open(Tiff *tiff, const uint8_t *bytes, size_t size, uint32_t *directory) {
    *tiff = (Tiff){bytes, size, false};
    if (size < 8) return false;
    tiff->big = bytes[0] == 'M';
    if (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0) return false;
    return tiff_u32(tiff, 4, directory);
}

bool tiff_find(const Tiff *tiff, uint32_t directory, uint32_t tag, TiffField *field) {
    static const uint8_t unit[14] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    uint32_t entries, found, where;
    if (!tiff_u16(tiff, directory, &entries)) return false;
    for (uint32_t i = 0; i < entries; i++) {
        size_t at = (size_t)directory + 2 + 12 * (size_t)i;
        if (at > tiff->size || tiff->size - at < 12 || !tiff_u16(tiff, at, &found)) return false;
        if (found != tag) continue;
        if (!tiff_u16(tiff, at + 2, &field->type) || !tiff_u32(tiff, at + 4, &field->count)) return false;
        if (field->type == 0 || field->type > 13) return false;
        uint64_t bytes = (uint64_t)field->count * unit[field->type];
        field->at = at + 8;
        if (bytes > 4) {
            if (!tiff_u32(tiff, at + 8, &where)) return false;
            field->at = where;
        }
        if (field->at > tiff->size || bytes > tiff->size - field->at) return false;
        field->size = (size_t)bytes;
        return true;
    }
    return false;
}

bool tiff_number(const Tiff *tiff, const TiffField *field, double *value) {
    uint32_t a, b;
    if (field->count < 1) return false;
    switch (field->type) {
    case 3:
        return tiff_u16(tiff, field->at, &a) ? (*value = a, true) : false;
    case 4:
        return tiff_u32(tiff, field->at, &a) ? (*value = a, true) : false;
    case 9:
        return tiff_u32(tiff, field->at, &a) ? (*value = (int32_t)a, true) : false;
    case 5:
    case 10:
        if (!tiff_u32(tiff, field->at, &a) || !tiff_u32(tiff, field->at + 4, &b) || b == 0) return false;
        *value = field->type == 5 ? (double)a / b : (double)(int32_t)a / (int32_t)b;
        return true;
    default:
        return false;
    }
}

int exif_orientation(const uint8_t *bytes, size_t size, const char **nonsense) {
    Tiff tiff;
    TiffField field;
    uint32_t directory, entries, tag;
    *nonsense = NULL;
    if (!tiff_open(&tiff, bytes, size, &directory)) {
        *nonsense = "it does not begin with a TIFF header";
        return 1;
    }
    if (!tiff_u16(&tiff, directory, &entries)) {
        *nonsense = "its directory lies outside";
        return 1;
    }
    if (!tiff_find(&tiff, directory, 0x0112, &field)) {
        for (uint32_t i = 0; i < entries; i++) {
            if (!tiff_u16(&tiff, (size_t)directory + 2 + 12 * (size_t)i, &tag)) {
                *nonsense = "its directory is longer than itself";
                break;
            }
            if (tag == 0x0112) {
                *nonsense = "its orientation lies outside";
                break;
            }
        }
        return 1;
    }
    double value;
    if ((field.type != 3 && field.type != 4) || field.count != 1 || !tiff_number(&tiff, &field, &value)) {
        *nonsense = "its orientation is not one whole number";
        return 1;
    }
    if (value == 0) return 1; /* written by many programs for "unknown" */
    if (value > 8) {
        *nonsense = "its orientation is not 1 to 8";
        return 1;
    }
    return (int)value;
}

bool exif_fuji_parallax(const uint8_t *bytes, size_t size, double *percent) {
    Tiff tiff, fuji;
    TiffField field;
    uint32_t directory, start;
    double where;
    if (!tiff_open(&tiff, bytes, size, &directory) || !tiff_find(&tiff, directory, 0x8769, &field) || field.type != 4 ||
        !tiff_number(&tiff, &field, &where) || !tiff_find(&tiff, (uint32_t)where, 0x927c, &field) || field.size < 14 ||
        memcmp(bytes + field.at, "FUJIFILM", 8) != 0)
        return false;
    fuji = (Tiff){bytes + field.at, field.size,
                  false}; /* little-endian whatever the EXIF is; offsets from its own start */
    return tiff_u32(&fuji, 8, &start) && tiff_find(&fuji, start, 0xb211, &field) && tiff_number(&fuji, &field, percent);
}
