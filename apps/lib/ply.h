/* apps/lib/ply.h - a disparity map as coloured points in space, binary PLY.
 *
 * With f the focal length in pixels, b the distance between the cameras, and -doffs the disparity of infinity:
 *     z = f b / (d + doffs)
 *     x = (column - cx) z / f
 *     y = (row - cy) z / f
 * x points right, y down, z away from the camera. A point is float x, y, z; 8-bit red, green, blue; float confidence.
 * Left out: pixels without value, pixels hidden from the other eye (nothing tells their depth), and those with
 * d + doffs below 0.25 px, which are farther than a pair of pictures can tell.
 *
 * Where f, b and doffs come from:
 *
 * A calibration of Middlebury and ETH3D (cam0, cam1, doffs, baseline) or of KITTI (P0 and P1, or P2 and P3 when these
 * are there). doffs is cx of the right camera minus cx of the left one. The unit is the calibration's: millimetres for
 * Middlebury and ETH3D, metres for KITTI.
 *
 * A field of view alone, as for films, says f only. Pictures converged on a screen have d = f b (1/z - 1/screen), so
 * doffs = f b / screen and z = screen * doffs / (d + doffs): in units of the screen's distance all follows from doffs.
 * It is chosen so that the farthest things (1st percentile of d) lie at four screen distances: doffs = -4/3 of it.
 * With nothing behind the screen (1st percentile above -0.5 px) the cameras are taken as parallel: doffs = 0, and the
 * unit is the distance between them. The choice of doffs flattens or deepens the whole; order and outlines are right.
 */
#ifndef PANUM_APPS_PLY_H
#define PANUM_APPS_PLY_H
#include "data/image.h"

typedef struct {
    double focal, cx, cy; /* pixels, of the map's own picture */
    double baseline;      /* in `unit` */
    double doffs;         /* pixels */
    const char *unit;     /* "mm", "m", "screen distances", "camera distances" */
} Camera;

/* For a map of this size (a calibration of another size with the same shape is scaled). The map is MAP_DISPARITY; its
 * reference_right chooses the right camera's centre. */
int camera_from_calibration(const char *path, const Map *disparity, Camera *camera);
/* fov: horizontal field of view in degrees, above 0 and below 180. */
int camera_from_fov(double fov, const Map *disparity, Camera *camera);

/* `image` is the picture the maps belong to. ERR_INPUT when no point is left. `points` may be NULL. */
int ply_write(Out *out, const StereoMaps *maps, const Image *image, const Camera *camera, int64_t *points);
#endif
