#include "apps/lib/ply.h"
#include "apps/lib/options.h"
#include "apps/lib/summary.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { CALIBRATION_MAX = 1 << 20 };
static const double least_sum = 0.25; /* of d + doffs, pixels */

/* ---- calibrations ---- */

/* Up to `most` numbers out of "[994.978 0 311.193; 0 994.978 254.877; 0 0 1]" or "7.2e+02 0 ...": separators are
 * blanks, ';', ',' and brackets. How many there are, -1 if something else stands between them. */
static int numbers(const char *text, double *out, int most) {
    int n = 0;
    char word[64];
    while (*text) {
        size_t gap = strspn(text, " \t;,[]\r");
        text += gap;
        size_t length = strcspn(text, " \t;,[]\r");
        if (!length) break;
        if (length >= sizeof word || n == most) return -1;
        memcpy(word, text, length);
        word[length] = 0;
        /* files written by C have an explicit sign here and there, which our strict numbers do not */
        if (!parse_real(word[0] == '+' ? word + 1 : word, &out[n++])) return -1;
        text += length;
    }
    return n;
}

typedef struct {
    double cam[2][9], p[4][12];
    double doffs, baseline, width, height;
    bool has_cam[2], has_p[4], has_doffs, has_baseline, has_size[2];
} Found;

/* KEY=VALUE of Middlebury and ETH3D, KEY: VALUE of KITTI. Unknown keys are of no concern. */
static int take_line(const char *path, char *line, Found *f) {
    char shown[200];
    char *value = strpbrk(line, "=:");
    if (!value) return 0;
    *value++ = 0;
    for (size_t n = strlen(line); n && (line[n - 1] == ' ' || line[n - 1] == '\t');) line[--n] = 0;
    static const struct {
        const char *key;
        int count; /* numbers wanted */
    } keys[] = {{"cam0", 9},  {"cam1", 9},       {"P0", 12},        {"P1", 12},        {"P2", 12},
                {"P3", 12},   {"P_rect_00", 12}, {"P_rect_01", 12}, {"P_rect_02", 12}, {"P_rect_03", 12},
                {"doffs", 1}, {"baseline", 1},   {"width", 1},      {"height", 1}};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        if (strcmp(line, keys[k].key) != 0) continue;
        double v[12];
        if (numbers(value, v, 12) != keys[k].count)
            return fail(ERR_INPUT, "%s: %s should hold %d numbers", err_printable(shown, sizeof shown, path),
                        keys[k].key, keys[k].count);
        size_t bytes = (size_t)keys[k].count * sizeof *v;
        switch (k) {
        case 0:
        case 1:
            memcpy(f->cam[k], v, bytes), f->has_cam[k] = true;
            break;
        case 10:
            f->doffs = v[0], f->has_doffs = true;
            break;
        case 11:
            f->baseline = v[0], f->has_baseline = true;
            break;
        case 12:
            f->width = v[0], f->has_size[0] = true;
            break;
        case 13:
            f->height = v[0], f->has_size[1] = true;
            break;
        default:
            memcpy(f->p[(k - 2) % 4], v, bytes), f->has_p[(k - 2) % 4] = true;
        }
        return 0;
    }
    return 0;
}

static int read_calibration(const char *path, Found *f) {
    uint8_t *bytes;
    size_t size;
    char line[1024], shown[200];
    memset(f, 0, sizeof *f);
    if (file_read(path, CALIBRATION_MAX, &bytes, &size)) return err_code();
    int rc = 0;
    for (size_t at = 0; at < size && !rc;) {
        const uint8_t *end = memchr(bytes + at, '\n', size - at);
        size_t n = end ? (size_t)(end - bytes) - at : size - at;
        if (n >= sizeof line || memchr(bytes + at, 0, n)) {
            rc = fail(ERR_INPUT,
                      "%s: is not a calibration: byte %zu starts a line of %zu bytes or more, or one with zero bytes",
                      err_printable(shown, sizeof shown, path), at, sizeof line);
            break;
        }
        memcpy(line, bytes + at, n);
        line[n] = 0;
        rc = take_line(path, line, f);
        at += n + 1;
    }
    mem_free(bytes);
    return rc;
}

