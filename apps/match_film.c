/* apps/match_film.c - a film through one matcher, frame by frame, with a journal.
 *
 * Decided once, before the first frame, from a few frames spread over the film (of a stream: from its first ones):
 * how the eyes are packed; the vertical offset to take out; the colours' range; and, for sgm, the range to search.
 *
 * The searched range is that found in the sample frames, widened by a quarter to each side, and does not follow the
 * frames: that would make the same wall jump by a sub-pixel whenever somebody walks in. A frame whose content crowds
 * against an end of it (see CROWDED) is matched once more, over a range that is wider at that end. When STEADY frames
 * running did so, what they searched is the film's range from then on: it was chosen too narrow, and each further frame
 * would be matched twice. It only ever grows. So a frame depends on its own pictures, the film's numbers and what the
 * frames before it asked for; the journal has all of that, and a run that was interrupted goes on to the same bytes. */
#include "apps/match_film.h"
#include "apps/lib/film_out.h"
#include "apps/lib/journal.h"
#include "apps/lib/outputs.h"
#include "apps/lib/pair.h"
#include "apps/lib/run.h"
#include "apps/match.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/film.h"
#include "tensor/ops/sgm.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A frame crowds against an end of the searched range when more than this share of its trusted pixels lies within a
 * pixel of it. Of frames that fit, sub-pixel noise puts less than a thousandth there. */
static const double CROWDED = 0.005;
/* Frames running that have to crowd before the film's range is widened: an odd frame (a flash, a wipe) must not make
 * every later one slower. */
enum { STEADY = 3 };
/* No film reaches further to either side of the screen, as a share of the width: as far as sgm looks by itself. */
static const double REACH = 0.36;
static const double EYE_TRUST = 0.7; /* as for stills (apps/match.c) */

/* Nothing beyond is ever noted: eyes are at most 32,768 pixels wide, and ranges are widened by less than that. */
enum { RANGE_LIMIT = 65536 };
enum { SETTINGS_MAX = 32, OUTPUT_LIST = 8 };

/* What is noted of a frame, and of them all. */
typedef struct {
    PairSummary summary;
    bool again;   /* matched twice */
    int range[2]; /* then: searched the second time */
} FrameFacts;
typedef struct {
    int64_t frames, again, nearest_at, farthest_at;
    double nearest, farthest, front, behind, screen, hidden, confidence, trusted; /* the last six: sums */
} FilmSums;

typedef struct {
    const FilmRequest *request;
    Film *film;
    Matcher *matcher;
    Journal *journal;
    FilmOut *out;
    FilmOutOptions where;
    PairOptions how;
    char folder[PATH_MAX], videos[FILM_VIDEOS_MAX][PATH_MAX], work[PATH_MAX];
    const char *known_as; /* the output, for people */
    bool searches;        /* the matcher has a range, and it is ours to fix */
    int range[2];         /* for the film, pixels at the matcher's size */
    int crowded;          /* frames running that were matched twice */
    int asked[2];         /* all that these searched */
    JournalSetting settings[SETTINGS_MAX];
    int setting_count;
    FilmSums sums;
    double seconds; /* spent matching */
} Run;

/* ---- is it a film? --------------------------------------------------------------------------------------------------
 */

bool match_is_film(const char *left, const char *right, const OptionList *outputs, bool film_options) {
    bool asked = film_options;
    for (int i = 0; i < outputs->count; i++)
        asked = asked || video_form(outputs->items[i], NULL) || strcmp(outputs->items[i], "-") == 0;
    if (asked) return true;
    return film_is(left) && (!right || film_is(right));
}

/* ---- outputs --------------------------------------------------------------------------------------------------------
 */

/* A name's stem, for what is made beside the input. */
static void stem_of(char *out, size_t size, const char *path, bool with_folder) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
    char *slash = strrchr(copy, '/'), *base = slash ? slash + 1 : copy, *dot = strrchr(base, '.');
    if (dot && dot > base) *dot = 0;
    snprintf(out, size, "%s", with_folder ? copy : strcmp(base, "-") == 0 ? "film" : base);
}

static int add_video(Run *run, const char *path) {
    FilmOutOptions *o = &run->where;
    if (o->video_count == FILM_VIDEOS_MAX)
        return usage_error(run->request->verb, "more than %d videos at once", FILM_VIDEOS_MAX);
    char *to = run->videos[o->video_count];
    for (int i = 0; i < o->video_count; i++)
        if (out_same(path, run->videos[i]))
            return usage_error(run->request->verb, "%s would be written twice", show_path(path));
    /* a link is followed: its target is what gets replaced */
    if (!realpath(path, to)) snprintf(to, PATH_MAX, "%s", path);
    o->videos[o->video_count++] = to;
    return 0;
}

