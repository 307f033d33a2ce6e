/* apps/lib/map_any.h - a map of disparity or parallax from any file that may hold one: what data/map.h reads, and
 * NumPy's .npy and .npz, told apart by content. Of an .npz the array `disparity` is taken, else `parallax`, else its
 * only array; our own files also say for which eye it is. Values that are not finite become NaN, "no value". */
#ifndef PANUM_APPS_MAP_ANY_H
#define PANUM_APPS_MAP_ANY_H
#include "data/map.h"

int map_any_read(const char *path, const MapReadOptions *options, Map *map, ReadNotes *notes);
/* A mask for metrics_measure: 8-bit grey, also from colour pictures that hold only greys. */
int mask_read(const char *path, Image *mask);
#endif
