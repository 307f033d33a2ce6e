/* apps/gt_run.c - the frames that are missing, film by film: read, looked at, matched, judged, written, noted.
 *
 * A frame is noted in the journal when its files have their final names. A kill between the two makes it be done again,
 * with the same result.
 *
 * Shots. All frames of a film are looked at for cuts, not only those that are picked: the pictures of a set by several
 * threads before the first is matched, the frames of a video as they come. Once a film's cuts are known they stay
 * noted, and a video is decoded only from the first missing frame to the last one. */
#include "apps/gt.h"
#include "apps/lib/anaglyph.h"
#include "apps/lib/colour.h"
#include "base/mem.h"
#include "data/film_pick.h"
#include "data/png.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- pictures for the report ---- */

enum { SAMPLES_KEPT = 3, SAMPLES_REJECTED = 2 }; /* of a film; of a film and a reason */

static int write_small(const Gt *gt, int64_t number, const char *what, const Image *picture) {
    char path[GT_PATH];
    Image small = {0};
    Out *out = NULL;
    int width = picture->width < GT_SAMPLE_WIDTH ? picture->width : GT_SAMPLE_WIDTH;
    int height = (int)((int64_t)picture->height * width / picture->width);
    snprintf(path, sizeof path, "%s/frame_%06lld_%s.png", gt->work, (long long)number, what);
    int rc = image_resize(&small, picture, width, height < 1 ? 1 : height);
    if (!rc) rc = out_open(path, OUT_OVERWRITE, &out);
    if (!rc) rc = png_write(out, &small, NULL, 0);
    if (!rc) rc = out_commit(&out);
    out_abort(&out);
    image_free(&small);
    return rc;
}

/* An anaglyph and, where there are maps, their colours. */
static int write_samples(const Gt *gt, int64_t number, const Image *left, const Image *right, const StereoMaps *maps) {
    Image picture = {0};
    int rc = anaglyph_make(&picture, left, right, ANAGLYPH_DUBOIS);
    if (!rc) rc = write_small(gt, number, "eyes", &picture);
    image_free(&picture);
    if (rc || !maps->disparity.values) return rc;
    ColourOptions how = {
        .range = GT_SAMPLE_RANGE * maps->disparity.width, .occlusion = &maps->occlusion, .no_legend = true};
    rc = colour_map(&picture, &maps->disparity, &how, NULL);
    if (!rc) rc = write_small(gt, number, "map", &picture);
    image_free(&picture);
    return rc;
}

/* How many of the film's frames have been rejected for this reason so far. */
static int64_t count_reason(const Gt *gt, const GtFilm *film, AnchorReason reason) {
    int64_t count = 0;
    for (int64_t i = 0; i < gt->record_count; i++)
        count += gt->records[i].reason == reason && gt->records[i].number >= film->start &&
                 gt->records[i].number <= film->end;
    return count;
}

/* Of kept frames the first one behind each of some places spread over the film. */
static bool is_sample(const Gt *gt, GtFilm *film, int64_t position, AnchorReason reason) {
    if (reason) return count_reason(gt, film, reason) < SAMPLES_REJECTED;
    int passed = 0;
    while (passed < SAMPLES_KEPT && position >= film->picked_count * (2 * passed + 1) / (2 * SAMPLES_KEPT)) passed++;
    if (film->samples >= passed) return false;
    film->samples++;
    return true;
}

/* ---- one frame ---- */

static int note(Gt *gt, GtRecord *r, const char *why) {
    char text[JOURNAL_TEXT], shown[120];
    const AnchorFigures *f = &r->figures;
    r->why = arena_text(gt->arena, err_printable(shown, sizeof shown, why));
    if (!r->why) return ERR_MEMORY;
    snprintf(text, sizeof text, "frame %lld %d %d %d %d %d %.6g %.6g %.6g %.6g %.6g %.6g %.6g %.6g %.6g%s%s",
             (long long)r->number, (int)r->reason, r->reused, r->swapped, r->width, r->height, f->eye_order,
             f->vertical, f->consistent, f->nearest, f->farthest, f->front, f->behind, f->confidence, f->trusted,
             *r->why ? " " : "", r->why);
    int rc = journal_add(gt->journal, text);
    if (!rc) rc = gt_add_record(gt, r);
    if (!rc) progress_step(&gt->progress, ++gt->done, NULL);
    return rc;
}