static int add_output(Run *run, const char *path) {
    const FilmRequest *q = run->request;
    if (strcmp(path, "-") == 0) {
        run->where.to_stream = true;
        return 0;
    }
    if (video_form(path, NULL) && !match_is_folder(path)) return add_video(run, path);
    if (path[strlen(path) - 1] != '/' && !match_is_folder(path))
        return usage_error(q->verb, "%s: a film is written to a folder (as out/), a video (.mkv, .mp4) or - (y4m)",
                           show_path(path));
    if (run->where.folder) return usage_error(q->verb, "a film is written to one folder, and there are two");
    if ((size_t)snprintf(run->folder, sizeof run->folder - 300, "%s", path) >= sizeof run->folder - 300)
        return usage_error(q->verb, "the name of the folder is too long");
    run->where.folder = run->folder;
    if (!q->video) return 0;
    char stem[300], name[PATH_MAX];
    stem_of(stem, sizeof stem, q->left, false);
    snprintf(name, sizeof name, "%.3700s%s%s_disparity.mkv", path, path[strlen(path) - 1] == '/' ? "" : "/", stem);
    return add_video(run, name);
}

static int plan_outputs(Run *run) {
    const FilmRequest *q = run->request;
    FilmOutOptions *o = &run->where;
    int rc = 0;
    for (int i = 0; !rc && i < q->outputs->count; i++) rc = add_output(run, q->outputs->items[i]);
    if (!rc && !q->outputs->count) {
        char name[PATH_MAX];
        if (strcmp(q->left, "-") == 0)
            return usage_error(q->verb, "a film from standard input needs -o: a folder (as out/), a video, or - (y4m)");
        stem_of(name, sizeof name - 20, q->left, true);
        strcat(name, "_disparity/");
        rc = add_output(run, name);
    }
    if (rc) return rc;
    if (o->to_stream && (o->folder || o->video_count))
        return usage_error(q->verb, "-o - leaves no other output beside it, because a stream cannot be continued");
    if (o->to_stream && q->json) return usage_error(q->verb, "--json and -o - both need the standard output");
    if (o->to_stream) return 0;
    const char *main_output = o->folder ? o->folder : o->videos[0];
    size_t n = strlen(main_output);
    while (n > 1 && main_output[n - 1] == '/') n--;
    if ((size_t)snprintf(run->work, sizeof run->work, "%.*s.work", (int)n, main_output) >= sizeof run->work - 64)
        return usage_error(q->verb, "%s: the name is too long", show_path(main_output));
    o->work = run->work;
    run->known_as = main_output;
    return 0;
}

/* Before any work: nothing of somebody else's is replaced without -y, and what can be said of the places is said. */
static int check_outputs(const Run *run) {
    const FilmRequest *q = run->request;
    const FilmOutOptions *o = &run->where;
    const char *inputs[] = {q->left, q->right};
    OutMode mode = q->overwrite ? OUT_OVERWRITE : OUT_NEW;
    int rc = 0;
    struct stat in, to;
    for (int i = 0; o->folder && i < 2 && inputs[i]; i++)
        if (stat(o->folder, &to) == 0 && stat(inputs[i], &in) == 0 && in.st_dev == to.st_dev && in.st_ino == to.st_ino)
            return usage_error(q->verb, "%s: is also the input; name another folder", show_path(o->folder));
    if (o->folder && !match_is_folder(o->folder)) {
        char above[PATH_MAX];
        snprintf(above, sizeof above, "%s", o->folder);
        size_t n = strlen(above);
        while (n > 1 && above[n - 1] == '/') above[--n] = 0;
        rc = out_check(above, OUT_NEW); /* would a file be possible there? then so is a folder */
    }
    for (int i = 0; !rc && i < o->video_count; i++) {
        bool inside =
            o->folder && strncmp(o->videos[i], o->folder, strlen(o->folder)) == 0 && !match_is_folder(o->folder);
        if (!inside) rc = output_check(o->videos[i], mode, inputs, q->right ? 2 : 1);
    }
    return rc;
}

/* Frames of an earlier film in the folder, when this one begins. */
static int check_folder(const Run *run) {
    const FilmFacts *f = film_facts(run->film);
    const FilmRequest *q = run->request;
    if (!run->where.folder || q->overwrite) return 0;
    int64_t step = q->every > 1 ? q->every : 1, count = f->frames ? f->frames : 100000;
    for (int64_t i = 0; i < count; i++) {
        char path[PATH_MAX + 40];
        struct stat st;
        const char *slash = run->folder[strlen(run->folder) - 1] == '/' ? "" : "/";
        snprintf(path, sizeof path, "%s%sframe_%06lld.npz", run->folder, slash, (long long)(f->first + i * step));
        if (stat(path, &st) == 0)
            return fail(ERR_USAGE, "%s exists; add -y to replace it, or name another folder", show_path(path));
    }
    return 0;
}

