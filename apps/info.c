/* apps/info.c - what a file is: a picture, both eyes in one, a map, weights. Told by content, never by name alone. */
#include "apps/info_film.h"
#include "apps/lib/map_any.h"
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "apps/lib/show.h"
#include "apps/lib/summary.h"
#include "base/err.h"
#include "base/json.h"
#include "data/film.h"
#include "data/png.h"
#include "data/stereo.h"
#include "tensor/files/npy.h"

#include <math.h>
#include <string.h>
#include <strings.h>

typedef struct {
    bool json;
    TalkOptions talk;
} InfoOptions;

#define AT(field) .at = offsetof(InfoOptions, field)
static const Option options[] = {
    {.name = "json",
     .kind = OPTION_FLAG,
     AT(json),
     .group = "Talking",
     .help = "one JSON object per file on standard output"},
    OPTIONS_TALK(InfoOptions, talk),
};

int app_info(int argc, char **argv);
const Verb verb_info = {
    .name = "info",
    .operands = "FILE...",
    .summary = "tell what a file is: picture, both eyes in one, film, map, weights",
    .description = "A picture: size, samples, and whether it holds both eyes, with the evidence, the eye order and the "
                   "vertical offset. A film: the same over several of its frames. A map: "
                   "which quantity it holds and what range. Weights: format, tensors, model.",
    .examples = "  panum info film_frame_LRF.png d.pfm CH128NTR1.pth",
    .least = 1,
    .most = -1,
    .run = app_info,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* ---- maps ----------------------------------------------------------------------------------------------------------
 */

static void print_map(const InfoOptions *o, const char *path, const char *format, const Map *map,
                      const ReadNotes *notes) {
    MapSummary s;
    char quoted[2048];
    map_summarise(&s, map);
    const char *eye = map->reference_right ? "right" : "left";
    bool is_signed = map->kind == MAP_DISPARITY || map->kind == MAP_PARALLAX;
    if (o->json) {
        printf("{\"file\":%s,\"type\":\"map\",", json_quote(quoted, sizeof quoted, path));
        printf("\"format\":\"%s\",\"width\":%d,\"height\":%d,\"kind\":\"%s\",\"reference\":\"%s\",\"values\":%lld,"
               "\"missing\":%lld,",
               format, map->width, map->height, map_kind_name(map->kind), eye, (long long)s.values,
               (long long)(s.pixels - s.values));
        printf("\"disparity_percentiles\":[%.4f,%.4f,%.4f,%.4f,%.4f],\"front\":%.6f,\"screen\":%.6f,\"behind\":%.6f}\n",
               s.disparity[0], s.disparity[1], s.disparity[2], s.disparity[3], s.disparity[4], s.front, s.screen,
               s.behind);
        return;
    }
    printf("%s: %s, %dx%d, %s in pixels of the %s picture\n", show_path(path), format, map->width, map->height,
           map_kind_name(map->kind), eye);
    for (int i = 0; notes && i < notes->count; i++) printf("  %s\n", notes->text[i]);
    if (s.values < s.pixels)
        printf("  %.2f %% of the pixels have no value\n", 100 * (double)(s.pixels - s.values) / (double)s.pixels);
    if (!s.values) return;
    if (is_signed)
        printf("  disparity %+.2f to %+.2f px (1st to 99th percentile), median %+.2f: parallax %+.2f to %+.2f %% of "
               "the width\n"
               "  %.0f %% in front of the screen, %.0f %% on it, %.0f %% behind\n",
               s.disparity[0], s.disparity[4], s.disparity[2], -100 * s.disparity[4] / map->width,
               -100 * s.disparity[0] / map->width, 100 * s.front, 100 * s.screen, 100 * s.behind);
    else
        printf("  %.4g to %.4g (1st to 99th percentile), median %.4g\n", s.disparity[0], s.disparity[4],
               s.disparity[2]);
}

static int show_map(const InfoOptions *o, const char *path, const char *format) {
    Map map;
    ReadNotes notes = {0};
    int rc = map_any_read(path, NULL, &map, &notes);
    if (rc) return rc;
    print_map(o, path, format, &map, &notes);
    map_free(&map);
    return 0;
}

/* An .npz of ours is a map; of any other the arrays are listed. */
static int show_npz(const InfoOptions *o, const char *path) {
    Npz *npz;
    int rc = npz_open(path, &npz);
    if (rc) return rc;
    bool is_map = npz_has(npz, "disparity") || npz_has(npz, "parallax");
    if (is_map) rc = show_map(o, path, "NPZ");
    if (!rc && !is_map && o->json) {
        char quoted[2048];
        printf("{\"file\":%s,\"type\":\"arrays\",\"format\":\"NPZ\",\"names\":[",
               json_quote(quoted, sizeof quoted, path));
        for (int i = 0; i < npz_count(npz); i++)
            printf("%s%s", i ? "," : "", json_quote(quoted, sizeof quoted, npz_name(npz, i)));
        printf("]}\n");
    }
    if (!rc && !is_map && !o->json) printf("%s: NPZ, %d arrays\n", show_path(path), npz_count(npz));
    for (int i = 0; !rc && !o->json && i < npz_count(npz); i++) {
        NpyArray array;
        rc = npz_read(npz, npz_name(npz, i), &array);
        if (rc) break;
        printf("  %-12s %-8s", show_path(npz_name(npz, i)), npy_type_name(array.type));
        for (int k = 0; k < array.rank; k++) printf("%s%lld", k ? "x" : " ", (long long)array.size[k]);
        char text[400];
        if (array.type == NPY_TEXT && array.count == 1)
            printf(" %s", show_path(npy_text(&array, 0, text, sizeof text)));
        printf("\n");
        npy_free(&array);
    }
    npz_close(npz);
    return rc;
}

/* ---- pictures -------------------------------------------------------------------------------------------------------
 */

static void print_stereo(const InfoOptions *o, const StereoPair *p, const StereoMeasure *m) {
    char quoted[400];
    const LayoutDecision *d = &p->decision;
    if (o->json) {
        printf(
            ",\"layout\":\"%s\",\"evidence\":%s,\"right_first\":%s,\"eye_width\":%d,\"eye_height\":%d,\"identical\":%s,"
            "\"matched\":%.4f,\"eye_order\":%.4f,\"vertical\":%.4f,\"vertical_confidence\":%.4f,\"rough_disparity\":[%."
            "2f,%.2f]",
            layout_name(d->layout), json_quote(quoted, sizeof quoted, d->evidence), d->right_first ? "true" : "false",
            p->left.width, p->left.height, p->identical ? "true" : "false", m->matched, m->eye_order, m->vertical,
            m->vertical_confidence, m->d_low, m->d_high);
        return;
    }
    printf("  both eyes: %s (from %s), %s first, %dx%d an eye\n", layout_words(d->layout), d->evidence,
           d->right_first ? "right" : "left", p->left.width, p->left.height);
    if (p->identical) {
        printf("  both eyes are identical\n");
        return;
    }
    printf("  eye test %+.2f: %s\n", m->eye_order,
           m->eye_order >= 0.7    ? "left is left"
           : m->eye_order <= -0.7 ? "the eyes look swapped"
                                  : "not sure which eye is which");
    if (m->vertical_confidence >= 0.4) printf("  vertical offset %+.2f px\n", m->vertical);
    printf("  rough disparity %+.1f to %+.1f px: parallax %+.2f to %+.2f %% of the width\n", m->d_low, m->d_high,
           -100 * m->d_high / p->left.width, -100 * m->d_low / p->left.width);
}

static int show_picture(const InfoOptions *o, const char *path) {
    StereoPair pair;
    StereoMeasure measure = {0};
    char doubt[700] = "";
    int rc = stereo_read(path, NULL, NULL, &pair);
    if (rc == ERR_INPUT) { /* a name may promise eyes that are not there; a damaged file fails both ways */
        snprintf(doubt, sizeof doubt, "%s", err_sentence());
        rc = stereo_read(path, NULL, &(StereoOptions){.layout = LAYOUT_MONO}, &pair);
    }
    if (rc) return rc;
    if (*doubt) read_note(&pair.notes, "%.190s", doubt);
    bool stereo = pair.decision.layout != LAYOUT_MONO;
    if (stereo) rc = stereo_measure(&pair.left, &pair.right, &measure);
    if (rc) {
        stereo_pair_free(&pair);
        return rc;
    }
    const char *format = pair.notes.format ? pair.notes.format : "picture",
               *colour = pair.left.channels == 1 ? "grey" : "RGB";
    if (o->json) {
        char quoted[2048];
        printf("{\"file\":%s,\"type\":\"%s\",", json_quote(quoted, sizeof quoted, path), stereo ? "stereo" : "picture");
        printf("\"format\":\"%s\",\"channels\":%d,\"bits\":%d", format, pair.left.channels, pair.left.bits);
        if (stereo)
            print_stereo(o, &pair, &measure);
        else
            printf(",\"width\":%d,\"height\":%d,\"layout\":\"mono\",\"evidence\":%s", pair.left.width, pair.left.height,
                   json_quote(quoted, sizeof quoted, pair.decision.evidence));
        printf("}\n");
    } else if (stereo) {
        printf("%s: %s, %d-bit %s\n", show_path(path), format, pair.left.bits, colour);
        print_stereo(o, &pair, &measure);
    } else {
        printf("%s: %s, %dx%d, %d-bit %s, one eye (%s)\n", show_path(path), format, pair.left.width, pair.left.height,
               pair.left.bits, colour, pair.decision.evidence);
    }
    for (int i = 0; !o->json && i < pair.notes.count; i++) printf("  %s\n", pair.notes.text[i]);
    stereo_pair_free(&pair);
    return 0;
}

/* ---- which is it?
 * ------------------------------------------------------------------------------------------------------ */

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), e = strlen(ending);
    return n > e && strcasecmp(path + n - e, ending) == 0;
}