int camera_from_calibration(const char *path, const Map *map, Camera *camera) {
    Found f;
    char name[200];
    if (read_calibration(path, &f)) return err_code();
    err_printable(name, sizeof name, path);
    double fy, other_cx;
    int own = map->reference_right ? 1 : 0;
    memset(camera, 0, sizeof *camera);
    if (f.has_cam[0] && f.has_cam[1] && f.has_baseline) {
        camera->focal = f.cam[own][0], fy = f.cam[own][4];
        camera->cx = f.cam[own][2], camera->cy = f.cam[own][5], other_cx = f.cam[!own][2];
        camera->baseline = f.baseline;
        camera->unit = "mm";
    } else if ((f.has_p[0] && f.has_p[1]) || (f.has_p[2] && f.has_p[3])) {
        int first = f.has_p[2] && f.has_p[3] ? 2 : 0;
        const double *left = f.p[first], *right = f.p[first + 1], *mine = f.p[first + own];
        camera->focal = mine[0], fy = mine[5], camera->cx = mine[2], camera->cy = mine[6];
        other_cx = f.p[first + !own][2];
        camera->baseline = left[0] != 0 ? (left[3] - right[3]) / left[0] : 0; /* column 3 is -f times the camera's x */
        camera->unit = "m";
    } else {
        return fail(ERR_INPUT, "%s: holds neither cam0, cam1 and baseline (Middlebury, ETH3D) nor P0 and P1 (KITTI)",
                    name);
    }
    camera->doffs = f.has_doffs ? f.doffs : own ? camera->cx - other_cx : other_cx - camera->cx;
    if (!(camera->focal > 0) || !(camera->baseline > 0))
        return fail(ERR_INPUT, "%s: focal length %g and baseline %g must be positive", name, camera->focal,
                    camera->baseline);
    if (fabs(fy - camera->focal) > 0.01 * camera->focal)
        return fail(ERR_INPUT, "%s: focal lengths %g and %g differ; pixels must be square", name, camera->focal, fy);
    if (f.has_size[0] && f.has_size[1] && f.width != map->width) {
        double scale = map->width / f.width;
        if (!(scale > 0) || fabs(f.height * scale - map->height) > 1.5)
            return fail(ERR_INPUT, "%s: is for pictures of %gx%g pixels, and the map has %dx%d", name, f.width,
                        f.height, map->width, map->height);
        /* pixel centres lie at whole numbers */
        camera->focal *= scale, camera->doffs *= scale;
        camera->cx = (camera->cx + 0.5) * scale - 0.5, camera->cy = (camera->cy + 0.5) * scale - 0.5;
    }
    if (!isfinite(camera->focal * camera->baseline) || !isfinite(camera->cx) || !isfinite(camera->cy) ||
        !isfinite(camera->doffs) || !(camera->focal > 0))
        return fail(ERR_INPUT, "%s: its numbers are too large or too small to put a point anywhere", name);
    return 0;
}

int camera_from_fov(double fov, const Map *map, Camera *camera) {
    if (!(fov > 0 && fov < 180)) return fail(ERR_USAGE, "--fov %g must lie between 0 and 180 degrees", fov);
    static const double far_share = 0.01;
    double farthest;
    if (!map_percentiles(map, &far_share, 1, &farthest))
        return fail(ERR_INPUT, "the map has no value, so there is nothing to put into space");
    *camera = (Camera){.focal = 0.5 * map->width / tan(fov * 3.141592653589793 / 360),
                       .cx = 0.5 * (map->width - 1),
                       .cy = 0.5 * (map->height - 1)};
    if (farthest > -0.5) {
        camera->baseline = 1;
        camera->unit = "camera distances";
    } else {
        camera->doffs = -4.0 / 3 * farthest;
        camera->baseline = camera->doffs / camera->focal; /* f b = doffs * screen, and the screen's distance is 1 */
        camera->unit = "screen distances";
    }
    return 0;
}

/* ---- points ---- */

static bool is_point(const StereoMaps *maps, const Camera *camera, int64_t i) {
    double sum = (double)maps->disparity.values[i] + camera->doffs;
    if (!(sum >= least_sum) || !isfinite(sum)) return false;
    return !maps->occlusion.values || maps->occlusion.values[i] >= 0.5f;
}

static uint8_t sample(const Image *image, int64_t pixel, int channel) {
    int64_t i = pixel * image->channels + (image->channels == 3 ? channel : 0);
    return image->bits == 8 ? image->bytes[i] : (uint8_t)((image_16(image)[i] * 255u + 32767u) / 65535u);
}

static void put_f32(uint8_t *to, double value) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    for (int k = 0; k < 4; k++) to[k] = (uint8_t)(bits >> 8 * k); /* little endian, whatever this machine is */
}

int ply_write(Out *out, const StereoMaps *maps, const Image *image, const Camera *camera, int64_t *points) {
    const Map *map = &maps->disparity;
    BUG_IF(map->kind != MAP_DISPARITY, "points are made of disparity");
    if (image->width != map->width || image->height != map->height)
        return fail(ERR_INPUT, "the picture is %dx%d and its map %dx%d pixels", image->width, image->height, map->width,
                    map->height);
    int64_t count = 0, n = image_pixels(image);
    for (int64_t i = 0; i < n; i++) count += is_point(maps, camera, i);
    if (points) *points = count;
    if (!count)
        return fail(
            ERR_INPUT,
            "no point has a depth: every disparity lies at or beyond infinity, which this calibration puts at %+.2f px",
            -camera->doffs);
    int rc = out_print(
        out,
        "ply\nformat binary_little_endian 1.0\ncomment panum: x right, y down, z away from the camera, in %s\n"
        "comment z = %.9g / (d + %.9g), d disparity in pixels\nelement vertex %lld\n"
        "property float x\nproperty float y\nproperty float z\nproperty uchar red\nproperty uchar green\nproperty "
        "uchar blue\n"
        "property float confidence\nend_header\n",
        camera->unit, camera->focal * camera->baseline, camera->doffs, (long long)count);
    for (int y = 0; y < map->height && !rc; y++)
        for (int x = 0; x < map->width && !rc; x++) {
            int64_t i = (int64_t)y * map->width + x;
            if (!is_point(maps, camera, i)) continue;
            double z = camera->focal * camera->baseline / ((double)map->values[i] + camera->doffs);
            uint8_t point[19];
            put_f32(point, (x - camera->cx) * z / camera->focal);
            put_f32(point + 4, (y - camera->cy) * z / camera->focal);
            put_f32(point + 8, z);
            for (int c = 0; c < 3; c++) point[12 + c] = sample(image, i, c);
            put_f32(point + 15, maps->confidence.values ? (double)maps->confidence.values[i] : 1);
            rc = out_write(out, point, sizeof point);
        }
    return rc;
}