/* ---- settings -------------------------------------------------------------------------------------------------------
 */

static void setting(Run *run, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void setting(Run *run, const char *name, const char *format, ...) {
    char text[JOURNAL_TEXT];
    va_list args;
    BUG_IF(run->setting_count == SETTINGS_MAX, "too many settings");
    JournalSetting *s = &run->settings[run->setting_count++];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->name = name;
    err_printable(s->value, sizeof s->value, text);
}

/* All that the bytes of the outputs depend on. */
static void note_settings(Run *run) {
    const FilmRequest *q = run->request;
    const FilmFacts *f = film_facts(run->film);
    const MatcherOptions *m = &q->matcher;
    static const char *const on_off[] = {"no", "yes"};
    setting(run, "panum", "%s", PANUM_VERSION);
    setting(run, "input", "%s", f->identity);
    setting(run, "folder", "%s", run->where.folder ? run->where.folder : "");
    for (int i = 0; i < run->where.video_count; i++) setting(run, "video", "%s", run->videos[i]);
    setting(run, "layout", "%s", layout_name(q->layout));
    setting(run, "--start", "%s", q->start ? q->start : "");
    setting(run, "--end", "%s", q->end ? q->end : "");
    setting(run, "--frames", "%lld", (long long)q->frames);
    setting(run, "--every", "%lld", (long long)q->every);
    setting(run, "--swap-eyes", "%s", on_off[q->swap_eyes]);
    setting(run, "--align", "%s", on_off[q->align]);
    setting(run, "--reference", "%s", q->reference_right ? "right" : "left");
    setting(run, "--scale", "%g", q->scale);
    setting(run, "--model", "%s", matcher_model_name(matcher_model(run->matcher)));
    setting(run, "--weights", "%s", m->weights ? m->weights : "");
    if (m->ranged)
        setting(run, "--range", "%g:%g%s", m->low, m->high, m->percent ? "%" : "");
    else
        setting(run, "--range", "%s", "");
    setting(run, "--positive", "%s", on_off[m->positive]);
    setting(run, "--behaviour", "r%d", (int)m->behaviour + 1);
    setting(run, "--exact", "%s", on_off[m->exact]);
    setting(run, "--precision", "%s", matcher_precision_name(m->precision));
    setting(run, "--refine-iter", "%d", m->refine_iter);
    setting(run, "--max-memory", "%lld", (long long)m->max_memory);
    setting(run, "--map-range", "%g%s", q->map_range.value, q->map_range.percent ? "%" : "");
    setting(run, "--palette", "%d", (int)q->palette);
    setting(run, "--meta", "%s", on_off[q->meta != NULL]);
    setting(run, "--ignore-crc", "%s", on_off[q->read.ignore_crc]);
    /* of videos and streams it decides only whether their end is one */
    if (film_of_files(run->film)) setting(run, "--lenient", "%s", on_off[q->read.lenient]);
}

/* ---- looking at the film --------------------------------------------------------------------------------------------
 */

static void tell_about(const Run *run, const FilmEyes *eyes) {
    const FilmRequest *q = run->request;
    const FilmFacts *f = film_facts(run->film);
    char line[1200];
    const char *name = strcmp(q->left, "-") == 0 ? "standard input" : show_path(q->left);
    int n = snprintf(line, sizeof line, "%s: %s (from %s), %dx%d an eye", name, layout_words(f->decision.layout),
                     f->decision.evidence, f->width, f->height);
    if (f->decision.layout != LAYOUT_PAIR)
        n += snprintf(line + n, sizeof line - (size_t)n, ", %s first", f->decision.right_first ? "right" : "left");
    if (q->swap_eyes) n += snprintf(line + n, sizeof line - (size_t)n, ", eyes swapped as asked");
    if (eyes->has_order && fabs(eyes->eye_order) >= EYE_TRUST)
        n += snprintf(line + n, sizeof line - (size_t)n, ", eye test %+.2f", eyes->eye_order);
    if (eyes->has_vertical)
        n += snprintf(line + n, sizeof line - (size_t)n, ", vertical offset %+.2f px%s", eyes->vertical,
                      q->align && eyes->vertical != 0 ? " taken out" : "");
    snprintf(line + n, sizeof line - (size_t)n, "; %s", f->what);
    say("%s", line);
    if (*f->contradiction) say("%s: %s", name, f->contradiction);
    if (*f->cut) say("%s: is cut: %s", name, f->cut);
    if (f->variable)
        say("%s: frames do not all last equally long; maps are one for each frame, the colour-map video runs at the "
            "mean "
            "rate",
            name);
    if (eyes->identical) say("%s: both eyes are identical: everything will lie on the screen", name);
    if (eyes->has_order && eyes->eye_order <= -EYE_TRUST && !eyes->identical)
        say("%s: eyes look swapped (eye test %+.2f over %d frame%s): what is in front will seem behind; %s "
            "--swap-eyes, or --no-eye-test to silence this",
            name, eyes->eye_order, film_sample_count(run->film), film_sample_count(run->film) == 1 ? "" : "s",
            q->swap_eyes ? "leave out" : "add");
    if (eyes->has_vertical && fabs(eyes->vertical) >= 1 && !q->align)
        say("%s: the right eye lies %.1f px %s; add --align to take that out", name, fabs(eyes->vertical),
            eyes->vertical > 0 ? "lower" : "higher");
}

/* Cuts a range to what can be searched at once, on both sides. */
static void fit(int range[2]) {
    int over = range[1] - range[0] + 1 - SGM_RANGE_MAX;
    if (over <= 0) return;
    range[0] += over / 2;
    range[1] -= over - over / 2;
}

/* Matches the sample frames for the ranges of search and colours. */
static int look_ahead(Run *run) {
    const FilmRequest *q = run->request;
    const FilmFacts *f = film_facts(run->film);
    FilmOutOptions *o = &run->where;
    bool paints = o->video_count || o->to_stream;
    run->searches = matcher_searched(run->matcher, run->range) && !q->matcher.ranged;
    o->range = q->map_range.percent ? q->map_range.value * f->width / 100 : q->map_range.value;
    bool find_colours = paints && o->range == 0;
    int count = film_sample_count(run->film), rc = 0, low = INT_MAX, high = INT_MIN;
    for (int i = 0; !rc && (run->searches || find_colours) && i < count && !run_stopped(); i++) {
        Image left, right;
        StereoMaps maps = {0};
        int range[2];
        rc = film_sample(run->film, i, &left, &right);
        if (rc) return rc;
        rc = pair_match(run->matcher, &run->how, &left, &right, &maps);
        if (!rc && find_colours) o->range = fmax(o->range, colour_range(&maps.disparity));
        if (!rc && matcher_searched(run->matcher, range)) {
            low = range[0] < low ? range[0] : low;
            high = range[1] > high ? range[1] : high;
        }
        stereo_maps_free(&maps);
        image_free(&left);
        image_free(&right);
    }
    if (rc) return rc;
    if (run->searches && low <= high) {
        int margin = (high - low) / 4 > 4 ? (high - low) / 4 : 4;
        run->range[0] = q->matcher.positive && low >= 0 && low < margin ? 0 : low - margin;
        run->range[1] = high + margin;
        fit(run->range);
    } else {
        run->searches = false;
    }
    return 0;
}

static void tell_ranges(const Run *run) {
    const FilmFacts *f = film_facts(run->film);
    if (run->searches)
        say("searching %d to %d px in every frame (found in %d frame%s, widened by a quarter); frames that crowd "
            "against an end are matched again",
            run->range[0], run->range[1], film_sample_count(run->film), film_sample_count(run->film) == 1 ? "" : "s");
    if (run->where.video_count || run->where.to_stream)
        say("colours: full at %.3g px (%.3g %% of the width) to either side, in every frame", run->where.range,
            100 * run->where.range / f->width);
}

/* The two ranges are the film's: an unfinished run goes on with its own. Noted before the first frame. */
static int note_ranges(Run *run) {
    char text[200];
    snprintf(text, sizeof text, "ranges %d %d %d %.17g", run->searches, run->range[0], run->range[1], run->where.range);
    return journal_add(run->journal, text);
}

static bool read_ranges(Run *run) {
    int searches, low, high;
    double colours;
    if (!run->journal || !journal_pieces(run->journal) ||
        sscanf(journal_piece(run->journal, 0), "ranges %8d %8d %8d %lg", &searches, &low, &high, &colours) != 4)
        return false;
    if (low > high || low < -RANGE_LIMIT || high > RANGE_LIMIT || !(colours >= 0 && colours <= RANGE_LIMIT))
        return false;
    run->searches = searches != 0;
    run->range[0] = low;
    run->range[1] = high;
    run->where.range = colours;
    return true;
}

/* ---- frames ---------------------------------------------------------------------------------------------------------
 */

static void add_frame(FilmSums *sums, int64_t number, const FrameFacts *facts) {
    const PairSummary *s = &facts->summary;
    if (s->trusted > 0 && (sums->trusted == 0 || s->nearest < sums->nearest)) {
        sums->nearest = s->nearest;
        sums->nearest_at = number;
    }
    if (s->trusted > 0 && (sums->trusted == 0 || s->farthest > sums->farthest)) {
        sums->farthest = s->farthest;
        sums->farthest_at = number;
    }
    sums->frames++;
    sums->again += facts->again;
    sums->front += s->front;
    sums->behind += s->behind;
    sums->screen += s->screen;
    sums->hidden += s->hidden;
    sums->confidence += s->confidence;
    sums->trusted += s->trusted;
}

static int note_frame(Run *run, int64_t number, const FrameFacts *f) {
    char text[JOURNAL_TEXT];
    const PairSummary *s = &f->summary;
    if (!run->journal) return 0;
    int rc = run->sums.frames ? 0 : note_ranges(run);
    if (rc) return rc;
    snprintf(text, sizeof text, "frame %lld %.9g %.9g %.9g %.9g %.9g %.9g %.9g %.9g %d %d %d", (long long)number,
             s->nearest, s->farthest, s->front, s->behind, s->screen, s->confidence, s->trusted, s->hidden, f->again,
             f->range[0], f->range[1]);
    return journal_add(run->journal, text);
}

static bool parse_frame(const char *text, int64_t *number, FrameFacts *f) {
    long long n;
    int again, *r = f->range;
    PairSummary *s = &f->summary;
    if (sscanf(text, "frame %18lld %lg %lg %lg %lg %lg %lg %lg %lg %8d %8d %8d", &n, &s->nearest, &s->farthest,
               &s->front, &s->behind, &s->screen, &s->confidence, &s->trusted, &s->hidden, &again, &r[0], &r[1]) != 12)
        return false;
    if (r[0] > r[1] || r[0] < -RANGE_LIMIT || r[1] > RANGE_LIMIT) return false;
    double sum = s->nearest + s->farthest + s->front + s->behind + s->screen + s->confidence + s->trusted + s->hidden;
    if (n < 0 || !isfinite(sum)) return false;
    *number = n;
    f->again = again != 0;
    return true;
}

/* What a frame means for the range of those after it. */
static void follow(Run *run, const FrameFacts *facts) {
    if (!facts->again) {
        run->crowded = 0;
        return;
    }
    if (!run->crowded++) memcpy(run->asked, run->range, sizeof run->asked);
    run->asked[0] = facts->range[0] < run->asked[0] ? facts->range[0] : run->asked[0];
    run->asked[1] = facts->range[1] > run->asked[1] ? facts->range[1] : run->asked[1];
    if (run->crowded < STEADY) return;
    memcpy(run->range, run->asked, sizeof run->range);
    fit(run->range);
    run->crowded = 0;
}

/* How many frames an earlier run finished; their figures go into the sums. */
static int recover(Run *run, int64_t *done) {
    *done = 0;
    if (!run->journal || !journal_pieces(run->journal)) return 0;
    int64_t pieces = journal_pieces(run->journal) - 1, read = 0;
    int64_t *numbers = mem_array((size_t)pieces + 1, sizeof *numbers);
    FrameFacts facts;
    if (!numbers) return ERR_MEMORY;
    while (read < pieces && parse_frame(journal_piece(run->journal, 1 + read), &numbers[read], &facts)) read++;
    *done = film_out_found(&run->where, numbers, read);
    for (int64_t i = 0; i < *done; i++) {
        parse_frame(journal_piece(run->journal, 1 + i), &numbers[i], &facts);
        add_frame(&run->sums, numbers[i], &facts);
        follow(run, &facts);
    }
    mem_free(numbers);
    return journal_cut(run->journal, *done ? 1 + *done : 0);
}

/* Whether content crowds against the lower and the upper end of the film's range; never against one that is as far out
 * as any search goes. */
static void look_at_ends(const Run *run, const StereoMaps *maps, int reach, bool crowds[2]) {
    int64_t n = (int64_t)maps->disparity.width * maps->disparity.height, trusted = 0, low = 0, high = 0;
    /* the range is in pixels of the matcher's pictures */
    double scale = 1 / run->request->scale;
    for (int64_t i = 0; i < n; i++) {
        if (maps->confidence.values[i] < 0.5f) continue;
        trusted++;
        low += maps->disparity.values[i] < (run->range[0] + 1) * scale;
        high += maps->disparity.values[i] > (run->range[1] - 1) * scale;
    }
    bool at_screen = run->request->matcher.positive && run->range[0] >= 0; /* an end that is a wall */
    crowds[0] = !at_screen && run->range[0] > -reach && (double)low > CROWDED * (double)trusted;
    crowds[1] = run->range[1] < reach && (double)high > CROWDED * (double)trusted;
}

/* The second search goes a quarter of the range beyond an end that was crowded against, and as far as is found in the
 * frame. */
static int match_frame(Run *run, const Image *left, const Image *right, StereoMaps *maps, FrameFacts *facts) {
    matcher_search(run->matcher, run->searches ? SEARCH_EXACTLY : SEARCH_AS_OPENED, run->range);
    int rc = pair_match(run->matcher, &run->how, left, right, maps);
    run->seconds += matcher_seconds(run->matcher);
    if (rc || !run->searches) return rc;
    bool crowds[2];
    int reach = (int)(REACH * run->request->scale * left->width);
    look_at_ends(run, maps, reach, crowds);
    if (!crowds[0] && !crowds[1]) return 0;
    int *range = run->range, count = range[1] - range[0] + 1, left_over = SGM_RANGE_MAX - count;
    int step = count / 4 > 8 ? count / 4 : 8, most = crowds[0] && crowds[1] ? left_over / 2 : left_over;
    if (step > most) step = most;
    if (step <= 0) return 0;
    int wider[2] = {crowds[0] ? range[0] - step : range[0], crowds[1] ? range[1] + step : range[1]};
    stereo_maps_free(maps);
    matcher_search(run->matcher, SEARCH_AT_LEAST, wider);
    rc = pair_match(run->matcher, &run->how, left, right, maps);
    run->seconds += matcher_seconds(run->matcher);
    facts->again = !rc && matcher_searched(run->matcher, facts->range);
    return rc;
}

/* The maps of a frame to its files. */
static int keep_frame(Run *run, int64_t number, const StereoMaps *maps, FrameFacts *facts) {
    int rc = pair_summarise(maps, &facts->summary);
    if (!rc) rc = film_out_frame(run->out, number, maps);
    if (!rc) rc = note_frame(run, number, facts);
    if (rc) return rc;
    add_frame(&run->sums, number, facts);
    follow(run, facts);
    say_more(2, "frame %lld: %s, %.2f s", (long long)number, matcher_describe(run->matcher),
             matcher_seconds(run->matcher));
    return 0;
}

/* A frame that a matcher which overlaps is computing. */
typedef struct {
    bool there;
    int64_t number;
    PairUnderWay pair;
} UnderWay;

static int finish_frame(Run *run, UnderWay *frame) {
    StereoMaps maps = {0};
    FrameFacts facts = {0};
    if (!frame->there) return 0;
    frame->there = false;
    int rc = pair_finish(run->matcher, &run->how, &frame->pair, &maps);
    run->seconds += matcher_seconds(run->matcher);
    if (!rc) rc = keep_frame(run, frame->number, &maps, &facts);
    stereo_maps_free(&maps);
    return rc;
}

/* Starts a frame, and then takes the one before to its files: while the next one is decoded, aligned and copied, and
 * the last one written, the matcher computes. */
static int pass_frame(Run *run, UnderWay *before, int64_t number, const Image *left, const Image *right) {
    UnderWay now = {.there = true, .number = number};
    int rc = pair_start(run->matcher, &run->how, left, right, &now.pair);
    if (!rc) rc = finish_frame(run, before);
    *before = now;
    if (rc || matcher_overlaps(run->matcher)) return rc;
    return finish_frame(run, before); /* it came to the CPU */
}

/* One frame from the film to its files, or on its way there. */
static int do_frame(Run *run, UnderWay *under_way, bool *end) {
    Image left = {0}, right = {0};
    StereoMaps maps = {0};
    FrameFacts facts = {0};
    int64_t number = 0;
    int rc = film_next(run->film, &left, &right, &number, end);
    if (!rc && !*end && matcher_overlaps(run->matcher)) {
        rc = pass_frame(run, under_way, number, &left, &right);
    } else if (!rc && !*end) {
        rc = match_frame(run, &left, &right, &maps, &facts);
        if (!rc) rc = keep_frame(run, number, &maps, &facts);
    }
    if (*end && !rc) rc = finish_frame(run, under_way);
    stereo_maps_free(&maps);
    image_free(&left);
    image_free(&right);
    return rc;
}

static int do_frames(Run *run) {
    int64_t done, total = film_facts(run->film)->frames;
    int rc = recover(run, &done);
    if (rc) return rc;
    if (done) say("going on after %lld frames that are done", (long long)done);
    film_samples_drop(run->film);
    rc = film_out_open(&run->where, done, &run->out);
    if (!rc) rc = film_begin(run->film, done);
    Progress progress;
    progress_begin(&progress, run->request->progress, "match", "frames", total);
    progress_resume(&progress, done);
    bool end = false;
    UnderWay under_way = {0};
    while (!rc && !end) {
        if (run_stopped())
            rc = ERR_STOPPED;
        else
            rc = do_frame(run, &under_way, &end);
        progress_step(&progress, run->sums.frames, NULL);
    }
    progress_end(&progress);
    if (!rc && *film_note(run->film)) say("%s", film_note(run->film));
    if (!rc && !run->sums.frames) rc = fail(ERR_INPUT, "%s: no frame of it was given", show_path(run->request->left));
    if (!rc) rc = film_out_finish(run->out);
    return rc;
}

/* ---- the run --------------------------------------------------------------------------------------------------------
 */

/* What a failure in the middle leaves, as part of its sentence. */
static int explain(const Run *run, int rc) {
    char sentence[900], done[80];
    int64_t total = film_facts(run->film)->frames;
    snprintf(done, sizeof done, "%lld%s", (long long)run->sums.frames,
             run->sums.frames == 1 ? " frame is" : " frames are");
    if (total && film_facts(run->film)->counted)
        snprintf(done, sizeof done, "%lld of %lld frames are", (long long)run->sums.frames, (long long)total);
    if (run->journal && !run->sums.frames) return rc == ERR_STOPPED ? run_stop("no frame was finished") : rc;
    if (!run->journal) return rc == ERR_STOPPED ? run_stop("the stream ends here and is not whole") : rc;
    if (rc == ERR_STOPPED) return fail(rc, "interrupted; %s done, and the same command goes on from there", done);
    snprintf(sentence, sizeof sentence, "%.840s", err_sentence());
    if (film_broke_off(run->film))
        return fail(rc, "%s; %s done and kept (incomplete); the same command with --lenient takes it as far as it goes",
                    sentence, done);
    return fail(rc, "%s; %s done and kept (incomplete), and the same command goes on from there", sentence, done);
}

static void film_line(const FilmSums *s, char *out, size_t size) {
    double n = (double)s->frames;

    if (s->trusted == 0) {
        snprintf(out, size, "%lld frames: nothing in them could be matched with confidence (mean %.2f)",
                 (long long)s->frames, s->confidence / n);
        return;
    }
    char again[80] = "";
    if (s->again) snprintf(again, sizeof again, "; %lld matched again over a wider range", (long long)s->again);
    snprintf(out, size,
             "%lld frame%s: parallax %+.2f (frame %lld) to %+.2f (frame %lld) %% of the width; %.0f %% in front of the "
             "screen, %.0f %% behind; confidence %.2f%s",
             (long long)s->frames, s->frames == 1 ? "" : "s", s->nearest, (long long)s->nearest_at, s->farthest,
             (long long)s->farthest_at, 100 * s->front / n, 100 * s->behind / n, s->confidence / n, again);
}

static void print_json(const Run *run) {
    char quoted[2048];
    const FilmRequest *q = run->request;
    const FilmFacts *f = film_facts(run->film);
    const FilmSums *s = &run->sums;
    double n = (double)s->frames;
    printf("{\"left\":%s,", json_quote(quoted, sizeof quoted, q->left));
    if (q->right) printf("\"right\":%s,", json_quote(quoted, sizeof quoted, q->right));
    printf("\"width\":%d,\"height\":%d,\"rate\":\"%lld/%lld\",\"layout\":\"%s\",\"right_first\":%s,", f->width,
           f->height, (long long)f->rate.over, (long long)f->rate.under, layout_name(f->decision.layout),
           f->decision.right_first ? "true" : "false");
    printf("\"evidence\":%s,", json_quote(quoted, sizeof quoted, f->decision.evidence));
    printf("\"model\":\"%s\",\"frames\":%lld,\"first_frame\":%lld,\"matched_again\":%lld,",
           matcher_model_name(matcher_model(run->matcher)), (long long)s->frames, (long long)f->first,
           (long long)s->again);
    printf("\"parallax_percent\":{\"nearest\":%.4f,\"nearest_frame\":%lld,\"farthest\":%.4f,\"farthest_frame\":%lld},",
           s->nearest, (long long)s->nearest_at, s->farthest, (long long)s->farthest_at);
    printf("\"front\":%.6f,\"screen\":%.6f,\"behind\":%.6f,\"hidden\":%.6f,\"confidence\":%.6f,\"trusted\":%.6f,"
           "\"colour_range_px\":%.6g,\"seconds\":%.4f,\"outputs\":[",
           s->front / n, s->screen / n, s->behind / n, s->hidden / n, s->confidence / n, s->trusted / n,
           run->where.range, run->seconds);
    int count = 0;
    if (run->where.folder) printf("%s%s", count++ ? "," : "", json_quote(quoted, sizeof quoted, run->folder));
    for (int i = 0; i < run->where.video_count; i++)
        printf("%s%s", count++ ? "," : "", json_quote(quoted, sizeof quoted, run->videos[i]));
    printf("]}\n");
}

static void tell_plan(const Run *run) {
    int64_t frames = film_facts(run->film)->frames;
    if (run->where.folder)
        say("would write %s of maps into %s", frames ? "frames" : "an unknown number of frames",
            show_path(run->folder));
    for (int i = 0; i < run->where.video_count; i++) say("would write %s", show_path(run->videos[i]));
    if (run->where.to_stream) say("would write a y4m stream to standard output");
    if (frames) say("%s%lld frames", film_facts(run->film)->counted ? "" : "about ", (long long)frames);
}

/* A frame of an unfinished run that is given up. */
static void drop_frame(void *context, const char *piece) {
    const Run *run = context;
    char path[PATH_MAX + 40];
    FrameFacts facts;
    int64_t number;
    if (!run->where.folder || !parse_frame(piece, &number, &facts)) return;
    snprintf(path, sizeof path, "%s/frame_%06lld.npz", run->folder, (long long)number);
    unlink(path);
}

static int begin_journal(Run *run) {
    const FilmRequest *q = run->request;
    if (run->where.to_stream) return 0;
    note_settings(run);
    bool fresh = !match_is_folder(run->work);
    int rc = 0;
    if (fresh) rc = check_folder(run);
    if (!rc)
        rc = journal_open(run->work, run->known_as, run->settings, run->setting_count,
                          q->resume ? JOURNAL_RESUME : JOURNAL_ANEW, drop_frame, run, &run->journal);
    if (rc) return rc;
    /* a work folder without anything done (killed early) is as good as none */
    if (!fresh && journal_pieces(run->journal) < 2) rc = check_folder(run);
    if (!rc && run->where.folder && mkdir(run->folder, 0777) != 0 && errno != EEXIST)
        rc = fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: cannot be made: %s", show_path(run->folder),
                  strerror(errno));
    if (!rc && run->where.folder) out_sweep(run->folder);
    return rc;
}

