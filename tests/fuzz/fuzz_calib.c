/* Calibrations: refused with a reason, or a camera that puts a point at a finite, positive depth. */
#include "apps/lib/ply.h"
#include "base/err.h"
#include "tests/fuzz/memory_file.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = memory_file(data, size);
    for (int eye = 0; eye < 2; eye++) {
        float value = 1;
        Map map = {.width = 640, .height = 480, .kind = MAP_DISPARITY, .reference_right = eye, .values = &value};
        Camera c;
        err_clear();
        if (camera_from_calibration(path, &map, &c)) {
            demand(err_code() == ERR_INPUT && *err_sentence());
            continue;
        }
        demand(isfinite(c.focal) && c.focal > 0 && isfinite(c.baseline) && c.baseline > 0 && c.unit);
        demand(isfinite(c.focal * c.baseline) && isfinite(c.cx) && isfinite(c.cy) && isfinite(c.doffs));
    }
    return 0;
}
