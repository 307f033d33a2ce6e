/* File names: the first two bytes are a frame's size, the rest is where it lies. Some layout comes out, with evidence,
 * and a frame that can be taken apart so has two eyes of equal size within it. */
#include "base/err.h"
#include "data/stereo.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    int width = 16 * data[0] + 1 + data[1] % 3, height = 16 * data[1] + 1 + data[0] % 3;
    char *path = malloc(size - 1);
    demand(path);
    memcpy(path, data + 2, size - 2);
    path[size - 2] = 0;
    const StereoOptions options = {0};
    LayoutDecision d;
    err_clear();
    demand(layout_decide(path, width, height, NULL, &options, &d) == 0);
    demand(d.layout != LAYOUT_AUTO && d.layout != LAYOUT_CROSS && layout_words(d.layout) && layout_name(d.layout));
    demand(memchr(d.evidence, 0, sizeof d.evidence) && *d.evidence);
    StereoLayout named, again; /* some names have others beside them: ou is tb */
    if (layout_parse(path, &named)) demand(layout_parse(layout_name(named), &again) && again == named);
    if (d.layout != LAYOUT_PAIR && d.layout != LAYOUT_MPO && layout_check(&d, width, height) == 0) {
        int w = 0, h = 0;
        layout_eye_size(&d, width, height, &w, &h);
        demand(w > 0 && h > 0 && w <= width && h <= height);
    }
    free(path);
    return 0;
}