static int run_film(Run *run) {
    const FilmRequest *q = run->request;
    FilmEyes eyes = {0};
    int rc = 0;
    if (q->eye_test) rc = film_measure(run->film, &eyes);
    if (rc) return rc;
    tell_about(run, &eyes);
    if (q->align && eyes.has_vertical) run->how.vertical = eyes.vertical;
    if (q->dry_run) {
        tell_plan(run);
        return 0;
    }
    if (run->where.video_count) rc = video_check(&run->where.run);
    if (!rc) rc = matcher_open(&q->matcher, &run->matcher);
    if (!rc) rc = begin_journal(run);
    if (rc) return rc;
    match_tell_matcher(run->matcher, &q->matcher);
    match_tell_unused(run->matcher, q->s2m2_only, q->matcher.ranged);
    if (!read_ranges(run)) {
        rc = look_ahead(run);
        if (!rc && run_stopped()) return run_stop("no frame was begun");
    }
    if (!rc) tell_ranges(run);
    if (!rc) {
        rc = do_frames(run);
        if (rc) rc = explain(run, rc);
    }
    if (rc && !run->sums.frames) { /* nothing to go on with: nothing is left */
        journal_remove(&run->journal);
        if (run->where.folder) rmdir(run->folder);
    }
    if (rc) return rc;
    char line[400];
    film_line(&run->sums, line, sizeof line);
    say("%s", line);
    const int threads = pool_threads(matcher_pool(run->matcher));
    say_more(1, "%s, %d thread%s, %.2f s a frame", matcher_describe(run->matcher), threads, threads == 1 ? "" : "s",
             run->seconds / (double)run->sums.frames);
    if (q->json) print_json(run);
    journal_remove(&run->journal);
    return 0;
}