/* An anchor that an earlier program left, when there is a sound one for an eye of this size. */
static bool reuse(const Gt *gt, int64_t number, int width, int height, StereoMaps *maps, char *from, size_t size) {
    char path[GT_PATH];
    struct stat st;
    if (!gt->reuse || stat(gt_anchor_path(gt, number, gt->reuse, path), &st) != 0) return false;
    if (anchor_read(path, width, height, true, maps)) {
        say_more(1, "%s; it is matched instead", err_sentence());
        return false;
    }
    snprintf(from, size, "reused from %.900s", path);
    return true;
}

static int match(Gt *gt, const Image *left, const Image *right, StereoMaps *maps, GtRecord *r) {
    PairOptions how = pair_defaults();
    StereoMaps other = {0};
    matcher_search(gt->matcher, SEARCH_AS_OPENED, NULL);
    int rc = pair_match(gt->matcher, &how, left, right, maps);
    if (!rc) rc = anchor_measure(maps, &r->figures);
    if (rc || !gt->o->check) return rc;
    how.reference_right = true;
    rc = pair_match(gt->matcher, &how, left, right, &other);
    if (!rc) anchor_check(maps, &other, &r->figures);
    stereo_maps_free(&other);
    return rc;
}

static int make_folder(const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
    return fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: the folder cannot be made: %s", show_path(path),
                strerror(errno));
}

static int write_frame(const Gt *gt, const GtRecord *r, const Image *left, const Image *right, const StereoMaps *maps,
                       const char *source, const char *matching) {
    char path[GT_PATH], folder[4100];
    int rc = 0;
    const Image *eyes[2] = {left, right};
    for (int eye = 0; !rc && eye < 2 && !gt->is_set; eye++) {
        const char *name = eye ? "right" : "left";
        snprintf(folder, sizeof folder, "%s/%s", gt->folder, name);
        rc = make_folder(folder);
        if (!rc) rc = image_write(gt_picture_path(gt, r->number, name, path), OUT_OVERWRITE, eyes[eye], NULL, NULL);
    }
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    if (!rc)
        rc = anchor_write(gt_anchor_path(gt, r->number, folder, path), maps, source, matching,
                          gt->o->meta ? &gt->meta : NULL);
    return rc;
}

/* The published recipe matches the upper left part whose sides are multiples of 32. */
static int cut_to_32(Image *eye) {
    Image part = {0};
    int rc = image_crop(&part, eye, 0, 0, eye->width & ~31, eye->height & ~31);
    if (rc) return rc;
    image_free(eye);
    *eye = part;
    return 0;
}

/* `left` and `right` may be changed; they stay the caller's. */
static int do_frame(Gt *gt, GtFilm *film, int64_t position, int64_t number, Image *left, Image *right,
                    const char *source) {
    StereoMaps maps = {0};
    char matching[1100] = "";
    GtRecord r = {.number = number, .figures = anchor_figures_none, .swapped = gt->o->swap_eyes};
    const char *why = "";
    int rc = 0, width = left->width, height = left->height;
    if (gt->o->reference && (left->width < 32 || left->height < 32)) {
        r.reason = ANCHOR_UNREADABLE;
        why = "the eye is smaller than 32 x 32 pixels";
    } else if (gt->o->reference) {
        rc = cut_to_32(left);
        if (!rc) rc = cut_to_32(right);
    }
    r.width = left->width, r.height = left->height;
    if (!rc && !r.reason) rc = anchor_look(left, right, &gt->limits, &r.figures, &r.reason);
    if (!rc && !r.reason) {
        r.reused = reuse(gt, number, width, height, &maps, matching, sizeof matching);
        if (r.reused) {
            rc = anchor_measure(&maps, &r.figures);
        } else {
            rc = match(gt, left, right, &maps, &r);
            snprintf(matching, sizeof matching, "%s", matcher_describe(gt->matcher));
        }
        if (!rc) r.width = maps.disparity.width, r.height = maps.disparity.height;
        if (!rc) r.reason = anchor_judge(&r.figures, r.width, &gt->limits);
    }
    if (!rc && is_sample(gt, film, position, r.reason)) rc = write_samples(gt, number, left, right, &maps);
    if (!rc && !r.reason) rc = write_frame(gt, &r, left, right, &maps, source, matching);
    if (!rc) rc = note(gt, &r, why);
    if (!rc)
        say_more(2, "frame %lld: %s%s%s", (long long)number, anchor_reason_names[r.reason], *matching ? ", " : "",
                 matching);
    stereo_maps_free(&maps);
    return rc;
}

/* ---- frames of a set ---- */

