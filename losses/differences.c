#include "losses/differences.h"

Tensor *absolute_difference(Tensor *map, Along along) {
    const int64_t n = map->size[0], h = map->size[2], w = map->size[3];
    Tensor *dense = tensor_is_row_major(map) ? map : t_affine(map, 1, 0);
    Tensor *lines =
        along == ALONG_X ? t_reshape(dense, 2, (int64_t[]){n * h, w}) : t_reshape(dense, 2, (int64_t[]){n, h * w});
    const int64_t step = along == ALONG_X ? 1 : w, count = lines->size[1] - step;
    return t_abs(t_sub(t_slice(lines, 1, step, count), t_slice(lines, 1, 0, count)));
}

Tensor *mean_absolute_difference(Tensor *picture, Along along) {
    const int64_t channels = picture->size[1];
    Tensor *sum = absolute_difference(t_slice(picture, 1, 0, 1), along);
    for (int64_t c = 1; c < channels; c++) sum = t_add(sum, absolute_difference(t_slice(picture, 1, c, 1), along));
    return t_affine(sum, 1 / (double)channels, 0);
}
