/* PNM and PFM: refused with a reason, or read, written and read again as the same. */
#include "base/mem.h"
#include "data/map.h"
#include "data/pnm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void image_again(const Image *image) {
    Out *out = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    Image again;
    demand(out_memory(&out) == 0 && pnm_write(out, image) == 0 && out_memory_take(&out, &bytes, &size) == 0);
    demand(image_read_memory("again", bytes, size, NULL, &again, NULL) == 0);
    demand(again.width == image->width && again.height == image->height && again.channels == image->channels &&
           again.bits == image->bits);
    demand(memcmp(again.bytes, image->bytes,
                  (size_t)image_pixels(image) * (size_t)image->channels * (size_t)(image->bits / 8)) == 0);
    image_free(&again);
    mem_free(bytes);
}

static void map_again(const Map *map) {
    Out *out = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    Map again;
    demand(out_memory(&out) == 0 && map_write_pfm(out, map, NULL) == 0 && out_memory_take(&out, &bytes, &size) == 0);
    demand(map_read_memory("again", bytes, size, NULL, &again, NULL) == 0);
    demand(again.width == map->width && again.height == map->height && again.kind == map->kind);
    for (int64_t i = 0; i < (int64_t)map->width * map->height; i++) {
        demand(isnan(map->values[i]) ? isnan(again.values[i]) : map->values[i] == again.values[i]);
        demand(!isinf(map->values[i]));
    }
    map_free(&again);
    mem_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ReadOptions as_stored = {.as_stored = true};
    static const MapReadOptions scaled = {.scale = 4};
    Image image;
    Map map;
    size_t before = mem_use().live;
    ContentKind kind = content_kind(data, size);
    err_clear();
    if (kind == CONTENT_PNM) {
        mem_reset_peak();
        if (image_read_memory("input", data, size, NULL, &image, NULL) == 0) {
            image_again(&image);
            image_free(&image);
        } else
            demand(*err_sentence() && !image.bytes);
        demand(mem_use().peak - before <= 64 * size + ((size_t)64 << 20));
        if (image_read_memory("input", data, size, &as_stored, &image, NULL) == 0) image_free(&image);
    }
    err_clear();
    if (kind == CONTENT_PNM || kind == CONTENT_PFM) {
        if (map_read_memory("input", data, size, kind == CONTENT_PFM ? NULL : &scaled, &map, NULL) == 0) {
            map_again(&map);
            map_free(&map);
        } else
            demand(*err_sentence() && !map.values);
    }
    demand(mem_use().live == before);
    return 0;
}