/* A PNG of ours that says that it holds a map. */
static bool is_d16(const uint8_t *bytes, size_t size) {
    PngInfo *info = mem_zero(1, sizeof *info);
    bool is = info && png_decode(bytes, size, NULL, NULL, info, NULL) == 0 && png_find_text(info, "panum:encoding");
    mem_free(info);
    return is;
}

static int show_file(const InfoOptions *o, const char *path) {
    static const char *const weights_endings[] = {".safetensors", ".pth", ".pt", ".ckpt"};
    FileMap *map;
    if (film_is(path)) return info_film(path, o->json);
    int rc = file_map(path, &map);
    if (rc) return rc;
    const uint8_t *bytes = file_map_bytes(map);
    size_t size = file_map_size(map);
    ContentKind kind = content_kind(bytes, size);
    bool weights = false, d16 = kind == CONTENT_PNG && is_d16(bytes, size);
    /* a .pth is a zip as an .npz is, so the name decides between these; and nothing else looks like safetensors */
    for (size_t i = 0; i < 4; i++)
        weights |= ends_with(path, weights_endings[i]) && (kind == CONTENT_ZIP || kind == CONTENT_UNKNOWN);
    if (kind == CONTENT_UNKNOWN && !weights) rc = fail_unknown_content(bytes, size, "a picture, a map or weights");
    file_unmap(map);
    if (rc) return fail_prefix("%s", show_path(path));
    if (weights) {
        Weights *w;
        rc = weights_open(path, &w);
        if (rc) return rc;
        rc = show_weights(w, o->json, false);
        weights_close(w);
        return rc;
    }
    switch (kind) {
    case CONTENT_PFM:
        return show_map(o, path, "PFM");
    case CONTENT_FLO:
        return show_map(o, path, "optical flow (.flo)");
    case CONTENT_NPY:
        return show_map(o, path, "NPY");
    case CONTENT_ZIP:
        return show_npz(o, path);
    default:
        return d16 ? show_map(o, path, "signed 16-bit PNG") : show_picture(o, path);
    }
}

int app_info(int argc, char **argv) {
    InfoOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_info, argc, argv, &o, &parsed);
    if (rc) return rc;
    rc = talk_begin(&o.talk);
    int failed = 0;
    for (int i = 0; !rc && i < parsed.operand_count; i++) {
        int result = run_stopped() ? run_stop("not all files were looked at") : show_file(&o, parsed.operands[i]);
        if (!result) continue;
        failed++;
        if (parsed.operand_count == 1 || result == ERR_STOPPED || result == ERR_MEMORY)
            rc = result;
        else
            say_always("panum info: %s", err_sentence());
    }
    if (!rc && failed) rc = fail(ERR_FAILED, "%d of %d files could not be read", failed, parsed.operand_count);
    parsed_free(&parsed);
    return rc;
}
