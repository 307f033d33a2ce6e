#include "apps/info_film.h"
#include "apps/lib/run.h"
#include "base/json.h"
#include "data/film.h"

#include <math.h>
#include <stdio.h>

static void print_json(const char *path, const Film *film, const FilmEyes *eyes) {
    const FilmFacts *f = film_facts(film);
    const VideoFacts *v = film_video(film);
    char quoted[2048];
    printf("{\"file\":%s,\"type\":\"film\",", json_quote(quoted, sizeof quoted, path));
    printf("\"width\":%d,\"height\":%d,\"rate\":\"%lld/%lld\",\"variable\":%s,\"frames\":%lld,\"counted\":%s,",
           f->frame_width, f->frame_height, (long long)f->rate.over, (long long)f->rate.under,
           f->variable ? "true" : "false", (long long)f->frames, f->counted ? "true" : "false");
    if (v) {
        printf("\"codec\":%s,", json_quote(quoted, sizeof quoted, v->codec));
        printf("\"pixels\":%s,\"bits\":%d,\"seconds\":%.6g,", json_quote(quoted, sizeof quoted, v->pixels), v->bits,
               v->seconds);
        printf("\"matrix\":%s,", json_quote(quoted, sizeof quoted, v->matrix));
        printf("\"transfer\":%s,\"rotation\":%d,", json_quote(quoted, sizeof quoted, v->transfer), v->rotation);
        if (*f->cut) printf("\"bytes\":%lld,\"announced_bytes\":%lld,", (long long)v->bytes, (long long)v->announced);
        if (*v->tag_source) printf("\"tag\":%s,", json_quote(quoted, sizeof quoted, v->tag_source));
    }
    printf("\"layout\":\"%s\",\"evidence\":%s,", layout_name(f->decision.layout),
           json_quote(quoted, sizeof quoted, f->decision.evidence));
    printf("\"eye_width\":%d,\"eye_height\":%d,\"right_first\":%s", f->width, f->height,
           f->decision.right_first ? "true" : "false");
    if (f->decision.layout != LAYOUT_MONO)
        printf(",\"identical\":%s,\"eye_order\":%.4f,\"vertical\":%.4f,\"rough_disparity\":[%.2f,%.2f]",
               eyes->identical ? "true" : "false", eyes->eye_order, eyes->vertical, eyes->d_low, eyes->d_high);
    printf("}\n");
}

static void print(const char *path, const Film *film, const FilmEyes *eyes) {
    const FilmFacts *f = film_facts(film);
    printf("%s: film, %s\n", show_path(path), f->what);
    if (*f->cut) printf("  is cut: %s\n", f->cut);
    if (*f->contradiction) printf("  %s\n", f->contradiction);
    if (f->decision.layout == LAYOUT_MONO) {
        printf("  one eye (%s)\n", f->decision.evidence);
        return;
    }
    printf("  both eyes: %s (from %s)%s, %dx%d an eye\n", layout_words(f->decision.layout), f->decision.evidence,
           f->decision.layout == LAYOUT_PAIR ? ""
           : f->decision.right_first         ? ", right first"
                                             : ", left first",
           f->width, f->height);
    if (eyes->identical) {
        printf("  both eyes are identical\n");
        return;
    }
    if (eyes->has_order)
        printf("  eye test %+.2f over %d frame%s: %s\n", eyes->eye_order, film_sample_count(film),
               film_sample_count(film) == 1 ? "" : "s",
               eyes->eye_order >= 0.7    ? "left is left"
               : eyes->eye_order <= -0.7 ? "the eyes look swapped"
                                         : "not sure which eye is which");
    if (eyes->has_vertical) printf("  vertical offset %+.2f px\n", eyes->vertical);
    printf("  rough disparity %+.1f to %+.1f px: parallax %+.2f to %+.2f %% of the width\n", eyes->d_low, eyes->d_high,
           -100 * eyes->d_high / f->width, -100 * eyes->d_low / f->width);
}

int info_film(const char *path, bool json) {
    FilmOptions how = {.left = path, .mono_too = true, .run = {.stopped = run_stopped}};
    FilmEyes eyes = {0};
    Film *film;
    int rc = film_open(&how, &film);
    if (rc) return rc;
    if (film_facts(film)->decision.layout != LAYOUT_MONO) rc = film_measure(film, &eyes);
    if (!rc && json) print_json(path, film, &eyes);
    if (!rc && !json) print(path, film, &eyes);
    film_close(&film);
    return rc;
}
