/* Optical flow (.flo): refused with a reason, or read, written and read again as the same. */
#include "base/mem.h"
#include "data/map.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Map u, v, again_u, again_v, parallax;
    size_t before = mem_use().live;
    err_clear();
    if (flow_read_memory("input", data, size, &u, &v, NULL)) {
        demand(*err_sentence() && !u.values && !v.values && mem_use().live == before);
        return 0;
    }
    Out *out = NULL;
    uint8_t *bytes = NULL;
    size_t written = 0;
    demand(out_memory(&out) == 0 && flow_write(out, &u, &v) == 0 && out_memory_take(&out, &bytes, &written) == 0);
    demand(flow_read_memory("again", bytes, written, &again_u, &again_v, NULL) == 0);
    for (int64_t i = 0; i < (int64_t)u.width * u.height; i++) {
        demand(isnan(u.values[i]) ? isnan(again_u.values[i]) : u.values[i] == again_u.values[i]);
        demand(isnan(v.values[i]) ? isnan(again_v.values[i]) : v.values[i] == again_v.values[i]);
    }
    if (content_kind(data, size) == CONTENT_FLO) {
        demand(map_read_memory("input", data, size, NULL, &parallax, NULL) == 0 && parallax.kind == MAP_PARALLAX);
        map_free(&parallax);
    }
    mem_free(bytes);
    map_free(&again_u);
    map_free(&again_v);
    map_free(&u);
    map_free(&v);
    demand(mem_use().live == before);
    return 0;
}