/* "FOLDER/FILE: what" from FILE on: the manifest has the whole path, and a long one leaves no room for what. */
static const char *without_folder(const char *sentence) {
    const char *end = strstr(sentence, ": "), *begin = end;
    while (begin && begin > sentence && begin[-1] != '/') begin--;
    return begin ? begin : sentence;
}

static int reject_unreadable(Gt *gt, int64_t number, const char *why) {
    GtRecord r = {
        .number = number, .reason = ANCHOR_UNREADABLE, .figures = anchor_figures_none, .swapped = gt->o->swap_eyes};
    return note(gt, &r, why);
}

static int do_set_frame(Gt *gt, GtFilm *film, int64_t position) {
    const FilmFrame *frame = &gt->set.frames[film->first + film->picked[position]];
    StereoOptions how = {.layout = (StereoLayout)gt->o->layout, .swap_eyes = gt->o->swap_eyes, .read = gt->read};
    StereoPair pair;
    int rc = stereo_read(frame->path, frame->right, &how, &pair);
    if (rc == ERR_INPUT) return reject_unreadable(gt, frame->number, without_folder(err_sentence()));
    if (rc) return rc;
    if (!pair.right.bytes) {
        char why[240];
        snprintf(why, sizeof why, "holds one eye (%s)", pair.decision.evidence);
        rc = reject_unreadable(gt, frame->number, why);
    } else {
        rc = image_to_8bit(&pair.left);
        if (!rc) rc = image_to_8bit(&pair.right);
        if (!rc) rc = image_to_rgb(&pair.left);
        if (!rc) rc = image_to_rgb(&pair.right);
        if (!rc) rc = do_frame(gt, film, position, frame->number, &pair.left, &pair.right, frame->path);
    }
    stereo_pair_free(&pair);
    return rc;
}

enum { SHOT_CHUNK = 32 };
typedef struct {
    const Gt *gt;
    int64_t first;
    ShotPicture small[SHOT_CHUNK];
    int state[SHOT_CHUNK]; /* 0: there, else an error's code */
} ShotChunk;

static void look_at_picture(void *context, int64_t tile, int worker) {
    ShotChunk *chunk = context;
    Image picture = {0};
    (void)worker;
    int rc = run_stopped()
                 ? ERR_STOPPED
                 : image_read(chunk->gt->set.frames[chunk->first + tile].path, &chunk->gt->read, &picture, NULL);
    if (!rc) rc = shot_picture(&chunk->small[tile], &picture);
    image_free(&picture);
    chunk->state[tile] = rc;
}

static int note_cut(Gt *gt, GtFilm *film, int64_t number) {
    char text[64];
    snprintf(text, sizeof text, "cut %lld", (long long)number);
    int rc = journal_add(gt->journal, text);
    return rc ? rc : gt_add_cut(film, number);
}

static int note_shots(Gt *gt, GtFilm *film) {
    char text[64];
    snprintf(text, sizeof text, "shots %lld %lld", (long long)film->start, (long long)film->count);
    film->shots_whole = film->shots_begun = true;
    return journal_add(gt->journal, text);
}

/* A picture that cannot be read is passed over: its neighbours are compared. */
static int find_set_shots(Gt *gt, GtFilm *film) {
    ShotChunk *chunk = mem_alloc(sizeof *chunk);
    ShotPicture before;
    bool has_before = false;
    int rc = chunk ? 0 : err_code();
    for (int64_t at = 0; !rc && at < film->count; at += SHOT_CHUNK) {
        int64_t n = film->count - at < SHOT_CHUNK ? film->count - at : SHOT_CHUNK;
        chunk->gt = gt;
        chunk->first = film->first + at;
        pool_run(matcher_pool(gt->matcher), n, look_at_picture, chunk);
        for (int64_t i = 0; !rc && i < n; i++) {
            if (chunk->state[i] == ERR_MEMORY) rc = fail(ERR_MEMORY, "no memory to read the frames with");
            if (chunk->state[i] == ERR_STOPPED) rc = ERR_STOPPED;
            if (chunk->state[i]) continue;
            if (has_before && shot_begins(&before, &chunk->small[i]))
                rc = note_cut(gt, film, gt->set.frames[film->first + at + i].number);
            before = chunk->small[i];
            has_before = true;
        }
        char extra[64];
        snprintf(extra, sizeof extra, "shots %lld/%lld", (long long)(at + n), (long long)film->count);
        progress_step(&gt->progress, gt->done, extra);
    }
    mem_free(chunk);
    return rc ? rc : note_shots(gt, film);
}

