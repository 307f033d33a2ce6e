#include "apps/lib/outputs.h"
#include "apps/lib/anaglyph.h"
#include "apps/lib/ply.h"
#include "apps/lib/run.h"
#include "base/mem.h"
#include "data/png.h"
#include "tensor/files/npy.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *ending;
    OutputForm form;
} endings[] = {
    {".d16.png", OUTPUT_D16}, /* before .png */
    {".pfm", OUTPUT_PFM},     {".npy", OUTPUT_NPY}, {".npz", OUTPUT_NPZ}, {".png", OUTPUT_COLOUR}, {".ply", OUTPUT_PLY},
};

int output_form(const char *path, OutputForm *form) {
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t e = strlen(endings[i].ending);
        if (n > e && strcasecmp(path + n - e, endings[i].ending) == 0) {
            *form = endings[i].form;
            return 0;
        }
    }
    return fail(ERR_USAGE, "%s: its ending names no form that can be written; there are " OUTPUT_ENDINGS,
                show_path(path));
}

int output_check(const char *path, OutMode mode, const char *const *inputs, int input_count) {
    struct stat out, in;
    if (stat(path, &out) == 0 && S_ISREG(out.st_mode))
        for (int i = 0; i < input_count; i++)
            if (stat(inputs[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
                return fail(ERR_USAGE, "%s: is also an input, and would be destroyed; choose another name",
                            show_path(path));
    return out_check(path, mode);
}

/* ---- NPY and NPZ ----------------------------------------------------------------------------------------------- */

/* Maps of another sign are made beside the originals. */
static int with_quantity(const Map *map, MapKind quantity, Map *to) {
    int rc = map_copy(to, map);
    if (!rc) map_set_quantity(to, quantity);
    return rc;
}

static int add_map(NpzOut *npz, const char *name, const Map *map) {
    return npz_out_f32(npz, name, map->values, 2, (int64_t[]){map->height, map->width});
}

static int write_npz(Out *out, const OutputContent *c) {
    Map parallax = {0};
    NpzOut *npz = NULL;
    int rc = with_quantity(&c->maps->disparity, MAP_PARALLAX, &parallax);
    if (!rc) rc = npz_out_begin(out, NPZ_PACKED, &npz);
    if (rc) {
        map_free(&parallax);
        return rc;
    }
    const char *eye = c->maps->disparity.reference_right ? "right" : "left";
    char kind[256];
    snprintf(kind, sizeof kind,
             "disparity d = x_left - x_right and parallax p = -d, in pixels of the %s picture; d > 0 is in front of "
             "the screen; "
             "occlusion 1: visible in both pictures",
             eye);
    rc = add_map(npz, "disparity", &c->maps->disparity);
    if (!rc) rc = add_map(npz, "parallax", &parallax);
    if (!rc) rc = add_map(npz, "confidence", &c->maps->confidence);
    if (!rc) rc = add_map(npz, "occlusion", &c->maps->occlusion);
    if (!rc) rc = npz_out_text(npz, "kind", kind);
    if (!rc) rc = npz_out_text(npz, "reference", eye);
    if (!rc && c->source) rc = npz_out_text(npz, "source", c->source);
    if (!rc && c->frame) {
        int64_t frame = *c->frame;
        NpyArray number = {.type = NPY_I64, .data = (uint8_t *)&frame, .count = 1, .bytes = sizeof frame};
        rc = npz_out_add(npz, "frame", &number);
    }
    if (!rc && c->meta && c->meta->version) rc = npz_out_text(npz, "version", c->meta->version);
    if (!rc && c->meta && c->meta->command) rc = npz_out_text(npz, "command", c->meta->command);
    int end = npz_out_end(&npz);
    map_free(&parallax);
    return rc ? rc : end;
}

static int write_npy(Out *out, const Map *map) {
    NpyArray array = {.type = NPY_F32, .rank = 2, .size = {map->height, map->width}, .data = (uint8_t *)map->values};
    snprintf(array.comment, sizeof array.comment, "panum: %s, pixels, %s picture", map_kind_name(map->kind),
             map->reference_right ? "right" : "left");
    return npy_write(out, &array);
}

/* ---- pictures -----------------------------------------------------------------------------------------------------
 */

/* A picture with what it shows in its text. */
static int write_picture(Out *out, const Image *image, const char *kind, const FileMeta *meta) {
    PngText *texts = mem_zero(3, sizeof *texts);
    if (!texts) return ERR_MEMORY;
    int n = 0;
    snprintf(texts[n].key, sizeof texts[n].key, "panum:kind");
    snprintf(texts[n++].value, sizeof texts[0].value, "%s", kind);
    if (meta && meta->version) {
        snprintf(texts[n].key, sizeof texts[n].key, "Software");
        snprintf(texts[n++].value, sizeof texts[0].value, "%s", meta->version);
    }
    if (meta && meta->command) {
        snprintf(texts[n].key, sizeof texts[n].key, "panum:command");
        snprintf(texts[n++].value, sizeof texts[0].value, "%s", meta->command);
    }
    int rc = png_write(out, image, texts, n);
    mem_free(texts);
    return rc;
}

static int write_colour(Out *out, const OutputContent *c) {
    ColourOptions how = {.range = c->map_range, .palette = c->palette, .occlusion = &c->maps->occlusion};
    Image picture = {0};
    double range;
    int rc = colour_map(&picture, &c->maps->disparity, &how, &range);
    if (rc) return rc;
    char kind[200];
    snprintf(kind, sizeof kind,
             "colour map of disparity: %s in front of the screen, blue behind, full colour at %.6g px (%.4g %% of the "
             "width)",
             c->palette == PALETTE_RED_BLUE ? "red" : "orange", range, 100 * range / c->maps->disparity.width);
    rc = write_picture(out, &picture, kind, c->meta);
    image_free(&picture);
    return rc;
}

static int write_anaglyph(Out *out, const OutputContent *c) {
    Image picture = {0};
    int rc = anaglyph_make(&picture, c->left, c->right, ANAGLYPH_DUBOIS);
    if (!rc) rc = write_picture(out, &picture, "anaglyph, Dubois, red over the left eye", c->meta);
    image_free(&picture);
    return rc;
}

static int write_points(Out *out, const OutputContent *c) {
    Camera camera;
    const Map *map = &c->maps->disparity;
    int rc =
        c->calibration ? camera_from_calibration(c->calibration, map, &camera) : camera_from_fov(c->fov, map, &camera);
    int64_t points = 0;
    if (!rc) rc = ply_write(out, c->maps, map->reference_right ? c->right : c->left, &camera, &points);
    if (!rc) say_more(1, "%lld points, in %s", (long long)points, camera.unit);
    return rc;
}

static int write_one_map(Out *out, OutputForm form, const OutputContent *c) {
    Map map = {0};
    MapWritten written = {0};
    int rc = with_quantity(&c->maps->disparity, c->quantity, &map);
    if (rc) return rc;
    if (form == OUTPUT_PFM)
        rc = map_write_pfm(out, &map, &written);
    else if (form == OUTPUT_D16)
        rc = map_write_d16(out, &map, c->meta, &written);
    else
        rc = write_npy(out, &map);
    if (!rc && written.clipped)
        say("%lld pixels lie beyond %d px and were clipped in the 16-bit PNG", (long long)written.clipped, D16_RANGE);
    map_free(&map);
    return rc;
}

static int write_form(Out *out, OutputForm form, const OutputContent *c) {
    switch (form) {
    case OUTPUT_PFM:
    case OUTPUT_NPY:
    case OUTPUT_D16:
        return write_one_map(out, form, c);
    case OUTPUT_NPZ:
        return write_npz(out, c);
    case OUTPUT_COLOUR:
        return write_colour(out, c);
    case OUTPUT_PLY:
        return write_points(out, c);
    case OUTPUT_ANAGLYPH:
        return write_anaglyph(out, c);
    }
    return 0;
}

enum { OUTPUTS_MAX = 64 };

int outputs_write(const Output *outputs, int count, OutMode mode, const OutputContent *content) {
    Out *outs[OUTPUTS_MAX] = {NULL};
    if (count > OUTPUTS_MAX) return fail(ERR_USAGE, "more than %d outputs at once", OUTPUTS_MAX);
    int rc = 0;
    for (int i = 0; !rc && i < count; i++) {
        rc = out_open(outputs[i].path, mode, &outs[i]);
        if (!rc) rc = write_form(outs[i], outputs[i].form, content);
        /* a map that this form cannot hold; what the disk says has the name already */
        if (rc == ERR_INPUT) rc = fail_prefix("%s", show_path(outputs[i].path));
    }
    for (int i = 0; !rc && i < count; i++) rc = out_commit(&outs[i]);
    for (int i = 0; i < count; i++) out_abort(&outs[i]);
    return rc;
}
