#include "apps/lib/map_any.h"
#include "base/mem.h"
#include "tensor/files/npy.h"

#include <math.h>
#include <string.h>

/* A plane of numbers; leading sizes of 1 (batch, channel) are allowed. */
static int map_from_array(const NpyArray *array, MapKind kind, Map *map) {
    int first = 0;
    while (array->rank - first > 2 && array->size[first] == 1) first++;
    if (array->rank - first != 2)
        return fail(ERR_INPUT, "the array has %d dimensions, and a map has two, height and width", array->rank);
    int64_t height = array->size[first], width = array->size[first + 1];
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "the array has %lld x %lld numbers; a map has sides of 1 to %d and at most %lld pixels",
                    (long long)width, (long long)height, IMAGE_SIDE_MAX, (long long)IMAGE_PIXELS_MAX);
    if (map_make(map, (int)width, (int)height, kind)) return err_code();
    if (npy_to_f32(array, map->values)) {
        map_free(map);
        return err_code();
    }
    for (int64_t i = 0; i < width * height; i++)
        if (!isfinite(map->values[i])) map->values[i] = NAN;
    return 0;
}

static int map_from_npz(const Npz *npz, const MapReadOptions *options, Map *map, ReadNotes *notes) {
    bool want_parallax = options && options->kind_given && options->kind == MAP_PARALLAX;
    const char *name = NULL;
    MapKind kind = MAP_DISPARITY;
    if (npz_has(npz, "disparity") && !(want_parallax && npz_has(npz, "parallax"))) {
        name = "disparity";
    } else if (npz_has(npz, "parallax")) {
        name = "parallax";
        kind = MAP_PARALLAX;
    } else if (npz_count(npz) == 1) {
        name = npz_name(npz, 0);
        if (want_parallax) kind = MAP_PARALLAX;
        read_note(notes, "the archive does not say what '%s' holds; taken as %s", name, map_kind_name(kind));
    } else {
        return fail(ERR_INPUT, "none of its %d arrays is called disparity or parallax", npz_count(npz));
    }
    NpyArray array = {0};
    if (npz_read(npz, name, &array)) return err_code();
    int rc = map_from_array(&array, kind, map);
    npy_free(&array);
    if (rc || !npz_has(npz, "reference")) return rc;
    if (npz_read(npz, "reference", &array)) {
        map_free(map);
        return err_code();
    }
    char eye[16] = "";
    if (array.type == NPY_TEXT && array.count == 1) npy_text(&array, 0, eye, sizeof eye);
    npy_free(&array);
    map->reference_right = !strcmp(eye, "right");
    return 0;
}

int map_any_read(const char *path, const MapReadOptions *options, Map *map, ReadNotes *notes) {
    memset(map, 0, sizeof *map);
    uint8_t *bytes;
    size_t size;
    char name[300];
    if (file_read(path, IMAGE_FILE_MAX, &bytes, &size)) return err_code();
    err_printable(name, sizeof name, path);
    ContentKind content = content_kind(bytes, size);
    int rc;
    if (content == CONTENT_NPY) {
        NpyArray array = {0};
        rc = npy_read_memory(bytes, size, &array);
        /* ours say it in a comment of their header */
        bool parallax = strncmp(array.comment, "panum: parallax", 15) == 0;
        bool says = parallax || strncmp(array.comment, "panum: disparity", 16) == 0;
        MapKind kind = parallax ? MAP_PARALLAX : MAP_DISPARITY;
        if (!says && options && options->kind_given) kind = options->kind;
        if (!says && !(options && options->kind_given))
            read_note(notes, "this .npy does not say what it holds; taken as disparity, positive in front");
        if (!rc) rc = map_from_array(&array, kind, map);
        if (!rc) map->reference_right = says && strstr(array.comment, "right picture");
        npy_free(&array);
        if (rc) rc = fail_prefix("%s", name);
    } else if (content == CONTENT_ZIP) {
        Npz *npz = NULL;
        rc = npz_open_memory(bytes, size, &npz);
        if (!rc) rc = map_from_npz(npz, options, map, notes);
        npz_close(npz);
        if (rc) rc = fail_prefix("%s", name);
    } else {
        rc = map_read_memory(path, bytes, size, options, map, notes);
    }
    mem_free(bytes);
    return rc;
}

int mask_read(const char *path, Image *mask) {
    char name[300];
    if (image_read(path, NULL, mask, NULL)) return err_code();
    int rc = image_to_8bit(mask);
    if (!rc && mask->channels == 3) {
        for (int64_t i = 0; i < image_pixels(mask) && !rc; i++) {
            const uint8_t *p = mask->bytes + 3 * i;
            if (p[0] != p[1] || p[1] != p[2])
                rc = fail(ERR_INPUT,
                          "%s: is a colour picture; a mask is grey: 255 seen by both eyes, 128 hidden, 0 not judged",
                          err_printable(name, sizeof name, path));
            else
                mask->bytes[i] = p[0]; /* in place: i never passes 3 i */
        }
        mask->channels = 1;
    }
    if (rc) image_free(mask);
    return rc;
}
