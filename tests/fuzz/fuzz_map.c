/* Maps: the first byte chooses what the caller says of the file, the rest is the file. Refused with a reason, or every
 * value is finite or absent (NaN), and the kind is one that was said. PNGs get their checksums put right. */
#include "base/hash.h"
#include "base/mem.h"
#include "data/map.h"
#include "tests/fuzz/memory_file.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void check(const Map *map) {
    demand(map->width > 0 && map->height > 0 && map->values);
    for (int64_t i = 0; i < (int64_t)map->width * map->height; i++) demand(!isinf(map->values[i]));
}

static void put_right(uint8_t *png, size_t size) {
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = (size_t)png[at] << 24 | (size_t)png[at + 1] << 16 | (size_t)png[at + 2] << 8 | png[at + 3];
        if (length > size - at - 12) break;
        uint32_t sum = crc32_update(0, png + at + 4, length + 4);
        for (int i = 0; i < 4; i++) png[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    static const double scales[] = {0, 4, 256, 1e-6};
    static const MapKind kinds[] = {MAP_DISPARITY, MAP_PARALLAX, MAP_MASK, MAP_OTHER};
    const MapReadOptions options = {
        .scale = scales[data[0] & 3], .kind = kinds[data[0] >> 2 & 3], .kind_given = data[0] & 16};
    uint8_t *copy = malloc(size);
    demand(copy);
    memcpy(copy, data + 1, --size);
    if (content_kind(copy, size) == CONTENT_PNG) put_right(copy, size);
    size_t before = mem_use().live;
    const char *path = memory_file(copy, size);
    Map map, u, v;
    ReadNotes notes = {0};
    err_clear();
    if (map_read(path, &options, &map, &notes)) {
        demand(*err_sentence() && !map.values);
    } else {
        check(&map);
        demand(!options.kind_given || map.kind == options.kind);
        map_free(&map);
    }
    err_clear();
    if (flow_read(path, &u, &v, &notes)) {
        demand(*err_sentence() && !u.values && !v.values);
    } else {
        check(&u);
        check(&v);
        demand(u.width == v.width && u.height == v.height);
        map_free(&u);
        map_free(&v);
    }
    demand(mem_use().live == before);
    free(copy);
    return 0;
}