int match_film(const FilmRequest *q) {
    Run *run = mem_zero(1, sizeof *run);
    if (!run) return ERR_MEMORY;
    run->request = q;
    VideoOptions video = {.stopped = run_stopped};
    FilmOptions how = {.left = q->left,
                       .right = q->right,
                       .layout = q->layout,
                       .swap_eyes = q->swap_eyes,
                       .frames = q->frames,
                       .every = q->every,
                       .read = q->read,
                       .run = video};
    int rc = 0;
    if (q->start && !film_time_parse(q->start, &how.start))
        rc = usage_error(q->verb, "--start: '%s' is not a time like 62.5, 1:02.5, 1:02:03 or 1500f (frames)",
                         show_path(q->start));
    if (!rc && q->end && !film_time_parse(q->end, &how.end))
        rc = usage_error(q->verb, "--end: '%s' is not a time like 62.5, 1:02.5, 1:02:03 or 1500f (frames)",
                         show_path(q->end));
    talk_hold();
    if (!rc) rc = plan_outputs(run);
    if (!rc) rc = check_outputs(run);
    if (!rc) rc = film_open(&how, &run->film);
    if (!rc) {
        Rate rate = film_facts(run->film)->rate;
        if (q->every > 1) rate.under *= q->every; /* fewer frames, each as long as those it stands for */
        run->where.rate = rate;
        run->where.palette = q->palette;
        run->where.source = q->left;
        run->where.meta = q->meta;
        run->where.run = video;
        run->how = pair_defaults();
        run->how.scale = q->scale;
        run->how.reference_right = q->reference_right;
        rc = run_film(run);
    }
    talk_release(rc == 0);
    film_out_close(&run->out);
    journal_close(&run->journal);
    matcher_close(run->matcher);
    film_close(&run->film);
    mem_free(run);
    return rc;
}