static int do_set_film(Gt *gt, GtFilm *film) {
    int rc = gt->o->shots && !film->shots_whole ? find_set_shots(gt, film) : 0;
    for (int64_t i = 0; !rc && i < film->picked_count; i++) {
        int64_t number = gt_number_at(gt, film, film->picked[i]);
        if (gt_is_done(gt, gt_record_of(gt, number))) continue;
        rc = run_stopped() ? ERR_STOPPED : do_set_frame(gt, film, i);
    }
    return rc;
}

/* ---- videos ---- */

/* The position among the picked frames of the first missing one from `from` on; picked_count: none. */
static int64_t next_missing(const Gt *gt, const GtFilm *film, int64_t from) {
    while (from < film->picked_count && gt_is_done(gt, gt_record_of(gt, film->start + film->picked[from]))) from++;
    return from;
}

static int go_through_video(Gt *gt, GtFilm *film, Film *video) {
    bool look = gt->o->shots && !film->shots_whole, end = false, has_before = false;
    int64_t position = next_missing(gt, film, 0), number = 0;
    ShotPicture before, now;
    Image left = {0}, right = {0};
    int rc = film_begin(video, look || position == film->picked_count ? 0 : film->picked[position]);
    while (!rc && !end && (look || position < film->picked_count)) {
        if (run_stopped()) {
            rc = ERR_STOPPED;
            break;
        }
        image_free(&left), image_free(&right);
        rc = film_next(video, &left, &right, &number, &end);
        if (rc || end) break;
        if (look) {
            rc = shot_picture(&now, &left);
            if (!rc && has_before && number < film->count && shot_begins(&before, &now))
                rc = note_cut(gt, film, film->start + number);
            film->shots_begun = true;
            before = now;
            has_before = true;
        }
        /* a film may turn out to lack a frame that its header promised */
        while (!rc && position < film->picked_count && film->picked[position] < number) {
            rc = reject_unreadable(gt, film->start + film->picked[position], "the film lacks this frame");
            position = next_missing(gt, film, position + 1);
        }
        if (!rc && position < film->picked_count && film->picked[position] == number) {
            rc = image_to_8bit(&left);
            if (!rc) rc = image_to_8bit(&right);
            if (!rc) rc = image_to_rgb(&left);
            if (!rc) rc = image_to_rgb(&right);
            if (!rc) rc = do_frame(gt, film, position, film->start + number, &left, &right, film->path);
            position = next_missing(gt, film, position + 1);
        }
        char extra[80];
        snprintf(extra, sizeof extra, "frame %lld/%lld of %.40s", (long long)number, (long long)film->count,
                 film->name);
        progress_step(&gt->progress, gt->done, extra);
    }
    image_free(&left), image_free(&right);
    if (!rc && end && *film_note(video)) say("%s", film_note(video));
    for (; !rc && position < film->picked_count; position = next_missing(gt, film, position + 1))
        rc = reject_unreadable(gt, film->start + film->picked[position], "the film ended before this frame");
    return !rc && look ? note_shots(gt, film) : rc;
}

static int do_video(Gt *gt, GtFilm *film) {
    if (!film->missing && (!gt->o->shots || film->shots_whole)) return 0;
    FilmOptions how = {.left = film->path,
                       .layout = (StereoLayout)gt->o->layout,
                       .swap_eyes = gt->o->swap_eyes,
                       .read = gt->read,
                       .run = {.stopped = run_stopped}};
    Film *video = NULL;
    int rc = film_open(&how, &video);
    if (!rc) rc = go_through_video(gt, film, video);
    film_close(&video);
    return rc;
}

/* ---- all of them ---- */

int gt_run(Gt *gt) {
    int64_t missing = 0;
    char folder[4100];
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    int rc = make_folder(folder);
    if (rc) return rc;
    out_sweep(folder);
    for (int64_t i = 0; i < gt->film_count; i++) missing += gt->films[i].missing;
    progress_begin(&gt->progress, (ProgressStyle)gt->o->progress, "gt", "frames", missing);
    for (int64_t i = 0; !rc && i < gt->film_count; i++)
        if (gt->films[i].active) rc = gt->is_set ? do_set_film(gt, &gt->films[i]) : do_video(gt, &gt->films[i]);
    progress_end(&gt->progress);
    if (rc == ERR_STOPPED)
        rc = fail(ERR_STOPPED, "interrupted; %lld frames were finished, and the same command goes on from there",
                  (long long)gt->done);
    return rc;
}
